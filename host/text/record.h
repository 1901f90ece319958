/* SPDX-License-Identifier: MIT
 *
 * record.h - one record of a prompt file, whatever the file's format: named fields. Internal to
 * host/text; users include prompts.h.
 */
#ifndef SAENGINE_RECORD_H
#define SAENGINE_RECORD_H

#include "host/formats/json.h"

#include <stddef.h>

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

/* NULL when there is none of that name. */
const struct record_field *record_find(const struct record *record, const char *name);

#endif
