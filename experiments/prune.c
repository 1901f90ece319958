/* SPDX-License-Identifier: MIT
 *
 * prune.c - is K* minimal (a question the paper leaves open)?
 *
 * F* (cossim_ap, global) is clamped, f <- c f at all tokens, and its features are let go one after
 * the other until none is clamped and the behaviour is back:
 *
 *   greedy   each time the one whose release leaves the refusal token least likely (mean log-odds
 *            over the prompts)
 *   effect   the one of the smallest indirect effect first: what a smaller K* would be
 *   random   in an order drawn, several times: the control
 *
 * A prompt complies when its most probable first token is not the refusal token. The smallest
 * sufficient set is the last on the greedy way whose share of complying prompts is within
 * prune.tolerance of the whole set's.
 *
 * Writes:  /prune: who was released when, and per prompt what was left of refusal; replies of the
 *          greedy sets under /generations/prune and /scores/prune.
 * Cost:    K*(K* + 1)/2 passes for the greedy order, K* for each other; K* + 1 generations.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/random.h"
#include "host/base/size.h"
#include "host/measure/continuation.h"
#include "host/measure/observe.h"
#include "host/measure/ties.h"
#include "host/lab/tables.h"
#include "host/method/statistics.h"
#include "host/work/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prune_settings {
	double tolerance;
};

#define SETTINGS struct prune_settings
static const struct setting settings[] = {
	REAL("prune.tolerance", tolerance, "0.05", 0, 1,
		"loss of complying prompts, as a share, that a smaller set may cost"),
	MOVED("prune.scale", "clamp.scale"),
	MOVED("prune.draws", "controls.draws"),
	MOVED("prune.prompts", "dissect.prompts"),
};

static const struct {
	struct dataset prompt;
	struct feature_table features;
	struct dataset order, step, n_released, released, p_refusal, complies, smallest;
} datasets = {
	.prompt = PROMPT_SCALE("/prune"),
	.features = FEATURE_TABLE("/prune", "rank", "features of F*, best first"),
	.order = {"/prune/order", {"order"}, RESULTS_TEXT, "",
		"order of release: `greedy`, `effect` (smallest indirect effect first), `random0`, ... "
		"with the run's seed + their number"},
	.step = {"/prune/step", {"step"}, RESULTS_I32, "", "release, the first is 0"},
	.n_released = {"/prune/n_released", {"n_released"}, RESULTS_I32, "",
		"features no longer clamped, 0 ... K*"},
	.released = {"/prune/released", {"order", "step"}, RESULTS_I32, "",
		"rank of the feature that is released"},
	.p_refusal = {"/prune/p_refusal", {"order", "n_released", "prompt"}, RESULTS_F64, "1",
		"probability of the refusal token with the rest clamped"},
	.complies = {"/prune/complies", {"order", "n_released", "prompt"}, RESULTS_U8, "1",
		"1 if the most probable first token is not the refusal token"},
	.smallest = {"/prune/smallest", {"order"}, RESULTS_I32, "1",
		"features of the last set before compliance falls by more than the tolerance"},
};

static const struct dataset_section section = {"`prune`",
	"Replies and scores of the greedy sets are under EXPERIMENT `prune`, CONDITION "
	"`greedyN_global_xC` with N features left. Attributes of `/prune`: `scale`, `tolerance`; "
	"`undecided_releases`, greedy ones chosen by less than rounding moves, and "
	"`undecided_complies`, values of `complies` that it may turn round.",
	DATASETS(datasets)};

/* The orders, random ones behind the first two. Row k of a table: after k releases. */
enum { GREEDY, EFFECT, FIRST_RANDOM };

struct work {
	struct lab *lab;
	const struct prune_settings *settings;
	const struct feature_set *best;
	struct prompt_ids prompts;
	size_t n, k, n_orders;
	struct arena memory; /* what follows is in it */
	int32_t *released;   /* [n_orders, k] ranks in F* */
	double *p_refusal;   /* [n_orders, k + 1, n] */
	uint8_t *complies;   /* [n_orders, k + 1, n] */
	bool *gone;          /* [k] released on the greedy way so far */
	size_t n_narrow;     /* of `complies`, those that rounding may turn round */
	size_t n_close;      /* greedy releases that were chosen by less than rounding moves */
};

static double *p_of(const struct work *w, size_t order, size_t released)
{
	return w->p_refusal + (order * (w->k + 1) + released) * w->n;
}

