/* SPDX-License-Identifier: MIT
 *
 * job.c - Contract: job.h. Tests: tests/test_resume.c.
 */
#include "host/work/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	const char **names = malloc(n * sizeof *names + 1), **units = malloc(n * sizeof *units + 1);
	double *seconds = malloc(n * sizeof *seconds + 1);
	int64_t *counts = malloc(n * sizeof *counts + 1);
	const struct results_dataset d = {.type = RESULTS_F64,
		.n_dims = 1,
		.dims = {n},
		.scales = {"/provenance/stages/stage"}};
	struct results_dataset columns[] = {d, d, d};

	err_clear(err);
	if (!names || !units || !seconds || !counts) {
		err_nomem(err, "the stages", n * sizeof *names);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		names[i] = job->stages.data[i].name;
		units[i] = job->stages.data[i].unit;
		seconds[i] = job->stages.data[i].seconds;
		counts[i] = (int64_t)job->stages.data[i].n;
	}
	columns[0].path = "/provenance/stages/seconds";
	columns[0].long_name = "wall time of the stage";
	columns[0].units = "s";
	columns[1].path = "/provenance/stages/n";
	columns[1].long_name = "units of work done in it";
	columns[1].units = "1";
	columns[1].type = RESULTS_I64;
	columns[2].path = "/provenance/stages/unit";
	columns[2].long_name = "what a unit of work is";
	columns[2].type = RESULTS_TEXT;
	TRY(results_text_scale(job->results, "/provenance/stages/stage", names, n,
		"stage, in the order they ran", err));
	TRY(results_write(job->results, &columns[0], seconds, err));
	TRY(results_write(job->results, &columns[1], counts, err));
	TRY(results_write(job->results, &columns[2], units, err));
fail:
	free(names);
	free(units);
	free(seconds);
	free(counts);
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

	if (err->code == ERR_CONFIG || err->code == ERR_INPUT)
		units_discard(job->units);
	else {
		snprintf(err->text + n, sizeof err->text - n,
			"\nwhat was finished is in %s; the same command goes on from there",
			job->units->folder);
		units_close(job->units);
	}
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
