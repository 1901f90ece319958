/* SPDX-License-Identifier: MIT
 *
 * low_cosine.c - does looking only near the direction exclude mechanisms of refusal (open
 * question 3 of the paper)?
 *
 * The indirect effect of every feature, near the direction or not, chooses four sets of K*:
 *
 *   inside    the best of F0, the K0 of each layer nearest to the direction: the paper's F*
 *   outside   the best of all others
 *   low       of these, the best with |cosine| at most low_cosine.max_cosine
 *   both      inside and outside together
 *
 * and each is clamped, f <- c f at all tokens, as in jailbreak.c. If what lies outside makes the
 * model comply as well, without costing more on harmless prompts, the direction misses something.
 * Control: random sets with as many features per layer as `outside`, of features that occur on
 * these prompts and are in none of the sets.
 *
 * Writes:  /low_cosine: effect and cosine of every feature [layer, feature]; the sets and draws;
 *          /generations/low_cosine, /scores/low_cosine (harmful prompts), /scores/low_cosine_ce
 *          (cross-entropy on harmless ones).
 * Cost:    N + 1 passes forward and N back over the prompts and two full encodings per layer; one
 *          generation and one pass over harmless answers per set, draw and c.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/measure/activation_stats.h"
#include "host/measure/answers.h"
#include "host/measure/candidates.h"
#include "host/measure/controls.h"
#include "host/measure/effects.h"
#include "host/measure/ties.h"
#include "host/lab/tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct low_cosine_settings {
	double max_cosine;
};

#define SETTINGS struct low_cosine_settings
static const struct setting settings[] = {
	REAL("low_cosine.max_cosine", max_cosine, "0.1", 0, 1,
		"features whose |cosine| is at most this make the set \"low\""),
	MOVED("low_cosine.scale", "clamp.scale"),
	MOVED("low_cosine.draws", "controls.draws"),
	MOVED("low_cosine.prompts", "clamp.prompts"),
	MOVED("low_cosine.harmless", "clamp.harmless"),
};

static const struct {
	struct dataset effect, cosine;
	struct feature_table chosen;
	struct dataset score, draw, rank, layer, feature;
} datasets = {
	.effect = {"/low_cosine/effect", {"layer", "feature"}, RESULTS_F64, "logit",
		"indirect effect of every feature, mean over tokens and prompts"},
	.cosine = {"/low_cosine/cosine", {"layer", "feature"}, RESULTS_F32, "1",
		"of every decoder row and the direction"},
	.chosen = FEATURE_TABLE("/low_cosine/CHOSEN", "rank", "0 is the best"),
	.score = {"/low_cosine/CHOSEN/score", {"rank"}, RESULTS_F32, "logit",
		"mean indirect effect"},
	.draw = {"/low_cosine/random/draw", {"draw"}, RESULTS_I32, "",
		"random sets like `outside`; draw i has the run's seed + i"},
	.rank = {"/low_cosine/random/rank", {"rank"}, RESULTS_I32, "", "in the order of the draw"},
	.layer = {"/low_cosine/random/layer", {"draw", "rank"}, RESULTS_I32, "",
		"layer; -1 = padding, beyond the end of a shorter set"},
	.feature = {"/low_cosine/random/feature", {"draw", "rank"}, RESULTS_I32, "",
		"feature id; -1 = padding"},
};

static const struct dataset_section section = {"`low_cosine`",
	"Replies and scores of harmful prompts are under EXPERIMENT `low_cosine`, cross-entropy of "
	"harmless answers under `low_cosine_ce`; CONDITION is `SET_global_xC` with SET one of "
	"`inside`, `outside`, `low`, `both`, `random0`, `random1`, ...\n"
	"CHOSEN is `inside` (the best of F0), `outside` (of all others), `low` (of those with a "
	"small cosine).",
	DATASETS(datasets)};

enum { INSIDE, OUTSIDE, LOW, BOTH, N_SETS };
static const char *const set_names[N_SETS] = {"inside", "outside", "low", "both"};

struct work {
	struct lab *lab;
	const struct low_cosine_settings *settings;
	struct prompt_ids prompts;
	struct candidates candidates;
	struct effects effects;
	struct feature_set sets[N_SETS];
	struct activation_stats stats; /* which features occur */
	struct arena memory;
	struct feature_set *draws; /* [controls.draws], in `memory` but for their lists */
	struct continuation unedited;
	struct answers answers;
};

