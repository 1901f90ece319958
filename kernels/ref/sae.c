/* SPDX-License-Identifier: MIT
 *
 * sae.c - encoding by a sparse autoencoder, all features or a few, decoding, and the cosine of
 * decoder rows with a direction. Contract: ops.h. Twin: kernels/cpu/sae.c.
 */
#include "kernels/ref/ref.h"

#include <math.h>

static double feature(const struct sae_weights *sae, struct tensor x, size_t row, size_t i)
{
	const double pre = dot(x, row, sae->W_enc_t, i) + get(sae->b_enc, 0, i);

	return pre > get(sae->threshold, 0, i) ? pre : 0;
}

int ref_sae_encode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	size_t n = 0;

	(void)dev, (void)err;
	out->indptr[0] = 0;
	for (size_t row = 0; row < x.rows; row++) {
		for (size_t i = 0; i < sae->W_enc_t.rows; i++) {
			const double f = feature(sae, x, row, i);

			if (f == 0)
				continue;
			if (n < out->capacity) {
				out->indices[n] = (int32_t)i;
				set(out->values, n, 0, f);
			}
			n++;
		}
		out->indptr[row + 1] = (int32_t)n;
	}
	return 0;
}

int ref_sae_encode_selected(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < f.rows; row++)
		for (size_t i = 0; i < f.cols; i++)
			set(f, row, i, feature(sae, x, row, i));
	return 0;
}

int ref_sae_decode(struct device *dev, const struct sae_weights *sae, const struct csr *f,
	struct tensor x_hat, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < x_hat.rows; row++) {
		for (size_t j = 0; j < x_hat.cols; j++) {
			double sum = get(sae->b_dec, 0, j);

			for (int32_t e = f->indptr[row]; e < f->indptr[row + 1]; e++)
				sum += get(f->values, (size_t)e, 0) *
					get(sae->W_dec, (size_t)f->indices[e], j);
			set(x_hat, row, j, sum);
		}
	}
	return 0;
}

int ref_row_cosine(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	const double norm_v = sqrt(dot(v, 0, v, 0));

	(void)dev, (void)err;
	for (size_t i = 0; i < W.rows; i++) {
		const double norm_w = sqrt(dot(W, i, W, i));

		set(out, i, 0, norm_w > 0 && norm_v > 0 ? dot(W, i, v, 0) / norm_w / norm_v : 0);
	}
	return 0;
}
