/* SPDX-License-Identifier: MIT
 *
 * frame.c - Contract: frame.h.
 */
#include "host/lab/frame.h"

#include "host/base/file.h"
#include "host/base/vec.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <hdf5.h>

#include "version.h"

enum { SCHEMA_VERSION = 1 };

/* ---- scales ---------------------------------------------------------------------------- */

static int counting_scale(const struct lab *lab, const char *path, size_t n, const char *long_name,
	struct err *err)
{
	int32_t *values = malloc(n * sizeof *values + 1);
	int rc;

	if (!values)
		return err_nomem(err, path, n * sizeof *values);
	for (size_t i = 0; i < n; i++)
		values[i] = (int32_t)i;
	rc = results_scale(lab->job->results, path, values, n, long_name, err);
	free(values);
	return rc;
}

static int write_scales(const struct lab *lab, struct err *err)
{
	const struct arch *a = &lab->machine->model->arch;

	TRY(counting_scale(lab, "/layer", a->n_layer,
		"layer; resid_post is the output of its block", err));
	TRY(counting_scale(lab, "/d_model", a->d_model, "component of the residual stream", err));
	TRY(counting_scale(lab, "/prompt", lab->prompts->table.n, "prompt id", err));
	if (lab->machine->saes)
		TRY(counting_scale(lab, "/feature", sae_set_width(lab->machine->saes),
			"feature of an SAE", err));
	return 0;
fail:
	return err->code;
}

/* ---- prompts --------------------------------------------------------------------------- */

/* A column of /prompts, "" where a prompt has none. */
static int write_prompt_column(const struct lab *lab, const char *name, const char *meaning,
	const char *(*get)(const struct prompts *, size_t), bool always, struct err *err)
{
	const size_t n = lab->prompts->table.n;
	const char **column = malloc(n * sizeof *column + 1);
	bool any = always;
	char path[64];

	err_clear(err);
	if (!column)
		return err_nomem(err, "prompts", n * sizeof *column);
	for (size_t p = 0; p < n; p++) {
		column[p] = get(lab->prompts, p);
		any |= column[p] != NULL;
		column[p] = column[p] ? column[p] : "";
	}
	snprintf(path, sizeof path, "/prompts/%s", name);
	if (any)
		results_write(lab->job->results,
			&(struct results_dataset){.path = path,
				.type = RESULTS_TEXT,
				.n_dims = 1,
				.dims = {n},
				.scales = {"/prompt"},
				.long_name = meaning},
			column, err);
	free(column);
	return err->code;
}

static int write_prompt_hashes(const struct lab *lab, struct err *err)
{
	const size_t n = lab->prompts->table.n;
	char(*hashes)[SHA256_HEX] = malloc(n * sizeof *hashes + 1);
	const char **column = malloc(n * sizeof *column + 1);

	err_clear(err);
	if (!column || !hashes) {
		err_nomem(err, "prompts", n * sizeof *hashes);
		goto fail;
	}
	for (size_t p = 0; p < n; p++) {
		sha256_bytes(prompts_text(lab->prompts, p), strlen(prompts_text(lab->prompts, p)),
			hashes[p]);
		column[p] = hashes[p];
	}
	TRY(results_write(lab->job->results,
		&(struct results_dataset){.path = "/prompts/sha256",
			.type = RESULTS_TEXT,
			.n_dims = 1,
			.dims = {n},
			.scales = {"/prompt"},
			.long_name = "SHA-256 of the text"},
		column, err));
fail:
	free(column);
	free(hashes);
	return err->code;
}

/* What the prompt files gave: some columns are there only when one of the prompts has them. */
static int write_prompt_texts(const struct lab *lab, struct err *err)
{
	static const struct {
		const char *name, *meaning;
		const char *(*get)(const struct prompts *, size_t);
		bool always;
	} columns[] = {
		{"text", "instruction, without the template", prompts_text, true},
		{"set", "prompt set", prompts_set_name, true},
		{"category", "category given by the prompt file", prompts_category, true},
		{"context", "context put before the instruction", prompts_context, false},
		{"answer", "right answer given by the prompt file", prompts_answer, false},
		{"base", "the prompt before it was made adversarial", prompts_base, false},
		{"adversarial_suffix", "what was put behind the base", prompts_suffix, false},
	};

	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		TRY(write_prompt_column(lab, columns[i].name, columns[i].meaning, columns[i].get,
			columns[i].always, err));
	return write_prompt_hashes(lab, err);
fail:
	return err->code;
}

