/* SPDX-License-Identifier: MIT
 *
 * sae_load.c - the weights of SAEs on the device: parts of them read afresh, whole layers kept until
 * others need the room, and cosines with decoder rows. Contract: sae.h, sae_set.h. Tests:
 * tests/test_sae.c, tests/test_method.c.
 */
#include "host/model/sae_set.h"

#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdlib.h>

/* ---- reading --------------------------------------------------------------------------- */

/* Float32 weights in one block of device memory; parts that are not wanted have no rows. */
struct float_layout {
	struct sae_weights *weights;
	size_t n_enc, n_dec, d;
	bool gated;
};

static struct tensor carve_floats(struct carver *c, size_t rows, size_t cols)
{
	struct tensor t = {NULL, DTYPE_F32, rows, cols};

	t.data = carve_ints(c, rows * cols); /* four bytes each, like float32 */
	return t;
}

static void layout_floats(void *object, struct carver *c)
{
	struct float_layout *l = object;

	l->weights->W_enc_t = carve_floats(c, l->n_enc, l->d);
	l->weights->W_dec = carve_floats(c, l->n_dec, l->d);
	l->weights->b_enc = carve_floats(c, 1, l->n_enc);
	l->weights->threshold = carve_floats(c, 1, l->n_enc);
	if (l->gated) {
		l->weights->gain = carve_floats(c, 1, l->n_enc);
		l->weights->shift = carve_floats(c, 1, l->n_enc);
	}
	l->weights->b_dec = carve_floats(c, 1, l->d);
}

static struct float_layout layout_of(const struct sae_file *file, size_t n, enum sae_parts parts,
	size_t d, struct sae_weights *weights)
{
	return (struct float_layout){weights, parts & SAE_ENCODER ? n : 0,
		parts & SAE_DECODER ? n : 0, d, file->gated && (parts & SAE_ENCODER)};
}

/* The first value that is not finite, or n. */
static size_t first_nonfinite(const float *values, size_t n)
{
	size_t i = 0;

	while (i < n && isfinite(values[i]))
		i++;
	return i;
}

/* Values that are not finite are refused, and, on request, all rounded to bfloat16. */
static int finish_values(const struct sae_file *file, const struct sae_arrays *a, size_t n,
	bool bf16, struct err *err)
{
	const struct {
		const char *name;
		float *values;
		size_t n;
	} parts[] = {{"W_enc", a->W_enc_t, n * file->d_model}, {"b_enc", a->b_enc, n},
		{"threshold", a->threshold, n}, {"gain", a->gain, n}, {"shift", a->shift, n},
		{"W_dec", a->W_dec, n * file->d_model}, {"b_dec", a->b_dec, file->d_model}};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (!parts[i].values)
			continue;
		if (first_nonfinite(parts[i].values, parts[i].n) < parts[i].n)
			return err_set(err, ERR_INPUT, "%s: %s holds a value that is not finite",
				file->path, parts[i].name);
		for (size_t j = 0; j < parts[i].n && bf16; j++)
			parts[i].values[j] = bf16_to_f32(f32_to_bf16(parts[i].values[j]));
	}
	return 0;
}

static void *data_or_null(struct tensor t)
{
	return tensor_count(t) > 0 ? t.data : NULL;
}

/* Reads into `base`, which is laid out as `layout`. */
static int read_values(struct sae_set *set, struct sae_file *file, const int32_t *ids, size_t n,
	struct float_layout *layout, void *base, struct err *err)
{
	struct carver c = {DTYPE_F32, base, 0};
	const struct sae_weights *w = layout->weights;
	struct sae_arrays arrays;

	layout_floats(layout, &c);
	arrays = (struct sae_arrays){
		.W_enc_t = data_or_null(w->W_enc_t),
		.b_enc = data_or_null(w->b_enc),
		.threshold = data_or_null(w->threshold),
		.gain = data_or_null(w->gain),
		.shift = data_or_null(w->shift),
		.W_dec = data_or_null(w->W_dec),
		.b_dec = w->b_dec.data,
	};
	if (n == 0)
		return 0;
	if (file->format->read(file, ids, n, &arrays, err))
		return err->code;
	return finish_values(file, &arrays, n, set->bf16, err);
}

/* Reads into host memory of the same layout, and uploads it at once. */
static int read_and_upload(struct sae_set *set, struct sae_file *file, const int32_t *ids, size_t n,
	struct float_layout *layout, void *memory, size_t bytes, struct err *err)
{
	struct carver c = {DTYPE_F32, memory, 0};
	char *staging = malloc(bytes);

	if (!staging)
		return err_nomem(err, file->path, bytes);
	TRY(read_values(set, file, ids, n, layout, staging, err));
	TRY(set->joined ? device_upload_weights(set->dev, memory, staging, bytes, err)
			: device_upload(set->dev, memory, staging, bytes, err));
	layout_floats(layout, &c);
	free(staging);
	return 0;
fail:
	free(staging);
	return err->code;
}

