/* SPDX-License-Identifier: MIT
 *
 * model.c - binding a checkpoint's tensors, changed by an adapter where there is one. Contract:
 * model.h. Tests: tests/test_model.c, tests/test_weights.c, tests/test_adapter.c.
 */
#include "host/model/model.h"

#include "host/base/memory.h"
#include "host/formats/finite.h"
#include "host/formats/safetensors.h"
#include "host/model/adapter.h"
#include "host/model/layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where a tensor comes from ---------------------------------------------------------- */

/* A tensor of the model: its name in the checkpoint, and as adapters have it, without what stands
 * before "layers". */
struct wanted {
	const char *name, *inner;
	enum module_kind kind;
	enum part part;
	size_t rows, cols;
};

struct origin {
	const struct file_tensor *t; /* the checkpoint's, or the one that replaces it */
	struct adapter_change change;
};

static int check_tensor(const struct wanted *w, const struct file_tensor *t, struct err *err)
{
	const bool fits = w->part == VECTOR ? t->n_dims == 1 && t->shape[0] == w->cols
					    : t->n_dims == 2 && t->shape[0] == w->rows &&
						      t->shape[1] == w->cols;

	if (!fits && w->part == VECTOR)
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected shape [%zu], found %d dimensions, the first %zu",
			t->name, w->cols, t->n_dims, t->n_dims > 0 ? t->shape[0] : 0);
	if (!fits)
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected shape [%zu, %zu], found %d dimensions, [%zu, %zu]",
			t->name, w->rows, w->cols, t->n_dims, t->n_dims > 0 ? t->shape[0] : 0,
			t->n_dims > 1 ? t->shape[1] : 0);
	if (!t->known || (t->dtype != DTYPE_F32 && t->dtype != DTYPE_BF16 && t->dtype != DTYPE_F16))
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": expected type F32, BF16 or F16, found %s", t->name,
			t->type);
	return 0;
}

static bool same_values(const struct wanted *w, const struct file_tensor *a,
	const struct file_tensor *b)
{
	if (a->dtype == b->dtype)
		return memcmp(a->data, b->data, a->bytes) == 0;
	for (size_t i = 0; i < w->rows * w->cols; i++)
		if (file_tensor_value(a, i) != file_tensor_value(b, i))
			return false;
	return true;
}

/* The checkpoint's tensor, and what the adapter makes of it. */
static int find_origin(struct model *m, const struct tensor_source *source, const struct wanted *w,
	struct origin *out, struct err *err)
{
	struct adapter_change *change = &out->change;
	const struct file_tensor *base = source->find(source->context, w->name, w->rows, w->cols);

	*out = (struct origin){base, {0}};
	if (!base)
		return err_set(err, ERR_INPUT, "tensor \"%s\": not in the checkpoint", w->name);
	TRY(check_tensor(w, base, err));
	if (!m->adapter)
		return 0;
	TRY(adapter_find(m->adapter, w->inner, w->kind, w->rows, w->cols, change, err));
	if (!change->whole)
		return 0;
	if (check_tensor(w, change->whole, err))
		return err_prefix(err, "%s", adapter_weights_path(m->adapter));
	if (change->declared)
		out->t = change->whole;
	else if (!same_values(w, base, change->whole))
		return err_set(err, ERR_INPUT,
			"%s: tensor \"%s\" differs from the base's, but neither modules_to_save nor "
			"bias in adapter_config.json means it",
			adapter_weights_path(m->adapter), change->whole->name);
	return 0;
fail:
	return err->code;
}

/* ---- are its values finite? ------------------------------------------------------------- */

/* Of a tensor of the checkpoint, or of a source that has no files. */
static int check_finite(const struct model *m, const struct file_tensor *t, struct err *err)
{
	return finite_check(t, m->files ? safetensors_folder_file_of(m->files, t) : "the weights",
		device_threads(m->dev), err);
}

static int check_finite_of_adapter(const struct model *m, const struct file_tensor *t,
	struct err *err)
{
	return finite_check(t, adapter_weights_path(m->adapter), device_threads(m->dev), err);
}

