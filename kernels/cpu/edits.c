/* SPDX-License-Identifier: MIT
 *
 * edits.c - edits of the residual stream that need no SAE. Contract: ops.h.
 * Definition: kernels/ref/edits.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

struct call {
	float a;
	const float *v;
	struct tensor target, x;
};

static void ablate_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->x.cols;

	(void)thread;
	for (size_t i = first; i < end; i++)
		v_axpy(-v_dot(row_of(c->x, i), c->v, d), c->v, row_out(c->x, i), d);
}

int CPU(ablate_direction)(struct device *dev, struct tensor u, struct tensor x, struct err *err)
{
	struct call c = {.v = u.data, .x = x};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, ablate_rows, &c);
	return 0;
}

static void add_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++)
		v_axpy(c->a, c->v, row_out(c->x, i), c->x.cols);
}

int CPU(add_vector)(struct device *dev, double a, struct tensor v, struct tensor x, struct err *err)
{
	struct call c = {.a = (float)a, .v = v.data, .x = x};

	(void)err;
	cpu_run(dev, x.rows, x.cols, add_rows, &c);
	return 0;
}

/* By rows, so that whether a value is at an end, which compilers may round in their own way, hangs
 * on its place in the row alone. */
static void mix_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;

	(void)thread;
	for (size_t i = first; i < end; i++)
		v_mix(c->a, row_of(c->target, i), row_out(c->x, i), c->x.cols);
}

int CPU(mix)(struct device *dev, double a, struct tensor target, struct tensor x, struct err *err)
{
	struct call c = {.a = (float)a, .target = target, .x = x};

	(void)err;
	cpu_run(dev, x.rows, x.cols, mix_rows, &c);
	return 0;
}
