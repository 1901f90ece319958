/* SPDX-License-Identifier: MIT
 *
 * jinja_sequences.c - filters of many values: |join, |sort, |first, ... Contract: jinja_parts.h.
 * Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

static int length(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	size_t n;

	(void)at;
	TRY(jinja_length(r, self, &n));
	*out = jinja_int((int64_t)n);
	return 0;
fail:
	return r->err->code;
}

static int list_of(struct jinja_run *r, enum jinja_kind kind, const struct jinja_list *items,
	struct jinja_value *out)
{
	TRY(jinja_new_list(r, kind, items->n, out));
	if (items->n)
		memcpy(out->list->items, items->items, items->n * sizeof *items->items);
	return 0;
fail:
	return r->err->code;
}

static int list(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;

	(void)at;
	return jinja_items(r, self, &items) || list_of(r, JINJA_LIST, &items, out) ? r->err->code
										   : 0;
}

static int first(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;

	(void)at;
	if (self.kind == JINJA_ITERATOR && self.list->taken < self.list->n) {
		*out = self.list->items[self.list->taken++];
		return 0;
	}
	TRY(jinja_items(r, self, &items));
	*out = items.n ? items.items[0]
		       : jinja_undefined_hint("No first item, sequence was empty.");
	return 0;
fail:
	return r->err->code;
}

static int last(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;

	(void)at;
	if (self.kind == JINJA_ITERATOR)
		return jinja_fail(r, "last: expected a value that has an end, found %s",
			jinja_kind_name(self.kind));
	TRY(jinja_items(r, self, &items));
	*out = items.n ? items.items[items.n - 1]
		       : jinja_undefined_hint("No last item, sequence was empty.");
	return 0;
fail:
	return r->err->code;
}

static int reverse(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;
	const struct jinja_value none = jinja_none();

	(void)at;
	if (self.kind == JINJA_STRING)
		return jinja_slice(r, self, none, none, jinja_int(-1), out);
	TRY(jinja_items(r, self, &items));
	/* Of what has no end Jinja makes a list first, and gives that. */
	TRY(list_of(r, self.kind == JINJA_ITERATOR ? JINJA_LIST : JINJA_ITERATOR, &items, out));
	for (size_t i = 0; i < items.n; i++)
		out->list->items[i] = items.items[items.n - 1 - i];
	return 0;
fail:
	return r->err->code;
}

/* ---- attributes ---------------------------------------------------------------------------- */

static bool is_number(const char *s, size_t n, int64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || i > 17)
			return false;
		*out = 10 * *out + (s[i] - '0');
	}
	return n > 0;
}

int jinja_path(struct jinja_run *r, struct jinja_value v, struct jinja_value path,
	struct jinja_value *out)
{
	const char *s = path.string.s;
	size_t start = 0;

	*out = v;
	if (!jinja_given(path))
		return 0;
	if (path.kind != JINJA_STRING)
		return jinja_item(r, v, path, out);
	do {
		const char *dot = start < path.string.n
					  ? memchr(s + start, '.', path.string.n - start)
					  : NULL;
		const size_t end = dot ? (size_t)(dot - s) : path.string.n;
		int64_t index;

		TRY(jinja_item(r, *out,
			is_number(s + start, end - start, &index)
				? jinja_int(index)
				: jinja_string(s + start, end - start),
			out));
		start = end + 1;
	} while (start <= path.string.n);
	return 0;
fail:
	return r->err->code;
}

/* What an item is sorted or grouped by. */
static int key_of(struct jinja_run *r, struct jinja_value item, struct jinja_value path,
	bool case_sensitive, struct jinja_value otherwise, struct jinja_value *out)
{
	TRY(jinja_path(r, item, path, out));
	if (out->kind == JINJA_UNDEFINED && jinja_given(otherwise))
		*out = otherwise;
	if (!case_sensitive && out->kind == JINJA_STRING)
		TRY(jinja_change_case(r, *out, JINJA_LOWER, out));
	return 0;
fail:
	return r->err->code;
}

