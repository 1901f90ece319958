/* SPDX-License-Identifier: MIT
 *
 * jinja_eval.c - the value of an expression. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

static int eval_name(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	(void)r;
	for (unsigned i = 0; i < node->up; i++)
		frame = frame->outer;
	*out = frame->at[node->slot];
	if (out->kind == JINJA_MISSING)
		*out = jinja_undefined(node->name);
	return 0;
}

static int eval_items(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	enum jinja_kind kind, struct jinja_value *out)
{
	size_t i = 0;

	TRY(jinja_new_list(r, kind, node->items.n, out));
	for (const struct jinja_node *item = node->items.first; item; item = item->next)
		TRY(jinja_eval(r, item, frame, &out->list->items[i++]));
	return 0;
fail:
	return r->err->code;
}

static int eval_dict(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	struct jinja_value key, value;

	TRY(jinja_new_dict(r, node->items.n / 2, out));
	for (const struct jinja_node *item = node->items.first; item; item = item->next->next) {
		TRY(jinja_eval(r, item, frame, &key));
		TRY(jinja_eval(r, item->next, frame, &value));
		TRY(jinja_put(r, out->dict, key, value));
	}
	return 0;
fail:
	return r->err->code;
}

static int eval_or_none(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *frame, struct jinja_value *out)
{
	*out = jinja_none();
	return node ? jinja_eval(r, node, frame, out) : 0;
}

static int eval_slice(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	struct jinja_value v, start, stop, step;

	TRY(jinja_eval(r, node->a, frame, &v));
	TRY(eval_or_none(r, node->b, frame, &start));
	TRY(eval_or_none(r, node->c, frame, &stop));
	TRY(eval_or_none(r, node->d, frame, &step));
	return jinja_slice(r, v, start, stop, step, out);
fail:
	return r->err->code;
}

static int eval_concat(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *frame, struct jinja_value *out)
{
	struct text text = {0};
	struct jinja_value v;

	for (const struct jinja_node *item = node->items.first; item; item = item->next) {
		TRY(jinja_eval(r, item, frame, &v));
		TRY(jinja_print(r, v, &text));
	}
	return jinja_finish(r, &text, out);
fail:
	free(text.data);
	return r->err->code;
}

static int compare(struct jinja_run *r, enum jinja_token_kind op, struct jinja_value a,
	struct jinja_value b, bool *out)
{
	int order;

	switch (op) {
	case TOKEN_EQ:
		return jinja_equal(r, a, b, out);
	case TOKEN_NE:
		TRY(jinja_equal(r, a, b, out));
		*out = !*out;
		return 0;
	case TOKEN_IN:
		return jinja_contains(r, b, a, out);
	case TOKEN_NOT_IN:
		TRY(jinja_contains(r, b, a, out));
		*out = !*out;
		return 0;
	default:
		break;
	}
	TRY(jinja_compare(r, a, b, &order));
	*out = op == TOKEN_LT   ? order == -1
	       : op == TOKEN_LE ? order == -1 || order == 0
	       : op == TOKEN_GT ? order == 1
				: order == 1 || order == 0;
	return 0;
fail:
	return r->err->code;
}

/* a < b < c is a < b and b < c. */
static int eval_compare(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *frame, struct jinja_value *out)
{
	struct jinja_value a, b;
	bool so = true;

	TRY(jinja_eval(r, node->a, frame, &a));
	for (const struct jinja_node *item = node->items.first; item && so; item = item->next) {
		TRY(jinja_eval(r, item->a, frame, &b));
		TRY(compare(r, item->op, a, b, &so));
		a = b;
	}
	*out = jinja_bool(so);
	return 0;
fail:
	return r->err->code;
}

/* ---- calls --------------------------------------------------------------------------------- */

struct given {
	struct {
		struct jinja_value *data;
		size_t n, cap;
	} by_position;
	struct {
		struct jinja_named *data;
		size_t n, cap;
	} by_name;
};

static int give_name(struct jinja_run *r, struct given *given, const char *name,
	struct jinja_value value)
{
	for (size_t i = 0; i < given->by_name.n; i++)
		if (strcmp(given->by_name.data[i].name, name) == 0)
			return jinja_fail(r, "two arguments of the name '%s'", name);
	return vec_push(&given->by_name, ((struct jinja_named){name, value}), r->err);
}

static int spread(struct jinja_run *r, struct given *given, struct jinja_value v)
{
	struct jinja_list items;

	TRY(jinja_items(r, v, &items));
	for (size_t i = 0; i < items.n; i++)
		TRY(vec_push(&given->by_position, items.items[i], r->err));
	return 0;
fail:
	return r->err->code;
}

static int spread_named(struct jinja_run *r, struct given *given, struct jinja_value v)
{
	if (v.kind != JINJA_DICT)
		return jinja_fail(r, "**: expected a dict, found %s", jinja_kind_name(v.kind));
	for (size_t i = 0; i < v.dict->n; i++) {
		const struct jinja_value key = v.dict->pairs[i].key;
		char *name;

		if (key.kind != JINJA_STRING ||
			(key.string.n && memchr(key.string.s, 0, key.string.n)))
			return jinja_fail(r, "**: expected keys that are names");
		name = jinja_take(r, key.string.n + 1, 1);
		if (!name)
			return r->err->code;
		if (key.string.n)
			memcpy(name, key.string.s, key.string.n);
		TRY(give_name(r, given, name, v.dict->pairs[i].value));
	}
	return 0;
fail:
	return r->err->code;
}

static int eval_arguments(struct jinja_run *r, const struct jinja_nodes *nodes,
	struct jinja_frame *frame, struct given *given)
{
	struct jinja_value v;

