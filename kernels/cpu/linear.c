/* SPDX-License-Identifier: MIT
 *
 * linear.c - products with weights kept in the type of the checkpoint. Contract: ops.h.
 * Definition: kernels/ref/linear.c.
 *
 * Two regimes:
 *   n <= SMALL_ROWS (decoding)   the time is that of reading W: dot products straight from
 *                                bfloat16, ROWS_W rows of W against ROWS_X rows of x at once so
 *                                that each load is used several times.
 *   more (prefill, backward)     panels of W are widened to float32 in the thread's scratch and
 *                                multiplied by oneDNN. Widening costs 1/BLOCK_X of the product
 *                                and saves a second copy of all weights.
 *
 * Work is cut into tiles by shape alone and each tile runs on one thread, so results do not
 * depend on the number of threads.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum {
	SMALL_ROWS = 32, /* above, oneDNN is faster (make bench prints both) */
	ROWS_W = 4,
	ROWS_X = VW == 16 ? 4 : 2, /* ROWS_W * ROWS_X accumulators in 32 or 16 registers */
	BLOCK_X = CPU_TILE_ROWS,   /* rows of x per tile */
	BLOCK_IN = 512             /* columns of W per tile of the backward product */
};

/* ---- few rows -------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) vf load_weight(const void *w, size_t k, size_t n,
	const bool bf16)
{
	if (!bf16)
		return v_load_n((const float *)w + k, n);
	if (n >= VW)
		return v_load_bf16((const uint16_t *)w + k);
	uint16_t padded[VW] = {0};
	memcpy(padded, (const uint16_t *)w + k, n * sizeof *padded);
	return v_load_bf16(padded);
}

/* y[i][j] = x[i] . w[j] + bias[j] for i < rows_x, j < ROWS_W; all rows of w are readable, only
 * the first n_w results are stored. */
static inline __attribute__((always_inline)) void dot_tile(const int rows_x, const bool bf16,
	const float *x, size_t in, const void *const w[ROWS_W], int n_w, const float *bias,
	float *y, size_t out)
{
	vf sum[ROWS_X][ROWS_W] = {0};

	for (size_t k = 0; k < in; k += VW) {
		vf b[ROWS_W];

		for (int j = 0; j < ROWS_W; j++)
			b[j] = load_weight(w[j], k, in - k, bf16);
		for (int i = 0; i < rows_x; i++) {
			const vf a = v_load_n(x + (size_t)i * in + k, in - k);

			for (int j = 0; j < ROWS_W; j++)
				sum[i][j] += a * b[j];
		}
	}
	for (int i = 0; i < rows_x; i++)
		for (int j = 0; j < n_w; j++)
			y[(size_t)i * out + (size_t)j] = v_sum(sum[i][j]) + (bias ? bias[j] : 0);
}

static void dot_rows(struct tensor x, const void *const w[ROWS_W], int n_w, bool bf16,
	const float *bias, float *y, size_t out)
{
	const size_t in = x.cols;
	size_t i = 0;

	for (; i + ROWS_X <= x.rows; i += ROWS_X) {
		if (bf16)
			dot_tile(ROWS_X, true, row_of(x, i), in, w, n_w, bias, y + i * out, out);
		else
			dot_tile(ROWS_X, false, row_of(x, i), in, w, n_w, bias, y + i * out, out);
	}
	for (; i < x.rows; i++) {
		if (bf16)
			dot_tile(1, true, row_of(x, i), in, w, n_w, bias, y + i * out, out);
		else
			dot_tile(1, false, row_of(x, i), in, w, n_w, bias, y + i * out, out);
	}
}

static void linear_few(struct device *dev, struct tensor x, struct tensor W, const float *bias,
	struct tensor y)
{
	const size_t in = W.cols, out = W.rows, bytes = dtype_bytes(W.dtype);
	/* Widened once into scratch when several tiles of x will read the same rows. */
	const bool widen = W.dtype == DTYPE_F16 ||
		(W.dtype == DTYPE_BF16 && x.rows > ROWS_X && ROWS_W * in <= CPU_SCRATCH);
	const bool bf16 = W.dtype == DTYPE_BF16 && !widen;

#pragma omp parallel for schedule(static) if (x.rows * in * out > CPU_WORTH_THREADS)
	for (size_t j = 0; j < out; j += ROWS_W) {
		const int n_w = (int)(out - j < ROWS_W ? out - j : ROWS_W);
		const void *w[ROWS_W] = {0};

		for (int r = 0; r < ROWS_W; r++) {
			const size_t row = j + (size_t)(r < n_w ? r : 0);

			if (widen)
				w[r] = r < n_w ? CPU(weight_floats)(W, row * in, in,
							 CPU(scratch)(dev) + (size_t)r * in)
					       : w[0];
			else
				w[r] = (const char *)W.data + row * in * bytes;
		}
		dot_rows(x, w, n_w, bf16, bias ? bias + j : NULL, row_out(y, 0) + j, out);
	}
}

/* ---- many rows ------------------------------------------------------------------------- */

