/* SPDX-License-Identifier: MIT
 *
 * long_run.c - Contract: long_run.h.
 */
#include "tests/long_run.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "tests/same_results.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const JOB =
	"configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=12"
	" --set prompts.harmless_train.limit=12 --set prompts.harmful_test.limit=6"
	" --set prompts.harmless_test.limit=6 --set generate.max_new_tokens=6"
	" --set generate.prompts=3 --set batch.tokens=96 --set direction.filter=false"
	" --set save.resid_post=true --set save.features=true --set save.gradients=true"
	" --set save.dtype=float16 --set clamp.scale=-1.0 --set induce.value=4.0"
	" --set threads=1";

static struct engine_run run;
static int n_counted;

/* The output NAME has this ending. */
static const char *named(const char *name, const char *ending)
{
	char file[128];

	snprintf(file, sizeof file, "%s%s", name, ending);
	return in_scratch(file);
}

static int count_unit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	const size_t n = strlen(path);

	(void)st, (void)ftw;
	n_counted += kind == FTW_F && n > 3 && strcmp(path + n - 3, ".h5") == 0;
	return 0;
}

int units_in(const char *folder)
{
	n_counted = 0;
	nftw(in_scratch(folder), count_unit, 16, FTW_PHYS);
	return n_counted;
}

const char *straight(void)
{
	static char path[256];

	if (!path[0]) {
		snprintf(path, sizeof path, "%s", in_scratch("straight.h5"));
		engine_run(&run, "%s --set output=%s", JOB, path);
		CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	}
	return path;
}

/* Measured apart from the first run, which finds no file in memory. */
static double seconds;
static int n_units;

static void measure(void)
{
	const double started = clock_seconds();

	if (n_units > 0)
		return;
	engine_run(&run, "%s --set output=%s --set store.keep_units=true", JOB,
		in_scratch("kept.h5"));
	seconds = clock_seconds() - started;
	n_units = units_in("kept.units");
}

double straight_seconds(void)
{
	measure();
	return seconds;
}

int straight_units(void)
{
	measure();
	return n_units;
}

void is_straight(const char *name)
{
	straight();
	CHECK(same_results(straight(), named(name, ".h5"), "/") > 100, "too little was compared");
	CHECK(same_results(in_scratch("straight.summary.h5"), named(name, ".summary.h5"), "/") >
			100,
		"too little was compared");
}

void is_finished(const char *name)
{
	is_straight(name);
	CHECK(!folder_exists(named(name, ".units")), "the units are still there");
	CHECK(!file_exists(named(name, ".h5.part")), "%s.h5.part is still there", name);
}

void finishes(const char *name)
{
	engine_run(&run, "%s --set output=%s", JOB, named(name, ".h5"));
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	is_finished(name);
}

void wait_for_units(const char *name, int n)
{
	char folder[128];

	snprintf(folder, sizeof folder, "%s.units", name);
	for (int i = 0; i < 30000 && units_in(folder) < n; i++) {
		if (file_exists(named(name, ".h5")))
			return;
		usleep(2000);
	}
}

struct engine_process start_until(const char *name, int units)
{
	char folder[128];
	struct engine_process engine;
	int before;

	snprintf(folder, sizeof folder, "%s.units", name);
	before = units_in(folder);
	engine = engine_start("run", "", "%s --set output=%s", JOB, named(name, ".h5"));
	wait_for_units(name, before + units);
	return engine;
}

void wait_for_a_moment(const char *name, struct test_random *random)
{
	const int n_all = straight_units();
	double rest = straight_seconds();
	char folder[128];
	int n;

	snprintf(folder, sizeof folder, "%s.units", name);
	n = units_in(folder);
	if (test_random_below(random, 8) == 0) {
		rest /= 8;
	} else if (n < n_all) {
		n += 1 + (int)test_random_below(random, (size_t)n_all / 3);
		wait_for_units(name, n < n_all ? n : n_all);
		rest *= 2.0 / n_all;
	}
	usleep((useconds_t)test_random_below(random, (size_t)(1e6 * rest) + 1));
}

enum moment moment_of(const char *name)
{
	char folder[128];
	int n;

	snprintf(folder, sizeof folder, "%s.units", name);
	if (file_exists(named(name, ".h5")))
		return AFTER_NAME;
	n = units_in(folder);
	return n == 0 ? BEFORE_UNITS : n < straight_units() ? AMONG_UNITS : AFTER_UNITS;
}

void run_with_fault(struct engine_run *to, const char *name, long bytes, int number)
{
	struct engine_process engine;
	char launcher[512];

	snprintf(launcher, sizeof launcher,
		"env LD_PRELOAD='%s' ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0"
		" FAULT_BYTES=%ld FAULT_ERRNO=%d",
		FAULTS_LIBRARY, bytes, number);
	engine = engine_start("run", launcher, "%s --set output=%s", JOB, named(name, ".h5"));
	engine_wait(to, &engine);
}
