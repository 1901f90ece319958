/* SPDX-License-Identifier: MIT
 *
 * observe.c - Contract: observe.h. Tests: what experiments built on it must show (test_science).
 *
 * A unit holds, for its prompts: "activation" [rows, n_features], rows in their order;
 * "first_token", "first_lead", "refusal_lead", "p_refusal"; with targets "metric".
 */
#include "host/measure/observe.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "host/work/stage.h"

#include <math.h>

/* The watched features of one layer. */
struct watched {
	struct {
		int32_t *data; /* ids */
		size_t n, cap;
	} ids;
	struct {
		size_t *data; /* their columns in the observation */
		size_t n, cap;
	} column;
	struct sae_few few;
};

struct work {
	struct lab *lab;
	const struct observe_request *request;
	struct observation *out;
	size_t n_layer, most_rows, most_out;
	struct condition_state condition;
	struct scoring scoring;
	struct watched *watched;     /* [n_layer], as the next three */
	struct sae_few *few;         /* the same, for taps; borrowed from watched */
	struct tensor *seen, *views; /* activations on the device, and their rows in this pass */
	struct tensor last_y;        /* [most_prompts, d] final norm of each prompt's last token */
	struct tensor logits;        /* [most_prompts, 2] */
	int32_t *last, *pair;        /* device [most_prompts], [2 most_prompts] */
	void *memory;                /* device: the five above */
	size_t *ids;                 /* [most_prompts] prompt ids of the batch, as the next three */
	int32_t *tokens;
	float *leads;
	int32_t *pairs;    /* [2 most_prompts] */
	double *values;    /* [2 most_prompts] */
	float *rows;       /* [most_out, most features of a layer] */
	float *activation; /* [most_out, n_features] of the batch */
};

/* ---- opening --------------------------------------------------------------------------- */

static size_t watched_rows(const struct work *w, size_t prompt)
{
	return size_min(w->request->n_last,
		prompts_tokens(w->lab->prompts, prompt, w->lab->prompts->n_prefix).n);
}

static int watch(struct work *w, struct err *err)
{
	const struct feature_set *features = w->request->features;

	w->watched = calloc(w->n_layer, sizeof *w->watched);
	w->few = calloc(w->n_layer, sizeof *w->few);
	w->seen = calloc(w->n_layer, sizeof *w->seen);
	w->views = calloc(w->n_layer, sizeof *w->views);
	if (!w->watched || !w->few || !w->seen || !w->views)
		return err_nomem(err, "features", w->n_layer * sizeof *w->watched);
	for (size_t k = 0; k < w->out->n_features; k++) {
		struct watched *layer = &w->watched[features->data[k].layer];

		TRY(vec_push(&layer->ids, features->data[k].id, err));
		TRY(vec_push(&layer->column, k, err));
	}
	for (size_t l = 0; l < w->n_layer; l++) {
		if (w->watched[l].ids.n == 0)
			continue;
		TRY(sae_set_select(w->lab->machine->saes, l, w->watched[l].ids.data,
			w->watched[l].ids.n, &w->watched[l].few, err));
		w->few[l] = w->watched[l].few;
	}
	return 0;
fail:
	return err->code;
}

static void layout(void *object, struct carver *c)
{
	struct work *w = object;
	const size_t most = w->scoring.schedule.most_prompts;

	for (size_t l = 0; l < w->n_layer; l++)
		if (w->watched[l].ids.n > 0)
			w->seen[l] = carve(c, w->most_rows, w->watched[l].ids.n);
	w->last_y = carve(c, most, w->lab->machine->model->arch.d_model);
	w->logits = carve(c, most, 2);
	w->last = carve_ints(c, most);
	w->pair = carve_ints(c, 2 * most);
}