static void add_bias(struct tensor y, size_t first_row, size_t n_rows, size_t first_col,
	size_t n_cols, const float *bias)
{
	for (size_t i = first_row; i < first_row + n_rows; i++)
		for (size_t j = first_col; j < first_col + n_cols; j++)
			row_out(y, i)[j] += bias[j];
}

int CPU(tile_product)(struct device *dev, struct tensor x, size_t i, size_t m, struct tensor W,
	size_t j, size_t n, float *C, size_t ldc, struct err *err)
{
	const size_t in = W.cols;
	float *panel = CPU(scratch)(dev);

	for (size_t k = 0; k < in; k += CPU_PANEL_COLS) {
		const size_t depth = in - k < CPU_PANEL_COLS ? in - k : CPU_PANEL_COLS;
		const float *w = panel;
		size_t stride = depth;

		if (W.dtype == DTYPE_F32) {
			w = (const float *)W.data + j * in + k;
			stride = in;
		} else {
			for (size_t r = 0; r < n; r++)
				CPU(weight_floats)(W, (j + r) * in + k, depth, panel + r * depth);
		}
		if (CPU(sgemm)(true, m, n, depth, row_of(x, i) + k, in, w, stride, k > 0 ? 1 : 0,
			    C, ldc, err))
			return err->code;
	}
	return 0;
}

static int linear_many(struct device *dev, struct tensor x, struct tensor W, const float *bias,
	struct tensor y, struct err *err)
{
	const size_t in = W.cols, out = W.rows;
	const size_t tiles_x = (x.rows + BLOCK_X - 1) / BLOCK_X;
	const size_t tiles_w = (out + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS;
	struct err failed = {0};

#pragma omp parallel for schedule(dynamic) if (x.rows * in * out > CPU_WORTH_THREADS)
	for (size_t tile = 0; tile < tiles_x * tiles_w; tile++) {
		const size_t i = tile % tiles_x * BLOCK_X, j = tile / tiles_x * CPU_PANEL_ROWS;
		const size_t m = x.rows - i < BLOCK_X ? x.rows - i : BLOCK_X;
		const size_t n = out - j < CPU_PANEL_ROWS ? out - j : CPU_PANEL_ROWS;
		struct err own;

		if (CPU(tile_product)(dev, x, i, m, W, j, n, row_out(y, i) + j, out, &own))
#pragma omp critical
			failed = own;
		if (bias)
			add_bias(y, i, m, j, n, bias);
	}
	if (failed.code)
		*err = failed;
	return failed.code;
}

int CPU(linear)(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *err)
{
	if (tensor_count(y) == 0)
		return 0;
	if (x.rows > SMALL_ROWS)
		return linear_many(dev, x, W, bias.data, y, err);
	linear_few(dev, x, W, bias.data, y);
	return 0;
}

/* ---- backward -------------------------------------------------------------------------- */

/* One tile of dx = beta dx + dy W: rows [i, i + m), columns [k, k + n). */
static int backward_tile(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, size_t i, size_t m, size_t k, size_t n, struct err *err)
{
	const size_t in = W.cols, out = W.rows;
	float *panel = CPU(scratch)(dev);

	for (size_t j = 0; j < out; j += CPU_PANEL_ROWS) {
		const size_t depth = out - j < CPU_PANEL_ROWS ? out - j : CPU_PANEL_ROWS;
		const float *w = panel;
		size_t stride = n;

		if (W.dtype == DTYPE_F32) {
			w = (const float *)W.data + j * in + k;
			stride = in;
		} else {
			for (size_t r = 0; r < depth; r++)
				CPU(weight_floats)(W, (j + r) * in + k, n, panel + r * n);
		}
		if (CPU(sgemm)(false, m, n, depth, row_of(dy, i) + j, out, w, stride,
			    j > 0 ? 1 : (float)beta, row_out(dx, i) + k, in, err))
			return err->code;
	}
	return 0;
}

int CPU(linear_backward)(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *err)
{
	const size_t tiles_x = (dy.rows + BLOCK_X - 1) / BLOCK_X;
	const size_t tiles_w = (W.cols + BLOCK_IN - 1) / BLOCK_IN;
	struct err failed = {0};

	if (W.rows == 0)
		return beta == 0 ? CPU(scale)(dev, 0, dx, err) : 0;
#pragma omp parallel for schedule(dynamic) if (dy.rows * tensor_count(W) > CPU_WORTH_THREADS)
	for (size_t tile = 0; tile < tiles_x * tiles_w; tile++) {
		const size_t i = tile % tiles_x * BLOCK_X, k = tile / tiles_x * BLOCK_IN;
		const size_t m = dy.rows - i < BLOCK_X ? dy.rows - i : BLOCK_X;
		const size_t n = W.cols - k < BLOCK_IN ? W.cols - k : BLOCK_IN;
		struct err own;

		if (backward_tile(dev, dy, W, beta, dx, i, m, k, n, &own))
#pragma omp critical
			failed = own;
	}
	if (failed.code)
		*err = failed;
	return failed.code;
}
