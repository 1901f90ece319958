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
#include "experiments/experiments.h"

#include "host/base/log.h"
#include "host/run/activation_stats.h"
#include "host/run/controls.h"
#include "host/run/observe.h"
#include "host/run/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NONE, HARM, N_EDITS };

static const char *const edit_names[N_EDITS] = {"none", "harm"};

/* What the clamps of a kind did, row by row. */
struct readings {
	size_t rows;
	float *activation; /* [rows, n_prompts, n_refusal] */
	double *p_refusal; /* [rows, n_prompts] */
};

struct work {
	struct lab *lab;
	const struct feature_set *refusal, *harm;
	struct prompt_ids prompts;
	struct activation_stats stats; /* which features occur */
	struct feature_set *draws;
	struct readings edits, random; /* rows: N_EDITS; draws */
	struct progress progress;
};

static int new_readings(struct work *w, struct readings *r, size_t rows, struct err *err)
{
	const size_t n = w->prompts.n, m = w->refusal->n;

	*r = (struct readings){.rows = rows};
	r->activation = malloc(rows * n * m * sizeof *r->activation + 1);
	r->p_refusal = malloc(rows * n * sizeof *r->p_refusal + 1);
	return r->activation && r->p_refusal
		? 0
		: err_nomem(err, "activations", rows * n * m * sizeof *r->activation);
}

static int watch(struct work *w, const struct condition *condition, struct readings *r, size_t row,
	struct err *err)
{
	const size_t n = w->prompts.n, m = w->refusal->n;
	struct observation o = {0};

	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts, .condition = condition,
			.features = w->refusal,
			.n_last = (size_t)w->lab->config->conditional.positions},
		&o, err));
	for (size_t p = 0; p < n; p++) {
		r->p_refusal[row * n + p] = o.p_refusal[p];
		for (size_t k = 0; k < m; k++)
			r->activation[(row * n + p) * m + k] = (float)observation_mean(&o, p, k);
	}
	progress_add(&w->progress, 1);
fail:
	observation_free(&o);
	return err->code;
}

/* ---- record ---------------------------------------------------------------------------- */

static int write_readings(struct work *w, const struct readings *r, const char *group,
	const char *rows, struct err *err)
{
	const size_t n = w->prompts.n;
	const struct table t = {w->lab->results, group};

	TRY(table_write(t,
		&(struct table_column){"activation", RESULTS_F32,
			{rows, "/conditional/prompt", "/conditional/refusal_feature"},
			{r->rows, n, w->refusal->n},
			"activation of a feature of refusal, mean over the prompt's last tokens", "1"},
		r->activation, err));
	return table_write(t,
		&(struct table_column){"p_refusal", RESULTS_F64, {rows, "/conditional/prompt"},
			{r->rows, n}, "probability that the first token is the refusal token", "1"},
		r->p_refusal, err);
fail:
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	struct results *results = w->lab->results;
	const struct config *c = w->lab->config;
	const struct table t = {results, "/conditional"}, random = {results, "/conditional/random"};

	TRY(table_prompts(t, &w->prompts, err));
	TRY(table_features(t, "refusal_feature", w->refusal, err));
	TRY(table_features((struct table){results, "/conditional/harm"}, "harm_feature", w->harm,
		err));
	TRY(table_text_scale(t, "edit", edit_names, N_EDITS,
		"what is clamped: none, or the features of harm", err));
	TRY(table_scale(random, "draw", w->random.rows, "random set", err));
	TRY(write_readings(w, &w->edits, "/conditional", "edit", err));
	TRY(write_readings(w, &w->random, "/conditional/random", "draw", err));
	TRY(results_attribute_real(results, "/conditional", "scale", c->conditional.scale, err));
	return results_attribute_integer(results, "/conditional", "positions",
		c->conditional.positions, err);
fail:
	return err->code;
}

