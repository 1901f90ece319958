/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer.c - a tokenizer file of either kind (one that begins with { is a tokenizer.json).
 * With one that is accepted, its own bytes and some text are encoded, and ids decoded.
 */
#include "host/text/tokenizer.h"
#include "host/base/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Decoding token by token gives the text of the whole, in well-formed parts. */
static void decode(const struct tokenizer *tok, const struct token_ids *ids)
{
	struct text whole = {0}, parts = {0};
	struct token_stream stream;
	struct err err;

	MUST(tokenizer_decode(tok, ids->data, ids->n, false, &whole, &err) == 0);
	MUST(utf8_valid(whole.data, whole.n, NULL));
	token_stream_init(&stream, tok, false);
	for (size_t i = 0; i < ids->n; i++) {
		const size_t before = parts.n;

		MUST(token_stream_push(&stream, ids->data[i], &parts, &err) == 0);
		MUST(parts.n == before || utf8_valid(parts.data + before, parts.n - before, NULL));
	}
	MUST(token_stream_end(&stream, &parts, &err) == 0);
	MUST(whole.n == parts.n && (whole.n == 0 || memcmp(whole.data, parts.data, whole.n) == 0));
	free(whole.data);
	free(parts.data);
}

static void encode(const struct tokenizer *tok, const char *text, size_t n)
{
	struct token_ids ids = {0};
	struct err err = {0};
	const int rc = tokenizer_encode(tok, text, n, &ids, &err);

	MUST_EXPLAIN(rc, err);
	MUST(rc || utf8_valid(text, n, NULL));
	for (size_t i = 0; i < ids.n; i++)
		MUST(ids.data[i] >= 0 && (size_t)ids.data[i] < tokenizer_size(tok) &&
			tokenizer_spelling(tok, ids.data[i]));
	decode(tok, &ids);
	free(ids.data);
}

static void decode_every_id(const struct tokenizer *tok)
{
	struct token_ids ids = {0};
	struct err err;

	for (int32_t id = -1; id <= (int32_t)tokenizer_size(tok); id++)
		MUST(vec_push(&ids, id, &err) == 0);
	decode(tok, &ids);
	free(ids.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "ab  a\xc3\xa9\xcc\x81 <x>\n\n\xf0\x9f\x91\x8d"
				   "1234's\t";
	const char *bytes = size ? (const char *)data : "";
	struct tokenizer *tok;
	struct err err = {0};
	const int rc = size && data[0] == '{'
			       ? tokenizer_parse(&tok, "input", bytes, size, &err)
			       : tokenizer_parse_tiktoken(&tok, "input", bytes, size, &err);

	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (tok != NULL));
	if (rc)
		return 0;
	MUST(tokenizer_bos(tok) == -1 || tokenizer_spelling(tok, tokenizer_bos(tok)));
	encode(tok, bytes, size);
	encode(tok, text, sizeof text - 1);
	decode_every_id(tok);
	tokenizer_close(tok);
	return 0;
}
