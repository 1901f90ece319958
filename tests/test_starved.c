/* SPDX-License-Identifier: MIT
 *
 * test_starved.c - parsers over their corpora of tests/fuzz, the golden tokenizers and templates,
 * where each allocation in turn finds no memory (starved.h).
 */
#include "experiments/registry.h"
#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/formats/npz.h"
#include "host/formats/safetensors.h"
#include "host/formats/safetensors_index.h"
#include "host/store/seal.h"
#include "host/text/chat_template.h"
#include "host/text/csv.h"
#include "host/text/jinja/jinja.h"
#include "host/text/judge_template.h"
#include "host/text/prompts.h"
#include "host/text/python_list.h"
#include "host/text/tokenizer.h"
#include "host/text/tokenizer_side.h"
#include "tests/starved.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the parsers ------------------------------------------------------------------------- */

struct corpus_input {
	const char *bytes;
	size_t n;
};

/* Reads an input and frees what it gave; the code of what refused it. */
typedef int reads(struct corpus_input in, struct err *err);

static int read_config(struct corpus_input in, struct err *err)
{
	size_t n;
	const struct section *sections = registry_sections(&n);
	char *text = strndup(in.bytes, in.n);
	struct config c = {0};

	err_clear(err);
	if (!text)
		err_nomem(err, "the text", in.n);
	else if (!strstr(text, "include"))
		config_parse(&c, sections, n, "input", text, NULL, 0, err);
	config_free(&c);
	free(text);
	return err->code;
}

static int read_csv(struct corpus_input in, struct err *err)
{
	struct csv_reader reader = {"input", in.bytes + 1, in.n - 1, in.bytes[0], 0, 1};
	struct csv_row row = {0};
	int rc;

	if (reader.delimiter != '\t')
		reader.delimiter = ',';
	while ((rc = csv_next(&reader, &row, err)) == 0 && row.n_fields > 0)
		;
	csv_row_free(&row);
	return rc;
}

static int read_jinja(struct corpus_input in, struct err *err)
{
	static const char conversation[] = "{\"messages\": [{\"role\": \"user\", \"content\": "
					   "\" a B\"}], \"l\": [3, 1, 2], \"d\": {\"b\": 1}}";
	const char *zero = memchr(in.bytes, '\0', in.n);
	const size_t n = zero ? (size_t)(zero - in.bytes) : in.n;
	json_t *variables = NULL;
	struct jinja *t = NULL;
	struct text out = {0};

	err_clear(err);
	TRY(json_parse(&variables, "variables", zero ? zero + 1 : conversation,
		zero ? in.n - n - 1 : strlen(conversation), err));
	TRY(jinja_parse(&t, "template", in.bytes, n, err));
	if (json_is_object(variables))
		TRY(jinja_render(t, variables, "2024-02-29", &out, err));
fail:
	jinja_free(t);
	json_decref(variables);
	free(out.data);
	return err->code;
}

static int read_judge_template(struct corpus_input in, struct err *err)
{
	struct judge_template t;
	struct text out = {0};
	int rc = judge_template_parse(&t, "input", in.bytes, in.n, "", err);

	if (rc == 0)
		rc = judge_template_render(&t, "a", "b", "c", &out, err);
	judge_template_free(&t);
	free(out.data);
	return rc;
}

static int read_npz(struct corpus_input in, struct err *err)
{
	struct file_tensor tensor;
	struct npz *npz = NULL;
	int rc = npz_parse(&npz, "input", in.bytes, in.n, err);

	for (size_t i = 0; rc == 0 && i < npz_count(npz); i++)
		rc = npz_read(npz, npz_name(npz, i), &tensor, err);
	npz_close(npz);
	return rc;
}

static int read_prompts(struct corpus_input in, struct err *err)
{
	static const char *const names[] = {"p.json", "p.jsonl", "p.csv", "p.tsv", "p.txt"};
	static const char *const where[] = {"kind=x", "kind=y=1", "label=1"};
	static const struct prompt_selection settings[] = {
		{0},
		{.shuffle = true, .seed = 3, .limit = 2},
		{.text_field = "ask", .category_field = "kind"},
		{.suffix_field = "response"},
		{.where = where, .n_where = 1},
		{.where = where, .n_where = 3},
		{.last_reply = PROMPT_LAST_REPLY_DROP,
			.input = PROMPT_INPUT_APPEND,
			.na_is_text = true},
		{.last_reply = PROMPT_LAST_REPLY_BEGIN,
			.input = PROMPT_INPUT_IGNORE,
			.no_context = true},
	};
	const unsigned char first = (unsigned char)in.bytes[0];
	struct prompt_set set;
	const int rc = prompt_set_parse(&set, names[first % 5], in.bytes + 1, in.n - 1,
		&settings[first / 5 % 8], err);

	prompt_set_free(&set);
	return rc;
}

