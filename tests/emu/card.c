/* SPDX-License-Identifier: MIT
 *
 * card.c - the card that engine_emu finds: CARD_MIB of memory, of which another program has taken
 * CARD_TAKEN_MIB.
 */
#include "tests/emu/control.h"

#include <cuda_runtime.h>
#include <stdlib.h>

static size_t mebibytes(const char *name)
{
	const char *value = getenv(name);

	return value ? (size_t)atol(value) << 20 : 0;
}

__attribute__((constructor)) static void find(void)
{
	static void *taken; /* until the end */

	if (mebibytes("CARD_MIB") > 0)
		emu_set_memory(mebibytes("CARD_MIB"));
	if (mebibytes("CARD_TAKEN_MIB") > 0 &&
		cudaMalloc(&taken, mebibytes("CARD_TAKEN_MIB")) != cudaSuccess)
		abort();
}
