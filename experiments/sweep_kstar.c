/* SPDX-License-Identifier: MIT
 *
 * sweep_kstar.c - how many features, multiplied by what (paper appendix, choice of K* and c)?
 *
 * For K0 candidates per layer, the global set of the K* with the largest mean IE, and a factor c:
 *
 *   refusal   share of harmful prompts whose reply has a refusal substring, f <- c f
 *   CE        of the unedited model's own answers to harmless prompts under the same clamp
 *
 * The sets are nested, so one attribution serves all points. The report draws refusal against CE,
 * a curve over K* for each c, and marks its knee: the point farthest from the line between the
 * curve's ends, both axes scaled to 1.
 * Departs: the paper's jailbreak score needs a judge; the replies are kept for it.
 * Writes: /sweep_kstar: the points; /generations/sweep_kstar, /scores/sweep_kstar and, for CE,
 *         /scores/sweep_kstar_answers under their names.
 * Cost:   one attribution; one generation and one forward pass per point. Points are independent:
 *         a job array runs one each with --set sweep_kstar.k_star=20 --set clamp.scale=-3.0
 *         and its own --set output=...
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/measure/answers.h"
#include "host/measure/candidates.h"
#include "host/measure/effects.h"
#include "host/measure/ties.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct sweep_settings {
	struct real_list k_star, k0;
};

#define SETTINGS struct sweep_settings
static const struct setting settings[] = {
	INTEGERS("sweep_kstar.k_star", k_star, "[1.0, 2.0, 5.0, 10.0, 20.0, 50.0]", 1, 1 << 20,
		"sizes K* of the set, each times each factor of clamp.scale"),
	INTEGERS("sweep_kstar.k0", k0, "[]", 1, 1 << 20,
		"candidates per layer; none given = attribution.k0"),
	MOVED("sweep_kstar.scale", "clamp.scale"),
	MOVED("sweep_kstar.prompts", "clamp.prompts"),
	MOVED("sweep_kstar.harmless", "clamp.harmless"),
};

static const struct {
	struct dataset point, k0, k_star, scale;
} datasets = {
	.point = {"/sweep_kstar/point", {"point"}, RESULTS_TEXT, "",
		"the point's CONDITION under `/scores/sweep_kstar` and "
		"`/scores/sweep_kstar_answers`"},
	.k0 = {"/sweep_kstar/k0", {"point"}, RESULTS_I32, "1", "candidates per layer"},
	.k_star = {"/sweep_kstar/k_star", {"point"}, RESULTS_I32, "1", "features clamped"},
	.scale = {"/sweep_kstar/scale", {"point"}, RESULTS_F64, "1",
		"factor c of the clamp f -> c f"},
};

static const struct dataset_section section = {"`sweep_kstar`", NULL, DATASETS(datasets)};

struct point {
	int32_t k0, k_star;
	double scale;
};

struct work {
	struct lab *lab;
	const struct sweep_settings *settings;
	struct prompt_ids prompts;
	struct candidates candidates; /* for the largest K0 */
	struct arena memory;
	float *mean;  /* [candidates] mean IE over prompts, in `memory` */
	float *noise; /* [candidates] how far rounding moves it (effects.h), in `memory` */
	struct continuation unedited; /* replies to the harmful prompts */
	struct answers answers;       /* to the harmless ones */
	struct {
		struct point *data;
		size_t n, cap;
	} points;
};

/* K0 values: the sweep's, or attribution's one. */
static struct real_list k0_values(const struct sweep_settings *s, const struct config *c,
	double *one)
{
	*one = (double)c->attribution.k0;
	return s->k0.n > 0 ? s->k0 : (struct real_list){one, 1};
}

static double largest(struct real_list list)
{
	double most = 0;

	for (size_t i = 0; i < list.n; i++)
		most = fmax(most, list.items[i]);
	return most;
}

/* ---- 1. effects ------------------------------------------------------------------------- */

static int attribute(struct work *w, const float *direction, struct err *err)
{
	const struct config *c = w->lab->config;
	struct prompt_ids prompts = {0};
	struct effects effects = {0};
	double one;

	err_clear(err);
	TRY(prompts_of_sets(w->lab->prompts, &c->attribution.prompts, &prompts, err));
	TRY(candidates_find(&w->candidates, w->lab, "sweep_kstar", direction,
		(size_t)largest(k0_values(w->settings, c, &one)), err));
	TRY(effects_run(w->lab,
		&(struct effects_request){.prompts = &prompts,
			.direction = direction,
			.candidates = &w->candidates.set,
			.title = "sweep_kstar: integrated gradients"},
		&effects, err));
	w->mean = arena_alloc(&w->memory, effects.n_candidates, sizeof *w->mean);
	w->noise = arena_alloc(&w->memory, effects.n_candidates, sizeof *w->noise);
	TRY(arena_check(&w->memory, "effects", err));
	effects_mean(&effects, NULL, 0, w->mean);
	effects_mean_noise(&effects, NULL, 0, w->noise);
fail:
	effects_free(&effects);
	free(prompts.data);
	return err->code;
}

