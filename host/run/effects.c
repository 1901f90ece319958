/* SPDX-License-Identifier: MIT
 *
 * effects.c - Contract: effects.h.
 *
 * A unit holds, of its prompts: "mean" [n, n_candidates], "target", "metric_clean",
 * "metric_patched", "n_tokens"; with path effects, "path_effect" [n_candidates, n]; with all features, their sums of means (feature_sums.h) and each prompt's best
 * ones, "best_{layer,feature,score}" [n, k_star], -1 beyond the end of a shorter set; and the rows
 * that are saved.
 */
#include "host/run/effects.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/model/transfer.h"
#include "host/run/feature_sums.h"
#include "host/run/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A (layer, feature, effect) of one prompt, on its way to the file. */
struct entries {
	struct {
		int32_t *data;
		size_t n, cap;
	} layer, feature;
	struct {
		float *data;
		size_t n, cap;
	} effect;
};

struct work {
	struct lab *lab;
	const struct effects_request *request;
	struct effects *out;
	size_t skip;
	struct schedule schedule;
	struct token_span *spans;
	float *mean;            /* [most_prompts, n_candidates] of the batch */
	struct feature_set *best; /* [most_prompts] of the batch */
	struct feature_sums sums;
	struct attribution *attribution;
	struct host_csr csr;
	double *path_effect;    /* [n_candidates, most_prompts] of the batch */
	double *one_prompt;     /* [d_sae] sums of one prompt and layer */
	struct entries *entries; /* [most_prompts] of the current batch */
	struct entries joined;   /* the same end to end */
};

static size_t prefix_to_skip(const struct lab *lab)
{
	return strcmp(lab->config->attribution.positions, "prompt") == 0 ? lab->n_prefix
									 : lab->n_released_prefix;
}

static int target_token(const struct lab *lab, int32_t *out, struct err *err)
{
	const char *text = lab->config->attribution.target;
	struct token_ids ids = {0};

	*out = -1;
	if (!*text)
		return 0;
	TRY(tokenizer_encode(lab->tok, text, strlen(text), &ids, err));
	if (ids.n != 1) {
		err_set(err, ERR_CONFIG,
			"attribution.target: expected a text of one token, \"%s\" has %zu", text, ids.n);
		goto fail;
	}
	*out = ids.data[0];
	free(ids.data);
	return 0;
fail:
	free(ids.data);
	return err->code;
}

static int open_attribution(struct work *w, struct err *err)
{
	const struct lab *lab = w->lab;
	const struct config *c = lab->config;
	const struct effects_path *path = w->request->path;
	struct attribution_setup setup = {
		.model = lab->model,
		.readout = &w->lab->readout,
		.saes = lab->saes,
		.direction = lab->direction.v,
		.candidates = w->request->candidates,
		.prefix = lab_prefix(lab),
		.n_prefix = w->skip,
		.options = {.steps = (size_t)c->attribution.steps,
			.rule = strcmp(c->attribution.ig_rule, "left") == 0 ? IG_RULE_LEFT
									    : IG_RULE_MIDPOINT,
			.endpoint = strcmp(c->attribution.ig_endpoint, "ablated") == 0
				? IG_ENDPOINT_ABLATED
				: IG_ENDPOINT_RELEASED,
			.refusal_token = lab->refusal_token},
		.all_features = w->request->all_features};

	if (path) {
		setup.options.steps = path->steps;
		setup.options.rule = path->rule;
		setup.options.path = path->path;
		setup.options.layer = path->layer;
	}
	if (target_token(lab, &setup.options.target_token, err))
		return err->code;
	return attribution_create(&w->attribution, &setup,
		(struct attribution_size){w->schedule.most_tokens, w->schedule.most_prompts}, err);
}

