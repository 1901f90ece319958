/* SPDX-License-Identifier: MIT
 *
 * model.c - binding a checkpoint's tensors. Contract: model.h. Tests: tests/test_model.c.
 */
#include "host/model/model.h"

#include "host/formats/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names and shapes ------------------------------------------------------------------ */

enum part { MATRIX, VECTOR };

/* One tensor of a layer: its name in the file and where it goes. Llama's
 * post_attention_layernorm is the norm before the MLP; Gemma's is the one after attention. */
struct binding {
	const char *name;
	size_t field; /* offset in struct layer_weights */
	enum part part;
	size_t rows, cols; /* VECTOR: rows 1 */
};

enum { MAX_BINDINGS = 24 };

static size_t layer_bindings(const struct arch *a, struct binding out[MAX_BINDINGS])
{
	const size_t d = a->d_model, q = a->n_head * a->head_dim, kv = a->n_kv_head * a->head_dim;
	size_t n = 0;

#define BIND(name, field, part, rows, cols) \
	out[n++] = (struct binding){name, offsetof(struct layer_weights, field), part, rows, cols}
	BIND("input_layernorm.weight", attention_norm, VECTOR, 1, d);
	BIND("self_attn.q_proj.weight", q, MATRIX, q, d);
	BIND("self_attn.k_proj.weight", k, MATRIX, kv, d);
	BIND("self_attn.v_proj.weight", v, MATRIX, kv, d);
	BIND("self_attn.o_proj.weight", o, MATRIX, d, q);
	BIND("mlp.gate_proj.weight", gate, MATRIX, a->d_ff, d);
	BIND("mlp.up_proj.weight", up, MATRIX, a->d_ff, d);
	BIND("mlp.down_proj.weight", down, MATRIX, d, a->d_ff);
	if (a->post_norms) {
		BIND("post_attention_layernorm.weight", post_attention_norm, VECTOR, 1, d);
		BIND("pre_feedforward_layernorm.weight", mlp_norm, VECTOR, 1, d);
		BIND("post_feedforward_layernorm.weight", post_mlp_norm, VECTOR, 1, d);
	} else {
		BIND("post_attention_layernorm.weight", mlp_norm, VECTOR, 1, d);
	}
	if (a->qk_norm) {
		BIND("self_attn.q_norm.weight", q_norm, VECTOR, 1, a->head_dim);
		BIND("self_attn.k_norm.weight", k_norm, VECTOR, 1, a->head_dim);
	}
	if (a->qkv_bias) {
		BIND("self_attn.q_proj.bias", q_bias, VECTOR, 1, q);
		BIND("self_attn.k_proj.bias", k_bias, VECTOR, 1, kv);
		BIND("self_attn.v_proj.bias", v_bias, VECTOR, 1, kv);
	}
	if (a->o_bias)
		BIND("self_attn.o_proj.bias", o_bias, VECTOR, 1, d);
#undef BIND
	return n;
}

static int find_tensor(const struct tensor_source *source, const char *name, enum part part,
	size_t rows, size_t cols, const struct file_tensor **out, struct err *err)
{
	const struct file_tensor *t = source->find(source->context, name, rows, cols);
	const bool fits = t && (part == VECTOR ? t->n_dims == 1 && t->shape[0] == cols
					       : t->n_dims == 2 && t->shape[0] == rows &&
							 t->shape[1] == cols);

	if (!t)
		return err_set(err, ERR_INPUT, "tensor \"%s\": not in the checkpoint", name);
	if (!fits && part == VECTOR)
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected shape [%zu], found %d dimensions, the first %zu",
			name, cols, t->n_dims, t->n_dims > 0 ? t->shape[0] : 0);
	if (!fits)
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected shape [%zu, %zu], found %d dimensions, [%zu, %zu]",
			name, rows, cols, t->n_dims, t->n_dims > 0 ? t->shape[0] : 0,
			t->n_dims > 1 ? t->shape[1] : 0);
	if (!t->known || (t->dtype != DTYPE_F32 && t->dtype != DTYPE_BF16 && t->dtype != DTYPE_F16))
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected type F32, BF16 or F16, found %s", name, t->type);
	*out = t;
	return 0;
}

/* ---- placing --------------------------------------------------------------------------- */

static int own(struct model *m, size_t bytes, void **memory, struct err *err)
{
	void **grown = realloc(m->owned, (m->n_owned + 1) * sizeof *grown);

	if (!grown)
		return err_nomem(err, "the list of weights", (m->n_owned + 1) * sizeof *grown);
	m->owned = grown;
	if (device_alloc(m->dev, bytes, memory, err))
		return err->code;
	m->owned[m->n_owned++] = *memory;
	return 0;
}

