/* SPDX-License-Identifier: MIT
 *
 * activation_stats.c - Contract: activation_stats.h.
 */
#include "host/measure/activation_stats.h"

#include "host/base/arena.h"
#include "host/measure/activations.h"
#include "host/measure/feature_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	struct dataset token, prompt, position, id, resid_post, end, indices, data, entry;
} saved = {
	.token = {"/token", {"token"}, RESULTS_I32, "",
		"row of `/tokens`, `/activations`, `/features`"},
	.prompt = {"/tokens/prompt", {"token"}, RESULTS_I32, "", "prompt id", .compress = true},
	.position = {"/tokens/position", {"token"}, RESULTS_I32, "",
		"position in the rendered prompt", .compress = true},
	.id = {"/tokens/id", {"token"}, RESULTS_I32, "", "token id", .compress = true},
	.resid_post = {"/activations/SITE", {"token", "d_model"}, RESULTS_F32, "1",
		"residual stream, unedited run", .or_half = true},
	.end = {"/features/SITE/end", {"token"}, RESULTS_I64, "",
		"end of each token's entries; they begin where the last row's end",
		.ends_of = "indices", .compress = true},
	.indices = {"/features/SITE/indices", {"entry"}, RESULTS_I32, "", "feature id",
		.compress = true},
	.data = {"/features/SITE/data", {"entry"}, RESULTS_F32, "1", "activation"},
	.entry = {"/features/SITE/entry", {"entry"}, RESULTS_I32, "", "entry of all tokens"},
};

const struct dataset_section activation_stats_section =
	{"Saved activations (`save.resid_post`, `save.features`)",
		"Of the attribution prompts, tokens behind the template's prefix.",
		DATASETS(saved)};

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
	exact_sum *sum = w->sums.sum + layer * w->d_sae;

	for (size_t i = from; i < to; i++)
		if (f->values[i] > w->one_prompt[f->indices[i]])
			w->one_prompt[f->indices[i]] = f->values[i];
	for (size_t i = from; i < to; i++) {
		const size_t id = (size_t)f->indices[i];

		sum[id] += exact_term(w->one_prompt[id] / (double)w->prompts->n);
		w->one_prompt[id] = 0;
	}
}

static int save_rows(struct site site, const struct host_csr *f, struct unit *out, struct err *err)
{
	const size_t n = f->n_rows, n_entries = (size_t)f->indptr[n];
	int64_t *end = malloc(n * sizeof *end + 1);
	const struct site_name name = site_name(site);

	err_clear(err);
	if (!end)
		return err_nomem(err, "features", n * sizeof *end);
	for (size_t r = 0; r < n; r++)
		end[r] = f->indptr[r + 1];
	TRY(unit_write_counting(out, &saved.entry, WORDS(name.text), n_entries, err));
	TRY(unit_write(out, &saved.end, WORDS(name.text), &n, end, err));
	TRY(unit_write(out, &saved.indices, WORDS(name.text), &n_entries, f->indices, err));
	TRY(unit_write(out, &saved.data, WORDS(name.text), &n_entries, f->values, err));
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
	return feature_sums_take(&w->sums, in, err);
}

/* What each row of a batch is: once per batch, with the first layer. */
static int save_tokens(struct work *w, const struct activation_batch *batch, struct unit *out,
	struct err *err)
{
	const size_t n = batch->n_tokens;
	struct arena memory = {0};
	int32_t *prompts = arena_alloc(&memory, n, sizeof *prompts);
	int32_t *position = arena_alloc(&memory, n, sizeof *position);
	int32_t *id = arena_alloc(&memory, n, sizeof *id);

	err_clear(err);
	TRY(arena_check(&memory, "tokens", err));
	for (size_t i = 0; i < batch->n_prompts; i++) {
		const size_t prompt = w->prompts->data[batch->index[i]];
		const struct token_span span = prompts_tokens(w->lab->prompts, prompt, w->skip);

		for (size_t k = 0; k < span.n; k++) {
			const size_t t = batch->token_start[i] + k;

			prompts[t] = (int32_t)prompt;
			position[t] = (int32_t)(w->skip + k);
			id[t] = span.ids[k];
		}
	}
	TRY(unit_write_counting(out, &saved.token, NULL, n, err));
	TRY(unit_write(out, &saved.prompt, NULL, &n, prompts, err));
	TRY(unit_write(out, &saved.position, NULL, &n, position, err));
	TRY(unit_write(out, &saved.id, NULL, &n, id, err));
fail:
	arena_free(&memory);
	return err->code;
}

static int on_resid_post(void *context, size_t layer, const struct activation_batch *batch,
	struct tensor x, struct unit *out, struct err *err)
{
	struct work *w = context;
	struct dataset resid_post = saved.resid_post;
	const struct site_name name = site_name((struct site){layer, SITE_RESID_POST});

	if (layer == 0 && save_tokens(w, batch, out, err))
		return err->code;
	if (!w->lab->config->save.resid_post)
		return 0;
	if (strcmp(w->lab->config->save.dtype, "float16") == 0)
		resid_post.type = RESULTS_F16;
	return unit_write_tensor(out, &resid_post, WORDS(name.text), x, err);
}

/* Whether all tokens are looked at, or those behind the shared prefix. */
static bool whole_prompts(const struct lab *lab)
{
	return strcmp(lab->config->attribution.actdiff_positions, "all") == 0;
}

int activation_stats_plan(const struct lab *lab, struct plan *plan,
	const struct prompt_ids *prompts, bool save, struct err *err)
{
	static const struct plan_what sums = {"sums of features", NULL},
				      saved_what = {"saved activations",
					      "save.resid_post, save.features"};
	const struct config *c = lab->config;
	const size_t most = (size_t)c->batch.tokens, n_layer = lab->machine->model->arch.n_layer,
		     skip = whole_prompts(lab) ? 0 : lab->prompts->n_prefix,
		     n_tokens = plan_tokens(lab, prompts, skip);
	const double n_features = (double)(n_layer * sae_set_width(lab->machine->saes)),
		     entries = plan_active_features(lab) * (double)n_tokens / (double)n_layer;
	struct dataset_section section = activation_stats_section;
	size_t n_units, width = lab->machine->model->arch.d_model;

	if (strcmp(c->save.dtype, "float16") == 0) /* half the bytes of the descriptor's values */
		width /= 2;
	TRY(plan_stages(lab, plan, sums, prompts, 0, 20 * n_features, 1, err));
	if (!save)
		return 0;
	section.n -= c->save.features ? 0 : 4; /* /features */
	TRY(plan_batches(lab, prompts, most, most, &n_units, err));
	return plan_write_rows(lab, plan, saved_what, &section,
		LENGTHS(LENGTH("token", n_tokens),
			LENGTH("d_model", c->save.resid_post ? width : 0),
			{"entry", 0, (size_t)entries}),
		n_layer, n_units, err);
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
		on_batch_done, take, whole_prompts(lab)};

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
	feature_sums_values(&w.sums, out->mean_max);
	for (size_t i = 0; i < n_layer * d_sae; i++)
		out->alive[i] = out->mean_max[i] > 0;
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
