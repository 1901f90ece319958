/* SPDX-License-Identifier: MIT
 *
 * direction_scores.c - Contract: direction_scores.h.
 */
#include "experiments/direction/direction_scores.h"

#include "host/base/arena.h"
#include "host/model/carver.h"
#include "host/measure/scoring.h"
#include "host/method/statistics.h"
#include "host/method/direction.h"
#include "host/work/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One validation set and the candidate now on the device. A unit holds the values of its prompts
 * under every candidate: harmful prompts "ablated"; harmless ones "kl" and "added". */
struct trial {
	struct lab *lab;
	const float *v;
	size_t n_layer, d, prompts, n_candidates;
	bool harmful;
	const struct direction_scores *out;
	struct scoring scoring;
	struct tensor u, w;           /* the candidate at unit length, and as it is */
	struct tensor base_y;         /* [prompts, d]: final norm of the unedited run */
	void *on_device;              /* what the three point into */
	struct arena memory;          /* what follows is in it */
	int32_t *refusal;             /* [prompts] the refusal token, repeated */
	double *ablated, *added, *kl; /* [n_candidates, prompts] */
	float *host;                  /* [d] */
};

static void layout(void *object, struct carver *c)
{
	struct trial *t = object;

	t->u = (struct tensor){carve_ints(c, t->d), DTYPE_F32, 1, t->d};
	t->w = (struct tensor){carve_ints(c, t->d), DTYPE_F32, 1, t->d};
	t->base_y = carve(c, t->prompts, t->d);
}

static int trial_open(struct trial *t, const struct prompt_ids *prompts, struct err *err)
{
	struct lab *lab = t->lab;
	size_t values;

	TRY(scoring_open(&t->scoring, lab, prompts, (struct scoring_size){.out = 1}, err));
	t->prompts = t->scoring.schedule.most_prompts;
	values = t->n_candidates * t->prompts;
	t->refusal = arena_alloc(&t->memory, t->prompts, sizeof *t->refusal);
	t->ablated = arena_alloc(&t->memory, values, sizeof *t->ablated);
	t->added = arena_alloc(&t->memory, values, sizeof *t->added);
	t->kl = arena_alloc(&t->memory, values, sizeof *t->kl);
	t->host = arena_alloc(&t->memory, t->d, sizeof *t->host);
	TRY(arena_check(&t->memory, "the choice of a layer", err));
	for (size_t i = 0; i < t->prompts; i++)
		t->refusal[i] = lab->prompts->refusal_token;
	return carve_allocate(lab->machine->dev, layout, t, &t->on_device, err);
fail:
	return err->code;
}

static void trial_close(struct trial *t)
{
	scoring_close(&t->scoring);
	device_free(t->lab->machine->dev, t->on_device);
	arena_free(&t->memory);
}

static int upload_candidate(struct trial *t, size_t candidate, struct err *err)
{
	const float *v = t->v + candidate * t->d;

	direction_normalise(v, t->d, t->host);
	if (device_upload(t->lab->machine->dev, t->u.data, t->host, t->d * sizeof *t->host, err))
		return err->code;
	return device_upload(t->lab->machine->dev, t->w.data, v, t->d * sizeof *v, err);
}

/* Runs the current batch under one edit. */
static int run_edited(struct trial *t, size_t n, const struct edit *edit, struct err *err)
{
	if (scoring_prefix(&t->scoring, edit, 1, err))
		return err->code;
	return scoring_run(&t->scoring, n, edit, 1, NULL, 0, err);
}

static struct edit ablation(const struct trial *t)
{
	return (struct edit){.kind = EDIT_ABLATE, .layer_last = t->n_layer - 1, .vector = t->u};
}

static struct edit addition(const struct trial *t, size_t layer)
{
	return (struct edit){.kind = EDIT_ADD,
		.layer_first = layer,
		.layer_last = layer,
		.vector = t->w,
		.amount = 1};
}

