/* SPDX-License-Identifier: MIT
 *
 * tasks.h - an experiment's own loop: tasks that do not depend on each other, each of which finds a
 * row of numbers. Each is a unit of a stage (stage.h), so a run resumes between them and ranks
 * share them.
 */
#ifndef SAENGINE_TASKS_H
#define SAENGINE_TASKS_H

#include "host/work/job.h"
#include "kernels/ops.h"

struct tasks {
	const char *title; /* of the stage; no other of the run has it */
	const char *item;  /* what a task is called in progress lines: "clamp" */
	size_t n, width;
	void *context;
	/* Fills row [width], all zero before. Stages within must be without a title. */
	int (*run)(void *context, size_t task, double *row, struct err *err);
};

/* table: host [n, width], written in full. Errors: those of the tasks and of stage_run. */
int tasks_run(struct job *job, struct device *dev, const struct tasks *tasks, double *table,
	struct err *err);

#endif
