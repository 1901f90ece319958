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
 * A layer's folder is the one whose cfg.json names its hook: blocks.L.hook_resid_post, or the
 * same place by its other name, blocks.{L+1}.hook_resid_pre.
 *
 * normalize_activations "expected_average_only_in" is a constant that SAELens folds into the
 * weights before it saves them; like its own loader from disk we take it as folded (sae.check
 * shows when it was not). apply_b_dec_to_input subtracts b_dec from the normed input.
 */
#include "host/model/sae_tensors.h"

#include "host/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WEIGHTS "sae_weights.safetensors"

/* ---- finding a layer ------------------------------------------------------------------- */

/* What cfg.json says of the hook: top level before version 6, then in metadata. */
static int hook_of(const json_t *cfg, const char *path, const char **hook, struct err *err)
{
	const json_t *metadata = json_object_get(cfg, "metadata");

	*hook = "";
	TRY(json_get_text(cfg, path, "hook_point", hook, err));
	TRY(json_get_text(cfg, path, "hook_name", hook, err));
	if (metadata)
		TRY(json_get_text(metadata, path, "hook_name", hook, err));
	return 0;
fail:
	return err->code;
}

/* The layer whose resid_post a hook is, or -1. */
static long layer_of(const char *hook)
{
	long layer;
	int n = 0;

	if (sscanf(hook, "blocks.%ld.hook_resid_post%n", &layer, &n) == 1 && n > 0 && !hook[n])
		return layer;
	n = 0;
	if (sscanf(hook, "blocks.%ld.hook_resid_pre%n", &layer, &n) == 1 && n > 0 && !hook[n])
		return layer - 1;
	return -1;
}

/* Folders may lie in folders: release/layer_3/width_16k is common. */
enum { DEPTH = 4 };

struct search {
	char path[SAE_PATH];  /* of the folder being read */
	char found[SAE_PATH]; /* the layer's */
	long layer;
	int depth;
	bool any; /* the first weights will do */
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

static int compare_hook(struct search *s, const char *cfg_path, struct err *err)
{
	const char *hook;
	json_t *cfg = NULL;
	bool same;

	TRY(json_read(&cfg, cfg_path, err));
	TRY(hook_of(cfg, cfg_path, &hook, err));
	same = layer_of(hook) == s->layer;
	json_decref(cfg);
	if (!same)
		return 0;
	if (*s->found)
		return err_set(err, ERR_INPUT,
			"expected one SAE of blocks.%ld.hook_resid_post, found\n  %s\n  %s\nchoose by "
			"sae.layer_folder or a deeper sae.path",
			s->layer, s->found, s->path);
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

static bool recognises(const char *folder)
{
	struct search s = {.any = true};
	struct err ignored;

	snprintf(s.path, sizeof s.path, "%s", folder);
	return search_folder(&s, &ignored) == 1;
}

static int locate(const struct sae_options *options, size_t layer, char folder[SAE_PATH],
	struct err *err)
{
	struct search s = {.layer = (long)layer};

	snprintf(s.path, sizeof s.path, "%s", options->path);
	if (search_folder(&s, err))
		return err->code;
	snprintf(folder, SAE_PATH, "%s", s.found);
	return 0;
}

/* ---- cfg.json -------------------------------------------------------------------------- */

enum architecture { STANDARD, GATED, TOP_K, THRESHOLD };

static const struct {
	const char *name;
	enum architecture architecture;
} architectures[] = {{"standard", STANDARD}, {"gated", GATED}, {"topk", TOP_K},
	{"jumprelu", THRESHOLD}, {"batchtopk", THRESHOLD}, {"matryoshka_batchtopk", THRESHOLD}};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

static int find_architecture(const json_t *cfg, const char *path, enum architecture *out,
	struct err *err)
{
	const char *name = "standard", *activation = "relu";

	TRY(json_get_text(cfg, path, "architecture", &name, err));
	TRY(json_get_text(cfg, path, "activation_fn", &activation, err));
	TRY(json_get_text(cfg, path, "activation_fn_str", &activation, err)); /* before version 6 */
	if (strcmp(activation, "relu") != 0 && strcmp(activation, "topk") != 0)
		return err_set(err, ERR_INPUT,
			"%s: activation_fn: expected \"relu\" or \"topk\", found \"%s\"", path,
			activation);
	for (size_t i = 0; i < N_ARCHITECTURES; i++) {
		if (strcmp(name, architectures[i].name) == 0) {
			*out = architectures[i].architecture;
			if (*out == STANDARD && strcmp(activation, "topk") == 0)
				*out = TOP_K;
			return 0;
		}
	}
	return err_set(err, ERR_INPUT,
		"%s: architecture: expected standard, gated, topk, jumprelu, batchtopk or "
		"matryoshka_batchtopk, found \"%s\"",
		path, name);
fail:
	return err->code;
}

static int read_normalization(const json_t *cfg, const char *path, enum sae_input *out,
	struct err *err)
{
	static const struct {
		const char *name;
		enum sae_input input;
	} kinds[] = {{"none", SAE_INPUT_RAW}, {"expected_average_only_in", SAE_INPUT_RAW},
		{"constant_norm_rescale", SAE_INPUT_SPHERE}, {"layer_norm", SAE_INPUT_STANDARDIZED}};
	const char *name = "none";

	if (!json_is_boolean(json_object_get(cfg, "normalize_activations"))) /* before 2024-04 */
		TRY(json_get_text(cfg, path, "normalize_activations", &name, err));
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(name, kinds[i].name) == 0) {
			*out = kinds[i].input;
			return 0;
		}
	}
	return err_set(err, ERR_INPUT,
		"%s: normalize_activations: expected none, expected_average_only_in, "
		"constant_norm_rescale or layer_norm, found \"%s\"",
		path, name);
fail:
	return err->code;
}

