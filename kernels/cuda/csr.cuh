/* SPDX-License-Identifier: MIT
 *
 * csr.cuh - what kernels that write rows of sparse features share (sae.cu, attribute.cu): places
 * in ascending order without atomics, and row starts from row lengths.
 */
#ifndef SAENGINE_CSR_CUH
#define SAENGINE_CSR_CUH

#include "kernels/cuda/gpu.cuh"

/* The sum of x over the threads before this one; *total receives that of the whole block.
 * `partial`: WARP ints of shared memory, free for reuse after the next barrier (the function begins
 * with one). One-dimensional blocks. */
static __device__ __forceinline__ int block_sum_before(int x, int *partial, int *total)
{
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int n_warps = (int)blockDim.x / WARP;
	int sum = x, before = 0, all = 0;

	for (int step = 1; step < WARP; step *= 2) {
		const int lower = __shfl_up_sync(ALL_LANES, sum, (unsigned)step);

		if (lane >= step)
			sum += lower;
	}
	__syncthreads();
	if (lane == WARP - 1)
		partial[warp] = sum;
	__syncthreads();
	for (int w = 0; w < n_warps; w++) {
		if (w < warp)
			before += partial[w];
		all += partial[w];
	}
	*total = all;
	return before + sum - x;
}

/* indptr[0] is known and indptr[i + 1] holds the length of row i: turns lengths into row ends.
 * Ends beyond INT32_MAX stay there, which no capacity reaches. */
void csr_lengths_to_ends(const struct device *dev, int32_t *indptr, size_t n_rows);

#endif
