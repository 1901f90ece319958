/* SPDX-License-Identifier: MIT
 *
 * jinja_format.c - "%s" % value and "{}".format(value), as Python has them. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- format % value ------------------------------------------------------------------------ */

enum { MAX_WIDTH = 1000 };

/* %[(key)][flags][width][.precision]type */
struct conversion {
	bool minus, plus, space, zero, hash;
	int width, precision; /* precision -1: none given */
	char type;
	struct jinja_string key;
	bool has_key;
};

struct percent {
	struct jinja_string format;
	size_t at;
	struct jinja_value value;
	bool many;    /* `value` is a tuple, of which each conversion takes one */
	size_t taken; /* conversions that took a value */
	bool safe;    /* what is put in is escaped */
	struct text out;
};

static int ends_early(struct jinja_run *r)
{
	return jinja_fail(r, "%%: expected a conversion, found the end of the format");
}

static int read_number(struct jinja_run *r, struct percent *p, int *out)
{
	*out = 0;
	while (p->at < p->format.n && p->format.s[p->at] >= '0' && p->format.s[p->at] <= '9') {
		*out = *out * 10 + p->format.s[p->at++] - '0';
		if (*out > MAX_WIDTH)
			return jinja_fail(r, "%%: expected a width up to %d", MAX_WIDTH);
	}
	return 0;
}

static int read_key(struct jinja_run *r, struct percent *p, struct conversion *c)
{
	const size_t start = ++p->at;
	int open = 1;

	for (; p->at < p->format.n && open; p->at++)
		open += (p->format.s[p->at] == '(') - (p->format.s[p->at] == ')');
	if (open)
		return ends_early(r);
	c->key = (struct jinja_string){p->format.s + start, p->at - 1 - start};
	c->has_key = true;
	return 0;
}

static bool read_flag(struct percent *p, struct conversion *c)
{
	if (p->at == p->format.n)
		return false;
	switch (p->format.s[p->at]) {
	case '-':
		return c->minus = true;
	case '+':
		return c->plus = true;
	case ' ':
		return c->space = true;
	case '0':
		return c->zero = true;
	case '#':
		return c->hash = true;
	default:
		return false;
	}
}

static int read_conversion(struct jinja_run *r, struct percent *p, struct conversion *c)
{
	*c = (struct conversion){.precision = -1};
	if (p->at < p->format.n && p->format.s[p->at] == '(')
		TRY(read_key(r, p, c));
	while (read_flag(p, c))
		p->at++;
	if (p->at < p->format.n && p->format.s[p->at] == '*')
		return jinja_refuse(r, "a width '*' in a format");
	TRY(read_number(r, p, &c->width));
	if (p->at < p->format.n && p->format.s[p->at] == '.') {
		p->at++;
		if (p->at < p->format.n && p->format.s[p->at] == '*')
			return jinja_refuse(r, "a precision '*' in a format");
		TRY(read_number(r, p, &c->precision));
	}
	while (p->at < p->format.n && memchr("hlL", p->format.s[p->at], 3))
		p->at++;
	if (p->at == p->format.n)
		return ends_early(r);
	c->type = p->format.s[p->at++];
	return 0;
fail:
	return r->err->code;
}

static int next_value(struct jinja_run *r, struct percent *p, const struct conversion *c,
	struct jinja_value *out)
{
	struct jinja_value *found;

	if (c->has_key) {
		if (p->value.kind != JINJA_DICT)
			return jinja_fail(r, "%%: expected a dict, found %s",
				jinja_kind_name(p->value.kind));
		TRY(jinja_find(r, p->value.dict, jinja_string(c->key.s, c->key.n), &found));
		if (!found)
			return jinja_fail(r, "%%: no value for the key '%.*s'", (int)c->key.n,
				c->key.s);
		*out = *found;
	} else if (p->many) {
		if (p->taken == p->value.list->n)
			return jinja_fail(r, "%%: more conversions than values");
		*out = p->value.list->items[p->taken++];
	} else {
		if (p->taken++)
			return jinja_fail(r, "%%: more conversions than values");
		*out = p->value;
	}
	return 0;
fail:
	return r->err->code;
}

