/* SPDX-License-Identifier: MIT
 *
 * activation_stats.h - which features occur on a list of prompts and how strongly; optionally
 * every activation into the result file.
 */
#ifndef SAENGINE_ACTIVATION_STATS_H
#define SAENGINE_ACTIVATION_STATS_H

#include "host/lab/plan.h"
#include "host/store/dataset.h"

struct activation_stats {
	double *mean_max; /* [n_layer, d_sae] maximum over a prompt's tokens, mean over prompts;
			   * which tokens: attribution.actdiff_positions */
	uint8_t *alive;   /* [n_layer, d_sae] whether the feature occurs at any of these */
};

extern const struct dataset_section activation_stats_section;

/* Declares what activation_stats_run will keep and, with `save`, write. */
int activation_stats_plan(const struct lab *lab, struct plan *plan,
	const struct prompt_ids *prompts, bool save, struct err *err);

/* With `save`, writes what config save.* asks for of that section. */
int activation_stats_run(struct lab *lab, const struct prompt_ids *prompts, const char *title,
	bool save, struct activation_stats *out, struct err *err);

/* Accepts a zeroed struct. */
void activation_stats_free(struct activation_stats *s);

#endif
