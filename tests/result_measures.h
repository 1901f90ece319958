/* SPDX-License-Identifier: MIT
 *
 * result_measures.h - the lines of a comparison, measured. Which of them there are, and why their
 * limits are what they are: result_lines.c.
 */
#ifndef SAENGINE_RESULT_MEASURES_H
#define SAENGINE_RESULT_MEASURES_H

#include "tests/result_lines.h"

/* The files of `c` are open; fills c->measured. ERR_INPUT: they do not fit together. */
int measure_values(struct comparison *c, struct err *err);
int measure_scores(struct comparison *c, struct err *err);

/* What both global sets of a group /feature_sets/METHOD have, as a share of the larger one; 1 where
 * there is none. */
int sets_overlap(const struct comparison *c, const char *method, double *out, struct err *err);

#endif
