/* SPDX-License-Identifier: MIT
 *
 * reconstructed_direction.c - Contract: reconstructed_direction.h.
 */
#include "experiments/sae_compare/reconstructed_direction.h"

#include "host/base/arena.h"
#include "host/base/exact_sum.h"
#include "host/model/carver.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"
#include "host/measure/scoring.h"
#include "host/work/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	struct lab *lab;
	size_t n_layer, d;
	double *v, *v_hat; /* [n_layer, d] */
	/* Of one set. */
	struct prompt_ids prompts;
	struct scoring scoring;
	struct tensor x_hat;
	void *on_device; /* x_hat and last */
	struct sparse sparse;
	struct arena memory;         /* what follows is in it */
	struct tensor *last, *views; /* [n_layer] resid_post of each prompt's last token */
	float *host;                 /* [most_prompts, d] */
	exact_sum *sums, *total;     /* [2, n_layer, d] of a batch, of all: x, x_hat */
};

static void layout(void *object, struct carver *c)
{
	struct work *w = object;

	for (size_t l = 0; l < w->n_layer; l++)
		w->last[l] = carve(c, w->scoring.schedule.most_prompts, w->d);
	w->x_hat = carve(c, w->scoring.schedule.most_prompts, w->d);
}

static int open_set(struct work *w, const char *set, struct err *err)
{
	TRY(prompts_of_set(w->lab->prompts, set, &w->prompts, err));
	TRY(scoring_open(&w->scoring, w->lab, &w->prompts, (struct scoring_size){.out = 1}, err));
	w->last = arena_alloc(&w->memory, w->n_layer, sizeof *w->last);
	w->views = arena_alloc(&w->memory, w->n_layer, sizeof *w->views);
	w->host = arena_alloc(&w->memory, w->scoring.schedule.most_prompts * w->d, sizeof *w->host);
	w->sums = arena_alloc(&w->memory, 2 * w->n_layer * w->d, sizeof *w->sums);
	w->total = arena_alloc(&w->memory, 2 * w->n_layer * w->d, sizeof *w->total);
	TRY(arena_check(&w->memory, "directions", err));
	w->sparse = (struct sparse){.dev = w->lab->machine->dev};
	return carve_allocate(w->lab->machine->dev, layout, w, &w->on_device, err);
fail:
	return err->code;
}

static void close_set(struct work *w)
{
	scoring_close(&w->scoring);
	sparse_free(&w->sparse);
	device_free(w->lab->machine->dev, w->on_device);
	arena_free(&w->memory);
	free(w->prompts.data);
	*w = (struct work){.lab = w->lab,
		.n_layer = w->n_layer,
		.d = w->d,
		.v = w->v,
		.v_hat = w->v_hat};
}

/* ---- one batch ------------------------------------------------------------------------- */

/* sum = the sum of the rows of x. */
static int sum_rows(struct work *w, struct tensor x, exact_sum *sum, struct err *err)
{
	if (download_floats(w->lab->machine->dev, x, w->host, err))
		return err->code;
	for (size_t j = 0; j < w->d; j++)
		sum[j] = 0;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < w->d; j++)
			sum[j] += exact_term(w->host[i * w->d + j]);
	return 0;
}

static int sum_layer(struct work *w, size_t layer, struct err *err)
{
	const struct tensor x = w->views[layer], x_hat = tensor_rows(w->x_hat, 0, x.rows);
	struct sae_weights sae;

	TRY(sae_set_load(w->lab->machine->saes, layer, &sae, err));
	TRY(sparse_encode(&w->sparse, &sae, x, err));
	TRY(op_sae_decode(w->lab->machine->dev, &sae, x, &w->sparse.csr, x_hat, err));
	TRY(sum_rows(w, x, w->sums + layer * w->d, err));
	return sum_rows(w, x_hat, w->sums + (w->n_layer + layer) * w->d, err);
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	const struct tap tap = {.kind = TAP_ACTIVATION, .out_rows_only = true, .out = w->views};
	const size_t n = scoring_batch(&w->scoring, b);

	memset(w->sums, 0, 2 * w->n_layer * w->d * sizeof *w->sums);
	for (size_t l = 0; l < w->n_layer; l++)
		w->views[l] = tensor_rows(w->last[l], 0, n);
	TRY(scoring_run(&w->scoring, n, NULL, 0, &tap, 1, err));
	for (size_t l = 0; l < w->n_layer; l++)
		if (sae_set_has(w->lab->machine->saes, l))
			TRY(sum_layer(w, l, err));
	return unit_put(out, "sums", RESULTS_I64, w->sums, 4 * w->n_layer * w->d, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	const size_t n = 2 * w->n_layer * w->d;

	(void)b;
	if (unit_get(in, "sums", RESULTS_I64, w->sums, 2 * n, err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		w->total[i] += w->sums[i];
	return 0;
}

/* Adds sign times the mean over a set. */
static int add_set(struct work *w, const char *title, const char *set, double sign, struct err *err)
{
	const size_t n = w->n_layer * w->d;
	char line[96];

	err_clear(err);
	snprintf(line, sizeof line, "%s, %s", title, set);
	TRY(open_set(w, set, err));
	TRY(scoring_prefix(&w->scoring, NULL, 0, err));
	TRY(stage_run(w->lab->job, w->lab->machine->dev,
		&(struct stage){.title = line,
			.schedule = &w->scoring.schedule,
			.item = "prompt",
			.context = w,
			.compute = compute,
			.take = take},
		err));
	for (size_t i = 0; i < n; i++) {
		w->v[i] += sign * exact_value(w->total[i]) / (double)w->prompts.n;
		w->v_hat[i] += sign * exact_value(w->total[n + i]) / (double)w->prompts.n;
	}
fail:
	close_set(w);
	return err->code;
}

static double cosine_of(const double *x, const double *y, size_t n)
{
	double xx = 0, yy = 0, xy = 0;

	for (size_t j = 0; j < n; j++) {
		xx += x[j] * x[j];
		yy += y[j] * y[j];
		xy += x[j] * y[j];
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

int reconstructed_direction(struct lab *lab, const char *title, const char *harmful,
	const char *harmless, double *cosine, struct err *err)
{
	struct arena memory = {0};
	struct work w = {.lab = lab,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model};

	w.v = arena_alloc(&memory, w.n_layer * w.d, sizeof *w.v);
	w.v_hat = arena_alloc(&memory, w.n_layer * w.d, sizeof *w.v_hat);
	err_clear(err);
	TRY(arena_check(&memory, "directions", err));
	TRY(add_set(&w, title, harmful, 1, err));
	TRY(add_set(&w, title, harmless, -1, err));
	for (size_t l = 0; l < w.n_layer; l++)
		cosine[l] = cosine_of(w.v + l * w.d, w.v_hat + l * w.d, w.d);
fail:
	arena_free(&memory);
	return err->code;
}
