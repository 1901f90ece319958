/* SPDX-License-Identifier: MIT
 *
 * prompt.h - a prompt, and which of a file's records become prompts. How they are read: prompts.h.
 */
#ifndef SAENGINE_PROMPT_H
#define SAENGINE_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prompt {
	char *text;     /* owned, as all here; well-formed UTF-8, not empty, no zero byte */
	char *category; /* NULL when the file gives none */
	char *answer;   /* the right answer of a question; NULL when the file gives none */
	char *base;     /* the prompt before it was made adversarial; NULL when there is none */
	char *suffix;   /* what was put behind base and a space; NULL when there is none */
	char *context;  /* what the request is about, not blank; NULL when the file gives none */
	char *system;   /* its own system text, in place of the config's; NULL when the file gives
			 * none */
	char *messages; /* a conversation, as JSON: a list of {"role", "content"} objects, the last
			 * one the user's unless the reply is begun; `text` is the last user's. NULL:
			 * one user turn, `text` */
	size_t record;  /* index of its record in the file, from 0 */
};

/* How to read a file, and which of its records to take. All zero: everything, in the file's
 * order. Texts are borrowed during the call. */
struct prompt_selection {
	const char *format;         /* json, jsonl, csv, tsv, text; NULL or "auto": by extension */
	const char *text_field;     /* holds the prompt; NULL or "": see below */
	const char *category_field; /* holds the category; NULL or "": see below */
	const char *context_field;  /* holds the context; NULL or "": see below */
	bool no_context;            /* as if the file gave no contexts */
	const char *suffix_field;   /* holds adversarial suffixes, a list or a Python list as text,
				     * each of which gives a prompt; NULL or "": none */
	const char *const *where;   /* [n_where] "FIELD=VALUE": of every field named here, a record
				     * must have one of the values given for it */
	size_t n_where;
	size_t limit; /* at most so many prompts; 0 = all */
	bool shuffle; /* in a seeded random order before the limit is applied */
	uint64_t seed;
};

#endif
