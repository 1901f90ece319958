/* SPDX-License-Identifier: MIT
 *
 * sae.c - encoding by a sparse autoencoder, all features or a few, decoding, and the cosine of
 * decoder rows with a direction. Contract: ops.h. Twin: kernels/cpu/sae.c.
 */
#include "kernels/ref/ref.h"

#include <math.h>
#include <stdlib.h>

/* What is subtracted from row `row` of x, what then divides it, and what undoes both. */
struct input {
	double mean, divisor, s, m;
};

static struct input input_of(enum sae_input kind, struct tensor x, size_t row)
{
	const double d = (double)x.cols;
	double mean = 0, sum = 0;

	if (kind == SAE_INPUT_RAW)
		return (struct input){0, 1, 1, 0};
	if (kind == SAE_INPUT_SPHERE) {
		const double s = sqrt(dot(x, row, x, row)) / sqrt(d);

		return (struct input){0, s > 0 ? s : 1, s, 0};
	}
	for (size_t j = 0; j < x.cols; j++)
		mean += get(x, row, j) / d;
	for (size_t j = 0; j < x.cols; j++)
		sum += (get(x, row, j) - mean) * (get(x, row, j) - mean);
	return (struct input){mean, sqrt(sum / (d - 1)) + 1e-5, sqrt(sum / (d - 1)), mean};
}

double ref_sae_input_scale(enum sae_input kind, struct tensor x, size_t row)
{
	return input_of(kind, x, row).s;
}

double ref_sae_feature(const struct sae_weights *sae, struct tensor x, size_t row, size_t i)
{
	const struct input in = input_of(sae->input, x, row);
	double pre = get(sae->b_enc, 0, i);

	for (size_t j = 0; j < x.cols; j++)
		pre += get(sae->W_enc_t, i, j) * ((get(x, row, j) - in.mean) / in.divisor);
	if (!(pre > get(sae->threshold, 0, i)))
		return 0;
	return sae->gain.data ? fmax(get(sae->gain, 0, i) * pre + get(sae->shift, 0, i), 0) : pre;
}

/* Sets to 0 what is not among the top_k of its group: what has as many others before it. They are
 * counted that far, for the thousands of features that fall behind few. */
static void keep_largest(const struct sae_weights *sae, const double *f, size_t n, double *kept)
{
	for (size_t i = 0; i < n; i++) {
		const size_t first = i / sae->group_width * sae->group_width;
		size_t before = 0;

		for (size_t j = first; before < sae->top_k && j < n && j < first + sae->group_width;
			j++)
			before += f[j] > f[i] || (f[j] == f[i] && j < i);
		kept[i] = before < sae->top_k ? f[i] : 0;
	}
}

static void encode_row(const struct sae_weights *sae, struct tensor x, size_t row, double *f,
	double *kept)
{
	const size_t n = sae->W_enc_t.rows;

	for (size_t i = 0; i < n; i++)
		f[i] = kept[i] = ref_sae_feature(sae, x, row, i);
	if (sae->top_k > 0)
		keep_largest(sae, f, n, kept);
}

int ref_sae_encode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	const size_t n_feature = sae->W_enc_t.rows;
	double *f = malloc(2 * n_feature * sizeof *f + 1);
	size_t n = 0;

	(void)dev;
	if (!f)
		return err_nomem(err, "one row of features", 2 * n_feature * sizeof *f);
	out->indptr[0] = 0;
	for (size_t row = 0; row < x.rows; row++) {
		encode_row(sae, x, row, f, f + n_feature);
		for (size_t i = 0; i < n_feature; i++) {
			if (f[n_feature + i] == 0)
				continue;
			if (n < out->capacity) {
				out->indices[n] = (int32_t)i;
				set(out->values, n, 0, f[n_feature + i]);
			}
			n++;
		}
		out->indptr[row + 1] = (int32_t)n;
	}
	free(f);
	return 0;
}

int ref_sae_encode_selected(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < f.rows; row++)
		for (size_t i = 0; i < f.cols; i++)
			set(f, row, i, ref_sae_feature(sae, x, row, i));
	return 0;
}

int ref_csr_select(struct device *dev, const struct csr *f, const int32_t *id, struct tensor out,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < out.rows; row++) {
		for (size_t j = 0; j < out.cols; j++) {
			double value = 0;

			for (int32_t e = f->indptr[row]; e < f->indptr[row + 1]; e++)
				if (f->indices[e] == id[j])
					value = get(f->values, (size_t)e, 0);
			set(out, row, j, value);
		}
	}
	return 0;
}

int ref_sae_scale(struct device *dev, enum sae_input kind, struct tensor x, struct tensor scale,
	struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < x.rows; row++)
		set(scale, row, 0, ref_sae_input_scale(kind, x, row));
	return 0;
}

int ref_sae_decode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	const struct csr *f, struct tensor x_hat, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < x_hat.rows; row++) {
		const struct input in = input_of(sae->input, x, row);

		for (size_t j = 0; j < x_hat.cols; j++) {
			double sum = get(sae->b_dec, 0, j);

			for (int32_t e = f->indptr[row]; e < f->indptr[row + 1]; e++)
				sum += get(f->values, (size_t)e, 0) *
				       get(sae->W_dec, (size_t)f->indices[e], j);
			set(x_hat, row, j, in.s * sum + in.m);
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
