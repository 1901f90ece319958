/* SPDX-License-Identifier: MIT
 *
 * fuzz_python_list.c - the text of a Python list of strings. What was read, written again with the
 * fewest escapes, reads as the same strings.
 */
#include "host/text/python_list.h"
#include "tests/fuzz/fuzz.h"

static void append(struct text *out, const char *bytes, size_t n)
{
	struct err err;

	MUST(vec_append(out, bytes, n, &err) == 0);
}

static void write_string(struct text *out, const char *s)
{
	append(out, "'", 1);
	while (*s) {
		const size_t run = strcspn(s, "\n'\\");

		append(out, s, run);
		s += run;
		if (*s) {
			append(out, "\\", 1);
			append(out, *s == '\n' ? "n" : s, 1);
			s++;
		}
	}
	append(out, "',", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct python_list list = {0}, again = {0};
	struct text written = {0};
	struct err err = {0};
	const int rc = python_list_parse(&list, "input", (const char *)data, size, &err);

	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		append(&written, "[", 1);
		for (size_t i = 0; i < list.start.n; i++)
			write_string(&written, list.text.data + list.start.data[i]);
		append(&written, "]", 1);
		MUST(python_list_parse(&again, "again", written.data, written.n, &err) == 0);
		MUST(again.start.n == list.start.n && again.text.n == list.text.n);
		MUST(list.text.n == 0 || memcmp(again.text.data, list.text.data, list.text.n) == 0);
	}
	free(written.data);
	python_list_free(&list);
	python_list_free(&again);
	return 0;
}
