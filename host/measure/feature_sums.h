/* SPDX-License-Identifier: MIT
 *
 * feature_sums.h - a number per feature of every layer, summed over the prompts of one unit, on
 * its way through the unit's file: only features that have one are written.
 */
#ifndef SAENGINE_FEATURE_SUMS_H
#define SAENGINE_FEATURE_SUMS_H

#include "host/work/stage.h"

struct feature_sums {
	double *sum; /* [n] n_layer x d_sae; owned, all 0 between units */
	size_t n;
};

/* At most 2^31 - 1 features in all layers together. */
int feature_sums_create(struct feature_sums *s, size_t n, struct err *err);

/* Accepts a zeroed struct. */
void feature_sums_free(struct feature_sums *s);

/* In compute: puts what is not 0 into the unit, and sets all to 0 again. */
int feature_sums_put(struct feature_sums *s, struct unit *out, struct err *err);

/* In take: adds a unit's sums to total [n]. Errors: ERR_INPUT for features there are none of. */
int feature_sums_take(const struct feature_sums *s, struct unit_reader *in, double *total,
	struct err *err);

#endif
