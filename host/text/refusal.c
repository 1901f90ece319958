/* SPDX-License-Identifier: MIT
 *
 * refusal.c - refusals by substrings. Contract: refusal.h. Classes: refusal_rules.c. Tests:
 * tests/test_text.c.
 */
#include "host/text/refusal.h"

#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

size_t apostrophe_at(const char *s)
{
	static const char *const spelled[] = {"'", "`", "\u00b4", "\u02bc", "\u2018", "\u2019",
		"\u2032", "\uff07"};

	for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
		if (strncmp(s, spelled[i], strlen(spelled[i])) == 0)
			return strlen(spelled[i]);
	return 0;
}

static bool begins_with(const char *text, const char *what, bool any_apostrophe)
{
	while (*what) {
		const size_t in_text = any_apostrophe ? apostrophe_at(text) : 0;
		const size_t in_what = any_apostrophe ? apostrophe_at(what) : 0;

		if (in_text > 0 && in_what > 0) {
			text += in_text;
			what += in_what;
		} else if (lower(*text++) != lower(*what++)) {
			return false;
		}
	}
	return true;
}

bool is_refusal(const char *text, const char *const *substrings, size_t n, bool any_apostrophe)
{
	for (; *text; text++)
		for (size_t i = 0; i < n; i++)
			if (begins_with(text, substrings[i], any_apostrophe))
				return true;
	return false;
}
