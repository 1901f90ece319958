/* SPDX-License-Identifier: MIT
 *
 * tables.h - datasets that many groups of the result file have: the scale of a list of prompts, the
 * table of a set of features. What is written about each is in its group's descriptors (dataset.h).
 */
#ifndef SAENGINE_TABLES_H
#define SAENGINE_TABLES_H

#include "host/lab/lab.h"
#include "host/method/features.h"
#include "host/store/dataset.h"

/* The descriptor of GROUP/prompt. */
#define PROMPT_SCALE(group) \
	{ \
		group "/prompt", {"prompt"}, RESULTS_I32, "", "prompt ids" \
	}

/* Writes a scale of prompt ids. */
int prompt_scale_write(struct results *r, const struct dataset *scale, const char *const *words,
	const struct prompt_ids *prompts, struct err *err);

struct feature_table {
	struct dataset scale, layer, feature, cosine;
};

/* The descriptors of a table of features in a group; `dim` is the name of its scale, `what` says
 * what its rows are. */
#define FEATURE_TABLE(group, dim, what) \
	{ \
		.scale = {group "/" dim, {dim}, RESULTS_I32, "", what}, \
		.layer = {group "/layer", {dim}, RESULTS_I32, "", \
			"layer; `resid_post` of `blocks.LAYER` in TransformerLens"}, \
		.feature = {group "/feature", {dim}, RESULTS_I32, "", "feature id"}, \
		.cosine = \
		{ group "/cosine", \
			{dim}, \
			RESULTS_F32, \
			"1", \
			"of decoder row and direction" } \
	}

/* Writes the scale 0 ... n - 1 and the three columns. */
int feature_table_write(struct results *r, const struct feature_table *t, const char *const *words,
	const struct feature_set *set, struct err *err);

#endif
