/* SPDX-License-Identifier: MIT
 *
 * harm_readings.h - the features of refusal, F_R, in the unedited model, with the features of harm,
 * F_H, multiplied by clamp.scale, and with random sets like F_H in their place (table 1 and figure
 * 4 of arXiv:2505.23556).
 */
#ifndef SAENGINE_HARM_READINGS_H
#define SAENGINE_HARM_READINGS_H

#include "host/lab/tables.h"
#include "host/measure/readings.h"

/* Rows of `edits`. */
enum { HARM_UNEDITED, HARM_CLAMPED, N_HARM_EDITS };

/* Owned; harm_readings_free. */
struct harm_readings {
	const struct feature_set *harm; /* borrowed */
	struct readings edits;          /* of F_R; N_HARM_EDITS rows */
	struct readings random;         /* controls.draws rows */
};

/* On the last readings.positions tokens of the prompts, which are borrowed, as the sets are, until
 * the end. `experiment` begins the stages' titles. Errors: those of readings_take. */
int harm_readings_take(struct harm_readings *h, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *refusal, const struct feature_set *harm, const char *experiment,
	struct err *err);

/* Declares both, and their datasets in `section`, whose other lengths are given. The sets have at
 * most attribution.k_star features. */
int harm_readings_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	const struct dataset_section *section, const struct dataset_length *others,
	struct err *err);

/* Accepts a zeroed struct. */
void harm_readings_free(struct harm_readings *h);

struct harm_readings_table {
	struct dataset edit;
	struct feature_table refusal, harm;
	struct readings_table edits;
	struct dataset draw;
	struct readings_table random;
};

/* The descriptors in a group whose prompts have a scale. */
#define HARM_READINGS_TABLE(group) \
	{ \
		.edit = {group "/edit", {"edit"}, RESULTS_TEXT, "", \
			"what is clamped: `none`, `harm` (F_H)"}, \
		.refusal = FEATURE_TABLE(group, "refusal_feature", "features of F_R"), \
		.harm = FEATURE_TABLE(group "/harm", "harm_feature", "features of F_H"), \
		.edits = READINGS_TABLE(group, "edit", "prompt", "refusal_feature"), \
		.draw = {group "/random/draw", {"draw"}, RESULTS_I32, "", \
			"random sets of the size and in the layers of F_H, clamped in its " \
			"place"}, \
		.random = READINGS_TABLE(group "/random", "draw", "prompt", "refusal_feature") \
	}

/* And the attributes scale and positions of the group. */
int harm_readings_write(const struct harm_readings *h, const struct harm_readings_table *t,
	const char *group, struct err *err);

#endif
