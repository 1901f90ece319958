/* SPDX-License-Identifier: MIT
 *
 * categories.c - do harm categories refuse by the same features (paper section 5.1, figure 3)?
 *
 *   F*(k)      of category k: the K* candidates with the largest mean IE over its prompts
 *   common     in every F*(k); called F_R, the features of refusal
 *   specific   F*(k) without the common ones
 *   F_H        the K* best over all prompts without F_R, the features of harm
 *
 * On the prompts of each category, f <- c f for: all of F*(k); n common ones; n of its specific
 * ones; n specific ones of every other category that are not in F*(k); n random ones in the layers
 * of the common ones, several draws. n is the same within a category: as many as both kinds have.
 * While some features are clamped the others of F*(k) are retained, held at every token of the
 * prompt at their values in the unedited run, so that no effect passes through them; under another
 * category's features and random ones, those are retained that are under its own specific ones.
 *
 * Scores: first token, probability of the refusal token and m = logit[j] - logit[refusal], j the
 * first token with the direction ablated; with categories.generate also the refusal score of the
 * replies, whose own tokens retain nothing. The report divides each by what clamping F*(k) does.
 * Departs: the paper counts replies that a judge calls harmful; the replies are kept for it.
 * Writes: /categories/..., /feature_sets/{refusal,harm}; replies and their scores under
 *         /generations/categories and /scores/categories, conditions K_EDIT_xC with K the number
 *         of the category and EDIT as in /categories/edit, or from_L for those of category L.
 * Cost: attribution of the prompts; then one forward pass per category and clamp, and one
 *       generation per category and clamp of chosen features.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/measure/activation_stats.h"
#include "experiments/categories/category_sets.h"
#include "host/measure/continuation.h"
#include "host/measure/controls.h"
#include "host/lab/findings.h"
#include "host/measure/observe.h"
#include "host/lab/tables.h"

#include <math.h>
#include <stdio.h>

struct categories_settings {
	char *prompts;
	struct text_list names;
	bool generate;
};

#define SETTINGS struct categories_settings
static const struct setting settings[] = {
	PROMPTS("categories.prompts", prompts, "\"categories\"", NULL,
		"prompt set with categories"),
	TEXTS("categories.names", names, "[]", NULL, "which of its categories; none given = all"),
	BOOL("categories.generate", generate, "true",
		"also continue the prompts under each clamp of chosen features, for refusal scores and "
		"for a judge"),
	MOVED("categories.scale", "clamp.scale"),
	MOVED("categories.draws", "controls.draws"),
};

/* What is scored on every prompt, one row under another. */
struct scores_table {
	struct dataset first_token, p_refusal, metric;
};

#define SCORES_TABLE(group, row) \
	{ \
		.first_token = {group "/first_token", {row, "prompt"}, RESULTS_I32, "", \
			"most probable first token of the reply; -1 = not run"}, \
		.p_refusal = {group "/p_refusal", {row, "prompt"}, RESULTS_F64, "1", \
			"probability that the first token is the refusal token; NaN = not run"}, \
		.metric = \
		{ group "/metric", \
			{row, "prompt"}, \
			RESULTS_F64, \
			"logit", \
			"logit[j] - logit[refusal], j the first token with the direction ablated; " \
			"NaN = not run" } \
	}