static uint8_t *complies_of(const struct work *w, size_t order, size_t released)
{
	return w->complies + (order * (w->k + 1) + released) * w->n;
}

static double share(const uint8_t *complies, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += complies[i] / (double)n;
	return sum;
}

/* ---- 1. one clamp ------------------------------------------------------------------------ */

/* F* without the features released. */
static int remaining(const struct work *w, const bool *released, struct feature_set *set,
	struct err *err)
{
	set->n = 0;
	for (size_t i = 0; i < w->k; i++)
		if (!released[i] && feature_set_add(set, w->best->data[i], err))
			return err->code;
	return 0;
}

/* row: [3, n] probability of the refusal token, whether the prompt complies, by how much. */
static int try_clamp(struct work *w, const bool *released, double *row, struct err *err)
{
	struct observation o = {0};
	struct feature_set set = {0};
	struct condition clamp;

	err_clear(err);
	TRY(remaining(w, released, &set, err));
	clamp = condition_scale_set("pruned", &set, config_scale(w->lab->config));
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts, .condition = &clamp, .n_last = 1},
		&o, err));
	for (size_t i = 0; i < w->n; i++) {
		row[i] = o.p_refusal[i];
		row[w->n + i] = o.first_token[i] != w->lab->prompts->refusal_token;
		row[2 * w->n + i] = o.refusal_lead[i];
	}
fail:
	free(set.data);
	observation_free(&o);
	return err->code;
}

static void keep(struct work *w, size_t order, size_t released, const double *row)
{
	memcpy(p_of(w, order, released), row, w->n * sizeof *row);
	for (size_t i = 0; i < w->n; i++) {
		complies_of(w, order, released)[i] = row[w->n + i] != 0;
		w->n_narrow += ties_is_narrow(w->lab, row[2 * w->n + i]);
	}
}

/* ---- 2. orders --------------------------------------------------------------------------- */

static double mean_log_odds(const double *p, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += statistics_log_odds(log(fmax(p[i], 1e-300))) / (double)n;
	return sum;
}

/* One more feature released than so far; a row of zeros for those that are. */
static int release_too(void *context, size_t feature, double *row, struct err *err)
{
	struct work *w = context;
	int rc;

	if (w->gone[feature])
		return 0;
	w->gone[feature] = true;
	rc = try_clamp(w, w->gone, row, err);
	w->gone[feature] = false;
	return rc;
}

/* Release `step` of the greedy order: every feature still clamped is tried. table: [k, 3 n]. */
static int release_best(struct work *w, size_t step, double *table, struct err *err)
{
	const double noise = readout_noise(&w->lab->machine->readout);
	double best = INFINITY, next = INFINITY;
	size_t chosen = 0;
	char title[64];

	snprintf(title, sizeof title, "prune: greedy release %zu", step + 1);
	if (tasks_run(w->lab->job, w->lab->machine->dev,
		    &(struct tasks){.title = title,
			    .item = "clamp",
			    .n = w->k,
			    .width = 3 * w->n,
			    .context = w,
			    .run = release_too},
		    table, err))
		return err->code;
	for (size_t i = 0; i < w->k; i++) {
		const double odds = mean_log_odds(table + 3 * i * w->n, w->n);

		if (w->gone[i])
			continue;
		next = fmin(next, fmax(odds, best));
		chosen = odds < best ? i : chosen;
		best = fmin(best, odds);
	}
	w->n_close += next - best < noise;
	w->gone[chosen] = true;
	w->released[GREEDY * w->k + step] = (int32_t)chosen;
	keep(w, GREEDY, step + 1, table + 3 * chosen * w->n);
	return 0;
}

/* F* is in the order of effects, so the last goes first; a random order is a shuffle of it. */
static void draw_orders(struct work *w)
{
	for (size_t order = EFFECT; order < w->n_orders; order++) {
		int32_t *released = w->released + order * w->k;
		uint64_t seed = (uint64_t)w->lab->config->seed + order - FIRST_RANDOM;

		for (size_t i = 0; i < w->k; i++)
			released[i] = (int32_t)(w->k - 1 - i);
		if (order >= FIRST_RANDOM)
			random_shuffle(&seed, released, w->k, sizeof *released);
	}
}

