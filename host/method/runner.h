/* SPDX-License-Identifier: MIT
 *
 * runner.h - one scoring pass over a few prompts: packing, the pass, and the scratch it needs.
 * What every step of the method that does not generate is built on.
 */
#ifndef SAENGINE_RUNNER_H
#define SAENGINE_RUNNER_H

#include "host/model/generate.h"

struct runner_size {
	size_t rows;    /* most tokens of a call, prefix apart */
	size_t prompts; /* most prompts of a call */
	size_t out;     /* most out rows of a call */
	bool for_backward;
};

struct runner {
	const struct model *model;
	struct readout *readout; /* borrowed */
	struct runner_size size;
	struct workspace *ws;
	struct kv_cache cache;
	struct batch batch;
	struct pass pass; /* the last call's, for backward; refers to that call's edits */
};

/* Errors: ERR_DEVICE. */
int runner_init(struct runner *r, const struct model *m, struct readout *readout,
	struct runner_size size, struct err *err);
size_t runner_bytes(const struct model *m, struct runner_size size);

/* Accepts a zeroed runner. */
void runner_free(struct runner *r);

/* What to do to the prompts on their way. */
struct intervention {
	const struct kv_cache *prefix; /* NULL = prompts are whole */
	const struct edit *edits;
	size_t n_edits;
	const struct tap *taps;
	size_t n_taps;
};

/* Runs n prompts as one packed batch, the last n_out rows of each as out rows. Sequence i of
 * edits is prompt i. Afterwards workspace_out(r->ws) is valid. */
int runner_run(struct runner *r, const struct token_span *prompts, size_t n, size_t n_out,
	const struct intervention *how, struct err *err);

/* The same for prompts followed by replies: out rows are those from which the reply's tokens are
 * predicted, so row k of a prompt's out rows sees its token k. A reply has at least one token. */
int runner_run_replies(struct runner *r, const struct token_span *prompts,
	const struct token_span *replies, size_t n, const struct intervention *how,
	struct err *err);

/* A prefix's keys and values under edits, in memory of its own. With n = 0 *prefix stays zeroed. */
int runner_prefix(struct runner *r, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, const struct tap *taps, size_t n_taps, struct kv_cache *prefix,
	struct err *err);

#endif
