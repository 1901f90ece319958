/* SPDX-License-Identifier: MIT
 *
 * soak.c - what can happen to a run, for an hour: it is killed, stopped, started twice, its ranks
 * come late or stand still, memory or disk run out. Each time the exit status must be one of those
 * that are promised for it, and the file of the run that goes on must be that of a straight run,
 * bit for bit. A table of all at the end.
 *
 *   soak [PART]...   runs the kinds whose names hold one of the parts
 */
#include "host/base/clock.h"
#include "host/base/err.h"
#include "host/base/file.h"
#include "tests/long_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the table ------------------------------------------------------------------------- */

static const struct {
	int status;
	const char *name;
} columns[] = {{0, "done"}, {ERR_DEVICE, "memory"}, {ERR_OUTPUT, "output"},
	{ERR_STOPPED, "stopped"}, {-1, "killed"}};

enum { N_COLUMNS = sizeof columns / sizeof *columns, MOST_ROWS = 16 };

static struct row {
	const char *name;
	double started, seconds;
	int n, n_ended[N_COLUMNS], n_compared, n_wrong;
} rows[MOST_ROWS];
static size_t n_rows;

static void print_table(void)
{
	printf("\n%-34s %6s", "", "runs");
	for (size_t i = 0; i < N_COLUMNS; i++)
		printf(" %8s", columns[i].name);
	printf(" %9s %6s %8s\n", "compared", "wrong", "minutes");
	for (const struct row *r = rows; r < rows + n_rows; r++) {
		printf("%-34s %6d", r->name, r->n);
		for (size_t i = 0; i < N_COLUMNS; i++)
			printf(" %8d", r->n_ended[i]);
		printf(" %9d %6d %8.1f\n", r->n_compared, r->n_wrong, r->seconds / 60);
	}
	fflush(stdout);
}

static struct row *begin_row(const char *name)
{
	struct row *r = &rows[n_rows++];

	if (n_rows == 1)
		atexit(print_table);
	*r = (struct row){.name = name, .started = clock_seconds()};
	straight_units(); /* made before the first disturbance */
	return r;
}

static void end_row(struct row *r)
{
	r->seconds = clock_seconds() - r->started;
}

/* One process has ended; `promised` are the statuses that it may end with, up to a 1. */
static void count(struct row *r, const struct engine_run *run, const int *promised)
{
	bool right = false;

	r->n++;
	for (size_t i = 0; i < N_COLUMNS; i++)
		r->n_ended[i] += columns[i].status == run->status;
	for (; *promised != 1; promised++)
		right |= *promised == run->status;
	r->n_wrong += !right;
	CHECK(right, "%s: exit status %d: %s", r->name, run->status, run->err);
}

#define PROMISED(...) ((const int[]){__VA_ARGS__, 1})

/* NAME.h5 is complete, by itself or now, and is compared; then it is gone. */
static void compare(struct row *r, const char *name, bool complete)
{
	char result[64];

	if (complete)
		is_finished(name);
	else
		finishes(name);
	snprintf(result, sizeof result, "%s.h5", name);
	unlink(in_scratch(result));
	r->n_compared++;
}

static struct engine_process start(const char *name, const char *launcher)
{
	char result[64];

	snprintf(result, sizeof result, "%s.h5", name);
	return engine_start(name, launcher, "%s --set output=%s", JOB, in_scratch(result));
}

/* One of two ranks of NAME, as a launcher without names for its launches starts them. */
static struct engine_process start_rank(const char *name, int rank)
{
	char launcher[64], stream[32], result[64];

	snprintf(launcher, sizeof launcher, "env RANK=%d WORLD_SIZE=2", rank);
	snprintf(stream, sizeof stream, "%s-%d", name, rank);
	snprintf(result, sizeof result, "%s.h5", name);
	return engine_start(stream, launcher, "%s --set output=%s", JOB, in_scratch(result));
}

/* ---- kills ----------------------------------------------------------------------------- */

TEST(one_process_killed)
{
	struct row *r = begin_row("killed");
	struct test_random random = {1};
	struct engine_run run;

	for (int i = 0; i < 500; i++) {
		const struct engine_process engine = start("kill", "");

		wait_for_a_moment("kill", &random);
		kill(engine.pid, SIGKILL);
		engine_wait(&run, &engine);
		count(r, &run, PROMISED(0, -1));
		if (run.status == 0 || file_exists(in_scratch("kill.h5")))
			compare(r, "kill", run.status == 0);
	}
	compare(r, "kill", false);
	end_row(r);
}

TEST(two_ranks_killed)
{
	struct row *r = begin_row("two ranks, killed together");
	struct test_random random = {2};
	struct engine_run run[2];

	for (int i = 0; i < 50; i++) {
		const struct engine_process engines[] = {start_rank("pair", 0),
			start_rank("pair", 1)};

		wait_for_a_moment("pair", &random);
		for (int k = 0; k < 2; k++)
			kill(engines[k].pid, SIGKILL);
		for (int k = 0; k < 2; k++) {
			engine_wait(&run[k], &engines[k]);
			count(r, &run[k], PROMISED(0, -1));
		}
		if (file_exists(in_scratch("pair.h5")))
			compare(r, "pair", run[0].status == 0);
	}
	compare(r, "pair", false);
	end_row(r);
}

/* ---- signals --------------------------------------------------------------------------- */

