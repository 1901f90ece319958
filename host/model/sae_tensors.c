/* SPDX-License-Identifier: MIT
 *
 * sae_tensors.c - Contract: sae_tensors.h. Tests: tests/test_sae.c, tests/test_method.c.
 *
 * Products with constants and norms are made in double from the file's values and rounded once.
 * A block of features is read at a time, so that a matrix stored the other way round is transposed
 * with both sides in cache.
 */
#include "host/model/sae_tensors.h"

#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/formats/finite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sae_tensors sae_tensors_none(void)
{
	return (struct sae_tensors){.enc_scale = 1,
		.bias_scale = 1,
		.dec_scale = 1,
		.b_dec_scale = 1,
		.threshold_scale = 1};
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
	*out = file_tensor_value(t, 0);
	return finite_check(t, path, 1, err);
}

/* ---- reading --------------------------------------------------------------------------- */

/* The n elements from `first` on. */
static void elements(const struct file_tensor *t, size_t first, size_t n, float *to)
{
	const unsigned char *from = t->data + dtype_bytes(t->dtype) * first;
	uint16_t half;

	switch (t->dtype) {
	case DTYPE_F32:
		memcpy(to, from, 4 * n);
		break;
	case DTYPE_BF16:
		for (size_t j = 0; j < n; j++) {
			memcpy(&half, from + 2 * j, sizeof half);
			to[j] = bf16_to_f32(half);
		}
		break;
	default:
		for (size_t j = 0; j < n; j++)
			to[j] = (float)file_tensor_value(t, first + j);
	}
}

/* Whether the file's memory has features along its rows, unless one of the two turns it. */
static bool rows_are_features(const struct file_tensor *t, bool by_feature)
{
	return by_feature != t->column_major;
}

/* Features first to first + n - 1 of a matrix that has them along its rows: TURN of them at a time,
 * so that what is written fills a line of the cache. */
static void turned_rows(const struct file_tensor *t, size_t d, size_t d_sae, size_t first, size_t n,
	float *to)
{
	enum { TURN = 16 };
	float run[TURN][SAE_BLOCK];

	for (size_t j = 0; j < d; j += TURN) {
		const size_t m = size_min(TURN, d - j);

		for (size_t r = 0; r < m; r++)
			elements(t, (j + r) * d_sae + first, n, run[r]);
		for (size_t k = 0; k < n; k++)
			for (size_t r = 0; r < m; r++)
				to[k * d + j + r] = run[r][k];
	}
}

