/* SPDX-License-Identifier: MIT
 *
 * jinja_expression.c - expressions to trees, by recursive descent. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 *
 * From what binds least: a if b else c; or; and; not; == in < ...; + -; ~; * / // %; **; - +
 * before a value; .name [item] (call); |filter, is test.
 */
#include "host/text/jinja/jinja_parts.h"

#include <stdio.h>

/* ---- values -------------------------------------------------------------------------------- */

static int parse_or(struct jinja_parser *p, struct jinja_node **out);
static int parse_unary(struct jinja_parser *p, bool with_filters, struct jinja_node **out);

/* Makes *out a new node of kind `kind` whose operands are the old *out and b. */
static int wrap(struct jinja_parser *p, enum jinja_node_kind kind, uint32_t line,
	struct jinja_node *b, struct jinja_node **out)
{
	struct jinja_node *node = jinja_node(p, kind, line);

	if (!node)
		return p->err->code;
	node->a = *out;
	node->b = b;
	TRY(jinja_adopt(p, node, node->a));
	TRY(jinja_adopt(p, node, b));
	*out = node;
	return 0;
fail:
	return p->err->code;
}

static int constant(struct jinja_parser *p, struct jinja_value v, uint32_t line,
	struct jinja_node **out)
{
	*out = jinja_node(p, NODE_CONST, line);
	if (!*out)
		return p->err->code;
	(*out)->value = v;
	return 0;
}

/* Strings side by side are one. */
static int parse_strings(struct jinja_parser *p, struct jinja_node **out)
{
	const struct jinja_token *first = jinja_next_token(p);
	struct jinja_string all = first->value.string;

	while (jinja_at(p, TOKEN_STRING)) {
		const struct jinja_string more = jinja_next_token(p)->value.string;
		char *joined = jinja_parser_take(p, all.n + more.n, 1);

		if (!joined)
			return p->err->code;
		memcpy(joined, all.s, all.n);
		memcpy(joined + all.n, more.s, more.n);
		all = (struct jinja_string){joined, all.n + more.n};
	}
	return constant(p, jinja_string(all.s, all.n), first->line, out);
}

static int parse_list(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *item;

	*out = jinja_node(p, NODE_LIST, jinja_next_token(p)->line);
	if (!*out)
		return p->err->code;
	while (!jinja_at(p, TOKEN_RBRACKET)) {
		if ((*out)->items.n)
			TRY(jinja_expect(p, TOKEN_COMMA, "',' or ']'"));
		if (jinja_at(p, TOKEN_RBRACKET))
			break;
		TRY(jinja_parse_expression(p, &item));
		TRY(jinja_append(p, *out, &(*out)->items, item));
	}
	return jinja_expect(p, TOKEN_RBRACKET, "']'");
fail:
	return p->err->code;
}

static int parse_dict(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *item;

	*out = jinja_node(p, NODE_DICT, jinja_next_token(p)->line);
	if (!*out)
		return p->err->code;
	while (!jinja_at(p, TOKEN_RBRACE)) {
		if ((*out)->items.n)
			TRY(jinja_expect(p, TOKEN_COMMA, "',' or '}'"));
		if (jinja_at(p, TOKEN_RBRACE))
			break;
		TRY(jinja_parse_expression(p, &item));
		TRY(jinja_append(p, *out, &(*out)->items, item));
		TRY(jinja_expect(p, TOKEN_COLON, "':'"));
		TRY(jinja_parse_expression(p, &item));
		TRY(jinja_append(p, *out, &(*out)->items, item));
	}
	return jinja_expect(p, TOKEN_RBRACE, "'}'");
fail:
	return p->err->code;
}

