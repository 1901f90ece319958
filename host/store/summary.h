/* SPDX-License-Identifier: MIT
 *
 * summary.h - a row per condition: gathered while experiments run, written and printed at the end.
 */
#ifndef SAENGINE_SUMMARY_H
#define SAENGINE_SUMMARY_H

#include "host/store/dataset.h"

struct summary_row {
	char experiment[24], condition[64];
	size_t n_prompts;
	double refusal, p_refusal, kl, ce, ce_released; /* means; NaN = not measured */
	double partial, compliance; /* of replies told apart by rules, as refusal is then */
	double jailbreak, p_yes;    /* of a judge's run, which measures nothing else */
};

struct summary {
	struct summary_row *data; /* owned: free it */
	size_t n, cap;
	bool verdicts; /* the rows are a judge's */
	bool classes;  /* replies are told apart by rules */
};

/* Adds a row, or fills what a row of the same experiment and condition has not measured yet. */
int summary_add(struct summary *s, const struct summary_row *row, struct err *err);

/* The row of an experiment and condition in which CE was measured, or was not; NULL = none. */
const struct summary_row *summary_find(const struct summary *s, const char *experiment,
	const char *condition, bool with_ce);

/* Writes /summary. Errors: ERR_OUTPUT. */
extern const struct dataset_section summary_section;
int summary_write(const struct summary *s, struct results *results, struct err *err);

/* Prints the rows of an experiment; `answers` is the experiment that measured CE under the same
 * conditions, `prompts` what was done to which prompts, for the heading. */
void summary_print(const struct summary *s, const char *experiment, const char *answers,
	const char *prompts);

/* A number of a table on standard output, "-" for NaN. */
void summary_print_number(double value, int width, int digits);

#endif
