/* SPDX-License-Identifier: MIT
 *
 * gated.c - GeGLU (tanh form) and SwiGLU. Contract: ops.h. Definition: kernels/ref/gated.c.
 *
 * Both gates are z sigmoid(t): t = 2 sqrt(2/pi) (z + 0.044715 z^3) for gelu, because
 * (1 + tanh(u))/2 = sigmoid(2u); t = z for silu. So with S = sigmoid(t),
 *   act = z S,   act' = S + z S (1 - S) t'.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

static const float TWICE_ROOT = 1.5957691216f; /* 2 sqrt(2/pi) */
static const float CUBIC = 0.044715f;

/* S, and t' when `slope` is given. */
static inline vf sigmoid_of(enum activation activation, vf z, vf *slope)
{
	vf t = z;

	if (activation == ACTIVATION_GELU_TANH) {
		const vf square = z * z;

		t = v_set(TWICE_ROOT) * z * (v_set(1.0f) + v_set(CUBIC) * square);
		if (slope)
			*slope = v_set(TWICE_ROOT) * (v_set(1.0f) + v_set(3 * CUBIC) * square);
	} else if (slope) {
		*slope = v_set(1.0f);
	}
	return v_set(1.0f) / (v_set(1.0f) + v_exp(-t));
}

int CPU(gated)(struct device *dev, enum activation activation, struct tensor gate,
	struct tensor up, struct tensor out, struct err *err)
{
	const size_t n = gate.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(gate) > CPU_WORTH_THREADS / 8)
	for (size_t i = 0; i < gate.rows; i++) {
		const float *g = row_of(gate, i), *u = row_of(up, i);
		float *o = row_out(out, i);

		for (size_t j = 0; j < n; j += VW) {
			const vf z = v_load_n(g + j, n - j);

			v_store_n(o + j,
				z * sigmoid_of(activation, z, NULL) * v_load_n(u + j, n - j),
				n - j);
		}
	}
	return 0;
}

int CPU(gated_backward)(struct device *dev, enum activation activation, struct tensor gate,
	struct tensor up, struct tensor dout, struct tensor dgate, struct tensor dup,
	struct err *err)
{
	const size_t n = gate.cols;

	(void)dev, (void)err;
#pragma omp parallel for schedule(static) if (tensor_count(gate) > CPU_WORTH_THREADS / 8)
	for (size_t i = 0; i < gate.rows; i++) {
		const float *g = row_of(gate, i), *u = row_of(up, i), *d = row_of(dout, i);
		float *dg = row_out(dgate, i), *du = row_out(dup, i);

		for (size_t j = 0; j < n; j += VW) {
			const vf z = v_load_n(g + j, n - j), w = v_load_n(u + j, n - j);
			const vf dz = v_load_n(d + j, n - j);
			vf slope;
			const vf S = sigmoid_of(activation, z, &slope);

			v_store_n(dg + j, dz * w * (S + z * S * (v_set(1.0f) - S) * slope), n - j);
			v_store_n(du + j, dz * z * S, n - j);
		}
	}
	return 0;
}
