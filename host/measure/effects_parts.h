/* SPDX-License-Identifier: MIT
 *
 * effects_parts.h - what the files effects*.c share. Nobody else includes it.
 */
#ifndef SAENGINE_EFFECTS_PARTS_H
#define SAENGINE_EFFECTS_PARTS_H

#include "host/measure/effects.h"

#include "host/measure/feature_sums.h"
#include "host/work/stage.h"

/* A (layer, feature, effect) of one prompt, on its way to the file. */
struct entries {
	struct {
		int32_t *data;
		size_t n, cap;
	} layer, feature;
	struct {
		float *data;
		size_t n, cap;
	} effect;
};

struct effects_work {
	struct lab *lab;
	const struct effects_request *request;
	struct effects *out;
	size_t skip;
	struct schedule schedule;
	struct token_span *spans;
	float *mean;              /* [most_prompts, n_candidates] of the batch */
	struct feature_set *best; /* [most_prompts] of the batch */
	struct feature_sums sums;
	struct attribution *attribution;
	struct host_csr csr;
	double *path_effect;     /* [n_candidates, most_prompts] of the batch */
	double *one_prompt;      /* [d_sae] sums of one prompt and layer */
	struct entries *entries; /* [most_prompts] of the current batch */
	struct entries joined;   /* the same end to end */
};

/* ---- all features: effects_all.c -------------------------------------------------------- */

/* Sums, best sets and entries of a batch that has been run, the first two into its unit. */
int effects_put_all(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err);

/* From a unit, whose n prompts have these places in the list of prompts. */
int effects_take_all(struct effects_work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err);

/* ---- rows of the result file: effects_save.c -------------------------------------------- */

/* Declares the rows that the request wants saved, of tokens behind the first `skip`. */
int effects_plan_rows(const struct lab *lab, struct plan *plan,
	const struct effects_request *request, size_t n_candidates, size_t skip, struct err *err);

/* What the request wants saved of a batch that has been run. */
int effects_save(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err);

#endif
