/* SPDX-License-Identifier: MIT
 *
 * transfer.c - bytes to the device and back, in order with the ops. Contract: cuda.h.
 *
 * Copies to the device pass through two pinned halves: while one is on its way the other is
 * filled, so reading a checkpoint from disk overlaps with sending it, and a short list (the tokens
 * of a batch) leaves at once without waiting for the stream.
 */
#include "kernels/cuda/cuda.h"

#include "host/base/size.h"

/* The other half, once what was sent from it has arrived. */
static int next_half(struct cuda_state *state, struct err *err)
{
	TRY(cuda_check(cudaEventRecord(state->staged[state->half], state->stream), "upload",
		"cudaEventRecord", err));
	state->half = !state->half;
	state->half_used = 0;
	return cuda_check(cudaEventSynchronize(state->staged[state->half]), "upload", "wait", err);
fail:
	return err->code;
}

int cuda_upload(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	size_t done = 0;

	if (state->recording)
		return err_set(err, ERR_INTERNAL, "an upload of %zu bytes while recording", bytes);
	while (done < bytes) {
		const size_t n = size_min(bytes - done, CUDA_STAGING - state->half_used);
		char *stage = (char *)state->staging + (size_t)state->half * CUDA_STAGING +
			      state->half_used;

		memcpy(stage, (const char *)from + done, n);
		TRY(cuda_check(cudaMemcpyAsync((char *)to + done, stage, n,
				       cuda_kind(dev, cudaMemcpyHostToDevice), state->stream),
			"upload", "cudaMemcpyAsync", err));
		state->half_used += n;
		done += n;
		if (state->half_used == CUDA_STAGING)
			TRY(next_half(state, err));
	}
	if (state->waits)
		return cuda_check(cudaStreamSynchronize(state->stream), "upload", "wait", err);
	return 0;
fail:
	return err->code;
}

int cuda_piece(struct device *dev, void **piece, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (state->recording)
		return err_set(err, ERR_INTERNAL, "an upload while recording");
	if (state->half_used > 0)
		TRY(next_half(state, err));
	*piece = (char *)state->staging + (size_t)state->half * CUDA_STAGING;
	return 0;
fail:
	return err->code;
}

int cuda_piece_send(struct device *dev, const struct device_part *parts, size_t n, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	for (size_t i = 0; i < n; i++)
		TRY(cuda_check(cudaMemcpyAsync(parts[i].to, parts[i].from, parts[i].bytes,
				       cuda_kind(dev, cudaMemcpyHostToDevice), state->stream),
			"upload", "cudaMemcpyAsync", err));
	if (state->waits)
		TRY(cuda_check(cudaStreamSynchronize(state->stream), "upload", "wait", err));
	return next_half(state, err);
fail:
	return err->code;
}

int cuda_download(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (state->recording)
		return err_set(err, ERR_INTERNAL, "a download of %zu bytes while recording", bytes);
	TRY(cuda_check(cudaMemcpyAsync(to, from, bytes, cuda_kind(dev, cudaMemcpyDeviceToHost),
			       state->stream),
		"download", "cudaMemcpyAsync", err));
	return cuda_check(cudaStreamSynchronize(state->stream), "download",
		"an op before it failed", err);
fail:
	return err->code;
}
