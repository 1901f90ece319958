/* SPDX-License-Identifier: MIT
 *
 * norm.c - RMSNorm, forward and backward: one pass for the sum, one for the result, a row at a
 * time. Contract: ops.h. Definition and formulas: kernels/ref/norm.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>
#include <string.h>

struct call {
	float eps;
	vf one; /* 1 where the gain is 1 + w, else 0 */
	const float *w;
	struct tensor x, rstd, in, out; /* in: dy, backward only */
	bool adds;                      /* backward only: beta is 1 */
};

static inline vf gain_of(vf one, const float *w, size_t j, size_t d)
{
	return one + v_load_n(w + j, d - j);
}

/* y = x r g. */
static void scale_row(const float *x, float r, vf one, const float *w, float *y, size_t d)
{
	for (size_t j = 0; j < d; j += VW)
		v_store_n(y + j, v_load_n(x + j, d - j) * v_set(r) * gain_of(one, w, j, d), d - j);
}

static float rstd_of(const float *x, size_t d, float eps)
{
	return 1 / sqrtf(v_dot(x, x, d) / (float)d + eps);
}

static void forward_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->x.cols;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *x = row_of(c->x, i);
		const float r = rstd_of(x, d, c->eps);

		scale_row(x, r, c->one, c->w, row_out(c->out, i), d);
		if (c->rstd.data)
			*row_out(c->rstd, i) = r;
	}
}

int CPU(rmsnorm)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	struct call c = {(float)norm.eps, v_set(norm.plus_one ? 1.0f : 0.0f), w.data, x, rstd, {0},
		y, false};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, forward_rows, &c);
	return 0;
}

static void backward_row(const struct call *c, size_t i)
{
	const size_t d = c->x.cols;
	const float *x = row_of(c->x, i), *dy = row_of(c->in, i);
	float *dx = row_out(c->out, i);
	const float r = *row_of(c->rstd, i);
	vf sum = {0};
	float pull;

	for (size_t j = 0; j < d; j += VW)
		sum += v_load_n(x + j, d - j) * v_load_n(dy + j, d - j) *
		       gain_of(c->one, c->w, j, d);
	pull = v_sum(sum) * r * r * r / (float)d;
	for (size_t j = 0; j < d; j += VW) {
		const vf gradient = v_set(r) * gain_of(c->one, c->w, j, d) *
					    v_load_n(dy + j, d - j) -
				    v_load_n(x + j, d - j) * v_set(pull);

		v_store_n(dx + j, c->adds ? v_load_n(dx + j, d - j) + gradient : gradient, d - j);
	}
}

static void backward_rows(void *context, size_t first, size_t end, int thread)
{
	(void)thread;
	for (size_t i = first; i < end; i++)
		backward_row(context, i);
}

int CPU(rmsnorm_backward)(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, double beta, struct tensor dx, struct err *err)
{
	struct call c = {(float)norm.eps, v_set(norm.plus_one ? 1.0f : 0.0f), w.data, x, rstd, dy,
		dx, beta != 0};

	(void)err;
	cpu_run(dev, x.rows, 4 * x.cols, backward_rows, &c);
	return 0;
}

/* ---- the end of a branch ----------------------------------------------------------------- */

static void end_row(const struct branch_end *b, vf one, size_t i)
{
	const size_t d = b->branch.cols;
	const float *branch = row_of(b->branch, i), *x_in = row_of(b->x_in, i);
	const float *w = b->w_branch.data;
	float *x = row_out(b->x_out, i);
	const float r = w ? rstd_of(branch, d, (float)b->norm.eps) : 1;

	for (size_t j = 0; j < d; j += VW) {
		const vf added = v_load_n(branch + j, d - j);

		v_store_n(x + j,
			v_load_n(x_in + j, d - j) +
				(w ? added * v_set(r) * gain_of(one, w, j, d) : added),
			d - j);
	}
	if (w && b->rstd_branch.data)
		*row_out(b->rstd_branch, i) = r;
}

static void begin_row(const struct branch_end *b, vf one, size_t i)
{
	const float *x = row_of(b->x_out, i);
	const float r = rstd_of(x, b->branch.cols, (float)b->norm.eps);

	scale_row(x, r, one, b->w_next.data, row_out(b->h, i), b->branch.cols);
	if (b->rstd_next.data)
		*row_out(b->rstd_next, i) = r;
}

static void end_rows(void *context, size_t first, size_t end, int thread)
{
	const struct branch_end *b = context;
	const vf one = v_set(b->norm.plus_one ? 1.0f : 0.0f);

	(void)thread;
	for (size_t i = first; i < end; i++) {
		end_row(b, one, i);
		if (b->target.data)
			v_mix((float)b->mix, row_of(b->target, i), row_out(b->x_out, i),
				b->branch.cols);
		if (b->w_next.data)
			begin_row(b, one, i);
	}
}

int CPU(end_branch)(struct device *dev, const struct branch_end *b, struct err *err)
{
	struct branch_end call = *b;

	cpu_run(dev, b->branch.rows, 6 * b->branch.cols, end_rows, &call);
	return b->first_bad ? CPU(find_nonfinite)(dev, b->x_out, b->first_bad, err) : 0;
}

struct back {
	const struct branch_end_back *b;
	struct call next, branch; /* the norms' */
};

static void back_row(const struct back *c, size_t i)
{
	const struct branch_end_back *b = c->b;
	const size_t d = b->g.cols;
	const vf keep = v_set((float)b->keep);
	float *g = row_out(b->g, i);

	if (b->dh.data)
		backward_row(&c->next, i);
	if (b->gradient.data)
		v_axpy((float)b->weight, g, row_out(b->gradient, i), d);
	for (size_t j = 0; b->keep != 1 && j < d; j += VW)
		v_store_n(g + j, keep * v_load_n(g + j, d - j), d - j);
	if (b->dbranch.data && b->w_branch.data)
		backward_row(&c->branch, i);
	else if (b->dbranch.data)
		memcpy(row_out(b->dbranch, i), g, d * sizeof *g);
}

static void back_rows(void *context, size_t first, size_t end, int thread)
{
	(void)thread;
	for (size_t i = first; i < end; i++)
		back_row(context, i);
}

int CPU(end_branch_backward)(struct device *dev, const struct branch_end_back *b, struct err *err)
{
	const vf one = v_set(b->norm.plus_one ? 1.0f : 0.0f);
	struct back c = {b,
		{0, one, b->w_next.data, b->x_out, b->rstd_next, b->dh, b->g, b->beta != 0},
		{0, one, b->w_branch.data, b->branch, b->rstd_branch, b->g, b->dbranch, false}};

	(void)err;
	cpu_run(dev, b->g.rows, 10 * b->g.cols, back_rows, &c);
	return 0;
}
