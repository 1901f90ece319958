/* SPDX-License-Identifier: MIT
 *
 * arch.c - Contract: arch.h. Tests: tests/test_model.c, against transformers.
 * Sources: transformers' configuration_*.py and modeling_*.py of the families below.
 */
#include "host/model/arch.h"

#include "host/base/file.h"
#include "host/formats/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which layers see only the last sliding_window tokens, where layer_types does not say. */
enum windows {
	WINDOWS_NONE,
	WINDOWS_EVEN,    /* 0, 2, 4, ... */
	WINDOWS_PATTERN, /* all but every sliding_window_pattern-th */
	WINDOWS_ALL,
	WINDOWS_UPPER /* from max_window_layers on, if use_sliding_window */
};

/* What a family's code fixes, and what its config may leave out (0: it may not, or the usual
 * rule). */
static const struct family {
	const char *model_type;
	bool plus_one, post_norms, scale_embedding, tied, qk_norm, qkv_bias;
	const char *activation;
	double eps, theta, local_theta;
	enum windows windows;
	size_t max_position, n_head, n_kv_head, head_dim, n_vocab;
	double query_scalar, attention_softcap, final_softcap;
} families[] = {
	{.model_type = "gemma2",
		.plus_one = true,
		.post_norms = true,
		.scale_embedding = true,
		.tied = true,
		.activation = "gelu_pytorch_tanh",
		.eps = 1e-6,
		.theta = 10000,
		.windows = WINDOWS_EVEN,
		.max_position = 8192,
		.head_dim = 256,
		.query_scalar = 256,
		.attention_softcap = 50,
		.final_softcap = 30},
	{.model_type = "gemma3_text",
		.plus_one = true,
		.post_norms = true,
		.scale_embedding = true,
		.tied = true,
		.qk_norm = true,
		.activation = "gelu_pytorch_tanh",
		.eps = 1e-6,
		.theta = 1e6,
		.local_theta = 10000,
		.windows = WINDOWS_PATTERN,
		.max_position = 131072,
		.n_head = 8,
		.n_kv_head = 4,
		.head_dim = 256,
		.n_vocab = 262208,
		.query_scalar = 256},
	{.model_type = "llama",
		.activation = "silu",
		.eps = 1e-6,
		.theta = 10000,
		.max_position = 2048},
	{.model_type = "mistral",
		.activation = "silu",
		.eps = 1e-6,
		.theta = 10000,
		.windows = WINDOWS_ALL,
		.max_position = 131072,
		.n_kv_head = 8},
	{.model_type = "qwen2",
		.activation = "silu",
		.eps = 1e-6,
		.theta = 10000,
		.windows = WINDOWS_UPPER,
		.max_position = 32768,
		.qkv_bias = true},
	{.model_type = "qwen3",
		.activation = "silu",
		.eps = 1e-6,
		.theta = 10000,
		.windows = WINDOWS_UPPER,
		.max_position = 32768,
		.qk_norm = true,
		.head_dim = 128},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* The config being read, for messages. */
struct reader {
	const char *path;
	const json_t *config;
	struct err *err;
};

/* The multimodal Gemma 3 keeps its language model's config inside. */
static const struct family *family_of(struct reader *r)
{
	const char *type = json_string_value(json_object_get(r->config, "model_type"));
	const json_t *text = json_object_get(r->config, "text_config");
	char known[128] = "";

	if (type && strcmp(type, "gemma3") == 0 && json_is_object(text)) {
		r->config = text;
		type = "gemma3_text";
	}
	for (size_t i = 0; i < N_FAMILIES; i++) {
		if (type && strcmp(type, families[i].model_type) == 0)
			return &families[i];
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
			families[i].model_type);
	}
	err_set(r->err, ERR_INPUT, "%s: model_type: expected one of %s, found %s", r->path, known,
		type ? type : "nothing");
	return NULL;
}

/* A size from 1 to `most`. *out holds the default; 0 there means the key must be present. */
static int read_size(struct reader r, const char *key, int64_t most, size_t *out)
{
	int64_t value = (int64_t)*out;

	if (json_get_int(r.config, r.path, key, &value, r.err))
		return r.err->code;
	if (value == 0 && !json_object_get(r.config, key))
		return err_set(r.err, ERR_INPUT, "%s: %s: expected an integer, found nothing",
			r.path, key);
	if (value < 1 || value > most)
		return err_set(r.err, ERR_INPUT,
			"%s: %s: expected an integer from 1 to %lld, found %lld", r.path, key,
			(long long)most, (long long)value);
	*out = (size_t)value;
	return 0;
}

static int read_positive(struct reader r, const json_t *object, const char *key, double *out)
{
	if (json_get_double(object, r.path, key, out, r.err))
		return r.err->code;
	if (!(*out > 0) || !isfinite(*out))
		return err_set(r.err, ERR_INPUT, "%s: %s: expected a positive number", r.path, key);
	return 0;
}