/* `s` in a field of that width, in characters. */
static int add_field(struct jinja_run *r, struct percent *p, const struct conversion *c,
	const char *s, size_t n)
{
	const size_t count = jinja_count(s, n);
	const size_t fill = (size_t)c->width > count ? (size_t)c->width - count : 0;

	for (size_t i = 0; !c->minus && i < fill; i++)
		TRY(jinja_add(r, &p->out, " ", 1));
	TRY(jinja_add(r, &p->out, s, n));
	for (size_t i = 0; c->minus && i < fill; i++)
		TRY(jinja_add(r, &p->out, " ", 1));
	return 0;
fail:
	return r->err->code;
}

static int add_string(struct jinja_run *r, struct percent *p, const struct conversion *c,
	struct jinja_value v)
{
	struct text text = {0};
	struct jinja_value shown = {0};

	TRY(c->type == 's' ? jinja_print(r, v, &text) : jinja_repr(r, v, &text));
	TRY(jinja_finish(r, &text, &shown));
	shown.safe = v.kind == JINJA_STRING && v.safe && c->type == 's';
	if (p->safe)
		TRY(jinja_escape(r, shown, &shown));
	if (c->precision >= 0)
		shown.string.n = jinja_offset(shown.string.s, shown.string.n, (size_t)c->precision);
	return add_field(r, p, c, shown.string.s, shown.string.n);
fail:
	free(text.data);
	return r->err->code;
}

/* A printf conversion with what was read of it. */
static void spell_conversion(const struct conversion *c, const char *type, char out[32])
{
	int n = snprintf(out, 32, "%%%s%s%s%s%s", c->minus ? "-" : "", c->plus ? "+" : "",
		c->space ? " " : "", c->zero ? "0" : "", c->hash ? "#" : "");

	if (c->width)
		n += snprintf(out + n, 32 - (size_t)n, "%d", c->width);
	if (c->precision >= 0)
		n += snprintf(out + n, 32 - (size_t)n, ".%d", c->precision);
	snprintf(out + n, 32 - (size_t)n, "%s", type);
}

static int wrong_value(struct jinja_run *r, const struct conversion *c, struct jinja_value v)
{
	if (v.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, v);
	return jinja_fail(r, "%%%c: expected a number, found %s", c->type, jinja_kind_name(v.kind));
}

static int add_number(struct jinja_run *r, struct percent *p, const struct conversion *c,
	struct jinja_value v)
{
	char format[32], text[2 * MAX_WIDTH + 400], type[8];
	int64_t integer;
	int n;

	if (strchr("diu", c->type)) {
		if (v.kind == JINJA_FLOAT && fabs(v.real) < 9e18)
			integer = (int64_t)v.real;
		else if (!jinja_as_int(v, &integer))
			return wrong_value(r, c, v);
		spell_conversion(c, PRId64, format);
		n = snprintf(text, sizeof text, format, integer);
	} else if (strchr("xXo", c->type)) {
		if (!jinja_as_int(v, &integer))
			return wrong_value(r, c, v);
		if (c->hash || c->precision >= 0 || c->plus || c->space || integer < 0)
			return jinja_refuse(r, "this use of %%%c", c->type);
		snprintf(type, sizeof type, "l%c", c->type);
		spell_conversion(c, type, format);
		n = snprintf(text, sizeof text, format, (unsigned long)integer);
	} else {
		if (!jinja_is_number(v))
			return wrong_value(r, c, v);
		if (!isfinite(jinja_as_float(v)))
			return jinja_refuse(r, "%%%c of what is no finite number", c->type);
		snprintf(type, sizeof type, "%c", c->type == 'F' ? 'f' : c->type);
		spell_conversion(c, type, format);
		n = snprintf(text, sizeof text, format, jinja_as_float(v));
	}
	return jinja_add(r, &p->out, text, (size_t)n);
}

static int convert(struct jinja_run *r, struct percent *p)
{
	struct conversion c;
	struct jinja_value v;

	TRY(read_conversion(r, p, &c));
	if (c.type == '\0')
		return jinja_fail(r, "%%: expected a conversion, found a zero");
	if (c.type == '%')
		return jinja_add(r, &p->out, "%", 1);
	TRY(next_value(r, p, &c, &v));
	if (strchr("sr", c.type))
		return add_string(r, p, &c, v);
	if (strchr("diuxXoeEfFgG", c.type))
		return add_number(r, p, &c, v);
	if (strchr("ac", c.type))
		return jinja_refuse(r, "the conversion %%%c", c.type);
	return jinja_fail(r, "%%: expected a conversion, as %%s");
fail:
	return r->err->code;
}

