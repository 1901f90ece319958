/* SPDX-License-Identifier: MIT
 *
 * memory.c - the account of a device's memory, and memory that is the host's. Contract: backend.h.
 */
#include "kernels/backend.h"

#include "host/base/memory.h"
#include "host/base/size.h"

#include <stdlib.h>
#include <string.h>

void device_account(struct device *dev, size_t allocated, size_t released)
{
	dev->allocated += allocated;
	dev->allocated -= released;
	if (dev->allocated > dev->peak)
		dev->peak = dev->allocated;
}

/* The size of a block is kept in the cache line before it, for the account. */
int host_alloc(struct device *dev, size_t bytes, void **out, struct err *err)
{
	void *block = NULL;
	size_t total;
	char *memory;

	*out = NULL;
	if (size_add_overflow(bytes, HOST_ALIGNMENT, &total) ||
		posix_memalign(&block, HOST_ALIGNMENT, total) != 0 || !memory_taken(total)) {
		free(block);
		return err_set(err, ERR_DEVICE,
			"out of memory: cannot allocate %zu bytes beside the %zu in use", bytes,
			dev->allocated);
	}
	memory = (char *)block + HOST_ALIGNMENT;
	memcpy(block, &bytes, sizeof bytes);
#ifdef SAENGINE_STRICT
	memset(memory, 0xff, bytes); /* NaN in every floating type */
#endif
	*out = memory;
	device_account(dev, bytes, 0);
	return 0;
}

void host_release(struct device *dev, void *memory)
{
	char *block = (char *)memory - HOST_ALIGNMENT;
	size_t bytes;

	memcpy(&bytes, block, sizeof bytes);
	device_account(dev, 0, bytes);
#ifdef SAENGINE_STRICT
	memset(memory, 0xff, bytes);
#endif
	free(block);
}

int host_copy(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	(void)dev;
	(void)err;
	memcpy(to, from, bytes);
	return 0;
}
