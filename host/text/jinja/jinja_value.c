/* SPDX-License-Identifier: MIT
 *
 * jinja_value.c - truth, equality, order and items of values, as Python has them. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"

const char *jinja_kind_name(enum jinja_kind kind)
{
	static const char *const names[] = {[JINJA_MISSING] = "nothing",
		[JINJA_UNDEFINED] = "an undefined value",
		[JINJA_NONE] = "none",
		[JINJA_BOOL] = "a boolean",
		[JINJA_INT] = "an integer",
		[JINJA_FLOAT] = "a float",
		[JINJA_STRING] = "a string",
		[JINJA_LIST] = "a list",
		[JINJA_TUPLE] = "a tuple",
		[JINJA_RANGE] = "a range",
		[JINJA_DICT] = "a dict",
		[JINJA_VIEW] = "a view of a dict",
		[JINJA_ITERATOR] = "an iterator",
		[JINJA_NAMESPACE] = "a namespace",
		[JINJA_MACRO] = "a macro",
		[JINJA_FUNCTION] = "a function",
		[JINJA_METHOD] = "a method",
		[JINJA_LOOP] = "a loop"};

	return names[kind];
}

int jinja_undefined_used(struct jinja_run *r, struct jinja_value v)
{
	if (v.undefined == UNDEFINED_HINT)
		return jinja_fail(r, "%s", v.why);
	if (v.undefined == UNDEFINED_VARIABLE)
		return jinja_fail(r, "'%s' is undefined", v.why);
	if (v.undefined == UNDEFINED_UNSAFE)
		return jinja_fail(r, "the attribute '%s' of %s is not for templates", v.why,
			jinja_kind_name(v.of));
	return jinja_fail(r, "%s has no attribute '%s'", jinja_kind_name(v.of), v.why);
}

bool jinja_is_number(struct jinja_value v)
{
	return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

bool jinja_equal_bytes(struct jinja_string a, struct jinja_string b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

bool jinja_is(struct jinja_value v, const char *text)
{
	return v.kind == JINJA_STRING &&
	       jinja_equal_bytes(v.string, (struct jinja_string){text, strlen(text)});
}

bool jinja_as_int(struct jinja_value v, int64_t *out)
{
	*out = v.kind == JINJA_BOOL ? v.truth : v.kind == JINJA_INT ? v.integer : 0;
	return v.kind == JINJA_BOOL || v.kind == JINJA_INT;
}

double jinja_as_float(struct jinja_value v)
{
	int64_t integer;

	return jinja_as_int(v, &integer) ? (double)integer : v.real;
}

bool jinja_given(struct jinja_value v)
{
	return v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
}

static bool is_sequence(enum jinja_kind kind)
{
	return kind == JINJA_LIST || kind == JINJA_TUPLE || kind == JINJA_RANGE;
}

bool jinja_truth(struct jinja_value v)
{
	switch (v.kind) {
	case JINJA_MISSING:
	case JINJA_UNDEFINED:
	case JINJA_NONE:
		return false;
	case JINJA_BOOL:
		return v.truth;
	case JINJA_INT:
		return v.integer != 0;
	case JINJA_FLOAT:
		return v.real != 0;
	case JINJA_STRING:
		return v.string.n > 0;
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
		return v.list->n > 0;
	case JINJA_DICT:
		return v.dict->n > 0;
	case JINJA_VIEW:
		return v.view->dict->n > 0;
	default:
		return true; /* functions, namespaces, iterators, ... */
	}
}

/* Exactly, also of a large integer and a float. */
static int compare_numbers(struct jinja_value a, struct jinja_value b)
{
	int64_t i, j;

	if (jinja_as_int(a, &i) && jinja_as_int(b, &j))
		return (i > j) - (i < j);
	{
		const long double x = jinja_as_int(a, &i) ? (long double)i : a.real;
		const long double y = jinja_as_int(b, &j) ? (long double)j : b.real;

		return x != x || y != y ? JINJA_UNORDERED : (x > y) - (x < y);
	}
}

