/* SPDX-License-Identifier: MIT
 *
 * jinja_parts.h - what the engine of jinja.h is made of. From the ground up:
 *
 *	jinja_unicode.c     what characters are and their case, as Python has them
 *	jinja_memory.c      memory, steps and errors of a render
 *	jinja_value.c       truth, equality, order, items
 *	jinja_call.c        arguments of what is built in
 *	jinja_print.c       str and repr
 *	jinja_json.c        JSON in, tojson out
 *	jinja_format.c      "%s" % value, "{}".format(value)
 *	jinja_operators.c   + - * / // % ** and slices
 *	jinja_search.c      methods of strings that look for a part
 *	jinja_strings.c     the others
 *	jinja_attributes.c  a.b and a[b], methods of dicts and lists
 *	jinja_tests.c       is defined, ...
 *	jinja_filters.c     |trim, ..., of one value; jinja_sequences.c |join, |sort, ..., of many
 *	jinja_select.c      |map, |select, ..., which apply filters and tests by name
 *	jinja_functions.c   range, namespace, raise_exception, ...
 *	jinja_date.c        strftime_now
 *	jinja_eval.c        expressions
 *	jinja_run.c         statements
 *
 *	jinja_lex.c         tokens
 *	jinja_parser.c      going through tokens, making nodes
 *	jinja_expression.c  expressions; jinja_statement.c statements: the tree
 *	jinja_scope.c       which variable each name is
 *	jinja.c             the interface
 *
 * "As Jinja" in comments is Jinja 3.1.6, whose results the tests compare with.
 */
#ifndef SAENGINE_JINJA_PARTS_H
#define SAENGINE_JINJA_PARTS_H

#include "host/base/arena.h"
#include "host/base/vec.h"
#include "host/formats/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds. No published template and conversation comes near them. */
enum {
	JINJA_MAX_SOURCE = 1 << 20, /* bytes of a template */
	JINJA_MAX_NAMES = 1024,     /* of variables, each of which is looked for among all */
	JINJA_MAX_NESTING = 200,    /* of expressions and statements in the source */
	JINJA_MAX_DEPTH = 1000,     /* of evaluation, calls of macros and lists in lists included */
	JINJA_MAX_STEPS = 1 << 19,  /* expressions, statements and items of a render */
	JINJA_STEP_BYTES = 64,      /* of text that are gone through in a step */
	JINJA_MAX_MEMORY = 1 << 26, /* bytes of values of a render */
	JINJA_MAX_OUTPUT = 1 << 24, /* bytes */
	JINJA_MAX_RANGE = 100000    /* items of range(), as in Jinja's sandbox */
};

/* ---- values -------------------------------------------------------------------------------- */

enum jinja_kind {
	JINJA_MISSING, /* no value at all: a parameter not given, a variable not set */
	JINJA_UNDEFINED,
	JINJA_NONE,
	JINJA_BOOL,
	JINJA_INT,
	JINJA_FLOAT,
	JINJA_STRING,
	JINJA_LIST,
	JINJA_TUPLE,
	JINJA_RANGE,
	JINJA_DICT,
	JINJA_VIEW,     /* of a dict: its keys(), values() or items() */
	JINJA_ITERATOR, /* what map, select, reverse, ... give: gone through once */
	JINJA_NAMESPACE,
	JINJA_MACRO,
	JINJA_FUNCTION,
	JINJA_METHOD, /* a function with the value it is of */
	JINJA_LOOP
};

struct jinja_string {
	const char *s; /* well-formed UTF-8; not zero-terminated */
	size_t n;
};

struct jinja_value {
	enum jinja_kind kind;
	bool safe; /* a string that came through |safe or |escape: + and % escape what joins it */
	/* Of an undefined one, what `why` is. */
	enum jinja_undefined {
		UNDEFINED_VARIABLE,
		UNDEFINED_ATTRIBUTE,
		UNDEFINED_UNSAFE, /* an attribute that the sandbox keeps back */
		UNDEFINED_HINT
	} undefined;
	enum jinja_kind of; /* what the attribute is of */
	union {
		bool truth;
		int64_t integer;
		double real;
		struct jinja_string string;
		struct jinja_list *list; /* also of tuples, ranges and iterators */
		struct jinja_dict *dict; /* also of namespaces */
		const struct jinja_view *view;
		const struct jinja_macro *macro;
		const struct jinja_function *function;
		const struct jinja_method *method;
		struct jinja_loop *loop;
		const char *why; /* of an undefined one: its name, or the message when it is used */
	};
};

