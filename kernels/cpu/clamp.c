/* SPDX-License-Identifier: MIT
 *
 * clamp.c - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += s sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e]
 *
 * A row at a time: first every delta from the untouched row, then every addition, in list order.
 * Deltas wait in the thread's scratch, which bounds a list at CPU_LIST entries; longer ones would
 * have to read x after it changed, so they are refused.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum { CPU_LIST = CPU_SCRATCH / 2 };

struct call {
	struct device *dev;
	const struct sae_weights *few;
	const struct clamp_lists *lists;
	struct rows rows;
	struct tensor f, x; /* f may be absent */
};

/* Feature `slot` of a row as the encoder's input u has it. */
static float encode_one(const struct sae_weights *few, size_t slot, const float *u, size_t d,
	float *weights)
{
	const float pre = v_dot(u, CPU(weight_floats)(few->W_enc_t, slot * d, d, weights), d) +
			  ((const float *)few->b_enc.data)[slot];
	float act = pre;

	if (!(pre > ((const float *)few->threshold.data)[slot]))
		return 0;
	if (few->gain.data)
		act = ((const float *)few->gain.data)[slot] * pre +
		      ((const float *)few->shift.data)[slot];
	return act > 0 ? act : 0;
}

static void clamp_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const struct clamp_lists *lists = c->lists;
	const bool raw = c->few->input == SAE_INPUT_RAW;
	const size_t d = c->x.cols;
	float *delta = cpu_scratch(c->dev, thread), *weights = delta + CPU_LIST;

	for (size_t i = first; i < end; i++) {
		const size_t list = lists->n_lists == 1 ? 0 : (size_t)c->rows.seq[i];
		const int32_t from = lists->start[list], to = lists->start[list + 1];
		float *x = row_out(c->x, i), *u = raw ? x : weights + d;
		const struct cpu_sae_input in = CPU(sae_input_of)(c->few->input, x, d);

		if (!raw && !c->f.data)
			cpu_sae_input_apply(in, x, u, d);
		for (int32_t e = from; e < to; e++) {
			const size_t slot = (size_t)lists->slot[e];
			const float f = c->f.data ? row_of(c->f, i)[slot]
						  : encode_one(c->few, slot, u, d, weights);

			delta[e - from] = in.s * (lists->scale[e] * f + lists->offset[e] - f);
		}
		for (int32_t e = from; e < to; e++) {
			const size_t slot = (size_t)lists->slot[e];

			if (delta[e - from] != 0)
				v_axpy(delta[e - from],
					CPU(weight_floats)(c->few->W_dec, slot * d, d, weights), x,
					d);
		}
	}
}

int CPU(clamp_features)(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor f, struct tensor x,
	struct err *err)
{
	struct call c = {dev, few, lists, rows, f, x};
	const size_t n_entries = (size_t)lists->start[lists->n_lists];

	for (size_t l = 0; l < lists->n_lists; l++)
		if (lists->start[l + 1] - lists->start[l] > CPU_LIST)
			return err_set(err, ERR_DEVICE,
				"op clamp_features: expected at most %d features in a list, found %d",
				CPU_LIST, lists->start[l + 1] - lists->start[l]);
	if (x.cols > (CPU_SCRATCH - CPU_LIST) / 2)
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %d, found %zu",
			(CPU_SCRATCH - CPU_LIST) / 2, x.cols);
	cpu_run(dev, rows.n, 2 * x.cols * (n_entries / lists->n_lists), clamp_rows, &c);
	return 0;
}
