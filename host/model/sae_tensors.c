/* SPDX-License-Identifier: MIT
 *
 * sae_tensors.c - Contract: sae_tensors.h. Tests: tests/test_sae.c, tests/test_method.c.
 *
 * Products with constants and norms are made in double from the file's values and rounded once.
 * Features are read in blocks, so that a matrix stored the other way round is transposed with
 * both sides in cache.
 */
#include "host/model/sae_tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 };

struct sae_tensors sae_tensors_none(void)
{
	return (struct sae_tensors){.enc_scale = 1, .bias_scale = 1, .dec_scale = 1,
		.b_dec_scale = 1, .threshold_scale = 1};
}

/* ---- values ---------------------------------------------------------------------------- */

static double element(const struct file_tensor *t, size_t i)
{
	const unsigned char *at = t->data + dtype_bytes(t->dtype) * i;
	uint16_t half;
	float value;
	double wide;

	switch (t->dtype) {
	case DTYPE_F32:
		memcpy(&value, at, sizeof value);
		return value;
	case DTYPE_F64:
		memcpy(&wide, at, sizeof wide);
		return wide;
	default:
		memcpy(&half, at, sizeof half);
		return t->dtype == DTYPE_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
	}
}

/* ---- finding --------------------------------------------------------------------------- */

static bool readable(const struct file_tensor *t)
{
	return t->known && (t->dtype == DTYPE_F32 || t->dtype == DTYPE_F64 ||
				   t->dtype == DTYPE_BF16 || t->dtype == DTYPE_F16);
}

int sae_tensor_find(const struct safetensors *weights, const char *path, const char *name,
	size_t rows, size_t cols, struct file_tensor *out, struct err *err)
{
	const struct file_tensor *t = safetensors_find(weights, name);
	char found[64] = "none", expected[64];

	snprintf(expected, sizeof expected, cols ? "[%zu, %zu]" : "[%zu]", rows, cols);
	if (t && t->n_dims == 2)
		snprintf(found, sizeof found, "%s [%zu, %zu]", t->type, t->shape[0], t->shape[1]);
	else if (t && t->n_dims == 1)
		snprintf(found, sizeof found, "%s [%zu]", t->type, t->shape[0]);
	else if (t)
		snprintf(found, sizeof found, "%s of %d dimensions", t->type, t->n_dims);
	if (!t || !readable(t) || t->n_dims != (cols ? 2 : 1) || t->shape[0] != rows ||
		(cols && t->shape[1] != cols))
		return err_set(err, ERR_INPUT,
			"%s: expected a tensor \"%s\" of F32, F64, BF16 or F16 with shape %s, found %s",
			path, name, expected, found);
	*out = *t;
	return 0;
}

int sae_scalar_find(const struct safetensors *weights, const char *path, const char *name,
	double *out, struct err *err)
{
	const struct file_tensor *t = safetensors_find(weights, name);

	if (!t || !readable(t) || t->n_dims > 1 || (t->n_dims == 1 && t->shape[0] != 1))
		return err_set(err, ERR_INPUT,
			"%s: expected a tensor \"%s\" of one F32, F64, BF16 or F16, found %s of %d "
			"dimensions",
			path, name, t ? t->type : "none", t ? t->n_dims : 0);
	*out = element(t, 0);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------- */

/* The n elements from `first` on. */
static void elements(const struct file_tensor *t, size_t first, size_t n, float *to)
{
	if (t->dtype == DTYPE_F32) {
		memcpy(to, t->data + 4 * first, 4 * n);
		return;
	}
	for (size_t j = 0; j < n; j++)
		to[j] = (float)element(t, first + j);
}

/* Features id(k0) to id(k0 + n - 1) as rows of `to` [n, d]. */
static void matrix_rows(const struct file_tensor *t, bool by_feature, size_t d, size_t d_sae,
	const int32_t *ids, size_t k0, size_t n, float *to)
{
	float run[BLOCK];

	/* The file's memory has features along its rows unless one of the two turns it. */
	if (by_feature != t->column_major) {
		for (size_t k = 0; k < n; k++)
			elements(t, (ids ? (size_t)ids[k0 + k] : k0 + k) * d, d, to + k * d);
		return;
	}
	for (size_t j = 0; j < d; j++) {
		if (!ids)
			elements(t, j * d_sae + k0, n, run);
		for (size_t k = 0; k < n; k++)
			to[k * d + j] = ids ? (float)element(t, j * d_sae + (size_t)ids[k0 + k])
					    : run[k];
	}
}

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t j = 0; j < n; j++)
		sum += (double)a[j] * b[j];
	return sum;
}

static void scale(float *row, size_t n, double by)
{
	for (size_t j = 0; j < n && by != 1; j++)
		row[j] = (float)(row[j] * by);
}

/* The numbers of feature i that are not rows. */
struct feature_terms {
	double b_enc, threshold, gain, shift;
};

static struct feature_terms terms_of(const struct sae_tensors *t, size_t i)
{
	struct feature_terms f = {.b_enc = element(&t->b_enc, i) * t->bias_scale};

