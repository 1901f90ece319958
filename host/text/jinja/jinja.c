/* SPDX-License-Identifier: MIT
 *
 * jinja.c - Contract: jinja.h. What it is made of: jinja_parts.h. Tests: tests/test_jinja.c,
 * tests/test_jinja.py (against Python's Jinja), tests/fuzz/fuzz_jinja.c.
 */
#include "host/text/jinja/jinja.h"

#include "host/base/utf8.h"
#include "host/text/jinja/jinja_parts.h"

/* The source with \n for every line end, without the last one. */
static int take_source(struct jinja_parser *p, const char *name, const char *source, size_t n)
{
	struct jinja *t = p->t;
	char *copy;

	copy = jinja_parser_take(p, strlen(name) + 1, 1);
	if (!copy)
		return p->err->code;
	strcpy(copy, name);
	t->name = copy;
	copy = jinja_parser_take(p, n, 1);
	if (!copy)
		return p->err->code;
	for (size_t i = 0; i < n; i++) {
		if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n')
			continue;
		copy[t->n++] = source[i] == '\r' ? '\n' : source[i];
	}
	t->n -= t->n && copy[t->n - 1] == '\n';
	t->source = copy;
	return 0;
}

int jinja_parse(struct jinja **out, const char *name, const char *source, size_t n, struct err *err)
{
	struct jinja_parser p = {.err = err};
	size_t bad;

	*out = NULL;
	err_clear(err);
	if (n > JINJA_MAX_SOURCE)
		return err_set(err, ERR_INPUT,
			"%s: expected a template of at most %d bytes, found "
			"%zu",
			name, JINJA_MAX_SOURCE, n);
	if (!utf8_valid(source, n, &bad))
		return err_set(err, ERR_INPUT, "%s: expected UTF-8, found another byte at %zu",
			name, bad);
	p.t = calloc(1, sizeof *p.t);
	if (!p.t)
		return err_nomem(err, name, sizeof *p.t);
	TRY(take_source(&p, name, source, n));
	TRY(jinja_lex(&p));
	TRY(jinja_parse_template(&p));
	TRY(jinja_resolve(&p));
	free(p.tokens.data);
	*out = p.t;
	return 0;
fail:
	free(p.tokens.data);
	jinja_free(p.t);
	return err->code;
}

void jinja_free(struct jinja *t)
{
	if (!t)
		return;
	arena_free(&t->memory);
	free(t->globals.data);
	free(t);
}

/* What the render gives of each name that the template looks up. */
static int take_globals(struct jinja_run *r, const json_t *variables)
{
	const struct jinja *t = r->t;

	r->globals = jinja_take(r, t->globals.n, sizeof *r->globals);
	if (!r->globals)
		return r->err->code;
	for (size_t i = 0; i < t->globals.n; i++) {
		const json_t *given = json_object_get(variables, t->globals.data[i]);
		const struct jinja_function *f = jinja_global_function(t->globals.data[i]);

		if (given)
			TRY(jinja_from_json(r, given, &r->globals[i]));
		else if (f)
			r->globals[i] = (struct jinja_value){.kind = JINJA_FUNCTION, .function = f};
	}
	return 0;
fail:
	return r->err->code;
}

int jinja_render(const struct jinja *t, const json_t *variables, const char *date, struct text *out,
	struct err *err)
{
	struct text text = {0};
	struct jinja_run r = {.t = t, .date = date, .out = &text, .err = err, .line = 1};

	err_clear(err);
	TRY(take_globals(&r, variables));
	TRY(jinja_run_template(&r));
	TRY(vec_append(out, text.data, text.n, err));
fail:
	free(text.data);
	arena_free(&r.memory);
	return err->code;
}

bool jinja_mentions(const struct jinja *t, const char *name)
{
	for (size_t i = 0; i < t->globals.n; i++)
		if (strcmp(t->globals.data[i], name) == 0)
			return true;
	return false;
}