static int parse_name(struct jinja_parser *p, bool with_namespace, struct jinja_node **out)
{
	const struct jinja_token *token = jinja_next_token(p);
	const char *name = token->name;

	if (strcmp(name, "true") == 0 || strcmp(name, "True") == 0)
		return constant(p, jinja_bool(true), token->line, out);
	if (strcmp(name, "false") == 0 || strcmp(name, "False") == 0)
		return constant(p, jinja_bool(false), token->line, out);
	if (strcmp(name, "none") == 0 || strcmp(name, "None") == 0)
		return constant(p, jinja_none(), token->line, out);
	if (strcmp(name, "self") == 0)
		return jinja_parse_refuse(p, token->line, "'self'");
	*out = jinja_node(p, NODE_NAME, token->line);
	if (!*out)
		return p->err->code;
	(*out)->name = name;
	if (with_namespace && jinja_skip(p, TOKEN_DOT)) {
		if (!jinja_at(p, TOKEN_NAME))
			return jinja_unexpected(p, "a name");
		(*out)->kind = NODE_NAMESPACE_REF;
		(*out)->attribute = jinja_next_token(p)->name;
	}
	return 0;
}

static int parse_in_parentheses(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_next_token(p)->line;

	if (jinja_skip(p, TOKEN_RPAREN)) {
		*out = jinja_node(p, NODE_TUPLE, line);
		return *out ? 0 : p->err->code;
	}
	TRY(jinja_parse_tuple(p, true, NULL, out));
	return jinja_expect(p, TOKEN_RPAREN, "')'");
fail:
	return p->err->code;
}

static int parse_primary(struct jinja_parser *p, bool with_namespace, struct jinja_node **out)
{
	const struct jinja_token *token = jinja_token(p);

	switch (token->kind) {
	case TOKEN_NAME:
		return parse_name(p, with_namespace, out);
	case TOKEN_STRING:
		return parse_strings(p, out);
	case TOKEN_INT:
	case TOKEN_FLOAT:
		jinja_next_token(p);
		return constant(p, token->value, token->line, out);
	case TOKEN_LPAREN:
		return parse_in_parentheses(p, out);
	case TOKEN_LBRACKET:
		return parse_list(p, out);
	case TOKEN_LBRACE:
		return parse_dict(p, out);
	default:
		return jinja_unexpected(p, "a value");
	}
}

/* ---- what follows values ------------------------------------------------------------------- */

static int parse_argument(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *node = jinja_node(p, NODE_POSITIONAL, jinja_token(p)->line);

	if (!node)
		return p->err->code;
	if (jinja_skip(p, TOKEN_MUL)) {
		node->kind = NODE_SPREAD;
	} else if (jinja_skip(p, TOKEN_POW)) {
		node->kind = NODE_SPREAD_NAMED;
	} else if (jinja_at(p, TOKEN_NAME) && jinja_look(p)->kind == TOKEN_ASSIGN) {
		node->kind = NODE_KEYWORD;
		node->name = jinja_next_token(p)->name;
		jinja_next_token(p);
	}
	TRY(jinja_parse_expression(p, &node->a));
	*out = node;
	return jinja_adopt(p, node, node->a);
fail:
	return p->err->code;
}

static int parse_arguments(struct jinja_parser *p, struct jinja_node *call)
{
	bool named = false, spread = false, spread_named = false;
	struct jinja_node *argument = NULL;

	TRY(jinja_expect(p, TOKEN_LPAREN, "'('"));
	while (!jinja_at(p, TOKEN_RPAREN)) {
		if (call->items.n)
			TRY(jinja_expect(p, TOKEN_COMMA, "',' or ')'"));
		if (call->items.n && jinja_at(p, TOKEN_RPAREN))
			break;
		TRY(parse_argument(p, &argument));
		if (spread_named || (spread && argument->kind == NODE_SPREAD) ||
			((named || spread) && argument->kind == NODE_POSITIONAL))
			return jinja_parse_fail(p, argument->line,
				"expected arguments by position first, then by name or *, then **");
		if (argument->kind == NODE_KEYWORD)
			for (const struct jinja_node *other = call->items.first; other;
				other = other->next)
				if (other->name && strcmp(other->name, argument->name) == 0)
					return jinja_parse_fail(p, argument->line,
						"two arguments of the name '%s'", other->name);
		named = named || argument->kind == NODE_KEYWORD;
		spread = spread || argument->kind == NODE_SPREAD;
		spread_named = argument->kind == NODE_SPREAD_NAMED;
		TRY(jinja_append(p, call, &call->items, argument));
	}
	return jinja_expect(p, TOKEN_RPAREN, "')'");
fail:
	return p->err->code;
}

