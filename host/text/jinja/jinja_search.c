/* SPDX-License-Identifier: MIT
 *
 * jinja_search.c - the methods of Python's str that look for a part: find, split, replace, ...
 * Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"
#include "host/text/strip.h"

/* ---- search -------------------------------------------------------------------------------- */

/* Where `part` first is in n bytes; n + 1: nowhere. */
static size_t first_of(const char *s, size_t n, struct jinja_string part)
{
	const char *found = part.n == 0 ? s : n ? memmem(s, n, part.s, part.n) : NULL;

	return part.n == 0 ? 0 : found ? (size_t)(found - s) : n + 1;
}

static size_t last_of(const char *s, size_t n, struct jinja_string part)
{
	for (size_t i = n + 1; i-- > 0;)
		if (n - i >= part.n && (part.n == 0 || memcmp(s + i, part.s, part.n) == 0))
			return i;
	return n + 1;
}

/* The bytes that optional bounds in characters leave; false where they leave none that the empty
 * string would be in. */
static int bounds(struct jinja_run *r, struct jinja_string s, const struct jinja_value *at,
	size_t *start, size_t *end, bool *within)
{
	const int64_t n = (int64_t)jinja_count(s.s, s.n);
	int64_t from = 0, to = n;

	if (jinja_given(at[0]))
		TRY(jinja_int_argument(r, at[0], "a bound", 0, &from));
	if (jinja_given(at[1]))
		TRY(jinja_int_argument(r, at[1], "a bound", 0, &to));
	from = from < -n ? 0 : from < 0 ? from + n : from;
	to = to < -n ? 0 : to < 0 ? to + n : to > n ? n : to;
	*within = from <= to;
	*start = jinja_offset(s.s, s.n, *within ? (size_t)from : 0);
	*end = jinja_offset(s.s, s.n, *within ? (size_t)to : 0);
	return 0;
fail:
	return r->err->code;
}

static int search(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool last, int64_t *found)
{
	struct jinja_string part;
	size_t start, end, n, offset;
	bool within;

	TRY(jinja_string_argument(r, at[0], "find", &part));
	TRY(bounds(r, self.string, at + 1, &start, &end, &within));
	TRY(jinja_step(r, self.string.n / JINJA_STEP_BYTES));
	n = end - start;
	offset = last ? last_of(self.string.s + start, n, part)
		      : first_of(self.string.s + start, n, part);
	*found = within && offset <= n ? (int64_t)jinja_count(self.string.s, start + offset) : -1;
	return 0;
fail:
	return r->err->code;
}

static int find_in(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool last, bool must, struct jinja_value *out)
{
	int64_t found = -1;

	TRY(search(r, self, at, last, &found));
	if (must && found < 0)
		return jinja_fail(r, "index: the string is not in the other");
	*out = jinja_int(found);
	return 0;
fail:
	return r->err->code;
}

static int find(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return find_in(r, self, at, false, false, out);
}

static int rfind(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return find_in(r, self, at, true, false, out);
}

static int index_in(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return find_in(r, self, at, false, true, out);
}

static int rindex_in(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return find_in(r, self, at, true, true, out);
}

static int count(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_string part;
	size_t start, end;
	int64_t n = 0;
	bool within;

	TRY(jinja_string_argument(r, at[0], "count", &part));
	TRY(bounds(r, self.string, at + 1, &start, &end, &within));
	TRY(jinja_step(r, self.string.n / JINJA_STEP_BYTES));
	if (within && part.n == 0)
		n = (int64_t)jinja_count(self.string.s + start, end - start) + 1;
	while (within && part.n > 0) {
		const size_t offset = first_of(self.string.s + start, end - start, part);

		if (offset > end - start)
			break;
		n++;
		start += offset + part.n;
	}
	*out = jinja_int(n);
	return 0;
fail:
	return r->err->code;
}

