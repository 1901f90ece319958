/* SPDX-License-Identifier: MIT
 *
 * lab.h - what measuring is done with: a machine, the prompts it is asked, and the job that keeps
 * what comes of it. What experiments have found is not part of it: findings.h.
 */
#ifndef SAENGINE_LAB_H
#define SAENGINE_LAB_H

#include "host/lab/machine.h"
#include "host/lab/prompts.h"
#include "host/work/job.h"
#include "host/work/stage.h"

struct plan;

/* All borrowed. */
struct lab {
	const struct config *config;
	struct job *job;
	struct machine *machine;
	struct prompts *prompts;
	const struct plan *plan; /* what experiments have declared: plan.h */
};

#endif
