/* SPDX-License-Identifier: MIT
 *
 * generate.c - the generator, and the reading of prompts. Contract: generate.h. The steps that
 * follow: generate_steps.c. Tests: tests/test_model.c, tests/emu/test_steps.c.
 *
 * Prompts are read in passes of up to pass_rows tokens. Keys of prompt i live in cache rows
 * [start_i, start_i + tokens_i + max_new).
 */
#include "host/model/generate_parts.h"

#include "host/base/size.h"
#include "host/model/carver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct workspace_size workspace_of(struct generator_size size)
{
	return (struct workspace_size){size_max(size.pass_rows, size.prompts), size.prompts, false};
}

static void layout(void *object, struct carver *c)
{
	struct generator *g = object;

	g->pass_lead = carve(c, g->size.prompts, 1);
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
	*g = (struct generator){.model = m,
		.readout = readout,
		.size = size,
		.graphs = {.dev = m->dev}};
	g->cache_start = calloc(size.prompts, sizeof *g->cache_start);
	g->next = calloc(size.prompts, sizeof *g->next);
	g->read = calloc(size.prompts, sizeof *g->read);
	g->lead = calloc(size.prompts, sizeof *g->lead);
	g->read_lead = calloc(size.prompts, sizeof *g->read_lead);
	g->ended = calloc(size.prompts, sizeof *g->ended);
	if (!g->cache_start || !g->next || !g->read || !g->lead || !g->read_lead || !g->ended) {
		err_nomem(err, "a generator", size.prompts * sizeof *g->cache_start);
		goto fail;
	}
	TRY(workspace_create(&g->ws, m, workspace_of(size), err));
	TRY(kv_cache_init(&g->cache, m, cache_rows_of(size), err));
	TRY(batch_init(&g->batch, m->dev, workspace_of(size).rows, size.prompts, err));
	TRY(carve_allocate(m->dev, layout, g, &g->memory, err));
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
	step_graphs_free(&g->graphs);
	free(g->key.data);
	free(g->settled.data);
	batch_free(&g->batch);
	kv_cache_free(&g->cache);
	workspace_free(g->ws);
	free(g->cache_start);
	free(g->next);
	free(g->read);
	free(g->lead);
	free(g->read_lead);
	device_free(g->model->dev, g->memory);
	free(g->ended);
	free(g);
}

int generator_prefix(struct generator *g, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, struct kv_cache *prefix, struct err *err)
{
	*prefix = (struct kv_cache){0};
	if (n == 0)
		return 0;
	if (kv_cache_init(prefix, g->model, n, err))
		return err->code;
	return prefix_run(g->ws, tokens, n, edits, n_edits, NULL, 0, prefix, err);
}

/* Reads prompts [first, end) in one pass. */
static int read_prompts(struct generator *g, const struct generation *r, size_t first, size_t end,
	struct err *err)
{
	const size_t n_prefix = r->prefix ? r->prefix->n_rows : 0;
	const struct pass pass = r->prompt_edits
					 ? generate_pass(g, r, r->prompt_edits, r->n_prompt_edits)
					 : generate_pass(g, r, r->edits, r->n_edits);

	batch_clear(&g->batch, n_prefix);
	for (size_t i = first; i < end; i++)
		batch_add(&g->batch, i, r->prompts[i].ids, r->prompts[i].n, n_prefix,
			g->cache_start[i], BATCH_OUT_LAST, r->prompts[i].label);
	TRY(batch_upload(&g->batch, err));
	TRY(generate_start(g, r, &pass, err));
	TRY(generate_finish(g, r, err));
	if (!r->first_y.data)
		return 0;
	return op_copy(g->model->dev, workspace_out(g->ws),
		tensor_rows(r->first_y, first, end - first), err);
fail:
	return err->code;
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

int generate(struct generator *g, const struct generation *r, struct err *err)
{
	if (r->n_prompts == 0)
		return 0;
	g->settled.n = 0; /* much may have been asked since */
	memset(g->ended, 0, r->n_prompts * sizeof *g->ended);
	for (size_t i = 0; i < r->n_prompts; i++) {
		r->lengths[i] = 0;
		r->ended_by[i] = -1;
		if (r->lead)
			r->lead[i] = INFINITY;
	}
	return read_all_prompts(g, r, err) || generate_steps(g, r, err) ? err->code : 0;
}