static double sum_of(const struct readings *r, size_t first_row, size_t n_rows, size_t per_row)
{
	double sum = 0;

	for (size_t i = first_row * per_row; i < (first_row + n_rows) * per_row; i++)
		sum += r->activation[i];
	return sum / (double)n_rows;
}

static int summarise(struct work *w, const char *name, const struct readings *r, size_t first_row,
	size_t n_rows, struct err *err)
{
	const size_t n = w->prompts.n;
	struct summary_row row = {.n_prompts = n, .refusal = NAN, .kl = NAN, .ce = NAN};

	for (size_t i = first_row * n; i < (first_row + n_rows) * n; i++)
		row.p_refusal += r->p_refusal[i] / (double)(n_rows * n);
	snprintf(row.experiment, sizeof row.experiment, "conditional");
	snprintf(row.condition, sizeof row.condition, "%s", name);
	return lab_summarise(w->lab, &row, err);
}

static int report(struct work *w, struct err *err)
{
	const size_t per_row = w->prompts.n * w->refusal->n;
	const double a = sum_of(&w->edits, NONE, 1, per_row);

	log_info("conditional: clamping %zu features of harm suppresses %zu of refusal by %.2f, random "
		 "ones by %.2f",
		w->harm->n, w->refusal->n, 1 - sum_of(&w->edits, HARM, 1, per_row) / a,
		1 - sum_of(&w->random, 0, w->random.rows, per_row) / a);
	TRY(summarise(w, "none", &w->edits, NONE, 1, err));
	TRY(summarise(w, "harm", &w->edits, HARM, 1, err));
	return summarise(w, "random", &w->random, 0, w->random.rows, err);
fail:
	return err->code;
}

int check_conditional(const struct lab *lab, struct err *err)
{
	return lab_need_roles(lab, "conditional", err);
}

int experiment_conditional(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	const double scale = c->conditional.scale;
	const size_t n_draws = (size_t)c->conditional.draws;
	struct work w = {.lab = lab, .refusal = &lab->roles.refusal, .harm = &lab->roles.harm};
	const struct condition none = condition_none(),
			       harm = condition_scale_set("harm", w.harm, scale);

	err_clear(err);
	TRY(lab_have_roles(lab, "conditional", err));
	for (size_t i = 0; i < c->conditional.prompts.n; i++)
		TRY(lab_set(lab, c->conditional.prompts.items[i], &w.prompts, err));
	TRY(new_readings(&w, &w.edits, N_EDITS, err));
	TRY(new_readings(&w, &w.random, n_draws, err));

	/* 1. Random sets like F_H. */
	w.draws = calloc(n_draws, sizeof *w.draws);
	if (!w.draws) {
		err_nomem(err, "random features", n_draws * sizeof *w.draws);
		goto fail;
	}
	TRY(activation_stats_run(lab, &w.prompts, "conditional: features that occur", false, &w.stats,
		err));
	TRY(controls_draw(lab, w.harm, w.refusal, w.stats.alive, n_draws, w.draws, err));

	/* 2. F_R in the unedited model, with F_H clamped, and with each random set clamped. */
	progress_begin(&w.progress, &lab->stages, "conditional: clamps", N_EDITS + n_draws, "clamp");
	TRY(watch(&w, &none, &w.edits, NONE, err));
	TRY(watch(&w, &harm, &w.edits, HARM, err));
	for (size_t i = 0; i < n_draws; i++) {
		const struct condition random = condition_scale_set("random", &w.draws[i], scale);

		TRY(watch(&w, &random, &w.random, i, err));
	}
	progress_end(&w.progress);

	/* 3. Record. */
	TRY(write(&w, err));
	TRY(report(&w, err));
fail:
	for (size_t i = 0; w.draws && i < n_draws; i++)
		free(w.draws[i].data);
	free(w.draws);
	activation_stats_free(&w.stats);
	free(w.edits.activation);
	free(w.edits.p_refusal);
	free(w.random.activation);
	free(w.random.p_refusal);
	free(w.prompts.data);
	return err->code;
}
