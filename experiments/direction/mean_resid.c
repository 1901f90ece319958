/* SPDX-License-Identifier: MIT
 *
 * mean_resid.c - Contract: mean_resid.h. One pass over the prompts; only their last rows leave
 * the device. A unit holds its sum, how many prompts counted and how many of all rounding
 * could let count or not; how prompts are cut into units does not change what the sums add up to
 * (exact_sum.h).
 * Tests: tests/test_method.c.
 */
#include "experiments/direction/mean_resid.h"

#include "host/base/arena.h"
#include "host/base/exact_sum.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "host/measure/scoring.h"
#include "host/measure/ties.h"
#include "host/work/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	struct lab *lab;
	size_t n_pos, n_layer, d, rows;
	enum mean_resid_filter filter;
	struct scoring scoring;
	size_t n_counted;     /* of all */
	size_t n_undecided;   /* of all */
	void *on_device;      /* what resid points into */
	struct arena memory;  /* what follows is in it */
	exact_sum *sum;       /* of one unit */
	exact_sum *total;     /* of all */
	struct tensor *resid; /* [n_layer] of [rows, d] */
	struct tensor *views; /* [n_layer], cut to the batch */
	float *host;          /* [rows, d]: one layer */
	int32_t *next;        /* [rows]: next token of each row */
	float *lead;          /* [rows]: by how much it is, or is not, the refusal token */
};

static void layout(void *object, struct carver *c)
{
	struct work *w = object;

	for (size_t l = 0; l < w->n_layer; l++)
		w->resid[l] = carve(c, w->rows, w->d);
}

static size_t n_values(const struct work *w)
{
	return w->n_pos * w->n_layer * w->d;
}

static int allocate(struct work *w, struct err *err)
{
	w->sum = arena_alloc(&w->memory, n_values(w), sizeof *w->sum);
	w->total = arena_alloc(&w->memory, n_values(w), sizeof *w->total);
	w->resid = arena_alloc(&w->memory, w->n_layer, sizeof *w->resid);
	w->views = arena_alloc(&w->memory, w->n_layer, sizeof *w->views);
	w->host = arena_alloc(&w->memory, w->rows * w->d, sizeof *w->host);
	w->next = arena_alloc(&w->memory, w->rows, sizeof *w->next);
	w->lead = arena_alloc(&w->memory, w->rows, sizeof *w->lead);
	if (arena_check(&w->memory, "a mean", err))
		return err->code;
	return carve_allocate(w->lab->machine->dev, layout, w, &w->on_device, err);
}

/* A prompt's rows are in order, its last token last: from that row its reply begins. */
static bool counts(const struct work *w, size_t prompt)
{
	const bool refused = w->next[prompt * w->n_pos + w->n_pos - 1] ==
			     w->lab->prompts->refusal_token;

	return w->filter == MEAN_OF_ALL || refused == (w->filter == MEAN_OF_REFUSED);
}

/* Of the n prompts of a batch, those that count or not by less than rounding moves. */
static int64_t count_undecided(const struct work *w, size_t n)
{
	int64_t undecided = 0;

	for (size_t i = 0; i < n && w->filter != MEAN_OF_ALL; i++)
		undecided += ties_is_narrow(w->lab, w->lead[(i + 1) * w->n_pos - 1]);
	return undecided;
}