int sae_set_read(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	enum sae_parts parts, struct sae_weights *weights, void **memory, size_t *bytes,
	struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct float_layout layout = layout_of(file, n, parts, set->d_model, weights);

	*memory = NULL;
	*weights = (struct sae_weights){.input = file->input, .top_k = file->top_k,
		.group_width = file->group_width};
	*bytes = carve_count(set->dev, layout_floats, &layout);
	TRY(carve_allocate(set->dev, layout_floats, &layout, memory, err));
	if (device_is_host(set->dev))
		TRY(read_values(set, file, ids, n, &layout, *memory, err));
	else if (!set->joined || device_gives_weights(set->dev))
		TRY(read_and_upload(set, file, ids, n, &layout, *memory, *bytes, err));
	else
		TRY(device_upload_weights(set->dev, *memory, NULL, *bytes, err));
	return 0;
fail:
	device_free(set->dev, *memory);
	*memory = NULL;
	return err->code;
}

void sae_set_unload(struct sae_set *set, struct sae_resident *r)
{
	device_free(set->dev, r->memory);
	set->loaded_bytes -= r->bytes;
	*r = (struct sae_resident){0};
}

/* Unloads the least recently used layers until `bytes` more fit the budget, or none is left. */
static void make_room(struct sae_set *set, size_t bytes)
{
	while (set->loaded_bytes > 0 && set->loaded_bytes + bytes > set->budget) {
		struct sae_resident *oldest = NULL;

		for (size_t l = 0; l < set->n_layer; l++) {
			struct sae_resident *r = &set->residents[l];

			if (r->memory && (!oldest || r->used < oldest->used))
				oldest = r;
		}
		sae_set_unload(set, oldest);
	}
}

int sae_set_load(struct sae_set *set, size_t layer, struct sae_weights *out, struct err *err)
{
	struct sae_resident *r = &set->residents[layer];
	const struct sae_file *file = &set->files[layer];
	struct float_layout layout = layout_of(file, file->d_sae, SAE_BOTH, set->d_model,
		&r->weights);

	if (!r->memory) {
		make_room(set, carve_count(set->dev, layout_floats, &layout));
		if (sae_set_read(set, layer, NULL, file->d_sae, SAE_BOTH, &r->weights,
			    &r->memory, &r->bytes, err))
			return err->code;
		set->loaded_bytes += r->bytes;
	}
	r->used = ++set->clock;
	*out = r->weights;
	return 0;
}

/* How many layers with an SAE, from the first, fit the budget; all are of one shape. */
static size_t n_that_fit(const struct sae_set *set)
{
	size_t sum = 0, n = 0;

	for (size_t l = 0; l < set->n_layer; l++) {
		struct sae_weights none;
		const struct sae_file *file = &set->files[l];
		struct float_layout layout = layout_of(file, file->d_sae, SAE_BOTH, set->d_model,
			&none);

		sum += sae_set_has(set, l) ? carve_count(set->dev, layout_floats, &layout) : 0;
		if (sum > set->budget)
			break;
		n = l + 1;
	}
	return n;
}

/* Rank 0's number at every rank. */
static int agree_on(struct device *dev, uint64_t *n, struct err *err)
{
	void *memory;

	if (device_alloc(dev, sizeof *n, &memory, err))
		return err->code;
	TRY(device_upload_weights(dev, memory, n, sizeof *n, err));
	TRY(device_download(dev, n, memory, sizeof *n, err));
	device_free(dev, memory);
	return 0;
fail:
	device_free(dev, memory);
	return err->code;
}

int sae_set_load_joined(struct sae_set *set, struct err *err)
{
	struct sae_weights ignored;
	uint64_t n = n_that_fit(set);

	if (!device_is_joined(set->dev))
		return 0;
	TRY(agree_on(set->dev, &n, err));
	set->joined = true;
	for (size_t l = 0; l < n; l++)
		if (sae_set_has(set, l))
			TRY(sae_set_load(set, l, &ignored, err));
	set->joined = false;
	return 0;
fail:
	set->joined = false;
	return err->code;
}

/* ---- cosines --------------------------------------------------------------------------- */

struct cosine_buffers {
	size_t n, d;
	struct tensor cosine, v;
};

static void layout_cosines(void *object, struct carver *c)
{
	struct cosine_buffers *b = object;

	b->cosine = carve(c, b->n, 1);
	b->v = carve_floats(c, 1, b->d);
}

int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err)
{
	struct cosine_buffers b = {.n = set->files[layer].d_sae, .d = set->d_model};
	struct sae_weights decoder = set->residents[layer].weights;
	void *memory = NULL, *buffers = NULL;
	size_t bytes;

	if (!set->residents[layer].memory) {
		make_room(set, b.n * b.d * sizeof(float));
		TRY(sae_set_read(set, layer, NULL, b.n, SAE_DECODER, &decoder, &memory, &bytes, err));
	}
	TRY(carve_allocate(set->dev, layout_cosines, &b, &buffers, err));
	TRY(device_upload(set->dev, b.v.data, v, b.d * sizeof *v, err));
	TRY(op_row_cosine(set->dev, decoder.W_dec, b.v, b.cosine, err));
	TRY(download_floats(set->dev, b.cosine, cosine, err));
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return 0;
fail:
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return err->code;
}
