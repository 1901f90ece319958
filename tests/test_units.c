/* SPDX-License-Identifier: MIT
 *
 * test_units.c - units, their folder and the stage loop, without a model: the invariants at the top
 * of host/work/units.h, one by one. That units are not believed by their names: test_seals.c; whole
 * runs that are killed: test_resume.c.
 */
#include "host/base/file.h"
#include "tests/same_results.h"
#include "tests/test.h"
#include "tests/trial.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hdf5.h>
#include <hdf5_hl.h>

TEST(rows_are_joined_in_the_order_of_the_units_and_ends_count_through)
{
	struct results_reader *r;
	struct err err;
	double sum;
	int n_computed;
	size_t dims[2];
	float *x = NULL;
	int32_t *end = NULL, *entry = NULL;

	REQUIRE_OK(trial_whole("join.h5", &sum, &n_computed, &err), &err);
	CHECK(n_computed == 5, "%d units were computed", n_computed);
	REQUIRE_OK(results_open(&r, in_scratch("join.h5"), &err), &err);
	REQUIRE_OK(results_read_floats(r, "/saved/x", 2, dims, &x, &err), &err);
	CHECK(dims[0] == 25 && dims[1] == 3, "%zu x %zu", dims[0], dims[1]);
	REQUIRE_OK(results_read_ints(r, "/saved/end", 1, dims, &end, &err), &err);
	REQUIRE_OK(results_read_ints(r, "/saved/entry", 1, dims, &entry, &err), &err);
	for (int b = 0, row = 0; b < 5; b++) {
		for (int i = 0; i < 2 * b + 1; i++, row++) {
			CHECK(x[3 * row + 1] == (float)(100 * b + 10 * i + 1) / 8, "row %d: %g",
				row, (double)x[3 * row + 1]);
			CHECK(end[row] == row + 1, "end %d is %d", row, end[row]);
			CHECK(entry[row] == 1000 * b + i, "entry %d is %d", row, entry[row]);
		}
	}
	results_reader_close(r);
	free(x);
	free(end);
	free(entry);
}

static herr_t keep_scale(hid_t dataset, unsigned dimension, hid_t scale, void *out)
{
	(void)dataset, (void)dimension;
	*(hid_t *)out = scale;
	H5Iinc_ref(scale);
	return 1;
}

/* "/row /column" */
static const char *scales_of(hid_t file, const char *path)
{
	static char names[128];
	const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
	int n = 0;

	names[0] = '\0';
	for (int i = 0; i < 2 && dataset >= 0; i++) {
		hid_t scale;

		if (H5DSget_num_scales(dataset, (unsigned)i) != 1)
			break;
		H5DSiterate_scales(dataset, (unsigned)i, NULL, keep_scale, &scale);
		n += snprintf(names + n, sizeof names - (size_t)n, "%s", i ? " " : "");
		n += (int)H5Iget_name(scale, names + n, sizeof names - (size_t)n);
		H5Oclose(scale);
	}
	if (dataset >= 0)
		H5Dclose(dataset);
	return names;
}

