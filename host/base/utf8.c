/* SPDX-License-Identifier: MIT
 *
 * utf8.c - Contract: utf8.h. Tests: tests/test_tokenizer.c.
 */
#include "host/base/utf8.h"

/* How many bytes of a well-formed prefix start at s; *whole tells whether they are a complete
 * character. At least 1 for a byte that starts nothing. */
static size_t prefix_length(const unsigned char *s, size_t n, bool *whole)
{
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t need;

	*whole = false;
	if (s[0] < 0x80) {
		*whole = true;
		return 1;
	}
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 1;
	need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < need; i++) {
		if (i >= n || s[i] < low || s[i] > high)
			return i;
		low = 0x80;
		high = 0xbf;
	}
	*whole = true;
	return need;
}

size_t utf8_length(const char *s, size_t n)
{
	bool whole;
	size_t length;

	if (n == 0)
		return 0;
	length = prefix_length((const unsigned char *)s, n, &whole);
	return whole ? length : 0;
}

bool utf8_valid(const char *s, size_t n, size_t *bad)
{
	for (size_t i = 0, length; i < n; i += length) {
		length = utf8_length(s + i, n - i);
		if (length == 0) {
			if (bad)
				*bad = i;
			return false;
		}
	}
	return true;
}

size_t utf8_unfinished(const char *s, size_t n)
{
	for (size_t rest = n < 3 ? n : 3; rest > 0; rest--) {
		const unsigned char *at = (const unsigned char *)s + n - rest;
		bool whole;

		/* Only a byte that starts a longer character can have a prefix of all that is left.
		 */
		if (at[0] >= 0xc2 && at[0] <= 0xf4 && prefix_length(at, rest, &whole) == rest &&
			!whole)
			return rest;
	}
	return 0;
}

uint32_t utf8_decode(const char *s, size_t length)
{
	static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t code = (unsigned char)s[0] & first_bits[length];

	for (size_t i = 1; i < length; i++)
		code = code << 6 | ((unsigned char)s[i] & 0x3f);
	return code;
}

size_t utf8_spell(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

bool utf8_is_space(uint32_t code)
{
	return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xa0 ||
	       code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
	       code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

size_t utf8_space(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		const size_t length = utf8_length(s + i, n - i);

		if (length == 0 || !utf8_is_space(utf8_decode(s + i, length)))
			break;
		i += length;
	}
	return i;
}

size_t utf8_printable(const char *s, size_t n)
{
	const size_t length = utf8_length(s, n);
	const uint32_t code = length ? utf8_decode(s, length) : 0;
	const bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);

	return code < 0x20 || (code >= 0x7f && code < 0xa0) || turns ? 0 : length;
}

int utf8_append_mended(struct text *out, const char *s, size_t n, struct err *err)
{
	for (size_t i = 0, length; i < n; i += length) {
		bool whole;

		length = prefix_length((const unsigned char *)s + i, n - i, &whole);
		TRY(vec_append(out, whole ? s + i : "\xef\xbf\xbd", whole ? length : 3, err));
	}
	return 0;
fail:
	return err->code;
}