static int equal_lists(struct jinja_run *r, const struct jinja_list *a, const struct jinja_list *b,
	bool *out)
{
	*out = a->n == b->n;
	for (size_t i = 0; *out && i < a->n; i++)
		TRY(jinja_equal(r, a->items[i], b->items[i], out));
	return 0;
fail:
	return r->err->code;
}

static int equal_dicts(struct jinja_run *r, const struct jinja_dict *a, const struct jinja_dict *b,
	bool *out)
{
	struct jinja_value *other;

	*out = a->n == b->n;
	for (size_t i = 0; *out && i < a->n; i++) {
		TRY(jinja_find(r, b, a->pairs[i].key, &other));
		*out = other != NULL;
		if (other)
			TRY(jinja_equal(r, a->pairs[i].value, *other, out));
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b, bool *out)
{
	TRY(jinja_enter(r));
	*out = false;
	if (jinja_is_number(a) && jinja_is_number(b)) {
		*out = compare_numbers(a, b) == 0;
	} else if (a.kind == b.kind) {
		switch (a.kind) {
		case JINJA_MISSING:
		case JINJA_UNDEFINED:
		case JINJA_NONE:
			*out = true;
			break;
		case JINJA_STRING:
			TRY(jinja_step(r, a.string.n / JINJA_STEP_BYTES));
			*out = jinja_equal_bytes(a.string, b.string);
			break;
		case JINJA_LIST:
		case JINJA_TUPLE:
		case JINJA_RANGE:
			TRY(equal_lists(r, a.list, b.list, out));
			break;
		case JINJA_DICT:
			TRY(equal_dicts(r, a.dict, b.dict, out));
			break;
		case JINJA_VIEW:
		case JINJA_METHOD:
			return jinja_refuse(r, "comparing %s", jinja_kind_name(a.kind));
		default:
			*out = a.list == b.list; /* the same one */
		}
	}
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

static int compare_lists(struct jinja_run *r, const struct jinja_list *a,
	const struct jinja_list *b, int *out)
{
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		bool same;

		TRY(jinja_equal(r, a->items[i], b->items[i], &same));
		if (!same)
			return jinja_compare(r, a->items[i], b->items[i], out);
	}
	*out = (a->n > b->n) - (a->n < b->n);
	return 0;
fail:
	return r->err->code;
}

int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b, int *out)
{
	TRY(jinja_enter(r));
	if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, a.kind == JINJA_UNDEFINED ? a : b);
	if (jinja_is_number(a) && jinja_is_number(b)) {
		*out = compare_numbers(a, b);
	} else if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
		const size_t n = size_min(a.string.n, b.string.n);
		const int order = n ? memcmp(a.string.s, b.string.s, n) : 0;

		TRY(jinja_step(r, n / JINJA_STEP_BYTES));
		*out = order ? (order > 0) - (order < 0)
			     : (a.string.n > b.string.n) - (a.string.n < b.string.n);
	} else if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
		TRY(compare_lists(r, a.list, b.list, out));
	} else {
		return jinja_fail(r, "expected two values that have an order, found %s and %s",
			jinja_kind_name(a.kind), jinja_kind_name(b.kind));
	}
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

static int contains_text(struct jinja_run *r, struct jinja_string s, struct jinja_value item,
	bool *out)
{
	if (item.kind != JINJA_STRING)
		return jinja_fail(r, "in a string: expected a string, found %s",
			jinja_kind_name(item.kind));
	*out = item.string.n == 0 ||
	       (s.n && memmem(s.s, s.n, item.string.s, item.string.n) != NULL);
	return jinja_step(r, s.n / JINJA_STEP_BYTES);
}

int jinja_contains(struct jinja_run *r, struct jinja_value seq, struct jinja_value item, bool *out)
{
	struct jinja_list items;
	struct jinja_value *found;

	*out = false;
	if (seq.kind == JINJA_STRING)
		return contains_text(r, seq.string, item, out);
	if (seq.kind == JINJA_DICT || (seq.kind == JINJA_VIEW && seq.view->kind == JINJA_KEYS)) {
		TRY(jinja_find(r, seq.kind == JINJA_DICT ? seq.dict : seq.view->dict, item,
			&found));
		*out = found != NULL;
		return 0;
	}
	if (seq.kind == JINJA_ITERATOR && !seq.list->broken) {
		while (!*out && seq.list->taken < seq.list->n)
			TRY(jinja_equal(r, seq.list->items[seq.list->taken++], item, out));
		return 0;
	}
	TRY(jinja_items(r, seq, &items));
	for (size_t i = 0; !*out && i < items.n; i++)
		TRY(jinja_equal(r, items.items[i], item, out));
	return 0;
fail:
	return r->err->code;
}

