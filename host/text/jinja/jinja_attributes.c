/* SPDX-License-Identifier: MIT
 *
 * jinja_attributes.c - v.name and v[key], and the methods of dicts and lists. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c.
 *
 * As in Jinja's sandbox: v.name is Python's attribute, else the item of that key; v[key] the item,
 * else the attribute. What would change a list or a dict, and names that begin with an underscore,
 * are undefined with an error of their own when used.
 */
#include "host/text/jinja/jinja_parts.h"

/* ---- methods of dicts and lists ------------------------------------------------------------ */

static int view_of(struct jinja_run *r, struct jinja_dict *dict, enum jinja_view_kind kind,
	struct jinja_value *out)
{
	struct jinja_view *view = jinja_take(r, 1, sizeof *view);

	if (!view)
		return r->err->code;
	*view = (struct jinja_view){kind, dict};
	*out = (struct jinja_value){.kind = JINJA_VIEW, .view = view};
	return 0;
}

static int keys(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return view_of(r, self.dict, JINJA_KEYS, out);
}

static int values(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return view_of(r, self.dict, JINJA_VALUES, out);
}

static int items(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	return view_of(r, self.dict, JINJA_ITEMS, out);
}

static int get(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_value *found;

	TRY(jinja_find(r, self.dict, at[0], &found));
	*out = found ? *found : at[1].kind != JINJA_MISSING ? at[1] : jinja_none();
	return 0;
fail:
	return r->err->code;
}

static int copy_dict(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	TRY(jinja_new_dict(r, self.dict->n, out));
	if (self.dict->n)
		memcpy(out->dict->pairs, self.dict->pairs, self.dict->n * sizeof *self.dict->pairs);
	out->dict->n = self.dict->n;
	return 0;
fail:
	return r->err->code;
}

static int copy_list(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	(void)at;
	TRY(jinja_new_list(r, JINJA_LIST, self.list->n, out));
	memcpy(out->list->items, self.list->items, self.list->n * sizeof *self.list->items);
	return 0;
fail:
	return r->err->code;
}

static int count(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	int64_t n = 0;

	for (size_t i = 0; i < self.list->n; i++) {
		bool same;

		TRY(jinja_equal(r, self.list->items[i], at[0], &same));
		n += same;
	}
	*out = jinja_int(n);
	return 0;
fail:
	return r->err->code;
}

static int index_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	bool same = false;

	if (at[1].kind != JINJA_MISSING)
		return jinja_refuse(r, "index() with bounds");
	for (size_t i = 0; i < self.list->n; i++) {
		TRY(jinja_equal(r, self.list->items[i], at[0], &same));
		if (same) {
			*out = jinja_int((int64_t)i);
			return 0;
		}
	}
	return jinja_fail(r, "index: the value is not in the list");
fail:
	return r->err->code;
}

static const struct jinja_function dict_methods[] = {
	{.name = "copy", .parameters = "", .run = copy_dict, .positional = true},
	{.name = "fromkeys"},
	{.name = "get",
		.parameters = "key default",
		.n_required = 1,
		.run = get,
		.positional = true},
	{.name = "items", .parameters = "", .run = items, .positional = true},
	{.name = "keys", .parameters = "", .run = keys, .positional = true},
	{.name = "values", .parameters = "", .run = values, .positional = true},
	{0},
};

static const struct jinja_function list_methods[] = {
	{.name = "copy", .parameters = "", .run = copy_list, .positional = true},
	{.name = "count", .parameters = "value", .n_required = 1, .run = count, .positional = true},
	{.name = "index",
		.parameters = "value start stop",
		.n_required = 1,
		.run = index_of,
		.positional = true},
	{0},
};

/* A tuple's and a range's. */
static const struct jinja_function tuple_methods[] = {
	{.name = "count", .parameters = "value", .n_required = 1, .run = count, .positional = true},
	{.name = "index",
		.parameters = "value start stop",
		.n_required = 1,
		.run = index_of,
		.positional = true},
	{0},
};

/* Attributes that numbers and views have in Python and nobody needs here. */
static const char *const int_attributes[] = {"as_integer_ratio", "bit_count", "bit_length",
	"conjugate", "denominator", "from_bytes", "imag", "numerator", "real", "to_bytes", NULL};
static const char *const float_attributes[] = {"as_integer_ratio", "conjugate", "fromhex", "hex",
	"imag", "is_integer", "real", NULL};