/* The K* best of the first K0 candidates of each layer, which are the K0 of highest cosine; none of
 * effect 0. */
static int choose(const struct work *w, size_t k0, size_t k_star, struct feature_set *set,
	struct err *err)
{
	const struct feature_set *all = &w->candidates.set;
	size_t rank = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct feature f = all->data[i];

		rank = i > 0 && all->data[i - 1].layer == f.layer ? rank + 1 : 0;
		f.score = w->mean[i];
		if (rank < k0 && feature_set_offer(set, k_star, f, err))
			return err->code;
	}
	feature_set_without_zeros(set);
	return 0;
}

/* Features of the first K0 candidates of each layer that rounding could exchange with the next. */
static size_t undecided_candidates(const struct work *w, size_t k0)
{
	const struct feature_set *all = &w->candidates.set;
	size_t n = 0;

	for (size_t from = 0, to = 0; from < all->n; from = to) {
		struct feature_set layer = {.data = all->data + from}; /* borrowed */

		while (to < all->n && all->data[to].layer == all->data[from].layer)
			to++;
		layer.n = size_min(to - from, k0 + 1);
		n += feature_set_cut(&layer, k0, ties_of_cosine(w->lab));
	}
	return n;
}

/* Says in which of the sets rounding could exchange features. That of the largest K0 is said by
 * candidates_find. */
static int tell_undecided(const struct work *w, struct err *err)
{
	const struct feature_set *all = &w->candidates.set;
	struct arena memory = {0};
	float *score = arena_alloc(&memory, all->n, sizeof *score);
	struct feature_set set = {0};
	size_t n_cosine = 0, n_effect = 0;

	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	for (size_t i = 0; i < w->points.n; i++) {
		const struct point *p = &w->points.data[i];
		size_t rank = 0;

		if (p->scale != w->points.data[0].scale)
			continue; /* the same sets */
		for (size_t k = 0; k < all->n; k++) {
			rank = k > 0 && all->data[k - 1].layer == all->data[k].layer ? rank + 1 : 0;
			score[k] = rank < (size_t)p->k0 ? w->mean[k] : -INFINITY;
		}
		set.n = 0;
		TRY(choose(w, (size_t)p->k0, (size_t)p->k_star, &set, err));
		n_effect += feature_set_undecided(&set, all, score, w->noise) > 0;
		n_cosine += undecided_candidates(w, (size_t)p->k0) > 0;
	}
	ties_tell(w->lab, n_effect,
		"sweep_kstar: rounding alone could exchange features of %zu of the sets", n_effect);
	ties_tell(w->lab, n_cosine,
		"sweep_kstar: rounding could exchange candidates that %zu of the sets with a smaller K0 "
		"are chosen from",
		n_cosine);
fail:
	free(set.data);
	arena_free(&memory);
	return err->code;
}

/* ---- 2. points -------------------------------------------------------------------------- */

static void name_point(const struct point *p, char *name, size_t size)
{
	snprintf(name, size, "k0_%d_k%d", p->k0, p->k_star);
}

static int run_point(struct work *w, const struct point *p, struct err *err)
{
	struct feature_set set = {0};
	struct condition clamp;
	char name[32];

	name_point(p, name, sizeof name);
	err_clear(err);
	TRY(choose(w, (size_t)p->k0, (size_t)p->k_star, &set, err));
	clamp = condition_scale_set(name, &set, p->scale);
	TRY(continuation_record(w->lab, "sweep_kstar", &w->prompts, &clamp, &w->unedited, NULL,
		err));
	TRY(answers_score(&w->answers, w->lab, &clamp, err));
fail:
	free(set.data);
	return err->code;
}

static int list_points(struct work *w, struct err *err)
{
	const struct config *c = w->lab->config;
	const struct real_list *k_star = &w->settings->k_star, *scale = &c->clamp.scale;
	double one;
	const struct real_list k0 = k0_values(w->settings, c, &one);

	for (size_t a = 0; a < k0.n; a++)
		for (size_t b = 0; b < scale->n; b++)
			for (size_t i = 0; i < k_star->n; i++)
				if (vec_push(&w->points,
					    ((struct point){(int32_t)k0.items[a],
						    (int32_t)k_star->items[i], scale->items[b]}),
					    err))
					return err->code;
	return 0;
}