	for (const struct jinja_node *node = nodes->first; node; node = node->next) {
		TRY(jinja_eval(r, node->a, frame, &v));
		if (node->kind == NODE_POSITIONAL)
			TRY(vec_push(&given->by_position, v, r->err));
		else if (node->kind == NODE_KEYWORD)
			TRY(give_name(r, given, node->name, v));
		else if (node->kind == NODE_SPREAD)
			TRY(spread(r, given, v));
		else
			TRY(spread_named(r, given, v));
	}
	return jinja_step(r, given->by_position.n + given->by_name.n);
fail:
	return r->err->code;
}

static void free_given(struct given *given)
{
	free(given->by_position.data);
	free(given->by_name.data);
}

static struct jinja_arguments arguments_of(const struct given *given)
{
	return (struct jinja_arguments){given->by_position.data, given->by_position.n,
		given->by_name.data, given->by_name.n};
}

static int call(struct jinja_run *r, struct jinja_value f, const struct jinja_arguments *arguments,
	struct jinja_value *out)
{
	switch (f.kind) {
	case JINJA_MACRO:
		return r->call_macro(r, f.macro, arguments, out);
	case JINJA_FUNCTION:
		return jinja_apply(r, f.function, "function", f.function->name, f, arguments, out);
	case JINJA_METHOD:
		return jinja_apply(r, f.method->function, "method", f.method->function->name,
			f.method->self, arguments, out);
	case JINJA_UNDEFINED:
		return jinja_undefined_used(r, f);
	case JINJA_LOOP:
		return jinja_fail(r, "the loop is not recursive");
	default:
		return jinja_fail(r, "expected a function, found %s", jinja_kind_name(f.kind));
	}
}

int jinja_eval_call(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	const struct jinja_named *extra, struct jinja_value *out)
{
	struct given given = {0};
	struct jinja_arguments arguments;
	struct jinja_value f;

	TRY(jinja_eval(r, node->a, frame, &f));
	TRY(eval_arguments(r, &node->items, frame, &given));
	if (extra)
		TRY(give_name(r, &given, extra->name, extra->value));
	arguments = arguments_of(&given);
	r->line = node->line;
	TRY(call(r, f, &arguments, out));
	free_given(&given);
	return 0;
fail:
	free_given(&given);
	return r->err->code;
}

static int apply(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	const char *kind, struct jinja_value input, struct jinja_value *out)
{
	struct given given = {0};
	struct jinja_arguments arguments;

	TRY(eval_arguments(r, &node->items, frame, &given));
	arguments = arguments_of(&given);
	r->line = node->line;
	TRY(jinja_apply(r, node->function, kind, node->name, input, &arguments, out));
	free_given(&given);
	return 0;
fail:
	free_given(&given);
	return r->err->code;
}

int jinja_eval_filter(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value input, struct jinja_value *out)
{
	/* Filters in a row begin with the one furthest in. */
	if (node->a && node->a->kind == NODE_FILTER)
		TRY(jinja_eval_filter(r, node->a, frame, input, &input));
	return apply(r, node, frame, "filter", input, out);
fail:
	return r->err->code;
}

/* ---- all ----------------------------------------------------------------------------------- */

static int eval_kind(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	struct jinja_value a, b;

	switch (node->kind) {
	case NODE_CONST:
		*out = node->value;
		return 0;
	case NODE_NAME:
		return eval_name(r, node, frame, out);
	case NODE_TUPLE:
		return eval_items(r, node, frame, JINJA_TUPLE, out);
	case NODE_LIST:
		return eval_items(r, node, frame, JINJA_LIST, out);
	case NODE_DICT:
		return eval_dict(r, node, frame, out);
	case NODE_SLICE:
		return eval_slice(r, node, frame, out);
	case NODE_CALL:
		return jinja_eval_call(r, node, frame, NULL, out);
	case NODE_CONCAT:
		return eval_concat(r, node, frame, out);
	case NODE_COMPARE:
		return eval_compare(r, node, frame, out);
	default:
		break;
	}
	/* The others begin with one operand. */
	TRY(jinja_eval(r, node->a, frame, &a));
	r->line = node->line;
	switch (node->kind) {
	case NODE_ATTRIBUTE:
		return jinja_attribute(r, a, node->name, out);
	case NODE_ITEM:
		TRY(jinja_eval(r, node->b, frame, &b));
		return jinja_item(r, a, b, out);
	case NODE_FILTER:
		return apply(r, node, frame, "filter", a, out);
	case NODE_TEST:
		return apply(r, node, frame, "test", a, out);
	case NODE_NOT:
		*out = jinja_bool(!jinja_truth(a));
		return 0;
	case NODE_NEG:
		return jinja_negate(r, a, out);
	case NODE_POS:
		return jinja_positive(r, a, out);
	case NODE_AND:
	case NODE_OR:
		*out = a;
		return jinja_truth(a) == (node->kind == NODE_AND)
			       ? jinja_eval(r, node->b, frame, out)
			       : 0;
	case NODE_COND:
		if (jinja_truth(a))
			return jinja_eval(r, node->b, frame, out);
		if (node->c)
			return jinja_eval(r, node->c, frame, out);
		*out = jinja_undefined_hint("the inline if-expression was false and has no else");
		return 0;
	case NODE_BINARY:
		TRY(jinja_eval(r, node->b, frame, &b));
		r->line = node->line;
		return jinja_binary(r, node->op, a, b, out);
	default:
		return err_set(r->err, ERR_INTERNAL, "a node that is no expression");
	}
fail:
	return r->err->code;
}

int jinja_eval(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	TRY(jinja_enter(r));
	r->line = node->line;
	TRY(eval_kind(r, node, frame, out));
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}
