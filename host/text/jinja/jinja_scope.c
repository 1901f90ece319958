/* SPDX-License-Identifier: MIT
 *
 * jinja_scope.c - which variable each name is. Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 *
 * As Jinja compiles templates: the template, the body of a loop, its `if` and its `else`, a macro,
 * a call, filter, set or with block each have a scope; the branches of an `if` have none. A name is
 * a variable of the scope where it is assigned, or else of one around it, or else, in the scope
 * where it is looked up first, what the render is given of that name. One that is assigned in a
 * scope is at first the one of that name around it, if there is one; else, where all assignments
 * are in branches or behind a use, what the render is given; else nothing.
 *
 * Two passes over each scope: all its names, then what each of them is, going into scopes within.
 */
#include "host/text/jinja/jinja_parts.h"

/* Where a name is from: NULL where no scope has it. */
static struct jinja_variable *find(const struct jinja_scope *scope, const char *name, unsigned *up,
	unsigned *slot)
{
	for (*up = 0; scope; scope = scope->outer, ++*up)
		for (*slot = 0; *slot < scope->n; ++*slot)
			if (strcmp(scope->data[*slot].name, name) == 0)
				return &scope->data[*slot];
	return NULL;
}

static struct jinja_variable *own(const struct jinja_scope *scope, const char *name)
{
	unsigned up, slot;
	struct jinja_variable *found = find(scope, name, &up, &slot);

	return found && up == 0 ? found : NULL;
}

static int add(struct jinja_parser *p, struct jinja_scope *scope, const char *name,
	struct jinja_variable **out)
{
	if (p->n_names++ == JINJA_MAX_NAMES)
		return jinja_parse_refuse(p, p->tokens.data[p->tokens.n - 1].line,
			"more than %d names of variables", JINJA_MAX_NAMES);
	/* Lists grow in the arena, which keeps what they outgrow until the end. */
	if (scope->n == scope->cap) {
		const size_t cap = scope->cap ? 2 * scope->cap : 8;
		struct jinja_variable *data = jinja_parser_take(p, cap, sizeof *data);

		if (!data)
			return p->err->code;
		if (scope->n)
			memcpy(data, scope->data, scope->n * sizeof *data);
		scope->data = data;
		scope->cap = cap;
	}
	*out = &scope->data[scope->n++];
	**out = (struct jinja_variable){.name = name};
	return 0;
}

static int global(struct jinja_parser *p, const char *name, size_t *index)
{
	struct jinja *t = p->t;

	for (*index = 0; *index < t->globals.n; ++*index)
		if (strcmp(t->globals.data[*index], name) == 0)
			return 0;
	return vec_push(&t->globals, name, p->err);
}

/* ---- the first pass: the names of a scope -------------------------------------------------- */

static int load(struct jinja_parser *p, struct jinja_scope *scope, const char *name)
{
	struct jinja_variable *variable;
	unsigned up, slot;

	if (find(scope, name, &up, &slot))
		return 0;
	TRY(add(p, scope, name, &variable));
	variable->load = LOAD_GLOBAL;
	return global(p, name, &variable->global);
fail:
	return p->err->code;
}

/* What a variable that is assigned to is at first. */
static bool from_outside(const struct jinja_scope *scope, struct jinja_variable *variable)
{
	unsigned up, slot;

	if (!scope->outer || !find(scope->outer, variable->name, &up, &slot))
		return false;
	variable->load = LOAD_OUTER;
	variable->up = up + 1;
	variable->slot = slot;
	return true;
}

static int store(struct jinja_parser *p, struct jinja_scope *scope, const char *name)
{
	struct jinja_variable *variable = own(scope, name);

	if (!variable) {
		TRY(add(p, scope, name, &variable));
		from_outside(scope, variable);
	}
	variable->stored = true;
	return 0;
fail:
	return p->err->code;
}