static int allocate_out(struct work *w, struct err *err)
{
	struct observation *o = w->out;
	const struct prompt_ids *prompts = w->request->prompts;

	o->start = calloc(o->n + 1, sizeof *o->start);
	o->first_token = calloc(o->n + 1, sizeof *o->first_token);
	o->first_lead = calloc(o->n + 1, sizeof *o->first_lead);
	o->refusal_lead = calloc(o->n + 1, sizeof *o->refusal_lead);
	o->p_refusal = calloc(o->n + 1, sizeof *o->p_refusal);
	o->metric = calloc(o->n + 1, sizeof *o->metric);
	if (!o->start || !o->first_token || !o->first_lead || !o->refusal_lead || !o->p_refusal ||
		!o->metric)
		return err_nomem(err, "observations", o->n * sizeof *o->metric);
	for (size_t i = 0; i < o->n; i++) {
		o->start[i + 1] = o->start[i] + watched_rows(w, prompts->data[i]);
		o->metric[i] = NAN;
	}
	o->activation = calloc(o->start[o->n] * o->n_features + 1, sizeof *o->activation);
	if (w->request->n_last == OBSERVE_ALL)
		o->prefix = calloc(w->lab->prompts->n_prefix * o->n_features + 1,
			sizeof *o->prefix);
	if (!o->activation || (w->request->n_last == OBSERVE_ALL && !o->prefix))
		return err_nomem(err, "observations",
			o->start[o->n] * o->n_features * sizeof *o->activation);
	return 0;
}