/* The same by several attributes, commas between them: a list. */
static int keys_of(struct jinja_run *r, struct jinja_value item, struct jinja_value paths,
	bool case_sensitive, struct jinja_value *out)
{
	const struct jinja_value none = jinja_none();
	size_t start = 0, n = 1, made = 0;

	if (paths.kind == JINJA_STRING)
		for (size_t i = 0; i < paths.string.n; i++)
			n += paths.string.s[i] == ',';
	TRY(jinja_new_list(r, JINJA_LIST, n, out));
	if (paths.kind != JINJA_STRING)
		return key_of(r, item, paths, case_sensitive, none, &out->list->items[0]);
	while (made < n) {
		const size_t rest = paths.string.n - start;
		const char *comma = rest ? memchr(paths.string.s + start, ',', rest) : NULL;
		const size_t end = comma ? (size_t)(comma - paths.string.s) : paths.string.n;

		TRY(key_of(r, item, jinja_string(paths.string.s + start, end - start),
			case_sensitive, none, &out->list->items[made++]));
		start = end + 1;
	}
	return 0;
fail:
	return r->err->code;
}

static int sort(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const bool case_sensitive = jinja_bool_argument(at[1], false);
	struct jinja_list items;
	struct jinja_value *keys;

	TRY(jinja_items(r, self, &items));
	TRY(list_of(r, JINJA_LIST, &items, out));
	keys = jinja_take(r, items.n, sizeof *keys);
	if (!keys)
		return r->err->code;
	for (size_t i = 0; i < items.n; i++)
		TRY(keys_of(r, items.items[i], at[2], case_sensitive, &keys[i]));
	return jinja_sort(r, keys, out->list->items, items.n, jinja_bool_argument(at[0], false));
fail:
	return r->err->code;
}

static int dictsort(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const bool case_sensitive = jinja_bool_argument(at[0], false);
	const bool by_value = jinja_is(at[1], "value");
	struct jinja_value *keys, none = jinja_none();

	if (self.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, self);
	if (self.kind != JINJA_DICT)
		return jinja_fail(r, "dictsort: expected a dict, found %s",
			jinja_kind_name(self.kind));
	if (at[1].kind != JINJA_MISSING && !by_value && !jinja_is(at[1], "key"))
		return jinja_fail(r, "dictsort: expected by = 'key' or 'value'");
	TRY(jinja_new_list(r, JINJA_LIST, self.dict->n, out));
	keys = jinja_take(r, self.dict->n, sizeof *keys);
	if (!keys)
		return r->err->code;
	for (size_t i = 0; i < self.dict->n; i++) {
		const struct jinja_pair *pair = &self.dict->pairs[i];
		struct jinja_value *item = &out->list->items[i];

		TRY(jinja_new_list(r, JINJA_TUPLE, 2, item));
		item->list->items[0] = pair->key;
		item->list->items[1] = pair->value;
		TRY(key_of(r, by_value ? pair->value : pair->key, none, case_sensitive, none,
			&keys[i]));
	}
	return jinja_sort(r, keys, out->list->items, self.dict->n,
		jinja_bool_argument(at[2], false));
fail:
	return r->err->code;
}

static int unique(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const bool case_sensitive = jinja_bool_argument(at[0], false);
	struct jinja_value seen, key;
	struct jinja_list items;

	TRY(jinja_items(r, self, &items));
	TRY(list_of(r, JINJA_ITERATOR, &items, out));
	TRY(jinja_new_dict(r, 0, &seen));
	out->list->n = 0;
	for (size_t i = 0; i < items.n; i++) {
		struct jinja_value *found;

		TRY(key_of(r, items.items[i], at[1], case_sensitive, jinja_none(), &key));
		TRY(jinja_find(r, seen.dict, key, &found));
		if (found)
			continue;
		TRY(jinja_put(r, seen.dict, key, jinja_none()));
		out->list->items[out->list->n++] = items.items[i];
	}
	return 0;
fail:
	return r->err->code;
}

