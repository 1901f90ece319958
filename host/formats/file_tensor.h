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

#endif
