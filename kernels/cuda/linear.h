/* SPDX-License-Identifier: MIT
 *
 * linear.h - products with weights for the other ops of the CUDA backend (sae.cu), which have
 * scratch of their own to share.
 */
#ifndef SAENGINE_LINEAR_H
#define SAENGINE_LINEAR_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of scratch with which linear_multiply does its work for n float32 rows in the fewest
 * products; a multiple of 256, bounded whatever n is. */
size_t linear_scratch_bytes(const struct device *dev, size_t n, struct tensor W);

/* y = x W^T + bias, as op_linear, within linear_scratch_bytes(dev, y.rows, W) at `scratch`. */
int linear_multiply(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, void *scratch, struct err *err);

/* Whether linear_multiply does its work for n float32 rows in one product of all features. */
bool linear_is_one_product(const struct device *dev, size_t n, struct tensor W);

/* Where that is so: y = max(x W^T + bias, 0) and the mask of what is positive, as
 * gemm_multiply_masked, or, where *masked becomes false, y = x W^T. mask [y.rows,
 * gemm_mask_words(y.cols)], spare [y.cols]. */
int linear_multiply_masked(struct device *dev, struct tensor x, struct tensor W, const float *bias,
	float *spare, struct tensor y, uint32_t *mask, void *scratch, bool *masked,
	struct err *err);

#ifdef __cplusplus
}
#endif

#endif
