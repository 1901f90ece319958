/* SPDX-License-Identifier: MIT
 *
 * test_seals.c - a unit is believed by its seal alone (host/work/units.h, 6 and 7): whatever was
 * done to the units of a run that was stopped, the next one gives the file of a straight run or is
 * refused, and says which unit it was.
 */
#include "host/base/file.h"
#include "host/store/seal.h"
#include "tests/same_results.h"
#include "tests/test.h"
#include "tests/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hdf5.h>

enum { UNITS = 5 };

/* ---- libc's, in its place ---------------------------------------------------------------- */

static int removals_to_live = -1; /* -1: for ever */
static bool spoil_renamed;

/* Nothing here is about what a crash of the machine leaves, and a busy disk takes its time. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

int remove(const char *path)
{
	if (removals_to_live == 0)
		kill(getpid(), SIGKILL);
	removals_to_live -= removals_to_live > 0;
	return unlink(path) == 0 || (errno == EISDIR && rmdir(path) == 0) ? 0 : -1;
}

static void flip(const char *path, off_t offset, int bit)
{
	const int fd = open(path, O_RDWR);
	unsigned char byte;

	if (fd < 0 || pread(fd, &byte, 1, offset) != 1)
		test_fail(__FILE__, __LINE__, "%s: no byte %ld", path, (long)offset);
	byte ^= (unsigned char)(1 << bit);
	if (pwrite(fd, &byte, 1, offset) != 1)
		test_fail(__FILE__, __LINE__, "%s: cannot write", path);
	close(fd);
}

int rename(const char *from, const char *to)
{
	const size_t n = strlen(to);

	if (spoil_renamed && n > 9 && strcmp(to + n - 9, "000003.h5") == 0)
		flip(from, 2000, 3);
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- runs ------------------------------------------------------------------------------ */

static const char *const OTHER_INPUTS = "engine = 1\nattribution.k0 = 10\nseed = 3\n";

static char warnings[16384];

/* Runs NAME.h5 to its end, what it says on standard error in `warnings`. */
static int run_trial(const char *name, const char *inputs, double seed, bool keep, double *sum,
	int *n_computed, struct err *err)
{
	const int kept_stderr = dup(2);
	struct trial trial;
	FILE *file;
	size_t n = 0;
	int rc, to;

	fflush(stderr);
	to = open(in_scratch("warnings"), O_RDWR | O_CREAT | O_TRUNC, 0666);
	dup2(to, 2);
	close(to);
	rc = trial_open_with(&trial, name, inputs, false, err);
	trial.seed = seed;
	if (rc == 0)
		rc = trial_end(&trial, keep, sum, n_computed, err);
	else
		trial_close(&trial);
	fflush(stderr);
	dup2(kept_stderr, 2);
	close(kept_stderr);
	file = fopen(in_scratch("warnings"), "rb");
	if (file) {
		n = fread(warnings, 1, sizeof warnings - 1, file);
		fclose(file);
	}
	warnings[n] = '\0';
	return rc;
}

/* The files of straight runs, made once: of INPUTS, and of others with another seed. */
static const char *straight(bool other, double *sum)
{
	static const char *const names[] = {"straight.h5", "other.h5"};
	static double sums[2];
	struct err err;
	int n;

	if (!file_exists(in_scratch(names[other])) &&
		run_trial(names[other], other ? OTHER_INPUTS : TRIAL_INPUTS, other ? 3 : 0, true,
			&sums[other], &n, &err))
		test_fail(__FILE__, __LINE__, "%s", err.text);
	*sum = sums[other];
	return in_scratch(names[other]);
}

/* Runs NAME.h5 to its end, which must be the straight one, with n units computed; n < 0: any. */
static void finishes(const char *name, int n)
{
	double expected, sum;
	struct err err;
	int n_computed;

	straight(false, &expected);
	REQUIRE_OK(run_trial(name, TRIAL_INPUTS, 0, false, &sum, &n_computed, &err), &err);
	CHECK(n < 0 || n_computed == n, "%d units were computed, not %d", n_computed, n);
	CHECK(memcmp(&sum, &expected, sizeof sum) == 0, "%.17g, not %.17g", sum, expected);
	CHECK(same_results(straight(false, &expected), in_scratch(name), "/") == 6,
		"other datasets");
}

