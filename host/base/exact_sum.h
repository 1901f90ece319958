/* SPDX-License-Identifier: MIT
 *
 * exact_sum.h - sums whose bits depend neither on the order of their terms nor on how these are
 * grouped: of batches cut elsewhere, of units added in any order.
 *
 *   sum = exact_term(x_1) + exact_term(x_2) + ...,   value = exact_value(sum)
 *
 * A term is cut to a multiple of 2^-60, 9e-19, and integers are added; a million of terms fit. A
 * sum that a term beyond 2^46, 7e13, or one that is not finite went into is NaN. Tests:
 * tests/test_base.c.
 */
#ifndef SAENGINE_EXACT_SUM_H
#define SAENGINE_EXACT_SUM_H

#include <math.h>

/* 16 bytes without padding: two int64_t in a file. */
__extension__ typedef __int128 exact_sum;

static inline exact_sum exact_term(double x)
{
	/* So large, and of one sign, that it shows whatever else is added. */
	return (exact_sum)((fabs(x) < 0x1p46 ? x : 0x1p46) * 0x1p60);
}

static inline double exact_value(exact_sum sum)
{
	const double value = (double)sum * 0x1p-60;

	return fabs(value) < 0x1p45 ? value : NAN;
}

#endif
