/* SPDX-License-Identifier: MIT
 *
 * emu.h - runs CUDA kernels on the CPU, to test them where there is no GPU.
 *
 * The source of a kernel is compiled as C++ with the qualifiers, built-in variables and intrinsics
 * below. Blocks run one after another in one operating-system thread; every CUDA thread of a block
 * is a fiber. Barriers, shuffles and votes are the only places where fibers switch, so the order
 * of execution is the harness's choice: forward, reverse or random, and equal results in all is a
 * test. What a GPU leaves undefined ends the program with a message (emu_fail):
 *
 *   - threads of a block waiting at different barriers, or leaving before one;
 *   - lanes of one mask in different warp operations, masks that do not name the caller or name a
 *     lane that has left; shuffles from lanes outside the mask;
 *   - deadlock, with who waits where;
 *   - shared memory beyond what was allowed, misaligned ldmatrix and cp.async;
 *   - arguments that point to host memory, in themselves or inside structs (what they point to is
 *     known to be mapped and no allocation of the device's).
 *
 * Shared memory holds NaN patterns when a block begins; the destination of cp.async holds them
 * until its thread has waited. Built with the race detector (race.cc), accesses to shared and
 * device memory that nothing orders are reported with both source lines, whatever the schedule, and
 * so is every access to memory that is neither the device's nor the thread's own.
 *
 * Not modelled: wgmma, TMA, clusters, cooperation between blocks of a launch, memory fences, and
 * everything about speed.
 */
#ifndef SAENGINE_EMU_H
#define SAENGINE_EMU_H

#include "tests/emu/control.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

/* ---- language -------------------------------------------------------------------------- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
/* Between the symbols __start_emu_shared and __stop_emu_shared. */
#define __shared__ static __attribute__((section("emu_shared")))

namespace emu
{

struct place {
	const char *file;
	int line;

	/* As a default argument: where the caller's caller is. */
	static constexpr place here(const char *file = __builtin_FILE(),
		int line = __builtin_LINE())
	{
		return place{file, line};
	}
};

enum class warp_op { shuffle, vote, sync, mma };

struct thread {
	enum { READY, AT_BARRIER, AT_WARP_OP, LEFT } state;
	uint3 index;
	int id, lane, warp;
	place at;
	int predicate;
	/* A warp operation: what this lane brings and what it takes away. */
	warp_op op;
	unsigned mask;
	int source;
	alignas(16) unsigned char brought[16];
	alignas(16) unsigned char taken[16];
	unsigned votes;
	float *mma_c;
	const uint32_t *mma_a, *mma_b;
	/* Race detector: this lane's clock, and what it knows of the other lanes' clocks. */
	uint32_t clock, known[32];
	/* The fiber. */
	void *stack_pointer;
	char *stack;
	void *sanitizer;
};

extern thread *current; /* NULL outside kernels */
extern uint3 block_index;
extern dim3 block_size, grid_size;
extern char *dynamic_shared;

int barrier(int predicate, int mode, place at); /* 0 plain, 1 count, 2 and, 3 or */
void warp_operation(warp_op op, unsigned mask, int source, const void *value, size_t bytes,
	place at);
void touch_atomically(const void *p, size_t bytes);

/* cp.async: copies of the current thread. */
void async_copy(void *to, const void *from, bool valid, place at);
void async_commit();
void async_wait(int newest);

/* Arguments are copied at the launch, as on a GPU, and read when the stream comes to it. `call`
 * makes one thread's call of the kernel with the copy. */
void launch(const char *name, const void *kernel, const void *arguments, size_t bytes,
	void (*call)(const void *kernel, const void *arguments), dim3 grid, dim3 block,
	size_t shared_bytes, cudaStream_t stream);

template <class... P, class... A>
void bind_and_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
	size_t shared_bytes, cudaStream_t stream, A... arguments)
{
	typedef std::tuple<P...> all;
	all bound(static_cast<P>(arguments)...);

	static_assert((std::is_trivially_copyable<P>::value && ...), "arguments are plain data");
	__builtin_clear_padding(&bound); /* what lies there may look like an address */
	launch(
		name, (const void *)kernel, &bound, sizeof bound,
		[](const void *k, const void *a) {
			std::apply((void (*)(P...))k, *(const all *)a);
		},
		grid, block, shared_bytes, stream);
}

template <class T> T shuffle(unsigned mask, T value, int source, int width, place at)
{
	static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 16, "shuffled type");
	T taken;

	if (width != 1 && width != 2 && width != 4 && width != 8 && width != 16 && width != 32)
		emu_fail("%s:%d: a shuffle of width %d", at.file, at.line, width);
	warp_operation(warp_op::shuffle, mask, source, &value, sizeof value, at);
	memcpy(&taken, current->taken, sizeof taken);
	return taken;
}

} // namespace emu

#define GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
	emu::bind_and_launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#define GPU_DYNAMIC_SHARED(type, name) \
	type *const name = reinterpret_cast<type *>(emu::dynamic_shared)
