/* SPDX-License-Identifier: MIT
 *
 * test_sae_site.c - where dictionaries say they were trained: names of hooks and folders, and that
 * an SAE of another place or layer is refused whatever found it. The files are those of
 * tests/golden/saes, under names and with configs as publishers give them.
 */
#include "host/model/sae.h"
#include "host/model/sae_site.h"
#include "tests/device_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, N_LAYERS = 3 };

/* ---- names ------------------------------------------------------------------------------- */

static const struct {
	const char *name, *place;
	int layer, block; /* -1 = none */
} hooks[] =
	{
		{"blocks.3.hook_resid_post", "resid_post", 3, 3},
		{"blocks.3.hook_resid_pre", "resid_post", 2, 3}, /* the same numbers */
		{"blocks.0.hook_resid_pre", "resid_pre", 0, 0},
		{"blocks.12.hook_resid_mid", "resid_mid", 12, 12},
		{"blocks.12.hook_mlp_out", "mlp_out", 12, 12},
		{"blocks.12.hook_attn_out", "attn_out", 12, 12},
		{"blocks.12.attn.hook_z", "z", 12, 12},
		{"blocks.12.ln2.hook_normalized", "mlp_in", 12, 12},
		{"blocks.12.mlp.hook_post", "mlp.hook_post", 12, 12},
		{"model.layers.7.output", "resid_post", 7, 7},
		{"model.layers.7", "resid_post", 7, 7},
		{"model.language_model.layers.7.output", "resid_post", 7, 7},
		{"model.layers.7.input", "resid_post", 6, 7},
		{"layers.7.mlp", "mlp_out", 7, 7},
		{"layers.7.self_attn", "attn_out", 7, 7},
		{"model.layers.0.self_attn.o_proj.input", "z", 0, 0},
		{"model.layers.0.pre_feedforward_layernorm.output", "mlp_in", 0, 0},
		{"model.layers.0.post_feedforward_layernorm.output", "mlp_out", 0, 0},
		{"hook_embed", "hook_embed", -1, -1},
		{"blocks..hook_resid_post", "blocks..hook_resid_post", -1, -1},
		{"blocks.1234567.hook_resid_post", "blocks.1234567.hook_resid_post", -1, -1},
		{"myblocks.3.hook_resid_post", "myblocks.3.hook_resid_post", -1, -1},
		{"", "", -1, -1},
},
  folders[] = {
	  {"gemma-scope-2b-pt-res", "resid_post", -1, -1},
	  {"models--google--gemma-scope-9b-it-mlp", "mlp_out", -1, -1},
	  {"gemma-scope-2b-pt-att", "z", -1, -1},
	  {"gemma-scope-2b-pt-transcoders", "transcoder", -1, -1},
	  {"gemma-scope-2b-pt-res-canonical", "resid_post", -1, -1},
	  {"gemma-scope-2-270m-it", "", -1, -1},
	  {"tiny-gemma2-scope", "", -1, -1},
	  {"resid_post", "resid_post", -1, -1},
	  {"resid_post_all", "resid_post", -1, -1},
	  {"attn_out_all", "attn_out", -1, -1},
	  {"transcoder_all", "transcoder", -1, -1},
	  {"clt", "clt", -1, -1},
	  {"mlp_outer", "", -1, -1},
	  {"layer_12", "", 12, 12},
	  {"layer_12_width_16k_l0_small", "", 12, 12},
	  {"layer_12b", "", -1, -1},
	  {"layer_x", "", -1, -1},
	  {"Llama3_1-8B-Base-L15R-8x", "resid_post", 15, 15},
	  {"Llama3_1-8B-Base-L15TC-8x", "transcoder", 15, 15},
	  {"Llama3_1-8B-Base-LXM-32x", "mlp_out", -1, -1},
	  {"Llama3_1-8B-Base", "", -1, -1},
	  {"L4A", "attn_out", 4, 4},
	  {"L4", "", -1, -1},
	  {"layers.5", "resid_post", 5, 5},
	  {"layers.5.mlp", "mlp_out", 5, 5},
	  {"blocks.8.hook_resid_post__trainer_3", "resid_post", 8, 8},
	  {"width_16k", "", -1, -1},
	  {"average_l0_71", "", -1, -1},
};

