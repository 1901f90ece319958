/* SPDX-License-Identifier: MIT
 *
 * refusal.c - Contract: refusal.h. Tests: tests/test_text.c.
 */
#include "host/text/refusal.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool begins_with(const char *text, const char *what)
{
	while (*what && lower(*text) == lower(*what)) {
		text++;
		what++;
	}
	return !*what;
}

bool is_refusal(const char *text, const char *const *substrings, size_t n)
{
	for (; *text; text++)
		for (size_t i = 0; i < n; i++)
			if (begins_with(text, substrings[i]))
				return true;
	return false;
}
