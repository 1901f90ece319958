/* SPDX-License-Identifier: MIT
 *
 * reconstruction.c - Contract: reconstruction.h.
 *
 * A unit holds, for its n prompts: "nll_clean" [n]; "nll_sae", "nll_zero", "squared_error",
 * "n_active" [n_layer, n]; and of their tokens "sum" [n_layer, d_model], "sum_squares" [n_layer],
 * each two int64_t.
 */
#include "experiments/sae_compare/reconstruction.h"

#include "host/base/exact_sum.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "host/method/runner.h"
#include "host/model/sparse.h"
#include "host/work/stage.h"

#include <stdlib.h>
#include <string.h>

/* What is measured of every layer and prompt. */
enum { NLL_SAE, NLL_ZERO, SQUARED_ERROR, N_ACTIVE, N_BY_LAYER };

static const char *const by_layer_names[N_BY_LAYER] = {"nll_sae", "nll_zero", "squared_error",
	"n_active"};

struct work {
	struct lab *lab;
	const struct prompt_ids *prompts;
	struct reconstruction *out;
	size_t n_layer, d;
	struct token_ids ids; /* prompt behind the prefix and reply, prompt after prompt */
	struct schedule schedule;
	struct runner runner;
	struct kv_cache prefix;
	struct tensor x_hat, zero, y;
	int32_t *row_on_device;
	void *on_device; /* the above, and resid */
	struct sparse sparse;
	struct host_csr features;
	struct arena memory; /* what follows is in it */
	size_t *start, *scored,
		*length; /* [n + 1] into ids; [n] tokens of the reply, of all but the last */
	struct token_span *spans; /* [most_prompts] */
	int32_t *row, *target; /* [most_tokens] rows that predict a reply's token, and the token */
	double *logprob;       /* [most_tokens] */
	struct tensor *resid, *views, *targets; /* [n_layer] */
	float *x_host, *x_hat_host;             /* [most_tokens, d] */
	exact_sum *sum, *sum_squares;           /* [n_layer, d], [n_layer] of x over all tokens */
	/* The same of one unit, and what it has of its n prompts. */
	exact_sum *unit_sum, *unit_sum_squares;
	double *nll_clean, *by_layer[N_BY_LAYER]; /* [n], [n_layer, n] each */
};

/* ---- memory ---------------------------------------------------------------------------- */

static void layout(void *object, struct carver *c)
{
	struct work *w = object;
	const size_t rows = w->schedule.most_tokens;

	for (size_t l = 0; l < w->n_layer; l++)
		w->resid[l] = carve(c, rows, w->d);
	w->x_hat = carve(c, rows, w->d);
	w->zero = carve(c, rows, w->d);
	w->y = carve(c, rows, w->d);
	w->row_on_device = carve_ints(c, rows);
}

/* Sequences end one token before the reply does: its last token predicts nothing. */
static int collect_sequences(struct work *w, const struct continuation *replies, struct err *err)
{
	for (size_t i = 0; i < w->prompts->n; i++) {
		const struct token_span prompt = prompts_tokens(w->lab->prompts,
			w->prompts->data[i], w->lab->prompts->n_prefix);
		const size_t length = replies->start[i + 1] - replies->start[i];

		TRY(vec_append(&w->ids, prompt.ids, prompt.n, err));
		TRY(vec_append(&w->ids, replies->tokens.data + replies->start[i], length, err));
		if (replies->ended_by[i] >= 0)
			TRY(vec_push(&w->ids, replies->ended_by[i], err));
		w->start[i + 1] = w->ids.n;
		w->scored[i] = w->ids.n - w->start[i] - prompt.n;
		w->out->n_scored[i] = (int32_t)w->scored[i];
		w->length[i] = w->start[i + 1] - w->start[i] - 1;
		w->out->n_tokens[i] = (int32_t)w->length[i];
	}
	return 0;
fail:
	return err->code;
}