static const struct {
	struct dataset category, source, edit, prompt, category_of;
	struct feature_table candidates;
	struct dataset mean_effect, rank, common, n_clamped, n_transfer;
	struct scores_table own, transfer;
	struct dataset draw;
	struct scores_table random;
} datasets = {
	.category = {"/categories/category", {"category"}, RESULTS_TEXT, "", "harm categories"},
	.source = {"/categories/source", {"source"}, RESULTS_TEXT, "",
		"harm categories whose specific features are clamped on another's prompts, all of "
		"F*(k) retained but its own specific ones"},
	.edit = {"/categories/edit", {"edit"}, RESULTS_TEXT, "",
		"what is clamped: `none`, `all` (all of F*(k)), `common`, `specific` (n each, the "
		"rest of F*(k) retained)"},
	.prompt = PROMPT_SCALE("/categories"),
	.category_of = {"/categories/category_of", {"prompt"}, RESULTS_I32, "",
		"category of the prompt, a row of `category`"},
	.candidates = FEATURE_TABLE("/categories", "candidate", "candidates"),
	.mean_effect = {"/categories/mean_effect", {"category", "candidate"}, RESULTS_F32, "logit",
		"indirect effect, mean over tokens and the category's prompts"},
	.rank = {"/categories/rank", {"category", "candidate"}, RESULTS_I32, "",
		"rank in F*(k), 0 the best; -1 = not in it"},
	.common = {"/categories/common", {"candidate"}, RESULTS_U8, "1", "1 if in every F*(k)"},
	.n_clamped = {"/categories/n_clamped", {"category"}, RESULTS_I32, "1",
		"n: how many common, specific and random features are clamped"},
	.n_transfer = {"/categories/n_transfer", {"source", "category"}, RESULTS_I32, "1",
		"how many specific features of the source are clamped on the category's prompts, "
		"those that the category has not itself"},
	.own = SCORES_TABLE("/categories", "edit"),
	.transfer = SCORES_TABLE("/categories/transfer", "source"),
	.draw = {"/categories/random/draw", {"draw"}, RESULTS_I32, "",
		"random sets, drawn for each category in the layers of its common features and "
		"clamped with the same retained as for `source`"},
	.random = SCORES_TABLE("/categories/random", "draw"),
};

static const struct dataset_section section = {"`categories`", NULL, DATASETS(datasets)};

enum edit_of_category { NONE, ALL, COMMON, SPECIFIC, N_EDITS };

static const char *const edit_names[N_EDITS] = {"none", "all", "common", "specific"};

/* What is scored on every prompt, [rows, n_prompts]; NaN and -1 where a row has no meaning. */
struct scores {
	size_t rows;
	int32_t *first_token;
	double *p_refusal, *metric;
};

struct work {
	struct lab *lab;
	const struct categories_settings *settings;
	struct findings *findings;
	struct category_sets sets;
	struct activation_stats stats;       /* which features occur */
	struct arena memory;                 /* arrays of the next three and those below */
	struct scores own, transfer, random; /* rows: N_EDITS; categories; draws */
	int32_t *n_clamped;                  /* [n categories] n */
	int32_t *n_transfer;                 /* [n categories (whose), n categories (where)] */
	/* The category whose turn it is. */
	size_t k, n;
	struct prompt_ids prompts;
	int32_t *target;
	struct feature_set common, specific; /* n each */
	struct observation unedited;
	struct continuation replies; /* of the unedited model */
	const float **of_prompt;
	struct recording everything; /* F*(k) in the unedited run */
};

/* ---- memory ---------------------------------------------------------------------------- */

static int new_scores(struct work *w, struct scores *s, size_t rows, struct err *err)
{
	const size_t n = rows * w->sets.prompts.n;

	*s = (struct scores){.rows = rows,
		.first_token = arena_alloc(&w->memory, n, sizeof *s->first_token),
		.p_refusal = arena_alloc(&w->memory, n, sizeof *s->p_refusal),
		.metric = arena_alloc(&w->memory, n, sizeof *s->metric)};
	if (arena_check(&w->memory, "scores", err))
		return err->code;
	for (size_t i = 0; i < n; i++) {
		s->first_token[i] = -1;
		s->p_refusal[i] = s->metric[i] = NAN;
	}
	return 0;
}

static int allocate(struct work *w, struct err *err)
{
	const size_t n = w->sets.n;

	w->n_clamped = arena_alloc(&w->memory, n, sizeof *w->n_clamped);
	w->n_transfer = arena_alloc(&w->memory, n * n, sizeof *w->n_transfer);
	w->target = arena_alloc(&w->memory, w->sets.prompts.n, sizeof *w->target);
	w->of_prompt = arena_alloc(&w->memory, w->lab->prompts->table.n, sizeof *w->of_prompt);
	TRY(arena_check(&w->memory, "categories", err));
	TRY(new_scores(w, &w->own, N_EDITS, err));
	TRY(new_scores(w, &w->transfer, n, err));
	return new_scores(w, &w->random, (size_t)w->lab->config->controls.draws, err);
fail:
	return err->code;
}

static void free_work(struct work *w)
{
	arena_free(&w->memory);
	free(w->prompts.data);
	free(w->common.data);
	free(w->specific.data);
	observation_free(&w->unedited);
	continuation_free(&w->replies);
	activation_stats_free(&w->stats);
	category_sets_free(&w->sets);
}