bool jinja_has_length(struct jinja_value v)
{
	return is_sequence(v.kind) || v.kind == JINJA_STRING || v.kind == JINJA_DICT ||
	       v.kind == JINJA_VIEW || v.kind == JINJA_UNDEFINED;
}

int jinja_length(struct jinja_run *r, struct jinja_value v, size_t *out)
{
	if (!jinja_has_length(v))
		return jinja_fail(r, "expected a value that has a length, found %s",
			jinja_kind_name(v.kind));
	*out = v.kind == JINJA_STRING      ? jinja_count(v.string.s, v.string.n)
	       : v.kind == JINJA_DICT      ? v.dict->n
	       : v.kind == JINJA_VIEW      ? v.view->dict->n
	       : v.kind == JINJA_UNDEFINED ? 0
					   : v.list->n;
	return v.kind == JINJA_STRING ? jinja_step(r, v.string.n / JINJA_STEP_BYTES) : 0;
}

bool jinja_is_iterable(struct jinja_value v)
{
	return jinja_has_length(v) || v.kind == JINJA_ITERATOR;
}

static int characters(struct jinja_run *r, struct jinja_string s, struct jinja_list *out)
{
	const size_t n = jinja_count(s.s, s.n);
	size_t at = 0;

	TRY(jinja_step(r, n));
	*out = (struct jinja_list){.items = jinja_take(r, n, sizeof *out->items), .n = n};
	if (!out->items)
		return r->err->code;
	for (size_t i = 0; i < n; i++) {
		const size_t length = utf8_length(s.s + at, s.n - at);

		out->items[i] = jinja_string(s.s + at, length);
		at += length;
	}
	return 0;
fail:
	return r->err->code;
}

