/* SPDX-License-Identifier: MIT
 *
 * clamp.c - holding chosen SAE features at new values. Contract: ops.h.
 * Twin: kernels/cpu/clamp.c.
 *
 *   x += sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   every f_e read from the old x
 */
#include "kernels/ref/ref.h"

#include <stdlib.h>

int ref_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor x, struct err *err)
{
	double *old = malloc((x.cols + 1) * sizeof *old);

	(void)dev;
	if (!old)
		return err_nomem(err, "one row", x.cols * sizeof *old);
	for (size_t row = 0; row < x.rows; row++) {
		const size_t list = lists->n_lists == 1 ? 0 : (size_t)rows.seq[row];

		for (size_t j = 0; j < x.cols; j++)
			old[j] = get(x, row, j);
		for (int32_t e = lists->start[list]; e < lists->start[list + 1]; e++) {
			const size_t i = (size_t)lists->slot[e];
			double pre = get(few->b_enc, 0, i), f, delta;

			for (size_t j = 0; j < x.cols; j++)
				pre += old[j] * get(few->W_enc_t, i, j);
			f = pre > get(few->threshold, 0, i) ? pre : 0;
			delta = (double)lists->scale[e] * f + (double)lists->offset[e] - f;
			for (size_t j = 0; j < x.cols; j++)
				set(x, row, j, get(x, row, j) + delta * get(few->W_dec, i, j));
		}
	}
	free(old);
	return 0;
}
