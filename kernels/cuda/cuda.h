/* SPDX-License-Identifier: MIT
 *
 * cuda.h - the CUDA backend's own declarations, for its C and CUDA sources.
 *
 * Activations are float32. One stream carries all ops in order, so buffers may be reused without
 * waiting; another takes values that are to be written to the host (copies.c). A device is "fast"
 * or "exact": fast devices ("cuda:0") round the inputs of products with bfloat16 and float16
 * weights to the weight's type and accumulate in float32 on tensor cores; exact ones ("cuda:0:f32")
 * multiply in float32. Everything else is the same.
 */
#ifndef SAENGINE_CUDA_H
#define SAENGINE_CUDA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/backend.h"

#define CUDA_DECLARE(name) __typeof__(op_##name) cuda_##name;
OP_NAMES(CUDA_DECLARE)
#undef CUDA_DECLARE

struct cuda_block {
	void *memory;
	size_t bytes;
};

struct cuda_team;   /* nccl.c */
struct cuda_copies; /* copies.c */

struct gemm; /* gemm.h: the library of matrix products */

/* dev->state. */
struct cuda_state {
	int ordinal;
	bool exact;
	bool waits;         /* every op waits for its end */
	bool host_reads;    /* device memory is the host's own, mapped: tests */
	size_t block_bytes; /* scratch that ops which can work in blocks take for one */
	bool recording;     /* between device_graph_begin and _end */
	cudaStream_t stream;
	struct gemm *gemm;
	struct cuda_copies *copies;
	struct cuda_team *team; /* NULL unless joined with other processes' devices */
	int n_sm;
	size_t most_shared; /* bytes a block may ask for (GPU_ALLOW_SHARED) */
	void *scratch;
	size_t scratch_bytes;
	void *staging;         /* pinned, two halves of CUDA_STAGING bytes */
	cudaEvent_t staged[2]; /* the last copy out of each half has ended */
	int half;              /* the one being filled */
	size_t half_used;
	struct cuda_block *blocks; /* device_alloc's, owned by whoever asked */
	size_t n_blocks, block_capacity;
};

/* Half of the memory that uploads pass through: enough features of an SAE for many threads. Little
 * where the harness runs them, so that tests see several pieces. */
#ifdef SAENGINE_EMU
enum { CUDA_STAGING = 128 << 10 };
#else
enum { CUDA_STAGING = 16 << 20 };
#endif

/* cuda_state's block_bytes: a 64th of the card within bounds, for products of few rows read their
 * weights as often as large ones, and every block ends; and on checked devices, so that small tests
 * see several blocks. */
enum { CUDA_LEAST_BLOCK = 256 << 20, CUDA_MOST_BLOCK = 1 << 30, CUDA_CHECKED_BLOCK = 64 << 10 };

static inline struct cuda_state *cuda_state_of(const struct device *dev)
{
	return (struct cuda_state *)dev->state;
}

static inline cudaStream_t cuda_stream(const struct device *dev)
{
	return cuda_state_of(dev)->stream;
}

static inline bool cuda_exact(const struct device *dev)
{
	return cuda_state_of(dev)->exact;
}

/* The kind of a copy whose device side is memory of device_alloc: where that is the host's, no kind
 * but the one that follows from the addresses is defined. */
static inline enum cudaMemcpyKind cuda_kind(const struct device *dev, enum cudaMemcpyKind kind)
{
	return cuda_state_of(dev)->host_reads ? cudaMemcpyDefault : kind;
}

/* One buffer of at least `bytes`, 256-byte aligned, until the op's launches have been issued: the
 * stream keeps the next op's use behind them. Grows when needed, which is refused while a graph is
 * recorded: the step before, run directly, has had the same sizes. Errors: ERR_DEVICE. */
int cuda_scratch(struct device *dev, size_t bytes, void **out, struct err *err);

/* Turns a CUDA status into an error that names the op; 0 for cudaSuccess. What was reported is not
 * reported again by the next op's cuda_launched. */
int cuda_check(cudaError_t status, const char *op, const char *call, struct err *err);

/* Ends every op: reports a launch that was refused and, on synchronous devices, waits. */
int cuda_launched(struct device *dev, const char *op, struct err *err);

/* What struct backend and async_backend have (backend.h). memory.c: */
int cuda_alloc(struct device *dev, size_t bytes, void **out, struct err *err);
void cuda_release(struct device *dev, void *memory);
int cuda_free_memory(struct device *dev, size_t *bytes, struct err *err);

/* transfer.c. An upload leaves when the last bytes are in pinned memory, which waits for earlier
 * uploads; the piece lent is the half that is not on its way, whole. */
int cuda_upload(struct device *dev, void *to, const void *from, size_t bytes, struct err *err);
int cuda_piece(struct device *dev, void **piece, struct err *err);
int cuda_piece_send(struct device *dev, const struct device_part *parts, size_t n, struct err *err);
int cuda_download(struct device *dev, void *to, const void *from, size_t bytes, struct err *err);

/* graph.c. */
int cuda_graph_begin(struct device *dev, struct err *err);
int cuda_graph_end(struct device *dev, struct device_graph **out, struct err *err);
bool cuda_graph_holds(const struct device *dev, const struct device_graph *graph);
int cuda_graph_replay(struct device *dev, struct device_graph *graph, struct err *err);
void cuda_graph_free(struct device *dev, struct device_graph *graph);

/* Values on their way to the host, copies.c: the device's part in opening and closing; what
 * async_backend has; and waiting until none reads device memory any more. */
int cuda_copies_open(struct device *dev, struct err *err);
void cuda_copies_close(struct device *dev);
int cuda_copy_begin(struct device *dev, struct tensor from, enum dtype as, struct device_copy **out,
	struct err *err);
int cuda_copies_fence(struct device *dev, struct err *err);
int cuda_copy_wait(struct device_copy *copy, struct err *err);
void cuda_copy_end(struct device_copy *copy);
void cuda_copies_drain(struct device *dev);

#ifdef SAENGINE_NCCL
extern const struct team_backend cuda_team_backend; /* nccl.c */
#endif

/* The tables. The checked ones are the same ops on devices that wait after each, in small blocks,
 * on memory that the host reads and writes too: tests only. */
extern const struct backend cuda_fast_backend, cuda_exact_backend;
extern const struct backend cuda_fast_checked_backend, cuda_exact_checked_backend;

#ifdef __cplusplus
}
#endif

#endif
