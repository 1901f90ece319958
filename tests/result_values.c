/* SPDX-License-Identifier: MIT
 *
 * result_values.c - directions, effects, activations and the features chosen by them. Contract:
 * result_measures.h. Tests: test_compare_results.c.
 */
#include "tests/result_measures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* |a - b| / |a| */
static double distance(const double *a, const double *b, size_t n)
{
	double dd = 0, aa = 0;

	for (size_t i = 0; i < n; i++) {
		dd += (a[i] - b[i]) * (a[i] - b[i]);
		aa += a[i] * a[i];
	}
	return sqrt(dd / aa);
}

/* `line` is 1 - cosine of each row of `cols` values. */
static void measure_rows(struct comparison *c, int line, const struct pair *p, size_t cols)
{
	for (size_t i = 0; i + cols <= p->a.n && cols > 0; i += cols)
		line_measure(c, line, 1 - cosine(p->a.data + i, p->b.data + i, cols));
}

static int compare_direction(struct comparison *c, struct err *err)
{
	struct pair v;

	if (pair_read_alike(&c->files, "/direction/v", 3, &v, err))
		return err->code;
	measure_rows(c, DIRECTION, &v, (size_t)v.a.dims[2]);
	pair_free(&v);
	return 0;
}

/* ---- effects -------------------------------------------------------------------------------- */

/* Of the candidates: per_prompt is [prompts, candidates]. */
struct effects {
	struct pair metric, target, layer, per_prompt;
	double *off; /* [prompts * candidates] of single effects, by their size */
};

/* Of a size that rounding leaves alone. */
static bool is_effect(double value)
{
	return fabs(value) > 1e-4;
}

static bool is_compared(const struct effects *e, size_t prompt)
{
	return e->target.a.data[prompt] == e->target.b.data[prompt] &&
	       e->metric.a.data[prompt] != 0;
}

static void measure_metric(struct comparison *c, const struct effects *e)
{
	const struct values *a = &e->metric.a, *b = &e->metric.b;
	double largest = 0;

	for (size_t i = 0; i < a->n; i++)
		largest = fmax(largest, fabs(a->data[i]));
	for (size_t i = 0; i < a->n; i++)
		if (is_compared(e, i))
			line_measure(c, METRIC, fabs(a->data[i] - b->data[i]) / largest);
}

static void measure_layer(struct comparison *c, const struct effects *e, double layer)
{
	const size_t n = e->layer.a.n;
	size_t n_off = 0;

	for (size_t i = 0; i < e->metric.a.n * n; i++) {
		const double a = e->per_prompt.a.data[i], b = e->per_prompt.b.data[i];

		if (e->layer.a.data[i % n] == layer && is_compared(e, i / n) && is_effect(a))
			e->off[n_off++] = fabs(b - a) / fabs(a);
	}
	if (n_off > 0)
		line_measure(c, EFFECTS, median(e->off, n_off));
}

static void measure_prompts(struct comparison *c, const struct effects *e)
{
	const size_t n = e->layer.a.n;
	size_t n_prompts = 0, n_near = 0;

	for (size_t i = 0; i < e->metric.a.n; i++) {
		const double *a = e->per_prompt.a.data + i * n, *b = e->per_prompt.b.data + i * n;
		bool any = false;

		for (size_t k = 0; k < n; k++)
			any = any || is_effect(a[k]);
		if (!any || !is_compared(e, i))
			continue;
		n_prompts++;
		n_near += distance(a, b, n) <= 0.1;
	}
	if (n_prompts > 0)
		line_measure(c, EFFECTS_NEAR, (double)n_near / (double)n_prompts);
}