	f.threshold = t->threshold.data ? element(&t->threshold, i) : t->constant_threshold;
	if (t->log_threshold)
		f.threshold = exp(f.threshold);
	f.threshold = fmax(f.threshold * t->threshold_scale, 0);
	if (t->b_mag.data) {
		f.gain = exp(element(&t->r_mag, i));
		f.shift = element(&t->b_mag, i) - f.gain * f.b_enc;
	}
	return f;
}

/* Features id(k0) to id(k0 + n - 1), n at most BLOCK; b_dec as folded; scratch [2 BLOCK, d] for
 * rows that are needed but not wanted. */
static void read_block(const struct sae_tensors *t, const int32_t *ids, size_t k0, size_t n,
	const float *b_dec, float *scratch, const struct sae_arrays *out)
{
	const size_t d = t->d_model;
	float *enc = out->W_enc_t ? out->W_enc_t + k0 * d : scratch;
	float *dec = out->W_dec ? out->W_dec + k0 * d : scratch + BLOCK * d;
	const bool need_enc = out->W_enc_t || (out->b_enc && t->subtract_b_dec);
	const bool need_dec = out->W_dec || t->unit_decoder;

	if (need_enc)
		matrix_rows(&t->W_enc, t->enc_by_feature, d, t->d_sae, ids, k0, n, enc);
	if (need_dec)
		matrix_rows(&t->W_dec, t->dec_by_feature, d, t->d_sae, ids, k0, n, dec);
	for (size_t k = 0; k < n; k++) {
		const size_t i = ids ? (size_t)ids[k0 + k] : k0 + k;
		const double own = t->scaling.data ? element(&t->scaling, i) : 1;
		struct feature_terms f = terms_of(t, i);
		double norm = 1;

		if (t->unit_decoder)
			norm = sqrt(dot(dec + k * d, dec + k * d, d)) * fabs(t->dec_scale * own);
		if (t->subtract_b_dec)
			f.b_enc -= t->enc_scale * dot(enc + k * d, b_dec, d);
		scale(enc + k * d, need_enc ? d : 0, t->enc_scale * norm);
		scale(dec + k * d, need_dec ? d : 0,
			norm > 0 ? t->dec_scale * own / norm : 0);
		if (out->b_enc)
			out->b_enc[k0 + k] = (float)(f.b_enc * norm);
		if (out->threshold)
			out->threshold[k0 + k] = (float)f.threshold;
		if (out->gain)
			out->gain[k0 + k] = (float)f.gain;
		if (out->shift)
			out->shift[k0 + k] = (float)f.shift;
	}
}

int sae_tensors_read(const struct sae_tensors *t, const int32_t *ids, size_t n,
	const struct sae_arrays *out, struct err *err)
{
	const size_t d = t->d_model;
	float *memory = malloc((2 * BLOCK + 1) * d * sizeof *memory);
	float *b_dec = memory;

	if (!memory)
		return err_nomem(err, "a block of SAE features", (2 * BLOCK + 1) * d * sizeof *memory);
	elements(&t->b_dec, 0, d, b_dec);
	scale(b_dec, d, t->b_dec_scale);
	if (out->b_dec)
		memcpy(out->b_dec, b_dec, d * sizeof *b_dec);
	for (size_t k = 0; k < n; k += BLOCK)
		read_block(t, ids, k, n - k < BLOCK ? n - k : BLOCK, b_dec, memory + d,
			out);
	free(memory);
	return 0;
}

/* ---- one safetensors file --------------------------------------------------------------- */

int sae_safetensors_open(struct sae_file *file, struct sae_safetensors **out, struct err *err)
{
	struct sae_safetensors *r = calloc(1, sizeof *r);

	if (!r)
		return err_nomem(err, file->path, sizeof *r);
	file->reader = r;
	r->tensors = sae_tensors_none();
	*out = r;
	return safetensors_open(&r->weights, file->path, err);
}

int sae_safetensors_encoder(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r = file->reader;
	struct sae_tensors *t = &r->tensors;
	const struct file_tensor *encoder = safetensors_find(r->weights, "encoder.weight");

	if (!encoder || encoder->n_dims != 2)
		return err_set(err, ERR_INPUT,
			"%s: expected a tensor \"encoder.weight\" with two dimensions", file->path);
	t->d_sae = file->d_sae = encoder->shape[0];
	t->d_model = file->d_model = encoder->shape[1];
	t->enc_by_feature = true;
	TRY(sae_tensor_find(r->weights, file->path, "encoder.weight", t->d_sae, t->d_model,
		&t->W_enc, err));
	return sae_tensor_find(r->weights, file->path, "encoder.bias", t->d_sae, 0, &t->b_enc, err);
fail:
	return err->code;
}

int sae_safetensors_read(struct sae_file *file, const int32_t *ids, size_t n,
	const struct sae_arrays *out, struct err *err)
{
	const struct sae_safetensors *r = file->reader;
	const int rc = sae_tensors_read(&r->tensors, ids, n, out, err);

	safetensors_release(r->weights);
	return rc;
}

void sae_safetensors_close(struct sae_file *file)
{
	struct sae_safetensors *r = file->reader;

	if (r)
		safetensors_close(r->weights);
	free(r);
}
