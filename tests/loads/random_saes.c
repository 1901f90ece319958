/* SPDX-License-Identifier: MIT
 *
 * random_saes.c - Contract: random_saes.h. Tests: tests/test_loads.py.
 */
#include "tests/loads/random_saes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct random_reader {
	const struct stretch *numbers;
	uint64_t encoder, decoder; /* where the layer begins in the endless row */
	float threshold;
};

static void fill_row(float *out, const float *numbers, size_t n)
{
	const float deviation = 1 / sqrtf((float)n);

	for (size_t i = 0; i < n; i++)
		out[i] = deviation * numbers[i];
}

/* Feature `id`, which goes to row k. */
static void fill_feature(
	const struct sae_file *file, size_t id, size_t k, const struct sae_arrays *out)
{
	const struct random_reader *r = file->reader;
	const size_t d = file->d_model;

	if (out->W_enc_t)
		fill_row(out->W_enc_t + k * d, stretch_from(r->numbers, r->encoder + id * d), d);
	if (out->W_dec)
		fill_row(out->W_dec + k * d, stretch_from(r->numbers, r->decoder + id * d), d);
	if (out->b_enc)
		out->b_enc[k] = 0;
	if (out->threshold)
		out->threshold[k] = r->threshold;
}

static int read_features(struct sae_file *file, const int32_t *ids, size_t n,
	const struct sae_arrays *out, struct err *err)
{
	(void)err;
#pragma omp parallel for if (n > 1024)
	for (size_t k = 0; k < n; k++)
		fill_feature(file, ids ? (size_t)ids[k] : k, k, out);
	for (size_t i = 0; out->b_dec && i < file->d_model; i++)
		out->b_dec[i] = 0;
	return 0;
}

static void close_reader(struct sae_file *file)
{
	free(file->reader);
}

static const struct sae_format random_format = {
	.name = "random", .file_name = "", .read = read_features, .close = close_reader};

static int open_layer(
	struct sae_set *set, const struct random_saes *what, size_t layer, struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct random_reader *r = malloc(sizeof *r);

	*file = (struct sae_file){.format = &random_format, .path = strdup("random weights"),
		.reader = r, .d_model = what->d_model, .d_sae = what->d_sae, .claimed_l0 = NAN};
	if (!r || !file->path)
		return err_nomem(err, "a random SAE", sizeof *r);
	*r = (struct random_reader){what->numbers, 7919 * (2 * layer), 7919 * (2 * layer + 1),
		(float)what->threshold[layer]};
	return 0;
}

int random_saes_open(
	struct sae_set **out, struct device *dev, const struct random_saes *what, struct err *err)
{
	struct sae_set *set = calloc(1, sizeof *set);

	*out = NULL;
	if (!set)
		return err_nomem(err, "the SAEs", sizeof *set);
	*set = (struct sae_set){.dev = dev, .format = &random_format, .n_layer = what->n_layer,
		.d_model = what->d_model, .d_sae = what->d_sae, .budget = what->budget,
		.bf16 = what->bf16, .scratch = {.sparse = {.dev = dev}}};
	set->files = calloc(what->n_layer, sizeof *set->files);
	set->residents = calloc(what->n_layer, sizeof *set->residents);
	if (!set->files || !set->residents) {
		err_nomem(err, "the SAEs", what->n_layer * sizeof *set->files);
		goto fail;
	}
	for (size_t l = 0; l < what->n_layer; l++)
		TRY(open_layer(set, what, l, err));
	*out = set;
	return 0;
fail:
	sae_set_close(set);
	return err->code;
}

size_t random_saes_bytes(size_t d_model, size_t d_sae, bool bf16)
{
	(void)bf16; /* rounded values, kept as float32 */
	return (2 * d_sae * d_model + 2 * d_sae + d_model) * sizeof(float);
}

/* How many features are on, on average. */
static double mean_active(const double *deviation, size_t n_rows, size_t d_sae, double threshold)
{
	double sum = 0;

	for (size_t r = 0; r < n_rows; r++)
		sum += 0.5 * erfc(threshold / (deviation[r] * sqrt(2)));
	return sum / (double)n_rows * (double)d_sae;
}

double random_saes_threshold(const double *deviation, size_t n_rows, size_t d_sae, double n)
{
	double low = 0, high = 0;

	for (size_t r = 0; r < n_rows; r++)
		high = fmax(high, 10 * deviation[r]);
	for (int i = 0; i < 60; i++) {
		const double middle = (low + high) / 2;

		if (mean_active(deviation, n_rows, d_sae, middle) > n)
			low = middle;
		else
			high = middle;
	}
	return high;
}
