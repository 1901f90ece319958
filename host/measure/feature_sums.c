/* SPDX-License-Identifier: MIT
 *
 * feature_sums.c - Contract: feature_sums.h. In the unit: "sum_feature" and "sum", ascending.
 */
#include "host/measure/feature_sums.h"

#include <assert.h>
#include <stdlib.h>

int feature_sums_create(struct feature_sums *s, size_t n, struct err *err)
{
	assert(n <= INT32_MAX);
	s->n = n;
	s->sum = calloc(n + 1, sizeof *s->sum);
	return s->sum ? 0 : err_nomem(err, "sums of features", n * sizeof *s->sum);
}

void feature_sums_free(struct feature_sums *s)
{
	free(s->sum);
	*s = (struct feature_sums){0};
}

int feature_sums_put(struct feature_sums *s, struct unit *out, struct err *err)
{
	size_t n = 0, k = 0;
	int32_t *feature;
	double *sum;

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
	TRY(unit_put(out, "sum", RESULTS_F64, sum, n, err));
fail:
	free(feature);
	free(sum);
	return err->code;
}

int feature_sums_take(const struct feature_sums *s, struct unit_reader *in, double *total,
	struct err *err)
{
	void *feature = NULL, *sum = NULL;
	size_t n, n_sums;

	err_clear(err);
	TRY(unit_get_all(in, "sum_feature", RESULTS_I32, &feature, &n, err));
	TRY(unit_get_all(in, "sum", RESULTS_F64, &sum, &n_sums, err));
	for (size_t k = 0; k < n && k < n_sums; k++) {
		const int32_t i = ((const int32_t *)feature)[k];

		if (i < 0 || (size_t)i >= s->n || n != n_sums) {
			err_set(err, ERR_INPUT,
				"sums of features: expected %zu sums of features below %zu, found %zu, "
				"one of feature %d",
				n, s->n, n_sums, i);
			goto fail;
		}
		total[i] += ((const double *)sum)[k];
	}
fail:
	free(feature);
	free(sum);
	return err->code;
}
