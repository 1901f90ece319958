/* SPDX-License-Identifier: MIT
 *
 * direction_scores.c - Contract: direction_scores.h.
 */
#include "host/run/direction_scores.h"

#include "host/model/carver.h"
#include "host/run/progress.h"
#include "host/run/scoring.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

double log_odds(double log_p)
{
	return log_p - log(-expm1(fmin(log_p, -1e-12)));
}

/* One validation set and the candidate now on the device. */
struct trial {
	struct lab *lab;
	const float *v;
	size_t n_layer, d, prompts;
	struct scoring scoring;
	struct tensor u, w;   /* the candidate at unit length, and as it is */
	struct tensor base_y; /* [prompts, d]: final norm of the unedited run */
	void *memory;         /* device */
	int32_t *refusal;     /* [prompts] the refusal token, repeated */
	double *value;        /* [prompts] */
	float *host;          /* [d] */
};

static void layout(void *object, struct carver *c)
{
	struct trial *t = object;

	t->u = (struct tensor){carve_ints(c, t->d), DTYPE_F32, 1, t->d};
	t->w = (struct tensor){carve_ints(c, t->d), DTYPE_F32, 1, t->d};
	t->base_y = carve(c, t->prompts, t->d);
}

static int trial_open(struct trial *t, struct lab *lab, const float *v,
	const struct prompt_ids *prompts, struct err *err)
{
	*t = (struct trial){.lab = lab, .v = v, .n_layer = lab->model->arch.n_layer,
		.d = lab->model->arch.d_model};
	TRY(scoring_open(&t->scoring, lab, prompts, (struct scoring_size){.out = 1}, err));
	t->prompts = t->scoring.schedule.most_prompts;
	t->refusal = malloc(t->prompts * sizeof *t->refusal);
	t->value = malloc(t->prompts * sizeof *t->value);
	t->host = malloc(t->d * sizeof *t->host);
	if (!t->refusal || !t->value || !t->host)
		return err_nomem(err, "the choice of a layer", t->prompts * sizeof *t->value);
	for (size_t i = 0; i < t->prompts; i++)
		t->refusal[i] = lab->refusal_token;
	return carve_allocate(lab->dev, layout, t, &t->memory, err);
fail:
	return err->code;
}

static void trial_close(struct trial *t)
{
	scoring_close(&t->scoring);
	device_free(t->lab->dev, t->memory);
	free(t->refusal);
	free(t->value);
	free(t->host);
}

static int upload_candidate(struct trial *t, size_t candidate, struct err *err)
{
	const float *v = t->v + candidate * t->d;
	double norm = 0;

	for (size_t j = 0; j < t->d; j++)
		norm += (double)v[j] * v[j];
	for (size_t j = 0; j < t->d; j++)
		t->host[j] = norm > 0 ? (float)(v[j] / sqrt(norm)) : 0;
	if (device_upload(t->lab->dev, t->u.data, t->host, t->d * sizeof *t->host, err))
		return err->code;
	return device_upload(t->lab->dev, t->w.data, v, t->d * sizeof *v, err);
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
	return (struct edit){.kind = EDIT_ADD, .layer_first = layer, .layer_last = layer,
		.vector = t->w, .amount = 1};
}

static int add_log_odds(struct trial *t, size_t n, double *sum, struct err *err)
{
	if (readout_logprob(&t->lab->readout, workspace_out(t->scoring.runner.ws), t->refusal,
		    t->value, err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		*sum += log_odds(t->value[i]) / (double)t->scoring.schedule.n;
	return 0;
}

static int add_kl(struct trial *t, size_t n, double *sum, struct err *err)
{
	if (readout_kl(&t->lab->readout, tensor_rows(t->base_y, 0, n),
		    workspace_out(t->scoring.runner.ws), t->value, err))
		return err->code;
	for (size_t i = 0; i < n; i++)
		*sum += t->value[i] / (double)t->scoring.schedule.n;
	return 0;
}

static int judge(struct trial *t, bool harmful, size_t candidate, size_t n,
	const struct direction_scores *out, struct err *err)
{
	const struct edit ablate = ablation(t), add = addition(t, candidate % t->n_layer);

	TRY(upload_candidate(t, candidate, err));
	TRY(run_edited(t, n, &ablate, err));
	if (harmful)
		return add_log_odds(t, n, &out->ablated[candidate], err);
	TRY(add_kl(t, n, &out->kl[candidate], err));
	TRY(run_edited(t, n, &add, err));
	return add_log_odds(t, n, &out->added[candidate], err);
fail:
	return err->code;
}

static int judge_set(struct lab *lab, const char *set, bool harmful, const float *v,
	size_t n_candidates, const struct direction_scores *out, struct err *err)
{
	struct prompt_ids prompts = {0};
	struct progress progress;
	struct trial t = {.lab = lab};
	char title[64];

	err_clear(err);
	TRY(lab_set(lab, set, &prompts, err));
	TRY(trial_open(&t, lab, v, &prompts, err));
	snprintf(title, sizeof title, "direction: layers on %s", set);
	progress_begin(&progress, &lab->stages, title, prompts.n * n_candidates, "trial");
	for (size_t b = 0; b < t.scoring.schedule.n_batches; b++) {
		const size_t n = scoring_batch(&t.scoring, b);

		TRY(scoring_prefix(&t.scoring, NULL, 0, err));
		TRY(scoring_run(&t.scoring, n, NULL, 0, NULL, 0, err));
		TRY(op_copy(lab->dev, workspace_out(t.scoring.runner.ws),
			tensor_rows(t.base_y, 0, n), err));
		for (size_t c = 0; c < n_candidates; c++) {
			TRY(judge(&t, harmful, c, n, out, err));
			progress_add(&progress, n);
		}
	}
	progress_end(&progress);
fail:
	trial_close(&t);
	free(prompts.data);
	return err->code;
}

int direction_scores(struct lab *lab, const float *v, size_t n_candidates,
	const struct direction_scores *out, struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < n_candidates; i++)
		out->ablated[i] = out->added[i] = out->kl[i] = 0;
	if (judge_set(lab, c->direction.harmful_val, true, v, n_candidates, out, err))
		return err->code;
	return judge_set(lab, c->direction.harmless_val, false, v, n_candidates, out, err);
}
