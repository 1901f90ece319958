/* SPDX-License-Identifier: MIT
 *
 * jinja_lex.c - the tokens of a template: text, and what is between {{ }} and {% %}. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c.
 *
 * White space, as Jinja's trim_blocks and lstrip_blocks have it: a new line behind %} and #} is
 * dropped, and so is white space between the start of a line and {% or {#; a '-' takes all white
 * space on its side, a '+' keeps it.
 */
#include "host/text/jinja/jinja_parts.h"

#include "host/base/utf8.h"
#include "host/text/strip.h"

#include <errno.h>

struct lexer {
	struct jinja_parser *p;
	const char *s;
	size_t n, at;
	uint32_t line;
	bool line_starts; /* what has been taken ends with a new line, or is nothing */
};

/* Longer ones first. */
static const struct {
	const char *spelling;
	enum jinja_token_kind kind;
} operators[] = {{"//", TOKEN_FLOORDIV}, {"**", TOKEN_POW}, {"==", TOKEN_EQ}, {"!=", TOKEN_NE},
	{">=", TOKEN_GE}, {"<=", TOKEN_LE}, {"+", TOKEN_ADD}, {"-", TOKEN_SUB}, {"/", TOKEN_DIV},
	{"*", TOKEN_MUL}, {"%", TOKEN_MOD}, {"~", TOKEN_TILDE}, {"[", TOKEN_LBRACKET},
	{"]", TOKEN_RBRACKET}, {"(", TOKEN_LPAREN}, {")", TOKEN_RPAREN}, {"{", TOKEN_LBRACE},
	{"}", TOKEN_RBRACE}, {">", TOKEN_GT}, {"<", TOKEN_LT}, {"=", TOKEN_ASSIGN},
	{".", TOKEN_DOT}, {":", TOKEN_COLON}, {"|", TOKEN_PIPE}, {",", TOKEN_COMMA},
	{";", TOKEN_SEMICOLON}};

static bool follows(const struct lexer *l, size_t at, const char *text)
{
	const size_t n = strlen(text);

	return at <= l->n && n <= l->n - at && memcmp(l->s + at, text, n) == 0;
}

static void advance(struct lexer *l, size_t to)
{
	for (; l->at < to; l->at++)
		l->line += l->s[l->at] == '\n';
	l->line_starts = to > 0 && l->s[to - 1] == '\n';
}