/* ---- 3. record ------------------------------------------------------------------------- */

static int write_points(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->points.n;
	char(*names)[64] = arena_alloc(&w->memory, n, sizeof *names);
	const char **texts = arena_alloc(&w->memory, n, sizeof *texts);
	int32_t *k0 = arena_alloc(&w->memory, n, sizeof *k0);
	int32_t *k_star = arena_alloc(&w->memory, n, sizeof *k_star);
	double *scale = arena_alloc(&w->memory, n, sizeof *scale);

	TRY(arena_check(&w->memory, "points", err));
	for (size_t i = 0; i < n; i++) {
		const struct point *p = &w->points.data[i];
		char name[32];

		name_point(p, name, sizeof name);
		snprintf(names[i], sizeof names[i], "%s_x%g", name, p->scale);
		texts[i] = names[i];
		k0[i] = p->k0;
		k_star[i] = p->k_star;
		scale[i] = p->scale;
	}
	TRY(dataset_write(r, &datasets.point, NULL, &n, texts, err));
	TRY(dataset_write(r, &datasets.k0, NULL, &n, k0, err));
	TRY(dataset_write(r, &datasets.k_star, NULL, &n, k_star, err));
	return dataset_write(r, &datasets.scale, NULL, &n, scale, err);
fail:
	return err->code;
}

/* ---- checks ---------------------------------------------------------------------------- */

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct sweep_settings *s = values;
	double one, fewest = INFINITY;
	const struct real_list k0 = k0_values(s, lab->config, &one);
	size_t n_candidates;

	(void)f;
	for (size_t i = 0; i < k0.n; i++)
		fewest = fmin(fewest, k0.items[i]);
	n_candidates = candidates_count(lab, (size_t)fewest);
	if (largest(s->k_star) > (double)n_candidates)
		return err_set(err, ERR_CONFIG,
			"sweep_kstar.k_star: expected at most %zu, the number of candidates with K0 = %g, "
			"found %g",
			n_candidates, fewest, largest(s->k_star));
	return 0;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct sweep_settings *s = values;
	const struct config *c = lab->config;
	double one;
	const struct real_list k0 = k0_values(s, c, &one);
	const size_t n_points = k0.n * s->k_star.n * c->clamp.scale.n;
	struct effects_extent extent = effects_extent(c);
	struct prompt_ids prompts = {0}, attributed = {0};

	(void)f;
	extent.k0 = (size_t)largest(k0);
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->attribution.prompts, &attributed, err));
	TRY(effects_plan(lab, out, &(struct effects_request){.prompts = &attributed}, extent, err));
	TRY(prompts_of_sets(lab->prompts, &c->clamp.prompts, &prompts, err));
	TRY(continuation_plan(lab, out, &prompts, 1 + n_points, err));
	TRY(answers_plan(lab, out, c->clamp.harmless, 1 + n_points, err));
	TRY(plan_write(out, (struct plan_what){"points", NULL}, &section,
		LENGTHS(LENGTH("point", n_points)), 1, err));
fail:
	free(attributed.data);
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct sweep_settings *s = values;
	const struct condition none = condition_none();
	struct work w = {.lab = lab, .settings = s};

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &w.prompts, err));

	/* 1. Indirect effects of the candidates. */
	TRY(attribute(&w, f->direction.v, err));

	/* 2. The unedited model, then every point. */
	TRY(continuation_record(lab, "sweep_kstar", &w.prompts, &none, NULL, &w.unedited, err));
	TRY(answers_run(&w.answers, lab, "sweep_kstar_answers", lab->config->clamp.harmless, err));
	TRY(answers_score(&w.answers, lab, &none, err));
	TRY(list_points(&w, err));
	TRY(tell_undecided(&w, err));
	for (size_t i = 0; i < w.points.n; i++)
		TRY(run_point(&w, &w.points.data[i], err));

	/* 3. Record. */
	TRY(write_points(&w, err));
fail:
	candidates_free(&w.candidates);
	continuation_free(&w.unedited);
	answers_free(&w.answers);
	free(w.prompts.data);
	free(w.points.data);
	arena_free(&w.memory);
	return err->code;
}

static void print(const struct lab *lab, const struct findings *f)
{
	(void)f;
	summary_print(&lab->job->summary, "sweep_kstar", "sweep_kstar_answers",
		"harmful prompts, K* features times c");
}

const struct experiment experiment_sweep_kstar = {
	.name = "sweep_kstar",
	.asks = "how many features, multiplied by what?",
	SETTINGS_OF(settings, struct sweep_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_ATTRIBUTED | PROMPTS_CLAMPED | PROMPTS_HARMLESS,
	.check = check,
	.plan = plan,
	.run = run,
	.print = print,
};
