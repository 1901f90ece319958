/* SPDX-License-Identifier: MIT
 *
 * trial.h - a run without a model, for tests of units: five units of two prompts, whose numbers are
 * square roots.
 */
#ifndef SAENGINE_TRIAL_H
#define SAENGINE_TRIAL_H

#include "host/work/job.h"
#include "host/work/stage.h"

struct trial {
	struct job job;
	struct device *dev;
	struct ranks ranks;
	struct schedule schedule;
	double seed; /* what its numbers depend on */
	double sum;  /* of what was taken */
	int n_computed;
	size_t fail_at; /* unit in which compute fails after its first value; SIZE_MAX = none */
	size_t die_at;  /* the same, killed */
};

/* What the manifest says of it, unless another is given. */
extern const char *const TRIAL_INPUTS;

/* NAME.h5 in the scratch folder. To be closed whatever is returned. */
int trial_open_with(struct trial *trial, const char *name, const char *inputs, bool fresh,
	struct err *err);
int trial_open(struct trial *trial, const char *name, struct err *err);
void trial_close(struct trial *trial);

/* Its one stage, "00-roots-of-small-numbers". */
int trial_run(struct trial *trial, struct err *err);

/* Runs an open one to its end and closes it; *sum, *n_computed and the result file are what it
 * found. */
int trial_end(struct trial *trial, bool keep, double *sum, int *n_computed, struct err *err);

/* From its beginning. */
int trial_whole(const char *name, double *sum, int *n_computed, struct err *err);

/* The file of a unit of NAME.units. */
const char *trial_unit(const char *name, int unit, const char *ending);

#endif
