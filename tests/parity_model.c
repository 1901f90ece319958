/* SPDX-License-Identifier: MIT
 *
 * parity_model.c - one pass of a checkpoint over a few prompts, for comparing it with others
 * (tests/parity_models.py).
 *
 *   parity_model CHECKPOINT-FOLDER
 *
 * Read, int32: the number of prompts; then for each its number of tokens, the tokens, and the two
 * tokens j and r of its metric m = logit[j] - logit[r]. Written, float32, tokens of all prompts
 * end to end: resid_post of every layer [n_token, d_model], the gradients of m with respect to
 * them likewise, and the logits at each prompt's last position [n_prompt, n_vocab]. Numbers as the
 * machine has them. Exit status: 0, or the error's.
 */
#include "host/model/transfer.h"
#include "host/model/transformer.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_PROMPTS = 64, MAX_TOKENS = 4096 };

struct work {
	struct device *dev;
	struct model *model;
	struct workspace *ws;
	struct kv_cache cache;
	struct batch batch;
	int32_t n_prompts, length[MAX_PROMPTS], pair[2 * MAX_PROMPTS];
	int32_t token[MAX_TOKENS];
	int32_t last[MAX_PROMPTS]; /* rows */
	size_t n_tokens;
	struct tensor resid[ARCH_MAX_LAYERS], grad[ARCH_MAX_LAYERS];
	struct tensor y, dy, logits, chosen, dchosen;
	void *memory[2 * ARCH_MAX_LAYERS + 8];
	size_t n_memory;
	float *host; /* the largest tensor */
};

static int read_ints(int32_t *to, size_t n, int32_t least, int32_t most, struct err *err)
{
	if (fread(to, sizeof *to, n, stdin) != n)
		return err_set(err, ERR_INPUT, "standard input: expected %zu more numbers", n);
	for (size_t i = 0; i < n; i++)
		if (to[i] < least || to[i] > most)
			return err_set(err, ERR_INPUT,
				"standard input: expected a number from %d to %d, found %d", least,
				most, to[i]);
	return 0;
}

static int read_prompts(struct work *w, struct err *err)
{
	const int32_t n_vocab = (int32_t)w->model->arch.n_vocab;

	TRY(read_ints(&w->n_prompts, 1, 1, MAX_PROMPTS, err));
	for (int32_t p = 0; p < w->n_prompts; p++) {
		TRY(read_ints(&w->length[p], 1, 1, MAX_TOKENS - (int32_t)w->n_tokens, err));
		TRY(read_ints(w->token + w->n_tokens, (size_t)w->length[p], 0, n_vocab - 1, err));
		TRY(read_ints(w->pair + 2 * p, 2, 0, n_vocab - 1, err));
		w->n_tokens += (size_t)w->length[p];
		w->last[p] = (int32_t)w->n_tokens - 1;
	}
	return 0;
fail:
	return err->code;
}

static int new_tensor(struct work *w, size_t rows, size_t cols, struct tensor *out, struct err *err)
{
	*out = (struct tensor){NULL, device_activation(w->dev), rows, cols};
	TRY(device_alloc(w->dev, tensor_bytes(*out), &out->data, err));
	w->memory[w->n_memory++] = out->data;
	return op_scale(w->dev, 0, *out, err);
fail:
	return err->code;
}

static int allocate(struct work *w, struct err *err)
{
	const struct arch *a = &w->model->arch;
	const size_t n = w->n_tokens, n_prompts = (size_t)w->n_prompts, d = a->d_model;

	w->host = malloc((n * d + n_prompts * a->n_vocab) * sizeof *w->host);
	if (!w->host)
		return err_nomem(err, "tensors",
			(n * d + n_prompts * a->n_vocab) * sizeof *w->host);
	for (size_t l = 0; l < a->n_layer; l++) {
		TRY(new_tensor(w, n, d, &w->resid[l], err));
		TRY(new_tensor(w, n, d, &w->grad[l], err));
	}
	TRY(new_tensor(w, n_prompts, d, &w->y, err));
	TRY(new_tensor(w, n, d, &w->dy, err));
	TRY(new_tensor(w, n_prompts, a->n_vocab, &w->logits, err));
	TRY(new_tensor(w, n_prompts, 2, &w->chosen, err));
	TRY(new_tensor(w, n_prompts, 2, &w->dchosen, err));
	TRY(workspace_create(&w->ws, w->model, (struct workspace_size){n, n, true}, err));
	TRY(kv_cache_init(&w->cache, w->model, n, err));
	return batch_init(&w->batch, w->dev, n, n_prompts, err);
fail:
	return err->code;
}

