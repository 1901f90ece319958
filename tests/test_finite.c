/* SPDX-License-Identifier: MIT
 *
 * test_finite.c - values that are not finite are found wherever they stand: in an array of any
 * type, in every tensor of a checkpoint, in an adapter. Of SAEs: test_sae.c.
 */
#include "host/formats/finite.h"
#include "tests/small_model.h"
#include "tests/spoil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arrays ------------------------------------------------------------------------------ */

static const struct {
	enum dtype dtype;
	uint64_t nan, payload, inf, minus_inf, largest, least; /* bits; least: subnormal */
} types[] = {
	{DTYPE_F32, 0x7fc00000, 0xff800001, 0x7f800000, 0xff800000, 0x7f7fffff, 0x80000001},
	{DTYPE_F64, 0x7ff8000000000000, 0xfff0000000000001, 0x7ff0000000000000, 0xfff0000000000000,
		0x7fefffffffffffff, 0x8000000000000001},
	{DTYPE_BF16, 0x7fc0, 0xff81, 0x7f80, 0xff80, 0x7f7f, 0x8001},
	{DTYPE_F16, 0x7e00, 0xfc01, 0x7c00, 0xfc00, 0x7bff, 0x8001},
};

/* Longer than two chunks, and no multiple of any vector. */
enum { N = (1 << 20) + 1037 };

static void check_array(size_t type, unsigned char *data)
{
	const size_t width = dtype_bytes(types[type].dtype);
	const struct file_tensor t = {.name = "a",
		.dtype = types[type].dtype,
		.n_dims = 1,
		.shape = {N},
		.data = data,
		.bytes = N * width};
	const struct {
		uint64_t bits;
		const char *word;
	} values[] = {{types[type].nan, "nan"}, {types[type].payload, "nan"},
		{types[type].inf, "inf"}, {types[type].minus_inf, "-inf"}};
	static const size_t places[] = {0, 1, 17, (1 << 19) - 1, 1 << 19, N - 1};
	struct err err = {0};

	for (size_t i = 0; i < N; i++)
		memcpy(data + i * width, i % 2 ? &types[type].largest : &types[type].least, width);
	CHECK(finite_check(&t, "x", 3, &err) == 0, "%s: %s", dtype_name(t.dtype), err.text);
	for (size_t p = 0; p < sizeof places / sizeof *places; p++)
		for (size_t v = 0; v < 4; v++) {
			unsigned char *at = data + places[p] * width, kept[8];
			char text[128];

			memcpy(kept, at, width);
			memcpy(at, &values[v].bits, width);
			snprintf(text, sizeof text,
				"x: a[%zu]: expected finite values, found %s (1 of %d is not "
				"finite)",
				places[p], values[v].word, N);
			CHECK(finite_check(&t, "x", 1 + (int)v, &err) == ERR_INPUT &&
					strcmp(err.text, text) == 0,
				"%s: %s", dtype_name(t.dtype), err.text);
			memcpy(at, kept, width);
		}
}

TEST(a_value_that_is_not_finite_is_found_in_any_type_and_place_and_at_any_address)
{
	unsigned char *memory = malloc(8 * N + 8);

	REQUIRE(memory, "out of memory");
	for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
		check_array(type, memory);
		check_array(type, memory + 1);
	}
	free(memory);
}

TEST(the_first_is_named_by_row_and_column_and_all_are_counted)
{
	static const struct {
		int n_dims;
		size_t shape[3];
		bool column_major;
		const char *text;
	} cases[] = {
		{2, {6, 4}, false,
			"x: a[2, 3]: expected finite values, found -inf (3 of 24 are not finite)"},
		{2, {6, 4}, true,
			"x: a[5, 1]: expected finite values, found -inf (3 of 24 are not finite)"},
		{1, {24}, false,
			"x: a[11]: expected finite values, found -inf (3 of 24 are not finite)"},
		{3, {2, 3, 4}, false,
			"x: a[11]: expected finite values, found -inf (3 of 24 are not finite)"},
	};
	float values[24] = {[11] = -INFINITY, [12] = NAN, [23] = INFINITY};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct file_tensor t = {.name = "a",
			.dtype = DTYPE_F32,
			.n_dims = cases[i].n_dims,
			.column_major = cases[i].column_major,
			.data = (const unsigned char *)values,
			.bytes = sizeof values};
		struct err err = {0};

		memcpy(t.shape, cases[i].shape, sizeof cases[i].shape);
		CHECK(finite_check(&t, "x", 2, &err) == ERR_INPUT &&
				strcmp(err.text, cases[i].text) == 0,
			"case %zu: %s", i, err.text);
	}
}

