/* SPDX-License-Identifier: MIT
 *
 * test_chat_template.c - each family's rendering of one turn, which family a model gets, and the
 * BOS tokens that prompts begin with. The strings are what the published templates render.
 */
#include "host/base/file.h"
#include "host/text/chat_template.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tokenizer of single characters and the given special tokens (ids from 0, which the vocabulary
 * gives them), of which the first is put before every text if `bos`. */
static struct tokenizer *make_tokenizer(const char *const *special, bool bos)
{
	struct tokenizer *tok;
	struct err err;
	char file[4096];
	size_t n = (size_t)snprintf(file, sizeof file, "{\"added_tokens\":[");

	for (int i = 0; special[i]; i++)
		n += (size_t)snprintf(file + n, sizeof file - n,
			"%s{\"id\":%d,\"content\":\"%s\",\"special\":true,\"normalized\":false}",
			i ? "," : "", i, special[i]);
	n += (size_t)snprintf(file + n, sizeof file - n, "],\"post_processor\":");
	if (bos)
		n += (size_t)snprintf(file + n, sizeof file - n,
			"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"%"
			"s\"}},"
			"{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"%s\":{\"ids\":[0]}}}",
			special[0], special[0]);
	else
		n += (size_t)snprintf(file + n, sizeof file - n, "null");
	n += (size_t)snprintf(file + n, sizeof file - n,
		",\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
		"\"use_regex\":false},\"model\":{\"vocab\":{\"x\":100,\"y\":101,\"\u010a\":102");
	for (int i = 0; special[i]; i++)
		n += (size_t)snprintf(file + n, sizeof file - n, ",\"%s\":%d", special[i], i);
	n += (size_t)snprintf(file + n, sizeof file - n, "},\"merges\":[]}}");
	if (tokenizer_parse(&tok, "test", file, n, &err)) {
		test_fail(__FILE__, __LINE__, "%s", err.text);
		exit(1);
	}
	return tok;
}

static struct chat_options options_of(const char *name, const char *system, const char *bos)
{
	return (struct chat_options){.name = name,
		.system = system,
		.prefill = "",
		.date = "",
		.bos = bos};
}

#define one_turn(message) ((struct chat_request){.text = (message)})

static const char *const GEMMA[] = {"<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", NULL};
static const char *const LLAMA3[] = {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
	"<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", NULL};