static int read_k(const json_t *cfg, const char *path, size_t d_sae, size_t *k, struct err *err)
{
	const json_t *arguments = json_object_get(cfg, "activation_fn_kwargs"); /* before 6 */
	int64_t n = 0;

	if (json_is_object(arguments))
		TRY(json_get_int(arguments, path, "k", &n, err));
	TRY(json_get_int(cfg, path, "k", &n, err));
	if (n < 1 || (uint64_t)n > d_sae)
		return err_set(err, ERR_INPUT, "%s: k: expected 1 to %zu, found %lld", path, d_sae,
			(long long)n);
	*k = (size_t)n;
	return 0;
fail:
	return err->code;
}

/* ---- tensors --------------------------------------------------------------------------- */

/* The threshold of a training checkpoint, in units of unit decoder rows if the cfg says so. */
static int one_threshold(struct sae_file *file, const struct file_tensor *one,
	struct sae_tensors *t, struct err *err)
{
	float narrow;

	if (one->n_dims != 0 || !one->known ||
		(one->dtype != DTYPE_F64 && one->dtype != DTYPE_F32))
		return err_set(err, ERR_INPUT,
			"%s: topk_threshold: expected one F32 or F64, found %s of %d dimensions",
			file->path, one->type, one->n_dims);
	if (one->dtype == DTYPE_F64) {
		memcpy(&t->constant_threshold, one->data, sizeof t->constant_threshold);
	} else {
		memcpy(&narrow, one->data, sizeof narrow);
		t->constant_threshold = narrow;
	}
	return 0;
}

/* The threshold: per feature, its logarithm, or one for all. */
static int find_threshold(struct sae_file *file, struct sae_safetensors *r, struct err *err)
{
	struct sae_tensors *t = &r->tensors;
	const struct file_tensor *one = safetensors_find(r->weights, "topk_threshold");
	const char *name = "threshold";

	for (const char *const *other = (const char *const[]){"log_threshold",
		     "log_jumprelu_threshold", NULL};
		*other && !safetensors_find(r->weights, "threshold"); other++) {
		if (safetensors_find(r->weights, *other)) {
			name = *other;
			t->log_threshold = true;
		}
	}
	if (one && !t->log_threshold && !safetensors_find(r->weights, name))
		return one_threshold(file, one, t, err);
	return sae_tensor_find(r->weights, file->path, name, t->d_sae, 0, &t->threshold, err);
}

/* A scaling_factor of each feature on the decoder's side, which finetuned SAEs have. */
static int find_scaling(struct sae_file *file, struct sae_safetensors *r, const json_t *cfg,
	const char *path, struct err *err)
{
	const char *const names[] = {"finetuning_scaling_factor", "scaling_factor"};
	bool used = false;

	TRY(json_get_bool(cfg, path, "finetuning_scaling_factor", &used, err));
	for (size_t i = 0; i < 2 && used; i++)
		if (safetensors_find(r->weights, names[i]))
			return sae_tensor_find(r->weights, file->path, names[i], file->d_sae, 0,
				&r->tensors.scaling, err);
	return 0;
fail:
	return err->code;
}

static int find_tensors(struct sae_file *file, struct sae_safetensors *r,
	enum architecture architecture, struct err *err)
{
	struct sae_tensors *t = &r->tensors;
	const struct file_tensor *W_dec = safetensors_find(r->weights, "W_dec");
	const struct {
		const char *name;
		struct file_tensor *out;
	} vectors[] = {{architecture == GATED ? "b_gate" : "b_enc", &t->b_enc},
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
	for (size_t i = 0; i < (architecture == GATED ? 3 : 1); i++)
		TRY(sae_tensor_find(r->weights, file->path, vectors[i].name, t->d_sae, 0,
			vectors[i].out, err));
	return architecture == THRESHOLD ? find_threshold(file, r, err) : 0;
fail:
	return err->code;
}

static int open_with(struct sae_file *file, struct sae_safetensors *r, const json_t *cfg,
	const char *path, struct err *err)
{
	enum architecture architecture = STANDARD;

	r->tensors.subtract_b_dec = true;
	TRY(find_architecture(cfg, path, &architecture, err));
	TRY(sae_expect_text(cfg, path, "reshape_activations", "none", err));
	TRY(read_normalization(cfg, path, &file->input, err));
	TRY(json_get_bool(cfg, path, "apply_b_dec_to_input", &r->tensors.subtract_b_dec, err));
	TRY(find_tensors(file, r, architecture, err));
	/* A saved JumpReLU has it folded already, and its cfg.json may still say so. */
	if (architecture == TOP_K || (architecture == THRESHOLD && !r->tensors.threshold.data))
		TRY(json_get_bool(cfg, path, "rescale_acts_by_decoder_norm",
			&r->tensors.unit_decoder, err));
	TRY(find_scaling(file, r, cfg, path, err));
	file->gated = architecture == GATED;
	file->group_width = file->d_sae;
	if (architecture == TOP_K) {
		TRY(read_k(cfg, path, file->d_sae, &file->top_k, err));
		file->claimed_l0 = (double)file->top_k;
	}
	return 0;
fail:
	return err->code;
}

static int open_files(struct sae_file *file, struct err *err)
{
	struct sae_safetensors *r;
	char path[SAE_PATH];
	json_t *cfg = NULL;
	int rc;

	if (sae_safetensors_open(file, &r, err))
		return err->code;
	sae_sibling(file, "cfg.json", path);
	if (json_read(&cfg, path, err))
		return err->code;
	rc = open_with(file, r, cfg, path, err);
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
	.read = sae_safetensors_read,
	.close = sae_safetensors_close,
};
