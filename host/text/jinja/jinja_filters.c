/* SPDX-License-Identifier: MIT
 *
 * jinja_filters.c - filters of one value: text, numbers, defaults. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"
#include "host/text/strip.h"

#include <errno.h>
#include <math.h>

/* A string as it is, anything else by str(). */
static int to_text(struct jinja_run *r, struct jinja_value v, struct jinja_value *out)
{
	struct jinja_string s;

	*out = v;
	if (v.kind == JINJA_STRING)
		return 0;
	TRY(jinja_to_string(r, v, &s));
	*out = jinja_string(s.s, s.n);
	return 0;
fail:
	return r->err->code;
}

static int default_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)r;
	*out = self;
	if (self.kind == JINJA_UNDEFINED ||
		(jinja_bool_argument(at[1], false) && !jinja_truth(self)))
		*out = at[0].kind == JINJA_MISSING ? jinja_literal("") : at[0];
	return 0;
}

static int string(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return to_text(r, self, out);
}

static int upper(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return to_text(r, self, &self) || jinja_change_case(r, self, JINJA_UPPER, out)
		       ? r->err->code
		       : 0;
}

static int lower(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return to_text(r, self, &self) || jinja_change_case(r, self, JINJA_LOWER, out)
		       ? r->err->code
		       : 0;
}

static int capitalize(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return to_text(r, self, &self) || jinja_capitalize(r, self, out) ? r->err->code : 0;
}

/* Words begin behind white space, '-', '(', '{', '[', '<'. */
static int title(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct text text = {0};
	bool inside = false;

	(void)at;
	TRY(to_text(r, self, &self));
	for (size_t i = 0, length; i < self.string.n; i += length) {
		uint32_t code, mapped;

		length = utf8_length(self.string.s + i, self.string.n - i);
		code = utf8_decode(self.string.s + i, length);
		if (!jinja_case_of(code, inside ? JINJA_LOWER : JINJA_UPPER, &mapped)) {
			jinja_refuse(r, "the other case of the character U+%04X", (unsigned)code);
			goto fail;
		}
		TRY(jinja_add_char(r, &text, mapped));
		inside = space_at_start(self.string.s + i, length) == 0 &&
			 !(code < 0x80 && code && strchr("-({[<", (int)code));
	}
	return jinja_finish(r, &text, out);
fail:
	free(text.data);
	return r->err->code;
}

static int trim(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return to_text(r, self, &self) || jinja_strip(r, self, at[0], true, true, out)
		       ? r->err->code
		       : 0;
}

static int replace(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_string s, old, new;
	int64_t count = -1;

	TRY(jinja_to_string(r, self, &s));
	TRY(jinja_to_string(r, at[0], &old));
	TRY(jinja_to_string(r, at[1], &new));
	if (jinja_given(at[2]))
		TRY(jinja_int_argument(r, at[2], "replace: count", -1, &count));
	return jinja_replace(r, s, old, new, count, out);
fail:
	return r->err->code;
}

