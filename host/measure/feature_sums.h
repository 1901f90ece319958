/* SPDX-License-Identifier: MIT
 *
 * feature_sums.h - a number per feature of every layer, summed over prompts: over those of one
 * unit, through the unit's file, where only features that have one are written, to the sum over
 * all. How prompts are cut into units does not change it (exact_sum.h).
 */
#ifndef SAENGINE_FEATURE_SUMS_H
#define SAENGINE_FEATURE_SUMS_H

#include "host/base/exact_sum.h"
#include "host/work/stage.h"

struct feature_sums {
	exact_sum *sum;   /* [n] n_layer x d_sae, of one unit; owned, all 0 between units */
	exact_sum *total; /* [n] of the units taken; owned */
	size_t n;
};

/* At most 2^31 - 1 features in all layers together. */
int feature_sums_create(struct feature_sums *s, size_t n, struct err *err);

/* Accepts a zeroed struct. */
void feature_sums_free(struct feature_sums *s);

/* In compute: puts what is not 0 into the unit, and sets all to 0 again. */
int feature_sums_put(struct feature_sums *s, struct unit *out, struct err *err);

/* In take: adds a unit's sums to the total. Errors: ERR_INPUT for features there are none of. */
int feature_sums_take(struct feature_sums *s, struct unit_reader *in, struct err *err);

/* The total, to [n]. */
void feature_sums_values(const struct feature_sums *s, double *to);

#endif
