/* SPDX-License-Identifier: MIT
 *
 * test_runner.c - the runner of tests (test.h), seen from outside: exit statuses and output of
 * runner_sample.c.
 */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char out[16384];

static int shell(const char *command)
{
	return test_shell(command, out, sizeof out);
}

static int sample(const char *program, const char *arguments)
{
	char command[2048];

	snprintf(command, sizeof command, "exec '%s' %s 2>&1", program, arguments);
	return shell(command);
}

#define EXPECT(status, arguments, text) \
	do { \
		const int found = sample(RUNNER_SAMPLE, arguments); \
		CHECK(found == (status), "%s: expected status %d, found %d", arguments, status, \
			found); \
		CHECK(strstr(out, text), "%s: expected \"%s\", found \"%s\"", arguments, text, \
			out); \
	} while (0)

TEST(the_exit_status_says_whether_tests_passed_failed_or_could_not_run)
{
	EXPECT(0, "is_two", "ok   one_and_one_is_two\n1 passed, 0 failed, 0 skipped\n");
	EXPECT(1, "is_three", "FAIL one_and_one_is_three\n");
	EXPECT(77, "nobody", "skip nobody_can_tell: no oracle\n0 passed, 0 failed, 1 skipped\n");
	EXPECT(0, "nobody is_two", "1 passed, 0 failed, 1 skipped\n");
	EXPECT(1, "one nobody table data", "4 passed, 1 failed, 1 skipped\n");
	EXPECT(-1, "", "ok   data_is_found\n");
}

TEST(a_test_goes_on_after_a_failed_check)
{
	EXPECT(1, "is_three", "and not 4\n");
}

TEST(what_is_no_test_is_an_error_even_beside_one_that_is)
{
	EXPECT(2, "no_such_test",
		"expected a part of the name of a test (--list prints them), found "
		"\"no_such_test\"");
	EXPECT(2, "is_two no_such_test", "\"no_such_test\"");
	CHECK(!strstr(out, "ok "), "a test ran all the same: %s", out);
	EXPECT(2, "--exact is_two",
		"expected the name of a test (--list prints them), found \"is_two\"");
	EXPECT(2, "--lits", "found --lits");
	EXPECT(2, "--exact", "found --exact at the end");
	EXPECT(2, "--json /nowhere/at.all", "--json /nowhere/at.all: No such file");
}

TEST(a_list_is_the_names_and_runs_nothing)
{
	static const char names[] =
		"one_and_one_is_two\none_and_one_is_three\nnobody_can_tell\n"
		"table, 1 rows, 3 columns\ntable, 2 rows, 3 columns\ndata_is_found\nthe_machine_stops\n";

	EXPECT(0, "--list", names);
	CHECK(strcmp(out, names) == 0, "expected the names alone, found \"%s\"", out);
	EXPECT(0, "--list table", "table, 2 rows, 3 columns\n");
	CHECK(!strstr(out, "is_two"), "expected the rows alone, found \"%s\"", out);
	CHECK(sample(RUNNER_SAMPLE_LACKING, "--list") == 0 && strcmp(out, names) == 0,
		"where they cannot run: \"%s\"", out);
}

TEST(a_row_of_a_table_is_a_test_of_its_own)
{
	EXPECT(0, "--exact 'table, 2 rows, 3 columns'",
		"ok   table, 2 rows, 3 columns\n1 passed, 0 failed, 0 skipped\n");
	EXPECT(0, "--exact 'table, 2 rows, 3 columns' --exact one_and_one_is_two", "2 passed");
	EXPECT(0, "table", "2 passed");
}

TEST(an_op_and_a_device_choose_among_the_rows)
{
	EXPECT(0, "--list --op sum", "table, 1 rows, 3 columns\n");
	CHECK(!strstr(out, "2 rows") && !strstr(out, "data"), "expected one row, found \"%s\"",
		out);
	EXPECT(0, "--op product", "on all devices\nok   table, 2 rows, 3 columns\n1 passed");
	EXPECT(0, "--device far", "on far\nok   table, 2 rows, 3 columns\n2 passed");
	EXPECT(0, "--op sum --device near table",
		"on near\nok   table, 1 rows, 3 columns\n1 passed");
}

TEST(an_op_or_device_that_there_is_not_is_an_error_that_names_those_there_are)
{
	EXPECT(2, "--op summ", "expected --op, one of: sum product, found \"summ\"\n");
	EXPECT(2, "--device nowhere", "expected --device, one of: near far, found \"nowhere\"\n");
	EXPECT(2, "--op sum '2 rows'", "expected a part of the name");
	EXPECT(2, "--device near is_two", "found \"is_two\"");
	EXPECT(2, "is_two --op", "found --op at the end");
}

