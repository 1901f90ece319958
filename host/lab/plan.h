/* SPDX-License-Identifier: MIT
 *
 * plan.h - what --dry-run prints: inputs, one rendered prompt, batches, memory; and whether that
 * memory is there.
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/lab/lab.h"

/* What the experiments of the run will do that takes memory. */
struct plan_request {
	bool generates;
	struct {
		struct plan_attribution {
			const char *experiment;    /* borrowed */
			struct prompt_ids prompts; /* owned */
			bool all_features;         /* effects of all, not of candidates alone */
			size_t paths, points;      /* followed; on all of them together */
		} * data;
		size_t n, cap;
	} attributions; /* integrated gradients */
};

/* Accepts a zeroed request. */
void plan_request_free(struct plan_request *request);

/* Prints to standard output; computes and writes nothing. Errors: those of plan_check, at the
 * end. */
int plan_print(const struct lab *lab, const struct plan_request *request, struct err *err);

/* Whether the run fits the memory, before any weight is read: mapped weights count as needed, for
 * without room for them every pass would read them from disk again. Errors: ERR_DEVICE with what is
 * needed and what there is. */
int plan_check(const struct lab *lab, const struct plan_request *request, struct err *err);

#endif