/* Until the process takes signals: before that they kill it, as any program that has just begun. */
static void wait_until_it_listens(pid_t pid)
{
	const unsigned long long bit = 1ull << (SIGTERM - 1);
	char path[64], line[256];

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	for (int i = 0; i < 5000; i++) {
		FILE *file = fopen(path, "r");
		unsigned long long mask = 0;

		while (file && fgets(line, sizeof line, file))
			if (strncmp(line, "SigBlk:", 7) == 0)
				mask = strtoull(line + 7, NULL, 16);
		if (file)
			fclose(file);
		if (mask & bit)
			return;
		usleep(1000);
	}
}

TEST(signals)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU};
	struct row *r = begin_row("a signal");
	struct test_random random = {3};
	struct engine_run run;

	for (int i = 0; i < 2000; i++) {
		const struct engine_process engine = start("signal", "");

		wait_until_it_listens(engine.pid);
		wait_for_a_moment("signal", &random);
		kill(engine.pid, signals[test_random_below(&random, 6)]);
		engine_wait(&run, &engine);
		count(r, &run, PROMISED(0, ERR_STOPPED));
		if (run.status == 0)
			compare(r, "signal", true);
	}
	compare(r, "signal", false);
	end_row(r);
}

/* ---- launches and ranks ---------------------------------------------------------------- */

TEST(two_launches)
{
	struct row *r = begin_row("two launches at one output");
	struct test_random random = {4};
	struct engine_run run[2];

	for (int i = 0; i < 100; i++) {
		struct engine_process engines[2];

		engines[0] = start("first", "");
		usleep((useconds_t)test_random_below(&random,
			(size_t)(2e5 * straight_seconds()) + 1));
		engines[1] = engine_start("second", "", "%s --set output=%s", JOB,
			in_scratch("first.h5"));
		for (int k = 0; k < 2; k++) {
			engine_wait(&run[k], &engines[k]);
			count(r, &run[k], PROMISED(0, ERR_OUTPUT));
		}
		CHECK(run[0].status == 0 || run[1].status == 0, "neither ran: %s%s", run[0].err,
			run[1].err);
		compare(r, "first", true);
	}
	end_row(r);
}

TEST(late_ranks)
{
	struct row *r = begin_row("a rank that comes late");
	struct test_random random = {5};
	struct engine_run run[2];

	for (int i = 0; i < 20; i++) {
		const int first = i % 2;
		struct engine_process engines[2];

		engines[first] = start_rank("late", first);
		usleep((useconds_t)test_random_below(&random, 10000000));
		engines[1 - first] = start_rank("late", 1 - first);
		for (int k = 0; k < 2; k++) {
			engine_wait(&run[k], &engines[k]);
			count(r, &run[k], PROMISED(0));
		}
		compare(r, "late", true);
	}
	end_row(r);
}

/* Short pauses are waited for; after longer ones the other rank gives the paused one up. */
static void pause_a_rank(const char *name, int times, useconds_t shortest, useconds_t longest)
{
	struct row *r = begin_row(name);
	struct test_random random = {shortest};
	struct engine_run run[2];

	for (int i = 0; i < times; i++) {
		const struct engine_process engines[] = {start_rank("pause", 0),
			start_rank("pause", 1)};
		const pid_t paused = engines[i % 2].pid;

		wait_until_it_listens(paused);
		wait_for_a_moment("pause", &random);
		kill(paused, SIGSTOP);
		usleep(shortest + (useconds_t)test_random_below(&random, longest - shortest));
		kill(paused, SIGCONT);
		for (int k = 0; k < 2; k++) {
			engine_wait(&run[k], &engines[k]);
			count(r, &run[k], PROMISED(0, ERR_STOPPED));
		}
		if (file_exists(in_scratch("pause.h5")))
			compare(r, "pause", run[0].status == 0);
	}
	compare(r, "pause", false);
	end_row(r);
}

TEST(paused_ranks)
{
	pause_a_rank("a rank paused for a moment", 20, 100000, 5000000);
	pause_a_rank("a rank paused for 45 s", 6, 45000000, 46000000);
}

/* ---- disk and memory ------------------------------------------------------------------- */

/* 60 limits of address space, from one in which the loader barely starts the program to an ample
 * one. Each run goes on from what the one before has left. */
TEST(memory)
{
	enum { LIMITS = 60, FIRST_MIB = 72, STEP_MIB = 4 };
	struct row *r = begin_row("a limit of address space");
	struct engine_run run;

	for (int i = 0; i < LIMITS; i++) {
		char launcher[64];
		struct engine_process engine;

		snprintf(launcher, sizeof launcher, "prlimit --as=%zu",
			(size_t)(FIRST_MIB + i * STEP_MIB) << 20);
		engine = start("memory", launcher);
		engine_wait(&run, &engine);
		count(r, &run, PROMISED(0, ERR_DEVICE, ERR_OUTPUT));
		if (run.status == 0)
			compare(r, "memory", true);
	}
	compare(r, "memory", false);
	end_row(r);
}

TEST(disk)
{
	static const int numbers[] = {ENOSPC, EIO};
	struct row *r = begin_row("the disk fails");
	struct test_random random = {6};
	struct engine_run run;

	for (int i = 0; i < 120; i++) {
		/* From a kilobyte to all of it, evenly in the number of digits. */
		long bytes = 1000;

		for (size_t digits = test_random_below(&random, 16); digits > 0; digits--)
			bytes *= 2;
		bytes += (long)test_random_below(&random, (size_t)bytes);
		run_with_fault(&run, "disk", bytes, numbers[i % 2]);
		count(r, &run, PROMISED(0, ERR_OUTPUT));
		if (run.status == 0)
			compare(r, "disk", true);
	}
	compare(r, "disk", false);
	end_row(r);
}
