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

#include <dnnl.h>

enum {
	SMALL_ROWS = 32, /* above, oneDNN is faster (make bench prints both) */
	ROWS_W = 4,
	ROWS_X = VW == 16 ? 6 : 2, /* ROWS_W * ROWS_X accumulators in 32 or 16 registers */
	BLOCK_X = CPU_TILE_ROWS,   /* rows of x per tile */
	BLOCK_IN = 512             /* columns of W per tile of the backward product */
};

/* ---- few rows -------------------------------------------------------------------------- */

/* bfloat16 is read two at a time: of a pair in one 32-bit lane, the first element is the lane
 * shifted up, the second the lane with its lower half cleared. So a block of 2 VW weights gives
 * the vector of its even elements and that of its odd ones for two operations, and the rows of x
 * are laid out alike beforehand: per block of 2 VW, the even elements, then the odd. What is left
 * at the end of a row stays as it is. */
static void split_pairs(const float *x, size_t in, float *to)
{
	size_t k = 0;

	for (; k + 2 * VW <= in; k += 2 * VW) {
		for (size_t i = 0; i < VW; i++) {
			to[k + i] = x[k + 2 * i];
			to[k + VW + i] = x[k + 2 * i + 1];
		}
	}
	memcpy(to + k, x + k, (in - k) * sizeof *x);
}

/* The even and the odd elements of the 2 VW weights at w, or simply 2 VW float32 in order. */
static inline __attribute__((always_inline)) void load_block(const void *w, size_t k,
	const bool bf16, vf *even, vf *odd)
{
	vu pairs, low;

	if (!bf16) {
		*even = v_load((const float *)w + k);
		*odd = v_load((const float *)w + k + VW);
		return;
	}
	memcpy(&pairs, (const uint16_t *)w + k, sizeof pairs);
	low = pairs << 16;
	pairs &= 0xffff0000u;
	memcpy(even, &low, sizeof low);
	memcpy(odd, &pairs, sizeof pairs);
}

/* The n <= VW weights from element k on, zeros beyond. */
static inline __attribute__((always_inline)) vf load_last(const void *w, size_t k, size_t n,
	const bool bf16)
{
	uint16_t padded[VW] = {0};

	if (!bf16)
		return v_load_n((const float *)w + k, n);
	memcpy(padded, (const uint16_t *)w + k, (n < VW ? n : VW) * sizeof *padded);
	return v_load_bf16(padded);
}

/* y[i][j] = x[i] . w[j] + bias[j] for i < rows_x, j < n_w. The n_w rows of w are taken `rows_w` at
 * a time: ROWS_W at once when each load of them serves several rows of x, one after the other
 * when there is a single row and the time is that of reading W in order. */
static inline __attribute__((always_inline)) void dot_tile(const int rows_x, const int rows_w,
	const bool bf16, const float *x, size_t in, const void *const w[ROWS_W], int n_w,
	const float *bias, float *y, size_t out)
{
	for (int j0 = 0; j0 < n_w; j0 += rows_w) {
		vf sum[ROWS_X][ROWS_W] = {0}, more[ROWS_X][ROWS_W] = {0};
		size_t k = 0;

		for (; k + 2 * VW <= in; k += 2 * VW) {
			vf even[ROWS_W], odd[ROWS_W];

			for (int j = 0; j < rows_w; j++)
				load_block(w[j0 + j], k, bf16, &even[j], &odd[j]);
			for (int i = 0; i < rows_x; i++) {
				const vf a = v_load(x + (size_t)i * in + k);
				const vf b = v_load(x + (size_t)i * in + k + VW);

				for (int j = 0; j < rows_w; j++) {
					sum[i][j] += a * even[j];
					/* A second chain where there are registers to spare. */
					if (rows_x == 1)
						more[i][j] += b * odd[j];
					else
						sum[i][j] += b * odd[j];
				}
			}
		}
		for (; k < in; k += VW)
			for (int j = 0; j < rows_w; j++)
				for (int i = 0; i < rows_x; i++)
					sum[i][j] += v_load_n(x + (size_t)i * in + k, in - k) *
						     load_last(w[j0 + j], k, in - k, bf16);
		for (int i = 0; i < rows_x; i++)
			for (int j = 0; j < rows_w && j0 + j < n_w; j++)
				y[(size_t)i * out + (size_t)(j0 + j)] = v_sum(sum[i][j] +
										more[i][j]) +
									(bias ? bias[j0 + j] : 0);
	}
}

