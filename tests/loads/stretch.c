/* SPDX-License-Identifier: MIT
 *
 * stretch.c - Contract: stretch.h.
 */
#include "tests/loads/stretch.h"

#include "host/base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From 2^-54 to just below 1. */
static double uniform(uint64_t *state)
{
	return ((double)(random_next(state) >> 11) + 0.5) * 0x1p-53;
}

int stretch_init(struct stretch *s, uint64_t seed, struct err *err)
{
	const double turn = 6.283185307179586;

	s->values = malloc((STRETCH + STRETCH_ROW) * sizeof *s->values);
	if (!s->values)
		return err_nomem(err, "random numbers", STRETCH * sizeof *s->values);
	for (size_t i = 0; i < STRETCH; i++) {
		const double radius = sqrt(-2 * log(uniform(&seed)));

		s->values[i] = (float)(radius * cos(turn * uniform(&seed)));
	}
	memcpy(s->values + STRETCH, s->values, STRETCH_ROW * sizeof *s->values);
	return 0;
}

void stretch_free(struct stretch *s)
{
	free(s->values);
	*s = (struct stretch){0};
}
