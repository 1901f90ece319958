/* SPDX-License-Identifier: MIT
 *
 * judged.h - the prompts of a judge: what an earlier run's prompts asked for and what was replied
 * under its conditions, each pair put into the judge's template.
 *
 * A request that had a context goes into the template for those, if there is one, as HarmBench's
 * classifier has it.
 *
 * A condition is a set of the run's prompts, named EXPERIMENT/CONDITION; a pair is one prompt whose
 * text is what was asked for. Its tokens are BOS and the filled template. Of a pair that is longer
 * than the context, BOS and the end are kept, as the published judges' tokenizers are told to.
 */
#ifndef SAENGINE_JUDGED_H
#define SAENGINE_JUDGED_H

#include "host/lab/prompts.h"
#include "host/text/judge_template.h"

struct judge_settings {
	char *kind, *template, *context_template, *published, *sha256, *context_sha256;
	char *yes, *no;
	struct text_list generations;
	int64_t max_tokens;
};

/* The context of judged_source. */
struct judged {
	const struct config *config; /* borrowed, as the next */
	const struct judge_settings *settings;
	const struct machine *machine; /* borrowed, from reading on */
	struct judge_template template;
	struct judge_template contextual; /* for pairs with a context; empty = the other one */
	struct text head, tail; /* of the template, zero-terminated: the run's chat template has
				 * them as its prefix and suffix */
	char **names;           /* [n_sets], owned: the conditions */
	size_t n_sets;
	char **reply;    /* [n] of every pair, whole; owned, as the next */
	int32_t *source; /* [n] its prompt id in the judged file */
	size_t n;
	size_t n_cut;    /* pairs that did not fit the context */
	size_t n_hidden; /* pairs with a context that their template has no place for */
};

/* Pairs in place of prompts. Opening it reads the templates, and what the first begins and ends
 * with stands around each prompt, so that BOS and what ends a reply are found as for any model.
 * Errors of opening: ERR_INPUT for a template that is not what it should be. Of reading: ERR_INPUT
 * for a file that is not what it should be, has no generations, or no context for a request whose
 * template takes one; ERR_CONFIG for judge.generations that the file does not have. */
extern const struct prompt_source judged_source;

/* Whether the verdict is a reply, not one token. */
bool judged_by_reply(const struct judge_settings *settings);

#endif
