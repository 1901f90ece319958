/* SPDX-License-Identifier: MIT
 *
 * attribution.c - which SAE features carry the effect of the refusal direction (paper sections
 * 3.2 and 4.1)?
 *
 *   F0   per layer, the K0 features with the largest cos(W_dec[i], v)
 *   IE   indirect effect of every candidate at every token, by integrated gradients between the
 *        clean run and the run with v ablated; metric m = logit[j] - logit[refusal]
 *   F*   the K* candidates with the largest mean IE: over all prompts (global), of each (local)
 *
 * and the baselines of equal size: ap (all features by IE), cossim (by cosine over all layers),
 * actdiff (harmful minus harmless, maximum over tokens, mean over prompts), random (as many per
 * layer as the global F*, among features that occur on these prompts).
 *
 * Departs: the released code ends its path at the un-ablated residual stream of the patched run,
 * brings gradients through the path's hooks undamped and takes means from BOS on;
 * attribution.ig_endpoint, .ig_backward and .positions give that back.
 * Sets:    a prompt that the model answers with the refusal token under the ablated direction as
 *          well has no metric, no effects, and no features of its own (attribution.empty_local).
 *          How many features of a set only rounding has chosen is recorded.
 * Writes:  /candidates, /indirect_effect/{cossim_ap,ap}, /feature_sets, and if saved
 *          /activations, /features.
 * Cost:    N + 1 passes forward and N back over the prompts; with ap, two full encodings per
 *          layer; with actdiff, random or saving, one more pass and encoding.
 */
#include "experiments/experiment.h"

#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/measure/activation_stats.h"
#include "host/measure/candidates.h"
#include "host/measure/effects.h"
#include "host/measure/ties.h"
#include "host/lab/findings.h"
#include "host/lab/tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attribution_settings {
	bool save_per_token, compare_backward;
	char *empty_local;
};

static const char *const empty_sets[] = {"none", "global", NULL};

#define SETTINGS struct attribution_settings
static const struct setting settings[] = {
	BOOL("attribution.save_per_token", save_per_token, "true",
		"write the effect of every candidate at every token"),
	TEXT("attribution.empty_local", empty_local, "\"none\"", empty_sets,
		"own features of a prompt whose effects are all 0, as where the model says the refusal "
		"token with the direction ablated as well, so that the metric compares it with itself: "
		"none, or the global ones"),
	BOOL("attribution.compare_backward", compare_backward, "false",
		"also find the effects and F* that the other way of attribution.ig_backward gives, for "
		"the report: as many passes again"),
	MOVED("attribution.harmless", "direction.harmless"),
};

