/* SPDX-License-Identifier: MIT
 *
 * edits.c - edits of the residual stream that need no SAE. Contract: ops.h.
 * Twin: kernels/cpu/edits.c.
 */
#include "kernels/ref/ref.h"

int ref_ablate_direction(struct device *dev, struct tensor u, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++) {
		const double along = dot(x, i, u, 0);

		for (size_t j = 0; j < x.cols; j++)
			set(x, i, j, get(x, i, j) - along * get(u, 0, j));
	}
	return 0;
}

int ref_add_vector(struct device *dev, double a, struct tensor v, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(x, i, j, get(x, i, j) + a * get(v, 0, j));
	return 0;
}

int ref_mix(struct device *dev, double a, struct tensor target, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			set(x, i, j, (1 - a) * get(x, i, j) + a * get(target, i, j));
	return 0;
}