static void check_where(const char *name, struct sae_where w, const char *place, int layer,
	int block)
{
	CHECK(strcmp(w.place, place) == 0 && w.has_layer == (layer >= 0) &&
			(layer < 0 || (w.layer == (size_t)layer && w.block == (size_t)block)),
		"\"%s\" is \"%s\" of layer %d, block %d; expected \"%s\", %d, %d", name, w.place,
		w.has_layer ? (int)w.layer : -1, w.has_layer ? (int)w.block : -1, place, layer,
		block);
}

TEST(names_of_hooks_and_folders_say_place_and_layer_as_their_publishers_mean_them)
{
	for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
		check_where(hooks[i].name, sae_where_of_hook(hooks[i].name), hooks[i].place,
			hooks[i].layer, hooks[i].block);
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
		check_where(folders[i].name, sae_where_of_folder(folders[i].name), folders[i].place,
			folders[i].layer, folders[i].block);
}

/* ---- files ------------------------------------------------------------------------------- */

/* A copy of a golden folder at scratch/NAME, in which a shell has run a command. */
static const char *prepare(const char *golden, const char *name, const char *command)
{
	static char folder[900];
	char text[4096];

	snprintf(folder, sizeof folder, "%s/site/%s", test_scratch_folder(), name);
	snprintf(text, sizeof text,
		"rm -rf '%s/site' && mkdir -p '%s' && cp -r '%s/tests/golden/saes/%s/.' '%s' && cd '%s' "
		"&& %s",
		test_scratch_folder(), folder, test_source_root(), golden, folder, folder, command);
	if (system(text) != 0) {
		fprintf(stderr, "%s\n", text);
		exit(1);
	}
	return folder;
}

/* Replaces a text that must be there. */
#define EDIT(file, from, to) \
	"grep -q '" from "' '" file "' && sed -i 's/" from "/" to "/g' '" file "'"

struct sae_case {
	const char *golden, *name, *command, *layer_folder;
	const char *text;
};

/* text: who says the site of layer 0. */
static const struct sae_case accepted[] = {
	{"gemma_scope", "scope", "true", "", ""},
	{"gemma_scope", "gemma-scope-2b-pt-res", "true", "",
		"the folder's name is \"gemma-scope-2b-pt-res\""},
	{"gemma_scope", "layer_9/scope", "true", "", ""}, /* above what layers share */
	{"gemma_scope_2", "resid_post_all", "true", "",
		"hf_hook_point_in of config.json is \"model.layers.0.output\""},
	{"llama_scope", "LXR-8x", "true", "",
		"hook_point_in of hyperparams.json is \"blocks.0.hook_resid_post\""},
	{"llama_scope", "scope", EDIT("Random-L0R-1x/hyperparams.json", "jumprelu\"", "topk\""), "",
		"hook_point_in of hyperparams.json is \"blocks.0.hook_resid_post\""},
	{"sparsify_topk", "scope", "true", "", "the folder's name is \"layers.0\""},
	{"saelens_topk", "scope",
		"sed -i 's/blocks.\\(.\\).hook_resid_post/model.layers.\\1/' */cfg.json", "",
		"hook_name of cfg.json is \"model.layers.0\""},
	{"saelens_before_6", "scope", "true", "",
		"hook_point of cfg.json is \"blocks.1.hook_resid_pre\""},
	{"saelens_before_6", "scope", "mv any-x layer_1; mv any-y layer_2; mv any-z layer_3", "",
		"hook_point of cfg.json is \"blocks.1.hook_resid_pre\""},
};

