/* SPDX-License-Identifier: MIT
 *
 * sae_gemma_scope_2.c - Gemma Scope 2 (Gemma 3): FOLDER/layer_L_width_W_l0_NAME/ with config.json
 * and params.safetensors: w_enc [d_model, d_sae], w_dec [d_sae, d_model], b_enc, b_dec, threshold
 * (the matrices in either case of letter). JumpReLU on the raw residual stream.
 * Interface: sae_file.h. Published as google/gemma-scope-2-*, folders resid_post (four layers of
 * each model) and resid_post_all; its others hold SAEs of other places (sae_site.h). Tests:
 * tests/test_sae.c.
 *
 * NAME is small, medium or big; of several, the one whose config.json has its l0 nearest to
 * sae.l0 is taken. Copies by another seed (..._seed_1) only through sae.layer_folder.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int is_layer(void *context, const char *name, struct err *err)
{
	(void)context, (void)err;
	return strncmp(name, "layer_", 6) == 0 && strstr(name, "_width_") && strstr(name, "_l0_");
}

static int recognises(const char *folder, struct err *err)
{
	return sae_folders(folder, is_layer, NULL, err);
}

/* The config of an SAE with d_sae features, the hooks apart. `type` says sae but of transcoders and
 * crosscoders. */
static int check_config(const json_t *file, const char *config, size_t d_sae, struct err *err)
{
	TRY(sae_expect_text(file, config, "type", "sae", err));
	TRY(sae_expect_bool(file, config, "affine_connection", false, err));
	return sae_expect_size(file, config, "width", d_sae, err);
fail:
	return err->code;
}

/* l0 of a folder's config.json; NAN where there is none. d_sae: 0 = the l0 alone is wanted. */
static int read_config(const char *config, size_t d_sae, double *l0, struct err *err)
{
	json_t *file = NULL;
	int rc;

	*l0 = NAN;
	if (!file_exists(config))
		return 0;
	if (json_read(&file, config, err))
		return err->code;
	rc = sae_expect_text(file, config, "architecture", "jump_relu", err);
	if (!rc && d_sae > 0)
		rc = check_config(file, config, d_sae, err);
	if (!rc)
		rc = json_get_double(file, config, "l0", l0, err);
	json_decref(file);
	return rc;
}

struct choice {
	const struct sae_options *options;
	char beginning[128], name[256];
	double distance;
	size_t n;
	bool unknown; /* one of them says no l0 */
};

static int offer(void *context, const char *name, struct err *err)
{
	struct choice *c = context;
	char config[SAE_PATH];
	double l0;

	if (strncmp(name, c->beginning, strlen(c->beginning)) != 0 || strstr(name, "_seed_"))
		return 0;
	snprintf(config, sizeof config, "%s/%s/config.json", c->options->path, name);
	if (read_config(config, 0, &l0, err))
		return err->code;
	c->unknown |= isnan(l0);
	if (c->n++ == 0 || fabs(l0 - c->options->l0) < c->distance) {
		c->distance = fabs(l0 - c->options->l0);
		snprintf(c->name, sizeof c->name, "%s", name);
	}
	return 0;
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	struct choice c = {.options = options};

	snprintf(c.beginning, sizeof c.beginning, "layer_%zu_width_%s_l0_", site.layer,
		options->width);
	folder[0] = '\0';
	if (sae_folders(options->path, offer, &c, err))
		return err->code;
	if (c.n > 1 && c.unknown)
		return err_set(err, ERR_INPUT,
			"%s: expected an l0 in the config.json of every folder %s..., to choose the one "
			"nearest to sae.l0, or sae.layer_folder; found one without",
			options->path, c.beginning);
	if (c.n > 0)
		snprintf(folder, SAE_PATH, "%s/%s", options->path, c.name);
	return 0;
}

/* A matrix under its lower-case name, or the upper-case one of later exports. */
static int find_either(struct sae_safetensors *r, struct sae_file *file, const char *lower,
	const char *upper, size_t rows, size_t cols, struct file_tensor *out, struct err *err)
{
	const char *name = safetensors_find(r->weights, upper) ? upper : lower;

	return sae_tensor_find(r->weights, file->path, name, rows, cols, out, err);
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r;
	struct sae_tensors *t;
	const struct file_tensor *b_enc, *b_dec;
	char config[SAE_PATH];

	TRY(sae_safetensors_open(file, &r, err));
	t = &r->tensors;
	b_enc = safetensors_find(r->weights, "b_enc");
	b_dec = safetensors_find(r->weights, "b_dec");
	if (!b_enc || b_enc->n_dims != 1 || !b_dec || b_dec->n_dims != 1)
		return err_set(err, ERR_INPUT,
			"%s: expected tensors \"b_enc\" and \"b_dec\" of one dimension",
			file->path);
	if (safetensors_find(r->weights, "affine_skip_connection"))
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of the residual stream, found a transcoder "
			"(affine_skip_connection)",
			file->path);
	t->d_sae = file->d_sae = b_enc->shape[0];
	t->d_model = file->d_model = b_dec->shape[0];
	t->dec_by_feature = true;
	TRY(find_either(r, file, "w_enc", "W_enc", file->d_model, file->d_sae, &t->W_enc, err));
	TRY(find_either(r, file, "w_dec", "W_dec", file->d_sae, file->d_model, &t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "b_enc", file->d_sae, 0, &t->b_enc, err));
	TRY(sae_tensor_find(r->weights, file->path, "b_dec", file->d_model, 0, &t->b_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "threshold", file->d_sae, 0, &t->threshold,
		err));
	sae_config_path(file, config);
	return read_config(config, file->d_sae, &file->claimed_l0, err);
fail:
	return err->code;
}

const struct sae_format sae_gemma_scope_2 = {
	.name = "gemma_scope_2",
	.file_name = "params.safetensors",
	.config_name = "config.json",
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.tensors = sae_safetensors_tensors,
	.release = sae_safetensors_release,
	.close = sae_safetensors_close,
};
