/* SPDX-License-Identifier: MIT
 *
 * compare_results.c - two result files of one config, run on different devices.
 *
 *	compare_results CPU.h5 GPU.h5               float32 products on both
 *	compare_results CPU.h5 GPU.h5 --rounded     the second rounds products to bfloat16
 *	compare_results A.h5 B.h5 --same            every bit, /provenance apart
 *	compare_results ... --json FILE             the table as lines of JSON too
 *
 * Rounding of any kind turns near-ties over: features of almost equal effect change places, a reply
 * may part at a token where two were equally likely. What is compared, and how near it must be:
 * result_lines.c.
 *
 * Prints a table of what both files have. Exits with 1 when a line is outside its limit, 2 for
 * usage, 3 for files that cannot be read or do not fit together, 5 when FILE cannot be written.
 * Datasets: results/README.md.
 * Tests: test_compare_results.c.
 */
#include "host/base/err.h"
#include "tests/result_differences.h"
#include "tests/result_measures.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { OUTSIDE = 1 };

static const struct line different = {"datasets that differ", false, 0, 0};

struct table {
	const char *comparison; /* "exact", "rounded", "same" */
	FILE *json;             /* NULL for none */
	int n_outside;
};

/* Nothing that is measured is infinite; NaN is null in JSON. */
static void print_line(struct table *t, const struct line *line, double value)
{
	const double limit = strcmp(t->comparison, "rounded") == 0 ? line->rounded : line->exact;
	const bool fits = line->at_least ? value >= limit : value <= limit;
	char number[32] = "null";

	t->n_outside += !fits;
	printf("  %-58s %10.3g   %s %g%s\n", line->name, value,
		line->at_least ? "at least" : "at most ", limit, fits ? "" : "   OUTSIDE");
	if (!t->json)
		return;
	if (isfinite(value))
		snprintf(number, sizeof number, "%.9g", value);
	fprintf(t->json,
		"{\"comparison\": \"%s\", \"name\": \"%s\", \"value\": %s, \"bound\": \"%s\", "
		"\"limit\": %g, \"ok\": %s}\n",
		t->comparison, line->name, number, line->at_least ? "at least" : "at most", limit,
		fits ? "true" : "false");
}

static int n_different;

static void print_difference(const char *what)
{
	printf("  %s\n", what);
	n_different++;
}

/* The files are open. */
static int compare_files(struct comparison *c, struct table *t, struct err *err)
{
	static const char *const paths[][2] = {{"exact", "float32 products on both"},
		{"rounded", "the second rounds products to bfloat16"}, {"same", "every bit"}};

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		if (strcmp(t->comparison, paths[i][0]) == 0)
			printf("%s (%s): %s, %s\n", paths[i][0], paths[i][1], c->files.path[0],
				c->files.path[1]);
	if (strcmp(t->comparison, "same") == 0) {
		if (result_differences(c->files.file[0], c->files.file[1], print_difference) == 0)
			return err_set(err, ERR_INPUT, "%s: expected datasets, found none",
				c->files.path[0]);
		print_line(t, &different, n_different);
		return 0;
	}
	c->rounded = strcmp(t->comparison, "rounded") == 0;
	if (measure_values(c, err) || measure_scores(c, err))
		return err->code;
	for (int i = 0; i < N_LINES; i++)
		if (c->measured[i].known)
			print_line(t, &result_lines[i], c->measured[i].value);
	if (c->n_other > 0)
		printf("  not compared: %d conditions that clamp other features in the second file\n",
			c->n_other);
	return 0;
}

/* Whether the arguments make sense. */
static bool read_arguments(int argc, char **argv, struct comparison *c, struct table *t,
	const char **json)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
			*json = argv[++i];
		else if (strcmp(argv[i], "--rounded") == 0 || strcmp(argv[i], "--same") == 0)
			t->comparison = argv[i] + 2;
		else if (argv[i][0] != '-' && n < 2)
			c->files.path[n++] = argv[i];
		else
			return false;
	}
	return n == 2;
}

int main(int argc, char **argv)
{
	struct comparison c = {.files.file = {-1, -1}};
	struct table t = {.comparison = "exact"};
	const char *json = NULL;
	struct err err = {0};

	if (!read_arguments(argc, argv, &c, &t, &json)) {
		fprintf(stderr,
			"usage: compare_results A.h5 B.h5 [--rounded | --same] [--json FILE]\n");
		return ERR_CONFIG;
	}
	if (json && !(t.json = fopen(json, "w")))
		err_set(&err, ERR_OUTPUT, "%s: %s", json, strerror(errno));
	if (err.code == 0 && result_files_open(&c.files, &err) == 0)
		compare_files(&c, &t, &err);
	result_files_close(&c.files);
	if (t.json && fclose(t.json) != 0 && err.code == 0)
		err_set(&err, ERR_OUTPUT, "%s: %s", json, strerror(errno));
	if (err.code)
		fprintf(stderr, "compare_results: %s\n", err.text);
	return err.code ? err.code : t.n_outside > 0 ? OUTSIDE : 0;
}
