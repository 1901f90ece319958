/* SPDX-License-Identifier: MIT
 *
 * dots.c - dot products of rows, each in one order whatever other rows are computed beside it.
 * Contract: cpu.h. Tests: tests/test_ops.c, tests/test_invariant_ops.c.
 *
 *   x . w = sum over pieces of CPU_DOTS_PIECE columns, in order, of
 *           the sum over lanes of  a_0 b_0 + a_1 b_1 + ...,  a_k, b_k the vectors of a piece in
 * order
 *
 * Several rows of x and of W are taken at once so that each load is used several times; how many
 * changes no sum. What could is the compiler, if it fused multiplication and addition in one case
 * below and not in another: the tests compare bits at every level.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum {
	ROWS_W = CPU_DOTS_W,
	ROWS_X = VW == 16 ? 6 : 2 /* ROWS_W * ROWS_X accumulators in 32 or 16 registers */
};

/* bfloat16 is read two at a time: of a pair in one 32-bit lane, the first element is the lane
 * shifted up, the second the lane with its lower half cleared. So a block of 2 VW weights gives
 * the vector of its even elements and that of its odd ones for two operations, and the rows of x
 * are laid out alike beforehand: per block of 2 VW, the even elements, then the odd. What is left
 * at the end of a row stays as it is. */
void CPU(dots_split)(const float *x, size_t n, float *to)
{
	size_t k = 0;

	for (; k + 2 * VW <= n; k += 2 * VW) {
		for (size_t i = 0; i < VW; i++) {
			to[k + i] = x[k + 2 * i];
			to[k + VW + i] = x[k + 2 * i + 1];
		}
	}
	memcpy(to + k, x + k, (n - k) * sizeof *x);
}

/* The even and the odd elements of the 2 VW weights at w, or simply 2 VW float32 in order. */
static inline __attribute__((always_inline)) void load_block(const void *w, size_t k,
	const bool bf16, vf *even, vf *odd)
{
	vu pairs, low;

	if (!bf16) {
		*even = v_load((const float *)w + k);
		*odd = v_load((const float *)w + k + VW);
		return;
	}
	memcpy(&pairs, (const uint16_t *)w + k, sizeof pairs);
	low = pairs << 16;
	pairs &= 0xffff0000u;
	memcpy(even, &low, sizeof low);
	memcpy(odd, &pairs, sizeof pairs);
}

static void widen(const uint16_t *w, size_t n, float *to)
{
	size_t k = 0;

	for (; k + 2 * VW <= n; k += 2 * VW) {
		vf even, odd;

		load_block(w, k, true, &even, &odd);
		v_store(to + k, even);
		v_store(to + k + VW, odd);
	}
	for (; k < n; k++)
		to[k] = bf16_to_f32(w[k]);
}

const float *CPU(dots_weights)(struct tensor W, size_t first, size_t n, float *to)
{
	if (W.dtype != DTYPE_BF16)
		return CPU(weight_floats)(W, first, n, to);
	widen((const uint16_t *)W.data + first, n, to);
	return to;
}

typedef float v4 __attribute__((vector_size(16)));

/* Halves are added until four lanes are left. */
static inline __attribute__((always_inline)) v4 fold(vf v)
{
	v4 part[VW / 4];

	memcpy(part, &v, sizeof part);
	for (int half = VW / 8; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			part[i] += part[i + half];
	return part[0];
}

/* The n <= VW weights from element k on, zeros beyond. */
static inline __attribute__((always_inline)) vf load_last(const void *w, size_t k, size_t n,
	const bool bf16)
{
	uint16_t padded[VW] = {0};

	if (!bf16)
		return v_load_n((const float *)w + k, n);
	memcpy(padded, (const uint16_t *)w + k, (n < VW ? n : VW) * sizeof *padded);
	return v_load_bf16(padded);
}

/* One piece, columns [k, end), of rows_x rows of x and ROWS_W rows of W. */
static inline __attribute__((always_inline)) void dot_piece(const int rows_x, const bool bf16,
	const struct cpu_dots *d, const float *x, size_t k, size_t end, float *y, bool add)
{
	vf sum[ROWS_X][ROWS_W];

	for (int i = 0; i < rows_x; i++)
		for (int j = 0; j < ROWS_W; j++)
			sum[i][j] = (vf){0};
	for (; k + 2 * VW <= end; k += 2 * VW) {
		vf even[ROWS_W], odd[ROWS_W];

		for (int j = 0; j < ROWS_W; j++)
			load_block(d->w[j], k, bf16, &even[j], &odd[j]);
		for (int i = 0; i < rows_x; i++) {
			const vf a = v_load(x + (size_t)i * d->stride_x + k);
			const vf b = v_load(x + (size_t)i * d->stride_x + k + VW);

			for (int j = 0; j < ROWS_W; j++) {
				sum[i][j] += a * even[j];
				sum[i][j] += b * odd[j];
			}
		}
	}
	for (; k < end; k += VW)
		for (int j = 0; j < ROWS_W; j++)
			for (int i = 0; i < rows_x; i++)
				sum[i][j] += v_load_n(x + (size_t)i * d->stride_x + k, end - k) *
					     load_last(d->w[j], k, end - k, bf16);
	for (int i = 0; i < rows_x; i++) {
		float *to = y + (size_t)i * d->stride_y;
		float total[ROWS_W];

		for (int j = 0; j < ROWS_W; j++) {
			const v4 part = fold(sum[i][j]);

			total[j] = (part[0] + part[2]) + (part[1] + part[3]);
		}
		for (size_t j = 0; j < ROWS_W && j < d->n_w; j++)
			to[j] = add ? to[j] + total[j] : total[j];
	}
}

static inline __attribute__((always_inline)) void dot_tile(const int rows_x, const bool bf16,
	const struct cpu_dots *d, const float *x, float *y)
{
	for (size_t k = 0; k < d->n; k += CPU_DOTS_PIECE) {
		const size_t end = d->n - k < CPU_DOTS_PIECE ? d->n : k + CPU_DOTS_PIECE;

		dot_piece(rows_x, bf16, d, x, k, end, y, d->add || k > 0);
	}
}

/* dot_tile for a number of rows known only now; each case is a loop of its own. */
static void dot_some(const struct cpu_dots *d, size_t rows_x, const float *x, float *y)
{
	switch (rows_x) {
#define CASE(n) \
	case n: \
		if (d->bf16) \
			dot_tile(n, true, d, x, y); \
		else \
			dot_tile(n, false, d, x, y); \
		break;
		CASE(1)
		CASE(2)
#if defined(__AVX512F__)
		CASE(3)
		CASE(4)
		CASE(5)
		CASE(6)
#endif
#undef CASE
	}
}

void CPU(dots)(const struct cpu_dots *d)
{
	for (size_t i = 0, n; i < d->n_x; i += n) {
		n = d->n_x - i < ROWS_X ? d->n_x - i : ROWS_X;
		dot_some(d, n, d->x + i * d->stride_x, d->y + i * d->stride_y);
	}
}