/* startswith and endswith: one string, or any of a tuple. */
static int begins(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool at_end, struct jinja_value *out)
{
	const struct jinja_list one = {.items = (struct jinja_value *)at, .n = 1};
	const struct jinja_list *parts = at[0].kind == JINJA_TUPLE ? at[0].list : &one;
	size_t start, end;
	bool within, found = false;

	TRY(bounds(r, self.string, at + 1, &start, &end, &within));
	for (size_t i = 0; i < parts->n && !found; i++) {
		struct jinja_string part;

		TRY(jinja_step(r, 1));
		TRY(jinja_string_argument(r, parts->items[i], at_end ? "endswith" : "startswith",
			&part));
		found = within && part.n <= end - start &&
			(part.n == 0 || memcmp(self.string.s + (at_end ? end - part.n : start),
						part.s, part.n) == 0);
	}
	*out = jinja_bool(found);
	return 0;
fail:
	return r->err->code;
}

static int startswith(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return begins(r, self, at, false, out);
}

static int endswith(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return begins(r, self, at, true, out);
}

/* ---- splitting and joining ----------------------------------------------------------------- */

/* Values of a list whose length is not known before. */
struct pieces {
	struct jinja_value *data;
	size_t n, cap;
};

static int add_piece(struct jinja_run *r, struct pieces *pieces, struct jinja_value v)
{
	return jinja_step(r, 1) ? r->err->code : vec_push(pieces, v, r->err);
}

/* Takes them over into a list, and frees them. */
static int finish_pieces(struct jinja_run *r, struct pieces *pieces, struct jinja_value *out)
{
	const int rc = jinja_new_list(r, JINJA_LIST, pieces->n, out);

	if (rc == 0 && pieces->n)
		memcpy(out->list->items, pieces->data, pieces->n * sizeof *pieces->data);
	free(pieces->data);
	return rc;
}

/* At white space: runs of it are one separator, none at the ends. */
static int split_at_space(struct jinja_run *r, struct jinja_value v, size_t most, bool last,
	struct pieces *pieces)
{
	const char *s = v.string.s;
	size_t start = space_at_start(s, v.string.n);
	size_t end = v.string.n - space_at_end(s, v.string.n);

	while (start < end) {
		size_t from = start, to = end;

		if (pieces->n < most && last) {
			for (from = end; from > start; from -= jinja_last_length(s, from))
				if (space_at_end(s, from))
					break;
		} else if (pieces->n < most) {
			for (to = start; to < end; to += utf8_length(s + to, end - to))
				if (space_at_start(s + to, utf8_length(s + to, end - to)))
					break;
		}
		/* Python leaves the space at the far end of what it does not split. */
		if (pieces->n == most && last)
			from = 0;
		if (pieces->n == most && !last)
			to = v.string.n;
		TRY(add_piece(r, pieces, jinja_part(v, from, to)));
		if (last)
			end = from - space_at_end(s, from);
		else
			start = to + space_at_start(s + to, v.string.n - to);
	}
	return 0;
fail:
	return r->err->code;
}

static int split_at(struct jinja_run *r, struct jinja_value v, struct jinja_string separator,
	size_t most, bool last, struct pieces *pieces)
{
	const char *s = v.string.s;
	size_t start = 0, end = v.string.n;

	while (pieces->n < most) {
		const size_t found = last ? last_of(s, end, separator)
					  : first_of(s + start, end - start, separator);

		if (found > end - start)
			break;
		if (last) {
			TRY(add_piece(r, pieces, jinja_part(v, found + separator.n, end)));
			end = found;
		} else {
			TRY(add_piece(r, pieces, jinja_part(v, start, start + found)));
			start += found + separator.n;
		}
	}
	return add_piece(r, pieces, jinja_part(v, start, end));
fail:
	return r->err->code;
}

static int split_any(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool last, struct jinja_value *out)
{
	struct jinja_string separator;
	struct pieces pieces = {0};
	int64_t most;

	TRY(jinja_int_argument(r, at[1], "split: maxsplit", -1, &most));
	most = most < 0 ? INT64_MAX : most;
	TRY(jinja_step(r, self.string.n / JINJA_STEP_BYTES));
	if (!jinja_given(at[0])) {
		TRY(split_at_space(r, self, (size_t)most, last, &pieces));
	} else {
		TRY(jinja_string_argument(r, at[0], "split", &separator));
		if (separator.n == 0)
			return jinja_fail(r, "split: an empty separator");
		TRY(split_at(r, self, separator, (size_t)most, last, &pieces));
	}
	for (size_t i = 0; last && i < pieces.n / 2; i++) {
		const struct jinja_value v = pieces.data[i];

		pieces.data[i] = pieces.data[pieces.n - 1 - i];
		pieces.data[pieces.n - 1 - i] = v;
	}
	return finish_pieces(r, &pieces, out);
fail:
	free(pieces.data);
	return r->err->code;
}

