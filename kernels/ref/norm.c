/* SPDX-License-Identifier: MIT
 *
 * norm.c - RMSNorm, forward and backward. Contract: ops.h. Twin: kernels/cpu/norm.c.
 *
 * Backward: with y_j = x_j r g_j, r = (mean(x^2) + eps)^(-1/2), g = w or 1 + w,
 *   dL/dx_i = r g_i dy_i  -  x_i r^3 / d  sum_j x_j g_j dy_j.
 */
#include "kernels/ref/ref.h"

#include <math.h>

static double gain(struct norm norm, struct tensor w, size_t j)
{
	return (norm.plus_one ? 1 : 0) + get(w, 0, j);
}

int ref_rmsnorm(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++) {
		const double r = 1 / sqrt(dot(x, i, x, i) / (double)x.cols + norm.eps);

		for (size_t j = 0; j < x.cols; j++)
			set(y, i, j, get(x, i, j) * r * gain(norm, w, j));
		if (rstd.data)
			set(rstd, i, 0, r);
	}
	return 0;
}

int ref_rmsnorm_backward(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, double beta, struct tensor dx, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++) {
		const double r = get(rstd, i, 0);
		double sum = 0;

		for (size_t j = 0; j < x.cols; j++)
			sum += get(x, i, j) * gain(norm, w, j) * get(dy, i, j);
		for (size_t j = 0; j < x.cols; j++)
			set(dx, i, j,
				(beta == 0 ? 0 : get(dx, i, j)) +
					r * gain(norm, w, j) * get(dy, i, j) -
					get(x, i, j) * r * r * r / (double)x.cols * sum);
	}
	return 0;
}

/* Row i of x_out. */
static void end_row(const struct branch_end *b, size_t i)
{
	const double r = 1 / sqrt(dot(b->branch, i, b->branch, i) / (double)b->branch.cols +
				     b->norm.eps);

	for (size_t j = 0; j < b->branch.cols; j++) {
		const double scale = b->w_branch.data ? r * gain(b->norm, b->w_branch, j) : 1;
		double x = get(b->x_in, i, j) + get(b->branch, i, j) * scale;

		if (b->target.data)
			x = (1 - b->mix) * x + b->mix * get(b->target, i, j);
		set(b->x_out, i, j, x);
	}
	if (b->w_branch.data && b->rstd_branch.data)
		set(b->rstd_branch, i, 0, r);
}

int ref_end_branch(struct device *dev, const struct branch_end *b, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < b->branch.rows; i++)
		end_row(b, i);
	if (b->first_bad)
		ref_find_nonfinite(dev, b->x_out, b->first_bad, err);
	if (b->w_next.data)
		ref_rmsnorm(dev, b->norm, b->x_out, b->w_next, b->h, b->rstd_next, err);
	return 0;
}

int ref_end_branch_backward(struct device *dev, const struct branch_end_back *b, struct err *err)
{
	if (b->dh.data)
		ref_rmsnorm_backward(dev, b->norm, b->x_out, b->w_next, b->rstd_next, b->dh,
			b->beta, b->g, err);
	if (b->gradient.data)
		ref_axpy(dev, b->weight, b->g, b->gradient, err);
	ref_scale(dev, b->keep, b->g, err);
	if (!b->dbranch.data)
		return 0;
	if (b->w_branch.data)
		return ref_rmsnorm_backward(dev, b->norm, b->branch, b->w_branch, b->rstd_branch,
			b->g, 0, b->dbranch, err);
	for (size_t i = 0; i < b->g.rows; i++)
		for (size_t j = 0; j < b->g.cols; j++)
			set(b->dbranch, i, j, get(b->g, i, j));
	return 0;
}
