/* SPDX-License-Identifier: MIT
 *
 * backend.c - the CPU backend's table and state, once per instruction-set level.
 */
#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/cpu.h"

#include <stdlib.h>

static int open_state(struct device *dev, struct err *err)
{
	struct cpu_state *state = calloc(1, sizeof *state);
	const size_t bytes = (size_t)dev->n_threads * CPU_SCRATCH * sizeof(float);

	cpu_hold_to_level(SAENGINE_LEVEL_NAME, dev->arithmetic);
	dev->state = state;
	if (!state)
		return err_nomem(err, "the CPU device", sizeof *state);
	/* Untouched pages cost nothing: small models never use more than the first ones. */
	if (posix_memalign((void **)&state->scratch, 64, bytes) != 0) {
		state->scratch = NULL;
		return err_nomem(err, "scratch memory of the CPU device", bytes);
	}
	return pool_open(&state->pool, dev->n_threads, err);
}

static void close_state(struct device *dev)
{
	struct cpu_state *state = dev->state;

	if (state) {
		pool_close(state->pool);
		free(state->scratch);
	}
	free(state);
}

#define CPU_ENTRY(op) .op = CPU(op),

const struct backend CPU(backend) = {.name = "cpu:" SAENGINE_LEVEL_NAME,
	.activation = DTYPE_F32,
	.is_host = true,
	.open = open_state,
	.close = close_state,
	.alloc = host_alloc,
	.release = host_release,
	.upload = host_copy,
	.download = host_copy,
	OP_NAMES(CPU_ENTRY)};
