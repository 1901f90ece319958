/* SPDX-License-Identifier: MIT
 *
 * sae.cu - encoding by a sparse autoencoder, all features or a few, decoding, and the cosine of
 * decoder rows with a direction. Contract: ops.h. Definition: kernels/ref/sae.c.
 *
 *   f_i = gate(W_enc_t[i] . u + b_enc_i),    x_hat = s (sum_i f_i W_dec[i] + b_dec) + m
 *
 * Encoding all features takes some rows at a time, so that their products fit the device's bound
 * for scratch (of 65536 features 4096 rows in a GiB, 1024 in the least block), in steps:
 *
 *   products   cuBLASLt into scratch                        2 n d_sae d_model operations
 *   marks      one bit per active feature (sae_marks.cu):
 *              of the library's own mask                    n d_sae / 8 bytes read
 *              or of products                               4 n d_sae
 *   top k      sae_top_k.cu, where there is one             16 n d_sae
 *   row ends   one block adds lengths (csr.cu)              8 n
 *   entries    the marked features of a row (sae_marks.cu)  n d_sae / 8
 *
 * A raw input needs nothing done to its products but a bias: the library adds that, less the
 * threshold, to what it has in registers and says by a mask what is positive (gemm.h), where it
 * does so rightly for the shape. Few rows of a bfloat16 encoder (decoding) take products and marks
 * in one pass over the encoder instead, sae_stream.cu.
 *
 * By argument, 8192 rows of Gemma Scope's 65536 features in bfloat16: products 3.1 ms at 794
 * TFLOP/s; the mask, of 64 MiB, is read twice and 100 features a row are fetched twice, of 32 bytes
 * each: 0.2 GB, 0.06 ms at 3.35 TB/s (H100) or 0.04 at 4.8 (H200); rounding x 0.03. That leaves 97
 * % of the library's rate, less what a mask costs the product itself and the starts and ends of
 * five kernels in each of two blocks. Marks from products instead take 0.64 ms or 0.45. In
 * float32, 2.47 TFLOP at 60 TFLOP/s are 41 ms and the rest does not count.
 * Blocks small enough for their products to stay in the second-level cache would cost more: of 17
 * MB each, beside as much of the encoder, they fill one wave of tiles, and every wave's start and
 * end is then bare.
 * Share of the limit: not yet measured.
 *
 * Decoding: one thread per 4 columns of one row, entries in order. Selecting: one thread per row
 * and feature, by binary search. Cosines: one warp per row.
 *
 * Deterministic: every place follows from the marks, every sum has one owner and one order.
 */
#include "kernels/cuda/sae.cuh"

#include "kernels/cuda/convert.h"
#include "kernels/cuda/csr.cuh"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/pack.cuh"

enum { BLOCK = 256, N_WARPS = BLOCK / WARP };

/* ---- encoding --------------------------------------------------------------------------- */

/* A block of rows and its scratch: what the input does to them, x less its mean, x or W_enc_t in
 * another type, products, marks; and for all blocks the biases that the library adds, and as much
 * memory for its first time. Parts that an encoding lacks are empty. */
struct encoding {
	size_t rows;
	bool masked; /* the library is asked for marks */
	size_t input_at, centered_at, convert_at, products_at, marks_at, bias_at, spare_at, bytes;
	char *scratch;
};

