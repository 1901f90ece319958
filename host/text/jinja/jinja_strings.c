/* SPDX-License-Identifier: MIT
 *
 * jinja_strings.c - the methods of Python's str: case, what is at the ends, what characters are;
 * the others are in jinja_search.c. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"
#include "host/text/strip.h"

#include <inttypes.h>

/* ---- strip --------------------------------------------------------------------------------- */

/* Whether the character is one of `chars`. */
static bool is_among(struct jinja_string chars, const char *character, size_t length)
{
	for (size_t i = 0, n; i < chars.n; i += n) {
		n = utf8_length(chars.s + i, chars.n - i);
		if (n == length && memcmp(chars.s + i, character, n) == 0)
			return true;
	}
	return false;
}

int jinja_strip(struct jinja_run *r, struct jinja_value v, struct jinja_value chars, bool left,
	bool right, struct jinja_value *out)
{
	const char *s = v.string.s;
	size_t start = 0, end = v.string.n;
	struct jinja_string among;

	TRY(jinja_step(r, v.string.n / JINJA_STEP_BYTES));
	if (!jinja_given(chars)) {
		if (left)
			start = space_at_start(s, end);
		if (right)
			end -= space_at_end(s + start, end - start);
		*out = jinja_part(v, start, end);
		return 0;
	}
	TRY(jinja_string_argument(r, chars, "strip", &among));
	TRY(jinja_step(r, v.string.n / JINJA_STEP_BYTES * (among.n + 1)));
	while (left && start < end) {
		const size_t length = utf8_length(s + start, end - start);

		if (!is_among(among, s + start, length))
			break;
		start += length;
	}
	while (right && start < end) {
		const size_t length = jinja_last_length(s, end);

		if (!is_among(among, s + end - length, length))
			break;
		end -= length;
	}
	*out = jinja_part(v, start, end);
	return 0;
fail:
	return r->err->code;
}

static int strip(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return jinja_strip(r, self, at[0], true, true, out);
}

static int lstrip(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return jinja_strip(r, self, at[0], true, false, out);
}

static int rstrip(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return jinja_strip(r, self, at[0], false, true, out);
}

/* ---- case ---------------------------------------------------------------------------------- */

/* In one case, or, where `next` is another, that one from the second character on. */
static int map_case(struct jinja_run *r, struct jinja_value v, enum jinja_case first,
	enum jinja_case next, bool words, struct jinja_value *out)
{
	const struct jinja_string s = v.string;
	struct text text = {0};
	bool inside = false;

	for (size_t i = 0, length; i < s.n; i += length) {
		const enum jinja_case to = inside ? next : first;
		uint32_t code, mapped;

		length = utf8_length(s.s + i, s.n - i);
		code = utf8_decode(s.s + i, length);
		if (!jinja_case_of(code, to, &mapped)) {
			jinja_refuse(r, "the other case of the character U+%04" PRIX32, code);
			goto fail;
		}
		TRY(jinja_add_char(r, &text, mapped));
		inside = words ? jinja_is_cased(code) : true;
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = v.safe;
	return jinja_step(r, s.n / JINJA_STEP_BYTES);
fail:
	free(text.data);
	return r->err->code;
}

int jinja_change_case(struct jinja_run *r, struct jinja_value v, enum jinja_case to,
	struct jinja_value *out)
{
	return map_case(r, v, to, to, false, out);
}

int jinja_capitalize(struct jinja_run *r, struct jinja_value v, struct jinja_value *out)
{
	return map_case(r, v, JINJA_TITLE, JINJA_LOWER, false, out);
}

static int upper(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return jinja_change_case(r, self, JINJA_UPPER, out);
}

static int lower(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return jinja_change_case(r, self, JINJA_LOWER, out);
}

static int title(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return map_case(r, self, JINJA_TITLE, JINJA_LOWER, true, out);
}

static int capitalize(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return jinja_capitalize(r, self, out);
}

/* ---- filling ----------------------------------------------------------------------------------
 */

static int fill(struct jinja_run *r, struct jinja_value v, struct jinja_string with, size_t left,
	size_t right, struct jinja_value *out)
{
	struct text text = {0};

	TRY(left > JINJA_MAX_STEPS || right > JINJA_MAX_STEPS ? jinja_step(r, SIZE_MAX)
							      : jinja_step(r, left + right));
	for (size_t i = 0; i < left; i++)
		TRY(jinja_add(r, &text, with.s, with.n));
	TRY(jinja_add(r, &text, v.string.s, v.string.n));
	for (size_t i = 0; i < right; i++)
		TRY(jinja_add(r, &text, with.s, with.n));
	TRY(jinja_finish(r, &text, out));
	out->safe = v.safe;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}

int jinja_center(struct jinja_run *r, struct jinja_value v, int64_t width, struct jinja_string with,
	struct jinja_value *out)
{
	const int64_t n = (int64_t)jinja_count(v.string.s, v.string.n);
	const size_t missing = width > n ? (size_t)(width - n) : 0;
	/* Which side has one more is Python's choice. */
	const size_t left = missing / 2 + (missing & (size_t)width & 1);

