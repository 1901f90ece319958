/* SPDX-License-Identifier: MIT
 *
 * sae.cuh - what the two ways of encoding share: the gate, and the marks of active features.
 *
 * Encoding a block of rows leaves, in scratch, pre-activations without bias [rows, n_feature] -
 * complete from sae.cu, at the active features only from sae_stream.cu - and marks: one bit per
 * row and feature, `mark_words(n_feature)` words a row, bit f % 32 of word f / 32.
 */
#ifndef SAENGINE_SAE_CUH
#define SAENGINE_SAE_CUH

#include "kernels/cuda/gpu.cuh"

/* The features of an encoder, as kernels take them. */
struct gates {
	const float *b_enc, *threshold;
};

/* f_i of a product W_enc_t[i] . x; 0 where the feature is not active. */
static __device__ __forceinline__ float gate(struct gates gates, size_t i, float product)
{
	const float pre = product + gates.b_enc[i];

	return pre > gates.threshold[i] ? pre : 0.0f;
}

enum { STREAM_FEATURES = 128, STREAM_ROWS = 112 };

/* Words of marks per row: whole blocks of sae_stream.cu. */
static inline size_t mark_words(size_t n_feature)
{
	return (n_feature + STREAM_FEATURES - 1) / STREAM_FEATURES * (STREAM_FEATURES / 32);
}

/* Whether n rows of d values can take the streaming way: they are few, and W_enc_t is bfloat16 in
 * 16-byte pieces. */
bool sae_can_stream(const struct device *dev, size_t n, struct tensor W_enc_t);

/* Products and marks of at most STREAM_ROWS rows, which x16 holds in bfloat16. */
int sae_stream(struct device *dev, const void *x16, size_t n, const struct sae_weights *sae,
	float *products, uint32_t *marks, struct err *err);

#endif
