/* SPDX-License-Identifier: MIT
 *
 * test_arch.c - what is read from config.json, and what of it is refused or named. Rotary
 * frequencies bit for bit against transformers: tests/golden/rope.txt, made by
 * tests/golden/make_rope.py.
 */
#include "host/model/arch.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LLAMA \
	"\"hidden_size\":8,\"intermediate_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":2," \
	"\"num_key_value_heads\":2,\"head_dim\":4,\"vocab_size\":5,\"max_position_embeddings\":64"

static int parse(struct arch *arch, struct err *err, const char *type, const char *more)
{
	char text[2048];
	const int n = snprintf(text, sizeof text, "{\"model_type\":\"%s\"," LLAMA "%s%s}", type,
		*more ? "," : "", more);

	*err = (struct err){0};
	return arch_parse(arch, "config.json", text, (size_t)n, 0, err);
}

/* ---- rotary positions -------------------------------------------------------------------- */

TEST(every_rotary_frequency_is_the_float32_that_transformers_has)
{
	char path[600];
	FILE *file;
	int type, n_shapes = 0;
	size_t head_dim;
	struct rope rope;

	snprintf(path, sizeof path, "%s/tests/golden/rope.txt", test_source_root());
	file = fopen(path, "r");
	REQUIRE(file, "%s is not there", path);
	while (fscanf(file, "%d %zu %lf %lf %lf %lf %lf", &type, &head_dim, &rope.theta,
		       &rope.factor, &rope.low_factor, &rope.high_factor,
		       &rope.original_context) == 7) {
		float frequencies[256];

		rope.scaling = (enum rope_scaling)type;
		rope_inverse_frequencies(&rope, head_dim, frequencies);
		for (size_t i = 0; i < head_dim / 2; i++) {
			uint32_t bits, expected = 0;

			memcpy(&bits, &frequencies[i], 4);
			CHECK(fscanf(file, "%x", &expected) == 1 && bits == expected,
				"shape %d, frequency %zu: %08x, expected %08x", n_shapes, i, bits,
				expected);
		}
		n_shapes++;
	}
	CHECK(n_shapes == 18, "%d shapes", n_shapes);
	fclose(file);
}

