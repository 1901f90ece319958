/* SPDX-License-Identifier: MIT
 *
 * plan.h - what a run will do, declared before it does any of it: what is attributed, what is
 * continued, what is written. --dry-run prints it, the checks before the first pass are made on it,
 * and what measures holds itself to it: prompts that nobody declared are neither attributed nor
 * continued.
 *
 * Each experiment declares its part (struct experiment.plan), most of it through the modules of
 * host/measure that will do the work: continuation_plan, effects_plan, ...
 */
#ifndef SAENGINE_PLAN_H
#define SAENGINE_PLAN_H

#include "host/lab/lab.h"

struct plan {
	const char *experiment; /* whose declarations are being taken; borrowed, as all texts */
	struct {
		struct plan_attribution {
			const char *experiment;
			struct prompt_ids prompts; /* owned */
			bool all_features;         /* effects of all, not of candidates alone */
			size_t k0;                 /* candidates per layer */
			size_t paths, points;      /* followed; on all of them together */
		} * data;
		size_t n, cap;
	} attributions; /* integrated gradients */
	struct {
		struct plan_generation {
			const char *experiment;
			struct prompt_ids prompts; /* owned */
			size_t times;              /* under so many conditions */
		} * data;
		size_t n, cap;
	} generations;     /* replies of at most generate.max_new_tokens */
	size_t sae_bytes;  /* of a whole SAE beside those of sae.path */
	size_t host_bytes; /* most that an experiment keeps in host memory, where that is much */
};

/* Accepts a zeroed plan. */
void plan_free(struct plan *plan);

/* ---- declaring: the lists are copied ------------------------------------------------------ */

int plan_attribute(struct plan *plan, const struct plan_attribution *what, struct err *err);
int plan_generate(struct plan *plan, const struct prompt_ids *prompts, size_t times,
	struct err *err);

/* ---- before the first pass ---------------------------------------------------------------- */

/* Prints to standard output; computes and writes nothing. */
int plan_print(const struct lab *lab, struct err *err);

/* Whether all of it is possible: every prompt with its reply fits the context; the run fits the
 * memory, asked before any weight is read: mapped weights count as needed, for without room for
 * them every pass would read them from disk again.
 * Errors: ERR_CONFIG; ERR_DEVICE with what is needed and what there is. */
int plan_check(const struct lab *lab, struct err *err);

/* ---- while it runs ------------------------------------------------------------------------ */

/* Whether these prompts were declared. Errors: ERR_INTERNAL. */
int plan_holds_attribution(const struct lab *lab, const struct prompt_ids *prompts,
	struct err *err);
int plan_holds_generation(const struct lab *lab, const struct prompt_ids *prompts, struct err *err);

#endif
