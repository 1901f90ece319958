/* SPDX-License-Identifier: MIT
 *
 * linear.c - products with weights. Contract: ops.h. Twin: kernels/cpu/linear.c.
 */
#include "kernels/ref/ref.h"

int ref_linear(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < y.rows; i++)
		for (size_t j = 0; j < y.cols; j++)
			set(y, i, j, dot(x, i, W, j) + (bias.data ? get(bias, 0, j) : 0));
	return 0;
}

int ref_linear_backward(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < dx.rows; i++) {
		for (size_t k = 0; k < dx.cols; k++) {
			double sum = beta == 0 ? 0 : get(dx, i, k);

			for (size_t j = 0; j < dy.cols; j++)
				sum += get(dy, i, j) * get(W, j, k);
			set(dx, i, k, sum);
		}
	}
	return 0;
}
