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
	float *scratch = cpu_scratch(c->dev, thread);

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
		dot_rows(c->x, w, n_w, c->W.dtype == DTYPE_BF16 && !c->widen,
			c->bias ? c->bias + j : NULL, row_out(c->y, 0) + j, out);
	}
}

static void linear_few(struct call *c)
{
	const size_t in = c->W.cols, groups = (c->W.rows + ROWS_W - 1) / ROWS_W;

	/* Once into scratch when several tiles of x will read the same rows. */
	c->widen = c->W.dtype == DTYPE_F16 ||
		(c->W.dtype == DTYPE_BF16 && c->x.rows > ROWS_X && ROWS_W * in <= CPU_SCRATCH);
	cpu_run(c->dev, groups, c->x.rows * ROWS_W * in / VW * 4, few_groups, c);
}

/* ---- many rows ------------------------------------------------------------------------- */

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
		if (CPU(sgemm)(true, m, n, depth, row_of(x, i) + k, in, w, stride, k > 0 ? 1 : 0, C,
			    ldc, err))
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
static int run_tiles(struct call *c, size_t tiles_w, size_t cost, pool_task *task,
	struct err *err)
{
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
	if (x.rows > SMALL_ROWS)
		return run_tiles(&c, (W.rows + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS,
			rows * CPU_PANEL_ROWS * W.cols / VW, many_tiles, err);
	linear_few(&c);
	return 0;
}

/* ---- backward -------------------------------------------------------------------------- */

/* One tile of dx = beta dx + dy W: rows [i, i + m), columns [k, k + n). */
static int backward_tile(const struct call *c, float *panel, size_t i, size_t m, size_t k,
	size_t n, struct err *err)
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
		if (CPU(sgemm)(false, m, n, depth, row_of(c->x, i) + j, out, w, stride,
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
