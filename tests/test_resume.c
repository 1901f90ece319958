/* SPDX-License-Identifier: MIT
 *
 * test_resume.c - whole runs of ./engine that do not reach their end at once: killed, stopped by a
 * signal, out of disk, locked out. Whatever happened, the same command goes on and gives the file
 * that a straight run gives. The same for an hour, with more kinds: soak.c.
 */
#include "host/base/clock.h"
#include "host/base/file.h"
#include "tests/long_run.h"
#include "tests/same_results.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct engine_run run;

TEST(runs_killed_at_random_moments_go_on_and_give_the_bits_of_a_straight_run)
{
	enum { KILLS = 20 };
	struct test_random random = {1};
	int n_among = 0, n_compared = 0;

	for (int n = 0; n < KILLS;) {
		const struct engine_process engine = engine_start("run", "", "%s --set output=%s",
			JOB, in_scratch("k.h5"));

		wait_for_a_moment("k", &random);
		kill(engine.pid, SIGKILL);
		engine_wait(&run, &engine);
		REQUIRE(run.status <= 0, "kill %d: it ended by itself: %s", n, run.err);
		if (run.status == 0) { /* it came first */
			is_finished("k");
		} else {
			n++;
			n_among += moment_of("k") == AMONG_UNITS;
			if (file_exists(in_scratch("k.h5")))
				is_straight("k"); /* it has its name: it is complete */
			else if (n < KILLS)
				continue;
			finishes("k");
		}
		unlink(in_scratch("k.h5"));
		n_compared++;
	}
	printf("  %d kills, %d among the units; %d files compared\n", KILLS, n_among, n_compared);
	CHECK(n_among >= KILLS / 4, "too few kills came among the units");
}

TEST(a_signal_ends_the_run_within_30_s_with_status_85_and_the_same_command_goes_on)
{
	static const int signals[] = {SIGTERM, SIGUSR1, SIGUSR2, SIGINT, SIGHUP, SIGXCPU};
	static const char *const names[] = {"SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP",
		"SIGXCPU"};

	straight();
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		const struct engine_process engine = start_until("signal", 4);
		const double asked = clock_seconds();
		char expected[512], *stopped;

		kill(engine.pid, signals[i]);
		engine_wait(&run, &engine);
		CHECK(run.status == 85, "%s: exit status %d: %s", names[i], run.status, run.err);
		CHECK(clock_seconds() - asked < 30, "%s: it took %.1f s", names[i],
			clock_seconds() - asked);
		snprintf(expected, sizeof expected,
			"stopped (%s)\nwhat was finished is in %s; the same command goes on from "
			"there\n",
			names[i], in_scratch("signal.units"));
		/* Behind warnings of what was computed before. */
		stopped = strstr(run.err, "stopped (");
		CHECK(stopped && strcmp(stopped, expected) == 0, "message is\n%s", run.err);
	}
	finishes("signal");
}

/* A mask of the process's status file: "SigCgt" is what it has handlers for. */
static unsigned long long signal_mask(pid_t pid, const char *name)
{
	char path[64], line[256];
	unsigned long long mask = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	CHECK(file, "cannot open %s", path);
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, name, strlen(name)) == 0)
			mask = strtoull(line + strlen(name) + 1, NULL, 16);
	if (file)
		fclose(file);
	return mask;
}

/* oneDNN's products keep their stack pointer in heap memory: a handler's frame would land there. */
TEST(no_signal_is_handled_on_the_stack_of_a_thread_that_computes)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2, SIGALRM};
	const struct engine_process engine = start_until("masks", 2);

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		const unsigned long long bit = 1ull << (signals[i] - 1);

		CHECK(!(signal_mask(engine.pid, "SigCgt") & bit), "signal %d has a handler",
			signals[i]);
		CHECK(signal_mask(engine.pid, "SigBlk") & bit, "the main thread takes signal %d",
			signals[i]);
	}
	kill(engine.pid, SIGTERM);
	engine_wait(&run, &engine);
	CHECK(run.status == 85, "exit status %d: %s", run.status, run.err);
}

TEST(a_signal_that_the_launcher_had_ignored_does_not_stop_the_run)
{
	/* As nohup does, and a shell for what it puts into the background. */
	const struct engine_process engine = engine_start("run",
		"sh -c 'trap \"\" HUP INT; exec \"$@\"' -", "%s --set output=%s", JOB,
		in_scratch("nohup.h5"));

	wait_for_units("nohup", 3);
	kill(engine.pid, SIGHUP);
	kill(engine.pid, SIGINT);
	engine_wait(&run, &engine);
	CHECK(run.status == 0, "exit status %d: %s", run.status, run.err);
	is_finished("nohup");
}

