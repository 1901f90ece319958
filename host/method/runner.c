/* SPDX-License-Identifier: MIT
 *
 * runner.c - Contract: runner.h.
 */
#include "host/method/runner.h"

static struct workspace_size workspace_of(struct runner_size size)
{
	return (struct workspace_size){size.rows, size.out, size.for_backward};
}

size_t runner_bytes(const struct model *m, struct runner_size size)
{
	return workspace_bytes(m, workspace_of(size)) + kv_cache_bytes(m, size.rows);
}

int runner_init(struct runner *r, const struct model *m, struct readout *readout,
	struct runner_size size, struct err *err)
{
	*r = (struct runner){.model = m, .readout = readout, .size = size};
	TRY(workspace_create(&r->ws, m, workspace_of(size), err));
	TRY(kv_cache_init(&r->cache, m, size.rows, err));
	TRY(batch_init(&r->batch, m->dev, size.rows, size.prompts, err));
	return 0;
fail:
	return err->code;
}

void runner_free(struct runner *r)
{
	batch_free(&r->batch);
	kv_cache_free(&r->cache);
	workspace_free(r->ws);
	*r = (struct runner){0};
}

static int run_batch(struct runner *r, const struct intervention *how, struct err *err)
{
	r->pass = (struct pass){.batch = &r->batch,
		.cache = &r->cache,
		.prefix = how->prefix,
		.edits = how->edits,
		.n_edits = how->n_edits,
		.taps = how->taps,
		.n_taps = how->n_taps};
	if (batch_upload(&r->batch, err))
		return err->code;
	return forward(r->ws, &r->pass, err);
}

int runner_run(struct runner *r, const struct token_span *prompts, size_t n, size_t n_out,
	const struct intervention *how, struct err *err)
{
	batch_clear(&r->batch, how->prefix ? how->prefix->n_rows : 0);
	for (size_t i = 0; i < n; i++)
		batch_pack(&r->batch, prompts[i].ids, prompts[i].n, n_out, prompts[i].label);
	return run_batch(r, how, err);
}

int runner_run_replies(struct runner *r, const struct token_span *prompts,
	const struct token_span *replies, size_t n, const struct intervention *how, struct err *err)
{
	struct batch *b = &r->batch;

	batch_clear(b, how->prefix ? how->prefix->n_rows : 0);
	for (size_t i = 0; i < n; i++) {
		const size_t start = b->n_rows, n_prefix = b->n_prefix;

		/* The prompt's last row predicts the reply's first token, and the reply's last
		 * token predicts nothing. */
		batch_add(b, i, prompts[i].ids, prompts[i].n, n_prefix, start, BATCH_OUT_LAST,
			prompts[i].label);
		if (replies[i].n > 1)
			batch_extend(b, replies[i].ids, replies[i].n - 1, BATCH_OUT_ALL);
	}
	return run_batch(r, how, err);
}

int runner_prefix(struct runner *r, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, const struct tap *taps, size_t n_taps, struct kv_cache *prefix,
	struct err *err)
{
	*prefix = (struct kv_cache){0};
	if (n == 0)
		return 0;
	if (kv_cache_init(prefix, r->model, n, err))
		return err->code;
	return prefix_run(r->ws, tokens, n, edits, n_edits, taps, n_taps, prefix, err);
}
