/* SPDX-License-Identifier: MIT
 *
 * jailbreaks.c - do jailbreaks work by hiding the harm or by suppressing the refusal (paper section
 * 5.2)?
 *
 * Adversarial prompts stand beside plain ones that ask for the same, pair by pair.
 *
 *   change of a set = (A of the adversarial prompt - A of the plain one) / A of the plain one
 *   A               = sum over the set of activations, mean over the prompt's last 5 tokens
 *
 * for F_R and F_H (categories.c). A jailbreak is successful when the first token of the reply to
 * the plain prompt is the refusal token and that to the adversarial one is not; failed when both
 * are.
 * Departs: the paper judges whole replies; here the first token decides.
 * Writes: /jailbreaks/...: activations of every feature, per side and pair; changes; success.
 * Cost:   one forward pass over the prompts of both sides.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/lab/tables.h"
#include "host/measure/readings.h"
#include "host/measure/ties.h"

#include <math.h>

struct jailbreaks_settings {
	struct text_list adversarial, plain;
};

#define SETTINGS struct jailbreaks_settings
static const struct setting settings[] = {
	PAIRED_SETS("jailbreaks.adversarial", adversarial, "[\"adversarial\"]",
		"prompt sets of jailbreaks"),
	PAIRED_SETS("jailbreaks.plain", plain, "[\"plain\"]",
		"prompt sets of plain requests for the same, as many, in the same order"),
	MOVED("jailbreaks.positions", "readings.positions"),
};

static const struct {
	struct dataset pair, side;
	struct feature_table features;
	struct dataset refusal, plain_prompt, adversarial_prompt;
	struct readings_table readings;
	struct dataset change_refusal, change_harm, refused_plain, success;
} datasets = {
	.pair = {"/jailbreaks/pair", {"pair"}, RESULTS_I32, "", "pairs of prompts"},
	.side = {"/jailbreaks/side", {"side"}, RESULTS_TEXT, "",
		"side of the pair: `plain`, `adversarial`"},
	.features = FEATURE_TABLE("/jailbreaks", "role_feature", "features of F_R, then of F_H"),
	.refusal = {"/jailbreaks/refusal", {"role_feature"}, RESULTS_U8, "1",
		"1 for F_R, 0 for F_H"},
	.plain_prompt = {"/jailbreaks/plain_prompt", {"pair"}, RESULTS_I32, "",
		"prompt id of the plain side"},
	.adversarial_prompt = {"/jailbreaks/adversarial_prompt", {"pair"}, RESULTS_I32, "",
		"prompt id of the adversarial side"},
	.readings = READINGS_TABLE("/jailbreaks", "side", "pair", "role_feature"),
	.change_refusal = {"/jailbreaks/change_refusal", {"pair"}, RESULTS_F64, "1",
		"A adversarial / A plain - 1, A the sum of `activation` over F_R; NaN where A "
		"plain is 0"},
	.change_harm = {"/jailbreaks/change_harm", {"pair"}, RESULTS_F64, "1",
		"the same as `change_refusal`, over F_H"},
	.refused_plain = {"/jailbreaks/refused_plain", {"pair"}, RESULTS_U8, "1",
		"1 if the reply to the plain prompt begins with the refusal token"},
	.success = {"/jailbreaks/success", {"pair"}, RESULTS_U8, "1",
		"1 if `refused_plain` and the reply to the adversarial prompt begins otherwise"},
};

static const struct dataset_section section = {"`jailbreaks`", NULL, DATASETS(datasets)};

enum { PLAIN, ADVERSARIAL, N_SIDES };

static const char *const side_names[N_SIDES] = {"plain", "adversarial"};

struct work {
	struct lab *lab;
	const struct roles *roles;
	struct prompt_ids side[N_SIDES];      /* of equal length */
	struct feature_set features;          /* F_R, then F_H */
	struct readings readings;             /* row: side */
	size_t n_narrow;                      /* pairs whose success rounding may turn round */
	struct arena memory;                  /* what follows is in it */
	double *change_refusal, *change_harm; /* [pairs]; NaN where the plain prompt has none */
	uint8_t *refused_plain, *success;     /* [pairs] */
};

