/* SPDX-License-Identifier: MIT
 *
 * attribute.c - indirect effects on the sparse support of two encodings. Contract: ops.h.
 * Twin: kernels/cpu/attribute.c.
 *
 *   IE_i[t] = (f_patch,i[t] - f_clean,i[t]) s[t] <W_dec[i], g[t]>
 */
#include "kernels/ref/ref.h"

int ref_csr_difference(struct device *dev, const struct csr *a, const struct csr *b,
	struct csr *out, struct err *err)
{
	size_t n = 0;

	(void)dev, (void)err;
	out->indptr[0] = 0;
	for (size_t row = 0; row < a->n_rows; row++) {
		int32_t i = a->indptr[row], j = b->indptr[row];

		while (i < a->indptr[row + 1] || j < b->indptr[row + 1]) {
			const int32_t of_a = i < a->indptr[row + 1] ? a->indices[i] : INT32_MAX;
			const int32_t of_b = j < b->indptr[row + 1] ? b->indices[j] : INT32_MAX;
			const int32_t feature = of_a < of_b ? of_a : of_b;
			double difference = 0;

			if (of_b == feature)
				difference += get(b->values, (size_t)j++, 0);
			if (of_a == feature)
				difference -= get(a->values, (size_t)i++, 0);
			if (n < out->capacity) {
				out->indices[n] = feature;
				set(out->values, n, 0, difference);
			}
			n++;
		}
		out->indptr[row + 1] = (int32_t)n;
	}
	return 0;
}

int ref_csr_attribute(struct device *dev, struct tensor W_dec, struct tensor g, struct tensor scale,
	struct csr *f, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < g.rows; row++) {
		const double s = scale.data ? get(scale, row, 0) : 1;

		for (int32_t e = f->indptr[row]; e < f->indptr[row + 1]; e++)
			set(f->values, (size_t)e, 0,
				get(f->values, (size_t)e, 0) * s *
					dot(W_dec, (size_t)f->indices[e], g, row));
	}
	return 0;
}
