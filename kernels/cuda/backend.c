/* SPDX-License-Identifier: MIT
 *
 * backend.c - the CUDA backend's tables, and opening a device. Contract: backend.h and
 * cuda.h. Plain C against the CUDA runtime, or against the harness's stand-in for it (tests/emu).
 */
#include "kernels/cuda/cuda.h"

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------- */

static int no_device(int ordinal, cudaError_t status, struct err *err)
{
	int driver = 0, runtime = 0;

	cudaGetLastError();
	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	if (driver == 0)
		return err_set(err, ERR_DEVICE, "device \"cuda:%d\": no NVIDIA driver was found",
			ordinal);
	if (driver / 1000 < runtime / 1000)
		return err_set(err, ERR_DEVICE,
			"device \"cuda:%d\": expected a driver for CUDA %d or newer, found one for "
			"%d.%d",
			ordinal, runtime / 1000, driver / 1000, driver % 1000 / 10);
	return err_set(err, ERR_DEVICE, "device \"cuda:%d\": no CUDA device was found (%s)",
		ordinal,
		status != cudaSuccess ? cudaGetErrorString(status) : "the driver lists none");
}

static int choose_device(struct device *dev, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	struct cudaDeviceProp properties;
	int count = 0;
	const cudaError_t status = cudaGetDeviceCount(&count);

	if (status != cudaSuccess || count == 0)
		return no_device(dev->ordinal, status, err);
	if (dev->ordinal >= count)
		return err_set(err, ERR_DEVICE,
			"device \"cuda:%d\": expected a number below %d, the CUDA devices of this "
			"machine",
			dev->ordinal, count);
	TRY(cuda_check(cudaSetDevice(dev->ordinal), "device", "cudaSetDevice", err));
	TRY(cuda_check(cudaGetDeviceProperties(&properties, dev->ordinal), "device",
		"cudaGetDeviceProperties", err));
	if (properties.major < 8)
		return err_set(err, ERR_DEVICE,
			"device \"cuda:%d\": expected compute capability 8.0 or newer, found %d.%d "
			"(%s)",
			dev->ordinal, properties.major, properties.minor, properties.name);
	state->ordinal = dev->ordinal;
	state->n_sm = properties.multiProcessorCount;
	snprintf(dev->arithmetic, sizeof dev->arithmetic, "cuda%s, %.60s, sm_%d%d, %d SMs",
		state->exact ? ":f32" : "", properties.name, properties.major, properties.minor,
		properties.multiProcessorCount);
	state->most_shared = properties.sharedMemPerBlockOptin;
	dev->total = properties.totalGlobalMem;
	snprintf(dev->description, sizeof dev->description, "cuda:%d%s, %.40s, %.0f GiB",
		dev->ordinal, state->exact ? ":f32" : "", properties.name,
		(double)properties.totalGlobalMem / 0x1p30);
	return 0;
fail:
	return err->code;
}

static size_t block_of(size_t card)
{
	const size_t share = card / 64;

	return share < CUDA_LEAST_BLOCK  ? CUDA_LEAST_BLOCK
	       : share > CUDA_MOST_BLOCK ? CUDA_MOST_BLOCK
					 : share;
}

static int open_state(struct device *dev, bool checked, struct err *err)
{
	struct cuda_state *state = calloc(1, sizeof *state);
	size_t said;

	dev->state = state;
	if (!state)
		return err_nomem(err, "the CUDA device", sizeof *state);
	state->exact = !dev->backend->rounds_products;
	state->waits = state->host_reads = checked;
	TRY(choose_device(dev, err));
	state->block_bytes = checked ? (size_t)CUDA_CHECKED_BLOCK : block_of(dev->total);
	dev->working = 2 * state->block_bytes; /* a block, with what it is made of or the library */
	TRY(cuda_check(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking), "device",
		"cudaStreamCreate", err));
	TRY(cuda_check(cudaMallocHost(&state->staging, 2 * (size_t)CUDA_STAGING), "device",
		"cudaMallocHost of the staging buffer", err));
	for (int half = 0; half < 2; half++)
		TRY(cuda_check(cudaEventCreateWithFlags(&state->staged[half],
				       cudaEventDisableTiming),
			"device", "cudaEventCreate", err));
	TRY(cuda_copies_open(dev, err));
	TRY(gemm_open(&state->gemm, dev, err));
	said = strlen(dev->arithmetic);
	snprintf(dev->arithmetic + said, sizeof dev->arithmetic - said, ", cuBLASLt %zu",
		gemm_version(state->gemm));
	return 0;