/* Whether this process's copy of a matrix goes to the device: of ranks that are sent their weights
 * only the one that sends them reads them. */
static bool reads_matrices(const struct model *m)
{
	return !device_is_joined(m->dev) || device_gives_weights(m->dev);
}

/* Right before the tensor is used, so that what comes from the disk comes once. */
static int check_origin(const struct model *m, const struct wanted *w, const struct origin *from,
	struct err *err)
{
	const struct adapter_change *change = &from->change;

	if (w->part == MATRIX && !reads_matrices(m))
		return 0;
	TRY(from->t == change->whole ? check_finite_of_adapter(m, from->t, err)
				     : check_finite(m, from->t, err));
	if (change->a) {
		TRY(check_finite_of_adapter(m, change->a, err));
		TRY(check_finite_of_adapter(m, change->b, err));
	}
	return 0;
fail:
	return err->code;
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

/* Memory for a tensor, unless it has its place already. */
static int make_room(struct model *m, struct tensor *t, struct err *err)
{
	return t->data ? 0 : own(m, tensor_bytes(*t), &t->data, err);
}

static int place_floats(struct model *m, const float *values, size_t rows, size_t cols,
	struct tensor *out, struct err *err)
{
	*out = (struct tensor){out->data, DTYPE_F32, rows, cols};
	if (make_room(m, out, err))
		return err->code;
	return device_upload(m->dev, out->data, values, tensor_bytes(*out), err);
}

static int place_vector(struct model *m, const struct file_tensor *t, struct tensor *out,
	struct err *err)
{
	const size_t n = t->shape[0];
	float *values = memory_alloc(n * sizeof *values + 1);
	int rc;

	if (!values)
		return err_nomem(err, t->name, n * sizeof *values);
	for (size_t i = 0; i < n; i++)
		values[i] = (float)file_tensor_value(t, i);
	rc = place_floats(m, values, 1, n, out, err);
	free(values);
	return rc;
}

static int place_matrix(struct model *m, const struct file_tensor *t, struct tensor *out,
	struct err *err)
{
	*out = (struct tensor){out->data, t->dtype, t->shape[0], t->shape[1]};
	if (device_is_host(m->dev) && (uintptr_t)t->data % dtype_bytes(t->dtype) == 0) {
		out->data = (void *)t->data;
		return 0;
	}
	if (make_room(m, out, err))
		return err->code;
	return device_upload_weights(m->dev, out->data, t->data, t->bytes, err);
}

/* W + s B A, made here and kept in float32. Ranks that are sent their weights make nothing. */
static int place_merged(struct model *m, const struct wanted *w, const struct origin *from,
	struct tensor *out, struct err *err)
{
	const bool host = device_is_host(m->dev);
	const size_t bytes = w->rows * w->cols * sizeof(float);
	float *values = NULL;

	*out = (struct tensor){out->data, DTYPE_F32, w->rows, w->cols};
	err_clear(err);
	if (make_room(m, out, err))
		return err->code;
	if (!host && !(values = memory_alloc(bytes)))
		return err_nomem(err, w->name, bytes);
	if (reads_matrices(m)) {
		const struct file_tensor merged = {.name = w->name,
			.dtype = DTYPE_F32,
			.n_dims = 2,
			.shape = {w->rows, w->cols},
			.data = host ? out->data : values,
			.bytes = bytes};

		TRY(adapter_merge(from->t, &from->change, w->kind, device_threads(m->dev),
			(float *)merged.data, err));
		if (check_finite_of_adapter(m, &merged, err)) {
			err_prefix(err, "with the adapter's change");
			goto fail;
		}
	}
	if (!host)
		TRY(device_upload_weights(m->dev, out->data, values, bytes, err));
fail:
	free(values);
	return err->code;
}

/* What is done with every tensor of the model: checked and weighed first, which leaves its type and
 * shape, then placed. */
typedef int visitor(struct model *m, const struct tensor_source *source, const struct wanted *w,
	struct tensor *out, struct err *err);

static int weigh(struct model *m, const struct tensor_source *source, const struct wanted *w,
	struct tensor *out, struct err *err)
{
	const size_t merged = w->rows * w->cols * sizeof(float);
	struct origin from;