static int place_floats(struct model *m, const float *values, size_t rows, size_t cols,
	struct tensor *out, struct err *err)
{
	*out = (struct tensor){NULL, DTYPE_F32, rows, cols};
	if (own(m, tensor_bytes(*out), &out->data, err))
		return err->code;
	return device_upload(m->dev, out->data, values, tensor_bytes(*out), err);
}

static int place_vector(struct model *m, const struct file_tensor *t, struct tensor *out,
	struct err *err)
{
	const size_t n = t->shape[0];
	float *values = malloc(n * sizeof *values + 1);
	int rc;

	if (!values)
		return err_nomem(err, t->name, n * sizeof *values);
	for (size_t i = 0; i < n; i++) {
		uint16_t half;

		if (t->dtype == DTYPE_F32) {
			memcpy(&values[i], t->data + 4 * i, 4);
			continue;
		}
		memcpy(&half, t->data + 2 * i, 2);
		values[i] = t->dtype == DTYPE_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
	}
	rc = place_floats(m, values, 1, n, out, err);
	free(values);
	return rc;
}

static int place_matrix(struct model *m, const struct file_tensor *t, struct tensor *out,
	struct err *err)
{
	*out = (struct tensor){(void *)t->data, t->dtype, t->shape[0], t->shape[1]};
	if (device_is_host(m->dev) && (uintptr_t)t->data % dtype_bytes(t->dtype) == 0)
		return 0;
	if (own(m, t->bytes, &out->data, err))
		return err->code;
	return device_upload_weights(m->dev, out->data, t->data, t->bytes, err);
}

/* What is done with every tensor of the model: checked and weighed first, then placed. */
typedef int visitor(struct model *m, const struct tensor_source *source, const char *name,
	enum part part, size_t rows, size_t cols, struct tensor *out, struct err *err);

static int weigh(struct model *m, const struct tensor_source *source, const char *name,
	enum part part, size_t rows, size_t cols, struct tensor *out, struct err *err)
{
	const struct file_tensor *t = NULL;

	(void)out;
	if (find_tensor(source, name, part, rows, cols, &t, err))
		return err->code;
	m->bytes += part == VECTOR ? rows * cols * sizeof(float) : t->bytes;
	return 0;
}

static int place(struct model *m, const struct tensor_source *source, const char *name,
	enum part part, size_t rows, size_t cols, struct tensor *out, struct err *err)
{
	const struct file_tensor *t = NULL;

	if (find_tensor(source, name, part, rows, cols, &t, err))
		return err->code;
	return part == VECTOR ? place_vector(m, t, out, err) : place_matrix(m, t, out, err);
}

/* What stands before "embed_tokens.weight" and the like: multimodal exports put more there. */
static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model.",
	""};

static const char *find_prefix(const struct arch *a, const struct tensor_source *source)
{
	char name[128];

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
		if (source->find(source->context, name, a->n_vocab, a->d_model))
			return prefixes[i];
	}
	return prefixes[0]; /* for the message that the tensor is missing */
}

/* The unembedding is beside the model, not in it. */
static const char *unembedding_name(const struct arch *a, const struct tensor_source *source)
{
	static const char inner[] = "language_model.lm_head.weight";

	return source->find(source->context, inner, a->n_vocab, a->d_model) ? inner
									    : "lm_head.weight";
}

static int visit_all(struct model *m, const struct tensor_source *source, visitor *visit,
	struct err *err)
{
	const struct arch *a = &m->arch;
	const char *prefix = find_prefix(a, source);
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(a, bindings);
	char name[192];

	snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
	TRY(visit(m, source, name, MATRIX, a->n_vocab, a->d_model, &m->embedding, err));
	m->unembedding = m->embedding;
	if (!a->tied_embedding)
		TRY(visit(m, source, unembedding_name(a, source), MATRIX, a->n_vocab, a->d_model,
			&m->unembedding, err));
	for (size_t l = 0; l < a->n_layer; l++) {
		for (size_t i = 0; i < n; i++) {
			const struct binding *b = &bindings[i];

			snprintf(name, sizeof name, "%slayers.%zu.%s", prefix, l, b->name);
			TRY(visit(m, source, name, b->part, b->rows, b->cols,
				(struct tensor *)((char *)&m->layers[l] + b->field), err));
		}
	}
	snprintf(name, sizeof name, "%snorm.weight", prefix);
	TRY(visit(m, source, name, VECTOR, 1, a->d_model, &m->final_norm, err));
	return 0;
fail:
	return err->code;
}

