/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer_side.c - tokens that the files beside a tokenizer.json declare: ids, texts and
 * names equal to those of transformers' AutoTokenizer (tests/golden/tokenizers/side_files.json,
 * made by tests/golden/make_side_files.py), and what is refused.
 */
#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/text/tokenizer.h"
#include "tests/scratch_model.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err err;

/* ---- folders --------------------------------------------------------------------------- */

static const char *const side_names[] = {"tokenizer_config.json", "special_tokens_map.json",
	"added_tokens.json", "config.json"};
enum { N_SIDE = sizeof side_names / sizeof *side_names };

static void write_base(const char *family)
{
	char path[512], *text;

	snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s.tokenizer.json",
		test_source_root(), family);
	REQUIRE_OK(file_read_text(path, &text, &err), &err);
	write_model_file("tokenizer.json", text);
	free(text);
}

static void write_folder(const json_t *c)
{
	const json_t *files = json_object_get(c, "files");

	write_base(json_string_value(json_object_get(c, "base")));
	for (size_t i = 0; i < N_SIDE; i++) {
		const json_t *file = json_object_get(files, side_names[i]);
		char *text = file ? json_dumps(file, 0) : NULL;

		write_model_file(side_names[i], text);
		free(text);
	}
}

/* ---- against AutoTokenizer --------------------------------------------------------------- */

static void check_text(const struct tokenizer *tok, size_t number, const json_t *expected)
{
	const json_t *text = json_array_get(expected, 0), *ids = json_array_get(expected, 1);
	const json_t *decoded = json_array_get(expected, 2);
	struct token_ids found = {0};
	struct text back = {0};
	bool same;

	REQUIRE_OK(tokenizer_encode(tok, json_string_value(text), json_string_length(text), &found,
			   &err),
		&err);
	same = found.n == json_array_size(ids);
	for (size_t i = 0; same && i < found.n; i++)
		same = found.data[i] == json_integer_value(json_array_get(ids, i));
	CHECK(same, "case %zu: ids of \"%s\" differ", number, json_string_value(text));
	REQUIRE_OK(tokenizer_decode(tok, found.data, found.n, false, &back, &err), &err);
	CHECK(!same || (back.n == json_string_length(decoded) &&
			       (back.n == 0 ||
				       memcmp(back.data, json_string_value(decoded), back.n) == 0)),
		"case %zu: \"%s\" decodes to \"%.*s\"", number, json_string_value(text),
		(int)back.n, back.data);
	free(found.data);
	free(back.data);
}

static void check_names(const struct tokenizer *tok, size_t number, const json_t *named)
{
	const char *name;
	json_t *token;
	size_t i = 0;

	CHECK(tokenizer_n_special(tok) == json_object_size(named), "case %zu: %zu names", number,
		tokenizer_n_special(tok));
	json_object_foreach((json_t *)named, name, token)
	{
		const char *found = tokenizer_special(tok, name);

		CHECK(found && strcmp(found, json_string_value(token)) == 0,
			"case %zu: %s is %s, expected %s", number, name, found ? found : "none",
			json_string_value(token));
		CHECK(i < tokenizer_n_special(tok) &&
				strcmp(tokenizer_special_name(tok, i), name) == 0,
			"case %zu: name %zu is not %s", number, i, name);
		i++;
	}
}

TEST(tokens_of_the_files_beside_tokenizer_json_are_those_of_auto_tokenizer)
{
	char path[512];
	json_t *file = NULL;
	const json_t *cases;
	size_t n_refused = 0;

	snprintf(path, sizeof path, "%s/tests/golden/tokenizers/side_files.json",
		test_source_root());
	REQUIRE_OK(json_read(&file, path, &err), &err);
	cases = json_object_get(file, "cases");
	REQUIRE(json_array_size(cases) >= 40, "the golden file is short");
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *c = json_array_get(cases, i), *texts = json_object_get(c, "texts");
		struct tokenizer *tok;

		write_folder(c);
		if (json_is_null(texts)) {
			CHECK(tokenizer_open_folder(&tok, scratch_model(), &err) == ERR_INPUT &&
					strstr(err.text, "declared with id"),
				"case %zu: %s", i, err.text);
			n_refused++;
			continue;
		}
		REQUIRE_OK(tokenizer_open_folder(&tok, scratch_model(), &err), &err);
		for (size_t k = 0; k < json_array_size(texts); k++)
			check_text(tok, i, json_array_get(texts, k));
		check_names(tok, i, json_object_get(c, "named"));
		tokenizer_close(tok);
	}
	CHECK(n_refused > 0, "no case is refused");
	json_decref(file);
}

