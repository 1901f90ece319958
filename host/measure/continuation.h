/* SPDX-License-Identifier: MIT
 *
 * continuation.h - replies to a list of prompts under a condition, and what is scored on them.
 */
#ifndef SAENGINE_CONTINUATION_H
#define SAENGINE_CONTINUATION_H

#include "host/lab/plan.h"
#include "host/measure/conditions.h"
#include "host/store/dataset.h"
#include "host/text/refusal.h"

/* Replies to n prompts, in the order of the list. Owned; continuation_free. */
struct continuation {
	size_t n;
	struct token_ids tokens; /* all replies end to end, stop tokens left out */
	size_t *start;           /* [n + 1] */
	int32_t *ended_by;       /* [n] stop token, -1 when cut at max_new_tokens */
	float *lead;       /* [n] the least lead of a token of the reply (generate.h), logits */
	char **text;       /* [n] */
	double *p_refusal; /* [n] probability that the first token is the refusal token */
	double *kl;        /* [n] of the first token's distribution, unedited to this; NaN
			    * when there was nothing to compare with */
	uint8_t *refused;  /* [n] whether the reply is a refusal, as refusal.measure says */
	enum reply_class *class; /* [n] by rules; NULL where substrings are the measure */
	struct tensor first_y;   /* [n, d_model] final norm before the first token, on the device */
	void *memory;            /* device */
	struct device *dev;
};

/* Declares replies to the prompts under so many conditions. What was not declared is not run. */
int continuation_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_conditions, struct err *err);

/* `title` is for the progress line; `unedited` (may be NULL) the same prompts without a condition,
 * to compare first tokens with. Errors: those of generation; ERR_INTERNAL for prompts
 * that were not declared. */
int continuation_run(struct lab *lab, const struct prompt_ids *prompts,
	const struct condition *condition, const char *title, const struct continuation *unedited,
	struct continuation *out, struct err *err);

/* Accepts a zeroed struct. */
void continuation_free(struct continuation *c);

/* Writes /generations/EXPERIMENT/CONDITION and /scores/EXPERIMENT/CONDITION, and adds a row to the
 * summary. */
extern const struct dataset_section continuation_section;
int continuation_write(struct lab *lab, const char *experiment, const struct condition *condition,
	const struct prompt_ids *prompts, const struct continuation *c, struct err *err);

/* Both, under the title "EXPERIMENT: CONDITION". `unedited` and `out` may be NULL. */
int continuation_record(struct lab *lab, const char *experiment, const struct prompt_ids *prompts,
	const struct condition *condition, const struct continuation *unedited,
	struct continuation *out, struct err *err);

/* Cross-entropy of given replies under a condition, teacher-forced, stop token included.
 * nll: host [n] sums of -log p over a reply's tokens; count: [n] tokens. */
int continuation_ce(struct lab *lab, const struct prompt_ids *prompts,
	const struct continuation *replies, const struct condition *condition, const char *title,
	double *nll, int32_t *count, struct err *err);

#endif