static int write_prompt_tokens(const struct lab *lab, struct err *err)
{
	const struct prompt_table *t = &lab->prompts->table;
	int32_t *end = malloc(t->n * sizeof *end + 1);

	err_clear(err);
	if (!end) {
		err_nomem(err, "prompts", t->n * sizeof *end);
		goto fail;
	}
	for (size_t p = 0; p < t->n; p++)
		end[p] = (int32_t)t->start[p + 1];
	TRY(counting_scale(lab, "/prompts/prompt_token", t->ids.n, "token of all prompts", err));
	TRY(results_write(lab->job->results,
		&(struct results_dataset){.path = "/prompts/token_ids",
			.type = RESULTS_I32,
			.n_dims = 1,
			.dims = {t->ids.n},
			.scales = {"/prompts/prompt_token"},
			.long_name = "token ids of all rendered prompts, end to end",
			.compress = true},
		t->ids.data, err));
	TRY(results_write(lab->job->results,
		&(struct results_dataset){.path = "/prompts/token_end",
			.type = RESULTS_I32,
			.n_dims = 1,
			.dims = {t->n},
			.scales = {"/prompt"},
			.long_name =
				"end of the prompt in token_ids; it begins where the last one ends"},
		end, err));
	TRY(results_attribute_integer(lab->job->results, "/prompts", "n_prefix",
		(int64_t)lab->prompts->n_prefix, err));
	if (lab->prompts->refusal_token >= 0)
		TRY(results_attribute_integer(lab->job->results, "/prompts", "refusal_token",
			lab->prompts->refusal_token, err));
	TRY(results_attribute_text(lab->job->results, "/prompts", "template",
		lab->prompts->chat->name, err));
	TRY(results_attribute_text(lab->job->results, "/prompts", "prefix",
		lab->prompts->chat->prefix, err));
	TRY(results_attribute_text(lab->job->results, "/prompts", "suffix",
		lab->prompts->chat->suffix, err));
	TRY(results_attribute_integer(lab->job->results, "/prompts", "added_bos",
		lab->prompts->chat->bos, err));
fail:
	free(end);
	return err->code;
}

/* ---- provenance ------------------------------------------------------------------------ */

static int write_files(const struct lab *lab, const struct inputs *inputs, struct err *err)
{
	const size_t n = inputs->n;
	const char **columns = malloc(3 * n * sizeof *columns + 1);

	err_clear(err);
	if (!columns) {
		err_nomem(err, "the files", 3 * n * sizeof *columns);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		columns[i] = inputs->data[i].path;
		columns[n + i] = inputs->data[i].role;
		columns[2 * n + i] = inputs->data[i].sha256;
	}
	TRY(results_text_scale(lab->job->results, "/provenance/file", columns, n,
		"file that was read", err));
	TRY(results_write(lab->job->results,
		&(struct results_dataset){.path = "/provenance/role",
			.type = RESULTS_TEXT,
			.n_dims = 1,
			.dims = {n},
			.scales = {"/provenance/file"},
			.long_name = "what the file is"},
		columns + n, err));
	TRY(results_write(lab->job->results,
		&(struct results_dataset){.path = "/provenance/sha256",
			.type = RESULTS_TEXT,
			.n_dims = 1,
			.dims = {n},
			.scales = {"/provenance/file"},
			.long_name = "SHA-256 of the file"},
		columns + 2 * n, err));
fail:
	free(columns);
	return err->code;
}

static void utc_now(char *out, size_t size)
{
	const time_t now = time(NULL);
	struct tm tm;

	strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

/* The resolved config as text; owned by the caller. */
static char *config_text(const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);

	if (!memory)
		return NULL;
	config_print(c, memory);
	fclose(memory);
	return text;
}

static int write_attributes(const struct lab *lab, struct err *err)
{
	const char *job = getenv("SLURM_JOB_ID");
	char *config = config_text(lab->config), when[32], hdf5[32];
	unsigned major, minor, release;

	err_clear(err);
	if (!config) {
		err_nomem(err, "the config", 4096);
		goto fail;
	}
	utc_now(when, sizeof when);
	H5get_libversion(&major, &minor, &release);
	snprintf(hdf5, sizeof hdf5, "%u.%u.%u", major, minor, release);
	const struct {
		const char *name, *value;
	} texts[] = {
		{"Conventions", "CF-1.11"},
		{"title", "saengine results"},
		{"engine_version", SAENGINE_VERSION},
		{"git_commit", SAENGINE_COMMIT},
		{"config", config},
		{"started", when},
		{"device", device_description(lab->machine->dev)},
		{"compute_dtype", dtype_name(device_activation(lab->machine->dev))},
		{"weights_dtype", dtype_name(lab->machine->model->embedding.dtype)},
		{"model_type", lab->machine->model->arch.model_type},
		{"hdf5_version", hdf5},
		{"slurm_job_id", job ? job : ""},
		{"sae_format", lab->machine->saes ? sae_set_format(lab->machine->saes) : ""},
		{"sae_dtype", lab->machine->saes
				      ? sae_dtype_names[sae_set_dtype(lab->machine->saes)]
				      : ""},
		{"neuronpedia", lab->config->sae.neuronpedia},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		TRY(results_attribute_text(lab->job->results, "/", texts[i].name, texts[i].value,
			err));
	TRY(results_attribute_integer(lab->job->results, "/", "schema_version", SCHEMA_VERSION,
		err));
	TRY(results_attribute_integer(lab->job->results, "/", "seed", lab->config->seed, err));
fail:
	free(config);
	return err->code;
}

int frame_write(const struct lab *lab, const struct inputs *inputs, struct err *err)
{
	TRY(write_attributes(lab, err));
	TRY(write_scales(lab, err));
	TRY(write_prompt_texts(lab, err));
	TRY(write_prompt_tokens(lab, err));
	return write_files(lab, inputs, err);
fail:
	return err->code;
}

int frame_write_finished(const struct lab *lab, struct err *err)
{
	char when[32];

	utc_now(when, sizeof when);
	return results_attribute_text(lab->job->results, "/", "finished", when, err);
}