/* Task 0 is the whole set; the others are the steps of the orders that are given. */
static int follow(void *context, size_t task, double *row, struct err *err)
{
	struct work *w = context;
	const size_t order = EFFECT + (task - 1) / w->k, step = (task - 1) % w->k;
	bool *released = calloc(w->k + 1, sizeof *released);
	int rc;

	if (!released)
		return err_nomem(err, "orders", w->k);
	for (size_t s = 0; task > 0 && s <= step; s++)
		released[w->released[order * w->k + s]] = true;
	rc = try_clamp(w, released, row, err);
	free(released);
	return rc;
}

static int run_orders(struct work *w, struct err *err)
{
	const size_t tasks = 1 + (w->n_orders - 1) * w->k, width = 3 * w->n;
	double *table = arena_alloc(&w->memory, size_max(tasks, w->k) * width, sizeof *table);

	TRY(arena_check(&w->memory, "orders", err));
	draw_orders(w);
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "prune: orders by effect and at random",
			.item = "clamp",
			.n = tasks,
			.width = width,
			.context = w,
			.run = follow},
		table, err));
	for (size_t order = 0; order < w->n_orders; order++) { /* all begin with the whole set */
		keep(w, order, 0, table);
		for (size_t step = 0; order > GREEDY && step < w->k; step++)
			keep(w, order, step + 1,
				table + (1 + (order - EFFECT) * w->k + step) * width);
	}
	for (size_t step = 0; step < w->k; step++)
		TRY(release_best(w, step, table, err));
	return 0;
fail:
	return err->code;
}

/* Features left in the smallest sufficient set of an order. */
static size_t smallest(const struct work *w, size_t order)
{
	const double whole = share(complies_of(w, order, 0), w->n);
	size_t left = w->k;

	for (size_t step = 1; step <= w->k; step++)
		if (share(complies_of(w, order, step), w->n) >= whole - w->settings->tolerance)
			left = w->k - step;
		else
			break;
	return left;
}

/* ---- 3. replies -------------------------------------------------------------------------- */

static int reply(struct work *w, const bool *released, size_t left,
	const struct continuation *unedited, struct err *err)
{
	struct feature_set set = {0};
	struct condition clamp;
	char name[32];

	err_clear(err);
	TRY(remaining(w, released, &set, err));
	snprintf(name, sizeof name, "greedy%d_global", (int)left);
	clamp = condition_scale_set(name, &set, config_scale(w->lab->config));
	TRY(continuation_record(w->lab, "prune", &w->prompts, &clamp, unedited, NULL, err));
fail:
	free(set.data);
	return err->code;
}

/* Of the unedited model and of every set on the greedy way. */
static int run_replies(struct work *w, struct err *err)
{
	const struct condition none = condition_none();
	struct continuation unedited = {0};
	bool *released = arena_alloc(&w->memory, w->k, sizeof *released);

	err_clear(err);
	TRY(arena_check(&w->memory, "orders", err));
	TRY(continuation_record(w->lab, "prune", &w->prompts, &none, NULL, &unedited, err));
	for (size_t step = 0; step < w->k; step++) {
		TRY(reply(w, released, w->k - step, &unedited, err));
		released[w->released[GREEDY * w->k + step]] = true;
	}
fail:
	continuation_free(&unedited);
	return err->code;
}

/* ---- 4. record --------------------------------------------------------------------------- */

static int write_orders(struct work *w, struct err *err)
{
	char(*texts)[32] = arena_alloc(&w->memory, w->n_orders, sizeof *texts);
	const char **names = arena_alloc(&w->memory, w->n_orders, sizeof *names);

	if (arena_check(&w->memory, "orders", err))
		return err->code;
	for (size_t i = 0; i < w->n_orders; i++) {
		if (i < FIRST_RANDOM)
			snprintf(texts[i], sizeof *texts, i == GREEDY ? "greedy" : "effect");
		else
			snprintf(texts[i], sizeof *texts, "random%zu", i - FIRST_RANDOM);
		names[i] = texts[i];
	}
	return dataset_write(w->lab->job->results, &datasets.order, NULL, &w->n_orders, names, err);
}

