/* SPDX-License-Identifier: MIT
 *
 * tensor.h - a matrix in device memory, passed by value. Row-major, rows contiguous.
 */
#ifndef SAENGINE_TENSOR_H
#define SAENGINE_TENSOR_H

#include "host/base/dtype.h"

#include <stdbool.h>

struct tensor {
	void *data; /* device memory, borrowed; NULL means "absent" where an op allows it */
	enum dtype dtype;
	size_t rows, cols;
};

static inline size_t tensor_count(struct tensor t)
{
	return t.rows * t.cols;
}

static inline size_t tensor_bytes(struct tensor t)
{
	return tensor_count(t) * dtype_bytes(t.dtype);
}

/* Rows [first, first + n) of t, sharing its memory. */
static inline struct tensor tensor_rows(struct tensor t, size_t first, size_t n)
{
	t.data = (char *)t.data + first * t.cols * dtype_bytes(t.dtype);
	t.rows = n;
	return t;
}

/* Columns [first, first + n) of a matrix, all its rows. */
struct slice {
	struct tensor of;
	size_t first, n;
};

static inline struct slice tensor_slice(struct tensor t, size_t first, size_t n)
{
	return (struct slice){t, first, n};
}

static inline struct slice tensor_whole(struct tensor t)
{
	return (struct slice){t, 0, t.cols};
}

/* Whether two slices begin at one place. */
static inline bool slices_coincide(struct slice a, struct slice b)
{
	return a.of.data == b.of.data && a.first == b.first;
}

/* The same elements seen as rows x cols. */
static inline struct tensor tensor_view(struct tensor t, size_t rows, size_t cols)
{
	t.rows = rows;
	t.cols = cols;
	return t;
}

#endif
