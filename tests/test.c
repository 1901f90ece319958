/* SPDX-License-Identifier: MIT
 *
 * test.c - the runner behind test.h.
 */
#include "tests/test.h"

#include "host/base/random.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test *tests;
static const struct test *running;
static int failures, skips, passes;
static bool failed, skipped;

void test_register(struct test *test)
{
	struct test **end = &tests;

	while (*end)
		end = &(*end)->next;
	*end = test;
}

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	if (!failed)
		printf("FAIL %s\n", running->name);
	failed = true;
	printf("  %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void test_skip(const char *format, ...)
{
	va_list args;

	skipped = true;
	printf("skip %s: ", running->name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

double test_random_uniform(struct test_random *random)
{
	return (double)(random_next(&random->state) >> 11) * 0x1p-52 - 1;
}

size_t test_random_below(struct test_random *random, size_t n)
{
	return random_below(&random->state, n);
}

const char *test_source_root(void)
{
	return SAENGINE_SOURCE_ROOT;
}

static char scratch[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void remove_scratch(void)
{
	nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_scratch_folder(void)
{
	if (!scratch[0]) {
		strcpy(scratch, "/tmp/saengine-test-XXXXXX");
		if (!mkdtemp(scratch)) {
			perror(scratch);
			exit(1);
		}
		atexit(remove_scratch);
	}
	return scratch;
}

const char *in_scratch(const char *name)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", test_scratch_folder(), name);
	return path;
}

static bool wanted(const struct test *test, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(test->name, argv[i]))
			return true;
	return argc == 1;
}

int test_run_all(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (running = tests; running; running = running->next) {
		if (!wanted(running, argc, argv))
			continue;
		failed = skipped = false;
		running->run();
		failures += failed;
		skips += !failed && skipped;
		passes += !failed && !skipped;
		if (!failed && !skipped)
			printf("ok   %s\n", running->name);
	}
	printf("%d passed, %d failed, %d skipped\n", passes, failures, skips);
	if (failures)
		return 1;
	return passes == 0 && skips > 0 ? 77 : 0;
}
