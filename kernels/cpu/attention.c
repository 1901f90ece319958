/* SPDX-License-Identifier: MIT
 *
 * attention.c - causal attention over packed sequences with a shared prefix, forward and
 * backward. Contract: ops.h. Definition and formulas: kernels/ref/attention.c.
 *
 * The unit of work is one key-value head of one sequence: every query row of the sequence and
 * every query head that reads that kv head. It owns its rows of dk and dv, so the backward pass
 * needs no atomics and sums in one order.
 *
 * Keys are taken KEYS at a time. Scores want the vector across keys, the weighted sum of values
 * wants it across head_dim; so a block of keys is transposed once into scratch and serves all
 * query rows. The softmax is kept running (maximum, sum) over the blocks. A sequence with few
 * query rows (decoding) would not repay the transposition and takes dot products instead; on an
 * invariant device (device_make_invariant) every sequence does. Blocks begin at multiples of KEYS,
 * so that a row meets the same ones whichever rows are computed with it.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <math.h>

enum {
	KEYS = 64,      /* keys per block: a multiple of every VW */
	MAX_HEAD = 512, /* largest head_dim whose blocks fit the scratch */
	FEW_ROWS = 4    /* fewer query rows than this use dot products */
};

/* One kv head of one sequence. */
struct unit {
	const struct attention *a;
	const struct keys *keys;
	struct rows rows;
	size_t first_row, n_rows; /* query rows of the sequence */
	size_t seq, kv_head;
	size_t group; /* query heads per kv head */
	size_t n_prefix;
};

static size_t unit_pos(const struct unit *u, size_t row)
{
	return (size_t)u->rows.pos[row];
}

/* The first position that a query at `pos` sees. */
static size_t unit_first_key(const struct unit *u, size_t pos)
{
	return u->a->window && pos + 1 > u->a->window ? pos + 1 - u->a->window : 0;
}

/* Where the first block of keys begins that any row sees. */
static size_t unit_first_block(const struct unit *u)
{
	return unit_first_key(u, unit_pos(u, u->first_row)) / KEYS * KEYS;
}

/* Position p's key or value of this kv head: head_dim floats. */
static const float *unit_key(const struct unit *u, bool value, size_t p)
{
	const size_t column = u->kv_head * u->a->head_dim;

	if (p < u->n_prefix)
		return row_of(value ? u->keys->prefix_v : u->keys->prefix_k, p) + column;
	return row_of(value ? u->keys->v : u->keys->k,
		       (size_t)u->keys->start[u->seq] + p - u->n_prefix) +
	       column;
}

/* to[j][i] = key or value of position p0 + i, component j; KEYS columns, the unused ones 0. */
static void unit_transpose(const struct unit *u, bool value, size_t p0, size_t n, float *to)
{
	const size_t d = u->a->head_dim;

	if (n < KEYS)
		memset(to, 0, d * KEYS * sizeof *to);
	for (size_t i = 0; i < n; i++) {
		const float *from = unit_key(u, value, p0 + i);

		for (size_t j = 0; j < d; j++)
			to[j * KEYS + i] = from[j];
	}
}

/* out[i] = sum_j x[j] block[j][i] over the KEYS columns of a transposed block. */
static void block_product(const float *x, const float *block, size_t d, float out[KEYS])
{
	vf sum[KEYS / VW] = {0};

	for (size_t j = 0; j < d; j++)
		for (int i = 0; i < KEYS / VW; i++)
			sum[i] += v_set(x[j]) * v_load(block + j * KEYS + (size_t)i * VW);
	for (int i = 0; i < KEYS / VW; i++)
		v_store(out + (size_t)i * VW, sum[i]);
}

/* Raw products to scores: scale, cap, and -infinity for keys the query must not see (positions
 * p0 + i outside [first, last]). */
static void finish_scores(const struct attention *a, size_t p0, size_t first, size_t last,
	float s[KEYS])
{
	const vf scale = v_set((float)a->scale);
	const vf cap = v_set((float)a->softcap);

	for (int i = 0; i < KEYS; i += VW) {
		vf v = v_load(s + i) * scale;

		if (a->softcap != 0)
			v = cap * v_tanh(v / cap);
		v_store(s + i, v);
	}
	for (size_t i = 0; i < KEYS; i++)
		if (p0 + i < first || p0 + i > last)
			s[i] = -INFINITY;
}

/* ---- forward --------------------------------------------------------------------------- */

/* Running softmax of one query row and head. */
struct running {
	float max, sum;
};

/* Takes one block of scores into the running softmax and its output row. */
static void take_block(const struct unit *u, size_t p0, size_t n, float s[KEYS],
	struct running *run, float *out)
{
	const size_t d = u->a->head_dim;
	vf top = v_set(-INFINITY), sum = {0};
	float max;