TEST(what_is_not_finite_in_several_chunks_is_counted_by_one_thread_and_by_several)
{
	enum { LONG = 20 << 20 };
	uint16_t *values = calloc(LONG, sizeof *values);
	const struct file_tensor t = {.name = "a",
		.dtype = DTYPE_F16,
		.n_dims = 1,
		.shape = {LONG},
		.data = (const unsigned char *)values,
		.bytes = LONG * sizeof *values};

	REQUIRE(values, "out of memory");
	for (size_t i = 777; i < LONG; i += 1 << 18)
		values[i] = 0x7c00;
	for (int n_threads = 1; n_threads <= 4; n_threads += 3) {
		struct err err = {0};

		CHECK(finite_check(&t, "x", n_threads, &err) == ERR_INPUT &&
				strcmp(err.text, "x: a[777]: expected finite values, found inf "
						 "(80 of 20971520 are not finite)") == 0,
			"%d threads: %s", n_threads, err.text);
	}
	free(values);
}

/* ---- checkpoints ------------------------------------------------------------------------- */

static void write_index(char *out, size_t size, size_t rows, size_t i)
{
	if (rows)
		snprintf(out, size, "[%zu, %zu]", i / SMALL_WIDTH, i % SMALL_WIDTH);
	else
		snprintf(out, size, "[%zu]", i);
}

/* The tensor at its first, middle and last element. */
static void check_tensor(const char *folder, const char *name, size_t rows)
{
	static const struct {
		double value;
		const char *word;
	} values[] = {{NAN, "nan"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}};
	const size_t n = (rows ? rows : 1) * SMALL_WIDTH;
	char path[512];

	snprintf(path, sizeof path, "%s/model.safetensors", folder);
	for (size_t p = 0; p < 3; p++) {
		const size_t i = p == 0 ? 0 : p == 1 ? n / 2 : n - 1;
		char text[768], index[64];
		struct model *model;
		struct device *dev;
		struct err err;

		spoil_tensor(path, name, i, values[p].value);
		write_index(index, sizeof index, rows, i);
		snprintf(text, sizeof text,
			"%s: model.safetensors: %s%s: expected finite values, found %s (1 of %zu is "
			"not finite)",
			folder, name, index, values[p].word, n);
		CHECK(small_open(&model, &dev, folder, NULL, &err) == ERR_INPUT && !model &&
				strcmp(err.text, text) == 0,
			"%s", err.text);
		CHECK(device_allocated(dev) == 0, "%zu bytes are left", device_allocated(dev));
		device_close(dev);
		spoil_tensor(path, name, i, 1);
	}
}

TEST(every_tensor_of_a_checkpoint_is_refused_with_one_value_that_is_not_finite)
{
	static const struct {
		const char *name;
		size_t rows;
	} tensors[] = {{"model.embed_tokens.weight", SMALL_VOCAB}, {"lm_head.weight", SMALL_VOCAB},
		{"model.norm.weight", 0}, {"model.layers.0.input_layernorm.weight", 0},
		{"model.layers.1.post_attention_layernorm.weight", 0},
		{"model.layers.0.self_attn.q_proj.weight", SMALL_WIDTH},
		{"model.layers.1.self_attn.k_proj.weight", SMALL_WIDTH},
		{"model.layers.0.self_attn.v_proj.weight", SMALL_WIDTH},
		{"model.layers.1.self_attn.o_proj.weight", SMALL_WIDTH},
		{"model.layers.0.mlp.gate_proj.weight", SMALL_WIDTH},
		{"model.layers.1.mlp.up_proj.weight", SMALL_WIDTH},
		{"model.layers.0.mlp.down_proj.weight", SMALL_WIDTH},
		{"model.layers.0.self_attn.q_proj.bias", 0},
		{"model.layers.1.self_attn.v_proj.bias", 0},
		{"model.layers.1.self_attn.o_proj.bias", 0}};
	static const struct small_tensor more[] = {{"lm_head.weight", SMALL_VOCAB, SMALL_WIDTH, 3},
		{"model.layers.0.self_attn.q_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.0.self_attn.k_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.0.self_attn.v_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.0.self_attn.o_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.1.self_attn.q_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.1.self_attn.k_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.1.self_attn.v_proj.bias", 0, SMALL_WIDTH, 1},
		{"model.layers.1.self_attn.o_proj.bias", 0, SMALL_WIDTH, 1}};
	static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

	for (size_t d = 0; d < 3; d++) {
		const char *folder = small_folder(dtype_name(dtypes[d]));
		struct model *model;
		struct device *dev;
		struct err err;

		small_write_model_in(folder, dtypes[d], ",\"attention_bias\":true", more,
			sizeof more / sizeof *more);
		for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
			check_tensor(folder, tensors[i].name, tensors[i].rows);
		CHECK(small_open(&model, &dev, folder, NULL, &err) == 0, "%s", err.text);
		model_close(model);
		device_close(dev);
	}
}