/* ---- by hand --------------------------------------------------------------------------- */

/* Opens the llama3 tokenizer (ids 0 to 906) with these files beside it, in the order of side_names.
 */
static int open_with(struct tokenizer **tok, const char *const *texts)
{
	write_base("llama3");
	for (size_t i = 0; i < N_SIDE; i++)
		write_model_file(side_names[i], texts[i]);
	return tokenizer_open_folder(tok, scratch_model(), &err);
}

TEST(files_that_were_read_are_listed)
{
	static const char *const expected[] = {"tokenizer.json", "tokenizer_config.json",
		"added_tokens.json", "config.json"};
	const char *const texts[N_SIDE] = {"{}", NULL, "{}", "{}"};
	struct tokenizer *tok;

	REQUIRE_OK(open_with(&tok, texts), &err);
	CHECK(tokenizer_n_files(tok) == 4, "%zu files", tokenizer_n_files(tok));
	for (size_t i = 0; i < 4 && i < tokenizer_n_files(tok); i++) {
		const char *path = tokenizer_file(tok, i), *name = strrchr(path, '/');

		CHECK(name && strcmp(name + 1, expected[i]) == 0, "file %zu is %s", i, path);
	}
	tokenizer_close(tok);
}

TEST(names_that_the_files_leave_out_are_those_of_transformers_classes)
{
	static const struct {
		const char *config, *model, *bos, *eos, *pad;
	} cases[] = {
		{"{}", "{\"model_type\": \"qwen3\"}", NULL, "<|endoftext|>", "<|endoftext|>"},
		{"{\"eos_token\": null, \"pad_token\": \"<p>\"}", "{\"model_type\": \"qwen3\"}",
			NULL, NULL, "<p>"},
		{"{}", "{\"model_type\": \"gemma2\"}", "<bos>", "<eos>", "<pad>"},
		{"{\"tokenizer_class\": \"GPT2TokenizerFast\"}", "{\"model_type\": \"llama\"}",
			"<|endoftext|>", "<|endoftext|>", NULL},
		/* Over bytes, a LlamaTokenizer is taken as tokenizer.json says. */
		{"{\"tokenizer_class\": \"LlamaTokenizerFast\"}", "{\"model_type\": \"llama\"}",
			NULL, NULL, NULL},
		{"{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
			"{\"model_type\": \"qwen2\"}", NULL, "<|endoftext|>", "<|endoftext|>"},
		{"{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
			"{\"model_type\": \"qwen3\"}", NULL, NULL, NULL},
		{"{}", "{\"model_type\": \"llama\"}", NULL, NULL, NULL},
	};
	static const char *const names[] = {"bos_token", "eos_token", "pad_token"};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const texts[N_SIDE] = {cases[i].config, NULL, NULL, cases[i].model};
		const char *const expected[] = {cases[i].bos, cases[i].eos, cases[i].pad};
		struct tokenizer *tok;

		REQUIRE_OK(open_with(&tok, texts), &err);
		for (size_t k = 0; k < 3; k++) {
			const char *found = tokenizer_special(tok, names[k]);

			CHECK((!found && !expected[k]) ||
					(found && expected[k] && strcmp(found, expected[k]) == 0),
				"case %zu: %s is %s", i, names[k], found ? found : "none");
		}
		tokenizer_close(tok);
	}
}

