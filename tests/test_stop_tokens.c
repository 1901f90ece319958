/* SPDX-License-Identifier: MIT
 *
 * test_stop_tokens.c - what ends a reply: what the checkpoint's files declare, by transformers'
 * precedence, and what generate.stop asks for. Each folder was also given to generate of
 * transformers 5.24, which stops at the same tokens wherever one is declared.
 */
#include "host/lab/stop_tokens.h"

#include "host/base/file.h"
#include "tests/scratch_model.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err err;

static void write_base(void)
{
	char path[512], *text;

	snprintf(path, sizeof path, "%s/tests/golden/tokenizers/llama3.tokenizer.json",
		test_source_root());
	REQUIRE_OK(file_read_text(path, &text, &err), &err);
	write_model_file("tokenizer.json", text);
	free(text);
}

/* A chat of Llama 3: <|eot_id|> is 4, <|end_of_text|> 1, <|eom_id|> 5; the model has 900 rows. */
static int find(struct stop_tokens *stop, const char *generation, const char *config,
	const char *tokenizer, const char *const *items)
{
	struct model model = {.arch = {.n_vocab = 900}};
	struct machine m = {.model = &model, .folder = {.base = (char *)scratch_model()}};
	struct chat_template chat = {.name = (char *)"llama3",
		.suffix = (char *)"<|eot_id|>\n",
		.eos = 4};
	struct config c = {0};
	int rc;

	chat.stop[chat.n_stop++] = 4;
	chat.stop[chat.n_stop++] = 1;
	while (items[c.generate.stop.n])
		c.generate.stop.n++;
	c.generate.stop.items = (char **)items;
	write_base();
	write_model_file("generation_config.json", generation);
	write_model_file("config.json", config);
	write_model_file("tokenizer_config.json", tokenizer);
	*stop = (struct stop_tokens){0};
	if (tokenizer_open_folder(&m.tok, scratch_model(), &err))
		return err.code;
	rc = stop_tokens_find(stop, &c, &m, &chat, &err);
	tokenizer_close(m.tok);
	return rc;
}

static void check(const struct stop_tokens *stop, size_t number, const int32_t *ids, size_t n,
	const char *const *origins)
{
	CHECK(stop->ids.n == n, "case %zu: %zu tokens", number, stop->ids.n);
	for (size_t i = 0; i < n && i < stop->ids.n; i++)
		CHECK(stop->ids.data[i] == ids[i] && strcmp(stop->origins[i], origins[i]) == 0,
			"case %zu: token %d from %s", number, stop->ids.data[i], stop->origins[i]);
}

#define GENERATION "generation_config.json"
#define EOS "the tokenizer's eos_token"
#define TEMPLATE "the template llama3"

TEST(the_checkpoint_declares_what_ends_a_reply_as_generate_reads_it)
{
	static const struct {
		const char *generation, *config, *tokenizer;
		size_t n;
		int32_t ids[4];
		const char *origins[4];
		size_t n_notes;
	} cases[] = {
		/* generation_config.json alone counts where it declares. */
		{"{\"eos_token_id\": [4, 1, 4]}", "{\"eos_token_id\": 7}",
			"{\"eos_token\": \"<|eot_id|>\"}", 2, {4, 1}, {GENERATION, GENERATION}, 0},
		{"{\"eos_token_id\": 4}", "{}", "{}", 1, {4}, {GENERATION}, 0},
		/* Where it is not there, config.json: its own, else its text model's. */
		{NULL, "{\"eos_token_id\": 7, \"text_config\": {\"eos_token_id\": 8}}", NULL, 1,
			{7}, {"config.json"}, 1},
		{NULL, "{\"eos_token_id\": null, \"text_config\": {\"eos_token_id\": [8, 4]}}",
			NULL, 2, {8, 4}, {"config.json, text_config", "config.json, text_config"},
			0},
		/* Where it declares none, generate never stops: the rest of what is known does. */
		{"{}", "{\"eos_token_id\": 7}", "{\"eos_token\": \"<|end_of_text|>\"}", 3,
			{7, 1, 4}, {"config.json", EOS, TEMPLATE}, 1},
		{"{\"eos_token_id\": null}", "{}", NULL, 2, {4, 1},
			{"the template's eos_token", TEMPLATE}, 1},
		{NULL, NULL, NULL, 2, {4, 1}, {"the template's eos_token", TEMPLATE}, 1},
		/* Declared, but neither the tokenizer's nor the token that ends a turn: two notes.
		 */
		{"{\"eos_token_id\": 7}", "{}", "{\"eos_token\": \"<|end_of_text|>\"}", 1, {7},
			{GENERATION}, 2},
		{"{\"eos_token_id\": 7}", "{}", "{\"eos_token\": \"<|eot_id|>\"}", 1, {7},
			{GENERATION}, 1},
	};
	static const char *const items[] = {"checkpoint", NULL};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stop_tokens stop;

		REQUIRE_OK(find(&stop, cases[i].generation, cases[i].config, cases[i].tokenizer,
				   items),
			&err);
		check(&stop, i, cases[i].ids, cases[i].n, cases[i].origins);
		CHECK(stop.n_notes == cases[i].n_notes, "case %zu: %zu notes, \"%s\"", i,
			stop.n_notes, stop.n_notes ? stop.notes[0] : "");
		stop_tokens_free(&stop);
	}
}

