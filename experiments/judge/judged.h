/* SPDX-License-Identifier: MIT
 *
 * judged.h - the prompts of a judge: what an earlier run's prompts asked for and what was replied
 * under its conditions, each pair put into the judge's template.
 *
 * A request that had a context goes into the template for those, if there is one, as HarmBench's
 * classifier has it.
 *
 * A condition is a set of the lab's prompts, named EXPERIMENT/CONDITION; a pair is one prompt
 * whose text is what was asked for. Its tokens are BOS and the filled template. Of a pair that is
 * longer than the context, BOS and the end are kept, as the published judges' tokenizers are told
 * to.
 */
#ifndef SAENGINE_JUDGED_H
#define SAENGINE_JUDGED_H

#include "host/lab/lab.h"
#include "host/text/judge_template.h"

struct judged {
	struct judge_template template;
	struct judge_template contextual; /* for pairs with a context; empty = the other one */
	struct text head, tail; /* of the template, zero-terminated: the lab's chat template has
				 * them as its prefix and suffix */
	char **names;           /* [n_sets], owned: the conditions */
	size_t n_sets;
	char **reply;    /* [n] of every pair, whole; owned, as the next */
	int32_t *source; /* [n] its prompt id in the judged file */
	size_t n;
	size_t n_cut;    /* pairs that did not fit the context */
	size_t n_hidden; /* pairs with a context that their template has no place for */
};

/* Reads the judge's templates into lab->judged, and lends what the first begins and ends with to
 * `chat`, so that BOS and what ends a reply are found as for any model.
 * Errors: ERR_INPUT for a template that is not what it should be. */
int judged_open(struct lab *lab, struct chat_options *chat, struct err *err);

/* Fills lab->prompts from the file of config `from`, once lab->chat is there.
 * Errors: ERR_INPUT for a file that is not what it should be, has no generations, or no context for
 * a request whose template takes one; ERR_CONFIG for judge.generations that the file does not
 * have. */
int judged_encode(struct lab *lab, struct err *err);

/* Accepts NULL. */
void judged_free(struct judged *j);

/* Appends what the judge reads of a pair, before it is cut to the context. */
int judged_render(const struct lab *lab, size_t pair, struct text *text, struct err *err);

/* Whether the verdict is a reply, not one token. */
bool judged_by_reply(const struct config *c);

#endif