/* All units of NAME.h5 stand, and nothing was made of them. */
static void stand(const char *name, const char *inputs, double seed)
{
	struct trial trial;
	struct err err;

	REQUIRE_OK(trial_open_with(&trial, name, inputs, false, &err), &err);
	trial.seed = seed;
	REQUIRE_OK(trial_run(&trial, &err), &err);
	trial_close(&trial);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void says_of_unit(const char *name, int unit, const char *what)
{
	char path[256];

	snprintf(path, sizeof path, "warning: %s: ", trial_unit(name, unit, ""));
	CHECK(strstr(warnings, path) && strstr(warnings, what), "expected \"%s%s\", found:\n%s",
		path, what, warnings);
}

/* ---- spoilt ---------------------------------------------------------------------------- */

/* In the seal and behind it. */
TEST(a_bit_flipped_anywhere_in_a_unit_is_found_and_the_unit_computed_again)
{
	struct test_random random = {1};

	for (int round = 0; round < 6; round++) {
		stand("flip.h5", TRIAL_INPUTS, 0);
		for (int b = 0; b < UNITS; b++) {
			const char *path = trial_unit("flip", b, "");
			const size_t size = round % 3 == 0 ? SEAL_BYTES : (size_t)size_of(path);

			flip(path, (off_t)test_random_below(&random, size),
				(int)test_random_below(&random, 8));
		}
		finishes("flip.h5", UNITS);
		for (int b = 0; b < UNITS; b++)
			says_of_unit("flip", b, "it is computed again and kept as ");
	}
}

TEST(one_spoilt_unit_is_kept_aside_and_the_others_are_not_computed_again)
{
	double expected, sum;
	struct err err;
	int n;

	stand("one.h5", TRIAL_INPUTS, 0);
	flip(trial_unit("one", 2, ""), 1500, 0);
	REQUIRE_OK(run_trial("one.h5", TRIAL_INPUTS, 0, true, &sum, &n, &err), &err);
	CHECK(n == 1, "%d units were computed", n);
	says_of_unit("one", 2, "its bytes are not those that were written");
	CHECK(file_exists(trial_unit("one", 2, "")) && file_exists(trial_unit("one", 2, ".bad-1")),
		"the unit, or what it was before, is not there");
	CHECK(same_results(straight(false, &expected), in_scratch("one.h5"), "/") == 6,
		"other datasets");
}

/* As another program writes values: the file is a good HDF5 file. */
static void make_nan(const char *path)
{
	const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	const hid_t root = H5Dopen2(file, "/unit/root", H5P_DEFAULT);
	const double nan = NAN;

	CHECK(root >= 0 &&
			H5Dwrite(root, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &nan) >= 0,
		"%s: cannot write", path);
	H5Dclose(root);
	H5Fclose(file);
}

TEST(values_that_another_program_wrote_into_a_unit_are_not_taken)
{
	stand("nan.h5", TRIAL_INPUTS, 0);
	make_nan(trial_unit("nan", 1, ""));
	finishes("nan.h5", 1);
	says_of_unit("nan", 1, "its bytes are not those that were written");
}

TEST(a_unit_that_is_cut_or_empty_or_something_else_is_computed_again)
{
	static const off_t sizes[] = {0, 100, SEAL_BYTES - 1, SEAL_BYTES, SEAL_BYTES + 1, -1};
	FILE *file;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		const char *path;

		stand("cut.h5", TRIAL_INPUTS, 0);
		path = trial_unit("cut", 4, "");
		CHECK(truncate(path, sizes[i] < 0 ? size_of(path) - 1 : sizes[i]) == 0,
			"%s: cannot cut", path);
		finishes("cut.h5", 1);
		says_of_unit("cut", 4, sizes[i] == 0 ? "found none" : "");
	}
	stand("cut.h5", TRIAL_INPUTS, 0);
	file = fopen(trial_unit("cut", 4, ""), "wb");
	REQUIRE(file && fputs("something else", file) >= 0, "cannot write");
	fclose(file);
	finishes("cut.h5", 1);
	says_of_unit("cut", 4, "expected a unit with its seal, found something else");
}

