/* SPDX-License-Identifier: MIT
 *
 * jinja_statement.c - text and statements to a tree. Contract: jinja_parts.h. Tests:
 * tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

static int parse_statement(struct jinja_parser *p, struct jinja_node **out);

static bool at_any(const struct jinja_parser *p, const char *const *names)
{
	for (; names && *names; names++)
		if (jinja_at_name(p, *names))
			return true;
	return false;
}

/* Nodes up to {% one of `ends`, whose name is the next token; up to the end where `ends` is NULL.
 */
static int parse_nodes(struct jinja_parser *p, struct jinja_node *parent, const char *const *ends,
	struct jinja_nodes *out)
{
	while (!jinja_at(p, TOKEN_END)) {
		const struct jinja_token *token = jinja_next_token(p);
		struct jinja_node *node = NULL;

		if (token->kind == TOKEN_BLOCK_BEGIN) {
			if (at_any(p, ends))
				return 0;
			TRY(parse_statement(p, &node));
			TRY(jinja_expect(p, TOKEN_BLOCK_END, "'%}'"));
		} else {
			node = jinja_node(p, token->kind == TOKEN_DATA ? NODE_DATA : NODE_OUTPUT,
				token->line);
			if (!node)
				return p->err->code;
			node->value = token->value;
			if (token->kind == TOKEN_VARIABLE_BEGIN) {
				TRY(jinja_parse_tuple(p, true, NULL, &node->a));
				TRY(jinja_adopt(p, node, node->a));
				TRY(jinja_expect(p, TOKEN_VARIABLE_END, "'}}'"));
			}
		}
		TRY(jinja_append(p, parent, out, node));
	}
	if (ends)
		return jinja_parse_fail(p, jinja_token(p)->line,
			"expected {%% %s %%}, found the end of the template", ends[0]);
	return 0;
fail:
	return p->err->code;
}

/* The body of a statement, from the end of its tag. */
static int parse_body(struct jinja_parser *p, struct jinja_node *parent, const char *const *ends,
	struct jinja_nodes *out)
{
	if (p->nesting == JINJA_MAX_NESTING)
		return jinja_parse_fail(p, jinja_token(p)->line,
			"expected at most %d levels, found more", JINJA_MAX_NESTING);
	p->nesting++;
	jinja_skip(p, TOKEN_COLON);
	TRY(jinja_expect(p, TOKEN_BLOCK_END, "'%}'"));
	TRY(parse_nodes(p, parent, ends, out));
	p->nesting--;
	return 0;
fail:
	return p->err->code;
}

/* The same up to {% end, which is gone past. */
static int parse_to_end(struct jinja_parser *p, struct jinja_node *parent, const char *end,
	struct jinja_nodes *out)
{
	TRY(parse_body(p, parent, (const char *const[]){end, NULL}, out));
	jinja_next_token(p);
	return 0;
fail:
	return p->err->code;
}

/* A body that break and continue cannot leave. */
static int parse_closed(struct jinja_parser *p, struct jinja_node *parent, const char *end)
{
	const unsigned loops = p->loops;

	p->loops = 0;
	TRY(parse_to_end(p, parent, end, &parent->body));
	p->loops = loops;
	return 0;
fail:
	return p->err->code;
}

/* The target once more, for the variables of the loop's `if`. */
static struct jinja_node *copy_target(struct jinja_parser *p, const struct jinja_node *target)
{
	struct jinja_node *copy = jinja_node(p, target->kind, target->line), *item;

	if (!copy)
		return NULL;
	copy->name = target->name;
	copy->store = true;
	for (const struct jinja_node *from = target->items.first; from; from = from->next) {
		item = copy_target(p, from);
		if (!item || jinja_append(p, copy, &copy->items, item))
			return NULL;
	}
	return copy;
}

