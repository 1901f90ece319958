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
 * may part at a token where two were equally likely. So what is compared is what the method says:
 * the directions, metrics and effects by size; the chosen features by overlap; refusal by rate.
 * Effects are compared for prompts whose patched run ends in another token than the refusal: for
 * the others the metric is zero by definition. Sums run in double precision.
 *
 * Prints a table of what both files have. Exits with 1 when a line is outside its limit, 2 for
 * usage, 3 for files that cannot be read or do not fit together, 5 when FILE cannot be written.
 * Datasets: results/README.md.
 * Tests: test_compare_results.c.
 */
#include "host/base/err.h"
#include "tests/result_differences.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

enum { OUTSIDE = 1 };

/* What is measured, and the most (or, for shares, the least) that is allowed of it. */
enum {
	DIRECTION,
	METRIC,
	EFFECTS,
	SAVED_RESID,
	SAVED_GRADIENTS,
	FEATURES,
	REFUSAL,
	P_REFUSAL,
	REPLIES,
	N_LINES
};
static const struct line {
	const char *name;
	bool at_least;
	double exact, rounded;
} lines[N_LINES] = {
	[DIRECTION] = {"direction: worst 1 - cosine", false, 1e-6, 2e-4},
	[METRIC] = {"metric: worst difference, of the largest", false, 1e-4, 2e-2},
	[EFFECTS] = {"effects per prompt: worst correlation", true, 0.999, 0.99},
	[SAVED_RESID] = {"saved resid_post: worst 1 - cosine", false, 1e-6, 2e-4},
	[SAVED_GRADIENTS] = {"saved gradients: worst 1 - cosine of a layer", false, 1e-5, 1e-3},
	[FEATURES] = {"global features: least overlap", true, 0.9, 0.75},
	[REFUSAL] = {"refusal rates: worst difference", false, 0.05, 0.15},
	[P_REFUSAL] = {"P(refusal): worst difference of means", false, 0.001, 0.02},
	[REPLIES] = {"unedited replies: share of equal ones", true, 0.95, 0.6},
};
static const struct line different = {"datasets that differ", false, 0, 0};

struct comparison {
	const char *path[2];
	hid_t file[2];
	struct {
		bool known;
		double value; /* the worst so far */
	} measured[N_LINES];
};

/* NaN is worse than any number. */
static void measure(struct comparison *c, int line, double value)
{
	const double worst = c->measured[line].value;

	if (!c->measured[line].known || isnan(value) ||
		(lines[line].at_least ? value < worst : value > worst))
		c->measured[line].value = value;
	c->measured[line].known = true;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A dataset as doubles: exact for every type that results have. */
struct values {
	double *data; /* owned */
	size_t n;
	int n_dims;
	hsize_t dims[H5S_MAX_RANK];
};

static int read_values(const struct comparison *c, int which, const char *path, struct values *v,
	struct err *err)
{
	const hid_t dataset = H5Dopen2(c->file[which], path, H5P_DEFAULT);
	const hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
	herr_t status = -1;

	if (dataset < 0)
		return err_set(err, ERR_INPUT, "%s: expected a dataset %s, found none",
			c->path[which], path);
	v->n = (size_t)H5Sget_simple_extent_npoints(space);
	v->n_dims = H5Sget_simple_extent_dims(space, v->dims, NULL);
	v->data = malloc((v->n + 1) * sizeof *v->data);
	if (v->data)
		status = v->n == 0 ? 0
				   : H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL,
					     H5P_DEFAULT, v->data);
	H5Sclose(space);
	H5Dclose(dataset);
	return status >= 0
		       ? 0
		       : err_set(err, ERR_INPUT, "%s: %s: expected %zu numbers that can be read",
				 c->path[which], path, v->n);
}

struct pair {
	struct values a, b;
};

static void free_pair(struct pair *p)
{
	free(p->a.data);
	free(p->b.data);
}

/* Of any lengths. On an error the pair is empty. */
static int read_pair(const struct comparison *c, const char *path, struct pair *p, struct err *err)
{
	*p = (struct pair){0};
	if (read_values(c, 0, path, &p->a, err) == 0 && read_values(c, 1, path, &p->b, err) == 0)
		return 0;
	free_pair(p);
	*p = (struct pair){0};
	return err->code;
}

