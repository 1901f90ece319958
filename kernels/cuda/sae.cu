/* SPDX-License-Identifier: MIT
 *
 * sae.cu - encoding by a sparse autoencoder, all features or a few, decoding, and the cosine of
 * decoder rows with a direction. Contract: ops.h. Definition: kernels/ref/sae.c.
 *
 *   f_i = gate(W_enc_t[i] . x + b_enc_i),    x_hat = sum_i f_i W_dec[i] + b_dec
 *
 * Encoding all features takes some rows at a time, so that their products fit the device's bound
 * for scratch (1024 rows of 65536 features in 256 MiB), in four steps:
 *
 *   products   cuBLASLt into scratch                                 2 n d_sae d_model operations
 *   marks      one bit per active feature, and the length of rows    4 n d_sae bytes read
 *   row ends   one block (csr.cu)
 *   entries    the marked features of a row, ascending               n d_sae / 8 bytes read
 *
 * Few rows of a bfloat16 encoder (decoding) take products and marks in one pass over the encoder
 * instead, sae_stream.cu. By argument, 8192 rows of Gemma Scope's 65536 features in bfloat16:
 * products 3.1 ms at 794 TFLOP/s, marks 0.64 ms at 3.35 TB/s (H100) or 0.45 (H200): 83 to 87 % of
 * the library's rate. In float32, 2.47 TFLOP at 60 TFLOP/s are 41 ms and the rest does not count.
 * Share of the limit: not yet measured.
 *
 * Marks: a block has MARK_ROWS rows, so that biases and thresholds are read once for all of them;
 * a warp has 32 words, of which each lane keeps one. Entries: one block per row, one thread per
 * word of marks, places by a sum over the block. Decoding: one thread per 4 columns of one row,
 * entries in order. Cosines: one warp per row.
 *
 * Deterministic: every place follows from the marks, every sum has one owner and one order.
 */
#include "kernels/cuda/sae.cuh"

#include "kernels/cuda/csr.cuh"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/pack.cuh"

enum { BLOCK = 256, N_WARPS = BLOCK / WARP, MARK_ROWS = 4 };

/* ---- marks ------------------------------------------------------------------------------ */

/* Marks of up to MARK_ROWS rows; their lengths go to indptr[row + 1]. */
static __global__ void __launch_bounds__(BLOCK) marks_kernel(const float *products, size_t n_rows,
	size_t n_feature, struct gates gates, uint32_t *marks, size_t n_words, int32_t *indptr)
{
	__shared__ int partial[WARP];
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const size_t first_row = (size_t)blockIdx.x * MARK_ROWS;
	int length[MARK_ROWS] = {0};

	for (size_t word = (size_t)warp * WARP; word < n_words; word += N_WARPS * WARP) {
		uint32_t mine[MARK_ROWS] = {0};

		for (int w = 0; w < WARP; w++) {
			const size_t feature = (word + (size_t)w) * 32 + (size_t)lane;

#pragma unroll
			for (int r = 0; r < MARK_ROWS; r++) {
				const bool here = first_row + r < n_rows && feature < n_feature;
				const bool on =
					here &&
					gate(gates, feature,
						products[(first_row + r) * n_feature + feature]) !=
						0;
				const uint32_t bits = __ballot_sync(ALL_LANES, on);

				mine[r] = lane == w ? bits : mine[r];
			}
		}
#pragma unroll
		for (int r = 0; r < MARK_ROWS; r++) {
			if (first_row + r < n_rows && word + (size_t)lane < n_words)
				marks[(first_row + r) * n_words + word + (size_t)lane] = mine[r];
			length[r] += __popc(mine[r]);
		}
	}
#pragma unroll
	for (int r = 0; r < MARK_ROWS; r++) {
		int total;

		block_sum_before(length[r], partial, &total);
		if (threadIdx.x == 0 && first_row + r < n_rows)
			indptr[first_row + r + 1] = total;
	}
}

/* The lengths alone, of marks that are there. */
static __global__ void __launch_bounds__(BLOCK)
	lengths_kernel(const uint32_t *marks, size_t n_words, int32_t *indptr)
{
	__shared__ int partial[WARP];
	const uint32_t *row = marks + (size_t)blockIdx.x * n_words;
	int length = 0, total;

	for (size_t word = threadIdx.x; word < n_words; word += BLOCK)
		length += __popc(row[word]);
	block_sum_before(length, partial, &total);
	if (threadIdx.x == 0)
		indptr[(size_t)blockIdx.x + 1] = total;
}

