/* SPDX-License-Identifier: MIT
 *
 * statistics.c - Contract: statistics.h. Tests: tests/test_method.c.
 */
#include "host/method/statistics.h"

#include <math.h>
#include <stdlib.h>

double statistics_log_odds(double log_p)
{
	return log_p - log(-expm1(fmin(log_p, -1e-12)));
}

double statistics_pearson(const double *x, const double *y, size_t n)
{
	double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;

	for (size_t i = 0; i < n; i++) {
		mean_x += x[i] / (double)n;
		mean_y += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mean_x) * (x[i] - mean_x);
		yy += (y[i] - mean_y) * (y[i] - mean_y);
		xy += (x[i] - mean_x) * (y[i] - mean_y);
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

struct place {
	double value;
	size_t index;
};

static int by_value(const void *a, const void *b)
{
	const double x = ((const struct place *)a)->value, y = ((const struct place *)b)->value;

	return x < y ? -1 : x > y;
}

static void rank(const double *x, size_t n, struct place *scratch, double *ranks)
{
	for (size_t i = 0; i < n; i++)
		scratch[i] = (struct place){x[i], i};
	qsort(scratch, n, sizeof *scratch, by_value);
	for (size_t first = 0, end; first < n; first = end) {
		for (end = first + 1; end < n && scratch[end].value == scratch[first].value;)
			end++;
		for (size_t i = first; i < end; i++)
			ranks[scratch[i].index] = (double)(first + end - 1) / 2;
	}
}

int statistics_spearman(const double *x, const double *y, size_t n, double *rho, struct err *err)
{
	struct place *scratch = malloc(n * sizeof *scratch + 1);
	double *ranks = malloc(2 * n * sizeof *ranks + 1);

	err_clear(err);
	if (!scratch || !ranks) {
		err_nomem(err, "ranks", n * sizeof *scratch);
		goto fail;
	}
	rank(x, n, scratch, ranks);
	rank(y, n, scratch, ranks + n);
	*rho = statistics_pearson(ranks, ranks + n, n);
fail:
	free(scratch);
	free(ranks);
	return err->code;
}

double statistics_relative_error(const double *x, const double *y, size_t n)
{
	double error = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		error += (x[i] - y[i]) * (x[i] - y[i]);
		size += y[i] * y[i];
	}
	return size > 0 ? sqrt(error / size) : NAN;
}

double statistics_slope(const double *x, const double *y, size_t n)
{
	double xx = 0, xy = 0;

	for (size_t i = 0; i < n; i++) {
		xx += x[i] * x[i];
		xy += x[i] * y[i];
	}
	return xx > 0 ? xy / xx : NAN;
}