/* text: the error's, %s the folder; without %s a part of it. */
static const struct sae_case refused[] = {
	/* Gemma Scope: the repository's name, the layer's folder. */
	{"gemma_scope", "gemma-scope-2b-pt-mlp", "true", "",
		"%s/layer_0/width_40/average_l0_112: expected a folder of resid_post of layer 0, found "
		"\"gemma-scope-2b-pt-mlp\", which is of mlp_out"},
	{"gemma_scope", "models--google--gemma-scope-2b-pt-att/snapshots/9f0", "true", "",
		"/layer_0/width_40/average_l0_112: expected a folder of resid_post of layer 0, found "
		"\"models--google--gemma-scope-2b-pt-att\", which is of z"},
	{"gemma_scope", "scope",
		"for l in 0 1 2; do ln -s layer_$l/width_40/average_l0_60 l$l; done; rm l1; "
		"ln -s layer_2/width_40/average_l0_60 l1",
		"l{layer}",
		"expected a folder of resid_post of layer 1, found \"layer_2\", which is of layer 2"},
	/* Gemma Scope 2: config.json, and the folder where there is none. */
	{"gemma_scope_2", "resid_post",
		EDIT("layer_0_width_40_l0_medium/config.json", "layers.0.output",
			"layers.0.post_feedforward_layernorm.output"),
		"",
		"%s/layer_0_width_40_l0_medium/config.json: hf_hook_point_in: expected a hook of "
		"resid_post of layer 0, where the engine reads and clamps, found "
		"\"model.layers.0.post_feedforward_layernorm.output\", which is mlp_out of layer 0"},
	{"gemma_scope_2", "resid_post",
		EDIT("layer_2_width_40_l0_medium/config.json", "layers.2", "layers.1"), "",
		"%s/layer_2_width_40_l0_medium/config.json: hf_hook_point_in: expected a hook of "
		"resid_post of layer 2, where the engine reads and clamps, found "
		"\"model.layers.1.output\", which is resid_post of layer 1"},
	{"gemma_scope_2", "transcoder_all", "rm layer_*_small -r; rm */config.json", "",
		"%s/layer_0_width_40_l0_medium: expected a folder of resid_post of layer 0, found "
		"\"transcoder_all\", which is of transcoder"},
	{"gemma_scope_2", "mlp_out", "true", "",
		"%s/layer_0_width_40_l0_medium: expected a folder of resid_post of layer 0 "
		"(hf_hook_point_in of config.json is \"model.layers.0.output\"), found \"mlp_out\", "
		"which is of mlp_out"},
	{"gemma_scope_2", "resid_post",
		EDIT("layer_0_width_40_l0_medium/config.json", "\"l0\"",
			"\"type\": \"crosscoder\", \"l0\""),
		"",
		"%s/layer_0_width_40_l0_medium/config.json: type: expected \"sae\", found "
		"\"crosscoder\""},
	{"gemma_scope_2", "resid_post",
		EDIT("layer_0_width_40_l0_medium/config.json", "\"l0\"",
			"\"affine_connection\": true, \"l0\""),
		"",
		"%s/layer_0_width_40_l0_medium/config.json: affine_connection: expected false, found "
		"true"},
	{"gemma_scope_2", "resid_post",
		EDIT("layer_0_width_40_l0_medium/config.json", "\"width\": 40", "\"width\": 41"),
		"",
		"%s/layer_0_width_40_l0_medium/config.json: width: expected 40, as the weights have, "
		"found 41"},
	/* Llama Scope. */
	{"llama_scope", "scope", EDIT("Random-L1R-1x/hyperparams.json", "blocks.1", "blocks.2"), "",
		"%s/Random-L1R-1x/hyperparams.json: hook_point_in: expected a hook of resid_post of "
		"layer 1, where the engine reads and clamps, found \"blocks.2.hook_resid_post\", which is "
		"resid_post of layer 2"},
	{"llama_scope", "scope",
		EDIT("Random-L1R-1x/hyperparams.json", "\"d_model\"",
			"\"hook_point_out\": \"blocks.1.hook_mlp_out\", \"d_model\""),
		"",
		"%s/Random-L1R-1x/hyperparams.json: hook_point_out: expected a hook of resid_post of "
		"layer 1, where the engine reads and clamps, found \"blocks.1.hook_mlp_out\", which is "
		"mlp_out of layer 1"},
	{"llama_scope", "scope", "mv Random-L1R-1x Random-L1M-1x", "",
		"%s: expected an SAE of every layer, found none of layer 1 in the format llama_scope (to "
		"go on without, sae.layers = \"found\"), but \"Random-L1M-1x\", which is of mlp_out of "
		"layer 1"},
	{"llama_scope", "scope", "for l in 0 1 2; do mv Random-L${l}R-1x R-L${l}A-1x; done",
		"R-L{layer}A-1x",
		"%s/R-L0A-1x: expected a folder of resid_post of layer 0 (hook_point_in of "
		"hyperparams.json is \"blocks.0.hook_resid_post\"), found \"R-L0A-1x\", which is of "
		"attn_out of layer 0"},
	{"llama_scope", "scope", "for l in 0 1 2; do mv Random-L${l}R-1x R-L${l}A-1x; done", "",
		"found none of them, but \"R-L"},
	{"llama_scope", "scope", EDIT("Random-L0R-1x/hyperparams.json", "jumprelu\"", "relu\""), "",
		"%s/Random-L0R-1x/hyperparams.json: act_fn: expected \"jumprelu\" (or \"topk\" with a "
		"jump_relu_threshold), found \"relu\""},
	{"llama_scope", "scope",
		EDIT("Random-L0R-1x/hyperparams.json", "decoder_norm\": true",
			"decoder_norm\": false"),
		"",
		"%s/Random-L0R-1x/hyperparams.json: sparsity_include_decoder_norm: expected true, found "
		"false"},
	{"llama_scope", "scope",
		EDIT("Random-L0R-1x/hyperparams.json", "\"d_model\"",
			"\"apply_decoder_bias_to_pre_encoder\": true, \"d_model\""),
		"",
		"%s/Random-L0R-1x/hyperparams.json: apply_decoder_bias_to_pre_encoder: expected false, "
		"found true"},
	{"llama_scope", "scope",
		EDIT("Random-L2R-1x/hyperparams.json", "d_sae\": 40", "d_sae\": 32"), "",
		"%s/Random-L2R-1x/hyperparams.json: d_sae: expected 40, as the weights have, found 32"},
	/* lm_saes and sparsify. */
	{"lm_saes", "scope", "mv L0R L0M && mv L1R L1M && mv L2R L2M", "L{layer}M",
		"%s/L0M: expected a folder of resid_post of layer 0 (hook_point_in of config.json is "
		"\"blocks.0.hook_resid_post\"), found \"L0M\", which is of mlp_out of layer 0"},
	{"lm_saes", "scope", EDIT("L1R/config.json", "\"d_model\": 24", "\"d_model\": 25"), "",
		"%s/L1R/config.json: d_model: expected 24, as the weights have, found 25"},
	{"sparsify_topk", "scope", "for l in 0 1 2; do mv layers.$l layers.$l.mlp; done",
		"layers.{layer}.mlp",
		"%s/layers.0.mlp: expected a folder of resid_post of layer 0, found \"layers.0.mlp\", "
		"which is of mlp_out of layer 0"},
	{"sparsify_topk", "scope", "mv layers.1 layers.1.self_attn", "",
		"but \"layers.1.self_attn\", which is of attn_out of layer 1"},
	/* SAELens: the hook finds the folder, or is held against it. */
	{"saelens_topk", "scope",
		"sed -i 's/hook_resid_post/hook_mlp_out/' any-x/cfg.json any-y/cfg.json any-z/cfg.json",
		"",
		"%s: expected SAEs of resid_post, by the hook that cfg.json names, found none of that "
		"place; %s/any-x is of \"blocks.0.hook_mlp_out\""},
	{"saelens_topk", "scope", "mv any-x l0; mv any-y l2; mv any-z l1", "l{layer}",
		"%s/l1/cfg.json: hook_name: expected a hook of resid_post of layer 1, where the engine "
		"reads and clamps, found \"blocks.2.hook_resid_post\", which is resid_post of layer 2"},
	{"saelens_topk", "scope", "mv any-x layer_0; mv any-y layer_2; mv any-z layer_1", "",
		"%s/layer_2: expected a folder of resid_post of layer 1 (hook_name of cfg.json is "
		"\"blocks.1.hook_resid_post\"), found \"layer_2\", which is of layer 2"},
	{"saelens_topk", "scope",
		EDIT("any-x/cfg.json", "\"metadata\"",
			"\"hook_name\": \"blocks.1.hook_resid_post\", \"metadata\""),
		"",
		"%s/any-x/cfg.json: hook_name: expected a hook of resid_post of layer 0, where the engine "
		"reads and clamps, found \"blocks.1.hook_resid_post\", which is resid_post of layer 1"},
	{"saelens_topk", "scope",
		EDIT("any-x/cfg.json", "\"hook_name\"",
			"\"hook_name_out\": \"blocks.0.hook_mlp_out\", \"hook_name\""),
		"",
		"%s/any-x/cfg.json: hook_name_out: expected a hook of resid_post of layer 0, where the "
		"engine reads and clamps, found \"blocks.0.hook_mlp_out\", which is mlp_out of layer 0"},
	{"saelens_topk", "scope",
		EDIT("any-x/cfg.json", "\"hook_name\"", "\"hook_head_index\": 3, \"hook_name\""),
		"",
		"%s/any-x/cfg.json: hook_head_index: expected none, an SAE of the whole width, found head "
		"3"},
	{"saelens_topk", "scope", EDIT("any-y/cfg.json", "\"d_in\": 24", "\"d_in\": 48"), "",
		"%s/any-y/cfg.json: d_in: expected 24, as the weights have, found 48"},
	/* resid_pre of a block is resid_post of the one before, never of its own. */
	{"saelens_before_6", "scope", "mv any-y l0; mv any-z l1; mv any-x l2", "l{layer}",
		"%s/l0/cfg.json: hook_name: expected a hook of resid_post of layer 0, where the engine "
		"reads and clamps, found \"blocks.2.hook_resid_pre\", which is resid_post of layer 1"},
	{"saelens_before_6", "scope", EDIT("any-y/cfg.json", "layer\": 2", "layer\": 1"), "",
		"%s/any-y/cfg.json: hook_point_layer: expected 2, as hook_name of cfg.json is "
		"\"blocks.2.hook_resid_pre\", found 1"},
};