/* A tensor that is of no use to the model is not looked at. */
TEST(what_the_model_has_no_place_for_may_be_anything)
{
	static const struct small_tensor extra = {"model.rotary.inv_freq", 0, 2, 0};
	const char *folder = small_folder("unread");
	char path[512];
	struct model *model;
	struct device *dev;
	struct err err;

	snprintf(path, sizeof path, "%s/model.safetensors", folder);
	small_write_model(folder, ",\"tie_word_embeddings\":true", &extra, 1);
	spoil_tensor(path, "model.rotary.inv_freq", 1, NAN);
	CHECK(small_open(&model, &dev, folder, NULL, &err) == 0, "%s", err.text);
	model_close(model);
	device_close(dev);
}

/* ---- adapters ---------------------------------------------------------------------------- */

#define ROOT "base_model.model.model."

TEST(factors_and_saved_modules_of_an_adapter_and_their_products_are_finite_or_refused)
{
	static const char name_a[] = ROOT "layers.0.self_attn.q_proj.lora_A.weight",
			  name_b[] = ROOT "layers.0.self_attn.q_proj.lora_B.weight",
			  norm[] = ROOT "norm.weight";
	static const struct small_tensor tensors[] = {{name_a, 2, SMALL_WIDTH, 1},
		{name_b, SMALL_WIDTH, 2, 1}, {norm, 0, SMALL_WIDTH, 1}};
	static const struct {
		const char *name;
		size_t i;
		double value;
		const char *text; /* behind the folders; NULL: opens */
	} cases[] = {
		{name_a, 15, NAN,
			"/adapter_model.safetensors: base_model.model.model.layers.0.self_attn.q_proj."
			"lora_A.weight[1, 7]: expected finite values, found nan (1 of 16 is not finite)"},
		{name_b, 0, -INFINITY,
			"/adapter_model.safetensors: base_model.model.model.layers.0.self_attn.q_proj."
			"lora_B.weight[0, 0]: expected finite values, found -inf (1 of 16 is not finite)"},
		{norm, 4, INFINITY,
			"/adapter_model.safetensors: base_model.model.model.norm.weight[4]: expected "
			"finite values, found inf (1 of 8 is not finite)"},
		{name_a, 15, 3e38, /* times 2, the scale */
			"/adapter_model.safetensors: model.layers.0.self_attn.q_proj.weight[0, 7]: "
			"expected finite values, found inf (8 of 64 are not finite)"},
		{name_a, 15, 1e30, NULL},
	};
	const char *base = small_folder("base"), *adapter = small_folder("adapter");
	char path[512];

	snprintf(path, sizeof path, "%s/adapter_model.safetensors", adapter);
	small_write_model(base, ",\"tie_word_embeddings\":true", NULL, 0);
	small_write_text(adapter, "adapter_config.json",
		"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":"
		"[\"0.self_attn.q_proj\"],\"modules_to_save\":[\"model.norm\"]}");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct model *model;
		struct device *dev;
		struct err err;

		small_write_tensors(adapter, "adapter_model.safetensors", tensors, 3);
		spoil_tensor(path, cases[i].name, cases[i].i, cases[i].value);
		CHECK(small_open(&model, &dev, base, adapter, &err) ==
					(cases[i].text ? ERR_INPUT : 0) &&
				(!cases[i].text || (strstr(err.text, cases[i].text) &&
							   strstr(err.text, adapter))),
			"case %zu: %s", i, err.text);
		model_close(model);
		CHECK(device_allocated(dev) == 0, "case %zu: %zu bytes are left", i,
			device_allocated(dev));
		device_close(dev);
	}
}

TEST(what_an_adapter_replaces_is_not_looked_at_in_its_base)
{
	static const struct small_tensor saved = {ROOT "norm.weight", 0, SMALL_WIDTH, 1};
	const char *base = small_folder("base2"), *adapter = small_folder("adapter2");
	char path[512];
	struct model *model;
	struct device *dev;
	struct err err;

	snprintf(path, sizeof path, "%s/model.safetensors", base);
	small_write_model(base, ",\"tie_word_embeddings\":true", NULL, 0);
	spoil_tensor(path, "model.norm.weight", 0, NAN);
	small_write_text(adapter, "adapter_config.json",
		"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":[],"
		"\"modules_to_save\":[\"model.norm\"]}");
	small_write_tensors(adapter, "adapter_model.safetensors", &saved, 1);
	CHECK(small_open(&model, &dev, base, adapter, &err) == 0, "%s", err.text);
	model_close(model);
	device_close(dev);
}
