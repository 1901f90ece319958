/* SPDX-License-Identifier: MIT
 *
 * literals.c - numbers that libconfig cannot hold. Contract: config_parts.h. Tests:
 * tests/test_errors.c.
 *
 * libconfig reads an integer without an L behind it into 32 bits and, before version 1.7, wraps
 * what is beyond: seed = 4294967298 would be 2, and nothing in the tree tells. So the text is read
 * for its numbers, what is inside quotes and comments apart.
 */
#include "host/config/config_parts.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *skip_quiet(const char *text)
{
	const char *end;

	if (*text == '#' || strncmp(text, "//", 2) == 0)
		return text + strcspn(text, "\n");
	if (strncmp(text, "/*", 2) == 0)
		return (end = strstr(text + 2, "*/")) ? end + 2 : text + strlen(text);
	if (*text != '"')
		return text;
	for (text++; *text && *text != '"'; text++)
		text += *text == '\\' && text[1];
	return text + (*text == '"');
}

static bool begins_number(const char *text)
{
	text += *text == '-' || *text == '+';
	text += *text == '.';
	return isdigit((unsigned char)*text);
}

static void check_literal(struct faults *f, struct place place, const char *text, int n)
{
	const char *digits = text + (*text == '-' || *text == '+');
	const bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, hex ? 16 : 10);
	if (end < text + n && strchr(".eE", *end)) {
		if (isinf(strtod(text, NULL)))
			fault(f, place, "expected numbers up to 1.8e308, found %.*s", n, text);
	} else if (errno == ERANGE) {
		fault(f, place, "expected integers up to %lld, found %.*s", LLONG_MAX, n, text);
	} else if (*end != 'L' && (value > INT_MAX || value < INT_MIN)) {
		fault(f, place,
			"expected %.*sL, for integers beyond %d have an L behind them, found %.*s",
			n, text, INT_MAX, n, text);
	}
}

void check_literals(struct faults *f, struct place place, const char *text)
{
	const bool has_lines = place.line > 0;

	while (*text) {
		const char *end = skip_quiet(text);

		if (end == text && (isalpha((unsigned char)*text) || *text == '*'))
			end += strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					    "0123456789*_-");
		if (end == text && begins_number(text)) {
			end += 1 + strspn(text + 1, "0123456789abcdefABCDEFxXL.+-");
			check_literal(f, place, text, (int)(end - text));
		}
		end += end == text;
		for (; text < end; text++)
			place.line += has_lines && *text == '\n';
	}
}
