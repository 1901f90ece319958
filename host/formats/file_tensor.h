/* SPDX-License-Identifier: MIT
 *
 * file_tensor.h - a named tensor as it lies in a file.
 */
#ifndef SAENGINE_FILE_TENSOR_H
#define SAENGINE_FILE_TENSOR_H

#include "host/base/dtype.h"

#include <stdbool.h>
#include <stddef.h>

enum { FILE_TENSOR_DIMS = 4 };

struct file_tensor {
	const char *name; /* borrowed from the file's reader */
	const char *type; /* the file's own word for the element type, e.g. "BF16" */
	bool known;       /* whether `dtype` is one the project reads */
	enum dtype dtype;
	int n_dims; /* a file may hold more dimensions than FILE_TENSOR_DIMS: then -1 */
	size_t shape[FILE_TENSOR_DIMS];
	bool column_major;         /* first index fastest (.npy in Fortran order); else the last */
	const unsigned char *data; /* borrowed from the reader; little-endian; any alignment */
	size_t bytes;
};

/* Element i, in the file's order, of a tensor of float32, float64, bfloat16 or float16. */
static inline double file_tensor_value(const struct file_tensor *t, size_t i)
{
	const unsigned char *at = t->data + i * dtype_bytes(t->dtype);
	uint16_t half;
	float value;
	double wide;

	switch (t->dtype) {
	case DTYPE_F32:
		memcpy(&value, at, sizeof value);
		return value;
	case DTYPE_F64:
		memcpy(&wide, at, sizeof wide);
		return wide;
	default:
		memcpy(&half, at, sizeof half);
		return t->dtype == DTYPE_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
	}
}

#endif