struct jinja_list {
	struct jinja_value *items;
	size_t n;
	int64_t start, stop, step; /* of a range */
	size_t taken;              /* of an iterator */
	bool group;                /* a tuple of groupby: has .grouper and .list */
	const char *broken;        /* of an iterator: the error of going through it; NULL: none */
};

struct jinja_dict {
	struct jinja_pair {
		struct jinja_value key, value;
	} * pairs; /* in the order of insertion */
	size_t n, cap;
};

enum jinja_view_kind { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS };

struct jinja_view {
	enum jinja_view_kind kind;
	struct jinja_dict *dict;
};

struct jinja_macro {
	const struct jinja_node *node;
	struct jinja_frame *frame; /* that it was made in */
};

/* What a call gives. */
struct jinja_arguments {
	const struct jinja_value *data; /* by position */
	size_t n;
	const struct jinja_named {
		const char *name;
		struct jinja_value value;
	} * named;
	size_t n_named;
};

struct jinja_run;

/* A filter, test, method or function that is part of the language. */
struct jinja_function {
	const char *name;
	/* The names of its parameters, a space between; NULL: it takes `arguments` as they are. */
	const char *parameters;
	size_t n_required;
	/* `self`: what is filtered, tested, or whose method it is. `at`: a value of each parameter,
	 * of kind JINJA_MISSING where none is given. */
	int (*run)(struct jinja_run *r, struct jinja_value self, const struct jinja_value *at,
		struct jinja_value *out);
	int (*run_free)(struct jinja_run *r, struct jinja_value self,
		const struct jinja_arguments *arguments, struct jinja_value *out);
	bool positional; /* a method whose arguments Python takes by position alone */
	bool lazy;       /* in Python its errors come when what it gives is gone through */
};

enum { JINJA_MAX_PARAMETERS = 6 };

struct jinja_method {
	struct jinja_value self;
	const struct jinja_function *function;
};

/* The variable `loop`: what it goes through, and where it is. */
struct jinja_loop {
	struct jinja_value *items; /* those that are there */
	size_t n;
	size_t next;                        /* the first that the test has not seen */
	struct jinja_value before, current; /* items */
	struct jinja_value after;           /* the next item, MISSING until asked for */
	struct jinja_value changed;         /* what changed() was last called with */
	int64_t index0;
	int64_t length; /* -1: not asked for */
	bool counted;   /* it was, so that the items have been through the `if` */
	const struct jinja_node *node;
	struct jinja_frame *test; /* the variables of the loop's `if` */
};

/* The variables of a scope, and the scopes around it. */
struct jinja_frame {
	struct jinja_frame *outer;
	struct jinja_value *at;
};

/* ---- the tree ------------------------------------------------------------------------------ */

enum jinja_token_kind {
	/* Operators: the spelling of each is a row of jinja_lex.c. */
	TOKEN_ADD,
	TOKEN_SUB,
	TOKEN_MUL,
	TOKEN_DIV,
	TOKEN_FLOORDIV,
	TOKEN_MOD,
	TOKEN_POW,
	TOKEN_TILDE,
	TOKEN_EQ,
	TOKEN_NE,
	TOKEN_GT,
	TOKEN_GE,
	TOKEN_LT,
	TOKEN_LE,
	TOKEN_ASSIGN,
	TOKEN_DOT,
	TOKEN_COLON,
	TOKEN_PIPE,
	TOKEN_COMMA,
	TOKEN_SEMICOLON,
	TOKEN_LPAREN,
	TOKEN_RPAREN,
	TOKEN_LBRACKET,
	TOKEN_RBRACKET,
	TOKEN_LBRACE,
	TOKEN_RBRACE,
	/* Of comparisons alone. */
	TOKEN_IN,
	TOKEN_NOT_IN,
	/* The rest. */
	TOKEN_NAME,
	TOKEN_STRING,
	TOKEN_INT,
	TOKEN_FLOAT,
	TOKEN_DATA,
	TOKEN_VARIABLE_BEGIN,
	TOKEN_VARIABLE_END,
	TOKEN_BLOCK_BEGIN,
	TOKEN_BLOCK_END,
	TOKEN_END
};

struct jinja_token {
	enum jinja_token_kind kind;
	uint32_t line;
	const char *name;         /* of a name: zero-terminated */
	struct jinja_value value; /* of a literal; of data its text */
};

