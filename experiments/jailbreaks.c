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

#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/measure/readings.h"

#include <math.h>

struct jailbreaks_settings {
	struct text_list adversarial, plain;
};

#define SETTINGS struct jailbreaks_settings
static const struct setting settings[] = {
	PROMPT_SETS("jailbreaks.adversarial", adversarial, "[\"adversarial\"]", NULL,
		"prompt sets of jailbreaks"),
	PROMPT_SETS("jailbreaks.plain", plain, "[\"plain\"]", NULL,
		"prompt sets of plain requests for the same, as many, in the same order"),
	MOVED("jailbreaks.positions", "readings.positions"),
};

enum { PLAIN, ADVERSARIAL, N_SIDES };

static const char *const side_names[N_SIDES] = {"plain", "adversarial"};

struct work {
	struct lab *lab;
	const struct roles *roles;
	struct prompt_ids side[N_SIDES];      /* of equal length */
	struct feature_set features;          /* F_R, then F_H */
	struct readings readings;             /* row: side */
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

static int compare(struct work *w, struct err *err)
{
	const size_t n = w->side[PLAIN].n, n_refusal = w->roles->refusal.n;

	w->change_refusal = calloc(n + 1, sizeof *w->change_refusal);
	w->change_harm = calloc(n + 1, sizeof *w->change_harm);
	w->refused_plain = calloc(n + 1, 1);
	w->success = calloc(n + 1, 1);
	if (!w->change_refusal || !w->change_harm || !w->refused_plain || !w->success)
		return err_nomem(err, "jailbreaks", n * sizeof *w->change_harm);
	for (size_t i = 0; i < n; i++) {
		w->change_refusal[i] = change(w, i, 0, n_refusal);
		w->change_harm[i] = change(w, i, n_refusal, w->features.n);
		w->refused_plain[i] = refused(w, PLAIN, i);
		w->success[i] = w->refused_plain[i] && !refused(w, ADVERSARIAL, i);
	}
	return 0;
}

/* ---- 3. record ------------------------------------------------------------------------- */

static int write_pairs(struct work *w, struct table t, struct err *err)
{
	const size_t n = w->side[PLAIN].n;
	int32_t *ids = malloc(2 * n * sizeof *ids + 1);
	const struct {
		struct table_column column;
		const void *data;
	} parts[] = {{{"plain_prompt", RESULTS_I32, {"pair"}, {n}, "prompt id of the plain side",
			      ""},
			     ids},
		{{"adversarial_prompt", RESULTS_I32, {"pair"}, {n},
			 "prompt id of the adversarial side", ""},
			ids ? ids + n : NULL},
		{{"change_refusal", RESULTS_F64, {"pair"}, {n},
			 "relative change of the features of refusal", "1"},
			w->change_refusal},
		{{"change_harm", RESULTS_F64, {"pair"}, {n},
			 "relative change of the features of harm", "1"},
			w->change_harm},
		{{"refused_plain", RESULTS_U8, {"pair"}, {n},
			 "1 if the reply to the plain prompt begins with the refusal token", "1"},
			w->refused_plain},
		{{"success", RESULTS_U8, {"pair"}, {n},
			 "1 if refused_plain and the reply to the adversarial prompt begins otherwise",
			 "1"},
			w->success}};

	err_clear(err);
	if (!ids)
		return err_nomem(err, "pairs", 2 * n * sizeof *ids);
	for (size_t i = 0; i < n; i++) {
		ids[i] = (int32_t)w->side[PLAIN].data[i];
		ids[n + i] = (int32_t)w->side[ADVERSARIAL].data[i];
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		TRY(table_write(t, &parts[i].column, parts[i].data, err));
fail:
	free(ids);
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	const struct table t = {w->lab->job->results, "/jailbreaks"};
	uint8_t *role = malloc(w->features.n + 1);

	err_clear(err);
	if (!role)
		return err_nomem(err, "jailbreaks", w->features.n);
	for (size_t k = 0; k < w->features.n; k++)
		role[k] = k < w->roles->refusal.n;
	TRY(table_scale(t, "pair", w->side[PLAIN].n, "pair of prompts", err));
	TRY(table_text_scale(t, "side", side_names, N_SIDES, "side of the pair", err));
	TRY(table_features(t, "role_feature", &w->features, err));
	TRY(table_write(t,
		&(struct table_column){"refusal", RESULTS_U8, {"role_feature"}, {w->features.n},
			"1 for a feature of refusal, 0 for one of harm", "1"},
		role, err));
	TRY(write_pairs(w, t, err));
	TRY(readings_write(&w->readings, t, "side", "pair", "role_feature", err));
	TRY(results_attribute_integer(w->lab->job->results, "/jailbreaks", "positions",
		w->lab->config->readings.positions, err));
fail:
	free(role);
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
	free(w.change_refusal);
	free(w.change_harm);
	free(w.refused_plain);
	free(w.success);
	free(w.features.data);
	for (size_t side = 0; side < N_SIDES; side++)
		free(w.side[side].data);
	return err->code;
}

const struct experiment experiment_jailbreaks = {
	.name = "jailbreaks",
	.asks = "do jailbreaks hide the harm or suppress the refusal?",
	SETTINGS_OF(settings, struct jailbreaks_settings),
	.needs = NEED_ROLES,
	.check = check,
	.run = run,
};