static int declare(struct jinja_parser *p, struct jinja_scope *scope, const char *name)
{
	struct jinja_variable *variable = own(scope, name);

	if (!variable)
		TRY(add(p, scope, name, &variable));
	variable->load = LOAD_PARAMETER;
	variable->stored = true;
	return 0;
fail:
	return p->err->code;
}

static int names_of_list(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_nodes *nodes);

/* Names that are assigned in the branches of an `if` alone may not be. */
static int names_of_branches(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_node *node);

/* The names of a node that are the scope's own; those of scopes within are not. */
static int names_of(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_node *node)
{
	if (!node)
		return 0;
	switch (node->kind) {
	case NODE_NAME:
		if (node->parameter)
			TRY(declare(p, scope, node->name));
		else if (node->store)
			TRY(store(p, scope, node->name));
		else
			return load(p, scope, node->name);
		return names_of(p, scope, node->a); /* a parameter's default */
	case NODE_NAMESPACE_REF:
		return load(p, scope, node->name);
	case NODE_IF:
		return names_of_branches(p, scope, node);
	case NODE_MACRO:
		return store(p, scope, node->name);
	case NODE_SET:
		TRY(names_of(p, scope, node->b));
		return names_of(p, scope, node->a);
	case NODE_SET_BLOCK:
		return names_of(p, scope, node->a);
	case NODE_FOR:
	case NODE_FILTER_BLOCK:
		return names_of(p, scope, node->b);
	case NODE_WITH:
		for (const struct jinja_node *item = node->items.first; item;
			item = item->next->next)
			TRY(names_of(p, scope, item->next));
		return 0;
	case NODE_CALL_BLOCK:
		return names_of(p, scope, node->a);
	case NODE_GENERATION:
		return 0;
	default:
		TRY(names_of(p, scope, node->a));
		TRY(names_of(p, scope, node->b));
		TRY(names_of(p, scope, node->c));
		TRY(names_of(p, scope, node->d));
		return names_of_list(p, scope, &node->items);
	}
fail:
	return p->err->code;
}

static int names_of_list(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_nodes *nodes)
{
	for (const struct jinja_node *node = nodes->first; node; node = node->next)
		TRY(names_of(p, scope, node));
	return 0;
fail:
	return p->err->code;
}

static int names_of_branches(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_node *node)
{
	bool *stored;
	size_t n;

	TRY(names_of(p, scope, node->a));
	n = scope->n;
	stored = jinja_parser_take(p, n, sizeof *stored);
	if (!stored)
		return p->err->code;
	for (size_t i = 0; i < n; i++)
		stored[i] = scope->data[i].stored;
	TRY(names_of_list(p, scope, &node->body));
	TRY(names_of_list(p, scope, &node->items));
	TRY(names_of_list(p, scope, &node->otherwise));
	for (size_t i = 0; i < scope->n; i++) {
		struct jinja_variable *variable = &scope->data[i];

		if (!variable->stored || (i < n && stored[i]) || from_outside(scope, variable))
			continue;
		variable->load = LOAD_GLOBAL;
		TRY(global(p, variable->name, &variable->global));
	}
	return 0;
fail:
	return p->err->code;
}

/* ---- the second pass: what the names are --------------------------------------------------- */

static int resolve_list(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_nodes *nodes, bool conditional);

static struct jinja_scope *new_scope(struct jinja_parser *p, struct jinja_scope *outer)
{
	struct jinja_scope *scope = jinja_parser_take(p, 1, sizeof *scope);

	if (scope)
		scope->outer = outer;
	return scope;
}

/* Whether a name is looked up anywhere within. */
static bool mentions(const struct jinja_node *node, const char *name);

static bool list_mentions(const struct jinja_nodes *nodes, const char *name)
{
	for (const struct jinja_node *node = nodes->first; node; node = node->next)
		if (mentions(node, name))
			return true;
	return false;
}

static bool mentions(const struct jinja_node *node, const char *name)
{
	if (!node)
		return false;
	if (node->kind == NODE_NAME && !node->store && strcmp(node->name, name) == 0)
		return true;
	return mentions(node->a, name) || mentions(node->b, name) || mentions(node->c, name) ||
	       mentions(node->d, name) || list_mentions(&node->items, name) ||
	       list_mentions(&node->body, name) || list_mentions(&node->otherwise, name);
}

