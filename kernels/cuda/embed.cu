/* SPDX-License-Identifier: MIT
 *
 * embed.cu - token embedding. Contract: ops.h. Definition: kernels/ref/embed.c.
 *
 *   x[i] = scale E[token[i]]
 *
 * Reads a row of E and writes a row of float32: d (2 + 4) bytes a token for bfloat16, at memory
 * bandwidth (share reached: not yet measured). One block a token, a thread owns columns, 4
 * neighbours at a time and PACKS times 4 on their way.
 */
#include "kernels/cuda/pack.cuh"

enum { MOST_THREADS = 256, PACKS = 4 };

template <typename T, int V>
static __global__ void __launch_bounds__(MOST_THREADS)
	embed_kernel(const T *E, const int32_t *token, float scale, float *x, size_t d)
{
	const T *e = E + (size_t)token[blockIdx.x] * d;
	float *row = x + (size_t)blockIdx.x * d;
	const size_t step = (size_t)blockDim.x * V;

	for (size_t j = (size_t)threadIdx.x * V; j < d; j += PACKS * step) {
		float p[PACKS][V];

#pragma unroll
		for (int k = 0; k < PACKS; k++)
			if (j + k * step < d)
				load_pack<V>(e + j + k * step, p[k]);
#pragma unroll
		for (int k = 0; k < PACKS; k++) {
#pragma unroll
			for (int i = 0; i < V; i++)
				p[k][i] *= scale;
			if (j + k * step < d)
				store_pack<V>(row + j + k * step, p[k]);
		}
	}
}

extern "C" int cuda_embed(struct device *dev, struct tensor E, const int32_t *token, double scale,
	struct tensor x, struct err *err)
{
	const int width = min(pack_width(E, x.cols), pack_width(x, x.cols));

	if (tensor_count(x) > 0)
		GPU_WITH_TYPE(E.dtype, T,
			WITH_PACK(width, V,
				GPU_LAUNCH((embed_kernel<T, V>), (unsigned)x.rows,
					threads_for(x.cols / V, MOST_THREADS), 0, cuda_stream(dev),
					(const T *)E.data, token, (float)scale, floats(x),
					x.cols)));
	return cuda_launched(dev, "op embed", err);
}
