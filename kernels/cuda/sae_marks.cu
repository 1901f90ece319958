/* SPDX-License-Identifier: MIT
 *
 * sae_marks.cu - marks of active features from products or from the library's mask, and entries
 * from marks. Contract: sae.cuh. Called by sae.cu; tests: tests/test_ops.c, "sae" cases.
 *
 * Marks from products read 4 bytes a product, at memory bandwidth. A warp has 128 features, 4 to a
 * lane, whose biases and thresholds it reads once for MARK_ROWS rows. Of 8 rows at a time a lane
 * has 8 loads of 16 bytes on their way, then exchanges its 8 times 4 bits with its neighbours for
 * one whole word.
 *
 * Marks from the library's mask read a bit a product, and what is marked: margins of 0 may be, and
 * features behind the last. One block per row, one thread per 4 words.
 *
 * Entries read a bit a product. One block per row, one thread per 4 words of marks, places by a sum
 * over the block, then one thread per entry: their products lie far apart, and so wait together.
 * Share of the limit: not yet measured.
 *
 * Deterministic: every place follows from the marks; lengths are counted with integer atomics.
 */
#include "kernels/cuda/csr.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/sae.cuh"

enum {
	BLOCK = 256,
	N_WARPS = BLOCK / WARP,
	LANE_FEATURES = 4,
	WARP_WORDS = WARP * LANE_FEATURES / 32,
	ROWS_AT_ONCE = 8,
	MARK_ROWS = 32,
	MOST_ENTRY_THREADS = 512
};

/* ---- marks ----------------------------------------------------------------------------- */

/* i, or another place that exists. */
static __device__ __forceinline__ size_t existing(size_t i, size_t n)
{
	return i < n ? i : 0;
}

/* Of n values those of a lane's features; others where there are none. V = 4: n divides by 4. */
template <int V>
static __device__ __forceinline__ void load_lane(const float *values, size_t feature, size_t n,
	float to[LANE_FEATURES])
{
	if constexpr (V == LANE_FEATURES) {
		const uint4 four = read_16(values + existing(feature, n));

		memcpy(to, &four, sizeof four);
	} else {
#pragma unroll
		for (int c = 0; c < LANE_FEATURES; c++)
			to[c] = values[existing(feature + c, n)];
	}
}

/* Lane 8 w + i brings 4 bits of each of 8 rows, those of row r from bit 4 r. Lane 8 w + r receives
 * those of row r, lane 8 w + i's from bit 4 i: a transposition in three exchanges. */
static __device__ __forceinline__ uint32_t word_of_row(uint32_t mine)
{
	const int lane = (int)threadIdx.x % WARP;

#pragma unroll
	for (int step = 1; step < 8; step *= 2) {
		const int width = 4 * step;
		const uint32_t low = 0xffffffffu /
				     ((1u << width) + 1); /* 1s in every other width */
		const uint32_t other = __shfl_xor_sync(ALL_LANES, mine, step);

		mine = lane & step ? (mine & ~low) | (other >> width & low)
				   : (mine & low) | (other & low) << width;
	}
	return mine;
}

/* A lane's 4 bits of each of ROWS_AT_ONCE rows from `row` on. Its features' joined biases are
 * given. */
template <int V>
static __device__ __forceinline__ uint32_t marks_of_lane(const float *products, size_t row,
	size_t n_rows, size_t feature, size_t n_feature, struct gates gates,
	const float bias[LANE_FEATURES])
{
	float product[ROWS_AT_ONCE][LANE_FEATURES];
	uint32_t bits = 0;

#pragma unroll
	for (int r = 0; r < ROWS_AT_ONCE; r++)
		load_lane<V>(products + existing(row + r, n_rows) * n_feature, feature, n_feature,
			product[r]);
#pragma unroll
	for (int r = 0; r < ROWS_AT_ONCE; r++) {
		const float factor = row_factor(gates, existing(row + r, n_rows));

#pragma unroll
		for (int c = 0; c < LANE_FEATURES; c++) {
			const float margin = margin_of(product[r][c], factor, bias[c]);
			const bool on = is_active(gates, feature + c, margin);

			bits |= (uint32_t)on << (r * LANE_FEATURES + c);
		}
	}
	return bits;
}

/* Block (rows, words): MARK_ROWS rows, and WARP_WORDS words of each per warp. */
template <int V>
static __global__ void __launch_bounds__(BLOCK) marks_kernel(const float *products, size_t n_rows,
	size_t n_feature, struct gates gates, uint32_t *marks, size_t n_words, int32_t *lengths)
{
	const int lane = (int)threadIdx.x % WARP;
	/* The last features first: their products came last and may be in the cache still. */
	const size_t part = gridDim.y - 1 - blockIdx.y;
	const size_t first_word = (part * N_WARPS + threadIdx.x / WARP) * WARP_WORDS;
	/* Of the word that this lane will hold, and of the features that it reads. */
	const size_t word = first_word + (size_t)(lane / 8);
	const size_t feature = first_word * 32 + (size_t)(lane * LANE_FEATURES);
	const size_t first_row = (size_t)blockIdx.x * MARK_ROWS;
	float bias[LANE_FEATURES], threshold[LANE_FEATURES];

	static_assert(STREAM_FEATURES % (WARP * LANE_FEATURES) == 0, "warps have words or none");
	if (first_word >= n_words)
		return;
	load_lane<V>(gates.b_enc, feature, n_feature, bias);
	load_lane<V>(gates.threshold, feature, n_feature, threshold);
#pragma unroll
	for (int c = 0; c < LANE_FEATURES; c++)
		bias[c] = feature + c < n_feature ? joined_bias(bias[c], threshold[c])
						  : -INFINITY; /* never on */
	for (size_t row = first_row; row < first_row + MARK_ROWS && row < n_rows;
		row += ROWS_AT_ONCE) {
		const size_t own = row + (size_t)(lane % ROWS_AT_ONCE);
		const uint32_t bits = word_of_row(marks_of_lane<V>(products, row, n_rows, feature,
			n_feature, gates, bias));
		int count = __popc(bits);

		count += __shfl_xor_sync(ALL_LANES, count, 8);
		count += __shfl_xor_sync(ALL_LANES, count, 16);
		if (own < n_rows)
			marks[own * n_words + word] = bits;
		if (own < n_rows && lane < ROWS_AT_ONCE && count > 0)
			atomicAdd(&lengths[own], count);
	}
}