static const struct {
	struct feature_table candidates;
	struct dataset per_prompt, noise, undecided, target, target_lead;
	struct dataset metric_clean, metric_patched, prompt;
	struct dataset other_per_prompt, other_chosen, other_rank, other_shared, mean;
} datasets = {
	.candidates = {.scale = {"/candidate", {"candidate"}, RESULTS_I32, "",
			       "row of `/candidates`"},
		.layer = {"/candidates/layer", {"candidate"}, RESULTS_I32, "",
			"layer of the candidate; ascending"},
		.feature = {"/candidates/feature", {"candidate"}, RESULTS_I32, "", "feature id"},
		.cosine = {"/candidates/cosine", {"candidate"}, RESULTS_F32, "1",
			"of decoder row and direction; descending within a layer"}},
	.per_prompt = {"/indirect_effect/cossim_ap/per_prompt", {"prompt", "candidate"},
		RESULTS_F32, "logit",
		"indirect effect, mean over the prompt's tokens; of an SAE whose input is normed row "
		"by row, in units of its own f and with the norm of the clean run"},
	.noise = {"/indirect_effect/cossim_ap/noise", {"prompt", "candidate"}, RESULTS_F32, "logit",
		"what rounding alone can make of the effect: what products of this device round to, "
		"times the feature's values in both runs and the lengths of decoder row and gradient"},
	.undecided = {"/indirect_effect/cossim_ap/undecided", {"prompt"}, RESULTS_I32, "1",
		"features of the prompt's own set that one left out could stand for: their effects "
		"differ by no more than the noise of both"},
	.target = {"/indirect_effect/cossim_ap/target", {"prompt"}, RESULTS_I32, "",
		"token j of the metric logit[j] - logit[refusal]"},
	.target_lead = {"/indirect_effect/cossim_ap/target_lead", {"prompt"}, RESULTS_F32, "logit",
		"by which j led the next most probable token of the ablated run: below 2^-13 (2^-3 "
		"where products round to bfloat16) another batch or processor may choose another; "
		"infinite with `attribution.target` given"},
	.metric_clean = {"/indirect_effect/cossim_ap/metric_clean", {"prompt"}, RESULTS_F64,
		"logit", "the metric in the unedited run"},
	.metric_patched = {"/indirect_effect/cossim_ap/metric_patched", {"prompt"}, RESULTS_F64,
		"logit", "the metric with the direction ablated"},
	.prompt = PROMPT_SCALE("/indirect_effect/cossim_ap"),
	.other_per_prompt = {"/indirect_effect/cossim_ap/BACKWARD/per_prompt",
		{"prompt", "candidate"}, RESULTS_F32, "logit",
		"with `attribution.compare_backward`: effects by the other way of "
		"`attribution.ig_backward`, BACKWARD its name"},
	.other_chosen = {"/indirect_effect/cossim_ap/BACKWARD/chosen", {"rank"}, RESULTS_I32, "",
		"global F* by these: rows of `/candidates`"},
	.other_rank = {"/indirect_effect/cossim_ap/BACKWARD/rank", {"rank"}, RESULTS_I32, "",
		"0 is the best"},
	.other_shared = {"/indirect_effect/cossim_ap/BACKWARD/shared", {"prompt"}, RESULTS_I32, "1",
		"features that are in the prompt's own set either way"},
	.mean = {"/indirect_effect/ap/mean", {"layer", "feature"}, RESULTS_F64, "logit",
		"indirect effect of every feature, mean over tokens and prompts", .compress = true},
};

static const struct dataset_section section = {"Candidates and indirect effects (`attribution`)",
	NULL, DATASETS(datasets)};

struct work {
	struct lab *lab;
	struct findings *findings;
	const struct attribution_settings *settings;
	size_t n_layer, d_sae;
	struct prompt_ids prompts;
	struct candidates candidates;  /* F0 */
	struct effects effects, other; /* by attribution.ig_backward, and by the other way */
	size_t without_metric;         /* prompts whose target is the refusal token */
	struct activation_stats harmful, harmless;
};

static bool wants(const struct work *w, enum method method)
{
	return text_list_holds(&w->lab->config->attribution.methods, method_names[method]);
}

static float cosine_of(const struct work *w, const struct feature *f)
{
	return w->candidates.cosines[(size_t)f->layer * w->d_sae + (size_t)f->id];
}

/* ---- 1. candidates ---------------------------------------------------------------------- */

static size_t k_star_of(const struct work *w)
{
	return (size_t)w->lab->config->attribution.k_star;
}

/* Cuts a global set, of one feature more, to K*, and says how many rounding could exchange. */
static void cut_global(struct work *w, enum method method, struct score_noise noise)
{
	struct feature_set *set = &w->findings->sets[method].global;
	const size_t n = feature_set_cut(set, k_star_of(w), noise);

	if (wants(w, method))
		ties_tell(w->lab, n,
			"attribution: rounding alone could exchange %zu of the %zu features of the global "
			"set of %s",
			n, set->n, method_names[method]);
}

/* The K* features of the highest cosine over all layers: the CosSim baseline. */
static int choose_cossim(struct work *w, struct err *err)
{
	const struct candidates *c = &w->candidates;
	struct method_sets *sets = &w->findings->sets[METHOD_COSSIM];

	for (size_t l = 0; l < w->n_layer; l++) {
		for (size_t i = 0; i < w->d_sae; i++) {
			const float cosine = c->cosines[l * w->d_sae + i];
			const struct feature f = {(int32_t)l, (int32_t)i, cosine, cosine};

			if (!isnan(cosine) &&
				feature_set_offer(&sets->global, k_star_of(w) + 1, f, err))
				return err->code;
		}
	}
	cut_global(w, METHOD_COSSIM, ties_of_cosine(w->lab));
	sets->known = true;
	return 0;
}

