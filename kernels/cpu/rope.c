/* SPDX-License-Identifier: MIT
 *
 * rope.c - rotary position embedding. Contract: ops.h. Definition: kernels/ref/rope.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

int CPU(rope)(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	const size_t half = head_dim / 2;
	const vf sign = v_set((float)direction);

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < x.rows; i++) {
		const float *cosine = row_of(cos_table, (size_t)pos[i]);
		const float *sine = row_of(sin_table, (size_t)pos[i]);

		for (float *a = row_out(x, i), *end = a + x.cols; a < end; a += head_dim) {
			float *b = a + half;

			for (size_t j = 0; j < half; j += VW) {
				const vf c = v_load_n(cosine + j, half - j);
				const vf s = v_load_n(sine + j, half - j) * sign;
				const vf u = v_load_n(a + j, half - j);
				const vf v = v_load_n(b + j, half - j);

				v_store_n(a + j, u * c - v * s, half - j);
				v_store_n(b + j, v * c + u * s, half - j);
			}
		}
	}
	return 0;
}