static int allocate_out(struct reconstruction *r, size_t n_layer, size_t n, struct err *err)
{
	struct arena *a = &r->memory;

	*r = (struct reconstruction){.n_layer = n_layer, .n_prompts = n};
	r->n_tokens = arena_alloc(a, n, sizeof *r->n_tokens);
	r->n_scored = arena_alloc(a, n, sizeof *r->n_scored);
	r->nll_clean = arena_alloc(a, n, sizeof *r->nll_clean);
	r->nll_sae = arena_alloc(a, n_layer * n, sizeof *r->nll_sae);
	r->nll_zero = arena_alloc(a, n_layer * n, sizeof *r->nll_zero);
	r->squared_error = arena_alloc(a, n_layer * n, sizeof *r->squared_error);
	r->n_active = arena_alloc(a, n_layer * n, sizeof *r->n_active);
	r->variance = arena_alloc(a, n_layer, sizeof *r->variance);
	return arena_check(a, "reconstruction", err);
}

void reconstruction_free(struct reconstruction *r)
{
	arena_free(&r->memory);
	*r = (struct reconstruction){0};
}

/* What the schedule has the size of. */
static int allocate_host(struct work *w, struct err *err)
{
	const size_t rows = w->schedule.most_tokens, prompts = w->schedule.most_prompts;
	const size_t n_layer = w->n_layer, d = w->d;
	struct arena *a = &w->memory;

	w->spans = arena_alloc(a, prompts, sizeof *w->spans);
	w->row = arena_alloc(a, rows, sizeof *w->row);
	w->target = arena_alloc(a, rows, sizeof *w->target);
	w->logprob = arena_alloc(a, rows, sizeof *w->logprob);
	w->resid = arena_alloc(a, n_layer, sizeof *w->resid);
	w->views = arena_alloc(a, n_layer, sizeof *w->views);
	w->targets = arena_alloc(a, n_layer, sizeof *w->targets);
	w->x_host = arena_alloc(a, rows * d, sizeof *w->x_host);
	w->x_hat_host = arena_alloc(a, rows * d, sizeof *w->x_hat_host);
	w->sum = arena_alloc(a, n_layer * d, sizeof *w->sum);
	w->sum_squares = arena_alloc(a, n_layer, sizeof *w->sum_squares);
	w->unit_sum = arena_alloc(a, n_layer * d, sizeof *w->unit_sum);
	w->unit_sum_squares = arena_alloc(a, n_layer, sizeof *w->unit_sum_squares);
	w->nll_clean = arena_alloc(a, prompts, sizeof *w->nll_clean);
	for (int m = 0; m < N_BY_LAYER; m++)
		w->by_layer[m] = arena_alloc(a, n_layer * prompts, sizeof *w->by_layer[m]);
	return arena_check(a, "reconstruction", err);
}