/* ---- 3. sets --------------------------------------------------------------------------- */

/* How far the sets are chosen by anything but effects: in how many prompts by nothing, and how many
 * features by rounding. */
static int record_doubts(struct work *w, const struct method_sets *sets, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct effects *e = &w->effects;
	int32_t *undecided = malloc(e->n_prompts * sizeof *undecided + 1);
	size_t of_global, n_local = 0;

	err_clear(err);
	if (!undecided)
		return err_nomem(err, "effects", e->n_prompts * sizeof *undecided);
	TRY(effects_undecided(e, &w->candidates, NULL, 0, &sets->global, &of_global, err));
	for (size_t p = 0; p < e->n_prompts; p++) {
		const size_t at = p * e->n_candidates;

		undecided[p] = (int32_t)feature_set_undecided(&sets->local[w->prompts.data[p]],
			&w->candidates.set, e->mean + at, e->noise + at);
		n_local += undecided[p] > 0;
		w->without_metric += e->target[p] == w->lab->prompts->refusal_token;
	}
	TRY(dataset_write(r, &datasets.undecided, NULL, &e->n_prompts, undecided, err));
	TRY(results_attribute_integer(r, "/indirect_effect/cossim_ap", "undecided",
		(int64_t)of_global, err));
	TRY(results_attribute_integer(r, "/indirect_effect/cossim_ap", "without_metric",
		(int64_t)w->without_metric, err));
	if (w->without_metric > 0)
		log_warn("%zu of %zu prompts begin with the refusal token with the direction "
			 "ablated as well: the metric compares it with itself, no feature has an "
			 "effect, and their own features are %s",
			w->without_metric, e->n_prompts,
			strcmp(w->settings->empty_local, "none") == 0 ? "none" : "the global ones");
	if (of_global + n_local > 0 && !w->lab->config->batch.invariant)
		log_warn("rounding alone could exchange %zu of the %zu features of the global F*, "
			 "and features in the own sets of %zu of %zu prompts",
			of_global, sets->global.n, n_local, e->n_prompts);
fail:
	free(undecided);
	return err->code;
}

/* How many features two sets share. */
static size_t shared(const struct feature_set *a, const struct feature_set *b)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		n += feature_set_holds(b, a->data[i].layer, a->data[i].id);
	return n;
}

/* The row of a feature in /candidates. */
static int32_t row_of(const struct candidates *c, const struct feature *f)
{
	int32_t row = 0;

	while (c->set.data[row].layer != f->layer || c->set.data[row].id != f->id)
		row++;
	return row;
}

static int write_other(struct work *w, const struct feature_set *global, const int32_t *local,
	struct err *err)
{
	const bool path = strcmp(w->lab->config->attribution.ig_backward, "path") == 0;
	const char *const *words = WORDS(path ? "straight_through" : "path");
	const size_t n[] = {w->other.n_prompts, w->other.n_candidates};
	struct results *r = w->lab->job->results;
	int32_t *rows = malloc(global->n * sizeof *rows + 1);

	err_clear(err);
	if (!rows)
		return err_nomem(err, "effects", global->n * sizeof *rows);
	for (size_t k = 0; k < global->n; k++)
		rows[k] = row_of(&w->candidates, &global->data[k]);
	TRY(dataset_write(r, &datasets.other_per_prompt, words, n, w->other.mean, err));
	TRY(dataset_write_counting(r, &datasets.other_rank, words, global->n, err));
	TRY(dataset_write(r, &datasets.other_chosen, words, &global->n, rows, err));
	TRY(dataset_write(r, &datasets.other_shared, words, n, local, err));
fail:
	free(rows);
	return err->code;
}

