/* SPDX-License-Identifier: MIT
 *
 * test_faults.c - a small run of ./engine in which one call fails: an allocation, a write, a
 * rename, ... (faults.c has the kinds). Whichever it was, the run ends with the exit status of its
 * kind and one message, or it did without and gives the right file; nothing half done is left; and
 * the same command then gives the file that a straight run gives. Under AddressSanitizer nothing
 * leaks on the way either.
 *
 * Of each kind some calls are tried, FAULTS or a multiple, spread over the places in the program
 * that make them or over all: a few in CI, each in test_faults_all (make soak).
 */
#include "host/base/file.h"
#include "host/base/vec.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char JOB[] =
	"configs/tiny_gemma2_ap.cfg"
	" --set 'experiment=[\"direction\",\"attribution\",\"jailbreak\"]'"
	" --set prompts.harmful_train.limit=2 --set prompts.harmless_train.limit=2"
	" --set prompts.harmful_test.limit=1 --set prompts.harmless_test.limit=1"
	" --set generate.max_new_tokens=2 --set generate.prompts=1 --set direction.filter=false"
	" --set clamp.scale=-1.0 --set save.resid_post=true --set save.features=true"
	" --set save.gradients=true --set save.dtype=float16 --set threads=1";

/* What fails, with which errno; the exit statuses that may say so, what the message holds, and how
 * often to try: a write that fails may be noticed, or not, long after it.
 * Reading fails as an input, or as an output where it is units that are read again; HDF5 does not
 * tell why. */
