/* SPDX-License-Identifier: MIT
 *
 * result_lines.h - how far two result files of one config lie apart: what is measured, and the
 * limits. Why each is what it is: result_lines.c.
 */
#ifndef SAENGINE_RESULT_LINES_H
#define SAENGINE_RESULT_LINES_H

#include "tests/result_pairs.h"

enum {
	DIRECTION,
	METRIC,
	EFFECTS,
	EFFECTS_NEAR,
	SAVED_RESID,
	SAVED_GRADIENTS,
	FEATURES,
	REFUSAL,
	P_REFUSAL,
	REPLIES,
	N_LINES
};

/* The most (or, for shares, the least) that is allowed, of float32 products on both sides and
 * where the second rounds their inputs to bfloat16. */
struct line {
	const char *name;
	bool at_least;
	double exact, rounded;
};
extern const struct line result_lines[N_LINES];

struct comparison {
	struct result_files files;
	bool rounded;
	struct {
		bool known; /* false: the files do not have it */
		double value;
	} measured[N_LINES];
	int n_other; /* conditions whose features are not the same in both: not compared */
};

/* Keeps the worst of a line. NaN is worse than any number. */
void line_measure(struct comparison *c, int line, double value);

/* Of n > 0 values, which it sorts; NaN if one is. */
double median(double *x, size_t n);

#endif