static int items_of_dict(struct jinja_run *r, const struct jinja_dict *dict,
	enum jinja_view_kind kind, struct jinja_list *out)
{
	TRY(jinja_step(r, dict->n));
	*out = (struct jinja_list){.items = jinja_take(r, dict->n, sizeof *out->items),
		.n = dict->n};
	if (!out->items)
		return r->err->code;
	for (size_t i = 0; i < dict->n; i++) {
		const struct jinja_pair *pair = &dict->pairs[i];

		if (kind == JINJA_ITEMS) {
			TRY(jinja_new_list(r, JINJA_TUPLE, 2, &out->items[i]));
			out->items[i].list->items[0] = pair->key;
			out->items[i].list->items[1] = pair->value;
		} else {
			out->items[i] = kind == JINJA_KEYS ? pair->key : pair->value;
		}
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_items(struct jinja_run *r, struct jinja_value v, struct jinja_list *out)
{
	*out = (struct jinja_list){0};
	switch (v.kind) {
	case JINJA_UNDEFINED:
		return 0;
	case JINJA_STRING:
		return characters(r, v.string, out);
	case JINJA_DICT:
		return items_of_dict(r, v.dict, JINJA_KEYS, out);
	case JINJA_VIEW:
		return items_of_dict(r, v.view->dict, v.view->kind, out);
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
		*out = (struct jinja_list){.items = v.list->items, .n = v.list->n};
		return jinja_step(r, out->n);
	case JINJA_ITERATOR:
		if (v.list->broken)
			return err_set(r->err, ERR_INPUT, "%s", v.list->broken);
		*out = (struct jinja_list){.items = v.list->items + v.list->taken,
			.n = v.list->n - v.list->taken};
		v.list->taken = v.list->n;
		return jinja_step(r, out->n);
	case JINJA_LOOP:
		return jinja_refuse(r, "going through `loop`");
	default:
		return jinja_fail(r, "expected a value that can be gone through, found %s",
			jinja_kind_name(v.kind));
	}
}

static int hashable(struct jinja_run *r, struct jinja_value v)
{
	TRY(jinja_enter(r));
	if (v.kind == JINJA_LIST || v.kind == JINJA_DICT)
		return jinja_fail(r, "expected a value that can be a key, found %s",
			jinja_kind_name(v.kind));
	if (v.kind == JINJA_TUPLE)
		for (size_t i = 0; i < v.list->n; i++)
			TRY(hashable(r, v.list->items[i]));
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

int jinja_find(struct jinja_run *r, const struct jinja_dict *dict, struct jinja_value key,
	struct jinja_value **out)
{
	*out = NULL;
	TRY(hashable(r, key));
	if (key.kind == JINJA_STRING) {
		TRY(jinja_step(r, dict->n / 16));
		for (size_t i = 0; i < dict->n; i++)
			if (dict->pairs[i].key.kind == JINJA_STRING &&
				jinja_equal_bytes(dict->pairs[i].key.string, key.string)) {
				*out = &dict->pairs[i].value;
				break;
			}
		return 0;
	}
	for (size_t i = 0; i < dict->n && !*out; i++) {
		bool same;

		TRY(jinja_equal(r, dict->pairs[i].key, key, &same));
		if (same)
			*out = &dict->pairs[i].value;
	}
	return 0;
fail:
	return r->err->code;
}

struct jinja_value *jinja_find_name(const struct jinja_dict *dict, const char *name)
{
	const struct jinja_string key = {name, strlen(name)};

	for (size_t i = 0; i < dict->n; i++)
		if (dict->pairs[i].key.kind == JINJA_STRING &&
			jinja_equal_bytes(dict->pairs[i].key.string, key))
			return &dict->pairs[i].value;
	return NULL;
}

int jinja_put(struct jinja_run *r, struct jinja_dict *dict, struct jinja_value key,
	struct jinja_value value)
{
	struct jinja_value *found;

	TRY(jinja_find(r, dict, key, &found));
	if (found) {
		*found = value;
		return 0;
	}
	if (dict->n == dict->cap) {
		const size_t cap = dict->cap ? 2 * dict->cap : 4;
		struct jinja_pair *pairs = jinja_take(r, cap, sizeof *pairs);

		if (!pairs)
			return r->err->code;
		if (dict->n)
			memcpy(pairs, dict->pairs, dict->n * sizeof *pairs);
		dict->pairs = pairs;
		dict->cap = cap;
	}
	dict->pairs[dict->n++] = (struct jinja_pair){key, value};
	return 0;
fail:
	return r->err->code;
}

/* One pass of a merge sort: neighbouring runs of `width` into runs of twice that. */
static int merge(struct jinja_run *r, const struct jinja_value *keys,
	const struct jinja_value *items, struct jinja_value *keys_out,
	struct jinja_value *items_out, size_t n, size_t width, bool reverse)
{
	for (size_t start = 0; start < n; start += 2 * width) {
		const size_t middle = size_min(start + width, n);
		const size_t end = size_min(start + 2 * width, n);
		size_t i = start, j = middle;

		for (size_t k = start; k < end; k++) {
			int order = -1;
			size_t from;

			if (i < middle && j < end)
				TRY(jinja_compare(r, keys[j], keys[i], &order));
			from = j == end || (i < middle && (reverse ? order != 1 : order != -1))
				       ? i++
				       : j++;
			keys_out[k] = keys[from];
			items_out[k] = items[from];
		}
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_sort(struct jinja_run *r, struct jinja_value *keys, struct jinja_value *items, size_t n,
	bool reverse)
{
	struct jinja_value *other_keys = jinja_take(r, n, sizeof *other_keys);
	struct jinja_value *other_items = jinja_take(r, n, sizeof *other_items);

	if (!other_keys || !other_items)
		return r->err->code;
	for (size_t width = 1; width < n; width *= 2) {
		TRY(merge(r, keys, items, other_keys, other_items, n, width, reverse));
		memcpy(keys, other_keys, n * sizeof *keys);
		memcpy(items, other_items, n * sizeof *items);
	}
	return 0;
fail:
	return r->err->code;
}
