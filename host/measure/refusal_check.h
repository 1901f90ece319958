/* SPDX-License-Identifier: MIT
 *
 * refusal_check.h - is the refusal token the spelling that the model's replies begin with?
 */
#ifndef SAENGINE_REFUSAL_CHECK_H
#define SAENGINE_REFUSAL_CHECK_H

#include "host/lab/lab.h"
#include "host/store/dataset.h"

struct refusal_check {
	size_t n_prompts;                      /* 0: there is one spelling, nothing was run */
	double probability[REFUSAL_SPELLINGS]; /* of each of lab->prompts->refusal_spellings, mean
						*/
};

/* Where the vocabulary spells the refusal token's word in several ways, a pass over up to 16 of the
 * run's prompts, spread evenly over all sets: how likely a reply begins with each. Prints them.
 * Every rank does the same, and nothing is written. Errors: those of a pass; ERR_CONFIG when the
 * token was named by a text and another spelling is more likely, and not rare: which one is meant
 * must be said by its id. Where an id is given that is a warning. */
int refusal_check_run(struct lab *lab, struct refusal_check *out, struct err *err);

/* Writes /refusal_check; nothing where nothing was run. */
extern const struct dataset_section refusal_check_section;
int refusal_check_write(const struct lab *lab, const struct refusal_check *check, struct err *err);

#endif
