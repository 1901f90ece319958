/* SPDX-License-Identifier: MIT
 *
 * exact_patching.c - is attribution's linear approximation right (open question of the paper;
 * its equations 3 and 4)?
 *
 *   true effect, alone:   m(f_i <- f_i of the ablated run, at every token behind the prefix;
 *                         everything after it as it follows) - m(unedited)
 *   true effect, in path: the same change of f_i, from undone to complete, at points of the
 *                         published path from the unedited to the ablated run, where all other
 *                         features and layers are part of the way; mean over the points
 *   approximation:        sum over those tokens of IE_i, by N steps of a path
 *
 * m = logit[j] - logit[refusal] at the last token, j the argmax of the prompt's ablated run. All
 * are in logits and of the same change of f_i, so that they can be subtracted.
 *
 * Varied: N (1 is plain attribution patching), the rule of the sum (left, as published, or
 * midpoint), and what moves along the path: every layer's residual stream at once, as in the
 * published hook (joint), or the one of the candidate's own layer (single). Plain attribution
 * patching has the gradient of the unedited run, so it approximates the effect alone; integrated
 * gradients have the mean gradient of the path and approximate the effect in it. The two effects
 * differ where features overlap, and because on the joint path what later layers pass on fades
 * with (1 - a).
 *
 * Writes:  /exact_patching: effect [truth, prompt, candidate], approximation [estimate, prompt,
 *          candidate], and how they agree, over all pairs: pearson, spearman, relative_error,
 *          slope [truth, estimate]; and overlap, the share of the truly best K* that the estimate
 *          chooses.
 * Cost:    one pass per candidate that differs between the runs, 2 contexts passes per candidate
 *          in the path; sum of N passes forward and back per rule for the joint path, n_layer
 *          times that for the single one.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/method/statistics.h"
#include "host/measure/candidates.h"
#include "host/measure/effects.h"
#include "host/measure/observe.h"
#include "host/measure/ties.h"
#include "host/lab/tables.h"
#include "host/work/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct exact_settings {
	struct text_list paths;
	struct real_list steps;
	int64_t contexts;
};

static const char *const path_names[] = {"joint", "single", NULL};

#define SETTINGS struct exact_settings
static const struct setting settings[] = {
	TEXTS("exact_patching.paths", paths, "[\"joint\", \"single\"]", path_names,
		"what moves along the path: joint (every layer's residual stream, as published) or "
		"single (that of the candidate's layer)"),
	INTEGERS("exact_patching.steps", steps, "[1, 2, 5, 10, 20, 50]", 1, 1000,
		"numbers of points on the path"),
	INTEGER("exact_patching.contexts", contexts, "5", 1, 1000,
		"points of the path at which each candidate is moved while all else stays as it is "
		"there"),
	MOVED("exact_patching.prompts", "dissect.prompts"),
	GONE("exact_patching.rules", "both rules, always"),
};

static const struct {
	struct dataset effect, approximation, truth, estimate, steps;
	struct dataset pearson, spearman, relative_error, slope, overlap;
	struct dataset metric_clean, target, prompt;
	struct feature_table candidates;
} datasets = {
	.effect = {"/exact_patching/effect", {"truth", "prompt", "candidate"}, RESULTS_F64, "logit",
		"change of the metric when the candidate alone has its values of the ablated run "
		"instead of its unedited ones, at every token behind the prefix"},
	.approximation = {"/exact_patching/approximation", {"estimate", "prompt", "candidate"},
		RESULTS_F64, "logit", "its indirect effect, summed over the same tokens"},
	.truth = {"/exact_patching/truth", {"truth"}, RESULTS_TEXT, "",
		"`alone` (in the unedited run), `in_path` (at points of the way to the ablated "
		"run, mean over them)"},
	.estimate = {"/exact_patching/estimate", {"estimate"}, RESULTS_TEXT, "",
		"PATH_RULE_STEPS; path `joint` (all layers move) or `single` (the candidate's), "
		"rule `left` or `midpoint`"},
	.steps = {"/exact_patching/steps", {"estimate"}, RESULTS_I32, "1", "points on the path"},
	.pearson = {"/exact_patching/pearson", {"truth", "estimate"}, RESULTS_F64, "1",
		"correlation of approximation and effect over prompts and candidates"},
	.spearman = {"/exact_patching/spearman", {"truth", "estimate"}, RESULTS_F64, "1",
		"the same of ranks"},
	.relative_error = {"/exact_patching/relative_error", {"truth", "estimate"}, RESULTS_F64,
		"1", "L2 norm of approximation - effect, over that of effect"},
	.slope = {"/exact_patching/slope", {"truth", "estimate"}, RESULTS_F64, "1",
		"effect per unit of approximation, least squares through 0"},
	.overlap = {"/exact_patching/overlap", {"truth", "estimate"}, RESULTS_F64, "1",
		"share of the K* truly best candidates (mean over prompts) among the K* best by "
		"this estimate"},
	.metric_clean = {"/exact_patching/metric_clean", {"prompt"}, RESULTS_F64, "logit",
		"the metric, logit[j] - logit[refusal], unedited"},
	.target = {"/exact_patching/target", {"prompt"}, RESULTS_I32, "", "token j of the metric"},
	.prompt = PROMPT_SCALE("/exact_patching"),
	.candidates = FEATURE_TABLE("/exact_patching", "candidate", "candidates, layer by layer"),
};

static const struct dataset_section section = {"`exact_patching`", NULL, DATASETS(datasets)};

enum { TRUTH_ALONE, TRUTH_IN_PATH, N_TRUTHS };
static const char *const truths[N_TRUTHS] = {"alone", "in_path"};

/* One way to approximate. */
struct estimate {
	struct effects_path path;
	char name[48]; /* "joint_left_10" */
};

