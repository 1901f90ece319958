/* SPDX-License-Identifier: MIT
 *
 * sae_top_k.cu - keeps the marks of the top_k largest features of every group. Contract: sae.cuh.
 * Definition: kernels/ref/sae.c.
 *
 * Active features are positive, so their bits as integers order them. One block per row takes its
 * groups in turn and finds the k-th largest by three passes over the marked features, highest bits
 * first: a histogram of the next 11 (then 11, then 10) bits among those that agree so far, and the
 * bin in which the k-th lies; the next pass takes the marks away from what lies lower. Of those
 * equal to the k-th the lowest are kept: where there are too many, which distinct values never
 * have, one warp walks the marks in order.
 *
 * Two passes read every product that is positive, the others hardly any: with biases and thresholds
 * 24 bytes a feature, of which 8 are not in the second-level cache. By argument 1.5 to 2 ms for
 * 8192 rows of 65536 features, half as long as their products. Share of the limit: not yet
 * measured. A warp has one word of marks at a time and a lane one feature, so products are read in
 * order. Histograms count with integer atomics: deterministic, and so is all else.
 */
#include "kernels/cuda/csr.cuh"
#include "kernels/cuda/sae.cuh"

enum { BLOCK = 256, N_WARPS = BLOCK / WARP, BINS = 2048, BINS_PER_THREAD = BINS / BLOCK };

/* One group of one row. */
struct group {
	struct gates gates;
	float factor;
	const float *products; /* of the row */
	uint32_t *marks;       /* of the row */
	size_t first, end;     /* features */
};

/* A word of marks. Lane 0 alone reads and writes it, so that lanes need not be ordered. */
static __device__ __forceinline__ uint32_t marks_of(struct group g, size_t word)
{
	const uint32_t marks = threadIdx.x % WARP == 0 ? g.marks[word] : 0;

	return __shfl_sync(ALL_LANES, marks, 0);
}

/* The bits of this lane's feature in a word of marks; 0 where it is not marked, or in another
 * group. */
static __device__ __forceinline__ uint32_t bits_of(struct group g, size_t word)
{
	const size_t feature = word * 32 + threadIdx.x % WARP;
	const uint32_t marks = marks_of(g, word);

	if (feature < g.first || feature >= g.end || !(marks >> threadIdx.x % WARP & 1))
		return 0;
	return __float_as_uint(gate(g.gates, feature, g.products[feature], g.factor));
}

/* Takes the marks of a word's features away for which `drop` is set. A whole warp, the only one
 * that looks at this word until the next barrier. */
static __device__ __forceinline__ void drop_marks(struct group g, size_t word, bool drop)
{
	const uint32_t dropped = __ballot_sync(ALL_LANES, drop);

	if (threadIdx.x % WARP == 0 && dropped != 0)
		g.marks[word] &= ~dropped;
}

/* The bin of the k-th largest among those counted; *above: how many lie in higher bins. The result
 * passes through `found`, two ints of shared memory. */
static __device__ __forceinline__ int find_bin(const int *count, int k, int *partial, int *found,
	int *above)
{
	/* Thread t has the t-th bins from above. */
	const int top = BINS - 1 - (int)threadIdx.x * BINS_PER_THREAD;
	int mine = 0, before, total;

	for (int i = 0; i < BINS_PER_THREAD; i++)
		mine += count[top - i];
	before = block_sum_before(mine, partial, &total);
	if (before < k && before + mine >= k) {
		int bin = top;

		while (before + count[bin] < k)
			before += count[bin--];
		found[0] = bin;
		found[1] = before;
	}
	__syncthreads();
	*above = found[1];
	return found[0];
}

/* Of the equal ones only the first n_kept stay. One warp. */
static __device__ __forceinline__ void drop_last_equal(struct group g, uint32_t cut, int n_kept)
{
	const int lane = (int)threadIdx.x % WARP;

	for (size_t word = g.first / 32; word * 32 < g.end; word++) {
		const uint32_t equal = __ballot_sync(ALL_LANES, bits_of(g, word) == cut);
		const int before = __popc(equal & ((1u << lane) - 1));

		drop_marks(g, word, (equal >> lane & 1) && before >= n_kept);
		n_kept = max(0, n_kept - __popc(equal));
	}
}

