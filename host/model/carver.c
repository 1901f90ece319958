/* SPDX-License-Identifier: MIT
 *
 * carver.c - Contract: carver.h.
 */
#include "host/model/carver.h"

static void *take(struct carver *c, size_t bytes)
{
	char *at = c->base ? c->base + c->used : NULL;

	c->used += (bytes + 63) / 64 * 64;
	return at;
}

struct tensor carve_typed(struct carver *c, enum dtype dtype, size_t rows, size_t cols)
{
	struct tensor t = {NULL, dtype, rows, cols};

	t.data = take(c, tensor_bytes(t));
	return t;
}

struct tensor carve(struct carver *c, size_t rows, size_t cols)
{
	return carve_typed(c, c->activation, rows, cols);
}

int32_t *carve_ints(struct carver *c, size_t n)
{
	return take(c, n * sizeof(int32_t));
}

size_t carve_count(struct device *dev, carve_layout *layout, void *object)
{
	struct carver c = {device_activation(dev), NULL, 0};

	layout(object, &c);
	return c.used;
}

int carve_allocate(struct device *dev, carve_layout *layout, void *object, void **memory,
	struct err *err)
{
	struct carver c = {device_activation(dev), NULL, 0};

	if (device_alloc(dev, carve_count(dev, layout, object), memory, err))
		return err->code;
	c.base = *memory;
	layout(object, &c);
	return 0;
}