static int split(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return split_any(r, self, at, false, out);
}

static int rsplit(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return split_any(r, self, at, true, out);
}

static bool ends_line(uint32_t code)
{
	return (code >= '\n' && code <= '\r') || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
	       code == 0x2028 || code == 0x2029;
}

int jinja_split_lines(struct jinja_run *r, struct jinja_value v, bool keep, struct jinja_value *out)
{
	const char *s = v.string.s;
	struct pieces pieces = {0};
	size_t start = 0;

	for (size_t i = 0, length; i < v.string.n; i += length) {
		const size_t end = i;

		length = utf8_length(s + i, v.string.n - i);
		if (!ends_line(utf8_decode(s + i, length)))
			continue;
		if (s[i] == '\r' && i + 1 < v.string.n && s[i + 1] == '\n')
			length = 2;
		TRY(add_piece(r, &pieces, jinja_part(v, start, keep ? i + length : end)));
		start = i + length;
	}
	if (start < v.string.n)
		TRY(add_piece(r, &pieces, jinja_part(v, start, v.string.n)));
	TRY(jinja_step(r, v.string.n / JINJA_STEP_BYTES));
	return finish_pieces(r, &pieces, out);
fail:
	free(pieces.data);
	return r->err->code;
}

static int splitlines(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return jinja_split_lines(r, self, jinja_bool_argument(at[0], false), out);
}

static int partition_at(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool last, struct jinja_value *out)
{
	const size_t n = self.string.n;
	struct jinja_string separator;
	struct jinja_value *parts;
	size_t found;

	TRY(jinja_string_argument(r, at[0], "partition", &separator));
	if (separator.n == 0)
		return jinja_fail(r, "partition: an empty separator");
	TRY(jinja_new_list(r, JINJA_TUPLE, 3, out));
	parts = out->list->items;
	found = last ? last_of(self.string.s, n, separator) : first_of(self.string.s, n, separator);
	for (size_t i = 0; i < 3; i++)
		parts[i] = jinja_part(self, 0, 0);
	if (found > n) {
		parts[last ? 2 : 0] = self;
	} else {
		parts[0] = jinja_part(self, 0, found);
		parts[1] = jinja_part(self, found, found + separator.n);
		parts[2] = jinja_part(self, found + separator.n, n);
	}
	return 0;
fail:
	return r->err->code;
}

static int partition(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return partition_at(r, self, at, false, out);
}

static int rpartition(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return partition_at(r, self, at, true, out);
}

