/* SPDX-License-Identifier: MIT
 *
 * sae_config.c - Contract: sae_config.h. Sources: sae_saelens.c and its neighbours name them, each
 * for its format. Tests: tests/test_sae.c, tests/fuzz/fuzz_sae_config.c.
 */
#include "host/model/sae_config.h"

#include "host/model/site.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

int sae_refuse(const char *path, const char *what, struct err *err)
{
	return err_set(err, ERR_INPUT,
		"%s: expected an SAE that reads and reconstructs %s, found %s", path,
		site_places[SITE_RESID_POST].word, what);
}

int sae_expect_text(const json_t *object, const char *path, const char *key, const char *expected,
	struct err *err)
{
	const char *found = expected;

	if (json_get_text(object, path, key, &found, err))
		return err->code;
	if (strcmp(found, expected) != 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected \"%s\", found \"%s\"", path, key,
			expected, found);
	return 0;
}

int sae_expect_size(const json_t *object, const char *path, const char *key, size_t expected,
	struct err *err)
{
	int64_t found = (int64_t)expected;

	if (json_get_int(object, path, key, &found, err))
		return err->code;
	if (found != (int64_t)expected)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected %zu, as the weights have, found %lld", path, key,
			expected, (long long)found);
	return 0;
}

int sae_expect_bool(const json_t *object, const char *path, const char *key, bool expected,
	struct err *err)
{
	bool found = expected;

	if (json_get_bool(object, path, key, &found, err))
		return err->code;
	if (found != expected)
		return err_set(err, ERR_INPUT, "%s: %s: expected %s, found %s", path, key,
			expected ? "true" : "false", found ? "true" : "false");
	return 0;
}

/* ---- SAELens ----------------------------------------------------------------------------- */

/* What cfg.json says of the hook: top level before version 6, then in metadata. */
int saelens_config_hook(const char **hook, const json_t *cfg, const char *path, struct err *err)
{
	const json_t *metadata;

	*hook = "";
	TRY(json_get_text(cfg, path, "hook_point", hook, err));
	TRY(json_get_text(cfg, path, "hook_name", hook, err));
	TRY(json_get_object(cfg, path, "metadata", &metadata, err));
	return json_get_text(metadata, path, "hook_name", hook, err);
fail:
	return err->code;
}

static int read_kind(const json_t *cfg, const char *path, enum saelens_kind *out, struct err *err)
{
	static const struct {
		const char *name;
		enum saelens_kind kind;
	} kinds[] = {{"standard", SAELENS_STANDARD}, {"gated", SAELENS_GATED},
		{"topk", SAELENS_TOP_K}, {"jumprelu", SAELENS_THRESHOLD},
		{"batchtopk", SAELENS_THRESHOLD}, {"matryoshka_batchtopk", SAELENS_THRESHOLD}};
	const char *name = "standard", *activation = "relu";

	TRY(json_get_text(cfg, path, "architecture", &name, err));
	TRY(json_get_text(cfg, path, "activation_fn", &activation, err));
	TRY(json_get_text(cfg, path, "activation_fn_str", &activation, err)); /* before version 6 */
	if (strcmp(activation, "relu") != 0 && strcmp(activation, "topk") != 0)
		return err_set(err, ERR_INPUT,
			"%s: activation_fn: expected \"relu\" or \"topk\", found \"%s\"", path,
			activation);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(name, kinds[i].name) != 0)
			continue;
		*out = kinds[i].kind;
		if (*out == SAELENS_STANDARD && strcmp(activation, "topk") == 0)
			*out = SAELENS_TOP_K;
		return 0;
	}
	if (strstr(name, "transcoder")) /* transcoder, skip_transcoder, jumprelu_transcoder, ... */
		return sae_refuse(path, "a transcoder (architecture)", err);
	return err_set(err, ERR_INPUT,
		"%s: architecture: expected standard, gated, topk, jumprelu, batchtopk or "
		"matryoshka_batchtopk, found \"%s\"",
		path, name);