static int read_python_list(struct corpus_input in, struct err *err)
{
	struct python_list list = {0};
	const int rc = python_list_parse(&list, "input", in.bytes, in.n, err);

	python_list_free(&list);
	return rc;
}

static int read_safetensors(struct corpus_input in, struct err *err)
{
	struct safetensors *file = NULL;
	const int rc = safetensors_parse(&file, "input", in.bytes, in.n, err);

	safetensors_close(file);
	return rc;
}

static int read_shard_index(struct corpus_input in, struct err *err)
{
	struct safetensors_index index = {0};
	json_t *json = NULL;
	int rc = json_parse(&json, "input", in.bytes, in.n, err);

	if (rc == 0)
		rc = safetensors_index_read(&index, json, "input", err);
	safetensors_index_free(&index);
	return rc;
}

static int encode(const struct tokenizer *tok, const char *text, size_t n, struct err *err)
{
	struct token_ids ids = {0};
	struct text back = {0};
	int rc = tokenizer_encode(tok, text, n, &ids, err);

	if (rc == 0)
		rc = tokenizer_decode(tok, ids.data, ids.n, false, &back, err);
	free(ids.data);
	free(back.data);
	return rc;
}

static int read_tokenizer(struct corpus_input in, struct err *err)
{
	static const char text[] = "ab  a\xc3\xa9\xcc\x81 <x>\n\n\xf0\x9f\x91\x8d"
				   "1234's\t";
	const bool is_json = in.n > 0 && in.bytes[0] == '{';
	struct tokenizer *tok = NULL;
	int rc = (is_json ? tokenizer_parse : tokenizer_parse_tiktoken)(&tok, "input", in.bytes,
		in.n, err);

	if (rc == 0)
		rc = encode(tok, text, sizeof text - 1, err);
	tokenizer_close(tok);
	return rc;
}

static int read_tokenizer_side(struct corpus_input in, struct err *err)
{
	static const char base[] =
		"{\"added_tokens\":[{\"id\":5,\"content\":\"<x>\",\"special\":true},"
		"{\"id\":6,\"content\":\"<y> \",\"normalized\":true,\"lstrip\":true}],"
		"\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"_\"},"
		"\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"_\":3},\"merges\":[\"a b\"]}}";
	struct tokenizer *tok = NULL;
	json_t *files = NULL;

	err_clear(err);
	TRY(json_parse(&files, "input", in.bytes, in.n, err));
	TRY(tokenizer_parse(&tok, "base", base, sizeof base - 1, err));
	TRY(tokenizer_side_apply(tok,
		&(struct tokenizer_side){.config = json_object_get(files, "tokenizer_config"),
			.special_map = json_object_get(files, "special_tokens_map"),
			.added = json_object_get(files, "added_tokens"),
			.model = json_object_get(files, "config")},
		err));
	TRY(encode(tok, "ab<x>ab", 7, err));
fail:
	tokenizer_close(tok);
	json_decref(files);
	return err->code;
}

static const struct parser {
	const char *corpus;
	reads *read;
} parsers[] = {
	{"config", read_config},
	{"csv", read_csv},
	{"jinja", read_jinja},
	{"judge_template", read_judge_template},
	{"npz", read_npz},
	{"prompts", read_prompts},
	{"python_list", read_python_list},
	{"safetensors", read_safetensors},
	{"shard_index", read_shard_index},
	{"tokenizer", read_tokenizer},
	{"tokenizer_side", read_tokenizer_side},
};

/* A family's template is opened and renders, with the tokenizer `family` below. */
static struct tokenizer *family;

static int read_chat_template(struct corpus_input in, struct err *err)
{
	const struct chat_options options = {.name = in.bytes,
		.system = "Be brief.",
		.prefill = "Sure",
		.date = "",
		.bos = "auto"};
	const struct chat_request requests[] = {{.text = " Hi\n", .system = "Be kind."},
		{.messages = "[{\"role\": \"user\", \"content\": \"a\"}]"}};
	struct chat_template *t = NULL;
	struct token_ids ids = {0};

	TRY(chat_template_open(&t, &options, "", false, family, err));
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
		TRY(chat_template_encode(t, family, &requests[i], &ids, err));
fail:
	free(ids.data);
	chat_template_close(t);
	return err->code;
}

/* ---- what must hold ---------------------------------------------------------------------- */

struct reading {
	reads *read;
	struct corpus_input in;
};

static int read_once(const void *context, struct err *err)
{
	const struct reading *reading = context;

	return reading->read(reading->in, err);
}

static size_t starve_input(reads *read, const char *name, struct corpus_input in)
{
	return starve(read_once, &(struct reading){read, in}, name);
}

static size_t starve_file(reads *read, const char *path)
{
	struct file_map map;
	struct err err;
	size_t n_failed = 0;

	if (file_map_open(&map, path, &err))
		test_fail(__FILE__, __LINE__, "%s", err.text);
	else if (map.size > 0)
		n_failed = starve_input(read, path,
			(struct corpus_input){(const char *)map.data, map.size});
	file_map_close(&map);
	return n_failed;
}