TEST(where_what_all_need_is_missing_all_are_skipped)
{
	CHECK(sample(RUNNER_SAMPLE_LACKING, "") == 77, "expected 77: %s", out);
	CHECK(strcmp(out, "skip all: no device\n0 passed, 0 failed, 7 skipped\n") == 0,
		"found \"%s\"", out);
	CHECK(sample(RUNNER_SAMPLE_LACKING, "no_such_test") == 2, "expected 2: %s", out);
}

/* Lines of the file, "seconds" apart, which are checked to be few. */
static void read_json(const char *path, char *lines, size_t size)
{
	FILE *file = fopen(path, "r");
	char line[1024], *seconds;
	double s;
	int n = 0;

	lines[0] = '\0';
	REQUIRE(file, "%s was not written", path);
	while (fgets(line, sizeof line, file)) {
		seconds = strstr(line, "\"seconds\": ");
		REQUIRE(seconds && sscanf(seconds, "\"seconds\": %lf, %n", &s, &n) == 1 && n > 0 &&
				s >= 0 && s < 60,
			"expected seconds, found %s", line);
		memmove(seconds, seconds + n, strlen(seconds + n) + 1);
		strncat(lines, line, size - strlen(lines) - 1);
	}
	fclose(file);
}

TEST(every_test_that_ended_is_a_line_of_json_though_the_next_kills_the_program)
{
	char arguments[600], lines[4096];

	snprintf(arguments, sizeof arguments, "--json '%s' one_and nobody",
		in_scratch("lines.json"));
	EXPECT(1, arguments, "1 passed, 1 failed, 1 skipped");
	snprintf(arguments, sizeof arguments, "--json '%s' 'table, 1'", in_scratch("lines.json"));
	EXPECT(0, arguments, "1 passed");
	snprintf(arguments, sizeof arguments, "--json '%s' data machine", in_scratch("lines.json"));
	EXPECT(-1, arguments, "ok   data_is_found\n");
	snprintf(arguments, sizeof arguments, "--json '%s' is_two", in_scratch("lines.json"));
	CHECK(sample(RUNNER_SAMPLE_LACKING, arguments) == 77, "expected 77: %s", out);
	read_json(in_scratch("lines.json"), lines, sizeof lines);
	CHECK(strcmp(lines,
		      "{\"program\": \"runner_sample\", \"test\": \"one_and_one_is_two\", "
		      "\"status\": \"ok\", \"why\": \"\"}\n"
		      "{\"program\": \"runner_sample\", \"test\": \"one_and_one_is_three\", "
		      "\"status\": \"fail\", \"why\": \"runner_sample.c:23: expected "
		      "\\\"3\\\",\\u000a  found 2\"}\n"
		      "{\"program\": \"runner_sample\", \"test\": \"nobody_can_tell\", "
		      "\"status\": \"skip\", \"why\": \"no oracle\"}\n"
		      "{\"program\": \"runner_sample\", \"test\": \"table, 1 rows, 3 columns\", "
		      "\"status\": \"ok\", \"why\": \"\"}\n"
		      "{\"program\": \"runner_sample\", \"test\": \"data_is_found\", "
		      "\"status\": \"ok\", \"why\": \"\"}\n"
		      "{\"program\": \"runner_sample_lacking\", \"test\": \"one_and_one_is_two\", "
		      "\"status\": \"skip\", \"why\": \"no device\"}\n") == 0,
		"found %s", lines);
}

TEST(data_is_looked_for_above_the_program_wherever_it_is_called_from)
{
	char command[4096], expected[1024];

	/* The copy's own data is nearer than anything above. */
	snprintf(command, sizeof command, "mkdir -p '%s/kit/bin' && cp '%s' '%s/kit/bin/sample'",
		test_scratch_folder(), RUNNER_SAMPLE, test_scratch_folder());
	REQUIRE(shell(command) == 0, "%s", command);
	snprintf(command, sizeof command, "cd / && '%s/kit/bin/sample' data 2>&1",
		test_scratch_folder());
	CHECK(shell(command) == 1, "expected status 1 where there is no data: %s", out);
	snprintf(expected, sizeof expected,
		"%s/kit/bin/sample: expected tests/golden, the tests' data, in a folder above this program, "
		"found none\n",
		test_scratch_folder());
	CHECK(strcmp(out, expected) == 0, "expected \"%s\", found \"%s\"", expected, out);
	snprintf(command, sizeof command,
		"mkdir -p '%s/kit/tests/golden' && cd / && '%s/kit/bin/sample' data 2>&1",
		test_scratch_folder(), test_scratch_folder());
	CHECK(shell(command) == 0, "expected status 0: %s", out);
	snprintf(expected, sizeof expected, "root %s/kit\n", test_scratch_folder());
	CHECK(strstr(out, expected), "expected \"%s\", found \"%s\"", expected, out);
}