fail:
	return err->code;
}

static int read_normalization(const json_t *cfg, const char *path, enum sae_input *out,
	struct err *err)
{
	static const struct {
		const char *name;
		enum sae_input input;
	} kinds[] = {{"none", SAE_INPUT_RAW}, {"expected_average_only_in", SAE_INPUT_RAW},
		{"constant_norm_rescale", SAE_INPUT_SPHERE},
		{"layer_norm", SAE_INPUT_STANDARDIZED}};
	const char *name = "none";

	if (!json_is_boolean(json_object_get(cfg, "normalize_activations"))) /* before 2024-04 */
		TRY(json_get_text(cfg, path, "normalize_activations", &name, err));
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(name, kinds[i].name) == 0) {
			*out = kinds[i].input;
			return 0;
		}
	}
	return err_set(err, ERR_INPUT,
		"%s: normalize_activations: expected none, expected_average_only_in, "
		"constant_norm_rescale or layer_norm, found \"%s\"",
		path, name);
fail:
	return err->code;
}

static int check_k(int64_t k, const char *path, size_t *out, struct err *err)
{
	if (k < 1 || k > INT32_MAX)
		return err_set(err, ERR_INPUT, "%s: k: expected 1 to %d, found %lld", path,
			INT32_MAX, (long long)k);
	*out = (size_t)k;
	return 0;
}

static int read_k(const json_t *cfg, const char *path, size_t *k, struct err *err)
{
	const json_t *arguments; /* before version 6 */
	int64_t n = 0;

	TRY(json_get_object(cfg, path, "activation_fn_kwargs", &arguments, err));
	TRY(json_get_int(arguments, path, "k", &n, err));
	TRY(json_get_int(cfg, path, "k", &n, err));
	return check_k(n, path, k, err);
fail:
	return err->code;
}

int saelens_config_read(struct saelens_config *out, const json_t *cfg, const char *path,
	struct err *err)
{
	*out = (struct saelens_config){.subtract_b_dec = true};
	TRY(read_kind(cfg, path, &out->kind, err));
	TRY(sae_expect_text(cfg, path, "reshape_activations", "none", err));
	TRY(read_normalization(cfg, path, &out->input, err));
	TRY(json_get_bool(cfg, path, "apply_b_dec_to_input", &out->subtract_b_dec, err));
	TRY(json_get_bool(cfg, path, "rescale_acts_by_decoder_norm", &out->rescaled, err));
	TRY(json_get_bool(cfg, path, "finetuning_scaling_factor", &out->scaled, err));
	return out->kind == SAELENS_TOP_K ? read_k(cfg, path, &out->k, err) : 0;
fail:
	return err->code;
}

/* ---- sparsify ---------------------------------------------------------------------------- */

int sparsify_config_read(struct sparsify_config *out, const json_t *cfg, const char *path,
	struct err *err)
{
	const char *activation = "topk";
	bool transcode = false, skip = false, with_sign = false;
	int64_t k = 32;

	TRY(json_get_text(cfg, path, "activation", &activation, err));
	TRY(json_get_bool(cfg, path, "transcode", &transcode, err));
	TRY(json_get_bool(cfg, path, "skip_connection", &skip, err));
	TRY(json_get_bool(cfg, path, "signed", &with_sign, err));
	TRY(json_get_int(cfg, path, "k", &k, err));
	if (transcode)
		return sae_refuse(path, "a transcoder (transcode)", err);
	if (skip)
		return sae_refuse(path, "a skip connection (skip_connection)", err);
	if (with_sign)
		return sae_refuse(path, "features of both signs (signed)", err);
	if (strcmp(activation, "topk") != 0 && strcmp(activation, "groupmax") != 0)
		return err_set(err, ERR_INPUT,
			"%s: activation: expected \"topk\" or \"groupmax\", found \"%s\"", path,
			activation);
	*out = (struct sparsify_config){.groups = strcmp(activation, "groupmax") == 0};
	return check_k(k, path, &out->k, err);
fail:
	return err->code;
}

