/* SPDX-License-Identifier: MIT
 *
 * primitives.h - the CPU counterpart of kernels/cuda/primitives.cuh, where the layouts are.
 */
#ifndef SAENGINE_EMU_PRIMITIVES_H
#define SAENGINE_EMU_PRIMITIVES_H

#include "tests/emu/emu.h"

static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2],
	emu::place at = emu::place::here())
{
	const int nothing = 0;

	emu::current->mma_c = c;
	emu::current->mma_a = a;
	emu::current->mma_b = b;
	emu::warp_operation(emu::warp_op::mma, 0xffffffffu, emu::current->lane, &nothing,
		sizeof nothing, at);
}

namespace emu
{

/* The row that a lane points at, as 16-bit elements. */
static inline const uint16_t *row_of_lane(const void *row, int lane, place at)
{
	if ((uintptr_t)row % 16 != 0)
		emu_fail("%s:%d: the row of an ldmatrix is not 16-byte aligned", at.file, at.line);
	return (const uint16_t *)shuffle(0xffffffffu, (uintptr_t)row, lane, 32, at);
}

/* Before any lane goes on to write. A vote, because barriers can be made blind. */
static inline void all_have_read(place at)
{
	const int vote = 1;

	warp_operation(warp_op::vote, 0xffffffffu, current->lane, &vote, sizeof vote, at);
}

} // namespace emu

static inline void ldmatrix_x4(uint32_t r[4], const void *row, emu::place at = emu::place::here())
{
	const int lane = emu::current->lane;

	for (int m = 0; m < 4; m++) {
		const uint16_t *from = emu::row_of_lane(row, 8 * m + lane / 4, at);
		const int i = 2 * (lane % 4);

		r[m] = (uint32_t)from[i] | (uint32_t)from[i + 1] << 16;
	}
	emu::all_have_read(at);
}

static inline void ldmatrix_x4_trans(uint32_t r[4], const void *row,
	emu::place at = emu::place::here())
{
	const int lane = emu::current->lane;

	for (int m = 0; m < 4; m++) {
		const uint16_t *low = emu::row_of_lane(row, 8 * m + 2 * (lane % 4), at);
		const uint16_t *high = emu::row_of_lane(row, 8 * m + 2 * (lane % 4) + 1, at);

		r[m] = (uint32_t)low[lane / 4] | (uint32_t)high[lane / 4] << 16;
	}
	emu::all_have_read(at);
}

static inline void cp_async_16(void *to, const void *from, bool valid,
	emu::place at = emu::place::here())
{
	emu::async_copy(to, from, valid, at);
}

static inline void cp_async_commit(void)
{
	emu::async_commit();
}

template <int N> static inline void cp_async_wait(void)
{
	emu::async_wait(N);
}

static inline float exp2_fast(float x)
{
	return exp2f(x);
}

static inline float reciprocal_fast(float x)
{
	return 1 / x;
}

/* As the compiler's own accesses, of which the race detector knows. */
static inline uint4 read_16(const void *from)
{
	if ((uintptr_t)from % 16 != 0)
		emu_fail("16 bytes are read at once at %p", from);
	return *(const uint4 *)from;
}

static inline void write_16(void *to, uint4 x)
{
	if ((uintptr_t)to % 16 != 0)
		emu_fail("16 bytes are written at once at %p", to);
	*(uint4 *)to = x;
}

static inline void write_8(void *to, uint2 x)
{
	if ((uintptr_t)to % 8 != 0)
		emu_fail("8 bytes are written at once at %p", to);
	*(uint2 *)to = x;
}

#endif