static int work_open(struct work *w, const struct continuation *replies, struct err *err)
{
	const size_t n = w->prompts->n, most = (size_t)w->lab->config->batch.tokens;

	TRY(allocate_out(w->out, w->n_layer, n, err));
	w->start = arena_alloc(&w->memory, n + 1, sizeof *w->start);
	w->scored = arena_alloc(&w->memory, n, sizeof *w->scored);
	w->length = arena_alloc(&w->memory, n, sizeof *w->length);
	TRY(arena_check(&w->memory, "reconstruction", err));
	TRY(collect_sequences(w, replies, err));
	TRY(schedule_make(&w->schedule, w->length, n, most, most, err));
	TRY(allocate_host(w, err));
	TRY(carve_allocate(w->lab->machine->dev, layout, w, &w->on_device, err));
	TRY(op_scale(w->lab->machine->dev, 0, w->zero, err));
	TRY(runner_init(&w->runner, w->lab->machine->model, &w->lab->machine->readout,
		(struct runner_size){size_max(w->schedule.most_tokens, w->lab->prompts->n_prefix),
			w->schedule.most_prompts, w->schedule.most_tokens, false},
		err));
	return runner_prefix(&w->runner, prompts_prefix(w->lab->prompts), w->lab->prompts->n_prefix,
		NULL, 0, NULL, 0, &w->prefix, err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	kv_cache_free(&w->prefix);
	runner_free(&w->runner);
	schedule_free(&w->schedule);
	sparse_free(&w->sparse);
	host_csr_free(&w->features);
	device_free(w->lab->machine->dev, w->on_device);
	free(w->ids.data);
	arena_free(&w->memory);
}

/* ---- one batch ------------------------------------------------------------------------- */

struct batch_view {
	const size_t *index; /* places in the list of prompts */
	size_t n, n_tokens, n_targets;
};

static struct batch_view view_batch(struct work *w, size_t b)
{
	struct batch_view v = {.index = w->schedule.order + w->schedule.cut[b],
		.n = w->schedule.cut[b + 1] - w->schedule.cut[b]};

	for (size_t i = 0; i < v.n; i++) {
		const size_t p = v.index[i], length = (size_t)w->out->n_tokens[p];
		const size_t first = length - w->scored[p]; /* the prompt's last token */

		w->spans[i] = (struct token_span){w->ids.data + w->start[p], length,
			(int32_t)w->prompts->data[p]};
		for (size_t k = 0; k < w->scored[p]; k++) {
			w->row[v.n_targets] = (int32_t)(v.n_tokens + first + k);
			w->target[v.n_targets++] = w->ids.data[w->start[p] + first + k + 1];
		}
		v.n_tokens += length;
	}
	return v;
}

/* One pass, and -log p of every reply of the batch into nll [n]. */
static int run_pass(struct work *w, const struct batch_view *v, const struct edit *edit,
	const struct tap *tap, double *nll, struct err *err)
{
	const struct intervention how = {w->lab->prompts->n_prefix > 0 ? &w->prefix : NULL, edit,
		edit ? 1 : 0, tap, tap ? 1 : 0};
	const struct tensor y = tensor_rows(w->y, 0, v->n_targets);
	size_t t = 0;

	TRY(runner_run(&w->runner, w->spans, v->n, BATCH_OUT_ALL, &how, err));
	TRY(op_gather_rows(w->lab->machine->dev, workspace_out(w->runner.ws), w->row_on_device, y,
		err));
	TRY(readout_logprob(&w->lab->machine->readout, NULL, y, w->target, w->logprob, err));
	for (size_t i = 0; i < v->n; i++) {
		nll[i] = 0;
		for (size_t k = 0; k < w->scored[v->index[i]]; k++)
			nll[i] -= w->logprob[t++];
	}
	return 0;
fail:
	return err->code;
}

/* The same with one layer's resid_post replaced. */
static int run_replaced(struct work *w, const struct batch_view *v, size_t layer,
	struct tensor target, double *nll, struct err *err)
{
	const struct edit replace = {.kind = EDIT_MIX,
		.layer_first = layer,
		.layer_last = layer,
		.amount = 1,
		.targets = w->targets};

	w->targets[layer] = tensor_rows(target, 0, v->n_tokens);
	return run_pass(w, v, &replace, NULL, nll + layer * v->n, err);
}

/* Errors, active features and moments of one layer. */
static int measure(struct work *w, const struct batch_view *v, size_t layer, struct err *err)
{
	const struct tensor x = w->views[layer], x_hat = tensor_rows(w->x_hat, 0, v->n_tokens);
	double *n_active = w->by_layer[N_ACTIVE] + layer * v->n;
	double *squared_error = w->by_layer[SQUARED_ERROR] + layer * v->n;
	size_t t = 0;

	TRY(download_floats(w->lab->machine->dev, x, w->x_host, err));
	TRY(download_floats(w->lab->machine->dev, x_hat, w->x_hat_host, err));
	for (size_t i = 0; i < v->n; i++) {
		double squares = 0;

		n_active[i] = squared_error[i] = 0;
		for (size_t k = 0; k < w->spans[i].n; k++, t++) {
			n_active[i] += (double)(w->features.indptr[t + 1] - w->features.indptr[t]);
			for (size_t j = 0; j < w->d; j++) {
				const double value = w->x_host[t * w->d + j];
				const double error = value - w->x_hat_host[t * w->d + j];

				squared_error[i] += error * error;
				w->unit_sum[layer * w->d + j] += exact_term(value);
				squares += value * value;
			}
		}
		w->unit_sum_squares[layer] += exact_term(squares);
	}
	return 0;
fail:
	return err->code;
}

static int run_layer(struct work *w, const struct batch_view *v, size_t layer, struct err *err)
{
	const struct tensor x_hat = tensor_rows(w->x_hat, 0, v->n_tokens);
	struct sae_weights sae;

	TRY(sae_set_load(w->lab->machine->saes, layer, &sae, err));
	TRY(sparse_encode(&w->sparse, &sae, w->views[layer], err));
	TRY(sparse_download(&w->sparse, &w->features, err));
	TRY(op_sae_decode(w->lab->machine->dev, &sae, w->views[layer], &w->sparse.csr, x_hat, err));
	TRY(measure(w, v, layer, err));
	TRY(run_replaced(w, v, layer, w->x_hat, w->by_layer[NLL_SAE], err));
	return run_replaced(w, v, layer, w->zero, w->by_layer[NLL_ZERO], err);
fail:
	return err->code;
}

static int put_batch(struct work *w, size_t n, struct unit *out, struct err *err)
{
	TRY(unit_put(out, "nll_clean", RESULTS_F64, w->nll_clean, n, err));
	for (int m = 0; m < N_BY_LAYER; m++)
		TRY(unit_put(out, by_layer_names[m], RESULTS_F64, w->by_layer[m], w->n_layer * n,
			err));
	TRY(unit_put(out, "sum", RESULTS_I64, w->unit_sum, 2 * w->n_layer * w->d, err));
	return unit_put(out, "sum_squares", RESULTS_I64, w->unit_sum_squares, 2 * w->n_layer, err);
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	const struct batch_view v = view_batch(w, b);
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = w->views};

	memset(w->unit_sum, 0, w->n_layer * w->d * sizeof *w->unit_sum);
	memset(w->unit_sum_squares, 0, w->n_layer * sizeof *w->unit_sum_squares);
	for (int m = 0; m < N_BY_LAYER; m++) /* layers without an SAE */
		memset(w->by_layer[m], 0, w->n_layer * v.n * sizeof *w->by_layer[m]);
	for (size_t l = 0; l < w->n_layer; l++)
		w->views[l] = tensor_rows(w->resid[l], 0, v.n_tokens);
	TRY(device_upload(w->lab->machine->dev, w->row_on_device, w->row,
		v.n_targets * sizeof *w->row, err));
	TRY(run_pass(w, &v, NULL, &tap, w->nll_clean, err));
	for (size_t l = 0; l < w->n_layer; l++)
		if (sae_set_has(w->lab->machine->saes, l))
			TRY(run_layer(w, &v, l, err));
	return put_batch(w, v.n, out, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	struct reconstruction *r = w->out;
	double *const to[N_BY_LAYER] = {r->nll_sae, r->nll_zero, r->squared_error, r->n_active};
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	const size_t n = w->schedule.cut[b + 1] - w->schedule.cut[b];

	TRY(unit_get(in, "nll_clean", RESULTS_F64, w->nll_clean, n, err));
	for (size_t i = 0; i < n; i++)
		r->nll_clean[index[i]] = w->nll_clean[i];
	for (int m = 0; m < N_BY_LAYER; m++) {
		TRY(unit_get(in, by_layer_names[m], RESULTS_F64, w->by_layer[m], w->n_layer * n,
			err));
		for (size_t l = 0; l < w->n_layer; l++)
			for (size_t i = 0; i < n; i++)
				to[m][l * r->n_prompts + index[i]] = w->by_layer[m][l * n + i];
	}
	TRY(unit_get(in, "sum", RESULTS_I64, w->unit_sum, 2 * w->n_layer * w->d, err));
	TRY(unit_get(in, "sum_squares", RESULTS_I64, w->unit_sum_squares, 2 * w->n_layer, err));
	for (size_t j = 0; j < w->n_layer * w->d; j++)
		w->sum[j] += w->unit_sum[j];
	for (size_t l = 0; l < w->n_layer; l++)
		w->sum_squares[l] += w->unit_sum_squares[l];
	return 0;
fail:
	return err->code;
}

/* E|x|^2 - |E x|^2. */
static void take_variance(struct work *w)
{
	double n = 0;

	for (size_t i = 0; i < w->prompts->n; i++)
		n += w->out->n_tokens[i];
	for (size_t l = 0; l < w->n_layer; l++) {
		w->out->variance[l] = exact_value(w->sum_squares[l]) / n;
		for (size_t j = 0; j < w->d; j++) {
			const double mean = exact_value(w->sum[l * w->d + j]) / n;

			w->out->variance[l] -= mean * mean;
		}
	}
}

int reconstruction_run(struct lab *lab, const struct prompt_ids *prompts,
	const struct continuation *replies, const char *title, struct reconstruction *out,
	struct err *err)
{
	struct work w = {.lab = lab,
		.prompts = prompts,
		.out = out,
		.n_layer = lab->machine->model->arch.n_layer,
		.d = lab->machine->model->arch.d_model,
		.sparse = {.dev = lab->machine->dev}};

	err_clear(err);
	TRY(work_open(&w, replies, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = title,
			.schedule = &w.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
	take_variance(&w);
fail:
	work_close(&w);
	return err->code;
}
