/* SPDX-License-Identifier: MIT
 *
 * prompts.h - sets of prompts read from files, in the formats in which they are published:
 *
 *	json   an array of objects, or of texts (refusal_direction, Alpaca, CatHarmfulQA)
 *	jsonl  an object per line (GSM8K, ARC, Pile)
 *	csv    RFC 4180 with a header row (HarmBench, JailbreakBench, AdvBench, StrongREJECT)
 *	tsv    the same with tabs (WildJailbreak)
 *	text   a prompt per line (MaliciousInstruct)
 *
 * Blank lines between records are skipped; so is a UTF-8 byte order mark.
 */
#ifndef SAENGINE_PROMPTS_H
#define SAENGINE_PROMPTS_H

#include "host/base/err.h"
#include "host/base/file.h"
#include "host/base/vec.h"

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
	size_t record;  /* index of its record in the file, from 0 */
};

struct prompt_set {
	struct prompt *items;
	size_t n;
	char sha256[SHA256_HEX]; /* of the file */
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
	const char *category; /* only prompts of this one; NULL or "": all */
	size_t limit;         /* at most so many prompts; 0 = all */
	bool shuffle;         /* in a seeded random order before the limit is applied */
	uint64_t seed;
};

/* Reads a file of prompts.
 *
 * The prompt is in `text_field`, else in the first of instruction, Goal, goal, Behavior,
 * behavior, forbidden_prompt, prompt, Prompt, Question, question, adversarial (with vanilla as its
 * base; where it is empty, vanilla is the prompt), vanilla, text. The category is in
 * `category_field`, else in category, Category, SemanticCategory or data_type, if there is one. The
 * context is in `context_field`, else in ContextString (HarmBench's contextual behaviors); a blank
 * one is none.
 *
 * Of {instruction, input, output} (Alpaca) records with an input are left out: their instruction
 * is no prompt alone. An `answer` becomes the prompt's answer, only what follows #### where it has
 * that (GSM8K), without thousands separators. A question with choices (ARC, as first published or
 * with lists of texts and labels) becomes the question and its choices, "A. ..." a line; its
 * answer is a letter.
 *
 * Errors: ERR_INPUT with file, line or record, field, expected and found: no such file, bytes that
 * are not UTF-8, a git-lfs pointer, a quote without its partner, a missing field (with those there
 * are), an empty prompt, no record left after the selection. ERR_CONFIG: an unknown format. */
int prompt_set_read(struct prompt_set *set, const char *path,
	const struct prompt_selection *selection, struct err *err);

/* The same over bytes in memory; `name` is for messages and for format "auto". */
int prompt_set_parse(struct prompt_set *set, const char *name, const void *bytes, size_t n,
	const struct prompt_selection *selection, struct err *err);

/* Appends what a model is asked, zero-terminated: the text, behind its context and HarmBench's rule
 * between the two, "\n\n---\n\n", where there is a context. */
int prompt_message(const struct prompt *p, struct text *out, struct err *err);

/* Accepts a zeroed set. */
void prompt_set_free(struct prompt_set *set);

#endif