	if (find_origin(m, source, w, &from, err))
		return err->code;
	*out = (struct tensor){NULL, from.change.a || w->part == VECTOR ? DTYPE_F32 : from.t->dtype,
		w->rows, w->cols};
	m->bytes += from.change.a || w->part == VECTOR ? merged : from.t->bytes;
	m->merged_bytes += from.change.a ? merged : 0;
	return 0;
}

static int place(struct model *m, const struct tensor_source *source, const struct wanted *w,
	struct tensor *out, struct err *err)
{
	struct origin from;

	if (find_origin(m, source, w, &from, err) || check_origin(m, w, &from, err))
		return err->code;
	if (from.change.a)
		return place_merged(m, w, &from, out, err);
	return w->part == VECTOR ? place_vector(m, from.t, out, err)
				 : place_matrix(m, from.t, out, err);
}

/* Whether an adapter makes something else of one of two matrices that are tied in the base. */
static int is_untied(struct model *m, const struct wanted *embedding, const struct wanted *head,
	bool *untied, struct err *err)
{
	struct adapter_change of_embedding, of_head;

	*untied = false;
	if (!m->adapter)
		return 0;
	TRY(adapter_find(m->adapter, embedding->inner, embedding->kind, embedding->rows,
		embedding->cols, &of_embedding, err));
	TRY(adapter_find(m->adapter, head->inner, head->kind, head->rows, head->cols, &of_head,
		err));
	*untied = of_embedding.a || of_head.a || (of_embedding.whole && of_embedding.declared) ||
		  (of_head.whole && of_head.declared);
	if (*untied && adapter_ties(m->adapter))
		return err_set(err, ERR_INPUT,
			"%s: ensure_weight_tying: not done here; expected false where embed_tokens or "
			"lm_head is changed, found true",
			adapter_config_path(m->adapter));
	return 0;
fail:
	return err->code;
}

/* transformers ties the two where config.json says so, unless the files have both and they differ.
 */
static int choose_head(struct model *m, const struct tensor_source *source,
	const struct wanted *embedding, struct wanted *head, bool *shared, struct err *err)
{
	const struct file_tensor *own, *e;
	struct file_tensor kept;
	bool untied;

	own = source->find(source->context, head->name, head->rows, head->cols);
	if (!own && !m->arch.tied_embedding)
		return err_set(err, ERR_INPUT,
			"tensor \"%s\": not in the checkpoint, but tie_word_embeddings is false in "
			"config.json; expected one or the other",
			head->name);
	m->head = own ? HEAD_OWN : HEAD_TIED;
	if (own && m->arch.tied_embedding) {
		kept = *own;
		e = source->find(source->context, embedding->name, embedding->rows,
			embedding->cols);
		if (!e)
			return err_set(err, ERR_INPUT, "tensor \"%s\": not in the checkpoint",
				embedding->name);
		TRY(check_tensor(embedding, e, err));
		TRY(check_tensor(head, &kept, err));
		m->head = same_values(head, e, &kept) ? HEAD_REPEATED : HEAD_DIFFERS;
	}
	*shared = m->head == HEAD_TIED || m->head == HEAD_REPEATED;
	if (!*shared)
		return 0;
	TRY(is_untied(m, embedding, head, &untied, err));
	head->name = embedding->name;
	*shared = !untied;
	return 0;
fail:
	return err->code;
}

static enum module_kind kind_of(const struct binding *b)
{
	return b->part == VECTOR && strstr(b->name, "norm") ? MODULE_NORM : MODULE_LINEAR;
}

static int visit_all(struct model *m, const struct tensor_source *source, visitor *visit,
	struct err *err)
{
	const struct arch *a = &m->arch;
	const char *prefix = layout_prefix(a, source);
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(a, bindings);
	char name[192];
	const char *inner = name + strlen(prefix);
	const struct wanted embedding = {name, inner, MODULE_EMBEDDING, MATRIX, a->n_vocab,
		a->d_model};
	struct wanted head = {layout_head(a, source), "lm_head.weight", MODULE_HEAD, MATRIX,
		a->n_vocab, a->d_model};
	const struct wanted final_norm = {name, inner, MODULE_NORM, VECTOR, 1, a->d_model};
	bool shared;

	snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
	TRY(choose_head(m, source, &embedding, &head, &shared, err));
	TRY(visit(m, source, &embedding, &m->embedding, err));
	if (shared)
		m->unembedding = m->embedding;
	else
		TRY(visit(m, source, &head, &m->unembedding, err));
	for (size_t l = 0; l < a->n_layer; l++) {
		for (size_t i = 0; i < n; i++) {
			const struct binding *b = &bindings[i];
			const struct wanted w = {name, inner, kind_of(b), b->part, b->rows,
				b->cols};

			snprintf(name, sizeof name, "%slayers.%zu.%s", prefix, l, b->name);
			TRY(visit(m, source, &w,
				(struct tensor *)((char *)&m->layers[l] + b->field), err));
		}
	}
	snprintf(name, sizeof name, "%snorm.weight", prefix);
	TRY(visit(m, source, &final_norm, &m->final_norm, err));
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

/* On a device that reads host memory, what an adapter changes is all that is made here. */
static int check_room(struct model *m, struct err *err)
{
	const bool host = device_is_host(m->dev);
	const size_t needed = host ? m->merged_bytes : m->bytes;
	size_t available;

	if (host)
		available = memory_left().bytes;
	else if (!device_free_memory(m->dev, &available))
		return 0;
	if (needed <= available)
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory on %s: the weights need %.1f MiB, %.1f MiB are free",
		device_description(m->dev), (double)needed / 0x1p20, (double)available / 0x1p20);
}

static int model_create(struct model **out, struct device *dev, const struct arch *arch,
	const struct model_options *options, struct err *err)
{
	struct model *m = calloc(1, sizeof *m);

	*out = m;
	if (!m)
		return err_nomem(err, "a model", sizeof *m);
	m->dev = dev;
	m->arch = *arch;
	m->n_ctx = options->n_ctx ? options->n_ctx : m->arch.max_position;
	if (!options->n_ctx && m->n_ctx > 8192)
		m->n_ctx = 8192;
	m->embedding_scale = m->arch.scale_embedding ? sqrt((double)m->arch.d_model) : 1;
	m->layers = calloc(m->arch.n_layer, sizeof *m->layers);
	if (!m->layers)
		return err_nomem(err, "a model", m->arch.n_layer * sizeof *m->layers);
	return 0;
}

/* ---- parts of one matrix ---------------------------------------------------------------- */

static bool of_one_type(const struct tensor *const *parts, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (parts[i]->dtype != parts[0]->dtype)
			return false;
	return true;
}

/* Gives the parts places one behind the other, as rows of `whole`; of vectors, whose one row is
 * seen as many, its columns. */
static int join_parts(struct model *m, struct tensor *const *parts, size_t n, struct tensor *whole,
	struct err *err)
{
	const bool vectors = parts[0]->rows == 1;
	size_t at = 0;

