/* SPDX-License-Identifier: MIT
 *
 * gpu.cuh - what a kernel file includes: CUDA under nvcc, the harness that runs kernels on the CPU
 * (tests/emu) under a C++ compiler. Kernels keep these rules, which the harness checks:
 *
 *   - Launch through GPU_LAUNCH; shared memory sized at launch through GPU_DYNAMIC_SHARED, and
 *     beyond 48 KiB only after GPU_ALLOW_SHARED.
 *   - __shared__ variables in functions that are not templates; templates take dynamic memory.
 *   - No thread leaves before a block barrier that others reach; warp masks name live lanes only;
 *     block sizes are multiples of 32.
 *   - No reliance on lanes running in step, no race however benign, no waiting for another block.
 *   - PTX only in primitives.cuh.
 *   - No atomics on floats: their order varies, and results must repeat bit for bit.
 */
#ifndef SAENGINE_GPU_CUH
#define SAENGINE_GPU_CUH

#include "kernels/cuda/cuda.h"

#include <math.h>

#ifdef SAENGINE_EMU
#include "tests/emu/emu.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
	kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

#define GPU_DYNAMIC_SHARED(type, name) \
	extern __shared__ __align__(16) unsigned char name##_bytes[]; \
	type *const name = reinterpret_cast<type *>(name##_bytes)

/* A cudaError_t. */
#define GPU_ALLOW_SHARED(kernel, bytes) \
	cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes))
#endif

/* ---- element types of weights ---------------------------------------------------------- */

struct bf16 {
	uint16_t bits;
};

struct f16 {
	uint16_t bits;
};

static __device__ __forceinline__ float to_float(float x)
{
	return x;
}

static __device__ __forceinline__ float to_float(struct bf16 x)
{
	return __uint_as_float((unsigned)x.bits << 16);
}

static __device__ __forceinline__ float to_float(struct f16 x)
{
#ifdef SAENGINE_EMU
	return f16_to_f32(x.bits);
#else
	return __half2float(__ushort_as_half(x.bits));
#endif
}

/* Round to nearest, ties to even. */
static __device__ __forceinline__ struct bf16 to_bf16(float x)
{
	struct bf16 h;

#ifdef SAENGINE_EMU
	h.bits = f32_to_bf16(x);
#else
	h.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
#endif
	return h;
}

static __device__ __forceinline__ struct f16 to_f16(float x)
{
	struct f16 h;

#ifdef SAENGINE_EMU
	h.bits = f32_to_f16(x);
#else
	h.bits = __half_as_ushort(__float2half_rn(x));
#endif
	return h;
}

/* Runs a statement in which T names the element type of a weight. */
#define GPU_WITH_TYPE(dtype_value, T, ...) \
	do { \
		if ((dtype_value) == DTYPE_F32) { \
			typedef float T; \
			__VA_ARGS__; \
		} else if ((dtype_value) == DTYPE_BF16) { \
			typedef struct bf16 T; \
			__VA_ARGS__; \
		} else { \
			typedef struct f16 T; \
			__VA_ARGS__; \
		} \
	} while (0)

/* ---- sums in a fixed order ------------------------------------------------------------- */

static const int WARP = 32;
static const unsigned ALL_LANES = 0xffffffffu;

/* Every lane receives the sum; whole warps only. */
static __device__ __forceinline__ float warp_sum(float x)
{
	for (int step = WARP / 2; step > 0; step /= 2)
		x += __shfl_xor_sync(ALL_LANES, x, step);
	return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
	for (int step = WARP / 2; step > 0; step /= 2)
		x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
	return x;
}

/* Room for block_sum and the like; a function, as templates have no __shared__ variables. */
static __device__ __forceinline__ float *shared_partial(void)
{
	__shared__ float partial[WARP];

	return partial;
}

/* Every thread of the block receives the sum of all. `partial`: WARP floats of shared memory, free
 * for reuse after the next barrier (the function begins with one). One-dimensional blocks. */
static __device__ __forceinline__ float block_sum(float x, float *partial)
{
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int n_warps = (int)blockDim.x / WARP;

	x = warp_sum(x);
	__syncthreads();
	if (lane == 0)
		partial[warp] = x;
	__syncthreads();
	return warp_sum(lane < n_warps ? partial[lane] : 0.0f);
}

/* ---- products with rows of weights ------------------------------------------------------ */

/* Four neighbours, which must be aligned as one. */
static __device__ __forceinline__ float4 load_four(const float *p)
{
	return *(const float4 *)p;
}

template <class T> static __device__ __forceinline__ float4 load_four(const T *p)
{
	const uint2 bits = *(const uint2 *)p;
	T t[4];

	t[0].bits = (uint16_t)bits.x;
	t[1].bits = (uint16_t)(bits.x >> 16);
	t[2].bits = (uint16_t)bits.y;
	t[3].bits = (uint16_t)(bits.y >> 16);
	return make_float4(to_float(t[0]), to_float(t[1]), to_float(t[2]), to_float(t[3]));
}

/* x . w of a whole warp; every lane receives it. Rows of a width divisible by 4 are aligned, as
 * every tensor begins at a multiple of 16 bytes. */
template <class T>
static __device__ __forceinline__ float warp_dot(const float *x, const T *w, size_t d)
{
	const size_t lane = threadIdx.x % WARP;
	float sum = 0;

	if (d % 4 == 0) {
		for (size_t j = 4 * lane; j < d; j += 4 * WARP) {
			const float4 a = load_four(x + j), b = load_four(w + j);

			sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
		}
	} else {
		for (size_t j = lane; j < d; j += WARP)
			sum += x[j] * to_float(w[j]);
	}
	return warp_sum(sum);
}

/* What every card of compute capability 8.0 and newer lets a block ask for: 8.6, 8.9 and 12.0 no
 * more than that. */
static const size_t LEAST_SHARED = 99 << 10;

/* ---- launch sizes ---------------------------------------------------------------------- */

/* Blocks for n items of `per_block` each. Grids have at most 2^31 - 1 blocks in x; the rows and
 * entries of this program stay far below. */
static inline unsigned blocks_for(size_t n, size_t per_block)
{
	return (unsigned)((n + per_block - 1) / per_block);
}

/* Threads of a block that walks over a row of n elements: whole warps, about four elements a
 * thread, at most `most`. */
static inline unsigned threads_for(size_t n, unsigned most)
{
	const size_t warps = (n + 4 * WARP - 1) / (4 * WARP);

	return warps * WARP > most ? most : warps ? (unsigned)warps * WARP : WARP;
}

static inline float *floats(struct tensor t)
{
	return (float *)t.data;
}

#endif
