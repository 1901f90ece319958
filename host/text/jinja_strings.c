/* SPDX-License-Identifier: MIT
 *
 * jinja_strings.c - the methods of Python's str. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 */
#include "host/text/jinja_parts.h"

#include "host/base/utf8.h"

#include <inttypes.h>

/* A part of a string, as safe as the whole. */
static struct jinja_value part(struct jinja_value whole, size_t start, size_t end)
{
	struct jinja_value v = jinja_string(whole.string.s + start, end - start);

	v.safe = whole.safe;
	return v;
}

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

static size_t last_length(const char *s, size_t n)
{
	size_t length = 1;

	while (((unsigned char)s[n - length] & 0xc0) == 0x80)
		length++;
	return length;
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
			start = jinja_space_before(s, end);
		if (right)
			end -= jinja_space_behind(s + start, end - start);
		*out = part(v, start, end);
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
		const size_t length = last_length(s, end);

		if (!is_among(among, s + end - length, length))
			break;
		end -= length;
	}
	*out = part(v, start, end);
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
	size_t start = jinja_space_before(s, v.string.n);
	size_t end = v.string.n - jinja_space_behind(s, v.string.n);

	while (start < end) {
		size_t from = start, to = end;

		if (pieces->n < most && last) {
			for (from = end; from > start; from -= last_length(s, from))
				if (jinja_space_behind(s, from))
					break;
		} else if (pieces->n < most) {
			for (to = start; to < end; to += utf8_length(s + to, end - to))
				if (jinja_space_before(s + to, utf8_length(s + to, end - to)))
					break;
		}
		/* Python leaves the space at the far end of what it does not split. */
		if (pieces->n == most && last)
			from = 0;
		if (pieces->n == most && !last)
			to = v.string.n;
		TRY(add_piece(r, pieces, part(v, from, to)));
		if (last)
			end = from - jinja_space_behind(s, from);
		else
			start = to + jinja_space_before(s + to, v.string.n - to);
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
			TRY(add_piece(r, pieces, part(v, found + separator.n, end)));
			end = found;
		} else {
			TRY(add_piece(r, pieces, part(v, start, start + found)));
			start += found + separator.n;
		}
	}
	return add_piece(r, pieces, part(v, start, end));
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
		TRY(add_piece(r, &pieces, part(v, start, keep ? i + length : end)));
		start = i + length;
	}
	if (start < v.string.n)
		TRY(add_piece(r, &pieces, part(v, start, v.string.n)));
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
		parts[i] = part(self, 0, 0);
	if (found > n) {
		parts[last ? 2 : 0] = self;
	} else {
		parts[0] = part(self, 0, found);
		parts[1] = part(self, found, found + separator.n);
		parts[2] = part(self, found + separator.n, n);
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

/* ---- replacing and filling ----------------------------------------------------------------- */

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
		*out = behind ? part(self, 0, n - s.n) : part(self, s.n, n);
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
	struct jinja_value digits = part(self, sign, s.n), filled;
	int64_t width;

	TRY(jinja_int_argument(r, at[0], "zfill", 0, &width));
	if (width <= (int64_t)jinja_count(s.s, s.n)) {
		*out = self;
		return 0;
	}
	TRY(fill(r, digits, jinja_literal("0").string, (size_t)width - jinja_count(s.s, s.n), 0,
		&filled));
	digits = part(self, 0, sign);
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
	*out = jinja_bool(all_are(self.string, jinja_is_space));
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
	{"capitalize", "", 0, capitalize, NULL, true},
	{"casefold", NULL, 0, NULL, NULL, true},
	{"center", "width fillchar", 1, center, NULL, true},
	{"count", "sub start end", 1, count, NULL, true},
	{"encode", NULL, 0, NULL, NULL, true},
	{"endswith", "suffix start end", 1, endswith, NULL, true},
	{"expandtabs", NULL, 0, NULL, NULL, true},
	{"find", "sub start end", 1, find, NULL, true},
	{"format", NULL, 0, NULL, format, false},
	{"format_map", NULL, 0, NULL, NULL, true},
	{"index", "sub start end", 1, index_in, NULL, true},
	{"isalnum", "", 0, isalnum_of, NULL, true},
	{"isalpha", "", 0, isalpha_of, NULL, true},
	{"isascii", NULL, 0, NULL, NULL, true},
	{"isdecimal", "", 0, isdigit_of, NULL, true},
	{"isdigit", "", 0, isdigit_of, NULL, true},
	{"isidentifier", NULL, 0, NULL, NULL, true},
	{"islower", "", 0, islower_of, NULL, true},
	{"isnumeric", "", 0, isnumeric_of, NULL, true},
	{"isprintable", NULL, 0, NULL, NULL, true},
	{"isspace", "", 0, isspace_of, NULL, true},
	{"istitle", NULL, 0, NULL, NULL, true},
	{"isupper", "", 0, isupper_of, NULL, true},
	{"join", "iterable", 1, join, NULL, true},
	{"ljust", "width fillchar", 1, ljust, NULL, true},
	{"lower", "", 0, lower, NULL, true},
	{"lstrip", "chars", 0, lstrip, NULL, true},
	{"maketrans", NULL, 0, NULL, NULL, true},
	{"partition", "sep", 1, partition, NULL, true},
	{"removeprefix", "prefix", 1, removeprefix, NULL, true},
	{"removesuffix", "suffix", 1, removesuffix, NULL, true},
	{"replace", "old new count", 2, replace, NULL, true},
	{"rfind", "sub start end", 1, rfind, NULL, true},
	{"rindex", "sub start end", 1, rindex_in, NULL, true},
	{"rjust", "width fillchar", 1, rjust, NULL, true},
	{"rpartition", "sep", 1, rpartition, NULL, true},
	{"rsplit", "sep maxsplit", 0, rsplit, NULL, false},
	{"rstrip", "chars", 0, rstrip, NULL, true},
	{"split", "sep maxsplit", 0, split, NULL, false},
	{"splitlines", "keepends", 0, splitlines, NULL, false},
	{"startswith", "prefix start end", 1, startswith, NULL, true},
	{"strip", "chars", 0, strip, NULL, true},
	{"swapcase", NULL, 0, NULL, NULL, true},
	{"title", "", 0, title, NULL, true},
	{"translate", NULL, 0, NULL, NULL, true},
	{"upper", "", 0, upper, NULL, true},
	{"zfill", "width", 1, zfill, NULL, true},
};

const struct jinja_function *jinja_string_method(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}
