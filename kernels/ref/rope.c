/* SPDX-License-Identifier: MIT
 *
 * rope.c - rotary position embedding. Contract: ops.h. Twin: kernels/cpu/rope.c.
 */
#include "kernels/ref/ref.h"

int ref_rope(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	const size_t half = head_dim / 2;

	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++) {
		for (size_t head = 0; head < x.cols; head += head_dim) {
			for (size_t j = 0; j < half; j++) {
				const double c = get(cos_table, (size_t)pos[i], j);
				const double s = direction * get(sin_table, (size_t)pos[i], j);
				const double a = get(x, i, head + j);
				const double b = get(x, i, head + half + j);

				set(x, i, head + j, a * c - b * s);
				set(x, i, head + half + j, b * c + a * s);
			}
		}
	}
	return 0;
}

int ref_rope_keys(struct device *dev, const struct rope_call *r, struct err *err)
{
	if (r->q.data)
		ref_rope(dev, r->head_dim, 1, r->cos_table, r->sin_table, r->pos, r->q, err);
	ref_rope(dev, r->head_dim, 1, r->cos_table, r->sin_table, r->pos, r->k, err);
	for (size_t i = 0; i < r->k.rows; i++) {
		const size_t row = r->cache_row ? (size_t)r->cache_row[i] : i;

		for (size_t j = 0; j < r->k.cols; j++) {
			set(r->cache_k, row, j, get(r->k, i, j));
			set(r->cache_v, row, j, get(r->v, i, j));
		}
	}
	return 0;
}