static int join(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_list items;
	struct text text = {0};

	TRY(jinja_items(r, at[0], &items));
	for (size_t i = 0; i < items.n; i++) {
		struct jinja_value item = items.items[i];

		if (i)
			TRY(jinja_add(r, &text, self.string.s, self.string.n));
		if (self.safe)
			TRY(jinja_escape(r, item, &item));
		if (item.kind != JINJA_STRING) {
			jinja_fail(r, "join: expected strings, found %s",
				jinja_kind_name(item.kind));
			goto fail;
		}
		TRY(jinja_add(r, &text, item.string.s, item.string.n));
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = self.safe;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}

/* ---- replacing ----------------------------------------------------------------- */

/* Of an empty `old`: `new` before every character and at the end. */
static int put_between(struct jinja_run *r, struct jinja_string s, struct jinja_string new,
	size_t most, struct text *text)
{
	size_t i = 0;

	for (size_t done = 0, length; done < most; done++) {
		TRY(jinja_step(r, 1));
		TRY(jinja_add(r, text, new.s, new.n));
		if (i == s.n)
			break;
		length = utf8_length(s.s + i, s.n - i);
		TRY(jinja_add(r, text, s.s + i, length));
		i += length;
	}
	return jinja_add(r, text, s.s + i, s.n - i);
fail:
	return r->err->code;
}

int jinja_replace(struct jinja_run *r, struct jinja_string s, struct jinja_string old,
	struct jinja_string new, int64_t count, struct jinja_value *out)
{
	const size_t most = count < 0 ? SIZE_MAX : (size_t)count;
	struct text text = {0};
	size_t at = 0;

	if (old.n == 0) {
		TRY(put_between(r, s, new, most, &text));
		return jinja_finish(r, &text, out);
	}
	for (size_t done = 0; done < most; done++) {
		const size_t found = first_of(s.s + at, s.n - at, old);

		if (found > s.n - at)
			break;
		TRY(jinja_step(r, 1));
		TRY(jinja_add(r, &text, s.s + at, found));
		TRY(jinja_add(r, &text, new.s, new.n));
		at += found + old.n;
	}
	TRY(jinja_add(r, &text, s.s + at, s.n - at));
	return jinja_finish(r, &text, out);
fail:
	free(text.data);
	return r->err->code;
}

static int replace(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct jinja_value new = at[1];
	struct jinja_string old;
	int64_t most;

	TRY(jinja_string_argument(r, at[0], "replace", &old));
	if (self.safe)
		TRY(jinja_escape(r, new, &new));
	TRY(jinja_string_argument(r, new, "replace", &new.string));
	TRY(jinja_int_argument(r, at[2], "replace: count", -1, &most));
	TRY(jinja_replace(r, self.string, old, new.string, most, out));
	out->safe = self.safe;
	return 0;
fail:
	return r->err->code;
}

static int remove_end(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	bool behind, struct jinja_value *out)
{
	const size_t n = self.string.n;
	struct jinja_string s;

	TRY(jinja_string_argument(r, at[0], behind ? "removesuffix" : "removeprefix", &s));
	*out = self;
	if (s.n && s.n <= n && memcmp(self.string.s + (behind ? n - s.n : 0), s.s, s.n) == 0)
		*out = behind ? jinja_part(self, 0, n - s.n) : jinja_part(self, s.n, n);
	return 0;
fail:
	return r->err->code;
}

static int removeprefix(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return remove_end(r, self, at, false, out);
}

static int removesuffix(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
	struct jinja_value *out)
{
	return remove_end(r, self, at, true, out);
}

static const struct jinja_function methods[] = {
	{.name = "count",
		.parameters = "sub start end",
		.n_required = 1,
		.run = count,
		.positional = true},
	{.name = "endswith",
		.parameters = "suffix start end",
		.n_required = 1,
		.run = endswith,
		.positional = true},
	{.name = "find",
		.parameters = "sub start end",
		.n_required = 1,
		.run = find,
		.positional = true},
	{.name = "index",
		.parameters = "sub start end",
		.n_required = 1,
		.run = index_in,
		.positional = true},
	{.name = "join",
		.parameters = "iterable",
		.n_required = 1,
		.run = join,
		.positional = true},
	{.name = "partition",
		.parameters = "sep",
		.n_required = 1,
		.run = partition,
		.positional = true},
	{.name = "removeprefix",
		.parameters = "prefix",
		.n_required = 1,
		.run = removeprefix,
		.positional = true},
	{.name = "removesuffix",
		.parameters = "suffix",
		.n_required = 1,
		.run = removesuffix,
		.positional = true},
	{.name = "replace",
		.parameters = "old new count",
		.n_required = 2,
		.run = replace,
		.positional = true},
	{.name = "rfind",
		.parameters = "sub start end",
		.n_required = 1,
		.run = rfind,
		.positional = true},
	{.name = "rindex",
		.parameters = "sub start end",
		.n_required = 1,
		.run = rindex_in,
		.positional = true},
	{.name = "rpartition",
		.parameters = "sep",
		.n_required = 1,
		.run = rpartition,
		.positional = true},
	{.name = "rsplit", .parameters = "sep maxsplit", .run = rsplit},
	{.name = "split", .parameters = "sep maxsplit", .run = split},
	{.name = "splitlines", .parameters = "keepends", .run = splitlines},
	{.name = "startswith",
		.parameters = "prefix start end",
		.n_required = 1,
		.run = startswith,
		.positional = true},
};

const struct jinja_function *jinja_search_method(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}