/* Of one shape of n_dims dimensions. */
static int read_alike(const struct comparison *c, const char *path, int n_dims, struct pair *p,
	struct err *err)
{
	if (read_pair(c, path, p, err))
		return err->code;
	if (p->a.n_dims == n_dims && p->b.n_dims == n_dims &&
		memcmp(p->a.dims, p->b.dims, (size_t)n_dims * sizeof *p->a.dims) == 0)
		return 0;
	err_set(err, ERR_INPUT,
		"%s: expected %d dimensions of the same lengths in %s and %s, found %zu "
		"and %zu values",
		path, n_dims, c->path[0], c->path[1], p->a.n, p->b.n);
	free_pair(p);
	*p = (struct pair){0};
	return err->code;
}

/* Every group on the way must exist before the next is asked for. */
static bool has(const struct comparison *c, const char *path)
{
	char part[512];

	for (const char *end = path; end;) {
		end = strchr(end + 1, '/');
		snprintf(part, sizeof part, "%.*s", end ? (int)(end - path) : (int)strlen(path),
			path);
		if (H5Lexists(c->file[0], part, H5P_DEFAULT) <= 0)
			return false;
	}
	return true;
}

/* The path of the i-th member of a group of the first file; false behind the last. */
static bool member(const struct comparison *c, const char *group, hsize_t i, char path[512])
{
	char name[256];

	if (!has(c, group) || H5Lget_name_by_idx(c->file[0], group, H5_INDEX_NAME, H5_ITER_INC, i,
				      name, sizeof name, H5P_DEFAULT) < 0)
		return false;
	snprintf(path, 512, "%s/%s", group, name);
	return true;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static double cosine(const double *a, const double *b, size_t n)
{
	double ab = 0, aa = 0, bb = 0;

	for (size_t i = 0; i < n; i++) {
		ab += a[i] * b[i];
		aa += a[i] * a[i];
		bb += b[i] * b[i];
	}
	return ab / sqrt(aa) / sqrt(bb);
}

static double mean(const struct values *v)
{
	double sum = 0;

	for (size_t i = 0; i < v->n; i++)
		sum += v->data[i];
	return sum / (double)v->n;
}

/* `line` is 1 - cosine of each row of `cols` values. */
static void measure_rows(struct comparison *c, int line, const struct pair *p, size_t cols)
{
	for (size_t i = 0; i + cols <= p->a.n && cols > 0; i += cols)
		measure(c, line, 1 - cosine(p->a.data + i, p->b.data + i, cols));
}

static int compare_direction(struct comparison *c, struct err *err)
{
	struct pair v;

	if (read_alike(c, "/direction/v", 3, &v, err))
		return err->code;
	measure_rows(c, DIRECTION, &v, (size_t)v.a.dims[2]);
	free_pair(&v);
	return 0;
}

/* Effects per prompt, where there are any of a size that rounding leaves alone. */
static void measure_effects(struct comparison *c, const struct pair *effects, size_t prompt)
{
	const size_t n = (size_t)effects->a.dims[1];
	const double *a = effects->a.data + prompt * n, *b = effects->b.data + prompt * n;

	for (size_t i = 0; i < n; i++)
		if (fabs(a[i]) > 1e-4) {
			measure(c, EFFECTS, cosine(a, b, n));
			return;
		}
}

static int compare_effects(struct comparison *c, struct err *err)
{
	struct pair metric = {0}, target = {0}, effects = {0};
	double largest = 0;

	err_clear(err);
	if (!has(c, "/indirect_effect/cossim_ap"))
		return 0;
	TRY(read_alike(c, "/indirect_effect/cossim_ap/metric_patched", 1, &metric, err));
	TRY(read_alike(c, "/indirect_effect/cossim_ap/target", 1, &target, err));
	TRY(read_alike(c, "/indirect_effect/cossim_ap/per_prompt", 2, &effects, err));
	if (target.a.n != metric.a.n || effects.a.dims[0] != metric.a.n) {
		err_set(err, ERR_INPUT,
			"%s: /indirect_effect/cossim_ap: expected as many targets and "
			"effects as metrics (%zu), found %zu and %zu",
			c->path[0], metric.a.n, target.a.n, (size_t)effects.a.dims[0]);
		goto fail;
	}
	for (size_t i = 0; i < metric.a.n; i++)
		largest = fmax(largest, fabs(metric.a.data[i]));
	for (size_t i = 0; i < metric.a.n; i++) {
		if (target.a.data[i] != target.b.data[i] || metric.a.data[i] == 0)
			continue;
		measure(c, METRIC, fabs(metric.a.data[i] - metric.b.data[i]) / largest);
		measure_effects(c, &effects, i);
	}
fail:
	free_pair(&metric);
	free_pair(&target);
	free_pair(&effects);
	return err->code;
}

/* Activations token by token; gradients layer by layer: those of tokens that hardly matter are
 * rounding alone. */
static int compare_saved(struct comparison *c, const char *group, int line, struct err *err)
{
	char path[512];
	struct pair saved;

	for (hsize_t i = 0; member(c, group, i, path); i++) {
		if (!strstr(path, "blocks"))
			continue;
		if (read_alike(c, path, 2, &saved, err))
			return err->code;
		measure_rows(c, line, &saved,
			line == SAVED_GRADIENTS ? saved.a.n : (size_t)saved.a.dims[1]);
		free_pair(&saved);
	}
	return 0;
}

/* How many of the first set's features the second has. */
static size_t n_common(const struct pair *layer, const struct pair *feature)
{
	size_t n = 0;

	for (size_t i = 0; i < layer->a.n; i++) {
		size_t j = 0;

		while (j < layer->b.n && (layer->a.data[i] != layer->b.data[j] ||
						 feature->a.data[i] != feature->b.data[j]))
			j++;
		n += j < layer->b.n;
	}
	return n;
}

static int compare_set(struct comparison *c, const char *method, struct err *err)
{
	char path[600];
	struct pair layer = {0}, feature = {0};

	err_clear(err);
	snprintf(path, sizeof path, "%s/global/layer", method);
	if (!has(c, path))
		return 0;
	TRY(read_pair(c, path, &layer, err));
	snprintf(path, sizeof path, "%s/global/feature", method);
	TRY(read_pair(c, path, &feature, err));
	if (layer.a.n != feature.a.n || layer.b.n != feature.b.n) {
		err_set(err, ERR_INPUT,
			"%s: expected a layer of each of %zu and %zu features, found %zu "
			"and %zu",
			path, feature.a.n, feature.b.n, layer.a.n, layer.b.n);
		goto fail;
	}
	measure(c, FEATURES, (double)n_common(&layer, &feature) / (double)layer.a.n);
fail:
	free_pair(&layer);
	free_pair(&feature);
	return err->code;
}

static int compare_sets(struct comparison *c, struct err *err)
{
	char method[512];

	for (hsize_t i = 0; member(c, "/feature_sets", i, method); i++)
		if (strcmp(method, "/feature_sets/random") != 0 && compare_set(c, method, err))
			return err->code;
	return 0;
}

static int compare_means(struct comparison *c, const char *condition, const char *name, int line,
	struct err *err)
{
	char path[600];
	struct pair score;

	snprintf(path, sizeof path, "%s/%s", condition, name);
	if (!has(c, path))
		return 0;
	if (read_alike(c, path, 1, &score, err))
		return err->code;
	measure(c, line, fabs(mean(&score.a) - mean(&score.b)));
	free_pair(&score);
	return 0;
}

static int compare_scores(struct comparison *c, struct err *err)
{
	char experiment[512], condition[512];

	for (hsize_t i = 0; member(c, "/scores", i, experiment); i++)
		for (hsize_t j = 0; member(c, experiment, j, condition); j++) {
			if (strstr(condition, "_local"))
				continue; /* ranked by effects that are zero where ablation changes
					     nothing */
			if (compare_means(c, condition, "refusal", REFUSAL, err) ||
				compare_means(c, condition, "p_refusal", P_REFUSAL, err))
				return err->code;
		}
	return 0;
}

/* Reply i of the ids of all replies. */
static const double *reply(const struct values *ids, const struct values *ends, size_t i, size_t *n)
{
	const size_t start = i > 0 ? (size_t)ends->data[i - 1] : 0;

	*n = (size_t)ends->data[i] - start;
	return ids->data + start;
}

static bool ends_fit(const struct values *ids, const struct values *ends)
{
	double before = 0;

	for (size_t i = 0; i < ends->n; i++) {
		if (!(ends->data[i] >= before && ends->data[i] <= (double)ids->n))
			return false;
		before = ends->data[i];
	}
	return true;
}

/* Adds to the counts of replies, and of those that are the same in both files. */
static int compare_unedited(const struct comparison *c, const char *experiment, size_t *n_replies,
	size_t *n_equal, struct err *err)
{
	char path[600];
	struct pair ids = {0}, ends = {0};

	err_clear(err);
	snprintf(path, sizeof path, "%s/none/token_ids", experiment);
	if (!has(c, path))
		return 0;
	TRY(read_pair(c, path, &ids, err));
	snprintf(path, sizeof path, "%s/none/token_end", experiment);
	TRY(read_alike(c, path, 1, &ends, err));
	if (!ends_fit(&ids.a, &ends.a) || !ends_fit(&ids.b, &ends.b)) {
		err_set(err, ERR_INPUT,
			"%s: expected ascending ends of at most %zu and %zu token ids", path,
			ids.a.n, ids.b.n);
		goto fail;
	}
	for (size_t i = 0; i < ends.a.n; i++) {
		size_t n_a, n_b;
		const double *a = reply(&ids.a, &ends.a, i, &n_a),
			     *b = reply(&ids.b, &ends.b, i, &n_b);

		*n_equal += n_a == n_b && memcmp(a, b, n_a * sizeof *a) == 0;
	}
	*n_replies += ends.a.n;
fail:
	free_pair(&ids);
	free_pair(&ends);
	return err->code;
}

static int compare_replies(struct comparison *c, struct err *err)
{
	char experiment[512];
	size_t n = 0, n_equal = 0;

	for (hsize_t i = 0; member(c, "/generations", i, experiment); i++)
		if (compare_unedited(c, experiment, &n, &n_equal, err))
			return err->code;
	if (n > 0)
		measure(c, REPLIES, (double)n_equal / (double)n);
	return 0;
}

static int compare(struct comparison *c, struct err *err)
{
	TRY(compare_direction(c, err));
	TRY(compare_effects(c, err));
	TRY(compare_saved(c, "/activations", SAVED_RESID, err));
	TRY(compare_saved(c, "/gradients", SAVED_GRADIENTS, err));
	TRY(compare_sets(c, err));
	TRY(compare_scores(c, err));
	TRY(compare_replies(c, err));
	return 0;
fail:
	return err->code;
}

/* ---- the table ------------------------------------------------------------------------------ */

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
			printf("%s (%s): %s, %s\n", paths[i][0], paths[i][1], c->path[0],
				c->path[1]);
	if (strcmp(t->comparison, "same") == 0) {
		if (result_differences(c->file[0], c->file[1], print_difference) == 0)
			return err_set(err, ERR_INPUT, "%s: expected datasets, found none",
				c->path[0]);
		print_line(t, &different, n_different);
		return 0;
	}
	if (compare(c, err))
		return err->code;
	for (int i = 0; i < N_LINES; i++)
		if (c->measured[i].known)
			print_line(t, &lines[i], c->measured[i].value);
	return 0;
}

static int open_files(struct comparison *c, struct err *err)
{
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		c->file[i] = H5Fopen(c->path[i], H5F_ACC_RDONLY, H5P_DEFAULT);
		if (c->file[i] < 0)
			return err_set(err, ERR_INPUT,
				"%s: expected a result file (HDF5) that can be read", c->path[i]);
	}
	return 0;
}

static void close_files(struct comparison *c)
{
	for (int i = 0; i < 2; i++)
		if (c->file[i] >= 0)
			H5Fclose(c->file[i]);
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
			c->path[n++] = argv[i];
		else
			return false;
	}
	return n == 2;
}

int main(int argc, char **argv)
{
	struct comparison c = {.file = {-1, -1}};
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
	if (err.code == 0 && open_files(&c, &err) == 0)
		compare_files(&c, &t, &err);
	close_files(&c);
	if (t.json && fclose(t.json) != 0 && err.code == 0)
		err_set(&err, ERR_OUTPUT, "%s: %s", json, strerror(errno));
	if (err.code)
		fprintf(stderr, "compare_results: %s\n", err.text);
	return err.code ? err.code : t.n_outside > 0 ? OUTSIDE : 0;
}
