/* SPDX-License-Identifier: MIT
 *
 * ref.h - the reference backend: plain loops that say what each op means. Every value is read
 * and computed as double, whatever its type in memory, so the same loops serve as the float32
 * reference and as a float64 oracle of the whole engine. Linked by tests only.
 */
#ifndef SAENGINE_REF_H
#define SAENGINE_REF_H

#include "kernels/backend.h"

#include <assert.h>

extern const struct backend backend_ref_f32, backend_ref_f64;

#define REF_DECLARE(name) __typeof__(op_##name) ref_##name;
OP_NAMES(REF_DECLARE)
#undef REF_DECLARE

static inline double get(struct tensor t, size_t row, size_t col)
{
	const size_t i = row * t.cols + col;

	switch (t.dtype) {
	case DTYPE_F32:
		return ((const float *)t.data)[i];
	case DTYPE_F64:
		return ((const double *)t.data)[i];
	case DTYPE_BF16:
		return bf16_to_f32(((const uint16_t *)t.data)[i]);
	case DTYPE_F16:
		return f16_to_f32(((const uint16_t *)t.data)[i]);
	default:
		assert(!"a floating type");
		return 0;
	}
}

/* Writes an activation, or rounds to the nearest bfloat16 or float16, ties to even. */
static inline void set(struct tensor t, size_t row, size_t col, double value)
{
	const size_t i = row * t.cols + col;

	if (t.dtype == DTYPE_F64)
		((double *)t.data)[i] = value;
	else if (t.dtype == DTYPE_BF16)
		((uint16_t *)t.data)[i] = f32_to_bf16((float)value);
	else if (t.dtype == DTYPE_F16)
		((uint16_t *)t.data)[i] = f32_to_f16((float)value);
	else
		((float *)t.data)[i] = (float)value;
}

static inline double get_slice(struct slice c, size_t row, size_t col)
{
	return get(c.of, row, c.first + col);
}

static inline void set_slice(struct slice c, size_t row, size_t col, double value)
{
	set(c.of, row, c.first + col, value);
}

static inline double dot(struct tensor a, size_t row_a, struct tensor b, size_t row_b)
{
	double sum = 0;

	for (size_t i = 0; i < a.cols; i++)
		sum += get(a, row_a, i) * get(b, row_b, i);
	return sum;
}

/* What sae.c shares with clamp.c: feature i of a row of x before any top_k, and the row's s. */
double ref_sae_feature(const struct sae_weights *sae, struct tensor x, size_t row, size_t i);
double ref_sae_input_scale(enum sae_input input, struct tensor x, size_t row);

#endif