	return fill(r, v, with, left, missing - left, out);
}

static int fill_of(struct jinja_run *r, const char *what, struct jinja_value self,
	const struct jinja_value *at, int64_t *width, struct jinja_value *with)
{
	*with = jinja_literal(" ");
	TRY(jinja_int_argument(r, at[0], what, 0, width));
	if (at[1].kind != JINJA_MISSING)
		TRY(jinja_string_argument(r, at[1], what, &with->string));
	if (self.safe) {
		with->safe = at[1].kind == JINJA_STRING && at[1].safe;
		TRY(jinja_escape(r, *with, with));
	}
	if (jinja_count(with->string.s, with->string.n) != 1)
		return jinja_fail(r, "%s: expected one character to fill with", what);
	return 0;
fail:
	return r->err->code;
}

static int justify(struct jinja_run *r, const char *what, struct jinja_value self,
	const struct jinja_value *at, bool left, struct jinja_value *out)
{
	const int64_t n = (int64_t)jinja_count(self.string.s, self.string.n);
	struct jinja_value with;
	int64_t width;
	size_t missing;

	TRY(fill_of(r, what, self, at, &width, &with));
	missing = width > n ? (size_t)(width - n) : 0;
	return fill(r, self, with.string, left ? 0 : missing, left ? missing : 0, out);
fail:
	return r->err->code;
}

static int ljust(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return justify(r, "ljust", self, at, true, out);
}

static int rjust(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return justify(r, "rjust", self, at, false, out);
}

static int center(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_value with;
	int64_t width;

	TRY(fill_of(r, "center", self, at, &width, &with));
	return jinja_center(r, self, width, with.string, out);
fail:
	return r->err->code;
}

static int zfill(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const struct jinja_string s = self.string;
	const bool sign = s.n && (s.s[0] == '-' || s.s[0] == '+');
	struct jinja_value digits = jinja_part(self, sign, s.n), filled;
	int64_t width;

	TRY(jinja_int_argument(r, at[0], "zfill", 0, &width));
	if (width <= (int64_t)jinja_count(s.s, s.n)) {
		*out = self;
		return 0;
	}
	TRY(fill(r, digits, jinja_literal("0").string, (size_t)width - jinja_count(s.s, s.n), 0,
		&filled));
	digits = jinja_part(self, 0, sign);
	digits.safe = filled.safe = false;
	TRY(jinja_binary(r, TOKEN_ADD, digits, filled, out));
	out->safe = self.safe;
	return 0;
fail:
	return r->err->code;
}

/* ---- what the characters are --------------------------------------------------------------- */

/* Whether there are characters and all of them are so. */
static bool all_are(struct jinja_string s, bool (*is)(uint32_t))
{
	for (size_t i = 0, length; i < s.n; i += length) {
		length = utf8_length(s.s + i, s.n - i);
		if (!is(utf8_decode(s.s + i, length)))
			return false;
	}
	return s.n > 0;
}

static bool is_digit(uint32_t code)
{
	return code >= '0' && code <= '9';
}

static bool is_alnum(uint32_t code)
{
	return is_digit(code) || jinja_is_alpha(code);
}

/* Of the numbers beyond ASCII Python knows several kinds. */
static int refuse_numbers(struct jinja_run *r, struct jinja_string s)
{
	for (size_t i = 0, length; i < s.n; i += length) {
		length = utf8_length(s.s + i, s.n - i);
		if (length > 1 && jinja_is_number_like(utf8_decode(s.s + i, length)))
			return jinja_refuse(r, "asking for digits of other scripts");
	}
	return 0;
}

static int isdigit_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(all_are(self.string, is_digit));
	return refuse_numbers(r, self.string);
}

