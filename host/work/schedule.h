/* SPDX-License-Identifier: MIT
 *
 * schedule.h - cutting prompts into batches: sorted by length, cut by a budget of tokens and of
 * prompts. It depends on the lengths and the budgets alone, so the same config gives the same
 * batches, and the same bits, however the work is spread.
 */
#ifndef SAENGINE_SCHEDULE_H
#define SAENGINE_SCHEDULE_H

#include "host/base/err.h"

#include <stddef.h>

struct schedule {
	size_t *order; /* [n] indices of the prompts, batch after batch */
	size_t *cut;   /* [n_batches + 1]: batch b is order[cut[b]] to order[cut[b+1] - 1] */
	size_t n, n_batches;
	size_t most_tokens, most_prompts; /* of any batch */
};

/* A prompt longer than the budget is a batch of its own. */
int schedule_make(struct schedule *s, const size_t *lengths, size_t n, size_t max_tokens,
	size_t max_prompts, struct err *err);

/* Accepts a zeroed schedule. */
void schedule_free(struct schedule *s);

#endif
