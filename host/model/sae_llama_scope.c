/* SPDX-License-Identifier: MIT
 *
 * sae_llama_scope.c - Llama Scope: FOLDER/NAME-L{l}R-{W}/ with hyperparams.json and
 * checkpoints/final.safetensors: encoder.weight [d_sae, d_model], encoder.bias, decoder.weight
 * [d_model, d_sae], decoder.bias. Interface: sae_file.h. Published as
 * fnlp/Llama3_1-8B-Base-LXR-*; arXiv:2410.20526. Tests: tests/test_method.c, tests/test_sae.c.
 *
 * The file holds the SAE of activations scaled to norm sqrt(d_model), with decoder columns of
 * any length; the scalar jump_relu_threshold is in raw units with columns of length 1. Three ways
 * of bringing the two together are in use (sae.fold), with s = sqrt(d)/average_norm of the input
 * and of the output:
 *   authors   the authors' inference:
 *             W_dec_j <- W_dec_j s_in/s_out,  b_enc <- b_enc/s_in,  b_dec <- b_dec/s_out,
 *             n_j = |W_dec_j|:  W_dec_j /= n_j,  W_enc_j *= n_j,  b_enc_j *= n_j
 *   saelens6  SAELens since May 2025: W_enc *= s_in, W_dec /= s_in, b_dec /= s_in, threshold *=
 *             s_in; the lengths n_j are not taken out, so features switch on at other values
 *   saelens5  SAELens before: the same with the threshold as it is, some s_in times too low; what
 *             the code released with arXiv:2505.23556 loads (5.5.2)
 */
#include "host/model/sae_tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

struct search {
	size_t layer, found;
	const char *width;
	char name[256];
};

static int offer(void *context, const char *name, struct err *err)
{
	struct search *s = context;

	(void)err;
	if (is_layer_folder(name, s->layer, s->width)) {
		snprintf(s->name, sizeof s->name, "%s", name);
		s->found++;
	}
	return 0;
}

static int is_any_layer(void *context, const char *name, struct err *err)
{
	const char *at = strstr(name, "-L");
	size_t layer;
	char end;

	(void)context, (void)err;
	return at && sscanf(at, "-L%zuR-%c", &layer, &end) == 2;
}

static int recognises(const char *folder, struct err *err)
{
	return sae_folders(folder, is_any_layer, NULL, err);
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	struct search s = {.layer = site.layer, .width = options->width};

	folder[0] = '\0';
	if (sae_folders(options->path, offer, &s, err))
		return err->code;
	if (s.found > 1)
		return err_set(err, ERR_INPUT,
			"%s: expected one folder named ...-L%zuR-%s, found %zu", options->path,
			site.layer, options->width, s.found);
	if (s.found == 1)
		snprintf(folder, SAE_PATH, "%s/%s", options->path, s.name);
	return 0;
}

/* Sets the scales of `t` from hyperparams.json. */
static int read_hyperparams(struct sae_file *file, struct sae_tensors *t, struct err *err)
{
	const char *fold = file->options->fold;
	struct llama_scope_config c;
	double s_in, s_out;
	char path[SAE_PATH];
	json_t *hyperparams = NULL;
	int rc;

	if (sae_config_open(file, path, &hyperparams, err))
		return err->code;
	rc = llama_scope_config_read(&c, hyperparams, path, err);
	if (!rc)
		rc = sae_expect_size(hyperparams, path, "d_model", t->d_model, err);
	if (!rc)
		rc = sae_expect_size(hyperparams, path, "d_sae", t->d_sae, err);
	json_decref(hyperparams);
	if (rc)
		return rc;
	s_in = sqrt((double)t->d_model) / c.norm_in;
	s_out = sqrt((double)t->d_model) / c.norm_out;
	t->constant_threshold = c.threshold;
	if (strcmp(fold, "authors") == 0) {
		t->bias_scale = 1 / s_in;
		t->dec_scale = s_in / s_out;
		t->b_dec_scale = 1 / s_out;
		t->unit_decoder = true;
	} else {
		t->enc_scale = s_in;
		t->dec_scale = t->b_dec_scale = 1 / s_in;
		t->threshold_scale = strcmp(fold, "saelens6") == 0 ? s_in : 1;
	}
	return 0;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r;
	struct sae_tensors *t;

	TRY(sae_safetensors_open(file, &r, err));
	t = &r->tensors;
	TRY(sae_safetensors_encoder(file, err));
	TRY(sae_tensor_find(r->weights, file->path, "decoder.weight", t->d_model, t->d_sae,
		&t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "decoder.bias", t->d_model, 0, &t->b_dec, err));
	return read_hyperparams(file, t, err);
fail:
	return err->code;
}

const struct sae_format sae_llama_scope = {
	.name = "llama_scope",
	.file_name = "checkpoints/final.safetensors",
	.config_name = "hyperparams.json",
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.tensors = sae_safetensors_tensors,
	.release = sae_safetensors_release,
	.close = sae_safetensors_close,
};
