/* SPDX-License-Identifier: MIT
 *
 * jinja_tests.c - what can follow `is`. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja_parts.h"

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

#define ONE_ARGUMENT(name, run) \
	{ \
		name, "value", 1, run, NULL, false \
	}
#define NO_ARGUMENT(name, run) \
	{ \
		name, "", 0, run, NULL, false \
	}

/* Those without a function are Jinja's, but outside the language. */
static const struct jinja_function tests[] = {
	ONE_ARGUMENT("!=", is_unequal),
	ONE_ARGUMENT("<", is_less),
	ONE_ARGUMENT("<=", is_at_most),
	ONE_ARGUMENT("==", is_equal),
	ONE_ARGUMENT(">", is_greater),
	ONE_ARGUMENT(">=", is_at_least),
	NO_ARGUMENT("boolean", is_boolean),
	NO_ARGUMENT("callable", is_callable),
	NO_ARGUMENT("defined", is_defined),
	ONE_ARGUMENT("divisibleby", is_divisible),
	ONE_ARGUMENT("eq", is_equal),
	ONE_ARGUMENT("equalto", is_equal),
	NO_ARGUMENT("escaped", is_escaped),
	NO_ARGUMENT("even", is_even),
	NO_ARGUMENT("false", is_false),
	NO_ARGUMENT("filter", NULL),
	NO_ARGUMENT("float", is_float),
	ONE_ARGUMENT("ge", is_at_least),
	ONE_ARGUMENT("greaterthan", is_greater),
	ONE_ARGUMENT("gt", is_greater),
	ONE_ARGUMENT("in", is_in),
	NO_ARGUMENT("integer", is_integer),
	NO_ARGUMENT("iterable", is_iterable),
	ONE_ARGUMENT("le", is_at_most),
	ONE_ARGUMENT("lessthan", is_less),
	NO_ARGUMENT("lower", is_lower),
	ONE_ARGUMENT("lt", is_less),
	NO_ARGUMENT("mapping", is_mapping),
	ONE_ARGUMENT("ne", is_unequal),
	NO_ARGUMENT("none", is_none),
	NO_ARGUMENT("number", is_number),
	NO_ARGUMENT("odd", is_odd),
	ONE_ARGUMENT("sameas", is_same),
	NO_ARGUMENT("sequence", is_sequence),
	NO_ARGUMENT("string", is_string),
	NO_ARGUMENT("test", NULL),
	NO_ARGUMENT("true", is_true),
	NO_ARGUMENT("undefined", is_undefined),
	NO_ARGUMENT("upper", is_upper),
};

const struct jinja_function *jinja_test(const char *name)
{
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		if (strcmp(tests[i].name, name) == 0)
			return &tests[i];
	return NULL;
}
