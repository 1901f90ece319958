/* SPDX-License-Identifier: MIT
 *
 * backend.c - the CUDA backend's tables, memory, copies and graphs. Contract: backend.h and
 * cuda.h. Plain C against the CUDA runtime, or against the harness's stand-in for it (tests/emu).
 *
 * Copies to the device pass through two pinned halves: while one is on its way the other is
 * filled, so reading a checkpoint from disk overlaps with sending it, and a short list (the tokens
 * of a batch) leaves at once without waiting for the stream.
 */
#include "kernels/cuda/cuda.h"

#include "host/base/size.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/names.h"

#include <stdio.h>
#include <stdlib.h>

struct device_graph {
	cudaGraphExec_t exec;
	void *scratch; /* where the scratch buffer was: its address is part of the graph */
};

/* ---- errors ---------------------------------------------------------------------------- */

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
	state->most_shared = properties.sharedMemPerBlockOptin;
	snprintf(dev->description, sizeof dev->description, "cuda:%d%s, %.40s, %.0f GiB",
		dev->ordinal, state->exact ? ":f32" : "", properties.name,
		(double)properties.totalGlobalMem / 0x1p30);
	return 0;
fail:
	return err->code;
}

static int open_state(struct device *dev, bool checked, struct err *err)
{
	struct cuda_state *state = calloc(1, sizeof *state);

	dev->state = state;
	if (!state)
		return err_nomem(err, "the CUDA device", sizeof *state);
	state->exact = !dev->backend->rounds_products;
	state->waits = state->host_reads = checked;
	state->block_bytes = checked ? CUDA_CHECKED_BLOCK_BYTES : CUDA_BLOCK_BYTES;
	TRY(choose_device(dev, err));
	TRY(cuda_check(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking), "device",
		"cudaStreamCreate", err));
	TRY(cuda_check(cudaMallocHost(&state->staging, 2 * (size_t)CUDA_STAGING), "device",
		"cudaMallocHost of the staging buffer", err));
	for (int half = 0; half < 2; half++)
		TRY(cuda_check(cudaEventCreateWithFlags(&state->staged[half],
				       cudaEventDisableTiming),
			"device", "cudaEventCreate", err));
	TRY(cuda_copies_open(dev, err));
	return gemm_open(&state->gemm, dev, err);
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

/* ---- memory ---------------------------------------------------------------------------- */

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

static int alloc(struct device *dev, size_t bytes, void **out, struct err *err)
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
static void release(struct device *dev, void *memory)
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

static int free_memory(struct device *dev, size_t *bytes, struct err *err)
{
	size_t total;

	(void)dev;
	return cuda_check(cudaMemGetInfo(bytes, &total), "device", "cudaMemGetInfo", err);
}

/* ---- copies ---------------------------------------------------------------------------- */

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

/* device_piece: the half that is not on its way, whole. */
static int lend_piece(struct device *dev, void **piece, struct err *err)
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

static int send_piece(struct device *dev, const struct device_part *parts, size_t n,
	struct err *err)
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

static int download(struct device *dev, void *to, const void *from, size_t bytes, struct err *err)
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

static int wait_for_all(struct device *dev, struct err *err)
{
	return cuda_check(cudaStreamSynchronize(cuda_stream(dev)), "wait", "an op before it failed",
		err);
}

static void make_synchronous(struct device *dev)
{
	cuda_state_of(dev)->waits = true;
}

/* ---- graphs ---------------------------------------------------------------------------- */

static int graph_begin(struct device *dev, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	TRY(cuda_check(cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeThreadLocal),
		"record", "cudaStreamBeginCapture", err));
	state->recording = true;
	return 0;
fail:
	return err->code;
}

static int graph_end(struct device *dev, struct device_graph **out, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	struct device_graph *graph = calloc(1, sizeof *graph);
	cudaGraph_t captured = NULL;
	const cudaError_t status = cudaStreamEndCapture(state->stream, &captured);

	*out = NULL;
	state->recording = false;
	if (!graph) {
		err_nomem(err, "a graph", sizeof *graph);
		goto fail;
	}
	TRY(cuda_check(status, "record", "cudaStreamEndCapture", err));
	TRY(cuda_check(cudaGraphInstantiate(&graph->exec, captured, 0), "record",
		"cudaGraphInstantiate", err));
	cudaGraphDestroy(captured);
	graph->scratch = state->scratch;
	*out = graph;
	return 0;
fail:
	if (captured)
		cudaGraphDestroy(captured);
	free(graph);
	return err->code;
}

static int graph_replay(struct device *dev, struct device_graph *graph, struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);

	if (graph->scratch != state->scratch)
		return err_set(err, ERR_INTERNAL,
			"replay: scratch memory moved since the graph was recorded");
	TRY(cuda_check(cudaGraphLaunch(graph->exec, state->stream), "replay", "cudaGraphLaunch",
		err));
	return cuda_launched(dev, "replay", err);
fail:
	return err->code;
}

static void graph_free(struct device *dev, struct device_graph *graph)
{
	cudaStreamSynchronize(cuda_stream(dev));
	cudaGraphExecDestroy(graph->exec);
	free(graph);
}

/* ---- the tables ------------------------------------------------------------------------ */

static const struct async_backend async = {
	.working_bytes = 2 * (size_t)CUDA_BLOCK_BYTES, /* scratch, and the library of products */
	.wait = wait_for_all,
	.make_synchronous = make_synchronous,
	.free_memory = free_memory,
	.graph_begin = graph_begin,
	.graph_end = graph_end,
	.graph_replay = graph_replay,
	.graph_free = graph_free,
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
		.alloc = alloc, \
		.release = release, \
		.upload = cuda_upload, \
		.download = download, \
		.piece_bytes = CUDA_STAGING, \
		.piece = lend_piece, \
		.piece_send = send_piece, \
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