static int add_token(struct lexer *l, enum jinja_token_kind kind, struct jinja_value value)
{
	const struct jinja_token token = {.kind = kind, .line = l->line, .value = value};

	return vec_push(&l->p->tokens, token, l->p->err);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* The text up to `end`, where a tag begins with the sign '-', '+' or another character. */
static int add_data(struct lexer *l, size_t end, char sign, bool is_variable)
{
	const char *s = l->s + l->at;
	size_t n = end - l->at;

	if (sign == '-') {
		n -= space_at_end(s, n);
	} else if (sign != '+' && !is_variable) {
		size_t start = n;

		while (start > 0 && s[start - 1] != '\n')
			start--;
		if ((start > 0 || l->line_starts) &&
			space_at_start(s + start, n - start) == n - start)
			n = start;
	}
	if (n > 0 && add_token(l, TOKEN_DATA, jinja_string(s, n)))
		return l->p->err->code;
	advance(l, end);
	return 0;
}

/* The end of a tag whose spelling is `end`, at `at`: with a sign before it, and what it takes
 * behind. 0 where there is none, else the byte behind. `plus`: it may have a '+'. `trims`: without
 * a sign it takes a new line. */
static size_t end_of_tag(const struct lexer *l, size_t at, const char *end, bool plus, bool trims)
{
	const bool minus = follows(l, at, "-") && follows(l, at + 1, end);

	if (minus || (plus && follows(l, at, "+") && follows(l, at + 1, end))) {
		at += 1 + strlen(end);
		return minus ? at + space_at_start(l->s + at, l->n - at) : at;
	}
	if (!follows(l, at, end))
		return 0;
	at += strlen(end);
	return trims && follows(l, at, "\n") ? at + 1 : at;
}

/* As in Jinja one that begins at the very end needs no end, and neither does raw text. */
static int skip_comment(struct lexer *l, size_t at)
{
	if (at == l->n) {
		advance(l, at);
		return 0;
	}
	for (; at < l->n; at++) {
		const size_t end = end_of_tag(l, at, "#}", true, true);

		if (end) {
			advance(l, end);
			return 0;
		}
	}
	return jinja_parse_fail(l->p, l->line, "a comment: expected '#}', found the end");
}

/* Behind "{%" and a sign: where the tag {% NAME %} ends; 0 where it is another. */
static size_t end_of_word_tag(const struct lexer *l, size_t at, const char *name, bool is_end)
{
	at += space_at_start(l->s + at, l->n - at);
	if (!follows(l, at, name))
		return 0;
	at += strlen(name);
	at += space_at_start(l->s + at, l->n - at);
	return end_of_tag(l, at, "%}", is_end, is_end);
}

/* From behind {% raw %} to behind {% endraw %}. */
static int take_raw(struct lexer *l)
{
	if (l->at == l->n)
		return 0;
	for (size_t at = l->at; at < l->n; at++) {
		char sign;
		size_t end;

		if (!follows(l, at, "{%"))
			continue;
		sign = at + 2 < l->n ? l->s[at + 2] : '\0';
		end = end_of_word_tag(l, at + 2 + (sign == '-' || sign == '+'), "endraw", true);
		if (!end)
			continue;
		if (add_data(l, at, sign, false))
			return l->p->err->code;
		advance(l, end);
		return 0;
	}
	return jinja_parse_fail(l->p, l->line, "raw: expected {%% endraw %%}, found the end");
}

/* ---- within tags --------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char char_at(const struct lexer *l, size_t at)
{
	return at < l->n ? l->s[at] : '\0';
}

/* Digits with single underscores between them; the byte behind, or `at` where there are none. */
static size_t digits(const struct lexer *l, size_t at)
{
	if (!is_digit(char_at(l, at)))
		return at;
	while (is_digit(char_at(l, at)) || (char_at(l, at) == '_' && is_digit(char_at(l, at + 1))))
		at++;
	return at;
}

/* Where a float that begins here ends; `at` where none does. */
static size_t end_of_float(const struct lexer *l, size_t at)
{
	const size_t whole = digits(l, at);
	size_t end = whole, exponent;

	if (whole == at || (at > 0 && l->s[at - 1] == '.'))
		return at;
	if (char_at(l, end) == '.' && digits(l, end + 1) > end + 1)
		end = digits(l, end + 1);
	if (char_at(l, end) == 'e' || char_at(l, end) == 'E') {
		exponent = end + 1;
		if (char_at(l, exponent) == '+' || char_at(l, exponent) == '-')
			exponent++;
		if (digits(l, exponent) > exponent)
			end = digits(l, exponent);
	}
	return end > whole ? end : at;
}

/* Where an integer that begins here ends, and its base. */
static size_t end_of_int(const struct lexer *l, size_t at, int *base)
{
	static const char *const of_base[] = {"01", "01234567", "0123456789abcdefABCDEF"};
	const char prefix = (char)(char_at(l, at + 1) | 0x20);
	const int which = prefix == 'b' ? 0 : prefix == 'o' ? 1 : prefix == 'x' ? 2 : -1;

	*base = 10;
	if (char_at(l, at) != '0')
		return digits(l, at);
	if (which >= 0) {
		size_t end = at + 2;

		for (;;) {
			const size_t digit = end + (char_at(l, end) == '_');

			if (!char_at(l, digit) || !strchr(of_base[which], char_at(l, digit)))
				break;
			end = digit + 1;
		}
		if (end > at + 2) {
			*base = (const int[]){2, 8, 16}[which];
			return end;
		}
	}
	for (at++; char_at(l, at) == '0' || (char_at(l, at) == '_' && char_at(l, at + 1) == '0');)
		at++;
	return at;
}

/* Numbers have no bounds of their own; these digits are more than any that fit. */
enum { MAX_DIGITS = 400 };

static int take_number(struct lexer *l)
{
	char text[MAX_DIGITS + 1];
	size_t end = end_of_float(l, l->at), n = 0;
	const bool is_float = end > l->at;
	struct jinja_value v;
	int base = 10;

	if (!is_float)
		end = end_of_int(l, l->at, &base);
	for (size_t i = l->at + (base == 10 ? 0 : 2); i < end; i++) {
		if (l->s[i] == '_')
			continue;
		if (n == MAX_DIGITS)
			return jinja_parse_refuse(l->p, l->line, "a number of so many digits");
		text[n++] = l->s[i];
	}
	text[n] = '\0';
	errno = 0;
	v = is_float ? jinja_float(strtod(text, NULL)) : jinja_int(strtoll(text, NULL, base));
	if (!is_float && errno)
		return jinja_parse_refuse(l->p, l->line, "an integer beyond 64 bits");
	if (add_token(l, is_float ? TOKEN_FLOAT : TOKEN_INT, v))
		return l->p->err->code;
	advance(l, end);
	return 0;
}

static int take_name(struct lexer *l)
{
	size_t end = l->at;
	char *name;

	while (is_word(char_at(l, end)))
		end++;
	name = jinja_parser_take(l->p, end - l->at + 1, 1);
	if (!name)
		return l->p->err->code;
	memcpy(name, l->s + l->at, end - l->at);
	if (add_token(l, TOKEN_NAME, jinja_none()))
		return l->p->err->code;
	l->p->tokens.data[l->p->tokens.n - 1].name = name;
	advance(l, end);
	return 0;
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly n hexadecimal digits. */
static int read_hex(struct lexer *l, size_t at, size_t n, size_t end, uint32_t *code)
{
	*code = 0;
	for (size_t i = 0; i < n; i++) {
		const int digit = at + i < end ? hex_value(l->s[at + i]) : -1;

		if (digit < 0)
			return jinja_parse_fail(l->p, l->line,
				"a string: expected %zu hexadecimal digits in an escape", n);
		*code = *code << 4 | (uint32_t)digit;
	}
	if (*code >= 0xd800 && *code < 0xe000)
		return jinja_parse_refuse(l->p, l->line, "half a character in a string");
	if (*code > 0x10ffff)
		return jinja_parse_fail(l->p, l->line, "a string: no character is that escape");
	return 0;
}

static size_t put(char *out, uint32_t code)
{
	return utf8_spell(code, out);
}

/* Python escapes what is not ASCII before it reads escapes: a backslash before such a character
 * then stands for itself, and the character for its code in hexadecimal. */
static size_t put_spelled(char *out, uint32_t code)
{
	return (size_t)sprintf(out,
		code < 0x100     ? "\\x%02x"
		: code < 0x10000 ? "\\u%04x"
				 : "\\U%08x",
		(unsigned)code);
}

/* An escape whose backslash is at *at; goes behind it. */
static int take_escape(struct lexer *l, size_t *at, size_t end, char *out, size_t *n)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	const char c = l->s[*at + 1];
	const char *simple = c ? strchr(from, c) : NULL;
	const size_t width = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
	uint32_t code = 0;
	size_t length;

	*at += 2;
	if (simple) {
		out[(*n)++] = to[simple - from];
	} else if (c == '\n') {
		/* a line goes on */
	} else if (width) {
		if (read_hex(l, *at, width, end, &code))
			return l->p->err->code;
		*at += width;
		*n += put(out + *n, code);
	} else if (c >= '0' && c <= '7') {
		code = (uint32_t)(c - '0');
		for (int i = 0; i < 2 && *at < end && l->s[*at] >= '0' && l->s[*at] <= '7'; i++)
			code = code << 3 | (uint32_t)(l->s[(*at)++] - '0');
		*n += put(out + *n, code);
	} else if (c == 'N') {
		return jinja_parse_refuse(l->p, l->line, "a character by its name in a string");
	} else if ((unsigned char)c >= 0x80) {
		(*at)--;
		length = utf8_length(l->s + *at, l->n - *at);
		*n += put_spelled(out + *n, utf8_decode(l->s + *at, length));
		*at += length;
	} else {
		out[(*n)++] = '\\';
		out[(*n)++] = c;
	}
	return 0;
}

static int take_string(struct lexer *l)
{
	const char quote = l->s[l->at];
	size_t end = l->at + 1, n = 0;
	char *out;

	while (end < l->n && l->s[end] != quote)
		end += l->s[end] == '\\' ? 2 : 1;
	if (end >= l->n)
		return jinja_parse_fail(l->p, l->line, "a string: expected its end, %c", quote);
	/* A character behind a backslash may become ten. */
	out = jinja_parser_take(l->p, 5 * (end - l->at), 1);
	if (!out)
		return l->p->err->code;
	for (size_t at = l->at + 1; at < end;) {
		if (l->s[at] != '\\')
			out[n++] = l->s[at++];
		else if (take_escape(l, &at, end, out, &n))
			return l->p->err->code;
	}
	if (add_token(l, TOKEN_STRING, jinja_string(out, n)))
		return l->p->err->code;
	advance(l, end + 1);
	return 0;
}

static int take_operator(struct lexer *l, char *open, size_t *n_open)
{
	const char c = l->s[l->at];
	size_t i = 0;

	for (; i < sizeof operators / sizeof *operators; i++)
		if (follows(l, l->at, operators[i].spelling))
			break;
	if (i == sizeof operators / sizeof *operators) {
		const size_t length = utf8_length(l->s + l->at, l->n - l->at);

		return jinja_parse_fail(l->p, l->line,
			"expected a name, a value or an operator, found "
			"'%.*s'",
			(int)length, l->s + l->at);
	}
	if (c == '(' || c == '[' || c == '{') {
		if (*n_open == JINJA_MAX_NESTING)
			return jinja_parse_fail(l->p, l->line,
				"more than %d brackets in each other", JINJA_MAX_NESTING);
		open[(*n_open)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
	} else if (c == ')' || c == ']' || c == '}') {
		if (!*n_open || open[--*n_open] != c)
			return jinja_parse_fail(l->p, l->line, "an unexpected '%c'", c);
	}
	if (add_token(l, operators[i].kind, jinja_none()))
		return l->p->err->code;
	advance(l, l->at + strlen(operators[i].spelling));
	return 0;
}

/* From behind the sign of {{ or {% to behind its end. */
static int take_tag(struct lexer *l, bool is_variable)
{
	char open[JINJA_MAX_NESTING];
	size_t n_open = 0;

	while (l->at < l->n) {
		const char c = l->s[l->at];
		const size_t end = end_of_tag(l, l->at, is_variable ? "}}" : "%}", !is_variable,
			!is_variable);
		const size_t space = space_at_start(l->s + l->at, l->n - l->at);
		int rc;

		if (end && !n_open) {
			if (add_token(l, is_variable ? TOKEN_VARIABLE_END : TOKEN_BLOCK_END,
				    jinja_none()))
				return l->p->err->code;
			advance(l, end);
			return 0;
		}
		if (space) {
			advance(l, l->at + space);
			continue;
		}
		rc = is_digit(c)             ? take_number(l)
		     : is_word(c)            ? take_name(l)
		     : c == '\'' || c == '"' ? take_string(l)
					     : take_operator(l, open, &n_open);
		if (rc)
			return rc;
	}
	return jinja_parse_fail(l->p, l->line, "expected '%s', found the end of the template",
		is_variable ? "}}" : "%}");
}

/* At a tag: its text before it, then the tag. */
static int take_from(struct lexer *l, size_t at)
{
	const char kind = l->s[at + 1];
	const char sign = char_at(l, at + 2);
	const size_t inside = at + 2 + (sign == '-' || sign == '+');
	const size_t raw = kind == '%' ? end_of_word_tag(l, inside, "raw", false) : 0;

	if (add_data(l, at, sign, kind == '{'))
		return l->p->err->code;
	if (raw) {
		advance(l, raw);
		return take_raw(l);
	}
	if (kind == '#')
		return skip_comment(l, inside);
	if (add_token(l, kind == '{' ? TOKEN_VARIABLE_BEGIN : TOKEN_BLOCK_BEGIN, jinja_none()))
		return l->p->err->code;
	advance(l, inside);
	return take_tag(l, kind == '{');
}

int jinja_lex(struct jinja_parser *p)
{
	struct lexer l = {.p = p, .s = p->t->source, .n = p->t->n, .line = 1, .line_starts = true};

	while (l.at < l.n) {
		size_t at = l.at;

		while (at < l.n && !follows(&l, at, "{{") && !follows(&l, at, "{%") &&
			!follows(&l, at, "{#"))
			at++;
		if (at == l.n) {
			if (add_token(&l, TOKEN_DATA, jinja_string(l.s + l.at, l.n - l.at)))
				return p->err->code;
			advance(&l, at);
		} else if (take_from(&l, at)) {
			return p->err->code;
		}
	}
	return add_token(&l, TOKEN_END, jinja_none());
}
