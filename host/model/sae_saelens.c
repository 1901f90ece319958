/* SPDX-License-Identifier: MIT
 *
 * sae_saelens.c - SAELens' own format: a folder per SAE, of any name, with cfg.json and
 * sae_weights.safetensors: W_enc [d_model, d_sae], W_dec [d_sae, d_model], b_dec and, by
 * architecture,
 *   standard  b_enc             f = relu(pre)
 *   jumprelu  b_enc, threshold  (or log_threshold); what SAELens saves BatchTopK and Matryoshka
 *             SAEs as. Training checkpoints of these have one topk_threshold instead.
 *   topk      b_enc, cfg k      the k largest, then relu
 *   gated     b_gate, b_mag, r_mag
 * Interface: sae_file.h. Source: github.com/jbloomAus/SAELens, sae_lens/saes/, and for configs
 * before version 6 loading/pretrained_sae_loaders.py. Tests: tests/test_sae.c.
 *
 * A site's folder is the one whose cfg.json names it as its hook (sae_site.h).
 *
 * normalize_activations "expected_average_only_in" is a constant that SAELens folds into the
 * weights before it saves them; like its own loader from disk we take it as folded (sae.check
 * shows when it was not). apply_b_dec_to_input subtracts b_dec from the normed input.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"
#include "host/model/sae_site.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WEIGHTS "sae_weights.safetensors"

/* ---- finding a layer ------------------------------------------------------------------- */

/* Folders may lie in folders: release/layer_3/width_16k is common. */
enum { DEPTH = 4 };

struct search {
	char path[SAE_PATH];  /* of the folder being read */
	char found[SAE_PATH]; /* the layer's */
	struct site site;
	int depth;
	bool any;                       /* the first weights will do */
	size_t n_there;                 /* SAEs of the site's place, of any layer */
	char other[SAE_PATH], hook[64]; /* the first SAE of another place, by its path */
};

static int search_folder(struct search *s, struct err *err);

static int search_below(void *context, const char *name, struct err *err)
{
	struct search *s = context;
	const size_t length = strlen(s->path);
	int rc;

	if (s->depth == DEPTH)
		return 0;
	snprintf(s->path + length, sizeof s->path - length, "/%s", name);
	s->depth++;
	rc = search_folder(s, err);
	s->depth--;
	s->path[length] = '\0';
	return rc;
}

static void note_place(struct search *s, const struct sae_where *w, const char *hook)
{
	const bool there = strcmp(w->place, site_places[s->site.place].word) == 0;

	s->n_there += there;
	if (there || *s->other)
		return;
	snprintf(s->other, sizeof s->other, "%s", s->path);
	snprintf(s->hook, sizeof s->hook, "%s", hook);
}

static int compare_hook(struct search *s, const char *cfg_path, struct err *err)
{
	json_t *cfg = NULL;
	struct sae_where w;
	const char *hook;

	TRY(json_read(&cfg, cfg_path, err));
	TRY(saelens_config_hook(&hook, cfg, cfg_path, err));
	w = sae_where_of_hook(hook);
	note_place(s, &w, hook);
	json_decref(cfg);
	if (!sae_where_is(&w, s->site))
		return 0;
	if (*s->found)
		return err_set(err, ERR_INPUT,
			"expected one SAE of %s, found\n  %s\n  %s\nchoose by "
			"sae.layer_folder or a deeper sae.path",
			site_name(s->site).text, s->found, s->path);
	snprintf(s->found, sizeof s->found, "%s", s->path);
	return 0;
fail:
	json_decref(cfg);
	return err->code;
}

static int search_folder(struct search *s, struct err *err)
{
	char file[SAE_PATH + 32];

	snprintf(file, sizeof file, "%s/" WEIGHTS, s->path);
	if (!file_exists(file))
		return sae_folders(s->path, search_below, s, err);
	if (s->any)
		return 1;
	snprintf(file, sizeof file, "%s/cfg.json", s->path);
	return compare_hook(s, file, err);
}

static int recognises(const char *folder, struct err *err)
{
	struct search s = {.any = true};

	snprintf(s.path, sizeof s.path, "%s", folder);
	return search_folder(&s, err);
}

static int locate(const struct sae_options *options, struct site site, char folder[SAE_PATH],
	struct err *err)
{
	struct search s = {.site = site};

	snprintf(s.path, sizeof s.path, "%s", options->path);
	if (search_folder(&s, err))
		return err->code;
	if (s.n_there == 0 && *s.other)
		return err_set(err, ERR_INPUT,
			"%s: expected SAEs of %s, by the hook that cfg.json names, found none of "
			"that place; %s is of \"%s\"",
			options->path, site_places[site.place].word, s.other, s.hook);
	snprintf(folder, SAE_PATH, "%s", s.found);
	return 0;
}

/* ---- tensors --------------------------------------------------------------------------- */

/* The threshold: per feature, its logarithm, or the one of a training checkpoint, which is of f
 * |W_dec| if the cfg says so. */