/* A softcap: `usual` (0 = none) when the key is absent, none when it is null. */
static int read_softcap(struct reader r, const char *key, double usual, double *out)
{
	const json_t *value = json_object_get(r.config, key);

	*out = json_is_null(value) ? 0 : usual;
	return value && !json_is_null(value) ? read_positive(r, r.config, key, out) : 0;
}

static int read_activation(struct reader r, const struct family *family, struct arch *arch)
{
	const char *name = family->activation;

	TRY(json_get_text(r.config, r.path, "hidden_act", &name, r.err));
	TRY(json_get_text(r.config, r.path, "hidden_activation", &name, r.err));
	if (strcmp(name, "gelu_pytorch_tanh") == 0)
		arch->activation = ACTIVATION_GELU_TANH;
	else if (strcmp(name, "silu") == 0)
		arch->activation = ACTIVATION_SILU;
	else
		return err_set(r.err, ERR_INPUT,
			"%s: hidden_activation: expected gelu_pytorch_tanh or silu, found %s",
			r.path, name);
	return 0;
fail:
	return r.err->code;
}

/* Older files: rope_theta, rope_scaling and rope_local_base_freq beside the other keys. Newer
 * ones: rope_parameters, for Gemma 3 one of them for each type of layer. */
static int read_rope(struct reader r, const struct family *family, struct arch *arch,
	double original_context)
{
	const json_t *parameters = json_object_get(r.config, "rope_parameters");
	const json_t *full = json_object_get(parameters, "full_attention");
	const json_t *sliding = json_object_get(parameters, "sliding_attention");
	struct rope *global = &arch->rope[ARCH_ROPE_GLOBAL], *local = &arch->rope[ARCH_ROPE_LOCAL];

	global->theta = family->theta;
	local->theta = family->local_theta;
	TRY(read_positive(r, r.config, "rope_theta", &global->theta));
	TRY(rope_read_scaling(global, json_object_get(r.config, "rope_scaling"), r.path, r.err));
	if (json_is_object(parameters))
		TRY(rope_read(global, full ? full : parameters, r.path, r.err));
	if (family->local_theta > 0) {
		TRY(read_positive(r, r.config, "rope_local_base_freq", &local->theta));
		if (sliding)
			TRY(rope_read(local, sliding, r.path, r.err));
		for (size_t l = 0; l < arch->n_layer; l++)
			arch->rope_of[l] = arch->window[l] ? ARCH_ROPE_LOCAL : ARCH_ROPE_GLOBAL;
	}
	if (global->scaling == ROPE_LLAMA3 && original_context > 0)
		global->original_context = original_context;
	return 0;
fail:
	return r.err->code;
}

static int read_heads(struct reader r, const struct family *family, struct arch *arch)
{
	double query_scalar = family->query_scalar;
	bool mlp_bias = false, both_ways = false;

	arch->n_head = family->n_head;
	TRY(read_size(r, "num_attention_heads", 4096, &arch->n_head));
	arch->n_kv_head = family->n_kv_head ? family->n_kv_head : arch->n_head;
	TRY(read_size(r, "num_key_value_heads", 4096, &arch->n_kv_head));
	arch->head_dim = family->head_dim ? family->head_dim : arch->d_model / arch->n_head;
	TRY(read_size(r, "head_dim", 512, &arch->head_dim));
	if (arch->n_head % arch->n_kv_head != 0 || arch->head_dim % 2 != 0)
		return err_set(r.err, ERR_INPUT,
			"%s: expected num_attention_heads (%zu) to be a multiple of "
			"num_key_value_heads (%zu), and an even head_dim (%zu)",
			r.path, arch->n_head, arch->n_kv_head, arch->head_dim);
	TRY(json_get_bool(r.config, r.path, "attention_bias", &arch->o_bias, r.err));
	arch->qkv_bias = family->qkv_bias || arch->o_bias;
	TRY(json_get_bool(r.config, r.path, "mlp_bias", &mlp_bias, r.err));
	TRY(json_get_bool(r.config, r.path, "use_bidirectional_attention", &both_ways, r.err));
	if (mlp_bias || both_ways)
		return err_set(r.err, ERR_INPUT, "%s: %s: expected false, found true", r.path,
			mlp_bias ? "mlp_bias" : "use_bidirectional_attention");
	if (query_scalar == 0)
		query_scalar = (double)arch->head_dim;
	if (family->query_scalar > 0)
		TRY(read_positive(r, r.config, "query_pre_attn_scalar", &query_scalar));
	arch->attention_scale = 1 / sqrt(query_scalar);
	if (family->scale_embedding) { /* the Gemmas */
		TRY(read_softcap(r, "attn_logit_softcapping", family->attention_softcap,
			&arch->attention_softcap));
		TRY(read_softcap(r, "final_logit_softcapping", family->final_softcap,
			&arch->final_softcap));
	}
	return 0;
fail:
	return r.err->code;
}

