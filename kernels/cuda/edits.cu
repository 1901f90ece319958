/* SPDX-License-Identifier: MIT
 *
 * edits.cu - edits of the residual stream that need no SAE. Contract: ops.h.
 * Definition: kernels/ref/edits.c.
 *
 * 8 bytes an element (mix: 12), at memory bandwidth (share reached: not yet measured). One block a
 * row for the projection, whose sum runs in a fixed order (block_sum); a thread owns its columns
 * throughout, so updates in place need no order.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256, MOST_THREADS = 512, PER_THREAD = 4 };

static __global__ void ablate_kernel(const float *u, float *x, size_t d)
{
	__shared__ float partial[WARP];
	float *row = x + (size_t)blockIdx.x * d;
	float sum = 0, along;

	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		sum += row[j] * u[j];
	along = block_sum(sum, partial);
	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		row[j] -= along * u[j];
}

extern "C" int cuda_ablate_direction(struct device *dev, struct tensor u, struct tensor x,
	struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_LAUNCH(ablate_kernel, (unsigned)x.rows, threads_for(x.cols, MOST_THREADS), 0,
		cuda_stream(dev), floats(u), floats(x), x.cols);
	return cuda_launched(dev, "op ablate_direction", err);
}

static __global__ void add_vector_kernel(float a, const float *v, float *x, size_t d)
{
	float *row = x + (size_t)blockIdx.x * d;

	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		row[j] += a * v[j];
}

extern "C" int cuda_add_vector(struct device *dev, double a, struct tensor v, struct tensor x,
	struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_LAUNCH(add_vector_kernel, (unsigned)x.rows, threads_for(x.cols, MOST_THREADS), 0,
		cuda_stream(dev), (float)a, floats(v), floats(x), x.cols);
	return cuda_launched(dev, "op add_vector", err);
}

static __global__ void mix_kernel(float a, const float *target, float *x, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
		x[i] = (1 - a) * x[i] + a * target[i];
}

extern "C" int cuda_mix(struct device *dev, double a, struct tensor target, struct tensor x,
	struct err *err)
{
	const size_t n = tensor_count(x);

	if (n == 0)
		return 0;
	GPU_LAUNCH(mix_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0, cuda_stream(dev),
		(float)a, floats(target), floats(x), n);
	return cuda_launched(dev, "op mix", err);
}