static int work_open(struct work *w, struct err *err)
{
	struct effects *e = w->out;
	const size_t most = (size_t)w->lab->config->batch.tokens;
	bool complete = true;

	TRY(lab_schedule(w->lab, w->request->prompts, w->skip, most, most, &w->schedule, err));
	complete &= (e->mean = calloc(e->n_prompts * e->n_candidates + 1, sizeof *e->mean)) != NULL;
	complete &= (e->target = calloc(e->n_prompts + 1, sizeof *e->target)) != NULL;
	complete &= (e->n_tokens = calloc(e->n_prompts + 1, sizeof *e->n_tokens)) != NULL;
	complete &= (e->m_clean = calloc(e->n_prompts + 1, sizeof *e->m_clean)) != NULL;
	complete &= (e->m_patch = calloc(e->n_prompts + 1, sizeof *e->m_patch)) != NULL;
	complete &= (w->spans = calloc(w->schedule.most_prompts + 1, sizeof *w->spans)) != NULL;
	complete &= (w->mean = calloc(w->schedule.most_prompts * e->n_candidates + 1,
			     sizeof *w->mean)) != NULL;
	complete &= (w->best = calloc(w->schedule.most_prompts + 1, sizeof *w->best)) != NULL;
	complete &= (w->entries = calloc(w->schedule.most_prompts + 1, sizeof *w->entries)) != NULL;
	if (w->request->path_effects) {
		complete &= (e->path_effect = calloc(e->n_prompts * e->n_candidates + 1,
				     sizeof *e->path_effect)) != NULL;
		complete &= (w->path_effect = calloc(e->n_candidates * w->schedule.most_prompts + 1,
				     sizeof *w->path_effect)) != NULL;
	}
	if (w->request->all_features) {
		complete &= (e->all = calloc(e->n_layer * e->d_sae, sizeof *e->all)) != NULL;
		complete &= (e->all_local = calloc(e->n_prompts + 1, sizeof *e->all_local)) != NULL;
		complete &= (w->one_prompt = calloc(e->d_sae, sizeof *w->one_prompt)) != NULL;
	}
	if (!complete)
		return err_nomem(err, "effects", e->n_layer * e->d_sae * sizeof *e->all);
	if (w->request->all_features)
		TRY(feature_sums_create(&w->sums, e->n_layer * e->d_sae, err));
	return open_attribution(w, err);
fail:
	return err->code;
}

static void free_entries(struct entries *e)
{
	free(e->layer.data);
	free(e->feature.data);
	free(e->effect.data);
}

static void work_close(struct work *w)
{
	for (size_t i = 0; w->entries && i < w->schedule.most_prompts; i++)
		free_entries(&w->entries[i]);
	for (size_t i = 0; w->best && i < w->schedule.most_prompts; i++)
		free(w->best[i].data);
	free_entries(&w->joined);
	free(w->best);
	free(w->mean);
	feature_sums_free(&w->sums);
	attribution_free(w->attribution);
	schedule_free(&w->schedule);
	host_csr_free(&w->csr);
	free(w->spans);
	free(w->path_effect);
	free(w->one_prompt);
	free(w->entries);
}

void effects_free(struct effects *e)
{
	for (size_t i = 0; e->all_local && i < e->n_prompts; i++)
		free(e->all_local[i].data);
	free(e->all_local);
	free(e->all);
	free(e->path_effect);
	free(e->mean);
	free(e->target);
	free(e->n_tokens);
	free(e->m_clean);
	free(e->m_patch);
	*e = (struct effects){0};
}

/* ---- candidates ------------------------------------------------------------------------ */

static int put_means(struct work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	const size_t n_candidates = w->out->n_candidates;
	int32_t *n_tokens = malloc(r->n_prompts * sizeof *n_tokens + 1);

	err_clear(err);
	if (!n_tokens) {
		err_nomem(err, "effects", r->n_prompts * sizeof *n_tokens);
		goto fail;
	}
	memset(w->mean, 0, r->n_prompts * n_candidates * sizeof *w->mean);
	for (size_t i = 0; i < r->n_prompts; i++) {
		float *mean = w->mean + i * n_candidates;
		const size_t n = r->token_start[i + 1] - r->token_start[i];

		for (size_t t = r->token_start[i]; t < r->token_start[i + 1]; t++)
			for (size_t k = 0; k < n_candidates; k++)
				mean[k] += r->effect[t * n_candidates + k] / (float)n;
		n_tokens[i] = (int32_t)n;
	}
	TRY(unit_put(out, "mean", RESULTS_F32, w->mean, r->n_prompts * n_candidates, err));
	TRY(unit_put(out, "target", RESULTS_I32, r->target, r->n_prompts, err));
	TRY(unit_put(out, "n_tokens", RESULTS_I32, n_tokens, r->n_prompts, err));
	TRY(unit_put(out, "metric_clean", RESULTS_F64, r->m_clean, r->n_prompts, err));
	TRY(unit_put(out, "metric_patched", RESULTS_F64, r->m_patch, r->n_prompts, err));
fail:
	free(n_tokens);
	return err->code;
}

