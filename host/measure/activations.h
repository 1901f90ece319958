/* SPDX-License-Identifier: MIT
 *
 * activations.h - resid_post and SAE features of every token and layer of a list of prompts,
 * handed to a visitor batch by batch. No edits; positions behind the shared prefix, or all.
 */
#ifndef SAENGINE_ACTIVATIONS_H
#define SAENGINE_ACTIVATIONS_H

#include "host/measure/scoring.h"
#include "host/model/sparse.h"
#include "host/work/stage.h"

/* The batch being visited. Its rows are its tokens, prompt after prompt: prompt i's are
 * token_start[i] to token_start[i+1] - 1. */
struct activation_batch {
	size_t n_prompts, n_tokens;
	const size_t *index;       /* [n_prompts] places in the list of prompts */
	const size_t *token_start; /* [n_prompts + 1] */
};

struct activation_visitor {
	void *context;
	/* Called once per layer and batch, layers ascending; either may be NULL. resid_post is
	 * called while the pass is being asked for, features when it has ended. The tensor is
	 * device memory [n_tokens, d_model], until the unit ends; the features are host memory, for
	 * the call only.
	 */
	int (*resid_post)(void *context, size_t layer, const struct activation_batch *batch,
		struct tensor x, struct unit *out, struct err *err);
	int (*features)(void *context, size_t layer, const struct activation_batch *batch,
		const struct host_csr *f, struct unit *out, struct err *err);
	/* After the last layer of a batch; may be NULL. */
	int (*batch_done)(void *context, struct unit *out, struct err *err);
	/* As stage's. */
	int (*take)(void *context, size_t batch, struct unit_reader *in, struct err *err);
	bool whole; /* prompts from their first token on */
};

/* A stage (stage.h) over the prompts, called `title`. Features need lab->machine->saes. */
int activations_visit(struct lab *lab, const struct prompt_ids *prompts, const char *title,
	const struct activation_visitor *visitor, struct err *err);

#endif
