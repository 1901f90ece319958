/* SPDX-License-Identifier: MIT
 *
 * jinja_operators.c - arithmetic, as Python has it, and slices. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include <math.h>

static const char *const spelling[] = {[TOKEN_ADD] = "+",
	[TOKEN_SUB] = "-",
	[TOKEN_MUL] = "*",
	[TOKEN_DIV] = "/",
	[TOKEN_FLOORDIV] = "//",
	[TOKEN_MOD] = "%",
	[TOKEN_POW] = "**"};

static int too_wide(struct jinja_run *r)
{
	return jinja_refuse(r, "an integer beyond 64 bits");
}

static int power(struct jinja_run *r, int64_t a, int64_t b, struct jinja_value *out)
{
	int64_t result = 1;

	if (b < 0) {
		if (a == 0)
			return jinja_fail(r, "zero to a negative power");
		*out = jinja_float(pow((double)a, (double)b));
		return 0;
	}
	for (; b > 0; b >>= 1) {
		if ((b & 1) && __builtin_mul_overflow(result, a, &result))
			return too_wide(r);
		if (b > 1 && __builtin_mul_overflow(a, a, &a))
			return too_wide(r);
	}
	*out = jinja_int(result);
	return 0;
}

/* Whether a double can be that integer. */
static bool is_exact(int64_t i)
{
	return i >= -(INT64_C(1) << 53) && i <= INT64_C(1) << 53;
}

static int integers(struct jinja_run *r, enum jinja_token_kind op, int64_t a, int64_t b,
	struct jinja_value *out)
{
	int64_t c = 0;
	bool wide = false;

	if ((op == TOKEN_DIV || op == TOKEN_FLOORDIV || op == TOKEN_MOD) && b == 0)
		return jinja_fail(r, "division by zero");
	if (b == -1 && (op == TOKEN_FLOORDIV || op == TOKEN_MOD)) {
		/* The least integer over -1 is no integer of 64 bits. */
		wide = op == TOKEN_FLOORDIV && __builtin_sub_overflow(0, a, &c);
	} else {
		switch (op) {
		case TOKEN_ADD:
			wide = __builtin_add_overflow(a, b, &c);
			break;
		case TOKEN_SUB:
			wide = __builtin_sub_overflow(a, b, &c);
			break;
		case TOKEN_MUL:
			wide = __builtin_mul_overflow(a, b, &c);
			break;
		case TOKEN_FLOORDIV: /* towards minus infinity */
			c = a / b - (a % b != 0 && (a < 0) != (b < 0));
			break;
		case TOKEN_MOD: /* of the sign of b */
			c = a % b;
			c += c != 0 && (c < 0) != (b < 0) ? b : 0;
			break;
		case TOKEN_DIV:
			*out = jinja_float(is_exact(a) && is_exact(b)
						   ? (double)a / (double)b
						   : (double)((long double)a / (long double)b));
			return 0;
		default:
			return power(r, a, b, out);
		}
	}
	if (wide)
		return too_wide(r);
	*out = jinja_int(c);
	return 0;
}

static int reals(struct jinja_run *r, enum jinja_token_kind op, double a, double b,
	struct jinja_value *out)
{
	double c = 0;

	if ((op == TOKEN_DIV || op == TOKEN_FLOORDIV || op == TOKEN_MOD) && b == 0)
		return jinja_fail(r, "division by zero");
	switch (op) {
	case TOKEN_ADD:
		c = a + b;
		break;
	case TOKEN_SUB:
		c = a - b;
		break;
	case TOKEN_MUL:
		c = a * b;
		break;
	case TOKEN_DIV:
		c = a / b;
		break;
	case TOKEN_FLOORDIV:
	case TOKEN_MOD: {
		double rest = fmod(a, b), whole = (a - rest) / b;

		if (rest != 0 && (rest < 0) != (b < 0)) {
			rest += b;
			whole -= 1;
		} else if (rest == 0) {
			rest = copysign(0, b);
		}
		if (whole != 0) {
			const double floored = floor(whole);

			whole = floored + (whole - floored > 0.5);
		} else {
			whole = copysign(0, a / b);
		}
		c = op == TOKEN_MOD ? rest : whole;
		break;
	}
	default:
		if ((a < 0 && b != floor(b)) || (a == 0 && b < 0))
			return jinja_fail(r, "expected a power that is a real number");
		c = pow(a, b);
		if (isinf(c) && !isinf(a) && !isinf(b))
			return jinja_fail(r, "the result of ** is too large");
		break;
	}
	*out = jinja_float(c);
	return 0;
}