static int parse_call(struct jinja_parser *p, struct jinja_node **out)
{
	TRY(wrap(p, NODE_CALL, jinja_token(p)->line, NULL, out));
	return parse_arguments(p, *out);
fail:
	return p->err->code;
}

static int parse_after_dot(struct jinja_parser *p, struct jinja_node **out)
{
	const struct jinja_token *dot = jinja_next_token(p), *token = jinja_token(p);
	struct jinja_node *index;

	if (token->kind == TOKEN_NAME) {
		jinja_next_token(p);
		TRY(wrap(p, NODE_ATTRIBUTE, dot->line, NULL, out));
		(*out)->name = token->name;
		return 0;
	}
	if (token->kind != TOKEN_INT)
		return jinja_unexpected(p, "a name or an integer");
	jinja_next_token(p);
	TRY(constant(p, token->value, token->line, &index));
	return wrap(p, NODE_ITEM, dot->line, index, out);
fail:
	return p->err->code;
}

static bool ends_bound(const struct jinja_parser *p)
{
	return jinja_at(p, TOKEN_COLON) || jinja_at(p, TOKEN_RBRACKET) || jinja_at(p, TOKEN_COMMA);
}

static int parse_bound(struct jinja_parser *p, struct jinja_node *slice, struct jinja_node **bound)
{
	if (ends_bound(p))
		return 0;
	TRY(jinja_parse_expression(p, bound));
	return jinja_adopt(p, slice, *bound);
fail:
	return p->err->code;
}

static int parse_in_brackets(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_next_token(p)->line;
	struct jinja_node *first = NULL;

	if (jinja_at(p, TOKEN_RBRACKET))
		return jinja_unexpected(p, "an index");
	if (!jinja_at(p, TOKEN_COLON))
		TRY(jinja_parse_expression(p, &first));
	if (jinja_skip(p, TOKEN_COLON)) {
		TRY(wrap(p, NODE_SLICE, line, first, out));
		TRY(parse_bound(p, *out, &(*out)->c));
		if (jinja_skip(p, TOKEN_COLON))
			TRY(parse_bound(p, *out, &(*out)->d));
	} else {
		TRY(wrap(p, NODE_ITEM, line, first, out));
	}
	if (jinja_at(p, TOKEN_COMMA))
		return jinja_parse_refuse(p, line, "an index of several values");
	return jinja_expect(p, TOKEN_RBRACKET, "']'");
fail:
	return p->err->code;
}

static int parse_postfix(struct jinja_parser *p, struct jinja_node **out)
{
	for (;;) {
		if (jinja_at(p, TOKEN_DOT))
			TRY(parse_after_dot(p, out));
		else if (jinja_at(p, TOKEN_LBRACKET))
			TRY(parse_in_brackets(p, out));
		else if (jinja_at(p, TOKEN_LPAREN))
			TRY(parse_call(p, out));
		else
			return 0;
	}
fail:
	return p->err->code;
}

/* The name of a filter or a test. One with dots only extensions have, so that there is none. */
static int take_name(struct jinja_parser *p, const char *what, struct jinja_node *node)
{
	char *joined;

	if (!jinja_at(p, TOKEN_NAME))
		return jinja_unexpected(p, what);
	node->name = jinja_next_token(p)->name;
	while (jinja_skip(p, TOKEN_DOT)) {
		if (!jinja_at(p, TOKEN_NAME))
			return jinja_unexpected(p, what);
		joined = jinja_parser_take(p, strlen(node->name) + strlen(jinja_token(p)->name) + 2,
			1);
		if (!joined)
			return p->err->code;
		sprintf(joined, "%s.%s", node->name, jinja_next_token(p)->name);
		node->name = joined;
	}
	return 0;
}

static int check_followed(struct jinja_parser *p, struct jinja_node *node, const char *what)
{
	if (node->function && !node->function->run && !node->function->run_free)
		return jinja_parse_refuse(p, node->line, "the %s '%s'", what, node->name);
	return 0;
}