static int add_batch(struct work *w, size_t n, int64_t *n_counted, struct err *err)
{
	memset(w->sum, 0, n_values(w) * sizeof *w->sum);
	*n_counted = 0;
	for (size_t l = 0; l < w->n_layer; l++) {
		if (download_floats(w->lab->machine->dev, w->views[l], w->host, err))
			return err->code;
		for (size_t i = 0; i < n; i++) {
			if (!counts(w, i))
				continue;
			*n_counted += l == 0;
			for (size_t p = 0; p < w->n_pos; p++) {
				const float *x = w->host + (i * w->n_pos + w->n_pos - 1 - p) * w->d;
				exact_sum *sum = w->sum + (p * w->n_layer + l) * w->d;

				for (size_t j = 0; j < w->d; j++)
					sum[j] += exact_term(x[j]);
			}
		}
	}
	return 0;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	struct scoring *s = &w->scoring;
	const struct tap tap = {.kind = TAP_ACTIVATION, .out_rows_only = true, .out = w->views};
	const size_t n = scoring_batch(s, b);
	struct readout *readout = &w->lab->machine->readout;
	int64_t n_counted, n_undecided;
	struct tensor y;

	for (size_t l = 0; l < w->n_layer; l++)
		w->views[l] = tensor_rows(w->resid[l], 0, n * w->n_pos);
	TRY(scoring_run(s, n, NULL, 0, &tap, 1, err));
	y = workspace_out(s->runner.ws);
	TRY(readout_argmax(readout, &s->runner.batch, y, w->next, w->lead, err));
	TRY(readout_lead_over(readout, &s->runner.batch, y, w->next, w->lab->prompts->refusal_token,
		w->lead, err));
	n_undecided = count_undecided(w, n);
	TRY(add_batch(w, n, &n_counted, err));
	TRY(unit_put(out, "sum", RESULTS_I64, w->sum, 2 * n_values(w), err));
	TRY(unit_put(out, "n_undecided", RESULTS_I64, &n_undecided, 1, err));
	return unit_put(out, "n_counted", RESULTS_I64, &n_counted, 1, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	int64_t n_counted, n_undecided;

	(void)b;
	TRY(unit_get(in, "sum", RESULTS_I64, w->sum, 2 * n_values(w), err));
	TRY(unit_get(in, "n_undecided", RESULTS_I64, &n_undecided, 1, err));
	TRY(unit_get(in, "n_counted", RESULTS_I64, &n_counted, 1, err));
	for (size_t i = 0; i < n_values(w); i++)
		w->total[i] += w->sum[i];
	w->n_counted += (size_t)n_counted;
	w->n_undecided += (size_t)n_undecided;
	return 0;
fail:
	return err->code;
}

int mean_resid(struct lab *lab, const char *set, size_t n_pos, enum mean_resid_filter filter,
	double *mean, size_t *n_counted, size_t *n_undecided, struct err *err)
{
	struct work w = {.lab = lab,
		.n_pos = n_pos,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model,
		.filter = filter};
	struct prompt_ids prompts = {0};
	char title[64];

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, set, &prompts, err));
	TRY(scoring_open(&w.scoring, lab, &prompts, (struct scoring_size){.out = n_pos}, err));
	w.rows = w.scoring.schedule.most_prompts * n_pos;
	TRY(allocate(&w, err));
	TRY(scoring_prefix(&w.scoring, NULL, 0, err));
	snprintf(title, sizeof title, "direction: %s", set);
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = title,
			.schedule = &w.scoring.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
	if (w.n_counted == 0) {
		err_set(err, ERR_INPUT,
			"prompts.%s: expected prompts whose replies %s with token %d \"%s\", found none among "
			"%zu (see refusal.token, model.template, direction.filter)",
			set, filter == MEAN_OF_REFUSED ? "begin" : "do not begin",
			lab->prompts->refusal_token,
			tokenizer_spelling(lab->machine->tok, lab->prompts->refusal_token),
			prompts.n);
		goto fail;
	}
	for (size_t i = 0; i < n_values(&w); i++)
		mean[i] = exact_value(w.total[i]) / (double)w.n_counted;
	*n_counted = w.n_counted;
	*n_undecided += w.n_undecided;
	ties_tell(lab, w.n_undecided,
		"direction: prompts.%s: whether the reply begins with the refusal token, by which a "
		"prompt counts (direction.filter), is decided by less than %g logits for %zu of %zu, "
		"which rounding may turn round",
		set, readout_noise(&lab->machine->readout), w.n_undecided, prompts.n);
fail:
	device_free(lab->machine->dev, w.on_device);
	arena_free(&w.memory);
	scoring_close(&w.scoring);
	free(prompts.data);
	return err->code;
}
