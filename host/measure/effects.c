/* SPDX-License-Identifier: MIT
 *
 * effects.c - Contract: effects.h.
 *
 * A unit holds, of its prompts: "mean" and "noise" [n, n_candidates], "target", "target_lead",
 * "metric_clean", "metric_patched", "n_tokens"; with path effects, "path_effect" [n_candidates, n];
 * with all features, their sums of means (feature_sums.h) and each prompt's best ones,
 * "best_{layer,feature,score}" [n, k_star], -1 beyond the end of a shorter set, of which
 * "best_undecided" [n] hang on rounding; and the rows that are saved.
 */
#include "host/measure/effects_parts.h"

#include "host/measure/ties.h"

#include <stdlib.h>
#include <string.h>

static size_t prefix_to_skip(const struct lab *lab)
{
	return strcmp(lab->config->attribution.positions, "prompt") == 0
		       ? lab->prompts->n_prefix
		       : lab->prompts->n_released_prefix;
}

static enum ig_backward backward_of(const struct lab *lab, bool other)
{
	const bool path = strcmp(lab->config->attribution.ig_backward, "path") == 0;

	return path != other ? IG_BACKWARD_PATH : IG_BACKWARD_STRAIGHT_THROUGH;
}

static int open_attribution(struct effects_work *w, struct err *err)
{
	const struct lab *lab = w->lab;
	const struct config *c = lab->config;
	const struct effects_path *path = w->request->path;
	struct attribution_setup setup = {.model = lab->machine->model,
		.readout = &w->lab->machine->readout,
		.saes = lab->machine->saes,
		.direction = w->request->direction,
		.candidates = w->request->candidates,
		.prefix = prompts_prefix(lab->prompts),
		.n_prefix = w->skip,
		.options = {.steps = (size_t)c->attribution.steps,
			.rule = strcmp(c->attribution.ig_rule, "left") == 0 ? IG_RULE_LEFT
									    : IG_RULE_MIDPOINT,
			.endpoint = strcmp(c->attribution.ig_endpoint, "ablated") == 0
					    ? IG_ENDPOINT_ABLATED
					    : IG_ENDPOINT_RELEASED,
			.backward = backward_of(lab, w->request->other_backward),
			.refusal_token = lab->prompts->refusal_token,
			.target_token = lab->prompts->target_token},
		.all_features = w->request->all_features};

	if (path) {
		setup.options.steps = path->steps;
		setup.options.rule = path->rule;
		setup.options.path = path->path;
		setup.options.layer = path->layer;
	}
	return attribution_create(&w->attribution, &setup,
		(struct attribution_size){w->schedule.most_tokens, w->schedule.most_prompts}, err);
}

static int work_open(struct effects_work *w, struct err *err)
{
	struct effects *e = w->out;
	const size_t most = (size_t)w->lab->config->batch.tokens;
	bool complete = true;

	TRY(prompts_schedule(w->lab->prompts, w->request->prompts, w->skip, most, most,
		&w->schedule, err));
	complete &= (e->mean = calloc(e->n_prompts * e->n_candidates + 1, sizeof *e->mean)) != NULL;
	complete &= (e->noise = calloc(e->n_prompts * e->n_candidates + 1, sizeof *e->noise)) !=
		    NULL;
	complete &= (e->target = calloc(e->n_prompts + 1, sizeof *e->target)) != NULL;
	complete &= (e->target_lead = calloc(e->n_prompts + 1, sizeof *e->target_lead)) != NULL;
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

static void work_close(struct effects_work *w)
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
	free(e->noise);
	free(e->target);
	free(e->target_lead);
	free(e->n_tokens);
	free(e->m_clean);
	free(e->m_patch);
	*e = (struct effects){0};
}

/* ---- means ------------------------------------------------------------------------------ */

/* mean[k]: of column k of rows [n_prompts, n_candidates], over the rows of the group. */
static void mean_of_group(const struct effects *e, const float *rows, const int32_t *group,
	int32_t of, float *mean)
{
	size_t n = 0;

	for (size_t p = 0; p < e->n_prompts; p++)
		n += !group || group[p] == of;
	for (size_t k = 0; k < e->n_candidates; k++) {
		exact_sum sum = 0;

		for (size_t p = 0; p < e->n_prompts; p++)
			if (!group || group[p] == of)
				sum += exact_term(rows[p * e->n_candidates + k]);
		mean[k] = (float)(exact_value(sum) / (double)n);
	}
}

