/* SPDX-License-Identifier: MIT
 *
 * python_list.c - Contract: python_list.h. Tests: tests/test_prompts.c;
 * tests/fuzz/fuzz_python_list.c.
 *
 * Grammar: the Python Language Reference, 2.4.1, for strings in one pair of single or double
 * quotes without a prefix. A backslash before any other character stands for itself.
 */
#include "host/text/python_list.h"

#include "host/base/utf8.h"

struct scanner {
	const char *place, *s;
	size_t n, at;
};

static int wrong(const struct scanner *in, const char *expected, struct err *err)
{
	const size_t length = in->at < in->n ? utf8_length(in->s + in->at, in->n - in->at) : 0;

	if (in->at >= in->n)
		return err_set(err, ERR_INPUT,
			"%s: offset %zu of a Python list: expected %s, found its end", in->place,
			in->at, expected);
	return err_set(err, ERR_INPUT, "%s: offset %zu of a Python list: expected %s, found '%.*s'",
		in->place, in->at, expected, length ? (int)length : 1, in->s + in->at);
}

static void skip_spaces(struct scanner *in)
{
	while (in->at < in->n && in->s[in->at] && strchr(" \t\r\n", in->s[in->at]))
		in->at++;
}

static bool take(struct scanner *in, char c)
{
	if (in->at >= in->n || in->s[in->at] != c)
		return false;
	in->at++;
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Digits of a number in `base`: at least `least`, at most `most`. */
static int read_code(struct scanner *in, int base, int least, int most, uint32_t *code,
	struct err *err)
{
	int n = 0;

	for (*code = 0; n < most && in->at < in->n && digit_value(in->s[in->at]) < base; n++)
		*code = *code * (uint32_t)base + (uint32_t)digit_value(in->s[in->at++]);
	return n < least ? wrong(in, "a hexadecimal digit", err) : 0;
}

/* From behind the backslash. */
static int read_escape(struct scanner *in, struct text *out, struct err *err)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	const size_t start = in->at;
	const char c = in->at < in->n ? in->s[in->at] : '\0';
	const char *simple = c ? strchr(from, c) : NULL;
	char bytes[4];
	uint32_t code;
	size_t length;

	if (in->at == in->n)
		return wrong(in, "an escaped character", err);
	if (simple) {
		in->at++;
		return vec_push(out, to[simple - from], err);
	}
	if (c == '\n') {
		in->at++;
		return 0;
	}
	if (c == 'N')
		return wrong(in, "an escape other than a character's name", err);
	if (c >= '0' && c <= '7') {
		TRY(read_code(in, 8, 1, 3, &code, err));
	} else if (c == 'x' || c == 'u' || c == 'U') {
		const int n = c == 'x' ? 2 : c == 'u' ? 4 : 8;

		in->at++;
		TRY(read_code(in, 16, n, n, &code, err));
	} else {
		return vec_push(out, '\\', err);
	}
	if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
		in->at = start;
		return wrong(in, "the code of a character other than zero", err);
	}
	length = utf8_spell(code, bytes);
	return vec_append(out, bytes, length, err);
fail:
	return err->code;
}

static int read_string(struct scanner *in, struct text *out, struct err *err)
{
	const char quote = in->at < in->n ? in->s[in->at] : '\0';

	if (quote != '\'' && quote != '"')
		return wrong(in, "a string in quotes", err);
	in->at++;
	while (in->at < in->n && in->s[in->at] != quote) {
		const char c = in->s[in->at];

		if (c == '\0' || c == '\n')
			return wrong(in, "a closing quote on the same line", err);
		in->at++;
		if (c == '\\')
			TRY(read_escape(in, out, err));
		else
			TRY(vec_push(out, c, err));
	}
	if (!take(in, quote))
		return wrong(in, "a closing quote", err);
	return vec_push(out, '\0', err);
fail:
	return err->code;
}

int python_list_parse(struct python_list *list, const char *place, const char *s, size_t n,
	struct err *err)
{
	struct scanner in = {place, s, n, 0};
	bool more = true;

	list->text.n = list->start.n = 0;
	skip_spaces(&in);
	if (!take(&in, '['))
		return wrong(&in, "[", err);
	for (skip_spaces(&in); !take(&in, ']'); skip_spaces(&in)) {
		if (!more)
			return wrong(&in, "a comma or ]", err);
		TRY(vec_push(&list->start, list->text.n, err));
		TRY(read_string(&in, &list->text, err));
		skip_spaces(&in);
		more = take(&in, ',');
	}
	skip_spaces(&in);
	return in.at < n ? wrong(&in, "nothing behind the list", err) : 0;
fail:
	return err->code;
}

void python_list_free(struct python_list *list)
{
	free(list->text.data);
	free(list->start.data);
	*list = (struct python_list){0};
}
