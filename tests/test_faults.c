/* SPDX-License-Identifier: MIT
 *
 * test_faults.c - a small run of ./engine in which one call fails: an allocation, a write, a
 * rename, ... (faults.c has the kinds). Whichever it was, the run ends with the exit status of its
 * kind and one message, or it did without and gives the right file; nothing half done is left; and
 * the same command then gives the file that a straight run gives. Under AddressSanitizer nothing
 * leaks on the way either.
 *
 * What the same command does next depends on what a run has left, and on nothing else. So it is
 * run again only where what was left, byte for byte, is not what it has gone on from before: a run
 * that left nothing would be the straight one once more.
 *
 * Of each kind some calls are tried, FAULTS or a multiple, spread over the places in the program
 * that make them or over all: a few in CI, each in test_faults_all (make faults). As many at a
 * time as there are cores. A table of all at the end.
 */
#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/sha256.h"
#include "host/base/vec.h"
#include "tests/run_engine.h"
#include "tests/same_results.h"
#include "tests/test.h"

#include <errno.h>
#include <fts.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
 * Reading fails as an input, or as an output where it is units that are read again. */
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
	{"read", EIO, {ERR_INPUT, ERR_OUTPUT}, "Input/output error", 1},
	{"map", ENODEV, {ERR_INPUT}, "No such device", 1},
	{"write", ENOSPC, {ERR_OUTPUT}, "No space left on device", 6},
	{"sync", EIO, {ERR_OUTPUT}, "Input/output error", 1},
	{"rename", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
	{"folder", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
	{"remove", EACCES, {ERR_OUTPUT}, "Permission denied", 1},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- the table ------------------------------------------------------------------------- */

static const struct {
	int status;
	const char *name;
} columns[] = {{0, "done"}, {ERR_INPUT, "input"}, {ERR_DEVICE, "memory"}, {ERR_OUTPUT, "output"}};

enum { N_COLUMNS = sizeof columns / sizeof *columns, MOST_STATES = 4096 };

/* What the processes that share the work have in common. */
static struct shared {
	struct row {
		size_t n_calls, n_tried;
		double seconds;
		atomic_size_t n_begun, n_ended[N_COLUMNS], n_ended_else, n_resumed, n_wrong;
	} rows[N_KINDS];
	atomic_size_t n_states;
	char states[MOST_STATES][SHA256_HEX]; /* from which the same command went on rightly */
} * shared;

static void print_table(void)
{
	printf("\n%-8s %7s %7s", "", "calls", "tried");
	for (size_t c = 0; c < N_COLUMNS; c++)
		printf(" %7s", columns[c].name);
	printf(" %7s %8s %7s %8s\n", "else", "resumed", "wrong", "minutes");
	for (size_t i = 0; i < N_KINDS; i++) {
		const struct row *r = &shared->rows[i];

		if (r->n_calls == 0)
			continue;
		printf("%-8s %7zu %7zu", kinds[i].calls, r->n_calls, r->n_tried);
		for (size_t c = 0; c < N_COLUMNS; c++)
			printf(" %7zu", r->n_ended[c]);
		printf(" %7zu %8zu %7zu %8.1f\n", r->n_ended_else, r->n_resumed, r->n_wrong,
			r->seconds / 60);
	}
}

static void share(void)
{
	if (shared)
		return;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	atexit(print_table);
}

/* ---- runs ------------------------------------------------------------------------------ */

static struct engine_run run;

/* libconfig and HDF5 lose memory of their own where something fails. */
static const char *suppressions(void)
{
	static char path[256];

	if (!path[0])
		snprintf(path, sizeof path, "%s",
			write_scratch("suppressions", "leak:libconfig.so\nleak:libhdf5\n"));
	return path;
}

/* To result.h5 of the scratch folder's folder NAME. */
static void run_job(const char *name, const char *launcher)
{
	struct engine_process engine = engine_start(name, launcher, "%s --set output=%s/result.h5",
		JOB, in_scratch(name));

	engine_wait(&run, &engine);
}

/* Call `k` fails, none for 0; `counts` is a file for the numbers of calls, or NULL. A run that
 * stands still is killed: 137. */
static void run_with_fault(const char *name, const struct kind *kind, size_t k, const char *counts)
{
	char launcher[1024];

	snprintf(launcher, sizeof launcher,
		"timeout --foreground -s KILL 300 env LD_PRELOAD='%s'"
		" ASAN_OPTIONS=verify_asan_link_order=0"
		" LSAN_OPTIONS='suppressions=%s:print_suppressions=0' FAULT_CALLS=%s FAULT_FIRST=%zu"
		" FAULT_LAST=%zu FAULT_ERRNO=%d %s%s",
		FAULTS_LIBRARY, suppressions(), kind->calls, k, k, kind->number,
		counts ? "FAULT_COUNTS=" : "", counts ? counts : "");
	run_job(name, launcher);
}

/* An empty folder of the scratch folder, for the files of one run. */
static void begin_folder(const char *name)
{
	struct err err;

	if ((folder_exists(in_scratch(name)) && folder_remove(in_scratch(name), &err)) ||
		folder_make(in_scratch(name), &err))
		test_fail(__FILE__, __LINE__, "%s", err.text);
}

/* ---- what must hold -------------------------------------------------------------------- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* The digest of all that a run has left in its folder: the names, and what is in the files, apart
 * from the lock, which names a process. Whether none of it is half written. */
static bool take_state(const char *name, char state[SHA256_HEX])
{
	const char *folder = in_scratch(name);
	char *const paths[] = {(char *)folder, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	struct sha256 *sum = sha256_begin();
	bool whole = true;

	for (FTSENT *at; walk && (at = fts_read(walk));) {
		const char *inside = at->fts_path + strlen(folder);
		struct err err;

		sha256_add(sum, inside, strlen(inside) + 1);
		whole = whole && !strstr(inside, ".part");
		if (at->fts_info != FTS_F || strcmp(at->fts_name, "lock") == 0)
			continue;
		if (sha256_file(at->fts_path, state, &err))
			test_fail(__FILE__, __LINE__, "%s", err.text);
		sha256_add(sum, state, SHA256_HEX);
	}
	fts_close(walk);
	sha256_hex(sum, state);
	sha256_end(sum);
	return whole;
}

static bool is_known(const char state[SHA256_HEX])
{
	const size_t n = atomic_load(&shared->n_states);

	for (size_t i = 0; i < n && i < MOST_STATES; i++)
		if (memcmp(shared->states[i], state, SHA256_HEX) == 0)
			return true;
	return false;
}

static void make_known(const char state[SHA256_HEX])
{
	const size_t i = atomic_fetch_add(&shared->n_states, 1);

	if (i < MOST_STATES)
		memcpy(shared->states[i], state, SHA256_HEX);
}

/* Makes the files of a run without faults, once. */
static void run_straight(void)
{
	char nothing[SHA256_HEX];

	if (folder_exists(in_scratch("straight")))
		return;
	begin_folder("straight");
	take_state("straight", nothing);
	run_job("straight", "");
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	make_known(nothing);
}

static void is_straight(const char *what, const char *name)
{
	static const char *const files[] = {"result.h5", "result.summary.h5"};

	for (size_t i = 0; i < 2; i++) {
		char is[64], must_be[64];

		snprintf(is, sizeof is, "%s/%s", name, files[i]);
		snprintf(must_be, sizeof must_be, "straight/%s", files[i]);
		CHECK(same_results(in_scratch(must_be), in_scratch(is), "/") > 100,
			"%s: too little of %s was compared", what, files[i]);
	}
}

static void count_end(struct row *r)
{
	for (size_t c = 0; c < N_COLUMNS; c++)
		if (columns[c].status == run.status) {
			r->n_ended[c]++;
			return;
		}
	r->n_ended_else++;
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

static void goes_on(struct row *r, const char *what, const char *name)
{
	const size_t n_failed = test_failed_checks();
	char state[SHA256_HEX], units[64];

	CHECK(take_state(name, state), "%s: something half written was left: %s", what, run.err);
	if (is_known(state))
		return;
	run_job(name, "");
	CHECK(run.status == 0, "%s: the same command again: exit status %d: %s", what, run.status,
		run.err);
	is_straight(what, name);
	snprintf(units, sizeof units, "%s/result.units", name);
	CHECK(!folder_exists(in_scratch(units)), "%s: the units are still there", what);
	r->n_resumed++;
	if (test_failed_checks() == n_failed)
		make_known(state);
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
 * there are at least `wanted` places, else all. Libraries read and write at one place each. Of
 * these `wanted` at even distances, the first and the last among them. Returns how many calls
 * there are. */
static size_t choose_calls(const struct kind *kind, size_t wanted, struct calls *calls)
{
	struct err err;
	char counts[256], *text, *at;
	size_t n_calls, k;

	snprintf(counts, sizeof counts, "%s", in_scratch("counts"));
	begin_folder("counted");
	run_with_fault("counted", kind, 0, counts);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	if (file_read_text(counts, &text, &err))
		goto fail;
	n_calls = strtoull(text, &at, 10);
	while ((k = strtoull(at, &at, 10)) > 0)
		if (vec_push(calls, k, &err))
			goto fail;
	free(text);
	if (calls->n < wanted || n_calls <= wanted) {
		calls->n = 0;
		for (k = 1; k <= n_calls; k++)
			if (vec_push(calls, k, &err))
				goto fail;
	}
	qsort(calls->data, calls->n, sizeof *calls->data, by_number);
	if (calls->n > wanted) {
		for (size_t i = 0; i < wanted; i++)
			calls->data[i] =
				calls->data[wanted > 1 ? i * (calls->n - 1) / (wanted - 1) : 0];
		calls->n = wanted;
	}
	return n_calls;
fail:
	test_fail(__FILE__, __LINE__, "%s", err.text);
	return 0;
}

static void fail_one(const struct kind *kind, struct row *r, size_t k, const char *name)
{
	const size_t n_failed = test_failed_checks();
	char what[64];

	snprintf(what, sizeof what, "%s %zu", kind->calls, k);
	begin_folder(name);
	run_with_fault(name, kind, k, NULL);
	count_end(r);
	ended_as_it_must(kind, what, name);
	goes_on(r, what, name);
	if (test_failed_checks() > n_failed) {
		r->n_wrong++;
		printf("  this was %s\n", what);
	}
}

/* One worker: takes the next call as long as there are some. */
static void fail_calls(const struct kind *kind, struct row *r, const struct calls *calls,
	int worker)
{
	const double started = clock_seconds();
	char name[32];
	size_t i;

	snprintf(name, sizeof name, "fault-%d", worker);
	while ((i = atomic_fetch_add(&r->n_begun, 1)) < calls->n) {
		fail_one(kind, r, calls->data[i], name);
		if (calls->n > 100 && (i + 1) % (calls->n / 20) == 0)
			printf("    %zu of %zu, %zu wrong, %.1f minutes\n", i + 1, calls->n,
				r->n_wrong, (clock_seconds() - started) / 60);
	}
}

/* By as many workers as there are cores. One that breaks down leaves its call, and says so. */
static void share_calls(const struct kind *kind, struct row *r, const struct calls *calls)
{
	const long n_workers = sysconf(_SC_NPROCESSORS_ONLN);
	int status;

	fflush(stdout);
	for (int worker = 0; worker < n_workers && (size_t)worker < calls->n; worker++)
		if (fork() == 0) {
			fail_calls(kind, r, calls, worker);
			fflush(stdout);
			_exit(0);
		}
	while (wait(&status) > 0)
		CHECK(status == 0, "a worker ended with %d", status);
	CHECK(r->n_begun >= calls->n, "%zu of %zu were not tried", calls->n - r->n_begun, calls->n);
	CHECK(r->n_wrong == 0, "%zu of %zu were wrong", r->n_wrong, calls->n);
}

static void any_call_may_fail(const void *row)
{
	const struct kind *kind = row;
	const double started = clock_seconds();
	struct calls calls = {0};
	struct row *r;

	share();
	r = &shared->rows[kind - kinds];
	run_straight();
	r->n_calls = choose_calls(kind, FAULTS * kind->times, &calls);
	r->n_tried = calls.n;
	printf("  %s: %zu calls, %zu of them fail in turn\n", kind->calls, r->n_calls, calls.n);
	CHECK(calls.n > 0, "there is no such call");
	share_calls(kind, r, &calls);
	r->seconds = clock_seconds() - started;
	free(calls.data);
}

__attribute__((constructor)) static void register_kinds(void)
{
	for (size_t i = 0; i < N_KINDS; i++)
		test_register_row(any_call_may_fail, &kinds[i], NULL,
			"a_run_in_which_one_call_of_%s_fails_says_so_and_can_go_on",
			kinds[i].calls);
}
