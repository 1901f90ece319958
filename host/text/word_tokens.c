/* SPDX-License-Identifier: MIT
 *
 * word_tokens.c - Contract: word_tokens.h. Tests: tests/test_judge.c.
 */
#include "host/text/word_tokens.h"

#include "host/base/utf8.h"

#include <strings.h>

bool reads_as(const char *text, size_t n, const char *word)
{
	const size_t skip = utf8_space(text, n), length = strlen(word);

	return n - skip >= length && strncasecmp(text + skip, word, length) == 0 &&
	       utf8_space(text + skip + length, n - skip - length) == n - skip - length;
}

int word_tokens(const struct tokenizer *tok, const char *word, struct token_ids *ids,
	struct err *err)
{
	struct text text = {0};

	err_clear(err);
	for (size_t id = 0; id < tokenizer_size(tok); id++) {
		const int32_t token = (int32_t)id;

		if (!tokenizer_spelling(tok, token))
			continue;
		text.n = 0;
		TRY(tokenizer_decode(tok, &token, 1, false, &text, err));
		if (text.n > 0 && reads_as(text.data, text.n, word))
			TRY(vec_push(ids, token, err));
	}
fail:
	free(text.data);
	return err->code;
}
