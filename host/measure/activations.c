/* SPDX-License-Identifier: MIT
 *
 * activations.c - Contract: activations.h.
 */
#include "host/measure/activations.h"

#include "host/model/carver.h"

#include <stdlib.h>

struct work {
	struct lab *lab;
	const struct activation_visitor *visitor;
	size_t n_layer, rows;
	struct scoring scoring;
	struct tensor *resid, *views; /* [n_layer] */
	void *memory;                 /* device */
	size_t *token_start;
	struct sparse sparse;
	struct host_csr features;
};

static void layout(void *object, struct carver *c)
{
	struct work *w = object;

	for (size_t l = 0; l < w->n_layer; l++)
		w->resid[l] = carve(c, w->rows, w->lab->machine->model->arch.d_model);
}

static int work_open(struct work *w, const struct prompt_ids *prompts, struct err *err)
{
	struct lab *lab = w->lab;

	TRY(scoring_open(&w->scoring, lab, prompts,
		(struct scoring_size){.whole = w->visitor->whole, .out = BATCH_OUT_ALL}, err));
	w->rows = w->scoring.schedule.most_tokens;
	w->resid = calloc(w->n_layer, sizeof *w->resid);
	w->views = calloc(w->n_layer, sizeof *w->views);
	w->token_start = malloc((w->scoring.schedule.most_prompts + 1) * sizeof *w->token_start);
	if (!w->resid || !w->views || !w->token_start)
		return err_nomem(err, "activations", w->n_layer * sizeof *w->resid);
	return carve_allocate(lab->machine->dev, layout, w, &w->memory, err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	scoring_close(&w->scoring);
	sparse_free(&w->sparse);
	host_csr_free(&w->features);
	device_free(w->lab->machine->dev, w->memory);
	free(w->resid);
	free(w->views);
	free(w->token_start);
}

/* One batch on its way. */
struct visit {
	struct work *work;
	const struct activation_batch *batch;
	struct unit *out;
};

/* From inside the pass: what leaves the device does so beside the layers behind. */
static int visit_resid(void *context, size_t layer, struct err *err)
{
	const struct visit *v = context;
	const struct activation_visitor *visitor = v->work->visitor;

	return visitor->resid_post(visitor->context, layer, v->batch, v->work->views[layer], v->out,
		err);
}

static int visit_features(struct work *w, size_t layer, const struct activation_batch *batch,
	struct unit *out, struct err *err)
{
	const struct activation_visitor *visitor = w->visitor;
	struct sae_weights sae;

	TRY(sae_set_load(w->lab->machine->saes, layer, &sae, err));
	TRY(sparse_encode(&w->sparse, &sae, w->views[layer], err));
	TRY(sparse_download(&w->sparse, &w->features, err));
	return visitor->features(visitor->context, layer, batch, &w->features, out, err);
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	const size_t n = scoring_batch(&w->scoring, b);
	const struct activation_visitor *visitor = w->visitor;
	struct activation_batch batch = {.n_prompts = n,
		.index = w->scoring.index,
		.token_start = w->token_start};
	struct visit visit = {w, &batch, out};
	const struct tap tap = {.kind = TAP_ACTIVATION,
		.out = w->views,
		.served = visitor->resid_post ? visit_resid : NULL,
		.context = &visit};

	w->token_start[0] = 0;
	for (size_t i = 0; i < n; i++)
		w->token_start[i + 1] = w->token_start[i] + w->scoring.spans[i].n;
	batch.n_tokens = w->token_start[n];
	for (size_t l = 0; l < w->n_layer; l++)
		w->views[l] = tensor_rows(w->resid[l], 0, batch.n_tokens);
	TRY(scoring_run(&w->scoring, n, NULL, 0, &tap, 1, err));
	for (size_t l = 0; visitor->features && l < w->n_layer; l++)
		TRY(visit_features(w, l, &batch, out, err));
	return visitor->batch_done ? visitor->batch_done(visitor->context, out, err) : 0;
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	const struct work *w = context;

	return w->visitor->take(w->visitor->context, b, in, err);
}

int activations_visit(struct lab *lab, const struct prompt_ids *prompts, const char *title,
	const struct activation_visitor *visitor, struct err *err)
{
	struct work w = {.lab = lab,
		.visitor = visitor,
		.n_layer = lab->machine->model->arch.n_layer,
		.sparse = {.dev = lab->machine->dev}};

	err_clear(err);
	TRY(work_open(&w, prompts, err));
	TRY(scoring_prefix(&w.scoring, NULL, 0, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = title,
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
