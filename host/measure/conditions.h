/* SPDX-License-Identifier: MIT
 *
 * conditions.h - what is done to the model while it runs: nothing, the direction ablated or added,
 * or a clamp of features, while others may be retained; and the edits this means for a batch of
 * prompts.
 */
#ifndef SAENGINE_CONDITIONS_H
#define SAENGINE_CONDITIONS_H

#include "host/lab/findings.h"
#include "host/lab/lab.h"
#include "host/method/retain_plan.h"

/* Values of some features in an earlier run, at every token: what they can be retained at. All
 * borrowed; observation_recording (observe.h) fills it. */
struct recording {
	const struct feature_set *features;
	const struct feature_set
		*except;               /* those of them that are not to be retained; NULL = none */
	const float *prefix;           /* [lab->prompts->n_prefix, features->n] */
	const float *const *of_prompt; /* [lab->prompts->table.n]: [tokens behind the prefix,
					* features->n], NULL for a prompt that was not recorded */
};

enum condition_kind { CONDITION_NONE, CONDITION_ABLATE, CONDITION_ADD, CONDITION_CLAMP };

/* Pointers are borrowed. */
struct condition {
	enum condition_kind kind;
	size_t layer_first, layer_last; /* ABLATE, ADD: in these layers, both included */
	const float *v;                 /* ABLATE, ADD: [d_model], of any length */
	const struct feature_set *sets; /* CLAMP: these features; with `local` a set for every
					 * prompt of the run */
	bool local;
	const struct recording *retained; /* CLAMP of one set: features held meanwhile; NULL = none.
					   * Of features in both, the clamp wins. */
	struct clamp_value value;         /* CLAMP */
	char name[64];                    /* in result files: "none", "ablate_direction",
					   * "cossim_ap_global_x-3" (times -3), "..._to10" (set to
					   * 10) */
};

struct condition condition_none(void);
struct condition condition_ablate(const struct direction *direction);
struct condition condition_ablate_layers(const struct direction *direction, size_t first,
	size_t last);

/* v added where it was found: at its layer, at all tokens. */
struct condition condition_add(const struct direction *direction);

/* The features of a method, for all prompts the same or each prompt's own, f <- c f; or set to a
 * value, f <- v. */
struct condition condition_scale(enum method method, const struct method_sets *sets, bool local,
	double c);
struct condition condition_set(enum method method, const struct method_sets *sets, double value);

/* f <- c f of any features: "NAME_x-3". */
struct condition condition_scale_set(const char *name, const struct feature_set *set, double c);

/* A condition on the device. */
struct condition_state {
	struct lab *lab;
	struct condition condition;
	struct clamp_plan *plan;
	struct retain_plan *retain;
	struct feature_set retained; /* the recording's features less the clamped ones */
	struct retained_rows *rows;  /* [n_rows] of a batch */
	float *values;               /* of a batch, columns of `retained` */
	size_t n_rows, n_values;
	size_t n_out; /* out rows per prompt of the passes to come; 1 unless the caller sets it */
	void *memory; /* device: u */
	struct edit edit, reply_edit;
};

/* Errors: those of the device. */
int condition_open(struct condition_state *s, struct lab *lab, const struct condition *condition,
	struct err *err);

/* Accepts a zeroed state. */
void condition_close(struct condition_state *s);

/* Whether edits differ by prompt, so that no prefix can be shared. */
bool condition_is_local(const struct condition_state *s);

/* The edits for a batch whose sequence i is prompt prompts[i]; at most one. With retained features
 * they fit one pass over these prompts, packed in this order behind the shared prefix. Borrowed
 * until the next call, as condition_prefix_edits'.
 * Errors: ERR_INTERNAL for a prompt that was not recorded. */
int condition_edits(struct condition_state *s, const size_t *prompts, size_t n,
	const struct edit **edits, size_t *n_edits, struct err *err);

/* The edits for generated tokens, after those for their prompts: the same but that nothing is
 * retained, for no earlier run has these tokens. */
int condition_reply_edits(struct condition_state *s, const struct edit **edits, size_t *n_edits,
	struct err *err);

/* The edits for the shared prefix. */
int condition_prefix_edits(struct condition_state *s, const struct edit **edits, size_t *n_edits,
	struct err *err);

#endif
