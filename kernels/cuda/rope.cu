/* SPDX-License-Identifier: MIT
 *
 * rope.cu - rotary position embedding. Contract: ops.h. Definition: kernels/ref/rope.c.
 *
 * 8 bytes and 3 FLOPs an element, at memory bandwidth (share reached: not yet measured); the row of
 * the tables is read by every head of a token and stays in cache. One block a token; a thread owns
 * the two elements of a pair, so the update in place needs no order.
 */
#include "kernels/cuda/gpu.cuh"

static __global__ void rope_kernel(size_t half, float sign, const float *cosines,
	const float *sines, const int32_t *pos, float *x, size_t cols)
{
	const float *cosine = cosines + (size_t)pos[blockIdx.x] * half;
	const float *sine = sines + (size_t)pos[blockIdx.x] * half;
	float *row = x + (size_t)blockIdx.x * cols;

	for (size_t i = threadIdx.x; i < cols / 2; i += blockDim.x) {
		const size_t j = i % half;
		float *a = row + (i - j) * 2 + j, *b = a + half;
		const float c = cosine[j], s = sign * sine[j], u = *a, v = *b;

		*a = u * c - v * s;
		*b = v * c + u * s;
	}
}

extern "C" int cuda_rope(struct device *dev, size_t head_dim, int direction,
	struct tensor cos_table, struct tensor sin_table, const int32_t *pos, struct tensor x,
	struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_LAUNCH(rope_kernel, (unsigned)x.rows, threads_for(x.cols, 256), 0, cuda_stream(dev),
		head_dim / 2, (float)direction, floats(cos_table), floats(sin_table), pos,
		floats(x), x.cols);
	return cuda_launched(dev, "op rope", err);
}
