/* SPDX-License-Identifier: MIT
 *
 * nfc.c - Contract: nfc.h. By utf8proc, whose tables are newer. Tests: tests/test_tokenizer.c,
 * tests/parity_tokenizers.py (every character).
 *
 * A character that Unicode 9 did not have is one that neither moves nor combines: the text before
 * it and the text behind it are normalized apart. Only those need it that do either by later
 * tables; normal forms of older characters never change.
 */
#include "host/text/nfc.h"

#include "host/base/utf8.h"

#include <utf8proc.h>

static const struct {
	uint32_t first, last;
} later[] = {{0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c},
	{0xd3b, 0xd3c}, {0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfa},
	{0xa82c, 0xa82c}, {0x105c0, 0x105ff}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d},
	{0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
	{0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113ff}, {0x1145e, 0x1145e},
	{0x11839, 0x1183a}, {0x11930, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
	{0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
	{0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x1611e, 0x1612f}, {0x16d63, 0x16d6a},
	{0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
	{0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}};

static bool is_later(uint32_t code)
{
	for (size_t i = 0; i < sizeof later / sizeof *later && later[i].first <= code; i++)
		if (code <= later[i].last)
			return true;
	return false;
}

static int append_part(struct text *out, const char *s, size_t n, struct err *err)
{
	utf8proc_uint8_t *composed = NULL;
	utf8proc_ssize_t length;
	int rc;

	if (n == 0)
		return 0;
	length = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &composed,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (length < 0)
		return err_set(err, ERR_INTERNAL, "normalization: %s", utf8proc_errmsg(length));
	rc = vec_append(out, (const char *)composed, (size_t)length, err);
	free(composed);
	return rc;
}

/* utf8proc puts a run of combining characters into its order in the square of its length. */
enum { MAX_COMBINING = 1024 };

static int check_run(size_t run, struct err *err)
{
	if (run <= MAX_COMBINING)
		return 0;
	return err_set(err, ERR_INPUT,
		"expected at most %d combining characters behind each other in a text, found more",
		MAX_COMBINING);
}

int nfc_append(struct text *out, const char *s, size_t n, struct err *err)
{
	size_t start = 0, run = 0;

	for (size_t i = 0, length; i < n; i += length) {
		uint32_t code;

		length = utf8_length(s + i, n - i);
		code = utf8_decode(s + i, length);
		run = length > 1 && utf8proc_get_property((utf8proc_int32_t)code)->combining_class
			      ? run + 1
			      : 0;
		TRY(check_run(run, err));
		if (length == 1 || !is_later(code))
			continue;
		TRY(append_part(out, s + start, i - start, err));
		TRY(vec_append(out, s + i, length, err));
		start = i + length;
	}
	return append_part(out, s + start, n - start, err);
fail:
	return err->code;
}
