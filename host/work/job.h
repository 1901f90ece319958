/* SPDX-License-Identifier: MIT
 *
 * job.h - the work of a run: by whom it is done, what is kept of it, and where it is written.
 */
#ifndef SAENGINE_JOB_H
#define SAENGINE_JOB_H

#include "host/config/config.h"
#include "host/store/dataset.h"
#include "host/store/summary.h"
#include "host/work/progress.h"
#include "host/work/units.h"

struct job {
	const struct config *config; /* borrowed */
	struct ranks *ranks;         /* borrowed */
	struct units *units;         /* what stages keep their work in */
	struct results *results;     /* on ranks that write no file: results that go nowhere */
	struct stage_log stages;     /* what each stage took */
	struct summary summary;
};

/* Opens the units and begins the results: from here on there is something to leave behind.
 * `manifest`, `fresh`: as units_open. Errors: those of units_open and results_create. */
int job_begin(struct job *job, const char *manifest, bool fresh, struct err *err);

/* Writes /summary and the section of stages, /provenance/stages. Errors: ERR_OUTPUT. */
extern const struct dataset_section job_section;
int job_write_end(struct job *job, struct err *err);

/* The result file gets its name; the units go, unless they are to be kept. */
int job_finish(struct job *job, struct err *err);

/* The end of a run that failed: its finished units stay, which is added to the text of the error
 * with how to go on. */
void job_leave(struct job *job, struct err *err);

/* Accepts a zeroed job. Closes what was neither finished nor left. */
void job_close(struct job *job);

#endif