/* The least (sign -1) or the greatest (1), the first of equals. */
static int extreme(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	int sign, struct jinja_value *out)
{
	const bool case_sensitive = jinja_bool_argument(at[0], false);
	struct jinja_value best = {0}, key;
	struct jinja_list items;

	TRY(jinja_items(r, self, &items));
	*out = jinja_undefined_hint("No aggregated item, sequence was empty.");
	for (size_t i = 0; i < items.n; i++) {
		int order = sign;

		TRY(key_of(r, items.items[i], at[1], case_sensitive, jinja_none(), &key));
		if (i)
			TRY(jinja_compare(r, key, best, &order));
		if (order == sign) {
			best = key;
			*out = items.items[i];
		}
	}
	return 0;
fail:
	return r->err->code;
}

static int min(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return extreme(r, self, at, -1, out);
}

static int max(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return extreme(r, self, at, 1, out);
}

static int sum(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;
	struct jinja_value item;

	*out = at[1].kind == JINJA_MISSING ? jinja_int(0) : at[1];
	if (out->kind == JINJA_STRING)
		return jinja_fail(r, "sum: expected a start that is no string");
	TRY(jinja_items(r, self, &items));
	for (size_t i = 0; i < items.n; i++) {
		TRY(jinja_path(r, items.items[i], at[0], &item));
		TRY(jinja_binary(r, TOKEN_ADD, *out, item, out));
	}
	return 0;
fail:
	return r->err->code;
}

static int join(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_string between = {"", 0};
	struct jinja_list items;
	struct text text = {0};

	if (at[0].kind != JINJA_MISSING)
		TRY(jinja_to_string(r, at[0], &between));
	TRY(jinja_items(r, self, &items));
	for (size_t i = 0; i < items.n; i++) {
		struct jinja_value item;

		if (i)
			TRY(jinja_add(r, &text, between.s, between.n));
		TRY(jinja_path(r, items.items[i], at[1], &item));
		TRY(jinja_print(r, item, &text));
	}
	return jinja_finish(r, &text, out);
fail:
	free(text.data);
	return r->err->code;
}

static int items_of(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_view view = {JINJA_ITEMS, self.dict};
	struct jinja_list items = {0};

	(void)at;
	if (self.kind != JINJA_UNDEFINED && self.kind != JINJA_DICT)
		return jinja_fail(r, "items: expected a dict, found %s",
			jinja_kind_name(self.kind));
	if (self.kind == JINJA_DICT)
		TRY(jinja_items(r, (struct jinja_value){.kind = JINJA_VIEW, .view = &view},
			&items));
	return list_of(r, JINJA_ITERATOR, &items, out);
fail:
	return r->err->code;
}

/* `n` values into rows of `width`, the last one filled up. */
static int batch(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;
	int64_t width;
	size_t n_rows;

	TRY(jinja_int_argument(r, at[0], "batch", 1, &width));
	TRY(jinja_items(r, self, &items));
	if (width <= 0)
		return jinja_refuse(r, "batch() into rows of no width");
	n_rows = items.n / (size_t)width + (items.n % (size_t)width != 0);
	TRY(jinja_new_list(r, JINJA_ITERATOR, n_rows, out));
	for (size_t row = 0; row < n_rows; row++) {
		const size_t start = row * (size_t)width;
		const size_t n = size_min((size_t)width, items.n - start);
		struct jinja_value *made = &out->list->items[row];

		TRY(jinja_new_list(r, JINJA_LIST, jinja_given(at[1]) ? (size_t)width : n, made));
		for (size_t i = 0; i < made->list->n; i++)
			made->list->items[i] = i < n ? items.items[start + i] : at[1];
	}
	return 0;
fail:
	return r->err->code;
}

