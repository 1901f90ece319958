/* SPDX-License-Identifier: MIT
 *
 * generate_parts.h - the generator, shared by generate.c (prompts), generate_steps.c (replies) and
 * generate_pass.c (a pass of either).
 */
#ifndef SAENGINE_GENERATE_PARTS_H
#define SAENGINE_GENERATE_PARTS_H

#include "host/model/generate.h"
#include "host/model/step_graphs.h"

struct generator {
	const struct model *model;
	struct readout *readout;
	struct generator_size size;
	struct workspace *ws;
	struct kv_cache cache;
	struct batch batch;
	size_t *cache_start;     /* [prompts] */
	int32_t *next;           /* [prompts]: the token each reply continues with */
	bool *ended;             /* [prompts] */
	int32_t *read;           /* [prompts]: tokens of one pass, in the order of its out rows */
	float *lead;             /* [prompts]: by how much each reply's next token leads */
	float *read_lead;        /* [prompts]: the same of one pass */
	struct tensor pass_lead; /* the same on the device, [prompts, 1] */
	void *memory;            /* owned, device: pass_lead */
	struct step_graphs graphs;
	struct device_graph *graph; /* of them, of the step batch; NULL = none yet */
	struct launch_key key;      /* of a step */
	struct launch_key settled;  /* of this call's last step that ran op by op */
};

/* A pass of the batch. */
struct pass generate_pass(struct generator *g, const struct generation *r, const struct edit *edits,
	size_t n_edits);

/* Asks for a pass of the batch and the next token of every out row, in workspace_next, with its
 * lead. */
int generate_start(struct generator *g, const struct generation *r, const struct pass *pass,
	struct err *err);

/* Waits for it: the next token of every out row that is a reply's, and its lead, go to its
 * sequence's. */
int generate_finish(struct generator *g, const struct generation *r, struct err *err);

/* From the prompts, which have been read, to the ends of all replies. */
int generate_steps(struct generator *g, const struct generation *r, struct err *err);

#endif
