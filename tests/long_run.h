/* SPDX-License-Identifier: MIT
 *
 * long_run.h - one small job with everything in it, in many units: what the tests of interrupted
 * runs start, disturb, and let go on. Whatever happened, the file must be that of a straight run.
 */
#ifndef SAENGINE_LONG_RUN_H
#define SAENGINE_LONG_RUN_H

#include "tests/run_engine.h"
#include "tests/test.h"

/* The config and its settings, without output. */
extern const char *const JOB;

/* Units in a folder of the scratch folder; 0 where there is none. */
int units_in(const char *folder);

/* The file that a straight run gives, made once; how long it took, and how many units it has. */
const char *straight(void);
double straight_seconds(void);
int straight_units(void);

/* NAME.h5 and NAME.summary.h5 are those of the straight run. */
void is_straight(const char *name);

/* The same, and nothing is left beside it. Or after running it to its end. */
void is_finished(const char *name);
void finishes(const char *name);

/* Until NAME.units has n units, or NAME.h5 is complete; a minute at most. */
void wait_for_units(const char *name, int n);

/* Starts NAME.h5 and lets it come `units` units farther than it was. */
struct engine_process start_until(const char *name, int units);

/* Until the moment of the next disturbance of a run that has begun: now and then while it starts,
 * else when it has written some units more and a little later, and, when all are there, at any
 * moment of what is left. Units are what is counted, for how long a run takes depends on what else
 * the machine does. */
void wait_for_a_moment(const char *name, struct test_random *random);

/* How far NAME.h5 has come. */
enum moment { BEFORE_UNITS, AMONG_UNITS, AFTER_UNITS, AFTER_NAME, N_MOMENTS };
enum moment moment_of(const char *name);

/* Writing NAME.h5 is only as good as its disk: after `bytes` every write fails with `number`. */
void run_with_fault(struct engine_run *run, const char *name, long bytes, int number);

#endif
