/* SPDX-License-Identifier: MIT
 *
 * frame.c - Contract: frame.h.
 */
#include "host/lab/frame.h"

#include "host/base/arena.h"
#include "host/base/file.h"
#include "host/base/memstream.h"
#include "host/base/size.h"
#include "host/lab/weights_notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hdf5.h>

#include "version.h"

enum { SCHEMA_VERSION = 1 };

/* ---- scales ---------------------------------------------------------------------------- */

static const struct {
	struct dataset layer, d_model, feature, prompt;
} scales = {
	.layer = {"/layer", {"layer"}, RESULTS_I32, "",
		"0 ... n_layer - 1; `resid_post` is the output of its block"},
	.d_model = {"/d_model", {"d_model"}, RESULTS_I32, "", "component of the residual stream"},
	.feature = {"/feature", {"feature"}, RESULTS_I32, "", "0 ... d_sae - 1; with SAEs"},
	.prompt = {"/prompt", {"prompt"}, RESULTS_I32, "", "prompt id: all prompts of all sets"},
};

static int write_scales(const struct lab *lab, struct err *err)
{
	const struct arch *a = &lab->machine->model->arch;
	struct results *r = lab->job->results;

	TRY(dataset_write_counting(r, &scales.layer, NULL, a->n_layer, err));
	TRY(dataset_write_counting(r, &scales.d_model, NULL, a->d_model, err));
	TRY(dataset_write_counting(r, &scales.prompt, NULL, lab->prompts->table.n, err));
	if (lab->machine->saes)
		TRY(dataset_write_counting(r, &scales.feature, NULL,
			sae_set_width(lab->machine->saes), err));
	return 0;
fail:
	return err->code;
}

/* ---- prompts --------------------------------------------------------------------------- */

static const struct {
	struct dataset text, set, category, context, system, messages, answer, base, suffix, field,
		sha256;
	struct dataset token_ids, token_end, token;
} prompts = {
	.text = {"/prompts/text", {"prompt"}, RESULTS_TEXT, "",
		"instruction, without the template"},
	.set = {"/prompts/set", {"prompt"}, RESULTS_TEXT, "", "prompt set of the config"},
	.category = {"/prompts/category", {"prompt"}, RESULTS_TEXT, "",
		"as in the prompt file; empty for none"},
	.context = {"/prompts/context", {"prompt"}, RESULTS_TEXT, "",
		"context put before the instruction, with HarmBench's rule `\\n\\n---\\n\\n` between "
		"them; empty for none"},
	.system = {"/prompts/system", {"prompt"}, RESULTS_TEXT, "",
		"system text of its own, in place of `model.system`; empty for none"},
	.messages = {"/prompts/messages", {"prompt"}, RESULTS_TEXT, "",
		"the conversation, JSON: a list of {role, content}; `text` is the last user's "
		"content; empty where `text` is all"},
	.answer = {"/prompts/answer", {"prompt"}, RESULTS_TEXT, "",
		"right answer, as in the prompt file (of GSM8K its number, of ARC the letter); "
		"empty for none"},
	.base = {"/prompts/base", {"prompt"}, RESULTS_TEXT, "",
		"of an adversarial prompt, what it was before; empty for none"},
	.suffix = {"/prompts/adversarial_suffix", {"prompt"}, RESULTS_TEXT, "",
		"what of a suffix stands behind the base and a space; empty for none"},
	.field = {"/prompts/field", {"prompt"}, RESULTS_TEXT, "",
		"field of the prompt file that gave the text, or what it was made of; empty where texts "
		"stand alone"},
	.sha256 = {"/prompts/sha256", {"prompt"}, RESULTS_TEXT, "", "SHA-256 of the text"},
	.token_ids = {"/prompts/token_ids", {"prompt_token"}, RESULTS_I32, "",
		"ids of all rendered prompts (template and text), end to end", .compress = true},
	.token_end = {"/prompts/token_end", {"prompt"}, RESULTS_I32, "",
		"end of each prompt in `token_ids`; it begins where the last one ends"},
	.token = {"/prompts/prompt_token", {"prompt_token"}, RESULTS_I32, "",
		"token of all prompts"},
};

