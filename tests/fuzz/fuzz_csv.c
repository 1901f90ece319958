/* SPDX-License-Identifier: MIT
 *
 * fuzz_csv.c - a table; the first byte chooses commas or tabs. What was read, written again with
 * every field in quotes, reads as the same rows.
 */
#include "host/text/csv.h"
#include "tests/fuzz/fuzz.h"

static void append(struct text *out, const char *bytes, size_t n)
{
	struct err err;

	MUST(vec_append(out, bytes, n, &err) == 0);
}

static void write_row(struct text *out, const struct csv_row *row, char delimiter)
{
	for (size_t i = 0; i < row->n_fields; i++) {
		size_t n;
		const char *field = csv_field(row, i, &n);

		MUST(field[n] == '\0');
		if (i > 0)
			append(out, &delimiter, 1);
		append(out, "\"", 1);
		for (size_t k = 0, run; k < n; k += run) { /* up to a quote, and the quote again */
			const char *quote = memchr(field + k, '"', n - k);

			run = quote ? (size_t)(quote - field) - k + 1 : n - k;
			append(out, field + k, run);
			append(out, "\"", quote != NULL);
		}
		append(out, "\"", 1);
	}
	append(out, "\r\n", 2);
}

/* All rows written again; *n_rows of them. Returns the reader's code. */
static int rewrite(const char *bytes, size_t n, char delimiter, struct text *out, size_t *n_rows)
{
	struct csv_reader reader = {"input", bytes, n, delimiter, 0, 1};
	struct csv_row row = {0};
	struct err err = {0};
	int rc;

	*n_rows = 0;
	while ((rc = csv_next(&reader, &row, &err)) == 0 && row.n_fields > 0) {
		MUST(row.line >= 1 && row.line <= reader.line);
		write_row(out, &row, delimiter);
		++*n_rows;
	}
	MUST_EXPLAIN(rc, err);
	MUST(rc || reader.at == n);
	csv_row_free(&row);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char delimiter = size > 0 && data[0] == '\t' ? '\t' : ',';
	struct text once = {0}, twice = {0};
	size_t n_once, n_twice;

	if (size == 0)
		return 0;
	if (rewrite((const char *)data + 1, size - 1, delimiter, &once, &n_once) == 0 &&
		n_once > 0) {
		MUST(rewrite(once.data, once.n, delimiter, &twice, &n_twice) == 0);
		MUST(n_once == n_twice && once.n == twice.n);
		MUST(memcmp(once.data, twice.data, once.n) == 0);
	}
	free(once.data);
	free(twice.data);
	return 0;
}
