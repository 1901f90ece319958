/* SPDX-License-Identifier: MIT
 *
 * readings.h - a few features, watched on the same prompts under one condition after another.
 */
#ifndef SAENGINE_READINGS_H
#define SAENGINE_READINGS_H

#include "host/measure/observe.h"
#include "host/lab/tables.h"

/* Owned; readings_free. */
struct readings {
	struct lab *lab;                  /* borrowed, as the next two */
	const struct prompt_ids *prompts; /* may be exchanged for others of the same number */
	const struct feature_set *features;
	size_t n_last;
	size_t rows;          /* conditions */
	float *activation;    /* [rows, prompts, features] mean over the last n_last tokens, before
			       * the edits of the feature's own layer */
	double *p_refusal;    /* [rows, prompts] */
	int32_t *first_token; /* [rows, prompts] */
};

int readings_open(struct readings *r, struct lab *lab, const struct prompt_ids *prompts,
	const struct feature_set *features, size_t n_last, size_t rows, struct err *err);

/* Accepts a zeroed struct. */
void readings_free(struct readings *r);

/* Fills a row; `title` is that of the stage, which ranks share. Errors: those of observe. */
int readings_take(struct readings *r, const struct condition *condition, const char *title,
	size_t row, struct err *err);

/* Sum of a prompt's activations over the features. */
double readings_sum(const struct readings *r, size_t row, size_t prompt);

/* Writes {activation,p_refusal,first_token} over three scales written before. */
int readings_write(const struct readings *r, struct table t, const char *row_scale,
	const char *prompt_scale, const char *feature_scale, struct err *err);

/* Rows for random sets like `like` (controls.h), multiplied by `scale`: rows 0 to n_draws - 1.
 * Which features occur is found on the prompts first; then each set is a task (tasks.h). */
int readings_take_random(struct readings *r, const struct feature_set *like, double scale,
	const char *title, struct err *err);

#endif
