/* SPDX-License-Identifier: MIT
 *
 * sae_gemma_scope.c - Gemma Scope: FOLDER/layer_L/width_W/average_l0_N/params.npz with float32
 * W_enc [d_model, d_sae], W_dec [d_sae, d_model], b_enc, b_dec, threshold. JumpReLU on the raw
 * residual stream. Interface: sae_file.h. Published as google/gemma-scope-*; arXiv:2408.05147.
 * Tests: tests/test_method.c.
 */
#include "host/model/sae_file.h"

#include "host/base/file.h"
#include "host/formats/npz.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool recognises(const char *folder)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/layer_0", folder);
	return folder_exists(path);
}

/* The average_l0_N in `folder` with N nearest to l0, the smaller of two as near. */
static int nearest_l0(const char *folder, double l0, char *name, size_t size, struct err *err)
{
	DIR *dir = opendir(folder);
	double best = INFINITY, best_n = 0;

	if (!dir)
		return err_set(err, ERR_INPUT, "%s: %s", folder, strerror(errno));
	for (const struct dirent *entry; (entry = readdir(dir));) {
		double n;
		char end;

		if (sscanf(entry->d_name, "average_l0_%lf%c", &n, &end) != 1)
			continue;
		if (fabs(n - l0) < best || (fabs(n - l0) == best && n < best_n)) {
			best = fabs(n - l0);
			best_n = n;
			snprintf(name, size, "%s", entry->d_name);
		}
	}
	closedir(dir);
	if (best == INFINITY)
		return err_set(err, ERR_INPUT, "%s: expected a folder average_l0_N, found none",
			folder);
	return 0;
}

static int locate(const struct sae_options *options, size_t layer, char **path, struct err *err)
{
	char folder[4096], name[256], joined[4096 + 300];

	snprintf(folder, sizeof folder, "%s/layer_%zu/width_%s", options->path, layer,
		options->width);
	if (nearest_l0(folder, options->l0, name, sizeof name, err))
		return err->code;
	snprintf(joined, sizeof joined, "%s/%s/params.npz", folder, name);
	*path = strdup(joined);
	return *path ? 0 : err_nomem(err, joined, strlen(joined));
}

/* An array of the archive, its type and shape checked (cols 0: one dimension). */
static int read_array(struct sae_file *file, const char *name, size_t rows, size_t cols,
	struct file_tensor *out, struct err *err)
{
	struct file_tensor t;

	if (npz_read(file->reader, name, &t, err))
		return err->code;
	if (t.dtype != DTYPE_F32)
		return err_set(err, ERR_INPUT, "%s: %s: expected float32, found %s", file->path, name,
			dtype_name(t.dtype));
	if (t.n_dims != (cols ? 2 : 1) || t.shape[0] != rows || (cols && t.shape[1] != cols))
		return err_set(err, ERR_INPUT,
			"%s: %s: expected shape [%zu%s%.0zu], found %d dimensions, [%zu, %zu]",
			file->path, name, rows, cols ? ", " : "", cols, t.n_dims, t.shape[0],
			t.n_dims > 1 ? t.shape[1] : 0);
	*out = t;
	return 0;
}

static int open_npz(struct sae_file *file, struct err *err)
{
	struct npz *npz;
	struct file_tensor b_enc, b_dec;
	bool complete = true;

	if (npz_open(&npz, file->path, err))
		return err->code;
	file->reader = npz;
	/* The two small arrays give the sizes; the large ones are checked when they are read. */
	TRY(npz_read(npz, "b_enc", &b_enc, err));
	TRY(npz_read(npz, "b_dec", &b_dec, err));
	if (b_enc.n_dims != 1 || b_dec.n_dims != 1 || b_enc.shape[0] == 0) {
		err_set(err, ERR_INPUT, "%s: expected one dimension for b_enc and b_dec",
			file->path);
		goto fail;
	}
	file->d_sae = b_enc.shape[0];
	file->d_model = b_dec.shape[0];
	for (const char *const *name = (const char *const[]){"W_enc", "W_dec", "threshold", NULL};
		*name; name++) {
		bool found = false;

		for (size_t i = 0; i < npz_count(npz); i++)
			found |= strcmp(npz_name(npz, i), *name) == 0;
		if (!found)
			err_set(err, ERR_INPUT, "%s: expected an array \"%s\", found none",
				file->path, *name);
		complete &= found;
	}
	if (complete)
		return 0;
fail:
	return err->code;
}

static void copy_vector(const struct file_tensor *t, const int32_t *ids, size_t n, float *to)
{
	for (size_t k = 0; k < n; k++)
		memcpy(to + k, t->data + 4 * (ids ? (size_t)ids[k] : k), 4);
}

/* Features as rows of `to` from an array that has them along rows or along columns of the file's
 * memory; columns in square blocks, so that both sides stay in cache. */
static void copy_features(const struct file_tensor *t, bool along_rows, size_t d_model,
	size_t d_sae, const int32_t *ids, size_t n, float *to)
{
	enum { BLOCK = 64 };

	if (along_rows) {
		for (size_t k = 0; k < n; k++)
			memcpy(to + k * d_model, t->data + 4 * d_model * (ids ? (size_t)ids[k] : k),
				4 * d_model);
		return;
	}
	for (size_t k0 = 0; k0 < n; k0 += BLOCK) {
		for (size_t j0 = 0; j0 < d_model; j0 += BLOCK) {
			for (size_t j = j0; j < j0 + BLOCK && j < d_model; j++) {
				const unsigned char *row = t->data + 4 * j * d_sae;

				for (size_t k = k0; k < k0 + BLOCK && k < n; k++)
					memcpy(to + k * d_model + j,
						row + 4 * (ids ? (size_t)ids[k] : k), 4);
			}
		}
	}
}

static int read_npz(struct sae_file *file, const int32_t *ids, size_t n,
	const struct sae_arrays *out, struct err *err)
{
	const size_t d = file->d_model;
	struct file_tensor t;

	if (out->b_enc) {
		TRY(read_array(file, "b_enc", file->d_sae, 0, &t, err));
		copy_vector(&t, ids, n, out->b_enc);
	}
	if (out->b_dec) {
		TRY(read_array(file, "b_dec", d, 0, &t, err));
		copy_vector(&t, NULL, d, out->b_dec);
	}
	if (out->threshold) {
		TRY(read_array(file, "threshold", file->d_sae, 0, &t, err));
		copy_vector(&t, ids, n, out->threshold);
		/* f = relu(pre) 1[pre > threshold]: below 0 the relu is the threshold. */
		for (size_t k = 0; k < n; k++)
			out->threshold[k] = out->threshold[k] < 0 ? 0 : out->threshold[k];
	}
	if (out->W_dec) {
		TRY(read_array(file, "W_dec", file->d_sae, d, &t, err));
		copy_features(&t, !t.column_major, d, file->d_sae, ids, n, out->W_dec);
	}
	if (out->W_enc_t) {
		TRY(read_array(file, "W_enc", d, file->d_sae, &t, err));
		copy_features(&t, t.column_major, d, file->d_sae, ids, n, out->W_enc_t);
	}
	npz_release(file->reader);
	return 0;
fail:
	return err->code;
}

static void close_npz(struct sae_file *file)
{
	npz_close(file->reader);
}

const struct sae_format sae_gemma_scope = {
	.name = "gemma_scope",
	.recognises = recognises,
	.locate = locate,
	.open = open_npz,
	.read = read_npz,
	.close = close_npz,
};
