/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer.c - ids and texts equal to the tokenizers library's, always. Golden files:
 * tests/golden/tokenizers, made by tests/golden/make_tokenizers.py. And the errors of files that
 * are not what they should be, UTF-8, chat templates.
 */
#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/text/chat_template.h"
#include "host/text/utf8.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"tiny-gemma2", "tiny-llama"};

static int open_tokenizer(struct tokenizer **tok, const char *name, struct err *err)
{
	char path[512];

	snprintf(path, sizeof path, "%s/models/%s/tokenizer.json", test_source_root(), name);
	return tokenizer_open(tok, path, err);
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
			(text.n == 0 || memcmp(text.data, json_string_value(expected), text.n) == 0),
		"%s: case %zu: decoded \"%.*s\", expected \"%s\"", name, number, (int)text.n, text.data,
		json_string_value(expected));
	free(text.data);
	free(values);
}

TEST(ids_and_decoded_texts_equal_those_of_the_tokenizers_library)
{
	for (size_t t = 0; t < sizeof names / sizeof *names; t++) {
		json_t *file = open_cases(names[t]);
		const json_t *cases = json_object_get(file, "cases");
		struct tokenizer *tok;
		struct err err;

		REQUIRE_OK(open_tokenizer(&tok, names[t], &err), &err);
		REQUIRE(json_array_size(cases) > 1000, "the golden file is short");
		for (size_t i = 0; i < json_array_size(cases); i++) {
			const json_t *c = json_array_get(cases, i);

			if (json_is_string(json_array_get(c, 0)))
				check_encoding(tok, names[t], i, json_array_get(c, 0),
					json_array_get(c, 1));
			check_decoding(tok, names[t], i, json_array_get(c, 1), json_array_get(c, 2));
		}
		tokenizer_close(tok);
		json_decref(file);
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

	REQUIRE_OK(open_tokenizer(&tok, "tiny-llama", &err), &err);
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
			"t.json: token \"a\": expected an id from 0 to 16777216"},
		{"{\"normalizer\":{\"type\":\"Lowercase\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: normalizer: type \"Lowercase\" is not supported"},
		{"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
		 "\"Isolated\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: pre_tokenizer: pattern (: missing closing parenthesis"},
		{"{\"decoder\":{\"type\":\"WordPiece\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: decoder: type \"WordPiece\" is not supported"},
		{"{\"added_tokens\":[{\"id\":0}],\"model\":{\"vocab\":{},\"merges\":[]}}",
			"t.json: added token 0: expected a content and an id from 0 to 16777216"},
		{"{\"added_tokens\":[{\"id\":0,\"content\":\"<x>\"}],\"model\":{\"vocab\":{\"a\":0},"
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

TEST(a_chat_template_wraps_the_trimmed_message_in_the_published_strings)
{
	struct tokenizer *tok;
	struct token_ids ids = {0};
	struct text text = {0};
	struct err err;
	const char expected[] = "<bos><start_of_turn>user\nHow are you?<end_of_turn>\n"
				"<start_of_turn>model\n";

	REQUIRE_OK(open_tokenizer(&tok, "tiny-gemma2", &err), &err);
	REQUIRE(chat_template_for("gemma2", false, tok) == chat_template_find("gemma2"),
		"the model type does not choose its template");
	REQUIRE_OK(chat_template_encode(chat_template_find("gemma2"), tok, " \n How are you?\u3000\n",
			   &ids, &err),
		&err);
	REQUIRE_OK(tokenizer_decode(tok, ids.data, ids.n, true, &text, &err), &err);
	CHECK(text.n == strlen(expected) && memcmp(text.data, expected, text.n) == 0, "found %.*s",
		(int)text.n, text.data);
	free(text.data);
	free(ids.data);
	tokenizer_close(tok);
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
