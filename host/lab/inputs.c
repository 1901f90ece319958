/* SPDX-License-Identifier: MIT
 *
 * inputs.c - Contract: inputs.h.
 */
#include "host/lab/inputs.h"

#include "host/base/vec.h"
#include "host/formats/safetensors.h"
#include "host/lab/lab.h"

#include <omp.h>

#include "version.h"

static int add_file(struct inputs *inputs, const char *path, const char *role, struct err *err)
{
	struct input_file file = {.path = strdup(path), .role = strdup(role)};

	err_clear(err);
	for (size_t i = 0; i < inputs->n; i++) {
		if (strcmp(inputs->data[i].path, path) == 0) { /* read for several prompt sets */
			free(file.path);
			free(file.role);
			return 0;
		}
	}
	if (!file.path || !file.role)
		err_nomem(err, path, strlen(path));
	else if (vec_push(inputs, file, err) == 0)
		return 0;
	free(file.path);
	free(file.role);
	return err->code;
}

static int add_model_file(struct inputs *inputs, const struct lab *lab, const char *name,
	const char *role, struct err *err)
{
	char *path = path_join(lab->config->model.path, name);
	int rc;

	if (!path)
		return err_nomem(err, name, strlen(name));
	rc = add_file(inputs, path, role, err);
	free(path);
	return rc;
}

static int add_sae(struct inputs *inputs, const struct sae_set *saes, size_t layer, struct err *err)
{
	char config[4096];

	if (!sae_set_has(saes, layer))
		return 0;
	TRY(add_file(inputs, sae_set_path(saes, layer), "sae", err));
	if (sae_set_config_path(saes, layer, config, sizeof config))
		TRY(add_file(inputs, config, "sae", err));
	return 0;
fail:
	return err->code;
}

/* Hashing is slower than a good disk, so several files at a time. */
static int hash_files(struct inputs *inputs, int n_threads, struct err *err)
{
	struct err first = {0};

#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
	for (size_t i = 0; i < inputs->n; i++) {
		struct err own = {0};

		if (sha256_file(inputs->data[i].path, inputs->data[i].sha256, &own) == 0)
			continue;
#pragma omp critical
		if (!first.code)
			first = own;
	}
	if (first.code)
		*err = first;
	return first.code;
}

int inputs_collect(struct inputs *inputs, const struct lab *lab, struct err *err)
{
	const struct safetensors_folder *weights = lab->model->files;
	char *tokenizer = NULL;

	err_clear(err);
	TRY(add_model_file(inputs, lab, "config.json", "model", err));
	TRY(tokenizer_find(&tokenizer, lab->config->model.path, err));
	TRY(add_file(inputs, tokenizer, "tokenizer", err));
	for (size_t i = 0; i < safetensors_folder_files(weights); i++)
		TRY(add_file(inputs, safetensors_folder_path(weights, i), "weights", err));
	for (size_t l = 0; lab->saes && l < sae_set_layers(lab->saes); l++)
		TRY(add_sae(inputs, lab->saes, l, err));
	for (size_t i = 0; i < lab->config->n_prompts; i++)
		TRY(add_file(inputs, lab->config->prompts[i].file, "prompts", err));
	if (*lab->config->from)
		TRY(add_file(inputs, lab->config->from, lab->judged ? "judged" : "findings", err));
	if (lab->judged)
		TRY(add_file(inputs, lab->config->judge.template, "template", err));
	if (lab->judged && *lab->config->judge.context_template)
		TRY(add_file(inputs, lab->config->judge.context_template, "template", err));
	TRY(hash_files(inputs,
		lab->config->threads > 0 ? (int)lab->config->threads : omp_get_num_procs(), err));
fail:
	free(tokenizer);
	return err->code;
}

void inputs_free(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->n; i++) {
		free(inputs->data[i].path);
		free(inputs->data[i].role);
	}
	free(inputs->data);
	*inputs = (struct inputs){0};
}

/* Of the CPU and of a GPU that rounds products, compute_dtype is the same; sae.dtype = auto is not.
 */
static void print_precision(const struct lab *lab, FILE *to)
{
	fprintf(to, "compute_dtype = %s\n", dtype_name(device_activation(lab->dev)));
	if (lab->saes)
		fprintf(to, "sae_dtype = %s\n", sae_dtype_names[sae_set_dtype(lab->saes)]);
}

char *inputs_text(const struct inputs *inputs, const struct lab *lab)
{
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);

	if (!memory)
		return NULL;
	fprintf(memory, "engine = %s (%s)\n", SAENGINE_VERSION, SAENGINE_COMMIT);
	print_precision(lab, memory);
	if (lab->ranks->rank == 0)
		config_print_lines(lab->config, memory);
	for (size_t i = 0; i < inputs->n; i++)
		fprintf(memory, "sha256 of %s = %s\n", inputs->data[i].path,
			inputs->data[i].sha256);
	if (fclose(memory) == 0)
		return text;
	free(text);
	return NULL;
}
