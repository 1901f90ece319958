/* SPDX-License-Identifier: MIT
 *
 * sae_check.c - Contract: sae_check.h. Tests: tests/test_run.c, tests/test_result_file.py.
 */
#include "host/measure/sae_check.h"

#include "host/base/arena.h"
#include "host/base/exact_sum.h"
#include "host/base/log.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"
#include "host/measure/activations.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPTS = 32 };

static const struct {
	struct dataset l0, claimed_l0, fvu;
} datasets = {
	.l0 = {"/sae_check/l0", {"layer"}, RESULTS_F64, "1",
		"active features per token, on up to 32 of the config's prompts, behind the "
		"template's prefix"},
	.claimed_l0 = {"/sae_check/claimed_l0", {"layer"}, RESULTS_F64, "1",
		"the same as folder or config of the SAE claim it: N of `average_l0_N`, k of top-k "
		"SAEs; NaN = nothing is claimed"},
	.fvu = {"/sae_check/fvu", {"layer"}, RESULTS_F64, "1",
		"share of the variance of `resid_post` that the SAE leaves unexplained"},
};

const struct dataset_section sae_check_section = {"SAEs (`sae.check`)",
	"NaN for layers without an SAE (`sae.layers = \"found\"`).", DATASETS(datasets)};

/* Sums over the tokens of one layer. A unit holds those of its prompts: "counts" and "squares"
 * [n_layer, 2], "sum" [n_layer, d_model], each sum two int64_t. */
struct layer_sums {
	size_t n_tokens, n_active;
	exact_sum squares, errors; /* of x, of x - x_hat */
	exact_sum *sum;            /* [d_model] */
};

struct work {
	struct lab *lab;
	size_t n_layer, d_model;
	struct arena memory;       /* what follows is in it, up to `sum` */
	struct layer_sums *layers; /* [n_layer] of all units taken */
	int64_t *counts;           /* [n_layer, 2] of one unit: tokens, active features */
	exact_sum *squares;        /* [n_layer, 2] */
	exact_sum *sum;            /* [n_layer, d_model] */
	struct sparse sparse;
	void *x_hat;    /* device, [rows, d_model] */
	float *host[2]; /* x and x_hat */
	size_t rows;    /* room in the three */
};

static int allocate(struct work *w, struct err *err)
{
	w->layers = arena_alloc(&w->memory, w->n_layer, sizeof *w->layers);
	w->counts = arena_alloc(&w->memory, 2 * w->n_layer, sizeof *w->counts);
	w->squares = arena_alloc(&w->memory, 2 * w->n_layer, sizeof *w->squares);
	w->sum = arena_alloc(&w->memory, w->n_layer * w->d_model, sizeof *w->sum);
	for (size_t l = 0; w->layers && l < w->n_layer; l++)
		w->layers[l].sum = arena_alloc(&w->memory, w->d_model, sizeof *w->layers[l].sum);
	return arena_check(&w->memory, "sae.check", err);
}

static int reserve(struct work *w, size_t rows, struct err *err)
{
	const struct tensor t = {NULL, device_activation(w->lab->machine->dev), rows, w->d_model};

	if (rows <= w->rows)
		return 0;
	device_free(w->lab->machine->dev, w->x_hat);
	w->x_hat = NULL;
	w->rows = 0;
	TRY(device_alloc(w->lab->machine->dev, tensor_bytes(t), &w->x_hat, err));
	for (size_t i = 0; i < 2; i++) {
		free(w->host[i]);
		w->host[i] = malloc(tensor_count(t) * sizeof(float));
		if (!w->host[i])
			return err_nomem(err, "sae.check", tensor_count(t) * sizeof(float));
	}
	w->rows = rows;
	return 0;
fail:
	return err->code;
}

static void add_row(struct work *w, size_t layer, const float *x, const float *x_hat)
{
	exact_sum *sum = w->sum + layer * w->d_model;
	double squares = 0, errors = 0;

	for (size_t j = 0; j < w->d_model; j++) {
		const double error = (double)x[j] - x_hat[j];

		sum[j] += exact_term(x[j]);
		squares += (double)x[j] * x[j];
		errors += error * error;
	}
	w->squares[2 * layer] += exact_term(squares);
	w->squares[2 * layer + 1] += exact_term(errors);
}

static int on_resid_post(void *context, size_t layer, const struct activation_batch *batch,
	struct tensor x, struct unit *out, struct err *err)
{
	struct work *w = context;
	struct device *dev = w->lab->machine->dev;
	struct sae_weights sae;
	struct tensor x_hat = x;
	int32_t n_active;

	(void)out; /* all layers together: on_batch_done */
	if (!sae_set_has(w->lab->machine->saes, layer))
		return 0;
	TRY(reserve(w, x.rows, err));
	x_hat.data = w->x_hat;
	TRY(sae_set_load(w->lab->machine->saes, layer, &sae, err));
	TRY(sparse_encode(&w->sparse, &sae, x, err));
	TRY(op_sae_decode(dev, &sae, x, &w->sparse.csr, x_hat, err));
	TRY(device_download(dev, &n_active, w->sparse.csr.indptr + x.rows, sizeof n_active, err));
	TRY(download_floats(dev, x, w->host[0], err));
	TRY(download_floats(dev, x_hat, w->host[1], err));
	for (size_t i = 0; i < x.rows; i++)
		add_row(w, layer, w->host[0] + i * w->d_model, w->host[1] + i * w->d_model);
	w->counts[2 * layer] += (int64_t)batch->n_tokens;
	w->counts[2 * layer + 1] += n_active;
	return 0;
fail:
	return err->code;
}