int jinja_parse_filters(struct jinja_parser *p, bool begins, struct jinja_node **out)
{
	while (begins || jinja_skip(p, TOKEN_PIPE)) {
		begins = false;
		TRY(wrap(p, NODE_FILTER, jinja_token(p)->line, NULL, out));
		TRY(take_name(p, "the name of a filter", *out));
		(*out)->function = jinja_filter((*out)->name);
		TRY(check_followed(p, *out, "filter"));
		if (jinja_at(p, TOKEN_LPAREN))
			TRY(parse_arguments(p, *out));
	}
	return 0;
fail:
	return p->err->code;
}

static bool begins_argument(const struct jinja_parser *p)
{
	switch (jinja_token(p)->kind) {
	case TOKEN_NAME:
		return !jinja_at_name(p, "else") && !jinja_at_name(p, "or") &&
		       !jinja_at_name(p, "and");
	case TOKEN_STRING:
	case TOKEN_INT:
	case TOKEN_FLOAT:
	case TOKEN_LPAREN:
	case TOKEN_LBRACKET:
	case TOKEN_LBRACE:
		return true;
	default:
		return false;
	}
}

static int parse_test(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_next_token(p)->line;
	const bool negated = jinja_skip_name(p, "not");
	struct jinja_node *argument;

	TRY(wrap(p, NODE_TEST, line, NULL, out));
	TRY(take_name(p, "the name of a test", *out));
	(*out)->function = jinja_test((*out)->name);
	TRY(check_followed(p, *out, "test"));
	if (jinja_at(p, TOKEN_LPAREN)) {
		TRY(parse_arguments(p, *out));
	} else if (jinja_at_name(p, "is")) {
		return jinja_unexpected(p, "one test, not several in a row");
	} else if (begins_argument(p)) {
		argument = jinja_node(p, NODE_POSITIONAL, jinja_token(p)->line);
		if (!argument)
			return p->err->code;
		TRY(parse_primary(p, false, &argument->a));
		TRY(parse_postfix(p, &argument->a));
		TRY(jinja_adopt(p, argument, argument->a));
		TRY(jinja_append(p, *out, &(*out)->items, argument));
	}
	return negated ? wrap(p, NODE_NOT, line, NULL, out) : 0;
fail:
	return p->err->code;
}

static int parse_filters_and_tests(struct jinja_parser *p, struct jinja_node **out)
{
	for (;;) {
		if (jinja_at(p, TOKEN_PIPE))
			TRY(jinja_parse_filters(p, false, out));
		else if (jinja_at_name(p, "is"))
			TRY(parse_test(p, out));
		else if (jinja_at(p, TOKEN_LPAREN))
			TRY(parse_call(p, out));
		else
			return 0;
	}
fail:
	return p->err->code;
}

/* ---- operators ----------------------------------------------------------------------------- */

static int enter(struct jinja_parser *p)
{
	if (p->nesting == JINJA_MAX_NESTING)
		return jinja_parse_fail(p, jinja_token(p)->line,
			"expected at most %d levels, found more", JINJA_MAX_NESTING);
	p->nesting++;
	return 0;
}

static int parse_unary(struct jinja_parser *p, bool with_filters, struct jinja_node **out)
{
	const struct jinja_token *token = jinja_token(p);

	TRY(enter(p));
	if (jinja_skip(p, TOKEN_SUB) || jinja_skip(p, TOKEN_ADD)) {
		TRY(parse_unary(p, false, out));
		TRY(wrap(p, token->kind == TOKEN_SUB ? NODE_NEG : NODE_POS, token->line, NULL,
			out));
	} else {
		TRY(parse_primary(p, false, out));
	}
	TRY(parse_postfix(p, out));
	if (with_filters)
		TRY(parse_filters_and_tests(p, out));
	p->nesting--;
	return 0;
fail:
	return p->err->code;
}

static int binary(struct jinja_parser *p, const struct jinja_token *op,
	int (*operand)(struct jinja_parser *, struct jinja_node **), struct jinja_node **out)
{
	struct jinja_node *right;

	jinja_next_token(p);
	TRY(operand(p, &right));
	TRY(wrap(p, NODE_BINARY, op->line, right, out));
	(*out)->op = op->kind;
	return 0;
fail:
	return p->err->code;
}