	for (int i = 0; i < KEYS; i += VW)
		top = v_max(v_load(s + i), top);
	max = v_max_of(top);
	if (max == -INFINITY)
		return;
	if (max > run->max) {
		const float shrink = run->max == -INFINITY ? 0 : expf(run->max - max);

		run->sum *= shrink;
		for (size_t j = 0; j < d; j++)
			out[j] *= shrink;
		run->max = max;
	}
	for (int i = 0; i < KEYS; i += VW) {
		const vf p = v_exp(v_load(s + i) - v_set(run->max));

		v_store(s + i, p);
		sum += p;
	}
	run->sum += v_sum(sum);
	for (size_t i = 0; i < n; i++)
		if (s[i] != 0)
			v_axpy(s[i], unit_key(u, true, p0 + i), out, d);
}

static void unit_forward(const struct unit *u, bool transpose, float *scratch, struct tensor q,
	struct tensor out, struct tensor lse)
{
	const size_t d = u->a->head_dim, head0 = u->kv_head * u->group;
	const size_t last_pos = unit_pos(u, u->first_row + u->n_rows - 1);
	struct running *run = (struct running *)scratch;
	float *block = scratch + 2 * u->n_rows * u->group;
	float s[KEYS];

	for (size_t r = 0; r < u->n_rows * u->group; r++)
		run[r] = (struct running){-INFINITY, 0};
	for (size_t r = 0; r < u->n_rows; r++)
		memset(row_out(out, u->first_row + r) + head0 * d, 0, u->group * d * sizeof(float));
	for (size_t p0 = unit_first_block(u); p0 <= last_pos; p0 += KEYS) {
		const size_t n = last_pos + 1 - p0 < KEYS ? last_pos + 1 - p0 : KEYS;

		if (transpose)
			unit_transpose(u, false, p0, n, block);
		for (size_t r = 0; r < u->n_rows; r++) {
			const size_t row = u->first_row + r, pos = unit_pos(u, row);
			const size_t first = unit_first_key(u, pos);

			if (pos < p0 || first >= p0 + n)
				continue;
			for (size_t g = 0; g < u->group; g++) {
				const size_t column = (head0 + g) * d;
				const float *query = row_of(q, row) + column;

				if (transpose)
					block_product(query, block, d, s);
				else
					for (size_t i = 0; i < KEYS; i++)
						s[i] = i < n ? v_dot(query,
								       unit_key(u, false, p0 + i),
								       d)
							     : 0;
				finish_scores(u->a, p0, first, pos, s);
				take_block(u, p0, n, s, &run[r * u->group + g],
					row_out(out, row) + column);
			}
		}
	}
	for (size_t r = 0; r < u->n_rows; r++) {
		const size_t row = u->first_row + r;

		for (size_t g = 0; g < u->group; g++) {
			const struct running *x = &run[r * u->group + g];
			float *o = row_out(out, row) + (head0 + g) * d;

			for (size_t j = 0; j < d; j++)
				o[j] /= x->sum;
			if (lse.data)
				row_out(lse, row)[head0 + g] = x->max + logf(x->sum);
		}
	}
}

/* ---- backward -------------------------------------------------------------------------- */

/* One query row and head against one block of keys. */
static void backward_block(const struct unit *u, size_t p0, size_t n, size_t row, size_t head,
	const float *keys_t, const float *values_t, struct tensor q, struct tensor out,
	struct tensor lse, struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv)
{
	const struct attention *a = u->a;
	const size_t d = a->head_dim, column = head * d, own_column = u->kv_head * d;
	const size_t pos = unit_pos(u, row);
	const float *query = row_of(q, row) + column, *go = row_of(dout, row) + column;
	const float D = v_dot(row_of(out, row) + column, go, d);
	const vf cap_inverse = v_set(a->softcap != 0 ? (float)(1 / a->softcap) : 0.0f);
	float s[KEYS], ds[KEYS];

	block_product(query, keys_t, d, s);
	finish_scores(a, p0, unit_first_key(u, pos), pos, s);
	block_product(go, values_t, d, ds);
	for (int i = 0; i < KEYS; i += VW) {
		const vf score = v_load(s + i);
		const vf seen = v_pick(score > v_set(-INFINITY), score, v_set(0.0f));
		const vf t = seen * cap_inverse;
		const vf p = v_exp(score - v_set(row_of(lse, row)[head]));

		v_store(s + i, p);
		v_store(ds + i, p * (v_load(ds + i) - v_set(D)) * (v_set(1.0f) - t * t) *
					v_set((float)a->scale));
	}
	for (size_t i = 0; i < n; i++) {
		size_t own;

		if (s[i] == 0)
			continue;
		v_axpy(ds[i], unit_key(u, false, p0 + i), row_out(dq, row) + column, d);
		if (p0 + i < u->n_prefix)
			continue;
		own = (size_t)u->keys->start[u->seq] + p0 + i - u->n_prefix;
		v_axpy(ds[i], query, row_out(dk, own) + own_column, d);
		v_axpy(s[i], go, row_out(dv, own) + own_column, d);
	}
}

