/* SPDX-License-Identifier: MIT
 *
 * effects.h - indirect effects of a list of prompts, batch by batch: of the candidates, and if
 * wanted of all features.
 */
#ifndef SAENGINE_EFFECTS_H
#define SAENGINE_EFFECTS_H

#include "host/lab/plan.h"
#include "host/measure/candidates.h"
#include "host/method/attribution.h"
#include "host/store/dataset.h"

/* A path other than the config's (attribution.steps, attribution.ig_rule, all layers at once). */
struct effects_path {
	size_t steps;
	enum ig_rule rule;
	enum ig_path path;
	size_t layer;
};

struct effects_request {
	const struct prompt_ids *prompts;
	const float *direction; /* [d_model]: what the path ends without */
	const struct feature_set *candidates;
	const struct effects_path *path; /* NULL = the config's */
	bool other_backward;             /* not by attribution.ig_backward: by the other way */
	bool path_effects;               /* also the true effect of each candidate along the path */
	const char *title;               /* of the progress line; NULL = none, for one of many */
	bool all_features;               /* also of every feature: the AP baseline */
	size_t k_star;                   /* size of the per-prompt sets of all features */
	bool save_all;    /* write them under /indirect_effect/ap/per_prompt; needs all_features */
	bool save_tokens; /* write effects per token under /indirect_effect/cossim_ap/per_token */
	bool save_gradients; /* write the mean gradient of every layer and token */
};

/* Means are over the tokens of a prompt behind the template's prefix (or behind the shorter one
 * of the released code: attribution.positions). Owned; effects_free. */
struct effects {
	size_t n_prompts, n_candidates, n_layer, d_sae;
	float *mean, *noise;       /* [n_prompts, n_candidates]; what rounding can make of it */
	int32_t *target;           /* [n_prompts] token j */
	float *target_lead;        /* [n_prompts] attribution_result's, logits */
	int32_t *n_tokens;         /* [n_prompts] how many tokens the means are over */
	double *m_clean, *m_patch; /* [n_prompts] metric at the ends of the path, logits */
	double *path_effect; /* [n_prompts, n_candidates] with path_effects: summed over tokens by
			      * its nature (attribution_path_effect), logits */
	/* With all_features. */
	double *all;                   /* [n_layer, d_sae] mean over prompts */
	struct feature_set *all_local; /* [n_prompts] the k_star best of each */
	size_t n_all_undecided; /* of these sets, those that rounding could change (ties.h) */
};

/* What is written, for the page: two sections. */
extern const struct dataset_section effects_sections[2];

/* How much of it there will be. */
struct effects_extent {
	size_t k0;            /* candidates per layer */
	size_t paths, points; /* followed; on all of them together */
	size_t n_stages;      /* whose batches are kept as units */
};

/* That of the config: its K0, one path, one stage. */
struct effects_extent effects_extent(const struct config *config);

/* Declares what a request asks for; its direction and candidates need not be known yet.
 * Errors: ERR_CONFIG for attribution.target. */
int effects_plan(const struct lab *lab, struct plan *plan, const struct effects_request *request,
	struct effects_extent extent, struct err *err);

/* With a title also says how many targets rounding may turn round. Errors: also ERR_INTERNAL for
 * prompts that were not declared. */
int effects_run(struct lab *lab, const struct effects_request *request, struct effects *out,
	struct err *err);

/* Accepts a zeroed struct. */
void effects_free(struct effects *e);

/* mean[k] = mean effect of candidate k over the prompts: over all, or those whose group is `of`
 * ([n_prompts]; NULL = all). */
void effects_mean(const struct effects *e, const int32_t *group, int32_t of, float *mean);

/* noise[k] = the mean noise, likewise: how far rounding moves that mean at most. */
void effects_mean_noise(const struct effects *e, const int32_t *group, int32_t of, float *noise);

/* F*: the K* candidates of the largest mean effect over all prompts (candidates_best), best first,
 * appended to *set, which is empty. */
int effects_best(const struct effects *e, const struct candidates *c, size_t k_star,
	struct feature_set *set, struct err *err);

/* How many of a set chosen by the mean effects of a group (effects_mean) rounding alone could
 * exchange (feature_set_undecided). */
int effects_undecided(const struct effects *e, const struct candidates *c, const int32_t *group,
	int32_t of, const struct feature_set *set, size_t *n, struct err *err);

#endif
