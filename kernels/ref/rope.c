/* SPDX-License-Identifier: MIT
 *
 * rope.c - rotary position embedding. Contract: ops.h. Twin: kernels/cpu/rope.c.
 */
#include "kernels/ref/ref.h"

/* Two elements of a head, half of it apart, by an angle. */
static void rotate(struct slice from, size_t row, size_t j, size_t half, double c, double s,
	struct slice to, size_t to_row)
{
	const double a = get_slice(from, row, j), b = get_slice(from, row, j + half);

	set_slice(to, to_row, j, a * c - b * s);
	set_slice(to, to_row, j + half, b * c + a * s);
}

static void rotate_row(size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, size_t pos, struct slice from, size_t row, struct slice to,
	size_t to_row)
{
	const size_t half = head_dim / 2;

	for (size_t head = 0; head < from.n; head += head_dim)
		for (size_t j = 0; j < half; j++)
			rotate(from, row, head + j, half, get(cos_table, pos, j),
				direction * get(sin_table, pos, j), to, to_row);
}

int ref_rope(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < x.rows; i++)
		rotate_row(head_dim, direction, cos_table, sin_table, (size_t)pos[i],
			tensor_whole(x), i, tensor_whole(x), i);
	return 0;
}

int ref_rope_keys(struct device *dev, const struct rope_call *r, struct err *err)
{
	(void)dev, (void)err;
	for (size_t i = 0; i < r->k.of.rows; i++) {
		const size_t pos = (size_t)r->pos[i];
		const size_t place = r->cache_row ? (size_t)r->cache_row[i] : i;

		if (r->q.of.data)
			rotate_row(r->head_dim, r->direction, r->cos_table, r->sin_table, pos, r->q,
				i, r->q_out, i);
		rotate_row(r->head_dim, r->direction, r->cos_table, r->sin_table, pos, r->k, i,
			r->k_out, place);
		for (size_t j = 0; j < r->v.n; j++)
			set_slice(r->v_out, place, j, get_slice(r->v, i, j));
	}
	return 0;
}
