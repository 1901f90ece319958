/* SPDX-License-Identifier: MIT
 *
 * norm.c - RMSNorm, forward and backward: one pass for the sum, one for the result, a row at a
 * time. Contract: ops.h. Definition and formulas: kernels/ref/norm.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

int CPU(rmsnorm)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	const vf one = v_set(norm.plus_one ? 1.0f : 0.0f);
	const float *gain = w.data;
	const size_t d = x.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < x.rows; i++) {
		const float *in = row_of(x, i);
		float *out = row_out(y, i);
		const float r = 1 / sqrtf(v_dot(in, in, d) / (float)d + (float)norm.eps);

		for (size_t j = 0; j < d; j += VW)
			v_store_n(out + j,
				v_load_n(in + j, d - j) * v_set(r) *
					(one + v_load_n(gain + j, d - j)),
				d - j);
		if (rstd.data)
			*row_out(rstd, i) = r;
	}
	return 0;
}

int CPU(rmsnorm_backward)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, struct tensor dx, struct err *err)
{
	const vf one = v_set(norm.plus_one ? 1.0f : 0.0f);
	const float *gain = w.data;
	const size_t d = x.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(x) > CPU_WORTH_THREADS)
	for (size_t i = 0; i < x.rows; i++) {
		const float *in = row_of(x, i), *g = row_of(dy, i);
		float *out = row_out(dx, i);
		const float r = *row_of(rstd, i);
		vf sum = {0};
		float pull;

		for (size_t j = 0; j < d; j += VW)
			sum += v_load_n(in + j, d - j) * v_load_n(g + j, d - j) *
				(one + v_load_n(gain + j, d - j));
		pull = v_sum(sum) * r * r * r / (float)d;
		for (size_t j = 0; j < d; j += VW)
			v_store_n(out + j,
				v_set(r) * (one + v_load_n(gain + j, d - j)) *
						v_load_n(g + j, d - j) -
					v_load_n(in + j, d - j) * v_set(pull),
				d - j);
	}
	return 0;
}