/* ---- 1. sets ---------------------------------------------------------------------------- */

/* Features outside F0 that max_cosine would take or leave by less than rounding moves a cosine, and
 * whose effect is that of the set `low`. */
static size_t count_at_limit(const struct work *w)
{
	const struct candidates *c = &w->candidates;
	const struct feature_set *low = &w->sets[LOW];
	const double least = low->n > 0 ? low->data[low->n - 1].score : -INFINITY;
	size_t n = 0;

	for (size_t i = 0; i < c->n_layer * c->d_sae; i++)
		n += fabs(fabs(c->cosines[i]) - w->settings->max_cosine) <=
			     ties_of_cosine(w->lab).fixed &&
		     w->effects.all[i] != 0 && w->effects.all[i] >= least &&
		     !feature_set_holds(&c->set, (int32_t)(i / c->d_sae), (int32_t)(i % c->d_sae));
	return n;
}

/* Cuts the sets, of one feature more, to K*, and says what of them hangs on rounding. */
static void cut_sets(struct work *w, size_t k_star)
{
	size_t n[LOW + 1], at_limit;

	for (int s = INSIDE; s <= LOW; s++)
		n[s] = feature_set_cut(&w->sets[s], k_star, ties_of_effect(w->lab));
	at_limit = count_at_limit(w);
	ties_tell(w->lab, n[INSIDE] + n[OUTSIDE] + n[LOW],
		"low_cosine: rounding alone could exchange %zu of the %zu best features inside F0, "
		"%zu of %zu outside, %zu of %zu of a small cosine",
		n[INSIDE], w->sets[INSIDE].n, n[OUTSIDE], w->sets[OUTSIDE].n, n[LOW],
		w->sets[LOW].n);
	ties_tell(w->lab, at_limit,
		"low_cosine: %zu features of such effects differ from low_cosine.max_cosine by less "
		"than rounding moves a cosine",
		at_limit);
}

static int choose_sets(struct work *w, struct err *err)
{
	const struct candidates *c = &w->candidates;
	const size_t k_star = (size_t)w->lab->config->attribution.k_star;
	const double limit = w->settings->max_cosine;

	for (size_t i = 0; i < c->n_layer * c->d_sae; i++) {
		const struct feature f = {(int32_t)(i / c->d_sae), (int32_t)(i % c->d_sae),
			c->cosines[i], (float)w->effects.all[i]};
		const bool inside = feature_set_holds(&c->set, f.layer, f.id);

		if (f.score == 0) /* never active */
			continue;
		TRY(feature_set_offer(&w->sets[inside ? INSIDE : OUTSIDE], k_star + 1, f, err));
		if (!inside && fabs(f.cosine) <= limit)
			TRY(feature_set_offer(&w->sets[LOW], k_star + 1, f, err));
	}
	cut_sets(w, k_star);
	for (int s = INSIDE; s <= OUTSIDE; s++)
		for (size_t i = 0; i < w->sets[s].n; i++)
			TRY(feature_set_add(&w->sets[BOTH], w->sets[s].data[i], err));
	return 0;
fail:
	return err->code;
}

