/* SPDX-License-Identifier: MIT
 *
 * products.c - one tile of a product with weights, on one thread. Contract: cpu.h. Tests:
 * tests/test_ops.c, tests/test_invariant_ops.c.
 *
 * Panels of W are widened to float32 in the thread's scratch and multiplied by oneDNN. How oneDNN
 * sums depends on the number of rows; so on an invariant device (device_make_invariant) both
 * products are our own, and what is computed of a row depends on that row and W alone:
 *
 *   x W^T   dots.c, at any number of rows
 *   dy W    dx[i][k] = (..((beta dx[i][k] + dy[i][0] W[0][k]) + dy[i][1] W[1][k]) + ..): a vector
 *           holds columns, so each lane adds in the order of W's rows
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <dnnl.h>

/* ---- by oneDNN ------------------------------------------------------------------------- */

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

static int product_by_library(float *panel, struct tensor x, size_t i, size_t m, struct tensor W,
	size_t j, size_t n, float *C, size_t ldc, struct err *err)
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

/* ---- by dots --------------------------------------------------------------------------- */

enum {
	GROUP_X = 6, /* rows of x that are laid out at a time: with a panel they fit the caches */
	PANEL_PIECES = CPU_PANEL_ROWS * CPU_DOTS_PIECE
};

/* The rows of one piece of the panel, w[r] at `panel` or where they are, against all of x. */
static void piece_by_dots(float *panel, struct tensor x, size_t i, size_t m, struct tensor W,
	size_t j, size_t n, size_t k, float *C, size_t ldc)
{
	const size_t in = W.cols, depth = in - k < CPU_DOTS_PIECE ? in - k : CPU_DOTS_PIECE;
	float *split = panel + PANEL_PIECES;
	const float *w[CPU_PANEL_ROWS];

	for (size_t r = 0; r < n; r++)
		w[r] = CPU(dots_weights)(W, (j + r) * in + k, depth, panel + r * depth);
	for (size_t first = 0; first < m; first += GROUP_X) {
		struct cpu_dots d = {.n = depth,
			.n_x = m - first < GROUP_X ? m - first : GROUP_X,
			.x = row_of(x, i + first) + k,
			.stride_x = in,
			.stride_y = ldc,
			.add = k > 0};

		if (W.dtype == DTYPE_BF16) {
			for (size_t r = 0; r < d.n_x; r++)
				CPU(dots_split)(d.x + r * in, depth, split + r * depth);
			d.x = split;
			d.stride_x = depth;
		}
		for (size_t c = 0; c < n; c += CPU_DOTS_W) {
			d.n_w = n - c < CPU_DOTS_W ? n - c : CPU_DOTS_W;
			for (size_t r = 0; r < CPU_DOTS_W; r++)
				d.w[r] = w[c + (r < d.n_w ? r : 0)];
			d.y = C + first * ldc + c;
			CPU(dots)(&d);
		}
	}
}

int CPU(tile_product)(struct device *dev, float *panel, struct tensor x, size_t i, size_t m,
	struct tensor W, size_t j, size_t n, float *C, size_t ldc, struct err *err)
{
	if (!dev->invariant)
		return product_by_library(panel, x, i, m, W, j, n, C, ldc, err);
	for (size_t k = 0; k < W.cols; k += CPU_DOTS_PIECE)
		piece_by_dots(panel, x, i, m, W, j, n, k, C, ldc);
	return 0;
}

/* ---- backward -------------------------------------------------------------------------- */

enum {
	ADD_ROWS = 6,
	ADD_VECTORS = VW == 16 ? 4 : 2 /* ADD_ROWS * ADD_VECTORS sums in 32 or 16 registers */
};

struct add {
	size_t depth;
	const float *A; /* [rows, depth], rows lda floats apart, as below */
	size_t lda;
	const float *w; /* [depth, n] */
	size_t ldw;
	float beta;
	float *C; /* [rows, n] */
	size_t ldc;
};

/* C = beta C + A w,  n = vectors VW columns, or the last n of a row with vectors = 1. */
static inline __attribute__((always_inline)) void add_products(const int rows, const int vectors,
	const struct add *a, size_t n)
{
	vf sum[ADD_ROWS][ADD_VECTORS] = {0};

	if (a->beta != 0)
		for (int i = 0; i < rows; i++)
			for (int v = 0; v < vectors; v++)
				sum[i][v] = v_set(a->beta) *
					    v_load_n(a->C + (size_t)i * a->ldc + v * VW, n);
	for (size_t j = 0; j < a->depth; j++) {
		vf b[ADD_VECTORS];

		for (int v = 0; v < vectors; v++)
			b[v] = vectors == 1 ? v_load_n(a->w + j * a->ldw, n)
					    : v_load(a->w + j * a->ldw + v * VW);
		for (int i = 0; i < rows; i++) {
			const vf x = v_set(a->A[(size_t)i * a->lda + j]);

			for (int v = 0; v < vectors; v++)
				sum[i][v] += x * b[v];
		}
	}
	for (int i = 0; i < rows; i++)
		for (int v = 0; v < vectors; v++)
			v_store_n(a->C + (size_t)i * a->ldc + v * VW, sum[i][v], n);
}

/* The same for a number of rows known only now; each case is a loop of its own. */
static void add_rows(const struct add *a, size_t rows, size_t n)
{
	switch (rows) {
#define CASE(rows) \
	case rows: \
		if (n == ADD_VECTORS * VW) \
			add_products(rows, ADD_VECTORS, a, n); \
		else \
			add_products(rows, 1, a, n); \
		break;
		CASE(1)
		CASE(2)
		CASE(3)
		CASE(4)
		CASE(5)
		CASE(6)
#undef CASE
	}
}

/* For any number of rows and columns. */
static void add_all(struct add a, size_t m, size_t n)
{
	const struct add all = a;

	for (size_t k = 0, width; k < n; k += width) {
		width = n - k >= ADD_VECTORS * VW ? ADD_VECTORS * VW : n - k >= VW ? VW : n - k;
		for (size_t i = 0, rows; i < m; i += rows) {
			rows = m - i < ADD_ROWS ? m - i : ADD_ROWS;
			a.A = all.A + i * a.lda;
			a.C = all.C + i * a.ldc + k;
			a.w = all.w + k;
			add_rows(&a, rows, width);
		}
	}
}

int CPU(tile_product_backward)(struct device *dev, float *panel, struct tensor dy, size_t i,
	size_t m, struct tensor W, size_t k, size_t n, double beta, struct tensor dx,
	struct err *err)
{
	const size_t in = W.cols, out = W.rows;

	for (size_t j = 0; j < out; j += CPU_PANEL_ROWS) {
		const size_t depth = out - j < CPU_PANEL_ROWS ? out - j : CPU_PANEL_ROWS;
		const float *w = panel, *A = row_of(dy, i) + j;
		const float keep = j > 0 ? 1 : (float)beta;
		float *C = row_out(dx, i) + k;
		size_t stride = n;

		if (W.dtype == DTYPE_F32) {
			w = (const float *)W.data + j * in + k;
			stride = in;
		} else {
			for (size_t r = 0; r < depth; r++)
				CPU(weight_floats)(W, (j + r) * in + k, n, panel + r * n);
		}
		if (dev->invariant)
			add_all((struct add){depth, A, out, w, stride, keep, C, in}, m, n);
		else if (sgemm(false, m, n, depth, A, out, w, stride, keep, C, in, err))
			return err->code;
	}
	return 0;
}
