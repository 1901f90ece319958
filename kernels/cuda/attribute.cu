/* SPDX-License-Identifier: MIT
 *
 * attribute.cu - indirect effects on the sparse support of two encodings. Contract: ops.h.
 * Definition: kernels/ref/attribute.c.
 *
 *   IE_i[t] = (f_patch,i[t] - f_clean,i[t]) s[t] <W_dec[i], g[t]>
 *
 * The difference merges two ascending lists per row. In their union feature i comes after the
 * entries of both lists below it, less those that both have:
 *
 *   place(i) = #{a < i} + #{b < i} - #{common < i}
 *
 * One of the first two is the entry's own index, the other a binary search, and the third a
 * running sum over the list; so each entry finds its place alone. One block per row, one thread
 * per entry; two launches (lengths, entries) with the row starts between them.
 *
 * The product is sampled on the support, token-major: one block per row and one warp per entry,
 * lanes along d_model; g[t] stays in the first-level cache while its features are read. k entries
 * a row move k d_model bytes of W_dec times its width and cost 2 k d_model operations, where the
 * dense product costs 2 d_sae d_model: at k = 150 of 65536 features, 8192 rows and d_model 2304 in
 * bfloat16, 5.7 GB mostly from the second-level cache, 1.0 to 1.3 ms, against 3.1 ms. Share of
 * the limit: not yet measured.
 *
 * Deterministic: places follow from the lists, each product is one warp's sum in a fixed order.
 */
#include "kernels/cuda/csr.cuh"

enum { MERGE_BLOCK = 128, PRODUCT_BLOCK = 256 };

/* One row of a list. */
struct list {
	const int32_t *index;
	const float *value;
	int n;
};

/* The arrays of a csr, as kernels take them. */
struct lists {
	const int32_t *indptr, *indices;
	const float *values;
};

static struct lists lists_of(const struct csr *f)
{
	return (struct lists){f->indptr, f->indices, floats(f->values)};
}

static __device__ __forceinline__ struct list row_of(struct lists f, size_t row)
{
	const int32_t start = f.indptr[row];

	return (struct list){f.indices + start, f.values + start, f.indptr[row + 1] - start};
}

/* How many entries of the list are below `feature`. */
static __device__ __forceinline__ int entries_below(struct list list, int32_t feature)
{
	int low = 0, high = list.n;

	while (low < high) {
		const int middle = (low + high) / 2;

		if (list.index[middle] < feature)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static __global__ void __launch_bounds__(MERGE_BLOCK)
	lengths_kernel(struct lists f, struct lists g, int32_t *indptr)
{
	__shared__ int partial[WARP];
	const size_t row = blockIdx.x;
	const struct list a = row_of(f, row), b = row_of(g, row);
	int common = 0, total;

	for (int i = (int)threadIdx.x; i < a.n; i += MERGE_BLOCK) {
		const int below = entries_below(b, a.index[i]);

		common += below < b.n && b.index[below] == a.index[i];
	}
	block_sum_before(common, partial, &total);
	if (threadIdx.x == 0) {
		indptr[row + 1] = a.n + b.n - total;
		if (row == 0)
			indptr[0] = 0;
	}
}

/* Places the entries of `own` among those of `other`; `sign` is that of own's values. Entries that
 * both have are written by the list whose `writes_common` is set. */
static __device__ __forceinline__ void place_entries(struct list own, struct list other, float sign,
	bool writes_common, size_t start, int *partial, size_t capacity, int32_t *indices,
	float *values)
{
	int carried = 0;

	for (int first = 0; first < own.n; first += MERGE_BLOCK) {
		const int i = first + (int)threadIdx.x;
		const bool here = i < own.n;
		const int32_t feature = here ? own.index[i] : 0;
		const int below = here ? entries_below(other, feature) : 0;
		const bool common = here && below < other.n && other.index[below] == feature;
		int total;
		const int common_before = carried + block_sum_before(common, partial, &total);
		const size_t place = start + (size_t)(i + below - common_before);

		if (here && (writes_common || !common) && place < capacity) {
			indices[place] = feature;
			values[place] = sign * own.value[i] -
					(common ? sign * other.value[below] : 0.0f);
		}
		carried += total;
	}
}

static __global__ void __launch_bounds__(MERGE_BLOCK) difference_kernel(struct lists f,
	struct lists g, const int32_t *indptr, size_t capacity, int32_t *indices, float *values)
{
	__shared__ int partial[WARP];
	const size_t row = blockIdx.x;
	const struct list a = row_of(f, row), b = row_of(g, row);
	const size_t start = (size_t)indptr[row];

	place_entries(a, b, -1, false, start, partial, capacity, indices, values);
	place_entries(b, a, 1, true, start, partial, capacity, indices, values);
}

int cuda_csr_difference(struct device *dev, const struct csr *a, const struct csr *b,
	struct csr *out, struct err *err)
{
	const struct lists f = lists_of(a), g = lists_of(b);
	const unsigned n = (unsigned)a->n_rows;

	if (n == 0) {
		TRY(cuda_check(cudaMemsetAsync(out->indptr, 0, sizeof *out->indptr,
				       cuda_stream(dev)),
			"op csr_difference", "cudaMemsetAsync", err));
		return cuda_launched(dev, "op csr_difference", err);
	}
	GPU_LAUNCH(lengths_kernel, n, MERGE_BLOCK, 0, cuda_stream(dev), f, g, out->indptr);
	csr_lengths_to_ends(dev, out->indptr, n);
	GPU_LAUNCH(difference_kernel, n, MERGE_BLOCK, 0, cuda_stream(dev), f, g, out->indptr,
		out->capacity, out->indices, floats(out->values));
	return cuda_launched(dev, "op csr_difference", err);
fail:
	return err->code;
}

/* ---- products on the support ------------------------------------------------------------ */

template <typename T>
static __global__ void __launch_bounds__(PRODUCT_BLOCK)
	attribute_kernel(const T *W_dec, const float *g, const float *scale, size_t d,
		const int32_t *indptr, const int32_t *indices, float *values)
{
	const size_t row = blockIdx.x;
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int32_t end = indptr[row + 1];
	const float s = scale ? scale[row] : 1;

	for (int32_t e = indptr[row] + warp; e < end; e += PRODUCT_BLOCK / WARP) {
		const float sum = warp_dot(g + row * d, W_dec + (size_t)indices[e] * d, d);

		if (lane == 0)
			values[e] *= s * sum;
	}
}

int cuda_csr_attribute(struct device *dev, struct tensor W_dec, struct tensor g,
	struct tensor scale, struct csr *f, struct err *err)
{
	if (g.rows > 0)
		GPU_WITH_TYPE(W_dec.dtype, T,
			GPU_LAUNCH(attribute_kernel<T>, (unsigned)g.rows, PRODUCT_BLOCK, 0,
				cuda_stream(dev), (const T *)W_dec.data, floats(g), floats(scale),
				g.cols, f->indptr, f->indices, floats(f->values)));
	return cuda_launched(dev, "op csr_attribute", err);
}
