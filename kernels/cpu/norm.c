/* SPDX-License-Identifier: MIT
 *
 * norm.c - RMSNorm, forward and backward: one pass for the sum, one for the result, a row at a
 * time. Contract: ops.h. Definition and formulas: kernels/ref/norm.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

struct call {
	float eps;
	vf one; /* 1 where the gain is 1 + w, else 0 */
	const float *w;
	struct tensor x, rstd, in, out; /* in: dy, backward only */
};

static void forward_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->x.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *x = row_of(c->x, i);
		float *y = row_out(c->out, i);
		const float r = 1 / sqrtf(v_dot(x, x, d) / (float)d + c->eps);

		for (size_t j = 0; j < d; j += VW)
			v_store_n(y + j,
				v_load_n(x + j, d - j) * v_set(r) *
					(c->one + v_load_n(c->w + j, d - j)),
				d - j);
		if (c->rstd.data)
			*row_out(c->rstd, i) = r;
	}
}

int CPU(rmsnorm)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	struct call c = {(float)norm.eps, v_set(norm.plus_one ? 1.0f : 0.0f), w.data, x, rstd, {0},
		y};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, forward_rows, &c);
	return 0;
}

static void backward_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->x.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *x = row_of(c->x, i), *dy = row_of(c->in, i);
		float *dx = row_out(c->out, i);
		const float r = *row_of(c->rstd, i);
		vf sum = {0};
		float pull;

		for (size_t j = 0; j < d; j += VW)
			sum += v_load_n(x + j, d - j) * v_load_n(dy + j, d - j) *
			       (c->one + v_load_n(c->w + j, d - j));
		pull = v_sum(sum) * r * r * r / (float)d;
		for (size_t j = 0; j < d; j += VW)
			v_store_n(dx + j,
				v_set(r) * (c->one + v_load_n(c->w + j, d - j)) *
						v_load_n(dy + j, d - j) -
					v_load_n(x + j, d - j) * v_set(pull),
				d - j);
	}
}

int CPU(rmsnorm_backward)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, struct tensor dx, struct err *err)
{
	struct call c = {(float)norm.eps, v_set(norm.plus_one ? 1.0f : 0.0f), w.data, x, rstd, dy,
		dx};

	(void)err;
	cpu_run(dev, x.rows, 4 * x.cols, backward_rows, &c);
	return 0;
}
