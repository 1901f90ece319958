/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer.c - ids and texts equal to the tokenizers library's, always. Golden files:
 * tests/golden/tokenizers, made by tests/golden/make_tokenizers.py. And the errors of files that
 * are not what they should be, UTF-8, decoding token by token.
 */
#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/text/tokenizer.h"
#include "host/base/utf8.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Golden files and their tokenizers: the shipped models', one in the shape of each family, and
 * Llama 3's own, which is not part of the project. */
static const struct {
	const char *name, *path; /* of the tokenizer, from the root */
	bool outside;
} tokenizers[] = {
	{"tiny-gemma2", "models/tiny-gemma2/tokenizer.json", false},
	{"tiny-llama", "models/tiny-llama/tokenizer.json", false},
	{"gemma", "tests/golden/tokenizers/gemma.tokenizer.json", false},
	{"llama2", "tests/golden/tokenizers/llama2.tokenizer.json", false},
	{"llama3", "tests/golden/tokenizers/llama3.tokenizer.json", false},
	{"mistral", "tests/golden/tokenizers/mistral.tokenizer.json", false},
	{"qwen", "tests/golden/tokenizers/qwen.tokenizer.json", false},
	{"metaspace_always", "tests/golden/tokenizers/metaspace_always.tokenizer.json", false},
	{"metaspace_never", "tests/golden/tokenizers/metaspace_never.tokenizer.json", false},
	{"smollm", "tests/golden/tokenizers/smollm.tokenizer.json", false},
	{"llama3_real", "../shared/data/tokenizers/llama3.tiktoken", true},
};

static const char *path_from_root(const char *path)
{
	static char whole[512];

	snprintf(whole, sizeof whole, "%s/%s", test_source_root(), path);
	return whole;
}

static json_t *open_cases(const char *name)
{
	char path[512];
	json_t *file = NULL;
	struct err err;

	snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s.json", test_source_root(), name);
	if (json_read(&file, path, &err)) {
		test_fail(__FILE__, __LINE__, "%s", err.text);
		exit(1);
	}
	return file;
}

static void check_encoding(const struct tokenizer *tok, const char *name, size_t number,
	const json_t *text, const json_t *expected)
{
	struct token_ids ids = {0};
	struct err err;
	bool same;

	REQUIRE_OK(tokenizer_encode(tok, json_string_value(text), json_string_length(text), &ids,
			   &err),
		&err);
	same = ids.n == json_array_size(expected);
	for (size_t i = 0; same && i < ids.n; i++)
		same = ids.data[i] == json_integer_value(json_array_get(expected, i));
	CHECK(same, "%s: case %zu: ids of \"%.60s\" differ", name, number, json_string_value(text));
	free(ids.data);
}

static void check_decoding(const struct tokenizer *tok, const char *name, size_t number,
	const json_t *ids, const json_t *expected)
{
	const size_t n = json_array_size(ids);
	int32_t *values = malloc(n * sizeof *values + 1);
	struct text text = {0};
	struct err err;

	for (size_t i = 0; i < n; i++)
		values[i] = (int32_t)json_integer_value(json_array_get(ids, i));
	REQUIRE_OK(tokenizer_decode(tok, values, n, false, &text, &err), &err);
	CHECK(text.n == json_string_length(expected) &&
			(text.n == 0 ||
				memcmp(text.data, json_string_value(expected), text.n) == 0),
		"%s: case %zu: decoded \"%.*s\", expected \"%s\"", name, number, (int)text.n,
		text.data, json_string_value(expected));
	free(text.data);
	free(values);
}

static void check_cases(const char *name, const char *path)
{
	json_t *file = open_cases(name);
	const json_t *cases = json_object_get(file, "cases");
	struct tokenizer *tok;
	struct err err;

	REQUIRE_OK(tokenizer_open(&tok, path, &err), &err);
	REQUIRE(json_array_size(cases) > 150, "the golden file is short");
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *c = json_array_get(cases, i);

		if (json_is_string(json_array_get(c, 0)))
			check_encoding(tok, name, i, json_array_get(c, 0), json_array_get(c, 1));
		check_decoding(tok, name, i, json_array_get(c, 1), json_array_get(c, 2));
	}
	tokenizer_close(tok);
	json_decref(file);
}

TEST(ids_and_decoded_texts_equal_those_of_the_tokenizers_library)
{
	for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++)
		if (!tokenizers[t].outside)
			check_cases(tokenizers[t].name, path_from_root(tokenizers[t].path));
}

TEST(ids_of_the_published_llama_3_vocabulary_equal_those_of_the_tokenizers_library)
{
	for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++) {
		if (!tokenizers[t].outside)
			continue;
		if (!file_exists(path_from_root(tokenizers[t].path)))
			SKIP("there is no %s", tokenizers[t].path);
		check_cases(tokenizers[t].name, path_from_root(tokenizers[t].path));
	}
}

