/* SPDX-License-Identifier: MIT
 *
 * direction_scores.h - how good a refusal direction each candidate is, after Arditi et al.,
 * arXiv:2406.11717, section 2.3.
 */
#ifndef SAENGINE_DIRECTION_SCORES_H
#define SAENGINE_DIRECTION_SCORES_H

#include "host/lab/lab.h"

struct direction_settings {
	char *harmful_val, *harmless_val; /* names of prompt sets */
	int64_t layer;                    /* -1 = chosen by score */
	int64_t positions;
	bool filter;
};

/* Means over the validation prompts, one per candidate. Host memory of the caller. */
struct direction_scores {
	double *ablated; /* log-odds of the refusal token, harmful prompts, candidate ablated */
	double *added;   /* the same, harmless prompts, candidate added at its layer */
	double *kl;      /* of harmless next-token distributions, unedited to ablated, nats */
};

/* v: host [n_candidates, d_model]; candidate c belongs to layer c mod n_layer. Three passes over
 * the validation prompts per candidate. */
int direction_scores(struct lab *lab, const struct direction_settings *settings, const float *v,
	size_t n_candidates, const struct direction_scores *out, struct err *err);

#endif