TEST(a_log_that_nobody_reads_any_more_does_not_end_the_run)
{
	const struct engine_process engine = engine_start("run",
		"sh -c '{ \"$@\"; echo \"exit $?\" >&2; } | true' -", "%s --set output=%s", JOB,
		in_scratch("pipe.h5"));

	engine_wait(&run, &engine);
	CHECK(strstr(run.err, "exit 0\n"), "%s", run.err);
	is_finished("pipe");
}

TEST(a_second_sigint_leaves_at_once)
{
	const struct engine_process engine = start_until("twice", 3);

	/* Stopped, so that it sees both together: between two units it would end after one. */
	kill(engine.pid, SIGSTOP);
	kill(engine.pid, SIGINT);
	kill(engine.pid, SIGTERM);
	kill(engine.pid, SIGCONT);
	kill(engine.pid, SIGINT);
	engine_wait(&run, &engine);
	CHECK(run.status == 85, "exit status %d: %s", run.status, run.err);
	finishes("twice");
}

/* ---- the disk -------------------------------------------------------------------------- */

static int find_part(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)ftw;
	return kind == FTW_F && strstr(path, ".part") != NULL;
}

/* From nothing at all to the end of the result file. */
static void fails_at_any_byte(const char *name, int number, const char *reason)
{
	char result[64], folder[64], part[64];
	long bytes = 1000;
	int n_failures = 0;

	snprintf(result, sizeof result, "%s.h5", name);
	snprintf(folder, sizeof folder, "%s.units", name);
	snprintf(part, sizeof part, "%s.summary.h5.part", name);
	straight();
	for (; n_failures < 40; bytes *= 2) {
		run_with_fault(&run, name, bytes, number);
		if (run.status == 0)
			break;
		n_failures++;
		CHECK(run.status == 5 && strstr(run.err, reason), "after %ld bytes: %d: %s", bytes,
			run.status, run.err);
		CHECK(!file_exists(in_scratch(result)), "after %ld bytes: there is a file", bytes);
		CHECK(!file_exists(in_scratch(part)), "after %ld bytes: half a summary was left",
			bytes);
		CHECK(nftw(in_scratch(folder), find_part, 16, FTW_PHYS) <= 0,
			"after %ld bytes: half a unit was left", bytes);
	}
	printf("  failed %d times, the last with %ld bytes to write\n", n_failures, bytes);
	CHECK(n_failures > 5, "it failed %d times only", n_failures);
	CHECK(run.status == 0, "it never finished: %s", run.err);
	is_straight(name);
}

TEST(a_full_disk_is_exit_5_and_the_run_goes_on_when_there_is_room)
{
	fails_at_any_byte("full", ENOSPC, "No space left on device");
}

TEST(a_failing_disk_is_exit_5_and_the_run_goes_on_on_another)
{
	fails_at_any_byte("broken", EIO, "Input/output error");
}

TEST(a_limit_on_the_size_of_files_is_exit_5_and_the_run_goes_on_without_it)
{
	/* HDF5 loses what it could not write out. */
	const struct engine_process engine = engine_start("run",
		"env ASAN_OPTIONS=detect_leaks=0 prlimit --fsize=100000", "%s --set output=%s", JOB,
		in_scratch("size.h5"));

	engine_wait(&run, &engine);
	CHECK(run.status == 5 && strstr(run.err, "File too large"), "%d: %s", run.status, run.err);
	finishes("size");
}

TEST(a_folder_that_became_read_only_is_exit_5_and_the_run_goes_on_afterwards)
{
	/* Root may write anywhere: someone else tries. */
	const char *launcher = geteuid() ? ""
					 : "setpriv --reuid=65534 --regid=65534 --clear-groups";
	struct engine_process engine;

	if (geteuid() == 0 && system("command -v setpriv >/dev/null 2>&1") != 0)
		SKIP("root may write anywhere, and there is no setpriv to be someone else");
	straight();
	chmod(test_scratch_folder(), 0711);
	REQUIRE(mkdir(in_scratch("ro"), 0777) == 0 && chmod(in_scratch("ro"), 0777) == 0,
		"no folder");
	engine = start_until("ro/r", 3);
	kill(engine.pid, SIGKILL);
	engine_wait(&run, &engine);
	chmod(in_scratch("ro/r.units"), 0555);
	engine = engine_start("run", launcher, "%s --set output=%s", JOB, in_scratch("ro/r.h5"));
	engine_wait(&run, &engine);
	chmod(in_scratch("ro/r.units"), 0755);
	CHECK(run.status == 5 &&
			strstr(run.err, "ro/r.units/lock: cannot create: Permission denied"),
		"%d: %s", run.status, run.err);
	finishes("ro/r");
}

