/* SPDX-License-Identifier: MIT
 *
 * rows.cu - moving and combining rows. Contract: ops.h. Definition: kernels/ref/rows.c.
 *
 * Every element is read once and written once: 8 bytes (copy, scale, gather, scatter) or 12 (axpy),
 * no arithmetic to speak of, so the limit is memory bandwidth. Copies of whole tensors are
 * cudaMemcpyAsync's. A thread owns a piece of one row, or packs of elements a grid apart, so no two
 * write the same place. Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/pack.cuh"

enum { THREADS = 256, PER_THREAD = 4 };

extern "C" int cuda_copy(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	if (tensor_count(x) > 0 &&
		cuda_check(cudaMemcpyAsync(y.data, x.data, tensor_bytes(x),
				   cuda_kind(dev, cudaMemcpyDeviceToDevice), cuda_stream(dev)),
			"op copy", "cudaMemcpyAsync", err))
		return err->code;
	return cuda_launched(dev, "op copy", err);
}

template <int V>
static __global__ void __launch_bounds__(THREADS)
	axpy_kernel(float a, const float *x, float *y, size_t n)
{
	const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * V;
	float from[V], to[V];

	if (at >= n)
		return;
	load_pack<V>(x + at, from);
	load_pack<V>(y + at, to);
#pragma unroll
	for (int i = 0; i < V; i++)
		to[i] += a * from[i];
	store_pack<V>(y + at, to);
}

extern "C" int cuda_axpy(struct device *dev, double a, struct tensor x, struct tensor y,
	struct err *err)
{
	const size_t n = tensor_count(x);

	if (n == 0)
		return 0;
	WITH_PACK(min(pack_width(x, n), pack_width(y, n)), V,
		GPU_LAUNCH(axpy_kernel<V>, blocks_for(n, THREADS * V), THREADS, 0, cuda_stream(dev),
			(float)a, floats(x), floats(y), n));
	return cuda_launched(dev, "op axpy", err);
}

static __global__ void scale_kernel(float a, float *x, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
		x[i] *= a;
}

extern "C" int cuda_scale(struct device *dev, double a, struct tensor x, struct err *err)
{
	const size_t n = tensor_count(x);

	if (n == 0)
		return 0;
	if (a == 0) { /* whatever was there, NaN too */
		if (cuda_check(cudaMemsetAsync(x.data, 0, tensor_bytes(x), cuda_stream(dev)),
			    "op scale", "cudaMemsetAsync", err))
			return err->code;
	} else {
		GPU_LAUNCH(scale_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0,
			cuda_stream(dev), (float)a, floats(x), n);
	}
	return cuda_launched(dev, "op scale", err);
}

/* One block a row: out[to(row)] = in[from(row)], in units of U. An absent index means the row
 * itself. */
template <typename U>
static __global__ void __launch_bounds__(THREADS)
	move_rows_kernel(const U *in, const int32_t *from, const int32_t *to, U *out, size_t cols)
{
	const size_t row = blockIdx.x;
	const U *source = in + (from ? (size_t)from[row] : row) * cols;
	U *target = out + (to ? (size_t)to[row] : row) * cols;

	for (size_t j = threadIdx.x; j < cols; j += blockDim.x)
		target[j] = source[j];
}

/* n rows, in the largest units that their bytes and addresses allow. */
static void move_rows(struct device *dev, struct tensor in, const int32_t *from, const int32_t *to,
	struct tensor out, size_t n)
{
	const size_t bytes = in.cols * dtype_bytes(in.dtype);
	const uintptr_t ends = (uintptr_t)in.data | (uintptr_t)out.data | bytes;

#define MOVE(U) \
	GPU_LAUNCH(move_rows_kernel<U>, (unsigned)n, THREADS, 0, cuda_stream(dev), \
		(const U *)in.data, from, to, (U *)out.data, bytes / sizeof(U))
	if (ends % sizeof(uint4) == 0)
		MOVE(uint4);
	else if (ends % sizeof(uint32_t) == 0)
		MOVE(uint32_t);
	else
		MOVE(uint16_t);
#undef MOVE
}

extern "C" int cuda_gather_rows(struct device *dev, struct tensor in, const int32_t *index,
	struct tensor out, struct err *err)
{
	if (tensor_count(out) > 0)
		move_rows(dev, in, index, NULL, out, out.rows);
	return cuda_launched(dev, "op gather_rows", err);
}

extern "C" int cuda_scatter_rows(struct device *dev, struct tensor in, const int32_t *index,
	struct tensor out, struct err *err)
{
	if (tensor_count(in) > 0)
		move_rows(dev, in, NULL, index, out, in.rows);
	return cuda_launched(dev, "op scatter_rows", err);
}

static __global__ void advance_kernel(size_t n, const int32_t *next, int32_t *token, int32_t *pos,
	int32_t *cache_row)
{
	const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

	if (i >= n)
		return;
	if (next[i] >= 0)
		token[i] = next[i];
	pos[i]++;
	cache_row[i]++;
}

extern "C" int cuda_advance(struct device *dev, size_t n, const int32_t *next, int32_t *token,
	int32_t *pos, int32_t *cache_row, struct err *err)
{
	if (n > 0)
		GPU_LAUNCH(advance_kernel, blocks_for(n, THREADS), THREADS, 0, cuda_stream(dev), n,
			next, token, pos, cache_row);
	return cuda_launched(dev, "op advance", err);
}

static __global__ void fill_kernel(size_t n, int32_t value, int32_t *id)
{
	const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		id[i] = value;
}

extern "C" int cuda_fill_ids(struct device *dev, size_t n, int32_t value, int32_t *id,
	struct err *err)
{
	if (n > 0)
		GPU_LAUNCH(fill_kernel, blocks_for(n, THREADS), THREADS, 0, cuda_stream(dev), n,
			value, id);
	return cuda_launched(dev, "op fill_ids", err);
}

/* *first_bad begins as -1, the largest unsigned number, and only sinks: a minimum of integers is
 * the same in any order. One atomic per thread that met a bad element, none in a finite tensor. */
template <int V>
static __global__ void __launch_bounds__(THREADS)
	find_nonfinite_kernel(const float *x, size_t n, size_t cols, unsigned *first_bad)
{
	const size_t step = (size_t)gridDim.x * THREADS * V;

	for (size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * V; at < n; at += step) {
		float value[V];

		load_pack<V>(x + at, value);
#pragma unroll
		for (int j = 0; j < V; j++) {
			const size_t i = at + (size_t)j;

			if (isfinite(value[j]))
				continue;
			atomicMin(first_bad, (unsigned)(i / cols));
			return; /* later elements are of later rows, or this one */
		}
	}
}

extern "C" int cuda_find_nonfinite(struct device *dev, struct tensor x, int32_t *first_bad,
	struct err *err)
{
	const size_t n = tensor_count(x);

	if (n > 0)
		WITH_PACK(pack_width(x, n), V,
			GPU_LAUNCH(find_nonfinite_kernel<V>,
				blocks_for(n, THREADS * PER_THREAD * V), THREADS, 0,
				cuda_stream(dev), floats(x), n, x.cols, (unsigned *)first_bad));
	return cuda_launched(dev, "op find_nonfinite", err);
}
