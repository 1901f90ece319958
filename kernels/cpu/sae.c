/* SPDX-License-Identifier: MIT
 *
 * sae.c - encoding by a sparse autoencoder, all features or a few, decoding, and the cosine of
 * decoder rows with a direction. Contract: ops.h. Definition: kernels/ref/sae.c.
 *
 * Full encoding never holds a [tokens, d_sae] matrix: a tile of CPU_TILE_ROWS tokens by
 * CPU_PANEL_ROWS features is multiplied into the thread's scratch and its survivors are moved to
 * the tile's list at once. The lists are then joined in feature order, so the result does not
 * depend on which thread did which tile.
 */
#include "host/base/vec.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

/* The survivors of one block of features, row after row. */
struct survivors {
	struct {
		int32_t *data;
		size_t n, cap;
	} index;
	struct {
		float *data;
		size_t n, cap;
	} value;
	int32_t count[CPU_TILE_ROWS];
	size_t taken; /* entries already joined */
};

static int keep_survivors(const struct sae_weights *sae, const float *pre, size_t m, size_t first,
	size_t n, struct survivors *list, struct err *err)
{
	const float *b_enc = (const float *)sae->b_enc.data + first;
	const float *threshold = (const float *)sae->threshold.data + first;

	for (size_t i = 0; i < m; i++) {
		const float *row = pre + i * n;
		const size_t before = list->index.n;

		for (size_t j = 0; j < n; j += VW) {
			const size_t here = n - j;
			const vf h = v_load_n(row + j, here) + v_load_n(b_enc + j, here);
			const vi on = h > v_load_n(threshold + j, here);
			int32_t any = 0;

			for (int k = 0; k < VW; k++)
				any |= on[k];
			if (!any)
				continue;
			for (size_t k = 0; k < VW && k < here; k++) {
				if (!on[k])
					continue;
				TRY(vec_push(&list->index, (int32_t)(first + j + k), err));
				TRY(vec_push(&list->value, h[k], err));
			}
		}
		list->count[i] = (int32_t)(list->index.n - before);
	}
	return 0;
fail:
	return err->code;
}

struct encode {
	struct device *dev;
	const struct sae_weights *sae;
	struct tensor x;
	size_t row, n_rows; /* the tile of rows */
	struct survivors *lists;
	struct cpu_failure failure;
};

static int encode_block(const struct encode *c, size_t block, int thread, struct err *err)
{
	const size_t first = block * CPU_PANEL_ROWS, n_all = c->sae->W_enc_t.rows;
	const size_t n = n_all - first < CPU_PANEL_ROWS ? n_all - first : CPU_PANEL_ROWS;
	struct survivors *list = &c->lists[block];
	float *panel = cpu_scratch(c->dev, thread), *pre = panel + CPU_PANEL;

	list->index.n = list->value.n = list->taken = 0;
	TRY(CPU(tile_product)(panel, c->x, c->row, c->n_rows, c->sae->W_enc_t, first, n, pre, n,
		err));
	TRY(keep_survivors(c->sae, pre, c->n_rows, first, n, list, err));
	return 0;
fail:
	return err->code;
}

static void encode_blocks(void *context, size_t first, size_t end, int thread)
{
	struct encode *c = context;
	struct err err;

	for (size_t block = first; block < end; block++)
		if (encode_block(c, block, thread, &err))
			cpu_fail(&c->failure, &err);
}

/* Appends row i's entries of every block, features ascending. */
static void join_row(struct survivors *lists, size_t n_blocks, size_t i, struct csr *out,
	size_t *n)
{
	for (size_t b = 0; b < n_blocks; b++) {
		struct survivors *list = &lists[b];
		const size_t count = (size_t)list->count[i];

		if (*n + count <= out->capacity && count > 0) {
			memcpy(out->indices + *n, list->index.data + list->taken,
				count * sizeof *out->indices);
			memcpy((float *)out->values.data + *n, list->value.data + list->taken,
				count * sizeof(float));
		}
		list->taken += count;
		*n += count;
	}
}

