/* SPDX-License-Identifier: MIT
 *
 * result_scores.c - replies, and the scores of conditions. Contract: result_measures.h. Tests:
 * test_compare_results.c.
 */
#include "tests/result_measures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below it a lead is narrow: what readout_noise says. */
static double narrow(const struct comparison *c)
{
	return c->rounded ? 0x1p-3 : 0x1p-13;
}

/* ---- conditions ----------------------------------------------------------------------------- */

/* Whether a condition edits the same features in both files: METHOD_global_... clamps the set of
 * METHOD. */
static int edits_alike(const struct comparison *c, const char *condition, bool *alike,
	struct err *err)
{
	const char *name = strrchr(condition, '/') + 1, *end = strstr(name, "_global_");
	char method[512];
	double share = 1;

	if (end) {
		snprintf(method, sizeof method, "/feature_sets/%.*s", (int)(end - name), name);
		if (sets_overlap(c, method, &share, err))
			return err->code;
	}
	*alike = share == 1;
	return 0;
}

/* The leads of the first file's replies under a condition of /scores, in leads->a; of n replies
 * that no file has, infinite ones. To be freed also after an error. */
static int read_leads(const struct comparison *c, const char *condition, size_t n,
	struct pair *leads, struct err *err)
{
	char path[600];

	*leads = (struct pair){0};
	snprintf(path, sizeof path, "/generations%s/lead", condition + strlen("/scores"));
	if (pair_exists(&c->files, path)) {
		if (pair_read_alike(&c->files, path, 1, leads, err))
			return err->code;
		if (leads->a.n == n)
			return 0;
		err_set(err, ERR_INPUT, "%s: %s: expected %zu leads, found %zu", c->files.path[0],
			path, n, leads->a.n);
		return err->code;
	}
	leads->a = (struct values){.data = malloc((n + 1) * sizeof(double)), .n = n};
	if (!leads->a.data)
		return err_nomem(err, "leads", n * sizeof(double));
	for (size_t i = 0; i < n; i++)
		leads->a.data[i] = INFINITY;
	return 0;
}

static int compare_refusal(struct comparison *c, const char *condition, struct err *err)
{
	char path[600];
	struct pair refusal = {0}, leads = {0};
	size_t n_differ = 0;

	err_clear(err);
	snprintf(path, sizeof path, "%s/refusal", condition);
	if (!pair_exists(&c->files, path))
		return 0;
	TRY(pair_read_alike(&c->files, path, 1, &refusal, err));
	TRY(read_leads(c, condition, refusal.a.n, &leads, err));
	for (size_t i = 0; i < refusal.a.n; i++)
		n_differ += refusal.a.data[i] != refusal.b.data[i] &&
			    !(leads.a.data[i] < narrow(c));
	if (refusal.a.n > 0)
		line_measure(c, REFUSAL, (double)n_differ / (double)refusal.a.n);
fail:
	pair_free(&refusal);
	pair_free(&leads);
	return err->code;
}

/* Within 2^-20 of certainty float32 logits say nothing more. */
static double log_odds(double p)
{
	const double least = 0x1p-20, kept = p < least ? least : p > 1 - least ? 1 - least : p;

	return log(kept) - log1p(-kept);
}

static int compare_p_refusal(struct comparison *c, const char *condition, struct err *err)
{
	char path[600];
	struct pair p;

	snprintf(path, sizeof path, "%s/p_refusal", condition);
	if (!pair_exists(&c->files, path))
		return 0;
	if (pair_read_alike(&c->files, path, 1, &p, err))
		return err->code;
	for (size_t i = 0; i < p.a.n; i++)
		p.a.data[i] = fabs(log_odds(p.a.data[i]) - log_odds(p.b.data[i]));
	if (p.a.n > 0)
		line_measure(c, P_REFUSAL, median(p.a.data, p.a.n));
	pair_free(&p);
	return 0;
}

static int compare_scores(struct comparison *c, struct err *err)
{
	char experiment[512], condition[512];
	bool alike = false;

	for (hsize_t i = 0; pair_member(&c->files, "/scores", i, experiment); i++)
		for (hsize_t j = 0; pair_member(&c->files, experiment, j, condition); j++) {
			if (strstr(condition, "_local"))
				continue;
			if (edits_alike(c, condition, &alike, err))
				return err->code;
			c->n_other += !alike;
			if (alike && (compare_refusal(c, condition, err) ||
					     compare_p_refusal(c, condition, err)))
				return err->code;
		}
	return 0;
}

/* ---- replies -------------------------------------------------------------------------------- */

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

/* Adds to the counts of replies of no narrow lead, and of those that are the same in both files. */
static int compare_unedited(const struct comparison *c, const char *experiment, size_t *n_replies,
	size_t *n_equal, struct err *err)
{
	char path[600];
	struct pair ids = {0}, ends = {0}, leads = {0};
	size_t n_a, n_b;

	err_clear(err);
	snprintf(path, sizeof path, "%s/none/token_ids", experiment);
	if (!pair_exists(&c->files, path))
		return 0;
	TRY(pair_read(&c->files, path, &ids, err));
	snprintf(path, sizeof path, "%s/none/token_end", experiment);
	TRY(pair_read_alike(&c->files, path, 1, &ends, err));
	if (!ends_fit(&ids.a, &ends.a) || !ends_fit(&ids.b, &ends.b)) {
		err_set(err, ERR_INPUT,
			"%s: expected ascending ends of at most %zu and %zu token ids", path,
			ids.a.n, ids.b.n);
		goto fail;
	}
	snprintf(path, sizeof path, "/scores%s/none", experiment + strlen("/generations"));
	TRY(read_leads(c, path, ends.a.n, &leads, err));
	for (size_t i = 0; i < ends.a.n; i++) {
		const double *a = reply(&ids.a, &ends.a, i, &n_a),
			     *b = reply(&ids.b, &ends.b, i, &n_b);

		if (leads.a.data[i] < narrow(c))
			continue;
		*n_equal += n_a == n_b && memcmp(a, b, n_a * sizeof *a) == 0;
		++*n_replies;
	}
fail:
	pair_free(&ids);
	pair_free(&ends);
	pair_free(&leads);
	return err->code;
}

static int compare_replies(struct comparison *c, struct err *err)
{
	char experiment[512];
	size_t n = 0, n_equal = 0;

	for (hsize_t i = 0; pair_member(&c->files, "/generations", i, experiment); i++)
		if (compare_unedited(c, experiment, &n, &n_equal, err))
			return err->code;
	if (n > 0)
		line_measure(c, REPLIES, (double)n_equal / (double)n);
	return 0;
}

int measure_scores(struct comparison *c, struct err *err)
{
	TRY(compare_scores(c, err));
	TRY(compare_replies(c, err));
	return 0;
fail:
	return err->code;
}
