/* SPDX-License-Identifier: MIT
 *
 * readings.c - Contract: readings.h.
 */
#include "host/run/readings.h"

#include "host/run/activation_stats.h"
#include "host/run/controls.h"

#include <stdio.h>
#include <stdlib.h>

int readings_open(struct readings *r, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *features, size_t n_last, size_t rows, struct err *err)
{
	const size_t n = rows * prompts->n;

	*r = (struct readings){.lab = lab, .prompts = prompts, .features = features,
		.n_last = n_last, .rows = rows};
	r->activation = calloc(n * features->n + 1, sizeof *r->activation);
	r->p_refusal = calloc(n + 1, sizeof *r->p_refusal);
	r->first_token = calloc(n + 1, sizeof *r->first_token);
	return r->activation && r->p_refusal && r->first_token
		? 0
		: err_nomem(err, "activations", n * features->n * sizeof *r->activation);
}

void readings_free(struct readings *r)
{
	free(r->activation);
	free(r->p_refusal);
	free(r->first_token);
	*r = (struct readings){0};
}

int readings_take(struct readings *r, const struct condition *condition, size_t row,
	struct err *err)
{
	const size_t n = r->prompts->n, m = r->features->n;
	struct observation o = {0};

	err_clear(err);
	TRY(observe(r->lab,
		&(struct observe_request){.prompts = r->prompts, .condition = condition,
			.features = r->features, .n_last = r->n_last},
		&o, err));
	for (size_t p = 0; p < n; p++) {
		r->p_refusal[row * n + p] = o.p_refusal[p];
		r->first_token[row * n + p] = o.first_token[p];
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

int readings_write(const struct readings *r, struct table t, const char *row_scale,
	const char *prompt_scale, const char *feature_scale, struct err *err)
{
	const size_t n = r->prompts->n;

	TRY(table_write(t,
		&(struct table_column){"activation", RESULTS_F32,
			{row_scale, prompt_scale, feature_scale}, {r->rows, n, r->features->n},
			"activation of the feature, mean over the prompt's last tokens", "1"},
		r->activation, err));
	TRY(table_write(t,
		&(struct table_column){"p_refusal", RESULTS_F64, {row_scale, prompt_scale},
			{r->rows, n}, "probability that the first token is the refusal token", "1"},
		r->p_refusal, err));
	return table_write(t,
		&(struct table_column){"first_token", RESULTS_I32, {row_scale, prompt_scale},
			{r->rows, n}, "most probable first token of the reply", ""},
		r->first_token, err);
fail:
	return err->code;
}

int readings_take_random(struct readings *r, const struct feature_set *like, double scale,
	const char *title, struct err *err)
{
	struct lab *lab = r->lab;
	struct feature_set *draws = calloc(r->rows + 1, sizeof *draws);
	struct activation_stats stats = {0};
	struct progress progress;
	char line[96];

	if (!draws)
		return err_nomem(err, "random features", r->rows * sizeof *draws);
	err_clear(err);
	snprintf(line, sizeof line, "%s: features that occur", title);
	TRY(activation_stats_run(lab, r->prompts, line, false, &stats, err));
	TRY(controls_draw(lab, like, r->features, stats.alive, r->rows, draws, err));
	snprintf(line, sizeof line, "%s: random features clamped", title);
	progress_begin(&progress, &lab->stages, line, r->rows, "set");
	for (size_t i = 0; i < r->rows; i++) {
		const struct condition clamp = condition_scale_set("random", &draws[i], scale);

		TRY(readings_take(r, &clamp, i, err));
		progress_add(&progress, 1);
	}
	progress_end(&progress);
fail:
	for (size_t i = 0; i < r->rows; i++)
		free(draws[i].data);
	free(draws);
	activation_stats_free(&stats);
	return err->code;
}