/* ---- 2. clamps ------------------------------------------------------------------------- */

/* Row `row` of the scores at the places of the category's prompts. */
static void keep(const struct work *w, const struct observation *o, struct scores *s, size_t row)
{
	for (size_t p = 0, i = 0; p < w->sets.prompts.n; p++) {
		const size_t at = row * w->sets.prompts.n + p;

		if ((size_t)w->sets.category[p] != w->k)
			continue;
		s->first_token[at] = o->first_token[i];
		s->p_refusal[at] = o->p_refusal[i];
		s->metric[at] = o->metric[i++];
	}
}

/* The category's prompts continued; `name` is the edit's in the result file. */
static int continue_prompts(struct work *w, const char *name, const struct condition *condition,
	const struct continuation *unedited, struct continuation *out, struct err *err)
{
	struct condition named = *condition;

	snprintf(named.name, sizeof named.name, "%zu_%s", w->k, name);
	return continuation_record(w->lab, "categories", &w->prompts, &named, unedited, out, err);
}

/* Clamps `set` on the category's prompts while `retained` (NULL = nothing) is. */
static int clamp(struct work *w, const char *title, const struct feature_set *set,
	const struct recording *retained, struct scores *s, size_t row, struct err *err)
{
	struct condition condition = condition_scale_set(title, set, config_scale(w->lab->config));
	struct observation o = {0};

	condition.retained = retained;
	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &condition,
			.n_last = 1,
			.target = w->target},
		&o, err));
	keep(w, &o, s, row);
	if (s != &w->random && w->settings->generate)
		TRY(continue_prompts(w, condition.name, &condition, &w->replies, NULL, err));
fail:
	observation_free(&o);
	return err->code;
}

/* The specific features of every other category, as far as this one does not have them. */
static int clamp_others(struct work *w, const struct recording *retained, struct err *err)
{
	const struct category_sets *s = &w->sets;
	struct feature_set foreign = {0};

	err_clear(err);
	for (size_t other = 0; other < s->n; other++) {
		char title[32];

		if (other == w->k)
			continue;
		foreign.n = 0; /* F*(k) contains the common ones, so what remains is specific */
		TRY(feature_set_first(&s->best[other], &s->best[w->k], w->n, &foreign, err));
		w->n_transfer[other * s->n + w->k] = (int32_t)foreign.n;
		if (foreign.n == 0)
			continue;
		snprintf(title, sizeof title, "from_%zu", other);
		TRY(clamp(w, title, &foreign, retained, &w->transfer, other, err));
	}
fail:
	free(foreign.data);
	return err->code;
}

static int clamp_random(struct work *w, const struct recording *retained, struct err *err)
{
	const size_t n = w->random.rows;
	struct feature_set *draws;

	if (n == 0) /* nor is it known which features occur */
		return 0;
	draws = calloc(n, sizeof *draws);
	if (!draws)
		return err_nomem(err, "random features", n * sizeof *draws);
	err_clear(err);
	TRY(controls_draw(w->lab, &w->common, &w->sets.best[w->k], w->stats.alive, n, draws, err));
	for (size_t i = 0; i < n; i++)
		TRY(clamp(w, "random", &draws[i], retained, &w->random, i, err));
fail:
	for (size_t i = 0; i < n; i++)
		free(draws[i].data);
	free(draws);
	return err->code;
}

/* The category's prompts, targets, sets of equal size, and F*(k) in the unedited run. */
static int enter(struct work *w, size_t k, struct err *err)
{
	const struct category_sets *s = &w->sets;
	const struct condition none = condition_none();
	struct feature_set own = {0};

	w->k = k;
	w->prompts.n = w->common.n = w->specific.n = 0;
	observation_free(&w->unedited);
	continuation_free(&w->replies);
	err_clear(err);
	TRY(category_sets_prompts(s, k, &w->prompts, err));
	for (size_t p = 0, i = 0; p < s->prompts.n; p++)
		if ((size_t)s->category[p] == k)
			w->target[i++] = s->effects.target[p];
	TRY(feature_set_first(&s->best[k], &s->common, s->best[k].n, &own, err));
	w->n = size_min(own.n, s->common.n);
	w->n_clamped[k] = (int32_t)w->n;
	TRY(feature_set_first(&own, &(struct feature_set){0}, w->n, &w->specific, err));
	own.n = 0; /* the common ones, best of this category first */
	for (size_t i = 0; i < s->best[k].n; i++)
		if (feature_set_holds(&s->common, s->best[k].data[i].layer, s->best[k].data[i].id))
			TRY(feature_set_add(&own, s->best[k].data[i], err));
	TRY(feature_set_first(&own, &(struct feature_set){0}, w->n, &w->common, err));
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &none,
			.features = &s->best[k],
			.n_last = OBSERVE_ALL,
			.target = w->target},
		&w->unedited, err));
	w->everything = observation_recording(w->lab, &w->unedited, &s->best[k], &w->prompts,
		w->of_prompt);
	if (w->settings->generate)
		TRY(continue_prompts(w, "none", &none, NULL, &w->replies, err));