static int gather(struct work *w, const struct jailbreaks_settings *s, struct err *err)
{
	const struct prompts *p = w->lab->prompts;

	TRY(prompts_of_sets(p, &s->plain, &w->side[PLAIN], err));
	TRY(prompts_of_sets(p, &s->adversarial, &w->side[ADVERSARIAL], err));
	TRY(vec_append(&w->features, w->roles->refusal.data, w->roles->refusal.n, err));
	return vec_append(&w->features, w->roles->harm.data, w->roles->harm.n, err);
fail:
	return err->code;
}

/* ---- 2. changes ------------------------------------------------------------------------ */

static double sum(const struct work *w, size_t side, size_t pair, size_t first, size_t end)
{
	const size_t n = w->side[side].n, m = w->features.n;
	double total = 0;

	for (size_t k = first; k < end; k++)
		total += w->readings.activation[(side * n + pair) * m + k];
	return total;
}

static double change(const struct work *w, size_t pair, size_t first, size_t end)
{
	const double plain = sum(w, PLAIN, pair, first, end);

	return plain > 0 ? sum(w, ADVERSARIAL, pair, first, end) / plain - 1 : NAN;
}

static bool refused(const struct work *w, size_t side, size_t pair)
{
	return w->readings.first_token[side * w->side[side].n + pair] ==
	       w->lab->prompts->refusal_token;
}

/* Whether rounding may turn that round. */
static bool is_narrow(const struct work *w, size_t side, size_t pair)
{
	return ties_is_narrow(w->lab, w->readings.refusal_lead[side * w->side[side].n + pair]);
}

static int compare(struct work *w, struct err *err)
{
	const size_t n = w->side[PLAIN].n, n_refusal = w->roles->refusal.n;

	w->change_refusal = arena_alloc(&w->memory, n, sizeof *w->change_refusal);
	w->change_harm = arena_alloc(&w->memory, n, sizeof *w->change_harm);
	w->refused_plain = arena_alloc(&w->memory, n, sizeof *w->refused_plain);
	w->success = arena_alloc(&w->memory, n, sizeof *w->success);
	if (arena_check(&w->memory, "jailbreaks", err))
		return err->code;
	for (size_t i = 0; i < n; i++) {
		w->change_refusal[i] = change(w, i, 0, n_refusal);
		w->change_harm[i] = change(w, i, n_refusal, w->features.n);
		w->refused_plain[i] = refused(w, PLAIN, i);
		w->success[i] = w->refused_plain[i] && !refused(w, ADVERSARIAL, i);
		w->n_narrow += is_narrow(w, PLAIN, i) || is_narrow(w, ADVERSARIAL, i);
	}
	ties_tell(w->lab, w->n_narrow,
		"jailbreaks: of %zu of %zu pairs rounding may turn round whether a reply begins with the "
		"refusal token, by which they succeed or fail",
		w->n_narrow, n);
	return 0;
}

/* ---- 3. record ------------------------------------------------------------------------- */

static int write_features(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	uint8_t *refusal = arena_alloc(&w->memory, w->features.n, sizeof *refusal);

	TRY(arena_check(&w->memory, "jailbreaks", err));
	for (size_t k = 0; k < w->features.n; k++)
		refusal[k] = k < w->roles->refusal.n;
	TRY(feature_table_write(r, &datasets.features, NULL, &w->features, err));
	return dataset_write(r, &datasets.refusal, NULL, &w->features.n, refusal, err);
fail:
	return err->code;
}

static int write_pairs(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->side[PLAIN].n;
	int32_t *plain = arena_alloc(&w->memory, n, sizeof *plain);
	int32_t *adversarial = arena_alloc(&w->memory, n, sizeof *adversarial);

	TRY(arena_check(&w->memory, "pairs", err));
	for (size_t i = 0; i < n; i++) {
		plain[i] = (int32_t)w->side[PLAIN].data[i];
		adversarial[i] = (int32_t)w->side[ADVERSARIAL].data[i];
	}
	TRY(dataset_write(r, &datasets.plain_prompt, NULL, &n, plain, err));
	TRY(dataset_write(r, &datasets.adversarial_prompt, NULL, &n, adversarial, err));
	TRY(dataset_write(r, &datasets.change_refusal, NULL, &n, w->change_refusal, err));
	TRY(dataset_write(r, &datasets.change_harm, NULL, &n, w->change_harm, err));
	TRY(dataset_write(r, &datasets.refused_plain, NULL, &n, w->refused_plain, err));
	return dataset_write(r, &datasets.success, NULL, &n, w->success, err);
fail:
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n_sides = N_SIDES;

	TRY(dataset_write_counting(r, &datasets.pair, NULL, w->side[PLAIN].n, err));
	TRY(dataset_write(r, &datasets.side, NULL, &n_sides, side_names, err));
	TRY(write_features(w, err));
	TRY(write_pairs(w, err));
	TRY(readings_write(&w->readings, &datasets.readings, r, err));
	TRY(results_attribute_integer(r, "/jailbreaks", "undecided", (int64_t)w->n_narrow, err));
	return results_attribute_integer(r, "/jailbreaks", "positions",
		w->lab->config->readings.positions, err);
fail:
	return err->code;
}