static int special(struct jinja_parser *p, struct jinja_node *node, const char *name, bool *has,
	unsigned *slot)
{
	unsigned up;

	*has = list_mentions(&node->body, name);
	if (!*has)
		return 0;
	TRY(declare(p, node->scope, name));
	find(node->scope, name, &up, slot);
	return 0;
fail:
	return p->err->code;
}

static int resolve(struct jinja_parser *p, struct jinja_scope *scope, struct jinja_node *node,
	bool conditional);

/* A macro or a call block: parameters, their defaults, the body. */
static int resolve_macro(struct jinja_parser *p, struct jinja_scope *outer, struct jinja_node *node)
{
	struct jinja_scope *scope = new_scope(p, outer);

	if (!scope)
		return p->err->code;
	node->scope = scope;
	TRY(names_of_list(p, scope, &node->items));
	TRY(names_of_list(p, scope, &node->body));
	TRY(special(p, node, "caller", &node->caller, &scope->caller));
	TRY(special(p, node, "kwargs", &node->kwargs, &scope->kwargs));
	TRY(special(p, node, "varargs", &node->varargs, &scope->varargs));
	TRY(resolve_list(p, scope, &node->items, false));
	return resolve_list(p, scope, &node->body, false);
fail:
	return p->err->code;
}

/* The target's names are parameters of a loop's scopes. */
static void mark_parameters(struct jinja_node *target)
{
	target->parameter = target->kind == NODE_NAME;
	for (struct jinja_node *item = target->items.first; item; item = item->next)
		mark_parameters(item);
}

static bool stores(const struct jinja_node *node, const char *name);

static bool list_stores(const struct jinja_nodes *nodes, const char *name)
{
	for (const struct jinja_node *node = nodes->first; node; node = node->next)
		if (stores(node, name))
			return true;
	return false;
}

static bool stores(const struct jinja_node *node, const char *name)
{
	if (!node)
		return false;
	if (node->kind == NODE_NAME && node->store && !node->parameter &&
		strcmp(node->name, name) == 0)
		return true;
	return stores(node->a, name) || stores(node->b, name) || list_stores(&node->items, name) ||
	       list_stores(&node->body, name) || list_stores(&node->otherwise, name);
}

static int resolve_for(struct jinja_parser *p, struct jinja_scope *outer, struct jinja_node *node,
	bool conditional)
{
	TRY(resolve(p, outer, node->b, conditional));
	if (stores(node, "loop"))
		return jinja_parse_fail(p, node->line, "a loop that assigns to 'loop'");
	node->scope = new_scope(p, outer);
	if (!node->scope)
		return p->err->code;
	mark_parameters(node->a);
	TRY(declare(p, node->scope, "loop"));
	TRY(names_of(p, node->scope, node->a));
	TRY(names_of_list(p, node->scope, &node->body));
	TRY(resolve(p, node->scope, node->a, false));
	TRY(resolve_list(p, node->scope, &node->body, false));
	if (node->c) {
		node->test_scope = new_scope(p, outer);
		if (!node->test_scope)
			return p->err->code;
		mark_parameters(node->d);
		TRY(names_of(p, node->test_scope, node->d));
		TRY(names_of(p, node->test_scope, node->c));
		TRY(resolve(p, node->test_scope, node->d, false));
		TRY(resolve(p, node->test_scope, node->c, false));
	}
	if (node->has_else) {
		node->else_scope = new_scope(p, outer);
		if (!node->else_scope)
			return p->err->code;
		TRY(names_of_list(p, node->else_scope, &node->otherwise));
		TRY(resolve_list(p, node->else_scope, &node->otherwise, false));
	}
	return 0;
fail:
	return p->err->code;
}

