/* SPDX-License-Identifier: MIT
 *
 * frame.c - what every result file holds besides an experiment's findings: prompts, shared
 * dimension scales, provenance, summary. Contract: lab.h.
 */
#include "host/lab/lab.h"

#include "host/base/file.h"
#include "host/base/vec.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <hdf5.h>

#include "version.h"

enum { SCHEMA_VERSION = 1 };

/* ---- scales ---------------------------------------------------------------------------- */

static int counting_scale(struct lab *lab, const char *path, size_t n, const char *long_name,
	struct err *err)
{
	int32_t *values = malloc(n * sizeof *values + 1);
	int rc;

	if (!values)
		return err_nomem(err, path, n * sizeof *values);
	for (size_t i = 0; i < n; i++)
		values[i] = (int32_t)i;
	rc = results_scale(lab->results, path, values, n, long_name, err);
	free(values);
	return rc;
}

static int write_scales(struct lab *lab, struct err *err)
{
	const struct arch *a = &lab->model->arch;

	TRY(counting_scale(lab, "/layer", a->n_layer,
		"layer; resid_post is the output of its block", err));
	TRY(counting_scale(lab, "/d_model", a->d_model, "component of the residual stream", err));
	TRY(counting_scale(lab, "/prompt", lab->prompts.n, "prompt id", err));
	if (lab->saes)
		TRY(counting_scale(lab, "/feature", sae_set_width(lab->saes), "feature of an SAE",
			err));
	return 0;
fail:
	return err->code;
}

/* ---- prompts --------------------------------------------------------------------------- */