static int parse_operand(struct jinja_parser *p, struct jinja_node **out)
{
	return parse_unary(p, true, out);
}

static int parse_power(struct jinja_parser *p, struct jinja_node **out)
{
	TRY(parse_operand(p, out));
	while (jinja_at(p, TOKEN_POW))
		TRY(binary(p, jinja_token(p), parse_operand, out));
	return 0;
fail:
	return p->err->code;
}

static int parse_product(struct jinja_parser *p, struct jinja_node **out)
{
	TRY(parse_power(p, out));
	while (jinja_at(p, TOKEN_MUL) || jinja_at(p, TOKEN_DIV) || jinja_at(p, TOKEN_FLOORDIV) ||
		jinja_at(p, TOKEN_MOD))
		TRY(binary(p, jinja_token(p), parse_power, out));
	return 0;
fail:
	return p->err->code;
}

static int parse_concat(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *concat, *item;

	TRY(parse_product(p, out));
	if (!jinja_at(p, TOKEN_TILDE))
		return 0;
	concat = jinja_node(p, NODE_CONCAT, jinja_token(p)->line);
	if (!concat)
		return p->err->code;
	TRY(jinja_append(p, concat, &concat->items, *out));
	while (jinja_skip(p, TOKEN_TILDE)) {
		TRY(parse_product(p, &item));
		TRY(jinja_append(p, concat, &concat->items, item));
	}
	*out = concat;
	return 0;
fail:
	return p->err->code;
}

static int parse_sum(struct jinja_parser *p, struct jinja_node **out)
{
	TRY(parse_concat(p, out));
	while (jinja_at(p, TOKEN_ADD) || jinja_at(p, TOKEN_SUB))
		TRY(binary(p, jinja_token(p), parse_concat, out));
	return 0;
fail:
	return p->err->code;
}

/* *op = the comparison that begins here, gone past; false: none does. */
static bool take_comparison(struct jinja_parser *p, enum jinja_token_kind *op)
{
	*op = jinja_token(p)->kind;
	if (*op >= TOKEN_EQ && *op <= TOKEN_LE)
		return jinja_next_token(p);
	*op = TOKEN_IN;
	if (jinja_skip_name(p, "in"))
		return true;
	*op = TOKEN_NOT_IN;
	if (!jinja_at_name(p, "not") || !jinja_is_name(jinja_look(p), "in"))
		return false;
	jinja_next_token(p);
	return jinja_next_token(p);
}

static int parse_comparison(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_token(p)->line;
	enum jinja_token_kind op;
	struct jinja_node *operand;
	bool first = true;

	TRY(parse_sum(p, out));
	while (take_comparison(p, &op)) {
		if (first)
			TRY(wrap(p, NODE_COMPARE, line, NULL, out));
		first = false;
		operand = jinja_node(p, NODE_POSITIONAL, line);
		if (!operand)
			return p->err->code;
		operand->op = op;
		TRY(parse_sum(p, &operand->a));
		TRY(jinja_adopt(p, operand, operand->a));
		TRY(jinja_append(p, *out, &(*out)->items, operand));
	}
	return 0;
fail:
	return p->err->code;
}

static int parse_not(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_token(p)->line;

	if (!jinja_skip_name(p, "not"))
		return parse_comparison(p, out);
	TRY(enter(p));
	TRY(parse_not(p, out));
	p->nesting--;
	return wrap(p, NODE_NOT, line, NULL, out);
fail:
	return p->err->code;
}

static int parse_and(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *right;

	TRY(parse_not(p, out));
	while (jinja_at_name(p, "and")) {
		const uint32_t line = jinja_next_token(p)->line;

		TRY(parse_not(p, &right));
		TRY(wrap(p, NODE_AND, line, right, out));
	}
	return 0;
fail:
	return p->err->code;
}

