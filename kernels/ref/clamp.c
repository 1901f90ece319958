/* SPDX-License-Identifier: MIT
 *
 * clamp.c - holding chosen SAE features at new values. Contract: ops.h.
 * Twin: kernels/cpu/clamp.c.
 *
 *   x += s sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   s and every f_e of the old x
 */
#include "kernels/ref/ref.h"

#include <stdlib.h>

static void clamp_row(const struct sae_weights *few, const struct clamp_lists *lists, size_t list,
	const double *f, double s, struct tensor x, size_t row)
{
	for (int32_t e = lists->start[list]; e < lists->start[list + 1]; e++) {
		const size_t i = (size_t)lists->slot[e];
		const double delta = (double)lists->scale[e] * f[i] + (double)lists->offset[e] -
				     f[i];

		for (size_t j = 0; j < x.cols; j++)
			set(x, row, j, get(x, row, j) + s * delta * get(few->W_dec, i, j));
	}
}

int ref_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor given, struct tensor x,
	struct err *err)
{
	const size_t n_few = few->W_enc_t.rows;
	double *f = malloc((n_few + 1) * sizeof *f);

	(void)dev;
	if (!f)
		return err_nomem(err, "one row of features", n_few * sizeof *f);
	for (size_t row = 0; row < x.rows; row++) {
		const size_t list = lists->n_lists == 1 ? 0 : (size_t)rows.seq[row];
		const double s = ref_sae_input_scale(few->input, x, row);

		for (size_t i = 0; i < n_few; i++)
			f[i] = given.data ? get(given, row, i) : ref_sae_feature(few, x, row, i);
		clamp_row(few, lists, list, f, s, x, row);
	}
	free(f);
	return 0;
}