static int put_path_effects(struct work *w, size_t n, struct unit *out, struct err *err)
{
	const size_t n_candidates = w->out->n_candidates;

	for (size_t k = 0; k < n_candidates; k++)
		if (attribution_path_effect(w->attribution, w->spans, n, k, w->path_effect + k * n,
			    err))
			return err->code;
	return unit_put(out, "path_effect", RESULTS_F64, w->path_effect, n_candidates * n, err);
}

static int take_path_effects(struct work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	struct effects *e = w->out;

	if (unit_get(in, "path_effect", RESULTS_F64, w->path_effect, e->n_candidates * n, err))
		return err->code;
	for (size_t k = 0; k < e->n_candidates; k++)
		for (size_t i = 0; i < n; i++)
			e->path_effect[index[i] * e->n_candidates + k] = w->path_effect[k * n + i];
	return 0;
}

static int take_means(struct work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	struct effects *e = w->out;
	int32_t *target = malloc(2 * n * sizeof *target + 1);
	double *metrics = malloc(2 * n * sizeof *metrics + 1);

	err_clear(err);
	if (!target || !metrics) {
		err_nomem(err, "effects", n * sizeof *metrics);
		goto fail;
	}
	TRY(unit_get(in, "mean", RESULTS_F32, w->mean, n * e->n_candidates, err));
	TRY(unit_get(in, "target", RESULTS_I32, target, n, err));
	TRY(unit_get(in, "n_tokens", RESULTS_I32, target + n, n, err));
	TRY(unit_get(in, "metric_clean", RESULTS_F64, metrics, n, err));
	TRY(unit_get(in, "metric_patched", RESULTS_F64, metrics + n, n, err));
	for (size_t i = 0; i < n; i++) {
		memcpy(e->mean + index[i] * e->n_candidates, w->mean + i * e->n_candidates,
			e->n_candidates * sizeof *e->mean);
		e->target[index[i]] = target[i];
		e->n_tokens[index[i]] = target[n + i];
		e->m_clean[index[i]] = metrics[i];
		e->m_patch[index[i]] = metrics[n + i];
	}
fail:
	free(target);
	free(metrics);
	return err->code;
}

/* Effects per token, and which token each row is, in the order of the batches. */
static int save_tokens(struct work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	char path[4][128];
	const char *const names[] = {"effect", "token_prompt", "token_position", "token_id"};
	int32_t *columns = malloc(3 * r->n_tokens * sizeof *columns + 1);
	size_t t = 0;

	if (!columns)
		return err_nomem(err, "tokens", 3 * r->n_tokens * sizeof *columns);
	for (int i = 0; i < 4; i++)
		snprintf(path[i], sizeof path[i], "%s/per_token/%s", w->request->save, names[i]);
	for (size_t i = 0; i < r->n_prompts; i++) {
		for (size_t k = 0; k < w->spans[i].n; k++, t++) {
			columns[t] = w->spans[i].label;
			columns[r->n_tokens + t] = (int32_t)(w->skip + k);
			columns[2 * r->n_tokens + t] = w->spans[i].ids[k];
		}
	}
	TRY(unit_rows(out,
		&(struct results_dataset){.path = path[0], .type = RESULTS_F32, .n_dims = 2,
			.dims = {0, r->n_candidates}, .scales = {NULL, "/candidate"},
			.long_name = "indirect effect of each candidate at each token",
			.units = "logit"},
		r->effect, r->n_tokens, err));
	for (int i = 1; i < 4; i++)
		TRY(unit_rows(out,
			&(struct results_dataset){.path = path[i], .type = RESULTS_I32, .n_dims = 1,
				.long_name = i == 1 ? "prompt id of the token"
					: i == 2    ? "position of the token in its prompt"
						    : "token id",
				.compress = true},
			columns + (size_t)(i - 1) * r->n_tokens, r->n_tokens, err));
	free(columns);
	return 0;
fail:
	free(columns);
	return err->code;
}

