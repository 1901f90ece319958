/* SPDX-License-Identifier: MIT
 *
 * prompt_formats.c - Contract: prompt_formats.h, prompts.h. Tests: tests/test_prompts.c;
 * tests/fuzz/fuzz_prompts.c.
 */
#include "host/text/prompt_formats.h"

#include "host/text/csv.h"

#include <stdio.h>

/* Each name of a column is compared with all others; published tables have up to 30. */
enum { MAX_COLUMNS = 4096 };

/* One pass over a file. */
struct pass {
	struct prompt_list *out;
	struct prompt_counts *counts;
	const char *name, *bytes; /* of the file */
	size_t n;
	const struct prompt_selection *selection;
	struct {
		struct record_field *data;
		size_t n, cap;
	} fields;         /* of the current record */
	struct text line; /* the current one, zero-terminated */
	struct python_list suffixes;
};

static int end_record(struct pass *pass, const char *place, bool bare, struct err *err)
{
	const struct record record = {place, pass->counts->n_records++, pass->fields.data,
		pass->fields.n, bare};

	return record_read(pass->out, pass->counts, &record, pass->selection, &pass->suffixes, err);
}

static int add_field(struct pass *pass, const char *name, const char *text, size_t n,
	const json_t *json, struct err *err)
{
	return vec_push(&pass->fields, ((struct record_field){name, text, n, json}), err);
}

static const char *line_place(const struct pass *pass, size_t line, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s:%zu", pass->name, line);
	return buffer;
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* An object, or a text alone, which is an instruction. */
static int read_value(struct pass *pass, const char *place, const json_t *value, struct err *err)
{
	const char *key;
	json_t *entry;

	pass->fields.n = 0;
	if (json_is_string(value)) {
		TRY(add_field(pass, "instruction", json_string_value(value),
			json_string_length(value), value, err));
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, entry) TRY(add_field(pass, key,
			json_string_value(entry), json_string_length(entry), entry, err));
	} else {
		return err_set(err, ERR_INPUT, "%s: expected an object or a text, found %s", place,
			json_kind(value));
	}
	return end_record(pass, place, json_is_string(value), err);
fail:
	return err->code;
}

static int read_array(struct pass *pass, struct err *err)
{
	char place[4200];
	json_t *array = NULL;

	TRY(json_parse(&array, pass->name, pass->bytes, pass->n, err));
	if (!json_is_array(array)) {
		err_set(err, ERR_INPUT, "%s: expected an array of {\"instruction\": ...}, found %s",
			pass->name, json_kind(array));
		goto fail;
	}
	for (size_t i = 0; i < json_array_size(array); i++) {
		snprintf(place, sizeof place, "%s: record %zu", pass->name, i);
		TRY(read_value(pass, place, json_array_get(array, i), err));
	}
	json_decref(array);
	return 0;
fail:
	json_decref(array);
	return err->code;
}

/* ---- lines ------------------------------------------------------------------------------- */

/* The next line that is not blank, without its end; *at moves behind it. NULL at the end. */
static const char *next_line(const struct pass *pass, size_t *at, size_t *line, size_t *length)
{
	while (*at < pass->n) {
		const char *from = pass->bytes + *at;
		const char *end = memchr(from, '\n', pass->n - *at);
		size_t n = end ? (size_t)(end - from) : pass->n - *at, blank = 0;

		*at += n + (end != NULL);
		++*line;
		if (n > 0 && from[n - 1] == '\r')
			n--;
		while (blank < n && (from[blank] == ' ' || from[blank] == '\t'))
			blank++;
		*length = n;
		if (blank < n)
			return from;
	}
	return NULL;
}

static int read_json_lines(struct pass *pass, struct err *err)
{
	size_t at = 0, line = 0, length;
	char place[4200];
	json_t *value = NULL;

	for (const char *from; (from = next_line(pass, &at, &line, &length));) {
		TRY(json_parse_at(&value, pass->name, line, from, length, err));
		TRY(read_value(pass, line_place(pass, line, place, sizeof place), value, err));
		json_decref(value);
		value = NULL;
	}
	return 0;
fail:
	json_decref(value);
	return err->code;
}

static int read_text_lines(struct pass *pass, struct err *err)
{
	size_t at = 0, line = 0, length;
	char place[4200];

	for (const char *from; (from = next_line(pass, &at, &line, &length));) {
		pass->fields.n = pass->line.n = 0;
		TRY(vec_append(&pass->line, from, length, err));
		TRY(vec_push(&pass->line, '\0', err));
		TRY(add_field(pass, "instruction", pass->line.data, length, NULL, err));
		TRY(end_record(pass, line_place(pass, line, place, sizeof place), true, err));
	}
	return 0;
fail:
	return err->code;
}

