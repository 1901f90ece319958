/* SPDX-License-Identifier: MIT
 *
 * direction.h - a direction of the residual stream as edits and gradients take it.
 */
#ifndef SAENGINE_DIRECTION_H
#define SAENGINE_DIRECTION_H

#include <math.h>
#include <stddef.h>

/* u = v / |v|, both [d]; no direction (v = 0) stays none. u may be v. */
static inline void direction_normalise(const float *v, size_t d, float *u)
{
	double norm = 0;

	for (size_t i = 0; i < d; i++)
		norm += (double)v[i] * v[i];
	for (size_t i = 0; i < d; i++)
		u[i] = norm > 0 ? (float)(v[i] / sqrt(norm)) : 0;
}

#endif