static const char *const LLAMA2[] = {"<s>", "</s>", NULL};
static const char *const MISTRAL_V3[] = {"<s>", "</s>", "[INST]", "[/INST]", NULL};
static const char *const QWEN2[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", NULL};
static const char *const QWEN25[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>",
	NULL};

#define LLAMA31_SYSTEM \
	"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" \
	"Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
#define LLAMA3_TURN \
	"<|start_header_id|>user<|end_header_id|>\n\nx y<|eot_id|>" \
	"<|start_header_id|>assistant<|end_header_id|>\n\n"

TEST(each_family_renders_a_turn_as_its_published_template_does)
{
	static const struct {
		const char *const *special;
		const char *name, *system, *rendered; /* of " x y\n" */
	} cases[] = {
		{GEMMA, "gemma2", "",
			"<bos><start_of_turn>user\nx y<end_of_turn>\n<start_of_turn>model\n"},
		{GEMMA, "gemma3", "",
			"<bos><start_of_turn>user\nx y<end_of_turn>\n<start_of_turn>model\n"},
		{GEMMA, "gemma3", "Be brief. ",
			"<bos><start_of_turn>user\nBe brief. \n\nx y<end_of_turn>\n"
			"<start_of_turn>model\n"},
		{LLAMA3, "llama3", "", "<|begin_of_text|>" LLAMA3_TURN},
		{LLAMA3, "llama3", "Be brief. ",
			"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
			"Be brief.<|eot_id|>" LLAMA3_TURN},
		{LLAMA3, "llama3.1", "", LLAMA31_SYSTEM "<|eot_id|>" LLAMA3_TURN},
		{LLAMA3, "llama3.2", "", LLAMA31_SYSTEM "<|eot_id|>" LLAMA3_TURN},
		{LLAMA3, "llama3.1", " Be brief. ",
			LLAMA31_SYSTEM "Be brief.<|eot_id|>" LLAMA3_TURN},
		{LLAMA2, "llama2", "", "<s>[INST] x y [/INST]"},
		{LLAMA2, "llama2", "Be brief. ",
			"<s>[INST] <<SYS>>\nBe brief. \n<</SYS>>\n\n x y [/INST]"},
		{LLAMA2, "mistral", "", "<s>[INST]  x y\n [/INST]"},
		{QWEN2, "qwen2", "",
			"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
			"<|im_start|>user\n x y\n<|im_end|>\n<|im_start|>assistant\n"},
		{QWEN25, "qwen2.5", "",
			"<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a "
			"helpful "
			"assistant.<|im_end|>\n<|im_start|>user\n x y\n<|im_end|>\n"
			"<|im_start|>assistant\n"},
		{QWEN25, "qwen2.5", "Be brief.",
			"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n x "
			"y\n<|im_end|>\n"
			"<|im_start|>assistant\n"},
		{QWEN25, "qwen3", "",
			"<|im_start|>user\n x y\n<|im_end|>\n<|im_start|>assistant\n"
			"<think>\n\n</think>\n\n"},
		{QWEN2, "plain", "", " x y\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok = make_tokenizer(cases[i].special, false);
		const struct chat_options o = options_of(cases[i].name, cases[i].system, "auto");
		struct chat_template *t;
		struct text text = {0};
		struct err err;

		REQUIRE_OK(chat_template_open(&t, &o, "any", false, tok, &err), &err);
		REQUIRE_OK(chat_template_render(t, &one_turn(" x y\n"), &text, &err), &err);
		CHECK(text.n == strlen(cases[i].rendered) &&
				memcmp(text.data, cases[i].rendered, text.n) == 0,
			"%s \"%s\": %.*s", cases[i].name, cases[i].system, (int)text.n, text.data);
		free(text.data);
		chat_template_close(t);
		tokenizer_close(tok);
	}
}

TEST(white_space_is_stripped_as_python_strips_it)
{
	struct tokenizer *tok = make_tokenizer(GEMMA, true);
	const struct chat_options o = options_of("gemma2", "", "auto");
	struct chat_template *t;
	struct text text = {0};
	struct err err;
	const char expected[] = "<bos><start_of_turn>user\nx\x1cy<end_of_turn>\n"
				"<start_of_turn>model\n";

	REQUIRE_OK(chat_template_open(&t, &o, "any", false, tok, &err), &err);
	REQUIRE_OK(chat_template_render(t, &one_turn(" \n\x1c\u3000\xc2\x85x\x1cy\u2028\x1f\t\v"),
			   &text, &err),
		&err);
	CHECK(text.n == strlen(expected) && memcmp(text.data, expected, text.n) == 0, "%.*s",
		(int)text.n, text.data);
	free(text.data);
	chat_template_close(t);
	tokenizer_close(tok);
}

TEST(model_type_and_vocabulary_choose_the_template_and_what_ends_a_reply)
{
	static const struct {
		const char *model_type;
		bool llama3_rope;
		const char *const *special;
		const char *name;
		const char *stop[4], *eos;
	} cases[] = {
		{"gemma2", false, GEMMA, "gemma2", {"<end_of_turn>", "<eos>"}, "<eos>"},
		{"gemma3_text", false, GEMMA, "gemma3", {"<end_of_turn>", "<eos>"}, "<eos>"},
		{"llama", true, LLAMA3, NULL, {NULL}, NULL},
		{"llama", false, LLAMA2, NULL, {NULL}, NULL},
		{"mistral", false, LLAMA2, "mistral", {"</s>"}, "</s>"},
		{"mistral", false, MISTRAL_V3, NULL, {NULL}, NULL},
		{"qwen2", false, QWEN2, "qwen2", {"<|im_end|>", "<|endoftext|>"}, "<|im_end|>"},
		{"qwen2", false, QWEN25, "qwen2.5", {"<|im_end|>", "<|endoftext|>"}, "<|im_end|>"},
		{"qwen3", false, QWEN25, "qwen3", {"<|im_end|>", "<|endoftext|>"}, "<|im_end|>"},
		{"gemma2", false, LLAMA2, NULL, {NULL}, NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok = make_tokenizer(cases[i].special, false);
		const struct chat_options o = options_of("auto", "", "auto");
		struct chat_template *t;
		struct err err;
		const int rc = chat_template_open(&t, &o, cases[i].model_type, cases[i].llama3_rope,
			tok, &err);
		size_t n = 0;

		if (!cases[i].name) {
			CHECK(rc == ERR_CONFIG &&
					strstr(err.text,
						"model.template: the checkpoint declares no chat template"),
				"case %zu: %d %s", i, rc, err.text);
			tokenizer_close(tok);
			continue;
		}
		REQUIRE_OK(rc, &err);
		CHECK(strcmp(t->name, cases[i].name) == 0, "case %zu: %s", i, t->name);
		for (; cases[i].stop[n]; n++)
			CHECK(n < t->n_stop && t->stop[n] == tokenizer_id(tok, cases[i].stop[n]),
				"case %zu: stop token %zu", i, n);
		CHECK(n == t->n_stop && t->eos == tokenizer_id(tok, cases[i].eos),
			"case %zu: %zu stop tokens, eos %d", i, t->n_stop, t->eos);
		chat_template_close(t);
		tokenizer_close(tok);
	}
}

TEST(a_prompt_begins_with_one_bos_token_unless_two_are_asked_for)
{
	static const struct {
		const char *name, *prefix, *suffix, *bos;
		bool tokenizer_adds;
		int32_t ids[4];      /* of the prompt of "x"; -1 behind the last */
		const char *message; /* of the error */
	} cases[] = {
		{"plain", NULL, NULL, "auto", true, {0, 100, -1}, NULL},
		{"plain", NULL, NULL, "auto", false, {100, -1}, NULL},
		{"plain", NULL, NULL, "none", true, {100, -1}, NULL},
		{"auto", "<s>", "y", "auto", true, {0, 100, 101, -1}, NULL},
		{"auto", "y", "", "auto", true, {0, 101, 100, -1}, NULL},
		{"auto", "y", "", "none", true, {101, 100, -1}, NULL},
		{"auto", "<s>", "", "double", true, {0, 0, 100, -1}, NULL},
		{"auto", "<s><s>", "", "double", true, {0, 0, 100, -1}, NULL},
		{"auto", "<s>", "", "double", false, {0, 0, 100, -1}, NULL},
		{"auto", "<s>", "", "released", true, {0, 100, -1}, NULL},
		{"plain", NULL, NULL, "released", true, {0, 100, -1}, NULL},
		{"auto", "<s><s>", "", "auto", true, {0},
			"model.prefix: expected one <s> token, found 2; model.bos = \"double\" "
			"allows two"},
		{"auto", "<s>y<s>", "", "none", false, {0},
			"model.prefix: expected one <s> token, found 2; model.bos = \"double\" "
			"allows two"},
		{"auto", "y", "", "double", true, {0},
			"model.bos: expected a template with a BOS token to double, found none in "
			"custom"},
		{"auto", "y", NULL, "auto", true, {0},
			"model.prefix, model.suffix: expected both or none, found only "
			"model.prefix"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok = make_tokenizer(LLAMA2, cases[i].tokenizer_adds);
		struct chat_options o = options_of(cases[i].name, "", cases[i].bos);
		struct chat_template *t;
		struct token_ids ids = {0};
		struct err err;
		size_t n = 0;
		int rc;

		o.prefix = cases[i].prefix;
		o.suffix = cases[i].suffix;
		rc = chat_template_open(&t, &o, "llama", false, tok, &err);

		if (cases[i].message) {
			CHECK(rc == ERR_CONFIG && strcmp(err.text, cases[i].message) == 0,
				"case %zu: %d %s", i, rc, err.text);
			tokenizer_close(tok);
			continue;
		}
		REQUIRE_OK(rc, &err);
		REQUIRE_OK(chat_template_encode(t, tok, &one_turn("x"), &ids, &err), &err);
		while (cases[i].ids[n] >= 0)
			n++;
		CHECK(ids.n == n && memcmp(ids.data, cases[i].ids, n * sizeof *ids.data) == 0,
			"case %zu: %zu ids", i, ids.n);
		free(ids.data);
		chat_template_close(t);
		tokenizer_close(tok);
	}
}

TEST(a_system_text_without_a_place_and_a_template_without_its_tokens_are_refused)
{
	static const struct {
		const char *const *special;
		const char *name, *wrap,
			*system; /* wrap: prefix and suffix; NULL = the template's */
		const char *message;
	} cases[] = {
		{GEMMA, "gemma2", NULL, "Be brief.",
			"model.system: expected none, the template gemma2 has no place for it"},
		{LLAMA2, "auto", "", "Be brief.",
			"model.system: expected none beside model.prefix, which can hold it"},
		{LLAMA2, "gemma2", NULL, "",
			"model.template: expected a tokenizer with the token <start_of_turn> for "
			"the "
			"template gemma2"},
		{GEMMA, "gemma9", NULL, "",
			"model.template: expected auto, a file that ends in .jinja, a template that "
			"the checkpoint declares (by names, none), or one of gemma2, gemma3, llama3, llama3.1, "
			"llama3.2, llama2, mistral, qwen2, qwen2.5, qwen3, plain; found "
			"\"gemma9\""},
		{LLAMA3, "auto", NULL, "",
			"model.template: the checkpoint declares no chat template (no "
			"chat_template.jinja, no chat_template in tokenizer_config.json), and a "
			"llama model may be wrapped in many ways: expected one of gemma2, gemma3, "
			"llama3, llama3.1, llama3.2, llama2, mistral, qwen2, qwen2.5, qwen3, "
			"plain, a file that ends in .jinja, or model.prefix and model.suffix"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tokenizer *tok = make_tokenizer(cases[i].special, false);
		struct chat_options o = options_of(cases[i].name, cases[i].system, "auto");
		struct chat_template *t;
		struct err err;

		o.prefix = o.suffix = cases[i].wrap;
		CHECK(chat_template_open(&t, &o, "llama", false, tok, &err) == ERR_CONFIG &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: %s", i, err.text);
		tokenizer_close(tok);
	}
}

/* Llama 3's own vocabulary, which is not part of the project. */
TEST(the_released_prefix_of_llama_31_is_the_papers_26_tokens_and_27_with_two_bos)
{
	static const int32_t published[] = {128000, 128006, 9125, 128007, 271, 38766, 1303, 33025,
		2696, 25, 6790, 220, 2366, 18, 198, 15724, 2696, 25, 220, 1627, 10263, 220, 2366,
		19, 271, 128009};
	const size_t n = sizeof published / sizeof *published;
	struct tokenizer *tok;
	struct err err;
	char path[512];

	snprintf(path, sizeof path, "%s/../shared/data/tokenizers/llama3.tiktoken",
		test_source_root());
	if (!file_exists(path))
		SKIP("there is no %s", path);
	REQUIRE_OK(tokenizer_open(&tok, path, &err), &err);
	for (size_t extra = 0; extra < 2; extra++) {
		const struct chat_options o = options_of("llama3.1", "", extra ? "double" : "auto");
		struct chat_template *t;
		struct token_ids ids = {0};

		REQUIRE_OK(chat_template_open(&t, &o, "llama", true, tok, &err), &err);
		REQUIRE_OK(chat_template_encode_start(t, tok, t->released_prefix, &ids, &err),
			&err);
		CHECK(ids.n == n + extra && ids.data[0] == published[0] &&
				memcmp(ids.data + extra, published, sizeof published) == 0,
			"%zu tokens", ids.n);
		free(ids.data);
		chat_template_close(t);
	}
	tokenizer_close(tok);
}
