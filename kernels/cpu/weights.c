/* SPDX-License-Identifier: MIT
 *
 * weights.c - weights as the kernels compute with them: float32. Contract: cpu.h.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

const float *CPU(weight_floats)(struct tensor W, size_t first, size_t n, float *to)
{
	if (W.dtype == DTYPE_F32)
		return (const float *)W.data + first;
	if (W.dtype == DTYPE_BF16) {
		const uint16_t *from = (const uint16_t *)W.data + first;
		size_t i = 0;

		for (; i + VW <= n; i += VW)
			v_store(to + i, v_load_bf16(from + i));
		for (; i < n; i++)
			to[i] = bf16_to_f32(from[i]);
	} else {
		const uint16_t *from = (const uint16_t *)W.data + first;

		for (size_t i = 0; i < n; i++)
			to[i] = f16_to_f32(from[i]);
	}
	return to;
}
