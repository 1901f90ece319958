/* SPDX-License-Identifier: MIT
 *
 * jinja_print.c - str() and repr() of values. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The fewest digits that read as the same number, without an exponent from 1e-4 to 1e16. */
void jinja_spell_float(double real, char out[32])
{
	char digits[32], *mark;
	int n = 1, exponent;

	if (isnan(real) || isinf(real)) {
		strcpy(out, isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
		return;
	}
	do
		snprintf(digits, sizeof digits, "%.*e", n - 1, real);
	while (strtod(digits, NULL) != real && n++ < 17);
	mark = strchr(digits, 'e');
	exponent = atoi(mark + 1);
	if (exponent >= -4 && exponent < 16) {
		snprintf(out, 32, "%.*f", n - 1 - exponent > 1 ? n - 1 - exponent : 1, real);
	} else {
		/* "1e16" is "1e+16", "1e-5" is "1e-05": as printf has it. */
		strcpy(out, digits);
	}
}

static int add_escape(struct jinja_run *r, struct text *to, uint32_t code)
{
	char text[16];

	snprintf(text, sizeof text,
		code < 0x100     ? "\\x%02" PRIx32
		: code < 0x10000 ? "\\u%04" PRIx32
				 : "\\U%08" PRIx32,
		code);
	return jinja_add(r, to, text, strlen(text));
}

static int repr_string(struct jinja_run *r, struct jinja_string s, struct text *to)
{
	const bool single = s.n && memchr(s.s, '\'', s.n) && !memchr(s.s, '"', s.n);
	const char quote = single ? '"' : '\'';

	TRY(jinja_add_char(r, to, (unsigned char)quote));
	for (size_t i = 0, length; i < s.n; i += length) {
		uint32_t code;

		length = utf8_length(s.s + i, s.n - i);
		code = utf8_decode(s.s + i, length);
		if (code == (unsigned char)quote || code == '\\')
			TRY(jinja_add(r, to, "\\", 1));
		if (code == '\n' || code == '\r' || code == '\t')
			TRY(jinja_add(r, to,
				code == '\n'   ? "\\n"
				: code == '\r' ? "\\r"
					       : "\\t",
				2));
		else if (jinja_is_printable(code))
			TRY(jinja_add(r, to, s.s + i, length));
		else
			TRY(add_escape(r, to, code));
	}
	return jinja_add_char(r, to, (unsigned char)quote);
fail:
	return r->err->code;
}

static int add_text(struct jinja_run *r, struct text *to, const char *text)
{
	return jinja_add(r, to, text, strlen(text));
}

static int repr_items(struct jinja_run *r, const struct jinja_list *list, const char *open,
	const char *close, struct text *to)
{
	TRY(add_text(r, to, open));
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			TRY(add_text(r, to, ", "));
		TRY(jinja_repr(r, list->items[i], to));
	}
	return add_text(r, to, close);
fail:
	return r->err->code;
}

static int repr_dict(struct jinja_run *r, const struct jinja_dict *dict, struct text *to)
{
	TRY(add_text(r, to, "{"));
	for (size_t i = 0; i < dict->n; i++) {
		if (i)
			TRY(add_text(r, to, ", "));
		TRY(jinja_repr(r, dict->pairs[i].key, to));
		TRY(add_text(r, to, ": "));
		TRY(jinja_repr(r, dict->pairs[i].value, to));
	}
	return add_text(r, to, "}");
fail:
	return r->err->code;
}

static int repr_view(struct jinja_run *r, struct jinja_value v, struct text *to)
{
	static const char *const open[] = {[JINJA_KEYS] = "dict_keys([",
		[JINJA_VALUES] = "dict_values([",
		[JINJA_ITEMS] = "dict_items(["};
	struct jinja_list items;

	TRY(jinja_items(r, v, &items));
	return repr_items(r, &items, open[v.view->kind], "])", to);
fail:
	return r->err->code;
}

