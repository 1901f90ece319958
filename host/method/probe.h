/* SPDX-License-Identifier: MIT
 *
 * probe.h - a logistic probe: p = 1 / (1 + exp(-(w . x + b))), trained by AdamW on the mean
 * cross-entropy of the whole training set, one step an epoch, from w = 0 and b = 0. The weights of
 * the epoch with the lowest cross-entropy on validation data are kept.
 */
#ifndef SAENGINE_PROBE_H
#define SAENGINE_PROBE_H

#include "host/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct probe_options {
	double rate, decay; /* step size; weight decay, of w and b */
	size_t epochs;
};

/* Rows `row[0..n)` of x [*, m], with labels y[row]. All borrowed. */
struct probe_data {
	const float *x;
	const uint8_t *y;
	const size_t *row;
	size_t n, m;
};

struct probe {
	double *weight; /* [m + 1], the last is b; owned: free it */
	size_t m;
	size_t best_epoch;      /* from 1 */
	double validation_loss; /* of that epoch, nats */
	double lead;            /* by how much the next best epoch's is larger */
};

/* Errors: memory. */
int probe_train(struct probe *p, const struct probe_data *train,
	const struct probe_data *validation, const struct probe_options *options, struct err *err);

/* Accepts a zeroed struct. */
void probe_free(struct probe *p);

/* w . x + b; positive means label 1. */
double probe_score(const struct probe *p, const float *x);

#endif