static int isnumeric_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	for (size_t i = 0; i < self.string.n; i++)
		if ((unsigned char)self.string.s[i] >= 0x80)
			return jinja_refuse(r, "isnumeric() of what is not ASCII");
	*out = jinja_bool(all_are(self.string, is_digit));
	return 0;
}

static int isalnum_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(all_are(self.string, is_alnum));
	return refuse_numbers(r, self.string);
}

static int isalpha_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(all_are(self.string, jinja_is_alpha));
	return jinja_step(r, self.string.n / JINJA_STEP_BYTES);
}

static int isspace_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(self.string.n > 0 &&
			  space_at_start(self.string.s, self.string.n) == self.string.n);
	return jinja_step(r, self.string.n / JINJA_STEP_BYTES);
}

bool jinja_is_case(struct jinja_string s, bool upper)
{
	bool any = false;

	for (size_t i = 0, length; i < s.n; i += length) {
		uint32_t code;

		length = utf8_length(s.s + i, s.n - i);
		code = utf8_decode(s.s + i, length);
		if (upper ? jinja_is_upper(code) : jinja_is_lower(code))
			any = true;
		else if (jinja_is_cased(code))
			return false;
	}
	return any;
}

static int isupper_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(jinja_is_case(self.string, true));
	return jinja_step(r, self.string.n / JINJA_STEP_BYTES);
}

static int islower_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	*out = jinja_bool(jinja_is_case(self.string, false));
	return jinja_step(r, self.string.n / JINJA_STEP_BYTES);
}

static int format(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	return jinja_format(r, self, arguments, out);
}

/* Those without a function are refused where they are called. */
static const struct jinja_function methods[] = {
	{.name = "capitalize", .parameters = "", .run = capitalize, .positional = true},
	{.name = "casefold"},
	{.name = "center",
		.parameters = "width fillchar",
		.n_required = 1,
		.run = center,
		.positional = true},
	{.name = "encode"},
	{.name = "expandtabs"},
	{.name = "format", .run_free = format},
	{.name = "format_map"},
	{.name = "isalnum", .parameters = "", .run = isalnum_of, .positional = true},
	{.name = "isalpha", .parameters = "", .run = isalpha_of, .positional = true},
	{.name = "isascii"},
	{.name = "isdecimal", .parameters = "", .run = isdigit_of, .positional = true},
	{.name = "isdigit", .parameters = "", .run = isdigit_of, .positional = true},
	{.name = "isidentifier"},
	{.name = "islower", .parameters = "", .run = islower_of, .positional = true},
	{.name = "isnumeric", .parameters = "", .run = isnumeric_of, .positional = true},
	{.name = "isprintable"},
	{.name = "isspace", .parameters = "", .run = isspace_of, .positional = true},
	{.name = "istitle"},
	{.name = "isupper", .parameters = "", .run = isupper_of, .positional = true},
	{.name = "ljust",
		.parameters = "width fillchar",
		.n_required = 1,
		.run = ljust,
		.positional = true},
	{.name = "lower", .parameters = "", .run = lower, .positional = true},
	{.name = "lstrip", .parameters = "chars", .run = lstrip, .positional = true},
	{.name = "maketrans"},
	{.name = "rjust",
		.parameters = "width fillchar",
		.n_required = 1,
		.run = rjust,
		.positional = true},
	{.name = "rstrip", .parameters = "chars", .run = rstrip, .positional = true},
	{.name = "strip", .parameters = "chars", .run = strip, .positional = true},
	{.name = "swapcase"},
	{.name = "title", .parameters = "", .run = title, .positional = true},
	{.name = "translate"},
	{.name = "upper", .parameters = "", .run = upper, .positional = true},
	{.name = "zfill", .parameters = "width", .n_required = 1, .run = zfill, .positional = true},
};

const struct jinja_function *jinja_string_method(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return jinja_search_method(name);
}