static size_t aligned(size_t bytes)
{
	return (bytes + 255) / 256 * 256;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Rows of `row_bytes` of scratch at a time. */
static struct encoding encoding_of(const struct device *dev, const struct sae_weights *sae,
	size_t n_rows, size_t row_bytes)
{
	const size_t most = larger(cuda_state_of(dev)->block_bytes / larger(row_bytes, 1), 1);
	const size_t d = sae->W_enc_t.cols;
	struct encoding e = {};

	e.rows = n_rows < most ? n_rows : most;
	e.centered_at = sae->input == SAE_INPUT_RAW ? 0
						    : aligned(e.rows * sizeof(struct row_input));
	e.convert_at = e.centered_at + (sae->input == SAE_INPUT_STANDARDIZED
						       ? aligned(e.rows * d * sizeof(float))
						       : 0);
	e.products_at = e.convert_at + larger(linear_scratch_bytes(dev, e.rows, sae->W_enc_t),
					       sae_can_stream(dev, e.rows, sae->W_enc_t)
						       ? aligned(e.rows * d * 2)
						       : 0);
	e.marks_at = e.products_at + aligned(e.rows * sae->W_enc_t.rows * sizeof(float));
	e.bias_at = e.marks_at + aligned(e.rows * mark_words(sae->W_enc_t.rows) * sizeof(uint32_t));
	e.masked = sae->input == SAE_INPUT_RAW && !sae_can_stream(dev, e.rows, sae->W_enc_t) &&
		   linear_is_one_product(dev, e.rows, sae->W_enc_t);
	e.spare_at = e.bias_at + (e.masked ? aligned(sae->W_enc_t.rows * sizeof(float)) : 0);
	e.bytes = e.spare_at + (e.masked ? aligned(sae->W_enc_t.rows * sizeof(float)) : 0);
	return e;
}

static __global__ void __launch_bounds__(BLOCK)
	bias_kernel(struct gates gates, size_t n_feature, float *bias)
{
	const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;

	if (i < n_feature)
		bias[i] = joined_bias(gates.b_enc[i], gates.threshold[i]);
}

/* Prepares the input of some rows: returns what products are to be taken with. */
static struct tensor prepare_input(const struct device *dev, const struct sae_weights *sae,
	const struct encoding *e, struct tensor x, struct gates *gates)
{
	struct row_input *input = (struct row_input *)(e->scratch + e->input_at);

	*gates = gates_of(sae, sae->input == SAE_INPUT_RAW ? NULL : input);
	if (sae->input == SAE_INPUT_RAW)
		return x;
	sae_rows_input(dev, sae->input, x, input);
	if (sae->input == SAE_INPUT_STANDARDIZED) {
		sae_center(dev, x, input, (float *)(e->scratch + e->centered_at));
		x.data = e->scratch + e->centered_at;
	}
	return x;
}

/* Of as many rows of x as there are lengths, prepared; gates->margins is set. */
static int multiply_and_mark(struct device *dev, const struct sae_weights *sae,
	const struct encoding *e, struct tensor x, struct tensor y, struct gates *gates,
	uint32_t *marks, int32_t *lengths, struct err *err)
{
	const struct tensor none = {};
	void *convert = e->scratch + e->convert_at;

	if (sae_can_stream(dev, x.rows, sae->W_enc_t)) {
		convert_round(dev, x, sae->W_enc_t.dtype, convert);
		return sae_stream(dev, convert, x.rows, sae->W_enc_t, *gates, floats(y), marks,
			lengths, err);
	}
	if (e->masked)
		TRY(linear_multiply_masked(dev, x, sae->W_enc_t,
			(const float *)(e->scratch + e->bias_at),
			(float *)(e->scratch + e->spare_at), y, marks, convert, &gates->margins,
			err));
	else
		TRY(linear_multiply(dev, x, sae->W_enc_t, none, y, convert, err));
	if (gates->margins)
		sae_prune(dev, y, *gates, marks, lengths);
	else
		sae_mark(dev, sae, y, *gates, marks, lengths);
	return 0;
fail:
	return err->code;
}

/* indptr[0] is known, the n ends behind it are zeros. */
static int encode_rows(struct device *dev, const struct sae_weights *sae, const struct encoding *e,
	struct tensor x, struct csr *out, int32_t *indptr, struct err *err)
{
	float *products = (float *)(e->scratch + e->products_at);
	const struct tensor y = {products, DTYPE_F32, x.rows, sae->W_enc_t.rows};
	uint32_t *marks = (uint32_t *)(e->scratch + e->marks_at);
	int32_t *lengths = indptr + 1;
	struct gates gates;

	x = prepare_input(dev, sae, e, x, &gates);
	TRY(multiply_and_mark(dev, sae, e, x, y, &gates, marks, lengths, err));
	if (sae->top_k > 0)
		sae_keep_largest(dev, sae, x.rows, gates, products, marks, lengths);
	csr_lengths_to_ends(dev, indptr, x.rows);
	sae_entries(dev, y, gates, marks, indptr, out);
	return 0;
fail:
	return err->code;
}

int cuda_sae_encode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	struct encoding e = encoding_of(dev, sae, x.rows, sae->W_enc_t.rows * sizeof(float));
	void *scratch;

	TRY(cuda_check(cudaMemsetAsync(out->indptr, 0, (x.rows + 1) * sizeof *out->indptr,
			       cuda_stream(dev)),
		"op sae_encode", "cudaMemsetAsync", err));
	if (x.rows == 0 || sae->W_enc_t.rows == 0)
		return cuda_launched(dev, "op sae_encode", err);
	TRY(cuda_scratch(dev, e.bytes, &scratch, err));
	e.scratch = (char *)scratch;
	if (e.masked)
		GPU_LAUNCH(bias_kernel, blocks_for(sae->W_enc_t.rows, BLOCK), BLOCK, 0,
			cuda_stream(dev), gates_of(sae, NULL), sae->W_enc_t.rows,
			(float *)(e.scratch + e.bias_at));
	for (size_t i = 0; i < x.rows; i += e.rows) {
		const size_t n = x.rows - i < e.rows ? x.rows - i : e.rows;

		TRY(encode_rows(dev, sae, &e, tensor_rows(x, i, n), out, out->indptr + i, err));
	}
	return cuda_launched(dev, "op sae_encode", err);
fail:
	return err->code;
}

