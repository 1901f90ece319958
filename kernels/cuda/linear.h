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

/* All rows of x in bfloat16 or float16. */
void linear_round(const struct device *dev, struct tensor x, enum dtype type, void *to);

#ifdef __cplusplus
}
#endif

#endif