static int read_log_odds(struct trial *t, size_t n, double *out, struct err *err)
{
	if (readout_logprob(&t->lab->machine->readout, &t->scoring.runner.batch,
		    workspace_out(t->scoring.runner.ws), t->refusal, out, err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		out[i] = statistics_log_odds(out[i]);
	return 0;
}

static int judge(struct trial *t, size_t candidate, size_t n, struct err *err)
{
	const struct edit ablate = ablation(t), add = addition(t, candidate % t->n_layer);

	TRY(upload_candidate(t, candidate, err));
	TRY(run_edited(t, n, &ablate, err));
	if (t->harmful)
		return read_log_odds(t, n, t->ablated + candidate * n, err);
	TRY(readout_kl(&t->lab->machine->readout, &t->scoring.runner.batch,
		tensor_rows(t->base_y, 0, n), workspace_out(t->scoring.runner.ws),
		t->kl + candidate * n, err));
	TRY(run_edited(t, n, &add, err));
	return read_log_odds(t, n, t->added + candidate * n, err);
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct trial *t = context;
	const size_t n = scoring_batch(&t->scoring, b), n_values = t->n_candidates * n;

	TRY(scoring_prefix(&t->scoring, NULL, 0, err));
	TRY(scoring_run(&t->scoring, n, NULL, 0, NULL, 0, err));
	TRY(op_copy(t->lab->machine->dev, workspace_out(t->scoring.runner.ws),
		tensor_rows(t->base_y, 0, n), err));
	for (size_t c = 0; c < t->n_candidates; c++) {
		TRY(judge(t, c, n, err));
		unit_advance(out, n);
	}
	if (t->harmful)
		return unit_put(out, "ablated", RESULTS_F64, t->ablated, n_values, err);
	TRY(unit_put(out, "kl", RESULTS_F64, t->kl, n_values, err));
	return unit_put(out, "added", RESULTS_F64, t->added, n_values, err);
fail:
	return err->code;
}

/* Each candidate's values over the batch, into its mean over all prompts. */
static int take_means(struct trial *t, struct unit_reader *in, const char *name, double *values,
	size_t n, double *mean, struct err *err)
{
	if (unit_get(in, name, RESULTS_F64, values, t->n_candidates * n, err))
		return err->code;
	for (size_t c = 0; c < t->n_candidates; c++)
		for (size_t i = 0; i < n; i++)
			mean[c] += values[c * n + i] / (double)t->scoring.schedule.n;
	return 0;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct trial *t = context;
	const struct direction_scores *out = t->out;
	const size_t n = t->scoring.schedule.cut[b + 1] - t->scoring.schedule.cut[b];

	if (t->harmful)
		return take_means(t, in, "ablated", t->ablated, n, out->ablated, err);
	TRY(take_means(t, in, "kl", t->kl, n, out->kl, err));
	return take_means(t, in, "added", t->added, n, out->added, err);
fail:
	return err->code;
}

static int judge_set(struct trial *t, const char *set, struct err *err)
{
	struct prompt_ids prompts = {0};
	char title[64];

	err_clear(err);
	TRY(prompts_of_set(t->lab->prompts, set, &prompts, err));
	TRY(trial_open(t, &prompts, err));
	snprintf(title, sizeof title, "direction: layers on %s", set);
	TRY(stage_run(t->lab->job, t->lab->machine->dev,
		&(struct stage){.title = title,
			.schedule = &t->scoring.schedule,
			.items_per_prompt = t->n_candidates,
			.item = "trial",
			.context = t,
			.compute = compute,
			.take = take},
		err));
fail:
	trial_close(t);
	free(prompts.data);
	return err->code;
}

int direction_scores(struct lab *lab, const struct direction_settings *settings, const float *v,
	size_t n_candidates, const struct direction_scores *out, struct err *err)
{
	const struct trial base = {.lab = lab,
		.v = v,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model,
		.n_candidates = n_candidates,
		.out = out};
	struct trial harmful = base, harmless = base;

	harmful.harmful = true;
	for (size_t i = 0; i < n_candidates; i++)
		out->ablated[i] = out->added[i] = out->kl[i] = 0;
	if (judge_set(&harmful, settings->harmful_val, err))
		return err->code;
	return judge_set(&harmless, settings->harmless_val, err);
}
