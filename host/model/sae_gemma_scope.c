/* SPDX-License-Identifier: MIT
 *
 * sae_gemma_scope.c - Gemma Scope: FOLDER/layer_L/width_W/average_l0_N/params.npz with float32
 * W_enc [d_model, d_sae], W_dec [d_sae, d_model], b_enc, b_dec, threshold. JumpReLU on the raw
 * residual stream. Interface: sae_file.h. Published as google/gemma-scope-*; arXiv:2408.05147.
 * Of the SAEs of a width, the one with N nearest to sae.l0 is taken.
 * Tests: tests/test_method.c, tests/test_sae.c.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"
#include "host/formats/npz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_layer(void *context, const char *name, struct err *err)
{
	size_t layer;
	char end;

	(void)context, (void)err;
	return sscanf(name, "layer_%zu%c", &layer, &end) == 1;
}

static int recognises(const char *folder, struct err *err)
{
	return sae_folders(folder, is_layer, NULL, err);
}

struct nearest {
	double wanted, n; /* n: of the best so far, NAN before any */
	char name[256];
};

/* Of two as near, the smaller. */
static int offer_l0(void *context, const char *name, struct err *err)
{
	struct nearest *best = context;
	double n;
	char end;

	(void)err;
	if (sscanf(name, "average_l0_%lf%c", &n, &end) != 1)
		return 0;
	if (isnan(best->n) || fabs(n - best->wanted) < fabs(best->n - best->wanted) ||
		(fabs(n - best->wanted) == fabs(best->n - best->wanted) && n < best->n)) {
		best->n = n;
		snprintf(best->name, sizeof best->name, "%s", name);
	}
	return 0;
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	struct nearest best = {.wanted = options->l0, .n = NAN};
	char layers[SAE_PATH], widths[SAE_PATH];

	snprintf(layers, sizeof layers, "%s/layer_%zu", options->path, site.layer);
	folder[0] = '\0';
	if (!folder_exists(layers))
		return 0;
	snprintf(widths, sizeof widths, "%s/layer_%zu/width_%s", options->path, site.layer,
		options->width);
	if (sae_folders(widths, offer_l0, &best, err))
		return err->code;
	if (isnan(best.n))
		return err_set(err, ERR_INPUT, "%s: expected a folder average_l0_N, found none",
			widths);
	snprintf(folder, SAE_PATH, "%s/layer_%zu/width_%s/%s", options->path, site.layer,
		options->width, best.name);
	return 0;
}

/* An array of the archive, its type and shape checked (cols 0: one dimension). */
static int read_array(struct sae_file *file, const char *name, size_t rows, size_t cols,
	struct file_tensor *out, struct err *err)
{
	struct file_tensor t;

	if (npz_read(file->reader, name, &t, err))
		return err->code;
	if (t.dtype != DTYPE_F32)
		return err_set(err, ERR_INPUT, "%s: %s: expected float32, found %s", file->path,
			name, dtype_name(t.dtype));
	if (t.n_dims != (cols ? 2 : 1) || t.shape[0] != rows || (cols && t.shape[1] != cols))
		return err_set(err, ERR_INPUT,
			"%s: %s: expected shape [%zu%s%.0zu], found %d dimensions, [%zu, %zu]",
			file->path, name, rows, cols ? ", " : "", cols, t.n_dims, t.shape[0],
			t.n_dims > 1 ? t.shape[1] : 0);
	*out = t;
	return 0;
}

/* N of ".../average_l0_N/params.npz", NAN for other names. */
static double l0_of_path(const char *path)
{
	const char *at = strstr(path, "average_l0_");
	double n;

	return at && sscanf(at, "average_l0_%lf", &n) == 1 ? n : NAN;
}

static int open_npz(struct sae_file *file, struct err *err)
{
	struct npz *npz;
	struct file_tensor b_enc, b_dec;
	bool complete = true;

	if (npz_open(&npz, file->path, err))
		return err->code;
	file->reader = npz;
	npz_use_threads(npz, file->n_threads);
	file->claimed_l0 = l0_of_path(file->path);
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

static int tensors_of_npz(struct sae_file *file, enum sae_parts parts, struct sae_tensors *out,
	struct err *err)
{
	const size_t d = file->d_model, d_sae = file->d_sae;
	struct sae_tensors t = sae_tensors_none();

	t.d_model = d;
	t.d_sae = d_sae;
	t.dec_by_feature = true;
	TRY(read_array(file, "b_enc", d_sae, 0, &t.b_enc, err));
	TRY(read_array(file, "b_dec", d, 0, &t.b_dec, err));
	TRY(read_array(file, "threshold", d_sae, 0, &t.threshold, err));
	if (parts & SAE_DECODER)
		TRY(read_array(file, "W_dec", d_sae, d, &t.W_dec, err));
	if (parts & SAE_ENCODER)
		TRY(read_array(file, "W_enc", d, d_sae, &t.W_enc, err));
	*out = t;
	return 0;
fail:
	return err->code;
}

static void release_npz(struct sae_file *file)
{
	npz_release(file->reader);
}

static void close_npz(struct sae_file *file)
{
	npz_close(file->reader);
}

const struct sae_format sae_gemma_scope = {
	.name = "gemma_scope",
	.file_name = "params.npz",
	.recognises = recognises,
	.locate = locate,
	.open = open_npz,
	.tensors = tensors_of_npz,
	.release = release_npz,
	.close = close_npz,
};