/* Whether an error's text is the expected one, or without %s holds it. */
static bool is_text(const char *found, const char *expected, const char *folder)
{
	char text[2048];

	if (!strstr(expected, "%s"))
		return strstr(found, expected) != NULL;
	snprintf(text, sizeof text, expected, folder, folder);
	return strcmp(found, text) == 0;
}

static int open_case(struct sae_set **saes, struct device *dev, const struct sae_case *c,
	const char **folder, struct err *err)
{
	struct sae_options options = {.format = "auto",
		.layer_folder = c->layer_folder,
		.width = strcmp(c->golden, "llama_scope") == 0 ? "1x" : "40",
		.l0 = 100,
		.fold = "authors",
		.some_layers = strcmp(c->golden, "gemma_scope_2") == 0,
		.budget = 1 << 20};

	*folder = prepare(c->golden, c->name, c->command);
	options.path = *folder;
	return sae_set_open(saes, dev, &options, N_LAYERS, D, err);
}

TEST(an_sae_of_the_wanted_site_is_taken_and_who_says_so_is_known)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
		const struct sae_case *c = &accepted[i];
		struct sae_set *saes;
		const char *folder;

		REQUIRE_OK(open_case(&saes, dev, c, &folder, &err), &err);
		CHECK(strcmp(sae_set_says_site(saes, 0), c->text) == 0,
			"case %zu: \"%s\" says so, expected \"%s\"", i, sae_set_says_site(saes, 0),
			c->text);
		sae_set_close(saes);
	}
	device_close(dev);
}

TEST(an_sae_of_another_place_or_layer_is_refused_whatever_found_it)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		const struct sae_case *c = &refused[i];
		struct sae_set *saes;
		const char *folder;
		const int code = open_case(&saes, dev, c, &folder, &err);

		CHECK(code == ERR_INPUT && is_text(err.text, c->text, folder),
			"case %zu: %d: %s\nexpected\n  %s", i, code, code ? err.text : "accepted",
			c->text);
		sae_set_close(saes);
	}
	device_close(dev);
}