enum { MOST_ESTIMATES = 64 };

struct work {
	struct lab *lab;
	const struct exact_settings *settings;
	const struct direction *direction;
	struct prompt_ids prompts;
	struct candidates candidates; /* F0 */
	struct observation clean, ablated;
	size_t n, n_candidates; /* prompts, candidates */
	struct estimate estimates[MOST_ESTIMATES];
	size_t n_estimates;
	struct arena memory;   /* what follows is in it */
	double *effect;        /* [N_TRUTHS, n, n_candidates] */
	double *approximation; /* [n_estimates, n, n_candidates] */
};

/* ---- 2. the two runs -------------------------------------------------------------------- */

static int observe_runs(struct work *w, struct err *err)
{
	const struct condition none = condition_none(), ablate = condition_ablate(w->direction);
	struct observe_request request = {.title = "exact_patching: direction ablated",
		.prompts = &w->prompts,
		.condition = &ablate,
		.features = &w->candidates.set,
		.n_last = OBSERVE_ALL,
		.edited = true};

	TRY(observe(w->lab, &request, &w->ablated, err));
	ties_tell_targets(w->lab, "exact_patching", w->ablated.first_lead, w->n);
	request.title = "exact_patching: unedited";
	request.condition = &none;
	request.target = w->ablated.first_token;
	return observe(w->lab, &request, &w->clean, err);
fail:
	return err->code;
}

/* ---- 3. the true effect of one candidate ------------------------------------------------- */

static bool differs(const struct work *w, size_t k)
{
	const size_t rows = w->clean.start[w->n];

	for (size_t t = 0; t < rows; t++)
		if (w->clean.activation[t * w->n_candidates + k] !=
			w->ablated.activation[t * w->n_candidates + k])
			return true;
	return false;
}

/* Column k of what was observed. */
static void column(const float *from, size_t rows, size_t n_columns, size_t k, float *to)
{
	for (size_t t = 0; t < rows; t++)
		to[t] = from[t * n_columns + k];
}

/* Scratch of a patch. */
struct patching {
	struct work *w;
	float *values;           /* of one candidate at every token, then those of the prefix */
	const float **of_prompt; /* [prompts of the lab] into values */
};