static int find_threshold(struct sae_file *file, struct sae_safetensors *r, struct err *err)
{
	struct sae_tensors *t = &r->tensors;
	const struct file_tensor *one = safetensors_find(r->weights, "topk_threshold");
	const char *name = "threshold";

	for (const char *const *other =
			(const char *const[]){"log_threshold", "log_jumprelu_threshold", NULL};
		*other && !safetensors_find(r->weights, "threshold"); other++) {
		if (safetensors_find(r->weights, *other)) {
			name = *other;
			t->log_threshold = true;
		}
	}
	if (one && !t->log_threshold && !safetensors_find(r->weights, name))
		return sae_scalar_find(r->weights, file->path, "topk_threshold",
			&t->constant_threshold, err);
	return sae_tensor_find(r->weights, file->path, name, t->d_sae, 0, &t->threshold, err);
}

/* A scaling_factor of each feature on the decoder's side, which finetuned SAEs have. */
static int find_scaling(struct sae_file *file, struct sae_safetensors *r, struct err *err)
{
	const char *const names[] = {"finetuning_scaling_factor", "scaling_factor"};

	for (size_t i = 0; i < 2; i++)
		if (safetensors_find(r->weights, names[i]))
			return sae_tensor_find(r->weights, file->path, names[i], file->d_sae, 0,
				&r->tensors.scaling, err);
	return 0;
}

static int find_tensors(struct sae_file *file, struct sae_safetensors *r, enum saelens_kind kind,
	struct err *err)
{
	struct sae_tensors *t = &r->tensors;
	const struct file_tensor *W_dec = safetensors_find(r->weights, "W_dec");
	const struct {
		const char *name;
		struct file_tensor *out;
	} vectors[] = {{kind == SAELENS_GATED ? "b_gate" : "b_enc", &t->b_enc},
		{"b_mag", &t->b_mag}, {"r_mag", &t->r_mag}};

	if (!W_dec || W_dec->n_dims != 2)
		return err_set(err, ERR_INPUT,
			"%s: expected a tensor \"W_dec\" with two dimensions", file->path);
	t->d_sae = file->d_sae = W_dec->shape[0];
	t->d_model = file->d_model = W_dec->shape[1];
	t->dec_by_feature = true;
	TRY(sae_tensor_find(r->weights, file->path, "W_dec", t->d_sae, t->d_model, &t->W_dec, err));
	TRY(sae_tensor_find(r->weights, file->path, "W_enc", t->d_model, t->d_sae, &t->W_enc, err));
	TRY(sae_tensor_find(r->weights, file->path, "b_dec", t->d_model, 0, &t->b_dec, err));
	for (size_t i = 0; i < (kind == SAELENS_GATED ? 3 : 1); i++)
		TRY(sae_tensor_find(r->weights, file->path, vectors[i].name, t->d_sae, 0,
			vectors[i].out, err));
	return kind == SAELENS_THRESHOLD ? find_threshold(file, r, err) : 0;
fail:
	return err->code;
}

static int open_with(struct sae_file *file, struct sae_safetensors *r,
	const struct saelens_config *c, const char *path, struct err *err)
{
	struct sae_tensors *t = &r->tensors;

	TRY(find_tensors(file, r, c->kind, err));
	if (c->scaled)
		TRY(find_scaling(file, r, err));
	t->subtract_b_dec = c->subtract_b_dec;
	/* A saved JumpReLU has it folded already, and its cfg.json may still say so. */
	t->unit_decoder = c->rescaled &&
			  (c->kind == SAELENS_TOP_K ||
				  (c->kind == SAELENS_THRESHOLD && !t->threshold.data));
	file->input = c->input;
	file->gated = c->kind == SAELENS_GATED;
	file->group_width = file->d_sae;
	if (c->kind != SAELENS_TOP_K)
		return 0;
	if (c->k > file->d_sae)
		return err_set(err, ERR_INPUT, "%s: k: expected 1 to %zu, found %zu", path,
			file->d_sae, c->k);
	file->top_k = c->k;
	file->claimed_l0 = (double)c->k;
	return 0;
fail:
	return err->code;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct saelens_config config;
	struct sae_safetensors *r;
	char path[SAE_PATH];
	json_t *cfg = NULL;
	int rc;

	if (sae_safetensors_open(file, &r, err))
		return err->code;
	if (sae_config_open(file, path, &cfg, err))
		return err->code;
	rc = saelens_config_read(&config, cfg, path, err);
	if (!rc)
		rc = open_with(file, r, &config, path, err);
	if (!rc)
		rc = sae_expect_size(cfg, path, "d_in", file->d_model, err);
	if (!rc)
		rc = sae_expect_size(cfg, path, "d_sae", file->d_sae, err);
	json_decref(cfg);
	return rc;
}

const struct sae_format sae_saelens = {
	.name = "saelens",
	.file_name = WEIGHTS,
	.config_name = "cfg.json",
	.recognises = recognises,
	.locate = locate,
	.open = open_files,
	.tensors = sae_safetensors_tensors,
	.release = sae_safetensors_release,
	.close = sae_safetensors_close,
};