/* F* by the other way of attribution.ig_backward, beside the one that is used. */
static int compare_backward(struct work *w, const struct method_sets *sets, struct err *err)
{
	const struct effects *e = &w->other;
	struct feature_set global = {0}, local = {0};
	int32_t *both = malloc(e->n_prompts * sizeof *both + 1);

	err_clear(err);
	if (!both)
		return err_nomem(err, "effects", e->n_prompts * sizeof *both);
	TRY(effects_best(e, &w->candidates, k_star_of(w), &global, err));
	for (size_t p = 0; p < e->n_prompts; p++) {
		local.n = 0;
		TRY(candidates_best(&w->candidates, e->mean + p * e->n_candidates, k_star_of(w),
			&local, err));
		both[p] = (int32_t)shared(&sets->local[w->prompts.data[p]], &local);
	}
	TRY(write_other(w, &global, both, err));
	log_info("the other way of attribution.ig_backward shares %zu of the %zu features of the "
		 "global F*",
		shared(&sets->global, &global), sets->global.n);
fail:
	free(global.data);
	free(local.data);
	free(both);
	return err->code;
}

/* What prompts without effects are given (attribution.empty_local); and which have been attributed.
 */
static int complete_local(struct work *w, struct method_sets *sets, struct err *err)
{
	const bool global = strcmp(w->settings->empty_local, "global") == 0;

	for (size_t p = 0; p < w->prompts.n; p++) {
		struct feature_set *own = &sets->local[w->prompts.data[p]];

		sets->attributed[w->prompts.data[p]] = true;
		if (own->n == 0 && global)
			TRY(vec_append(own, sets->global.data, sets->global.n, err));
	}
	return 0;
fail:
	return err->code;
}

static int choose_cossim_ap(struct work *w, struct err *err)
{
	struct method_sets *sets = &w->findings->sets[METHOD_COSSIM_AP];
	const struct effects *e = &w->effects;

	TRY(findings_new_local(w->findings, METHOD_COSSIM_AP, err));
	TRY(effects_best(e, &w->candidates, k_star_of(w), &sets->global, err));
	for (size_t p = 0; p < e->n_prompts; p++)
		TRY(candidates_best(&w->candidates, e->mean + p * e->n_candidates, k_star_of(w),
			&sets->local[w->prompts.data[p]], err));
	TRY(record_doubts(w, sets, err));
	if (w->settings->compare_backward)
		TRY(compare_backward(w, sets, err));
	sets->known = true;
	return complete_local(w, sets, err);
fail:
	return err->code;
}

/* The K* best of a score over all features; unused features (score 0) are never chosen. */
static int choose_best(struct work *w, enum method method, const double *score, struct err *err)
{
	struct feature_set *set = &w->findings->sets[method].global;

	for (size_t l = 0; l < w->n_layer; l++) {
		for (size_t i = 0; i < w->d_sae; i++) {
			const struct feature f = {(int32_t)l, (int32_t)i, 0,
				(float)score[l * w->d_sae + i]};

			if (f.score != 0 && feature_set_offer(set, k_star_of(w) + 1, f, err))
				return err->code;
		}
	}
	cut_global(w, method, ties_of_effect(w->lab));
	return 0;
}

static int choose_ap(struct work *w, struct err *err)
{
	struct method_sets *sets = &w->findings->sets[METHOD_AP];

	TRY(choose_best(w, METHOD_AP, w->effects.all, err));
	TRY(findings_new_local(w->findings, METHOD_AP, err));
	for (size_t p = 0; p < w->prompts.n; p++) {
		sets->local[w->prompts.data[p]] = w->effects.all_local[p];
		w->effects.all_local[p] = (struct feature_set){0};
	}
	ties_tell(w->lab, w->effects.n_all_undecided,
		"attribution: rounding alone could exchange features in the own sets of ap of %zu of "
		"%zu prompts",
		w->effects.n_all_undecided, w->prompts.n);
	sets->known = true;
	return complete_local(w, sets, err);
fail:
	return err->code;
}

static int choose_actdiff(struct work *w, struct err *err)
{
	struct method_sets *sets = &w->findings->sets[METHOD_ACTDIFF];
	double *difference = w->harmful.mean_max; /* in place */

	for (size_t i = 0; i < w->n_layer * w->d_sae; i++)
		difference[i] -= w->harmless.mean_max[i];
	TRY(choose_best(w, METHOD_ACTDIFF, difference, err));
	sets->known = true;
	return 0;
fail:
	return err->code;
}

