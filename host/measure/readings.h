/* SPDX-License-Identifier: MIT
 *
 * readings.h - a few features, watched on the same prompts under one condition after another.
 */
#ifndef SAENGINE_READINGS_H
#define SAENGINE_READINGS_H

#include "host/base/arena.h"
#include "host/lab/plan.h"
#include "host/measure/observe.h"
#include "host/store/dataset.h"

/* Owned; readings_free. */
struct readings {
	struct lab *lab;                  /* borrowed, as the next two */
	const struct prompt_ids *prompts; /* may be exchanged for others of the same number */
	const struct feature_set *features;
	size_t n_last;
	size_t rows;          /* conditions */
	struct arena memory;  /* what follows is in it */
	float *activation;    /* [rows, prompts, features] mean over the last n_last tokens, before
			       * the edits of the feature's own layer */
	double *p_refusal;    /* [rows, prompts] */
	int32_t *first_token; /* [rows, prompts] */
	float *refusal_lead;  /* [rows, prompts] observation's; not of random sets, which nothing is
			       * decided by */
};

int readings_open(struct readings *r, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *features, size_t n_last, size_t rows, struct err *err);

/* Declares so many rows of so many features, each a stage. */
int readings_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_features, size_t n_last, size_t rows, struct err *err);

/* Accepts a zeroed struct. */
void readings_free(struct readings *r);

/* Fills a row; `title` is that of the stage, which ranks share. Errors: those of observe. */
int readings_take(struct readings *r, const struct condition *condition, const char *title,
	size_t row, struct err *err);

/* Sum of a prompt's activations over the features. */
double readings_sum(const struct readings *r, size_t row, size_t prompt);

struct readings_table {
	struct dataset activation, p_refusal, first_token;
};

/* The descriptors of readings in a group; `row`, `prompt` and `feature` are the names of their
 * scales. */
#define READINGS_TABLE(group, row, prompt, feature) \
	{ \
		.activation = {group "/activation", {row, prompt, feature}, RESULTS_F32, "1", \
			"mean activation over the prompt's last tokens"}, \
		.p_refusal = {group "/p_refusal", {row, prompt}, RESULTS_F64, "1", \
			"probability that the first token is the refusal token"}, \
		.first_token = \
		{ group "/first_token", \
			{row, prompt}, \
			RESULTS_I32, \
			"", \
			"most probable first token of the reply" } \
	}

/* Writes all rows. */
int readings_write(const struct readings *r, const struct readings_table *t,
	struct results *results, struct err *err);

/* Declares rows for random sets. */
int readings_plan_random(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_features, size_t rows, struct err *err);

/* Rows for random sets like `like` (controls.h), multiplied by `scale`: rows 0 to n_draws - 1.
 * Which features occur is found on the prompts first; then each set is a task (tasks.h). */
int readings_take_random(struct readings *r, const struct feature_set *like, double scale,
	const char *title, struct err *err);

#endif