/* Holds candidate k at its values of the ablated run; those of the prefix stay the unedited ones.
 * row: [n] change of the metric; it stays 0 where the two runs do not differ. */
static int patch(void *context, size_t k, double *row, struct err *err)
{
	const struct patching *p = context;
	struct work *w = p->w;
	const struct feature_set none = {0}, one = {&w->candidates.set.data[k], 1, 1};
	const size_t rows = w->ablated.start[w->n];
	const struct recording recording = {.features = &one,
		.prefix = p->values + rows,
		.of_prompt = p->of_prompt};
	struct condition condition = condition_scale_set("patched", &none, 1);
	struct observation seen = {0};

	if (!differs(w, k))
		return 0;
	column(w->ablated.activation, rows, w->n_candidates, k, p->values);
	column(w->clean.prefix, w->lab->prompts->n_prefix, w->n_candidates, k, p->values + rows);
	for (size_t i = 0; i < w->n; i++)
		p->of_prompt[w->prompts.data[i]] = p->values + w->ablated.start[i];
	condition.retained = &recording;
	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &condition,
			.n_last = 1,
			.target = w->ablated.first_token},
		&seen, err));
	for (size_t i = 0; i < w->n; i++)
		row[i] = seen.metric[i] - w->clean.metric[i];
fail:
	observation_free(&seen);
	return err->code;
}

static int patch_all(struct work *w, struct err *err)
{
	struct arena memory = {0};
	double *table = arena_alloc(&memory, w->n_candidates * w->n, sizeof *table);
	struct patching p = {.w = w};

	p.values = arena_alloc(&memory, w->ablated.start[w->n] + w->lab->prompts->n_prefix,
		sizeof *p.values);
	p.of_prompt = arena_alloc(&memory, w->lab->prompts->table.n, sizeof *p.of_prompt);
	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "exact_patching: one candidate at a time",
			.item = "candidate",
			.n = w->n_candidates,
			.width = w->n,
			.context = &p,
			.run = patch},
		table, err));
	for (size_t k = 0; k < w->n_candidates; k++)
		for (size_t i = 0; i < w->n; i++)
			w->effect[i * w->n_candidates + k] = table[k * w->n + i];
fail:
	arena_free(&memory);
	return err->code;
}

/* The same change on the way, at `contexts` points of the path. */
static int follow_path(struct work *w, struct err *err)
{
	const struct effects_path path = {.steps = (size_t)w->settings->contexts,
		.rule = IG_RULE_MIDPOINT,
		.path = IG_PATH_JOINT};
	struct effects e = {0};

	err_clear(err);
	TRY(effects_run(w->lab,
		&(struct effects_request){.prompts = &w->prompts,
			.direction = w->direction->v,
			.candidates = &w->candidates.set,
			.path = &path,
			.path_effects = true,
			.title = "exact_patching: each candidate in the path"},
		&e, err));
	memcpy(w->effect + TRUTH_IN_PATH * w->n * w->n_candidates, e.path_effect,
		w->n * w->n_candidates * sizeof *w->effect);
fail:
	effects_free(&e);
	return err->code;
}

/* ---- 4. its approximations --------------------------------------------------------------- */

static struct estimate estimate_of(const char *path, enum ig_rule rule, double steps)
{
	struct estimate e = {
		.path = {.steps = (size_t)steps,
			.rule = rule,
			.path = strcmp(path, "joint") == 0 ? IG_PATH_JOINT : IG_PATH_SINGLE}};

	snprintf(e.name, sizeof e.name, "%s_%s_%zu", path,
		rule == IG_RULE_LEFT ? "left" : "midpoint", e.path.steps);
	return e;
}

/* Every path by both rules with every number of steps. */
static int list_estimates(const struct exact_settings *s, struct estimate *out, size_t *n,
	struct err *err)
{
	static const enum ig_rule rules[] = {IG_RULE_LEFT, IG_RULE_MIDPOINT};
	const struct real_list *steps = &s->steps;

