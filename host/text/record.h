/* SPDX-License-Identifier: MIT
 *
 * record.h - one record of a prompt file, whatever the file's format: named fields. Internal to
 * host/text; users include prompts.h.
 */
#ifndef SAENGINE_RECORD_H
#define SAENGINE_RECORD_H

#include "host/formats/json.h"

#include <stddef.h>

/* Of a prompt and all that belongs to it: twice the longest context there is. What is longer would
 * take gigabytes before it is found to have too many tokens. */
enum { PROMPT_BYTES_MOST = 8 << 20 };

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
	bool bare; /* a text alone, in one field "instruction" that the file does not name */
};

/* NULL when there is none of that name. */
const struct record_field *record_find(const struct record *record, const char *name);

/* The same; NULL is an ERR_INPUT that names the fields that are there. */
const struct record_field *record_need(const struct record *record, const char *name,
	struct err *err);

/* ERR_INPUT: expected `what`, found the fields that are there. */
int record_lacks(const struct record *record, const char *what, struct err *err);

/* Text that is nothing but white space. */
bool is_blank(const char *text, size_t n);

#endif