/* A column of /prompts, "" where a prompt has none; not written when no prompt has one, unless
 * `always`. */
static int write_prompt_column(const struct lab *lab, const struct dataset *d,
	const char *(*get)(const struct prompts *, size_t), bool always, struct err *err)
{
	const size_t n = lab->prompts->table.n;
	const char **column = malloc(n * sizeof *column + 1);
	bool any = always;

	err_clear(err);
	if (!column)
		return err_nomem(err, "prompts", n * sizeof *column);
	for (size_t p = 0; p < n; p++) {
		column[p] = get(lab->prompts, p);
		any |= column[p] != NULL;
		column[p] = column[p] ? column[p] : "";
	}
	if (any)
		dataset_write(lab->job->results, d, NULL, &n, column, err);
	free(column);
	return err->code;
}

static int write_prompt_hashes(const struct lab *lab, struct err *err)
{
	const size_t n = lab->prompts->table.n;
	struct arena memory = {0};
	char(*hashes)[SHA256_HEX] = arena_alloc(&memory, n, sizeof *hashes);
	const char **column = arena_alloc(&memory, n, sizeof *column);

	err_clear(err);
	TRY(arena_check(&memory, "prompts", err));
	for (size_t p = 0; p < n; p++) {
		const char *text = prompts_text(lab->prompts, p);

		sha256_bytes(text, strlen(text), hashes[p]);
		column[p] = hashes[p];
	}
	TRY(dataset_write(lab->job->results, &prompts.sha256, NULL, &n, column, err));
fail:
	arena_free(&memory);
	return err->code;
}

/* What the prompt files gave: some columns are there only when one of the prompts has them. */
static int write_prompt_texts(const struct lab *lab, struct err *err)
{
	static const struct {
		const struct dataset *d;
		const char *(*get)(const struct prompts *, size_t);
		bool always;
	} columns[] = {
		{&prompts.text, prompts_text, true},
		{&prompts.set, prompts_set_name, true},
		{&prompts.category, prompts_category, true},
		{&prompts.context, prompts_context, false},
		{&prompts.system, prompts_system, false},
		{&prompts.messages, prompts_messages, false},
		{&prompts.answer, prompts_answer, false},
		{&prompts.base, prompts_base, false},
		{&prompts.suffix, prompts_suffix, false},
		{&prompts.field, prompts_field, false},
	};

	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		TRY(write_prompt_column(lab, columns[i].d, columns[i].get, columns[i].always, err));
	return write_prompt_hashes(lab, err);
fail:
	return err->code;
}

static int write_prompt_tokens(const struct lab *lab, struct err *err)
{
	const struct prompt_table *t = &lab->prompts->table;
	struct results *r = lab->job->results;
	int32_t *end = malloc(t->n * sizeof *end + 1);

	err_clear(err);
	if (!end)
		return err_nomem(err, "prompts", t->n * sizeof *end);
	for (size_t p = 0; p < t->n; p++)
		end[p] = (int32_t)t->start[p + 1];
	TRY(dataset_write_counting(r, &prompts.token, NULL, t->ids.n, err));
	TRY(dataset_write(r, &prompts.token_ids, NULL, &t->ids.n, t->ids.data, err));
	TRY(dataset_write(r, &prompts.token_end, NULL, &t->n, end, err));
fail:
	free(end);
	return err->code;
}

static const struct {
	struct dataset set, reason, n_records, left_out;
} sets = {
	.set = {"/prompt_sets/set", {"set"}, RESULTS_TEXT, "", "prompt set of the config"},
	.reason = {"/prompt_sets/reason", {"reason"}, RESULTS_TEXT, "",
		"why a record of the file gave no prompt"},
	.n_records = {"/prompt_sets/n_records", {"set"}, RESULTS_I64, "1",
		"records of the set's file"},
	.left_out = {"/prompt_sets/left_out", {"set", "reason"}, RESULTS_I64, "1",
		"records left out; beyond the limit, prompts, of which a record with several "
		"adversarial suffixes gives as many"},
};