static int draw_controls(struct work *w, struct err *err)
{
	struct feature_set chosen = {0};
	const size_t n = (size_t)w->lab->config->controls.draws;

	err_clear(err);
	w->draws = arena_alloc(&w->memory, n, sizeof *w->draws);
	TRY(arena_check(&w->memory, "random features", err));
	for (int s = LOW; s < N_SETS; s++)
		for (size_t i = 0; i < w->sets[s].n; i++)
			TRY(feature_set_add(&chosen, w->sets[s].data[i], err));
	TRY(activation_stats_run(w->lab, &w->prompts, "low_cosine: features that occur", false,
		&w->stats, err));
	TRY(controls_draw(w->lab, &w->sets[OUTSIDE], &chosen, w->stats.alive, n, w->draws, err));
fail:
	free(chosen.data);
	return err->code;
}

/* ---- 2. clamps -------------------------------------------------------------------------- */

static int run_clamp(struct work *w, const char *name, const struct feature_set *set, double c,
	struct err *err)
{
	const struct condition clamp = condition_scale_set(name, set, c);

	if (continuation_record(w->lab, "low_cosine", &w->prompts, &clamp, &w->unedited, NULL, err))
		return err->code;
	return answers_score(&w->answers, w->lab, &clamp, err);
}

/* All sets and draws times c. */
static int run_clamps(struct work *w, double c, struct err *err)
{
	char name[48];

	for (int s = 0; s < N_SETS; s++) {
		snprintf(name, sizeof name, "%s_global", set_names[s]);
		if (w->sets[s].n > 0)
			TRY(run_clamp(w, name, &w->sets[s], c, err));
	}
	for (int64_t d = 0; d < w->lab->config->controls.draws; d++) {
		snprintf(name, sizeof name, "random%lld_global", (long long)d);
		TRY(run_clamp(w, name, &w->draws[d], c, err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- 3. record -------------------------------------------------------------------------- */

static int write_set(struct work *w, int which, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct feature_set *set = &w->sets[which];
	const char *const *words = WORDS(set_names[which]);
	float *score = arena_alloc(&w->memory, set->n, sizeof *score);

	TRY(arena_check(&w->memory, set_names[which], err));
	for (size_t i = 0; i < set->n; i++)
		score[i] = set->data[i].score;
	TRY(feature_table_write(r, &datasets.chosen, words, set, err));
	return dataset_write(r, &datasets.score, words, &set->n, score, err);
fail:
	return err->code;
}

static int write_draws(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {(size_t)w->lab->config->controls.draws, w->sets[OUTSIDE].n};
	int32_t *layer = arena_alloc(&w->memory, n[0] * n[1], sizeof *layer);
	int32_t *feature = arena_alloc(&w->memory, n[0] * n[1], sizeof *feature);

	TRY(arena_check(&w->memory, "random features", err));
	for (size_t i = 0; i < n[0] * n[1]; i++) {
		const struct feature_set *set = &w->draws[i / n[1]];
		const bool there = i % n[1] < set->n;

		layer[i] = there ? set->data[i % n[1]].layer : -1;
		feature[i] = there ? set->data[i % n[1]].id : -1;
	}
	TRY(dataset_write_counting(r, &datasets.draw, NULL, n[0], err));
	TRY(dataset_write_counting(r, &datasets.rank, NULL, n[1], err));
	TRY(dataset_write(r, &datasets.layer, NULL, n, layer, err));
	return dataset_write(r, &datasets.feature, NULL, n, feature, err);
fail:
	return err->code;
}

static int write_features(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct candidates *c = &w->candidates;
	const size_t n[] = {c->n_layer, c->d_sae};

	TRY(dataset_write(r, &datasets.effect, NULL, n, w->effects.all, err));
	TRY(dataset_write(r, &datasets.cosine, NULL, n, c->cosines, err));
	for (int s = 0; s < BOTH; s++)
		TRY(write_set(w, s, err));
	return write_draws(w, err);
fail:
	return err->code;
}

/* How much of all positive effect lies in F0. */
static double share_inside(const struct work *w)
{
	const struct candidates *c = &w->candidates;
	double inside = 0, all = 0;

	for (size_t i = 0; i < c->n_layer * c->d_sae; i++)
		all += fmax(w->effects.all[i], 0);
	for (size_t k = 0; k < c->set.n; k++)
		inside += fmax(w->effects.all[(size_t)c->set.data[k].layer * c->d_sae +
					      (size_t)c->set.data[k].id],
			0);
	return all > 0 ? inside / all : NAN;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	(void)f, (void)values;
	return candidates_check(lab, err);
}

/* What is attributed; direction and candidates are found when the run is there. */
static struct effects_request request_of(const struct prompt_ids *prompts)
{
	return (struct effects_request){.prompts = prompts,
		.title = "low_cosine: integrated gradients",
		.all_features = true};
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct config *c = lab->config;
	const size_t n = 1 + c->clamp.scale.n * (N_SETS + (size_t)c->controls.draws);
	struct prompt_ids prompts = {0};
	struct effects_request request;

	(void)f, (void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->clamp.prompts, &prompts, err));
	request = request_of(&prompts);
	TRY(effects_plan(lab, out, &request, effects_extent(c), err));
	TRY(continuation_plan(lab, out, &prompts, n, err));
	TRY(answers_plan(lab, out, c->clamp.harmless, n, err));
	TRY(activation_stats_plan(lab, out, &prompts, false, err));
	TRY(plan_write(out, (struct plan_what){"effects and sets", NULL}, &section,
		LENGTHS(LENGTH("layer", lab->machine->model->arch.n_layer),
			LENGTH("feature", sae_set_width(lab->machine->saes)),
			{"rank", 0, (size_t)c->attribution.k_star},
			LENGTH("draw", (size_t)c->controls.draws)),
		BOTH, err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct config *c = lab->config;
	const struct condition none = condition_none();
	struct work w = {.lab = lab, .settings = values};
	struct effects_request request;

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->clamp.prompts, &w.prompts, err));

	/* 1. The indirect effect of every feature; sets inside and outside F0, and random ones. */
	TRY(candidates_find(&w.candidates, lab, "low_cosine", f->direction.v,
		(size_t)c->attribution.k0, err));
	request = request_of(&w.prompts);
	request.direction = f->direction.v;
	request.candidates = &w.candidates.set;
	TRY(effects_run(lab, &request, &w.effects, err));
	TRY(choose_sets(&w, err));
	TRY(draw_controls(&w, err));
	TRY(write_features(&w, err));
	log_info(
		"low_cosine: F0 carries %.2f of all positive effect; the best outside has %.3f logit, "
		"the best inside %.3f",
		share_inside(&w), w.sets[OUTSIDE].n > 0 ? w.sets[OUTSIDE].data[0].score : NAN,
		w.sets[INSIDE].n > 0 ? w.sets[INSIDE].data[0].score : NAN);

	/* 2. Harmful prompts and harmless answers, unedited and under each clamp. */
	TRY(continuation_record(lab, "low_cosine", &w.prompts, &none, NULL, &w.unedited, err));
	TRY(answers_run(&w.answers, lab, "low_cosine_ce", c->clamp.harmless, err));
	TRY(answers_score(&w.answers, lab, &none, err));
	for (size_t k = 0; k < c->clamp.scale.n; k++)
		TRY(run_clamps(&w, c->clamp.scale.items[k], err));
fail:
	for (int i = 0; i < N_SETS; i++)
		free(w.sets[i].data);
	for (int64_t d = 0; w.draws && d < c->controls.draws; d++)
		free(w.draws[d].data);
	arena_free(&w.memory);
	activation_stats_free(&w.stats);
	effects_free(&w.effects);
	candidates_free(&w.candidates);
	continuation_free(&w.unedited);
	answers_free(&w.answers);
	free(w.prompts.data);
	return err->code;
}

const struct experiment experiment_low_cosine = {
	.name = "low_cosine",
	.asks = "does looking only near the direction exclude mechanisms of refusal?",
	SETTINGS_OF(settings, struct low_cosine_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_CLAMPED | PROMPTS_HARMLESS,
	.check = check,
	.plan = plan,
	.run = run,
};
