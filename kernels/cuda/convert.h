/* SPDX-License-Identifier: MIT
 *
 * convert.h - from float32 to a narrower type and back (convert.cu).
 */
#ifndef SAENGINE_CONVERT_H
#define SAENGINE_CONVERT_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All rows of x, float32, in bfloat16 or float16. */
void convert_round(const struct device *dev, struct tensor x, enum dtype type, void *to);

/* n rows of W, bfloat16 or float16, from row `first` on, in float32. */
void convert_widen(const struct device *dev, struct tensor W, size_t first, size_t n, void *to);

#ifdef __cplusplus
}
#endif

#endif
