/* SPDX-License-Identifier: MIT
 *
 * test.c - the runner behind test.h. Tests: test_runner.c.
 */
#include "tests/test.h"

#include "host/base/clock.h"
#include "host/base/random.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USAGE = 2, SKIPPED = 77 };

static struct test *tests;
static const struct test *running;
static int failures, skips, passes;
static size_t n_failed;
static bool skipped;
static char why[1024]; /* the first failure of the running test, or why it was skipped */

void test_register(struct test *test)
{
	struct test **end = &tests;

	while (*end)
		end = &(*end)->next;
	*end = test;
}

void test_register_row(void (*run)(const void *row), const void *row, const char *op,
	const char *name_format, ...)
{
	struct test *test = calloc(1, sizeof *test);
	char *name = NULL;
	va_list args;

	va_start(args, name_format);
	if (!test || vasprintf(&name, name_format, args) < 0) {
		perror("test_register_row");
		exit(1);
	}
	va_end(args);
	*test = (struct test){name, run, row, op, NULL};
	test_register(test);
}

static const char *const *devices; /* NULL: rows of this program have none */
static const char *device;

void test_register_devices(const char *const *names)
{
	devices = names;
}

const char *test_device(void)
{
	return device;
}

void test_fail(const char *file, int line, const char *format, ...)
{
	const char *slash = strrchr(file, '/');
	va_list args;
	int n;

	if (n_failed == 0) {
		printf("FAIL %s\n", running->name);
		n = snprintf(why, sizeof why, "%s:%d: ", slash ? slash + 1 : file, line);
		va_start(args, format);
		vsnprintf(why + n, sizeof why - (size_t)n, format, args);
		va_end(args);
	}
	n_failed++;
	printf("  %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

size_t test_failed_checks(void)
{
	return n_failed;
}

void test_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (n_failed == 0)
		vsnprintf(why, sizeof why, format, args);
	va_end(args);
	skipped = true;
	printf("skip %s: ", running->name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

int test_shell(const char *command, char *out, size_t size)
{
	FILE *pipe;
	size_t n;
	int status;

	fflush(stdout);
	pipe = popen(command, "r");
	if (!pipe)
		return -1;
	n = fread(out, 1, size - 1, pipe);
	out[n] = '\0';
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void test_limit_space(size_t left)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	struct rlimit limit;
	unsigned long long pages;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (left < SIZE_MAX && statm && fscanf(statm, "%llu", &pages) == 1)
		limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + left;
	if (statm)
		fclose(statm);
	setrlimit(RLIMIT_AS, &limit);
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
	static char root[PATH_MAX];
	char program[PATH_MAX], golden[PATH_MAX + 16];
	const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	struct stat st;

	if (root[0])
		return root;
	if (n < 0) {
		perror("/proc/self/exe");
		exit(1);
	}
	program[n] = '\0';
	strcpy(root, program);
	for (char *slash; (slash = strrchr(root, '/'));) {
		*slash = '\0';
		snprintf(golden, sizeof golden, "%s/tests/golden", root);
		if (stat(golden, &st) == 0 && S_ISDIR(st.st_mode))
			return root;
	}
	fprintf(stderr,
		"%s: expected tests/golden, the tests' data, in a folder above this program, "
		"found none\n",
		program);
	exit(1);
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

struct arguments {
	bool list;
	FILE *json;     /* NULL for none */
	const char *op; /* NULL for all */
	struct choice {
		const char *text;
		bool exact;
	} * choices; /* n; none chooses all */
	size_t n;
};

static bool matches(const struct choice *choice, const struct test *test)
{
	return choice->exact ? strcmp(test->name, choice->text) == 0
			     : strstr(test->name, choice->text) != NULL;
}

static bool of_op(const struct arguments *arguments, const struct test *test)
{
	if (arguments->op)
		return test->op && strcmp(test->op, arguments->op) == 0;
	return test->op || !device;
}

static bool wanted(const struct arguments *arguments, const struct test *test)
{
	if (!of_op(arguments, test))
		return false;
	for (size_t i = 0; i < arguments->n; i++)
		if (matches(&arguments->choices[i], test))
			return true;
	return arguments->n == 0;
}

/* Where an option's value goes; NULL: it has none of these. */
static const char **value_of(struct arguments *arguments, const char **json, const char *option)
{
	if (strcmp(option, "--json") == 0)
		return json;
	if (strcmp(option, "--op") == 0)
		return &arguments->op;
	if (strcmp(option, "--device") == 0)
		return &device;
	if (strcmp(option, "--exact") == 0) {
		arguments->choices[arguments->n].exact = true;
		return &arguments->choices[arguments->n++].text;
	}
	return NULL;
}

/* Whether every argument means something; says which does not. */
static bool read_arguments(struct arguments *arguments, int argc, char **argv)
{
	const char *json = NULL;

	for (int i = 1; i < argc; i++) {
		const char **value;

		if (strcmp(argv[i], "--list") == 0) {
			arguments->list = true;
		} else if (strncmp(argv[i], "--", 2) != 0) {
			arguments->choices[arguments->n++].text = argv[i];
		} else if ((value = value_of(arguments, &json, argv[i])) && i + 1 < argc) {
			*value = argv[++i];
		} else {
			fprintf(stderr,
				"%s: expected [--list] [--json FILE] [--op OP] [--device DEVICE] "
				"[PART | --exact NAME]..., found %s%s\n",
				argv[0], argv[i], value ? " at the end" : "");
			return false;
		}
	}
	if (json && !(arguments->json = fopen(json, "a")))
		fprintf(stderr, "%s: --json %s: %s\n", argv[0], json, strerror(errno));
	return !json || arguments->json;
}

static const struct test *first_of(const char *op)
{
	const struct test *test = tests;

	while (test && !(test->op && strcmp(test->op, op) == 0))
		test = test->next;
	return test;
}

/* Whether a test has the op; says which ops there are. */
static bool op_found(const char *op, const char *program)
{
	if (first_of(op))
		return true;
	fprintf(stderr, "%s: expected --op, one of:", program);
	for (const struct test *test = tests; test; test = test->next)
		if (test->op && first_of(test->op) == test)
			fprintf(stderr, " %s", test->op);
	fprintf(stderr, ", found \"%s\"\n", op);
	return false;
}

static bool device_found(const char *program)
{
	for (const char *const *name = devices; name && *name; name++)
		if (strcmp(*name, device) == 0)
			return true;
	fprintf(stderr, "%s: expected --device, one of:", program);
	for (const char *const *name = devices; name && *name; name++)
		fprintf(stderr, " %s", *name);
	fprintf(stderr, ", found \"%s\"\n", device);
	return false;
}

/* Whether the op and the device are there and each choice has a test; says which has none. */
static bool all_found(const struct arguments *arguments, const char *program)
{
	bool all = true;

	if ((arguments->op && !op_found(arguments->op, program)) ||
		(device && !device_found(program)))
		return false;
	for (size_t i = 0; i < arguments->n; i++) {
		const struct choice *choice = &arguments->choices[i];
		const struct test *test = tests;

		while (test && !(matches(choice, test) && of_op(arguments, test)))
			test = test->next;
		if (!test)
			fprintf(stderr,
				"%s: expected %s of a test (--list prints them), found \"%s\"\n",
				program, choice->exact ? "the name" : "a part of the name",
				choice->text);
		all = all && test;
	}
	return all;
}

/* Names stand for their tests: a second one of a name could not be asked for. */
static bool names_differ(const char *program)
{
	for (const struct test *a = tests; a; a = a->next)
		for (const struct test *b = a->next; b; b = b->next)
			if (strcmp(a->name, b->name) == 0) {
				fprintf(stderr, "%s: two tests are named %s\n", program, a->name);
				return false;
			}
	return true;
}

/* Quoted, in ASCII: what else is in it becomes a question mark. */
static void print_json_text(FILE *to, const char *text)
{
	putc('"', to);
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c < 0x20)
			fprintf(to, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else
			putc(c < 0x7f ? c : '?', to);
	}
	putc('"', to);
}

static void print_json(FILE *to, const char *program, double seconds)
{
	const char *slash = strrchr(program, '/');

	fputs("{\"program\": ", to);
	print_json_text(to, slash ? slash + 1 : program);
	fputs(", \"test\": ", to);
	print_json_text(to, running->name);
	fprintf(to, ", \"status\": \"%s\", \"seconds\": %.3f, \"why\": ",
		n_failed  ? "fail"
		: skipped ? "skip"
			  : "ok",
		seconds);
	print_json_text(to, why);
	fputs("}\n", to);
	fflush(to); /* now, whole: the next test may take the process with it */
}

static void run_test(const char *lacks)
{
	n_failed = 0;
	skipped = false;
	why[0] = '\0';
	if (lacks) {
		skipped = true;
		snprintf(why, sizeof why, "%s", lacks);
	} else {
		running->run(running->context);
	}
	failures += n_failed > 0;
	skips += n_failed == 0 && skipped;
	passes += n_failed == 0 && !skipped;
	if (n_failed == 0 && !skipped)
		printf("ok   %s\n", running->name);
}

static int run_chosen(const struct arguments *arguments, const char *program, const char *lacks)
{
	if (lacks)
		printf("skip all: %s\n", lacks);
	for (running = tests; running; running = running->next) {
		const double start = clock_seconds();

		if (!wanted(arguments, running))
			continue;
		run_test(lacks);
		if (arguments->json)
			print_json(arguments->json, program, clock_seconds() - start);
	}
	printf("%d passed, %d failed, %d skipped\n", passes, failures, skips);
	if (failures)
		return 1;
	return passes == 0 && skips > 0 ? SKIPPED : 0;
}

int test_run_all(int argc, char **argv, const char *lacks)
{
	struct arguments arguments = {.choices = calloc((size_t)argc, sizeof(struct choice))};
	int status = USAGE;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (arguments.choices && read_arguments(&arguments, argc, argv) && names_differ(argv[0]) &&
		all_found(&arguments, argv[0])) {
		for (const struct test *test = tests; arguments.list && test; test = test->next)
			if (wanted(&arguments, test))
				puts(test->name);
		status = arguments.list ? 0 : run_chosen(&arguments, argv[0], lacks);
	}
	if (arguments.json)
		fclose(arguments.json);
	free(arguments.choices);
	return status;
}