static void say(const struct work *w)
{
	double refusal[2] = {0}, harm[2] = {0};
	size_t n[2] = {0};

	for (size_t i = 0; i < w->side[PLAIN].n; i++) {
		if (!w->refused_plain[i] || isnan(w->change_refusal[i]) || isnan(w->change_harm[i]))
			continue;
		refusal[w->success[i]] += w->change_refusal[i];
		harm[w->success[i]] += w->change_harm[i];
		n[w->success[i]]++;
	}
	log_info(
		"jailbreaks: %zu successful change F_R by %.2f and F_H by %.2f, %zu failed by %.2f and "
		"%.2f",
		n[1], refusal[1] / (double)n[1], harm[1] / (double)n[1], n[0],
		refusal[0] / (double)n[0], harm[0] / (double)n[0]);
}

static int count(const struct prompts *p, const struct text_list *sets, size_t *n, struct err *err)
{
	struct prompt_ids ids = {0};
	const int rc = prompts_of_sets(p, sets, &ids, err);

	*n = ids.n;
	free(ids.data);
	return rc;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct jailbreaks_settings *s = values;
	size_t plain, adversarial;

	(void)f;
	if (count(lab->prompts, &s->plain, &plain, err) ||
		count(lab->prompts, &s->adversarial, &adversarial, err))
		return err->code;
	if (plain == adversarial)
		return 0;
	return err_set(err, ERR_CONFIG,
		"jailbreaks.plain: expected %zu prompts, one for each of jailbreaks.adversarial, found %zu",
		adversarial, plain);
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct jailbreaks_settings *s = values;
	const struct config *c = lab->config;
	const size_t k_star = (size_t)c->attribution.k_star;
	struct prompt_ids prompts = {0};

	(void)f;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &s->plain, &prompts, err));
	TRY(plan_write(out, (struct plan_what){"readings", NULL}, &section,
		LENGTHS(LENGTH("pair", prompts.n), LENGTH("side", N_SIDES),
			{"role_feature", 0, 2 * k_star}),
		1, err));
	TRY(readings_plan(lab, out, &prompts, 2 * k_star, (size_t)c->readings.positions, 1, err));
	prompts.n = 0;
	TRY(prompts_of_sets(lab->prompts, &s->adversarial, &prompts, err));
	TRY(readings_plan(lab, out, &prompts, 2 * k_star, (size_t)c->readings.positions, 1, err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct condition none = condition_none();
	struct work w = {.lab = lab, .roles = &f->roles};

	err_clear(err);

	/* 1. F_R and F_H on both sides of every pair. */
	TRY(gather(&w, values, err));
	TRY(readings_open(&w.readings, lab, &w.side[PLAIN], &w.features,
		(size_t)lab->config->readings.positions, N_SIDES, err));
	for (size_t side = 0; side < N_SIDES; side++) {
		w.readings.prompts = &w.side[side];
		TRY(readings_take(&w.readings, &none,
			side == PLAIN ? "jailbreaks: plain" : "jailbreaks: adversarial", side,
			err));
	}

	/* 2. How they changed. */
	TRY(compare(&w, err));

	/* 3. Record. */
	TRY(write(&w, err));
	say(&w);
fail:
	readings_free(&w.readings);
	arena_free(&w.memory);
	free(w.features.data);
	for (size_t side = 0; side < N_SIDES; side++)
		free(w.side[side].data);
	return err->code;
}

const struct experiment experiment_jailbreaks = {
	.name = "jailbreaks",
	.asks = "do jailbreaks hide the harm or suppress the refusal?",
	SETTINGS_OF(settings, struct jailbreaks_settings),
	.writes = &section,
	.needs = NEED_ROLES,
	.check = check,
	.plan = plan,
	.run = run,
};
