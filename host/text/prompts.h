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
	struct prompt_counts counts; /* of the file */
	char sha256[SHA256_HEX];     /* of the file */
};

/* Reads a file of prompts.
 *
 * The prompt is in `text_field`, else in the one field of a known name: instruction, Goal, goal,
 * Behavior, behavior, forbidden_prompt, prompt, Prompt, Question, question, adversarial, vanilla,
 * text, messages, conversations, conversation. Several are an error, unless the record is of a
 * published set that has them all (prompt_shape.c): JailbreakBench's Goal beside Behavior; the
 * prompt of its artifacts, with goal as its base, no prompt where it is empty; WildJailbreak's
 * adversarial with vanilla as its base, or vanilla alone where it is empty; Alpaca's instruction
 * beside text. A list in such a field is a conversation (prompt_conversation.h).
 *
 * The category is in `category_field`, else in category, Category, SemanticCategory or data_type;
 * the system text in `system_field`, else in system or system_prompt; several are an error. The
 * context is in `context_field`, else in ContextString (HarmBench's contextual behaviors). Blank
 * ones are none. A system text becomes the first message of a conversation.
 *
 * An `input` beside `instruction` (Alpaca): enum prompt_input. An `answer` becomes the prompt's
 * answer, only what follows #### where it has that (GSM8K), without thousands separators. A
 * question with choices (ARC, as first published or with lists of texts and labels) becomes the
 * question and its choices, "A. ..." a line; its answer is a letter.
 *
 * Errors: ERR_INPUT with file, line or record, field, expected and found: no such file, bytes that
 * are not UTF-8, a git-lfs pointer, a quote without its partner, a missing field (with those there
 * are), several where one is meant, an empty prompt, one that stands for a missing value ("nan",
 * "None", "N/A", ...), no record left after the selection. ERR_CONFIG: an unknown format. */
int prompt_set_read(struct prompt_set *set, const char *path,
	const struct prompt_selection *selection, struct err *err);

/* The same over bytes in memory; `name` is for messages and for format "auto". */
int prompt_set_parse(struct prompt_set *set, const char *name, const void *bytes, size_t n,
	const struct prompt_selection *selection, struct err *err);

/* Appends what a model is asked, zero-terminated: the text, behind its context and HarmBench's rule
 * between the two, "\n\n---\n\n", where there is a context. */
int prompt_message(const struct prompt *p, struct text *out, struct err *err);

/* Appends what was taken and what was not, zero-terminated: `field "goal", 81 with a context, of
 * 520 records left out: 12 with an input, 408 beyond the limit`. */
int prompt_set_describe(const struct prompt_set *set, struct text *out, struct err *err);

/* Accepts a zeroed set. */
void prompt_set_free(struct prompt_set *set);

#endif