/* A column of /prompts, "" where a prompt has none. */
static int write_prompt_column(struct lab *lab, const char *name, const char *meaning,
	const char *(*get)(const struct lab *, size_t), bool always, struct err *err)
{
	const size_t n = lab->prompts.n;
	const char **column = malloc(n * sizeof *column + 1);
	bool any = always;
	char path[64];

	err_clear(err);
	if (!column)
		return err_nomem(err, "prompts", n * sizeof *column);
	for (size_t p = 0; p < n; p++) {
		column[p] = get(lab, p);
		any |= column[p] != NULL;
		column[p] = column[p] ? column[p] : "";
	}
	snprintf(path, sizeof path, "/prompts/%s", name);
	if (any)
		results_write(lab->results,
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

static int write_prompt_hashes(struct lab *lab, struct err *err)
{
	const size_t n = lab->prompts.n;
	char(*hashes)[SHA256_HEX] = malloc(n * sizeof *hashes + 1);
	const char **column = malloc(n * sizeof *column + 1);

	err_clear(err);
	if (!column || !hashes) {
		err_nomem(err, "prompts", n * sizeof *hashes);
		goto fail;
	}
	for (size_t p = 0; p < n; p++) {
		sha256_bytes(lab_text(lab, p), strlen(lab_text(lab, p)), hashes[p]);
		column[p] = hashes[p];
	}
	TRY(results_write(lab->results,
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
static int write_prompt_texts(struct lab *lab, struct err *err)
{
	static const struct {
		const char *name, *meaning;
		const char *(*get)(const struct lab *, size_t);
		bool always;
	} columns[] = {
		{"text", "instruction, without the template", lab_text, true},
		{"set", "prompt set", lab_set_name, true},
		{"category", "category given by the prompt file", lab_category, true},
		{"context", "context put before the instruction", lab_context, false},
		{"answer", "right answer given by the prompt file", lab_answer, false},
		{"base", "the prompt before it was made adversarial", lab_base, false},
		{"adversarial_suffix", "what was put behind the base", lab_suffix, false},
	};

	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		TRY(write_prompt_column(lab, columns[i].name, columns[i].meaning, columns[i].get,
			columns[i].always, err));
	return write_prompt_hashes(lab, err);
fail:
	return err->code;
}

static int write_prompt_tokens(struct lab *lab, struct err *err)
{
	const struct prompt_table *t = &lab->prompts;
	int32_t *end = malloc(t->n * sizeof *end + 1);

	err_clear(err);
	if (!end) {
		err_nomem(err, "prompts", t->n * sizeof *end);
		goto fail;
	}
	for (size_t p = 0; p < t->n; p++)
		end[p] = (int32_t)t->start[p + 1];
	TRY(counting_scale(lab, "/prompts/prompt_token", t->ids.n, "token of all prompts", err));
	TRY(results_write(lab->results,
		&(struct results_dataset){.path = "/prompts/token_ids",
			.type = RESULTS_I32,
			.n_dims = 1,
			.dims = {t->ids.n},
			.scales = {"/prompts/prompt_token"},
			.long_name = "token ids of all rendered prompts, end to end",
			.compress = true},
		t->ids.data, err));
	TRY(results_write(lab->results,
		&(struct results_dataset){.path = "/prompts/token_end",
			.type = RESULTS_I32,
			.n_dims = 1,
			.dims = {t->n},
			.scales = {"/prompt"},
			.long_name =
				"end of the prompt in token_ids; it begins where the last one ends"},
		end, err));
	TRY(results_attribute_integer(lab->results, "/prompts", "n_prefix", (int64_t)lab->n_prefix,
		err));
	if (!lab->judged)
		TRY(results_attribute_integer(lab->results, "/prompts", "refusal_token",
			lab->refusal_token, err));
	TRY(results_attribute_text(lab->results, "/prompts", "template", lab->chat->name, err));
	TRY(results_attribute_text(lab->results, "/prompts", "prefix", lab->chat->prefix, err));
	TRY(results_attribute_text(lab->results, "/prompts", "suffix", lab->chat->suffix, err));
	TRY(results_attribute_integer(lab->results, "/prompts", "added_bos", lab->chat->bos, err));
fail:
	free(end);
	return err->code;
}

/* ---- provenance ------------------------------------------------------------------------ */

static int write_files(struct lab *lab, struct err *err)
{
	const struct inputs *inputs = &lab->inputs;
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
	TRY(results_text_scale(lab->results, "/provenance/file", columns, n, "file that was read",
		err));
	TRY(results_write(lab->results,
		&(struct results_dataset){.path = "/provenance/role",
			.type = RESULTS_TEXT,
			.n_dims = 1,
			.dims = {n},
			.scales = {"/provenance/file"},
			.long_name = "what the file is"},
		columns + n, err));
	TRY(results_write(lab->results,
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

static int write_attributes(struct lab *lab, struct err *err)
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
		{"device", device_description(lab->dev)},
		{"compute_dtype", dtype_name(device_activation(lab->dev))},
		{"weights_dtype", dtype_name(lab->model->embedding.dtype)},
		{"model_type", lab->model->arch.model_type},
		{"hdf5_version", hdf5},
		{"slurm_job_id", job ? job : ""},
		{"sae_format", lab->saes ? sae_set_format(lab->saes) : ""},
		{"sae_dtype", lab->saes ? sae_dtype_names[sae_set_dtype(lab->saes)] : ""},
		{"neuronpedia", lab->config->sae.neuronpedia},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		TRY(results_attribute_text(lab->results, "/", texts[i].name, texts[i].value, err));
	TRY(results_attribute_integer(lab->results, "/", "schema_version", SCHEMA_VERSION, err));
	TRY(results_attribute_integer(lab->results, "/", "seed", lab->config->seed, err));
fail:
	free(config);
	return err->code;
}

int lab_write_frame(struct lab *lab, struct err *err)
{
	TRY(write_attributes(lab, err));
	TRY(write_scales(lab, err));
	TRY(write_prompt_texts(lab, err));
	TRY(write_prompt_tokens(lab, err));
	return write_files(lab, err);
fail:
	return err->code;
}

/* ---- summary --------------------------------------------------------------------------- */

static int write_stages(struct lab *lab, struct err *err)
{
	const size_t n = lab->stages.n;
	const char **names = malloc(n * sizeof *names + 1), **units = malloc(n * sizeof *units + 1);
	double *seconds = malloc(n * sizeof *seconds + 1);
	int64_t *counts = malloc(n * sizeof *counts + 1);
	const struct results_dataset d = {.type = RESULTS_F64,
		.n_dims = 1,
		.dims = {n},
		.scales = {"/provenance/stages/stage"}};
	struct results_dataset columns[] = {d, d, d};

	err_clear(err);
	if (!names || !units || !seconds || !counts) {
		err_nomem(err, "the stages", n * sizeof *names);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		names[i] = lab->stages.data[i].name;
		units[i] = lab->stages.data[i].unit;
		seconds[i] = lab->stages.data[i].seconds;
		counts[i] = (int64_t)lab->stages.data[i].n;
	}
	columns[0].path = "/provenance/stages/seconds";
	columns[0].long_name = "wall time of the stage";
	columns[0].units = "s";
	columns[1].path = "/provenance/stages/n";
	columns[1].long_name = "units of work done in it";
	columns[1].units = "1";
	columns[1].type = RESULTS_I64;
	columns[2].path = "/provenance/stages/unit";
	columns[2].long_name = "what a unit of work is";
	columns[2].type = RESULTS_TEXT;
	TRY(results_text_scale(lab->results, "/provenance/stages/stage", names, n,
		"stage, in the order they ran", err));
	TRY(results_write(lab->results, &columns[0], seconds, err));
	TRY(results_write(lab->results, &columns[1], counts, err));
	TRY(results_write(lab->results, &columns[2], units, err));
fail:
	free(names);
	free(units);
	free(seconds);
	free(counts);
	return err->code;
}

int lab_write_summary(struct lab *lab, struct err *err)
{
	const size_t n = lab->summary.n;
	const char **names = malloc(n * sizeof *names + 1);
	char(*joined)[96] = malloc(n * sizeof *joined + 1);
	double *column = malloc(n * sizeof *column + 1);
	char when[32], path[64];
	static const struct {
		const char *name, *meaning, *units;
		size_t offset;
		bool judge; /* in a judge's file, or in all others */
	} columns[] = {{"refusal", "share of replies that are refusals", "1",
			       offsetof(struct summary_row, refusal), false},
		{"p_refusal", "mean probability that the first token is the refusal token", "1",
			offsetof(struct summary_row, p_refusal), false},
		{"kl", "mean KL of the first token's distribution, unedited to this", "nat",
			offsetof(struct summary_row, kl), false},
		{"ce", "cross-entropy of unedited answers, per answer token", "nat",
			offsetof(struct summary_row, ce), false},
		{"ce_released",
			"cross-entropy of unedited answers, as the code released with "
			"arXiv:2505.23556 averages it: over all positions of a padded batch",
			"nat", offsetof(struct summary_row, ce_released), false},
		{"jailbreak", "share of replies that do what was asked for, as the judge says", "1",
			offsetof(struct summary_row, jailbreak), true},
		{"p_yes", "mean probability that the judge says so", "1",
			offsetof(struct summary_row, p_yes), true}};

	err_clear(err);
	if (!names || !joined || !column) {
		err_nomem(err, "the summary", n * sizeof *joined);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(joined[i], sizeof joined[i], "%s/%s", lab->summary.data[i].experiment,
			lab->summary.data[i].condition);
		names[i] = joined[i];
	}
	TRY(results_text_scale(lab->results, "/summary/condition", names, n, "experiment/condition",
		err));
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		if (columns[c].judge != (lab->judged != NULL))
			continue;
		for (size_t i = 0; i < n; i++)
			memcpy(&column[i], (char *)&lab->summary.data[i] + columns[c].offset,
				sizeof *column);
		snprintf(path, sizeof path, "/summary/%s", columns[c].name);
		TRY(results_write(lab->results,
			&(struct results_dataset){.path = path,
				.type = RESULTS_F64,
				.n_dims = 1,
				.dims = {n},
				.scales = {"/summary/condition"},
				.long_name = columns[c].meaning,
				.units = columns[c].units},
			column, err));
	}
	TRY(write_stages(lab, err));
	utc_now(when, sizeof when);
	TRY(results_attribute_text(lab->results, "/", "finished", when, err));
fail:
	free(names);
	free(joined);
	free(column);
	return err->code;
}
