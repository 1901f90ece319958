/* SPDX-License-Identifier: MIT
 *
 * arch.c - Contract: arch.h. Tests: tests/test_model.c, against transformers.
 * Sources: transformers' configuration_*.py and modeling_*.py of the families below.
 */
#include "host/model/arch.h"

#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/model/arch_keys.h"

#include <float.h>
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
	const json_t *whole; /* of a multimodal model: what `config` is in; else NULL */
	struct err *err;
};

/* The multimodal Gemma 3 keeps its language model's config inside. */
static const struct family *family_of(struct reader *r)
{
	const json_t *text = json_object_get(r->config, "text_config");
	const char *type = "nothing";
	char known[128] = "";

	if (json_get_text(r->config, r->path, "model_type", &type, r->err))
		return NULL;
	if (strcmp(type, "gemma3") == 0 && json_is_object(text)) {
		r->whole = r->config;
		r->config = text;
		type = "gemma3_text";
	}
	for (size_t i = 0; i < N_FAMILIES; i++) {
		if (strcmp(type, families[i].model_type) == 0)
			return &families[i];
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
			families[i].model_type);
	}
	err_set(r->err, ERR_INPUT, "%s: model_type: expected one of %s, found %s", r->path, known,
		type);
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
	if (!(*out > 0) || *out > FLT_MAX)
		return err_set(r.err, ERR_INPUT,
			"%s: %s: expected a positive number up to %g, found %g", r.path, key,
			(double)FLT_MAX, *out);
	return 0;
}

static bool is_given(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value);
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
	const char *key = arch_key_is_read("hidden_act", family->model_type) ? "hidden_act"
									     : "hidden_activation";
	const char *name = family->activation;

	if (json_get_text(r.config, r.path, key, &name, r.err))
		return r.err->code;
	if (strcmp(name, "gelu_pytorch_tanh") == 0)
		arch->activation = ACTIVATION_GELU_TANH;
	else if (strcmp(name, "silu") == 0)
		arch->activation = ACTIVATION_SILU;
	else
		return err_set(r.err, ERR_INPUT,
			"%s: %s: expected gelu_pytorch_tanh or silu, found %s", r.path, key, name);
	return 0;
}

/* The flag of a multimodal model stands outside; inside it may only say the same. */
static int read_tied(struct reader r, const struct family *family, struct arch *arch)
{
	bool inner;

	arch->tied_embedding = family->tied;
	TRY(json_get_bool(r.whole ? r.whole : r.config, r.path, "tie_word_embeddings",
		&arch->tied_embedding, r.err));
	inner = arch->tied_embedding;
	TRY(json_get_bool(r.config, r.path, "tie_word_embeddings", &inner, r.err));
	if (inner != arch->tied_embedding)
		return err_set(r.err, ERR_INPUT,
			"%s: tie_word_embeddings: %s, but %s in text_config; expected the same",
			r.path, arch->tied_embedding ? "true" : "false", inner ? "true" : "false");
	return 0;
fail:
	return r.err->code;
}

/* An object of rotary parameters; *out is NULL where it is absent. */
static int find_rope(struct reader r, const json_t *in, const char *key, const json_t **out)
{
	*out = json_object_get(in, key);
	if (json_is_null(*out))
		*out = NULL;
	if (*out && !json_is_object(*out))
		return err_set(r.err, ERR_INPUT, "%s: %s: expected an object, found %s", r.path,
			key, json_kind(*out));
	return 0;
}

/* Whether part of each head is not turned: no family here does that. */
static int check_whole_heads(struct reader r, const json_t *object)
{
	double share = 1;

	if (json_get_double(object, r.path, "partial_rotary_factor", &share, r.err))
		return r.err->code;
	if (share != 1)
		return err_set(r.err, ERR_INPUT, "%s: partial_rotary_factor: expected 1, found %g",
			r.path, share);
	return 0;
}

/* One object that says all, of which newer files call it rope_parameters and older ones
 * rope_scaling: that one counts where both are there, so both must say the same. */
static int read_one_rope(struct reader r, struct rope *rope, const json_t *scaling,
	const json_t *parameters)
{
	struct rope other = *rope;

	if (json_object_get(parameters, "full_attention") ||
		json_object_get(scaling, "full_attention"))
		return err_set(r.err, ERR_INPUT,
			"%s: %s: expected those of all layers, found full_attention", r.path,
			json_object_get(parameters, "full_attention") ? "rope_parameters"
								      : "rope_scaling");
	TRY(check_whole_heads(r, scaling));
	TRY(check_whole_heads(r, parameters));
	TRY(rope_read(rope, scaling, r.path, r.err));
	TRY(rope_read(&other, parameters, r.path, r.err));
	if (json_object_size(scaling) == 0)
		*rope = other;
	else if (parameters && !rope_equal(rope, &other))
		return err_set(r.err, ERR_INPUT,
			"%s: rope_scaling and rope_parameters say different things; expected one "
			"of them",
			r.path);
	return 0;
fail:
	return r.err->code;
}

