/* SPDX-License-Identifier: MIT
 *
 * jinja_run.c - statements. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

/* How a body ended. */
enum ending { ENDED, BROKEN_OFF, CONTINUED };

static int run_nodes(struct jinja_run *r, const struct jinja_nodes *nodes,
	struct jinja_frame *frame, enum ending *ending);

/* ---- scopes -------------------------------------------------------------------------------- */

/* Sets the variables to what they are at the beginning of the scope; parameters are left. */
static void enter_scope(struct jinja_run *r, const struct jinja_scope *scope,
	struct jinja_frame *frame)
{
	for (size_t i = 0; i < scope->n; i++) {
		const struct jinja_variable *variable = &scope->data[i];
		const struct jinja_frame *from = frame;

		if (variable->load == LOAD_NOTHING) {
			frame->at[i] = (struct jinja_value){0};
		} else if (variable->load == LOAD_GLOBAL) {
			frame->at[i] = r->globals[variable->global];
		} else if (variable->load == LOAD_OUTER) {
			for (unsigned up = 0; up < variable->up; up++)
				from = from->outer;
			frame->at[i] = from->at[variable->slot];
		}
	}
}

static struct jinja_frame *new_frame(struct jinja_run *r, const struct jinja_scope *scope,
	struct jinja_frame *outer)
{
	struct jinja_frame *frame = jinja_take(r, 1, sizeof *frame);

	if (!frame)
		return NULL;
	*frame = (struct jinja_frame){outer, jinja_take(r, scope->n, sizeof *frame->at)};
	if (!frame->at || jinja_step(r, scope->n))
		return NULL;
	enter_scope(r, scope, frame);
	return frame;
}

/* ---- assignment ---------------------------------------------------------------------------- */

static struct jinja_value *variable_of(const struct jinja_node *node, struct jinja_frame *frame)
{
	for (unsigned i = 0; i < node->up; i++)
		frame = frame->outer;
	return &frame->at[node->slot];
}

static int assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_frame *frame,
	struct jinja_value v)
{
	struct jinja_list items;
	const struct jinja_value *namespace;
	size_t i = 0;

	r->line = target->line;
	if (target->kind == NODE_NAME) {
		*variable_of(target, frame) = v;
		return 0;
	}
	if (target->kind == NODE_NAMESPACE_REF) {
		namespace = variable_of(target, frame);
		if (namespace->kind != JINJA_NAMESPACE)
			return jinja_fail(r, "'%s.%s': expected a namespace to assign to, found %s",
				target->name, target->attribute, jinja_kind_name(namespace->kind));
		if (target->attribute[0] == '_')
			return jinja_fail(r, "namespace: a name that begins with an underscore");
		return jinja_put(r, namespace->dict, jinja_literal(target->attribute), v);
	}
	TRY(jinja_items(r, v, &items));
	if (items.n != target->items.n)
		return jinja_fail(r, "expected %zu values to assign, found %zu", target->items.n,
			items.n);
	for (const struct jinja_node *item = target->items.first; item; item = item->next)
		TRY(assign(r, item, frame, items.items[i++]));
	return 0;
fail:
	return r->err->code;
}

/* Jinja looks at all namespaces before it evaluates what they get. */
static int check_namespaces(struct jinja_run *r, const struct jinja_node *target,
	struct jinja_frame *frame)
{
	if (target->kind == NODE_NAMESPACE_REF &&
		variable_of(target, frame)->kind != JINJA_NAMESPACE)
		return jinja_fail(r, "'%s.%s': expected a namespace to assign to, found %s",
			target->name, target->attribute,
			jinja_kind_name(variable_of(target, frame)->kind));
	if (target->kind == NODE_TUPLE)
		for (const struct jinja_node *item = target->items.first; item; item = item->next)
			TRY(check_namespaces(r, item, frame));
	return 0;
fail:
	return r->err->code;
}

/* ---- text of a body ------------------------------------------------------------------------ */

/* Runs a body into a string. */
static int capture(struct jinja_run *r, const struct jinja_nodes *body, struct jinja_frame *frame,
	enum ending *ending, struct jinja_value *out)
{
	struct text text = {0}, *outer = r->out;

