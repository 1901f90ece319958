/* SPDX-License-Identifier: MIT
 *
 * prompt_record.h - from one record of a prompt file, whatever the file's format, to prompts.
 * Internal to host/text; users include prompts.h.
 */
#ifndef SAENGINE_PROMPT_RECORD_H
#define SAENGINE_PROMPT_RECORD_H

#include "host/formats/json.h"
#include "host/text/prompt.h"
#include "host/text/python_list.h"

struct record_field {
	const char *name;
	const char *text; /* n bytes and a zero; NULL when the field is not text */
	size_t n;
	const json_t *json; /* NULL in tables and lists */
};

struct record {
	const char *place; /* "file:line" or "file: record 3": begins messages */
	size_t index;      /* from 0 */
	const struct record_field *fields;
	size_t n_fields;
};

struct prompt_list {
	struct prompt *data; /* owned, and its texts */
	size_t n, cap;
};

/* Appends the prompts of one record: none when the selection's `where` leaves it out, one, or one
 * per suffix. `suffixes` is scratch. Errors: ERR_INPUT with place, field, expected and found. */
int record_read(struct prompt_list *out, const struct record *record,
	const struct prompt_selection *selection, struct python_list *suffixes, struct err *err);

/* NULL when there is none of that name. */
const struct record_field *record_find(const struct record *record, const char *name);

void prompt_free(struct prompt *p);

/* Copies to a prompt that has none what all forms of a record's prompt share: category, answer and
 * context. */
int prompt_copy_shared(struct prompt *to, const struct prompt *from, struct err *err);

/* ---- prompt_choices.c ------------------------------------------------------------------- */

/* Whether the record is a question with labelled choices, as ARC has them: {"question": {"stem",
 * "choices": [{"text", "label"}]}, "answerKey"} or {"question", "choices": {"text": [], "label":
 * []}, "answerKey"}. */
bool record_has_choices(const struct record *record);

/* Appends the question and, a line each, "A. first choice", ...; *answer is the letter of the
 * right one, 0 when the record gives none. */
int record_read_choices(const struct record *record, struct text *out, char *answer,
	struct err *err);

#endif
