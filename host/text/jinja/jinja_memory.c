/* SPDX-License-Identifier: MIT
 *
 * jinja_memory.c - memory, steps and errors of a render, and values made of nothing else.
 * Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"

#include <stdio.h>

static int located(struct err *err, const char *name, uint32_t line, const char *format,
	va_list arguments)
{
	char text[sizeof err->text];

	vsnprintf(text, sizeof text, format, arguments);
	return err_set(err, ERR_INPUT, "%s:%u: %s", name, line, text);
}

static int refused(struct err *err)
{
	const size_t n = strlen(err->text);

	snprintf(err->text + n, sizeof err->text - n,
		" is outside the part of Jinja that is followed here; set model.prefix and "
		"model.suffix, or model.template");
	return err->code;
}

int jinja_fail(struct jinja_run *r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	located(r->err, r->t->name, r->line, format, arguments);
	va_end(arguments);
	return r->err->code;
}

int jinja_refuse(struct jinja_run *r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	located(r->err, r->t->name, r->line, format, arguments);
	va_end(arguments);
	return refused(r->err);
}

int jinja_parse_fail(struct jinja_parser *p, uint32_t line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	located(p->err, p->t->name, line, format, arguments);
	va_end(arguments);
	return p->err->code;
}

int jinja_parse_refuse(struct jinja_parser *p, uint32_t line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	located(p->err, p->t->name, line, format, arguments);
	va_end(arguments);
	return refused(p->err);
}

static int count_bytes(struct jinja_run *r, size_t n)
{
	if (n > JINJA_MAX_MEMORY - r->bytes)
		return jinja_fail(r, "more than %d MiB of values", JINJA_MAX_MEMORY >> 20);
	r->bytes += n;
	return 0;
}

void *jinja_take(struct jinja_run *r, size_t n, size_t size)
{
	void *taken;
	size_t bytes;

	if (size_mul_overflow(n, size, &bytes))
		bytes = SIZE_MAX;
	if (count_bytes(r, bytes) || jinja_step(r, bytes / JINJA_STEP_BYTES))
		return NULL;
	taken = arena_alloc(&r->memory, n, size);
	if (!taken)
		arena_check(&r->memory, r->t->name, r->err);
	return taken;
}

int jinja_step(struct jinja_run *r, size_t n)
{
	if (n > JINJA_MAX_STEPS - r->steps)
		return jinja_fail(r, "more than %d steps", JINJA_MAX_STEPS);
	r->steps += n;
	return 0;
}

int jinja_enter(struct jinja_run *r)
{
	if (r->depth == JINJA_MAX_DEPTH)
		return jinja_fail(r, "more than %d levels of evaluation", JINJA_MAX_DEPTH);
	r->depth++;
	return jinja_step(r, 1);
}

void jinja_leave(struct jinja_run *r)
{
	r->depth--;
}

struct jinja_value jinja_none(void)
{
	return (struct jinja_value){.kind = JINJA_NONE};
}

struct jinja_value jinja_bool(bool truth)
{
	return (struct jinja_value){.kind = JINJA_BOOL, .truth = truth};
}

struct jinja_value jinja_int(int64_t integer)
{
	return (struct jinja_value){.kind = JINJA_INT, .integer = integer};
}

struct jinja_value jinja_float(double real)
{
	return (struct jinja_value){.kind = JINJA_FLOAT, .real = real};
}

struct jinja_value jinja_string(const char *s, size_t n)
{
	return (struct jinja_value){.kind = JINJA_STRING, .string = {s, n}};
}

struct jinja_value jinja_literal(const char *s)
{
	return jinja_string(s, strlen(s));
}

struct jinja_value jinja_part(struct jinja_value whole, size_t start, size_t end)
{
	struct jinja_value v = jinja_string(whole.string.s + start, end - start);

	v.safe = whole.safe;
	return v;
}

struct jinja_value jinja_undefined(const char *name)
{
	return (struct jinja_value){.kind = JINJA_UNDEFINED, .why = name};
}

struct jinja_value jinja_undefined_hint(const char *hint)
{
	return (struct jinja_value){.kind = JINJA_UNDEFINED,
		.undefined = UNDEFINED_HINT,
		.why = hint};
}

int jinja_new_list(struct jinja_run *r, enum jinja_kind kind, size_t n, struct jinja_value *out)
{
	struct jinja_list *list = jinja_take(r, 1, sizeof *list);

	if (!list || jinja_step(r, n))
		return r->err->code;
	list->items = jinja_take(r, n, sizeof *list->items);
	if (!list->items)
		return r->err->code;
	list->n = n;
	for (size_t i = 0; i < n; i++)
		list->items[i] = jinja_none();
	*out = (struct jinja_value){.kind = kind, .list = list};
	return 0;
}

int jinja_new_dict(struct jinja_run *r, size_t cap, struct jinja_value *out)
{
	struct jinja_dict *dict = jinja_take(r, 1, sizeof *dict);

	if (!dict)
		return r->err->code;
	dict->pairs = jinja_take(r, cap, sizeof *dict->pairs);
	if (!dict->pairs)
		return r->err->code;
	dict->cap = cap;
	*out = (struct jinja_value){.kind = JINJA_DICT, .dict = dict};
	return 0;
}

int jinja_add(struct jinja_run *r, struct text *to, const char *s, size_t n)
{
	if (n > JINJA_MAX_OUTPUT - to->n)
		return jinja_fail(r, "more than %d MiB of text", JINJA_MAX_OUTPUT >> 20);
	if (jinja_step(r, n / JINJA_STEP_BYTES))
		return r->err->code;
	return vec_append(to, s, n, r->err);
}

int jinja_add_char(struct jinja_run *r, struct text *to, uint32_t code)
{
	char spelled[4];

	return jinja_add(r, to, spelled, utf8_spell(code, spelled));
}

int jinja_finish(struct jinja_run *r, struct text *text, struct jinja_value *out)
{
	char *kept = jinja_take(r, text->n, 1);

	if (kept) {
		if (text->n)
			memcpy(kept, text->data, text->n);
		*out = jinja_string(kept, text->n);
	}
	free(text->data);
	*text = (struct text){0};
	return kept ? 0 : r->err->code;
}
