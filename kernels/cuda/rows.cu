/* SPDX-License-Identifier: MIT
 *
 * rows.cu - moving and combining rows. Contract: ops.h. Definition: kernels/ref/rows.c.
 *
 * Every element is read once and written once: 8 bytes (copy, scale, gather, scatter) or 12
 * (axpy), no arithmetic to speak of, so the limit is memory bandwidth. Copies of whole tensors are
 * cudaMemcpyAsync's. A thread owns a column of one row, or elements a grid apart, so no two write
 * the same place. Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/gpu.cuh"

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

static __global__ void axpy_kernel(float a, const float *x, float *y, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
		y[i] += a * x[i];
}

extern "C" int cuda_axpy(struct device *dev, double a, struct tensor x, struct tensor y,
	struct err *err)
{
	const size_t n = tensor_count(x);

	if (n == 0)
		return 0;
	GPU_LAUNCH(axpy_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0, cuda_stream(dev),
		(float)a, floats(x), floats(y), n);
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

/* One block a row: out[to(row)] = in[from(row)]. An absent index means the row itself. */
static __global__ void move_rows_kernel(const float *in, const int32_t *from, const int32_t *to,
	float *out, size_t cols)
{
	const size_t row = blockIdx.x;
	const float *source = in + (from ? (size_t)from[row] : row) * cols;
	float *target = out + (to ? (size_t)to[row] : row) * cols;

	for (size_t j = threadIdx.x; j < cols; j += blockDim.x)
		target[j] = source[j];
}

extern "C" int cuda_gather_rows(struct device *dev, struct tensor in, const int32_t *index,
	struct tensor out, struct err *err)
{
	if (tensor_count(out) == 0)
		return 0;
	GPU_LAUNCH(move_rows_kernel, (unsigned)out.rows, THREADS, 0, cuda_stream(dev), floats(in),
		index, (const int32_t *)NULL, floats(out), in.cols);
	return cuda_launched(dev, "op gather_rows", err);
}

extern "C" int cuda_scatter_rows(struct device *dev, struct tensor in, const int32_t *index,
	struct tensor out, struct err *err)
{
	if (tensor_count(in) == 0)
		return 0;
	GPU_LAUNCH(move_rows_kernel, (unsigned)in.rows, THREADS, 0, cuda_stream(dev), floats(in),
		(const int32_t *)NULL, index, floats(out), in.cols);
	return cuda_launched(dev, "op scatter_rows", err);
}

static __global__ void advance_kernel(size_t n, const int32_t *next, int32_t *token, int32_t *pos,
	int32_t *cache_row)
{
	const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

	if (i >= n)
		return;
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

/* *first_bad begins as -1, the largest unsigned number, and only sinks: a minimum of integers is
 * the same in any order. One atomic per thread that met a bad element, none in a finite tensor. */
static __global__ void find_nonfinite_kernel(const float *x, size_t n, size_t cols,
	unsigned *first_bad)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
		if (!isfinite(x[i])) {
			atomicMin(first_bad, (unsigned)(i / cols));
			break; /* later elements are of later rows, or this one */
		}
	}
}

extern "C" int cuda_find_nonfinite(struct device *dev, struct tensor x, int32_t *first_bad,
	struct err *err)
{
	const size_t n = tensor_count(x);

	if (cuda_check(cudaMemsetAsync(first_bad, 0xff, sizeof *first_bad, cuda_stream(dev)),
		    "op find_nonfinite", "cudaMemsetAsync", err))
		return err->code;
	if (n > 0)
		GPU_LAUNCH(find_nonfinite_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0,
			cuda_stream(dev), floats(x), n, x.cols, (unsigned *)first_bad);
	return cuda_launched(dev, "op find_nonfinite", err);
}
