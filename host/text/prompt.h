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
	char *field;    /* of its record, which gave the text, or what the text was made of; NULL
			 * where texts stand alone, or what read the prompt has no fields */
	char *category; /* NULL when the file gives none */
	char *answer;   /* the right answer of a question; NULL when the file gives none */
	char *base;     /* the prompt before it was made adversarial; NULL when there is none */
	char *suffix;   /* what was put behind base and a space; NULL when there is none */
	char *context;  /* what the request is about, not blank; NULL when the file gives none */
	char *system;   /* its own system text, in place of the config's; NULL when the file gives
			 * none */
	char *messages; /* a conversation, as JSON: a list of {"role", "content"} objects, the last
			 * one the user's unless the reply is begun; `text` is the last user's.
			 * NULL: one user turn, `text` */
	size_t record;  /* index of its record in the file, from 0 */
};

/* What becomes of records {instruction, input} (Alpaca) with an input. */
enum prompt_input {
	PROMPT_INPUT_LEAVE_OUT, /* they are left out: their instruction is no prompt alone */
	PROMPT_INPUT_APPEND,    /* the prompt is instruction, blank line, input */
	PROMPT_INPUT_IGNORE     /* the prompt is the instruction */
};

/* What the assistant's message at the end of a conversation is. */
enum prompt_last_reply {
	PROMPT_LAST_REPLY_REFUSE, /* nobody said: an error */
	PROMPT_LAST_REPLY_DROP,   /* an answer, which is left out */
	PROMPT_LAST_REPLY_BEGIN   /* a reply that is begun */
};

/* How to read a file, and which of its records to take. All zero: everything, in the file's
 * order. Texts are borrowed during the call. */
struct prompt_selection {
	const char *format;         /* json, jsonl, csv, tsv, text; NULL or "auto": by extension */
	const char *text_field;     /* holds the prompt; NULL or "": see below */
	const char *category_field; /* holds the category; NULL or "": see below */
	const char *context_field;  /* holds the context; NULL or "": see below */
	const char *system_field;   /* holds the system text; NULL or "": see below */
	bool no_context, no_system; /* as if the file gave none in fields of their own */
	enum prompt_input input;
	enum prompt_last_reply last_reply;
	bool na_is_text;          /* texts that say "nan" or the like are taken as they are */
	const char *suffix_field; /* holds adversarial suffixes, a list or a Python list as text,
				   * each of which gives a prompt; NULL or "": none */
	const char *const *where; /* [n_where] "FIELD=VALUE": of every field named here, a record
				   * must have one of the values given for it */
	size_t n_where;
	size_t limit; /* at most so many prompts; 0 = all */
	bool shuffle; /* in a seeded random order before the limit is applied */
	uint64_t seed;
};

/* Why a record gave no prompt, or a prompt was not taken. */
enum prompt_left_out {
	PROMPT_LEFT_OUT_WHERE,  /* records that `where` does not let through */
	PROMPT_LEFT_OUT_INPUT,  /* records with an input */
	PROMPT_LEFT_OUT_EMPTY,  /* records of adversarial prompts that have none */
	PROMPT_LEFT_OUT_SUFFIX, /* records with no suffix, where suffixes are asked for */
	PROMPT_LEFT_OUT_LIMIT,  /* prompts beyond the limit */
	N_PROMPT_LEFT_OUT
};

/* "by where", "with an input", ...: said behind a number. */
extern const char *const prompt_left_out_names[N_PROMPT_LEFT_OUT];

struct prompt_counts {
	size_t n_records; /* of the file */
	size_t left_out[N_PROMPT_LEFT_OUT];
};

#endif
