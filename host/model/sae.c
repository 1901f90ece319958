/* SPDX-License-Identifier: MIT
 *
 * sae.c - opening the SAEs of a model: which format they have, where each layer's lies. Contract:
 * sae.h. The formats are sae_gemma_scope.c and its neighbours, one for each publisher; weights are
 * brought to the device in sae_load.c; what an open set says of itself is in sae_set.c. Tests:
 * tests/test_sae.c.
 */
#include "host/model/sae.h"
#include "host/model/sae_parts.h"

#include "host/base/file.h"
#include "host/model/sae_site.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SAELens before others: its folders may have any name, another format's too. lm_saes, which names
 * its weights as SAELens does, before that: its config has another name. */
static const struct sae_format *const formats[] = {&sae_lm_saes, &sae_saelens, &sae_gemma_scope,
	&sae_gemma_scope_2, &sae_llama_scope, &sae_sparsify};
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* ---- opening --------------------------------------------------------------------------- */

/* Writes layer's folder by the pattern of the options. */
static int folder_by_pattern(const struct sae_options *options, size_t layer, char folder[SAE_PATH],
	struct err *err)
{
	const char *at = strstr(options->layer_folder, "{layer}");

	if (!at)
		return err_set(err, ERR_CONFIG,
			"sae.layer_folder: expected {layer} in place of the layer's number, found \"%s\"",
			options->layer_folder);
	snprintf(folder, SAE_PATH, "%s/%.*s%zu%s", options->path, (int)(at - options->layer_folder),
		options->layer_folder, layer, at + strlen("{layer}"));
	return 0;
}

/* By its files in the folder of any layer. Returns as sae_format's recognises. */
static int recognised_by_pattern(const struct sae_format *format, const struct sae_options *options,
	size_t n_layer, struct err *err)
{
	for (size_t l = 0; l < n_layer; l++) {
		char folder[SAE_PATH];

		if (folder_by_pattern(options, l, folder, err))
			return err->code;
		if (sae_format_holds(format, folder))
			return 1;
	}
	return 0;
}

/* Whether it is the one to open. Returns as sae_format's recognises. */
static int is_chosen(const struct sae_format *format, const struct sae_options *options,
	size_t n_layer, struct err *err)
{
	if (strcmp(options->format, "auto") != 0)
		return strcmp(options->format, format->name) == 0;
	return *options->layer_folder ? recognised_by_pattern(format, options, n_layer, err)
				      : format->recognises(options->path, err);
}

static int choose_format(struct sae_set *set, const struct sae_options *options, struct err *err)
{
	const bool by_pattern = *options->layer_folder != '\0';
	char ignored[SAE_PATH], others[512];

	err_clear(err);
	if (by_pattern && folder_by_pattern(options, 0, ignored, err))
		return err->code;
	for (size_t i = 0; i < N_FORMATS; i++) {
		if (is_chosen(formats[i], options, set->n_layer, err) == 1) {
			set->format = formats[i];
			return 0;
		}
		if (err->code)
			return err->code;
	}
	return err_set(err, ERR_INPUT,
		"%s: expected a folder of SAEs: layer_0/... (Gemma Scope), layer_0_width_... (Gemma "
		"Scope 2), ...-L0R-... (Llama Scope), L0R (lm_saes), folders with "
		"sae_weights.safetensors (SAELens) or layers.0 (sparsify); found none of them%s%s%s",
		options->path, by_pattern ? " by sae.layer_folder = " : "", options->layer_folder,
		sae_site_others(options, others, sizeof others));
}

static int check_file(const struct sae_set *set, const struct sae_file *file, struct err *err)
{
	if (file->d_model != set->d_model)
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of width %zu, the model's d_model, found %zu",
			file->path, set->d_model, file->d_model);
	if (set->d_sae > 0 && file->d_sae != set->d_sae)
		return err_set(err, ERR_INPUT,
			"%s: expected %zu features, as in the layers before, found %zu", file->path,
			set->d_sae, file->d_sae);
	return 0;
}

static int open_layer(struct sae_set *set, const struct sae_options *options, size_t layer,
	struct err *err)
{
	const struct site site = {layer, options->place};
	struct sae_file *file = &set->files[layer];
	char folder[SAE_PATH] = "", path[SAE_PATH + 64], others[512];

	*file = (struct sae_file){.options = options,
		.reads = site,
		.writes = site,
		.n_threads = device_threads(set->dev),
		.claimed_l0 = NAN};
	if (*options->layer_folder ? folder_by_pattern(options, layer, folder, err)
				   : set->format->locate(options, site, folder, err))
		return err->code;
	snprintf(path, sizeof path, "%s/%s", folder, set->format->file_name);
	if (!*folder || (options->some_layers && !file_exists(path))) {
		if (options->some_layers)
			return 0;
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of every layer, found none of layer %zu in the format %s "
			"(to go on without, sae.layers = \"found\")%s",
			options->path, layer, set->format->name,
			sae_site_others(options, others, sizeof others));
	}
	file->format = set->format;
	file->path = strdup(path);
	if (!file->path)
		return err_nomem(err, path, strlen(path));
	if (sae_site_check(file, err) || set->format->open(file, err) || check_file(set, file, err))
		return err->code;
	if (options->allow_unused && sae_unused_find(file, options->dtype, err))
		return err->code;
	file->options = NULL;
	set->d_sae = file->d_sae;
	return 0;
}

int sae_set_open(struct sae_set **out, struct device *dev, const struct sae_options *options,
	size_t n_layer, size_t d_model, struct err *err)
{
	struct sae_set *set = calloc(1, sizeof *set);

	*out = NULL;
	if (!set)
		return err_nomem(err, "the SAEs", sizeof *set);
	*set = (struct sae_set){.dev = dev,
		.n_layer = n_layer,
		.d_model = d_model,
		.budget = options->budget,
		.dtype = options->dtype,
		.scratch = {.sparse = {.dev = dev}}};
	set->files = calloc(n_layer, sizeof *set->files);
	set->residents = calloc(n_layer, sizeof *set->residents);
	if (!set->files || !set->residents) {
		err_nomem(err, "the SAEs", n_layer * sizeof *set->files);
		goto fail;
	}
	TRY(choose_format(set, options, err));
	for (size_t l = 0; l < n_layer; l++)
		TRY(open_layer(set, options, l, err));
	if (set->d_sae == 0) {
		err_set(err, ERR_INPUT,
			"%s: expected an SAE of at least one of the model's %zu layers, "
			"found none in the format %s",
			options->path, n_layer, set->format->name);
		goto fail;
	}
	*out = set;
	return 0;
fail:
	sae_set_close(set);
	return err->code;
}

void sae_set_close(struct sae_set *set)
{
	if (!set)
		return;
	for (size_t l = 0; l < set->n_layer; l++) {
		if (set->residents && set->residents[l].memory)
			sae_set_unload(set, &set->residents[l]);
		if (set->files && set->files[l].format)
			set->files[l].format->close(&set->files[l]);
		if (set->files) {
			free(set->files[l].path);
			free(set->files[l].unused);
		}
	}
	sparse_free(&set->scratch.sparse);
	device_free(set->dev, set->scratch.f);
	free(set->files);
	free(set->residents);
	free(set);
}
