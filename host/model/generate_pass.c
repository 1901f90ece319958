/* SPDX-License-Identifier: MIT
 *
 * generate_pass.c - a pass of prompts or of a step, and the next tokens it gives. Contract:
 * generate_parts.h. Tests: tests/test_model.c.
 */
#include "host/model/generate_parts.h"

#include "host/model/transfer.h"

struct pass generate_pass(struct generator *g, const struct generation *r, const struct edit *edits,
	size_t n_edits)
{
	return (struct pass){.batch = &g->batch,
		.cache = &g->cache,
		.prefix = r->prefix,
		.edits = edits,
		.n_edits = n_edits};
}

int generate_start(struct generator *g, const struct generation *r, const struct pass *pass,
	struct err *err)
{
	if (forward_start(g->ws, pass, err))
		return err->code;
	return readout_argmax_on_device(g->readout, workspace_out(g->ws), workspace_next(g->ws),
		r->lead ? g->pass_lead : (struct tensor){0}, err);
}

int generate_finish(struct generator *g, const struct generation *r, struct err *err)
{
	const size_t n = g->batch.n_out - g->batch.n_idle;

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