static int parse_for(struct jinja_parser *p, struct jinja_node *node)
{
	static const char *const ends[] = {"endfor", "else", NULL};

	node->kind = NODE_FOR;
	TRY(jinja_parse_target(p, false, "in", &node->a));
	TRY(jinja_expect_name(p, "in"));
	TRY(jinja_parse_tuple(p, false, "recursive", &node->b));
	if (jinja_skip_name(p, "if")) {
		TRY(jinja_parse_expression(p, &node->c));
		node->d = copy_target(p, node->a);
		if (!node->d)
			return p->err->code;
	}
	if (jinja_at_name(p, "recursive"))
		return jinja_parse_refuse(p, node->line, "a recursive loop");
	TRY(jinja_adopt(p, node, node->a));
	TRY(jinja_adopt(p, node, node->b));
	TRY(jinja_adopt(p, node, node->c));
	p->loops++;
	TRY(parse_body(p, node, ends, &node->body));
	p->loops--;
	node->has_else = jinja_at_name(p, "else");
	jinja_next_token(p);
	return node->has_else ? parse_to_end(p, node, "endfor", &node->otherwise) : 0;
fail:
	return p->err->code;
}

static int parse_if(struct jinja_parser *p, struct jinja_node *node)
{
	static const char *const ends[] = {"endif", "elif", "else", NULL};
	struct jinja_node *branch = node;

	node->kind = NODE_IF;
	for (;;) {
		TRY(jinja_parse_tuple(p, false, NULL, &branch->a));
		TRY(jinja_adopt(p, branch, branch->a));
		TRY(parse_body(p, branch, ends, &branch->body));
		if (branch != node)
			TRY(jinja_append(p, node, &node->items, branch));
		if (!jinja_skip_name(p, "elif"))
			break;
		branch = jinja_node(p, NODE_IF, jinja_token(p)->line);
		if (!branch)
			return p->err->code;
	}
	if (jinja_skip_name(p, "else"))
		return parse_to_end(p, node, "endif", &node->otherwise);
	jinja_next_token(p);
	return 0;
fail:
	return p->err->code;
}

static int parse_set(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_SET;
	TRY(jinja_parse_target(p, true, NULL, &node->a));
	TRY(jinja_adopt(p, node, node->a));
	if (jinja_skip(p, TOKEN_ASSIGN)) {
		TRY(jinja_parse_tuple(p, true, NULL, &node->b));
	} else {
		node->kind = NODE_SET_BLOCK;
		TRY(jinja_parse_filters(p, false, &node->b));
		TRY(parse_to_end(p, node, "endset", &node->body));
	}
	return jinja_adopt(p, node, node->b);
fail:
	return p->err->code;
}

/* (a, b=1): names with defaults, of a macro or a call block. */
static int parse_parameters(struct jinja_parser *p, struct jinja_node *node)
{
	struct jinja_node *parameter;
	bool defaults = false;

	TRY(jinja_expect(p, TOKEN_LPAREN, "'('"));
	while (!jinja_at(p, TOKEN_RPAREN)) {
		if (node->items.n)
			TRY(jinja_expect(p, TOKEN_COMMA, "',' or ')'"));
		TRY(jinja_parse_name_target(p, &parameter));
		parameter->parameter = true;
		for (const struct jinja_node *other = node->items.first; other; other = other->next)
			if (strcmp(other->name, parameter->name) == 0)
				return jinja_parse_fail(p, parameter->line,
					"two parameters of the name '%s'", other->name);
		if (strcmp(parameter->name, "caller") == 0 ||
			strcmp(parameter->name, "varargs") == 0 ||
			strcmp(parameter->name, "kwargs") == 0)
			return jinja_parse_refuse(p, parameter->line, "a parameter '%s'",
				parameter->name);
		if (jinja_skip(p, TOKEN_ASSIGN)) {
			defaults = true;
			TRY(jinja_parse_expression(p, &parameter->a));
			TRY(jinja_adopt(p, parameter, parameter->a));
		} else if (defaults) {
			return jinja_unexpected(p, "a default, as the parameters before have");
		}
		TRY(jinja_append(p, node, &node->items, parameter));
	}
	return jinja_expect(p, TOKEN_RPAREN, "')'");
fail:
	return p->err->code;
}

