/* SPDX-License-Identifier: MIT
 *
 * sae_load.c - the weights of SAEs on the device: parts of them read afresh, whole layers kept
 * until others need the room, and cosines with decoder rows. Contract: sae.h, sae_parts.h. Tests:
 * tests/test_sae.c, tests/test_method.c, tests/emu/test_device.c.
 *
 * Features are read, folded, checked and rounded in blocks, by the threads that the device leaves
 * the host: into device memory where that is the host's; else into pinned memory, a piece of
 * features at a time, which is on its way while the next is read. Only where the weights are for
 * other ranks too they are laid out whole in the host's memory first.
 */
#include "host/model/sae.h"
#include "host/model/sae_parts.h"

#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/model/carver.h"
#include "host/model/sae_tensors.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- layout ---------------------------------------------------------------------------- */

/* Weights in one block of memory; parts that are not wanted have no rows. */
struct weights_layout {
	struct sae_weights *weights;
	enum dtype matrix; /* W_enc and W_dec; all else is float32 */
	size_t n_enc, n_dec, d;
	bool gated;
};

static void layout_weights(void *object, struct carver *c)
{
	struct weights_layout *l = object;

	l->weights->W_enc_t = carve_typed(c, l->matrix, l->n_enc, l->d);
	l->weights->W_dec = carve_typed(c, l->matrix, l->n_dec, l->d);
	l->weights->b_enc = carve_typed(c, DTYPE_F32, 1, l->n_enc);
	l->weights->threshold = carve_typed(c, DTYPE_F32, 1, l->n_enc);
	if (l->gated) {
		l->weights->gain = carve_typed(c, DTYPE_F32, 1, l->n_enc);
		l->weights->shift = carve_typed(c, DTYPE_F32, 1, l->n_enc);
	}
	l->weights->b_dec = carve_typed(c, DTYPE_F32, 1, l->d);
}

static struct weights_layout layout_of(const struct sae_set *set, const struct sae_file *file,
	size_t n, enum sae_parts parts, struct sae_weights *weights)
{
	return (struct weights_layout){weights, set->dtype == SAE_FLOAT32 ? DTYPE_F32 : DTYPE_BF16,
		parts & SAE_ENCODER ? n : 0, parts & SAE_DECODER ? n : 0, set->d_model,
		file->gated && (parts & SAE_ENCODER)};
}

static void place_weights(struct weights_layout *layout, void *memory)
{
	struct carver c = {DTYPE_F32, memory, 0};

	layout_weights(layout, &c);
}

static size_t bytes_of(const struct sae_set *set, size_t layer, size_t n, enum sae_parts parts)
{
	struct sae_weights none;
	struct weights_layout layout = layout_of(set, &set->files[layer], n, parts, &none);

	return carve_count(set->dev, layout_weights, &layout);
}

size_t sae_set_bytes(const struct sae_set *set, size_t layer)
{
	return sae_set_has(set, layer) ? bytes_of(set, layer, set->d_sae, SAE_BOTH) : 0;
}

size_t sae_set_encoder_bytes(const struct sae_set *set, size_t layer)
{
	return sae_set_has(set, layer) ? bytes_of(set, layer, set->d_sae, SAE_ENCODER) : 0;
}

/* ---- storing --------------------------------------------------------------------------- */

static bool f32_is_finite(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	return (bits & 0x7f800000u) != 0x7f800000u;
}

/* Each of the next three: whether all values are finite as they are stored. */
static bool store_f32(const float *from, size_t n, float *to)
{
	bool finite = true;

	for (size_t i = 0; i < n; i++) {
		to[i] = from[i];
		finite &= f32_is_finite(from[i]);
	}
	return finite;
}

static bool store_bf16(const float *from, size_t n, uint16_t *to)
{
	bool finite = true;

	for (size_t i = 0; i < n; i++) {
		to[i] = f32_to_bf16(from[i]);
		finite &= (to[i] & 0x7f80) != 0x7f80;
	}
	return finite;
}

static bool store_rounded(const float *from, size_t n, float *to)
{
	bool finite = true;

	for (size_t i = 0; i < n; i++) {
		to[i] = bf16_to_f32(f32_to_bf16(from[i]));
		finite &= f32_is_finite(to[i]);
	}
	return finite;
}