static const char *const view_attributes[] = {"isdisjoint", "mapping", NULL};
static const char *const range_attributes[] = {"start", "step", "stop", NULL};
static const char *const iterator_attributes[] = {"close", "send", "throw", NULL};
static const char *const macro_attributes[] = {"arguments", "caller", "catch_kwargs",
	"catch_varargs", "explicit_caller", "name", NULL};

/* What would change a list or a dict. */
static const char *const list_changes[] = {"append", "clear", "extend", "insert", "pop", "remove",
	"reverse", "sort", NULL};
static const char *const dict_changes[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};

static bool is_among(const char *const *names, const char *name)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* ---- attributes ---------------------------------------------------------------------------- */

static int loop_length(struct jinja_run *r, struct jinja_loop *loop, int64_t *out)
{
	if (loop->length < 0)
		TRY(r->count_ahead(r, loop));
	*out = loop->length;
	return 0;
fail:
	return r->err->code;
}

static int changed(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	struct jinja_value values;
	bool same;

	if (arguments->n_named)
		return jinja_fail(r, "changed: expected no argument by name");
	TRY(jinja_new_list(r, JINJA_TUPLE, arguments->n, &values));
	for (size_t i = 0; i < arguments->n; i++)
		values.list->items[i] = arguments->data[i];
	TRY(jinja_equal(r, self.loop->changed, values, &same));
	self.loop->changed = values;
	*out = jinja_bool(!same);
	return 0;
fail:
	return r->err->code;
}

static int cycle(struct jinja_run *r, struct jinja_value self,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	if (arguments->n_named || !arguments->n)
		return jinja_fail(r, "cycle: expected values, by position");
	*out = arguments->data[(size_t)self.loop->index0 % arguments->n];
	return 0;
}

static const struct jinja_function loop_methods[] = {
	{.name = "changed", .run_free = changed, .positional = true},
	{.name = "cycle", .run_free = cycle, .positional = true},
	{0},
};

static int loop_attribute(struct jinja_run *r, struct jinja_loop *loop, const char *name,
	struct jinja_value *out)
{
	int64_t length = 0;

	if (strcmp(name, "index") == 0 || strcmp(name, "index0") == 0) {
		*out = jinja_int(loop->index0 + (name[5] == '\0'));
	} else if (strcmp(name, "first") == 0) {
		*out = jinja_bool(loop->index0 == 0);
	} else if (strcmp(name, "last") == 0) {
		TRY(r->look_ahead(r, loop));
		*out = jinja_bool(loop->after.kind == JINJA_MISSING);
	} else if (strcmp(name, "length") == 0) {
		TRY(loop_length(r, loop, &length));
		*out = jinja_int(length);
	} else if (strcmp(name, "revindex") == 0 || strcmp(name, "revindex0") == 0) {
		TRY(loop_length(r, loop, &length));
		*out = jinja_int(length - loop->index0 - (name[8] != '\0'));
	} else if (strcmp(name, "previtem") == 0) {
		*out = loop->index0 ? loop->before
				    : jinja_undefined_hint("there is no previous item");
	} else if (strcmp(name, "nextitem") == 0) {
		TRY(r->look_ahead(r, loop));
		*out = loop->after.kind != JINJA_MISSING
			       ? loop->after
			       : jinja_undefined_hint("there is no next item");
	} else if (strcmp(name, "depth") == 0 || strcmp(name, "depth0") == 0) {
		*out = jinja_int(name[5] == '\0');
	}
	return 0;
fail:
	return r->err->code;
}

static const struct jinja_function *method_of(struct jinja_value v, const char *name)
{
	const struct jinja_function *methods = NULL;

	if (v.kind == JINJA_STRING)
		return jinja_string_method(name);
	if (v.kind == JINJA_DICT)
		methods = dict_methods;
	else if (v.kind == JINJA_LIST)
		methods = list_methods;
	else if (v.kind == JINJA_TUPLE || v.kind == JINJA_RANGE)
		methods = tuple_methods;
	else if (v.kind == JINJA_LOOP)
		methods = loop_methods;
	for (; methods && methods->name; methods++)
		if (strcmp(methods->name, name) == 0)
			return methods;
	return NULL;
}

static bool is_refused(struct jinja_value v, const char *name)
{
	return is_among(v.kind == JINJA_INT || v.kind == JINJA_BOOL ? int_attributes
			: v.kind == JINJA_FLOAT                     ? float_attributes
			: v.kind == JINJA_VIEW                      ? view_attributes
			: v.kind == JINJA_RANGE                     ? range_attributes
			: v.kind == JINJA_ITERATOR                  ? iterator_attributes
			: v.kind == JINJA_MACRO                     ? macro_attributes
								    : NULL,
		       name) ||
	       ((v.kind == JINJA_FUNCTION || v.kind == JINJA_METHOD) && name[0] != '_');
}

