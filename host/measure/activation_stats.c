/* SPDX-License-Identifier: MIT
 *
 * activation_stats.c - Contract: activation_stats.h.
 */
#include "host/measure/activation_stats.h"

#include "host/measure/activations.h"
#include "host/measure/feature_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	struct lab *lab;
	const struct prompt_ids *prompts;
	struct activation_stats *out;
	size_t d_sae;
	size_t skip;       /* tokens of a prompt that are not visited: the shared prefix, or none */
	float *one_prompt; /* [d_sae] maxima of one prompt and layer */
	struct feature_sums sums; /* of one unit: maxima, divided by the number of prompts */
	bool save_features;
};

/* Maxima over the rows of one prompt, into the unit's sums; the scratch is cleared again. */
static void take_prompt(struct work *w, size_t layer, const struct host_csr *f, size_t first_row,
	size_t end_row)
{
	const size_t from = (size_t)f->indptr[first_row], to = (size_t)f->indptr[end_row];
	double *sum = w->sums.sum + layer * w->d_sae;

	for (size_t i = from; i < to; i++)
		if (f->values[i] > w->one_prompt[f->indices[i]])
			w->one_prompt[f->indices[i]] = f->values[i];
	for (size_t i = from; i < to; i++) {
		const size_t id = (size_t)f->indices[i];

		sum[id] += w->one_prompt[id] / (double)w->prompts->n;
		w->one_prompt[id] = 0;
	}
}

static int save_rows(struct site site, const struct host_csr *f, struct unit *out, struct err *err)
{
	static const char *const names[] = {"end", "indices", "data"};
	char path[3][96];
	int64_t *end = malloc(f->n_rows * sizeof *end + 1);
	const size_t n = (size_t)f->indptr[f->n_rows];

	if (!end)
		return err_nomem(err, "features", f->n_rows * sizeof *end);
	for (size_t r = 0; r < f->n_rows; r++)
		end[r] = f->indptr[r + 1];
	for (int i = 0; i < 3; i++)
		snprintf(path[i], sizeof path[i], "/features/%s/%s", site_name(site).text,
			names[i]);
	TRY(unit_rows(out,
		&(struct results_dataset){.path = path[0],
			.type = RESULTS_I64,
			.n_dims = 1,
			.long_name =
				"end of each token's entries; they begin where the last row's end",
			.ends_of = path[1],
			.compress = true},
		end, f->n_rows, err));
	TRY(unit_rows(out,
		&(struct results_dataset){.path = path[1],
			.type = RESULTS_I32,
			.n_dims = 1,
			.long_name = "feature of each entry",
			.compress = true},
		f->indices, n, err));
	TRY(unit_rows(out,
		&(struct results_dataset){.path = path[2],
			.type = RESULTS_F32,
			.n_dims = 1,
			.long_name = "activation of each entry",
			.units = "1"},
		f->values, n, err));
	free(end);
	return 0;
fail:
	free(end);
	return err->code;
}

static int on_features(void *context, size_t layer, const struct activation_batch *batch,
	const struct host_csr *f, struct unit *out, struct err *err)
{
	struct work *w = context;

	for (size_t i = 0; i < batch->n_prompts; i++)
		take_prompt(w, layer, f, batch->token_start[i], batch->token_start[i + 1]);
	return w->save_features
		       ? save_rows(sae_set_reads(w->lab->machine->saes, layer), f, out, err)
		       : 0;
}

static int on_batch_done(void *context, struct unit *out, struct err *err)
{
	struct work *w = context;

	return feature_sums_put(&w->sums, out, err);
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;

	(void)b;
	return feature_sums_take(&w->sums, in, w->out->mean_max, err);
}

/* What each row of a batch is: once per batch, with the first layer. */
static int save_tokens(struct work *w, const struct activation_batch *batch, struct unit *out,
	struct err *err)
{
	static const struct {
		const char *path, *long_name;
	} parts[] = {{"/tokens/prompt", "prompt id of the token"},
		{"/tokens/position", "position of the token in its prompt"},
		{"/tokens/id", "token id"}};
	const size_t n = batch->n_tokens;
	int32_t *columns = malloc(3 * n * sizeof *columns + 1);

