/* SPDX-License-Identifier: MIT
 *
 * test_adapter.c - LoRA adapters: which modules one means, what of it is refused, where its base
 * is. What a model computes with one, against peft: test_model.c.
 */
#include "host/formats/safetensors.h"
#include "host/model/adapter.h"
#include "host/model/adapter_targets.h"
#include "host/model/model_folder.h"
#include "host/model/module_pattern.h"
#include "tests/small_model.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ------------------------------------------------------------------------------- */

static const char q[] = "model.layers.11.self_attn.q_proj";

TEST(a_pattern_fits_a_name_where_pythons_fullmatch_says_so)
{
	static const struct {
		const char *pattern;
		bool fits;
	} cases[] = {
		{".*q_proj", true},
		{"q_proj", false},
		{".*(?:k|q)_proj", true},
		{".*?layers\\.\\d+\\.self_attn\\.(q|v)_proj", true},
		{".*layers\\.\\d\\.self_attn\\.q_proj", false},
		{"model|.*q_proj", true},
		{"(?!model).*", false},
		{"^model\\..*_proj$", true},
		{".*layers\\.(?P<n>1{2})\\..*", true},
	};
	struct err err = {0};
	bool fits;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		CHECK(module_fits(cases[i].pattern, q, &fits, &err) == 0 && fits == cases[i].fits,
			"%s: %d", cases[i].pattern, fits);
	CHECK(module_fits("(", q, &fits, &err) == ERR_INPUT, "an open bracket");
	CHECK(module_fits("(.*)*(.*)*(.*)*[0-9]j", q, &fits, &err) == ERR_INPUT &&
			strstr(err.text, "takes too long"),
		"a pattern that never ends: %s", err.text);
}

TEST(keys_of_rank_and_alpha_patterns_fit_ends_of_names)
{
	static const struct {
		const char *pattern;
		bool fits;
	} cases[] = {
		{"q_proj", true},
		{"self_attn.q_proj", true},
		{"attn.q_proj", false},
		{q, true},
		{"layers.1.self_attn.q_proj", false},
		{"^model\\.layers\\.\\d+\\.self_attn\\.q_proj", true},
		{"^layers\\.\\d+\\.self_attn\\.q_proj", false},
		{"(q|v)_proj", true},
	};
	struct err err = {0};
	bool fits;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		CHECK(module_end_fits(cases[i].pattern, q, &fits, &err) == 0 &&
				fits == cases[i].fits,
			"%s: %d", cases[i].pattern, fits);
}

static json_t *config_of(const char *text)
{
	json_t *config = json_loads(text, 0, NULL);

	if (!config) {
		fprintf(stderr, "not JSON: %s\n", text);
		exit(1);
	}
	return config;
}

TEST(modules_are_meant_as_peft_means_them)
{
	static const struct {
		const char *config;
		const char *name;
		enum module_kind kind;
		bool targeted;
	} cases[] = {
		{"{\"target_modules\":[\"q_proj\"]}", q, MODULE_LINEAR, true},
		{"{\"target_modules\":[\"proj\"]}", q, MODULE_LINEAR, false},
		{"{\"target_modules\":\"all-linear\"}", q, MODULE_LINEAR, true},
		{"{\"target_modules\":\"all-linear\"}", "lm_head", MODULE_HEAD, false},
		{"{\"target_modules\":\"all-linear\"}", "model.embed_tokens", MODULE_EMBEDDING,
			false},
		{"{\"target_modules\":[\"lm_head\"]}", "lm_head", MODULE_HEAD, true},
		{"{\"target_modules\":[\"q_proj\"],\"exclude_modules\":[\"11.self_attn.q_proj\"]}",
			q, MODULE_LINEAR, false},
		{"{\"target_modules\":[\"q_proj\"],\"exclude_modules\":\".*\\\\.1\\\\..*\"}", q,
			MODULE_LINEAR, true},
		{"{\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"self_attn\"]}", q,
			MODULE_LINEAR, false},
		{"{\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"attn\"]}", q,
			MODULE_LINEAR, true},
		{"{\"target_modules\":[\"q_proj\"],\"layers_to_transform\":11}", q, MODULE_LINEAR,
			true},
		{"{\"target_modules\":[\"q_proj\"],\"layers_to_transform\":[1,2]}", q,
			MODULE_LINEAR, false},
		{"{\"target_modules\":\".*q_proj\",\"layers_to_transform\":[1,2]}", q,
			MODULE_LINEAR, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *config = config_of(cases[i].config);
		struct err err = {0};
		bool targeted;

		CHECK(adapter_targets(config, "a", cases[i].name, cases[i].kind, &targeted, &err) ==
					0 &&
				targeted == cases[i].targeted,
			"%s: %d %s", cases[i].config, targeted, err.text);
		json_decref(config);
	}
}

TEST(the_scale_is_alpha_over_r_or_over_its_root_of_the_patterns_own)
{
	static const struct {
		const char *config;
		int64_t r;
		double scale;
	} cases[] = {
		{"{}", 8, 1},
		{"{\"r\":16,\"lora_alpha\":32}", 16, 2},
		{"{\"r\":16,\"lora_alpha\":32,\"use_rslora\":true}", 16, 8},
		{"{\"r\":16,\"lora_alpha\":32,\"rank_pattern\":{\"q_proj\":4}}", 4, 8},
		{"{\"r\":16,\"lora_alpha\":32,\"alpha_pattern\":{\"k_proj\":1,\"(q|v)_proj\":8}}",
			16, 0.5},
	};
	struct err err = {0};
	json_t *config;
	int64_t r;
	double scale;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		config = config_of(cases[i].config);
		CHECK(adapter_scale(config, "a", q, &r, &scale, &err) == 0 && r == cases[i].r &&
				scale == cases[i].scale,
			"%s: %lld, %g", cases[i].config, (long long)r, scale);
		json_decref(config);
	}
	config = config_of("{\"r\":0}");
	CHECK(adapter_scale(config, "a", q, &r, &scale, &err) == ERR_INPUT, "a rank of 0");
	json_decref(config);
}