/* dL/dy of the last rows, L the sum of the prompts' metrics. */
static int metric_gradient(struct work *w, struct tensor *dy_last, struct err *err)
{
	const struct arch *a = &w->model->arch;
	const size_t n = (size_t)w->n_prompts;
	float *ones = w->host;

	for (size_t p = 0; p < n; p++) {
		ones[2 * p] = 1;
		ones[2 * p + 1] = -1;
	}
	TRY(upload_floats(w->dev, ones, w->dchosen, err));
	TRY(op_selected_logits(w->dev, w->y, w->model->unembedding, w->pair, a->final_softcap,
		w->chosen, err));
	TRY(new_tensor(w, n, a->d_model, dy_last, err));
	return op_selected_logits_backward(w->dev, w->dchosen, w->chosen, w->model->unembedding,
		w->pair, a->final_softcap, *dy_last, err);
fail:
	return err->code;
}

static int compute(struct work *w, struct err *err)
{
	const struct tap tap = {.kind = TAP_ACTIVATION, .out = w->resid};
	const struct pass pass = {.batch = &w->batch,
		.cache = &w->cache,
		.taps = &tap,
		.n_taps = 1};
	const int32_t *at = w->token;
	struct tensor dy_last;

	batch_clear(&w->batch, 0);
	for (int32_t p = 0; p < w->n_prompts; at += w->length[p++])
		batch_pack(&w->batch, at, (size_t)w->length[p], BATCH_OUT_ALL, p);
	TRY(batch_upload(&w->batch, err));
	TRY(forward(w->ws, &pass, err));
	TRY(op_gather_rows(w->dev, workspace_out(w->ws), w->last, w->y, err));
	TRY(op_linear(w->dev, w->y, w->model->unembedding, (struct tensor){0}, w->logits, err));
	TRY(op_softcap(w->dev, w->model->arch.final_softcap, w->logits, err));
	TRY(metric_gradient(w, &dy_last, err));
	TRY(op_scatter_rows(w->dev, dy_last, w->last, w->dy, err));
	return backward(w->ws, &pass, w->dy, &(struct gradient){.out = w->grad, .weight = 1}, err);
fail:
	return err->code;
}

static int write_tensor(struct work *w, struct tensor t, struct err *err)
{
	TRY(download_floats(w->dev, t, w->host, err));
	if (fwrite(w->host, sizeof *w->host, tensor_count(t), stdout) != tensor_count(t))
		return err_set(err, ERR_OUTPUT, "cannot write");
	return 0;
fail:
	return err->code;
}

static int run(struct work *w, const char *folder, struct err *err)
{
	TRY(device_open(&w->dev, "cpu", 0, err));
	TRY(model_open(&w->model, w->dev, folder, &(struct model_options){0}, err));
	TRY(read_prompts(w, err));
	TRY(allocate(w, err));
	TRY(compute(w, err));
	for (size_t l = 0; l < w->model->arch.n_layer; l++)
		TRY(write_tensor(w, w->resid[l], err));
	for (size_t l = 0; l < w->model->arch.n_layer; l++)
		TRY(write_tensor(w, w->grad[l], err));
	return write_tensor(w, w->logits, err);
fail:
	return err->code;
}

int main(int argc, char **argv)
{
	static struct work w;
	struct err err = {0};

	if (argc != 2) {
		fprintf(stderr, "usage: parity_model CHECKPOINT-FOLDER\n");
		return ERR_CONFIG;
	}
	if (run(&w, argv[1], &err))
		fprintf(stderr, "%s\n", err.text);
	for (size_t i = 0; i < w.n_memory; i++)
		device_free(w.dev, w.memory[i]);
	free(w.host);
	batch_free(&w.batch);
	kv_cache_free(&w.cache);
	workspace_free(w.ws);
	model_close(w.model);
	device_close(w.dev);
	return err.code;
}
