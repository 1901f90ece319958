/* SPDX-License-Identifier: MIT
 *
 * jinja_tests.c - what can follow `is`. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

/* Tests of the kind of a value, which need nothing but it. */
static int answer(struct jinja_value *out, bool yes)
{
	*out = jinja_bool(yes);
	return 0;
}

#define KIND_TEST(name, condition) \
	static int name(struct jinja_run *r, struct jinja_value self, \
		const struct jinja_value *at, struct jinja_value *out) \
	{ \
		(void)r, (void)at; \
		return answer(out, condition); \
	}

KIND_TEST(is_defined, self.kind != JINJA_UNDEFINED)
KIND_TEST(is_undefined, self.kind == JINJA_UNDEFINED)
KIND_TEST(is_none, self.kind == JINJA_NONE)
KIND_TEST(is_boolean, self.kind == JINJA_BOOL)
KIND_TEST(is_true, self.kind == JINJA_BOOL && self.truth)
KIND_TEST(is_false, self.kind == JINJA_BOOL && !self.truth)
KIND_TEST(is_integer, self.kind == JINJA_INT)
KIND_TEST(is_float, self.kind == JINJA_FLOAT)
KIND_TEST(is_number, jinja_is_number(self))
KIND_TEST(is_string, self.kind == JINJA_STRING)
KIND_TEST(is_mapping, self.kind == JINJA_DICT)
KIND_TEST(is_iterable, jinja_is_iterable(self) || self.kind == JINJA_LOOP)
KIND_TEST(is_sequence, jinja_has_length(self) && self.kind != JINJA_VIEW)
KIND_TEST(is_callable, self.kind == JINJA_MACRO || self.kind == JINJA_FUNCTION ||
			       self.kind == JINJA_METHOD || self.kind == JINJA_LOOP ||
			       self.kind == JINJA_UNDEFINED)
KIND_TEST(is_escaped, self.kind == JINJA_STRING && self.safe)

static int is_remainder(struct jinja_run *r, struct jinja_value self, struct jinja_value divisor,
	int64_t remainder, struct jinja_value *out)
{
	struct jinja_value rest;
	bool same;

	TRY(jinja_binary(r, TOKEN_MOD, self, divisor, &rest));
	TRY(jinja_equal(r, rest, jinja_int(remainder), &same));
	return answer(out, same);
fail:
	return r->err->code;
}

static int is_odd(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return is_remainder(r, self, jinja_int(2), 1, out);
}

static int is_even(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return is_remainder(r, self, jinja_int(2), 0, out);
}

static int is_divisible(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return is_remainder(r, self, at[0], 0, out);
}

static int is_case(struct jinja_run *r, struct jinja_value self, bool upper,
	struct jinja_value *out)
{
	struct jinja_string s;

	TRY(jinja_to_string(r, self, &s));
	return answer(out, jinja_is_case(s, upper));
fail:
	return r->err->code;
}

static int is_lower(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return is_case(r, self, false, out);
}

static int is_upper(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return is_case(r, self, true, out);
}

static int is_equal(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	bool same;

	TRY(jinja_equal(r, self, at[0], &same));
	return answer(out, same);
fail:
	return r->err->code;
}

static int is_unequal(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	bool same;

	TRY(jinja_equal(r, self, at[0], &same));
	return answer(out, !same);
fail:
	return r->err->code;
}

#define ORDER_TEST(name, condition) \
	static int name(struct jinja_run *r, struct jinja_value self, \
		const struct jinja_value *at, struct jinja_value *out) \
	{ \
		int order; \
\
		TRY(jinja_compare(r, self, at[0], &order)); \
		return answer(out, condition); \
	fail: \
		return r->err->code; \
	}

ORDER_TEST(is_less, order == -1)
ORDER_TEST(is_at_most, order == -1 || order == 0)
ORDER_TEST(is_greater, order == 1)
ORDER_TEST(is_at_least, order == 1 || order == 0)

static int is_in(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	bool found;

	TRY(jinja_contains(r, at[0], self, &found));
	return answer(out, found);
fail:
	return r->err->code;
}

/* Python's singletons are the same wherever they are; of other values it depends on how they came
 * about. */
static int is_same(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const enum jinja_kind a = self.kind, b = at[0].kind;
	const bool single = a == JINJA_NONE || a == JINJA_BOOL || b == JINJA_NONE ||
			    b == JINJA_BOOL;

	if (!single && a == b)
		return jinja_refuse(r, "'is sameas' of two values of one kind");
	return answer(out, a == b && (a == JINJA_NONE || self.truth == at[0].truth));
}

/* Those without a function are Jinja's, but outside the language. */
static const struct jinja_function tests[] = {
	{.name = "!=", .parameters = "value", .n_required = 1, .run = is_unequal},
	{.name = "<", .parameters = "value", .n_required = 1, .run = is_less},
	{.name = "<=", .parameters = "value", .n_required = 1, .run = is_at_most},
	{.name = "==", .parameters = "value", .n_required = 1, .run = is_equal},
	{.name = ">", .parameters = "value", .n_required = 1, .run = is_greater},
	{.name = ">=", .parameters = "value", .n_required = 1, .run = is_at_least},
	{.name = "boolean", .parameters = "", .run = is_boolean},
	{.name = "callable", .parameters = "", .run = is_callable},
	{.name = "defined", .parameters = "", .run = is_defined},
	{.name = "divisibleby", .parameters = "value", .n_required = 1, .run = is_divisible},
	{.name = "eq", .parameters = "value", .n_required = 1, .run = is_equal},
	{.name = "equalto", .parameters = "value", .n_required = 1, .run = is_equal},
	{.name = "escaped", .parameters = "", .run = is_escaped},
	{.name = "even", .parameters = "", .run = is_even},
	{.name = "false", .parameters = "", .run = is_false},
	{.name = "filter"},
	{.name = "float", .parameters = "", .run = is_float},
	{.name = "ge", .parameters = "value", .n_required = 1, .run = is_at_least},
	{.name = "greaterthan", .parameters = "value", .n_required = 1, .run = is_greater},
	{.name = "gt", .parameters = "value", .n_required = 1, .run = is_greater},
	{.name = "in", .parameters = "value", .n_required = 1, .run = is_in},
	{.name = "integer", .parameters = "", .run = is_integer},
	{.name = "iterable", .parameters = "", .run = is_iterable},
	{.name = "le", .parameters = "value", .n_required = 1, .run = is_at_most},
	{.name = "lessthan", .parameters = "value", .n_required = 1, .run = is_less},
	{.name = "lower", .parameters = "", .run = is_lower},
	{.name = "lt", .parameters = "value", .n_required = 1, .run = is_less},
	{.name = "mapping", .parameters = "", .run = is_mapping},
	{.name = "ne", .parameters = "value", .n_required = 1, .run = is_unequal},
	{.name = "none", .parameters = "", .run = is_none},
	{.name = "number", .parameters = "", .run = is_number},
	{.name = "odd", .parameters = "", .run = is_odd},
	{.name = "sameas", .parameters = "value", .n_required = 1, .run = is_same},
	{.name = "sequence", .parameters = "", .run = is_sequence},
	{.name = "string", .parameters = "", .run = is_string},
	{.name = "test"},
	{.name = "true", .parameters = "", .run = is_true},
	{.name = "undefined", .parameters = "", .run = is_undefined},
	{.name = "upper", .parameters = "", .run = is_upper},
};

const struct jinja_function *jinja_test(const char *name)
{
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		if (strcmp(tests[i].name, name) == 0)
			return &tests[i];
	return NULL;
}
