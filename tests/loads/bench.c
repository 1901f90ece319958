/* SPDX-License-Identifier: MIT
 *
 * bench.c - the model and the SAEs that the loads share. Contract: load.h. Tests:
 * tests/test_loads.py.
 *
 * What the SAEs' thresholds follow from is measured: the lengths of resid_post at every token of a
 * few prompts, in one pass.
 */
#include "tests/loads/load.h"

#include "host/base/memory.h"
#include "host/base/random.h"
#include "host/base/size.h"
#include "host/method/runner.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "tests/loads/random_saes.h"

#include <math.h>
#include <stdlib.h>

enum { CALIBRATED = 8 /* prompts */, WANTED_L0 = 100, LEAST_L0 = 30, MOST_L0 = 300 };

/* ---- tokens ---------------------------------------------------------------------------- */

static int make_tokens(struct bench *b, struct err *err)
{
	const struct shape *s = b->shape;
	size_t prompts = size_max(size_max(s->attributed, s->many), CALIBRATED);
	uint64_t seed = 1;

	for (size_t i = 0; i < LOAD_BATCHES; i++)
		prompts = size_max(prompts, s->replies[i]);
	b->n_tokens = size_max(prompts * s->prompt_tokens, s->few * s->few_tokens);
	b->tokens = malloc(b->n_tokens * sizeof *b->tokens);
	if (!b->tokens)
		return err_nomem(err, "random prompts", b->n_tokens * sizeof *b->tokens);
	for (size_t i = 0; i < b->n_tokens; i++)
		b->tokens[i] = (int32_t)random_below(&seed, b->model->arch.n_vocab);
	return 0;
}

int bench_prompts(const struct bench *b, size_t n, size_t tokens, struct token_span **out,
	struct err *err)
{
	*out = malloc(n * sizeof **out);
	if (!*out)
		return err_nomem(err, "prompts", n * sizeof **out);
	for (size_t i = 0; i < n; i++)
		(*out)[i] = (struct token_span){b->tokens + i * tokens, tokens, (int32_t)i};
	return 0;
}

/* ---- resid_post ------------------------------------------------------------------------ */

static size_t resid_rows(const struct bench *b)
{
	return CALIBRATED * b->shape->prompt_tokens;
}

static void layout_resid(void *object, struct carver *c)
{
	struct bench *b = object;

	for (size_t l = 0; l < b->model->arch.n_layer; l++)
		b->resid[l] = carve(c, resid_rows(b), b->model->arch.d_model);
}

static int keep_resid(struct bench *b, struct err *err)
{
	const size_t rows = resid_rows(b);
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = b->resid};
	const struct intervention how = {.taps = &tap, .n_taps = 1};
	struct token_span *prompts = NULL;
	struct runner runner = {0};

	TRY(bench_prompts(b, CALIBRATED, b->shape->prompt_tokens, &prompts, err));
	TRY(carve_allocate(b->dev, layout_resid, b, &b->resid_memory, err));
	TRY(runner_init(&runner, b->model, &b->readout,
		(struct runner_size){.rows = rows, .prompts = CALIBRATED, .out = rows}, err));
	TRY(runner_run(&runner, prompts, CALIBRATED, BATCH_OUT_ALL, &how, err));
	err_clear(err);
fail:
	runner_free(&runner);
	free(prompts);
	return err->code;
}

static int measure_deviations(struct bench *b, struct err *err)
{
	const size_t rows = resid_rows(b), d = b->model->arch.d_model;
	float *x = malloc(rows * d * sizeof *x);

	err_clear(err);
	if (!x) {
		err_nomem(err, "the residual stream", rows * d * sizeof *x);
		goto fail;
	}
	for (size_t l = 0; l < b->model->arch.n_layer; l++) {
		TRY(download_floats(b->dev, b->resid[l], x, err));
		for (size_t r = 0; r < rows; r++) {
			double sum = 0;

			for (size_t j = 0; j < d; j++)
				sum += (double)x[r * d + j] * x[r * d + j];
			b->deviation[l * rows + r] = sqrt(sum / (double)d);
		}
	}
fail:
	free(x);
	return err->code;
}

/* ---- opening --------------------------------------------------------------------------- */