/* ---- Llama Scope ------------------------------------------------------------------------- */

int llama_scope_config_read(struct llama_scope_config *out, const json_t *file, const char *path,
	struct err *err)
{
	const json_t *norms = json_object_get(file, "dataset_average_activation_norm");
	const char *activation = "jumprelu";

	*out = (struct llama_scope_config){.threshold = -1};
	/* The authors' loader takes a TopK SAE that has a threshold for JumpReLU. */
	TRY(json_get_text(file, path, "act_fn", &activation, err));
	if (strcmp(activation, "jumprelu") != 0 && strcmp(activation, "topk") != 0)
		return err_set(err, ERR_INPUT,
			"%s: act_fn: expected \"jumprelu\" (or \"topk\" with a "
			"jump_relu_threshold), found \"%s\"",
			path, activation);
	TRY(sae_expect_text(file, path, "norm_activation", "dataset-wise", err));
	TRY(sae_expect_bool(file, path, "sparsity_include_decoder_norm", true, err));
	TRY(sae_expect_bool(file, path, "use_decoder_bias", true, err));
	TRY(sae_expect_bool(file, path, "apply_decoder_bias_to_pre_encoder", false, err));
	TRY(sae_expect_bool(file, path, "use_glu_encoder", false, err));
	TRY(json_get_double(file, path, "jump_relu_threshold", &out->threshold, err));
	TRY(json_get_double(norms, path, "in", &out->norm_in, err));
	TRY(json_get_double(norms, path, "out", &out->norm_out, err));
	if (!(out->threshold > 0) || !(out->norm_in > 0) || !(out->norm_out > 0) ||
		out->threshold > FLT_MAX || out->norm_in > FLT_MAX || out->norm_out > FLT_MAX)
		return err_set(err, ERR_INPUT,
			"%s: expected a positive jump_relu_threshold (a TopK SAE converted to "
			"JumpReLU) and positive dataset_average_activation_norm.in and .out",
			path);
	return 0;
fail:
	return err->code;
}

/* ---- lm_saes ----------------------------------------------------------------------------- */

/* Its variants beside the plain SAE: crosscoders, transcoders across layers, MOLT, Lorsa. */
static int check_sae(const json_t *cfg, const char *path, struct err *err)
{
	bool glu = false;

	TRY(sae_expect_text(cfg, path, "sae_type", "sae", err));
	TRY(sae_expect_text(cfg, path, "act_fn", "jumprelu", err));
	TRY(json_get_bool(cfg, path, "use_glu_encoder", &glu, err));
	return glu ? sae_refuse(path, "a gated linear encoder (use_glu_encoder)", err) : 0;
fail:
	return err->code;
}

int lm_saes_config_read(struct lm_saes_config *out, const json_t *cfg, const char *path,
	struct err *err)
{
	const char *hook = "";

	*out = (struct lm_saes_config){.rescaled = true};
	TRY(check_sae(cfg, path, err));
	TRY(json_get_text(cfg, path, "hook_point_in", &hook, err));
	TRY(sae_expect_text(cfg, path, "norm_activation", "dataset-wise", err));
	TRY(json_get_bool(cfg, path, "sparsity_include_decoder_norm", &out->rescaled, err));
	TRY(json_get_bool(cfg, path, "apply_decoder_bias_to_pre_encoder", &out->subtract_b_dec,
		err));
	if (!*hook || strlen(hook) >= sizeof out->hook)
		return err_set(err, ERR_INPUT,
			"%s: hook_point_in: expected blocks.LAYER.%s, found \"%s\"", path,
			site_places[SITE_RESID_POST].hook, hook);
	memcpy(out->hook, hook, strlen(hook) + 1);
	return 0;
fail:
	return err->code;
}
