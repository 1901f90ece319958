/* SPDX-License-Identifier: MIT
 *
 * strip.c - Contract: strip.h. Tests: tests/test_chat_template.c.
 */
#include "host/text/strip.h"

#include "host/base/utf8.h"

/* What Python's strip() takes away. */
static bool is_stripped(uint32_t code)
{
	return utf8_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

size_t space_at_start(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		const size_t length = utf8_length(s + i, n - i);

		if (length == 0 || !is_stripped(utf8_decode(s + i, length)))
			break;
		i += length;
	}
	return i;
}

size_t space_at_end(const char *s, size_t n)
{
	size_t end = n;

	while (end > 0) {
		size_t start = end - 1;

		while (start > 0 && ((unsigned char)s[start] & 0xc0) == 0x80)
			start--;
		if (space_at_start(s + start, end - start) != end - start)
			break;
		end = start;
	}
	return n - end;
}