/* Whether the family's own rule gives layer l a window. */
static bool usual_window(enum windows windows, size_t l, size_t pattern, int64_t first)
{
	return windows == WINDOWS_ALL || (windows == WINDOWS_EVEN && l % 2 == 0) ||
	       (windows == WINDOWS_PATTERN && (l + 1) % pattern != 0) ||
	       (windows == WINDOWS_UPPER && (int64_t)l >= first);
}

/* layer_types[l]: whether a layer has a window. */
static int listed_window(struct reader r, const json_t *types, size_t l, bool *has)
{
	const char *type = json_string_value(json_array_get(types, l));

	*has = type && strcmp(type, "sliding_attention") == 0;
	if (*has || (type && strcmp(type, "full_attention") == 0))
		return 0;
	return err_set(r.err, ERR_INPUT,
		"%s: layer_types: expected sliding_attention or full_attention for layer %zu, found %s",
		r.path, l, type ? type : "nothing");
}

static int read_windows(struct reader r, const struct family *family, struct arch *arch)
{
	const json_t *types = json_object_get(r.config, "layer_types");
	size_t window = 4096, pattern = 6;
	int64_t first = 28;
	bool in_use = family->windows != WINDOWS_UPPER, has;

	TRY(json_get_bool(r.config, r.path, "use_sliding_window", &in_use, r.err));
	if (family->windows == WINDOWS_NONE || !in_use ||
		json_is_null(json_object_get(r.config, "sliding_window")))
		return 0;
	TRY(read_size(r, "sliding_window", INT32_MAX, &window));
	TRY(read_size(r, "sliding_window_pattern", INT32_MAX, &pattern));
	if (family->windows == WINDOWS_UPPER)
		TRY(json_get_int(r.config, r.path, "max_window_layers", &first, r.err));
	for (size_t l = 0; l < arch->n_layer; l++) {
		has = usual_window(family->windows, l, pattern, first);
		if (json_is_array(types) && family->windows != WINDOWS_ALL)
			TRY(listed_window(r, types, l, &has));
		arch->window[l] = has ? window : 0;
	}
	return 0;
fail:
	return r.err->code;
}

static int read_config(struct reader r, struct arch *arch, double original_context)
{
	const struct family *family = family_of(&r);

	if (!family)
		return r.err->code;
	snprintf(arch->model_type, sizeof arch->model_type, "%s", family->model_type);
	TRY(read_size(r, "num_hidden_layers", ARCH_MAX_LAYERS, &arch->n_layer));
	TRY(read_size(r, "hidden_size", 1 << 16, &arch->d_model));
	TRY(read_size(r, "intermediate_size", 1 << 20, &arch->d_ff));
	arch->n_vocab = family->n_vocab;
	TRY(read_size(r, "vocab_size", 1 << 24, &arch->n_vocab));
	arch->max_position = family->max_position;
	TRY(read_size(r, "max_position_embeddings", INT32_MAX, &arch->max_position));
	arch->norm = (struct norm){family->eps, family->plus_one};
	TRY(read_positive(r, r.config, "rms_norm_eps", &arch->norm.eps));
	arch->post_norms = family->post_norms;
	arch->qk_norm = family->qk_norm;
	arch->scale_embedding = family->scale_embedding;
	arch->tied_embedding = family->tied;
	TRY(json_get_bool(r.config, r.path, "tie_word_embeddings", &arch->tied_embedding, r.err));
	TRY(read_activation(r, family, arch));
	TRY(read_heads(r, family, arch));
	TRY(read_windows(r, family, arch));
	return read_rope(r, family, arch, original_context);
fail:
	return r.err->code;
}

int arch_read(struct arch *arch, const char *folder, double rope_original_context, struct err *err)
{
	char *path = path_join(folder, "config.json");
	struct file_map map;
	int rc;

	*arch = (struct arch){0};
	if (!path)
		return err_nomem(err, folder, strlen(folder));
	rc = file_map_open(&map, path, err);
	if (!rc)
		rc = arch_parse(arch, path, map.data ? (const char *)map.data : "", map.size,
			rope_original_context, err);
	file_map_close(&map);
	free(path);
	return rc;
}

int arch_parse(struct arch *arch, const char *name, const char *bytes, size_t n,
	double rope_original_context, struct err *err)
{
	json_t *config = NULL;
	int rc;

	*arch = (struct arch){0};
	if (json_parse(&config, name, bytes, n, err))
		return err->code;
	rc = read_config((struct reader){name, config, err}, arch, rope_original_context);
	json_decref(config);
	return rc;
}