static int parse_macro(struct jinja_parser *p, struct jinja_node *node)
{
	struct jinja_node *name;

	node->kind = NODE_MACRO;
	TRY(jinja_parse_name_target(p, &name));
	node->name = name->name;
	TRY(parse_parameters(p, node));
	return parse_closed(p, node, "endmacro");
fail:
	return p->err->code;
}

static int parse_call_block(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_CALL_BLOCK;
	node->name = "caller";
	if (jinja_at(p, TOKEN_LPAREN))
		TRY(parse_parameters(p, node));
	TRY(jinja_parse_expression(p, &node->a));
	TRY(jinja_adopt(p, node, node->a));
	if (node->a->kind != NODE_CALL)
		return jinja_parse_fail(p, node->line, "call: expected a call");
	return parse_closed(p, node, "endcall");
fail:
	return p->err->code;
}

static int parse_filter_block(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_FILTER_BLOCK;
	TRY(jinja_parse_filters(p, true, &node->b));
	TRY(jinja_adopt(p, node, node->b));
	return parse_to_end(p, node, "endfilter", &node->body);
fail:
	return p->err->code;
}

static int parse_with(struct jinja_parser *p, struct jinja_node *node)
{
	struct jinja_node *item;

	node->kind = NODE_WITH;
	while (!jinja_at(p, TOKEN_BLOCK_END)) {
		if (node->items.n)
			TRY(jinja_expect(p, TOKEN_COMMA, "',' or '%}'"));
		TRY(jinja_parse_target(p, false, NULL, &item));
		TRY(jinja_append(p, node, &node->items, item));
		TRY(jinja_expect(p, TOKEN_ASSIGN, "'='"));
		TRY(jinja_parse_expression(p, &item));
		TRY(jinja_append(p, node, &node->items, item));
	}
	return parse_to_end(p, node, "endwith", &node->body);
fail:
	return p->err->code;
}

static int parse_generation(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_GENERATION;
	return parse_closed(p, node, "endgeneration");
}

static int parse_break(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_BREAK;
	return p->loops ? 0 : jinja_parse_fail(p, node->line, "break outside a loop");
}

static int parse_continue(struct jinja_parser *p, struct jinja_node *node)
{
	node->kind = NODE_CONTINUE;
	return p->loops ? 0 : jinja_parse_fail(p, node->line, "continue outside a loop");
}

static int refuse(struct jinja_parser *p, struct jinja_node *node)
{
	return jinja_parse_refuse(p, node->line, "the statement '%s'", node->name);
}

static int parse_statement(struct jinja_parser *p, struct jinja_node **out)
{
	static const struct {
		const char *name;
		int (*parse)(struct jinja_parser *p, struct jinja_node *node);
	} statements[] = {{"for", parse_for}, {"if", parse_if}, {"set", parse_set},
		{"macro", parse_macro}, {"call", parse_call_block}, {"filter", parse_filter_block},
		{"with", parse_with}, {"generation", parse_generation}, {"break", parse_break},
		{"continue", parse_continue}, {"autoescape", refuse}, {"block", refuse},
		{"extends", refuse}, {"from", refuse}, {"import", refuse}, {"include", refuse},
		{"print", refuse}};
	const struct jinja_token *token = jinja_token(p);

	if (token->kind != TOKEN_NAME)
		return jinja_unexpected(p, "the name of a statement");
	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
		if (strcmp(statements[i].name, token->name) == 0) {
			jinja_next_token(p);
			*out = jinja_node(p, NODE_DATA, token->line);
			if (!*out)
				return p->err->code;
			(*out)->name = token->name;
			return statements[i].parse(p, *out);
		}
	return jinja_unexpected(p, "a statement");
}

int jinja_parse_template(struct jinja_parser *p)
{
	return parse_nodes(p, NULL, NULL, &p->t->body);
}