int jinja_percent(struct jinja_run *r, struct jinja_value format, struct jinja_value value,
	struct jinja_value *out)
{
	struct percent p = {.format = format.string,
		.value = value,
		.many = value.kind == JINJA_TUPLE,
		.safe = format.safe};

	while (p.at < p.format.n) {
		const char *mark = memchr(p.format.s + p.at, '%', p.format.n - p.at);
		const size_t end = mark ? (size_t)(mark - p.format.s) : p.format.n;

		TRY(jinja_step(r, 1));
		TRY(jinja_add(r, &p.out, p.format.s + p.at, end - p.at));
		p.at = end + 1;
		if (mark)
			TRY(convert(r, &p));
	}
	/* A value that a format could look keys up in need not be used. */
	if (p.many ? p.taken < value.list->n
		   : p.taken == 0 && value.kind != JINJA_DICT && value.kind != JINJA_LIST &&
				value.kind != JINJA_RANGE && value.kind != JINJA_UNDEFINED) {
		jinja_fail(r, "%%: fewer conversions than values");
		goto fail;
	}
	TRY(jinja_finish(r, &p.out, out));
	out->safe = format.safe;
	return 0;
fail:
	free(p.out.data);
	return r->err->code;
}

/* ---- format.format(...) -------------------------------------------------------------------- */

/* Numbers that fields have or are given, never both. */
struct fields {
	size_t next;
	bool numbered;
};

/* What is between the braces: nothing, a number or a name. */
static int field_value(struct jinja_run *r, struct jinja_string field,
	const struct jinja_arguments *arguments, struct fields *fields, struct jinja_value *out)
{
	size_t index = 0, digits = 0;

	for (size_t i = 0; i < field.n; i++)
		if (memchr(".[!:{", field.s[i], 5))
			return jinja_refuse(r, "'%c' in a field of format()", field.s[i]);
	for (; digits < field.n && digits < 6 && field.s[digits] >= '0' && field.s[digits] <= '9';
		digits++)
		index = 10 * index + (size_t)(field.s[digits] - '0');
	if (digits == field.n) {
		if (field.n == 0)
			index = fields->next++;
		else
			fields->numbered = true;
		if (fields->next && fields->numbered)
			return jinja_fail(r, "format: fields with and without numbers");
		if (index >= arguments->n)
			return jinja_fail(r, "format: no argument %zu", index);
		*out = arguments->data[index];
		return 0;
	}
	for (size_t i = 0; i < arguments->n_named; i++)
		if (jinja_equal_bytes(jinja_literal(arguments->named[i].name).string, field)) {
			*out = arguments->named[i].value;
			return 0;
		}
	return jinja_fail(r, "format: no argument '%.*s'", (int)size_min(field.n, 100), field.s);
}

int jinja_format(struct jinja_run *r, struct jinja_value format,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	const struct jinja_string f = format.string;
	struct text text = {0};
	struct fields fields = {0};

	for (size_t i = 0; i < f.n; i++) {
		const bool brace = f.s[i] == '{' || f.s[i] == '}';
		const char *close;
		struct jinja_value v;

		if (!brace || (i + 1 < f.n && f.s[i + 1] == f.s[i])) {
			TRY(jinja_add(r, &text, f.s + i, 1));
			i += brace;
			continue;
		}
		close = f.s[i] == '{' ? memchr(f.s + i, '}', f.n - i) : NULL;
		if (!close) {
			jinja_fail(r, "format: expected '{' and '}' in pairs");
			goto fail;
		}
		TRY(field_value(r,
			(struct jinja_string){f.s + i + 1, (size_t)(close - f.s) - i - 1},
			arguments, &fields, &v));
		if (format.safe)
			TRY(jinja_escape(r, v, &v));
		TRY(jinja_print(r, v, &text));
		i = (size_t)(close - f.s);
	}
	TRY(jinja_finish(r, &text, out));
	out->safe = format.safe;
	return 0;
fail:
	free(text.data);
	return r->err->code;
}