static __device__ __forceinline__ void cut_group(struct group g, int k, int *count, int *partial,
	int *found)
{
	const size_t first_word = g.first / 32 + threadIdx.x / WARP;
	uint32_t cut = 0; /* bits of the k-th largest, as far as they are known */
	int bin = 0, n_equal;

	for (int pass = 0; pass < 3; pass++) {
		/* Bits from `known` up are those of the k-th largest, this pass is on `shift` up.
		 */
		const int known = pass == 0 ? 32 : pass == 1 ? 21 : 10;
		const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
		int total, above;

		for (int i = (int)threadIdx.x; i < BINS; i += BLOCK)
			count[i] = 0;
		__syncthreads();
		for (size_t word = first_word; word * 32 < g.end; word += N_WARPS) {
			const uint32_t bits = bits_of(g, word);
			const bool smaller = pass > 0 && bits >> known < cut >> known;

			drop_marks(g, word, bits != 0 && smaller);
			if (bits != 0 && (pass == 0 || bits >> known == cut >> known))
				atomicAdd(&count[bits >> shift & ((1u << (known - shift)) - 1)], 1);
		}
		__syncthreads();
		if (pass == 0) {
			int mine = 0;

			for (int i = 0; i < BINS_PER_THREAD; i++)
				mine += count[(int)threadIdx.x * BINS_PER_THREAD + i];
			block_sum_before(mine, partial, &total);
			if (total <= k) /* the same for all threads */
				return;
		}
		bin = find_bin(count, k, partial, found, &above);
		cut |= (uint32_t)bin << shift;
		k -= above;
	}
	n_equal = count[bin];
	for (size_t word = first_word; word * 32 < g.end; word += N_WARPS) {
		const uint32_t bits = bits_of(g, word);

		drop_marks(g, word, bits != 0 && bits < cut);
	}
	__syncthreads();
	if (n_equal > k && threadIdx.x < WARP)
		drop_last_equal(g, cut, k);
}

/* How many marks the row has, for all threads. */
static __device__ __forceinline__ int count_marks(const uint32_t *marks, size_t n_words,
	int *partial)
{
	int count = 0, total;

	for (size_t word = threadIdx.x; word < n_words; word += BLOCK)
		count += __popc(marks[word]);
	block_sum_before(count, partial, &total);
	return total;
}

static __global__ void __launch_bounds__(BLOCK)
	cut_kernel(struct gates gates, const float *products, uint32_t *marks, size_t n_feature,
		size_t n_words, int top_k, size_t group_width, int32_t *lengths)
{
	__shared__ int count[BINS], partial[WARP], found[2];
	const size_t row = blockIdx.x;
	struct group g = {gates, row_factor(gates, row), products + row * n_feature,
		marks + row * n_words, 0, 0};
	int length;

	/* The next group may begin in the same word: the barrier behind the clearing of its
	 * histogram lies between. */
	for (g.first = 0; g.first < n_feature; g.first = g.end) {
		g.end = g.first + group_width < n_feature ? g.first + group_width : n_feature;
		cut_group(g, top_k, count, partial, found);
	}
	__syncthreads(); /* other warps' marks have gone */
	length = count_marks(g.marks, n_words, partial);
	if (threadIdx.x == 0)
		lengths[row] = length;
}

void sae_keep_largest(const struct device *dev, const struct sae_weights *sae, size_t n,
	struct gates gates, const float *products, uint32_t *marks, int32_t *lengths)
{
	const size_t n_feature = sae->W_enc_t.rows;
	const size_t width = sae->group_width < n_feature ? sae->group_width : n_feature;

	if (sae->top_k < width) /* else every group keeps all it has */
		GPU_LAUNCH(cut_kernel, (unsigned)n, BLOCK, 0, cuda_stream(dev), gates, products,
			marks, n_feature, mark_words(n_feature), (int)sae->top_k, width, lengths);
}