enum jinja_node_kind {
	/* Expressions. */
	NODE_CONST,
	NODE_NAME,
	NODE_NAMESPACE_REF, /* name.attribute, assigned to */
	NODE_TUPLE,         /* items */
	NODE_LIST,
	NODE_DICT,      /* items: key, value, key, value, ... */
	NODE_ATTRIBUTE, /* a.name */
	NODE_ITEM,      /* a[b] */
	NODE_SLICE,     /* a[b:c:d] */
	NODE_CALL,      /* a(arguments) */
	NODE_FILTER,    /* a|name(arguments); a is NULL: the text of the block */
	NODE_TEST,      /* a is name(arguments) */
	NODE_NOT,
	NODE_NEG,
	NODE_POS,
	NODE_AND,
	NODE_OR,
	NODE_BINARY,  /* a op b */
	NODE_CONCAT,  /* items */
	NODE_COMPARE, /* a, then items, each with its op */
	NODE_COND,    /* b if a else c */
	/* An argument: what its value is stands in a. */
	NODE_POSITIONAL,
	NODE_KEYWORD,
	NODE_SPREAD,       /* *a */
	NODE_SPREAD_NAMED, /* **a */
	/* Statements. */
	NODE_DATA,
	NODE_OUTPUT,       /* {{ a }} */
	NODE_FOR,          /* for a in b if c; body, otherwise. d: the target a, for c */
	NODE_IF,           /* if a; body, items: elif, otherwise */
	NODE_SET,          /* set a = b */
	NODE_SET_BLOCK,    /* set a | b; body */
	NODE_MACRO,        /* macro name(items); body. An item is a name, its a the default */
	NODE_CALL_BLOCK,   /* call(items) a; body */
	NODE_FILTER_BLOCK, /* filter b; body */
	NODE_WITH,         /* with items: target, value, target, value, ...; body */
	NODE_GENERATION,   /* body */
	NODE_BREAK,
	NODE_CONTINUE
};

/* Nodes of one list. */
struct jinja_nodes {
	struct jinja_node *first, *last;
	size_t n;
};

struct jinja_node {
	enum jinja_node_kind kind;
	uint32_t line;
	unsigned depth; /* of the tree below */
	struct jinja_node *next;
	struct jinja_node *a, *b, *c, *d;
	struct jinja_nodes items, body, otherwise;
	const char *name, *attribute;
	enum jinja_token_kind op;
	struct jinja_value value;
	const struct jinja_function *function; /* of a filter or test; NULL: Jinja has none */
	/* Of a name: its variable is at[slot] of the frame `up` scopes out. */
	unsigned up, slot;
	bool store, parameter; /* a name that is assigned to; that is a parameter */
	bool has_else;         /* a loop */
	/* Of what has a scope: its variables; of a loop also those of its `if` and `else`. */
	struct jinja_scope *scope, *test_scope, *else_scope;
	/* Of a macro, a call or generation block: whether its body has these. */
	bool caller, kwargs, varargs;
};

enum jinja_load { LOAD_NOTHING, LOAD_PARAMETER, LOAD_GLOBAL, LOAD_OUTER };

/* The variables of a scope, and what they are when it is entered. */
struct jinja_scope {
	struct jinja_scope *outer;
	struct jinja_variable {
		const char *name;
		bool stored;
		enum jinja_load load;
		size_t global;     /* LOAD_GLOBAL: which */
		unsigned up, slot; /* LOAD_OUTER: of what */
	} * data;
	size_t n, cap;
	/* Of a macro or call block: the slots of what it may be given besides its parameters. */
	unsigned caller, kwargs, varargs;
};

/* What a template is while and after it is parsed. */
struct jinja {
	struct arena memory; /* of all that it points to */
	const char *name;
	const char *source; /* line ends are \n */
	size_t n;
	struct jinja_nodes body;
	struct jinja_scope *scope;
	struct {
		const char **data; /* names looked up from outside */
		size_t n, cap;
	} globals;
};

struct jinja_parser {
	struct jinja *t;
	struct {
		struct jinja_token *data;
		size_t n, cap;
	} tokens;
	size_t at;
	unsigned nesting; /* of what is being parsed */
	unsigned loops;   /* that break and continue could be of */
	unsigned n_names; /* of variables, each scope's counted apart */
	struct err *err;
};

/* ---- a render ------------------------------------------------------------------------------ */