/* Copied, or as virtual datasets: then only x, which is not compressed, stays in the units. */
TEST(rows_that_grew_have_scales_that_count_through_all_units)
{
	for (int virtual = 0; virtual < 2; virtual ++) {
		struct results_reader *r;
		struct trial trial;
		struct err err;
		int32_t *row = NULL, *place = NULL;
		size_t n;
		hid_t file;

		REQUIRE_OK(trial_open(&trial, "scales.h5", &err), &err);
		if (virtual)
			results_map_units(trial.job.results);
		REQUIRE_OK(trial_run(&trial, &err), &err);
		REQUIRE_OK(results_finish(trial.job.results, &err), &err);
		trial.job.results = NULL;
		trial_close(&trial);
		file = H5Fopen(in_scratch("scales.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
		CHECK(strcmp(scales_of(file, "/saved/x"), "/row /column") == 0, "x over %s",
			scales_of(file, "/saved/x"));
		CHECK(strcmp(scales_of(file, "/saved/end"), "/row") == 0, "end over %s",
			scales_of(file, "/saved/end"));
		CHECK(strcmp(scales_of(file, "/saved/entry"), "/saved/place") == 0, "entry over %s",
			scales_of(file, "/saved/entry"));
		H5Fclose(file);
		REQUIRE_OK(results_open(&r, in_scratch("scales.h5"), &err), &err);
		REQUIRE_OK(results_read_ints(r, "/row", 1, &n, &row, &err), &err);
		REQUIRE(n == 25, "%zu rows", n);
		REQUIRE_OK(results_read_ints(r, "/saved/place", 1, &n, &place, &err), &err);
		REQUIRE(n == 25, "%zu places", n);
		for (int32_t i = 0; i < 25; i++)
			CHECK(row[i] == i && place[i] == i, "%d: %d and %d", i, row[i], place[i]);
		results_reader_close(r);
		free(row);
		free(place);
	}
}

TEST(the_folder_is_gone_when_the_result_file_is_complete)
{
	struct err err;
	double sum;
	int n_computed;

	REQUIRE_OK(trial_whole("gone.h5", &sum, &n_computed, &err), &err);
	CHECK(file_exists(in_scratch("gone.h5")), "there is no result file");
	CHECK(!folder_exists(in_scratch("gone.units")), "the units are still there");
}

/* 1 */
TEST(a_unit_that_fails_leaves_no_file_and_those_before_it_stand)
{
	struct trial trial;
	struct err err;

	REQUIRE_OK(trial_open(&trial, "fails.h5", &err), &err);
	trial.fail_at = 3;
	CHECK(trial_run(&trial, &err) == ERR_DEVICE && strcmp(err.text, "unit 3 failed") == 0,
		"%d: %s", err.code, err.text);
	trial_close(&trial);
	for (int b = 0; b < 5; b++) {
		CHECK(file_exists(trial_unit("fails", b, "")) == (b < 3), "unit %d", b);
		CHECK(!file_exists(trial_unit("fails", b, ".part")), "half of unit %d was left", b);
	}
}

/* Runs the trial in a process that is killed in unit `die_at`. */
static bool killed_in(const char *name, size_t die_at)
{
	const pid_t child = fork();
	int status = 0;

	if (child == 0) {
		struct trial trial;
		struct err err;

		if (trial_open(&trial, name, &err) == 0) {
			trial.die_at = die_at;
			trial_run(&trial, &err);
		}
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(a_unit_killed_half_way_is_absent_and_what_it_left_is_cleared)
{
	struct trial trial;
	struct err err;

	fflush(stdout);
	REQUIRE(killed_in("killed.h5", 2), "it was not killed");
	for (int b = 0; b < 5; b++)
		CHECK(file_exists(trial_unit("killed", b, "")) == (b < 2), "unit %d", b);
	CHECK(file_exists(trial_unit("killed", 2, ".part")), "it was not half-way");
	REQUIRE_OK(trial_open(&trial, "killed.h5", &err), &err);
	CHECK(!file_exists(trial_unit("killed", 2, ".part")), "half a unit is still there");
	trial_close(&trial);
}

/* 2 */
TEST(units_that_stand_are_not_computed_again_and_the_result_is_the_same)
{
	struct err err;
	double straight, resumed;
	int n_straight, n_resumed;

	fflush(stdout);
	REQUIRE_OK(trial_whole("straight.h5", &straight, &n_straight, &err), &err);
	REQUIRE(killed_in("resumed.h5", 2), "it was not killed");
	REQUIRE(killed_in("resumed.h5", 4), "it was not killed");
	REQUIRE_OK(trial_whole("resumed.h5", &resumed, &n_resumed, &err), &err);
	CHECK(n_straight == 5 && n_resumed == 1, "%d and %d units", n_straight, n_resumed);
	CHECK(memcmp(&straight, &resumed, sizeof straight) == 0, "%.17g and %.17g", straight,
		resumed);
	CHECK(same_results(in_scratch("straight.h5"), in_scratch("resumed.h5"), "/") == 6,
		"other datasets");
}

/* 3 */
TEST(units_of_other_inputs_are_refused_with_the_differences_named)
{
	struct trial trial;
	struct err err;
	char expected[1024];

	REQUIRE_OK(trial_open(&trial, "other.h5", &err), &err);
	REQUIRE_OK(trial_run(&trial, &err), &err);
	trial_close(&trial);
	CHECK(trial_open_with(&trial, "other.h5",
		      "engine = 1\nattribution.k0 = 5\nsha256 of model = abc\nseed = 3\n", false,
		      &err) == ERR_CONFIG,
		"%s", err.text);
	trial_close(&trial);
	snprintf(expected, sizeof expected,
		"%s.units: expected units of this config and these files, found those of another run:\n"
		"  attribution.k0: the units were made with 10, this run has 5\n"
		"  seed: the units were made with nothing, this run has 3\n"
		"put the old settings back to go on with that run, or begin anew with --fresh, which "
		"renames the folder",
		in_scratch("other"));
	CHECK(strcmp(err.text, expected) == 0, "message is\n%s\nexpected\n%s", err.text, expected);
	CHECK(trial_open_with(&trial, "other.h5", "engine = 2\nk0 = 5\n", false, &err) ==
			ERR_CONFIG,
		"%s", err.text);
	trial_close(&trial);
	snprintf(expected, sizeof expected,
		"%s.units: expected units of this engine, found those of another:\n"
		"  engine: the units were made with 1, this run has 2\n"
		"go on with that engine, or begin anew with --fresh, which renames the folder",
		in_scratch("other"));
	CHECK(strcmp(err.text, expected) == 0, "message is\n%s\nexpected\n%s", err.text, expected);
	CHECK(file_exists(trial_unit("other", 4, "")), "a refused run removed units");
}

/* 4 */
TEST(a_second_run_is_refused_while_the_first_lives_and_not_after_it_was_killed)
{
	struct trial trial = {0};
	struct err err;
	int ready[2];
	char byte;
	pid_t child;

	REQUIRE(pipe(ready) == 0, "no pipe");
	fflush(stdout);
	child = fork();
	if (child == 0) {
		if (trial_open(&trial, "held.h5", &err) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &byte, 1) == 1, "the first run did not open");
	CHECK(trial_open(&trial, "held.h5", &err) == ERR_OUTPUT &&
			strstr(err.text, "held.units: another run is writing here: process "),
		"%d: %s", err.code, err.text);
	trial_close(&trial);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CHECK(trial_open(&trial, "held.h5", &err) == 0, "%s", err.text);
	trial_close(&trial);
	close(ready[0]);
	close(ready[1]);
}

/* 5 */
TEST(a_fresh_run_renames_the_old_folder_and_computes_everything)
{
	struct trial trial;
	struct err err;

	for (int i = 1; i <= 2; i++) {
		char name[64];

		REQUIRE_OK(trial_open_with(&trial, "fresh.h5", TRIAL_INPUTS, i > 1, &err), &err);
		REQUIRE_OK(trial_run(&trial, &err), &err);
		CHECK(trial.n_computed == 5, "run %d: %d units", i, trial.n_computed);
		trial_close(&trial);
		REQUIRE_OK(trial_open_with(&trial, "fresh.h5", "engine = 2\n", true, &err), &err);
		trial_close(&trial);
		CHECK(!file_exists(trial_unit("fresh", 0, "")), "run %d: old units are left", i);
		snprintf(name, sizeof name,
			"fresh.units.old-%d/00-roots-of-small-numbers/000000.h5", 2 * i - 1);
		CHECK(file_exists(in_scratch(name)), "%s is not there", name);
	}
}