/* dot_tile for a number of rows known only now; each case is a loop of its own. */
static void dot_some(size_t rows_x, bool bf16, const float *x, size_t in,
	const void *const w[ROWS_W], int n_w, const float *bias, float *y, size_t out)
{
	switch (rows_x) {
#define CASE(n, rows_w) \
	case n: \
		if (bf16) \
			dot_tile(n, rows_w, true, x, in, w, n_w, bias, y, out); \
		else \
			dot_tile(n, rows_w, false, x, in, w, n_w, bias, y, out); \
		break;
		CASE(1, 1)
		CASE(2, ROWS_W)
#if defined(__AVX512F__)
		CASE(3, ROWS_W)
		CASE(4, ROWS_W)
		CASE(5, ROWS_W)
		CASE(6, ROWS_W)
#endif
#undef CASE
	}
}

/* x: rows of `in` floats. */
static void dot_rows(const float *x, size_t rows, size_t in, const void *const w[ROWS_W], int n_w,
	bool bf16, const float *bias, float *y, size_t out)
{
	for (size_t i = 0, n; i < rows; i += n) {
		n = rows - i < ROWS_X ? rows - i : ROWS_X;
		dot_some(n, bf16, x + i * in, in, w, n_w, bias, y + i * out, out);
	}
}

struct call {
	struct device *dev;
	struct tensor x, W, y; /* backward: dy, W, dx */
	const float *bias;
	bool widen;  /* few rows: convert rows of W to float32 in scratch first */
	double beta; /* backward */
	size_t tiles_x;
	struct cpu_failure failure;
};

/* Groups of ROWS_W rows of W. */
static void few_groups(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t in = c->W.cols, out = c->W.rows, bytes = dtype_bytes(c->W.dtype);
	const bool bf16 = c->W.dtype == DTYPE_BF16 && !c->widen;
	float *scratch = cpu_scratch(c->dev, thread);
	const float *x = row_of(c->x, 0);

	if (bf16) { /* x as load_block has the weights; a chunk is hundreds of rows of W */
		for (size_t i = 0; i < c->x.rows; i++)
			split_pairs(row_of(c->x, i), in, scratch + i * in);
		x = scratch;
	}
	for (size_t j = first * ROWS_W; j < end * ROWS_W && j < out; j += ROWS_W) {
		const int n_w = (int)(out - j < ROWS_W ? out - j : ROWS_W);
		const void *w[ROWS_W] = {0};

		for (int r = 0; r < ROWS_W; r++) {
			const size_t row = j + (size_t)(r < n_w ? r : 0);

			if (!c->widen)
				w[r] = (const char *)c->W.data + row * in * bytes;
			else
				w[r] = r < n_w ? CPU(weight_floats)(c->W, row * in, in,
							 scratch + (size_t)r * in)
					       : w[0];
		}
		dot_rows(x, c->x.rows, in, w, n_w, bf16, c->bias ? c->bias + j : NULL,
			row_out(c->y, 0) + j, out);
	}
}

static void linear_few(struct call *c)
{
	const size_t in = c->W.cols, groups = (c->W.rows + ROWS_W - 1) / ROWS_W;

	/* Once into scratch when several tiles of x will read the same rows. */
	c->widen = c->W.dtype == DTYPE_F16 || (c->W.dtype == DTYPE_BF16 && c->x.rows > ROWS_X);
	cpu_run(c->dev, groups, c->x.rows * ROWS_W * in / VW * 4, few_groups, c);
}

/* ---- many rows ------------------------------------------------------------------------- */

/* C [m, n] = beta C + A [m, k] B, with B [n, k] transposed or [k, n] as it is; rows `lda`,
 * `ldb`, `ldc` floats apart. One thread. */
static int sgemm(bool transpose_b, size_t m, size_t n, size_t k, const float *A, size_t lda,
	const float *B, size_t ldb, float beta, float *C, size_t ldc, struct err *err)
{
	const dnnl_status_t status = dnnl_sgemm('N', transpose_b ? 'T' : 'N', (dnnl_dim_t)m,
		(dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, A, (dnnl_dim_t)lda, B, (dnnl_dim_t)ldb, beta, C,
		(dnnl_dim_t)ldc);

	if (status != dnnl_success)
		return err_set(err, ERR_DEVICE,
			"dnnl_sgemm of [%zu, %zu] by [%zu, %zu] failed with status %d", m, k, k, n,
			(int)status);
	return 0;
}

static void add_bias(struct tensor y, size_t first_row, size_t n_rows, size_t first_col,
	size_t n_cols, const float *bias)
{
	for (size_t i = first_row; i < first_row + n_rows; i++)
		for (size_t j = first_col; j < first_col + n_cols; j++)
			row_out(y, i)[j] += bias[j];
}

int CPU(tile_product)(float *panel, struct tensor x, size_t i, size_t m, struct tensor W, size_t j,
	size_t n, float *C, size_t ldc, struct err *err)
{
	const size_t in = W.cols;

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
		if (sgemm(true, m, n, depth, row_of(x, i) + k, in, w, stride, k > 0 ? 1 : 0, C, ldc,
			    err))
			return err->code;
	}
	return 0;
}