/* The entries of one row per block. */
static __global__ void __launch_bounds__(BLOCK) entries_kernel(const float *products,
	size_t n_feature, struct gates gates, const uint32_t *marks, size_t n_words,
	const int32_t *indptr, size_t capacity, int32_t *indices, float *values)
{
	__shared__ int partial[WARP];
	const size_t row = blockIdx.x;
	size_t start = (size_t)indptr[row];

	for (size_t first = 0; first < n_words; first += BLOCK) {
		const size_t word = first + threadIdx.x;
		uint32_t bits = word < n_words ? marks[row * n_words + word] : 0;
		int total;
		size_t place = start + (size_t)block_sum_before(__popc(bits), partial, &total);

		for (; bits != 0; bits &= bits - 1, place++) {
			const size_t feature = word * 32 + (size_t)(__ffs((int)bits) - 1);

			if (place >= capacity)
				continue;
			indices[place] = (int32_t)feature;
			values[place] = gate(gates, feature, products[row * n_feature + feature]);
		}
		start += (size_t)total;
	}
}

/* ---- encoding --------------------------------------------------------------------------- */

static struct gates gates_of(const struct sae_weights *sae)
{
	return (struct gates){floats(sae->b_enc), floats(sae->threshold)};
}

/* The scratch of a block of rows: `convert` bytes for x or W_enc_t in another type, then the
 * products and the marks. */
struct encoding {
	size_t rows, n_words, convert_bytes;
	char *scratch;
};

static float *products_of(const struct encoding *e)
{
	return (float *)(e->scratch + e->convert_bytes);
}

static int encode_rows(struct device *dev, const struct sae_weights *sae, const struct encoding *e,
	struct tensor x, struct csr *out, int32_t *indptr, struct err *err)
{
	const size_t n = x.rows, n_feature = sae->W_enc_t.rows, n_words = e->n_words;
	const cudaStream_t stream = cuda_stream(dev);
	const struct gates gates = gates_of(sae);
	float *products = products_of(e);
	uint32_t *marks = (uint32_t *)(products + e->rows * n_feature);

	if (sae_can_stream(dev, n, sae->W_enc_t)) {
		linear_round(dev, x, sae->W_enc_t.dtype, e->scratch);
		TRY(sae_stream(dev, e->scratch, n, sae, products, marks, err));
		GPU_LAUNCH(lengths_kernel, (unsigned)n, BLOCK, 0, stream, marks, n_words, indptr);
	} else {
		const struct tensor y = {products, DTYPE_F32, n, n_feature};
		const struct tensor none = {};

		TRY(linear_multiply(dev, x, sae->W_enc_t, none, y, e->scratch, err));
		GPU_LAUNCH(marks_kernel, blocks_for(n, MARK_ROWS), BLOCK, 0, stream, products, n,
			n_feature, gates, marks, n_words, indptr);
	}
	csr_lengths_to_ends(dev, indptr, n);
	GPU_LAUNCH(entries_kernel, (unsigned)n, BLOCK, 0, stream, products, n_feature, gates, marks,
		n_words, indptr, out->capacity, out->indices, floats(out->values));
	return 0;
fail:
	return err->code;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

int cuda_sae_encode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	const size_t n_feature = sae->W_enc_t.rows, row_bytes = n_feature * sizeof(float);
	const size_t most = (size_t)CUDA_BLOCK_BYTES / larger(row_bytes, 1);
	struct encoding e = {x.rows, mark_words(n_feature), 0, NULL};
	void *scratch;

	TRY(cuda_check(cudaMemsetAsync(out->indptr, 0, (x.rows + 1) * sizeof *out->indptr,
			       cuda_stream(dev)),
		"sae_encode", "cudaMemsetAsync", err));
	if (x.rows == 0 || n_feature == 0)
		return cuda_launched(dev, "sae_encode", err);
	if (e.rows > most)
		e.rows = larger(most, 1);
	e.convert_bytes = larger(linear_scratch_bytes(dev, e.rows, sae->W_enc_t),
		(e.rows * x.cols * sizeof(uint16_t) + 255) / 256 * 256);
	TRY(cuda_scratch(dev, e.convert_bytes + e.rows * (row_bytes + e.n_words * sizeof(uint32_t)),
		&scratch, err));
	e.scratch = (char *)scratch;
	for (size_t i = 0; i < x.rows; i += e.rows) {
		const size_t n = x.rows - i < e.rows ? x.rows - i : e.rows;

		TRY(encode_rows(dev, sae, &e, tensor_rows(x, i, n), out, out->indptr + i, err));
	}
	return cuda_launched(dev, "sae_encode", err);
fail:
	return err->code;
}

