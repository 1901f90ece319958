/* SPDX-License-Identifier: MIT
 *
 * csv.c - Contract: csv.h. Tests: tests/test_prompts.c; tests/fuzz/fuzz_csv.c.
 *
 * A quote inside a field that did not begin with one is an ordinary character, as in Python's
 * reader and in files that were never quoted. A line ends with LF, CR LF or CR.
 */
#include "host/text/csv.h"

#include <stdbool.h>

static bool at_line_end(const struct csv_reader *r)
{
	return r->at < r->n && (r->bytes[r->at] == '\n' || r->bytes[r->at] == '\r');
}

static void skip_line_end(struct csv_reader *r)
{
	const bool pair = r->bytes[r->at] == '\r' && r->at + 1 < r->n &&
			  r->bytes[r->at + 1] == '\n';

	r->at += pair ? 2 : 1;
	r->line++;
}

/* Line ends inside a quoted field, by the same rule. */
static size_t line_ends(const char *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += s[i] == '\n' || (s[i] == '\r' && !(i + 1 < n && s[i + 1] == '\n'));
	return count;
}

static int read_plain(struct csv_reader *r, struct csv_row *row, struct err *err)
{
	const size_t from = r->at;

	while (r->at < r->n && r->bytes[r->at] != r->delimiter && !at_line_end(r))
		r->at++;
	return vec_append(&row->text, r->bytes + from, r->at - from, err);
}

/* From behind the opening quote to behind the closing one. */
static int read_quoted(struct csv_reader *r, struct csv_row *row, struct err *err)
{
	const size_t opened = r->line, first = r->at;
	bool doubled = true;

	while (doubled) {
		const char *from = r->bytes + r->at;
		const char *quote = r->at < r->n ? memchr(from, '"', r->n - r->at) : NULL;

		if (!quote)
			return err_set(err, ERR_INPUT,
				"%s:%zu: column %zu: expected a closing quote, found the end of "
				"the "
				"file",
				r->name, opened, row->start.n);
		r->at += (size_t)(quote - from) + 1;
		doubled = r->at < r->n && r->bytes[r->at] == '"';
		TRY(vec_append(&row->text, from, (size_t)(quote - from) + doubled, err));
		r->at += doubled;
	}
	r->line += line_ends(r->bytes + first, r->at - first);
	if (r->at < r->n && r->bytes[r->at] != r->delimiter && !at_line_end(r))
		return err_set(err, ERR_INPUT,
			"%s:%zu: column %zu: expected a %s or a line end behind the closing quote, "
			"found "
			"'%c' (quotes inside a quoted field are doubled)",
			r->name, r->line, row->start.n, r->delimiter == '\t' ? "tab" : "comma",
			r->bytes[r->at] >= ' ' && r->bytes[r->at] <= '~' ? r->bytes[r->at] : '?');
	return 0;
fail:
	return err->code;
}

int csv_next(struct csv_reader *r, struct csv_row *row, struct err *err)
{
	bool more = true;

	row->text.n = row->start.n = row->n_fields = 0;
	while (at_line_end(r))
		skip_line_end(r);
	row->line = r->line;
	if (r->at == r->n)
		return 0;
	while (more) {
		TRY(vec_push(&row->start, row->text.n, err));
		if (r->at < r->n && r->bytes[r->at] == '"') {
			r->at++;
			TRY(read_quoted(r, row, err));
		} else {
			TRY(read_plain(r, row, err));
		}
		TRY(vec_push(&row->text, '\0', err));
		more = r->at < r->n && r->bytes[r->at] == r->delimiter;
		r->at += more;
	}
	row->n_fields = row->start.n;
	TRY(vec_push(&row->start, row->text.n, err));
	if (at_line_end(r))
		skip_line_end(r);
	return 0;
fail:
	return err->code;
}

const char *csv_field(const struct csv_row *row, size_t i, size_t *length)
{
	*length = row->start.data[i + 1] - row->start.data[i] - 1;
	return row->text.data + row->start.data[i];
}

void csv_row_free(struct csv_row *row)
{
	free(row->text.data);
	free(row->start.data);
	*row = (struct csv_row){0};
}