static bool store_matrix(const float *from, size_t n, struct tensor to, size_t first_row)
{
	const struct tensor rows = tensor_rows(to, first_row, n);

	return to.dtype == DTYPE_BF16 ? store_bf16(from, n * to.cols, rows.data)
				      : store_f32(from, n * to.cols, rows.data);
}

static bool store_vector(enum sae_dtype dtype, const float *from, size_t n, struct tensor to,
	size_t first)
{
	float *at = (float *)to.data + first;

	return dtype == SAE_RELEASED ? store_rounded(from, n, at) : store_f32(from, n, at);
}

/* ---- reading --------------------------------------------------------------------------- */

/* Names for messages, a bit each. */
static const char *const array_names[] = {"W_enc", "b_enc", "threshold", "gain", "shift", "W_dec",
	"b_dec"};
enum { W_ENC, B_ENC, THRESHOLD, GAIN, SHIFT, W_DEC, B_DEC, N_ARRAYS };

/* A request of features of one file. */
struct reading {
	enum sae_dtype dtype;
	const char *path;
	struct sae_tensors tensors;
	enum sae_parts parts;
	const int32_t *ids;    /* NULL: all */
	const uint8_t *unused; /* [d_sae], features read as zeros; NULL: none */
	int n_threads;
	float *memory;            /* owned: b_dec, and the rows of the blocks */
	const float *b_dec;       /* [d_model] */
	struct sae_block *blocks; /* [n_threads], owned */
};

static int reading_open(struct reading *r, struct sae_set *set, struct sae_file *file,
	const int32_t *ids, size_t n, enum sae_parts parts, struct err *err)
{
	const size_t d = set->d_model, rows = SAE_BLOCK * d;
	const size_t n_blocks = (n + SAE_BLOCK - 1) / SAE_BLOCK;
	size_t n_threads = size_min((size_t)device_threads(set->dev), size_max(n_blocks, 1));
	float *b_dec;

	*r = (struct reading){.dtype = set->dtype,
		.path = file->path,
		.parts = parts,
		.ids = ids,
		.unused = file->unused,
		.n_threads = (int)n_threads};
	r->memory = memory_alloc((d + 2 * rows * n_threads) * sizeof *r->memory);
	r->blocks = malloc(n_threads * sizeof *r->blocks);
	if (!r->memory || !r->blocks)
		return err_nomem(err, "blocks of SAE features",
			(d + 2 * rows * n_threads) * sizeof *r->memory);
	for (size_t t = 0; t < n_threads; t++) {
		r->blocks[t].W_enc_t = r->memory + d + 2 * rows * t;
		r->blocks[t].W_dec = r->blocks[t].W_enc_t + rows;
	}
	if (file->format->tensors(file, parts, &r->tensors, err))
		return err->code;
	b_dec = r->memory;
	sae_tensors_b_dec(&r->tensors, b_dec);
	r->b_dec = b_dec;
	if (!ids)
		sae_tensors_walk(&r->tensors, parts, r->n_threads);
	return 0;
}

static void reading_close(struct reading *r, struct sae_file *file)
{
	file->format->release(file);
	free(r->memory);
	free(r->blocks);
}

/* A feature that is out of use is never on: its pre-activation is 0, and no threshold is below. */
static void clear_unused(const struct reading *r, size_t first, size_t n, struct sae_block *block)
{
	const size_t d = r->tensors.d_model;

	for (size_t k = 0; k < n; k++) {
		if (!r->unused[r->ids ? (size_t)r->ids[first + k] : first + k])
			continue;
		memset(block->W_enc_t + k * d, 0, d * sizeof *block->W_enc_t);
		memset(block->W_dec + k * d, 0, d * sizeof *block->W_dec);
		block->b_enc[k] = block->threshold[k] = block->gain[k] = block->shift[k] = 0;
	}
}

/* Features `first` to first + n - 1 of the request as rows `at` and on of `to`. Returns the arrays
 * that are not finite. */