/* Gemma 3: rope_scaling is of the layers that see everything; rope_parameters has an object for
 * either kind of layer. */
static int read_two_ropes(struct reader r, const struct family *family, struct arch *arch,
	const json_t *scaling, const json_t *parameters)
{
	struct rope *global = &arch->rope[ARCH_ROPE_GLOBAL], *local = &arch->rope[ARCH_ROPE_LOCAL];
	const json_t *full, *sliding;

	local->theta = family->local_theta;
	TRY(find_rope(r, parameters, "full_attention", &full));
	TRY(find_rope(r, parameters, "sliding_attention", &sliding));
	if (json_object_size(parameters) > 0 && !full && !sliding)
		return err_set(r.err, ERR_INPUT,
			"%s: rope_parameters: expected full_attention and sliding_attention, found "
			"neither",
			r.path);
	TRY(read_one_rope(r, global, scaling, full));
	TRY(read_positive(r, r.config, "rope_local_base_freq", &local->theta));
	TRY(read_one_rope(r, local, NULL, sliding));
	for (size_t l = 0; l < arch->n_layer; l++)
		arch->rope_of[l] = arch->window[l] ? ARCH_ROPE_LOCAL : ARCH_ROPE_GLOBAL;
	return 0;
fail:
	return r.err->code;
}

static int read_rope(struct reader r, const struct family *family, struct arch *arch,
	double original_context)
{
	struct rope *global = &arch->rope[ARCH_ROPE_GLOBAL];
	const json_t *parameters, *scaling;
	double outside = 0;

	*global = (struct rope){.theta = family->theta,
		.original_context = (double)arch->max_position};
	TRY(read_positive(r, r.config, "rope_theta", &global->theta));
	TRY(find_rope(r, r.config, "rope_parameters", &parameters));
	TRY(find_rope(r, r.config, "rope_scaling", &scaling));
	TRY(check_whole_heads(r, r.config));
	if (family->local_theta > 0)
		TRY(read_two_ropes(r, family, arch, scaling, parameters));
	else
		TRY(read_one_rope(r, global, scaling, parameters));
	if (is_given(r.config, "original_max_position_embeddings"))
		TRY(read_positive(r, r.config, "original_max_position_embeddings", &outside));
	if (global->scaling == ROPE_LLAMA3 && outside > 0 && outside != global->original_context)
		return err_set(r.err, ERR_INPUT,
			"%s: original_max_position_embeddings: %g, but %g beside rope_type; "
			"expected the same",
			r.path, outside, global->original_context);
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
	if (arch_key_is_read("attention_bias", family->model_type))
		TRY(json_get_bool(r.config, r.path, "attention_bias", &arch->o_bias, r.err));
	arch->qkv_bias = family->qkv_bias || arch->o_bias;
	if (arch_key_is_read("mlp_bias", family->model_type))
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
	if (arch_key_is_read("attn_logit_softcapping", family->model_type))
		TRY(read_softcap(r, "attn_logit_softcapping", family->attention_softcap,
			&arch->attention_softcap));
	if (arch_key_is_read("final_logit_softcapping", family->model_type))
		TRY(read_softcap(r, "final_logit_softcapping", family->final_softcap,
			&arch->final_softcap));
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
	const bool listed = arch_key_is_read("layer_types", family->model_type);
	const json_t *types = listed ? json_object_get(r.config, "layer_types") : NULL;
	size_t window = 4096, pattern = 6;
	int64_t first = 28;
	bool in_use = family->windows != WINDOWS_UPPER, has;

	if (family->windows == WINDOWS_NONE)
		return 0;
	if (types && !json_is_null(types) &&
		(!json_is_array(types) || json_array_size(types) != arch->n_layer))
		return err_set(r.err, ERR_INPUT,
			"%s: layer_types: expected a list of num_hidden_layers (%zu), found %s of %zu",
			r.path, arch->n_layer, json_kind(types), json_array_size(types));
	if (arch_key_is_read("use_sliding_window", family->model_type))
		TRY(json_get_bool(r.config, r.path, "use_sliding_window", &in_use, r.err));
	in_use = in_use && !json_is_null(json_object_get(r.config, "sliding_window"));
	TRY(read_size(r, "sliding_window", INT32_MAX, &window));
	TRY(read_size(r, "sliding_window_pattern", INT32_MAX, &pattern));
	if (family->windows == WINDOWS_UPPER)
		TRY(json_get_int(r.config, r.path, "max_window_layers", &first, r.err));
	if (first < 0)
		return err_set(r.err, ERR_INPUT,
			"%s: max_window_layers: expected an integer of 0 or more, found %lld",
			r.path, (long long)first);
	for (size_t l = 0; l < arch->n_layer; l++) {
		has = in_use && usual_window(family->windows, l, pattern, first);
		if (json_is_array(types))
			TRY(listed_window(r, types, l, &has));
		if (has && !in_use)
			return err_set(r.err, ERR_INPUT,
				"%s: layer_types: sliding_attention for layer %zu, but no "
				"sliding_window is in use; expected full_attention",
				r.path, l);
		arch->window[l] = has ? window : 0;
	}
	return 0;
fail:
	return r.err->code;
}

