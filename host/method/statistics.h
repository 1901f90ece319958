/* SPDX-License-Identifier: MIT
 *
 * statistics.h - log-odds, and how well one series of numbers agrees with another. NaN where that
 * is not defined (a constant series, no numbers).
 */
#ifndef SAENGINE_STATISTICS_H
#define SAENGINE_STATISTICS_H

#include "host/base/err.h"

#include <stddef.h>

/* log(p / (1 - p)) from log p. */
double statistics_log_odds(double log_p);

/* Pearson's r. */
double statistics_pearson(const double *x, const double *y, size_t n);

/* Spearman's rho: Pearson's r of the ranks, ties sharing their mean rank. Errors: memory. */
int statistics_spearman(const double *x, const double *y, size_t n, double *rho, struct err *err);

/* |x - y|_2 / |y|_2. */
double statistics_relative_error(const double *x, const double *y, size_t n);

/* Slope a of the least-squares line y = a x through the origin. */
double statistics_slope(const double *x, const double *y, size_t n);

#endif
