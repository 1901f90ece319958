/* SPDX-License-Identifier: MIT
 *
 * attention.c - causal attention over packed sequences with a shared prefix, forward and
 * backward. Contract: ops.h. Twin: kernels/cpu/attention.c.
 *
 *   s_k = cap(scale q.k),  p = softmax(s),  out = sum_k p_k v_k,  lse = log sum_k exp(s_k)
 * Backward, with D = dout . out:
 *   ds_k = p_k (dout.v_k - D) cap'(.),  dq = scale sum_k ds_k k,  dk += scale ds_k q,
 *   dv_k += p_k dout
 */
#include "kernels/ref/ref.h"

#include <math.h>

/* One query row and head, and the keys it may see. */
struct query {
	const struct attention *a;
	const struct keys *keys;
	struct tensor q;
	size_t row, head, kv_head;
	size_t seq, pos, first; /* keys first to pos, inclusive */
};

static struct query query_of(const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys, size_t row, size_t head)
{
	const size_t pos = (size_t)rows.pos[row];

	return (struct query){a, keys, q, row, head, head / (a->n_head / a->n_kv_head),
		(size_t)rows.seq[row], pos,
		a->window && pos + 1 > a->window ? pos + 1 - a->window : 0};
}

/* Where the key or value of position p lies: a tensor and a row of it. */
static struct tensor key_row(const struct query *x, bool value, size_t p, size_t *row)
{
	const size_t n_prefix = x->keys->prefix_k.rows;

	if (p < n_prefix) {
		*row = p;
		return value ? x->keys->prefix_v : x->keys->prefix_k;
	}
	*row = (size_t)x->keys->start[x->seq] + p - n_prefix;
	return value ? x->keys->v : x->keys->k;
}

static double read_key(const struct query *x, bool value, size_t p, size_t j)
{
	size_t row;
	const struct tensor t = key_row(x, value, p, &row);

	return get(t, row, x->kv_head * x->a->head_dim + j);
}

static double capped(const struct attention *a, double s)
{
	return a->softcap != 0 ? a->softcap * tanh(s / a->softcap) : s;
}

static double score(const struct query *x, size_t p)
{
	double s = 0;

	for (size_t j = 0; j < x->a->head_dim; j++)
		s += get(x->q, x->row, x->head * x->a->head_dim + j) * read_key(x, false, p, j);
	return capped(x->a, x->a->scale * s);
}

int ref_attention(struct device *dev, const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys, struct tensor out, struct tensor lse, struct err *err)
{
	(void)dev, (void)err;
	for (size_t row = 0; row < q.rows; row++) {
		for (size_t head = 0; head < a->n_head; head++) {
			const struct query x = query_of(a, q, rows, keys, row, head);
			double max = -INFINITY, sum = 0;

			for (size_t p = x.first; p <= x.pos; p++)
				max = fmax(max, score(&x, p));
			for (size_t p = x.first; p <= x.pos; p++)
				sum += exp(score(&x, p) - max);
			for (size_t j = 0; j < a->head_dim; j++) {
				double o = 0;

				for (size_t p = x.first; p <= x.pos; p++)
					o += exp(score(&x, p) - max) / sum *
					     read_key(&x, true, p, j);
				set(out, row, head * a->head_dim + j, o);
			}
			if (lse.data)
				set(lse, row, head, max + log(sum));
		}
	}
	return 0;
}

int ref_attention_backward(struct device *dev, const struct attention *a, struct tensor q,
	struct rows rows, const struct keys *keys, struct tensor out, struct tensor lse,
	struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv, struct err *err)
{
	const size_t n_prefix = keys->prefix_k.rows, d = a->head_dim;

	ref_scale(dev, 0, dq, err);
	ref_scale(dev, 0, dk, err);
	ref_scale(dev, 0, dv, err);
	for (size_t row = 0; row < q.rows; row++) {
		for (size_t head = 0; head < a->n_head; head++) {
			const struct query x = query_of(a, q, rows, keys, row, head);
			double D = 0;

			for (size_t j = 0; j < d; j++)
				D += get(out, row, head * d + j) * get(dout, row, head * d + j);
			for (size_t p = x.first; p <= x.pos; p++) {
				const double s = score(&x, p),
					     weight = exp(s - get(lse, row, head));
				const double slope = a->softcap != 0
							     ? 1 - s * s / (a->softcap * a->softcap)
							     : 1;
				double dweight = 0, ds;
				size_t own;

				for (size_t j = 0; j < d; j++)
					dweight += get(dout, row, head * d + j) *
						   read_key(&x, true, p, j);
				ds = weight * (dweight - D) * slope * a->scale;
				for (size_t j = 0; j < d; j++)
					set(dq, row, head * d + j,
						get(dq, row, head * d + j) +
							ds * read_key(&x, false, p, j));
				if (p < n_prefix)
					continue;
				own = (size_t)keys->start[x.seq] + p - n_prefix;
				for (size_t j = 0; j < d; j++) {
					const size_t col = x.kv_head * d + j;

					set(dk, own, col,
						get(dk, own, col) + ds * get(q, row, head * d + j));
					set(dv, own, col,
						get(dv, own, col) +
							weight * get(dout, row, head * d + j));
				}
			}
		}
	}
	return 0;
}
