/* SPDX-License-Identifier: MIT
 *
 * harm_readings.c - Contract: harm_readings.h. Tests: what conditional and suffix must show
 * (tests/test_experiments.py).
 */
#include "host/measure/harm_readings.h"

#include <stdio.h>

static const char *const edit_names[N_HARM_EDITS] = {"none", "harm"};

int harm_readings_take(struct harm_readings *h, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *refusal, const struct feature_set *harm, const char *experiment,
	struct err *err)
{
	const struct config *c = lab->config;
	const size_t n_last = (size_t)c->readings.positions;
	const double scale = config_scale(c);
	const struct condition none = condition_none(),
			       clamp = condition_scale_set("harm", harm, scale);
	char title[96];

	*h = (struct harm_readings){.harm = harm};
	TRY(readings_open(&h->edits, lab, prompts, refusal, n_last, N_HARM_EDITS, err));
	snprintf(title, sizeof title, "%s: unedited", experiment);
	TRY(readings_take(&h->edits, &none, title, HARM_UNEDITED, err));
	snprintf(title, sizeof title, "%s: F_H clamped", experiment);
	TRY(readings_take(&h->edits, &clamp, title, HARM_CLAMPED, err));
	TRY(readings_open(&h->random, lab, prompts, refusal, n_last, (size_t)c->controls.draws,
		err));
	return readings_take_random(&h->random, harm, scale, experiment, err);
fail:
	return err->code;
}

int harm_readings_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	const struct dataset_section *section, const struct dataset_length *others, struct err *err)
{
	static const struct plan_what what = {"readings", NULL};
	const struct config *c = lab->config;
	const size_t k_star = (size_t)c->attribution.k_star, draws = (size_t)c->controls.draws;
	struct dataset_length lengths[16] = {LENGTH("prompt", prompts->n),
		LENGTH("edit", N_HARM_EDITS), {"refusal_feature", 0, k_star},
		{"harm_feature", 0, k_star}, LENGTH("draw", draws)};

	for (size_t n = 5; others->name && n + 1 < sizeof lengths / sizeof *lengths; others++)
		lengths[n++] = *others;
	TRY(plan_write(plan, what, section, lengths, 1, err));
	TRY(readings_plan(lab, plan, prompts, k_star, (size_t)c->readings.positions, N_HARM_EDITS,
		err));
	return readings_plan_random(lab, plan, prompts, k_star, draws, err);
fail:
	return err->code;
}

void harm_readings_free(struct harm_readings *h)
{
	readings_free(&h->edits);
	readings_free(&h->random);
}

int harm_readings_write(const struct harm_readings *h, const struct harm_readings_table *t,
	const char *group, struct err *err)
{
	const struct lab *lab = h->edits.lab;
	struct results *r = lab->job->results;

	TRY(feature_table_write(r, &t->refusal, NULL, h->edits.features, err));
	TRY(feature_table_write(r, &t->harm, NULL, h->harm, err));
	TRY(dataset_write(r, &t->edit, NULL, &h->edits.rows, edit_names, err));
	TRY(dataset_write_counting(r, &t->draw, NULL, h->random.rows, err));
	TRY(readings_write(&h->edits, &t->edits, r, err));
	TRY(readings_write(&h->random, &t->random, r, err));
	TRY(results_attribute_real(r, group, "scale", config_scale(lab->config), err));
	return results_attribute_integer(r, group, "positions", lab->config->readings.positions,
		err);
fail:
	return err->code;
}