/* f [n, n_feature] from products to activations, in place. */
static __global__ void __launch_bounds__(BLOCK)
	gate_kernel(float *f, size_t count, size_t n_feature, struct gates gates)
{
	const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;

	if (i < count)
		f[i] = gate(gates, i % n_feature, f[i], row_factor(gates, i / n_feature));
}

int cuda_sae_encode_selected(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	/* The products go to f; what their rows need beside is bounded as for all features. */
	struct encoding e = encoding_of(dev, sae, x.rows, x.cols * sizeof(float));
	void *scratch;

	if (tensor_count(f) == 0)
		return 0;
	TRY(cuda_scratch(dev, e.products_at, &scratch, err));
	e.scratch = (char *)scratch;
	for (size_t i = 0; i < x.rows; i += e.rows) {
		const size_t n = x.rows - i < e.rows ? x.rows - i : e.rows;
		const struct tensor y = tensor_rows(f, i, n), none = {};
		struct gates gates;
		const struct tensor u = prepare_input(dev, sae, &e, tensor_rows(x, i, n), &gates);

		TRY(linear_multiply(dev, u, sae->W_enc_t, none, y, e.scratch + e.convert_at, err));
		GPU_LAUNCH(gate_kernel, blocks_for(tensor_count(y), BLOCK), BLOCK, 0,
			cuda_stream(dev), floats(y), tensor_count(y), y.cols, gates);
	}
	return cuda_launched(dev, "op sae_encode_selected", err);
fail:
	return err->code;
}

/* out [n_rows, n_id]: one thread each. */
static __global__ void __launch_bounds__(BLOCK)
	select_kernel(const int32_t *indptr, const int32_t *indices, const float *values,
		const int32_t *id, size_t count, size_t n_id, float *out)
{
	const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
	int32_t low, high, wanted;

	if (i >= count)
		return;
	low = indptr[i / n_id];
	high = indptr[i / n_id + 1];
	wanted = id[i % n_id];
	out[i] = 0;
	while (low < high) {
		const int32_t middle = low + (high - low) / 2;

		if (indices[middle] == wanted) {
			out[i] = values[middle];
			return;
		}
		if (indices[middle] < wanted)
			low = middle + 1;
		else
			high = middle;
	}
}

int cuda_csr_select(struct device *dev, const struct csr *f, const int32_t *id, struct tensor out,
	struct err *err)
{
	if (tensor_count(out) > 0)
		GPU_LAUNCH(select_kernel, blocks_for(tensor_count(out), BLOCK), BLOCK, 0,
			cuda_stream(dev), f->indptr, f->indices, floats(f->values), id,
			tensor_count(out), out.cols, floats(out));
	return cuda_launched(dev, "op csr_select", err);
}

/* ---- decoding --------------------------------------------------------------------------- */

/* Block (row, part): BLOCK * V columns of one row. */
template <typename T, int V>
static __global__ void __launch_bounds__(BLOCK) decode_kernel(const T *W_dec, const float *b_dec,
	const struct row_input *input, const int32_t *indptr, const int32_t *indices,
	const float *values, size_t d, float *x_hat)
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
	if (input)
#pragma unroll
		for (int i = 0; i < V; i++)
			sum.element[i] = input[row].s * sum.element[i] + input[row].m;
	write_pack(x_hat + row * d + column, sum);
}

int cuda_sae_decode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	const struct csr *f, struct tensor x_hat, struct err *err)
{
	const size_t d = x_hat.cols;
	const int width = min(pack_width(sae->W_dec, d),
		min(pack_width(sae->b_dec, d), pack_width(x_hat, d)));
	struct row_input *input = NULL;
	void *scratch;

	if (tensor_count(x_hat) == 0)
		return 0;
	if (sae->input != SAE_INPUT_RAW) {
		TRY(cuda_scratch(dev, x.rows * sizeof *input, &scratch, err));
		input = (struct row_input *)scratch;
		sae_rows_input(dev, sae->input, x, input);
	}
	GPU_WITH_TYPE(sae->W_dec.dtype, T,
		WITH_PACK(width, V,
			GPU_LAUNCH((decode_kernel<T, V>),
				dim3((unsigned)x_hat.rows, blocks_for(d, BLOCK * V)), BLOCK, 0,
				cuda_stream(dev), (const T *)sae->W_dec.data, floats(sae->b_dec),
				input, f->indptr, f->indices, floats(f->values), d,
				floats(x_hat))));
	return cuda_launched(dev, "op sae_decode", err);
fail:
	return err->code;
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

int cuda_row_cosine(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	const int width = min(pack_width(W, W.cols), pack_width(v, W.cols));

	if (W.rows > 0)
		GPU_WITH_TYPE(W.dtype, T,
			WITH_PACK(width, V,
				GPU_LAUNCH((cosine_kernel<T, V>), blocks_for(W.rows, N_WARPS),
					BLOCK, 0, cuda_stream(dev), (const T *)W.data, floats(v),
					W.rows, W.cols, floats(out))));
	return cuda_launched(dev, "op row_cosine", err);
}
