/* SPDX-License-Identifier: MIT
 *
 * jinja_json.c - values from JSON, and JSON from values as json.dumps writes it. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static int from_array(struct jinja_run *r, const json_t *json, struct jinja_value *out)
{
	const size_t n = json_array_size(json);

	TRY(jinja_new_list(r, JINJA_LIST, n, out));
	for (size_t i = 0; i < n; i++)
		TRY(jinja_from_json(r, json_array_get(json, i), &out->list->items[i]));
	return 0;
fail:
	return r->err->code;
}

static int from_object(struct jinja_run *r, const json_t *json, struct jinja_value *out)
{
	struct jinja_pair *pair;

	TRY(jinja_new_dict(r, json_object_size(json), out));
	/* The iteration of Jansson takes no const, and changes nothing. */
	for (void *at = json_object_iter((json_t *)json); at;
		at = json_object_iter_next((json_t *)json, at)) {
		const char *key = json_object_iter_key(at);

		pair = &out->dict->pairs[out->dict->n++];
		pair->key = jinja_literal(key);
		TRY(jinja_from_json(r, json_object_iter_value(at), &pair->value));
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_from_json(struct jinja_run *r, const json_t *json, struct jinja_value *out)
{
	TRY(jinja_enter(r));
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		TRY(from_object(r, json, out));
		break;
	case JSON_ARRAY:
		TRY(from_array(r, json, out));
		break;
	case JSON_STRING:
		*out = jinja_string(json_string_value(json), json_string_length(json));
		break;
	case JSON_INTEGER:
		*out = jinja_int(json_integer_value(json));
		break;
	case JSON_REAL:
		*out = jinja_float(json_real_value(json));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		*out = jinja_bool(json_is_true(json));
		break;
	case JSON_NULL:
		*out = jinja_none();
		break;
	}
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

struct writer {
	struct text text;
	bool ascii, sorted, indented;
	struct jinja_string indent, item_separator, key_separator;
	size_t level;
};

static int add_text(struct jinja_run *r, struct writer *w, const char *text)
{
	return jinja_add(r, &w->text, text, strlen(text));
}

static int write_string(struct jinja_run *r, struct writer *w, struct jinja_string s)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";

	TRY(add_text(r, w, "\""));
	for (size_t i = 0, length; i < s.n; i += length) {
		const unsigned char c = (unsigned char)s.s[i];
		const char *simple = c ? strchr(from, c) : NULL;
		char escaped[16];
		uint32_t code;

		length = utf8_length(s.s + i, s.n - i);
		code = utf8_decode(s.s + i, length);
		if (simple)
			snprintf(escaped, sizeof escaped, "\\%c", to[simple - from]);
		else if (code < 0x20 || (w->ascii && code > 0x7e && code < 0x10000))
			snprintf(escaped, sizeof escaped, "\\u%04" PRIx32, code);
		else if (w->ascii && code >= 0x10000)
			snprintf(escaped, sizeof escaped, "\\u%04" PRIx32 "\\u%04" PRIx32,
				0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
		else
			escaped[0] = '\0';
		TRY(escaped[0] ? add_text(r, w, escaped) : jinja_add(r, &w->text, s.s + i, length));
	}
	return add_text(r, w, "\"");
fail:
	return r->err->code;
}

/* A new line, where lines are asked for. */
static int break_line(struct jinja_run *r, struct writer *w)
{
	if (!w->indented)
		return 0;
	TRY(add_text(r, w, "\n"));
	for (size_t i = 0; i < w->level; i++)
		TRY(jinja_add(r, &w->text, w->indent.s, w->indent.n));
	return 0;
fail:
	return r->err->code;
}

static int separate(struct jinja_run *r, struct writer *w, bool first)
{
	if (!first)
		TRY(jinja_add(r, &w->text, w->item_separator.s, w->item_separator.n));
	return break_line(r, w);
fail:
	return r->err->code;
}

/* Numbers, booleans, none: also what such a key is. False: none of them. */
static bool spell(struct jinja_value v, char out[32])
{
	switch (v.kind) {
	case JINJA_NONE:
		strcpy(out, "null");
		return true;
	case JINJA_BOOL:
		strcpy(out, v.truth ? "true" : "false");
		return true;
	case JINJA_INT:
		snprintf(out, 32, "%" PRId64, v.integer);
		return true;
	case JINJA_FLOAT:
		if (isnan(v.real))
			strcpy(out, "NaN");
		else if (isinf(v.real))
			strcpy(out, v.real < 0 ? "-Infinity" : "Infinity");
		else
			jinja_spell_float(v.real, out);
		return true;
	default:
		return false;
	}
}

static int write_value(struct jinja_run *r, struct writer *w, struct jinja_value v);

static int write_list(struct jinja_run *r, struct writer *w, const struct jinja_list *list)
{
	TRY(add_text(r, w, "["));
	w->level++;
	for (size_t i = 0; i < list->n; i++) {
		TRY(separate(r, w, i == 0));
		TRY(write_value(r, w, list->items[i]));
	}
	w->level--;
	if (list->n)
		TRY(break_line(r, w));
	return add_text(r, w, "]");
fail:
	return r->err->code;
}

static int write_key(struct jinja_run *r, struct writer *w, struct jinja_value key)
{
	char spelled[32];

	if (key.kind == JINJA_STRING)
		return write_string(r, w, key.string);
	if (!spell(key, spelled))
		return jinja_fail(r, "tojson: expected a key that JSON has, found %s",
			jinja_kind_name(key.kind));
	return write_string(r, w, (struct jinja_string){spelled, strlen(spelled)});
}

/* The pairs in the order of their keys. */
static int sort_pairs(struct jinja_run *r, const struct jinja_dict *dict, struct jinja_value *order)
{
	struct jinja_value *keys = jinja_take(r, dict->n, sizeof *keys);

	if (!keys)
		return r->err->code;
	for (size_t i = 0; i < dict->n; i++)
		keys[i] = dict->pairs[i].key;
	return jinja_sort(r, keys, order, dict->n, false);
}

static int write_dict(struct jinja_run *r, struct writer *w, const struct jinja_dict *dict)
{
	struct jinja_value *order = jinja_take(r, dict->n, sizeof *order);

	if (!order)
		return r->err->code;
	for (size_t i = 0; i < dict->n; i++)
		order[i] = jinja_int((int64_t)i);
	if (w->sorted)
		TRY(sort_pairs(r, dict, order));
	TRY(add_text(r, w, "{"));
	w->level++;
	for (size_t i = 0; i < dict->n; i++) {
		const struct jinja_pair *pair = &dict->pairs[order[i].integer];

		TRY(separate(r, w, i == 0));
		TRY(write_key(r, w, pair->key));
		TRY(jinja_add(r, &w->text, w->key_separator.s, w->key_separator.n));
		TRY(write_value(r, w, pair->value));
	}
	w->level--;
	if (dict->n)
		TRY(break_line(r, w));
	return add_text(r, w, "}");
fail:
	return r->err->code;
}

static int write_value(struct jinja_run *r, struct writer *w, struct jinja_value v)
{
	char spelled[32];

	TRY(jinja_enter(r));
	if (v.kind == JINJA_STRING)
		TRY(write_string(r, w, v.string));
	else if (v.kind == JINJA_LIST || v.kind == JINJA_TUPLE)
		TRY(write_list(r, w, v.list));
	else if (v.kind == JINJA_DICT)
		TRY(write_dict(r, w, v.dict));
	else if (spell(v, spelled))
		TRY(add_text(r, w, spelled));
	else
		return jinja_fail(r, "tojson: expected a value that JSON has, found %s",
			jinja_kind_name(v.kind));
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

static int take_indent(struct jinja_run *r, struct writer *w, struct jinja_value indent)
{
	int64_t n;

	w->indented = jinja_given(indent);
	if (!w->indented)
		return 0;
	if (indent.kind == JINJA_STRING) {
		w->indent = indent.string;
		return 0;
	}
	TRY(jinja_int_argument(r, indent, "tojson: indent", 0, &n));
	w->indent.n = n > 0 ? (size_t)n : 0;
	w->indent.s = jinja_take(r, w->indent.n, 1);
	if (!w->indent.s)
		return r->err->code;
	memset((char *)w->indent.s, ' ', w->indent.n);
	return 0;
fail:
	return r->err->code;
}

static int take_separators(struct jinja_run *r, struct writer *w, struct jinja_value separators)
{
	struct jinja_list items;

	w->item_separator = jinja_literal(w->indented ? "," : ", ").string;
	w->key_separator = jinja_literal(": ").string;
	if (!jinja_given(separators))
		return 0;
	TRY(jinja_items(r, separators, &items));
	if (items.n != 2)
		return jinja_fail(r, "tojson: separators: expected 2 strings, found %zu", items.n);
	TRY(jinja_string_argument(r, items.items[0], "tojson: separators", &w->item_separator));
	TRY(jinja_string_argument(r, items.items[1], "tojson: separators", &w->key_separator));
	return 0;
fail:
	return r->err->code;
}

int jinja_tojson(struct jinja_run *r, struct jinja_value v, const struct jinja_value *at,
	struct jinja_value *out)
{
	struct writer w = {.ascii = jinja_bool_argument(at[0], false),
		.sorted = jinja_bool_argument(at[3], false)};

	TRY(take_indent(r, &w, at[1]));
	TRY(take_separators(r, &w, at[2]));
	TRY(write_value(r, &w, v));
	return jinja_finish(r, &w.text, out);
fail:
	free(w.text.data);
	return r->err->code;
}
