/* SPDX-License-Identifier: MIT
 *
 * prompt_shape.h - which fields of a record are its prompt, its category and its system text.
 * Internal to host/text; users include prompts.h.
 *
 * A field that the config names is taken. Otherwise the one field of a known name is; where several
 * are there, a published set that has them all must say which is which (the table in
 * prompt_shape.c), else nobody but the user knows, and it is an error.
 */
#ifndef SAENGINE_PROMPT_SHAPE_H
#define SAENGINE_PROMPT_SHAPE_H

#include "host/text/record.h"

struct prompt_shape {
	const struct record_field *prompt; /* NULL: the record has none and is left out */
	const struct record_field *base;   /* the prompt before it was made adversarial, or NULL */
};

/* `text_field` may be NULL or "". Errors: ERR_INPUT: no such field, none of a known name, or
 * several, which are named. */
int prompt_shape_find(const struct record *record, const char *text_field, struct prompt_shape *out,
	struct err *err);

/* The category and the system text: the field of that name or, where it is NULL or "", the one of a
 * known name; *out is NULL when there is none. Errors: as above. */
int prompt_category_find(const struct record *record, const char *category_field,
	const struct record_field **out, struct err *err);
int prompt_system_find(const struct record *record, const char *system_field,
	const struct record_field **out, struct err *err);

#endif