static int choose_random(struct work *w, struct err *err)
{
	struct method_sets *sets = &w->findings->sets[METHOD_RANDOM];

	TRY(feature_set_random(&sets->global, &w->findings->sets[METHOD_COSSIM_AP].global,
		w->harmful.alive, w->n_layer, w->d_sae, (uint64_t)w->lab->config->seed, err));
	sets->known = true;
	return 0;
fail:
	return err->code;
}

/* ---- 4. record ------------------------------------------------------------------------- */

static int write_effects(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct effects *e = &w->effects;
	const size_t n[] = {e->n_prompts, e->n_candidates}, all[] = {w->n_layer, w->d_sae};

	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(dataset_write(r, &datasets.per_prompt, NULL, n, e->mean, err));
	TRY(dataset_write(r, &datasets.noise, NULL, n, e->noise, err));
	TRY(dataset_write(r, &datasets.target, NULL, n, e->target, err));
	TRY(dataset_write(r, &datasets.target_lead, NULL, n, e->target_lead, err));
	TRY(dataset_write(r, &datasets.metric_clean, NULL, n, e->m_clean, err));
	TRY(dataset_write(r, &datasets.metric_patched, NULL, n, e->m_patch, err));
	if (e->all)
		TRY(dataset_write(r, &datasets.mean, NULL, all, e->all, err));
	return 0;
fail:
	return err->code;
}

static int write_sets(struct work *w, struct err *err)
{
	for (int m = 0; m < N_METHODS; m++) {
		struct method_sets *sets = &w->findings->sets[m];

		sets->known = sets->known && wants(w, (enum method)m);
		if (!sets->known)
			continue;
		for (size_t k = 0; k < sets->global.n; k++)
			sets->global.data[k].cosine = cosine_of(w, &sets->global.data[k]);
		if (findings_write_sets(w->findings, (enum method)m, &w->prompts,
			    w->lab->job->results, err))
			return err->code;
	}
	return 0;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	(void)f, (void)values;
	return candidates_check(lab, err);
}

/* What is attributed; direction and candidates are found when the run is there. */
static struct effects_request request_of(const struct config *c,
	const struct attribution_settings *s, const struct prompt_ids *prompts)
{
	const bool ap = text_list_holds(&c->attribution.methods, method_names[METHOD_AP]);

	return (struct effects_request){.prompts = prompts,
		.title = "attribution: integrated gradients",
		.all_features = ap,
		.save_all = ap,
		.k_star = (size_t)c->attribution.k_star,
		.save_tokens = s->save_per_token,
		.save_gradients = c->save.gradients};
}

/* The same again, by the other way of attribution.ig_backward, of the candidates alone. */
static struct effects_request other_request(const struct prompt_ids *prompts)
{
	return (struct effects_request){.prompts = prompts,
		.other_backward = true,
		.title = "attribution: gradients the other way"};
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct attribution_settings *s = values;
	const struct config *c = lab->config;
	const bool saves = c->save.resid_post || c->save.features;
	struct prompt_ids prompts = {0}, harmless = {0};
	struct effects_request request;

	(void)f;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->attribution.prompts, &prompts, err));
	request = other_request(&prompts);
	if (s->compare_backward)
		TRY(effects_plan(lab, out, &request, effects_extent(c), err));
	request = request_of(c, s, &prompts);
	TRY(effects_plan(lab, out, &request, effects_extent(c), err));
	TRY(plan_write(out, (struct plan_what){"candidates and effects", NULL}, &section,
		LENGTHS(LENGTH("candidate", candidates_count(lab, (size_t)c->attribution.k0)),
			LENGTH("prompt", prompts.n),
			LENGTH("layer",
				request.all_features ? lab->machine->model->arch.n_layer : 0),
			LENGTH("feature", sae_set_width(lab->machine->saes)),
			{"rank", 0, (size_t)c->attribution.k_star}),
		s->compare_backward, err));
	TRY(findings_plan(out, c->attribution.methods.n, prompts.n, (size_t)c->attribution.k_star,
		err));
	if (text_list_holds(&c->attribution.methods, method_names[METHOD_ACTDIFF]) ||
		text_list_holds(&c->attribution.methods, method_names[METHOD_RANDOM]) || saves)
		TRY(activation_stats_plan(lab, out, &prompts, saves, err));
	if (text_list_holds(&c->attribution.methods, method_names[METHOD_ACTDIFF])) {
		TRY(prompts_of_set(lab->prompts, c->direction.harmless, &harmless, err));
		TRY(activation_stats_plan(lab, out, &harmless, false, err));
	}