static void unit_backward(const struct unit *u, float *scratch, struct tensor q, struct tensor out,
	struct tensor lse, struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv)
{
	const size_t d = u->a->head_dim;
	const size_t last_pos = unit_pos(u, u->first_row + u->n_rows - 1);
	float *keys_t = scratch, *values_t = scratch + d * KEYS;

	for (size_t p0 = unit_first_block(u); p0 <= last_pos; p0 += KEYS) {
		const size_t n = last_pos + 1 - p0 < KEYS ? last_pos + 1 - p0 : KEYS;

		unit_transpose(u, false, p0, n, keys_t);
		unit_transpose(u, true, p0, n, values_t);
		for (size_t row = u->first_row; row < u->first_row + u->n_rows; row++) {
			const size_t pos = unit_pos(u, row);

			if (pos < p0 || unit_first_key(u, pos) >= p0 + n)
				continue;
			for (size_t g = 0; g < u->group; g++)
				backward_block(u, p0, n, row, u->kv_head * u->group + g, keys_t,
					values_t, q, out, lse, dout, dq, dk, dv);
		}
	}
}

/* ---- the units of a call --------------------------------------------------------------- */

/* The unit of sequence and head number i, in an order over (row, kv head); false when that row
 * is not the first of its sequence. */
static bool unit_at(const struct attention *a, struct rows rows, const struct keys *keys, size_t i,
	struct unit *u)
{
	const size_t row = i / a->n_kv_head;

	if (row > 0 && rows.seq[row] == rows.seq[row - 1])
		return false;
	*u = (struct unit){.a = a,
		.keys = keys,
		.rows = rows,
		.first_row = row,
		.n_rows = 1,
		.seq = (size_t)rows.seq[row],
		.kv_head = i % a->n_kv_head,
		.group = a->n_head / a->n_kv_head,
		.n_prefix = keys->prefix_k.rows};
	while (row + u->n_rows < rows.n && rows.seq[row + u->n_rows] == rows.seq[row])
		u->n_rows++;
	return true;
}

static int check_scratch(const struct attention *a, struct rows rows, struct err *err)
{
	const size_t group = a->n_head / a->n_kv_head;
	const size_t most = (CPU_SCRATCH - 2 * (size_t)MAX_HEAD * KEYS) / 2 / group;

	if (a->head_dim > MAX_HEAD || rows.n > most)
		return err_set(err, ERR_DEVICE,
			"op attention: expected head_dim of at most %d and at most %zu rows, found "
			"%zu and %zu",
			MAX_HEAD, most, a->head_dim, rows.n);
	return 0;
}

struct call {
	struct device *dev;
	const struct attention *a;
	struct rows rows;
	const struct keys *keys;
	struct tensor q, out, lse, dout, dq, dk, dv;
};

/* Cost of a unit, for the size of chunks: every row against as many keys as its position. */
static size_t unit_cost(const struct attention *a, struct rows rows)
{
	return rows.n > 0 ? 2 * a->head_dim * (size_t)rows.pos[rows.n - 1] : 1;
}

static void forward_units(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;

	for (size_t i = first; i < end; i++) {
		struct unit u;

		if (unit_at(c->a, c->rows, c->keys, i, &u))
			unit_forward(&u, u.n_rows >= FEW_ROWS && !c->dev->invariant,
				cpu_scratch(c->dev, thread), c->q, c->out, c->lse);
	}
}

int CPU(attention)(struct device *dev, const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys, struct tensor out, struct tensor lse, struct err *err)
{
	struct call c =
		{.dev = dev, .a = a, .rows = rows, .keys = keys, .q = q, .out = out, .lse = lse};

	if (check_scratch(a, rows, err))
		return err->code;
	cpu_run(dev, rows.n * a->n_kv_head, unit_cost(a, rows), forward_units, &c);
	return 0;
}

static void backward_units(void *context, size_t first, size_t end, int thread)
{
	const struct call *c = context;

	for (size_t i = first; i < end; i++) {
		struct unit u;

		if (unit_at(c->a, c->rows, c->keys, i, &u))
			unit_backward(&u, cpu_scratch(c->dev, thread), c->q, c->out, c->lse,
				c->dout, c->dq, c->dk, c->dv);
	}
}

int CPU(attention_backward)(struct device *dev, const struct attention *a, struct tensor q,
	struct rows rows, const struct keys *keys, struct tensor out, struct tensor lse,
	struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv, struct err *err)
{
	struct call c = {dev, a, rows, keys, q, out, lse, dout, dq, dk, dv};

	if (check_scratch(a, rows, err))
		return err->code;
	memset(dq.data, 0, tensor_bytes(dq));
	memset(dk.data, 0, tensor_bytes(dk));
	memset(dv.data, 0, tensor_bytes(dv));
	cpu_run(dev, rows.n * a->n_kv_head, 2 * unit_cost(a, rows), backward_units, &c);
	return 0;
}