fail:
	free(own.data);
	return err->code;
}

static int run_category(struct work *w, size_t k, struct err *err)
{
	struct recording other_than_specific;

	TRY(enter(w, k, err));
	keep(w, &w->unedited, &w->own, NONE);
	TRY(clamp(w, "all", &w->sets.best[k], NULL, &w->own, ALL, err));
	if (w->n == 0) {
		log_warn("categories: %s has no %s features", w->sets.name[k],
			w->sets.common.n == 0 ? "common" : "specific");
		return 0;
	}
	TRY(clamp(w, "common", &w->common, &w->everything, &w->own, COMMON, err));
	TRY(clamp(w, "specific", &w->specific, &w->everything, &w->own, SPECIFIC, err));
	other_than_specific = w->everything;
	other_than_specific.except = &w->specific;
	TRY(clamp_others(w, &other_than_specific, err));
	return clamp_random(w, &other_than_specific, err);
fail:
	return err->code;
}

/* ---- 3. record ------------------------------------------------------------------------- */

static int write_scores(struct work *w, const struct scores *s, const struct scores_table *t,
	struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {s->rows, w->sets.prompts.n};

	TRY(dataset_write(r, &t->first_token, NULL, n, s->first_token, err));
	TRY(dataset_write(r, &t->p_refusal, NULL, n, s->p_refusal, err));
	return dataset_write(r, &t->metric, NULL, n, s->metric, err);
fail:
	return err->code;
}

static int write_random(struct work *w, struct err *err)
{
	if (w->random.rows == 0)
		return 0;
	TRY(dataset_write_counting(w->lab->job->results, &datasets.draw, NULL, w->random.rows,
		err));
	return write_scores(w, &w->random, &datasets.random, err);
fail:
	return err->code;
}

/* Rank of every candidate in every F*, -1 outside. */
static int write_sets(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct category_sets *s = &w->sets;
	const size_t m = s->candidates.set.n, by_candidate[] = {s->n, m};
	int32_t *rank = arena_alloc(&w->memory, s->n * m, sizeof *rank);
	uint8_t *common = arena_alloc(&w->memory, m, sizeof *common);

	TRY(arena_check(&w->memory, "categories", err));
	for (size_t i = 0; i < s->n * m; i++)
		rank[i] = -1;
	for (size_t i = 0; i < m; i++) {
		const struct feature f = s->candidates.set.data[i];

		common[i] = feature_set_holds(&s->common, f.layer, f.id);
		for (size_t k = 0; k < s->n; k++)
			for (size_t at = 0; at < s->best[k].n; at++)
				if (s->best[k].data[at].layer == f.layer &&
					s->best[k].data[at].id == f.id)
					rank[k * m + i] = (int32_t)at;
	}
	TRY(feature_table_write(r, &datasets.candidates, NULL, &s->candidates.set, err));
	TRY(dataset_write(r, &datasets.mean_effect, NULL, by_candidate, s->mean, err));
	TRY(dataset_write(r, &datasets.rank, NULL, by_candidate, rank, err));
	return dataset_write(r, &datasets.common, NULL, &m, common, err);
fail:
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct category_sets *s = &w->sets;
	const size_t n_edits = N_EDITS, by_source[] = {s->n, s->n};

	TRY(dataset_write(r, &datasets.category, NULL, &s->n, s->name, err));
	TRY(dataset_write(r, &datasets.source, NULL, &s->n, s->name, err));
	TRY(dataset_write(r, &datasets.edit, NULL, &n_edits, edit_names, err));
	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &s->prompts, err));
	TRY(dataset_write(r, &datasets.category_of, NULL, &s->prompts.n, s->category, err));
	TRY(write_sets(w, err));
	TRY(dataset_write(r, &datasets.n_clamped, NULL, &s->n, w->n_clamped, err));
	TRY(dataset_write(r, &datasets.n_transfer, NULL, by_source, w->n_transfer, err));
	TRY(write_scores(w, &w->own, &datasets.own, err));
	TRY(write_scores(w, &w->transfer, &datasets.transfer, err));
	TRY(write_random(w, err));
	TRY(results_attribute_real(r, "/categories", "scale", config_scale(w->lab->config), err));
	return findings_write_roles(w->findings, r, err);
