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
#include "host/text/prompt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prompt_set {
	struct prompt *items;
	size_t n;
	char sha256[SHA256_HEX]; /* of the file */
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