static void says_so(const void *row)
{
	const struct parser *p = row;
	struct folder_names names;
	struct err err = {0};
	size_t n_failed = 0;
	char folder[512], path[1024];

	snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", test_source_root(), p->corpus);
	REQUIRE_OK(folder_list(&names, folder, ERR_INPUT, &err), &err);
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names.data[i]);
		n_failed += starve_file(p->read, path);
	}
	printf("  %zu allocations of %zu inputs failed\n", n_failed, names.n);
	folder_names_free(&names);
	CHECK(n_failed > 0, "none failed");
}

__attribute__((constructor)) static void register_parsers(void)
{
	for (size_t i = 0; i < sizeof parsers / sizeof *parsers; i++)
		test_register_row(says_so, &parsers[i], NULL,
			"without_memory_the_parser_of_%s_says_so_and_leaks_nothing",
			parsers[i].corpus);
}

/* ---- others than those of the corpora ---------------------------------------------------- */

TEST(without_memory_no_family_of_tokenizers_is_opened_by_half)
{
	static const char *const families[] = {"gemma", "llama2", "llama3", "metaspace_always",
		"mistral", "qwen", "smollm"};
	char path[512];
	size_t n = 0;

	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s.tokenizer.json",
			test_source_root(), families[i]);
		n += starve_file(read_tokenizer, path);
	}
	printf("  %zu allocations failed\n", n);
}

TEST(without_memory_no_template_renders_something_else)
{
	char path[512];
	json_t *golden = NULL, *one;
	struct err err;
	char *variables;
	size_t i, n = 0;

	snprintf(path, sizeof path, "%s/tests/golden/jinja.json", test_source_root());
	REQUIRE_OK(json_read(&golden, path, &err), &err);
	variables = json_dumps(json_object_get(golden, "variables"), JSON_COMPACT);
	json_array_foreach(json_object_get(golden, "cases"), i, one)
	{
		const char *source = json_string_value(json_array_get(one, 0));
		struct text in = {0};

		if (!source)
			continue;
		REQUIRE_OK(vec_append(&in, source, strlen(source) + 1, &err), &err);
		REQUIRE_OK(vec_append(&in, variables, strlen(variables), &err), &err);
		n += starve_input(read_jinja, source, (struct corpus_input){in.data, in.n});
		free(in.data);
	}
	free(variables);
	json_decref(golden);
	printf("  %zu allocations failed\n", n);
	CHECK(n > 1000, "too few failed");
}

TEST(without_memory_no_turn_is_rendered_in_part)
{
	static const char *const names[][2] = {{"gemma2", "gemma"}, {"llama3", "llama3"},
		{"llama2", "llama2"}, {"qwen", "qwen"}, {"mistral", "mistral"}};
	struct err err;
	char path[512];
	size_t n = 0;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/tests/golden/tokenizers/%s.tokenizer.json",
			test_source_root(), names[i][1]);
		REQUIRE_OK(tokenizer_open(&family, path, &err), &err);
		n += starve_input(read_chat_template, names[i][0],
			(struct corpus_input){names[i][0], strlen(names[i][0])});
		tokenizer_close(family);
	}
	printf("  %zu allocations failed\n", n);
}

TEST(without_memory_a_declared_template_is_not_taken_for_one_without_a_place_for_system_texts)
{
	static const char declared[] =
		"{{ bos_token }}{% for message in messages %}[{{ message.role }}] "
		"{{ message.content }}\n{% endfor %}"
		"{% if add_generation_prompt %}[assistant] {% endif %}";
	const char *template = in_scratch("declared.jinja");
	struct err err;
	char path[512];
	FILE *file = fopen(template, "w");

	REQUIRE(file, "%s", template);
	fputs(declared, file);
	fclose(file);
	snprintf(path, sizeof path, "%s/tests/golden/tokenizers/gemma.tokenizer.json",
		test_source_root());
	REQUIRE_OK(tokenizer_open(&family, path, &err), &err);
	printf("  %zu allocations failed\n",
		starve_input(read_chat_template, template,
			(struct corpus_input){template, strlen(template)}));
	tokenizer_close(family);
}

static int seal_and_check(const void *path, struct err *err)
{
	const struct seal seal = {.run = "0", .stage = "stage", .n = 1};

	TRY(seal_write(path, &seal, err));
	return seal_check(path, &seal, err);
fail:
	return err->code;
}

TEST(without_memory_a_unit_is_neither_full_disk_nor_damaged)
{
	static const char content[2 * SEAL_BYTES];
	const char *path = in_scratch("sealed");
	FILE *file = fopen(path, "w");

	REQUIRE(file && fwrite(content, 1, sizeof content, file) == sizeof content &&
			fclose(file) == 0,
		"%s", path);
	CHECK(starve(seal_and_check, path, "a seal") > 2, "too few failed");
}
