/* SPDX-License-Identifier: MIT
 *
 * jinja_unicode.c - what characters are and their case, as Python's str has them. Contract:
 * jinja_parts.h. Tests: tests/test_jinja.c, tests/test_jinja.py (every character).
 */
#include "host/text/jinja/jinja_parts.h"

#include <utf8proc.h>

size_t jinja_last_length(const char *s, size_t n)
{
	size_t length = 1;

	while (((unsigned char)s[n - length] & 0xc0) == 0x80)
		length++;
	return length;
}

struct range {
	uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t n, uint32_t code)
{
	for (size_t i = 0; i < n && ranges[i].first <= code; i++)
		if (code <= ranges[i].last)
			return true;
	return false;
}

#define IS_IN(ranges, code) is_in(ranges, sizeof(ranges) / sizeof *(ranges), code)

/* Characters that are several in upper case or title case (Unicode's SpecialCasing). */
static const struct range several[] = {{0xdf, 0xdf}, {0x149, 0x149}, {0x1f0, 0x1f0}, {0x390, 0x390},
	{0x3b0, 0x3b0}, {0x587, 0x587}, {0x1e96, 0x1e9a}, {0x1f50, 0x1f50}, {0x1f52, 0x1f52},
	{0x1f54, 0x1f54}, {0x1f56, 0x1f56}, {0x1f80, 0x1faf}, {0x1fb2, 0x1fb4}, {0x1fb6, 0x1fb7},
	{0x1fbc, 0x1fbc}, {0x1fc2, 0x1fc4}, {0x1fc6, 0x1fc7}, {0x1fcc, 0x1fcc}, {0x1fd2, 0x1fd3},
	{0x1fd6, 0x1fd7}, {0x1fe2, 0x1fe4}, {0x1fe6, 0x1fe7}, {0x1ff2, 0x1ff4}, {0x1ff6, 0x1ff7},
	{0x1ffc, 0x1ffc}, {0xfb00, 0xfb06}, {0xfb13, 0xfb17}};

bool jinja_case_of(uint32_t code, enum jinja_case to, uint32_t *out)
{
	if (code < 0x80) {
		const bool lower = code >= 'a' && code <= 'z', upper = code >= 'A' && code <= 'Z';

		*out = to == JINJA_LOWER ? (upper ? code + 32 : code) : (lower ? code - 32 : code);
		return true;
	}
	if (to == JINJA_LOWER) {
		*out = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
		/* An I with a dot is two characters; a sigma depends on where in a word it is. */
		return code != 0x130 && code != 0x3a3;
	}
	if (IS_IN(several, code))
		return false;
	*out = (uint32_t)(to == JINJA_UPPER ? utf8proc_toupper((utf8proc_int32_t)code)
					    : utf8proc_totitle((utf8proc_int32_t)code));
	return true;
}

static utf8proc_category_t category_of(uint32_t code)
{
	return utf8proc_category((utf8proc_int32_t)code);
}

/* Cased characters that are no letters (Unicode's Other_Uppercase, Other_Lowercase). */
static const struct range other_upper[] = {{0x2160, 0x216f}, {0x24b6, 0x24cf}, {0x1f130, 0x1f149},
	{0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
static const struct range other_lower[] = {{0xaa, 0xaa}, {0xba, 0xba}, {0x2b0, 0x2b8},
	{0x2c0, 0x2c1}, {0x2e0, 0x2e4}, {0x345, 0x345}, {0x37a, 0x37a}, {0x1d2c, 0x1d6a},
	{0x1d78, 0x1d78}, {0x1d9b, 0x1dbf}, {0x2071, 0x2071}, {0x207f, 0x207f}, {0x2090, 0x209c},
	{0x2170, 0x217f}, {0x24d0, 0x24e9}, {0x2c7c, 0x2c7d}, {0xa69c, 0xa69d}, {0xa770, 0xa770},
	{0xa7f8, 0xa7f9}, {0xab5c, 0xab5f}, {0x10780, 0x10780}, {0x10783, 0x10785},
	{0x10787, 0x107b0}, {0x107b2, 0x107ba}};

bool jinja_is_upper(uint32_t code)
{
	return category_of(code) == UTF8PROC_CATEGORY_LU || IS_IN(other_upper, code);
}

bool jinja_is_lower(uint32_t code)
{
	return category_of(code) == UTF8PROC_CATEGORY_LL || IS_IN(other_lower, code);
}

bool jinja_is_cased(uint32_t code)
{
	return jinja_is_upper(code) || jinja_is_lower(code) ||
	       category_of(code) == UTF8PROC_CATEGORY_LT;
}

bool jinja_is_number_like(uint32_t code)
{
	const utf8proc_category_t category = category_of(code);

	return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool jinja_is_alpha(uint32_t code)
{
	const utf8proc_category_t category = category_of(code);

	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool jinja_is_printable(uint32_t code)
{
	const utf8proc_category_t category = category_of(code);

	return code == ' ' || (category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS);
}

size_t jinja_count(const char *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

size_t jinja_offset(const char *s, size_t n, size_t i)
{
	size_t at = 0;

	for (; at < n; at++)
		if (((unsigned char)s[at] & 0xc0) != 0x80 && i-- == 0)
			break;
	return at;
}
