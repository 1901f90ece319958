/* SPDX-License-Identifier: MIT
 *
 * retain_plan.h - a clamp during which other features are retained: held, at every token, at the
 * values they had in an earlier run, so that what reaches the end has not passed through them.
 */
#ifndef SAENGINE_RETAIN_PLAN_H
#define SAENGINE_RETAIN_PLAN_H

#include "host/method/features.h"

/* The tokens of a prompt as they stand in a pass, and the values the retained features had there.
 */
struct retained_rows {
	size_t n;
	const float *value; /* [n, retained->n], columns in the order of the set */
};

struct retain_plan;

/* Features of `clamped` become scale f + offset at every token, those of `retained` what was
 * recorded. All of a layer are read before any is changed. The sets share no feature (asserted)
 * and are borrowed. *out is owned, free it. Errors: those of sae_set_select. */
int retain_plan_create(struct retain_plan **out, struct device *dev, struct sae_set *saes,
	const struct feature_set *clamped, struct clamp_value value,
	const struct feature_set *retained, struct err *err);

/* Accepts NULL. */
void retain_plan_free(struct retain_plan *plan);

/* Clamps [n_layer] for one pass over n prompts packed in this order, of which the last layer
 * carries the last n_out rows each. Borrowed until the next call or the end of the plan. */
int retain_plan_batch(struct retain_plan *plan, const struct retained_rows *prompts, size_t n,
	size_t n_out, const struct clamp **clamps, struct err *err);

#endif