int CPU(sae_encode)(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	const size_t n_blocks = (sae->W_enc_t.rows + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS;
	struct encode c = {.dev = dev, .sae = sae, .x = x};
	size_t n = 0;

	c.lists = calloc(n_blocks + 1, sizeof *c.lists);
	if (!c.lists)
		return err_nomem(err, "sparse encoding", n_blocks * sizeof *c.lists);
	out->indptr[0] = 0;
	for (; c.row < x.rows && !c.failure.taken; c.row += CPU_TILE_ROWS) {
		c.n_rows = x.rows - c.row < CPU_TILE_ROWS ? x.rows - c.row : CPU_TILE_ROWS;
		cpu_run(dev, n_blocks, c.n_rows * CPU_PANEL_ROWS * x.cols / VW, encode_blocks, &c);
		for (size_t r = 0; r < c.n_rows && !c.failure.taken; r++) {
			join_row(c.lists, n_blocks, r, out, &n);
			out->indptr[c.row + r + 1] = (int32_t)n;
		}
		if (n > INT32_MAX) {
			err_set(&c.failure.err, ERR_DEVICE,
				"op sae_encode: expected at most %d active features in a batch, "
				"found more; use a smaller batch", INT32_MAX);
			c.failure.taken = 1;
		}
	}
	for (size_t b = 0; b < n_blocks; b++) {
		free(c.lists[b].index.data);
		free(c.lists[b].value.data);
	}
	free(c.lists);
	if (c.failure.taken)
		*err = c.failure.err;
	return c.failure.taken ? err->code : 0;
}

int CPU(sae_encode_selected)(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	const float *threshold = sae->threshold.data;

	if (CPU(linear)(dev, x, sae->W_enc_t, sae->b_enc, f, err))
		return err->code;
	for (size_t i = 0; i < f.rows; i++) {
		float *row = row_out(f, i);

		for (size_t j = 0; j < f.cols; j++)
			row[j] = row[j] > threshold[j] ? row[j] : 0;
	}
	return 0;
}

struct rows_call {
	struct device *dev;
	const struct sae_weights *sae;
	const struct csr *f;
	struct tensor W, out;
	const float *v;
	float norm_v;
};

static void decode_rows(void *context, size_t first, size_t end, int thread)
{
	const struct rows_call *c = context;
	const size_t d = c->out.cols;

	for (size_t row = first; row < end; row++) {
		memcpy(row_out(c->out, row), c->sae->b_dec.data, d * sizeof(float));
		for (int32_t e = c->f->indptr[row]; e < c->f->indptr[row + 1]; e++)
			v_axpy(row_of(c->f->values, 0)[e],
				CPU(weight_floats)(c->sae->W_dec, (size_t)c->f->indices[e] * d, d,
					cpu_scratch(c->dev, thread)),
				row_out(c->out, row), d);
	}
}

int CPU(sae_decode)(struct device *dev, const struct sae_weights *sae, const struct csr *f,
	struct tensor x_hat, struct err *err)
{
	struct rows_call c = {.dev = dev, .sae = sae, .f = f, .out = x_hat};

	(void)err;
	if (x_hat.rows > 0)
		cpu_run(dev, x_hat.rows,
			((size_t)f->indptr[x_hat.rows] / x_hat.rows + 1) * x_hat.cols, decode_rows,
			&c);
	return 0;
}

static void cosine_rows(void *context, size_t first, size_t end, int thread)
{
	const struct rows_call *c = context;
	const size_t d = c->W.cols;

	for (size_t i = first; i < end; i++) {
		const float *w = CPU(weight_floats)(c->W, i * d, d, cpu_scratch(c->dev, thread));
		const float norms = sqrtf(v_dot(w, w, d)) * c->norm_v;

		*row_out(c->out, i) = norms > 0 ? v_dot(w, c->v, d) / norms : 0;
	}
}

int CPU(row_cosine)(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	struct rows_call c = {.dev = dev, .W = W, .out = out, .v = v.data};

	(void)err;
	c.norm_v = sqrtf(v_dot(c.v, c.v, W.cols));
	cpu_run(dev, W.rows, 2 * W.cols, cosine_rows, &c);
	return 0;
}
