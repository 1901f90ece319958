/* SPDX-License-Identifier: MIT
 *
 * test_weights.c - which tensors of a checkpoint are taken: the head by flag and file, layers
 * beyond those that config.json declares, what is left over.
 */
#include "tests/small_model.h"

#include <string.h>

#define HEAD(first) \
	{ \
		"lm_head.weight", SMALL_VOCAB, SMALL_WIDTH, first \
	}

TEST(the_head_is_the_files_own_unless_it_repeats_the_embedding_or_is_not_there)
{
	static const struct {
		const char *more;
		struct small_tensor head;
		enum model_head from;
		double value; /* of the unembedding's first element */
	} cases[] = {
		{"", HEAD(3), HEAD_OWN, 3}, /* a Llama is not tied by default */
		{",\"tie_word_embeddings\":false", HEAD(1), HEAD_OWN, 1},
		{",\"tie_word_embeddings\":true", {0}, HEAD_TIED, 1},
		{",\"tie_word_embeddings\":true", HEAD(1), HEAD_REPEATED, 1},
		{",\"tie_word_embeddings\":true", HEAD(3), HEAD_DIFFERS, 3},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *folder = small_folder("head");
		struct model *model;
		struct device *dev;
		struct err err;
		bool shared;

		small_write_model(folder, cases[i].more, &cases[i].head,
			cases[i].head.name ? 1 : 0);
		REQUIRE(small_open(&model, &dev, folder, NULL, &err) == 0, "case %zu: %s", i,
			err.text);
		shared = model->unembedding.data == model->embedding.data;
		CHECK(model->head == cases[i].from, "case %zu: head %d", i, (int)model->head);
		CHECK(shared == (model->head == HEAD_TIED || model->head == HEAD_REPEATED),
			"case %zu: shared %d", i, shared);
		CHECK(*(const float *)model->unembedding.data == (float)cases[i].value,
			"case %zu: %g", i, (double)*(const float *)model->unembedding.data);
		CHECK(model_parameters(model) == (shared ? 1u : 2u) * SMALL_VOCAB * SMALL_WIDTH +
							 SMALL_WIDTH +
							 SMALL_LAYERS * (7u * 64 + 2 * SMALL_WIDTH),
			"case %zu: %zu parameters", i, model_parameters(model));
		model_close(model);
		device_close(dev);
	}
}

TEST(no_head_in_the_file_and_none_by_the_flag_is_an_error_that_names_both)
{
	const char *folder = small_folder("headless");
	struct model *model;
	struct device *dev;
	struct err err;

	small_write_model(folder, ",\"tie_word_embeddings\":false", NULL, 0);
	CHECK(small_open(&model, &dev, folder, NULL, &err) == ERR_INPUT && !model &&
			strstr(err.text, "tensor \"lm_head.weight\": not in the checkpoint, but "
					 "tie_word_embeddings is false in config.json"),
		"%s", err.text);
	device_close(dev);
}

TEST(a_layer_beyond_those_that_the_config_declares_is_an_error_that_names_both)
{
	static const struct small_tensor extra = {"model.layers.2.input_layernorm.weight", 0,
		SMALL_WIDTH, 0};
	const char *folder = small_folder("deep");
	struct model *model;
	struct device *dev;
	struct err err;

	small_write_model(folder, ",\"tie_word_embeddings\":true", &extra, 1);
	CHECK(small_open(&model, &dev, folder, NULL, &err) == ERR_INPUT &&
			strstr(err.text,
				"tensor \"model.layers.2.input_layernorm.weight\": layer 2 of a model "
				"that has 2 by config.json (num_hidden_layers)"),
		"%s", err.text);
	device_close(dev);
}

TEST(tensors_that_the_model_has_no_place_for_are_counted_and_named)
{
	static const struct small_tensor extra[] = {{"model.layers.0.self_attn.q_proj.bias", 0,
							    SMALL_WIDTH, 0},
		{"model.rotary.inv_freq", 0, 2, 0}, {"vision_tower.a", 0, 2, 0},
		{"vision_tower.b", 0, 2, 0}};
	const char *folder = small_folder("more");
	struct model *model;
	struct device *dev;
	struct err err;

	small_write_model(folder, ",\"tie_word_embeddings\":true", extra, 4);
	REQUIRE(small_open(&model, &dev, folder, NULL, &err) == 0, "%s", err.text);
	CHECK(strcmp(model->unused, "4: model.layers.0.self_attn.q_proj.bias, "
				    "model.rotary.inv_freq, vision_tower.a, ...") == 0,
		"%s", model->unused);
	model_close(model);
	device_close(dev);
	small_write_model(folder, ",\"tie_word_embeddings\":true", NULL, 0);
	REQUIRE(small_open(&model, &dev, folder, NULL, &err) == 0, "%s", err.text);
	CHECK(strcmp(model->unused, "") == 0, "%s", model->unused);
	model_close(model);
	device_close(dev);
}