fail:
	return err->code;
}

static int open_device(struct device *dev, struct err *err)
{
	return open_state(dev, false, err);
}

static int open_checked(struct device *dev, struct err *err)
{
	return open_state(dev, true, err);
}

static void close_state(struct device *dev)
{
	struct cuda_state *state = cuda_state_of(dev);

	if (!state)
		return;
	if (state->stream)
		cudaStreamSynchronize(state->stream);
	cuda_copies_close(dev);
	gemm_close(state->gemm);
	cudaFree(state->scratch);
	for (int half = 0; half < 2; half++)
		if (state->staged[half])
			cudaEventDestroy(state->staged[half]);
	if (state->staging)
		cudaFreeHost(state->staging);
	if (state->stream)
		cudaStreamDestroy(state->stream);
	free(state->blocks);
	free(state);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static int wait_for_all(struct device *dev, struct err *err)
{
	return cuda_check(cudaStreamSynchronize(cuda_stream(dev)), "wait", "an op before it failed",
		err);
}

static void make_synchronous(struct device *dev)
{
	cuda_state_of(dev)->waits = true;
}

/* ---- the tables ------------------------------------------------------------------------ */

static const struct async_backend async = {
	.wait = wait_for_all,
	.make_synchronous = make_synchronous,
	.free_memory = cuda_free_memory,
	.graph_begin = cuda_graph_begin,
	.graph_end = cuda_graph_end,
	.graph_holds = cuda_graph_holds,
	.graph_replay = cuda_graph_replay,
	.graph_free = cuda_graph_free,
	.copy_begin = cuda_copy_begin,
	.copies_fence = cuda_copies_fence,
	.copy_wait = cuda_copy_wait,
	.copy_end = cuda_copy_end,
};

#ifdef SAENGINE_NCCL
#define TEAM (&cuda_team_backend)
#else
#define TEAM NULL
#endif

#define CUDA_ENTRY(op) .op = cuda_##op,
#define CUDA_TABLE(symbol, text, opener, rounds) \
	const struct backend symbol = {.name = text, \
		.activation = DTYPE_F32, \
		.rounds_products = rounds, \
		.open = opener, \
		.close = close_state, \
		.alloc = cuda_alloc, \
		.release = cuda_release, \
		.upload = cuda_upload, \
		.download = cuda_download, \
		.piece_bytes = CUDA_STAGING, \
		.piece = cuda_piece, \
		.piece_send = cuda_piece_send, \
		.async = &async, \
		.team = TEAM, \
		OP_NAMES(CUDA_ENTRY)}

CUDA_TABLE(cuda_fast_backend, "cuda", open_device, true);
CUDA_TABLE(cuda_exact_backend, "cuda:f32", open_device, false);
CUDA_TABLE(cuda_fast_checked_backend, "cuda, checked", open_checked, true);
CUDA_TABLE(cuda_exact_checked_backend, "cuda:f32, checked", open_checked, false);

const struct backend *cuda_backend_named(const char *name, int *ordinal)
{
	const struct backend *backend = &cuda_fast_backend;
	char *end;
	long n = 0;

	if (strncmp(name, "cuda", 4) != 0)
		return NULL;
	name += 4;
	if (*name == ':') {
		if (name[1] < '0' || name[1] > '9')
			return NULL;
		n = strtol(name + 1, &end, 10);
		if (n > INT16_MAX)
			return NULL;
		name = end;
	}
	if (strcmp(name, ":f32") == 0)
		backend = &cuda_exact_backend;
	else if (*name)
		return NULL;
	*ordinal = (int)n;
	return backend;
}
