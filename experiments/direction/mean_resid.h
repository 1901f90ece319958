/* SPDX-License-Identifier: MIT
 *
 * mean_resid.h - mean residual stream at the last tokens of a prompt set.
 */
#ifndef SAENGINE_MEAN_RESID_H
#define SAENGINE_MEAN_RESID_H

#include "host/lab/lab.h"

/* Which prompts count, by whether the model's first token is the refusal token. */
enum mean_resid_filter { MEAN_OF_ALL, MEAN_OF_REFUSED, MEAN_OF_ANSWERED };

/* mean[p, l, :] = mean of resid_post of layer l at the p-th token from the end (0 = last), over
 * the prompts of `set` that count; summed in double, batch by batch in the order of the schedule.
 * mean: host [n_pos, n_layer, d_model]; *n_counted: how many counted, at least 1; *n_undecided:
 * adds the prompts that rounding alone could let count or not, and says how many they are. Every
 * prompt has n_pos tokens behind the shared prefix. Errors: ERR_INPUT when none counts. */
int mean_resid(struct lab *lab, const char *set, size_t n_pos, enum mean_resid_filter filter,
	double *mean, size_t *n_counted, size_t *n_undecided, struct err *err);

#endif
