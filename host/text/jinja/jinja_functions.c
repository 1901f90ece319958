/* SPDX-License-Identifier: MIT
 *
 * jinja_functions.c - the functions that every template has: range, namespace, raise_exception,
 * ... Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

static int range(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t start = 0, stop, step = 1, n = 0;

	(void)self;
	TRY(jinja_int_argument(r, at[0], "range", 0, &stop));
	if (at[1].kind != JINJA_MISSING) {
		start = stop;
		TRY(jinja_int_argument(r, at[1], "range", 0, &stop));
	}
	TRY(jinja_int_argument(r, at[2], "range", 1, &step));
	if (step == 0)
		return jinja_fail(r, "range: a step of zero");
	/* The count in wide arithmetic: the ends may be as far apart as integers can be. */
	if (step > 0 ? start < stop : start > stop) {
		const __int128 distance = step > 0 ? (__int128)stop - start
						   : (__int128)start - stop;
		const __int128 stride = step > 0 ? (__int128)step : -(__int128)step;
		const __int128 count = (distance + stride - 1) / stride;

		if (count > JINJA_MAX_RANGE)
			return jinja_fail(r, "range: more than %d numbers", JINJA_MAX_RANGE);
		n = (int64_t)count;
	}
	TRY(jinja_new_list(r, JINJA_RANGE, (size_t)n, out));
	out->list->start = start;
	out->list->stop = stop;
	out->list->step = step;
	for (int64_t i = 0; i < n; i++)
		out->list->items[i] = jinja_int(start + i * step);
	return 0;
fail:
	return r->err->code;
}

/* Another dict, or pairs. */
static int put_all(struct jinja_run *r, struct jinja_dict *dict, struct jinja_value from)
{
	struct jinja_list items;

	if (from.kind == JINJA_DICT) {
		for (size_t i = 0; i < from.dict->n; i++)
			TRY(jinja_put(r, dict, from.dict->pairs[i].key, from.dict->pairs[i].value));
		return 0;
	}
	TRY(jinja_items(r, from, &items));
	for (size_t i = 0; i < items.n; i++) {
		struct jinja_list pair;

		TRY(jinja_items(r, items.items[i], &pair));
		if (pair.n != 2)
			return jinja_fail(r, "expected pairs, found one of %zu values", pair.n);
		TRY(jinja_put(r, dict, pair.items[0], pair.items[1]));
	}
	return 0;
fail:
	return r->err->code;
}

static int dict(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	(void)self;
	if (arguments->n > 1)
		return jinja_fail(r, "expected at most one argument by position, found %zu",
			arguments->n);
	TRY(jinja_new_dict(r, arguments->n_named, out));
	if (arguments->n)
		TRY(put_all(r, out->dict, arguments->data[0]));
	for (size_t i = 0; i < arguments->n_named; i++)
		TRY(jinja_put(r, out->dict, jinja_literal(arguments->named[i].name),
			arguments->named[i].value));
	return 0;
fail:
	return r->err->code;
}

static int namespace(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	TRY(dict(r, self, arguments, out));
	for (size_t i = 0; i < out->dict->n; i++) {
		const struct jinja_value key = out->dict->pairs[i].key;

		if (key.kind == JINJA_STRING && key.string.n && key.string.s[0] == '_')
			return jinja_fail(r, "namespace: a name that begins with an underscore");
	}
	out->kind = JINJA_NAMESPACE;
	return 0;
fail:
	return r->err->code;
}

static int raise_exception(struct jinja_run *r, struct jinja_value self,
	const struct jinja_value *at, struct jinja_value *out)
{
	struct jinja_string text;

	(void)self, (void)out;
	TRY(jinja_to_string(r, at[0], &text));
	return jinja_fail(r, "the template raises an exception: %.*s",
		(int)size_min(text.n, sizeof r->err->text), text.s);
fail:
	return r->err->code;
}

static int strftime_now(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_string format;

	(void)self;
	TRY(jinja_string_argument(r, at[0], "strftime_now", &format));
	return jinja_strftime(r, format, out);
fail:
	return r->err->code;
}

/* Those without a function are Jinja's, but outside the language. */
static const struct jinja_function functions[] = {
	{.name = "cycler"},
	{.name = "dict", .run_free = dict},
	{.name = "joiner"},
	{.name = "lipsum"},
	{.name = "namespace", .run_free = namespace},
	{.name = "raise_exception",
		.parameters = "message",
		.n_required = 1,
		.run = raise_exception},
	{.name = "range",
		.parameters = "start stop step",
		.n_required = 1,
		.run = range,
		.positional = true},
	{.name = "strftime_now", .parameters = "format", .n_required = 1, .run = strftime_now},
};

const struct jinja_function *jinja_global_function(const char *name)
{
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (strcmp(functions[i].name, name) == 0)
			return &functions[i];
	return NULL;
}
