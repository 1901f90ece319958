/* SPDX-License-Identifier: MIT
 *
 * status.c - what CUDA reports, as errors. Contract: cuda.h.
 */
#include "kernels/cuda/cuda.h"

int cuda_check(cudaError_t status, const char *op, const char *call, struct err *err)
{
	if (status == cudaSuccess)
		return 0;
	cudaGetLastError();
	return err_set(err, ERR_DEVICE, "%s: %s: %s (%s)", op, call, cudaGetErrorString(status),
		cudaGetErrorName(status));
}

int cuda_launched(struct device *dev, const char *op, struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);
	const cudaError_t status = cudaGetLastError();

	if (status == cudaSuccess && state->waits && !state->recording)
		return cuda_check(cudaStreamSynchronize(state->stream), op, "run", err);
	return cuda_check(status, op, "launch", err);
}