static unsigned read_block(const struct reading *r, struct sae_block *block, size_t first, size_t n,
	const struct sae_weights *to, size_t at)
{
	unsigned bad = 0;

	sae_tensors_read(&r->tensors, r->b_dec, r->parts, r->ids, first, n, block);
	if (r->unused)
		clear_unused(r, first, n, block);
	if (r->parts & SAE_ENCODER) {
		bad |= !store_matrix(block->W_enc_t, n, to->W_enc_t, at) << W_ENC;
		bad |= !store_vector(r->dtype, block->b_enc, n, to->b_enc, at) << B_ENC;
		bad |= !store_vector(r->dtype, block->threshold, n, to->threshold, at) << THRESHOLD;
		if (to->gain.data) {
			bad |= !store_vector(r->dtype, block->gain, n, to->gain, at) << GAIN;
			bad |= !store_vector(r->dtype, block->shift, n, to->shift, at) << SHIFT;
		}
	}
	if (r->parts & SAE_DECODER)
		bad |= !store_matrix(block->W_dec, n, to->W_dec, at) << W_DEC;
	return bad;
}

/* Why: a value in the file, else what scaling and rounding have made of one. `bad`: the arrays. */
static int not_finite(const struct reading *r, unsigned bad, struct err *err)
{
	size_t i = 0;

	TRY(sae_tensors_check_finite(&r->tensors, r->parts, r->path, r->n_threads, err));
	while (!(bad >> i & 1))
		i++;
	return err_set(err, ERR_INPUT,
		"%s: %s: expected values that are finite when scaled as the format says and kept as "
		"sae.dtype says (%s), found larger ones",
		r->path, array_names[i], sae_dtype_names[r->dtype]);
fail:
	return err->code;
}

/* Features `first` to first + n - 1 of the request, by blocks. */
struct block_loop {
	const struct reading *r;
	const struct sae_weights *to;
	size_t first, n;
	_Atomic unsigned bad;
};

static void read_one_block(void *context, size_t i, int thread)
{
	struct block_loop *l = context;
	const size_t k = i * SAE_BLOCK;

	l->bad |= read_block(l->r, &l->r->blocks[thread], l->first + k,
		size_min(SAE_BLOCK, l->n - k), l->to, k);
}

/* Features `first` to first + n - 1 of the request, and b_dec, in host memory. */
static int read_features(const struct reading *r, size_t first, size_t n,
	const struct sae_weights *to, struct err *err)
{
	struct block_loop l = {r, to, first, n,
		!store_vector(r->dtype, r->b_dec, r->tensors.d_model, to->b_dec, 0) << B_DEC};

	threads_run((n + SAE_BLOCK - 1) / SAE_BLOCK, r->n_threads, read_one_block, &l);
	return l.bad ? not_finite(r, l.bad, err) : 0;
}

static struct device_part matrix_part(struct tensor from, struct tensor to, size_t first)
{
	return (struct device_part){tensor_rows(to, first, from.rows).data, from.data,
		tensor_bytes(from)};
}

static struct device_part vector_part(struct tensor from, struct tensor to, size_t first)
{
	return (struct device_part){(char *)to.data + first * sizeof(float), from.data,
		tensor_bytes(from)};
}

/* What a piece of memory holds of the features from `first` on goes where it belongs. */
static int send_piece(struct device *dev, const struct sae_weights *piece,
	const struct sae_weights *to, size_t first, struct err *err)
{
	struct device_part parts[N_ARRAYS];
	size_t n = 0;

	if (piece->W_enc_t.rows > 0) {
		parts[n++] = matrix_part(piece->W_enc_t, to->W_enc_t, first);
		parts[n++] = vector_part(piece->b_enc, to->b_enc, first);
		parts[n++] = vector_part(piece->threshold, to->threshold, first);
	}
	if (piece->gain.data) {
		parts[n++] = vector_part(piece->gain, to->gain, first);
		parts[n++] = vector_part(piece->shift, to->shift, first);
	}
	if (piece->W_dec.rows > 0)
		parts[n++] = matrix_part(piece->W_dec, to->W_dec, first);
	parts[n++] = vector_part(piece->b_dec, to->b_dec, 0); /* with every piece: it is small */
	return device_piece_send(dev, parts, n, err);
}

/* How many of n features fit a piece: whole blocks, where one fits. */
static size_t features_of_piece(const struct sae_set *set, size_t layer, enum sae_parts parts,
	size_t n)
{
	size_t most = n;

	while (most > 1 && bytes_of(set, layer, most, parts) > device_piece_bytes(set->dev))
		most -= (most + 15) / 16;
	return most < n && most > SAE_BLOCK ? most / SAE_BLOCK * SAE_BLOCK : most;
}