void effects_mean(const struct effects *e, const int32_t *group, int32_t of, float *mean)
{
	mean_of_group(e, e->mean, group, of, mean);
}

void effects_mean_noise(const struct effects *e, const int32_t *group, int32_t of, float *noise)
{
	mean_of_group(e, e->noise, group, of, noise);
}

int effects_best(const struct effects *e, const struct candidates *c, size_t k_star,
	struct feature_set *set, struct err *err)
{
	float *mean = malloc(e->n_candidates * sizeof *mean + 1);
	int rc;

	if (!mean)
		return err_nomem(err, "effects", e->n_candidates * sizeof *mean);
	effects_mean(e, NULL, 0, mean);
	rc = candidates_best(c, mean, k_star, set, err);
	free(mean);
	return rc;
}

int effects_undecided(const struct effects *e, const struct candidates *c, const int32_t *group,
	int32_t of, const struct feature_set *set, size_t *n, struct err *err)
{
	float *mean = malloc(e->n_candidates * sizeof *mean + 1);
	float *noise = malloc(e->n_candidates * sizeof *noise + 1);

	err_clear(err);
	if (!mean || !noise) {
		err_nomem(err, "effects", e->n_candidates * sizeof *mean);
		goto fail;
	}
	effects_mean(e, group, of, mean);
	effects_mean_noise(e, group, of, noise);
	*n = feature_set_undecided(set, &c->set, mean, noise);
fail:
	free(mean);
	free(noise);
	return err->code;
}

/* ---- candidates ------------------------------------------------------------------------ */

static int put_means(struct effects_work *w, const struct attribution_result *r, struct unit *out,
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
	TRY(unit_put(out, "noise", RESULTS_F32, r->noise, r->n_prompts * n_candidates, err));
	TRY(unit_put(out, "target", RESULTS_I32, r->target, r->n_prompts, err));
	TRY(unit_put(out, "target_lead", RESULTS_F32, r->target_lead, r->n_prompts, err));
	TRY(unit_put(out, "n_tokens", RESULTS_I32, n_tokens, r->n_prompts, err));
	TRY(unit_put(out, "metric_clean", RESULTS_F64, r->m_clean, r->n_prompts, err));
	TRY(unit_put(out, "metric_patched", RESULTS_F64, r->m_patch, r->n_prompts, err));
fail:
	free(n_tokens);
	return err->code;
}

static int put_path_effects(struct effects_work *w, size_t n, struct unit *out, struct err *err)
{
	const size_t n_candidates = w->out->n_candidates;

	for (size_t k = 0; k < n_candidates; k++)
		if (attribution_path_effect(w->attribution, w->spans, n, k, w->path_effect + k * n,
			    err))
			return err->code;
	return unit_put(out, "path_effect", RESULTS_F64, w->path_effect, n_candidates * n, err);
}

static int take_path_effects(struct effects_work *w, const size_t *index, size_t n,
	struct unit_reader *in, struct err *err)
{
	struct effects *e = w->out;

	if (unit_get(in, "path_effect", RESULTS_F64, w->path_effect, e->n_candidates * n, err))
		return err->code;
	for (size_t k = 0; k < e->n_candidates; k++)
		for (size_t i = 0; i < n; i++)
			e->path_effect[index[i] * e->n_candidates + k] = w->path_effect[k * n + i];
	return 0;
}

