/* SPDX-License-Identifier: MIT
 *
 * edits.c - edits of the residual stream that need no SAE. Contract: ops.h.
 * Definition: kernels/ref/edits.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

int CPU(ablate_direction)(struct device *dev, struct tensor u, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < x.rows; i++)
		v_axpy(-v_dot(row_of(x, i), u.data, x.cols), u.data, row_out(x, i), x.cols);
	return 0;
}

int CPU(add_vector)(struct device *dev, double a, struct tensor v, struct tensor x,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		v_axpy((float)a, v.data, row_out(x, i), x.cols);
	return 0;
}

int CPU(mix)(struct device *dev, double a, struct tensor target, struct tensor x, struct err *err)
{
	const vf keep = v_set((float)(1 - a)), take = v_set((float)a);
	const size_t d = x.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < x.rows; i++) {
		const float *to = row_of(target, i);
		float *row = row_out(x, i);

		for (size_t j = 0; j < d; j += VW)
			v_store_n(row + j,
				keep * v_load_n(row + j, d - j) + take * v_load_n(to + j, d - j),
				d - j);
	}
	return 0;
}