static int write_prompt_sets(const struct lab *lab, struct err *err)
{
	const struct prompt_table *t = &lab->prompts->table;
	const size_t n[2] = {t->n_sets, N_PROMPT_LEFT_OUT};
	struct results *r = lab->job->results;
	struct arena memory = {0};
	int64_t *n_records = arena_alloc(&memory, n[0], sizeof *n_records);
	int64_t *left_out = arena_alloc(&memory, n[0] * n[1], sizeof *left_out);

	err_clear(err);
	TRY(arena_check(&memory, "prompt sets", err));
	for (size_t i = 0; i < t->n_sets; i++) {
		n_records[i] = (int64_t)t->sets[i].counts.n_records;
		for (size_t k = 0; k < n[1]; k++)
			left_out[i * n[1] + k] = (int64_t)t->sets[i].counts.left_out[k];
	}
	TRY(dataset_write(r, &sets.set, NULL, &n[0], t->names, err));
	TRY(dataset_write(r, &sets.reason, NULL, &n[1], prompt_left_out_names, err));
	TRY(dataset_write(r, &sets.n_records, NULL, &n[0], n_records, err));
	TRY(dataset_write(r, &sets.left_out, NULL, n, left_out, err));
fail:
	arena_free(&memory);
	return err->code;
}

static int write_refusal_token(const struct lab *lab, struct err *err)
{
	const struct prompts *p = lab->prompts;
	const char *spelling = tokenizer_spelling(lab->machine->tok, p->refusal_token);
	struct results *r = lab->job->results;

	TRY(results_attribute_integer(r, "/prompts", "refusal_token", p->refusal_token, err));
	TRY(results_attribute_text(r, "/prompts", "refusal_token_spelling",
		spelling ? spelling : "", err));
	return results_attribute_text(r, "/prompts", "refusal_token_by",
		lab->config->refusal.token.text ? "text" : "id", err);
fail:
	return err->code;
}

/* How a prompt is rendered, and the refusal token. */
static int write_prompt_attributes(const struct lab *lab, struct err *err)
{
	const struct prompts *p = lab->prompts;
	struct results *r = lab->job->results;

	TRY(results_attribute_integer(r, "/prompts", "n_prefix", (int64_t)p->n_prefix, err));
	if (p->refusal_token >= 0)
		TRY(write_refusal_token(lab, err));
	TRY(results_attribute_text(r, "/prompts", "template", p->chat->name, err));
	TRY(results_attribute_text(r, "/prompts", "template_origin", p->chat->origin, err));
	TRY(results_attribute_text(r, "/prompts", "prefix", p->chat->prefix, err));
	TRY(results_attribute_text(r, "/prompts", "suffix", p->chat->suffix, err));
	TRY(results_attribute_integer(r, "/prompts", "added_bos", p->chat->bos, err));
	return 0;
fail:
	return err->code;
}

/* ---- provenance ------------------------------------------------------------------------ */

static const struct {
	struct dataset file, role, sha256, stop_token, stop_origin, unused_feature, unused_layer;
} files = {
	.file = {"/provenance/file", {"file"}, RESULTS_TEXT, "", "path of a file that was read"},
	.role = {"/provenance/role", {"file"}, RESULTS_TEXT, "",
		"model, tokenizer, adapter, weights, sae (weights and the config beside them), prompts, "
		"findings (`from`), judged (`from` of a judge), chat_template, template (the judge's)"},
	.sha256 = {"/provenance/sha256", {"file"}, RESULTS_TEXT, "", "SHA-256 of its bytes"},
	.stop_token = {"/provenance/stop_token", {"stop_token"}, RESULTS_I32, "",
		"a token that ends a reply"},
	.stop_origin = {"/provenance/stop_origin", {"stop_token"}, RESULTS_TEXT, "",
		"who says so: generation_config.json, config.json, the tokenizer's eos_token, the "
		"template, generate.stop"},
	.unused_feature = {"/provenance/unused_feature", {"unused_feature"}, RESULTS_I32, "",
		"id of a feature that is out of use, as one of its values in the SAE's file is not "
		"finite"},
	.unused_layer = {"/provenance/unused_layer", {"unused_feature"}, RESULTS_I32, "",
		"its layer"},
};