/* Into `slices` columns, the first ones longer. */
static int slice(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;
	int64_t slices;
	size_t start = 0, longer;

	TRY(jinja_int_argument(r, at[0], "slice", 1, &slices));
	TRY(jinja_items(r, self, &items));
	if (slices <= 0)
		return jinja_refuse(r, "slice() into no columns");
	longer = items.n % (size_t)slices;
	TRY(jinja_new_list(r, JINJA_ITERATOR, (size_t)slices, out));
	for (size_t column = 0; column < (size_t)slices; column++) {
		const size_t n = items.n / (size_t)slices + (column < longer);
		const bool fill = jinja_given(at[1]) && column >= longer;
		struct jinja_value *made = &out->list->items[column];

		TRY(jinja_new_list(r, JINJA_LIST, n + fill, made));
		for (size_t i = 0; i < n; i++)
			made->list->items[i] = items.items[start++];
		if (fill)
			made->list->items[n] = at[1];
	}
	return 0;
fail:
	return r->err->code;
}

static int group(struct jinja_run *r, struct jinja_value name, const struct jinja_value *items,
	size_t n, struct jinja_value *out)
{
	const struct jinja_list members = {.items = (struct jinja_value *)items, .n = n};

	TRY(jinja_new_list(r, JINJA_TUPLE, 2, out));
	out->list->group = true;
	out->list->items[0] = name;
	return list_of(r, JINJA_LIST, &members, &out->list->items[1]);
fail:
	return r->err->code;
}

static int groupby(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	const bool case_sensitive = jinja_bool_argument(at[2], false);
	struct jinja_value *keys, sorted, name;
	struct jinja_list items;
	size_t start = 0;

	TRY(jinja_items(r, self, &items));
	TRY(list_of(r, JINJA_LIST, &items, &sorted));
	keys = jinja_take(r, items.n, sizeof *keys);
	if (!keys)
		return r->err->code;
	for (size_t i = 0; i < items.n; i++)
		TRY(key_of(r, items.items[i], at[0], case_sensitive, at[1], &keys[i]));
	TRY(jinja_sort(r, keys, sorted.list->items, items.n, false));
	TRY(jinja_new_list(r, JINJA_LIST, items.n, out));
	out->list->n = 0;
	while (start < items.n) {
		size_t end = start + 1;
		bool same = true;

		while (end < items.n) {
			TRY(jinja_equal(r, keys[end], keys[start], &same));
			if (!same)
				break;
			end++;
		}
		TRY(key_of(r, sorted.list->items[start], at[0], true, at[1], &name));
		TRY(group(r, name, sorted.list->items + start, end - start,
			&out->list->items[out->list->n++]));
		start = end;
	}
	return 0;
fail:
	return r->err->code;
}

static const struct jinja_function filters[] = {
	{.name = "batch",
		.parameters = "linecount fill_with",
		.n_required = 1,
		.run = batch,
		.lazy = true},
	{.name = "count", .parameters = "", .run = length},
	{.name = "dictsort", .parameters = "case_sensitive by reverse", .run = dictsort},
	{.name = "first", .parameters = "", .run = first},
	{.name = "groupby",
		.parameters = "attribute default case_sensitive",
		.n_required = 1,
		.run = groupby},
	{.name = "items", .parameters = "", .run = items_of, .lazy = true},
	{.name = "join", .parameters = "d attribute", .run = join},
	{.name = "last", .parameters = "", .run = last},
	{.name = "length", .parameters = "", .run = length},
	{.name = "list", .parameters = "", .run = list},
	{.name = "max", .parameters = "case_sensitive attribute", .run = max},
	{.name = "min", .parameters = "case_sensitive attribute", .run = min},
	{.name = "random"}, /* Jinja's, but outside the language */
	{.name = "reverse", .parameters = "", .run = reverse},
	{.name = "slice",
		.parameters = "slices fill_with",
		.n_required = 1,
		.run = slice,
		.lazy = true},
	{.name = "sort", .parameters = "reverse case_sensitive attribute", .run = sort},
	{.name = "sum", .parameters = "attribute start", .run = sum},
	{.name = "unique", .parameters = "case_sensitive attribute", .run = unique, .lazy = true},
};

const struct jinja_function *jinja_filter_of_sequence(const char *name)
{
	for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
		if (strcmp(filters[i].name, name) == 0)
			return &filters[i];
	return NULL;
}
