/* SPDX-License-Identifier: MIT
 *
 * norm.cu - RMSNorm, forward and backward, and the end of a branch, which has two of them, there
 * and back. Contract: ops.h. Definition and formulas: kernels/ref/norm.c.
 *
 * One block a row, which lies in its registers (row.cuh): every element is read once and written
 * once, a sum over the row in between. Bytes an element, with bfloat16 operands: 4 + 2 forward,
 * 8 + 2 backward (12 + 4 where it adds), 8 + 4 + 2 at the end of a branch (and 4 for a target), 16
 * + 4 + 2 on the way back (and 8 for a gradient that is kept); 3 to 16 FLOPs: memory bandwidth is
 * the limit (share reached: not yet measured). A thread owns the same columns
 * throughout, so outputs may be inputs. Sums run in a fixed order (block_sum), so results repeat
 * bit for bit; the first row that is not finite is a minimum of integers, the same in any order.
 */
#include "kernels/cuda/row.cuh"

template <int K, int V>
static __device__ __forceinline__ float rstd_of(const float (&x)[K][V], size_t d, float eps)
{
	return 1 / sqrtf(row_dot(x, x, shared_partial()) / (float)d + eps);
}

/* x = x r (one + w). */
template <int K, int V>
static __device__ __forceinline__ void scale_row(float r, float one, const float *w, size_t d,
	float (&x)[K][V])
{
	float gain[K][V];

	load_row(w, d, gain);
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			x[k][i] = x[k][i] * r * (one + gain[k][i]);
}

/* ---- forward ---------------------------------------------------------------------------- */

template <typename T, int K, int V>
static __global__ void __launch_bounds__(ROW_MOST_THREADS) rmsnorm_kernel(float eps, float one,
	const float *x, const float *w, T *y, float *rstd, size_t d)
{
	const size_t row = blockIdx.x;
	float row_x[K][V], r;

	load_row(x + row * d, d, row_x);
	r = rstd_of(row_x, d, eps);
	scale_row(r, one, w, d, row_x);
	store_row(y + row * d, d, row_x);
	if (rstd && threadIdx.x == 0)
		rstd[row] = r;
}

extern "C" int cuda_rmsnorm(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	const int width = narrower(narrower(narrower(4, x), w), y);
	struct row_shape shape;

	if (tensor_count(x) == 0)
		return 0;
	TRY(row_shape_of(x.cols, width, "rmsnorm", &shape, err));
	WITH_OPERAND(y.dtype, T,
		WITH_ROW(shape.packs, K,
			WITH_PACK(width, V,
				GPU_LAUNCH((rmsnorm_kernel<T, K, V>), (unsigned)x.rows,
					shape.threads, 0, cuda_stream(dev), (float)norm.eps,
					norm.plus_one ? 1.0f : 0.0f, floats(x), floats(w),
					(T *)y.data, floats(rstd), x.cols))));
	return cuda_launched(dev, "op rmsnorm", err);
fail:
	return err->code;
}

/* ---- backward --------------------------------------------------------------------------- */

/* sum += a x. */
template <int K, int V>
static __device__ __forceinline__ void add_row(float a, const float (&x)[K][V], float (&sum)[K][V])
{
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			sum[k][i] += a * x[k][i];
}

/* From the gradient of the norm of x to that of x, in place. */
template <int K, int V>
static __device__ __forceinline__ void norm_gradient(const float (&x)[K][V], float r, float one,
	const float *w, size_t d, float (&gradient)[K][V])
{
	float pull;

	scale_row(r, one, w, d, gradient);
	pull = row_dot(x, gradient, shared_partial()) * r * r / (float)d;
	add_row(-pull, x, gradient);
}