TEST(rotary_scalings_that_say_nothing_definite_are_refused)
{
	static const struct {
		const char *more, *message;
	} cases[] = {
		{"\"rope_scaling\":5", "rope_scaling: expected an object, found an integer"},
		{"\"rope_scaling\":\"x\"", "rope_scaling: expected an object, found a string"},
		{"\"rope_scaling\":[]", "rope_scaling: expected an object, found an array"},
		{"\"rope_parameters\":[]", "rope_parameters: expected an object, found an array"},
		{"\"rope_scaling\":{\"factor\":2.0}",
			"factor: expected a rope_type beside it, found nothing"},
		{"\"rope_scaling\":{\"type\":\"linear\"}",
			"factor: expected a positive number, found nothing"},
		{"\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}",
			"factor: expected a positive number, found 0"},
		{"\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2.5}",
			"factor: expected a positive number, found -2.5"},
		{"\"rope_scaling\":{\"type\":\"linear\",\"factor\":null}",
			"factor: expected a positive number, found null"},
		{"\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\",\"factor\":2}",
			"rope_type: default, but type: linear; expected the same"},
		{"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"high_freq_factor\":4}",
			"low_freq_factor: expected a positive number, found nothing"},
		{"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4,"
		 "\"high_freq_factor\":1}",
			"high_freq_factor: expected more than low_freq_factor (4), found 1"},
		{"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8.0}",
			"rope_type: expected default, linear or llama3, found yarn"},
		{"\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2},"
		 "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":3}",
			"rope_scaling and rope_parameters say different things"},
		{"\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5.0}}",
			"rope_parameters: expected those of all layers, found full_attention"},
		{"\"partial_rotary_factor\":0.5", "partial_rotary_factor: expected 1, found 0.5"},
		{"\"rope_parameters\":{\"partial_rotary_factor\":0.25}",
			"partial_rotary_factor: expected 1, found 0.25"},
		{"\"original_max_position_embeddings\":16,\"rope_scaling\":{\"rope_type\":\"llama3\","
		 "\"factor\":8.0,\"low_freq_factor\":1,\"high_freq_factor\":4,"
		 "\"original_max_position_embeddings\":32}",
			"original_max_position_embeddings: 16, but 32 beside rope_type"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arch arch;
		struct err err;

		CHECK(parse(&arch, &err, "llama", cases[i].more) == ERR_INPUT &&
				strstr(err.text, cases[i].message),
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(rotary_parameters_are_taken_from_where_transformers_takes_them)
{
	struct arch arch;
	struct err err;

	REQUIRE(parse(&arch, &err, "llama",
			"\"rope_theta\":7.0,\"rope_parameters\":{\"rope_theta\":5.0}") == 0,
		"%s", err.text);
	CHECK(arch.rope[0].theta == 5 && arch.rope[0].scaling == ROPE_PLAIN, "theta %g",
		arch.rope[0].theta);
	REQUIRE(parse(&arch, &err, "llama",
			"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
			"\"low_freq_factor\":1,\"high_freq_factor\":4}") == 0,
		"%s", err.text);
	CHECK(arch.rope[0].original_context == 64, "the context that is stretched is %g",
		arch.rope[0].original_context);
	REQUIRE(parse(&arch, &err, "llama",
			"\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":3.0},"
			"\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":3.0}") ==
			0,
		"%s", err.text);
	CHECK(arch.rope[0].theta == 3 && arch.rope[0].factor == 2, "theta %g", arch.rope[0].theta);
	REQUIRE(parse(&arch, &err, "gemma3_text",
			"\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5.0}},"
			"\"rope_theta\":9.0,\"rope_local_base_freq\":3.0") == 0,
		"%s", err.text);
	CHECK(arch.rope[ARCH_ROPE_GLOBAL].theta == 5 && arch.rope[ARCH_ROPE_LOCAL].theta == 3,
		"%g and %g", arch.rope[ARCH_ROPE_GLOBAL].theta, arch.rope[ARCH_ROPE_LOCAL].theta);
	CHECK(parse(&arch, &err, "gemma3_text", "\"rope_parameters\":{\"rope_theta\":5.0}") ==
				ERR_INPUT &&
			strstr(err.text, "expected full_attention and sliding_attention"),
		"%s", err.text);
}

/* ---- other declarations ------------------------------------------------------------------- */

TEST(what_a_family_does_not_do_is_refused_or_named)
{
	static const struct {
		const char *type, *more, *message;
	} cases[] = {
		{"llama", "\"mlp_bias\":true", "mlp_bias: expected false, found true"},
		{"gemma3_text", "\"use_bidirectional_attention\":true",
			"use_bidirectional_attention: expected false, found true"},
		{"llama", "\"transformers_weights\":\"other.safetensors\"",
			"transformers_weights: expected model.safetensors or nothing, found other."},
		{"llama", "\"hidden_act\":\"relu\"",
			"hidden_act: expected gelu_pytorch_tanh or silu, found relu"},
		{"gemma2", "\"hidden_activation\":\"gelu\"", "hidden_activation: expected gelu_py"},
		{"qwen2", "\"layer_types\":[\"sliding_attention\",\"full_attention\"]",
			"layer_types: sliding_attention for layer 0, but no sliding_window is in use"},
		{"gemma2", "\"layer_types\":[\"full_attention\"]",
			"layer_types: expected a list of num_hidden_layers (2), found an array of 1"},
		{"gemma2", "\"layer_types\":[\"full_attention\",\"chunked_attention\"]",
			"layer_types: expected sliding_attention or full_attention for layer 1"},
		{"llama\\u0000", "", "model_type: expected a text, found a NUL in it"},
		{"phi3", "", "model_type: expected one of gemma2, gemma3_text, llama"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arch arch;
		struct err err;

		CHECK(parse(&arch, &err, cases[i].type, cases[i].more) == ERR_INPUT &&
				strstr(err.text, cases[i].message),
			"case %zu: \"%s\"", i, err.text);
	}
}

TEST(keys_that_a_family_does_not_read_change_nothing_and_are_named)
{
	static const struct {
		const char *type, *more, *unread;
	} cases[] = {
		{"llama", "\"use_cache\":true,\"torch_dtype\":\"bfloat16\",\"sliding_window\":null",
			""},
		{"llama", "\"sliding_window\":4,\"logit_scale\":2.0,\"x\":[],\"y\":false",
			"sliding_window, logit_scale"},
		{"mistral", "\"attention_bias\":true,\"layer_types\":[\"full_attention\"]",
			"attention_bias, layer_types"},
		{"qwen2", "\"attention_bias\":true,\"mlp_bias\":true", "attention_bias, mlp_bias"},
		{"gemma3_text", "\"attn_logit_softcapping\":50.0", "attn_logit_softcapping"},
		{"gemma2",
			"\"attn_logit_softcapping\":20.0,\"hidden_act\":\"gelu_pytorch_tanh\","
			"\"hidden_activation\":\"gelu_pytorch_tanh\"",
			""},
		{"gemma2", "\"hidden_act\":\"relu\"", "hidden_act"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arch arch;
		struct err err;

		REQUIRE(parse(&arch, &err, cases[i].type, cases[i].more) == 0, "case %zu: %s", i,
			err.text);
		CHECK(strcmp(arch.unread_keys, cases[i].unread) == 0, "case %zu: \"%s\"", i,
			arch.unread_keys);
	}
}

TEST(gemma_3_caps_no_attention_whatever_its_config_says)
{
	struct arch arch;
	struct err err;

	REQUIRE(parse(&arch, &err, "gemma3_text", "\"attn_logit_softcapping\":50.0") == 0, "%s",
		err.text);
	CHECK(arch.attention_softcap == 0, "capped at %g", arch.attention_softcap);
	REQUIRE(parse(&arch, &err, "gemma2", "\"attn_logit_softcapping\":20.0") == 0, "%s",
		err.text);
	CHECK(arch.attention_softcap == 20, "capped at %g", arch.attention_softcap);
}

TEST(biases_are_read_of_the_families_that_have_them)
{
	struct arch arch;
	struct err err;

	REQUIRE(parse(&arch, &err, "llama", "\"attention_bias\":true") == 0, "%s", err.text);
	CHECK(arch.qkv_bias && arch.o_bias, "a Llama without its biases");
	REQUIRE(parse(&arch, &err, "mistral", "\"attention_bias\":true") == 0, "%s", err.text);
	CHECK(!arch.qkv_bias && !arch.o_bias, "a Mistral with biases");
	REQUIRE(parse(&arch, &err, "qwen2", "\"attention_bias\":true") == 0, "%s", err.text);
	CHECK(arch.qkv_bias && !arch.o_bias, "a Qwen 2 whose o_proj has a bias");
}

TEST(a_multimodal_config_ties_by_its_own_flag_and_the_inner_one_must_agree)
{
	static const struct {
		const char *outer, *inner;
		int tied; /* -1: refused */
	} cases[] = {
		{"", "", 1},
		{",\"tie_word_embeddings\":false", "", 0},
		{",\"tie_word_embeddings\":true", ",\"tie_word_embeddings\":true", 1},
		{",\"tie_word_embeddings\":true", ",\"tie_word_embeddings\":false", -1},
		{"", ",\"tie_word_embeddings\":false", -1},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[1024];
		struct arch arch;
		struct err err;
		int rc;
		const int n = snprintf(text, sizeof text,
			"{\"model_type\":\"gemma3\"%s,\"text_config\":{" LLAMA "%s}}",
			cases[i].outer, cases[i].inner);

		rc = arch_parse(&arch, "config.json", text, (size_t)n, 0, &err);
		if (cases[i].tied < 0) {
			CHECK(rc == ERR_INPUT && strstr(err.text, "tie_word_embeddings: true, but "
								  "false in text_config"),
				"case %zu: %s", i, err.text);
			continue;
		}
		CHECK(rc == 0 && arch.tied_embedding == cases[i].tied, "case %zu", i);
	}
}

TEST(quantized_weights_are_refused_by_the_kind_that_the_config_declares)
{
	static const struct {
		const char *more, *message;
	} cases[] = {
		{"\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
			"quantization_config: the weights are quantized: gptq, 4 bits; expected"},
		{"\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}",
			": bitsandbytes, 4 bits; "},
		{"\"quantization_config\":{\"load_in_8bit\":true}", ": 8 bits; "},
		{"\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
		 "\"format\":\"float-quantized\"}",
			": compressed-tensors, float-quantized; "},
		{"\"quantization_config\":{}", ": of a kind that is not named; "},
		{"\"compression_config\":{\"format\":\"pack-quantized\"}",
			"compression_config: the weights are quantized: pack-quantized; "},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arch arch;
		struct err err;

		CHECK(parse(&arch, &err, "llama", cases[i].more) == ERR_INPUT &&
				strstr(err.text, cases[i].message),
			"case %zu: \"%s\"", i, err.text);
	}
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	REQUIRE(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

TEST(a_file_beside_the_config_that_declares_quantization_is_refused_too)
{
	const char *folder = in_scratch("quantized");
	char path[600];
	struct arch arch;
	struct err err;

	mkdir(folder, 0777);
	snprintf(path, sizeof path, "%s/config.json", folder);
	write_text(path, "{\"model_type\":\"llama\"," LLAMA "}");
	REQUIRE(arch_read(&arch, folder, 0, &err) == 0, "%s", err.text);
	snprintf(path, sizeof path, "%s/hf_quant_config.json", folder);
	write_text(path, "{\"quantization\":{\"quant_algo\":\"FP8\"}}");
	CHECK(arch_read(&arch, folder, 0, &err) == ERR_INPUT &&
			strstr(err.text, "hf_quant_config.json: the weights are quantized: FP8; "),
		"%s", err.text);
}
