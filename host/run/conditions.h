/* SPDX-License-Identifier: MIT
 *
 * conditions.h - what is done to the model while it runs: nothing, ablation of the direction, or
 * a clamp of a method's features; and the edits this means for a batch of prompts.
 */
#ifndef SAENGINE_CONDITIONS_H
#define SAENGINE_CONDITIONS_H

#include "host/run/lab.h"

enum condition_kind { CONDITION_NONE, CONDITION_ABLATE, CONDITION_CLAMP };

struct condition {
	enum condition_kind kind;
	enum method method;       /* CLAMP */
	bool local;               /* CLAMP: each prompt's own set */
	struct clamp_value value; /* CLAMP */
	char name[64];            /* in result files: "none", "ablate_direction",
	                           * "cossim_ap_global_x-3" (times -3), "..._to10" (set to 10) */
};

struct condition condition_none(void);
struct condition condition_ablate(void);
struct condition condition_scale(enum method method, bool local, double c);
struct condition condition_set(enum method method, double value);

/* A condition on the device. */
struct condition_state {
	struct lab *lab;
	struct condition condition;
	struct clamp_plan *plan;
	void *memory;        /* device: u */
	struct edit edit;
};

/* Errors: ERR_CONFIG when the run has no direction, or no sets of the method (or no local ones). */
int condition_open(struct condition_state *s, struct lab *lab, const struct condition *condition,
	struct err *err);

/* Accepts a zeroed state. */
void condition_close(struct condition_state *s);

/* Whether edits differ by prompt, so that no prefix can be shared. */
bool condition_is_local(const struct condition_state *s);

/* The edits for a batch whose sequence i is prompt prompts[i]; at most one. Borrowed until the
 * next call. */
int condition_edits(struct condition_state *s, const size_t *prompts, size_t n,
	const struct edit **edits, size_t *n_edits, struct err *err);

#endif