	*whole = *parts[0];
	for (size_t i = 1; i < n; i++)
		*(vectors ? &whole->cols : &whole->rows) += vectors ? parts[i]->cols
								    : parts[i]->rows;
	if (own(m, tensor_bytes(*whole), &whole->data, err))
		return err->code;
	for (size_t i = 0; i < n; i++) {
		parts[i]->data = (char *)whole->data + at;
		at += tensor_bytes(*parts[i]);
	}
	return 0;
}

static int join_layer(struct model *m, struct layer_weights *w, struct err *err)
{
	if (m->has_qkv)
		TRY(join_parts(m, (struct tensor *[]){&w->q, &w->k, &w->v}, 3, &w->qkv, err));
	if (m->has_qkv && m->arch.qkv_bias)
		TRY(join_parts(m, (struct tensor *[]){&w->q_bias, &w->k_bias, &w->v_bias}, 3,
			&w->qkv_bias, err));
	if (m->has_gate_up)
		TRY(join_parts(m, (struct tensor *[]){&w->gate, &w->up}, 2, &w->gate_up, err));
	return 0;
fail:
	return err->code;
}

/* On a device that reads host memory, matrices stay where they are mapped. */
static int join_layers(struct model *m, struct err *err)
{
	const bool own_memory = !device_is_host(m->dev);

	m->has_qkv = own_memory && !m->arch.qk_norm;
	m->has_gate_up = own_memory;
	for (size_t l = 0; l < m->arch.n_layer; l++) {
		const struct layer_weights *w = &m->layers[l];

		m->has_qkv &= of_one_type((const struct tensor *[]){&w->q, &w->k, &w->v}, 3);
		m->has_gate_up &= of_one_type((const struct tensor *[]){&w->gate, &w->up}, 2);
	}
	for (size_t l = 0; l < m->arch.n_layer; l++)
		TRY(join_layer(m, &m->layers[l], err));
	return 0;
fail:
	return err->code;
}

/* Rounded only where every matrix of a layer multiplies the rounded: an adapter leaves float32. */
static enum dtype choose_operand(const struct model *m)
{
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(&m->arch, bindings);

	for (size_t l = 0; l < m->arch.n_layer; l++) {
		for (size_t i = 0; i < n; i++) {
			const struct tensor *W = (const struct tensor
					*)((const char *)&m->layers[l] + bindings[i].field);

			if (bindings[i].part == MATRIX &&
				device_operand(m->dev, W->dtype) == device_activation(m->dev))
				return device_activation(m->dev);
		}
	}
	return device_operand(m->dev, DTYPE_BF16);
}

static int load(struct model *m, const struct tensor_source *source, struct err *err)
{
	TRY(visit_all(m, source, weigh, err));
	if (m->adapter)
		TRY(adapter_check_used(m->adapter, err));
	TRY(check_room(m, err));
	TRY(join_layers(m, err));
	TRY(visit_all(m, source, place, err));
	for (int i = 0; i < ARCH_N_ROPES; i++)
		if (m->arch.rope[i].theta > 0)
			TRY(place_rope(m, &m->arch.rope[i], &m->rope[i], err));
	m->operand = choose_operand(m);
	return 0;
fail:
	return err->code;
}

int model_open_from(struct model **out, struct device *dev, const struct arch *arch,
	const struct tensor_source *source, const struct model_options *options, struct err *err)
{
	TRY(model_create(out, dev, arch, options, err));
	TRY(load(*out, source, err));
	return 0;
fail:
	model_close(*out);
	*out = NULL;
	return err->code;
}

int model_open(struct model **out, struct device *dev, const char *folder,
	const struct model_options *options, struct err *err)
{
	struct tensor_source source;
	struct arch arch;
	struct model *m = NULL;

	*out = NULL;
	if (arch_read(&arch, folder, options->rope_original_context, err))
		return err->code;
	TRY(model_create(&m, dev, &arch, options, err));
	TRY(safetensors_folder_open(&m->files, folder, err));
	if (options->adapter)
		TRY(adapter_open(&m->adapter, options->adapter, err));
	source = layout_files(m->files);
	if (layout_unused(&arch, m->files, m->unused, sizeof m->unused, err) ||
		load(m, &source, err)) {
		err_prefix(err, "%s", folder);
		goto fail;
	}
	*out = m;
	return 0;
fail:
	model_close(m);
	return err->code;
}

void model_close(struct model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_owned; i++)
		device_free(m->dev, m->owned[i]);
	free(m->owned);
	free(m->layers);
	adapter_close(m->adapter);
	safetensors_folder_close(m->files);
	free(m);
}

size_t model_parameters(const struct model *m)
{
	const struct arch *a = &m->arch;
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(a, bindings);
	size_t sum = a->d_model + tensor_count(m->embedding);

	if (m->unembedding.data != m->embedding.data)
		sum += tensor_count(m->unembedding);
	for (size_t i = 0; i < n; i++)
		sum += a->n_layer * bindings[i].rows * bindings[i].cols;
	return sum;
}