/* In float32, as the published implementations. */
static int place_rope(struct model *m, const struct rope *rope, struct rope_table *out,
	struct err *err)
{
	const size_t half = m->arch.head_dim / 2, n = m->n_ctx * half;
	float *inv_freq = malloc((half + 2 * n) * sizeof *inv_freq);
	float *cosines = inv_freq + half, *sines = cosines + n;
	int rc;

	if (!inv_freq)
		return err_nomem(err, "the rotary table", (half + 2 * n) * sizeof *inv_freq);
	rope_inverse_frequencies(rope, m->arch.head_dim, inv_freq);
	for (size_t pos = 0; pos < m->n_ctx; pos++) {
		for (size_t i = 0; i < half; i++) {
			const float angle = (float)pos * inv_freq[i];

			cosines[pos * half + i] = cosf(angle);
			sines[pos * half + i] = sinf(angle);
		}
	}
	rc = place_floats(m, cosines, m->n_ctx, half, &out->cosines, err) ||
	     place_floats(m, sines, m->n_ctx, half, &out->sines, err);
	free(inv_freq);
	return rc ? err->code : 0;
}

const struct rope_table *model_rope(const struct model *m, size_t layer)
{
	return &m->rope[m->arch.rope_of[layer]];
}

static int check_room(struct model *m, struct err *err)
{
	size_t available;

	if (device_is_host(m->dev) || !device_free_memory(m->dev, &available) ||
		m->bytes <= available)
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory on %s: the weights need %.1f MiB, %.1f MiB are free",
		device_description(m->dev), (double)m->bytes / 0x1p20, (double)available / 0x1p20);
}

int model_open_from(struct model **out, struct device *dev, const struct arch *arch,
	const struct tensor_source *source, const struct model_options *options, struct err *err)
{
	struct model *m = calloc(1, sizeof *m);

	*out = NULL;
	if (!m)
		return err_nomem(err, "a model", sizeof *m);
	m->dev = dev;
	m->arch = *arch;
	m->n_ctx = options->n_ctx ? options->n_ctx : m->arch.max_position;
	if (!options->n_ctx && m->n_ctx > 8192)
		m->n_ctx = 8192;
	m->embedding_scale = m->arch.scale_embedding ? sqrt((double)m->arch.d_model) : 1;
	m->layers = calloc(m->arch.n_layer, sizeof *m->layers);
	if (!m->layers) {
		err_nomem(err, "a model", m->arch.n_layer * sizeof *m->layers);
		goto fail;
	}
	TRY(visit_all(m, source, weigh, err));
	TRY(check_room(m, err));
	TRY(visit_all(m, source, place, err));
	for (int i = 0; i < ARCH_N_ROPES; i++)
		if (m->arch.rope[i].theta > 0)
			TRY(place_rope(m, &m->arch.rope[i], &m->rope[i], err));
	*out = m;
	return 0;
fail:
	model_close(m);
	return err->code;
}

/* Files have shapes of their own. */
static const struct file_tensor *find_in_files(void *files, const char *name, size_t rows,
	size_t cols)
{
	(void)rows;
	(void)cols;
	return safetensors_folder_find(files, name);
}

int model_open(struct model **out, struct device *dev, const char *folder,
	const struct model_options *options, struct err *err)
{
	struct safetensors_folder *files = NULL;
	struct arch arch;

	*out = NULL;
	if (arch_read(&arch, folder, options->rope_original_context, err) ||
		safetensors_folder_open(&files, folder, err))
		return err->code;
	if (model_open_from(out, dev, &arch, &(struct tensor_source){find_in_files, files}, options,
		    err)) {
		safetensors_folder_close(files);
		return err_prefix(err, "%s", folder);
	}
	(*out)->files = files;
	return 0;
}

void model_close(struct model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_owned; i++)
		device_free(m->dev, m->owned[i]);
	free(m->owned);
	free(m->layers);
	safetensors_folder_close(m->files);
	free(m);
}

size_t model_parameters(const struct model *m)
{
	const struct arch *a = &m->arch;
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(a, bindings);
	size_t sum = a->d_model + tensor_count(m->embedding);

	if (!a->tied_embedding)
		sum += tensor_count(m->unembedding);
	for (size_t i = 0; i < n; i++)
		sum += a->n_layer * bindings[i].rows * bindings[i].cols;
	return sum;
}