fail:
	return err->code;
}

/* F_R and F_H, for the experiments that follow. */
static int keep_roles(struct work *w, struct err *err)
{
	struct roles *roles = &w->findings->roles;
	const struct category_sets *s = &w->sets;

	roles->known = true;
	TRY(feature_set_first(&s->common, &(struct feature_set){0}, s->common.n, &roles->refusal,
		err));
	return feature_set_first(&s->all, &s->common, s->all.n, &roles->harm, err);
fail:
	return err->code;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct categories_settings *s = values;
	struct category_sets sets;

	(void)f;
	if (candidates_check(lab, err))
		return err->code;
	category_sets_take(&sets, lab, s->prompts, &s->names, err);
	category_sets_free(&sets);
	return err->code;
}

/* Each category's prompts are continued under the edits of its own and those of every other one. */
static int plan_replies(const struct lab *lab, struct plan *out, const struct category_sets *sets,
	struct err *err)
{
	err_clear(err);
	for (size_t k = 0; k < sets->n && !err->code; k++) {
		struct prompt_ids own = {0};

		if (category_sets_prompts(sets, k, &own, err) == 0)
			continuation_plan(lab, out, &own, N_EDITS + sets->n - 1, err);
		free(own.data);
	}
	return err->code;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct categories_settings *s = values;
	const struct config *c = lab->config;
	struct category_sets sets;

	(void)f;
	TRY(category_sets_take(&sets, lab, s->prompts, &s->names, err));
	TRY(category_sets_plan(lab, out, &sets.prompts, err));
	if (s->generate)
		TRY(plan_replies(lab, out, &sets, err));
	TRY(plan_write(out, (struct plan_what){"scores", "controls.draws"}, &section,
		LENGTHS(LENGTH("category", sets.n), LENGTH("source", sets.n),
			LENGTH("edit", N_EDITS), LENGTH("prompt", sets.prompts.n),
			LENGTH("draw", (size_t)c->controls.draws),
			LENGTH("candidate", candidates_count(lab, (size_t)c->attribution.k0))),
		1, err));
	TRY(findings_plan_roles(out, (size_t)c->attribution.k_star, err));
	TRY(activation_stats_plan(lab, out, &sets.prompts, false, err));
fail:
	category_sets_free(&sets);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct categories_settings *s = values;
	struct work w = {.lab = lab, .settings = s, .findings = f};
	struct progress progress;

	err_clear(err);
	/* 1. The best features of each category, and what they share. */
	TRY(category_sets_find(&w.sets, lab, f->direction.v, s->prompts, &s->names, err));
	log_info("categories: %zu of %zu best features are common to %zu categories",
		w.sets.common.n, w.sets.best[0].n, w.sets.n);
	TRY(keep_roles(&w, err));

	/* 2. Common, specific, foreign and random features clamped on each category's prompts. */
	TRY(allocate(&w, err));
	TRY(activation_stats_run(lab, &w.sets.prompts, "categories: features that occur", false,
		&w.stats, err));
	progress_begin(&progress, &lab->job->stages, "categories: clamps", w.sets.n, "turn");
	for (size_t k = 0; k < w.sets.n; k++) {
		TRY(run_category(&w, k, err));
		progress_add(&progress, 1);
	}
	progress_end(&progress);

	/* 3. Record. */
	TRY(write(&w, err));
fail:
	free_work(&w);
	return err->code;
}

const struct experiment experiment_categories = {
	.name = "categories",
	.asks = "do harm categories refuse by the same features?",
	SETTINGS_OF(settings, struct categories_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.provides = FIND_ROLES,
	.uses = USE_WHOLE_SAES,
	.check = check,
	.plan = plan,
	.run = run,
};