template <typename T, int K, int V>
static __global__ void __launch_bounds__(ROW_MOST_THREADS)
	rmsnorm_backward_kernel(float one, const float *x, const float *w, const float *rstd,
		const float *dy, bool adds, T *dx, size_t d)
{
	const size_t first = (size_t)blockIdx.x * d;
	const float r = rstd[blockIdx.x];
	float row_x[K][V], gradient[K][V];

	load_row(x + first, d, row_x);
	load_row(dy + first, d, gradient);
	norm_gradient(row_x, r, one, w, d, gradient);
	load_row(dx + first, adds ? d : 0, row_x);
	add_row(1, row_x, gradient);
	store_row(dx + first, d, gradient);
}

extern "C" int cuda_rmsnorm_backward(struct device *dev, struct norm norm, struct tensor x,
	struct tensor w, struct tensor rstd, struct tensor dy, double beta, struct tensor dx,
	struct err *err)
{
	const int width = narrower(narrower(narrower(narrower(4, x), w), dy), dx);
	struct row_shape shape;

	if (tensor_count(x) == 0)
		return 0;
	TRY(row_shape_of(x.cols, width, "rmsnorm_backward", &shape, err));
	WITH_OPERAND(dx.dtype, T,
		WITH_ROW(shape.packs, K,
			WITH_PACK(width, V,
				GPU_LAUNCH((rmsnorm_backward_kernel<T, K, V>), (unsigned)x.rows,
					shape.threads, 0, cuda_stream(dev),
					norm.plus_one ? 1.0f : 0.0f, floats(x), floats(w),
					floats(rstd), floats(dy), beta != 0, (T *)dx.data,
					x.cols))));
	return cuda_launched(dev, "op rmsnorm_backward", err);
fail:
	return err->code;
}

/* ---- the end of a branch ---------------------------------------------------------------- */

struct end_call {
	float eps, one, mix;
	const float *branch, *w_branch, *x_in, *target, *w_next;
	float *rstd_branch, *x_out, *rstd_next;
	unsigned *first_bad; /* -1 begins as the largest unsigned number */
	size_t d;
};

/* x = (1 - a) x + a target. */
template <int K, int V>
static __device__ __forceinline__ void mix_row(float a, const float (&target)[K][V],
	float (&x)[K][V])
{
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			x[k][i] = (1 - a) * x[k][i] + a * target[k][i];
}

template <typename T, int K, int V>
static __global__ void __launch_bounds__(ROW_MOST_THREADS) end_kernel(const struct end_call c, T *h)
{
	const size_t row = blockIdx.x, first = row * c.d;
	float x[K][V], branch[K][V], r;
	bool finite = true;

	load_row(c.branch + first, c.d, branch);
	load_row(c.x_in + first, c.d, x);
	if (c.w_branch) {
		r = rstd_of(branch, c.d, c.eps);
		scale_row(r, c.one, c.w_branch, c.d, branch);
		if (c.rstd_branch && threadIdx.x == 0)
			c.rstd_branch[row] = r;
	}
	add_row(1, branch, x);
	if (c.target) {
		load_row(c.target + first, c.d, branch);
		mix_row(c.mix, branch, x);
	}
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			finite &= isfinite(x[k][i]);
	store_row(c.x_out + first, c.d, x);
	if (c.first_bad && !finite)
		atomicMin(c.first_bad, (unsigned)row);
	if (!c.w_next)
		return;
	r = rstd_of(x, c.d, c.eps);
	scale_row(r, c.one, c.w_next, c.d, x);
	store_row(h + first, c.d, x);
	if (c.rstd_next && threadIdx.x == 0)
		c.rstd_next[row] = r;
}

