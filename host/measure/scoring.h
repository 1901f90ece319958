/* SPDX-License-Identifier: MIT
 *
 * scoring.h - a list of prompts, batch by batch, through a runner: what stages (stage.h) share when
 * nothing is generated.
 *
 *	TRY(scoring_open(&s, lab, &prompts, size, err));
 *	TRY(scoring_prefix(&s, edits, n_edits, err));
 *	... stage_run over s.schedule, whose compute does:
 *		const size_t n = scoring_batch(&s, b);
 *		TRY(scoring_run(&s, n, edits, n_edits, taps, n_taps, err));
 *		... workspace_out(s.runner.ws); s.index[i] is the place in `prompts` of prompt i
 */
#ifndef SAENGINE_SCORING_H
#define SAENGINE_SCORING_H

#include "host/lab/lab.h"
#include "host/method/runner.h"

struct scoring_size {
	bool whole; /* pass prompts whole, for edits that differ by prompt: no shared prefix */
	size_t out; /* out rows per prompt, or BATCH_OUT_ALL */
};

struct scoring {
	struct lab *lab;
	const struct prompt_ids *prompts;
	struct scoring_size size;
	struct schedule schedule;
	struct runner runner;
	struct kv_cache prefix;   /* of the last scoring_prefix */
	struct token_span *spans; /* [most_prompts] of the current batch */
	const size_t *index;      /* of the current batch */
};

/* `prompts` is borrowed until the close. */
int scoring_open(struct scoring *s, struct lab *lab, const struct prompt_ids *prompts,
	struct scoring_size size, struct err *err);

/* Accepts a zeroed struct. */
void scoring_close(struct scoring *s);

/* Keys and values of the shared prefix under these edits; kept until the next call. Does nothing
 * when prompts are whole. */
int scoring_prefix(struct scoring *s, const struct edit *edits, size_t n_edits, struct err *err);

/* Makes batch b current; returns its number of prompts. */
size_t scoring_batch(struct scoring *s, size_t b);

/* Runs the n prompts of the current batch. */
int scoring_run(struct scoring *s, size_t n, const struct edit *edits, size_t n_edits,
	const struct tap *taps, size_t n_taps, struct err *err);

#endif