/* The disk, say: the second time is the last. */
TEST(a_unit_that_is_spoilt_again_when_it_was_computed_a_second_time_ends_the_run)
{
	double sum;
	struct err err;
	int n;

	stand("again.h5", TRIAL_INPUTS, 0);
	flip(trial_unit("again", 3, ""), 1100, 7);
	spoil_renamed = true;
	CHECK(run_trial("again.h5", TRIAL_INPUTS, 0, false, &sum, &n, &err) == ERR_INPUT &&
			strstr(err.text, "a unit that was computed again: ") &&
			strstr(err.text, trial_unit("again", 3, "")),
		"%d: %s", err.code, err.text);
	spoil_renamed = false;
	finishes("again.h5", 1);
}

/* ---- another's ------------------------------------------------------------------------- */

static void exchange(const char *a, const char *b)
{
	char aside[300];

	snprintf(aside, sizeof aside, "%s.aside", a);
	if (rename(a, aside) || rename(b, a) || rename(aside, b))
		test_fail(__FILE__, __LINE__, "cannot exchange %s and %s", a, b);
}

TEST(units_that_changed_places_are_found_by_their_numbers)
{
	stand("swap.h5", TRIAL_INPUTS, 0);
	exchange(trial_unit("swap", 1, ""), trial_unit("swap", 3, ""));
	finishes("swap.h5", 2);
	says_of_unit("swap", 1, "expected unit 1 of 5, found unit 3 of 5");
	says_of_unit("swap", 3, "expected unit 3 of 5, found unit 1 of 5");
}

TEST(a_stage_of_another_run_is_computed_again_unit_by_unit)
{
	stand("mine.h5", TRIAL_INPUTS, 0);
	stand("yours.h5", OTHER_INPUTS, 3);
	exchange(in_scratch("mine.units/00-roots-of-small-numbers"),
		in_scratch("yours.units/00-roots-of-small-numbers"));
	finishes("mine.h5", UNITS);
	for (int b = 0; b < UNITS; b++)
		says_of_unit("mine", b, "expected a unit of run ");
}

TEST(a_stage_under_the_name_of_another_is_computed_again)
{
	const struct seal seal = {.run = "0", .stage = "01-other", .n = UNITS};
	struct err err;

	stand("named.h5", TRIAL_INPUTS, 0);
	REQUIRE_OK(seal_write(trial_unit("named", 0, ""), &seal, &err), &err);
	finishes("named.h5", 1);
	says_of_unit("named", 0, "expected a unit of run ");
}

/* ---- no files -------------------------------------------------------------------------- */

static void make_link(const char *path, const char *to)
{
	if (symlink(to, path))
		test_fail(__FILE__, __LINE__, "%s: no link", path);
}

/* Emptied, it would be the other file that is emptied. */
static void make_second_name(const char *path, const char *to)
{
	if (link(to, path))
		test_fail(__FILE__, __LINE__, "%s: no second name", path);
}

static void make_pipe(const char *path, const char *to)
{
	(void)to;
	if (mkfifo(path, 0666))
		test_fail(__FILE__, __LINE__, "%s: no pipe", path);
}

static void make_folder(const char *path, const char *to)
{
	(void)to;
	if (mkdir(path, 0777))
		test_fail(__FILE__, __LINE__, "%s: no folder", path);
}

/* A pipe that was opened would be waited for: this test would not end. */
TEST(what_is_no_file_or_no_folder_in_its_place_is_refused_at_once_and_stays)
{
	static const struct {
		const char *path;
		void (*make)(const char *path, const char *to);
		const char *found;
	} cases[] = {
		{"", make_link, "a link"},
		{"/lock", make_link, "a link"},
		{"/lock", make_second_name, "a link"},
		{"/lock", make_pipe, "a link, a folder, a pipe"},
		{"/manifest", make_link, "a link"},
		{"/manifest", make_pipe, "a pipe"},
		{"/manifest", make_folder, "a folder"},
		{"/00-roots-of-small-numbers", make_link, "a link"},
		{"/00-roots-of-small-numbers", make_pipe, "a pipe"},
		{"/00-roots-of-small-numbers/000002.h5", make_link, "a link"},
		{"/00-roots-of-small-numbers/000002.h5", make_pipe, "a pipe"},
		{"/00-roots-of-small-numbers/000002.h5", make_folder, "a folder"},
	};
	struct trial trial;
	struct err err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[300], aside[300];

		stand("odd.h5", TRIAL_INPUTS, 0);
		snprintf(path, sizeof path, "%s%s", in_scratch("odd.units"), cases[i].path);
		snprintf(aside, sizeof aside, "%s", in_scratch("aside"));
		REQUIRE(rename(path, aside) == 0, "%s: cannot move", path);
		cases[i].make(path, aside);
		CHECK(trial_open(&trial, "odd.h5", &err) == ERR_CONFIG && strstr(err.text, path) &&
				strstr(err.text, cases[i].found),
			"%s: %d: %s", cases[i].path, err.code, err.text);
		trial_close(&trial);
		REQUIRE(remove(path) == 0 && rename(aside, path) == 0, "%s: was removed", path);
	}
	finishes("odd.h5", 0);
}