/* Tile number t: BLOCK_X rows of x by CPU_PANEL_ROWS rows of W. */
static void many_tiles(void *context, size_t first, size_t end, int thread)
{
	struct call *c = context;
	const size_t out = c->W.rows;
	struct err err;

	for (size_t t = first; t < end; t++) {
		const size_t i = t % c->tiles_x * BLOCK_X, j = t / c->tiles_x * CPU_PANEL_ROWS;
		const size_t m = c->x.rows - i < BLOCK_X ? c->x.rows - i : BLOCK_X;
		const size_t n = out - j < CPU_PANEL_ROWS ? out - j : CPU_PANEL_ROWS;

		if (CPU(tile_product)(cpu_scratch(c->dev, thread), c->x, i, m, c->W, j, n,
			    row_out(c->y, i) + j, out, &err))
			cpu_fail(&c->failure, &err);
		if (c->bias)
			add_bias(c->y, i, m, j, n, c->bias);
	}
}

/* The cost of a tile counts vectors, not scalars: these loops run at the speed of the units. */
static int run_tiles(struct call *c, size_t tiles_w, size_t cost, pool_task *task, struct err *err)
{
	if (cpu_check_memory(c->dev, err))
		return err->code;
	c->tiles_x = (c->x.rows + BLOCK_X - 1) / BLOCK_X;
	cpu_run(c->dev, c->tiles_x * tiles_w, cost, task, c);
	if (c->failure.taken)
		*err = c->failure.err;
	return c->failure.taken ? err->code : 0;
}

int CPU(linear)(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *err)
{
	struct call c = {.dev = dev, .x = x, .W = W, .y = y, .bias = bias.data};
	const size_t rows = x.rows < BLOCK_X ? x.rows : BLOCK_X;

	if (tensor_count(y) == 0)
		return 0;
	if (x.rows > SMALL_ROWS || ROWS_X * W.cols > CPU_SCRATCH)
		return run_tiles(&c, (W.rows + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS,
			rows * CPU_PANEL_ROWS * W.cols / VW, many_tiles, err);
	linear_few(&c);
	return 0;
}

/* ---- backward -------------------------------------------------------------------------- */

/* One tile of dx = beta dx + dy W: rows [i, i + m), columns [k, k + n). */
static int backward_tile(const struct call *c, float *panel, size_t i, size_t m, size_t k, size_t n,
	struct err *err)
{
	const size_t in = c->W.cols, out = c->W.rows;

	for (size_t j = 0; j < out; j += CPU_PANEL_ROWS) {
		const size_t depth = out - j < CPU_PANEL_ROWS ? out - j : CPU_PANEL_ROWS;
		const float *w = panel;
		size_t stride = n;

		if (c->W.dtype == DTYPE_F32) {
			w = (const float *)c->W.data + j * in + k;
			stride = in;
		} else {
			for (size_t r = 0; r < depth; r++)
				CPU(weight_floats)(c->W, (j + r) * in + k, n, panel + r * n);
		}
		if (sgemm(false, m, n, depth, row_of(c->x, i) + j, out, w, stride,
			    j > 0 ? 1 : (float)c->beta, row_out(c->y, i) + k, in, err))
			return err->code;
	}
	return 0;
}

static void backward_tiles(void *context, size_t first, size_t end, int thread)
{
	struct call *c = context;
	struct err err;

	for (size_t t = first; t < end; t++) {
		const size_t i = t % c->tiles_x * BLOCK_X, k = t / c->tiles_x * BLOCK_IN;
		const size_t m = c->x.rows - i < BLOCK_X ? c->x.rows - i : BLOCK_X;
		const size_t n = c->W.cols - k < BLOCK_IN ? c->W.cols - k : BLOCK_IN;

		if (backward_tile(c, cpu_scratch(c->dev, thread), i, m, k, n, &err))
			cpu_fail(&c->failure, &err);
	}
}

int CPU(linear_backward)(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *err)
{
	struct call c = {.dev = dev, .x = dy, .W = W, .y = dx, .beta = beta};
	const size_t rows = dy.rows < BLOCK_X ? dy.rows : BLOCK_X;

	if (W.rows == 0)
		return beta == 0 ? CPU(scale)(dev, 0, dx, err) : 0;
	return run_tiles(&c, (W.cols + BLOCK_IN - 1) / BLOCK_IN, rows * tensor_count(W) / VW,
		backward_tiles, err);
}