	*n = 0;
	if (2 * s->paths.n * steps->n > MOST_ESTIMATES)
		return err_set(err, ERR_CONFIG,
			"exact_patching: expected at most %d combinations of paths, rules and steps, "
			"found %zu",
			MOST_ESTIMATES, 2 * s->paths.n * steps->n);
	for (size_t p = 0; p < s->paths.n; p++)
		for (size_t r = 0; r < 2; r++)
			for (size_t i = 0; i < steps->n; i++)
				out[(*n)++] = estimate_of(s->paths.items[p], rules[r],
					steps->items[i]);
	return 0;
}

/* Sums over tokens of the indirect effects of `some` candidates along a path. columns: their
 * places among all. */
static int add_effects(struct work *w, const struct effects_path *path,
	const struct feature_set *some, const size_t *columns, double *out, struct err *err)
{
	struct effects e = {0};

	err_clear(err);
	TRY(effects_run(w->lab,
		&(struct effects_request){.prompts = &w->prompts,
			.direction = w->direction->v,
			.candidates = some,
			.path = path},
		&e, err));
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < some->n; k++)
			out[i * w->n_candidates + columns[k]] = (double)e.mean[i * some->n + k] *
								e.n_tokens[i];
fail:
	effects_free(&e);
	return err->code;
}

/* One estimate: all candidates along the joint path, or a layer's along its own.
 * row: [n, n_candidates]. */
static int approximate(void *context, size_t which, double *row, struct err *err)
{
	struct work *w = context;
	const struct estimate *e = &w->estimates[which];
	const bool single = e->path.path == IG_PATH_SINGLE;
	struct arena memory = {0};
	size_t *columns = arena_alloc(&memory, w->n_candidates, sizeof *columns);
	struct effects_path path = e->path;
	struct feature_set some = {0};

	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	for (size_t l = 0; l < (single ? w->candidates.n_layer : 1); l++) {
		some.n = 0;
		for (size_t k = 0; k < w->n_candidates; k++) {
			const struct feature f = w->candidates.set.data[k];

			if (single && (size_t)f.layer != l)
				continue;
			columns[some.n] = k;
			TRY(feature_set_add(&some, f, err));
		}
		path.layer = l;
		TRY(add_effects(w, &path, &some, columns, row, err));
	}
fail:
	free(some.data);
	arena_free(&memory);
	return err->code;
}

static int approximate_all(struct work *w, struct err *err)
{
	return tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "exact_patching: approximations",
			.item = "estimate",
			.n = w->n_estimates,
			.width = w->n * w->n_candidates,
			.context = w,
			.run = approximate},
		w->approximation, err);
}

/* ---- 5. agreement ------------------------------------------------------------------------ */

/* The K* candidates of the largest mean; *undecided also if rounding could exchange one of them. */
static int best_of(const struct work *w, const double *values, struct feature_set *set,
	struct score_noise noise, bool *undecided, struct err *err)
{
	const size_t k_star = (size_t)w->lab->config->attribution.k_star;
	struct arena memory = {0};
	float *mean = arena_alloc(&memory, w->n_candidates, sizeof *mean);

	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < w->n_candidates; k++)
			mean[k] += (float)(values[i * w->n_candidates + k] / (double)w->n);
	TRY(candidates_best(&w->candidates, mean, k_star + 1, set, err));
	*undecided |= feature_set_cut(set, k_star, noise) > 0;
fail:
	arena_free(&memory);
	return err->code;
}

/* True effects are differences of metrics, which readout_noise is about. */
static int overlap_of(const struct work *w, const double *effect, const double *values,
	double *overlap, bool *undecided, struct err *err)
{
	const struct score_noise of_effect = {.fixed = readout_noise(&w->lab->machine->readout)},
				 of_estimate = ties_of_effect(w->lab);
	struct feature_set truth = {0}, chosen = {0};

	err_clear(err);
	*undecided = false;
	TRY(best_of(w, effect, &truth, of_effect, undecided, err));
	TRY(best_of(w, values, &chosen, of_estimate, undecided, err));
	*overlap = 0;
	for (size_t i = 0; i < chosen.n; i++)
		if (feature_set_holds(&truth, chosen.data[i].layer, chosen.data[i].id))
			*overlap += 1 / (double)truth.n;
fail:
	free(truth.data);
	free(chosen.data);
	return err->code;
}

