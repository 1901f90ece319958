/* SPDX-License-Identifier: MIT
 *
 * jinja_parser.c - what parsing goes through: tokens one by one, nodes with a bound on their depth.
 * Contract: jinja_parts.h. Tests: tests/test_jinja.c.
 */
#include "host/text/jinja/jinja_parts.h"

#include <stdio.h>

/* ---- nodes --------------------------------------------------------------------------------- */

void *jinja_parser_take(struct jinja_parser *p, size_t n, size_t size)
{
	void *taken = arena_alloc(&p->t->memory, n, size);

	if (!taken)
		arena_check(&p->t->memory, p->t->name, p->err);
	return taken;
}

struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind, uint32_t line)
{
	struct jinja_node *node = jinja_parser_take(p, 1, sizeof *node);

	if (node) {
		node->kind = kind;
		node->line = line;
	}
	return node;
}

int jinja_adopt(struct jinja_parser *p, struct jinja_node *parent, const struct jinja_node *child)
{
	if (child && child->depth >= parent->depth)
		parent->depth = child->depth + 1;
	if (parent->depth > JINJA_MAX_NESTING)
		return jinja_parse_fail(p, parent->line, "expected at most %d levels, found more",
			JINJA_MAX_NESTING);
	return 0;
}

int jinja_append(struct jinja_parser *p, struct jinja_node *parent, struct jinja_nodes *list,
	struct jinja_node *child)
{
	if (list->last)
		list->last->next = child;
	else
		list->first = child;
	list->last = child;
	list->n++;
	return parent ? jinja_adopt(p, parent, child) : 0;
}

/* ---- tokens -------------------------------------------------------------------------------- */

const struct jinja_token *jinja_token(const struct jinja_parser *p)
{
	return &p->tokens.data[p->at];
}

const struct jinja_token *jinja_next_token(struct jinja_parser *p)
{
	const struct jinja_token *token = jinja_token(p);

	p->at += p->at + 1 < p->tokens.n;
	return token;
}

const struct jinja_token *jinja_look(const struct jinja_parser *p)
{
	return &p->tokens.data[size_min(p->at + 1, p->tokens.n - 1)];
}

bool jinja_at(const struct jinja_parser *p, enum jinja_token_kind kind)
{
	return jinja_token(p)->kind == kind;
}

bool jinja_is_name(const struct jinja_token *token, const char *name)
{
	return token->kind == TOKEN_NAME && strcmp(token->name, name) == 0;
}

bool jinja_at_name(const struct jinja_parser *p, const char *name)
{
	return jinja_is_name(jinja_token(p), name);
}

bool jinja_skip(struct jinja_parser *p, enum jinja_token_kind kind)
{
	return jinja_at(p, kind) && jinja_next_token(p);
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
	return jinja_at_name(p, name) && jinja_next_token(p);
}

int jinja_unexpected(struct jinja_parser *p, const char *expected)
{
	static const char *const found[] = {[TOKEN_ADD] = "'+'",
		[TOKEN_SUB] = "'-'",
		[TOKEN_MUL] = "'*'",
		[TOKEN_DIV] = "'/'",
		[TOKEN_FLOORDIV] = "'//'",
		[TOKEN_MOD] = "'%'",
		[TOKEN_POW] = "'**'",
		[TOKEN_TILDE] = "'~'",
		[TOKEN_EQ] = "'=='",
		[TOKEN_NE] = "'!='",
		[TOKEN_GT] = "'>'",
		[TOKEN_GE] = "'>='",
		[TOKEN_LT] = "'<'",
		[TOKEN_LE] = "'<='",
		[TOKEN_ASSIGN] = "'='",
		[TOKEN_DOT] = "'.'",
		[TOKEN_COLON] = "':'",
		[TOKEN_PIPE] = "'|'",
		[TOKEN_COMMA] = "','",
		[TOKEN_SEMICOLON] = "';'",
		[TOKEN_LPAREN] = "'('",
		[TOKEN_RPAREN] = "')'",
		[TOKEN_LBRACKET] = "'['",
		[TOKEN_RBRACKET] = "']'",
		[TOKEN_LBRACE] = "'{'",
		[TOKEN_RBRACE] = "'}'",
		[TOKEN_STRING] = "a string",
		[TOKEN_INT] = "an integer",
		[TOKEN_FLOAT] = "a float",
		[TOKEN_DATA] = "text",
		[TOKEN_VARIABLE_BEGIN] = "'{{'",
		[TOKEN_VARIABLE_END] = "'}}'",
		[TOKEN_BLOCK_BEGIN] = "'{%'",
		[TOKEN_BLOCK_END] = "'%}'",
		[TOKEN_END] = "the end of the template"};
	const struct jinja_token *token = jinja_token(p);

	if (token->kind == TOKEN_NAME)
		return jinja_parse_fail(p, token->line, "expected %s, found '%s'", expected,
			token->name);
	return jinja_parse_fail(p, token->line, "expected %s, found %s", expected,
		found[token->kind]);
}

int jinja_expect(struct jinja_parser *p, enum jinja_token_kind kind, const char *what)
{
	return jinja_skip(p, kind) ? 0 : jinja_unexpected(p, what);
}

int jinja_expect_name(struct jinja_parser *p, const char *name)
{
	char what[32];

	snprintf(what, sizeof what, "'%s'", name);
	return jinja_skip_name(p, name) ? 0 : jinja_unexpected(p, what);
}
