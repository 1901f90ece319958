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
	struct tensor cosines, sines;
	const int32_t *pos;
	struct slice x, out;
	const int32_t *place; /* row i of x goes to this row of out; NULL = row i */
};

static size_t place_of(const int32_t *place, size_t i)
{
	return place ? (size_t)place[i] : i;
}

static void rotate_rows(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;
	const size_t half = c->head_dim / 2;

	(void)thread;
	for (size_t i = first; i < end; i++) {
		const float *cosine = row_of(c->cosines, (size_t)c->pos[i]);
		const float *sine = row_of(c->sines, (size_t)c->pos[i]);
		const float *row = slice_of(c->x, i);
		float *out = slice_of(c->out, place_of(c->place, i));

		for (size_t a = 0; a < c->x.n; a += c->head_dim) {
			for (size_t j = 0, b = a + half; j < half; j += VW) {
				const vf co = v_load_n(cosine + j, half - j);
				const vf si = v_load_n(sine + j, half - j) * c->sign;
				const vf u = v_load_n(row + a + j, half - j);
				const vf v = v_load_n(row + b + j, half - j);

				v_store_n(out + a + j, u * co - v * si, half - j);
				v_store_n(out + b + j, v * co + u * si, half - j);
			}
		}
	}
}

int CPU(rope)(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	struct call c = {head_dim, v_set((float)direction), cos_table, sin_table, pos,
		tensor_whole(x), tensor_whole(x), NULL};

	(void)err;
	cpu_run(dev, x.rows, 2 * x.cols, rotate_rows, &c);
	return 0;
}

static void rotate_slice(struct device *dev, const struct rope_call *r, struct slice x,
	struct slice out, const int32_t *place)
{
	struct call c = {r->head_dim, v_set((float)r->direction), r->cos_table, r->sin_table,
		r->pos, x, out, place};

	cpu_run(dev, x.of.rows, 2 * x.n, rotate_rows, &c);
}

int CPU(rope_keys)(struct device *dev, const struct rope_call *r, struct err *err)
{
	(void)err;
	if (r->q.of.data)
		rotate_slice(dev, r, r->q, r->q_out, NULL);
	rotate_slice(dev, r, r->k, r->k_out, r->cache_row);
	if (!slices_coincide(r->v, r->v_out))
		for (size_t i = 0; i < r->v.of.rows; i++)
			memcpy(slice_of(r->v_out, place_of(r->cache_row, i)), slice_of(r->v, i),
				r->v.n * sizeof(float));
	return 0;
}