static int work_open(struct work *w, struct err *err)
{
	const struct observe_request *r = w->request;
	size_t most, widest = 0;

	TRY(allocate_out(w, err));
	TRY(condition_open(&w->condition, w->lab, r->condition, err));
	w->condition.n_out = r->n_last;
	TRY(scoring_open(&w->scoring, w->lab, r->prompts,
		(struct scoring_size){condition_is_local(&w->condition), r->n_last}, err));
	TRY(watch(w, err));
	most = w->scoring.schedule.most_prompts;
	w->most_out = size_min(most * r->n_last, w->scoring.schedule.most_tokens);
	w->most_rows = size_max(w->most_out, w->lab->prompts->n_prefix);
	for (size_t l = 0; l < w->n_layer; l++)
		widest = size_max(widest, w->watched[l].ids.n);
	w->ids = calloc(most + 1, sizeof *w->ids);
	w->tokens = calloc(most + 1, sizeof *w->tokens);
	w->leads = calloc(2 * most + 1, sizeof *w->leads);
	w->pairs = calloc(2 * most + 1, sizeof *w->pairs);
	w->values = calloc(2 * most + 1, sizeof *w->values);
	w->rows = calloc(w->most_rows * widest + 1, sizeof *w->rows);
	w->activation = calloc(w->most_out * w->out->n_features + 1, sizeof *w->activation);
	if (!w->ids || !w->tokens || !w->leads || !w->pairs || !w->values || !w->rows ||
		!w->activation)
		return err_nomem(err, "observations", w->most_rows * widest * sizeof *w->rows);
	return carve_allocate(w->lab->machine->dev, layout, w, &w->memory, err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	for (size_t l = 0; w->watched && l < w->n_layer; l++) {
		free(w->watched[l].ids.data);
		free(w->watched[l].column.data);
		sae_few_free(&w->watched[l].few);
	}
	scoring_close(&w->scoring);
	condition_close(&w->condition);
	device_free(w->lab->machine->dev, w->memory);
	free(w->watched);
	free(w->few);
	free(w->seen);
	free(w->views);
	free(w->ids);
	free(w->tokens);
	free(w->leads);
	free(w->pairs);
	free(w->values);
	free(w->rows);
	free(w->activation);
}

void observation_free(struct observation *o)
{
	free(o->start);
	free(o->activation);
	free(o->prefix);
	free(o->first_token);
	free(o->first_lead);
	free(o->refusal_lead);
	free(o->p_refusal);
	free(o->metric);
	*o = (struct observation){0};
}

/* ---- passes ---------------------------------------------------------------------------- */

static struct tap tap_of(struct work *w, size_t n_rows)
{
	for (size_t l = 0; l < w->n_layer; l++)
		w->views[l] = w->seen[l].data ? tensor_rows(w->seen[l], 0, n_rows)
					      : (struct tensor){0};
	return (struct tap){.kind = w->request->edited ? TAP_FEATURES : TAP_FEATURES_UNEDITED,
		.out_rows_only = true,
		.out = w->views,
		.few = w->few};
}

/* Rows [from, from + n) of what a layer's tap saw, into rows of the observation. */
static void keep_rows(const struct work *w, size_t l, size_t from, size_t n, float *to)
{
	const struct watched *layer = &w->watched[l];

	for (size_t t = 0; t < n; t++)
		for (size_t k = 0; k < layer->ids.n; k++)
			to[t * w->out->n_features + layer->column.data[k]] =
				w->rows[(from + t) * layer->ids.n + k];
}

static int run_prefix(struct work *w, struct err *err)
{
	const size_t n = w->scoring.size.whole ? 0 : w->lab->prompts->n_prefix;
	struct tap tap = tap_of(w, n);
	const struct edit *edits;
	size_t n_edits;

	if (n == 0)
		return 0;
	tap.out_rows_only = false;
	w->views[w->n_layer - 1] = (struct tensor){0};
	TRY(condition_prefix_edits(&w->condition, &edits, &n_edits, err));
	TRY(runner_prefix(&w->scoring.runner, prompts_prefix(w->lab->prompts), n, edits, n_edits,
		&tap, w->out->prefix ? 1 : 0, &w->scoring.prefix, err));
	for (size_t l = 0; l + 1 < w->n_layer && w->out->prefix; l++) {
		if (w->watched[l].ids.n == 0)
			continue;
		TRY(download_floats(w->lab->machine->dev, w->views[l], w->rows, err));
		keep_rows(w, l, 0, n, w->out->prefix);
	}
	return 0;
fail:
	return err->code;
}

static size_t kept_rows(const struct work *w, size_t place)
{
	return w->out->start[place + 1] - w->out->start[place];
}

static int put_features(struct work *w, size_t n, struct unit *out, struct err *err)
{
	const struct batch *b = &w->scoring.runner.batch;
	size_t n_rows = 0;

	for (size_t l = 0; l < w->n_layer; l++) {
		size_t row = 0, to = 0;

		if (w->watched[l].ids.n == 0)
			continue;
		TRY(download_floats(w->lab->machine->dev, w->views[l], w->rows, err));
		for (size_t i = 0; i < n; i++) {
			const size_t kept = kept_rows(w, w->scoring.index[i]);

			while (row < b->n_out && (size_t)b->out_seq[row] == i)
				row++;
			keep_rows(w, l, row - kept, kept, w->activation + to * w->out->n_features);
			to += kept;
		}
	}
	for (size_t i = 0; i < n; i++)
		n_rows += kept_rows(w, w->scoring.index[i]);
	return unit_put(out, "activation", RESULTS_F32, w->activation, n_rows * w->out->n_features,
		err);
fail:
	return err->code;
}

/* The final norm at each prompt's last token. */
static int gather_last(struct work *w, size_t n, struct err *err)
{
	const struct batch *b = &w->scoring.runner.batch;
	struct device *dev = w->lab->machine->dev;

	for (size_t row = 0; row < b->n_out; row++)
		w->tokens[b->out_seq[row]] = (int32_t)row;
	if (device_upload(dev, w->last, w->tokens, n * sizeof *w->tokens, err))
		return err->code;
	return op_gather_rows(dev, workspace_out(w->scoring.runner.ws), w->last,
		tensor_rows(w->last_y, 0, n), err);
}

static int put_metric(struct work *w, size_t n, struct unit *out, struct err *err)
{
	const struct model *m = w->lab->machine->model;
	const struct tensor logits = tensor_rows(w->logits, 0, n);

	for (size_t i = 0; i < n; i++) {
		w->pairs[2 * i] = w->request->target[w->scoring.index[i]];
		w->pairs[2 * i + 1] = w->lab->prompts->refusal_token;
	}
	TRY(device_upload(m->dev, w->pair, w->pairs, 2 * n * sizeof *w->pairs, err));
	TRY(readout_selected(&w->lab->machine->readout, &w->scoring.runner.batch,
		tensor_rows(w->last_y, 0, n), w->pair, logits, w->values, err));
	for (size_t i = 0; i < n; i++)
		w->values[i] = w->values[2 * i] - w->values[2 * i + 1];
	return unit_put(out, "metric", RESULTS_F64, w->values, n, err);
fail:
	return err->code;
}

static int put_readings(struct work *w, size_t n, struct unit *out, struct err *err)
{
	struct readout *readout = &w->lab->machine->readout;
	const struct tensor y = tensor_rows(w->last_y, 0, n);

	TRY(gather_last(w, n, err));
	TRY(readout_argmax(readout, &w->scoring.runner.batch, y, w->tokens, w->leads, err));
	TRY(unit_put(out, "first_token", RESULTS_I32, w->tokens, n, err));
	TRY(unit_put(out, "first_lead", RESULTS_F32, w->leads, n, err));
	TRY(readout_lead_over(readout, &w->scoring.runner.batch, y, w->tokens,
		w->lab->prompts->refusal_token, w->leads, err));
	TRY(unit_put(out, "refusal_lead", RESULTS_F32, w->leads, n, err));
	for (size_t i = 0; i < n; i++)
		w->tokens[i] = w->lab->prompts->refusal_token;
	TRY(readout_logprob(readout, &w->scoring.runner.batch, y, w->tokens, w->values, err));
	for (size_t i = 0; i < n; i++)
		w->values[i] = exp(w->values[i]);
	TRY(unit_put(out, "p_refusal", RESULTS_F64, w->values, n, err));
	return w->request->target ? put_metric(w, n, out, err) : 0;
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	const size_t n = scoring_batch(&w->scoring, b);
	const struct edit *edits;
	size_t n_edits, n_out = 0;
	struct tap tap;

	for (size_t i = 0; i < n; i++) {
		w->ids[i] = w->request->prompts->data[w->scoring.index[i]];
		n_out += size_min(w->scoring.spans[i].n, w->request->n_last);
	}
	tap = tap_of(w, n_out);
	TRY(condition_edits(&w->condition, w->ids, n, &edits, &n_edits, err));
	TRY(scoring_run(&w->scoring, n, edits, n_edits, &tap, 1, err));
	TRY(put_features(w, n, out, err));
	return put_readings(w, n, out, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	struct observation *o = w->out;
	const size_t n = scoring_batch(&w->scoring, b);
	size_t n_rows = 0, row = 0;

	for (size_t i = 0; i < n; i++)
		n_rows += kept_rows(w, w->scoring.index[i]);
	TRY(unit_get(in, "activation", RESULTS_F32, w->activation, n_rows * o->n_features, err));
	TRY(unit_get(in, "first_token", RESULTS_I32, w->tokens, n, err));
	TRY(unit_get(in, "first_lead", RESULTS_F32, w->leads, n, err));
	TRY(unit_get(in, "refusal_lead", RESULTS_F32, w->leads + n, n, err));
	TRY(unit_get(in, "p_refusal", RESULTS_F64, w->values, n, err));
	if (w->request->target)
		TRY(unit_get(in, "metric", RESULTS_F64, w->values + n, n, err));
	for (size_t i = 0; i < n; i++) {
		const size_t place = w->scoring.index[i], kept = kept_rows(w, place);

		memcpy(o->activation + o->start[place] * o->n_features,
			w->activation + row * o->n_features,
			kept * o->n_features * sizeof *o->activation);
		row += kept;
		o->first_token[place] = w->tokens[i];
		o->first_lead[place] = w->leads[i];
		o->refusal_lead[place] = w->leads[n + i];
		o->p_refusal[place] = w->values[i];
		if (w->request->target)
			o->metric[place] = w->values[n + i];
	}
	return 0;
fail:
	return err->code;
}

int observe(struct lab *lab, const struct observe_request *request, struct observation *out,
	struct err *err)
{
	struct work w = {.lab = lab,
		.request = request,
		.out = out,
		.n_layer = lab->machine->model->arch.n_layer};

	err_clear(err);
	*out = (struct observation){.n = request->prompts->n,
		.n_features = request->features ? request->features->n : 0};
	TRY(work_open(&w, err));
	TRY(run_prefix(&w, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = request->title,
			.schedule = &w.scoring.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
fail:
	work_close(&w);
	return err->code;
}

double observation_mean(const struct observation *o, size_t prompt, size_t feature)
{
	const size_t from = o->start[prompt], to = o->start[prompt + 1];
	double sum = 0;

	for (size_t t = from; t < to; t++)
		sum += o->activation[t * o->n_features + feature];
	return sum / (double)(to - from);
}

struct recording observation_recording(const struct lab *lab, const struct observation *o,
	const struct feature_set *features, const struct prompt_ids *prompts,
	const float **of_prompt)
{
	for (size_t p = 0; p < lab->prompts->table.n; p++)
		of_prompt[p] = NULL;
	for (size_t i = 0; i < o->n; i++)
		of_prompt[prompts->data[i]] = o->activation + o->start[i] * o->n_features;
	return (struct recording){.features = features,
		.prefix = o->prefix,
		.of_prompt = of_prompt};
}
