/* SPDX-License-Identifier: MIT
 *
 * sae_lm_saes.c - SAEs as the library lm_saes saves them since 2025: FOLDER/L{l}R/ with config.json
 * and sae_weights.safetensors: encoder.weight [d_sae, d_model], encoder.bias, decoder.weight
 * [d_model, d_sae], decoder.bias, log_jumprelu_threshold [d_sae] and
 * dataset_average_activation_norm.HOOK, one number. Interface: sae_file.h. Published so:
 * fnlp/Llama-Scope-R1-Distill. Source: github.com/OpenMOSS/Language-Model-SAEs,
 * src/lm_saes/sae.py. Tests: tests/test_sae.c.
 *
 * With s = sqrt(d_model)/norm, the library computes
 *   h = W_enc (s x) + b_enc,  f_j = h_j where h_j |W_dec_j| > threshold_j,  x_hat = decode(f)/s
 * and the same in units of x, with decoder rows of length 1, is what is handed out:
 *   W_enc_j |W_dec_j|,  b_enc_j |W_dec_j|/s,  threshold_j/s,  W_dec_j/|W_dec_j|,  b_dec/s
 * Thresholds here are of the scaled input; the one of Llama Scope (sae_llama_scope.c) is not.
 * SAELens' loader of these files takes no norm into account, so its features are others.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int is_layer(void *context, const char *name, struct err *err)
{
	const char *parent = context;
	char folder[SAE_PATH], end;
	size_t layer;

	(void)err;
	snprintf(folder, sizeof folder, "%s/%s", parent, name);
	return sscanf(name, "L%zu%c%c", &layer, &end, &(char){0}) == 2 && end == 'R' &&
	       sae_format_holds(&sae_lm_saes, folder);
}

static int recognises(const char *folder, struct err *err)
{
	return sae_folders(folder, is_layer, (void *)folder, err);
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	(void)err;
	snprintf(folder, SAE_PATH, "%s/L%zuR", options->path, site.layer);
	if (!folder_exists(folder))
		folder[0] = '\0';
	return 0;
}

/* The scale s of the inputs at a hook. */
static int find_scale(struct sae_file *file, const struct sae_safetensors *r, const char *hook,
	double *scale, struct err *err)
{
	char name[128];
	double norm;

	snprintf(name, sizeof name, "dataset_average_activation_norm.%s", hook);
	TRY(sae_scalar_find(r->weights, file->path, name, &norm, err));
	if (!(norm > 0) || !isfinite(norm))
		return err_set(err, ERR_INPUT, "%s: %s: expected a positive number, found %g",
			file->path, name, norm);
	*scale = sqrt((double)file->d_model) / norm;
	return 0;
fail:
	return err->code;
}

static int open_with(struct sae_file *file, struct sae_safetensors *r,
	const struct lm_saes_config *c, struct err *err)
{
	struct sae_tensors *t = &r->tensors;
	double scale = 1;

	TRY(sae_safetensors_encoder(file, err));
	TRY(sae_tensor_find(r->weights, file->path, "decoder.weight", t->d_model, t->d_sae,
		&t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "decoder.bias", t->d_model, 0, &t->b_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "log_jumprelu_threshold", t->d_sae, 0,
		&t->threshold, err));
	TRY(find_scale(file, r, c->hook, &scale, err));
	t->log_threshold = true;
	t->bias_scale = t->b_dec_scale = t->threshold_scale = 1 / scale;
	t->unit_decoder = c->rescaled;
	t->subtract_b_dec = c->subtract_b_dec;
	return 0;
fail:
	return err->code;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct lm_saes_config config;
	struct sae_safetensors *r;
	char path[SAE_PATH];
	json_t *cfg = NULL;
	int rc;

	if (sae_safetensors_open(file, &r, err))
		return err->code;
	if (sae_config_open(file, path, &cfg, err))
		return err->code;
	rc = lm_saes_config_read(&config, cfg, path, err);
	if (!rc)
		rc = open_with(file, r, &config, err);
	if (!rc)
		rc = sae_expect_size(cfg, path, "d_model", file->d_model, err);
	json_decref(cfg);
	return rc;
}

const struct sae_format sae_lm_saes = {
	.name = "lm_saes",
	.file_name = "sae_weights.safetensors",
	.config_name = "config.json",
	.by_config = true,
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.tensors = sae_safetensors_tensors,
	.release = sae_safetensors_release,
	.close = sae_safetensors_close,
};
