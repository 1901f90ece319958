/* SPDX-License-Identifier: MIT
 *
 * category_sets.h - the best features of each harm category, what all categories share, and what
 * is a category's own.
 */
#ifndef SAENGINE_CATEGORY_SETS_H
#define SAENGINE_CATEGORY_SETS_H

#include "host/base/arena.h"
#include "host/measure/candidates.h"
#include "host/measure/effects.h"

struct category_sets {
	size_t n;                  /* categories, in the order in which the prompts name them */
	const char **name;         /* [n] borrowed from the lab */
	struct prompt_ids prompts; /* of the categories, in the order of their set */
	struct candidates candidates;
	struct effects effects;    /* of the candidates, per prompt */
	struct feature_set all;    /* the K* of the highest mean over all prompts */
	struct feature_set common; /* in every F*, by that mean; F_R */
	struct arena memory;       /* what follows is in it */
	int32_t *category;         /* [prompts.n] */
	float *mean;               /* [n, candidates] mean effect over a category's prompts */
	struct feature_set *best;  /* [n] F*: the K* candidates of the highest mean */
};

/* The categories (`names`; empty: all that the prompts of `set` have) and their prompts. Nothing is
 * computed. Errors: ERR_CONFIG for names without prompts, and for less than two categories. */
int category_sets_take(struct category_sets *out, const struct lab *lab, const char *set,
	const struct text_list *names, struct err *err);

/* Declares what category_sets_find will attribute: these prompts. */
int category_sets_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	struct err *err);

/* Takes and attributes them (effects.h). Errors: also those of candidates_find, effects_run. */
int category_sets_find(struct category_sets *out, struct lab *lab, const float *direction,
	const char *set, const struct text_list *names, struct err *err);

/* Accepts a zeroed struct. */
void category_sets_free(struct category_sets *c);

/* Prompts of one category, appended to *out. */
int category_sets_prompts(const struct category_sets *c, size_t category, struct prompt_ids *out,
	struct err *err);

#endif
