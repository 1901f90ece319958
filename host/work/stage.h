/* SPDX-License-Identifier: MIT
 *
 * stage.h - the loop that all work goes through: the batches of a schedule, each computed once, by
 * whichever rank gets to it, kept as a unit (units.h), and taken in order.
 *
 *   compute   one batch: puts what it found into the unit, and changes nothing else that counts.
 *             Not called for a unit that stands, nor for one that another rank computes; and once
 *             more, between two calls of take, for a unit whose bytes turn out to be spoilt.
 *   take      gets what a unit holds and adds it to the caller's results. Called for every unit,
 *             in order, on every rank, after all are computed, once its bytes have been verified.
 *
 * So what a stage finds is a function of its units alone, and a run that goes on after a kill, or
 * on other ranks, finds the same bits. A stage without a title, one of many small ones, goes the
 * same way through memory: every rank computes it, and every run anew.
 */
#ifndef SAENGINE_STAGE_H
#define SAENGINE_STAGE_H

#include "host/store/dataset.h"
#include "host/work/job.h"
#include "host/work/schedule.h"
#include "kernels/ops.h"

struct unit;
struct unit_reader;

struct stage {
	const char
		*title; /* in progress lines, and the name of the stage's folder; NULL = not kept */
	const struct schedule *schedule;
	size_t items_per_prompt; /* what progress counts; 0 = 1, prompts */
	const char *item;        /* its name: "prompt", "trial" */
	void *context;
	int (*compute)(void *context, size_t batch, struct unit *out, struct err *err);
	int (*take)(void *context, size_t batch, struct unit_reader *in, struct err *err);
};

/* `dev` is the device that compute works on. Errors: those of compute and take; ERR_OUTPUT;
 * ERR_INPUT when a unit that was computed a second time is spoilt again; ERR_STOPPED at a boundary
 * between units. */
int stage_run(struct job *job, struct device *dev, const struct stage *stage, struct err *err);

/* ---- in compute ------------------------------------------------------------------------- */

/* n values under a name, for take. Copied. RESULTS_TEXT and RESULTS_F16 are not for this. */
int unit_put(struct unit *u, const char *name, enum results_type type, const void *data, size_t n,
	struct err *err);

/* n[0] rows of a dataset of the result file, once per dataset and unit; stage_run appends them and
 * attaches scales. Arguments and errors as of dataset_write; not for texts. Only where the stage
 * has a title. */
int unit_write(struct unit *u, const struct dataset *d, const char *const *words, const size_t *n,
	const void *data, struct err *err);

/* The next n numbers of the scale that counts the rows of all units. */
int unit_write_counting(struct unit *u, const struct dataset *d, const char *const *words, size_t n,
	struct err *err);

/* unit_write of a float32 tensor as the ops asked so far leave it, in the type of the dataset,
 * copied while others run: it must stay as it is until the unit ends. */
int unit_write_tensor(struct unit *u, const struct dataset *d, const char *const *words,
	struct tensor t, struct err *err);

/* n items of a long unit are done: for the progress line alone. */
void unit_advance(struct unit *u, size_t n);

/* ---- in take ---------------------------------------------------------------------------- */

/* Exactly n values of a name. Errors: ERR_INPUT. */
int unit_get(struct unit_reader *u, const char *name, enum results_type type, void *out, size_t n,
	struct err *err);

/* All values of a name; *data is owned by the caller. */
int unit_get_all(struct unit_reader *u, const char *name, enum results_type type, void **data,
	size_t *n, struct err *err);

#endif
