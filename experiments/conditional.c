/* SPDX-License-Identifier: MIT
 *
 * conditional.c - do the features of refusal depend on those of harm (paper section 5.1, table 1)?
 *
 * With F_H clamped, f <- c f at every token, how much of the activation of F_R is left?
 *
 *   A       activation of a feature of F_R, mean over the last 5 tokens of the prompt, read from
 *           resid_post before the clamps of its own layer
 *   suppression = (sum of A - sum of A') / sum of A over F_R, unedited and clamped
 *
 * and the same for random sets of the size of F_H and in its layers, of features that occur on
 * these prompts and are neither in F_H nor in F_R.
 *
 * F_R and F_H come from categories.c: what all categories share, and the rest of F*.
 * Writes: /conditional/...: A of every feature, prompt and clamp; probability of the refusal token.
 * Cost:   one forward pass per clamp; one more, with a full encoding, to see which features occur.
 */
#include "experiments/experiment.h"

#include "host/base/log.h"
#include "host/measure/harm_readings.h"

#include <stdlib.h>

static const struct setting settings[] = {
	MOVED("conditional.scale", "clamp.scale"),
	MOVED("conditional.draws", "controls.draws"),
	MOVED("conditional.positions", "readings.positions"),
	MOVED("conditional.prompts", "clamp.prompts"),
};

static const struct {
	struct dataset prompt;
	struct harm_readings_table readings;
} datasets = {
	.prompt = PROMPT_SCALE("/conditional"),
	.readings = HARM_READINGS_TABLE("/conditional"),
};

static const struct dataset_section section = {"`conditional`", NULL, DATASETS(datasets)};

/* Sum of A over prompts and features, mean over some rows. */
static double total(const struct readings *r, size_t first, size_t n)
{
	double sum = 0;

	for (size_t row = first; row < first + n; row++)
		for (size_t p = 0; p < r->prompts->n; p++)
			sum += readings_sum(r, row, p) / (double)n;
	return sum;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	struct prompt_ids prompts = {0};

	(void)f, (void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &prompts, err));
	TRY(harm_readings_plan(lab, out, &prompts, &section, LENGTHS({NULL, 0, 0}), err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct roles *roles = &f->roles;
	struct harm_readings h = {0};
	struct prompt_ids prompts = {0};

	(void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &prompts, err));

	/* 1. F_R in the unedited model, with F_H clamped, with each random set clamped. */
	TRY(harm_readings_take(&h, lab, &prompts, &roles->refusal, &roles->harm, "conditional",
		err));

	/* 2. Record. */
	TRY(prompt_scale_write(lab->job->results, &datasets.prompt, NULL, &prompts, err));
	TRY(harm_readings_write(&h, &datasets.readings, "/conditional", err));
	log_info(
		"conditional: clamping %zu features of harm suppresses %zu of refusal by %.2f, random "
		"ones by %.2f",
		roles->harm.n, roles->refusal.n,
		1 - total(&h.edits, HARM_CLAMPED, 1) / total(&h.edits, HARM_UNEDITED, 1),
		1 - total(&h.random, 0, h.random.rows) / total(&h.edits, HARM_UNEDITED, 1));
fail:
	harm_readings_free(&h);
	free(prompts.data);
	return err->code;
}

const struct experiment experiment_conditional = {
	.name = "conditional",
	.asks = "do the features of refusal depend on those of harm?",
	MOVED_ONLY(settings),
	.writes = &section,
	.needs = NEED_ROLES,
	.prompts = PROMPTS_CLAMPED,
	.plan = plan,
	.run = run,
};
