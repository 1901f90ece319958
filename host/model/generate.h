/* SPDX-License-Identifier: MIT
 *
 * generate.h - greedy continuation of many prompts at once, with edits on every token, prompt
 * and generated.
 */
#ifndef SAENGINE_GENERATE_H
#define SAENGINE_GENERATE_H

#include "host/model/readout.h"
#include "host/model/transformer.h"

/* A prompt as the model sees it: the tokens behind the shared prefix. */
struct token_span {
	const int32_t *ids; /* borrowed */
	size_t n;
	int32_t label; /* what messages call it */
};

struct generator;

struct generator_size {
	size_t prompts;       /* most prompts of a call */
	size_t prompt_tokens; /* most tokens of all of them, prefix apart */
	size_t pass_rows;     /* most tokens in one pass while reading prompts */
	size_t max_new;       /* most tokens of a reply, its stop token included */
};

/* *out is owned, free it. The readout is borrowed until then. Errors: ERR_DEVICE. */
int generator_create(struct generator **out, const struct model *m, struct readout *readout,
	struct generator_size size, struct err *err);
size_t generator_bytes(const struct model *m, struct generator_size size);

/* Accepts NULL. */
void generator_free(struct generator *g);

/* Keys and values of a prefix under edits, in memory of its own (kv_cache_free). */
int generator_prefix(struct generator *g, const int32_t *tokens, size_t n, const struct edit *edits,
	size_t n_edits, struct kv_cache *prefix, struct err *err);

struct generation {
	const struct token_span *prompts;
	size_t n_prompts;
	const struct kv_cache *prefix; /* NULL = none */
	const struct edit *edits;      /* sequence i of their lists is prompt i */
	size_t n_edits;
	/* Edits while the prompts are read, where these are others; NULL = the same. If their lists
	 * belong to rows, the prompts must fit one pass. */
	const struct edit *prompt_edits;
	size_t n_prompt_edits;
	const int32_t *stop; /* a reply ends with any of these */
	size_t n_stop;

	/* Results, in the order of the prompts. Memory is the caller's. */
	int32_t *tokens;       /* [n_prompts, max_new]; a stop token is not part of a reply */
	size_t *lengths;       /* [n_prompts] */
	int32_t *ended_by;     /* [n_prompts]: the stop token, or -1 for a reply cut at max_new */
	float *lead;           /* [n_prompts], may be NULL: the least by which a token of the reply,
				* its stop token included, led the next most probable one; logits */
	struct tensor first_y; /* [n_prompts, d_model], may be absent: the final norm at the last
				* token of each prompt, from which the first token is read */
};

/* Runs the prompts to their ends. A single prompt must fit pass_rows.
 * Errors: those of forward. */
int generate(struct generator *g, const struct generation *request, struct err *err);

#endif
