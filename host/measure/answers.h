/* SPDX-License-Identifier: MIT
 *
 * answers.h - the unedited model's own answers to a prompt set, and what they cost under a
 * condition: cross-entropy, teacher forced, the stop token included when an answer ended with one.
 */
#ifndef SAENGINE_ANSWERS_H
#define SAENGINE_ANSWERS_H

#include "host/measure/continuation.h"
#include "host/store/dataset.h"

/* Owned; answers_free. */
struct answers {
	const char *experiment; /* borrowed: its name in the result file */
	struct prompt_ids prompts;
	struct continuation replies;
};

/* What is written, for the page. */
extern const struct dataset_section answers_section;

/* Declares the answers to the prompts of `set`, scored under so many conditions. */
int answers_plan(const struct lab *lab, struct plan *plan, const char *set, size_t n_conditions,
	struct err *err);

/* Answers the prompts of `set` and writes /generations/EXPERIMENT/none. */
int answers_run(struct answers *a, struct lab *lab, const char *experiment, const char *set,
	struct err *err);

/* Writes /scores/EXPERIMENT/CONDITION/{nll,n_tokens} and a row of the summary. */
int answers_score(const struct answers *a, struct lab *lab, const struct condition *condition,
	struct err *err);

/* Accepts a zeroed struct. */
void answers_free(struct answers *a);

#endif
