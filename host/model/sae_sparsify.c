/* SPDX-License-Identifier: MIT
 *
 * sae_sparsify.c - SAEs trained with EleutherAI's sparsify: FOLDER/layers.N/ (the output of Hugging
 * Face's layer N, which is resid_post) with cfg.json and sae.safetensors: encoder.weight [d_sae,
 * d_model], encoder.bias, W_dec [d_sae, d_model], b_dec.
 *   f = the k largest of relu(encoder(x - b_dec)), or with activation groupmax the largest of each
 *   of k groups of d_sae/k features in a row
 * Interface: sae_file.h. Source: github.com/EleutherAI/sparsify, sparsify/sparse_coder.py.
 * Transcoders and skip connections read or write something else and are refused.
 * Tests: tests/test_sae.c.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"

#include <stdio.h>
#include <string.h>

static int is_layer(void *context, const char *name, struct err *err)
{
	size_t layer;
	char end;

	(void)context, (void)err;
	return sscanf(name, "layers.%zu%c", &layer, &end) == 1;
}

static int recognises(const char *folder, struct err *err)
{
	return sae_folders(folder, is_layer, NULL, err);
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	(void)err;
	snprintf(folder, SAE_PATH, "%s/layers.%zu", options->path, site.layer);
	if (!folder_exists(folder))
		folder[0] = '\0';
	return 0;
}

static int read_cfg(struct sae_file *file, struct err *err)
{
	struct sparsify_config c;
	char path[SAE_PATH];
	json_t *cfg = NULL;
	int rc;

	if (sae_config_open(file, path, &cfg, err))
		return err->code;
	rc = sparsify_config_read(&c, cfg, path, err);
	if (!rc)
		rc = sae_expect_size(cfg, path, "d_in", file->d_model, err);
	json_decref(cfg);
	if (rc)
		return rc;
	if (c.k > file->d_sae || (c.groups && file->d_sae % c.k != 0))
		return err_set(err, ERR_INPUT,
			c.k > file->d_sae ? "%s: k: expected 1 to %zu, found %zu"
					  : "%s: k: expected a divisor of %zu, found %zu",
			path, file->d_sae, c.k);
	file->claimed_l0 = (double)c.k;
	file->top_k = c.groups ? 1 : c.k;
	file->group_width = c.groups ? file->d_sae / c.k : file->d_sae;
	return 0;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r;
	struct sae_tensors *t;

	TRY(sae_safetensors_open(file, &r, err));
	t = &r->tensors;
	TRY(sae_safetensors_encoder(file, err));
	if (safetensors_find(r->weights, "W_skip"))
		return sae_refuse(file->path, "a skip connection (W_skip)", err);
	t->dec_by_feature = true;
	TRY(sae_tensor_find(r->weights, file->path, "W_dec", t->d_sae, t->d_model, &t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "b_dec", t->d_model, 0, &t->b_dec, err));
	t->subtract_b_dec = true;
	return read_cfg(file, err);
fail:
	return err->code;
}

const struct sae_format sae_sparsify = {
	.name = "sparsify",
	.file_name = "sae.safetensors",
	.config_name = "cfg.json",
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.tensors = sae_safetensors_tensors,
	.release = sae_safetensors_release,
	.close = sae_safetensors_close,
};