/* f [n, n_feature] from products to activations, in place. */
static __global__ void __launch_bounds__(BLOCK)
	gate_kernel(float *f, size_t count, size_t n_feature, struct gates gates)
{
	const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;

	if (i < count)
		f[i] = gate(gates, i % n_feature, f[i]);
}

int cuda_sae_encode_selected(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	const struct tensor none = {};
	void *scratch;

	if (tensor_count(f) == 0)
		return 0;
	TRY(cuda_scratch(dev, linear_scratch_bytes(dev, x.rows, sae->W_enc_t), &scratch, err));
	TRY(linear_multiply(dev, x, sae->W_enc_t, none, f, scratch, err));
	GPU_LAUNCH(gate_kernel, blocks_for(tensor_count(f), BLOCK), BLOCK, 0, cuda_stream(dev),
		floats(f), tensor_count(f), f.cols, gates_of(sae));
	return cuda_launched(dev, "sae_encode_selected", err);
fail:
	return err->code;
}

/* ---- decoding --------------------------------------------------------------------------- */

/* Block (row, part): BLOCK * V columns of one row. */
template <typename T, int V>
static __global__ void __launch_bounds__(BLOCK) decode_kernel(const T *W_dec, const float *b_dec,
	const int32_t *indptr, const int32_t *indices, const float *values, size_t d, float *x_hat)
{
	const size_t row = blockIdx.x;
	const size_t column = ((size_t)blockIdx.y * BLOCK + threadIdx.x) * V;
	const int32_t end = indptr[row + 1];
	struct pack<float, V> sum;

	if (column >= d)
		return;
	load_pack<V>(b_dec + column, sum.element);
	for (int32_t e = indptr[row]; e < end; e++) {
		const float f = values[e];
		float w[V];

		load_pack<V>(W_dec + (size_t)indices[e] * d + column, w);
#pragma unroll
		for (int i = 0; i < V; i++)
			sum.element[i] += f * w[i];
	}
	*(struct pack<float, V> *)(x_hat + row * d + column) = sum;
}

int cuda_sae_decode(struct device *dev, const struct sae_weights *sae, const struct csr *f,
	struct tensor x_hat, struct err *err)
{
	const size_t d = x_hat.cols;
	const int width = min(
		pack_width(sae->W_dec, d), min(pack_width(sae->b_dec, d), pack_width(x_hat, d)));

	if (tensor_count(x_hat) > 0)
		GPU_WITH_TYPE(sae->W_dec.dtype, T,
			WITH_PACK(width, V,
				GPU_LAUNCH((decode_kernel<T, V>),
					dim3((unsigned)x_hat.rows, blocks_for(d, BLOCK * V)), BLOCK,
					0, cuda_stream(dev), (const T *)sae->W_dec.data,
					floats(sae->b_dec), f->indptr, f->indices,
					floats(f->values), d, floats(x_hat))));
	return cuda_launched(dev, "sae_decode", err);
}

/* ---- cosines ---------------------------------------------------------------------------- */

template <typename T, int V>
static __global__ void __launch_bounds__(BLOCK)
	cosine_kernel(const T *W, const float *v, size_t n_rows, size_t d, float *out)
{
	const size_t row = (size_t)blockIdx.x * N_WARPS + threadIdx.x / WARP;
	const int lane = (int)threadIdx.x % WARP;
	float along = 0, norm_w = 0, norm_v = 0;

	if (row >= n_rows)
		return;
	for (size_t j = (size_t)lane * V; j < d; j += WARP * V) {
		float a[V], b[V];

		load_pack<V>(W + row * d + j, a);
		load_pack<V>(v + j, b);
#pragma unroll
		for (int i = 0; i < V; i++) {
			along += a[i] * b[i];
			norm_w += a[i] * a[i];
			norm_v += b[i] * b[i];
		}
	}
	along = warp_sum(along);
	norm_w = sqrtf(warp_sum(norm_w));
	norm_v = sqrtf(warp_sum(norm_v));
	if (lane == 0)
		out[row] = norm_w > 0 && norm_v > 0 ? along / norm_w / norm_v : 0;
}

int cuda_row_cosine(
	struct device *dev, struct tensor W, struct tensor v, struct tensor out, struct err *err)
{
	const int width = min(pack_width(W, W.cols), pack_width(v, W.cols));

	if (W.rows > 0)
		GPU_WITH_TYPE(W.dtype, T,
			WITH_PACK(width, V,
				GPU_LAUNCH((cosine_kernel<T, V>), blocks_for(W.rows, N_WARPS),
					BLOCK, 0, cuda_stream(dev), (const T *)W.data, floats(v),
					W.rows, W.cols, floats(out))));
	return cuda_launched(dev, "row_cosine", err);
}