extern "C" int cuda_end_branch(struct device *dev, const struct branch_end *b, struct err *err)
{
	const struct end_call call = {(float)b->norm.eps, b->norm.plus_one ? 1.0f : 0.0f,
		(float)b->mix, floats(b->branch), floats(b->w_branch), floats(b->x_in),
		floats(b->target), floats(b->w_next), floats(b->rstd_branch), floats(b->x_out),
		floats(b->rstd_next), (unsigned *)b->first_bad, b->branch.cols};
	const struct tensor all[] = {b->branch, b->w_branch, b->x_in, b->x_out, b->target,
		b->w_next, b->h};
	struct row_shape shape;
	int width = 4;

	if (tensor_count(b->branch) == 0)
		return 0;
	for (const struct tensor &t : all)
		width = narrower(width, t);
	TRY(row_shape_of(call.d, width, "end_branch", &shape, err));
	WITH_OPERAND(b->h.dtype, T,
		WITH_ROW(shape.packs, K,
			WITH_PACK(width, V,
				GPU_LAUNCH((end_kernel<T, K, V>), (unsigned)b->branch.rows,
					shape.threads, 0, cuda_stream(dev), call,
					(T *)b->h.data))));
	return cuda_launched(dev, "op end_branch", err);
fail:
	return err->code;
}

/* ---- the way back through it ------------------------------------------------------------- */

template <int K, int V>
static __device__ __forceinline__ void multiply_row(float a, float (&x)[K][V])
{
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			x[k][i] *= a;
}

struct back_call {
	float one, weight, keep;
	float *g, *gradient;
	bool adds, writes; /* g is read; g changes */
	const float *dh, *x_out, *w_next, *rstd_next;
	const float *branch, *w_branch, *rstd_branch;
	size_t d;
};

template <typename T, int K, int V>
static __global__ void __launch_bounds__(ROW_MOST_THREADS)
	back_kernel(const struct back_call c, T *dbranch)
{
	const size_t row = blockIdx.x, first = row * c.d;
	float g[K][V], x[K][V];

	if (c.dh) {
		load_row(c.x_out + first, c.d, x);
		load_row(c.dh + first, c.d, g);
		norm_gradient(x, c.rstd_next[row], c.one, c.w_next, c.d, g);
		load_row(c.g + first, c.adds ? c.d : 0, x);
		add_row(1, x, g);
	} else {
		load_row(c.g + first, c.d, g);
	}
	if (c.gradient) {
		load_row(c.gradient + first, c.d, x);
		add_row(c.weight, g, x);
		store_row(c.gradient + first, c.d, x);
	}
	multiply_row(c.keep, g);
	if (c.writes)
		store_row(c.g + first, c.d, g);
	if (!dbranch)
		return;
	if (c.w_branch) {
		load_row(c.branch + first, c.d, x);
		norm_gradient(x, c.rstd_branch[row], c.one, c.w_branch, c.d, g);
	}
	store_row(dbranch + first, c.d, g);
}

extern "C" int cuda_end_branch_backward(struct device *dev, const struct branch_end_back *b,
	struct err *err)
{
	const struct back_call call = {b->norm.plus_one ? 1.0f : 0.0f, (float)b->weight,
		(float)b->keep, floats(b->g), floats(b->gradient), b->beta != 0,
		b->dh.data || b->keep != 1, floats(b->dh), floats(b->x_out), floats(b->w_next),
		floats(b->rstd_next), floats(b->branch), floats(b->w_branch),
		floats(b->rstd_branch), b->g.cols};
	const struct tensor all[] = {b->g, b->dh, b->x_out, b->w_next, b->gradient, b->dbranch,
		b->branch, b->w_branch};
	struct row_shape shape;
	int width = 4;

	if (tensor_count(b->g) == 0)
		return 0;
	for (const struct tensor &t : all)
		width = narrower(width, t);
	TRY(row_shape_of(call.d, width, "end_branch_backward", &shape, err));
	WITH_OPERAND(b->dbranch.dtype, T,
		WITH_ROW(shape.packs, K,
			WITH_PACK(width, V,
				GPU_LAUNCH((back_kernel<T, K, V>), (unsigned)b->g.rows,
					shape.threads, 0, cuda_stream(dev), call,
					(T *)b->dbranch.data))));
	return cuda_launched(dev, "op end_branch_backward", err);
fail:
	return err->code;
}
