/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer_side.c - the files beside a tokenizer.json, over a small tokenizer: one JSON
 * object whose keys are the files' names. Where they are accepted, every named token is one token.
 */
#include "host/base/utf8.h"
#include "host/text/tokenizer_side.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const char BASE[] =
	"{\"added_tokens\":[{\"id\":5,\"content\":\"<x>\",\"special\":true,\"normalized\":false},"
	"{\"id\":6,\"content\":\"<y> \",\"normalized\":true,\"lstrip\":true}],"
	"\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"_\"},"
	"\"padding\":{\"pad_token\":\"<p>\"},"
	"\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"_\":3,\"<\":4},\"merges\":[\"a b\"]}}";

static void check(const struct tokenizer *tok)
{
	for (size_t i = 0; i < tokenizer_n_special(tok); i++) {
		const char *text = tokenizer_special(tok, tokenizer_special_name(tok, i));

		MUST(text && (!*text || tokenizer_id(tok, text) >= 0));
	}
	for (size_t id = 0; id < tokenizer_size(tok); id++) {
		const int32_t token = (int32_t)id;
		struct text text = {0};
		struct err err;

		MUST(tokenizer_decode(tok, &token, 1, true, &text, &err) == 0);
		MUST(utf8_valid(text.data, text.n, NULL));
		free(text.data);
	}
}

static void encode(const struct tokenizer *tok, const char *bytes, size_t n)
{
	struct token_ids ids = {0};
	struct err err = {0};
	const int rc = tokenizer_encode(tok, bytes, n, &ids, &err);

	MUST_EXPLAIN(rc, err);
	for (size_t i = 0; i < ids.n; i++)
		MUST(tokenizer_spelling(tok, ids.data[i]));
	free(ids.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tokenizer *tok;
	struct err err = {0};
	json_t *files;
	int rc;

	if (json_parse(&files, "input", size ? (const char *)data : "", size, &err))
		return 0;
	MUST(tokenizer_parse(&tok, "base", BASE, sizeof BASE - 1, &err) == 0);
	rc = tokenizer_side_apply(tok,
		&(struct tokenizer_side){.config = json_object_get(files, "tokenizer_config"),
			.special_map = json_object_get(files, "special_tokens_map"),
			.added = json_object_get(files, "added_tokens"),
			.model = json_object_get(files, "config")},
		&err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		check(tok);
		encode(tok, (const char *)data, size);
	}
	tokenizer_close(tok);
	json_decref(files);
	return 0;
}
