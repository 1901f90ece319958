/* SPDX-License-Identifier: MIT
 *
 * features.h - SAE features and sets of them: the best by a score, random ones, and what clamping
 * a set means to the device.
 */
#ifndef SAENGINE_FEATURES_H
#define SAENGINE_FEATURES_H

#include "host/model/edits.h"
#include "host/model/sae.h"

#include <stdint.h>

struct feature {
	int32_t layer, id;
	float cosine; /* of its decoder row and the direction; NaN where not computed */
	float score;  /* what it was chosen by: cosine, indirect effect, activation difference */
};

/* Chosen features, best first. */
struct feature_set {
	struct feature *data; /* owned: free it */
	size_t n, cap;
};

/* Adds a feature to the best `limit` of a set. Ties go to the lower layer, then the lower id, so
 * the set does not depend on the order of offers. Errors: memory. */
int feature_set_offer(struct feature_set *set, size_t limit, struct feature f, struct err *err);

/* Appends. */
int feature_set_add(struct feature_set *set, struct feature f, struct err *err);

/* Takes out the features whose score is 0, in place. */
void feature_set_without_zeros(struct feature_set *set);

bool feature_set_holds(const struct feature_set *set, int32_t layer, int32_t id);

/* Appends to *out the first n of `set`, in its order, that are not in `without`. */
int feature_set_first(const struct feature_set *set, const struct feature_set *without, size_t n,
	struct feature_set *out, struct err *err);

/* Of the features `among`, whose scores are score[k], `set` holds the best. How many of them could
 * one left out stand for, were every score off by noise[k]? Those that exceed the best one left out
 * by no more than both noises, ties included. noise: not negative. */
size_t feature_set_undecided(const struct feature_set *set, const struct feature_set *among,
	const float *score, const float *noise);

/* How far rounding moves a score: by `fixed`, and by `share` of itself. Not negative. */
struct score_noise {
	double fixed, share;
};

/* Cuts a set that was offered one feature more than wanted down to its best `limit`. Returns how
 * many of them the one cut off could stand for, were every score off by `noise`; ties included. */
size_t feature_set_cut(struct feature_set *set, size_t limit, struct score_noise noise);

/* As many random features per layer as `like` has, drawn without repetition from those alive
 * (alive[layer * d_sae + id] != 0) that are not in `like`. With too few alive, fewer are drawn.
 * The draw depends on seed, `like` and alive only. */
int feature_set_random(struct feature_set *set, const struct feature_set *like,
	const uint8_t *alive, size_t n_layer, size_t d_sae, uint64_t seed, struct err *err);

/* ---- clamping -------------------------------------------------------------------------- */

/* f_new = scale f + offset: "multiply by c" is (c, 0), "set to v" is (0, v). */
struct clamp_value {
	float scale, offset;
};

/* The features of all prompts' sets on the device, and the lists of one batch of prompts. */
struct clamp_plan;

/* `sets`: one for all prompts (n_sets 1), or one for each prompt, borrowed until the plan is
 * freed. Loads the encoder and decoder rows of their union. *out is owned, free it.
 * Errors: those of sae_set_select. */
int clamp_plan_create(struct clamp_plan **out, struct device *dev, struct sae_set *saes,
	const struct feature_set *sets, size_t n_sets, struct clamp_value value, struct err *err);

/* Accepts NULL. */
void clamp_plan_free(struct clamp_plan *plan);

/* Lists for a batch whose sequence i is prompt prompts[i] (ignored when there is one set).
 * Returns through *clamps an array [n_layer] for an EDIT_CLAMP, borrowed until the next call or
 * the end of the plan. */
int clamp_plan_batch(struct clamp_plan *plan, const size_t *prompts, size_t n,
	const struct clamp **clamps, struct err *err);

#endif