	r->out = &text;
	TRY(run_nodes(r, body, frame, ending));
	r->out = outer;
	return jinja_finish(r, &text, out);
fail:
	r->out = outer;
	free(text.data);
	return r->err->code;
}

/* ---- macros -------------------------------------------------------------------------------- */

static int too_many(struct jinja_run *r, const struct jinja_node *node)
{
	return jinja_fail(r, "the macro '%s' takes not more than %zu arguments", node->name,
		node->items.n);
}

/* Which named arguments are of parameters; those that are left go to `kwargs`. */
static int take_named(struct jinja_run *r, const struct jinja_node *node,
	const struct jinja_arguments *arguments, struct jinja_frame *frame)
{
	struct jinja_value kwargs, caller = jinja_undefined_hint("No caller defined");

	TRY(jinja_new_dict(r, 0, &kwargs));
	for (size_t i = 0; i < arguments->n_named; i++) {
		const struct jinja_named *named = &arguments->named[i];
		const struct jinja_node *parameter = node->items.first;
		size_t index = 0;

		for (; parameter && strcmp(parameter->name, named->name) != 0;
			parameter = parameter->next)
			index++;
		if (parameter && index >= arguments->n)
			*variable_of(parameter, frame) = named->value;
		else if (node->caller && strcmp(named->name, "caller") == 0)
			caller = named->value;
		else
			TRY(jinja_put(r, kwargs.dict, jinja_literal(named->name), named->value));
	}
	if (node->caller)
		frame->at[node->scope->caller] = caller;
	if (node->kwargs)
		frame->at[node->scope->kwargs] = kwargs;
	else if (kwargs.dict->n)
		return jinja_fail(r, "the macro '%s' takes no argument of the name '%.*s'",
			node->name, (int)kwargs.dict->pairs[0].key.string.n,
			kwargs.dict->pairs[0].key.string.s);
	return 0;
fail:
	return r->err->code;
}

static int take_rest(struct jinja_run *r, const struct jinja_node *node,
	const struct jinja_arguments *arguments, struct jinja_frame *frame)
{
	const size_t n = node->items.n;
	const size_t rest = arguments->n > n ? arguments->n - n : 0;
	struct jinja_value varargs;

	if (!node->varargs)
		return rest ? too_many(r, node) : 0;
	TRY(jinja_new_list(r, JINJA_TUPLE, rest, &varargs));
	for (size_t i = 0; i < rest; i++)
		varargs.list->items[i] = arguments->data[n + i];
	frame->at[node->scope->varargs] = varargs;
	return 0;
fail:
	return r->err->code;
}

static int call_macro(struct jinja_run *r, const struct jinja_macro *macro,
	const struct jinja_arguments *arguments, struct jinja_value *out)
{
	const struct jinja_node *node = macro->node;
	struct jinja_frame *frame = new_frame(r, node->scope, macro->frame);
	enum ending ending = ENDED;
	size_t i = 0;

	if (!frame)
		return r->err->code;
	for (const struct jinja_node *p = node->items.first; p; p = p->next, i++)
		*variable_of(p, frame) = i < arguments->n ? arguments->data[i]
							  : (struct jinja_value){0};
	TRY(take_named(r, node, arguments, frame));
	TRY(take_rest(r, node, arguments, frame));
	for (const struct jinja_node *p = node->items.first; p; p = p->next) {
		struct jinja_value *variable = variable_of(p, frame);

		if (variable->kind != JINJA_MISSING)
			continue;
		*variable = jinja_undefined(p->name);
		if (p->a)
			TRY(jinja_eval(r, p->a, frame, variable));
	}
	return capture(r, &node->body, frame, &ending, out);
fail:
	return r->err->code;
}

static int new_macro(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out)
{
	struct jinja_macro *macro = jinja_take(r, 1, sizeof *macro);

	if (!macro)
		return r->err->code;
	*macro = (struct jinja_macro){node, frame};
	*out = (struct jinja_value){.kind = JINJA_MACRO, .macro = macro};
	return 0;
}

static int run_macro(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame)
{
	return new_macro(r, node, frame, variable_of(node, frame));
}

static int run_call_block(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *frame)
{
	struct jinja_named caller = {.name = "caller"};
	struct jinja_value text;

	TRY(new_macro(r, node, frame, &caller.value));
	TRY(jinja_eval_call(r, node->a, frame, &caller, &text));
	return jinja_print(r, text, r->out);
fail:
	return r->err->code;
}

