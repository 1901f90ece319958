/* SPDX-License-Identifier: MIT
 *
 * sae.cuh - what the kernels of sparse autoencoders share: the input, the gate, and the marks of
 * active features.
 *
 *   sae.cu         encoding all features or a few, decoding, cosines
 *   sae_marks.cu   marks from products, entries from marks
 *   sae_stream.cu  products and marks of a few rows in one pass over a bfloat16 encoder
 *   sae_top_k.cu   takes marks away from all but the largest
 *   sae_input.cu   what the input does to a row
 *
 * Encoding a block of rows leaves, in scratch, products W_enc_t[i] . x [rows, n_feature] - complete
 * from sae.cu, at the active features only from sae_stream.cu - and marks: one bit per row and
 * feature, mark_words(n_feature) words a row, bit f % 32 of word f / 32. Who marks also counts:
 * lengths [rows] are zeros before and each row's number of marks afterwards.
 */
#ifndef SAENGINE_SAE_CUH
#define SAENGINE_SAE_CUH

#include "kernels/cuda/gpu.cuh"

/* ---- the input ------------------------------------------------------------------------- */

/* u = (x - mean) inverse, undone by s and m (ops.h). Products are taken with x (sphere) or x - mean
 * (standardized) and multiplied by `inverse` afterwards, so that they round as little as raw ones.
 */
struct row_input {
	float mean, inverse, s, m;
};

/* The row_input of every row of x. */
void sae_rows_input(const struct device *dev, enum sae_input kind, struct tensor x,
	struct row_input *to);

/* to [x.rows, x.cols] = x - mean. */
void sae_center(const struct device *dev, struct tensor x, const struct row_input *input,
	float *to);

/* ---- the gate -------------------------------------------------------------------------- */

/* The features of an encoder, and the inputs of the rows that are encoded, as kernels take them.
 * gain and shift are NULL unless gated, input is NULL when raw. */
struct gates {
	const float *b_enc, *threshold, *gain, *shift;
	const struct row_input *input;
};

static inline struct gates gates_of(const struct sae_weights *sae, const struct row_input *input)
{
	return (struct gates){floats(sae->b_enc), floats(sae->threshold), floats(sae->gain),
		floats(sae->shift), input};
}

/* What products of this row are multiplied by. */
static __device__ __forceinline__ float row_factor(struct gates gates, size_t row)
{
	return gates.input ? gates.input[row].inverse : 1.0f;
}

/* What is compared with the threshold, of a product and its row's factor. The multiply-adds are
 * spelt out: whoever asks again must get the same bits. */
static __device__ __forceinline__ float before_gate(float b_enc, float product, float factor)
{
	return fmaf(product, factor, b_enc);
}

/* f_i, before any top_k, of what exceeds its threshold; still 0 where the feature is not active. */
static __device__ __forceinline__ float behind_gate(struct gates gates, size_t i, float pre)
{
	return gates.gain ? fmaxf(fmaf(gates.gain[i], pre, gates.shift[i]), 0) : pre;
}

/* f_i, before any top_k; 0 where the feature is not active. */
static __device__ __forceinline__ float gate(struct gates gates, size_t i, float product,
	float factor)
{
	const float pre = before_gate(gates.b_enc[i], product, factor);

	return pre > gates.threshold[i] ? behind_gate(gates, i, pre) : 0;
}

/* ---- marks ----------------------------------------------------------------------------- */

enum { STREAM_FEATURES = 128, STREAM_ROWS = 96 };

/* Words of marks per row: whole blocks of sae_stream.cu, whole warps of sae_marks.cu. */
static inline size_t mark_words(size_t n_feature)
{
	return (n_feature + STREAM_FEATURES - 1) / STREAM_FEATURES * (STREAM_FEATURES / 32);
}

/* Whether n rows can take the streaming way: they are few, and W_enc_t is bfloat16 in 16-byte
 * pieces. */
bool sae_can_stream(const struct device *dev, size_t n, struct tensor W_enc_t);

/* Products, marks and lengths of at most STREAM_ROWS rows, which x16 holds in bfloat16. */
int sae_stream(struct device *dev, const void *x16, size_t n, struct tensor W_enc_t,
	struct gates gates, float *products, uint32_t *marks, int32_t *lengths, struct err *err);

/* Marks and lengths of products [n, n_feature]. */
void sae_mark(const struct device *dev, const struct sae_weights *sae, struct tensor products,
	struct gates gates, uint32_t *marks, int32_t *lengths);

/* Of every group of features in each of n rows only the sae->top_k largest keep their marks;
 * lengths follow. */
void sae_keep_largest(const struct device *dev, const struct sae_weights *sae, size_t n,
	struct gates gates, const float *products, uint32_t *marks, int32_t *lengths);

/* The marked features of rows whose n + 1 ends are in indptr, with their values, to `out`. */
void sae_entries(const struct device *dev, struct tensor products, struct gates gates,
	const uint32_t *marks, const int32_t *indptr, const struct csr *out);

#endif