static int too_long(struct jinja_run *r)
{
	return jinja_fail(r, "more than %d MiB of text", JINJA_MAX_OUTPUT >> 20);
}

static int repeat_text(struct jinja_run *r, struct jinja_value v, size_t times,
	struct jinja_value *out)
{
	const size_t n = v.string.n;
	size_t total;
	char *s;

	if (size_mul_overflow(n, times, &total) || total > JINJA_MAX_OUTPUT)
		return too_long(r);
	s = jinja_take(r, total, 1);
	if (!s)
		return r->err->code;
	for (size_t i = 0; n && i < times; i++)
		memcpy(s + i * n, v.string.s, n);
	*out = jinja_string(s, total);
	out->safe = v.safe;
	return jinja_step(r, n ? times / JINJA_STEP_BYTES : 0);
}

static int repeat_list(struct jinja_run *r, struct jinja_value list, size_t times,
	struct jinja_value *out)
{
	const size_t n = list.list->n;
	size_t total;

	if (size_mul_overflow(n, times, &total))
		total = SIZE_MAX;
	TRY(jinja_new_list(r, list.kind, total, out));
	for (size_t i = 0; i < total; i++)
		out->list->items[i] = list.list->items[i % n];
	return 0;
fail:
	return r->err->code;
}

/* Appends with `safe` strings escaping what joins them. */
static int add_texts(struct jinja_run *r, struct jinja_value a, struct jinja_value b,
	struct jinja_value *out)
{
	const bool safe = a.safe || b.safe;
	char *s;

	if (safe) {
		TRY(jinja_escape(r, a, &a));
		TRY(jinja_escape(r, b, &b));
	}
	if (a.string.n + b.string.n > JINJA_MAX_OUTPUT)
		return too_long(r);
	s = jinja_take(r, a.string.n + b.string.n, 1);
	if (!s)
		return r->err->code;
	if (a.string.n)
		memcpy(s, a.string.s, a.string.n);
	if (b.string.n)
		memcpy(s + a.string.n, b.string.s, b.string.n);
	*out = jinja_string(s, a.string.n + b.string.n);
	out->safe = safe;
	return 0;
fail:
	return r->err->code;
}

static int add_lists(struct jinja_run *r, struct jinja_value a, struct jinja_value b,
	struct jinja_value *out)
{
	TRY(jinja_new_list(r, a.kind, a.list->n + b.list->n, out));
	memcpy(out->list->items, a.list->items, a.list->n * sizeof *a.list->items);
	memcpy(out->list->items + a.list->n, b.list->items, b.list->n * sizeof *b.list->items);
	return 0;
fail:
	return r->err->code;
}

static bool is_list(struct jinja_value v)
{
	return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

static int repeat(struct jinja_run *r, struct jinja_value v, int64_t times, struct jinja_value *out)
{
	const size_t n = times > 0 ? (size_t)times : 0;

	return v.kind == JINJA_STRING ? repeat_text(r, v, n, out) : repeat_list(r, v, n, out);
}

int jinja_binary(struct jinja_run *r, enum jinja_token_kind op, struct jinja_value a,
	struct jinja_value b, struct jinja_value *out)
{
	int64_t i, j;

	if (op == TOKEN_MOD && a.kind == JINJA_STRING)
		return jinja_percent(r, a, b, out);
	if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, a.kind == JINJA_UNDEFINED ? a : b);
	if (jinja_as_int(a, &i) && jinja_as_int(b, &j))
		return integers(r, op, i, j, out);
	if (jinja_is_number(a) && jinja_is_number(b))
		return reals(r, op, jinja_as_float(a), jinja_as_float(b), out);
	if (op == TOKEN_ADD && a.kind == JINJA_STRING && b.kind == JINJA_STRING)
		return add_texts(r, a, b, out);
	if (op == TOKEN_ADD && is_list(a) && a.kind == b.kind)
		return add_lists(r, a, b, out);
	if (op == TOKEN_MUL && (a.kind == JINJA_STRING || is_list(a)) && jinja_as_int(b, &j))
		return repeat(r, a, j, out);
	if (op == TOKEN_MUL && (b.kind == JINJA_STRING || is_list(b)) && jinja_as_int(a, &i))
		return repeat(r, b, i, out);
	if (op == TOKEN_SUB && (a.kind == JINJA_VIEW || b.kind == JINJA_VIEW))
		return jinja_refuse(r, "sets of keys");
	return jinja_fail(r, "'%s': expected two values that it is for, found %s and %s",
		spelling[op], jinja_kind_name(a.kind), jinja_kind_name(b.kind));
}

