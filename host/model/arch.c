/* SPDX-License-Identifier: MIT
 *
 * arch.c - Contract: arch.h. Tests: tests/test_model.c, against transformers.
 * Sources: transformers' modeling_gemma2.py, modeling_llama.py, modeling_rope_utils.py.
 */
#include "host/model/arch.h"

#include "host/base/file.h"
#include "host/formats/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a family's code fixes, and what its config may leave out. */
static const struct family {
	const char *model_type;
	bool plus_one, post_norms, scale_embedding, tied;
	const char *activation;
	double eps, theta;
	int64_t max_position;
	bool alternating_window; /* even layers look back only sliding_window tokens */
	bool softcaps;
} families[] = {
	{.model_type = "gemma2", .plus_one = true, .post_norms = true, .scale_embedding = true,
		.tied = true, .activation = "gelu_pytorch_tanh", .eps = 1e-6, .theta = 10000, .max_position = 8192,
		.alternating_window = true, .softcaps = true},
	{.model_type = "llama", .activation = "silu", .eps = 1e-6, .theta = 10000, .max_position = 2048},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* The config being read, for messages. */
struct reader {
	const char *path;
	const json_t *config;
	struct err *err;
};

static const struct family *family_of(struct reader r)
{
	const char *type = json_string_value(json_object_get(r.config, "model_type"));
	char known[128] = "";

	for (size_t i = 0; i < N_FAMILIES; i++) {
		if (type && strcmp(type, families[i].model_type) == 0)
			return &families[i];
		snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
			families[i].model_type);
	}
	err_set(r.err, ERR_INPUT, "%s: model_type: expected one of %s, found %s", r.path, known,
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
		return err_set(r.err, ERR_INPUT, "%s: %s: expected an integer, found nothing", r.path,
			key);
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

/* A softcap: `usual` when the key is absent, none when it is null. */
static int read_softcap(struct reader r, const char *key, double usual, double *out)
{
	*out = json_is_null(json_object_get(r.config, key)) ? 0 : usual;
	return *out == 0 ? 0 : read_positive(r, r.config, key, out);
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
			"%s: hidden_activation: expected gelu_pytorch_tanh or silu, found %s", r.path,
			name);
	return 0;
fail:
	return r.err->code;
}

/* rope_theta and rope_scaling at the top level, or both inside rope_parameters (newer files). */
static int read_rope(struct reader r, struct arch *arch, double original_context)
{
	const json_t *parameters = json_object_get(r.config, "rope_parameters");
	const json_t *scaling = json_object_get(r.config, "rope_scaling");
	const char *type = "default";

	TRY(read_positive(r, r.config, "rope_theta", &arch->rope_theta));
	if (json_is_object(parameters)) {
		TRY(read_positive(r, parameters, "rope_theta", &arch->rope_theta));
		scaling = parameters;
	}
	if (!json_is_object(scaling))
		return 0;
	TRY(json_get_text(scaling, r.path, "type", &type, r.err));
	TRY(json_get_text(scaling, r.path, "rope_type", &type, r.err));
	if (strcmp(type, "default") == 0)
		return 0;
	if (strcmp(type, "llama3") != 0)
		return err_set(r.err, ERR_INPUT, "%s: rope_scaling: expected type llama3, found %s",
			r.path, type);
	arch->rope_scaling.llama3 = true;
	TRY(read_positive(r, scaling, "factor", &arch->rope_scaling.factor));
	TRY(read_positive(r, scaling, "low_freq_factor", &arch->rope_scaling.low_factor));
	TRY(read_positive(r, scaling, "high_freq_factor", &arch->rope_scaling.high_factor));
	TRY(read_positive(r, scaling, "original_max_position_embeddings",
		&arch->rope_scaling.original_context));
	if (original_context > 0)
		arch->rope_scaling.original_context = original_context;
	return 0;
fail:
	return r.err->code;
}

static int read_attention(struct reader r, const struct family *family, struct arch *arch)
{
	double query_scalar = 0;
	size_t window = 4096;
	bool bias = false;

	arch->n_kv_head = arch->n_head;
	TRY(read_size(r, "num_key_value_heads", 4096, &arch->n_kv_head));
	arch->head_dim = arch->d_model / arch->n_head;
	TRY(read_size(r, "head_dim", 512, &arch->head_dim));
	if (arch->n_head % arch->n_kv_head != 0 || arch->head_dim % 2 != 0)
		return err_set(r.err, ERR_INPUT,
			"%s: expected num_attention_heads (%zu) to be a multiple of "
			"num_key_value_heads (%zu), and an even head_dim (%zu)",
			r.path, arch->n_head, arch->n_kv_head, arch->head_dim);
	TRY(json_get_bool(r.config, r.path, "attention_bias", &bias, r.err));
	TRY(json_get_bool(r.config, r.path, "mlp_bias", &bias, r.err));
	if (bias)
		return err_set(r.err, ERR_INPUT, "%s: attention_bias, mlp_bias: expected false",
			r.path);
	query_scalar = (double)arch->head_dim;
	TRY(read_positive(r, r.config, "query_pre_attn_scalar", &query_scalar));
	arch->attention_scale = 1 / sqrt(query_scalar);
	if (family->softcaps) {
		TRY(read_softcap(r, "attn_logit_softcapping", 50, &arch->attention_softcap));
		TRY(read_softcap(r, "final_logit_softcapping", 30, &arch->final_softcap));
	}
	if (family->alternating_window) {
		TRY(read_size(r, "sliding_window", INT32_MAX, &window));
		for (size_t l = 0; l < arch->n_layer; l += 2)
			arch->window[l] = window;
	}
	return 0;
fail:
	return r.err->code;
}

static int read_config(struct reader r, struct arch *arch, double original_context)
{
	const struct family *family = family_of(r);

	if (!family)
		return r.err->code;
	snprintf(arch->model_type, sizeof arch->model_type, "%s", family->model_type);
	TRY(read_size(r, "num_hidden_layers", ARCH_MAX_LAYERS, &arch->n_layer));
	TRY(read_size(r, "hidden_size", 1 << 16, &arch->d_model));
	TRY(read_size(r, "num_attention_heads", 4096, &arch->n_head));
	TRY(read_size(r, "intermediate_size", 1 << 20, &arch->d_ff));
	TRY(read_size(r, "vocab_size", 1 << 24, &arch->n_vocab));
	arch->max_position = (size_t)family->max_position;
	TRY(read_size(r, "max_position_embeddings", INT32_MAX, &arch->max_position));
	arch->norm = (struct norm){family->eps, family->plus_one};
	TRY(read_positive(r, r.config, "rms_norm_eps", &arch->norm.eps));
	arch->post_norms = family->post_norms;
	arch->scale_embedding = family->scale_embedding;
	arch->tied_embedding = family->tied;
	TRY(json_get_bool(r.config, r.path, "tie_word_embeddings", &arch->tied_embedding, r.err));
	TRY(read_activation(r, family, arch));
	TRY(read_attention(r, family, arch));
	arch->rope_theta = family->theta;
	return read_rope(r, arch, original_context);
fail:
	return r.err->code;
}

int arch_read(struct arch *arch, const char *folder, double rope_original_context,
	struct err *err)
{
	char *path = path_join(folder, "config.json");
	json_t *config = NULL;

	*arch = (struct arch){0};
	if (!path)
		return err_nomem(err, folder, strlen(folder));
	TRY(json_read(&config, path, err));
	TRY(read_config((struct reader){path, config, err}, arch, rope_original_context));
	json_decref(config);
	free(path);
	return 0;
fail:
	json_decref(config);
	free(path);
	return err->code;
}

void arch_inverse_frequencies(const struct arch *arch, float *inv_freq)
{
	const float low = (float)arch->rope_scaling.low_factor;
	const float high = (float)arch->rope_scaling.high_factor;
	const float factor = (float)arch->rope_scaling.factor;
	const float context = (float)arch->rope_scaling.original_context;

	for (size_t i = 0; i < arch->head_dim / 2; i++) {
		const float f = 1 /
			powf((float)arch->rope_theta, (float)(2 * i) / (float)arch->head_dim);
		const float wavelength = 2 * (float)M_PI / f;

		if (!arch->rope_scaling.llama3 || wavelength < context / high) {
			inv_freq[i] = f;
		} else if (wavelength > context / low) {
			inv_freq[i] = f / factor;
		} else {
			const float smooth = (context / wavelength - low) / (high - low);

			inv_freq[i] = (1 - smooth) * f / factor + smooth * f;
		}
	}
}