static void tell_undecided(const struct work *w)
{
	const double noise = readout_noise(&w->lab->machine->readout);

	ties_tell(w->lab, w->n_close,
		"prune: %zu of %zu greedy releases were chosen by less than %g nat, which rounding may "
		"turn round",
		w->n_close, w->k, noise);
	ties_tell(w->lab, w->n_narrow,
		"prune: in %zu of %zu clamped prompts the first token is the refusal token, or is not, "
		"by less than %g logits, which rounding may turn round",
		w->n_narrow, w->n_orders * (w->k + 1) * w->n, noise);
}

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t by_step[] = {w->n_orders, w->k}, by_prompt[] = {w->n_orders, w->k + 1, w->n};
	int32_t *left = arena_alloc(&w->memory, w->n_orders, sizeof *left);

	TRY(arena_check(&w->memory, "orders", err));
	for (size_t i = 0; i < w->n_orders; i++)
		left[i] = (int32_t)smallest(w, i);
	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(feature_table_write(r, &datasets.features, NULL, w->best, err));
	TRY(write_orders(w, err));
	TRY(dataset_write_counting(r, &datasets.step, NULL, w->k, err));
	TRY(dataset_write_counting(r, &datasets.n_released, NULL, w->k + 1, err));
	TRY(dataset_write(r, &datasets.released, NULL, by_step, w->released, err));
	TRY(dataset_write(r, &datasets.p_refusal, NULL, by_prompt, w->p_refusal, err));
	TRY(dataset_write(r, &datasets.complies, NULL, by_prompt, w->complies, err));
	TRY(dataset_write(r, &datasets.smallest, NULL, &w->n_orders, left, err));
	TRY(results_attribute_real(r, "/prune", "scale", config_scale(w->lab->config), err));
	TRY(results_attribute_real(r, "/prune", "tolerance", w->settings->tolerance, err));
	TRY(results_attribute_integer(r, "/prune", "undecided_releases", (int64_t)w->n_close, err));
	TRY(results_attribute_integer(r, "/prune", "undecided_complies", (int64_t)w->n_narrow,
		err));
	log_info(
		"prune: all %zu features make %.2f comply; %d chosen greedily do as well (within %g), "
		"%d by effect",
		w->k, share(complies_of(w, GREEDY, 0), w->n), left[GREEDY], w->settings->tolerance,
		left[EFFECT]);
	tell_undecided(w);
	return 0;
fail:
	return err->code;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct config *c = lab->config;
	const struct feature_set *set = &f->sets[METHOD_COSSIM_AP].global;
	const size_t k = f->sets[METHOD_COSSIM_AP].known ? set->n : (size_t)c->attribution.k_star,
		     n_orders = FIRST_RANDOM + (size_t)c->controls.draws;
	static const struct plan_what what = {"orders", "controls.draws"};
	struct prompt_ids prompts = {0};

	(void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->dissect.prompts, &prompts, err));
	TRY(continuation_plan(lab, out, &prompts, 1 + k, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("prompt", prompts.n), {"rank", 0, k}, LENGTH("order", n_orders),
			{"step", 0, k}, {"n_released", 1, k + 1}),
		1, err));
	TRY(plan_tasks(out, what, 1 + (n_orders - 1) * k + k * k, 3 * prompts.n, err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	struct work w = {.lab = lab,
		.settings = values,
		.best = &f->sets[METHOD_COSSIM_AP].global,
		.n_orders = FIRST_RANDOM + (size_t)lab->config->controls.draws};

	err_clear(err);
	if (w.best->n == 0)
		return err_set(err, ERR_INPUT,
			"prune: expected features to release, found none in the set of cossim_ap: none has "
			"an effect on the prompts of attribution.prompts");
	TRY(prompts_of_sets(lab->prompts, &lab->config->dissect.prompts, &w.prompts, err));
	w.n = w.prompts.n;
	w.k = w.best->n;
	w.released = arena_alloc(&w.memory, w.n_orders * w.k, sizeof *w.released);
	w.p_refusal = arena_alloc(&w.memory, w.n_orders * (w.k + 1) * w.n, sizeof *w.p_refusal);
	w.complies = arena_alloc(&w.memory, w.n_orders * (w.k + 1) * w.n, sizeof *w.complies);
	w.gone = arena_alloc(&w.memory, w.k, sizeof *w.gone);
	TRY(arena_check(&w.memory, "orders", err));

	/* 1, 2. Features let go one after the other, in several orders. */
	TRY(run_orders(&w, err));

	/* 3. What the model says on the greedy way. */
	TRY(run_replies(&w, err));

	/* 4. Record. */
	TRY(write(&w, err));
fail:
	arena_free(&w.memory);
	free(w.prompts.data);
	return err->code;
}

const struct experiment experiment_prune = {
	.name = "prune",
	.asks = "is K* minimal?",
	SETTINGS_OF(settings, struct prune_settings),
	.writes = &section,
	.needs = NEED_SETS,
	.prompts = PROMPTS_DISSECTED,
	.plan = plan,
	.run = run,
};