/* Python's attribute; *out stays MISSING where there is none. */
static int own_attribute(struct jinja_run *r, struct jinja_value v, const char *name,
	struct jinja_value *out)
{
	const struct jinja_function *method = method_of(v, name);
	const struct jinja_value *found;

	if (method) {
		struct jinja_method *bound = jinja_take(r, 1, sizeof *bound);

		if (!bound)
			return r->err->code;
		*bound = (struct jinja_method){v, method};
		*out = (struct jinja_value){.kind = JINJA_METHOD, .method = bound};
		return 0;
	}
	if (v.kind == JINJA_NAMESPACE) {
		found = jinja_find_name(v.dict, name);
		if (found)
			*out = *found;
		return 0;
	}
	if (v.kind == JINJA_LOOP)
		return loop_attribute(r, v.loop, name, out);
	if (v.kind == JINJA_TUPLE && v.list->group &&
		(strcmp(name, "grouper") == 0 || strcmp(name, "list") == 0)) {
		*out = v.list->items[name[0] == 'l'];
		return 0;
	}
	if (is_among(v.kind == JINJA_LIST   ? list_changes
		     : v.kind == JINJA_DICT ? dict_changes
					    : NULL,
		    name)) {
		*out = (struct jinja_value){.kind = JINJA_UNDEFINED,
			.undefined = UNDEFINED_UNSAFE,
			.of = v.kind,
			.why = name};
		return 0;
	}
	if (is_refused(v, name))
		return jinja_refuse(r, "the attribute '%s' of %s", name, jinja_kind_name(v.kind));
	return 0;
}

static void no_attribute(struct jinja_value v, const char *name, struct jinja_value *out)
{
	*out = (struct jinja_value){.kind = JINJA_UNDEFINED,
		.undefined = UNDEFINED_ATTRIBUTE,
		.of = v.kind,
		.why = name};
}

int jinja_attribute(struct jinja_run *r, struct jinja_value v, const char *name,
	struct jinja_value *out)
{
	struct jinja_value *found = NULL;

	*out = (struct jinja_value){0};
	if (v.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, v);
	TRY(own_attribute(r, v, name, out));
	if (out->kind != JINJA_MISSING)
		return 0;
	if (v.kind == JINJA_DICT)
		found = jinja_find_name(v.dict, name);
	if (found)
		*out = *found;
	else
		no_attribute(v, name, out);
	return 0;
fail:
	return r->err->code;
}

static int item_at(struct jinja_run *r, struct jinja_value v, int64_t i, struct jinja_value *out)
{
	size_t length;

	TRY(jinja_length(r, v, &length));
	if (i < 0)
		i += (int64_t)length;
	if (i < 0 || i >= (int64_t)length)
		return 0;
	if (v.kind == JINJA_STRING) {
		const size_t start = jinja_offset(v.string.s, v.string.n, (size_t)i);
		const size_t n = jinja_offset(v.string.s + start, v.string.n - start, 1);

		*out = jinja_string(v.string.s + start, n);
		out->safe = v.safe;
	} else {
		*out = v.list->items[i];
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key,
	struct jinja_value *out)
{
	struct jinja_value *found;
	int64_t i;
	char *name;

	*out = (struct jinja_value){0};
	if (v.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, v);
	if (v.kind == JINJA_DICT && key.kind != JINJA_LIST && key.kind != JINJA_DICT) {
		TRY(jinja_find(r, v.dict, key, &found));
		if (found)
			*out = *found;
	} else if (jinja_as_int(key, &i) &&
		   (v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_TUPLE ||
			   v.kind == JINJA_RANGE)) {
		TRY(item_at(r, v, i, out));
	}
	if (out->kind != JINJA_MISSING)
		return 0;
	if (key.kind != JINJA_STRING) {
		*out = jinja_undefined_hint("there is no such element");
		return 0;
	}
	name = jinja_take(r, key.string.n + 1, 1);
	if (!name)
		return r->err->code;
	memcpy(name, key.string.s, key.string.n);
	if (!memchr(name, '\0', key.string.n))
		TRY(own_attribute(r, v, name, out));
	if (out->kind == JINJA_MISSING)
		no_attribute(v, name, out);
	return 0;
fail:
	return r->err->code;
}
