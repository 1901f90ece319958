/* SPDX-License-Identifier: MIT
 *
 * runner_sample.c - a test program of every kind of test, for test_runner.c to run. Built a second
 * time as runner_sample_lacking, whose machine LACKS what all of them need.
 */
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>

#ifndef LACKS
#define LACKS NULL
#endif

TEST(one_and_one_is_two)
{
	CHECK(1 + 1 == 2, "expected 2");
}

TEST(one_and_one_is_three)
{
	/* test_runner.c knows this line by its number. */
	CHECK(1 + 1 == 3, "expected \"3\",\n  found %d", 1 + 1);
	CHECK(1 + 1 == 4, "and not 4");
}

TEST(nobody_can_tell)
{
	SKIP("no %s", "oracle");
}

/* A row of a table is a test. */
static const struct row {
	const char *op;
	int n, cols;
} rows[] = {{"sum", 1, 3}, {"product", 2, 3}};

static void check_row(const void *row)
{
	const struct row *r = row;

	printf("on %s\n", test_device() ? test_device() : "all devices");
	CHECK(r->cols == 3, "expected 3 columns, found %d", r->cols);
}

__attribute__((constructor)) static void register_rows(void)
{
	static const char *const devices[] = {"near", "far", NULL};

	test_register_devices(devices);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		test_register_row(check_row, &rows[i], rows[i].op, "table, %d rows, %d columns",
			rows[i].n, rows[i].cols);
}

TEST(data_is_found)
{
	printf("root %s\n", test_source_root());
}

TEST(the_machine_stops)
{
	raise(SIGKILL);
}

int main(int argc, char **argv)
{
	return test_run_all(argc, argv, LACKS);
}