int bench_open(struct bench *b, const char *device, const struct shape *shape, struct err *err)
{
	const size_t n_ctx = size_max(shape->few_tokens, shape->prompt_tokens + shape->max_new);
	size_t n_layer;

	b->shape = shape;
	TRY(device_open(&b->dev, device, 0, err));
	TRY(stretch_init(&b->weights, 2, err));
	TRY(stretch_init(&b->features, 3, err));
	TRY(random_model_open(&b->random, b->dev, shape->config, n_ctx, &b->weights, err));
	b->model = b->random.model;
	TRY(readout_init(&b->readout, b->model, err));
	TRY(make_tokens(b, err));
	n_layer = b->model->arch.n_layer;
	b->resid = calloc(n_layer, sizeof *b->resid);
	b->deviation = calloc(n_layer * resid_rows(b), sizeof *b->deviation);
	if (!b->resid || !b->deviation) {
		err_nomem(err, "the residual stream", n_layer * resid_rows(b) * sizeof(double));
		goto fail;
	}
	TRY(keep_resid(b, err));
	return measure_deviations(b, err);
fail:
	return err->code;
}

void bench_close(struct bench *b)
{
	bench_saes_close(b);
	if (b->dev)
		device_free(b->dev, b->resid_memory);
	free(b->resid);
	free(b->deviation);
	free(b->tokens);
	readout_free(&b->readout);
	random_model_close(&b->random);
	stretch_free(&b->weights);
	stretch_free(&b->features);
	device_close(b->dev);
	*b = (struct bench){0};
}

/* ---- SAEs ------------------------------------------------------------------------------ */

size_t bench_free(const struct bench *b)
{
	size_t bytes = 0;

	if (!device_free_memory(b->dev, &bytes))
		bytes = memory_left().bytes;
	return bytes;
}

size_t bench_memory(const struct bench *b)
{
	return bench_free(b) + (b->saes.set ? b->saes.set->loaded_bytes : 0);
}

int bench_saes(struct bench *b, size_t d_sae, bool bf16, size_t beside, struct err *err)
{
	const struct arch *a = &b->model->arch;
	const size_t rows = resid_rows(b), left = bench_memory(b);
	double threshold[ARCH_MAX_LAYERS];

	if (b->saes.set && b->saes.d_sae == d_sae && b->saes.bf16 == bf16) {
		b->saes.set->budget = left - size_min(left, beside);
		return 0;
	}
	bench_saes_close(b);
	for (size_t l = 0; l < a->n_layer; l++)
		threshold[l] = random_saes_threshold(b->deviation + l * rows, rows, d_sae,
			WANTED_L0);
	b->saes = (struct bench_saes){.d_sae = d_sae, .bf16 = bf16};
	return random_saes_open(&b->saes.set, b->dev,
		&(struct random_saes){.n_layer = a->n_layer,
			.d_model = a->d_model,
			.d_sae = d_sae,
			.threshold = threshold,
			.numbers = &b->features,
			.bf16 = bf16,
			.budget = left - size_min(left, beside)},
		err);
}

void bench_saes_close(struct bench *b)
{
	sae_set_close(b->saes.set);
	b->saes = (struct bench_saes){0};
}

int bench_l0(struct bench *b, size_t layer, double *l0, struct err *err)
{
	struct sparse f = {.dev = b->dev};
	struct sae_weights sae;
	int32_t entries = 0;

	TRY(sae_set_load(b->saes.set, layer, &sae, err));
	TRY(sparse_encode(&f, &sae, b->resid[layer], err));
	TRY(device_download(b->dev, &entries, f.csr.indptr + f.csr.n_rows, sizeof entries, err));
	*l0 = (double)entries / (double)f.csr.n_rows;
	err_clear(err);
fail:
	sparse_free(&f);
	return err->code;
}

int bench_check_l0(double l0, struct err *err)
{
	if (l0 >= LEAST_L0 && l0 <= MOST_L0)
		return 0;
	return err_set(err, ERR_INTERNAL,
		"expected SAEs with an L0 from %d to %d on random weights, found %.1f", LEAST_L0,
		MOST_L0, l0);
}

void figures_add(struct figures *f, const char *name, double value)
{
	f->more[f->n_more].name = name;
	f->more[f->n_more++].value = value;
}
