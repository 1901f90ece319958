/* SPDX-License-Identifier: MIT
 *
 * test_bounds.c - whatever a file can make long has a bound, and a message that says so. Each of
 * these inputs took minutes or all memory, or would, by the square of its length.
 */
#include "host/base/utf8.h"
#include "host/formats/safetensors.h"
#include "host/model/adapter_targets.h"
#include "host/model/arch.h"
#include "host/text/jinja/jinja.h"
#include "host/text/nfc.h"
#include "host/text/prompts.h"
#include "host/text/tokenizer.h"
#include "host/text/tokenizer_side.h"
#include "host/work/manifest.h"
#include "tests/scratch_model.h"
#include "tests/test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err err;
static struct text made; /* the input of the running test */

/* A bound that is not there would take minutes: then SIGALRM ends the program. */
static void begin(void)
{
	alarm(120);
	made.n = 0;
	err = (struct err){0};
}

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void add(const char *format, ...)
{
	char part[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(part, sizeof part, format, args);
	va_end(args);
	REQUIRE_OK(vec_append(&made, part, strlen(part), &err), &err);
}

static void repeat(const char *part, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add("%s", part);
}

static void expect(int rc, const char *message)
{
	CHECK(rc == ERR_INPUT && strstr(err.text, message), "%d: %s, expected %s", rc, err.text,
		message);
}

static json_t *parsed(void)
{
	json_t *json = NULL;

	CHECK(json_parse(&json, "made", made.data, made.n, &err) == 0, "%s", err.text);
	return json;
}

/* ---- tokenizers ---------------------------------------------------------------------------- */

#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}"

/* A tokenizer.json with what was made behind its model. */
static int parse_tokenizer(struct tokenizer **tok)
{
	struct text file = {0};
	int rc;

	*tok = NULL;
	rc = vec_append(&file, "{" MODEL ",", strlen("{" MODEL ","), &err) ||
	     vec_append(&file, made.data, made.n, &err) || vec_push(&file, '}', &err) ||
	     tokenizer_parse(tok, "tokenizer.json", file.data, file.n, &err);
	free(file.data);
	return rc ? err.code : 0;
}

/* What a tokenizer with what was made says of a text. */
static int encode(const char *text, size_t n)
{
	struct tokenizer *tok;
	struct token_ids ids = {0};
	const int rc = parse_tokenizer(&tok) || tokenizer_encode(tok, text, n, &ids, &err);

	free(ids.data);
	tokenizer_close(tok);
	return rc ? err.code : 0;
}

TEST(a_normalizer_that_makes_a_long_text_of_a_short_one_is_refused_before_it_has)
{
	char text[4096];

	memset(text, 'a', sizeof text);
	begin();
	add("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
	for (int i = 0; i < 8; i++)
		add("%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"%0200d\"}",
			i ? "," : "", 0);
	add("]}");
	expect(encode(text, sizeof text),
		"expected a tokenizer that makes at most 66560 bytes of a text "
		"of 4096, found one that makes more");
	begin();
	add("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
	for (int i = 0; i < 6; i++)
		add("%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}",
			i ? "," : "");
	add("]}");
	expect(encode(text, sizeof text), "expected a tokenizer that makes at most 66560 bytes");
	begin();
	add("\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"");
	repeat("a", 257);
	add("\"}");
	expect(encode(text, 1),
		"tokenizer.json: normalizer: expected at most 256 bytes, found 257");
}

TEST(a_pattern_that_runs_wild_or_is_long_ends_with_a_message)
{
	static char text[1 << 20];

	memset(text, 'a', sizeof text);
	begin();
	add("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+b\"},"
	    "\"behavior\":\"Isolated\"}");
	expect(encode(text, sizeof text), "the tokenizer's split pattern needs too much work");
	begin();
	add("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"");
	repeat("\\\\p{L}", 1000);
	add("\"},\"behavior\":\"Isolated\"}");
	expect(encode(text, 1),
		"pre_tokenizer: expected a pattern of at most 4096 bytes, found 5000");
}

TEST(an_added_token_has_a_length_from_which_every_byte_of_a_text_can_be_tried)
{
	begin();
	add("\"added_tokens\":[{\"id\":2,\"content\":\"");
	repeat("a", 1025);
	add("\"}]");
	expect(encode("a", 1), "expected at most 1024 bytes, found 1025");
}

/* Either flag alone made white space be gone through once for each token in it. */
TEST(white_space_that_added_tokens_swallow_is_gone_through_once)
{
	static char text[1 << 20];

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 5 == 4 ? '\n' : ' ';
	begin();
	add("\"added_tokens\":[{\"id\":2,\"content\":\"\\n\",\"lstrip\":true,\"normalized\":false}]");
	REQUIRE_OK(encode(text, sizeof text), &err);
	begin();
	add("\"added_tokens\":[{\"id\":2,\"content\":\"\\n\",\"rstrip\":true,\"normalized\":false}]");
	REQUIRE_OK(encode(text, sizeof text), &err);
}

TEST(combining_characters_that_utf8proc_would_sort_by_the_square_are_refused)
{
	struct text out = {0};

	begin();
	add("a");
	repeat("\xcc\x81\xcc\xa7", 512);
	REQUIRE_OK(nfc_append(&out, made.data, made.n, &err), &err);
	repeat("\xcc\x81\xcc\xa7", 100000);
	expect(nfc_append(&out, made.data, made.n, &err),
		"expected at most 1024 combining characters behind each other");
	free(out.data);
}

/* What is made, as tokenizer_config.json. */
static int apply_side(void)
{
	struct tokenizer *tok;
	struct text side = made;
	json_t *config;
	int rc;

	made = (struct text){0};
	add("\"added_tokens\":[]");
	rc = parse_tokenizer(&tok);
	free(made.data);
	made = side;
	config = parsed();
	if (rc == 0)
		rc = tokenizer_side_apply(tok, &(struct tokenizer_side){.config = config}, &err);
	json_decref(config);
	tokenizer_close(tok);
	return rc;
}

TEST(tokens_that_are_declared_by_name_or_beside_are_counted)
{
	begin();
	add("{\"x\":0");
	for (int i = 0; i < 1025; i++)
		add(",\"k%d_token\":\"t\"", i);
	add("}");
	expect(apply_side(), "expected at most 1024 tokens with names, found more");
	begin();
	add("{\"additional_special_tokens\":[\"t\"");
	for (int i = 0; i < 4096; i++)
		add(",\"t%d\"", i);
	add("]}");
	expect(apply_side(), "expected at most 4096 extra special tokens, found more");
}

/* They came in by insertion, which is the square of 200,000. */
TEST(tokens_declared_by_falling_ids_are_put_in_order)
{
	begin();
	add("{\"added_tokens_decoder\":{\"200001\":\"t199999\"");
	for (int i = 199998; i >= 0; i--)
		add(",\"%d\":\"t%d\"", i + 2, i);
	add("}}");
	REQUIRE_OK(apply_side(), &err);
}

/* ---- prompts ------------------------------------------------------------------------------- */

static int read_prompts(const char *name)
{
	struct prompt_set set;
	const struct prompt_selection all = {0};
	const int rc = prompt_set_parse(&set, name, made.data, made.n, &all, &err);

	if (rc == 0)
		prompt_set_free(&set);
	return rc;
}

TEST(a_table_has_a_number_of_columns_that_can_be_compared_with_each_other)
{
	begin();
	add("prompt");
	for (int i = 0; i < 4096; i++)
		add(",c%d", i);
	add("\n");
	expect(read_prompts("x.csv"), "x.csv:1: expected at most 4096 columns, found 4097");
}

TEST(a_prompt_that_fits_no_context_is_refused_before_it_is_tokens)
{
	begin();
	add("x\n");
	for (int i = 0; i < (8 << 20) / 1024; i++)
		add("%01024d", 0);
	add("0\n");
	expect(read_prompts("x.txt"),
		"x.txt:2: expected at most 8 MiB as its instruction, found 8388609 bytes");
}

/* ---- models -------------------------------------------------------------------------------- */

TEST(names_and_patterns_of_an_adapter_are_counted)
{
	static const struct {
		const char *key;
		size_t most;
		bool object;
	} lists[] = {{"target_modules", 4096, false}, {"exclude_modules", 4096, false},
		{"layers_to_transform", 4096, false}, {"rank_pattern", 1024, true},
		{"alpha_pattern", 1024, true}};
	char message[128];
	json_t *config;

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		begin();
		add("{\"peft_type\":\"LORA\"%s,\"%s\":%s", i ? ",\"target_modules\":[\"q\"]" : "",
			lists[i].key, lists[i].object ? "{" : "[");
		for (size_t k = 0; k <= lists[i].most; k++)
			add(lists[i].object ? "%s\"m%zu\":1" : "%s%zu", k ? "," : "", k);
		add(lists[i].object ? "}}" : "]}");
		config = parsed();
		snprintf(message, sizeof message, "a.json: %s: expected at most %zu, found %zu",
			lists[i].key, lists[i].most, lists[i].most + 1);
		expect(adapter_config_check(config, "a.json", &err), message);
		json_decref(config);
	}
}

TEST(an_index_names_a_thousand_shards_at_most)
{
	/* One tensor without elements, of its own name in each. */
	static const char format[] =
		"{\"t%04d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}";
	struct safetensors_folder *folder = NULL;
	char path[512];

	for (int i = 0; i < 1025; i++) {
		const uint64_t n = sizeof format - 1;
		FILE *file;

		snprintf(path, sizeof path, "%s/s%04d", scratch_model(), i);
		file = fopen(path, "wb");
		REQUIRE(file, "cannot write");
		fwrite(&n, 8, 1, file);
		fprintf(file, format, i);
		REQUIRE(fclose(file) == 0, "cannot write");
	}
	begin();
	add("{\"weight_map\":{\"t0000\":\"s0000\"");
	for (int i = 1; i < 1025; i++)
		add(",\"t%04d\":\"s%04d\"", i, i);
	add("}}");
	REQUIRE_OK(vec_push(&made, '\0', &err), &err);
	write_model_file("model.safetensors.index.json", made.data);
	expect(safetensors_folder_open(&folder, scratch_model(), &err),
		"expected at most 1024 shards, found more");
}

/* As long as it gets: 4 names of 40 bytes, 4 numbers of 20. */
TEST(a_quantization_with_the_longest_names_is_refused_by_them)
{
	static const char *const names[] = {"quant_method", "quant_algo", "format", "quant_type"};
	static const char *const widths[] = {"bits", "w_bit", "num_bits", "nbits"};
	struct arch arch;

	begin();
	add("{\"model_type\":\"llama\",\"quantization_config\":{\"load_in_4bit\":true,"
	    "\"load_in_8bit\":true");
	for (int i = 0; i < 4; i++)
		add(",\"%s\":\"%040d\",\"%s\":%lld", names[i], i, widths[i],
			-9223372036854775807LL - 1);
	add("}}");
	expect(arch_parse(&arch, "config.json", made.data, made.n, 0, &err),
		"0003, 4 bits, 8 bits, -9223372036854775808 bits, -9223372036854775808 bits, "
		"-9223372036854775808 bits, -9223372036854775808 bits; expected weights in");
}

/* ---- templates ----------------------------------------------------------------------------- */

TEST(a_template_has_a_number_of_variables_that_can_be_compared_with_each_other)
{
	struct jinja *t = NULL;

	begin();
	for (int i = 0; i < 1025; i++)
		add("{%% set v%d = 1 %%}\n", i);
	expect(jinja_parse(&t, "t", made.data, made.n, &err), "more than 1024 names of variables");
}

/* ---- manifests ----------------------------------------------------------------------------- */

static char *lines(int n, int first, int step, int odd)
{
	begin();
	add("engine = 1\n");
	for (int i = 0, k = first; i < n; i++, k += step)
		add("sha256 of file %d = %s\n", k, k == odd ? "other" : "same");
	CHECK(vec_push(&made, '\0', &err) == 0, "no memory");
	return strdup(made.data);
}

/* Line by line, 100,000 of them in another order took the square of that. */
TEST(long_manifests_are_compared_line_by_line_whatever_their_order)
{
	enum { N = 100000 };
	static const struct manifest_sides who = {"they have", "we have"};
	char *theirs = lines(N, 0, 1, -1), *ours = lines(N, N - 1, -1, 777);
	struct text found = {0};

	manifest_compare(theirs, ours, who, &found);
	REQUIRE(vec_push(&found, '\0', &err) == 0, "no memory");
	CHECK(strcmp(found.data, "\n  sha256 of file 777: they have same, we have other") == 0,
		"found%.200s", found.data);
	free(ours);
	ours = lines(N, 1, 1, -1);
	found.n = 0;
	manifest_compare(theirs, ours, who, &found);
	REQUIRE(vec_push(&found, '\0', &err) == 0, "no memory");
	CHECK(strcmp(found.data, "\n  sha256 of file 100000: they have nothing, we have same"
				 "\n  sha256 of file 0: they have same, we have nothing") == 0,
		"found%.200s", found.data);
	free(found.data);
	free(theirs);
	free(ours);
}
