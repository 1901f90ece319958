/* SPDX-License-Identifier: MIT
 *
 * csv.h - tables of text as RFC 4180 describes them, comma- or tab-separated: a field in double
 * quotes may hold delimiters, line ends and doubled quotes. Knows no prompt.
 */
#ifndef SAENGINE_CSV_H
#define SAENGINE_CSV_H

#include "host/base/err.h"
#include "host/base/vec.h"

#include <stddef.h>

struct csv_reader {
	const char *name;  /* for messages; borrowed */
	const char *bytes; /* borrowed */
	size_t n;
	char delimiter;
	size_t at;   /* first byte not yet read; begins at 0 */
	size_t line; /* its line; begins at 1 */
};

struct csv_row {
	struct text text; /* the fields end to end, a zero byte behind each */
	struct {
		size_t *data; /* where a field begins in text; one more entry than fields */
		size_t n, cap;
	} start;
	size_t n_fields;
	size_t line; /* where the row begins */
};

/* Reads the next row that is not a blank line, into a zeroed or earlier row; n_fields is 0 at the
 * end of the table. Errors: ERR_INPUT with file, line and column for a quote that is not closed,
 * or closed before the end of its field. */
int csv_next(struct csv_reader *reader, struct csv_row *row, struct err *err);

/* Field i: zero-terminated, of *length bytes (which may hold zeros). Borrowed until the row's next
 * use. */
const char *csv_field(const struct csv_row *row, size_t i, size_t *length);

/* Accepts a zeroed row. */
void csv_row_free(struct csv_row *row);

#endif
