/* SPDX-License-Identifier: MIT
 *
 * random_saes.c - Contract: random_saes.h. Tests: tests/test_loads.py.
 */
#include "tests/loads/random_saes.h"

#include "host/base/size.h"
#include "host/model/sae.h"
#include "host/model/sae_tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All layers read one buffer of bfloat16 numbers, each from places of its own; layer 0 owns it. */
struct random_values {
	uint16_t *matrix; /* [d_sae * d_model + STRETCH] */
	float *zeros;     /* [d_sae or d_model, the larger] */
};

struct random_reader {
	struct sae_tensors tensors;
	struct random_values owned;
};

static void values_free(struct random_values *v)
{
	free(v->matrix);
	free(v->zeros);
	*v = (struct random_values){0};
}

static int values_make(struct random_values *v, const struct random_saes *what, struct err *err)
{
	const size_t n = what->d_sae * what->d_model + STRETCH;
	const float deviation = 1 / sqrtf((float)what->d_model);

	v->matrix = malloc(n * sizeof *v->matrix);
	v->zeros = calloc(size_max(what->d_sae, what->d_model), sizeof *v->zeros);
	if (!v->matrix || !v->zeros) {
		values_free(v);
		return err_nomem(err, "random SAEs", n * sizeof *v->matrix);
	}
	for (size_t i = 0; i < STRETCH; i++)
		v->matrix[i] = f32_to_bf16(deviation * what->numbers->values[i]);
	for (size_t i = STRETCH; i < n; i += STRETCH)
		memcpy(v->matrix + i, v->matrix, size_min(n - i, STRETCH) * sizeof *v->matrix);
	return 0;
}

static struct file_tensor matrix_from(const struct random_values *v, size_t place, size_t rows,
	size_t cols)
{
	return (struct file_tensor){.name = "random",
		.type = "BF16",
		.known = true,
		.dtype = DTYPE_BF16,
		.n_dims = 2,
		.shape = {rows, cols},
		.data = (const unsigned char *)(v->matrix + place % STRETCH),
		.bytes = rows * cols * sizeof *v->matrix};
}

static struct file_tensor zeros(const struct random_values *v, size_t n)
{
	return (struct file_tensor){.name = "zeros",
		.type = "F32",
		.known = true,
		.dtype = DTYPE_F32,
		.n_dims = 1,
		.shape = {n},
		.data = (const unsigned char *)v->zeros,
		.bytes = n * sizeof *v->zeros};
}

static int tensors_of(struct sae_file *file, enum sae_parts parts, struct sae_tensors *out,
	struct err *err)
{
	(void)parts, (void)err;
	*out = ((const struct random_reader *)file->reader)->tensors;
	return 0;
}

static void keep(struct sae_file *file)
{
	(void)file;
}

static void close_reader(struct sae_file *file)
{
	struct random_reader *r = file->reader;

	if (r)
		values_free(&r->owned);
	free(r);
}

static const struct sae_format random_format = {.name = "random",
	.file_name = "",
	.tensors = tensors_of,
	.release = keep,
	.close = close_reader};

static int open_layer(struct sae_set *set, const struct random_saes *what,
	const struct random_values *v, size_t layer, struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct random_reader *r = calloc(1, sizeof *r);
	const size_t d = what->d_model, n = what->d_sae, place = 7919 * 2 * layer;

	*file = (struct sae_file){.format = &random_format,
		.path = strdup("random weights"),
		.reader = r,
		.d_model = d,
		.d_sae = n,
		.claimed_l0 = NAN};
	if (!r || !file->path)
		return err_nomem(err, "a random SAE", sizeof *r);
	r->tensors = sae_tensors_none();
	r->tensors.d_model = d;
	r->tensors.d_sae = n;
	r->tensors.W_enc = matrix_from(v, place, n, d);
	r->tensors.W_dec = matrix_from(v, place + 7919, n, d);
	r->tensors.enc_by_feature = r->tensors.dec_by_feature = true;
	r->tensors.b_enc = zeros(v, n);
	r->tensors.b_dec = zeros(v, d);
	r->tensors.constant_threshold = what->threshold[layer];
	return 0;
}

int random_saes_open(struct sae_set **out, struct device *dev, const struct random_saes *what,
	struct err *err)
{
	struct sae_set *set = calloc(1, sizeof *set);
	struct random_values values = {0};

	*out = NULL;
	if (!set)
		return err_nomem(err, "the SAEs", sizeof *set);
	*set = (struct sae_set){.dev = dev,
		.format = &random_format,
		.n_layer = what->n_layer,
		.d_model = what->d_model,
		.d_sae = what->d_sae,
		.budget = what->budget,
		.dtype = what->bf16 ? SAE_BF16 : SAE_FLOAT32,
		.scratch = {.sparse = {.dev = dev}}};
	set->files = calloc(what->n_layer, sizeof *set->files);
	set->residents = calloc(what->n_layer, sizeof *set->residents);
	if (!set->files || !set->residents) {
		err_nomem(err, "the SAEs", what->n_layer * sizeof *set->files);
		goto fail;
	}
	TRY(values_make(&values, what, err));
	for (size_t l = 0; l < what->n_layer; l++)
		TRY(open_layer(set, what, &values, l, err));
	((struct random_reader *)set->files[0].reader)->owned = values;
	*out = set;
	return 0;
fail:
	sae_set_close(set);
	values_free(&values);
	return err->code;
}

size_t random_saes_bytes(size_t d_model, size_t d_sae, bool bf16)
{
	return 2 * d_sae * d_model * (bf16 ? sizeof(uint16_t) : sizeof(float)) +
	       (2 * d_sae + d_model) * sizeof(float);
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
