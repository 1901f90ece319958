/* SPDX-License-Identifier: MIT
 *
 * reconstructed_direction.c - Contract: reconstructed_direction.h.
 */
#include "host/run/reconstructed_direction.h"

#include "host/model/carver.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"
#include "host/run/scoring.h"

#include <math.h>
#include <stdlib.h>

struct work {
	struct lab *lab;
	size_t n_layer, d;
	double *v, *v_hat; /* [n_layer, d] */
	/* Of one set. */
	struct prompt_ids prompts;
	struct scoring scoring;
	struct tensor *last, *views; /* [n_layer] resid_post of each prompt's last token */
	struct tensor x_hat;
	void *memory;                /* device: the above */
	struct sparse sparse;
	float *host;                 /* [most_prompts, d] */
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
	TRY(lab_set(w->lab, set, &w->prompts, err));
	TRY(scoring_open(&w->scoring, w->lab, &w->prompts, (struct scoring_size){.out = 1}, err));
	w->last = calloc(w->n_layer, sizeof *w->last);
	w->views = calloc(w->n_layer, sizeof *w->views);
	w->host = malloc(w->scoring.schedule.most_prompts * w->d * sizeof *w->host + 1);
	w->sparse = (struct sparse){.dev = w->lab->dev};
	if (!w->last || !w->views || !w->host)
		return err_nomem(err, "directions", w->prompts.n * w->d * sizeof *w->host);
	return carve_allocate(w->lab->dev, layout, w, &w->memory, err);
fail:
	return err->code;
}

static void close_set(struct work *w)
{
	scoring_close(&w->scoring);
	sparse_free(&w->sparse);
	device_free(w->lab->dev, w->memory);
	free(w->last);
	free(w->views);
	free(w->host);
	free(w->prompts.data);
	*w = (struct work){.lab = w->lab, .n_layer = w->n_layer, .d = w->d, .v = w->v,
		.v_hat = w->v_hat};
}

/* sum += weight times the sum of the rows of x. */
static int add_rows(struct work *w, struct tensor x, double weight, double *sum, struct err *err)
{
	if (download_floats(w->lab->dev, x, w->host, err))
		return err->code;
	for (size_t i = 0; i < x.rows; i++)
		for (size_t j = 0; j < w->d; j++)
			sum[j] += weight * w->host[i * w->d + j];
	return 0;
}

static int add_layer(struct work *w, size_t layer, double weight, struct err *err)
{
	const struct tensor x = w->views[layer], x_hat = tensor_rows(w->x_hat, 0, x.rows);
	struct sae_weights sae;

	TRY(sae_set_load(w->lab->saes, layer, &sae, err));
	TRY(sparse_encode(&w->sparse, &sae, x, err));
	TRY(op_sae_decode(w->lab->dev, &sae, x, &w->sparse.csr, x_hat, err));
	TRY(add_rows(w, x, weight, w->v + layer * w->d, err));
	return add_rows(w, x_hat, weight, w->v_hat + layer * w->d, err);
fail:
	return err->code;
}

/* Adds sign times the mean over a set. */
static int add_set(struct work *w, const char *set, double sign, struct err *err)
{
	struct tap tap = {.kind = TAP_RESID, .out_rows_only = true};

	err_clear(err);
	TRY(open_set(w, set, err));
	tap.out = w->views;
	TRY(scoring_prefix(&w->scoring, NULL, 0, err));
	for (size_t b = 0; b < w->scoring.schedule.n_batches; b++) {
		const size_t n = scoring_batch(&w->scoring, b);

		for (size_t l = 0; l < w->n_layer; l++)
			w->views[l] = tensor_rows(w->last[l], 0, n);
		TRY(scoring_run(&w->scoring, n, NULL, 0, &tap, 1, err));
		for (size_t l = 0; l < w->n_layer; l++)
			if (sae_set_has(w->lab->saes, l))
				TRY(add_layer(w, l, sign / (double)w->prompts.n, err));
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

int reconstructed_direction(struct lab *lab, const char *harmful, const char *harmless,
	double *cosine, struct err *err)
{
	struct work w = {.lab = lab, .n_layer = lab->model->arch.n_layer,
		.d = lab->model->arch.d_model};

	err_clear(err);
	w.v = calloc(w.n_layer * w.d, sizeof *w.v);
	w.v_hat = calloc(w.n_layer * w.d, sizeof *w.v_hat);
	if (!w.v || !w.v_hat) {
		err_nomem(err, "directions", 2 * w.n_layer * w.d * sizeof *w.v);
		goto fail;
	}
	TRY(add_set(&w, harmful, 1, err));
	TRY(add_set(&w, harmless, -1, err));
	for (size_t l = 0; l < w.n_layer; l++)
		cosine[l] = cosine_of(w.v + l * w.d, w.v_hat + l * w.d, w.d);
fail:
	free(w.v);
	free(w.v_hat);
	return err->code;
}
