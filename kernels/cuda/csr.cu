/* SPDX-License-Identifier: MIT
 *
 * csr.cu - row ends from row lengths. Contract: csr.cuh.
 *
 * One block walks the rows, a thread each, and carries the sum along: 8 bytes a row, some
 * microseconds for the 8192 rows of a batch, most of it waiting at barriers. Integers: any order
 * gives the same sums.
 */
#include "kernels/cuda/csr.cuh"

enum { BLOCK = 1024 };

static __global__ void __launch_bounds__(BLOCK) ends_kernel(int32_t *indptr, size_t n_rows)
{
	__shared__ int partial[WARP];
	int64_t carried = indptr[0];

	for (size_t first = 0; first < n_rows; first += BLOCK) {
		const size_t row = first + threadIdx.x;
		const int length = row < n_rows ? indptr[row + 1] : 0;
		int total;
		const int before = block_sum_before(length, partial, &total);
		const int64_t end = carried + before + length;

		if (row < n_rows)
			indptr[row + 1] = end < INT32_MAX ? (int32_t)end : INT32_MAX;
		carried += total;
	}
}

void csr_lengths_to_ends(const struct device *dev, int32_t *indptr, size_t n_rows)
{
	GPU_LAUNCH(ends_kernel, 1, BLOCK, 0, cuda_stream(dev), indptr, n_rows);
}
