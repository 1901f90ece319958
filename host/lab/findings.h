/* SPDX-License-Identifier: MIT
 *
 * findings.h - what experiments find and later ones use: the direction, feature sets by method, and
 * what the best features do. In memory during a run; in result files for the next one:
 *
 *   /direction                                                  the experiment direction writes it
 *   /feature_sets/METHOD/global/{layer,feature,cosine,score}   [rank], best first
 *   /feature_sets/METHOD/local/{layer,feature,score}           [prompt, rank]; -1 and NaN beyond
 *                                                              the end of a shorter set
 *   /feature_sets/{refusal,harm}/global/...                    roles, likewise
 *
 * Only experiments hold them: what measures is given the one that it is to use.
 */
#ifndef SAENGINE_FINDINGS_H
#define SAENGINE_FINDINGS_H

#include "host/lab/inputs.h"
#include "host/lab/machine.h"
#include "host/lab/plan.h"
#include "host/lab/prompts.h"
#include "host/method/features.h"
#include "host/method/methods.h"
#include "host/store/dataset.h"

struct direction {
	bool expected; /* known by the time that experiments use it, as those of the sets */
	bool known;
	size_t layer; /* l* */
	float *v;     /* [d_model], owned: v_{l*}, not normalised */
};

/* What a method found. */
struct method_sets {
	/* Before the run: whether there will be sets, and local ones, found by this run or taken
	 * from the earlier file. */
	bool expected, expected_local;
	bool known;
	struct feature_set global;
	struct feature_set *local; /* [n_prompts]; NULL = no local sets */
	bool *attributed;          /* [n_prompts] with local: the others' sets are empty, too */
};

/* What the best features do: those that are among the best of every harm category stand for
 * refusal, the rest of the best over all prompts for harm. */
struct roles {
	bool known;
	struct feature_set refusal, harm; /* F_R, F_H: owned */
};

struct findings {
	struct direction direction;
	struct method_sets sets[N_METHODS];
	struct roles roles;
	size_t n_prompts; /* of the run: length of the local sets */
};

/* Kinds of findings, as bits: what an experiment needs, and what it leaves. */
enum finding { FIND_DIRECTION = 1, FIND_SETS = 2, FIND_ROLES = 4 };

/* Takes the direction and feature sets of an earlier result file (config `from`), but for those of
 * `found_here`, which this run finds itself. Prompts are matched by text and context. `wanted` is
 * what the run has a use for (both as bits of enum finding).
 * Errors: ERR_INPUT when they do not fit this model; ERR_CONFIG for from_k_star, and for feature
 * sets that are wanted where there are no SAEs. */
int findings_load(struct findings *f, const struct config *config, const struct machine *m,
	const struct prompts *prompts, unsigned found_here, unsigned wanted, struct err *err);

/* Whether that file was made with the same weights, adapter and SAEs, which are hashed by now: its
 * own are in its /provenance. Nothing without `from`. Errors: ERR_INPUT. */
int findings_check_weights(const struct config *config, const struct inputs *inputs,
	struct err *err);

/* Warns where that file was made by another engine, by another arithmetic, or with another template
 * or folding of SAEs: what is measured with its direction and features is then of both. Errors:
 * ERR_INPUT. */
int findings_compare_settings(const struct config *config, const struct machine *m,
	struct err *err);

/* Accepts a zeroed struct. */
void findings_free(struct findings *f);

/* Makes room for the local sets of a method. */
int findings_new_local(struct findings *f, enum method method, struct err *err);

/* What the next two write, for the page: a section each. */
extern const struct dataset_section findings_sections[2];

/* Declares the sets of so many methods, of n_prompts prompts; and the roles. */
int findings_plan(struct plan *plan, size_t n_methods, size_t n_prompts, size_t k_star,
	struct err *err);
int findings_plan_roles(struct plan *plan, size_t k_star, struct err *err);

/* Writes the sets of a method; local sets of `prompts` in that order. */
int findings_write_sets(const struct findings *f, enum method method,
	const struct prompt_ids *prompts, struct results *results, struct err *err);

/* Writes the roles, empty ones left out, as /feature_sets/{refusal,harm}/global. */
int findings_write_roles(const struct findings *f, struct results *results, struct err *err);

#endif