static int indent(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const bool first = jinja_bool_argument(at[1], false);
	const bool blank = jinja_bool_argument(at[2], false);
	struct jinja_value by, newline = jinja_literal("\n"), lines;
	struct text text = {0};
	int64_t width;

	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (self.kind != JINJA_STRING)
		return jinja_fail(r, "indent: expected a string, found %s",
			jinja_kind_name(self.kind));
	if (at[0].kind == JINJA_STRING) {
		by = at[0];
	} else {
		TRY(jinja_int_argument(r, at[0], "indent", 4, &width));
		TRY(jinja_binary(r, TOKEN_MUL, jinja_literal(" "), jinja_int(width), &by));
	}
	newline.safe = self.safe;
	TRY(jinja_binary(r, TOKEN_ADD, self, newline, &self));
	TRY(jinja_split_lines(r, self, false, &lines));
	for (size_t i = 0; i < lines.list->n; i++) {
		const struct jinja_string line = lines.list->items[i].string;

		if (i)
			TRY(jinja_add(r, &text, "\n", 1));
		if (i ? blank || line.n : first)
			TRY(jinja_add(r, &text, by.string.s, by.string.n));
		TRY(jinja_add(r, &text, line.s, line.n));
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = self.safe;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}

static int truncate_text(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_string end = jinja_literal("...").string;
	int64_t length, leeway, n_end;
	size_t n;
	struct jinja_value kept;
	const char *s;
	size_t cut;

	TRY(jinja_int_argument(r, at[0], "truncate: length", 255, &length));
	if (at[2].kind != JINJA_MISSING)
		TRY(jinja_string_argument(r, at[2], "truncate: end", &end));
	TRY(jinja_int_argument(r, jinja_given(at[3]) ? at[3] : (struct jinja_value){0},
		"truncate: leeway", 5, &leeway));
	TRY(jinja_length(r, self, &n));
	n_end = (int64_t)jinja_count(end.s, end.n);
	if (length < n_end || leeway < 0)
		return jinja_fail(r, "truncate: expected a length of at least that of its end, "
				     "and a leeway of at least 0");
	*out = self;
	if ((int64_t)n - length <= leeway)
		return 0;
	if (self.kind != JINJA_STRING)
		return jinja_fail(r, "truncate: expected a string, found %s",
			jinja_kind_name(self.kind));
	s = self.string.s;
	cut = jinja_offset(s, self.string.n, (size_t)(length - n_end));
	if (!jinja_bool_argument(at[1], false))
		for (size_t i = cut; i-- > 0;)
			if (s[i] == ' ') {
				cut = i;
				break;
			}
	kept = jinja_string(s, cut);
	return jinja_binary(r, TOKEN_ADD, kept, jinja_string(end.s, end.n), out);
fail:
	return r->err->code;
}

static int center(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t width;

	TRY(to_text(r, self, &self));
	TRY(jinja_int_argument(r, at[0], "center", 80, &width));
	return jinja_center(r, self, width, jinja_literal(" ").string, out);
fail:
	return r->err->code;
}

static int safe(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	TRY(to_text(r, self, out));
	out->safe = true;
	return 0;
fail:
	return r->err->code;
}

static int escape(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return jinja_escape(r, self, out);
}

static int force_escape(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	self.safe = false;
	return jinja_escape(r, self, out);
}

static int format(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	struct jinja_value values;

	if (arguments->n && arguments->n_named)
		return jinja_fail(r, "format: expected arguments by position or by name");
	TRY(to_text(r, self, &self));
	if (arguments->n_named) {
		TRY(jinja_new_dict(r, arguments->n_named, &values));
		for (size_t i = 0; i < arguments->n_named; i++)
			TRY(jinja_put(r, values.dict, jinja_literal(arguments->named[i].name),
				arguments->named[i].value));
	} else {
		TRY(jinja_new_list(r, JINJA_TUPLE, arguments->n, &values));
		for (size_t i = 0; i < arguments->n; i++)
			values.list->items[i] = arguments->data[i];
	}
	return jinja_percent(r, self, values, out);
fail:
	return r->err->code;
}

static bool is_word(uint32_t code)
{
	return code == '_' || jinja_is_alpha(code) || jinja_is_number_like(code);
}

static int wordcount(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t n = 0;
	bool inside = false;

	(void)at;
	TRY(to_text(r, self, &self));
	for (size_t i = 0, length; i < self.string.n; i += length) {
		bool word;

		length = utf8_length(self.string.s + i, self.string.n - i);
		word = is_word(utf8_decode(self.string.s + i, length));
		n += word && !inside;
		inside = word;
	}
	*out = jinja_int(n);
	return jinja_step(r, self.string.n / JINJA_STEP_BYTES);
fail:
	return r->err->code;
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* What Python reads as a number: digits in groups of at least one, between them single
 * underscores. Leaves them out. */
static bool clean(struct jinja_string s, char *out, size_t size)
{
	size_t n = 0;

	s.n -= space_at_end(s.s, s.n);
	{
		const size_t space = space_at_start(s.s, s.n);

		s.s += space;
		s.n -= space;
	}
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.s[i];

		if (c == '_') {
			if (i == 0 || i + 1 == s.n || !strchr("0123456789", s.s[i - 1]) ||
				!strchr("0123456789", s.s[i + 1]) || !s.s[i - 1] || !s.s[i + 1])
				return false;
			continue;
		}
		if (c == '\0' || (unsigned char)c >= 0x80 || n + 1 == size)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return n > 0;
}

static bool read_int(const char *text, int64_t *out)
{
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (!*digits || digits[strspn(digits, "0123456789")])
		return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0;
}

static bool read_float(const char *text, double *out)
{
	static const char *const words[] = {"inf", "infinity", "nan"};
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	*out = strtod(text, &end);
	if (digits[0] && !digits[strspn(digits, "0123456789.eE+-")])
		return *end == '\0';
	for (size_t i = 0; i < 3; i++)
		if (strcasecmp(digits, words[i]) == 0)
			return true;
	return false;
}

enum { MAX_DIGITS = 512 };

static int to_int(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	char text[MAX_DIGITS];
	double real;
	int64_t integer;

	if (at[1].kind != JINJA_MISSING && !(at[1].kind == JINJA_INT && at[1].integer == 10))
		return jinja_refuse(r, "int() of another base");
	*out = at[0].kind == JINJA_MISSING ? jinja_int(0) : at[0];
	if (jinja_as_int(self, &integer)) {
		*out = jinja_int(integer);
		return 0;
	}
	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (self.kind == JINJA_FLOAT) {
		real = self.real;
		if (isinf(real))
			return jinja_fail(r, "int: expected a finite number, found infinity");
	} else if (self.kind != JINJA_STRING || !clean(self.string, text, sizeof text)) {
		return 0;
	} else if (read_int(text, &integer)) {
		*out = jinja_int(integer);
		return 0;
	} else if (!read_float(text, &real)) {
		return 0;
	} else if (!text[1 + strspn(text + 1, "0123456789")] && !isinf(real)) {
		return jinja_refuse(r, "an integer beyond 64 bits");
	}
	if (isnan(real) || isinf(real))
		return 0;
	if (real < -9.2e18 || real > 9.2e18)
		return jinja_refuse(r, "an integer beyond 64 bits");
	*out = jinja_int((int64_t)real);
	return 0;
}

static int to_float(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	char text[MAX_DIGITS];
	double real;

	*out = at[0].kind == JINJA_MISSING ? jinja_float(0) : at[0];
	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (jinja_is_number(self))
		*out = jinja_float(jinja_as_float(self));
	else if (self.kind == JINJA_STRING && clean(self.string, text, sizeof text) &&
		 read_float(text, &real))
		*out = jinja_float(real);
	return 0;
}

static int absolute(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t integer;

	(void)at;
	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (!jinja_is_number(self))
		return jinja_fail(r, "abs: expected a number, found %s",
			jinja_kind_name(self.kind));
	if (jinja_as_int(self, &integer)) {
		*out = jinja_int(integer);
		return integer < 0 ? jinja_negate(r, self, out) : 0;
	}
	*out = jinja_float(fabs(self.real));
	return 0;
}

/* To decimals, half to even of what the float is exactly: as printf rounds. */
static double round_to(double real, int decimals)
{
	char text[400];

	if (!isfinite(real))
		return real;
	snprintf(text, sizeof text, "%.*f", decimals, real);
	return strtod(text, NULL);
}

static int round_number(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t decimals, integer;
	double power, scaled;

	TRY(jinja_int_argument(r, at[0], "round", 0, &decimals));
	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (!jinja_is_number(self))
		return jinja_fail(r, "round: expected a number, found %s",
			jinja_kind_name(self.kind));
	if (decimals < 0 || decimals > 15)
		return jinja_refuse(r, "round() to other than 0 to 15 decimals");
	if (at[1].kind == JINJA_MISSING || jinja_is(at[1], "common")) {
		if (jinja_as_int(self, &integer))
			*out = jinja_int(integer);
		else
			*out = jinja_float(round_to(self.real, (int)decimals));
		return 0;
	}
	if (!jinja_is(at[1], "ceil") && !jinja_is(at[1], "floor"))
		return jinja_fail(r, "round: expected 'common', 'ceil' or 'floor'");
	power = pow(10, (double)decimals);
	scaled = jinja_as_float(self) * power;
	if (!isfinite(scaled))
		return jinja_fail(r, "round: expected a finite number");
	*out = jinja_float((jinja_is(at[1], "ceil") ? ceil(scaled) : floor(scaled)) / power);
	return 0;
fail:
	return r->err->code;
}

static const struct jinja_function filters[] = {
	{.name = "abs", .parameters = "", .run = absolute},
	{.name = "capitalize", .parameters = "", .run = capitalize},
	{.name = "center", .parameters = "width", .run = center},
	{.name = "d", .parameters = "default_value boolean", .run = default_of},
	{.name = "default", .parameters = "default_value boolean", .run = default_of},
	{.name = "e", .parameters = "", .run = escape},
	{.name = "escape", .parameters = "", .run = escape},
	{.name = "float", .parameters = "default", .run = to_float},
	{.name = "forceescape", .parameters = "", .run = force_escape},
	{.name = "format", .run_free = format},
	{.name = "indent", .parameters = "width first blank", .run = indent},
	{.name = "int", .parameters = "default base", .run = to_int},
	{.name = "lower", .parameters = "", .run = lower},
	{.name = "replace", .parameters = "old new count", .n_required = 2, .run = replace},
	{.name = "round", .parameters = "precision method", .run = round_number},
	{.name = "safe", .parameters = "", .run = safe},
	{.name = "string", .parameters = "", .run = string},
	{.name = "title", .parameters = "", .run = title},
	{.name = "tojson",
		.parameters = "ensure_ascii indent separators sort_keys",
		.run = jinja_tojson},
	{.name = "trim", .parameters = "chars", .run = trim},
	{.name = "truncate", .parameters = "length killwords end leeway", .run = truncate_text},
	{.name = "upper", .parameters = "", .run = upper},
	{.name = "wordcount", .parameters = "", .run = wordcount},
	/* Jinja's, but outside the language. */
	{.name = "filesizeformat"},
	{.name = "pprint"},
	{.name = "striptags"},
	{.name = "urlencode"},
	{.name = "urlize"},
	{.name = "wordwrap"},
	{.name = "xmlattr"},
};

const struct jinja_function *jinja_filter_of_value(const char *name)
{
	for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
		if (strcmp(filters[i].name, name) == 0)
			return &filters[i];
	return NULL;
}
