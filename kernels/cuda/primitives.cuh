/* SPDX-License-Identifier: MIT
 *
 * primitives.cuh - the only file with inline PTX. The harness has an exact counterpart of each in
 * tests/emu/primitives.h.
 *
 * Fragment layouts of one warp (lane l, g = l / 4, c = 2 (l % 4)); a register holds two bfloat16,
 * the lower half first:
 *   A [16, 16] row-major:     a[0] = A[g][c, c+1]      a[1] = A[g+8][c, c+1]
 *                             a[2] = A[g][c+8, c+9]    a[3] = A[g+8][c+8, c+9]
 *   B [16, 8], by columns:    b[0] = B[c, c+1][g]      b[1] = B[c+8, c+9][g]
 *   C [16, 8] row-major:      c[0,1] = C[g][c, c+1]    c[2,3] = C[g+8][c, c+1]
 */
#ifndef SAENGINE_PRIMITIVES_CUH
#define SAENGINE_PRIMITIVES_CUH

#include "kernels/cuda/gpu.cuh"

#ifdef SAENGINE_EMU
#include "tests/emu/primitives.h"
#else

/* C += A B in float32. All lanes of the warp. */
static __device__ __forceinline__ void mma_bf16(float c[4], const uint32_t a[4],
	const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
		     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of 16-bit elements from shared memory: lanes 8m to 8m + 7 point at the rows
 * of matrix m, 16-byte aligned; lane l receives r[m] = row l/4, elements 2 (l%4) and the next. */
static __device__ __forceinline__ void ldmatrix_x4(uint32_t r[4], const void *row)
{
	const unsigned at = (unsigned)__cvta_generic_to_shared(row);

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(at)
		     : "memory");
}

/* The same, each matrix transposed: r[m] = rows 2 (l%4) and the next of column l/4. */
static __device__ __forceinline__ void ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
	const unsigned at = (unsigned)__cvta_generic_to_shared(row);

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(at)
		     : "memory");
}

/* 16 bytes from global to shared memory in the background; zeros where `valid` is false (`from`
 * must then still be an address inside the array). Both 16-byte aligned. */
static __device__ __forceinline__ void cp_async_16(void *to, const void *from, bool valid)
{
	const unsigned at = (unsigned)__cvta_generic_to_shared(to);
	const int bytes = valid ? 16 : 0;

	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		     :
		     : "r"(at), "l"(from), "r"(bytes)
		     : "memory");
}

/* Ends a group of copies; cp_async_wait<n> waits until at most the n newest groups of this thread
 * are still on their way. Other threads' copies need a barrier after that. */
static __device__ __forceinline__ void cp_async_commit(void)
{
	asm volatile("cp.async.commit_group;" : : : "memory");
}

template <int N> static __device__ __forceinline__ void cp_async_wait(void)
{
	asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory");
}

/* 2^x and 1/x within two units of float32's last place; results below 2^-126 are 0. */
static __device__ __forceinline__ float exp2_fast(float x)
{
	float y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

static __device__ __forceinline__ float reciprocal_fast(float x)
{
	float y;

	asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

/* 16 or 8 bytes of global memory at once, at a multiple of so many. Spelt out: of assignments in
 * unrolled loops the compiler makes one access an element here and there. */
static __device__ __forceinline__ uint4 read_16(const void *from)
{
	uint4 x;

	asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
		     : "l"(from)
		     : "memory");
	return x;
}

static __device__ __forceinline__ void write_16(void *to, uint4 x)
{
	asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
		     :
		     : "l"(to), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
		     : "memory");
}

static __device__ __forceinline__ void write_8(void *to, uint2 x)
{
	asm volatile("st.global.v2.u32 [%0], {%1, %2};" : : "l"(to), "r"(x.x), "r"(x.y) : "memory");
}

#endif

/* Two floats as one register of bfloat16, the first in the lower half. */
static __device__ __forceinline__ uint32_t pack_bf16(float low, float high)
{
	return (uint32_t)to_bf16(low).bits | (uint32_t)to_bf16(high).bits << 16;
}

#endif
