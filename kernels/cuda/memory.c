/* SPDX-License-Identifier: MIT
 *
 * memory.c - device memory: blocks, and the scratch memory of ops. Contract: cuda.h.
 */
#include "kernels/cuda/cuda.h"

#include <stdlib.h>

static int no_room(struct device *dev, size_t bytes, cudaError_t status, struct err *err)
{
	size_t available = 0, total = 0;

	cudaGetLastError(); /* it is reported here, not by the next op */
	cudaMemGetInfo(&available, &total);
	return err_set(err, ERR_DEVICE,
		"out of device memory: cannot allocate %zu bytes beside the %zu in use; %zu of %zu "
		"are free (%s)",
		bytes, dev->allocated, available, total, cudaGetErrorString(status));
}

static int reserve_block(struct cuda_state *state, struct err *err)
{
	struct cuda_block *grown;

	if (state->n_blocks < state->block_capacity)
		return 0;
	state->block_capacity = 2 * state->block_capacity + 64;
	grown = realloc(state->blocks, state->block_capacity * sizeof *grown);
	if (!grown)
		return err_nomem(err, "the list of device memory",
			state->block_capacity * sizeof *grown);
	state->blocks = grown;
	return 0;
}

int cuda_alloc(struct device *dev, size_t bytes, void **out, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	const size_t some = bytes ? bytes : 1;
	cudaError_t status;

	*out = NULL;
	if (reserve_block(state, err))
		return err->code;
	/* One address on both sides, as addresses are unified on every 64-bit system. */
	status = state->host_reads
			 ? cudaHostAlloc(out, some, cudaHostAllocMapped | cudaHostAllocPortable)
			 : cudaMalloc(out, some);
	if (status != cudaSuccess)
		return no_room(dev, bytes, status, err);
#ifdef SAENGINE_STRICT
	cudaMemsetAsync(*out, 0xff, some, state->stream); /* NaN in every floating type */
	cudaStreamSynchronize(state->stream);
#endif
	state->blocks[state->n_blocks++] = (struct cuda_block){*out, bytes};
	device_account(dev, bytes, 0);
	return 0;
}

/* The stream may still use the block. A device that failed says so at the next op. */
void cuda_release(struct device *dev, void *memory)
{
	struct cuda_state *state = cuda_state_of(dev);

	for (size_t i = state->n_blocks; i-- > 0;) {
		if (state->blocks[i].memory != memory)
			continue;
		device_account(dev, 0, state->blocks[i].bytes);
		state->blocks[i] = state->blocks[--state->n_blocks];
		break;
	}
	cudaStreamSynchronize(state->stream);
	cuda_copies_drain(dev);
	if (state->host_reads)
		cudaFreeHost(memory);
	else
		cudaFree(memory);
}

int cuda_scratch(struct device *dev, size_t bytes, void **out, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (bytes > state->scratch_bytes) {
		cudaError_t status;

		if (state->recording)
			return err_set(err, ERR_INTERNAL,
				"scratch memory of %zu bytes asked for while recording, %zu are "
				"there",
				bytes, state->scratch_bytes);
		TRY(cuda_check(cudaStreamSynchronize(state->stream), "scratch memory", "wait",
			err));
		cudaFree(state->scratch);
		device_account(dev, 0, state->scratch_bytes);
		state->scratch = NULL;
		state->scratch_bytes = 0;
		status = cudaMalloc(&state->scratch, bytes);
		if (status != cudaSuccess)
			return no_room(dev, bytes, status, err);
		state->scratch_bytes = bytes;
		device_account(dev, bytes, 0);
	}
	*out = state->scratch;
	return 0;
fail:
	return err->code;
}

int cuda_free_memory(struct device *dev, size_t *bytes, struct err *err)
{
	size_t total;

	(void)dev;
	return cuda_check(cudaMemGetInfo(bytes, &total), "device", "cudaMemGetInfo", err);
}
