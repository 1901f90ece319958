/* SPDX-License-Identifier: MIT
 *
 * spoil.h - one value, or a few, in place of others in files of weights.
 */
#ifndef SAENGINE_SPOIL_H
#define SAENGINE_SPOIL_H

#include "kernels/tensor.h"

/* A value in a floating-point type, of a NaN with some payload; returns its bytes. */
size_t spoil_encode(enum dtype dtype, double value, unsigned char out[8]);

/* Element i of a tensor of a safetensors file, in the tensor's type. */
void spoil_tensor(const char *path, const char *tensor, size_t i, double value);

/* n elements of a stored float32 array of a NumPy archive, each `step` behind the last; its CRC-32
 * is made right. */
void spoil_array(const char *path, const char *array, size_t first, size_t step, size_t n,
	double value);

#endif
