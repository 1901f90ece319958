/* SPDX-License-Identifier: MIT
 *
 * embed.c - token embedding. Contract: ops.h. Definition: kernels/ref/embed.c.
 */
#include "kernels/cpu/cpu.h"

int CPU(embed)(struct device *dev, struct tensor E, const int32_t *token, double scale,
	struct tensor x, struct err *err)
{
	const size_t d = x.cols;

	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++) {
		float *row = row_out(x, i);
		const float *e = CPU(weight_floats)(E, (size_t)token[i] * d, d, row);

		for (size_t j = 0; j < d; j++)
			row[j] = (float)scale * e[j];
	}
	return 0;
}
