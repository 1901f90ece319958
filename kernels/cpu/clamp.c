/* SPDX-License-Identifier: MIT
 *
 * clamp.c - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e]
 *
 * A row at a time: first every delta from the untouched row, then every addition, in list order.
 * Deltas wait in the thread's scratch, which bounds a list at CPU_LIST entries per row and pass;
 * longer lists would have to read x after it changed, so they are refused.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

enum { CPU_LIST = CPU_SCRATCH / 2 };

int CPU(clamp_features)(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor x, struct err *err)
{
	const float *b_enc = few->b_enc.data, *threshold = few->threshold.data;
	const size_t d = x.cols;
	const int32_t n_entries = lists->start[lists->n_lists];

	for (size_t l = 0; l < lists->n_lists; l++)
		if (lists->start[l + 1] - lists->start[l] > CPU_LIST)
			return err_set(err, ERR_DEVICE,
				"op clamp_features: expected at most %d features in a list, found %d",
				CPU_LIST, lists->start[l + 1] - lists->start[l]);
	if (n_entries == 0)
		return 0;
	if (d > CPU_SCRATCH - CPU_LIST)
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %d, found %zu",
			CPU_SCRATCH - CPU_LIST, d);
#pragma omp parallel for schedule(static) \
	if (rows.n * d * (size_t)n_entries / lists->n_lists > CPU_WORTH_THREADS)
	for (size_t i = 0; i < rows.n; i++) {
		const size_t list = lists->n_lists == 1 ? 0 : (size_t)rows.seq[i];
		const int32_t first = lists->start[list], end = lists->start[list + 1];
		float *delta = CPU(scratch)(dev), *weights = delta + CPU_LIST;
		float *row = row_out(x, i);

		for (int32_t e = first; e < end; e++) {
			const size_t slot = (size_t)lists->slot[e];
			const float *w = CPU(weight_floats)(few->W_enc_t, slot * d, d, weights);
			const float pre = v_dot(row, w, d) + b_enc[slot];
			const float f = pre > threshold[slot] ? pre : 0;

			delta[e - first] = lists->scale[e] * f + lists->offset[e] - f;
		}
		for (int32_t e = first; e < end; e++) {
			const size_t slot = (size_t)lists->slot[e];

			if (delta[e - first] != 0)
				v_axpy(delta[e - first],
					CPU(weight_floats)(few->W_dec, slot * d, d, weights), row,
					d);
		}
	}
	return 0;
}