fail:
	free(harmless.data);
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct attribution_settings *s = values;
	const struct config *c = lab->config;
	struct effects_request request, other;
	struct work w = {.lab = lab,
		.findings = f,
		.settings = s,
		.n_layer = lab->machine->model->arch.n_layer,
		.d_sae = sae_set_width(lab->machine->saes)};
	const bool saves = c->save.resid_post || c->save.features;

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->attribution.prompts, &w.prompts, err));

	/* 1. F0: per layer the features whose decoder rows are nearest to the direction. */
	TRY(candidates_find(&w.candidates, lab, "attribution", f->direction.v,
		(size_t)c->attribution.k0, err));
	TRY(feature_table_write(lab->job->results, &datasets.candidates, NULL, &w.candidates.set,
		err));
	TRY(results_attribute_integer(lab->job->results, "/candidates", "undecided",
		(int64_t)w.candidates.undecided, err));

	/* 2. Their indirect effects; for ap, those of all features. */
	request = request_of(c, s, &w.prompts);
	request.direction = f->direction.v;
	request.candidates = &w.candidates.set;
	TRY(effects_run(lab, &request, &w.effects, err));
	TRY(write_effects(&w, err));
	other = other_request(&w.prompts);
	other.direction = f->direction.v;
	other.candidates = &w.candidates.set;
	if (s->compare_backward)
		TRY(effects_run(lab, &other, &w.other, err));

	/* 3. F*, global and local, and the baselines. */
	TRY(choose_cossim(&w, err));
	TRY(choose_cossim_ap(&w, err));
	if (wants(&w, METHOD_AP))
		TRY(choose_ap(&w, err));
	if (wants(&w, METHOD_ACTDIFF) || wants(&w, METHOD_RANDOM) || saves)
		TRY(activation_stats_run(lab, &w.prompts, "attribution: features, harmful", saves,
			&w.harmful, err));
	if (wants(&w, METHOD_RANDOM))
		TRY(choose_random(&w, err));
	if (wants(&w, METHOD_ACTDIFF)) {
		struct prompt_ids harmless = {0};

		if (prompts_of_set(lab->prompts, c->direction.harmless, &harmless, err) == 0)
			activation_stats_run(lab, &harmless, "attribution: features, harmless",
				false, &w.harmless, err);
		free(harmless.data);
		if (err->code)
			goto fail;
		TRY(choose_actdiff(&w, err));
	}

	/* 4. Record. */
	TRY(write_sets(&w, err));
fail:
	activation_stats_free(&w.harmful);
	activation_stats_free(&w.harmless);
	effects_free(&w.effects);
	effects_free(&w.other);
	free(w.prompts.data);
	candidates_free(&w.candidates);
	return err->code;
}

static void print(const struct lab *lab, const struct findings *f)
{
	const struct feature_set *set = &f->sets[METHOD_COSSIM_AP].global;

	(void)lab;
	if (!f->sets[METHOD_COSSIM_AP].known)
		return;
	printf("\nfeatures of cossim_ap, global (mean indirect effect in logits)\n  %4s %6s %8s %8s "
	       "%9s\n",
		"rank", "layer", "feature", "cosine", "effect");
	for (size_t k = 0; k < set->n; k++)
		printf("  %4zu %6d %8d %8.3f %9.4f\n", k + 1, set->data[k].layer, set->data[k].id,
			(double)set->data[k].cosine, (double)set->data[k].score);
}

const struct experiment experiment_attribution = {
	.name = "attribution",
	.asks = "which SAE features carry the effect of the refusal direction?",
	SETTINGS_OF(settings, struct attribution_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.provides = FIND_SETS,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_ATTRIBUTED | PROMPTS_ACTDIFF,
	.check = check,
	.plan = plan,
	.run = run,
	.print = print,
};
