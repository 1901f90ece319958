/* SPDX-License-Identifier: MIT
 *
 * sae_llama_scope.c - Llama Scope: FOLDER/NAME-L{l}R-{W}/ with hyperparams.json and
 * checkpoints/final.safetensors: encoder.weight [d_sae, d_model], encoder.bias, decoder.weight
 * [d_model, d_sae], decoder.bias. Interface: sae_file.h. Published as
 * fnlp/Llama3_1-8B-Base-LXR-*; arXiv:2410.20526. Tests: tests/test_method.c.
 *
 * The file holds the SAE of activations scaled to norm sqrt(d_model), with decoder columns of
 * any length; the scalar jump_relu_threshold is in raw units with columns of length 1. Folded as
 * the authors' inference does, with s = sqrt(d)/average_norm of the input and of the output:
 *   W_dec_j <- W_dec_j s_in/s_out,  b_enc <- b_enc/s_in,  b_dec <- b_dec/s_out,
 *   n_j = |W_dec_j|:  W_dec_j /= n_j,  W_enc_j *= n_j,  b_enc_j *= n_j.
 */
#include "host/model/sae_file.h"

#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/formats/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct safetensors *weights;
	double s_in, s_out, threshold;
};

/* Whether a folder's name ends in "-L{layer}R-{width}"; width NULL accepts any. */
static bool is_layer_folder(const char *name, size_t layer, const char *width)
{
	char ending[128];
	const char *at;

	snprintf(ending, sizeof ending, "-L%zuR-", layer);
	at = strstr(name, ending);
	if (!at)
		return false;
	at += strlen(ending);
	return width ? strcmp(at, width) == 0 : *at != '\0';
}

static int find_layer(const char *folder, size_t layer, const char *width, char *name,
	size_t size, struct err *err)
{
	DIR *dir = opendir(folder);
	int found = 0;

	if (!dir)
		return err_set(err, ERR_INPUT, "%s: %s", folder, strerror(errno));
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (is_layer_folder(entry->d_name, layer, width)) {
			snprintf(name, size, "%s", entry->d_name);
			found++;
		}
	}
	closedir(dir);
	if (found == 1)
		return 0;
	return err_set(err, ERR_INPUT, "%s: expected one folder named ...-L%zuR-%s, found %d", folder,
		layer, width ? width : "*", found);
}

static bool recognises(const char *folder)
{
	DIR *dir = opendir(folder);
	bool found = false;

	if (!dir)
		return false;
	for (const struct dirent *entry; !found && (entry = readdir(dir));)
		found = is_layer_folder(entry->d_name, 0, NULL);
	closedir(dir);
	return found;
}

static int locate(const struct sae_options *options, size_t layer, char **path, struct err *err)
{
	char name[256], joined[4096 + 300];

	if (find_layer(options->path, layer, options->width, name, sizeof name, err))
		return err->code;
	snprintf(joined, sizeof joined, "%s/%s/checkpoints/final.safetensors", options->path, name);
	*path = strdup(joined);
	return *path ? 0 : err_nomem(err, joined, strlen(joined));
}

static int expect_text(const json_t *object, const char *file, const char *key,
	const char *expected, struct err *err)
{
	const char *found = expected;

	if (json_get_text(object, file, key, &found, err))
		return err->code;
	if (strcmp(found, expected) != 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected \"%s\", found \"%s\"", file, key,
			expected, found);
	return 0;
}

static int read_hyperparams(struct reader *r, const char *path, size_t d_model, struct err *err)
{
	double in = 0, out = 0;
	json_t *file = NULL;
	const json_t *norms;

	r->threshold = -1;
	TRY(json_read(&file, path, err));
	TRY(expect_text(file, path, "norm_activation", "dataset-wise", err));
	TRY(json_get_double(file, path, "jump_relu_threshold", &r->threshold, err));
	norms = json_object_get(file, "dataset_average_activation_norm");
	TRY(json_get_double(norms, path, "in", &in, err));
	TRY(json_get_double(norms, path, "out", &out, err));
	if (!(r->threshold > 0) || !(in > 0) || !(out > 0) || !isfinite(r->threshold + in + out)) {
		err_set(err, ERR_INPUT,
			"%s: expected a positive jump_relu_threshold (a TopK SAE converted to JumpReLU) "
			"and positive dataset_average_activation_norm.in and .out",
			path);
		goto fail;
	}
	r->s_in = sqrt((double)d_model) / in;
	r->s_out = sqrt((double)d_model) / out;
	json_decref(file);
	return 0;
fail:
	json_decref(file);
	return err->code;
}