/* Several sets called .json have an object per line. */
static int read_json(struct pass *pass, struct err *err)
{
	size_t at = 0, line = 0, length;
	const char *first = next_line(pass, &at, &line, &length);
	const bool whole_line = first && first[0] == '{' && first[length - 1] == '}';

	if (whole_line && next_line(pass, &at, &line, &length))
		return read_json_lines(pass, err);
	return read_array(pass, err);
}

/* ---- tables ------------------------------------------------------------------------------ */

static int check_header(const struct pass *pass, const struct csv_row *header, struct err *err)
{
	size_t n;

	if (header->n_fields > MAX_COLUMNS)
		return err_set(err, ERR_INPUT, "%s:%zu: expected at most %d columns, found %zu",
			pass->name, header->line, MAX_COLUMNS, header->n_fields);
	for (size_t i = 0; i < header->n_fields; i++) {
		const char *name = csv_field(header, i, &n);

		for (size_t j = 0; j < i && *name; j++)
			if (strcmp(name, csv_field(header, j, &n)) == 0)
				return err_set(err, ERR_INPUT,
					"%s:%zu: expected columns of different names, found \"%s\" "
					"twice",
					pass->name, header->line, name);
	}
	return 0;
}

static int read_row(struct pass *pass, const struct csv_row *header, const struct csv_row *row,
	struct err *err)
{
	char place[4200];
	size_t n;

	line_place(pass, row->line, place, sizeof place);
	if (row->n_fields != header->n_fields)
		return err_set(err, ERR_INPUT,
			"%s: expected %zu columns as in the header, found %zu", place,
			header->n_fields, row->n_fields);
	pass->fields.n = 0;
	for (size_t i = 0; i < row->n_fields; i++) {
		const char *name = csv_field(header, i, &n), *text = csv_field(row, i, &n);

		TRY(add_field(pass, name, text, n, NULL, err));
	}
	return end_record(pass, place, false, err);
fail:
	return err->code;
}

static int read_table(struct pass *pass, char delimiter, struct err *err)
{
	struct csv_reader reader = {pass->name, pass->bytes, pass->n, delimiter, 0, 1};
	struct csv_row header = {0}, row = {0};

	TRY(csv_next(&reader, &header, err));
	TRY(check_header(pass, &header, err));
	for (;;) {
		TRY(csv_next(&reader, &row, err));
		if (row.n_fields == 0)
			break;
		TRY(read_row(pass, &header, &row, err));
	}
	csv_row_free(&header);
	csv_row_free(&row);
	return 0;
fail:
	csv_row_free(&header);
	csv_row_free(&row);
	return err->code;
}

static int read_comma_table(struct pass *pass, struct err *err)
{
	return read_table(pass, ',', err);
}

static int read_tab_table(struct pass *pass, struct err *err)
{
	return read_table(pass, '\t', err);
}

/* ---- which ------------------------------------------------------------------------------- */

static const struct format {
	const char *name, *extension;
	int (*read)(struct pass *pass, struct err *err);
} formats[] = {
	{"json", ".json", read_json},
	{"jsonl", ".jsonl", read_json_lines},
	{"jsonl", ".ndjson", read_json_lines},
	{"csv", ".csv", read_comma_table},
	{"tsv", ".tsv", read_tab_table},
	{"text", ".txt", read_text_lines},
};

static bool ends_with(const char *text, const char *end)
{
	const size_t n = strlen(text), m = strlen(end);

	return n >= m && strcasecmp(text + n - m, end) == 0;
}

static const struct format *find_format(const char *path, const char *name)
{
	const bool by_extension = !name || !*name || strcmp(name, "auto") == 0;

	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (by_extension ? ends_with(path, formats[i].extension)
				 : strcmp(name, formats[i].name) == 0)
			return &formats[i];
	return NULL;
}

int prompt_format_read(struct prompt_list *out, struct prompt_counts *counts, const char *name,
	const char *bytes, size_t n, const struct prompt_selection *selection, struct err *err)
{
	const struct format *format = find_format(name, selection->format);
	const bool mark = n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0;
	struct pass pass = {.out = out, .counts = counts, .name = name, .selection = selection};
	int rc;

	if (!format)
		return err_set(err, ERR_CONFIG,
			"%s: expected a name that ends in .json, .jsonl, .csv, .tsv or .txt, or "
			"one of "
			"json, jsonl, csv, tsv, text as format, found %s",
			name, selection->format && *selection->format ? selection->format : "auto");
	pass.bytes = bytes + (mark ? 3 : 0);
	pass.n = n - (mark ? 3 : 0);
	rc = format->read(&pass, err);
	free(pass.fields.data);
	free(pass.line.data);
	python_list_free(&pass.suffixes);
	return rc;
}