static size_t count_unused(const struct sae_set *saes)
{
	size_t n = 0;

	for (size_t l = 0; saes && l < sae_set_layers(saes); l++)
		n += sae_set_n_unused(saes, l);
	return n;
}

/* Not there where all features are in use. */
static int write_unused(const struct lab *lab, struct err *err)
{
	const struct sae_set *saes = lab->machine->saes;
	const size_t n = count_unused(saes), width = n > 0 ? sae_set_width(saes) : 0;
	struct arena memory = {0};
	int32_t *layer, *feature;
	size_t k = 0;

	err_clear(err);
	if (n == 0)
		return 0;
	layer = arena_alloc(&memory, n, sizeof *layer);
	feature = arena_alloc(&memory, n, sizeof *feature);
	TRY(arena_check(&memory, "features out of use", err));
	for (size_t l = 0; l < sae_set_layers(saes); l++)
		for (size_t i = 0; i < width; i++)
			if (sae_set_is_unused(saes, l, i)) {
				layer[k] = (int32_t)l;
				feature[k++] = (int32_t)i;
			}
	TRY(dataset_write(lab->job->results, &files.unused_feature, NULL, &n, feature, err));
	TRY(dataset_write(lab->job->results, &files.unused_layer, NULL, &n, layer, err));
fail:
	arena_free(&memory);
	return err->code;
}

/* Not there where nothing ends a reply but its length. */
static int write_stop_tokens(const struct lab *lab, struct err *err)
{
	const struct stop_tokens *stop = &lab->prompts->stop;
	struct results *r = lab->job->results;

	if (stop->ids.n == 0)
		return 0;
	TRY(dataset_write(r, &files.stop_token, NULL, &stop->ids.n, stop->ids.data, err));
	return dataset_write(r, &files.stop_origin, NULL, &stop->ids.n, stop->origins, err);
fail:
	return err->code;
}

static int write_files(const struct lab *lab, const struct inputs *inputs, struct err *err)
{
	const size_t n = inputs->n;
	struct results *r = lab->job->results;
	struct arena memory = {0};
	const char **path = arena_alloc(&memory, n, sizeof *path);
	const char **role = arena_alloc(&memory, n, sizeof *role);
	const char **sha256 = arena_alloc(&memory, n, sizeof *sha256);

	err_clear(err);
	TRY(arena_check(&memory, "the files", err));
	for (size_t i = 0; i < n; i++) {
		path[i] = inputs->data[i].path;
		role[i] = inputs->data[i].role;
		sha256[i] = inputs->data[i].sha256;
	}
	TRY(dataset_write(r, &files.file, NULL, &n, path, err));
	TRY(dataset_write(r, &files.role, NULL, &n, role, err));
	TRY(dataset_write(r, &files.sha256, NULL, &n, sha256, err));
fail:
	arena_free(&memory);
	return err->code;
}

const struct dataset_section frame_sections[] = {{"Shared scales", NULL, DATASETS(scales)},
	{"Prompts",
		"`context`, `system`, `messages`, `answer`, `base`, `adversarial_suffix` and `field` are "
		"there when one of the prompts has one.",
		DATASETS(prompts)},
	{"Prompt sets", "Not of a judge's file.", DATASETS(sets)},
	{"Provenance",
		"`stop_token` and `stop_origin` are not there with `generate.stop = \"none\"`, "
		"`unused_feature` and `unused_layer` only with `sae.allow_nonfinite_unused` and SAEs that "
		"have such features.",
		DATASETS(files)}};

