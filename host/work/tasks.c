/* SPDX-License-Identifier: MIT
 *
 * tasks.c - Contract: tasks.h.
 */
#include "host/work/tasks.h"

#include "host/work/stage.h"

#include <stdlib.h>
#include <string.h>

struct work {
	const struct tasks *tasks;
	double *table, *row;
};

static int compute(void *context, size_t task, struct unit *out, struct err *err)
{
	struct work *w = context;
	const size_t width = w->tasks->width;

	memset(w->row, 0, width * sizeof *w->row);
	if (w->tasks->run(w->tasks->context, task, w->row, err))
		return err->code;
	return unit_put(out, "row", RESULTS_F64, w->row, width, err);
}

static int take(void *context, size_t task, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	const size_t width = w->tasks->width;

	return unit_get(in, "row", RESULTS_F64, w->table + task * width, width, err);
}

int tasks_run(struct job *job, struct device *dev, const struct tasks *tasks, double *table,
	struct err *err)
{
	struct work w = {.tasks = tasks, .table = table};
	size_t *lengths = malloc(tasks->n * sizeof *lengths + 1);
	struct schedule one_each = {0};

	err_clear(err);
	w.row = malloc(tasks->width * sizeof *w.row + 1);
	if (!lengths || !w.row) {
		err_nomem(err, tasks->title, tasks->width * sizeof *w.row);
		goto fail;
	}
	for (size_t i = 0; i < tasks->n; i++)
		lengths[i] = 1; /* equal lengths keep their order */
	TRY(schedule_make(&one_each, lengths, tasks->n, 1, 1, err));
	TRY(stage_run(job, dev,
		&(struct stage){.title = tasks->title,
			.schedule = &one_each,
			.item = tasks->item,
			.context = &w,
			.compute = compute,
			.take = take},
		err));
fail:
	schedule_free(&one_each);
	free(lengths);
	free(w.row);
	return err->code;
}