TEST(what_of_lora_is_not_done_is_refused_by_its_key)
{
	static const struct {
		const char *config, *message;
	} cases[] = {
		{"[]", "expected an object, found an array"},
		{"{}", "peft_type: expected LORA, found nothing"},
		{"{\"peft_type\":\"IA3\"}", "peft_type: expected LORA, found IA3"},
		{"{\"peft_type\":\"LORA\",\"use_dora\":true}",
			"use_dora: not done here; expected null or false, found true"},
		{"{\"peft_type\":\"LORA\",\"lora_bias\":true}", "lora_bias: not done here"},
		{"{\"peft_type\":\"LORA\",\"layer_replication\":[[0,2]]}",
			"layer_replication: not"},
		{"{\"peft_type\":\"LORA\",\"trainable_token_indices\":[3]}",
			"token_indices: not done"},
		{"{\"peft_type\":\"LORA\",\"a_key_of_next_year\":{\"x\":1}}",
			"a_key_of_next_year: not done here; expected null or false, found an object"},
		{"{\"peft_type\":\"LORA\",\"target_modules\":null}",
			"target_modules: expected a list of names or a pattern, found null"},
		{"{\"peft_type\":\"LORA\",\"target_modules\":[],\"bias\":\"some\"}",
			"bias: expected none, all or lora_only, found some"},
		{"{\"peft_type\":\"LORA\",\"target_modules\":[],\"init_lora_weights\":\"pissa\"}",
			"init_lora_weights: expected true, false, gaussian, eva or orthogonal, found "
			"pissa: it changes the base"},
		{"{\"peft_type\":\"LORA\",\"target_modules\":[],\"init_lora_weights\":\"olora\"}",
			"found olora"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *config = config_of(cases[i].config);
		struct err err = {0};

		CHECK(adapter_config_check(config, "a", &err) == ERR_INPUT &&
				strstr(err.text, cases[i].message),
			"%s: \"%s\"", cases[i].config, err.text);
		json_decref(config);
	}
}

/* ---- on a model --------------------------------------------------------------------------- */

#define ROOT "base_model.model.model.layers.0.self_attn."
#define CONFIG(more) "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4" more "}"
#define A(module) \
	{ \
		ROOT module ".lora_A.weight", 2, SMALL_WIDTH, 0.5f \
	}
#define B(module) \
	{ \
		ROOT module ".lora_B.weight", SMALL_WIDTH, 2, -0.25f \
	}

TEST(a_changed_matrix_is_w_plus_scale_b_a_and_the_others_stay)
{
	static const struct small_tensor factors[] = {A("q_proj"), B("q_proj")};
	const char *base = small_folder("base"), *adapter = small_folder("adapter");
	struct model *model;
	struct device *dev;
	struct err err;
	char what[256];

	small_write_model(base, ",\"tie_word_embeddings\":true", NULL, 0);
	small_write_text(adapter, "adapter_config.json",
		CONFIG(",\"target_modules\":[\"0.self_attn.q_proj\"]"));
	small_write_tensors(adapter, "adapter_model.safetensors", factors, 2);
	REQUIRE(small_open(&model, &dev, base, adapter, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < SMALL_WIDTH; i++)
		for (size_t j = 0; j < SMALL_WIDTH; j++) {
			double expected = 3 + (double)(i * SMALL_WIDTH + j) / 64, delta = 0;

			for (size_t k = 0; k < 2; k++)
				delta += (-0.25 + (double)(2 * i + k) / 64) *
					 (0.5 + (double)(k * SMALL_WIDTH + j) / 64);
			expected += 2 * delta;
			CHECK(((const float *)model->layers[0].q.data)[i * SMALL_WIDTH + j] ==
					(float)expected,
				"[%zu, %zu]: %g, expected %g", i, j,
				(double)((const float *)model->layers[0]
						 .q.data)[i * SMALL_WIDTH + j],
				expected);
		}
	CHECK(*(const float *)model->layers[0].k.data == 4 &&
			*(const float *)model->layers[1].q.data == 12,
		"another matrix was changed");
	CHECK(model->merged_bytes == 4 * SMALL_WIDTH * SMALL_WIDTH, "%zu bytes made",
		model->merged_bytes);
	adapter_describe(model->adapter, what, sizeof what);
	CHECK(strcmp(what, "LoRA of r 2, scale 2 (alpha / r): 1 matrices changed, 0 tensors "
			   "replaced") == 0,
		"%s", what);
	model_close(model);
	device_close(dev);
}

TEST(config_and_file_of_an_adapter_that_disagree_are_refused)
{
	static const struct {
		const char *config;
		struct small_tensor tensors[3];
		size_t n;
		const char *message;
	} cases[] = {
		{CONFIG(",\"target_modules\":[\"q_proj\"]"), {A("q_proj"), B("q_proj")}, 2,
			"model.layers.1.self_attn.q_proj is meant, but its lora_A and lora_B are not in"},
		{CONFIG(",\"target_modules\":[]"), {A("q_proj"), B("q_proj")}, 2,
			"model.layers.0.self_attn.q_proj is not meant, but its lora_A and lora_B are in"},
		{CONFIG(",\"target_modules\":[\"0.self_attn.q_proj\"]"), {A("q_proj")}, 1,
			"expected both lora_A and lora_B, found one"},
		{CONFIG(",\"target_modules\":[\"0.self_attn.q_proj\"],\"rank_pattern\":"
			"{\"q_proj\":3}"),
			{A("q_proj"), B("q_proj")}, 2,
			"expected shape [3, 8], found 2 dimensions, [2"},
		{CONFIG(",\"target_modules\":[\"0.self_attn.q_proj\"]"),
			{A("q_proj"), B("q_proj"),
				{ROOT "q_proj.lora_magnitude_vector", 0, SMALL_WIDTH, 0}},
			3, "q_proj.lora_magnitude_vector\": expected one of a module of the model"},
		{CONFIG(",\"target_modules\":[]"),
			{{"base_model.model.model.layers.7.mlp.up_proj.lora_A.weight", 2,
				SMALL_WIDTH, 0}},
			1, "layers.7.mlp.up_proj.lora_A.weight\": expected one of a module"},
		{CONFIG(",\"target_modules\":[]"),
			{{ROOT "q_proj.weight", SMALL_WIDTH, SMALL_WIDTH, 9}}, 1,
			"q_proj.weight\" differs from the base's, but neither modules_to_save"},
		{CONFIG(",\"target_modules\":[],\"modules_to_save\":[\"score\"]"), {{0}}, 0,
			"modules_to_save: the model has no score"},
		{CONFIG(",\"target_modules\":[\"input_layernorm\"]"), {{0}}, 0,
			"expected linear modules or embeddings, found model.layers.0.input_layernorm"},
		{CONFIG(",\"target_modules\":[],\"modules_to_save\":[\"embed_tokens\"],"
			"\"ensure_weight_tying\":true"),
			{{"base_model.model.model.embed_tokens.weight", SMALL_VOCAB, SMALL_WIDTH,
				2}},
			1, "ensure_weight_tying: not done here"},
	};
	const char *base = small_folder("base2"), *adapter = small_folder("adapter2");

	small_write_model(base, ",\"tie_word_embeddings\":true", NULL, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct model *model;
		struct device *dev;
		struct err err;

		small_write_text(adapter, "adapter_config.json", cases[i].config);
		small_write_tensors(adapter, "adapter_model.safetensors", cases[i].tensors,
			cases[i].n);
		CHECK(small_open(&model, &dev, base, adapter, &err) == ERR_INPUT &&
				strstr(err.text, cases[i].message),
			"case %zu: \"%s\"", i, err.text);
		device_close(dev);
	}
}

TEST(saved_modules_replace_the_bases_and_untie_a_head)
{
	static const struct small_tensor saved[] = {{"base_model.model.lm_head.weight", SMALL_VOCAB,
							    SMALL_WIDTH, 7},
		{"base_model.model.model.embed_tokens.base_layer.weight", SMALL_VOCAB, SMALL_WIDTH,
			1},
		{"base_model.model.model.norm.weight", 0, SMALL_WIDTH, 5}};
	const char *base = small_folder("base3"), *adapter = small_folder("adapter3");
	struct model *model;
	struct device *dev;
	struct err err;

	small_write_model(base, ",\"tie_word_embeddings\":true", NULL, 0);
	small_write_text(adapter, "adapter_config.json",
		CONFIG(",\"target_modules\":[],\"modules_to_save\":[\"lm_head\",\"model.norm\"]"));
	small_write_tensors(adapter, "adapter_model.safetensors", saved, 3);
	REQUIRE(small_open(&model, &dev, base, adapter, &err) == 0, "%s", err.text);
	CHECK(*(const float *)model->unembedding.data == 7 &&
			*(const float *)model->embedding.data == 1 &&
			*(const float *)model->final_norm.data == 5,
		"%g, %g, %g", (double)*(const float *)model->unembedding.data,
		(double)*(const float *)model->embedding.data,
		(double)*(const float *)model->final_norm.data);
	model_close(model);
	device_close(dev);
}

/* ---- where the base is --------------------------------------------------------------------- */

TEST(an_adapters_base_is_beside_it_or_named_and_never_guessed)
{
	const char *whole = small_folder("whole"), *alone = small_folder("alone");
	const char *both = small_folder("both");
	struct model_folder f;
	struct err err;
	char config[512];

	small_write_model(whole, "", NULL, 0);
	small_write_model(both, "", NULL, 0);
	small_write_text(both, "adapter_config.json", "{}");
	small_write_text(alone, "adapter_config.json", "{\"base_model_name_or_path\":\"a/b\"}");

	REQUIRE(model_folder_find(&f, whole, "", &err) == 0, "%s", err.text);
	CHECK(strcmp(f.base, whole) == 0 && !f.adapter, "%s", f.base);
	model_folder_free(&f);
	REQUIRE(model_folder_find(&f, both, "", &err) == 0, "%s", err.text);
	CHECK(strcmp(f.base, both) == 0 && strcmp(f.adapter, both) == 0, "%s", f.base);
	model_folder_free(&f);
	REQUIRE(model_folder_find(&f, alone, whole, &err) == 0, "%s", err.text);
	CHECK(strcmp(f.base, whole) == 0 && strcmp(f.adapter, alone) == 0, "%s", f.base);
	model_folder_free(&f);

	CHECK(model_folder_find(&f, alone, "", &err) == ERR_CONFIG &&
			strstr(err.text,
				"a LoRA adapter without its base: expected the base's folder "
				"as model.base; the adapter calls it \"a/b\", which is no"),
		"%s", err.text);
	CHECK(model_folder_find(&f, both, whole, &err) == ERR_CONFIG &&
			strstr(err.text, "model.base: expected nothing, as "),
		"%s", err.text);
	CHECK(model_folder_find(&f, whole, both, &err) == ERR_CONFIG &&
			strstr(err.text, "model.base: expected a LoRA adapter as model.path"),
		"%s", err.text);
	CHECK(model_folder_find(&f, alone, both, &err) == ERR_INPUT &&
			strstr(err.text, "found an adapter there as well"),
		"%s", err.text);

	snprintf(config, sizeof config, "{\"base_model_name_or_path\":\"%s\"}", whole);
	small_write_text(alone, "adapter_config.json", config);
	REQUIRE(model_folder_find(&f, alone, "", &err) == 0, "%s", err.text);
	CHECK(strcmp(f.base, whole) == 0, "%s", f.base);
	model_folder_free(&f);
}

TEST(an_adapter_that_is_pickled_is_refused_by_name)
{
	const char *folder = small_folder("pickled");
	struct adapter *adapter;
	struct err err;

	small_write_text(folder, "adapter_config.json", CONFIG(",\"target_modules\":[\"q_proj\"]"));
	CHECK(adapter_open(&adapter, folder, &err) == ERR_INPUT && strstr(err.text, "found none"),
		"%s", err.text);
	small_write_text(folder, "adapter_model.bin", "PK");
	CHECK(adapter_open(&adapter, folder, &err) == ERR_INPUT &&
			strstr(err.text, "found only adapter_model.bin; convert to safetensors"),
		"%s", err.text);
}
