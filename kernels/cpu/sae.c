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

static int encode_block(struct device *dev, const struct sae_weights *sae, struct tensor x,
	size_t i, size_t m, size_t block, struct survivors *list, struct err *err)
{
	const size_t first = block * CPU_PANEL_ROWS, n_all = sae->W_enc_t.rows;
	const size_t n = n_all - first < CPU_PANEL_ROWS ? n_all - first : CPU_PANEL_ROWS;
	float *pre = CPU(scratch)(dev) + CPU_PANEL;

	list->index.n = list->value.n = list->taken = 0;
	TRY(CPU(tile_product)(dev, x, i, m, sae->W_enc_t, first, n, pre, n, err));
	TRY(keep_survivors(sae, pre, m, first, n, list, err));
	return 0;
fail:
	return err->code;
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
	struct survivors *lists = calloc(n_blocks + 1, sizeof *lists);
	struct err failed = {0};
	size_t n = 0;

	if (!lists)
		return err_nomem(err, "sparse encoding", n_blocks * sizeof *lists);
	out->indptr[0] = 0;
	for (size_t i = 0; i < x.rows && !failed.code; i += CPU_TILE_ROWS) {
		const size_t m = x.rows - i < CPU_TILE_ROWS ? x.rows - i : CPU_TILE_ROWS;

#pragma omp parallel for schedule(dynamic)
		for (size_t b = 0; b < n_blocks; b++) {
			struct err own;

			if (encode_block(dev, sae, x, i, m, b, &lists[b], &own))
#pragma omp critical
				failed = own;
		}
		for (size_t r = 0; r < m && !failed.code; r++) {
			join_row(lists, n_blocks, r, out, &n);
			out->indptr[i + r + 1] = (int32_t)n;
		}
		if (n > INT32_MAX)
			err_set(&failed, ERR_DEVICE,
				"op sae_encode: expected at most %d active features in a batch, "
				"found more; use a smaller batch", INT32_MAX);
	}
	for (size_t b = 0; b < n_blocks; b++) {
		free(lists[b].index.data);
		free(lists[b].value.data);
	}
	free(lists);
	if (failed.code)
		*err = failed;
	return failed.code;
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

int CPU(sae_decode)(struct device *dev, const struct sae_weights *sae, const struct csr *f,
	struct tensor x_hat, struct err *err)
{
	const size_t d = x_hat.cols;

	(void)err;
#pragma omp parallel for schedule(dynamic, 8) if (tensor_count(x_hat) > CPU_WORTH_THREADS)
	for (size_t row = 0; row < x_hat.rows; row++) {
		memcpy(row_out(x_hat, row), sae->b_dec.data, d * sizeof(float));
		for (int32_t e = f->indptr[row]; e < f->indptr[row + 1]; e++)
			v_axpy(row_of(f->values, 0)[e],
				CPU(weight_floats)(sae->W_dec, (size_t)f->indices[e] * d, d,
					CPU(scratch)(dev)),
				row_out(x_hat, row), d);
	}
	return 0;
}

int CPU(row_cosine)(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	const size_t d = W.cols;
	const float *direction = v.data;
	const float norm_v = sqrtf(v_dot(direction, direction, d));

	(void)err;
#pragma omp parallel for schedule(static) if (tensor_count(W) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < W.rows; i++) {
		const float *w = CPU(weight_floats)(W, i * d, d, CPU(scratch)(dev));
		const float norms = sqrtf(v_dot(w, w, d)) * norm_v;

		*row_out(out, i) = norms > 0 ? v_dot(w, direction, d) / norms : 0;
	}
	return 0;
}
