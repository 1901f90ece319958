/* SPDX-License-Identifier: MIT
 *
 * carver.h - many tensors in one device allocation, sized before anything is allocated.
 *
 * A layout function carves what it needs; it is run once to count and once to place, so the plan
 * that --dry-run prints and the memory that is used cannot differ.
 */
#ifndef SAENGINE_CARVER_H
#define SAENGINE_CARVER_H

#include "host/base/err.h"
#include "kernels/ops.h"

struct carver {
	enum dtype activation;
	char *base; /* NULL while counting */
	size_t used;
};

/* An activation [rows, cols], a tensor of another type, or n int32, each on a boundary of 64 bytes.
 * Contents are undefined. */
struct tensor carve(struct carver *c, size_t rows, size_t cols);
struct tensor carve_typed(struct carver *c, enum dtype dtype, size_t rows, size_t cols);
int32_t *carve_ints(struct carver *c, size_t n);

typedef void carve_layout(void *object, struct carver *c);

/* Bytes that `layout` needs on `dev`; object's tensors are left without memory. */
size_t carve_count(struct device *dev, carve_layout *layout, void *object);

/* Allocates and lays out. *memory is owned: device_free it. Errors: ERR_DEVICE. */
int carve_allocate(struct device *dev, carve_layout *layout, void *object, void **memory,
	struct err *err);

#endif
