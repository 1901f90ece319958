/* SPDX-License-Identifier: MIT
 *
 * jinja_call.c - giving a built-in function its arguments. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

/* Which of the space-separated names it is; -1: none of them. */
static int index_of(const char *names, const char *name)
{
	const size_t n = strlen(name);
	int index = 0;

	for (const char *at = names; *at; index++) {
		const size_t length = strcspn(at, " ");

		if (length == n && strncmp(at, name, n) == 0)
			return index;
		at += length + (at[length] == ' ');
	}
	return -1;
}

static size_t count_of(const char *names)
{
	size_t n = *names != '\0';

	for (; *names; names++)
		n += *names == ' ';
	return n;
}

/* What a lazy function gives where it fails: an error for whoever goes through it. */
static int break_later(struct jinja_run *r, struct jinja_value *out)
{
	struct err why = *r->err;
	char *text;

	if (why.code != ERR_INPUT)
		return why.code;
	err_clear(r->err);
	TRY(jinja_new_list(r, JINJA_ITERATOR, 0, out));
	text = jinja_take(r, strlen(why.text) + 1, 1);
	if (!text)
		return r->err->code;
	strcpy(text, why.text);
	out->list->broken = text;
	return 0;
fail:
	return r->err->code;
}

static int run_function(struct jinja_run *r, const struct jinja_function *f,
	struct jinja_value self, const struct jinja_value *at,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	const unsigned depth = r->depth;
	const int rc = at ? f->run(r, self, at, out) : f->run_free(r, self, arguments, out);

	if (rc == 0 || !f->lazy)
		return rc;
	r->depth = depth;
	return break_later(r, out);
}

static int call_function(struct jinja_run *r, const struct jinja_function *f,
	struct jinja_value self, const struct jinja_arguments *arguments, struct jinja_value *out)
{
	struct jinja_value at[JINJA_MAX_PARAMETERS] = {{.kind = JINJA_MISSING}};
	size_t n;

	if (!f->parameters)
		return run_function(r, f, self, NULL, arguments, out);
	n = count_of(f->parameters);
	if (arguments->n > n)
		return jinja_fail(r, "%s: expected at most %zu arguments, found %zu", f->name, n,
			arguments->n);
	if (f->positional && arguments->n_named)
		return jinja_fail(r, "%s: expected no argument by name, found '%s'", f->name,
			arguments->named[0].name);
	for (size_t i = 0; i < arguments->n; i++)
		at[i] = arguments->data[i];
	for (size_t i = 0; i < arguments->n_named; i++) {
		const int index = index_of(f->parameters, arguments->named[i].name);

		if (index < 0)
			return jinja_fail(r, "%s: expected arguments of the names '%s', found '%s'",
				f->name, f->parameters, arguments->named[i].name);
		if (at[index].kind != JINJA_MISSING)
			return jinja_fail(r, "%s: two values for its argument '%s'", f->name,
				arguments->named[i].name);
		at[index] = arguments->named[i].value;
	}
	for (size_t i = 0; i < f->n_required; i++)
		if (at[i].kind == JINJA_MISSING)
			return jinja_fail(r, "%s: expected %zu arguments ('%s')", f->name,
				f->n_required, f->parameters);
	return run_function(r, f, self, at, NULL, out);
}

int jinja_int_argument(struct jinja_run *r, struct jinja_value v, const char *what,
	int64_t otherwise, int64_t *out)
{
	*out = otherwise;
	if (v.kind == JINJA_MISSING || jinja_as_int(v, out))
		return 0;
	if (v.kind == JINJA_UNDEFINED)
		return jinja_undefined_used(r, v);
	return jinja_fail(r, "%s: expected an integer, found %s", what, jinja_kind_name(v.kind));
}

bool jinja_bool_argument(struct jinja_value v, bool otherwise)
{
	return v.kind == JINJA_MISSING ? otherwise : jinja_truth(v);
}

int jinja_string_argument(struct jinja_run *r, struct jinja_value v, const char *what,
	struct jinja_string *out)
{
	if (v.kind != JINJA_STRING)
		return jinja_fail(r, "%s: expected a string, found %s", what,
			jinja_kind_name(v.kind));
	*out = v.string;
	return 0;
}

int jinja_apply(struct jinja_run *r, const struct jinja_function *f, const char *kind,
	const char *name, struct jinja_value v, const struct jinja_arguments *arguments,
	struct jinja_value *out)
{
	if (!f)
		return jinja_fail(r, "there is no %s '%s'", kind, name);
	if (!f->run && !f->run_free)
		return jinja_refuse(r, "the %s '%s'", kind, name);
	return call_function(r, f, v, arguments, out);
}