struct agreement {
	double pearson[N_TRUTHS * MOST_ESTIMATES], spearman[N_TRUTHS * MOST_ESTIMATES],
		error[N_TRUTHS * MOST_ESTIMATES], slope[N_TRUTHS * MOST_ESTIMATES],
		overlap[N_TRUTHS * MOST_ESTIMATES]; /* [N_TRUTHS, n_estimates] */
};

static int compare(const struct work *w, struct agreement *a, struct err *err)
{
	const size_t pairs = w->n * w->n_candidates;
	size_t n_undecided = 0;
	bool undecided;

	for (size_t i = 0; i < N_TRUTHS * w->n_estimates; i++) {
		const size_t e = i % w->n_estimates;
		const double *effect = w->effect + i / w->n_estimates * pairs;
		const double *values = w->approximation + e * pairs;

		a->pearson[i] = statistics_pearson(values, effect, pairs);
		a->error[i] = statistics_relative_error(values, effect, pairs);
		a->slope[i] = statistics_slope(values, effect, pairs);
		TRY(statistics_spearman(values, effect, pairs, &a->spearman[i], err));
		TRY(overlap_of(w, effect, values, &a->overlap[i], &undecided, err));
		n_undecided += undecided;
		log_info("  %-8s %-20s pearson %.3f  spearman %.3f  relative error %.3f  overlap "
			 "%.2f",
			truths[i / w->n_estimates], w->estimates[e].name, a->pearson[i],
			a->spearman[i], a->error[i], a->overlap[i]);
	}
	ties_tell(w->lab, n_undecided,
		"exact_patching: in %zu of %zu comparisons rounding alone could exchange features of "
		"the best that overlap is about",
		n_undecided, N_TRUTHS * w->n_estimates);
	return 0;
fail:
	return err->code;
}

/* ---- 6. record --------------------------------------------------------------------------- */

static int write_effects(const struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const char *names[MOST_ESTIMATES];
	int32_t steps[MOST_ESTIMATES];
	const size_t n = w->n, k = w->n_candidates, e = w->n_estimates;

	for (size_t i = 0; i < e; i++) {
		names[i] = w->estimates[i].name;
		steps[i] = (int32_t)w->estimates[i].path.steps;
	}
	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(feature_table_write(r, &datasets.candidates, NULL, &w->candidates.set, err));
	TRY(dataset_write(r, &datasets.truth, NULL, (size_t[]){N_TRUTHS}, truths, err));
	TRY(dataset_write(r, &datasets.estimate, NULL, &e, names, err));
	TRY(dataset_write(r, &datasets.effect, NULL, (size_t[]){N_TRUTHS, n, k}, w->effect, err));
	TRY(dataset_write(r, &datasets.approximation, NULL, (size_t[]){e, n, k}, w->approximation,
		err));
	TRY(dataset_write(r, &datasets.metric_clean, NULL, &n, w->clean.metric, err));
	TRY(dataset_write(r, &datasets.target, NULL, &n, w->ablated.first_token, err));
	return dataset_write(r, &datasets.steps, NULL, &e, steps, err);
fail:
	return err->code;
}