static int on_batch_done(void *context, struct unit *out, struct err *err)
{
	struct work *w = context;
	const size_t n = w->n_layer;

	TRY(unit_put(out, "counts", RESULTS_I64, w->counts, 2 * n, err));
	TRY(unit_put(out, "squares", RESULTS_I64, w->squares, 4 * n, err));
	TRY(unit_put(out, "sum", RESULTS_I64, w->sum, 2 * n * w->d_model, err));
	memset(w->counts, 0, 2 * n * sizeof *w->counts);
	memset(w->squares, 0, 2 * n * sizeof *w->squares);
	memset(w->sum, 0, n * w->d_model * sizeof *w->sum);
	return 0;
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	const size_t n = w->n_layer;

	(void)b;
	TRY(unit_get(in, "counts", RESULTS_I64, w->counts, 2 * n, err));
	TRY(unit_get(in, "squares", RESULTS_I64, w->squares, 4 * n, err));
	TRY(unit_get(in, "sum", RESULTS_I64, w->sum, 2 * n * w->d_model, err));
	for (size_t l = 0; l < n; l++) {
		struct layer_sums *s = &w->layers[l];

		s->n_tokens += (size_t)w->counts[2 * l];
		s->n_active += (size_t)w->counts[2 * l + 1];
		s->squares += w->squares[2 * l];
		s->errors += w->squares[2 * l + 1];
		for (size_t j = 0; j < w->d_model; j++)
			s->sum[j] += w->sum[l * w->d_model + j];
	}
	return 0;
fail:
	return err->code;
}

static double l0_of(const struct layer_sums *s)
{
	return s->n_tokens > 0 ? (double)s->n_active / (double)s->n_tokens : NAN;
}

static double fvu_of(const struct layer_sums *s, size_t d)
{
	double variance = exact_value(s->squares);

	for (size_t j = 0; j < d; j++) {
		const double sum = exact_value(s->sum[j]);

		variance -= sum * sum / (double)s->n_tokens;
	}
	return s->n_tokens > 0 ? exact_value(s->errors) / variance : NAN;
}

static void judge(const struct work *w, size_t layer, double l0, double fvu)
{
	const double claimed = sae_set_claimed_l0(w->lab->machine->saes, layer);

	printf("  %5zu %10.1f", layer, l0);
	if (isnan(claimed))
		printf(" %10s", "-");
	else
		printf(" %10.1f", claimed);
	printf(" %10.3f\n", fvu);
	fflush(stdout);
	if (l0 > 3 * claimed || l0 < claimed / 3)
		log_warn(
			"layer %zu: %.1f features are active per token, where %s says %.0f; is it of "
			"this model, this place, and folded as sae.fold says?",
			layer, l0, sae_set_path(w->lab->machine->saes, layer), claimed);
	if (!(fvu <= 0.5))
		log_warn(
			"layer %zu: %s leaves %.2f of the variance of resid_post unexplained; is it of "
			"this model, this place, and folded as sae.fold says?",
			layer, sae_set_path(w->lab->machine->saes, layer), fvu);
}

static int report(struct work *w, struct err *err)
{
	const size_t n = w->n_layer;
	struct results *r = w->lab->job->results;
	double *l0 = arena_alloc(&w->memory, n, sizeof *l0);
	double *claimed = arena_alloc(&w->memory, n, sizeof *claimed);
	double *fvu = arena_alloc(&w->memory, n, sizeof *fvu);

	TRY(arena_check(&w->memory, "sae.check", err));
	printf("  %5s %10s %10s %10s\n", "layer", "L0", "claimed", "FVU");
	for (size_t l = 0; l < n; l++) {
		l0[l] = l0_of(&w->layers[l]);
		fvu[l] = fvu_of(&w->layers[l], w->d_model);
		claimed[l] = sae_set_claimed_l0(w->lab->machine->saes, l);
		if (sae_set_has(w->lab->machine->saes, l))
			judge(w, l, l0[l], fvu[l]);
	}
	TRY(dataset_write(r, &datasets.l0, NULL, &n, l0, err));
	TRY(dataset_write(r, &datasets.claimed_l0, NULL, &n, claimed, err));
	TRY(dataset_write(r, &datasets.fvu, NULL, &n, fvu, err));
	return 0;
fail:
	return err->code;
}

int sae_check_run(struct lab *lab, struct err *err)
{
	struct work w = {.lab = lab,
		.n_layer = lab->machine->model->arch.n_layer,
		.d_model = lab->machine->model->arch.d_model,
		.sparse = {.dev = lab->machine->dev}};
	const struct activation_visitor visitor = {.context = &w,
		.resid_post = on_resid_post,
		.batch_done = on_batch_done,
		.take = take};
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(allocate(&w, err));
	TRY(prompts_spread(lab->prompts, MOST_PROMPTS, &prompts, err));
	TRY(activations_visit(lab, &prompts, "SAEs: check", &visitor, err));
	TRY(report(&w, err));
fail:
	arena_free(&w.memory);
	free(w.host[0]);
	free(w.host[1]);
	device_free(lab->machine->dev, w.x_hat);
	sparse_free(&w.sparse);
	free(prompts.data);
	return err->code;
}
