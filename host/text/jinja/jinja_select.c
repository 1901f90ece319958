/* SPDX-License-Identifier: MIT
 *
 * jinja_select.c - |map, |select, |reject, |selectattr, |rejectattr, which apply filters and tests
 * to many values; and all filters by name. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 *
 * What they give is gone through once and has no length, as in Python; but it is made at once.
 */
#include "host/text/jinja/jinja_parts.h"

/* A name that a template computes, zero-terminated; NULL: with an error. */
static const char *name_of(struct jinja_run *r, const char *what, struct jinja_value v)
{
	char *name;

	if (v.kind != JINJA_STRING || (v.string.n && memchr(v.string.s, '\0', v.string.n))) {
		jinja_fail(r, "expected the name of a %s, found %s", what, jinja_kind_name(v.kind));
		return NULL;
	}
	name = jinja_take(r, v.string.n + 1, 1);
	if (name && v.string.n)
		memcpy(name, v.string.s, v.string.n);
	return name;
}

static const struct jinja_value *argument_named(const struct jinja_arguments *arguments,
	const char *name)
{
	for (size_t i = 0; i < arguments->n_named; i++)
		if (strcmp(arguments->named[i].name, name) == 0)
			return &arguments->named[i].value;
	return NULL;
}

static int iterator(struct jinja_run *r, size_t n, struct jinja_value *out)
{
	return jinja_new_list(r, JINJA_ITERATOR, n, out);
}

static int map_attribute(struct jinja_run *r, const struct jinja_list *items,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	const struct jinja_value *path = argument_named(arguments, "attribute");
	const struct jinja_value *otherwise = argument_named(arguments, "default");

	if (arguments->n_named > 1u + (otherwise != NULL))
		return jinja_fail(r, "map: expected arguments of the names 'attribute default'");
	for (size_t i = 0; i < items->n; i++) {
		struct jinja_value *item = &out->list->items[i];

		TRY(jinja_path(r, items->items[i], *path, item));
		if (item->kind == JINJA_UNDEFINED && otherwise && jinja_given(*otherwise))
			*item = *otherwise;
	}
	return 0;
fail:
	return r->err->code;
}

static int map(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	struct jinja_arguments rest = *arguments;
	struct jinja_list items = {0};
	const char *name;

	if (jinja_truth(self))
		TRY(jinja_items(r, self, &items));
	TRY(iterator(r, items.n, out));
	if (!items.n)
		return 0;
	if (!arguments->n && argument_named(arguments, "attribute"))
		return map_attribute(r, &items, arguments, out);
	if (!arguments->n)
		return jinja_fail(r, "map: expected the name of a filter, or attribute = a name");
	name = name_of(r, "filter", *rest.data++);
	rest.n--;
	if (!name)
		return r->err->code;
	for (size_t i = 0; i < items.n; i++)
		TRY(jinja_apply(r, jinja_filter(name), "filter", name, items.items[i], &rest,
			&out->list->items[i]));
	return 0;
fail:
	return r->err->code;
}

static int choose(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, bool by_attribute, bool wanted,
	struct jinja_value *out)
{
	struct jinja_arguments rest = *arguments;
	struct jinja_value path = jinja_none();
	struct jinja_list items = {0};
	const char *name = NULL;

	if (jinja_truth(self))
		TRY(jinja_items(r, self, &items));
	TRY(iterator(r, items.n, out));
	out->list->n = 0;
	if (!items.n)
		return 0;
	if (by_attribute) {
		if (!rest.n)
			return jinja_fail(r, "expected the name of an attribute");
		path = *rest.data++;
		rest.n--;
	}
	if (rest.n) {
		name = name_of(r, "test", *rest.data++);
		rest.n--;
		if (!name)
			return r->err->code;
	}
	for (size_t i = 0; i < items.n; i++) {
		struct jinja_value v, answer;

		TRY(jinja_path(r, items.items[i], path, &v));
		answer = v;
		if (name)
			TRY(jinja_apply(r, jinja_test(name), "test", name, v, &rest, &answer));
		if (jinja_truth(answer) == wanted)
			out->list->items[out->list->n++] = items.items[i];
	}
	return 0;
fail:
	return r->err->code;
}

static int select_items(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	return choose(r, self, arguments, false, true, out);
}

static int reject(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	return choose(r, self, arguments, false, false, out);
}

static int selectattr(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	return choose(r, self, arguments, true, true, out);
}

static int rejectattr(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	return choose(r, self, arguments, true, false, out);
}

/* Python's attribute alone, not the item of that key. */
static int attr(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const char *name = name_of(r, "attribute", at[0]);

	if (!name)
		return r->err->code;
	TRY(jinja_attribute(r, self, name, out));
	if (self.kind == JINJA_DICT && out->kind != JINJA_METHOD)
		*out = (struct jinja_value){.kind = JINJA_UNDEFINED,
			.undefined = UNDEFINED_ATTRIBUTE,
			.of = JINJA_DICT,
			.why = name};
	return 0;
fail:
	return r->err->code;
}

static const struct jinja_function filters[] = {
	{.name = "attr", .parameters = "name", .n_required = 1, .run = attr},
	{.name = "map", .run_free = map, .lazy = true},
	{.name = "reject", .run_free = reject, .lazy = true},
	{.name = "rejectattr", .run_free = rejectattr, .lazy = true},
	{.name = "select", .run_free = select_items, .lazy = true},
	{.name = "selectattr", .run_free = selectattr, .lazy = true},
};

const struct jinja_function *jinja_filter(const char *name)
{
	const struct jinja_function *f = jinja_filter_of_value(name);

	for (size_t i = 0; !f && i < sizeof filters / sizeof *filters; i++)
		if (strcmp(filters[i].name, name) == 0)
			f = &filters[i];
	return f ? f : jinja_filter_of_sequence(name);
}