/* ---- loops --------------------------------------------------------------------------------- */

/* The next item that the loop's `if` lets through; *out MISSING at the end. */
static int next_item(struct jinja_run *r, struct jinja_loop *loop, struct jinja_value *out)
{
	const struct jinja_node *node = loop->node;

	*out = (struct jinja_value){0};
	while (loop->next < loop->n) {
		const struct jinja_value item = loop->items[loop->next++];
		struct jinja_value lets_through = jinja_bool(true);

		TRY(jinja_step(r, 1));
		if (node->c && !loop->counted) {
			TRY(assign(r, node->d, loop->test, item));
			TRY(jinja_eval(r, node->c, loop->test, &lets_through));
		}
		if (jinja_truth(lets_through)) {
			*out = item;
			break;
		}
	}
	return 0;
fail:
	return r->err->code;
}

static int look_ahead(struct jinja_run *r, struct jinja_loop *loop)
{
	return loop->after.kind == JINJA_MISSING ? next_item(r, loop, &loop->after) : 0;
}

/* Lets all the rest through its `if`, as Jinja does to count. */
static int count_ahead(struct jinja_run *r, struct jinja_loop *loop)
{
	struct jinja_value *kept = jinja_take(r, loop->n - loop->next, sizeof *kept), item;
	size_t n = 0;

	if (!kept)
		return r->err->code;
	for (;;) {
		TRY(next_item(r, loop, &item));
		if (item.kind == JINJA_MISSING)
			break;
		kept[n++] = item;
	}
	loop->length = loop->index0 + 1 + (loop->after.kind != JINJA_MISSING) + (int64_t)n;
	loop->items = kept;
	loop->n = n;
	loop->next = 0;
	loop->counted = true;
	return 0;
fail:
	return r->err->code;
}

static int start_loop(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_loop **out)
{
	struct jinja_loop *loop = jinja_take(r, 1, sizeof *loop);
	struct jinja_value all;
	struct jinja_list items;

	if (!loop)
		return r->err->code;
	TRY(jinja_eval(r, node->b, frame, &all));
	r->line = node->line;
	TRY(jinja_items(r, all, &items));
	*loop = (struct jinja_loop){.items = items.items,
		.n = items.n,
		.node = node,
		.index0 = -1,
		.length = -1};
	if (node->c) {
		loop->test = new_frame(r, node->test_scope, frame);
		if (!loop->test)
			return r->err->code;
	}
	*out = loop;
	return 0;
fail:
	return r->err->code;
}

static int run_for(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *outer,
	enum ending *ending)
{
	struct jinja_frame *frame;
	struct jinja_loop *loop = NULL;
	bool otherwise = true;

	TRY(start_loop(r, node, outer, &loop));
	frame = new_frame(r, node->scope, outer);
	if (!frame)
		return r->err->code;
	for (;;) {
		enum ending body = ENDED;
		struct jinja_value item = loop->after;

		loop->after = (struct jinja_value){0};
		if (item.kind == JINJA_MISSING)
			TRY(next_item(r, loop, &item));
		if (item.kind == JINJA_MISSING)
			break;
		loop->index0++;
		loop->before = loop->current;
		loop->current = item;
		enter_scope(r, node->scope, frame);
		frame->at[0] = (struct jinja_value){.kind = JINJA_LOOP, .loop = loop};
		TRY(assign(r, node->a, frame, item));
		TRY(jinja_step(r, node->scope->n));
		TRY(run_nodes(r, &node->body, frame, &body));
		if (body == BROKEN_OFF)
			break;
		/* As in Jinja: `else` runs where no body came to its end. */
		otherwise = otherwise && body == CONTINUED;
	}
	if (!otherwise || !node->else_scope)
		return 0;
	frame = new_frame(r, node->else_scope, outer);
	return frame ? run_nodes(r, &node->otherwise, frame, ending) : r->err->code;
fail:
	return r->err->code;
}

/* ---- the other statements ------------------------------------------------------------------ */