static int compare_effects(struct comparison *c, struct err *err)
{
	const struct result_files *f = &c->files;
	struct effects e = {0};
	const hsize_t *dims = e.per_prompt.a.dims;
	double last = -1;
	size_t n;

	err_clear(err);
	if (!pair_exists(f, "/indirect_effect/cossim_ap"))
		return 0;
	TRY(pair_read_alike(f, "/indirect_effect/cossim_ap/metric_patched", 1, &e.metric, err));
	TRY(pair_read_alike(f, "/indirect_effect/cossim_ap/target", 1, &e.target, err));
	TRY(pair_read_alike(f, "/candidates/layer", 1, &e.layer, err));
	TRY(pair_read_alike(f, "/indirect_effect/cossim_ap/per_prompt", 2, &e.per_prompt, err));
	n = e.metric.a.n;
	if (e.target.a.n != n || dims[0] != n || dims[1] != e.layer.a.n) {
		err_set(err, ERR_INPUT,
			"%s: /indirect_effect/cossim_ap: expected %zu targets and effects of %zu "
			"prompts and %zu candidates, found %zu and %zu, %zu",
			f->path[0], n, n, e.layer.a.n, e.target.a.n, (size_t)dims[0],
			(size_t)dims[1]);
		goto fail;
	}
	e.off = malloc((e.per_prompt.a.n + 1) * sizeof *e.off);
	if (!e.off) {
		err_nomem(err, "differences of effects", e.per_prompt.a.n * sizeof *e.off);
		goto fail;
	}
	measure_metric(c, &e);
	measure_prompts(c, &e);
	for (size_t k = 0; k < e.layer.a.n; k++)
		last = fmax(last, e.layer.a.data[k]);
	for (double layer = 0; layer <= last; layer++)
		measure_layer(c, &e, layer);
fail:
	pair_free(&e.metric);
	pair_free(&e.target);
	pair_free(&e.layer);
	pair_free(&e.per_prompt);
	free(e.off);
	return err->code;
}

/* Activations token by token; gradients layer by layer: those of tokens that hardly matter are
 * rounding alone. */
static int compare_saved(struct comparison *c, const char *group, int line, struct err *err)
{
	char path[512];
	struct pair saved;

	for (hsize_t i = 0; pair_member(&c->files, group, i, path); i++) {
		if (!strstr(path, "blocks"))
			continue;
		if (pair_read_alike(&c->files, path, 2, &saved, err))
			return err->code;
		measure_rows(c, line, &saved,
			line == SAVED_GRADIENTS ? saved.a.n : (size_t)saved.a.dims[1]);
		pair_free(&saved);
	}
	return 0;
}

/* ---- feature sets --------------------------------------------------------------------------- */

/* Share of the first file's features that the second has, by the more of both; of no features 1. */
static double overlap(const struct pair *layer, const struct pair *feature)
{
	const double most = fmax((double)layer->a.n, (double)layer->b.n);
	size_t n = 0;

	for (size_t i = 0; i < layer->a.n; i++) {
		size_t j = 0;

		while (j < layer->b.n && (layer->a.data[i] != layer->b.data[j] ||
						 feature->a.data[i] != feature->b.data[j]))
			j++;
		n += j < layer->b.n;
	}
	return most > 0 ? (double)n / most : 1;
}

int sets_overlap(const struct comparison *c, const char *method, double *out, struct err *err)
{
	char path[600];
	struct pair layer = {0}, feature = {0};

	err_clear(err);
	*out = 1;
	snprintf(path, sizeof path, "%s/global/layer", method);
	if (!pair_exists(&c->files, path))
		return 0;
	TRY(pair_read(&c->files, path, &layer, err));
	snprintf(path, sizeof path, "%s/global/feature", method);
	TRY(pair_read(&c->files, path, &feature, err));
	if (layer.a.n == feature.a.n && layer.b.n == feature.b.n)
		*out = overlap(&layer, &feature);
	else
		err_set(err, ERR_INPUT,
			"%s: expected a layer of each of %zu and %zu features, found %zu "
			"and %zu",
			path, feature.a.n, feature.b.n, layer.a.n, layer.b.n);
fail:
	pair_free(&layer);
	pair_free(&feature);
	return err->code;
}

static int compare_sets(struct comparison *c, struct err *err)
{
	char method[512];
	double share;

	for (hsize_t i = 0; pair_member(&c->files, "/feature_sets", i, method); i++) {
		if (strcmp(method, "/feature_sets/random") == 0)
			continue;
		if (sets_overlap(c, method, &share, err))
			return err->code;
		line_measure(c, FEATURES, share);
	}
	return 0;
}

int measure_values(struct comparison *c, struct err *err)
{
	TRY(compare_direction(c, err));
	TRY(compare_effects(c, err));
	TRY(compare_saved(c, "/activations", SAVED_RESID, err));
	TRY(compare_saved(c, "/gradients", SAVED_GRADIENTS, err));
	TRY(compare_sets(c, err));
	return 0;
fail:
	return err->code;
}