/* Numbers per prompt and candidate, to the rows of the prompts. */
static int take_rows(struct effects_work *w, const char *name, float *to, const size_t *index,
	size_t n, struct unit_reader *in, struct err *err)
{
	const size_t m = w->out->n_candidates;

	if (unit_get(in, name, RESULTS_F32, w->mean, n * m, err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		memcpy(to + index[i] * m, w->mean + i * m, m * sizeof *to);
	return 0;
}

static int take_means(struct effects_work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	struct effects *e = w->out;
	int32_t *target = malloc(2 * n * sizeof *target + 1);
	double *metrics = malloc(2 * n * sizeof *metrics + 1);
	float *lead = malloc(n * sizeof *lead + 1);

	err_clear(err);
	if (!target || !metrics || !lead) {
		err_nomem(err, "effects", n * sizeof *metrics);
		goto fail;
	}
	TRY(take_rows(w, "noise", e->noise, index, n, in, err));
	TRY(take_rows(w, "mean", e->mean, index, n, in, err));
	TRY(unit_get(in, "target", RESULTS_I32, target, n, err));
	TRY(unit_get(in, "target_lead", RESULTS_F32, lead, n, err));
	TRY(unit_get(in, "n_tokens", RESULTS_I32, target + n, n, err));
	TRY(unit_get(in, "metric_clean", RESULTS_F64, metrics, n, err));
	TRY(unit_get(in, "metric_patched", RESULTS_F64, metrics + n, n, err));
	for (size_t i = 0; i < n; i++) {
		e->target[index[i]] = target[i];
		e->target_lead[index[i]] = lead[i];
		e->n_tokens[index[i]] = target[n + i];
		e->m_clean[index[i]] = metrics[i];
		e->m_patch[index[i]] = metrics[n + i];
	}
fail:
	free(target);
	free(metrics);
	free(lead);
	return err->code;
}

/* ---- the loop -------------------------------------------------------------------------- */

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct effects_work *w = context;
	const size_t n = prompts_batch(w->lab->prompts, w->request->prompts, &w->schedule, b,
		w->skip, w->spans);
	struct attribution_result r;

	TRY(attribution_run(w->attribution, w->spans, n, &r, err));
	TRY(put_means(w, &r, out, err));
	if (w->request->path_effects)
		TRY(put_path_effects(w, n, out, err));
	if (w->request->all_features)
		TRY(effects_put_all(w, &r, out, err));
	return effects_save(w, &r, out, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct effects_work *w = context;
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	const size_t n = w->schedule.cut[b + 1] - w->schedule.cut[b];

	TRY(take_means(w, index, n, in, err));
	if (w->request->path_effects)
		TRY(take_path_effects(w, index, n, in, err));
	return w->request->all_features ? effects_take_all(w, index, n, in, err) : 0;
fail:
	return err->code;
}

struct effects_extent effects_extent(const struct config *c)
{
	return (struct effects_extent){(size_t)c->attribution.k0, 1, (size_t)c->attribution.steps,
		1};
}

/* Of each prompt its means and the metric; of each unit sums of features and, per prompt, the best
 * ones. */
static int plan_units_of(const struct lab *lab, struct plan *plan,
	const struct effects_request *request, const struct effects_extent *extent, struct err *err)
{
	static const struct plan_what what = {"indirect effects", NULL};
	const size_t n_features = lab->machine->model->arch.n_layer *
				  sae_set_width(lab->machine->saes);
	double of_prompt = 8 * (double)candidates_count(lab, extent->k0) + 28, of_unit = 0;

	if (request->all_features) {
		of_prompt += 12 * (double)request->k_star + 4;
		of_unit += 20 * (double)n_features;
	}
	return plan_stages(lab, plan, what, request->prompts, of_prompt, of_unit, extent->n_stages,
		err);
}

int effects_plan(const struct lab *lab, struct plan *plan, const struct effects_request *request,
	struct effects_extent extent, struct err *err)
{
	const struct plan_attribution what = {.prompts = *request->prompts,
		.all_features = request->all_features,
		.k0 = extent.k0,
		.paths = extent.paths,
		.points = extent.points};

	TRY(plan_attribute(plan, &what, err));
	TRY(plan_units_of(lab, plan, request, &extent, err));
	return effects_plan_rows(lab, plan, request, candidates_count(lab, extent.k0),
		prefix_to_skip(lab), err);
fail:
	return err->code;
}

int effects_run(struct lab *lab, const struct effects_request *request, struct effects *out,
	struct err *err)
{
	struct effects_work w = {.lab = lab,
		.request = request,
		.out = out,
		.skip = prefix_to_skip(lab)};

	err_clear(err);
	*out = (struct effects){.n_prompts = request->prompts->n,
		.n_candidates = request->candidates->n,
		.n_layer = lab->machine->model->arch.n_layer,
		.d_sae = sae_set_width(lab->machine->saes)};
	TRY(plan_holds_attribution(lab, request->prompts, err));
	TRY(work_open(&w, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = request->title,
			.schedule = &w.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
	if (request->all_features)
		feature_sums_values(&w.sums, out->all);
	if (request->title && !request->other_backward) /* which has the same targets */
		ties_tell_targets(lab, request->title, out->target_lead, out->n_prompts);
fail:
	work_close(&w);
	return err->code;
}