TEST(nothing_is_written_through_a_link_at_the_name_of_a_part)
{
	static const char *const names[] = {"part.h5", "part.summary.h5"};
	char victim[300], *text;
	struct err err;

	snprintf(victim, sizeof victim, "%s", in_scratch("victim"));
	REQUIRE_OK(file_write_text(victim, "mine", &err), &err);
	for (int i = 0; i < 2; i++) {
		struct results *r;
		char part[300];

		snprintf(part, sizeof part, "%s.part", in_scratch(names[i]));
		make_link(part, victim);
		REQUIRE_OK(results_create(&r, in_scratch(names[i]), &err), &err);
		REQUIRE_OK(results_finish(r, &err), &err);
	}
	make_link(in_scratch("manifest.part"), victim);
	REQUIRE_OK(file_write_text(in_scratch("manifest"), "other", &err), &err);
	REQUIRE_OK(file_read_text(victim, &text, &err), &err);
	CHECK(strcmp(text, "mine") == 0, "the file behind the link was written");
	free(text);
}

/* ---- removal --------------------------------------------------------------------------- */

/* Ends the run of NAME.h5 in a process that is killed at its n-th removal; false: it had fewer. */
static bool killed_at_removal(const char *name, int n)
{
	const pid_t child = fork();
	int status = 0;

	if (child == 0) {
		struct err err;
		double sum;
		int n_computed;

		removals_to_live = n;
		_exit(trial_whole(name, &sum, &n_computed, &err) != 0);
	}
	waitpid(child, &status, 0);
	CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "the run failed");
	return WIFSIGNALED(status);
}

TEST(a_run_killed_at_any_removal_leaves_no_unit_that_another_config_takes)
{
	int n = 0;

	fflush(stdout);
	for (; n < 100 && killed_at_removal("gone.h5", n); n++) {
		double expected, sum;
		struct err err;
		int n_computed;

		CHECK(file_exists(in_scratch("gone.h5")), "units went before the file was there");
		CHECK(!folder_exists(in_scratch("gone.units")), "the folder kept its name");
		unlink(in_scratch("gone.h5"));
		straight(true, &expected);
		REQUIRE_OK(run_trial("gone.h5", OTHER_INPUTS, 3, false, &sum, &n_computed, &err),
			&err);
		CHECK(n_computed == UNITS, "removal %d: %d units were computed", n, n_computed);
		CHECK(memcmp(&sum, &expected, sizeof sum) == 0, "%.17g, not %.17g", sum, expected);
		CHECK(same_results(straight(true, &expected), in_scratch("gone.h5"), "/") == 6,
			"other datasets");
		unlink(in_scratch("gone.h5"));
		CHECK(n == UNITS + 3 || !folder_exists(in_scratch("gone.units.done-1")),
			"removal %d: what was left is still there", n);
		rmdir(in_scratch("gone.units.done-1"));
	}
	CHECK(n == UNITS + 4, "%d removals: five units, their stage, manifest, lock, folder", n);
}

TEST(a_folder_that_is_not_ours_is_never_taken_for_what_a_removal_left)
{
	struct err err;

	REQUIRE(mkdir(in_scratch("note.units.done-1"), 0777) == 0, "no folder");
	REQUIRE_OK(file_write_text(in_scratch("note.units.done-1/note"), "mine", &err), &err);
	finishes("note.h5", UNITS);
	CHECK(file_exists(in_scratch("note.units.done-1/note")), "it was removed");
}