static int write_agreement(const struct work *w, const struct agreement *a, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {N_TRUTHS, w->n_estimates};

	TRY(dataset_write(r, &datasets.pearson, NULL, n, a->pearson, err));
	TRY(dataset_write(r, &datasets.spearman, NULL, n, a->spearman, err));
	TRY(dataset_write(r, &datasets.relative_error, NULL, n, a->error, err));
	TRY(dataset_write(r, &datasets.slope, NULL, n, a->slope, err));
	return dataset_write(r, &datasets.overlap, NULL, n, a->overlap, err);
fail:
	return err->code;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	struct estimate estimates[MOST_ESTIMATES];
	size_t n;

	(void)f;
	if (list_estimates(values, estimates, &n, err))
		return err->code;
	return candidates_check(lab, err);
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct exact_settings *s = values;
	const struct config *c = lab->config;
	struct effects_extent extent = effects_extent(c);
	struct estimate estimates[MOST_ESTIMATES];
	static const struct plan_what what = {"effects of candidates", NULL};
	const size_t n_candidates = candidates_count(lab, extent.k0);
	struct prompt_ids prompts = {0};
	size_t n;

	(void)f;
	err_clear(err);
	TRY(list_estimates(s, estimates, &n, err));
	extent.points = (size_t)s->contexts; /* follow_path */
	for (size_t i = 0; i < n; i++) {
		const size_t paths = estimates[i].path.path == IG_PATH_SINGLE
					     ? sae_set_count(lab->machine->saes)
					     : 1;

		extent.paths += paths;
		extent.points += paths * estimates[i].path.steps;
	}
	TRY(prompts_of_sets(lab->prompts, &c->dissect.prompts, &prompts, err));
	extent.n_stages = 0; /* tasks keep what is found */
	TRY(effects_plan(lab, out, &(struct effects_request){.prompts = &prompts}, extent, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("truth", N_TRUTHS), LENGTH("estimate", n),
			LENGTH("prompt", prompts.n), LENGTH("candidate", n_candidates)),
		1, err));
	TRY(plan_tasks(out, what, n_candidates, prompts.n, err));
	TRY(plan_tasks(out, what, n, prompts.n * n_candidates, err));
	/* Both runs at every token, and the way between them. */
	TRY(plan_stages(lab, out, what, &prompts, 64 + 8 * (double)n_candidates, 0, 1, err));
	TRY(plan_units(out, what, 4,
		(struct plan_bytes){0,
			8 * (double)n_candidates * (double)plan_tokens(lab, &prompts, 0)},
		err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct config *c = lab->config;
	struct work w = {.lab = lab, .settings = values, .direction = &f->direction};
	struct agreement agreement;

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->dissect.prompts, &w.prompts, err));
	TRY(list_estimates(w.settings, w.estimates, &w.n_estimates, err));

	/* 1. F0: per layer the features whose decoder rows are nearest to the direction. */
	TRY(candidates_find(&w.candidates, lab, "exact_patching", f->direction.v,
		(size_t)c->attribution.k0, err));
	w.n = w.prompts.n;
	w.n_candidates = w.candidates.set.n;
	w.effect = arena_alloc(&w.memory, N_TRUTHS * w.n * w.n_candidates, sizeof *w.effect);
	w.approximation = arena_alloc(&w.memory, w.n_estimates * w.n * w.n_candidates,
		sizeof *w.approximation);
	TRY(arena_check(&w.memory, "effects", err));

	/* 2. Their activations, at every token, unedited and with the direction ablated. */
	TRY(observe_runs(&w, err));

	/* 3. The true effects of each: patched alone, and along the path. */
	TRY(patch_all(&w, err));
	TRY(follow_path(&w, err));

	/* 4. Its approximations. */
	TRY(approximate_all(&w, err));

	/* 5. How they agree. */
	TRY(compare(&w, &agreement, err));

	/* 6. Record. */
	TRY(write_effects(&w, err));
	TRY(write_agreement(&w, &agreement, err));
fail:
	observation_free(&w.clean);
	observation_free(&w.ablated);
	candidates_free(&w.candidates);
	free(w.prompts.data);
	arena_free(&w.memory);
	return err->code;
}

const struct experiment experiment_exact_patching = {
	.name = "exact_patching",
	.asks = "is attribution's linear approximation right?",
	SETTINGS_OF(settings, struct exact_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_DISSECTED,
	.check = check,
	.plan = plan,
	.run = run,
};