/* To a device with memory of its own, in pieces of features. */
static int read_in_pieces(struct sae_set *set, size_t layer, const struct reading *r, size_t n,
	const struct sae_weights *to, struct err *err)
{
	const size_t most = features_of_piece(set, layer, r->parts, n);

	for (size_t first = 0, m; first < n; first += m) {
		struct sae_weights piece = {0};
		struct weights_layout layout;
		void *memory;

		m = size_min(most, n - first);
		layout = layout_of(set, &set->files[layer], m, r->parts, &piece);
		TRY(device_piece(set->dev, &memory, err));
		place_weights(&layout, memory);
		TRY(read_features(r, first, m, &piece, err));
		TRY(send_piece(set->dev, &piece, to, first, err));
	}
	return 0;
fail:
	return err->code;
}

/* For all ranks: laid out whole in host memory, and uploaded at once. */
static int read_and_upload(struct sae_set *set, size_t layer, const struct reading *r, size_t n,
	void *memory, size_t bytes, struct err *err)
{
	struct sae_weights staged = {0};
	struct weights_layout layout = layout_of(set, &set->files[layer], n, r->parts, &staged);
	char *staging = memory_alloc(bytes);

	if (!staging)
		return err_nomem(err, r->path, bytes);
	place_weights(&layout, staging);
	TRY(read_features(r, 0, n, &staged, err));
	TRY(device_upload_weights(set->dev, memory, staging, bytes, err));
	free(staging);
	return 0;
fail:
	free(staging);
	return err->code;
}

static int read_weights(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	enum sae_parts parts, const struct sae_weights *to, void *memory, size_t bytes,
	struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct reading r;

	TRY(reading_open(&r, set, file, ids, n, parts, err));
	if (device_is_host(set->dev))
		TRY(read_features(&r, 0, n, to, err));
	else if (set->joined)
		TRY(read_and_upload(set, layer, &r, n, memory, bytes, err));
	else
		TRY(read_in_pieces(set, layer, &r, n, to, err));
	reading_close(&r, file);
	return 0;
fail:
	reading_close(&r, file);
	return err->code;
}

int sae_set_read(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	enum sae_parts parts, struct sae_weights *weights, void **memory, size_t *bytes,
	struct err *err)
{
	const struct sae_file *file = &set->files[layer];
	struct weights_layout layout = layout_of(set, file, n, parts, weights);

	*memory = NULL;
	*weights = (struct sae_weights){.input = file->input,
		.top_k = file->top_k,
		.group_width = file->group_width};
	*bytes = carve_count(set->dev, layout_weights, &layout);
	TRY(carve_allocate(set->dev, layout_weights, &layout, memory, err));
	if (set->joined && !device_gives_weights(set->dev))
		TRY(device_upload_weights(set->dev, *memory, NULL, *bytes, err));
	else if (n > 0)
		TRY(read_weights(set, layer, ids, n, parts, weights, *memory, *bytes, err));
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

	if (!r->memory) {
		make_room(set, bytes_of(set, layer, file->d_sae, SAE_BOTH));
		if (sae_set_read(set, layer, NULL, file->d_sae, SAE_BOTH, &r->weights, &r->memory,
			    &r->bytes, err))
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
		sum += sae_set_bytes(set, l);
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
	b->v = carve_typed(c, DTYPE_F32, 1, b->d);
}

int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err)
{
	struct cosine_buffers b = {.n = set->files[layer].d_sae, .d = set->d_model};
	struct sae_weights decoder = set->residents[layer].weights;
	void *memory = NULL, *buffers = NULL;
	size_t bytes;

	if (!set->residents[layer].memory) {
		make_room(set, bytes_of(set, layer, b.n, SAE_DECODER));
		TRY(sae_set_read(set, layer, NULL, b.n, SAE_DECODER, &decoder, &memory, &bytes,
			err));
	}
	TRY(carve_allocate(set->dev, layout_cosines, &b, &buffers, err));
	TRY(device_upload(set->dev, b.v.data, v, b.d * sizeof *v, err));
	TRY(op_row_cosine(set->dev, decoder.W_dec, b.v, b.cosine, err));
	TRY(download_floats(set->dev, b.cosine, cosine, err));
	for (size_t i = 0; i < b.n; i++)
		if (sae_set_is_unused(set, layer, i))
			cosine[i] = NAN;
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return 0;
fail:
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return err->code;
}
