/* SPDX-License-Identifier: MIT
 *
 * reconstruction.h - how well the lab's SAEs reconstruct resid_post on prompts and replies, and
 * what the model loses when it goes on from a reconstruction.
 *
 *   FVU   sum |x - x_hat|^2 / sum |x - mean|^2 over tokens: fraction of variance unexplained
 *   L0    active features per token
 *   CE    -log p per token of the replies, with resid_post of one layer replaced: by x_hat, by 0
 *   CE recovered = (CE_zero - CE_x_hat) / (CE_zero - CE_clean)
 *
 * Tokens are those behind the shared prefix, whose residual stream is never replaced: no SAE is
 * trained to reconstruct BOS.
 */
#ifndef SAENGINE_RECONSTRUCTION_H
#define SAENGINE_RECONSTRUCTION_H

#include "host/base/arena.h"
#include "host/measure/continuation.h"

/* Layers without an SAE have zeros. Sums per prompt, so that means and their intervals are for the
 * reader to take. Owned; reconstruction_free. */
struct reconstruction {
	size_t n_layer, n_prompts;
	int32_t *n_tokens, *n_scored;     /* [n_prompts] of prompt and reply; of the reply alone */
	double *nll_clean;                /* [n_prompts] nats */
	double *nll_sae, *nll_zero;       /* [n_layer, n_prompts] nats */
	double *squared_error, *n_active; /* [n_layer, n_prompts] */
	double *variance;                 /* [n_layer] mean of |x - mean|^2 over all tokens */
	struct arena memory;              /* has all of them */
};

/* 1 + 2 n_layer passes over prompts and replies, and one encoding per layer. `title` is for the
 * progress line. Errors: those of forward, sae_set_load. */
int reconstruction_run(struct lab *lab, const struct prompt_ids *prompts,
	const struct continuation *replies, const char *title, struct reconstruction *out,
	struct err *err);

/* Accepts a zeroed struct. */
void reconstruction_free(struct reconstruction *r);

#endif
