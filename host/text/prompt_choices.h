/* SPDX-License-Identifier: MIT
 *
 * prompt_choices.h - questions with labelled choices. Internal to host/text; users include
 * prompts.h.
 */
#ifndef SAENGINE_PROMPT_CHOICES_H
#define SAENGINE_PROMPT_CHOICES_H

#include "host/base/vec.h"
#include "host/text/record.h"

#include <stdbool.h>

/* Whether the record is a question with labelled choices, as ARC has them: {"question": {"stem",
 * "choices": [{"text", "label"}]}, "answerKey"} or {"question", "choices": {"text": [], "label":
 * []}, "answerKey"}. */
bool record_has_choices(const struct record *record);

/* Appends the question and, a line each, "A. first choice", ...; *answer is the letter of the
 * right one, 0 when the record gives none. */
int record_read_choices(const struct record *record, struct text *out, char *answer,
	struct err *err);

#endif
