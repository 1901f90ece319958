/* SPDX-License-Identifier: MIT
 *
 * sae.cuh - what the kernels of sparse autoencoders share: the input, the gate, and the marks of
 * active features.
 *
 *   sae.cu         encoding all features or a few, decoding, cosines
 *   sae_marks.cu   marks from products, or those that the library has made; entries from marks
 *   sae_stream.cu  products and marks of a few rows in one pass over a bfloat16 encoder
 *   sae_top_k.cu   takes marks away from all but the largest
 *   sae_input.cu   what the input does to a row
 *
 * Encoding a block of rows leaves, in scratch, products W_enc_t[i] . x [rows, n_feature] - complete
 * from sae.cu, at the active features only from sae_stream.cu; or, where the library has gone
 * further, margins in their place - and marks: one bit per row and feature, mark_words(n_feature)
 * words a row, bit f % 32 of word f / 32. Who marks also counts: lengths [rows] are zeros before
 * and each row's number of marks afterwards.
 */
#ifndef SAENGINE_SAE_CUH
#define SAENGINE_SAE_CUH

#include "kernels/cuda/gemm.h"
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
	bool margins; /* where products are expected there are margins, as far as positive */
};

static inline struct gates gates_of(const struct sae_weights *sae, const struct row_input *input)
{
	return (struct gates){floats(sae->b_enc), floats(sae->threshold), floats(sae->gain),
		floats(sae->shift), input, false};
}

/* What products of this row are multiplied by. */
static __device__ __forceinline__ float row_factor(struct gates gates, size_t row)
{
	return gates.input ? gates.input[row].inverse : 1.0f;
}

/* A feature is on where its margin, by how much it exceeds its threshold, is positive. The library
 * can add one bias to a product, so bias and threshold are joined first, and the threshold is added
 * again for the feature's value. The multiply-adds are spelt out: whoever asks again must get the
 * same bits. */
static __device__ __forceinline__ float joined_bias(float b_enc, float threshold)
{
	return b_enc - threshold;
}

static __device__ __forceinline__ float margin_of(float product, float factor, float bias)
{
	return fmaf(product, factor, bias);
}

/* f_i, before any top_k, of a positive margin; still 0 where a gated feature is not active. */
static __device__ __forceinline__ float behind_gate(float margin, float threshold, bool gated,
	float gain, float shift)
{
	const float pre = margin + threshold;

	return gated ? fmaxf(fmaf(gain, pre, shift), 0) : pre;
}

static __device__ __forceinline__ float behind_gate(struct gates gates, size_t i, float margin)
{
	const bool gated = gates.gain != NULL;

	return behind_gate(margin, gates.threshold[i], gated, gated ? gates.gain[i] : 0,
		gated ? gates.shift[i] : 0);
}

/* Whether f_i, before any top_k, is not 0. Without gains a positive margin is enough, as thresholds
 * are not negative. */
static __device__ __forceinline__ bool is_active(struct gates gates, size_t i, float margin)
{
	return margin > 0 && (!gates.gain || behind_gate(gates, i, margin) != 0);
}

/* The margin of feature i, of its product, or of what is there instead. */
static __device__ __forceinline__ float margin_at(struct gates gates, size_t i, float product,
	float factor)
{
	return gates.margins ? product
			     : margin_of(product, factor,
				       joined_bias(gates.b_enc[i], gates.threshold[i]));
}

/* f_i, before any top_k; 0 where the feature is not active. */
static __device__ __forceinline__ float gate(struct gates gates, size_t i, float product,
	float factor)
{
	const float margin = margin_at(gates, i, product, factor);

	return margin > 0 ? behind_gate(gates, i, margin) : 0;
}

/* ---- marks ----------------------------------------------------------------------------- */

enum { STREAM_FEATURES = GEMM_MASK_BITS, STREAM_ROWS = 96 };

/* Words of marks per row: the library's masks, whole blocks of sae_stream.cu, whole warps of
 * sae_marks.cu. */
static inline size_t mark_words(size_t n_feature)
{
	return gemm_mask_words(n_feature);
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

/* Of the marks that the library has made, a mask of gemm_multiply_masked, only those of active
 * features stay; and lengths. gates.margins is true. */
void sae_prune(const struct device *dev, struct tensor margins, struct gates gates, uint32_t *marks,
	int32_t *lengths);

/* Of every group of features in each of n rows only the sae->top_k largest keep their marks;
 * lengths follow. */
void sae_keep_largest(const struct device *dev, const struct sae_weights *sae, size_t n,
	struct gates gates, const float *products, uint32_t *marks, int32_t *lengths);

/* The marked features of rows whose n + 1 ends are in indptr, with their values, to `out`. */
void sae_entries(const struct device *dev, struct tensor products, struct gates gates,
	const uint32_t *marks, const int32_t *indptr, const struct csr *out);

#endif