struct jinja_run {
	const struct jinja *t;
	const char *date; /* or NULL */
	struct arena memory;
	size_t bytes, steps;
	unsigned depth;
	uint32_t line; /* that messages are of */
	struct text *out;
	struct jinja_value *globals; /* [t->globals.n] */
	/* What is in jinja_run.c, which knows statements: runs the body of a macro; finds the
	 * loop's next item (`after`) that its `if` lets through, MISSING at the end. */
	int (*call_macro)(struct jinja_run *r, const struct jinja_macro *macro,
		const struct jinja_arguments *arguments, struct jinja_value *out);
	int (*look_ahead)(struct jinja_run *r, struct jinja_loop *loop);
	int (*count_ahead)(struct jinja_run *r, struct jinja_loop *loop); /* into `length` */
	struct err *err;
};

/* ---- jinja_unicode.c ----------------------------------------------------------------------- */

/* Bytes of the character at the end of n > 0 bytes. */
size_t jinja_last_length(const char *s, size_t n);

enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE };

/* The character in that case; false where that is no single character, or depends on those around
 * it. */
bool jinja_case_of(uint32_t code, enum jinja_case to, uint32_t *out);

bool jinja_is_upper(uint32_t code);
bool jinja_is_lower(uint32_t code);
bool jinja_is_cased(uint32_t code);
bool jinja_is_alpha(uint32_t code);
bool jinja_is_number_like(uint32_t code);
bool jinja_is_printable(uint32_t code);

/* How many characters n bytes are; the byte at which character i begins. */
size_t jinja_count(const char *s, size_t n);
size_t jinja_offset(const char *s, size_t n, size_t i);

/* ---- jinja_memory.c ------------------------------------------------------------------------ */