static const struct kind {
	const char *calls;
	int number;
	int status[2];
	const char *says;
	size_t times; /* FAULTS */
} kinds[] = {
	{"memory", ENOMEM, {ERR_DEVICE}, "emory", 2},
	{"thread", EAGAIN, {ERR_DEVICE}, "Resource temporarily unavailable", 1},
	{"open", EMFILE, {ERR_INPUT, ERR_OUTPUT}, "Too many open files", 1},
	{"read", EIO, {ERR_INPUT, ERR_OUTPUT}, "read", 1},
	{"map", ENODEV, {ERR_INPUT}, "No such device", 1},
	{"write", ENOSPC, {ERR_OUTPUT}, "No space left on device", 6},
	{"sync", EIO, {ERR_OUTPUT}, "Input/output error", 1},
	{"rename", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
	{"folder", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
	{"remove", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
};

static struct engine_run run;

/* ---- runs ------------------------------------------------------------------------------ */

/* libconfig and HDF5 lose memory of their own where something fails. */
static const char *suppressions(void)
{
	static char path[256];

	if (!path[0])
		snprintf(path, sizeof path, "%s",
			write_scratch("suppressions", "leak:libconfig.so\nleak:libhdf5\n"));
	return path;
}

/* To NAME.h5. Call `k` fails, none for 0; `counts` is a file for the numbers of calls, or NULL. */
static void run_with_fault(const char *name, const struct kind *kind, size_t k, const char *counts)
{
	struct engine_process engine;
	char launcher[1024];

	snprintf(launcher, sizeof launcher,
		"env LD_PRELOAD='%s' ASAN_OPTIONS=verify_asan_link_order=0"
		" LSAN_OPTIONS='suppressions=%s:print_suppressions=0' FAULT_CALLS=%s FAULT_FIRST=%zu"
		" FAULT_LAST=%zu FAULT_ERRNO=%d %s%s",
		FAULTS_LIBRARY, suppressions(), kind->calls, k, k, kind->number,
		counts ? "FAULT_COUNTS=" : "", counts ? counts : "");
	engine = engine_start("run", launcher, "%s --set output=%s/%s.h5", JOB,
		test_scratch_folder(), name);
	engine_wait(&run, &engine);
}

/* The file that a run without faults gives, made once. */
static const char *straight(void)
{
	static char path[256];

	if (!path[0]) {
		snprintf(path, sizeof path, "%s", in_scratch("straight.h5"));
		engine_run(&run, "%s --set output=%s", JOB, path);
		CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	}
	return path;
}

/* ---- what must hold -------------------------------------------------------------------- */

static int find_part(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)ftw;
	return type == FTW_F && strstr(path, ".part") != NULL;
}

static void is_straight(const char *what, const char *name)
{
	char result[64], summary[64];

	snprintf(result, sizeof result, "%s.h5", name);
	snprintf(summary, sizeof summary, "%s.summary.h5", name);
	CHECK(same_results(straight(), in_scratch(result), "/") > 100 &&
			same_results(in_scratch("straight.summary.h5"), in_scratch(summary), "/") >
				100,
		"%s: too little was compared", what);
}

static void ended_as_it_must(const struct kind *kind, const char *what, const char *name)
{
	if (run.status == 0) {
		is_straight(what, name);
		return;
	}
	CHECK(run.status == kind->status[0] || run.status == kind->status[1],
		"%s: exit status %d: %s", what, run.status, run.err);
	CHECK(strstr(run.err, kind->says), "%s: the message does not say \"%s\": %s", what,
		kind->says, run.err);
}

static void goes_on(const char *what, const char *name)
{
	char units[64];

	snprintf(units, sizeof units, "%s.units", name);
	CHECK(nftw(test_scratch_folder(), find_part, 16, FTW_PHYS) == 0,
		"%s: something half written was left: %s", what, run.err);
	engine_run(&run, "%s --set output=%s/%s.h5", JOB, test_scratch_folder(), name);
	CHECK(run.status == 0, "%s: the same command again: exit status %d: %s", what, run.status,
		run.err);
	is_straight(what, name);
	CHECK(!folder_exists(in_scratch(units)), "%s: the units are still there", what);
}

static void remove_results(const char *name)
{
	static const char *const ends[] = {".h5", ".summary.h5", ".h5.part", ".summary.h5.part"};
	struct err ignored;
	char file[64];

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		snprintf(file, sizeof file, "%s%s", name, ends[i]);
		remove(in_scratch(file));
	}
	snprintf(file, sizeof file, "%s.units", name);
	(void)folder_remove(in_scratch(file), &ignored);
}

/* ---- which calls fail ------------------------------------------------------------------- */

struct calls {
	size_t *data; /* owned */
	size_t n, cap;
};

static int by_number(const void *a, const void *b)
{
	const size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* The numbers of the calls that a run makes: the first ones of each place that makes them, where
 * there are at least `wanted` places, else all. Libraries read and write at one place each. */
static void count_calls(const struct kind *kind, size_t wanted, struct calls *calls)
{
	struct err err;
	char counts[256], *text, *at;
	size_t n, k;

	snprintf(counts, sizeof counts, "%s", in_scratch("counts"));
	run_with_fault("counted", kind, 0, counts);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	remove_results("counted");
	REQUIRE_OK(file_read_text(counts, &text, &err), &err);
	n = strtoull(text, &at, 10);
	while ((k = strtoull(at, &at, 10)) > 0)
		REQUIRE_OK(vec_push(calls, k, &err), &err);
	free(text);
	if (calls->n < wanted || n <= wanted) {
		calls->n = 0;
		for (k = 1; k <= n; k++)
			REQUIRE_OK(vec_push(calls, k, &err), &err);
	}
	qsort(calls->data, calls->n, sizeof *calls->data, by_number);
	printf("  %s: %zu calls", kind->calls, n);
}

/* Some at even distances, the first and the last among them. */
static void any_call_may_fail(const void *row)
{
	const struct kind *kind = row;
	struct calls calls = {0};
	const size_t wanted = FAULTS * kind->times;
	size_t n;

	straight();
	count_calls(kind, wanted, &calls);
	n = calls.n < wanted ? calls.n : wanted;
	printf(", %zu of them fail in turn\n", n);
	CHECK(n > 0, "there is no such call");
	for (size_t i = 0; i < n; i++) {
		const size_t k = calls.data[n > 1 ? i * (calls.n - 1) / (n - 1) : 0];
		char what[64];

		snprintf(what, sizeof what, "%s %zu", kind->calls, k);
		run_with_fault("fault", kind, k, NULL);
		ended_as_it_must(kind, what, "fault");
		goes_on(what, "fault");
		remove_results("fault");
	}
	free(calls.data);
}

__attribute__((constructor)) static void register_kinds(void)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		test_register_row(any_call_may_fail, &kinds[i], NULL,
			"a_run_in_which_one_call_of_%s_fails_says_so_and_can_go_on",
			kinds[i].calls);
}
