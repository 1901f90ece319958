/* SPDX-License-Identifier: MIT
 *
 * gemm.cc - matrix products by plain loops, where kernels run on the CPU. Contract:
 * kernels/cuda/gemm.h. It is a kernel like the others, so it keeps its place in the stream and in
 * graphs, and the harness sees what it reads and writes. Sums are float32, in order.
 */
#include "kernels/cuda/gemm.h"

#include "kernels/cuda/gpu.cuh"

#include <assert.h>

int gemm_open(struct gemm **out, struct device *dev, struct err *err)
{
	(void)dev, (void)err;
	*out = NULL;
	return 0;
}

void gemm_close(struct gemm *gemm)
{
	(void)gemm;
}

template <typename T> static float dot(const struct product *p, size_t i, size_t j)
{
	const T *A = (const T *)p->A + i * p->lda, *B = (const T *)p->B;
	float sum = 0;

	for (size_t l = 0; l < p->k; l++)
		sum += to_float(A[l]) *
		       to_float(p->transpose_b ? B[j * p->ldb + l] : B[l * p->ldb + j]);
	return sum;
}

/* A block per row of C, its columns among the threads. */
template <typename T> static __global__ void product_kernel(const struct product p)
{
	float *const row = p.C + (size_t)blockIdx.x * p.ldc;

	for (size_t j = threadIdx.x; j < p.n; j += blockDim.x) {
		const float sum = dot<T>(&p, blockIdx.x, j);

		row[j] = sum + (p.beta != 0 ? row[j] : 0) + (p.bias ? p.bias[j] : 0);
	}
}

int gemm_multiply(struct device *dev, const struct product *p, struct err *err)
{
	(void)err;
	assert(p->m > 0 && p->n > 0 && p->k > 0 && (p->beta == 0 || p->beta == 1));
	GPU_WITH_TYPE(p->type, T,
		GPU_LAUNCH(product_kernel<T>, (unsigned)p->m, WARP, 0, cuda_stream(dev), *p));
	return 0;
}