#define GPU_ALLOW_SHARED(kernel, bytes) \
	cudaFuncSetAttribute((const void *)(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, \
		(int)(bytes))

/* ---- built-in variables ---------------------------------------------------------------- */

#define threadIdx (emu::current->index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)

/* ---- synchronisation ------------------------------------------------------------------- */

static inline void __syncthreads(emu::place at = emu::place::here())
{
	emu::barrier(0, 0, at);
}

static inline int __syncthreads_count(int predicate, emu::place at = emu::place::here())
{
	return emu::barrier(predicate != 0, 1, at);
}

static inline int __syncthreads_and(int predicate, emu::place at = emu::place::here())
{
	return emu::barrier(predicate != 0, 2, at);
}

static inline int __syncthreads_or(int predicate, emu::place at = emu::place::here())
{
	return emu::barrier(predicate != 0, 3, at);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, emu::place at = emu::place::here())
{
	const int nothing = 0;

	emu::warp_operation(emu::warp_op::sync, mask, emu::current->lane, &nothing, sizeof nothing,
		at);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate,
	emu::place at = emu::place::here())
{
	const int vote = predicate != 0;

	emu::warp_operation(emu::warp_op::vote, mask, emu::current->lane, &vote, sizeof vote, at);
	return emu::current->votes;
}

static inline int __any_sync(unsigned mask, int predicate, emu::place at = emu::place::here())
{
	return __ballot_sync(mask, predicate, at) != 0;
}

static inline int __all_sync(unsigned mask, int predicate, emu::place at = emu::place::here())
{
	return __ballot_sync(mask, !predicate, at) == 0;
}

template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
	emu::place at = emu::place::here())
{
	const int first = emu::current->lane & ~(width - 1);

	return emu::shuffle(mask, value, first + (source & (width - 1)), width, at);
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
	emu::place at = emu::place::here())
{
	const int lane = emu::current->lane, first = lane & ~(width - 1);
	const int source = lane - (int)delta;

	return emu::shuffle(mask, value, source < first ? lane : source, width, at);
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
	emu::place at = emu::place::here())
{
	const int lane = emu::current->lane, end = (lane & ~(width - 1)) + width;
	const int source = lane + (int)delta;

	return emu::shuffle(mask, value, source >= end ? lane : source, width, at);
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32,
	emu::place at = emu::place::here())
{
	const int lane = emu::current->lane, end = (lane & ~(width - 1)) + width;
	const int source = lane ^ with;

	return emu::shuffle(mask, value, source >= end ? lane : source, width, at);
}

/* ---- arithmetic ------------------------------------------------------------------------ */

static inline float __uint_as_float(unsigned bits)
{
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

static inline unsigned __float_as_uint(float f)
{
	unsigned bits;

	memcpy(&bits, &f, sizeof bits);
	return bits;
}

static inline int __popc(unsigned x)
{
	return __builtin_popcount(x);
}

static inline int __ffs(int x)
{
	return __builtin_ffs(x);
}

static inline int __clz(int x)
{
	return x ? __builtin_clz((unsigned)x) : 32;
}

static inline float rsqrtf(float x)
{
	return 1 / sqrtf(x);
}

template <class T> static inline T __ldg(const T *p)
{
	return *p;
}

/* The libraries' names begin with __ too. */
#define __expf expf
#define __logf logf

static inline int min(int a, int b)
{
	return a < b ? a : b;
}

static inline int max(int a, int b)
{
	return a > b ? a : b;
}

static inline float4 make_float4(float x, float y, float z, float w)
{
	return float4{x, y, z, w};
}

static inline float2 make_float2(float x, float y)
{
	return float2{x, y};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
	return uint4{x, y, z, w};
}

static inline uint2 make_uint2(unsigned x, unsigned y)
{
	return uint2{x, y};
}

/* ---- atomics on integers: one thread runs at a time ------------------------------------- */

#define EMU_UNSEEN __attribute__((no_sanitize("thread")))

template <class T> EMU_UNSEEN static inline T atomicAdd(T *p, T value)
{
	static_assert(std::is_integral<T>::value, "float atomics add in an order that varies");
	const T old = *p;

	emu::touch_atomically(p, sizeof *p);
	*p = (T)(old + value);
	return old;
}

template <class T> EMU_UNSEEN static inline T atomicMin(T *p, T value)
{
	const T old = *p;

	emu::touch_atomically(p, sizeof *p);
	if (value < old)
		*p = value;
	return old;
}

template <class T> EMU_UNSEEN static inline T atomicMax(T *p, T value)
{
	const T old = *p;

	emu::touch_atomically(p, sizeof *p);
	if (value > old)
		*p = value;
	return old;
}

template <class T> EMU_UNSEEN static inline T atomicOr(T *p, T value)
{
	const T old = *p;

	emu::touch_atomically(p, sizeof *p);
	*p = old | value;
	return old;
}

#endif
