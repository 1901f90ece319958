/* SPDX-License-Identifier: MIT
 *
 * gated.c - GeGLU (tanh form) and SwiGLU. Contract: ops.h. Twin: kernels/cpu/gated.c.
 *
 *   gelu(z) = z/2 (1 + tanh u),  u = sqrt(2/pi) (z + 0.044715 z^3)
 *   silu(z) = z / (1 + exp(-z))
 */
#include "kernels/ref/ref.h"

#include <math.h>

static double act(enum activation activation, double z)
{
	if (activation == ACTIVATION_SILU)
		return z / (1 + exp(-z));
	return z / 2 * (1 + tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
}

static double act_derivative(enum activation activation, double z)
{
	double t;

	if (activation == ACTIVATION_SILU) {
		const double sigmoid = 1 / (1 + exp(-z));

		return sigmoid * (1 + z * (1 - sigmoid));
	}
	t = tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z));
	return (1 + t) / 2 + z / 2 * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * z * z);
}

int ref_gated(struct device *dev, enum activation activation, struct slice gate, struct slice up,
	struct tensor out, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < out.rows; i++)
		for (size_t j = 0; j < out.cols; j++)
			set(out, i, j,
				act(activation, get_slice(gate, i, j)) * get_slice(up, i, j));
	return 0;
}

int ref_gated_backward(struct device *dev, enum activation activation, struct slice gate,
	struct slice up, struct tensor dout, struct slice dgate, struct slice dup, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < dout.rows; i++) {
		for (size_t j = 0; j < dout.cols; j++) {
			const double z = get_slice(gate, i, j), u = get_slice(up, i, j);
			const double d = get(dout, i, j);

			set_slice(dgate, i, j, d * u * act_derivative(activation, z));
			set_slice(dup, i, j, d * act(activation, z));
		}
	}
	return 0;
}
