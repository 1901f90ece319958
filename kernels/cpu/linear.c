/* SPDX-License-Identifier: MIT
 *
 * linear.c - products with weights kept in the type of the checkpoint. Contract: ops.h.
 * Definition: kernels/ref/linear.c.
 *
 * Two regimes:
 *   n <= SMALL_ROWS (decoding)   the time is that of reading W: dot products (dots.c) straight
 *                                from bfloat16.
 *   more (prefill, backward)     panels of W are widened to float32 in the thread's scratch and
 *                                multiplied there (products.c). Widening costs 1/BLOCK_X of the
 *                                product and saves a second copy of all weights.
 *
 * Work is cut into tiles by shape alone and each tile runs on one thread, so results do not
 * depend on the number of threads.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum {
	SMALL_ROWS = 32, /* above, panels are faster (make bench prints both) */
	ROWS_W = CPU_DOTS_W,
	WIDEN_ROWS = VW == 16 ? 6 : 2, /* above, dots.c reads rows of W again and again */
	BLOCK_X = CPU_TILE_ROWS        /* rows of x per tile */
};

/* ---- few rows -------------------------------------------------------------------------- */

struct call {
	struct device *dev;
	struct tensor x, W, y; /* backward: dy, W, dx */
	const float *bias;
	bool widen;  /* few rows: convert rows of W to float32 in scratch first */
	double beta; /* backward */
	size_t tiles_x;
	struct cpu_failure failure;
};

static void add_bias(struct tensor y, size_t first_row, size_t n_rows, size_t first_col,
	size_t n_cols, const float *bias)
{
	for (size_t i = first_row; i < first_row + n_rows; i++)
		for (size_t j = first_col; j < first_col + n_cols; j++)
			row_out(y, i)[j] += bias[j];
}

/* Groups of ROWS_W rows of W. */
static void few_groups(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t in = c->W.cols, out = c->W.rows, bytes = dtype_bytes(c->W.dtype);
	const bool bf16 = c->W.dtype == DTYPE_BF16;
	float *scratch = cpu_scratch(c->dev, thread), *wide = scratch + c->x.rows * in;
	struct cpu_dots d = {.n = in,
		.bf16 = bf16 && !c->widen,
		.x = row_of(c->x, 0),
		.n_x = c->x.rows,
		.stride_x = in,
		.stride_y = out};

	if (bf16) { /* a chunk is hundreds of rows of W */
		for (size_t i = 0; i < c->x.rows; i++)
			CPU(dots_split)(row_of(c->x, i), in, scratch + i * in);
		d.x = scratch;
	}
	for (size_t j = first * ROWS_W; j < end * ROWS_W && j < out; j += ROWS_W) {
		d.n_w = out - j < ROWS_W ? out - j : ROWS_W;
		d.y = row_out(c->y, 0) + j;
		for (size_t r = 0; r < ROWS_W; r++) {
			const size_t row = j + (r < d.n_w ? r : 0);

			if (!c->widen)
				d.w[r] = (const char *)c->W.data + row * in * bytes;
			else
				d.w[r] = r < d.n_w ? CPU(dots_weights)(c->W, row * in, in,
							     wide + r * in)
						   : d.w[0];
		}
		CPU(dots)(&d);
		if (c->bias)
			add_bias(c->y, 0, c->x.rows, j, d.n_w, c->bias);
	}
}

static void linear_few(struct call *c)
{
	const size_t in = c->W.cols, groups = (c->W.rows + ROWS_W - 1) / ROWS_W;

	/* Once into scratch when several tiles of x will read the same rows. */
	c->widen = c->W.dtype == DTYPE_F16 || (c->W.dtype == DTYPE_BF16 && c->x.rows > WIDEN_ROWS);
	cpu_run(c->dev, groups, c->x.rows * ROWS_W * in / VW * 4, few_groups, c);
}

/* ---- many rows ------------------------------------------------------------------------- */

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

		if (CPU(tile_product)(c->dev, cpu_scratch(c->dev, thread), c->x, i, m, c->W, j, n,
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
	if (x.rows > SMALL_ROWS || (x.rows + ROWS_W) * W.cols > CPU_SCRATCH)
		return run_tiles(&c, (W.rows + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS,
			rows * CPU_PANEL_ROWS * W.cols / VW, many_tiles, err);
	linear_few(&c);
	return 0;
}

/* ---- backward -------------------------------------------------------------------------- */

static void backward_tiles(void *context, size_t first, size_t end, int thread)
{
	struct call *c = context;
	struct err err;

	for (size_t t = first; t < end; t++) {
		const size_t i = t % c->tiles_x * BLOCK_X, k = t / c->tiles_x * CPU_BACK_COLS;
		const size_t m = c->x.rows - i < BLOCK_X ? c->x.rows - i : BLOCK_X;
		const size_t n = c->W.cols - k < CPU_BACK_COLS ? c->W.cols - k : CPU_BACK_COLS;

		if (CPU(tile_product_backward)(c->dev, cpu_scratch(c->dev, thread), c->x, i, m,
			    c->W, k, n, c->beta, c->y, &err))
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
	return run_tiles(&c, (W.cols + CPU_BACK_COLS - 1) / CPU_BACK_COLS,
		rows * tensor_count(W) / VW, backward_tiles, err);
}