/* Bytes of texts beyond what a text is taken for. */
static double prompt_texts(const struct lab *lab)
{
	const char *(*const get[])(const struct prompts *, size_t) = {prompts_text,
		prompts_category, prompts_context, prompts_answer, prompts_base, prompts_suffix};
	const size_t usual = results_value_bytes(RESULTS_TEXT);
	double n = 0;

	for (size_t p = 0; p < lab->prompts->table.n; p++)
		for (size_t i = 0; i < sizeof get / sizeof *get; i++) {
			const char *text = get[i](lab->prompts, p);

			const size_t length = text ? strlen(text) : 0;

			n += (double)(length - size_min(length, usual));
		}
	return n;
}

int frame_plan(const struct lab *lab, struct plan *plan, struct err *err)
{
	static const struct plan_what what = {"prompts and provenance", NULL};
	static const struct plan_bytes rest = {8 << 10, 64 << 10}; /* attributes, config, stages */
	const struct arch *a = &lab->machine->model->arch;
	const struct prompt_table *t = &lab->prompts->table;
	const struct dataset_length *lengths = LENGTHS(LENGTH("layer", a->n_layer),
		LENGTH("d_model", a->d_model),
		LENGTH("feature", lab->machine->saes ? sae_set_width(lab->machine->saes) : 0),
		LENGTH("prompt", t->n), LENGTH("prompt_token", t->ids.n), LENGTH("set", t->n_sets),
		LENGTH("reason", N_PROMPT_LEFT_OUT), LENGTH("stop_token", lab->prompts->stop.ids.n),
		LENGTH("file", 2 * a->n_layer + 16),
		LENGTH("unused_feature", count_unused(lab->machine->saes)));

	plan->experiment = "the run";
	for (size_t i = 0; i < sizeof frame_sections / sizeof *frame_sections; i++)
		TRY(plan_write(plan, what, &frame_sections[i], lengths, 1, err));
	TRY(plan_add(plan, what, (struct plan_bytes){0, prompt_texts(lab)}, err));
	return plan_add(plan, what, rest, err);
fail:
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
	return memstream_text(memory, &text);
}

/* A line each; owned by the caller. */
static char *weights_text(const struct machine *m)
{
	struct weights_note notes[WEIGHTS_NOTES];
	const size_t n = weights_notes(m, notes);
	char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return NULL;
	for (size_t i = 0; i < n; i++)
		fprintf(memory, "%s%s: %s", i ? "\n" : "", notes[i].label, notes[i].text);
	return memstream_text(memory, &text);
}

static int write_attributes(const struct lab *lab, struct err *err)
{
	const char *job = getenv("SLURM_JOB_ID");
	char *config = config_text(lab->config), *weights = weights_text(lab->machine);
	char when[32], hdf5[32];
	unsigned major, minor, release;

	err_clear(err);
	if (!config || !weights) {
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
		{"arithmetic", device_arithmetic(lab->machine->dev)},
		{"compute_dtype", dtype_name(device_activation(lab->machine->dev))},
		{"weights_dtype", dtype_name(lab->machine->model->embedding.dtype)},
		{"weights", weights},
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
	free(weights);
	return err->code;
}

int frame_write(const struct lab *lab, const struct inputs *inputs, struct err *err)
{
	TRY(write_attributes(lab, err));
	TRY(write_scales(lab, err));
	TRY(write_prompt_texts(lab, err));
	TRY(write_prompt_tokens(lab, err));
	TRY(write_prompt_attributes(lab, err));
	if (!lab->prompts->source)
		TRY(write_prompt_sets(lab, err));
	TRY(write_stop_tokens(lab, err));
	TRY(write_unused(lab, err));
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
