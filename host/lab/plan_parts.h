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

/* What the run writes, all of it together; and the largest part. */
struct room_plan {
	struct plan_bytes result, units, all; /* `all`: with the summary, until the units go */
	double summary;
	const struct plan_room *largest; /* NULL = nothing is written */
};

struct room_plan plan_rooms(const struct plan *plan);

/* Refuses what certainly does not fit the disk, warns of what may not. */
int plan_check_room(const struct lab *lab, bool fresh, struct err *err);

static inline double plan_mib(double bytes)
{
	return bytes / 0x1p20;
}

#endif