static int run_if(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	enum ending *ending)
{
	const struct jinja_node *branch = node;
	struct jinja_value test;

	for (; branch; branch = branch == node ? node->items.first : branch->next) {
		TRY(jinja_eval(r, branch->a, frame, &test));
		if (jinja_truth(test))
			return run_nodes(r, &branch->body, frame, ending);
	}
	return run_nodes(r, &node->otherwise, frame, ending);
fail:
	return r->err->code;
}

static int run_set(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame)
{
	struct jinja_value v;

	TRY(check_namespaces(r, node->a, frame));
	TRY(jinja_eval(r, node->b, frame, &v));
	return assign(r, node->a, frame, v);
fail:
	return r->err->code;
}

/* A set or a filter block: its text through its filters, if there are any. */
static int run_filtered(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *outer, enum ending *ending, struct jinja_value *out)
{
	struct jinja_frame *frame = new_frame(r, node->scope, outer);

	if (!frame)
		return r->err->code;
	TRY(capture(r, &node->body, frame, ending, out));
	if (*ending == ENDED && node->b)
		TRY(jinja_eval_filter(r, node->b, frame, *out, out));
	return 0;
fail:
	return r->err->code;
}

static int run_with(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *outer,
	enum ending *ending)
{
	struct jinja_frame *frame = new_frame(r, node->scope, outer);
	struct jinja_value v;

	if (!frame)
		return r->err->code;
	for (const struct jinja_node *item = node->items.first; item; item = item->next->next) {
		TRY(jinja_eval(r, item->next, outer, &v));
		TRY(assign(r, item, frame, v));
	}
	return run_nodes(r, &node->body, frame, ending);
fail:
	return r->err->code;
}

static int run_generation(struct jinja_run *r, const struct jinja_node *node,
	struct jinja_frame *outer)
{
	struct jinja_frame *frame = new_frame(r, node->scope, outer);
	enum ending ending = ENDED;

	return frame ? run_nodes(r, &node->body, frame, &ending) : r->err->code;
}

static int run_node(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	enum ending *ending)
{
	struct jinja_value v;

	switch (node->kind) {
	case NODE_DATA:
		return jinja_print(r, node->value, r->out);
	case NODE_OUTPUT:
		TRY(jinja_eval(r, node->a, frame, &v));
		return jinja_print(r, v, r->out);
	case NODE_FOR:
		return run_for(r, node, frame, ending);
	case NODE_IF:
		return run_if(r, node, frame, ending);
	case NODE_SET:
		return run_set(r, node, frame);
	case NODE_SET_BLOCK:
		TRY(run_filtered(r, node, frame, ending, &v));
		return *ending == ENDED ? assign(r, node->a, frame, v) : 0;
	case NODE_FILTER_BLOCK:
		TRY(run_filtered(r, node, frame, ending, &v));
		return *ending == ENDED ? jinja_print(r, v, r->out) : 0;
	case NODE_MACRO:
		return run_macro(r, node, frame);
	case NODE_CALL_BLOCK:
		return run_call_block(r, node, frame);
	case NODE_WITH:
		return run_with(r, node, frame, ending);
	case NODE_GENERATION:
		return run_generation(r, node, frame);
	case NODE_BREAK:
		*ending = BROKEN_OFF;
		return 0;
	case NODE_CONTINUE:
		*ending = CONTINUED;
		return 0;
	default:
		return err_set(r->err, ERR_INTERNAL, "a node that is no statement");
	}
fail:
	return r->err->code;
}

static int run_nodes(struct jinja_run *r, const struct jinja_nodes *nodes,
	struct jinja_frame *frame, enum ending *ending)
{
	TRY(jinja_enter(r));
	for (const struct jinja_node *node = nodes->first; node && *ending == ENDED;
		node = node->next) {
		TRY(jinja_step(r, 1));
		r->line = node->line;
		TRY(run_node(r, node, frame, ending));
	}
	jinja_leave(r);
	return 0;
fail:
	return r->err->code;
}

int jinja_run_template(struct jinja_run *r)
{
	struct jinja_frame *frame;
	enum ending ending = ENDED;

	r->call_macro = call_macro;
	r->look_ahead = look_ahead;
	r->count_ahead = count_ahead;
	frame = new_frame(r, r->t->scope, NULL);
	return frame ? run_nodes(r, &r->t->body, frame, &ending) : r->err->code;
}