	if (!columns)
		return err_nomem(err, "tokens", 3 * n * sizeof *columns);
	for (size_t i = 0; i < batch->n_prompts; i++) {
		const size_t prompt = w->prompts->data[batch->index[i]];
		const struct token_span span = prompts_tokens(w->lab->prompts, prompt, w->skip);

		for (size_t k = 0; k < span.n; k++) {
			const size_t t = batch->token_start[i] + k;

			columns[t] = (int32_t)prompt;
			columns[n + t] = (int32_t)(w->skip + k);
			columns[2 * n + t] = span.ids[k];
		}
	}
	for (size_t i = 0; i < 3; i++)
		TRY(unit_rows(out,
			&(struct results_dataset){.path = parts[i].path,
				.type = RESULTS_I32,
				.n_dims = 1,
				.long_name = parts[i].long_name,
				.compress = true},
			columns + i * n, n, err));
	free(columns);
	return 0;
fail:
	free(columns);
	return err->code;
}

static int on_resid_post(void *context, size_t layer, const struct activation_batch *batch,
	struct tensor x, struct unit *out, struct err *err)
{
	struct work *w = context;
	const bool half = strcmp(w->lab->config->save.dtype, "float16") == 0;
	char path[96];

	if (layer == 0 && save_tokens(w, batch, out, err))
		return err->code;
	if (!w->lab->config->save.resid_post)
		return 0;
	snprintf(path, sizeof path, "/activations/%s",
		site_name((struct site){layer, SITE_RESID_POST}).text);
	return unit_rows_of_tensor(out,
		&(struct results_dataset){.path = path,
			.type = half ? RESULTS_F16 : RESULTS_F32,
			.n_dims = 2,
			.dims = {0, x.cols},
			.scales = {NULL, "/d_model"},
			.long_name = "residual stream after the block",
			.units = "1"},
		x, err);
}

static int finish_features(struct lab *lab, size_t layer, struct err *err)
{
	static const char *const names[] = {"end", "indices", "data"};
	const struct site_name name = site_name(sae_set_reads(lab->machine->saes, layer));
	char path[96], scale[96];

	snprintf(scale, sizeof scale, "/features/%s/entry", name.text);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "/features/%s/%s", name.text, names[i]);
		if (results_grown_scale(lab->job->results, path, i == 0 ? "/token" : scale,
			    "row of the entry table", err))
			return err->code;
	}
	return 0;
}

static int finish_tokens(struct lab *lab, struct err *err)
{
	static const char *const paths[] = {"/tokens/prompt", "/tokens/position", "/tokens/id"};
	char path[96];

	for (size_t i = 0; i < 3; i++)
		TRY(results_grown_scale(lab->job->results, paths[i], "/token",
			"row of token tables", err));
	for (size_t l = 0; l < lab->machine->model->arch.n_layer; l++) {
		snprintf(path, sizeof path, "/activations/%s",
			site_name((struct site){l, SITE_RESID_POST}).text);
		if (lab->config->save.resid_post)
			TRY(results_grown_scale(lab->job->results, path, "/token", "", err));
		if (lab->config->save.features)
			TRY(finish_features(lab, l, err));
	}
	return 0;
fail:
	return err->code;
}

int activation_stats_run(struct lab *lab, const struct prompt_ids *prompts, const char *title,
	bool save, struct activation_stats *out, struct err *err)
{
	const size_t n_layer = lab->machine->model->arch.n_layer,
		     d_sae = sae_set_width(lab->machine->saes);
	struct work w = {.lab = lab,
		.prompts = prompts,
		.out = out,
		.d_sae = d_sae,
		.save_features = save && lab->config->save.features};
	const struct activation_visitor visitor = {&w, save ? on_resid_post : NULL, on_features,
		on_batch_done, take,
		strcmp(lab->config->attribution.actdiff_positions, "all") == 0};

	err_clear(err);
	w.skip = visitor.whole ? 0 : lab->prompts->n_prefix;
	*out = (struct activation_stats){0};
	out->mean_max = calloc(n_layer * d_sae, sizeof *out->mean_max);
	out->alive = calloc(n_layer * d_sae, sizeof *out->alive);
	w.one_prompt = calloc(d_sae, sizeof *w.one_prompt);
	if (!out->mean_max || !out->alive || !w.one_prompt) {
		err_nomem(err, "feature statistics", n_layer * d_sae * sizeof *out->mean_max);
		goto fail;
	}
	TRY(feature_sums_create(&w.sums, n_layer * d_sae, err));
	TRY(activations_visit(lab, prompts, title, &visitor, err));
	for (size_t i = 0; i < n_layer * d_sae; i++)
		out->alive[i] = out->mean_max[i] > 0;
	if (save)
		TRY(finish_tokens(lab, err));
fail:
	free(w.one_prompt);
	feature_sums_free(&w.sums);
	return err->code;
}

void activation_stats_free(struct activation_stats *s)
{
	free(s->mean_max);
	free(s->alive);
	*s = (struct activation_stats){0};
}