/* A block with a scope: what it captures, or `with`. */
static int resolve_block(struct jinja_parser *p, struct jinja_scope *outer, struct jinja_node *node,
	bool conditional)
{
	node->scope = new_scope(p, outer);
	if (!node->scope)
		return p->err->code;
	if (node->kind == NODE_WITH)
		for (struct jinja_node *item = node->items.first; item; item = item->next->next) {
			mark_parameters(item);
			TRY(names_of(p, node->scope, item));
		}
	if (node->kind == NODE_FILTER_BLOCK || node->kind == NODE_SET_BLOCK)
		TRY(names_of(p, node->scope, node->b));
	TRY(names_of_list(p, node->scope, &node->body));
	if (node->kind == NODE_WITH)
		for (struct jinja_node *item = node->items.first; item; item = item->next->next) {
			TRY(resolve(p, node->scope, item, false));
			TRY(resolve(p, outer, item->next, conditional));
		}
	else if (node->b)
		TRY(resolve(p, node->scope, node->b, false));
	return resolve_list(p, node->scope, &node->body, false);
fail:
	return p->err->code;
}

static int resolve_name(struct jinja_parser *p, struct jinja_scope *scope, struct jinja_node *node)
{
	if (!find(scope, node->name, &node->up, &node->slot))
		return err_set(p->err, ERR_INTERNAL, "%s: the name '%s' is in no scope", p->t->name,
			node->name);
	return 0;
}

/* `conditional`: within an `if` of this scope. */
static int resolve(struct jinja_parser *p, struct jinja_scope *scope, struct jinja_node *node,
	bool conditional)
{
	if (!node)
		return 0;
	/* Jinja minds a filter or test that it does not know only where it comes to it, if that is
	 * within an `if`. */
	if ((node->kind == NODE_FILTER || node->kind == NODE_TEST) && !node->function &&
		!conditional)
		return jinja_parse_fail(p, node->line, "there is no %s '%s'",
			node->kind == NODE_FILTER ? "filter" : "test", node->name);
	switch (node->kind) {
	case NODE_NAME:
	case NODE_NAMESPACE_REF:
		TRY(resolve_name(p, scope, node));
		return resolve(p, scope, node->a, conditional);
	case NODE_FOR:
		return resolve_for(p, scope, node, conditional);
	case NODE_MACRO:
		TRY(resolve_name(p, scope, node));
		return resolve_macro(p, scope, node);
	case NODE_CALL_BLOCK:
		TRY(resolve(p, scope, node->a, conditional));
		return resolve_macro(p, scope, node);
	case NODE_SET_BLOCK:
		TRY(resolve(p, scope, node->a, conditional));
		return resolve_block(p, scope, node, conditional);
	case NODE_FILTER_BLOCK:
	case NODE_WITH:
	case NODE_GENERATION:
		return resolve_block(p, scope, node, conditional);
	default:
		conditional = conditional || node->kind == NODE_IF || node->kind == NODE_COND;
		TRY(resolve(p, scope, node->a, conditional));
		TRY(resolve(p, scope, node->b, conditional));
		TRY(resolve(p, scope, node->c, conditional));
		TRY(resolve(p, scope, node->d, conditional));
		TRY(resolve_list(p, scope, &node->items, conditional));
		TRY(resolve_list(p, scope, &node->body, conditional));
		return resolve_list(p, scope, &node->otherwise, conditional);
	}
fail:
	return p->err->code;
}

static int resolve_list(struct jinja_parser *p, struct jinja_scope *scope,
	const struct jinja_nodes *nodes, bool conditional)
{
	for (struct jinja_node *node = nodes->first; node; node = node->next)
		TRY(resolve(p, scope, node, conditional));
	return 0;
fail:
	return p->err->code;
}

int jinja_resolve(struct jinja_parser *p)
{
	p->t->scope = new_scope(p, NULL);
	if (!p->t->scope)
		return p->err->code;
	TRY(names_of_list(p, p->t->scope, &p->t->body));
	return resolve_list(p, p->t->scope, &p->t->body, false);
fail:
	return p->err->code;
}