TEST(a_tiktoken_file_that_is_not_one_is_refused_by_line)
{
	static const struct {
		const char *file, *message;
	} cases[] = {
		{"x", "t:1: expected a token's bytes in base64, and its rank"},
		{"YQ== 0\nYg== x\n", "t:2: expected a rank below 1048576 after the token"},
		{"YQ== 0\nYg==\n", "t:2: expected a token's bytes in base64, and its rank"},
		{"YQ== 0\nYg== 0\n", "t:2: token id 0 is used twice"},
		{"YQ== 99999999999999999999\n",
			"t:1: expected a rank below 1048576 after the token"},
		{"", "t: expected a tokenizer, found an empty file"},
		{"\n\x0e\n\x05<unk>",
			"t: expected a tokenizer.json or Llama 3's tiktoken file, found what looks "
			"like a "
			"SentencePiece model: the checkpoint's tokenizer.json is needed"},
		{"Y 0\n", "t:1: expected a token's bytes in base64, and its rank"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok;
		struct err err = {0};

		CHECK(tokenizer_parse_tiktoken(&tok, "t", cases[i].file, strlen(cases[i].file),
			      &err) == ERR_INPUT &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(text_that_is_not_utf8_is_refused_with_the_offset)
{
	static const struct {
		const char *text;
		size_t n, bad;
	} cases[] = {{"ab\xff", 3, 2}, {"\xc0\xaf", 2, 0}, {"x\xed\xa0\x80", 4, 1},
		{"\xf4\x90\x80\x80", 4, 0}, {"ok\xe2\x82", 4, 2}};
	struct tokenizer *tok;
	struct token_ids ids = {0};
	struct err err;

	REQUIRE_OK(tokenizer_open(&tok,
			   path_from_root("tests/golden/tokenizers/llama3.tokenizer.json"), &err),
		&err);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char expected[64];

		snprintf(expected, sizeof expected, "text is not UTF-8 at byte %zu", cases[i].bad);
		CHECK(tokenizer_encode(tok, cases[i].text, cases[i].n, &ids, &err) == ERR_INPUT &&
				strcmp(err.text, expected) == 0,
			"case %zu: %s", i, err.text);
	}
	CHECK(ids.n == 0, "%zu ids came out", ids.n);
	free(ids.data);
	tokenizer_close(tok);
}

TEST(a_tokenizer_file_that_asks_for_the_unknown_is_refused_by_name)
{
	static const struct {
		const char *file, *message;
	} cases[] = {
		{"{", "t.json:1:1: not valid JSON: string or '}' expected near end of file"},
		{"{}", "t.json: expected a tokenizer with a \"model\", found nothing"},
		{"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}",
			"t.json: model: type \"WordPiece\" is not supported"},
		{"{\"model\":{\"vocab\":{}}}",
			"t.json: model.merges: expected an array, found nothing"},
		{"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
			"t.json: merge 0: \"b\" is not in the vocabulary"},
		{"{\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\",\"b\"]]}}",
			"t.json: merge 0: \"ab\" is not in the vocabulary"},
		{"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}",
			"t.json: token \"b\": token id 0 is used twice"},
		{"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}",
			"t.json: token \"a\": expected an id from 0 to 65540"},
		{"{\"normalizer\":{\"type\":\"Lowercase\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: normalizer: type \"Lowercase\" is not supported"},
		{"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
		 "\"behavior\":"
		 "\"Isolated\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: pre_tokenizer: pattern (: missing closing parenthesis"},
		{"{\"decoder\":{\"type\":\"WordPiece\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: decoder: type or place of \"WordPiece\" is not supported"},
		{"{\"added_tokens\":[{\"id\":0}],\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: added token 0: expected a content and an id from 0 to 65540"},
		{"{\"added_tokens\":{},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: added_tokens: expected an array, found an object"},
		{"{\"added_tokens\":[{\"id\":7,\"content\":\"<x>\"}],\"model\":{\"vocab\":{\"a\":0}"
		 ",\"merges\":[]}}",
			"t.json: token \"<x>\": expected the id 1, the next free one, which the "
			"tokenizers library gives it, found 7"},
		{"{\"added_tokens\":[{\"id\":0,\"content\":\"<x>\"}],\"model\":{\"vocab\":{\"a\":0}"
		 ","
		 "\"merges\":[]}}",
			"t.json: token \"<x>\": its id belongs to another token of the vocabulary"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok;
		struct err err = {0};

		CHECK(tokenizer_parse(&tok, "t.json", cases[i].file, strlen(cases[i].file), &err) ==
					ERR_INPUT &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(decoding_token_by_token_holds_back_what_a_later_token_can_change)
{
	static const struct {
		const char *name, *text; /* no token of it is more than a byte or a space */
		const char *out[8];      /* after each push, then at the end; NULL-terminated */
	} cases[] = {
		/* Byte-level: a character comes out with its last byte. */
		{"llama3", "\xf0\x9d\x95\x8f", {"", "", "", "\xf0\x9d\x95\x8f", ""}},
		/* Byte tokens: a run comes out when it is over, for one bad byte would spoil it. */
		{"mistral", "\xf0\x9d\x95\x8f", {"", "", "", "", "", "\xf0\x9d\x95\x8f"}},
		{"gemma", "\xf0\x9d\x95\x8f ", {"", "", "", "", "\xf0\x9d\x95\x8f ", ""}},
	};

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct tokenizer *tok;
		struct token_stream stream;
		struct token_ids ids = {0};
		struct err err;
		char path[128];
		size_t n = 0;

		snprintf(path, sizeof path, "tests/golden/tokenizers/%s.tokenizer.json",
			cases[c].name);
		REQUIRE_OK(tokenizer_open(&tok, path_from_root(path), &err), &err);
		REQUIRE_OK(tokenizer_encode(tok, cases[c].text, strlen(cases[c].text), &ids, &err),
			&err);
		while (cases[c].out[n])
			n++;
		CHECK(ids.n + 1 == n, "%s: %zu tokens", cases[c].name, ids.n);
		token_stream_init(&stream, tok, false);
		for (size_t i = 0; i <= ids.n && i < n; i++) {
			struct text text = {0};

			REQUIRE_OK(i < ids.n ? token_stream_push(&stream, ids.data[i], &text, &err)
					     : token_stream_end(&stream, &text, &err),
				&err);
			CHECK(text.n == strlen(cases[c].out[i]) &&
					(text.n == 0 ||
						memcmp(text.data, cases[c].out[i], text.n) == 0),
				"%s: step %zu: \"%.*s\"", cases[c].name, i, (int)text.n, text.data);
			free(text.data);
		}
		free(ids.data);
		tokenizer_close(tok);
	}
}

TEST(decoding_token_by_token_gives_the_text_of_the_whole_in_well_formed_parts)
{
	for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++) {
		struct tokenizer *tok;
		struct test_random random = {t + 1};
		struct err err;

		if (tokenizers[t].outside)
			continue;
		REQUIRE_OK(tokenizer_open(&tok, path_from_root(tokenizers[t].path), &err), &err);
		for (int round = 0; round < 300; round++) {
			struct text whole = {0}, parts = {0};
			struct token_stream stream;
			int32_t ids[40];

			token_stream_init(&stream, tok, round % 2);
			for (int i = 0; i < 40; i++) {
				/* Half of them low ids, where the byte tokens are. */
				const double u = (test_random_uniform(&random) + 1) / 2;
				const size_t before = parts.n;

				ids[i] = (int32_t)(u *
						   (i % 4 < 2 ? 270 : (double)tokenizer_size(tok)));
				REQUIRE_OK(token_stream_push(&stream, ids[i], &parts, &err), &err);
				CHECK(parts.n == before || utf8_valid(parts.data + before,
								   parts.n - before, NULL),
					"%s: half a character at token %d", tokenizers[t].name, i);
			}
			REQUIRE_OK(token_stream_end(&stream, &parts, &err), &err);
			REQUIRE_OK(tokenizer_decode(tok, ids, 40, round % 2, &whole, &err), &err);
			CHECK(whole.n == parts.n && memcmp(whole.data, parts.data, whole.n) == 0,
				"%s: round %d: \"%.*s\"", tokenizers[t].name, round, (int)parts.n,
				parts.data);
			free(whole.data);
			free(parts.data);
		}
		tokenizer_close(tok);
	}
}

TEST(a_pattern_that_other_engines_read_differently_is_refused)
{
	static const struct {
		const char *pattern, *message;
	} cases[] = {
		{"\\\\w+", "t.json: pre_tokenizer: pattern \\w+: \\w is not supported"},
		{"[^\\\\S]",
			"t.json: pre_tokenizer: pattern [^\\S]: \\S inside [...] is not supported"},
		{"[a[b]]",
			"t.json: pre_tokenizer: pattern [a[b]]: [ inside [...] is not supported"},
		{"^a", "t.json: pre_tokenizer: pattern ^a: ^a is not supported"},
		{"\\\\p{Han}",
			"t.json: pre_tokenizer: pattern \\p{Han}: \\p{Han} is not supported"},
		{"a(?R)", "t.json: pre_tokenizer: pattern a(?R): (?R is not supported"},
		{"(*UTF)", "t.json: pre_tokenizer: pattern (*UTF): (*U is not supported"},
		{"[a-z&&[b]]", "t.json: pre_tokenizer: pattern [a-z&&[b]]: & inside [...] is not "
			       "supported"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok;
		struct err err = {0};
		char file[512];

		snprintf(file, sizeof file,
			"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},"
			"\"behavior\":\"Isolated\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			cases[i].pattern);
		CHECK(tokenizer_parse(&tok, "t.json", file, strlen(file), &err) == ERR_INPUT &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(mended_text_has_one_replacement_for_each_ill_formed_part)
{
	struct text out = {0};
	struct err err;
	const char expected[] = "a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xef\xbf\xbdz";

	REQUIRE_OK(utf8_append_mended(&out, "a\xff\xe2\x82\xc3\xa9\xf0\x9f\x98z", 10, &err), &err);
	CHECK(out.n == strlen(expected) && memcmp(out.data, expected, out.n) == 0, "%.*s",
		(int)out.n, out.data);
	free(out.data);
}