static int repr_range(struct jinja_run *r, const struct jinja_list *range, struct text *to)
{
	char text[96];
	int n = snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64, range->start,
		range->stop);

	if (range->step != 1)
		n += snprintf(text + n, sizeof text - (size_t)n, ", %" PRId64, range->step);
	return jinja_add(r, to, text, (size_t)n) || jinja_add(r, to, ")", 1) ? r->err->code : 0;
}

static int print_macro(struct jinja_run *r, const struct jinja_node *node, struct text *to)
{
	TRY(add_text(r, to, "<Macro "));
	if (node->kind == NODE_MACRO)
		TRY(repr_string(r, jinja_literal(node->name).string, to));
	else
		TRY(add_text(r, to, "anonymous"));
	return add_text(r, to, ">");
fail:
	return r->err->code;
}

/* What is the same by str and repr. */
static int print_plain(struct jinja_run *r, struct jinja_value v, struct text *to)
{
	char number[32];

	switch (v.kind) {
	case JINJA_NONE:
		return add_text(r, to, "None");
	case JINJA_BOOL:
		return add_text(r, to, v.truth ? "True" : "False");
	case JINJA_INT:
		snprintf(number, sizeof number, "%" PRId64, v.integer);
		return add_text(r, to, number);
	case JINJA_FLOAT:
		jinja_spell_float(v.real, number);
		return add_text(r, to, number);
	case JINJA_LIST:
		return repr_items(r, v.list, "[", "]", to);
	case JINJA_TUPLE:
		return repr_items(r, v.list, "(", v.list->n == 1 ? ",)" : ")", to);
	case JINJA_RANGE:
		return repr_range(r, v.list, to);
	case JINJA_DICT:
		return repr_dict(r, v.dict, to);
	case JINJA_VIEW:
		return repr_view(r, v, to);
	case JINJA_MACRO:
		return print_macro(r, v.macro->node, to);
	case JINJA_NAMESPACE:
		return add_text(r, to, "<Namespace ") || repr_dict(r, v.dict, to) ||
				       add_text(r, to, ">")
			       ? r->err->code
			       : 0;
	default:
		return jinja_refuse(r, "printing %s", jinja_kind_name(v.kind));
	}
}

int jinja_repr(struct jinja_run *r, struct jinja_value v, struct text *to)
{
	TRY(jinja_enter(r));
	if (v.kind == JINJA_UNDEFINED) {
		TRY(add_text(r, to, "Undefined"));
	} else if (v.kind == JINJA_STRING) {
		if (v.safe)
			TRY(add_text(r, to, "Markup("));
		TRY(repr_string(r, v.string, to));
		if (v.safe)
			TRY(add_text(r, to, ")"));
	} else {
		TRY(print_plain(r, v, to));
	}
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

int jinja_print(struct jinja_run *r, struct jinja_value v, struct text *to)
{
	if (v.kind == JINJA_UNDEFINED)
		return 0;
	if (v.kind == JINJA_STRING)
		return jinja_add(r, to, v.string.s, v.string.n);
	return print_plain(r, v, to);
}

int jinja_to_string(struct jinja_run *r, struct jinja_value v, struct jinja_string *out)
{
	struct text text = {0};
	struct jinja_value made;

	if (v.kind == JINJA_STRING) {
		*out = v.string;
		return 0;
	}
	TRY(jinja_print(r, v, &text));
	TRY(jinja_finish(r, &text, &made));
	*out = made.string;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}

int jinja_escape(struct jinja_run *r, struct jinja_value v, struct jinja_value *out)
{
	struct jinja_string s;
	struct text text = {0};

	*out = v;
	if (v.kind == JINJA_STRING && v.safe)
		return 0;
	TRY(jinja_to_string(r, v, &s));
	for (size_t i = 0; i < s.n; i++) {
		const char *instead = s.s[i] == '&'    ? "&amp;"
				      : s.s[i] == '<'  ? "&lt;"
				      : s.s[i] == '>'  ? "&gt;"
				      : s.s[i] == '\'' ? "&#39;"
				      : s.s[i] == '"'  ? "&#34;"
						       : NULL;

		TRY(jinja_add(r, &text, instead ? instead : s.s + i,
			instead ? strlen(instead) : 1));
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = true;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}