static int parse_or(struct jinja_parser *p, struct jinja_node **out)
{
	struct jinja_node *right;

	TRY(parse_and(p, out));
	while (jinja_at_name(p, "or")) {
		const uint32_t line = jinja_next_token(p)->line;

		TRY(parse_and(p, &right));
		TRY(wrap(p, NODE_OR, line, right, out));
	}
	return 0;
fail:
	return p->err->code;
}

int jinja_parse_expression(struct jinja_parser *p, struct jinja_node **out)
{
	const uint32_t line = jinja_token(p)->line;
	struct jinja_node *node;

	TRY(enter(p));
	TRY(parse_or(p, out));
	while (jinja_skip_name(p, "if")) {
		node = jinja_node(p, NODE_COND, line);
		if (!node)
			return p->err->code;
		node->b = *out;
		TRY(parse_or(p, &node->a));
		if (jinja_skip_name(p, "else"))
			TRY(jinja_parse_expression(p, &node->c));
		TRY(jinja_adopt(p, node, node->a));
		TRY(jinja_adopt(p, node, node->b));
		TRY(jinja_adopt(p, node, node->c));
		*out = node;
	}
	p->nesting--;
	return 0;
fail:
	return p->err->code;
}

/* ---- tuples and targets -------------------------------------------------------------------- */

static bool ends_tuple(const struct jinja_parser *p, const char *end)
{
	return jinja_at(p, TOKEN_VARIABLE_END) || jinja_at(p, TOKEN_BLOCK_END) ||
	       jinja_at(p, TOKEN_RPAREN) || (end && jinja_at_name(p, end));
}

/* a, b, c: a tuple; a alone is a. */
static int parse_several(struct jinja_parser *p, const char *end,
	int (*one)(struct jinja_parser *, struct jinja_node **), struct jinja_node **out)
{
	const uint32_t line = jinja_token(p)->line;
	struct jinja_node *tuple, *item;

	if (ends_tuple(p, end))
		return jinja_unexpected(p, "an expression");
	TRY(one(p, out));
	if (!jinja_at(p, TOKEN_COMMA))
		return 0;
	tuple = jinja_node(p, NODE_TUPLE, line);
	if (!tuple)
		return p->err->code;
	TRY(jinja_append(p, tuple, &tuple->items, *out));
	while (jinja_skip(p, TOKEN_COMMA) && !ends_tuple(p, end)) {
		TRY(one(p, &item));
		TRY(jinja_append(p, tuple, &tuple->items, item));
	}
	*out = tuple;
	return 0;
fail:
	return p->err->code;
}

int jinja_parse_tuple(struct jinja_parser *p, bool with_condition, const char *end,
	struct jinja_node **out)
{
	return parse_several(p, end, with_condition ? jinja_parse_expression : parse_or, out);
}

static int target_value(struct jinja_parser *p, struct jinja_node **out)
{
	return parse_primary(p, false, out);
}

static int target_with_namespace(struct jinja_parser *p, struct jinja_node **out)
{
	return parse_primary(p, true, out);
}

/* Marks the names of a target; anything else cannot be assigned to. */
static int mark_stored(struct jinja_parser *p, struct jinja_node *node)
{
	if (node->kind == NODE_NAMESPACE_REF)
		return 0;
	if (node->kind != NODE_NAME && node->kind != NODE_TUPLE)
		return jinja_parse_fail(p, node->line, "expected names to assign to");
	node->store = true;
	for (struct jinja_node *item = node->items.first; item; item = item->next)
		TRY(mark_stored(p, item));
	return 0;
fail:
	return p->err->code;
}

int jinja_parse_target(struct jinja_parser *p, bool with_namespace, const char *end,
	struct jinja_node **out)
{
	TRY(parse_several(p, end, with_namespace ? target_with_namespace : target_value, out));
	return mark_stored(p, *out);
fail:
	return p->err->code;
}

int jinja_parse_name_target(struct jinja_parser *p, struct jinja_node **out)
{
	if (!jinja_at(p, TOKEN_NAME))
		return jinja_unexpected(p, "a name");
	TRY(parse_name(p, false, out));
	return mark_stored(p, *out);
fail:
	return p->err->code;
}