/* The mean gradient of every layer, aligned with the effects per token: in the last layer earlier
 * tokens have none. */
static int save_gradients(struct work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	const size_t d = w->lab->model->arch.d_model;
	float *rows = malloc(r->n_tokens * d * sizeof *rows + 1);
	char path[96];

	if (!rows)
		return err_nomem(err, "gradients", r->n_tokens * d * sizeof *rows);
	for (size_t l = 0; l < w->out->n_layer; l++) {
		const struct tensor g = attribution_gradient(w->attribution, l);

		TRY(download_floats(w->lab->dev, g, rows, err));
		for (size_t i = r->n_prompts; i-- > 0 && g.rows < r->n_tokens;) {
			const size_t start = r->token_start[i], end = r->token_start[i + 1];

			/* Downwards, so that no row is overwritten before it is moved. */
			memmove(rows + (end - 1) * d, rows + i * d, d * sizeof *rows);
			memset(rows + start * d, 0, (end - 1 - start) * d * sizeof *rows);
		}
		snprintf(path, sizeof path, "/gradients/blocks.%zu.hook_resid_post", l);
		TRY(unit_rows(out,
			&(struct results_dataset){.path = path, .type = RESULTS_F32, .n_dims = 2,
				.dims = {0, d}, .scales = {NULL, "/d_model"},
				.long_name = "mean gradient of the metric along the path",
				.units = "logit"},
			rows, r->n_tokens, err));
	}
	free(rows);
	return 0;
fail:
	free(rows);
	return err->code;
}

