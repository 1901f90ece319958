/* SPDX-License-Identifier: MIT
 *
 * job.c - Contract: job.h. Tests: tests/test_resume.c.
 */
#include "host/work/job.h"

#include "host/base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	struct dataset stage, seconds, n, unit;
} stages = {
	.stage = {"/provenance/stages/stage", {"stage"}, RESULTS_TEXT, "",
		"stages of the run, in the order they ran"},
	.seconds = {"/provenance/stages/seconds", {"stage"}, RESULTS_F64, "s", "wall time"},
	.n = {"/provenance/stages/n", {"stage"}, RESULTS_I64, "1", "units of work done"},
	.unit = {"/provenance/stages/unit", {"stage"}, RESULTS_TEXT, "", "what a unit of work is"},
};

const struct dataset_section job_section = {"Stages", NULL, DATASETS(stages)};

int job_begin(struct job *job, const char *manifest, bool fresh, struct err *err)
{
	const char *output = job->config->output;
	const bool writes = job->ranks->rank == 0;

	job->stages.silent = !writes;
	TRY(units_open(&job->units, output, job->ranks, fresh, manifest, err));
	TRY(writes ? results_create(&job->results, output, err)
		   : results_create_nowhere(&job->results, err));
	if (strcmp(job->config->store.merge, "virtual") == 0)
		results_map_units(job->results);
	return 0;
fail:
	return err->code;
}

static int write_stages(struct job *job, struct err *err)
{
	const size_t n = job->stages.n;
	struct arena memory = {0};
	const char **name = arena_alloc(&memory, n, sizeof *name);
	double *seconds = arena_alloc(&memory, n, sizeof *seconds);
	int64_t *count = arena_alloc(&memory, n, sizeof *count);
	const char **unit = arena_alloc(&memory, n, sizeof *unit);

	err_clear(err);
	TRY(arena_check(&memory, "the stages", err));
	for (size_t i = 0; i < n; i++) {
		name[i] = job->stages.data[i].name;
		seconds[i] = job->stages.data[i].seconds;
		count[i] = (int64_t)job->stages.data[i].n;
		unit[i] = job->stages.data[i].unit;
	}
	TRY(dataset_write(job->results, &stages.stage, NULL, &n, name, err));
	TRY(dataset_write(job->results, &stages.seconds, NULL, &n, seconds, err));
	TRY(dataset_write(job->results, &stages.n, NULL, &n, count, err));
	TRY(dataset_write(job->results, &stages.unit, NULL, &n, unit, err));
fail:
	arena_free(&memory);
	return err->code;
}

int job_write_end(struct job *job, struct err *err)
{
	if (summary_write(&job->summary, job->results, err))
		return err->code;
	return write_stages(job, err);
}

int job_finish(struct job *job, struct err *err)
{
	struct results *results = job->results;
	struct units *units = job->units;
	const struct config *c = job->config;

	TRY(results_summarize(results, err));
	job->results = NULL;
	TRY(results_finish(results, err));
	job->units = NULL;
	return units_finish(units, c->store.keep_units || strcmp(c->store.merge, "virtual") == 0,
		err);
fail:
	return err->code;
}

void job_leave(struct job *job, struct err *err)
{
	const size_t n = strlen(err->text);
	const bool refused = err->code == ERR_CONFIG || err->code == ERR_INPUT;
	char folder[sizeof job->units->folder];

	memcpy(folder, job->units->folder, sizeof folder);
	if (!refused)
		units_close(job->units);
	if (!refused || units_leave(job->units))
		snprintf(err->text + n, sizeof err->text - n,
			"\nwhat was finished is in %s; the same command goes on from there%s",
			folder,
			refused ? ", another config or other files begin anew with --fresh, which "
				  "renames the folder"
				: "");
	job->units = NULL;
	if (job->results)
		results_discard(job->results);
	job->results = NULL;
}

void job_close(struct job *job)
{
	units_close(job->units);
	results_close(job->results);
	free(job->stages.data);
	free(job->summary.data);
	*job = (struct job){0};
}
