/* SPDX-License-Identifier: MIT
 *
 * right_answer.c - Contract: right_answer.h. Tests: tests/test_text.c.
 */
#include "host/text/right_answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NUMBER = 64 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Bytes of UTF-8 beyond ASCII belong to words. */
static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (unsigned char)c >= 0x80;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The number that begins at p, a digit: commas between digits are left out, a point belongs to it
 * when a digit follows. Returns where it ends. */
static const char *read_number(const char *p, double *value)
{
	char digits[LONGEST_NUMBER];
	size_t n = 0;

	for (; *p; p++) {
		const bool inside = is_digit(p[1]);

		if (*p == ',' && inside)
			continue;
		if (!is_digit(*p) && !(*p == '.' && inside))
			break;
		if (n + 1 < sizeof digits)
			digits[n++] = *p;
	}
	digits[n] = '\0';
	*value = strtod(digits, NULL);
	return p;
}

/* The last number of a text; NaN when there is none. A minus sign right before the digits, with no
 * word or digit before it, makes it negative. */
static double last_number(const char *text)
{
	double last = NAN;

	for (const char *p = text; *p;) {
		const bool negative = p > text && p[-1] == '-' &&
				      (p - 1 == text || !is_word(p[-2]));

		if (!is_digit(*p)) {
			p++;
			continue;
		}
		p = read_number(p, &last);
		last = negative ? -last : last;
	}
	return last;
}

static bool is_number(const char *text)
{
	const char *p = text + (*text == '-');
	double value;

	return is_digit(*p) && !*read_number(p, &value);
}

static bool is_choice(const char *text)
{
	return text[0] >= 'A' && text[0] <= 'Z' && !text[1];
}

/* The first capital that stands alone; if `marked`, followed by punctuation or the end. 0 = none.
 */
static char first_choice(const char *text, bool marked)
{
	for (const char *p = text; *p; p++) {
		if (*p < 'A' || *p > 'Z' || (p > text && is_word(p[-1])) || is_word(p[1]))
			continue;
		if (p[1] == '\'') /* I'm, I'd */
			continue;
		if (!marked || !p[1] || strchr(".):,\n", p[1]))
			return *p;
	}
	return '\0';
}

static bool occurs(const char *text, const char *what)
{
	const size_t n = strlen(what);

	for (const char *p = text; *p; p++) {
		size_t i = 0;

		if (p > text && is_word(p[-1]))
			continue;
		while (i < n && lower(p[i]) == lower(what[i]))
			i++;
		if (i == n && !is_word(p[n]))
			return true;
	}
	return false;
}

bool is_right_answer(const char *reply, const char *answer)
{
	if (is_number(answer))
		return last_number(reply) == last_number(answer);
	if (is_choice(answer)) {
		const char marked = first_choice(reply, true);

		return (marked ? marked : first_choice(reply, false)) == *answer;
	}
	return *answer && occurs(reply, answer);
}