/* Names for the dimensions that grew. */
static int finish_scales(struct work *w, struct err *err)
{
	static const char *const tokens[] = {"effect", "token_prompt", "token_position", "token_id"};
	static const char *const rows[] = {"prompt", "end"};
	static const char *const entries[] = {"layer", "feature", "effect"};
	struct results *results = w->lab->results;
	char path[128], scale[128];

	snprintf(scale, sizeof scale, "%s/per_token/token", w->request->save ? w->request->save : "");
	for (size_t i = 0; i < 4 && w->request->save; i++) {
		snprintf(path, sizeof path, "%s/per_token/%s", w->request->save, tokens[i]);
		TRY(results_grown_scale(results, path, scale, "row of the token table", err));
	}
	for (size_t l = 0; l < w->out->n_layer && w->request->save_gradients; l++) {
		snprintf(path, sizeof path, "/gradients/blocks.%zu.hook_resid_post", l);
		TRY(results_grown_scale(results, path, "/gradients/token",
			"row of the token table of the indirect effects", err));
	}
	for (size_t i = 0; i < 2 && w->request->save_all; i++) {
		snprintf(path, sizeof path, "/indirect_effect/ap/per_prompt/%s", rows[i]);
		TRY(results_grown_scale(results, path, "/indirect_effect/ap/per_prompt/row",
			"row of the prompt table", err));
	}
	for (size_t i = 0; i < 3 && w->request->save_all; i++) {
		snprintf(path, sizeof path, "/indirect_effect/ap/per_prompt/%s", entries[i]);
		TRY(results_grown_scale(results, path, "/indirect_effect/ap/per_prompt/entry",
			"row of the entry table", err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- all features ---------------------------------------------------------------------- */

/* Sums the entries of one prompt's rows by feature, takes their mean over its tokens into the
 * unit's sums, and clears the prompt's again. */
static int sum_prompt(struct work *w, size_t layer, size_t first_row, size_t end_row,
	size_t n_tokens, size_t i_prompt, struct err *err)
{
	const struct effects *e = w->out;
	struct entries *entries = &w->entries[i_prompt];
	const size_t from = (size_t)w->csr.indptr[first_row], to = (size_t)w->csr.indptr[end_row];

	for (size_t i = from; i < to; i++)
		w->one_prompt[w->csr.indices[i]] += w->csr.values[i];
	for (size_t i = from; i < to; i++) {
		const int32_t id = w->csr.indices[i];
		const double mean = w->one_prompt[id] / (double)n_tokens;

		w->one_prompt[id] = 0;
		if (mean == 0)
			continue; /* nothing, or taken at an earlier row */
		w->sums.sum[layer * e->d_sae + (size_t)id] += mean / (double)e->n_prompts;
		TRY(feature_set_offer(&w->best[i_prompt], w->request->k_star,
			(struct feature){(int32_t)layer, id, 0, (float)mean}, err));
		TRY(vec_push(&entries->layer, (int32_t)layer, err));
		TRY(vec_push(&entries->feature, id, err));
		TRY(vec_push(&entries->effect, (float)mean, err));
	}
	return 0;
fail:
	return err->code;
}

static int put_best(struct work *w, size_t n, struct unit *out, struct err *err)
{
	const size_t k_star = w->request->k_star;
	int32_t *ids = malloc(2 * n * k_star * sizeof *ids + 1);
	float *score = calloc(n * k_star + 1, sizeof *score);

	err_clear(err);
	if (!ids || !score) {
		err_nomem(err, "effects", n * k_star * sizeof *ids);
		goto fail;
	}
	memset(ids, 0xff, 2 * n * k_star * sizeof *ids);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < w->best[i].n; k++) {
			ids[i * k_star + k] = w->best[i].data[k].layer;
			ids[(n + i) * k_star + k] = w->best[i].data[k].id;
			score[i * k_star + k] = w->best[i].data[k].score;
		}
	}
	TRY(unit_put(out, "best_layer", RESULTS_I32, ids, n * k_star, err));
	TRY(unit_put(out, "best_feature", RESULTS_I32, ids + n * k_star, n * k_star, err));
	TRY(unit_put(out, "best_score", RESULTS_F32, score, n * k_star, err));
fail:
	free(ids);
	free(score);
	return err->code;
}

static int take_best(struct work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	const size_t k_star = w->request->k_star;
	int32_t *ids = malloc(2 * n * k_star * sizeof *ids + 1);
	float *score = malloc(n * k_star * sizeof *score + 1);

	err_clear(err);
	if (!ids || !score) {
		err_nomem(err, "effects", n * k_star * sizeof *ids);
		goto fail;
	}
	TRY(unit_get(in, "best_layer", RESULTS_I32, ids, n * k_star, err));
	TRY(unit_get(in, "best_feature", RESULTS_I32, ids + n * k_star, n * k_star, err));
	TRY(unit_get(in, "best_score", RESULTS_F32, score, n * k_star, err));
	for (size_t i = 0; i < n; i++) {
		for (size_t k = i * k_star; k < (i + 1) * k_star && ids[k] >= 0; k++) {
			const struct feature f = {ids[k], ids[n * k_star + k], 0, score[k]};

			if ((size_t)f.layer >= w->out->n_layer || f.id < 0 ||
				(size_t)f.id >= w->out->d_sae) {
				err_set(err, ERR_INPUT, "expected features of the SAEs, found layer %d, "
							"feature %d", f.layer, f.id);
				goto fail;
			}
			TRY(feature_set_add(&w->out->all_local[index[i]], f, err));
		}
	}
fail:
	free(ids);
	free(score);
	return err->code;
}

static int put_all_features(struct work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	for (size_t i = 0; i < r->n_prompts; i++) {
		w->entries[i].layer.n = w->entries[i].feature.n = w->entries[i].effect.n = 0;
		w->best[i].n = 0;
	}
	for (size_t l = 0; l < w->out->n_layer; l++) {
		const bool last = l + 1 == w->out->n_layer;

		TRY(attribution_all(w->attribution, l, &w->csr, err));
		for (size_t i = 0; i < r->n_prompts; i++)
			TRY(sum_prompt(w, l, last ? i : r->token_start[i],
				last ? i + 1 : r->token_start[i + 1],
				r->token_start[i + 1] - r->token_start[i], i, err));
	}
	TRY(feature_sums_put(&w->sums, out, err));
	return put_best(w, r->n_prompts, out, err);
fail:
	return err->code;
}

/* Effects of all features per prompt, sparse, prompts in the order of the batches. */
static int save_entries(struct work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	const struct results_dataset datasets[] = {
		{.path = "/indirect_effect/ap/per_prompt/prompt", .type = RESULTS_I32, .n_dims = 1,
			.long_name = "prompt id of each row"},
		{.path = "/indirect_effect/ap/per_prompt/end", .type = RESULTS_I32, .n_dims = 1,
			.long_name = "end of the row's entries; they begin where the last row's end",
			.ends_of = "/indirect_effect/ap/per_prompt/layer"},
		{.path = "/indirect_effect/ap/per_prompt/layer", .type = RESULTS_I32, .n_dims = 1,
			.long_name = "layer of the entry", .compress = true},
		{.path = "/indirect_effect/ap/per_prompt/feature", .type = RESULTS_I32, .n_dims = 1,
			.long_name = "feature of the entry", .compress = true},
		{.path = "/indirect_effect/ap/per_prompt/effect", .type = RESULTS_F32, .n_dims = 1,
			.long_name = "mean indirect effect over the prompt's tokens", .units = "logit"}};

	int32_t *prompts = malloc(2 * r->n_prompts * sizeof *prompts + 1);
	int32_t *end = prompts + r->n_prompts;

	if (!prompts)
		return err_nomem(err, "effects", r->n_prompts * sizeof *prompts);
	w->joined.layer.n = w->joined.feature.n = w->joined.effect.n = 0;
	for (size_t i = 0; i < r->n_prompts; i++) {
		const struct entries *e = &w->entries[i];

		prompts[i] = w->spans[i].label;
		TRY(vec_append(&w->joined.layer, e->layer.data, e->layer.n, err));
		TRY(vec_append(&w->joined.feature, e->feature.data, e->feature.n, err));
		TRY(vec_append(&w->joined.effect, e->effect.data, e->effect.n, err));
		end[i] = (int32_t)w->joined.layer.n;
	}
	const struct {
		const void *data;
		size_t n;
	} columns[] = {{prompts, r->n_prompts}, {end, r->n_prompts},
		{w->joined.layer.data, w->joined.layer.n},
		{w->joined.feature.data, w->joined.feature.n},
		{w->joined.effect.data, w->joined.effect.n}};
	for (size_t i = 0; i < 5; i++)
		TRY(unit_rows(out, &datasets[i], columns[i].data, columns[i].n, err));
	free(prompts);
	return 0;
fail:
	free(prompts);
	return err->code;
}

/* ---- the loop -------------------------------------------------------------------------- */

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	const size_t n =
		lab_batch(w->lab, w->request->prompts, &w->schedule, b, w->skip, w->spans);
	struct attribution_result r;

	TRY(attribution_run(w->attribution, w->spans, n, &r, err));
	TRY(put_means(w, &r, out, err));
	if (w->request->path_effects)
		TRY(put_path_effects(w, n, out, err));
	if (w->request->save)
		TRY(save_tokens(w, &r, out, err));
	if (w->request->save_gradients)
		TRY(save_gradients(w, &r, out, err));
	if (w->request->all_features) {
		TRY(put_all_features(w, &r, out, err));
		if (w->request->save_all)
			TRY(save_entries(w, &r, out, err));
	}
	return 0;
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	const size_t n = w->schedule.cut[b + 1] - w->schedule.cut[b];

	TRY(take_means(w, index, n, in, err));
	if (w->request->path_effects)
		TRY(take_path_effects(w, index, n, in, err));
	if (w->request->all_features) {
		TRY(feature_sums_take(&w->sums, in, w->out->all, err));
		TRY(take_best(w, index, n, in, err));
	}
	return 0;
fail:
	return err->code;
}

int effects_run(struct lab *lab, const struct effects_request *request, struct effects *out,
	struct err *err)
{
	struct work w = {.lab = lab, .request = request, .out = out, .skip = prefix_to_skip(lab)};

	err_clear(err);
	*out = (struct effects){.n_prompts = request->prompts->n,
		.n_candidates = request->candidates->n, .n_layer = lab->model->arch.n_layer,
		.d_sae = sae_set_width(lab->saes)};
	TRY(work_open(&w, err));
	TRY(stage_run(lab,
		&(struct stage){.title = request->title, .schedule = &w.schedule, .item = "prompt", .context = &w,
			.compute = compute, .take = take},
		err));
	TRY(finish_scales(&w, err));
fail:
	work_close(&w);
	return err->code;
}
