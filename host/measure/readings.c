/* SPDX-License-Identifier: MIT
 *
 * readings.c - Contract: readings.h.
 */
#include "host/measure/readings.h"

#include "host/measure/activation_stats.h"
#include "host/measure/controls.h"
#include "host/work/tasks.h"

#include <stdio.h>
#include <stdlib.h>

int readings_open(struct readings *r, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *features, size_t n_last, size_t rows, struct err *err)
{
	const size_t n = rows * prompts->n;

	*r = (struct readings){.lab = lab,
		.prompts = prompts,
		.features = features,
		.n_last = n_last,
		.rows = rows};
	r->activation = arena_alloc(&r->memory, n * features->n, sizeof *r->activation);
	r->p_refusal = arena_alloc(&r->memory, n, sizeof *r->p_refusal);
	r->first_token = arena_alloc(&r->memory, n, sizeof *r->first_token);
	r->refusal_lead = arena_alloc(&r->memory, n, sizeof *r->refusal_lead);
	return arena_check(&r->memory, "activations", err);
}

void readings_free(struct readings *r)
{
	arena_free(&r->memory);
	*r = (struct readings){0};
}

static int look(const struct readings *r, const struct condition *condition, const char *title,
	struct observation *o, struct err *err)
{
	return observe(r->lab,
		&(struct observe_request){.title = title,
			.prompts = r->prompts,
			.condition = condition,
			.features = r->features,
			.n_last = r->n_last},
		o, err);
}

int readings_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_features, size_t n_last, size_t rows, struct err *err)
{
	static const struct plan_what what = {"activations of features", NULL};

	return plan_stages(lab, plan, what, prompts, 28 + 4 * (double)(n_features * n_last), 0,
		rows, err);
}

int readings_plan_random(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_features, size_t rows, struct err *err)
{
	static const struct plan_what what = {"activations under random sets", "controls.draws"};

	if (activation_stats_plan(lab, plan, prompts, false, err))
		return err->code;
	return plan_tasks(plan, what, rows, prompts->n * (2 + n_features), err);
}

int readings_take(struct readings *r, const struct condition *condition, const char *title,
	size_t row, struct err *err)
{
	const size_t n = r->prompts->n, m = r->features->n;
	struct observation o = {0};

	err_clear(err);
	TRY(look(r, condition, title, &o, err));
	for (size_t p = 0; p < n; p++) {
		r->p_refusal[row * n + p] = o.p_refusal[p];
		r->first_token[row * n + p] = o.first_token[p];
		r->refusal_lead[row * n + p] = o.refusal_lead[p];
		for (size_t k = 0; k < m; k++)
			r->activation[(row * n + p) * m + k] = (float)observation_mean(&o, p, k);
	}
fail:
	observation_free(&o);
	return err->code;
}

double readings_sum(const struct readings *r, size_t row, size_t prompt)
{
	const size_t m = r->features->n;
	double sum = 0;

	for (size_t k = 0; k < m; k++)
		sum += r->activation[(row * r->prompts->n + prompt) * m + k];
	return sum;
}

int readings_write(const struct readings *r, const struct readings_table *t,
	struct results *results, struct err *err)
{
	const size_t n[] = {r->rows, r->prompts->n, r->features->n};

	TRY(dataset_write(results, &t->activation, NULL, n, r->activation, err));
	TRY(dataset_write(results, &t->p_refusal, NULL, n, r->p_refusal, err));
	return dataset_write(results, &t->first_token, NULL, n, r->first_token, err);
fail:
	return err->code;
}

/* ---- random sets ----------------------------------------------------------------------- */

struct random_sets {
	struct readings *readings;
	const struct feature_set *draws;
	double scale;
};

/* One set clamped; row: of each prompt p_refusal, first_token and the activations. */
static int take_random(void *context, size_t draw, double *row, struct err *err)
{
	const struct random_sets *c = context;
	const size_t n = c->readings->prompts->n, m = c->readings->features->n;
	const struct condition clamp = condition_scale_set("random", &c->draws[draw], c->scale);
	struct observation o = {0};

	err_clear(err);
	TRY(look(c->readings, &clamp, NULL, &o, err));
	for (size_t p = 0; p < n; p++, row += 2 + m) {
		row[0] = o.p_refusal[p];
		row[1] = o.first_token[p];
		for (size_t k = 0; k < m; k++)
			row[2 + k] = observation_mean(&o, p, k);
	}
fail:
	observation_free(&o);
	return err->code;
}

/* table [rows, prompts, 2 + features], as take_random fills it. */
static void keep_random(struct readings *r, const double *table)
{
	const size_t m = r->features->n;

	for (size_t i = 0; i < r->rows * r->prompts->n; i++, table += 2 + m) {
		r->p_refusal[i] = table[0];
		r->first_token[i] = (int32_t)table[1];
		for (size_t k = 0; k < m; k++)
			r->activation[i * m + k] = (float)table[2 + k];
	}
}

int readings_take_random(struct readings *r, const struct feature_set *like, double scale,
	const char *title, struct err *err)
{
	struct lab *lab = r->lab;
	const size_t width = r->prompts->n * (2 + r->features->n);
	struct arena memory = {0};
	struct feature_set *draws = arena_alloc(&memory, r->rows, sizeof *draws);
	double *table = arena_alloc(&memory, r->rows * width, sizeof *table);
	struct random_sets context = {r, draws, scale};
	struct activation_stats stats = {0};
	char line[96];

	err_clear(err);
	TRY(arena_check(&memory, "random features", err));
	snprintf(line, sizeof line, "%s: features that occur", title);
	TRY(activation_stats_run(lab, r->prompts, line, false, &stats, err));
	TRY(controls_draw(lab, like, r->features, stats.alive, r->rows, draws, err));
	snprintf(line, sizeof line, "%s: random features clamped", title);
	TRY(tasks_run(lab->job, lab->machine->dev,
		&(struct tasks){.title = line,
			.item = "set",
			.n = r->rows,
			.width = width,
			.context = &context,
			.run = take_random},
		table, err));
	keep_random(r, table);
fail:
	for (size_t i = 0; draws && i < r->rows; i++)
		free(draws[i].data);
	arena_free(&memory);
	activation_stats_free(&stats);
	return err->code;
}