/* Four names of 40 bytes, two widths that are flags and four that are numbers, ", " between. */
enum { QUANTIZATION_NAME = 4 * 42 + 2 * 8 + 4 * 27 + 1 };

/* The kind of quantization that an object declares: "gptq, 4 bits". */
static void quantization_name(const json_t *object, char out[QUANTIZATION_NAME])
{
	static const char *const names[] = {"quant_method", "quant_algo", "format", "quant_type"};
	static const char *const widths[] = {"bits", "w_bit", "num_bits", "nbits"};
	const json_t *inner = json_object_get(object, "quantization"); /* hf_quant_config.json */
	const size_t size = QUANTIZATION_NAME;
	size_t n = 0;

	object = inner ? inner : object;
	snprintf(out, size, "of a kind that is not named");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *name = json_string_value(json_object_get(object, names[i]));

		if (name)
			n += (size_t)snprintf(out + n, size - n, "%s%.40s", n ? ", " : "", name);
	}
	if (json_is_true(json_object_get(object, "load_in_4bit")))
		n += (size_t)snprintf(out + n, size - n, "%s4 bits", n ? ", " : "");
	if (json_is_true(json_object_get(object, "load_in_8bit")))
		n += (size_t)snprintf(out + n, size - n, "%s8 bits", n ? ", " : "");
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		const json_t *bits = json_object_get(object, widths[i]);

		if (json_is_integer(bits))
			n += (size_t)snprintf(out + n, size - n, "%s%lld bits", n ? ", " : "",
				(long long)json_integer_value(bits));
	}
}

static int refuse_quantized(const json_t *object, const char *path, const char *key,
	struct err *err)
{
	char name[QUANTIZATION_NAME];

	quantization_name(object, name);
	return err_set(err, ERR_INPUT,
		"%s%s%s: the weights are quantized: %s; expected weights in float32, bfloat16 or "
		"float16",
		path, *key ? ": " : "", key, name);
}

static int check_not_quantized(struct reader r)
{
	static const char *const keys[] = {"quantization_config", "compression_config"};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const json_t *inner = json_object_get(r.config, keys[i]);
		const json_t *outer = json_object_get(r.whole, keys[i]);

		if ((inner && !json_is_null(inner)) || (outer && !json_is_null(outer)))
			return refuse_quantized(outer ? outer : inner, r.path, keys[i], r.err);
	}
	return 0;
}

/* A file of another name, for transformers to read. */
static int check_usual_file(struct reader r)
{
	const char *name = "model.safetensors";

	if (json_get_text(r.whole ? r.whole : r.config, r.path, "transformers_weights", &name,
		    r.err))
		return r.err->code;
	if (strcmp(name, "model.safetensors") != 0)
		return err_set(r.err, ERR_INPUT,
			"%s: transformers_weights: expected model.safetensors or nothing, found %s",
			r.path, name);
	return 0;
}

/* Where programs of before quantization_config declare it. */
static int check_no_quantization_beside(const char *folder, struct err *err)
{
	static const char *const names[] = {"quantize_config.json", "quant_config.json",
		"hf_quant_config.json"};

	err_clear(err);
	for (size_t i = 0; i < sizeof names / sizeof *names && !err->code; i++) {
		char *path = path_join(folder, names[i]);
		json_t *json = NULL;

		if (!path)
			return err_nomem(err, folder, strlen(folder));
		if (file_exists(path) && json_read(&json, path, err) == 0)
			refuse_quantized(json, path, "", err);
		json_decref(json);
		free(path);
	}
	return err->code;
}

static int read_config(struct reader r, struct arch *arch, double original_context)
{
	const struct family *family = family_of(&r);

	if (!family)
		return r.err->code;
	TRY(check_not_quantized(r));
	TRY(check_usual_file(r));
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
	arch_keys_unread(r.config, family->model_type, arch->unread_keys, sizeof arch->unread_keys);
	TRY(read_tied(r, family, arch));
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
	rc = check_no_quantization_beside(folder, err) || file_map_open(&map, path, err);
	if (rc) {
		free(path);
		return err->code;
	}
	rc = file_check_size(path, map.size, LIMIT_JSON, err);
	if (rc == 0)
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
	rc = read_config((struct reader){name, config, NULL, err}, arch, rope_original_context);
	json_decref(config);
	return rc;
}
