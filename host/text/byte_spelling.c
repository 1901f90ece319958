/* SPDX-License-Identifier: MIT
 *
 * byte_spelling.c - Contract: byte_spelling.h. Tests: tests/test_tokenizer.c.
 */
#include "host/text/byte_spelling.h"

#include "host/base/utf8.h"

bool byte_unspell(const char *s, size_t n, char *out, size_t *n_out)
{
	*n_out = 0;
	for (size_t i = 0, length; i < n; i += length) {
		uint32_t code;

		length = utf8_length(s + i, n - i);
		if (length == 0)
			return false;
		code = utf8_decode(s + i, length);
		if (code >= 0x100 && code < 0x100 + 68) {
			code -= 0x100; /* the code-th byte that has no printable character */
			code += code < 33 ? 0 : code < 67 ? 127 - 33 : 173 - 67;
		} else if (code < 33 || (code > 126 && code < 161) || code == 173 || code > 255) {
			return false;
		}
		out[(*n_out)++] = (char)code;
	}
	return true;
}

int byte_spell(struct text *out, const char *s, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		const uint32_t byte = (unsigned char)s[i];
		const uint32_t code = byte < 33     ? 0x100 + byte
				      : byte < 127  ? byte
				      : byte < 161  ? 0x100 + 33 + byte - 127
				      : byte == 173 ? 0x100 + 67
						    : byte;
		char utf8[4];

		if (vec_append(out, utf8, utf8_spell(code, utf8), err))
			return err->code;
	}
	return 0;
}