/* "NAME:LINE: message". Returns ERR_INPUT. */
int jinja_fail(struct jinja_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for what is outside the language of jinja.h: names it, and says what to do. */
int jinja_refuse(struct jinja_run *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* For errors while parsing. */
int jinja_parse_fail(struct jinja_parser *p, uint32_t line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int jinja_parse_refuse(struct jinja_parser *p, uint32_t line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Zeroed, of the render, until its end. NULL with an error where it is too much. */
void *jinja_take(struct jinja_run *r, size_t n, size_t size);

/* Counts `n` steps. */
int jinja_step(struct jinja_run *r, size_t n);

/* One level further in, and out again. */
int jinja_enter(struct jinja_run *r);
void jinja_leave(struct jinja_run *r);

struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool truth);
struct jinja_value jinja_int(int64_t integer);
struct jinja_value jinja_float(double real);
struct jinja_value jinja_string(const char *s, size_t n);
struct jinja_value jinja_literal(const char *s); /* borrowed, zero-terminated */

/* Bytes of a string, as safe as the whole. */
struct jinja_value jinja_part(struct jinja_value whole, size_t start, size_t end);

struct jinja_value jinja_undefined(const char *name);
struct jinja_value jinja_undefined_hint(const char *hint);

/* A list or tuple of n values, which are none to begin with. */
int jinja_new_list(struct jinja_run *r, enum jinja_kind kind, size_t n, struct jinja_value *out);
int jinja_new_dict(struct jinja_run *r, size_t cap, struct jinja_value *out);

/* Appends to a string being made, which is freed or finished by who makes it. */
int jinja_add(struct jinja_run *r, struct text *to, const char *s, size_t n);
int jinja_add_char(struct jinja_run *r, struct text *to, uint32_t code);

/* Takes the text over into a string of the render, and frees it. */
int jinja_finish(struct jinja_run *r, struct text *text, struct jinja_value *out);

/* ---- jinja_value.c ------------------------------------------------------------------------- */

/* "a list", "a string", ...: for messages. */
const char *jinja_kind_name(enum jinja_kind kind);

/* The error of an undefined value that is used. */
int jinja_undefined_used(struct jinja_run *r, struct jinja_value v);

bool jinja_is_number(struct jinja_value v); /* booleans are */
bool jinja_is(struct jinja_value v, const char *text);
bool jinja_equal_bytes(struct jinja_string a, struct jinja_string b);

/* The value of a boolean or an integer. */
bool jinja_as_int(struct jinja_value v, int64_t *out);
double jinja_as_float(struct jinja_value v);

bool jinja_truth(struct jinja_value v);
int jinja_equal(struct jinja_run *r, struct jinja_value a, struct jinja_value b, bool *out);

/* < 0, 0, > 0, JINJA_UNORDERED. Errors: values without an order. */
enum { JINJA_UNORDERED = 2 };
int jinja_compare(struct jinja_run *r, struct jinja_value a, struct jinja_value b, int *out);
int jinja_contains(struct jinja_run *r, struct jinja_value seq, struct jinja_value item, bool *out);

bool jinja_has_length(struct jinja_value v);
int jinja_length(struct jinja_run *r, struct jinja_value v, size_t *out);
bool jinja_is_iterable(struct jinja_value v);

/* All items, those of an iterator taken from it. What *out is of is the value's own where it can
 * be. */
int jinja_items(struct jinja_run *r, struct jinja_value v, struct jinja_list *out);

/* An error where the key is none that a dict may have. */
int jinja_find(struct jinja_run *r, const struct jinja_dict *dict, struct jinja_value key,
	struct jinja_value **out); /* NULL: none */
struct jinja_value *jinja_find_name(const struct jinja_dict *dict, const char *name);
int jinja_put(struct jinja_run *r, struct jinja_dict *dict, struct jinja_value key,
	struct jinja_value value);

/* Sorts in place by keys[i] for items[i], keeping the order of equals. */
int jinja_sort(struct jinja_run *r, struct jinja_value *keys, struct jinja_value *items, size_t n,
	bool reverse);

/* ---- jinja_call.c -------------------------------------------------------------------------- */

/* A parameter that is an integer, or is left out and then `otherwise`. */
int jinja_int_argument(struct jinja_run *r, struct jinja_value v, const char *what,
	int64_t otherwise, int64_t *out);
bool jinja_bool_argument(struct jinja_value v, bool otherwise);
int jinja_string_argument(struct jinja_run *r, struct jinja_value v, const char *what,
	struct jinja_string *out);
bool jinja_given(struct jinja_value v); /* neither left out nor none */

/* ---- jinja_print.c, jinja_json.c, jinja_format.c, jinja_operators.c ------------------------ */

/* Appends str(v). */
int jinja_print(struct jinja_run *r, struct jinja_value v, struct text *to);
int jinja_repr(struct jinja_run *r, struct jinja_value v, struct text *to);

/* str(v) as a string of the render; a string as it is. */
int jinja_to_string(struct jinja_run *r, struct jinja_value v, struct jinja_string *out);

/* How Python writes a float. */
void jinja_spell_float(double real, char out[32]);

/* HTML's five characters; a safe string as it is. */
int jinja_escape(struct jinja_run *r, struct jinja_value v, struct jinja_value *out);

int jinja_from_json(struct jinja_run *r, const json_t *json, struct jinja_value *out);

/* json.dumps(v, ensure_ascii, indent, separators, sort_keys). */
int jinja_tojson(struct jinja_run *r, struct jinja_value v, const struct jinja_value *at,
	struct jinja_value *out);

/* format % value. */
int jinja_percent(struct jinja_run *r, struct jinja_value format, struct jinja_value value,
	struct jinja_value *out);

/* format.format(arguments). */
int jinja_format(struct jinja_run *r, struct jinja_value format,
	const struct jinja_arguments *arguments, struct jinja_value *out);

int jinja_binary(struct jinja_run *r, enum jinja_token_kind op, struct jinja_value a,
	struct jinja_value b, struct jinja_value *out);
int jinja_negate(struct jinja_run *r, struct jinja_value a, struct jinja_value *out);
int jinja_positive(struct jinja_run *r, struct jinja_value a, struct jinja_value *out);
int jinja_slice(struct jinja_run *r, struct jinja_value a, struct jinja_value start,
	struct jinja_value stop, struct jinja_value step, struct jinja_value *out);

/* ---- jinja_strings.c, jinja_attributes.c --------------------------------------------------- */

/* NULL: strings have none of that name. One without a function they have, but it is outside the
 * language. */
const struct jinja_function *jinja_string_method(const char *name);
const struct jinja_function *jinja_search_method(const char *name);

int jinja_strip(struct jinja_run *r, struct jinja_value v, struct jinja_value chars, bool left,
	bool right, struct jinja_value *out);
int jinja_change_case(struct jinja_run *r, struct jinja_value v, enum jinja_case to,
	struct jinja_value *out);
int jinja_capitalize(struct jinja_run *r, struct jinja_value v, struct jinja_value *out);
int jinja_replace(struct jinja_run *r, struct jinja_string s, struct jinja_string old,
	struct jinja_string new, int64_t count, struct jinja_value *out);
int jinja_center(struct jinja_run *r, struct jinja_value v, int64_t width, struct jinja_string with,
	struct jinja_value *out);
int jinja_split_lines(struct jinja_run *r, struct jinja_value v, bool keep,
	struct jinja_value *out);
bool jinja_is_case(struct jinja_string s, bool upper);

/* v.name and v[key], undefined where there is none. */
int jinja_attribute(struct jinja_run *r, struct jinja_value v, const char *name,
	struct jinja_value *out);
int jinja_item(struct jinja_run *r, struct jinja_value v, struct jinja_value key,
	struct jinja_value *out);

/* ---- jinja_tests.c, jinja_filters.c, jinja_sequences.c, jinja_select.c, jinja_functions.c --- */

/* NULL: Jinja has none of that name. One without a function it has, but it is outside the
 * language. */
const struct jinja_function *jinja_test(const char *name);
const struct jinja_function *jinja_filter(const char *name);

/* Applies a filter or a test. `f` NULL: an error that names it. */
int jinja_apply(struct jinja_run *r, const struct jinja_function *f, const char *kind,
	const char *name, struct jinja_value v, const struct jinja_arguments *arguments,
	struct jinja_value *out);

const struct jinja_function *jinja_filter_of_value(const char *name);
const struct jinja_function *jinja_filter_of_sequence(const char *name);

/* v's attribute by a path: "a.b.0", or a number; none: v itself. */
int jinja_path(struct jinja_run *r, struct jinja_value v, struct jinja_value path,
	struct jinja_value *out);

/* NULL: there is no global function of that name. */
const struct jinja_function *jinja_global_function(const char *name);

int jinja_strftime(struct jinja_run *r, struct jinja_string format, struct jinja_value *out);

/* ---- jinja_eval.c, jinja_run.c ------------------------------------------------------------- */

int jinja_eval(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value *out);

/* Evaluates a call with one more named argument; `extra` may be NULL. */
int jinja_eval_call(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	const struct jinja_named *extra, struct jinja_value *out);

/* Evaluates a filter on `input`. */
int jinja_eval_filter(struct jinja_run *r, const struct jinja_node *node, struct jinja_frame *frame,
	struct jinja_value input, struct jinja_value *out);

int jinja_run_template(struct jinja_run *r);

/* ---- jinja_lex.c, jinja_expression.c, jinja_statement.c, jinja_scope.c ---------------------- */

int jinja_lex(struct jinja_parser *p);

void *jinja_parser_take(struct jinja_parser *p, size_t n, size_t size);
struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind, uint32_t line);
int jinja_adopt(struct jinja_parser *p, struct jinja_node *parent, const struct jinja_node *child);
int jinja_append(struct jinja_parser *p, struct jinja_node *parent, struct jinja_nodes *list,
	struct jinja_node *child);

const struct jinja_token *jinja_token(const struct jinja_parser *p);
const struct jinja_token *jinja_next_token(struct jinja_parser *p); /* the one gone past */
const struct jinja_token *jinja_look(const struct jinja_parser *p); /* the one behind */
bool jinja_is_name(const struct jinja_token *token, const char *name);
bool jinja_at(const struct jinja_parser *p, enum jinja_token_kind kind);
bool jinja_at_name(const struct jinja_parser *p, const char *name);
bool jinja_skip(struct jinja_parser *p, enum jinja_token_kind kind);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
int jinja_expect(struct jinja_parser *p, enum jinja_token_kind kind, const char *what);
int jinja_expect_name(struct jinja_parser *p, const char *name);
int jinja_unexpected(struct jinja_parser *p, const char *expected);

/* `end`: a name that ends it besides; NULL: none. */
int jinja_parse_tuple(struct jinja_parser *p, bool with_condition, const char *end,
	struct jinja_node **out);
int jinja_parse_expression(struct jinja_parser *p, struct jinja_node **out);
int jinja_parse_target(struct jinja_parser *p, bool with_namespace, const char *end,
	struct jinja_node **out);
int jinja_parse_filters(struct jinja_parser *p, bool begins, struct jinja_node **out);
int jinja_parse_name_target(struct jinja_parser *p, struct jinja_node **out);

int jinja_parse_template(struct jinja_parser *p);
int jinja_resolve(struct jinja_parser *p);

#endif
