/* SPDX-License-Identifier: MIT
 *
 * test.h - tests that read as specifications. A test's name is a sentence that is false when the
 * code is wrong:
 *
 *	TEST(clamping_a_feature_to_its_own_value_leaves_the_residual_unchanged)
 *	{
 *		...
 *		CHECK(worst < 1e-6, "worst difference %g", worst);
 *	}
 *
 * A failed CHECK is reported and the test goes on; REQUIRE ends the test. A binary exits 1 when
 * anything failed, 77 when every test in it was skipped (each prints why), 2 for arguments that it
 * cannot follow, else 0.
 *
 *	test_x [--list] [--json FILE] [PART | --exact NAME]...
 *
 * runs the tests whose names hold one of the parts or are one of the names; all when there is
 * neither. A part or name of no test is an error. A program over a table of ops has as well
 *
 *	test_ops [--op OP] [--device DEVICE]
 *
 * for the rows of one op, on one of the devices that the program knows; an op or a device that
 * there is not is an error that says which there are. --list prints the names, one a line, and runs
 * nothing. --json appends a line to FILE as each test ends, so that a program cut off leaves what
 * it had: {"program": "test_x", "test": NAME, "status": "ok", "fail" or "skip", "seconds": 1.234,
 * "why": first failure or reason of the skip}.
 *
 * Tests of the runner itself: test_runner.c.
 */
#ifndef SAENGINE_TEST_H
#define SAENGINE_TEST_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
	const char *name;
	void (*run)(const void *context);
	const void *context;
	const char *op; /* for --op; NULL: no row of a table of ops */
	struct test *next;
};

/* Runs the registered tests; returns the exit status. `lacks` is what all of them need and this
 * machine has not, so that they are skipped; NULL for nothing. */
int test_run_all(int argc, char **argv, const char *lacks);

/* Before main, from a constructor. The test is borrowed for good. */
void test_register(struct test *test);

/* The same for a row of a table, which `run` gets as its context; the name is made here. `op` is
 * what the row is of, borrowed for good; NULL for no op. */
void test_register_row(void (*run)(const void *row), const void *row, const char *op,
	const char *name_format, ...) __attribute__((format(printf, 4, 5)));

/* Before main: the names that --device may have, ended by NULL, borrowed for good. */
void test_register_devices(const char *const *names);

/* The one of them that rows of ops are to run on; NULL: none was asked for. */
const char *test_device(void);

void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* How many checks of the running test have failed. */
size_t test_failed_checks(void);
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define TEST(test_name) \
	static void test_name(const void *no_context); \
	static struct test test_##test_name = {#test_name, test_name, NULL, NULL, NULL}; \
	__attribute__((constructor)) static void register_##test_name(void) \
	{ \
		test_register(&test_##test_name); \
	} \
	static void test_name(__attribute__((unused)) const void *no_context)

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) \
			test_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

#define REQUIRE(condition, ...) \
	do { \
		if (!(condition)) { \
			test_fail(__FILE__, __LINE__, __VA_ARGS__); \
			return; \
		} \
	} while (0)

/* For calls that must succeed: reports the error's own text. */
#define REQUIRE_OK(call, err) REQUIRE((call) == 0, "%s: %s", #call, (err)->text)

#define SKIP(...) \
	do { \
		test_skip(__VA_ARGS__); \
		return; \
	} while (0)

/* Runs a shell command; its exit status, -1 when a signal ended it. What it printed is in out. */
int test_shell(const char *command, char *out, size_t size);

/* Leaves this process so many bytes of address space beside what it has; SIZE_MAX: all, as before.
 * Sanitizers, which take terabytes of it, end the program for want of more. */
void test_limit_space(size_t left);

/* Repeatable random numbers: the sequence depends on the seed alone, on every machine. */
struct test_random {
	uint64_t state;
};
double test_random_uniform(struct test_random *random); /* [-1, 1) */
size_t test_random_below(struct test_random *random, size_t n);

/* The nearest folder above the running program that holds tests/golden: the repository of a build
 * folder within it, or the folder that programs and their data were copied to together. */
const char *test_source_root(void);

/* A fresh empty folder, removed when the process ends. */
const char *test_scratch_folder(void);

/* The path of a file there, in static storage that the fourth call after reuses. */
const char *in_scratch(const char *name);

#endif
