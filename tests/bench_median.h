/* SPDX-License-Identifier: MIT
 *
 * bench_median.h - what the benchmarks print of their rounds.
 */
#ifndef SAENGINE_BENCH_MEDIAN_H
#define SAENGINE_BENCH_MEDIAN_H

#include <stdlib.h>

static inline int median_order(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The middle one of an odd number; sorts them. */
static inline double median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, median_order);
	return values[n / 2];
}

#endif