/* Features `first` to first + n - 1 of the request as rows of `to` [n, d]. */
static void matrix_rows(const struct file_tensor *t, bool by_feature, size_t d, size_t d_sae,
	const int32_t *ids, size_t first, size_t n, float *to)
{
	if (!rows_are_features(t, by_feature) && !ids) {
		turned_rows(t, d, d_sae, first, n, to);
		return;
	}
	for (size_t k = 0; k < n; k++) {
		const size_t i = ids ? (size_t)ids[first + k] : first + k;

		if (rows_are_features(t, by_feature))
			elements(t, i * d, d, to + k * d);
		else
			for (size_t j = 0; j < d; j++)
				to[k * d + j] = (float)file_tensor_value(t, j * d_sae + i);
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

/* -inf would become a threshold or a gain of 0. */
static double finite_or_nan(double value)
{
	return isfinite(value) ? value : NAN;
}

static struct feature_terms terms_of(const struct sae_tensors *t, size_t i)
{
	struct feature_terms f = {.b_enc = file_tensor_value(&t->b_enc, i) * t->bias_scale};

	f.threshold = t->threshold.data ? finite_or_nan(file_tensor_value(&t->threshold, i))
					: t->constant_threshold;
	if (t->log_threshold)
		f.threshold = exp(f.threshold);
	f.threshold *= t->threshold_scale;
	if (f.threshold < 0) /* not fmax, which takes NaN for a number that is missing */
		f.threshold = 0;
	if (t->b_mag.data) {
		f.gain = exp(finite_or_nan(file_tensor_value(&t->r_mag, i)));
		f.shift = file_tensor_value(&t->b_mag, i) - f.gain * f.b_enc;
	}
	return f;
}

void sae_tensors_b_dec(const struct sae_tensors *t, float *b_dec)
{
	elements(&t->b_dec, 0, t->d_model, b_dec);
	scale(b_dec, t->d_model, t->b_dec_scale);
}

void sae_tensors_read(const struct sae_tensors *t, const float *b_dec, enum sae_parts parts,
	const int32_t *ids, size_t first, size_t n, struct sae_block *out)
{
	const size_t d = t->d_model;
	const bool need_enc = parts & SAE_ENCODER;
	const bool need_dec = (parts & SAE_DECODER) || t->unit_decoder;

	if (need_enc)
		matrix_rows(&t->W_enc, t->enc_by_feature, d, t->d_sae, ids, first, n, out->W_enc_t);
	if (need_dec)
		matrix_rows(&t->W_dec, t->dec_by_feature, d, t->d_sae, ids, first, n, out->W_dec);
	for (size_t k = 0; k < n; k++) {
		const size_t i = ids ? (size_t)ids[first + k] : first + k;
		const double own = t->scaling.data ? file_tensor_value(&t->scaling, i) : 1;
		struct feature_terms f = terms_of(t, i);
		float *enc = out->W_enc_t + k * d, *dec = out->W_dec + k * d;
		double norm = 1;

		if (t->unit_decoder)
			norm = sqrt(dot(dec, dec, d)) * fabs(t->dec_scale * own);
		if (t->subtract_b_dec && need_enc)
			f.b_enc -= t->enc_scale * dot(enc, b_dec, d);
		scale(enc, need_enc ? d : 0, t->enc_scale * norm);
		scale(dec, need_dec ? d : 0, norm > 0 ? t->dec_scale * own / norm : 0);
		out->b_enc[k] = (float)(f.b_enc * norm);
		out->threshold[k] = (float)f.threshold;
		out->gain[k] = (float)f.gain;
		out->shift[k] = (float)f.shift;
	}
}

int sae_tensors_check_finite(const struct sae_tensors *t, enum sae_parts parts, const char *path,
	int n_threads, struct err *err)
{
	const bool enc = parts & SAE_ENCODER, dec = (parts & SAE_DECODER) || t->unit_decoder;
	const struct {
		const struct file_tensor *tensor;
		bool is_part;
	} tensors[] = {{&t->W_enc, enc}, {&t->b_enc, enc}, {&t->threshold, enc}, {&t->b_mag, enc},
		{&t->r_mag, enc}, {&t->W_dec, dec}, {&t->scaling, dec}, {&t->b_dec, true}};

	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
		if (tensors[i].is_part && tensors[i].tensor->data &&
			finite_check(tensors[i].tensor, path, n_threads, err))
			return err->code;
	return 0;
}

enum { CHUNK = 1 << 20 };

/* A byte of every page of a chunk. */
static void touch_chunk(void *tensor, size_t chunk, int thread)
{
	enum { PAGE = 4096 };
	const struct file_tensor *t = tensor;
	const size_t end = size_min((chunk + 1) * CHUNK, t->bytes);

	(void)thread;
	for (size_t i = chunk * CHUNK; i < end; i += PAGE)
		(void)*(const volatile unsigned char *)(t->data + i);
}

void sae_tensors_walk(const struct sae_tensors *t, enum sae_parts parts, int n_threads)
{
	const struct file_tensor *const turned[] = {(parts & SAE_ENCODER) &&
								    !rows_are_features(&t->W_enc,
									    t->enc_by_feature)
							    ? &t->W_enc
							    : NULL,
		((parts & SAE_DECODER) || t->unit_decoder) &&
				!rows_are_features(&t->W_dec, t->dec_by_feature)
			? &t->W_dec
			: NULL};

	for (size_t m = 0; m < 2; m++) {
		if (!turned[m])
			continue;
		threads_run((turned[m]->bytes + CHUNK - 1) / CHUNK, n_threads, touch_chunk,
			(void *)turned[m]);
	}
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

int sae_safetensors_tensors(struct sae_file *file, enum sae_parts parts, struct sae_tensors *out,
	struct err *err)
{
	const struct sae_safetensors *r = file->reader;

	(void)parts, (void)err;
	*out = r->tensors;
	return 0;
}

void sae_safetensors_release(struct sae_file *file)
{
	const struct sae_safetensors *r = file->reader;

	safetensors_release(r->weights);
}

void sae_safetensors_close(struct sae_file *file)
{
	struct sae_safetensors *r = file->reader;

	if (r)
		safetensors_close(r->weights);
	free(r);
}
