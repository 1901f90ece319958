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
#include "host/lab/tables.h"
#include "host/measure/readings.h"

#include <stdlib.h>

static const struct setting settings[] = {
	MOVED("conditional.scale", "clamp.scale"),
	MOVED("conditional.draws", "controls.draws"),
	MOVED("conditional.positions", "readings.positions"),
	MOVED("conditional.prompts", "clamp.prompts"),
};

static const struct {
	struct dataset prompt, edit;
	struct feature_table refusal, harm;
	struct readings_table edits;
	struct dataset draw;
	struct readings_table random;
} datasets = {
	.prompt = PROMPT_SCALE("/conditional"),
	.edit = {"/conditional/edit", {"edit"}, RESULTS_TEXT, "",
		"what is clamped: `none`, `harm` (F_H)"},
	.refusal = FEATURE_TABLE("/conditional", "refusal_feature", "features of F_R"),
	.harm = FEATURE_TABLE("/conditional/harm", "harm_feature", "features of F_H"),
	.edits = READINGS_TABLE("/conditional", "edit", "prompt", "refusal_feature"),
	.draw = {"/conditional/random/draw", {"draw"}, RESULTS_I32, "",
		"random sets of the size and in the layers of F_H, clamped in its place"},
	.random = READINGS_TABLE("/conditional/random", "draw", "prompt", "refusal_feature"),
};

static const struct dataset_section section = {"`conditional`", NULL, DATASETS(datasets)};

enum { NONE, HARM, N_EDITS };

static const char *const edit_names[N_EDITS] = {"none", "harm"};

struct work {
	struct lab *lab;
	const struct feature_set *refusal, *harm;
	struct prompt_ids prompts;
	struct readings edits, random; /* of F_R; rows: N_EDITS, draws */
};

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const struct config *c = w->lab->config;
	const size_t n_edits = N_EDITS;

	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(feature_table_write(r, &datasets.refusal, NULL, w->refusal, err));
	TRY(feature_table_write(r, &datasets.harm, NULL, w->harm, err));
	TRY(dataset_write(r, &datasets.edit, NULL, &n_edits, edit_names, err));
	TRY(dataset_write_counting(r, &datasets.draw, NULL, w->random.rows, err));
	TRY(readings_write(&w->edits, &datasets.edits, r, err));
	TRY(readings_write(&w->random, &datasets.random, r, err));
	TRY(results_attribute_real(r, "/conditional", "scale", config_scale(c), err));
	return results_attribute_integer(r, "/conditional", "positions", c->readings.positions,
		err);
fail:
	return err->code;
}

/* Sum of A over prompts and features, mean over some rows. */
static double total(const struct readings *r, size_t first, size_t n)
{
	double sum = 0;

	for (size_t row = first; row < first + n; row++)
		for (size_t p = 0; p < r->prompts->n; p++)
			sum += readings_sum(r, row, p) / (double)n;
	return sum;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct config *c = lab->config;
	const size_t n_last = (size_t)c->readings.positions;
	struct work w = {.lab = lab, .refusal = &f->roles.refusal, .harm = &f->roles.harm};
	const struct condition none = condition_none(),
			       harm = condition_scale_set("harm", w.harm, config_scale(c));

	(void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->clamp.prompts, &w.prompts, err));

	/* 1. F_R in the unedited model and with F_H clamped. */
	TRY(readings_open(&w.edits, lab, &w.prompts, w.refusal, n_last, N_EDITS, err));
	TRY(readings_take(&w.edits, &none, "conditional: unedited", NONE, err));
	TRY(readings_take(&w.edits, &harm, "conditional: F_H clamped", HARM, err));

	/* 2. With each random set clamped. */
	TRY(readings_open(&w.random, lab, &w.prompts, w.refusal, n_last, (size_t)c->controls.draws,
		err));
	TRY(readings_take_random(&w.random, w.harm, config_scale(c), "conditional", err));

	/* 3. Record. */
	TRY(write(&w, err));
	log_info(
		"conditional: clamping %zu features of harm suppresses %zu of refusal by %.2f, random "
		"ones by %.2f",
		w.harm->n, w.refusal->n, 1 - total(&w.edits, HARM, 1) / total(&w.edits, NONE, 1),
		1 - total(&w.random, 0, w.random.rows) / total(&w.edits, NONE, 1));
fail:
	readings_free(&w.edits);
	readings_free(&w.random);
	free(w.prompts.data);
	return err->code;
}

const struct experiment experiment_conditional = {
	.name = "conditional",
	.asks = "do the features of refusal depend on those of harm?",
	MOVED_ONLY(settings),
	.writes = &section,
	.needs = NEED_ROLES,
	.prompts = PROMPTS_CLAMPED,
	.run = run,
};