/* ---- others ---------------------------------------------------------------------------- */

TEST(a_second_run_on_the_same_output_is_refused_and_the_first_is_not_disturbed)
{
	const struct engine_process engine = start_until("two", 3);
	struct engine_run second;

	engine_run(&second, "%s --set output=%s", JOB, in_scratch("two.h5"));
	CHECK(second.status == 5 && strstr(second.err, "two.units: another run is writing here"),
		"%d: %s", second.status, second.err);
	for (int fresh = 0; fresh <= 1; fresh++) {
		engine_run(&second, "%s --set output=%s --dry-run%s", JOB, in_scratch("two.h5"),
			fresh ? " --fresh" : "");
		CHECK(second.status == 5 &&
				strstr(second.err, "two.units: another run is writing here"),
			"the dry run: %d: %s", second.status, second.err);
	}
	engine_wait(&run, &engine);
	CHECK(run.status == 0, "the first one ended with %d", run.status);
	CHECK(same_results(straight(), in_scratch("two.h5"), "/") > 100, "too little was compared");
}

TEST(other_settings_are_refused_with_their_keys_and_fresh_begins_anew)
{
	const struct engine_process engine = start_until("keys", 5);

	kill(engine.pid, SIGKILL);
	engine_wait(&run, &engine);
	engine_run(&run, "%s --set output=%s --set attribution.k0=5 --set threads=2", JOB,
		in_scratch("keys.h5"));
	CHECK(run.status == 2 && strstr(run.err, "\n  attribution.k0: the units were made with 10, "
						 "this run has 5\n"),
		"%d: %s", run.status, run.err);
	CHECK(!strstr(run.err, "threads"), "threads cannot change a result: %s", run.err);
	CHECK(units_in("keys.units") >= 5, "the refused run removed units");
	engine_run(&run, "%s --set output=%s --set attribution.k0=5 --fresh", JOB,
		in_scratch("keys.h5"));
	CHECK(run.status == 0, "%d: %s", run.status, run.err);
	CHECK(units_in("keys.units.old-1") >= 5, "--fresh lost the old units");
}

TEST(a_run_that_fails_by_its_inputs_leaves_nothing)
{
	engine_run(&run, "%s --set output=%s --set attribution.k_star=1000", JOB,
		in_scratch("none.h5"));
	CHECK(run.status == 2, "%d: %s", run.status, run.err);
	CHECK(!folder_exists(in_scratch("none.units")), "it left units");
	CHECK(!file_exists(in_scratch("none.h5.part")), "it left a part");
}

TEST(inspect_tells_a_run_that_works_from_one_that_was_killed_and_one_that_is_complete)
{
	const struct engine_process engine = start_until("see", 3);
	struct engine_run seen;

	engine_run(&seen, "--inspect %s", in_scratch("see.units"));
	CHECK(seen.status == 0 && strstr(seen.out, "is being computed by process") &&
			strstr(seen.out, "00-direction-harmful_train "),
		"%d: %s%s", seen.status, seen.out, seen.err);
	kill(engine.pid, SIGKILL);
	engine_wait(&run, &engine);
	engine_run(&seen, "--inspect %s", in_scratch("see.units"));
	CHECK(seen.status == 0 && strstr(seen.out, "nobody is computing now"), "%d: %s%s",
		seen.status, seen.out, seen.err);
	engine_run(&seen, "--inspect %s", straight());
	CHECK(seen.status == 0 && strstr(seen.out, ": a result file, complete\n") &&
			strstr(seen.out, "  /prompts/text ") && strstr(seen.out, " text [36]"),
		"%d: %s%s", seen.status, seen.out, seen.err);
	engine_run(&seen, "--inspect %s", in_scratch("straight.summary.h5"));
	CHECK(seen.status == 0 && strstr(seen.out, ": a summary of straight.h5, complete\n") &&
			strstr(seen.out, "  /prompts/text ") &&
			strstr(seen.out, "in straight.h5 alone: 0 datasets\n"),
		"%d: %s%s", seen.status, seen.out, seen.err);
	engine_run(&seen, "--inspect %s", "configs/tiny_gemma2_ap.cfg");
	CHECK(seen.status == 3, "%d: %s%s", seen.status, seen.out, seen.err);
	engine_run(&seen, "--inspect %s", in_scratch("nowhere.h5"));
	CHECK(seen.status == 3 && strstr(seen.err, "that can be read, found no file\n"), "%d: %s",
		seen.status, seen.err);
}
