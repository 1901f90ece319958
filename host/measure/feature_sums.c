/* SPDX-License-Identifier: MIT
 *
 * feature_sums.c - Contract: feature_sums.h. In the unit: "sum_feature", ascending, and "sum", two
 * int64_t each.
 */
#include "host/measure/feature_sums.h"

#include <assert.h>
#include <stdlib.h>

int feature_sums_create(struct feature_sums *s, size_t n, struct err *err)
{
	assert(n <= INT32_MAX);
	s->n = n;
	s->sum = calloc(n + 1, sizeof *s->sum);
	s->total = calloc(n + 1, sizeof *s->total);
	return s->sum && s->total ? 0 : err_nomem(err, "sums of features", n * sizeof *s->sum);
}

void feature_sums_free(struct feature_sums *s)
{
	free(s->sum);
	free(s->total);
	*s = (struct feature_sums){0};
}

int feature_sums_put(struct feature_sums *s, struct unit *out, struct err *err)
{
	size_t n = 0, k = 0;
	int32_t *feature;
	exact_sum *sum;

	for (size_t i = 0; i < s->n; i++)
		n += s->sum[i] != 0;
	feature = malloc(n * sizeof *feature + 1);
	sum = malloc(n * sizeof *sum + 1);
	if (!feature || !sum) {
		err_nomem(err, "sums of features", n * sizeof *sum);
		goto fail;
	}
	for (size_t i = 0; i < s->n; i++) {
		if (s->sum[i] == 0)
			continue;
		feature[k] = (int32_t)i;
		sum[k++] = s->sum[i];
		s->sum[i] = 0;
	}
	err_clear(err);
	TRY(unit_put(out, "sum_feature", RESULTS_I32, feature, n, err));
	TRY(unit_put(out, "sum", RESULTS_I64, sum, 2 * n, err));
fail:
	free(feature);
	free(sum);
	return err->code;
}

int feature_sums_take(struct feature_sums *s, struct unit_reader *in, struct err *err)
{
	void *feature = NULL, *sum = NULL;
	size_t n, n_sums;

	err_clear(err);
	TRY(unit_get_all(in, "sum_feature", RESULTS_I32, &feature, &n, err));
	TRY(unit_get_all(in, "sum", RESULTS_I64, &sum, &n_sums, err));
	for (size_t k = 0; k < n && 2 * k < n_sums; k++) {
		const int32_t i = ((const int32_t *)feature)[k];

		if (i < 0 || (size_t)i >= s->n || 2 * n != n_sums) {
			err_set(err, ERR_INPUT,
				"sums of features: expected %zu sums of features below %zu, found %zu, "
				"one of feature %d",
				n, s->n, n_sums / 2, i);
			goto fail;
		}
		s->total[i] += ((const exact_sum *)sum)[k];
	}
fail:
	free(feature);
	free(sum);
	return err->code;
}

void feature_sums_values(const struct feature_sums *s, double *to)
{
	for (size_t i = 0; i < s->n; i++)
		to[i] = exact_value(s->total[i]);
}
