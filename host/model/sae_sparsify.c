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

static bool recognises(const char *folder)
{
	struct err ignored;

	return sae_folders(folder, is_layer, NULL, &ignored) == 1;
}

static int locate(const struct sae_options *options, size_t layer, char folder[SAE_PATH],
	struct err *err)
{
	(void)err;
	snprintf(folder, SAE_PATH, "%s/layers.%zu", options->path, layer);
	if (!folder_exists(folder))
		folder[0] = '\0';
	return 0;
}

static int refuse(const char *path, const char *what, struct err *err)
{
	return err_set(err, ERR_INPUT,
		"%s: expected an SAE that reads and reconstructs resid_post, found %s", path, what);
}

static int read_cfg(struct sae_file *file, struct sae_tensors *t, const char *path,
	struct err *err)
{
	json_t *cfg = NULL;
	const char *activation = "topk";
	bool transcode = false, skip = false, with_sign = false;
	int64_t k = 32;

	TRY(json_read(&cfg, path, err));
	TRY(json_get_text(cfg, path, "activation", &activation, err));
	TRY(json_get_bool(cfg, path, "transcode", &transcode, err));
	TRY(json_get_bool(cfg, path, "skip_connection", &skip, err));
	TRY(json_get_bool(cfg, path, "signed", &with_sign, err));
	TRY(json_get_int(cfg, path, "k", &k, err));
	if (transcode)
		refuse(path, "a transcoder (transcode)", err);
	else if (skip)
		refuse(path, "a skip connection (skip_connection)", err);
	else if (with_sign)
		refuse(path, "features of both signs (signed)", err);
	else if (k < 1 || (size_t)k > t->d_sae)
		err_set(err, ERR_INPUT, "%s: k: expected 1 to %zu, found %lld", path, t->d_sae,
			(long long)k);
	else if (strcmp(activation, "topk") != 0 && strcmp(activation, "groupmax") != 0)
		err_set(err, ERR_INPUT,
			"%s: activation: expected \"topk\" or \"groupmax\", found \"%s\"", path,
			activation);
	else if (strcmp(activation, "groupmax") == 0 && t->d_sae % (size_t)k != 0)
		err_set(err, ERR_INPUT, "%s: k: expected a divisor of %zu, found %lld", path, t->d_sae,
			(long long)k);
	else
		err->code = 0;
	if (err->code)
		goto fail;
	t->subtract_b_dec = true;
	file->claimed_l0 = (double)k;
	file->top_k = (size_t)k;
	file->group_width = t->d_sae;
	if (strcmp(activation, "groupmax") == 0) {
		file->top_k = 1;
		file->group_width = t->d_sae / (size_t)k;
	}
	json_decref(cfg);
	return 0;
fail:
	json_decref(cfg);
	return err->code;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r;
	struct sae_tensors *t;
	char cfg[SAE_PATH];

	TRY(sae_safetensors_open(file, &r, err));
	t = &r->tensors;
	TRY(sae_safetensors_encoder(file, err));
	if (safetensors_find(r->weights, "W_skip"))
		return refuse(file->path, "a skip connection (W_skip)", err);
	t->dec_by_feature = true;
	TRY(sae_tensor_find(r->weights, file->path, "W_dec", t->d_sae, t->d_model, &t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "b_dec", t->d_model, 0, &t->b_dec, err));
	sae_sibling(file, "cfg.json", cfg);
	return read_cfg(file, t, cfg, err);
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
	.read = sae_safetensors_read,
	.close = sae_safetensors_close,
};
