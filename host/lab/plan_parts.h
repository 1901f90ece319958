/* SPDX-License-Identifier: MIT
 *
 * plan_parts.h - what the files of the plan share: plan.c, plan_print.c.
 */
#ifndef SAENGINE_PLAN_PARTS_H
#define SAENGINE_PLAN_PARTS_H

#include "host/lab/plan.h"

struct attribution_extent {
	size_t n_batches, most_tokens, bytes;
};

/* Batches and memory of integrated gradients over the prompts of an experiment. */
int plan_attribution_extent(const struct lab *lab, const struct plan_attribution *a,
	struct attribution_extent *out, struct err *err);

/* What a run allocates beside the weights. */
struct memory_plan {
	size_t attribution; /* 0 when nothing is attributed, as the next */
	size_t generation;
	size_t scoring, readout;
	size_t sae, encoders; /* a whole one; of all layers */
	size_t working;       /* of the ops themselves */
	size_t host;          /* kept in host memory */
	size_t needed;        /* at a time, with what is there already */
};

int plan_memory(const struct lab *lab, struct memory_plan *m, struct err *err);

double plan_mib(double bytes);

#endif
