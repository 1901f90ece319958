/* SPDX-License-Identifier: MIT
 *
 * generate.c - Contract: generate.h. Tests: tests/test_model.c.
 *
 * Prompts are read in passes of up to pass_rows tokens; then every step carries one token of each
 * reply of the step batch. Keys of prompt i live in cache rows [start_i, start_i + tokens_i +
 * max_new).
 *
 * From one step to the next the device itself moves on (op_advance), so a step's ops are always the
 * same and, on devices that record, are recorded: steps of a batch are
 *
 *   first     run op by op, which also settles the sizes of the device's scratch memory
 *   second    recorded, then replayed
 *   later     replayed; the sampled ids are all that comes to the host
 *
 * A batch whose replies have ended in part is put together anew, with the work that remains:
 * at once on devices that run op by op; on those that record when a quarter has ended, because few
 * rows cost no more than the reading of the weights, and recording costs a few steps.
 */
#include "host/model/generate.h"

#include "host/base/size.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct generator {
	const struct model *model;
	struct readout *readout;
	struct generator_size size;
	struct workspace *ws;
	struct kv_cache cache;
	struct batch batch;
	size_t *cache_start;     /* [prompts] */
	int32_t *next;           /* [prompts]: the token each reply continues with */
	bool *ended;             /* [prompts] */
	int32_t *read;           /* [prompts]: tokens of one pass, in the order of its out rows */
	float *lead;             /* [prompts]: by how much each reply's next token leads */
	float *read_lead;        /* [prompts]: the same of one pass */
	struct tensor pass_lead; /* the same on the device, [prompts, 1] */
	void *memory;            /* owned, device: pass_lead */
	size_t n_steps;          /* that the step batch has run */
	struct device_graph *graph; /* of a step of the batch; NULL = none yet. Owned */
};

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
	*g = (struct generator){.model = m, .readout = readout, .size = size};
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

/* Asks for a pass of the batch and the next token of every out row, in workspace_next, with its
 * lead. */
static int start_pass(struct generator *g, const struct generation *r, const struct edit *edits,
	size_t n_edits, struct err *err)
{
	const struct pass pass = {.batch = &g->batch,
		.cache = &g->cache,
		.prefix = r->prefix,
		.edits = edits,
		.n_edits = n_edits};

	if (forward_start(g->ws, &pass, err))
		return err->code;
	return readout_argmax_on_device(g->readout, workspace_out(g->ws), workspace_next(g->ws),
		r->lead ? g->pass_lead : (struct tensor){0}, err);
}

/* The next token of every out row, and its lead, go to its sequence's. */
static int finish_pass(struct generator *g, const struct generation *r, struct err *err)
{
	const size_t n = g->batch.n_out;

	TRY(forward_finish(g->ws, &g->batch, g->read, err));
	if (r->lead)
		TRY(download_floats(g->model->dev, tensor_rows(g->pass_lead, 0, n), g->read_lead,
			err));
	for (size_t i = 0; i < n; i++) {
		g->next[g->batch.out_seq[i]] = g->read[i];
		g->lead[g->batch.out_seq[i]] = g->read_lead[i];
	}
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
	TRY(batch_upload(&g->batch, err));
	TRY(r->prompt_edits ? start_pass(g, r, r->prompt_edits, r->n_prompt_edits, err)
			    : start_pass(g, r, r->edits, r->n_edits, err));
	TRY(finish_pass(g, r, err));
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
		if (r->lead && g->lead[i] < r->lead[i])
			r->lead[i] = g->lead[i];
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

/* ---- steps ----------------------------------------------------------------------------- */

static void forget_graph(struct generator *g)
{
	device_graph_free(g->model->dev, g->graph);
	g->graph = NULL;
}

/* One row for every reply that goes on: its newest token, behind the prompt and the reply's
 * earlier tokens. */
static int gather_steps(struct generator *g, const struct generation *r, struct err *err)
{
	const size_t n_prefix = r->prefix ? r->prefix->n_rows : 0;
	struct batch *b = &g->batch;

	forget_graph(g);
	g->n_steps = 0;
	batch_clear(b, n_prefix);
	for (size_t i = 0; i < r->n_prompts; i++)
		if (!g->ended[i])
			batch_add(b, i, &g->next[i], 1,
				n_prefix + r->prompts[i].n + r->lengths[i] - 1, g->cache_start[i],
				BATCH_OUT_LAST, r->prompts[i].label);
	batch_keep_open(b, g->cache.n_rows);
	return batch_upload(b, err);
}

static bool records(const struct generator *g, const struct generation *r)
{
	return device_records(g->model->dev) && !edits_wait(r->edits, r->n_edits);
}

/* Whether the step batch should be put together anew; `going` of its replies go on. */
static bool has_thinned(const struct generator *g, const struct generation *r, size_t going)
{
	const struct batch *b = &g->batch;

	if (!records(g, r))
		return going < b->n_rows;
	/* Beyond the last position no recorded step may go. A reply that has ended loses its row,
	 * one that goes on is refused by the pass. */
	for (size_t i = 0; i < b->n_rows; i++)
		if ((size_t)b->pos[i] >= g->model->n_ctx)
			return true;
	return going <= b->n_rows - b->n_rows / 4 && going < b->n_rows;
}

/* From a batch's rows to the same replies' next tokens. */
static int run_ops_of_step(struct generator *g, const struct generation *r, struct err *err)
{
	struct batch *b = &g->batch;

	if (start_pass(g, r, r->edits, r->n_edits, err))
		return err->code;
	return op_advance(g->model->dev, b->n_rows, workspace_next(g->ws), b->on_device.token,
		b->on_device.pos, b->on_device.cache_row, err);
}

static int record_step(struct generator *g, const struct generation *r, struct err *err)
{
	struct device *dev = g->model->dev;
	struct err end_err;
	int rc;

	TRY(device_graph_begin(dev, err));
	rc = run_ops_of_step(g, r, err);
	if (device_graph_end(dev, &g->graph, &end_err) && !rc)
		*err = end_err;
	return rc || !g->graph ? err->code : 0;
fail:
	return err->code;
}

static int run_step(struct generator *g, const struct generation *r, struct err *err)
{
	struct device *dev = g->model->dev;

	if (g->n_steps == 1 && records(g, r))
		TRY(record_step(g, r, err));
	if (g->graph)
		TRY(device_graph_replay(dev, g->graph, err));
	else
		TRY(run_ops_of_step(g, r, err));
	g->n_steps++;
	TRY(finish_pass(g, r, err));
	batch_advance(&g->batch, g->read);
	return 0;
fail:
	return err->code;
}

static int run_steps(struct generator *g, const struct generation *r, struct err *err)
{
	size_t going = take_tokens(g, r);

	if (going == 0)
		return 0;
	TRY(gather_steps(g, r, err));
	for (;;) {
		TRY(run_step(g, r, err));
		going = take_tokens(g, r);
		if (going == 0)
			return 0;
		if (has_thinned(g, r, going))
			TRY(gather_steps(g, r, err));
	}
fail:
	return err->code;
}

int generate(struct generator *g, const struct generation *r, struct err *err)
{
	int rc;

	if (r->n_prompts == 0)
		return 0;
	memset(g->ended, 0, r->n_prompts * sizeof *g->ended);
	for (size_t i = 0; i < r->n_prompts; i++) {
		r->lengths[i] = 0;
		r->ended_by[i] = -1;
		if (r->lead)
			r->lead[i] = INFINITY;
	}
	rc = read_all_prompts(g, r, err) || run_steps(g, r, err);
	forget_graph(g);
	return rc ? err->code : 0;
}
