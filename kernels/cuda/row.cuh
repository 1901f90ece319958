/* SPDX-License-Identifier: MIT
 *
 * row.cuh - a row of an activation in the registers of one block, for ops that need a sum over a
 * row before they can write any of it: it is read once.
 *
 * A thread has K packs of V adjacent elements, a block's width of packs apart; those behind the
 * row's end are zeros and are not written. V is 4, reads of 16 bytes, where width and addresses
 * allow it.
 */
#ifndef SAENGINE_ROW_CUH
#define SAENGINE_ROW_CUH

#include "kernels/cuda/pack.cuh"

enum { ROW_MOST_THREADS = 512, ROW_WANTED_THREADS = 256, ROW_MOST_PACKS = 8 };

/* How a row lies in a block. */
struct row_shape {
	unsigned threads;
	int packs; /* K: 1, 2, 4 or 8 */
};

/* For rows of d elements in packs of `width`. Errors: ERR_DEVICE where they are too many. */
static inline int row_shape_of(size_t d, int width, const char *op, struct row_shape *shape,
	struct err *err)
{
	const size_t packs = (d + (size_t)width - 1) / (size_t)width;
	const size_t most = ROW_MOST_PACKS * ROW_MOST_THREADS;
	size_t each = 1;

	*shape = (struct row_shape){(unsigned)WARP, 1};
	if (packs > most)
		return err_set(err, ERR_DEVICE, "op %s: expected rows of at most %zu, found %zu",
			op, most * (size_t)width, d);
	while (each < ROW_MOST_PACKS && packs > each * ROW_WANTED_THREADS)
		each *= 2;
	shape->packs = (int)each;
	if (packs > 0)
		shape->threads = blocks_for((packs + each - 1) / each, WARP) * (unsigned)WARP;
	return 0;
}

/* Runs a statement in which K is `packs`. */
#define WITH_ROW(packs, K, ...) \
	do { \
		if ((packs) == 1) { \
			constexpr int K = 1; \
			__VA_ARGS__; \
		} else if ((packs) == 2) { \
			constexpr int K = 2; \
			__VA_ARGS__; \
		} else if ((packs) == 4) { \
			constexpr int K = 4; \
			__VA_ARGS__; \
		} else { \
			constexpr int K = 8; \
			__VA_ARGS__; \
		} \
	} while (0)

/* The column at which this thread's pack k begins. */
template <int V> static __device__ __forceinline__ size_t row_column(int k)
{
	return ((size_t)k * blockDim.x + threadIdx.x) * V;
}

template <int K, int V, typename T>
static __device__ __forceinline__ void load_row(const T *row, size_t d, float (&x)[K][V])
{
#pragma unroll
	for (int k = 0; k < K; k++) {
		const size_t column = row_column<V>(k);

		if (column < d) {
			load_pack<V>(row + column, x[k]);
		} else {
#pragma unroll
			for (int i = 0; i < V; i++)
				x[k][i] = 0;
		}
	}
}

template <int K, int V, typename T>
static __device__ __forceinline__ void store_row(T *row, size_t d, const float (&x)[K][V])
{
#pragma unroll
	for (int k = 0; k < K; k++)
		if (row_column<V>(k) < d)
			store_pack<V>(row + row_column<V>(k), x[k]);
}

/* The sum of a b over the row; every thread receives it. `partial`: as block_sum's. */
template <int K, int V>
static __device__ __forceinline__ float row_dot(const float (&a)[K][V], const float (&b)[K][V],
	float *partial)
{
	float sum = 0;

#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < V; i++)
			sum += a[k][i] * b[k][i];
	return block_sum(sum, partial);
}

#endif
