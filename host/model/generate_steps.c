/* SPDX-License-Identifier: MIT
 *
 * generate_steps.c - from the prompts' first tokens to the ends of the replies. Contract:
 * generate.h, generate_parts.h. Tests: tests/test_model.c, tests/emu/test_steps.c.
 *
 * Every step carries one token of each reply of the step batch.
 * From one step to the next the device itself moves on (op_advance), so a step's ops are always the
 * same, and on devices that record a step is recorded once for all that are given the same
 * (launch_key.h), in this call or a later one:
 *
 *   first     run op by op, which settles the sizes of the device's scratch memory, and which
 *             algorithm multiplies
 *   second    recorded, then replayed
 *   later     replayed; the sampled ids are all that comes to the host
 *
 * Whenever a reply has ended, the batch is put together anew, with the work that remains. Devices
 * that run op by op get the replies that go on and nothing else. Those that record get as many rows
 * as there are recordings for (step_graphs_rows), which costs the upload of the batch's lists: rows
 * that are left over are given to replies that have ended. These idle rows begin again where the
 * prompt began, over its own keys in the cache, which nobody reads any more. They have fewer tokens
 * before them than any reply that goes on, so they stay within the context as long as it does, and
 * within their own rows of the cache; and what is not finite in them is not reported and keeps them
 * at the token they had (op_advance). They are the batch's last, so a reply that is not finite
 * comes before them where the first such row is looked for.
 */
#include "host/model/generate_parts.h"

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

/* What a step's ops are given that may be otherwise another time. Model, readout, workspace, cache
 * and the batch's lists are the generator's for life. */
static int find_key(struct generator *g, const struct generation *r, struct launch_key *key,
	struct err *err)
{
	key->n = 0;
	TRY(launch_key_add(key, g->batch.n_rows, err));
	TRY(launch_key_add(key, r->lead != NULL, err));
	TRY(launch_key_add(key, r->prefix ? r->prefix->n_rows : 0, err)); /* its tensors follow */
	TRY(launch_key_add_address(key, r->prefix ? r->prefix->memory : NULL, err));
	return edits_key(r->edits, r->n_edits, g->model->arch.n_layer, key, err);
fail:
	return err->code;
}

/* Idle rows of n replies that have ended; so many have. */
static void add_idle(struct generator *g, const struct generation *r, size_t n)
{
	for (size_t i = 0; i < r->n_prompts && g->batch.n_idle < n; i++)
		if (g->ended[i])
			batch_add_idle(&g->batch, i, r->prompts[i].ids[0], g->batch.n_prefix,
				g->cache_start[i], r->prompts[i].label);
}

/* One row for every reply that goes on, `going` of them: its newest token, behind the prompt and
 * the reply's earlier tokens. */
static int gather_steps(struct generator *g, const struct generation *r, size_t going,
	struct err *err)
{
	const size_t n_prefix = r->prefix ? r->prefix->n_rows : 0;
	const bool records = device_records(g->model->dev);
	struct batch *b = &g->batch;

	batch_clear(b, n_prefix);
	for (size_t i = 0; i < r->n_prompts; i++)
		if (!g->ended[i])
			batch_add(b, i, &g->next[i], 1,
				n_prefix + r->prompts[i].n + r->lengths[i] - 1, g->cache_start[i],
				BATCH_OUT_LAST, r->prompts[i].label);
	if (records)
		add_idle(g, r, step_graphs_rows(going, r->n_prompts) - going);
	batch_keep_open(b, g->cache.n_rows);
	TRY(batch_upload(b, err));
	g->graph = NULL;
	if (records) {
		TRY(find_key(g, r, &g->key, err));
		g->graph = step_graphs_find(&g->graphs, &g->key);
	}
	return 0;
fail:
	return err->code;
}

/* From a batch's rows to the same replies' next tokens. */
static int run_ops_of_step(struct generator *g, const struct generation *r, const struct pass *pass,
	struct err *err)
{
	struct batch *b = &g->batch;

	if (generate_start(g, r, pass, err))
		return err->code;
	return op_advance(g->model->dev, b->n_rows, workspace_next(g->ws), b->on_device.token,
		b->on_device.pos, b->on_device.cache_row, err);
}

static int record_step(struct generator *g, const struct generation *r, const struct pass *pass,
	struct err *err)
{
	struct device *dev = g->model->dev;
	struct device_graph *graph;
	struct err end_err;
	int rc;

	TRY(device_graph_begin(dev, err));
	rc = run_ops_of_step(g, r, pass, err);
	if (device_graph_end(dev, &graph, &end_err)) {
		if (!rc)
			*err = end_err;
		return err->code;
	}
	if (rc) {
		device_graph_free(dev, graph);
		return err->code;
	}
	TRY(step_graphs_keep(&g->graphs, &g->key, graph, err));
	g->graph = graph;
	return 0;
fail:
	return err->code;
}

/* Asks for a step op by op or, where the last such step was given the same, for its recording. The
 * ops themselves may have taken more memory, which is then of what they are given. */
static int run_or_record_step(struct generator *g, const struct generation *r,
	const struct pass *pass, struct err *err)
{
	if (!device_records(g->model->dev))
		return run_ops_of_step(g, r, pass, err);
	TRY(find_key(g, r, &g->key, err));
	if (launch_key_equal(&g->key, &g->settled))
		return record_step(g, r, pass, err);
	TRY(run_ops_of_step(g, r, pass, err));
	return find_key(g, r, &g->settled, err);
fail:
	return err->code;
}

static int run_step(struct generator *g, const struct generation *r, struct err *err)
{
	const struct pass pass = generate_pass(g, r, r->edits, r->n_edits);

	if (!g->graph)
		TRY(run_or_record_step(g, r, &pass, err));
	if (g->graph) {
		TRY(forward_check(g->ws, &pass, err));
		TRY(device_graph_replay(g->model->dev, g->graph, err));
	}
	TRY(generate_finish(g, r, err));
	batch_advance(&g->batch, g->read);
	return 0;
fail:
	return err->code;
}

int generate_steps(struct generator *g, const struct generation *r, struct err *err)
{
	size_t going = take_tokens(g, r);

	if (going == 0)
		return 0;
	TRY(gather_steps(g, r, going, err));
	for (;;) {
		TRY(run_step(g, r, err));
		going = take_tokens(g, r);
		if (going == 0)
			return 0;
		if (going < g->batch.n_rows - g->batch.n_idle)
			TRY(gather_steps(g, r, going, err));
	}
fail:
	return err->code;
}