static const struct file_tensor *tensor_of(struct sae_file *file, const char *name, size_t rows,
	size_t cols, struct err *err)
{
	const struct reader *r = file->reader;
	const struct file_tensor *t = safetensors_find(r->weights, name);

	if (t && t->known && (t->dtype == DTYPE_BF16 || t->dtype == DTYPE_F32) &&
		t->n_dims == (cols ? 2 : 1) && (!rows || t->shape[0] == rows) &&
		(!cols || t->shape[1] == cols))
		return t;
	err_set(err, ERR_INPUT,
		"%s: expected a tensor \"%s\" of BF16 or F32 with shape [%zu, %zu], found %s [%zu, %zu]",
		file->path, name, rows, cols, t ? t->type : "none", t && t->n_dims > 0 ? t->shape[0] : 0,
		t && t->n_dims > 1 ? t->shape[1] : 0);
	return NULL;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct reader *r = calloc(1, sizeof *r);
	const struct file_tensor *encoder;
	char hyperparams[4096];
	const size_t folder = strlen(file->path) - strlen("checkpoints/final.safetensors");

	if (!r)
		return err_nomem(err, file->path, sizeof *r);
	file->reader = r;
	if (safetensors_open(&r->weights, file->path, err))
		return err->code;
	encoder = safetensors_find(r->weights, "encoder.weight");
	if (!encoder || encoder->n_dims != 2)
		return err_set(err, ERR_INPUT,
			"%s: expected a tensor \"encoder.weight\" with two dimensions", file->path);
	file->d_sae = encoder->shape[0];
	file->d_model = encoder->shape[1];
	if (!tensor_of(file, "encoder.weight", file->d_sae, file->d_model, err) ||
		!tensor_of(file, "encoder.bias", file->d_sae, 0, err) ||
		!tensor_of(file, "decoder.weight", file->d_model, file->d_sae, err) ||
		!tensor_of(file, "decoder.bias", file->d_model, 0, err))
		return err->code;
	snprintf(hyperparams, sizeof hyperparams, "%.*shyperparams.json", (int)folder, file->path);
	return read_hyperparams(r, hyperparams, file->d_model, err);
}

static float element(const struct file_tensor *t, size_t i)
{
	uint16_t half;
	float value;

	if (t->dtype == DTYPE_F32) {
		memcpy(&value, t->data + 4 * i, 4);
		return value;
	}
	memcpy(&half, t->data + 2 * i, 2);
	return bf16_to_f32(half);
}

/* Norms n_j of the rescaled decoder columns of the features asked for. */
static void column_norms(const struct file_tensor *decoder, const int32_t *ids, size_t n,
	double scale, double *norm)
{
	const size_t d = decoder->shape[0], d_sae = decoder->shape[1];

	memset(norm, 0, n * sizeof *norm);
	for (size_t j = 0; j < d; j++) { /* along the rows of the file */
		for (size_t k = 0; k < n; k++) {
			const double w = element(decoder, j * d_sae + (ids ? (size_t)ids[k] : k));

			norm[k] += w * w;
		}
	}
	for (size_t k = 0; k < n; k++)
		norm[k] = sqrt(norm[k]) * scale;
}

static int read_folded(struct sae_file *file, const int32_t *ids, size_t n,
	const struct sae_arrays *out, struct err *err)
{
	enum { BLOCK = 64 };
	const struct reader *r = file->reader;
	const struct file_tensor *encoder = safetensors_find(r->weights, "encoder.weight");
	const struct file_tensor *b_enc = safetensors_find(r->weights, "encoder.bias");
	const struct file_tensor *decoder = safetensors_find(r->weights, "decoder.weight");
	const struct file_tensor *b_dec = safetensors_find(r->weights, "decoder.bias");
	const size_t d = file->d_model, d_sae = file->d_sae;
	const double rescale = r->s_in / r->s_out;
	double *norm = malloc(n * sizeof *norm + 1);

	if (!norm)
		return err_nomem(err, file->path, n * sizeof *norm);
	column_norms(decoder, ids, n, rescale, norm);
	for (size_t k0 = 0; k0 < n; k0 += BLOCK) { /* blocks of features: the decoder transposes */
		const size_t k1 = k0 + BLOCK < n ? k0 + BLOCK : n;

		for (size_t j = 0; j < d && out->W_dec; j++)
			for (size_t k = k0; k < k1; k++)
				out->W_dec[k * d + j] = norm[k] > 0
					? (float)(element(decoder,
							  j * d_sae + (ids ? (size_t)ids[k] : k)) *
						  rescale / norm[k])
					: 0;
		for (size_t k = k0; k < k1; k++) {
			const size_t i = ids ? (size_t)ids[k] : k;

			for (size_t j = 0; j < d && out->W_enc_t; j++)
				out->W_enc_t[k * d + j] =
					(float)(element(encoder, i * d + j) * norm[k]);
			if (out->b_enc)
				out->b_enc[k] = (float)(element(b_enc, i) / r->s_in * norm[k]);
			if (out->threshold)
				out->threshold[k] = (float)r->threshold;
		}
	}
	for (size_t j = 0; j < d && out->b_dec; j++)
		out->b_dec[j] = (float)(element(b_dec, j) / r->s_out);
	free(norm);
	safetensors_release(r->weights);
	return 0;
}

static void close_files(struct sae_file *file)
{
	struct reader *r = file->reader;

	if (r)
		safetensors_close(r->weights);
	free(r);
}

const struct sae_format sae_llama_scope = {
	.name = "llama_scope",
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.read = read_folded,
	.close = close_files,
};