TEST(generate_stop_takes_tokens_by_text_and_by_id_beside_what_is_declared)
{
	static const struct {
		const char *items[5];
		size_t n;
		int32_t ids[4];
		const char *origins[4];
	} cases[] = {
		{{"none"}, 0, {0}, {NULL}},
		{{"eos"}, 1, {1}, {EOS}},
		{{"template"}, 2, {4, 1}, {TEMPLATE, TEMPLATE}},
		{{"<|eom_id|>", "checkpoint", "17"}, 3, {5, 7, 17},
			{"generate.stop", GENERATION, "generate.stop"}},
		/* Said twice, it has the first origin; and it was declared. */
		{{"7", "checkpoint"}, 1, {7}, {"generate.stop"}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stop_tokens stop;

		REQUIRE_OK(find(&stop, "{\"eos_token_id\": 7}", "{}",
				   "{\"eos_token\": \"<|end_of_text|>\"}", cases[i].items),
			&err);
		check(&stop, i, cases[i].ids, cases[i].n, cases[i].origins);
		stop_tokens_free(&stop);
	}
}

TEST(stop_tokens_that_cannot_be_are_refused)
{
	static const struct {
		const char *generation;
		const char *items[4];
		int code;
		const char *message;
	} cases[] = {
		{"{\"eos_token_id\": 900}", {"checkpoint"}, ERR_INPUT,
			"generation_config.json: expected stop tokens from 0 to 899, the rows of the "
			"model's embedding, found 900; generate.stop = [\"TOKEN\", ...] gives others"},
		{"{\"eos_token_id\": [-1]}", {"checkpoint"}, ERR_INPUT,
			"generation_config.json: expected stop tokens from 0 to 899, the rows of the "
			"model's embedding, found -1; generate.stop = [\"TOKEN\", ...] gives others"},
		{"{\"eos_token_id\": \"x\"}", {"checkpoint"}, ERR_INPUT,
			"generation_config.json: eos_token_id: expected an id or a list of them, found a "
			"string"},
		{"{\"eos_token_id\": [1, 2.5]}", {"checkpoint"}, ERR_INPUT,
			"generation_config.json: eos_token_id: expected ids, found a real number"},
		{"{\"stop_strings\": [\"x\"]}", {"checkpoint"}, ERR_INPUT,
			"generation_config.json: stop_strings: texts that end a reply are not supported; "
			"generate.stop = [\"TOKEN\", ...] gives tokens"},
		{"{}", {"none", "eos"}, ERR_CONFIG,
			"generate.stop: expected nothing beside \"none\", found 2 values"},
		{"{}", {"<|eot_id|><|eot_id|>"}, ERR_CONFIG,
			"generate.stop: expected checkpoint, template, eos, none, ids, or texts of one "
			"token; \"<|eot_id|><|eot_id|>\" has 2"},
		{"{}", {"123456"}, ERR_CONFIG,
			"generate.stop: expected stop tokens from 0 to 899, the rows of the model's "
			"embedding, found 123456; generate.stop = [\"TOKEN\", ...] gives others"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct stop_tokens stop;

		CHECK(find(&stop, cases[i].generation, "{}", NULL, cases[i].items) ==
					cases[i].code &&
				strcmp(err.text, cases[i].message) == 0,
			"case %zu: %s", i, err.text);
		stop_tokens_free(&stop);
	}
}
