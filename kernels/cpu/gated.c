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

enum { COST = 16 }; /* of one element, in units of a multiply-add */

struct call {
	enum activation activation;
	struct slice gate, up;
	struct tensor out;       /* forward */
	struct tensor dout;      /* backward */
	struct slice dgate, dup; /* likewise */
};

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

/* By rows: as mix_rows in edits.c. */
static void forward_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t n = c->gate.n;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *gate = slice_of(c->gate, i), *up = slice_of(c->up, i);
		float *out = row_out(c->out, i);

		for (size_t j = 0; j < n; j += VW) {
			const vf z = v_load_n(gate + j, n - j);

			v_store_n(out + j,
				z * sigmoid_of(c->activation, z, NULL) * v_load_n(up + j, n - j),
				n - j);
		}
	}
}

int CPU(gated)(struct device *dev, enum activation activation, struct slice gate, struct slice up,
	struct tensor out, struct err *err)
{
	struct call c = {.activation = activation, .gate = gate, .up = up, .out = out};

	(void)err;
	cpu_run(dev, out.rows, COST * out.cols, forward_rows, &c);
	return 0;
}

static void backward_row(const struct call *c, size_t i)
{
	const size_t n = c->gate.n;
	const float *gate = slice_of(c->gate, i), *up = slice_of(c->up, i);
	const float *dout = row_of(c->dout, i);
	float *dgate = slice_of(c->dgate, i), *dup = slice_of(c->dup, i);

	for (size_t j = 0; j < n; j += VW) {
		const vf z = v_load_n(gate + j, n - j), u = v_load_n(up + j, n - j);
		const vf d = v_load_n(dout + j, n - j);
		vf slope;
		const vf S = sigmoid_of(c->activation, z, &slope);

		v_store_n(dgate + j, d * u * (S + z * S * (v_set(1.0f) - S) * slope), n - j);
		v_store_n(dup + j, d * z * S, n - j);
	}
}

static void backward_rows(void *context, size_t first, size_t end, int thread)
{
	(void)thread;
	for (size_t i = first; i < end; i++)
		backward_row(context, i);
}

int CPU(gated_backward)(struct device *dev, enum activation activation, struct slice gate,
	struct slice up, struct tensor dout, struct slice dgate, struct slice dup, struct err *err)
{
	struct call c = {.activation = activation,
		.gate = gate,
		.up = up,
		.dout = dout,
		.dgate = dgate,
		.dup = dup};

	(void)err;
	cpu_run(dev, dout.rows, COST * dout.cols, backward_rows, &c);
	return 0;
}