void sae_mark(const struct device *dev, const struct sae_weights *sae, struct tensor products,
	struct gates gates, uint32_t *marks, int32_t *lengths)
{
	const size_t n = products.rows, n_feature = products.cols, n_words = mark_words(n_feature);
	const int width = min(pack_width(products, n_feature),
		min(pack_width(sae->b_enc, n_feature), pack_width(sae->threshold, n_feature)));

	WITH_PACK(width, V,
		GPU_LAUNCH(marks_kernel<V>,
			dim3(blocks_for(n, MARK_ROWS), blocks_for(n_words, N_WARPS * WARP_WORDS)),
			BLOCK, 0, cuda_stream(dev), floats(products), n, n_feature, gates, marks,
			n_words, lengths));
}

/* One row per block. */
static __global__ void __launch_bounds__(MOST_ENTRY_THREADS) prune_kernel(const float *margins,
	size_t n_feature, struct gates gates, uint32_t *marks, size_t n_words, int32_t *lengths)
{
	__shared__ int partial[WARP];
	const size_t row = blockIdx.x;
	int count = 0, total;

	for (size_t word = 4 * threadIdx.x; word < n_words; word += 4 * blockDim.x) {
		uint4 *const place = (uint4 *)(marks + row * n_words + word);
		const uint4 four = *place;
		uint32_t bits[4] = {four.x, four.y, four.z, four.w}, dropped = 0;

#pragma unroll
		for (int w = 0; w < 4; w++) {
			uint32_t idle = 0;

			for (uint32_t b = bits[w]; b != 0; b &= b - 1) {
				const size_t feature = (word + w) * 32 +
						       (size_t)(__ffs((int)b) - 1);

				if (feature >= n_feature ||
					!is_active(gates, feature,
						margins[row * n_feature + feature]))
					idle |= b & -b;
			}
			bits[w] &= ~idle;
			dropped |= idle;
			count += __popc(bits[w]);
		}
		if (dropped != 0)
			*place = make_uint4(bits[0], bits[1], bits[2], bits[3]);
	}
	block_sum_before(count, partial, &total);
	if (threadIdx.x == 0)
		lengths[row] = total;
}

void sae_prune(const struct device *dev, struct tensor margins, struct gates gates, uint32_t *marks,
	int32_t *lengths)
{
	const size_t n_words = mark_words(margins.cols);

	GPU_LAUNCH(prune_kernel, (unsigned)margins.rows, threads_for(n_words, MOST_ENTRY_THREADS),
		0, cuda_stream(dev), floats(margins), margins.cols, gates, marks, n_words, lengths);
}

/* ---- entries --------------------------------------------------------------------------- */

/* The entries of one row per block: all indices first, then their values side by side. */
static __global__ void __launch_bounds__(MOST_ENTRY_THREADS) entries_kernel(const float *products,
	size_t n_feature, struct gates gates, const uint32_t *marks, size_t n_words,
	const int32_t *indptr, size_t capacity, int32_t *indices, float *values)
{
	__shared__ int partial[WARP];
	const size_t row = blockIdx.x;
	const size_t row_end = (size_t)indptr[row + 1];
	const size_t end = row_end < capacity ? row_end : capacity;
	const float factor = row_factor(gates, row);
	size_t start = (size_t)indptr[row];

	for (size_t first = 0; first < n_words; first += 4 * blockDim.x) {
		const size_t word = first + 4 * threadIdx.x;
		const uint4 four = word < n_words ? *(const uint4 *)(marks + row * n_words + word)
						  : make_uint4(0, 0, 0, 0);
		const uint32_t bits[4] = {four.x, four.y, four.z, four.w};
		int count = 0, total;
		size_t place;

#pragma unroll
		for (int w = 0; w < 4; w++)
			count += __popc(bits[w]);
		place = start + (size_t)block_sum_before(count, partial, &total);
#pragma unroll
		for (int w = 0; w < 4; w++)
			for (uint32_t b = bits[w]; b != 0; b &= b - 1, place++)
				if (place < capacity)
					indices[place] = (int32_t)((word + w) * 32) +
							 __ffs((int)b) - 1;
		start += (size_t)total;
	}
	__syncthreads();
	for (size_t e = (size_t)indptr[row] + threadIdx.x; e < end; e += blockDim.x) {
		const size_t feature = (size_t)indices[e];

		values[e] = gate(gates, feature, products[row * n_feature + feature], factor);
	}
}

void sae_entries(const struct device *dev, struct tensor products, struct gates gates,
	const uint32_t *marks, const int32_t *indptr, const struct csr *out)
{
	const size_t n_words = mark_words(products.cols);

	GPU_LAUNCH(entries_kernel, (unsigned)products.rows,
		threads_for(n_words, MOST_ENTRY_THREADS), 0, cuda_stream(dev), floats(products),
		products.cols, gates, marks, n_words, indptr, out->capacity, out->indices,
		floats(out->values));
}
