/* SPDX-License-Identifier: MIT
 *
 * generate.c - Contract: generate.h. Tests: tests/test_model.c.
 *
 * Prompts are read in passes of up to pass_rows tokens; then every pass carries one token of each
 * reply that has not ended, so the work shrinks as replies end. Keys of prompt i live in cache
 * rows [start_i, start_i + tokens_i + max_new).
 */
#include "host/model/generate.h"

#include "host/base/size.h"

#include <stdlib.h>
#include <string.h>

struct generator {
	const struct model *model;
	struct readout *readout;
	struct generator_size size;
	struct workspace *ws;
	struct kv_cache cache;
	struct batch batch;
	size_t *cache_start; /* [prompts] */
	int32_t *next;       /* [prompts]: the token each reply continues with */
	bool *ended;         /* [prompts] */
	int32_t *read;       /* [prompts]: tokens of one pass, in the order of its out rows */
};

static struct workspace_size workspace_of(struct generator_size size)
{
	return (struct workspace_size){size_max(size.pass_rows, size.prompts), size.prompts, false};
}

static size_t cache_rows_of(struct generator_size size)
{
	return size.prompt_tokens + size.prompts * size.max_new;
}

size_t generator_bytes(const struct model *m, struct generator_size size)
{
	return workspace_bytes(m, workspace_of(size)) + kv_cache_bytes(m, cache_rows_of(size));
}

int generator_create(struct generator **out, const struct model *m, struct readout *readout,
	struct generator_size size, struct err *err)
{
	struct generator *g = calloc(1, sizeof *g);

	*out = NULL;
	if (!g)
		return err_nomem(err, "a generator", sizeof *g);
	*g = (struct generator){.model = m, .readout = readout, .size = size};
	g->cache_start = calloc(size.prompts, sizeof *g->cache_start);
	g->next = calloc(size.prompts, sizeof *g->next);
	g->read = calloc(size.prompts, sizeof *g->read);
	g->ended = calloc(size.prompts, sizeof *g->ended);
	if (!g->cache_start || !g->next || !g->read || !g->ended) {
		err_nomem(err, "a generator", size.prompts * sizeof *g->cache_start);
		goto fail;
	}
	TRY(workspace_create(&g->ws, m, workspace_of(size), err));
	TRY(kv_cache_init(&g->cache, m, cache_rows_of(size), err));
	TRY(batch_init(&g->batch, m->dev, workspace_of(size).rows, size.prompts, err));
	*out = g;
	return 0;
fail:
	generator_free(g);
	return err->code;
}

void generator_free(struct generator *g)
{
	if (!g)
		return;
	batch_free(&g->batch);
	kv_cache_free(&g->cache);
	workspace_free(g->ws);
	free(g->cache_start);
	free(g->next);
	free(g->read);
	free(g->ended);
	free(g);
}

int generator_prefix(struct generator *g, const int32_t *tokens, size_t n,
	const struct edit *edits, size_t n_edits, struct kv_cache *prefix, struct err *err)
{
	*prefix = (struct kv_cache){0};
	if (n == 0)
		return 0;
	if (kv_cache_init(prefix, g->model, n, err))
		return err->code;
	return prefix_run(g->ws, tokens, n, edits, n_edits, NULL, 0, prefix, err);
}

/* Runs the batch as it is; the next token of every out row goes to its sequence's `next`. */
static int run_pass(struct generator *g, const struct generation *r, const struct edit *edits,
	size_t n_edits, struct err *err)
{
	const struct pass pass = {.batch = &g->batch, .cache = &g->cache, .prefix = r->prefix,
		.edits = edits, .n_edits = n_edits};

	TRY(batch_upload(&g->batch, err));
	TRY(forward(g->ws, &pass, err));
	TRY(readout_argmax(g->readout, workspace_out(g->ws), g->read, err));
	for (size_t i = 0; i < g->batch.n_out; i++)
		g->next[g->batch.out_seq[i]] = g->read[i];
	return 0;
fail:
	return err->code;
}

/* Reads prompts [first, end) in one pass. */
static int read_prompts(struct generator *g, const struct generation *r, size_t first, size_t end,
	struct err *err)
{
	const size_t n_prefix = r->prefix ? r->prefix->n_rows : 0;

	batch_clear(&g->batch, n_prefix);
	for (size_t i = first; i < end; i++)
		batch_add(&g->batch, i, r->prompts[i].ids, r->prompts[i].n, n_prefix,
			g->cache_start[i], BATCH_OUT_LAST, r->prompts[i].label);
	if (r->prompt_edits ? run_pass(g, r, r->prompt_edits, r->n_prompt_edits, err)
			    : run_pass(g, r, r->edits, r->n_edits, err))
		return err->code;
	if (!r->first_y.data)
		return 0;
	return op_copy(g->model->dev, workspace_out(g->ws),
		tensor_rows(r->first_y, first, end - first), err);
}

static int read_all_prompts(struct generator *g, const struct generation *r, struct err *err)
{
	size_t first = 0, rows = 0, cache_row = 0;

	for (size_t i = 0; i < r->n_prompts; i++) {
		g->cache_start[i] = cache_row;
		cache_row += r->prompts[i].n + g->size.max_new;
	}
	for (size_t i = 0; i < r->n_prompts; i++) {
		if (rows > 0 && rows + r->prompts[i].n > g->size.pass_rows) {
			TRY(read_prompts(g, r, first, i, err));
			first = i;
			rows = 0;
		}
		rows += r->prompts[i].n;
	}
	return read_prompts(g, r, first, r->n_prompts, err);
fail:
	return err->code;
}

static bool stops(const struct generation *r, int32_t token)
{
	for (size_t i = 0; i < r->n_stop; i++)
		if (r->stop[i] == token)
			return true;
	return false;
}

/* Takes each reply's next token; returns how many replies go on. */
static size_t take_tokens(struct generator *g, const struct generation *r)
{
	size_t going = 0;

	for (size_t i = 0; i < r->n_prompts; i++) {
		if (g->ended[i])
			continue;
		g->ended[i] = stops(r, g->next[i]);
		if (g->ended[i])
			r->ended_by[i] = g->next[i];
		else
			r->tokens[i * g->size.max_new + r->lengths[i]++] = g->next[i];
		g->ended[i] |= r->lengths[i] == g->size.max_new;
		going += !g->ended[i];
	}
	return going;
}

int generate(struct generator *g, const struct generation *r, struct err *err)
{
	const size_t n_prefix = r->prefix ? r->prefix->n_rows : 0;

	if (r->n_prompts == 0)
		return 0;
	memset(g->ended, 0, r->n_prompts * sizeof *g->ended);
	for (size_t i = 0; i < r->n_prompts; i++) {
		r->lengths[i] = 0;
		r->ended_by[i] = -1;
	}
	TRY(read_all_prompts(g, r, err));
	while (take_tokens(g, r) > 0) {
		batch_clear(&g->batch, n_prefix);
		for (size_t i = 0; i < r->n_prompts; i++) {
			/* The newest token sits behind the prompt and the reply's earlier tokens. */
			if (!g->ended[i])
				batch_add(&g->batch, i, &g->next[i], 1,
					n_prefix + r->prompts[i].n + r->lengths[i] - 1,
					g->cache_start[i], BATCH_OUT_LAST, r->prompts[i].label);
		}
		TRY(run_pass(g, r, r->edits, r->n_edits, err));
	}
	return 0;
fail:
	return err->code;
}
