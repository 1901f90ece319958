/* SPDX-License-Identifier: MIT
 *
 * stretch.h - random numbers by the gigabyte: a stretch of normal ones, repeated. Its length is a
 * prime, so the rows of a matrix begin at places that all differ.
 */
#ifndef SAENGINE_STRETCH_H
#define SAENGINE_STRETCH_H

#include "host/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { STRETCH = 1048583, STRETCH_ROW = 1 << 15 };

/* Deviation 1. After the stretch its beginning comes once more, so that a row of up to STRETCH_ROW
 * numbers can be read from any place of it. */
struct stretch {
	float *values; /* [STRETCH + STRETCH_ROW], owned */
};

int stretch_init(struct stretch *s, uint64_t seed, struct err *err);

/* Accepts a zeroed stretch. */
void stretch_free(struct stretch *s);

/* Number `at` of the endless row. */
static inline const float *stretch_from(const struct stretch *s, uint64_t at)
{
	return s->values + at % STRETCH;
}

#endif