int jinja_negate(struct jinja_run *r, struct jinja_value a, struct jinja_value *out)
{
	int64_t i;

	if (jinja_as_int(a, &i)) {
		if (__builtin_sub_overflow(0, i, &i))
			return too_wide(r);
		*out = jinja_int(i);
		return 0;
	}
	if (a.kind == JINJA_FLOAT) {
		*out = jinja_float(-a.real);
		return 0;
	}
	if (a.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, a);
	return jinja_fail(r, "'-': expected a number, found %s", jinja_kind_name(a.kind));
}

int jinja_positive(struct jinja_run *r, struct jinja_value a, struct jinja_value *out)
{
	int64_t i;

	if (a.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, a);
	if (!jinja_is_number(a))
		return jinja_fail(r, "'+': expected a number, found %s", jinja_kind_name(a.kind));
	*out = jinja_as_int(a, &i) ? jinja_int(i) : a;
	return 0;
}

/* A bound of a slice of n items, from the end where it is negative. */
static int bound(struct jinja_run *r, struct jinja_value v, int64_t n, bool backwards,
	int64_t otherwise, int64_t *out)
{
	const int64_t least = backwards ? -1 : 0, most = backwards ? n - 1 : n;

	*out = otherwise;
	if (!jinja_given(v))
		return 0;
	TRY(jinja_int_argument(r, v, "a slice", 0, out));
	if (*out < 0)
		*out += n;
	*out = *out < least ? least : *out > most ? most : *out;
	return 0;
fail:
	return r->err->code;
}

static int slice_text(struct jinja_run *r, struct jinja_value a, int64_t start, int64_t step,
	int64_t count, struct jinja_value *out)
{
	struct jinja_list characters;
	struct text text = {0};

	if (step == 1) {
		const size_t from = jinja_offset(a.string.s, a.string.n, (size_t)start);

		*out = jinja_string(a.string.s + from,
			jinja_offset(a.string.s + from, a.string.n - from, (size_t)count));
		out->safe = a.safe;
		return jinja_step(r, a.string.n / JINJA_STEP_BYTES);
	}
	TRY(jinja_items(r, a, &characters));
	for (int64_t i = 0; i < count; i++) {
		const struct jinja_string c = characters.items[start + i * step].string;

		TRY(jinja_add(r, &text, c.s, c.n));
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = a.safe;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}

int jinja_slice(struct jinja_run *r, struct jinja_value a, struct jinja_value start,
	struct jinja_value stop, struct jinja_value step, struct jinja_value *out)
{
	int64_t n, from, to, by = 1, count;
	size_t length;

	if (a.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, a);
	if (a.kind != JINJA_STRING && !is_list(a) && a.kind != JINJA_RANGE)
		return jinja_fail(r, "a slice: expected a string or a list, found %s",
			jinja_kind_name(a.kind));
	TRY(jinja_length(r, a, &length));
	n = (int64_t)length;
	if (jinja_given(step))
		TRY(jinja_int_argument(r, step, "a slice", 1, &by));
	if (by == 0)
		return jinja_fail(r, "a slice: a step of zero");
	/* A step beyond the ends takes one item, as the least such step does. */
	by = by > n + 1 ? n + 1 : by < -n - 1 ? -n - 1 : by;
	TRY(bound(r, start, n, by < 0, by < 0 ? n - 1 : 0, &from));
	TRY(bound(r, stop, n, by < 0, by < 0 ? -1 : n, &to));
	count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
	count = count < 0 ? 0 : count;
	if (a.kind == JINJA_STRING)
		return slice_text(r, a, from, by, count, out);
	TRY(jinja_new_list(r, a.kind, (size_t)count, out));
	for (int64_t i = 0; i < count; i++)
		out->list->items[i] = a.list->items[from + i * by];
	if (a.kind == JINJA_RANGE) {
		out->list->start = a.list->start + from * a.list->step;
		out->list->step = a.list->step * by;
		out->list->stop = a.list->start + to * a.list->step;
	}
	return 0;
fail:
	return r->err->code;
}
