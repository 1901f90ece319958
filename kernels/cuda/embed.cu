/* SPDX-License-Identifier: MIT
 *
 * embed.cu - token embedding. Contract: ops.h. Definition: kernels/ref/embed.c.
 *
 *   x[i] = scale E[token[i]]
 *
 * Reads a row of E and writes a row of float32: d (2 + 4) bytes a token for bfloat16, at memory
 * bandwidth (share reached: not yet measured). One block a token, a thread owns columns.
 */
#include "kernels/cuda/gpu.cuh"

template <class T>
static __global__ void embed_kernel(const T *E, const int32_t *token, float scale, float *x,
	size_t d)
{
	const T *e = E + (size_t)token[blockIdx.x] * d;
	float *row = x + (size_t)blockIdx.x * d;

	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		row[j] = scale * to_float(e[j]);
}

extern "C" int cuda_embed(struct device *dev, struct tensor E, const int32_t *token, double scale,
	struct tensor x, struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_WITH_TYPE(E.dtype, T,
		GPU_LAUNCH(embed_kernel<T>, (unsigned)x.rows, threads_for(x.cols, 256), 0,
			cuda_stream(dev), (const T *)E.data, token, (float)scale, floats(x),
			x.cols));
	return cuda_launched(dev, "op embed", err);
}
