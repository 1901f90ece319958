/* SPDX-License-Identifier: MIT
 *
 * rope.c - rotary position embedding. Contract: ops.h. Definition: kernels/ref/rope.c.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <string.h>

struct call {
	size_t head_dim;
	vf sign;
	struct tensor cosines, sines, x;
	const int32_t *pos;
};

static void rotate_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t half = c->head_dim / 2;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *cosine = row_of(c->cosines, (size_t)c->pos[i]);
		const float *sine = row_of(c->sines, (size_t)c->pos[i]);
		float *row = row_out(c->x, i);

		for (size_t head = 0; head < c->x.cols; head += c->head_dim) {
			float *a = row + head, *b = a + half;

			for (size_t j = 0; j < half; j += VW) {
				const vf co = v_load_n(cosine + j, half - j);
				const vf si = v_load_n(sine + j, half - j) * c->sign;
				const vf u = v_load_n(a + j, half - j);
				const vf v = v_load_n(b + j, half - j);

				v_store_n(a + j, u * co - v * si, half - j);
				v_store_n(b + j, v * co + u * si, half - j);
			}
		}
	}
}

int CPU(rope)(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	struct call c = {head_dim, v_set((float)direction), cos_table, sin_table, x, pos};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, rotate_rows, &c);
	return 0;
}

/* Row i of `from` to row cache_row[i] of a cache, which it may be. */
static void keep_rows(struct tensor from, const int32_t *cache_row, struct tensor cache)
{
	if (from.data == cache.data)
		return;
	for (size_t i = 0; i < from.rows; i++)
		memcpy(row_out(cache, cache_row ? (size_t)cache_row[i] : i), row_of(from, i),
			from.cols * sizeof(float));
}

int CPU(rope_keys)(struct device *dev, const struct rope_call *r, struct err *err)
{
	if (r->q.data)
		CPU(rope)(dev, r->head_dim, 1, r->cos_table, r->sin_table, r->pos, r->q, err);
	CPU(rope)(dev, r->head_dim, 1, r->cos_table, r->sin_table, r->pos, r->k, err);
	keep_rows(r->k, r->cache_row, r->cache_k);
	keep_rows(r->v, r->cache_row, r->cache_v);
	return 0;
}
