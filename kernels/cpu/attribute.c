/* SPDX-License-Identifier: MIT
 *
 * attribute.c - indirect effects on the sparse support of two encodings. Contract: ops.h.
 * Definition: kernels/ref/attribute.c. The union of the supports is a merge of sorted rows; the
 * product is sampled on it, n_entries * d_model multiply-adds where a dense one would take
 * n_rows * d_sae * d_model.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

int CPU(csr_difference)(struct device *dev, const struct csr *a, const struct csr *b,
	struct csr *out, struct err *err)
{
	const float *value_a = a->values.data, *value_b = b->values.data;
	float *value = out->values.data;
	size_t n = 0;

	(void)dev, (void)err;
	out->indptr[0] = 0;
	for (size_t row = 0; row < a->n_rows; row++) {
		const int32_t end_a = a->indptr[row + 1], end_b = b->indptr[row + 1];
		int32_t i = a->indptr[row], j = b->indptr[row];

		while (i < end_a || j < end_b) {
			const bool take_a = j >= end_b ||
					    (i < end_a && a->indices[i] <= b->indices[j]);
			const bool take_b = i >= end_a ||
					    (j < end_b && b->indices[j] <= a->indices[i]);

			if (n < out->capacity) {
				out->indices[n] = take_a ? a->indices[i] : b->indices[j];
				value[n] = (take_b ? value_b[j] : 0) - (take_a ? value_a[i] : 0);
			}
			n++;
			i += take_a;
			j += take_b;
		}
		out->indptr[row + 1] = (int32_t)n;
	}
	return 0;
}

struct call {
	struct device *dev;
	struct tensor W_dec, g, scale;
	struct csr *f;
};

static void attribute_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t d = c->g.cols;
	float *value = c->f->values.data;

	for (size_t row = first; row < end; row++) {
		const float s = c->scale.data ? *row_of(c->scale, row) : 1;

		for (int32_t e = c->f->indptr[row]; e < c->f->indptr[row + 1]; e++) {
			const float *w = CPU(weight_floats)(c->W_dec, (size_t)c->f->indices[e] * d,
				d, cpu_scratch(c->dev, thread));

			value[e] *= s * v_dot(w, row_of(c->g, row), d);
		}
	}
}

int CPU(csr_attribute)(struct device *dev, struct tensor W_dec, struct tensor g,
	struct tensor scale, struct csr *f, struct err *err)
{
	struct call c = {dev, W_dec, g, scale, f};

	(void)err;
	if (g.rows > 0)
		cpu_run(dev, g.rows, (size_t)f->indptr[g.rows] / g.rows * g.cols, attribute_rows,
			&c);
	return 0;
}