TEST(where_the_files_differ_on_bos_both_sides_are_named)
{
	static const struct {
		const char *config;
		const char *doubt; /* NULL = none; llama3's post-processor puts <|begin_of_text|> */
	} cases[] = {
		{"{\"add_bos_token\": true, \"bos_token\": \"<|begin_of_text|>\"}", NULL},
		{"{\"add_bos_token\": false, \"bos_token\": \"<|begin_of_text|>\"}",
			"the post-processor of tokenizer.json puts <|begin_of_text|> before a text, "
			"tokenizer_config.json (add_bos_token false, bos_token <|begin_of_text|>) none"},
		{"{\"tokenizer_class\": \"LlamaTokenizer\", \"bos_token\": \"<|eot_id|>\"}",
			"the post-processor of tokenizer.json puts <|begin_of_text|> before a text, "
			"tokenizer_config.json (add_bos_token true, its class's default, bos_token "
			"<|eot_id|>) <|eot_id|>"},
		{"{\"bos_token\": \"<|eot_id|>\"}", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const texts[N_SIDE] = {cases[i].config, NULL, NULL, NULL};
		struct tokenizer *tok;
		const char *doubt;

		REQUIRE_OK(open_with(&tok, texts), &err);
		doubt = tokenizer_bos_doubt(tok);
		CHECK((!doubt && !cases[i].doubt) ||
				(doubt && cases[i].doubt && strcmp(doubt, cases[i].doubt) == 0),
			"case %zu: %s", i, doubt ? doubt : "no doubt");
		tokenizer_close(tok);
	}
}

TEST(a_class_that_builds_another_pipeline_in_transformers_5_is_told_of)
{
	static const struct {
		const char *base, *config, *model;
		bool told;
	} cases[] = {
		{"qwen", "{}", "{\"model_type\": \"qwen3\"}", false},
		{"llama3", "{}", "{\"model_type\": \"qwen3\"}", true},
		{"gemma", "{}", "{\"model_type\": \"gemma2\"}", false},
		{"llama2", "{}", "{\"model_type\": \"gemma2\"}", true},
		{"llama2", "{\"tokenizer_class\": \"LlamaTokenizerFast\"}",
			"{\"model_type\": \"llama\"}", true},
		{"mistral", "{\"tokenizer_class\": \"LlamaTokenizerFast\"}",
			"{\"model_type\": \"llama\"}", false},
		{"smollm", "{\"tokenizer_class\": \"GPT2Tokenizer\"}",
			"{\"model_type\": \"llama\"}", true},
		{"smollm", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}",
			"{\"model_type\": \"llama\"}", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok;

		write_base(cases[i].base);
		write_model_file(side_names[0], cases[i].config);
		write_model_file(side_names[1], NULL);
		write_model_file(side_names[2], NULL);
		write_model_file(side_names[3], cases[i].model);
		REQUIRE_OK(tokenizer_open_folder(&tok, scratch_model(), &err), &err);
		CHECK(tokenizer_n_notes(tok) == cases[i].told, "case %zu: %zu notes", i,
			tokenizer_n_notes(tok));
		tokenizer_close(tok);
	}
}

TEST(declarations_that_cannot_be_are_refused_by_file_and_key)
{
	static const struct {
		const char *texts[N_SIDE];
		const char *message; /* behind the folder */
	} cases[] = {
		{{"[]"}, "tokenizer_config.json: expected an object, found an array"},
		{{"{\"bos_token\": 3}"},
			"tokenizer_config.json: bos_token: expected a token, a string or an object with "
			"a \"content\", found an integer"},
		{{"{\"extra_special_tokens\": \"<x>\"}"},
			"tokenizer_config.json: extra_special_tokens: expected a list of tokens, found a "
			"string"},
		{{"{\"added_tokens_decoder\": []}"},
			"tokenizer_config.json: added_tokens_decoder: expected an object, found an array"},
		{{"{\"added_tokens_decoder\": {\"x\": {\"content\": \"<x>\"}}}"},
			"tokenizer_config.json: added_tokens_decoder: expected ids from 0 to 2147483647, "
			"found x"},
		{{"{\"added_tokens_decoder\": {\"5000\": {\"content\": \"<x>\"}}}"},
			"tokenizer_config.json: token \"<x>\": declared with id 5000, where it gets 907: "
			"that of tokenizer.json, else the next free one"},
		{{"{\"added_tokens_decoder\": {\"3\": {\"content\": \"<|eot_id|>\"}}}"},
			"tokenizer_config.json: token \"<|eot_id|>\": declared with id 3, where it gets 4: "
			"that of tokenizer.json, else the next free one"},
		{{"{\"added_tokens_decoder\": {\"907\": {\"content\": \"<x>\", \"rstrip\": 1}}}"},
			"tokenizer_config.json: rstrip: expected true or false, found an integer"},
		{{NULL, NULL, "{\"<x>\": -1}"},
			"added_tokens.json: expected ids from 0 to 2147483647, found an integer"},
		{{NULL, NULL, "{\"<x>\": 950}"},
			"added_tokens.json: token \"<x>\": declared with id 950, where it gets 907: that "
			"of tokenizer.json, else the next free one"},
		{{"{\"split_special_tokens\": true}"},
			"tokenizer_config.json: split_special_tokens: expected false, found true"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok;
		char message[1024];

		snprintf(message, sizeof message, "%s: %s", scratch_model(), cases[i].message);
		CHECK(open_with(&tok, cases[i].texts) == ERR_INPUT &&
				strcmp(err.text, message) == 0,
			"case %zu: %s", i, err.text);
	}
}
