/* SPDX-License-Identifier: MIT
 *
 * test_ops.c - every op of every backend against the reference in float64, over one table of
 * cases. A case runs with equal seeded inputs on each device; its outputs are compared by
 * max |difference| / max |expected|.
 *
 * CMake builds this file several times: for the CPU backend on every level this processor can run
 * (and the float32 reference); with TEST_CUDA for the CUDA backend on a GPU; with TEST_EMU for the
 * same kernels run on the CPU by tests/emu, in several orders of threads and blocks, plainly and
 * under the race detector.
 *
 *	test_ops --op clamp --device cpu
 *
 * runs the cases of one op, the first word of their names, on one device; ops and devices that
 *there are not get a list of those there are.
 *
 * Tolerances, beside each case, are for float32: 2^-24 = 6e-8 per rounding. A sum of n random
 * terms errs by about sqrt(n) roundings of its largest partial sum; ops built on exp and tanh
 * add 2 units in the last place, amplified where a large argument is subtracted. Devices that
 * round inputs of products have their own: rounding_tolerance.
 */
#include "tests/device_fixture.h"

#include "host/base/clock.h"
#include "kernels/backend.h"
#include "kernels/ref/ref.h"
#if defined(TEST_CUDA) || defined(TEST_EMU)
#include "kernels/cuda/cuda.h"
#endif
#ifdef TEST_EMU
#include "tests/emu/control.h"
#endif

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TEST_EMU
#include <sys/mman.h>
#endif

/* ---- outputs of a case ----------------------------------------------------------------- */

/* Every emit starts a group, and differences are measured against the largest of their group. */
struct outputs {
	double *value;
	size_t n, cap;
	size_t group_start[32], n_groups;
	int rc;
	struct err err;
};

static void emit_group(struct outputs *out)
{
	out->group_start[out->n_groups++] = out->n;
}

static void emit_value(struct outputs *out, double value)
{
	if (out->n == out->cap) {
		out->cap = out->cap ? 2 * out->cap : 1024;
		out->value = realloc(out->value, out->cap * sizeof *out->value);
	}
	out->value[out->n++] = value;
}

static void emit(struct outputs *out, struct tensor t)
{
	emit_group(out);
	for (size_t i = 0; i < tensor_count(t); i++)
		emit_value(out, fixture_get(t, i));
}

static void emit_ids(struct outputs *out, const int32_t *ids, size_t n)
{
	emit_group(out);
	for (size_t i = 0; i < n; i++)
		emit_value(out, ids[i]);
}

/* ---- the ops, as functions of a case's numbers ------------------------------------------ */

typedef void op_case(struct fixture *f, const int *p, struct outputs *out);

static struct tensor nothing(void)
{
	return (struct tensor){0};
}

static void run_axpy(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);
	struct tensor y = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);

	struct tensor z = fixture_zeros(f, (size_t)p[0], (size_t)p[1]);

	out->rc = op_axpy(f->dev, -0.75, x, y, &out->err) || op_copy(f->dev, y, z, &out->err) ||
		  op_scale(f->dev, 3, x, &out->err);
	emit(out, y);
	emit(out, z);
	emit(out, x);
}

/* Ordinary values and small ones, and those about which the last bits and infinity hang. */
static void run_to_half(struct fixture *f, const int *p, struct outputs *out)
{
	static const double ends[] = {65519.996, 65520, -1e30, 0x1.002p0, 0x1.006p0, 0x1.002002p0,
		0x1p-25, 0x1.000002p-25, 0x1.ffcp-15, -0.0};
	const size_t n = (size_t)p[0], d = (size_t)p[1];
	struct tensor x = fixture_activation(f, n, d, 1), y = fixture_zeros(f, n, d);
	int32_t *bits = fixture_random_ids(f, n * d, 1);

	y.dtype = DTYPE_F16;
	for (size_t i = 0; i < n * d / 2; i++)
		fixture_set(x, 2 * i, fixture_get(x, 2 * i) * 1e-5);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		fixture_set(x, i, (float)ends[i]);
	out->rc = op_to_half(f->dev, x, y, &out->err);
	for (size_t i = 0; i < n * d; i++)
		bits[i] = ((const uint16_t *)y.data)[i];
	emit_ids(out, bits, n * d);
}

static void run_scale_clears(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);

	fixture_set(x, 0, NAN);
	out->rc = op_scale(f->dev, 0, x, &out->err);
	emit(out, x);
}

static void run_rows(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);
	struct tensor y = fixture_zeros(f, 2 * (size_t)p[0], (size_t)p[1]);
	struct tensor z = fixture_zeros(f, (size_t)p[0], (size_t)p[1]);
	int32_t *spread = fixture_random_ids(f, (size_t)p[0], 1);
	int32_t *any = fixture_random_ids(f, (size_t)p[0], 2 * (size_t)p[0]);

	for (int i = 0; i < p[0]; i++)
		spread[i] = 2 * (p[0] - 1 - i) + 1;
	out->rc = op_scatter_rows(f->dev, x, spread, y, &out->err) ||
		  op_gather_rows(f->dev, y, any, z, &out->err);
	emit(out, y);
	emit(out, z);
}

static void run_advance(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0];
	int32_t *lists[4];

	for (int i = 0; i < 4; i++)
		lists[i] = fixture_random_ids(f, n, 1000);
	for (size_t i = 0; i < n; i += 7)
		lists[0][i] = -1; /* no next one */
	out->rc = op_advance(f->dev, n, lists[0], lists[1], lists[2], lists[3], &out->err);
	for (int i = 0; i < 4; i++)
		emit_ids(out, lists[i], n);
}

static void run_find_nonfinite(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);
	int32_t *bad = fixture_random_ids(f, 4, 1);

	out->rc = op_fill_ids(f->dev, 3, -1, bad, &out->err);
	fixture_set(x, 0, 3e38); /* large is not infinite */
	out->rc |= op_find_nonfinite(f->dev, x, &bad[0], &out->err);
	fixture_set(x, tensor_count(x) - 1, NAN);
	out->rc |= op_find_nonfinite(f->dev, x, &bad[1], &out->err);
	fixture_set(x, (size_t)p[1] * (size_t)(p[0] / 2), -INFINITY);
	out->rc |= op_find_nonfinite(f->dev, x, &bad[2], &out->err);
	fixture_set(x, (size_t)p[1] * (size_t)(p[0] / 2), 0); /* what was found lower stays */
	out->rc |= op_find_nonfinite(f->dev, x, &bad[2], &out->err);
	emit_ids(out, bad, 4);
}

static void run_embed(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor E = fixture_weight(f, (enum dtype)p[3], (size_t)p[0], (size_t)p[1], 1);
	int32_t *token = fixture_random_ids(f, (size_t)p[2], (size_t)p[0]);
	struct tensor x = fixture_zeros(f, (size_t)p[2], (size_t)p[1]);

	out->rc = op_embed(f->dev, E, token, 11.25, x, &out->err);
	emit(out, x);
}

static void run_rmsnorm(struct fixture *f, const int *p, struct outputs *out)
{
	const struct norm norm = {1e-6, p[2]};
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], 3);
	struct tensor w = fixture_vector(f, (size_t)p[1], 1);
	struct tensor y = fixture_zeros(f, (size_t)p[0], (size_t)p[1]);
	struct tensor rstd = fixture_zeros(f, (size_t)p[0], 1);
	struct tensor dy = fixture_activation(f, (size_t)p[0], (size_t)p[1], 1);

	out->rc = op_rmsnorm(f->dev, norm, x, w, y, rstd, &out->err) ||
		  op_rmsnorm_backward(f->dev, norm, x, w, rstd, dy, 1, y, &out->err);
	emit(out, y);
	out->rc |= op_rmsnorm(f->dev, norm, x, w, y, rstd, &out->err) ||
		   op_rmsnorm_backward(f->dev, norm, x, w, rstd, dy, 0, dy, &out->err);
	emit(out, y);
	emit(out, rstd);
	emit(out, dy);
	out->rc |= op_rmsnorm(f->dev, norm, x, w, x, nothing(), &out->err);
	emit(out, x);
}

/* With the branch's norm, in place, then with a target; and without both and h, of a row that is
 * not finite. */
static void run_end_branch(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1];
	struct branch_end b = {.norm = {1e-6, p[2]},
		.branch = fixture_activation(f, n, d, 2),
		.w_branch = fixture_vector(f, d, 1),
		.rstd_branch = fixture_zeros(f, n, 1),
		.x_in = fixture_activation(f, n, d, 3),
		.w_next = fixture_vector(f, d, 1),
		.h = fixture_zeros(f, n, d),
		.rstd_next = fixture_zeros(f, n, 1)};
	int32_t *bad = fixture_random_ids(f, 2, 1);
	struct branch_end plain = b;

	b.x_out = b.x_in;
	b.first_bad = bad;
	plain.x_out = fixture_zeros(f, n, d);
	plain.first_bad = bad + 1;
	plain.w_branch = plain.w_next = nothing();
	out->rc = op_fill_ids(f->dev, 2, -1, bad, &out->err) ||
		  op_end_branch(f->dev, &b, &out->err);
	emit(out, b.x_out);
	emit(out, b.h);
	emit(out, b.rstd_branch);
	emit(out, b.rstd_next);
	b.target = fixture_activation(f, n, d, 3);
	b.mix = 0.3;
	out->rc |= op_end_branch(f->dev, &b, &out->err);
	emit(out, b.x_out);
	emit(out, b.h);
	fixture_set(plain.x_in, tensor_count(plain.x_in) - 1, INFINITY);
	out->rc |= op_end_branch(f->dev, &plain, &out->err);
	emit_ids(out, bad, 2);
	fixture_set(plain.x_out, tensor_count(plain.x_out) - 1, 0);
	emit(out, plain.x_out);
}

/* All of it, dbranch where dh was; from behind the last layer, without a gradient; before the
 * branch alone; and to a branch without a norm. */
static void run_end_branch_backward(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1];
	struct branch_end_back b = {.norm = {1e-6, p[2]},
		.g = fixture_activation(f, n, d, 2),
		.beta = 1,
		.dh = fixture_activation(f, n, d, 1),
		.x_out = fixture_activation(f, n, d, 3),
		.w_next = fixture_vector(f, d, 1),
		.rstd_next = fixture_activation(f, n, 1, 1),
		.gradient = fixture_activation(f, n, d, 1),
		.weight = 0.1,
		.keep = 0.7,
		.branch = fixture_activation(f, n, d, 2),
		.w_branch = fixture_vector(f, d, 1),
		.rstd_branch = fixture_activation(f, n, 1, 1)};

	b.dbranch = b.dh;
	out->rc = op_end_branch_backward(f->dev, &b, &out->err);
	emit(out, b.g);
	emit(out, b.gradient);
	emit(out, b.dbranch);
	fixture_set(b.g, 0, NAN); /* not read */
	b.beta = 0;
	b.keep = 1;
	b.dbranch = fixture_zeros(f, n, d);
	b.gradient = nothing();
	out->rc |= op_end_branch_backward(f->dev, &b, &out->err);
	emit(out, b.g);
	emit(out, b.dbranch);
	b.dh = nothing();
	b.beta = 1;
	out->rc |= op_end_branch_backward(f->dev, &b, &out->err);
	emit(out, b.g);
	emit(out, b.dbranch);
	b.w_branch = nothing();
	b.keep = 0.5;
	out->rc |= op_end_branch_backward(f->dev, &b, &out->err);
	emit(out, b.g);
	emit(out, b.dbranch);
}

static void run_linear(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], in = (size_t)p[1], n_out = (size_t)p[2];
	struct tensor x = fixture_activation(f, n, in, 1);
	struct tensor W = fixture_weight(f, (enum dtype)p[3], n_out, in, 1);
	struct tensor bias = p[4] ? fixture_vector(f, n_out, 1) : nothing();
	struct tensor y = fixture_zeros(f, n, n_out);

	out->rc = op_linear(f->dev, x, W, bias, y, &out->err);
	emit(out, y);
}

static void run_linear_backward(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], in = (size_t)p[1], n_out = (size_t)p[2];
	struct tensor dy = fixture_activation(f, n, n_out, 1);
	struct tensor W = fixture_weight(f, (enum dtype)p[3], n_out, in, 1);
	struct tensor dx = fixture_activation(f, n, in, 1);

	out->rc = op_linear_backward(f->dev, dy, W, p[4], dx, &out->err);
	emit(out, dx);
}

/* Every operand lies one row, and the bias one element, after where its memory begins. */
static void run_linear_shifted(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], in = (size_t)p[1], n_out = (size_t)p[2];
	struct tensor x = tensor_rows(fixture_activation(f, n + 1, in, 1), 1, n);
	struct tensor W = tensor_rows(fixture_weight(f, (enum dtype)p[3], n_out + 1, in, 1), 1,
		n_out);
	struct tensor bias = tensor_rows(tensor_view(fixture_vector(f, n_out + 1, 1), n_out + 1, 1),
		1, n_out);
	struct tensor y = tensor_rows(fixture_zeros(f, n + 1, n_out), 1, n);
	struct tensor dy = tensor_rows(fixture_activation(f, n + 1, n_out, 1), 1, n);
	struct tensor dx = tensor_rows(fixture_activation(f, n + 1, in, 1), 1, n);

	out->rc = op_linear(f->dev, x, W, tensor_view(bias, 1, n_out), y, &out->err) ||
		  op_linear_backward(f->dev, dy, W, 1, dx, &out->err);
	emit(out, y);
	emit(out, dx);
}

static void run_rope(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], hd = (size_t)p[2], n_pos = 50;
	struct tensor x = fixture_activation(f, n, (size_t)p[1] * hd, 1);
	struct tensor c = fixture_weight(f, DTYPE_F32, n_pos, hd / 2, 1);
	struct tensor s = fixture_weight(f, DTYPE_F32, n_pos, hd / 2, 1);
	int32_t *pos = fixture_random_ids(f, n, n_pos);

	out->rc = op_rope(f->dev, hd, p[3], c, s, pos, x, &out->err);
	emit(out, x);
}

/* Into caches with more rows than there are, and where they are; with queries and without; and back
 * into one matrix. */
static void run_rope_keys(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], hd = (size_t)p[3], n_pos = 50;
	struct rope_call r = {.head_dim = hd,
		.direction = 1,
		.cos_table = fixture_weight(f, DTYPE_F32, n_pos, hd / 2, 1),
		.sin_table = fixture_weight(f, DTYPE_F32, n_pos, hd / 2, 1),
		.pos = fixture_random_ids(f, n, n_pos),
		.q_out = tensor_whole(fixture_zeros(f, n, (size_t)p[1] * hd)),
		.k_out = tensor_whole(fixture_zeros(f, 3 * n, (size_t)p[2] * hd)),
		.v_out = tensor_whole(fixture_zeros(f, 3 * n, (size_t)p[2] * hd))};
	const size_t q = (size_t)p[1] * hd, kv = (size_t)p[2] * hd;
	struct tensor all = fixture_activation(f, n, q + 2 * kv, 1);
	struct tensor back = fixture_activation(f, n, q + 2 * kv, 1);
	struct rope_call in_place = r;
	int32_t *cache_row = fixture_random_ids(f, n, 1);

	for (size_t i = 0; i < n; i++)
		cache_row[i] = (int32_t)(3 * (n - 1 - i) + 1);
	r.cache_row = cache_row;
	r.q = tensor_slice(all, 0, q);
	r.k = tensor_slice(all, q, kv);
	r.v = tensor_slice(all, q + kv, kv);
	in_place.q = in_place.q_out = tensor_whole(fixture_activation(f, n, q, 1));
	in_place.k = in_place.k_out = tensor_whole(fixture_activation(f, n, kv, 1));
	in_place.v = in_place.v_out = tensor_whole(fixture_activation(f, n, kv, 1));
	out->rc = op_rope_keys(f->dev, &r, &out->err) || op_rope_keys(f->dev, &in_place, &out->err);
	emit(out, r.q_out.of);
	emit(out, r.k_out.of);
	emit(out, r.v_out.of);
	emit(out, in_place.q_out.of);
	emit(out, in_place.k_out.of);
	emit(out, in_place.v_out.of);
	in_place.q.of = nothing(); /* keys alone */
	out->rc |= op_rope_keys(f->dev, &in_place, &out->err);
	emit(out, in_place.k_out.of);
	in_place.direction = -1;
	in_place.q = in_place.q_out;
	in_place.q_out = tensor_slice(back, 0, q);
	in_place.k_out = tensor_slice(back, q, kv);
	in_place.v_out = tensor_slice(back, q + kv, kv);
	out->rc |= op_rope_keys(f->dev, &in_place, &out->err);
	emit(out, back);
}

/* Sequences for attention: lengths vary with the seed; each sequence's own keys are stored with
 * gaps, as in a cache; the queries are its last `n_q` positions (0: all). */
struct sequences {
	struct rows rows;
	struct keys keys;
};

static struct sequences make_sequences(struct fixture *f, const struct attention *a, size_t n_seq,
	size_t n_prefix, size_t n_q, size_t longest)
{
	int32_t seq[4096], pos[4096], start[64];
	size_t n = 0, used = 3;
	struct sequences s = {0};

	for (size_t i = 0; i < n_seq; i++) {
		const size_t length = 1 + test_random_below(&f->random, longest);
		const size_t first = n_q && n_q < length ? length - n_q : 0;

		start[i] = (int32_t)used;
		used += length + 2;
		for (size_t t = first; t < length; t++) {
			seq[n] = (int32_t)i;
			pos[n++] = (int32_t)(n_prefix + t);
		}
	}
	s.rows = (struct rows){n, fixture_ids(f, seq, n), fixture_ids(f, pos, n)};
	s.keys.start = fixture_ids(f, start, n_seq);
	s.keys.n_seq = n_seq;
	s.keys.prefix_k = fixture_activation(f, n_prefix, a->n_kv_head * a->head_dim, 1);
	s.keys.prefix_v = fixture_activation(f, n_prefix, a->n_kv_head * a->head_dim, 1);
	s.keys.k = fixture_activation(f, used, a->n_kv_head * a->head_dim, 1);
	s.keys.v = fixture_activation(f, used, a->n_kv_head * a->head_dim, 1);
	return s;
}

/* The same values in the type of rounded operands. */
static struct tensor rounded(struct fixture *f, struct tensor x)
{
	struct tensor t = fixture_weight(f, DTYPE_BF16, x.rows, x.cols, 1);

	for (size_t i = 0; i < tensor_count(x); i++)
		((uint16_t *)t.data)[i] = f32_to_bf16((float)fixture_get(x, i));
	return t;
}

static void round_keys(struct fixture *f, struct keys *keys)
{
	keys->prefix_k = rounded(f, keys->prefix_k);
	keys->prefix_v = rounded(f, keys->prefix_v);
	keys->k = rounded(f, keys->k);
	keys->v = rounded(f, keys->v);
}

/* p: heads, kv heads, head_dim, softcap, window, sequences, prefix, query rows, longest, operands
 * in bfloat16 where the device rounds */
static void run_attention(struct fixture *f, const int *p, struct outputs *out)
{
	const struct attention a = {(size_t)p[0], (size_t)p[1], (size_t)p[2],
		2 / sqrt((double)p[2]), p[3] / 10.0, (size_t)p[4]};
	struct sequences s = make_sequences(f, &a, (size_t)p[5], (size_t)p[6], (size_t)p[7],
		(size_t)p[8]);
	const size_t width = a.n_head * a.head_dim, kv_width = a.n_kv_head * a.head_dim;
	struct tensor q = fixture_activation(f, s.rows.n, width, 1);
	struct tensor o = p[9] && f->coarse ? fixture_weight(f, DTYPE_BF16, s.rows.n, width, 1)
					    : fixture_zeros(f, s.rows.n, width);
	struct tensor lse = fixture_zeros(f, s.rows.n, a.n_head);
	struct tensor dout = fixture_activation(f, s.rows.n, width, 1);
	struct tensor dq = fixture_activation(f, s.rows.n, width, 1);
	struct tensor dk = fixture_activation(f, s.keys.k.rows, kv_width, 1);
	struct tensor dv = fixture_activation(f, s.keys.k.rows, kv_width, 1);

	if (p[9] && f->coarse)
		round_keys(f, &s.keys);
	out->rc = op_attention(f->dev, &a, q, s.rows, &s.keys, o, lse, &out->err) ||
		  op_attention_backward(f->dev, &a, q, s.rows, &s.keys, o, lse, dout, dq, dk, dv,
			  &out->err);
	emit(out, o);
	emit(out, lse);
	emit(out, dq);
	emit(out, dk);
	emit(out, dv);
}

static void run_gated(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1];
	struct tensor gate = fixture_activation(f, n, d, p[3]);
	struct tensor up = fixture_activation(f, n, d, 1);
	struct tensor dout = fixture_activation(f, n, d, 1);
	struct tensor y = fixture_zeros(f, n, d), both = fixture_activation(f, n, 2 * d + 4, 1);
	const struct slice left = tensor_slice(both, 0, d);
	const struct slice right = tensor_slice(both, d + 4, d);

	out->rc = op_gated(f->dev, (enum activation)p[2], tensor_whole(gate), tensor_whole(up), y,
			  &out->err) ||
		  op_gated_backward(f->dev, (enum activation)p[2], tensor_whole(gate),
			  tensor_whole(up), dout, tensor_whole(gate), tensor_whole(up), &out->err);
	emit(out, y);
	emit(out, gate);
	emit(out, up);
	out->rc |= op_gated(f->dev, (enum activation)p[2], left, right, y, &out->err) ||
		   op_gated_backward(f->dev, (enum activation)p[2], left, right, dout, left, right,
			   &out->err);
	emit(out, y);
	emit(out, both);
}

static void run_softcap(struct fixture *f, const int *p, struct outputs *out)
{
	struct tensor x = fixture_activation(f, (size_t)p[0], (size_t)p[1], p[3]);

	out->rc = op_softcap(f->dev, p[2], x, &out->err);
	emit(out, x);
}

static void run_readings(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], V = (size_t)p[1];
	struct tensor a = fixture_activation(f, n, V, p[2]);
	struct tensor b = fixture_activation(f, n, V, p[2]);
	int32_t *token = fixture_random_ids(f, n, V);
	struct tensor logprob = fixture_zeros(f, n, 1), kl = fixture_zeros(f, n, 1);

	out->rc = op_token_logprob(f->dev, a, token, logprob, &out->err) ||
		  op_kl(f->dev, a, b, kl, &out->err);
	emit(out, logprob);
	emit(out, kl);
}

/* A logit of the first row leads by much. The third row holds far above the others two logits that
 * are the same, and the fourth two that are the same after a cap, of which the larger is the later.
 *   p: rows, vocabulary, scale, cap */
static void run_argmax(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], V = (size_t)p[1];
	struct tensor a = fixture_activation(f, n, V, p[2]), lead = fixture_zeros(f, n, 1);
	int32_t *best = fixture_random_ids(f, n, V), *alone = fixture_random_ids(f, n, V);

	if (V > 3) {
		fixture_set(a, V / 2, 40);
		fixture_set(a, 2 * V + V / 3, 1000);
		fixture_set(a, 2 * V + V - 1, 1000);
		fixture_set(a, 3 * V + V / 3, 1000);
		fixture_set(a, 3 * V + V - 1, 2000);
	}
	out->rc = op_argmax(f->dev, p[3], a, best, lead, &out->err) ||
		  op_argmax(f->dev, p[3], a, alone, nothing(), &out->err);
	emit_ids(out, best, n);
	emit_ids(out, alone, n);
	if (V > 1) /* of one token it is infinite */
		emit(out, lead);
}

/* Rows of which one logit is not finite, each in another place, and one of finite extremes. */
static void run_argmax_of_nonfinite(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t V = (size_t)p[0], n = 8;
	struct tensor a = fixture_activation(f, n, V, 3);
	struct tensor lead = fixture_zeros(f, n, 1);
	int32_t *best = fixture_random_ids(f, n, V);

	fixture_set(a, 0, NAN);
	fixture_set(a, 2 * V - 1, NAN);
	fixture_set(a, 2 * V + V / 2, INFINITY);
	fixture_set(a, 3 * V + V - 1, -INFINITY);
	for (size_t j = 0; j < V; j++)
		fixture_set(a, 4 * V + j, NAN);
	fixture_set(a, 5 * V + V / 3, -NAN);
	fixture_set(a, 6 * V + V - 1, 3.4e38);
	fixture_set(a, 6 * V, -3.4e38);
	out->rc = op_argmax(f->dev, p[1], a, best, lead, &out->err);
	emit_ids(out, best, n);
	emit(out, tensor_rows(lead, 6, 2)); /* of the finite ones */
}

static void run_selected_logits(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1], V = 40, m = (size_t)p[2];
	struct tensor y = fixture_activation(f, n, d, 1);
	struct tensor E = fixture_weight(f, (enum dtype)p[4], V, d, 1);
	int32_t *token = fixture_random_ids(f, n * m, V);
	struct tensor z = fixture_zeros(f, n, m), dz = fixture_activation(f, n, m, 1);
	struct tensor dy = fixture_activation(f, n, d, 1);

	out->rc = op_selected_logits(f->dev, y, E, token, p[3], z, &out->err) ||
		  op_selected_logits_backward(f->dev, dz, z, E, token, p[3], dy, &out->err);
	emit(out, z);
	emit(out, dy);
}

static void run_edits(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1];
	struct tensor x = fixture_activation(f, n, d, 1), target = fixture_activation(f, n, d, 1);
	struct tensor u = fixture_vector(f, d, 0.3);

	out->rc = op_ablate_direction(f->dev, u, x, &out->err);
	emit(out, x);
	out->rc |= op_add_vector(f->dev, -1.5, u, x, &out->err);
	emit(out, x);
	out->rc |= op_mix(f->dev, 0.3, target, x, &out->err);
	emit(out, x);
}

/* A number of a case: how features are chosen and what the encoder reads. */
enum sae_kind {
	KIND_JUMPRELU,
	KIND_GATED = 1,        /* added up */
	KIND_TOP_K = 2,        /* 5 of all */
	KIND_GROUPS = 4,       /* 2 of every 16 features */
	KIND_ALL_POSITIVE = 8, /* top_k larger than the features there are */
	KIND_SPHERE = 16,
	KIND_STANDARDIZED = 32,
	KIND_WHOLE = 64, /* float32 only: small integers, many equal features in all arithmetics */
	KIND_WIDE_GROUPS = 128 /* 5 of every 75 features: groups end within words of 32 */
};

static void round_all(struct tensor t)
{
	for (size_t i = 0; i < tensor_count(t); i++)
		fixture_set(t, i, round(2 * fixture_get(t, i)));
}

static struct sae_weights make_sae(struct fixture *f, size_t n_feature, size_t d, enum dtype dtype,
	int kind)
{
	struct sae_weights sae = {.input = kind & KIND_SPHERE         ? SAE_INPUT_SPHERE
					   : kind & KIND_STANDARDIZED ? SAE_INPUT_STANDARDIZED
								      : SAE_INPUT_RAW};

	sae.W_enc_t = fixture_weight(f, dtype, n_feature, d, 1);
	sae.W_dec = fixture_weight(f, dtype, n_feature, d, 1);
	sae.b_enc = fixture_vector(f, n_feature, 0.5);
	sae.b_dec = fixture_vector(f, d, 1);
	sae.threshold = fixture_vector(f, n_feature, 0.5);
	for (size_t i = 0; i < n_feature; i++) /* positive, and high enough to be sparse */
		fixture_set(sae.threshold, i, 0.3 * sqrt((double)d) + 0.1 * (double)(i % 7));
	if (kind & KIND_GATED) { /* some gains below 1 and shifts below 0: on, yet 0 */
		sae.gain = fixture_vector(f, n_feature, 1);
		sae.shift = fixture_vector(f, n_feature, 1);
		for (size_t i = 0; i < n_feature; i++)
			fixture_set(sae.gain, i, exp(fixture_get(sae.gain, i)));
		for (size_t i = 0; i < n_feature; i += 3)
			fixture_set(sae.shift, i, -0.5 * sqrt((double)d));
	}
	if (kind & KIND_WHOLE) {
		round_all(sae.W_enc_t);
		round_all(sae.b_enc);
	}
	if (kind & (KIND_TOP_K | KIND_GROUPS | KIND_ALL_POSITIVE | KIND_WIDE_GROUPS))
		for (size_t i = 0; i < n_feature; i++)
			fixture_set(sae.threshold, i, 0);
	sae.top_k = kind & (KIND_TOP_K | KIND_WIDE_GROUPS) ? 5
		    : kind & KIND_GROUPS                   ? 2
		    : kind & KIND_ALL_POSITIVE             ? n_feature + 3
							   : 0;
	sae.group_width = kind & KIND_GROUPS ? 16 : kind & KIND_WIDE_GROUPS ? 75 : n_feature;
	return sae;
}

static struct csr make_csr(struct fixture *f, size_t n_rows, size_t capacity)
{
	return (struct csr){n_rows, capacity, fixture_random_ids(f, n_rows + 1, 1),
		fixture_random_ids(f, capacity, 1), fixture_zeros(f, capacity, 1)};
}

static void emit_csr(struct outputs *out, const struct csr *f)
{
	const size_t n = (size_t)f->indptr[f->n_rows];

	emit_ids(out, f->indptr, f->n_rows + 1);
	emit_ids(out, f->indices, n);
	emit(out, tensor_view(f->values, n, 1));
}

static void run_sae(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1], n_feature = (size_t)p[2];
	struct sae_weights sae = make_sae(f, n_feature, d, (enum dtype)p[3], p[4]);
	const struct sae_weights plain = {sae.W_enc_t, sae.b_enc, sae.threshold, sae.gain,
		sae.shift, sae.W_dec, sae.b_dec, sae.input, 0, 0};
	struct tensor x = fixture_activation(f, n, d, 1), y = fixture_activation(f, n, d, 1);
	struct tensor g = fixture_activation(f, n, d, 1), x_hat = fixture_zeros(f, n, d);
	struct tensor dense = fixture_zeros(f, n, n_feature);
	struct csr a = make_csr(f, n, n * n_feature), b = make_csr(f, n, n * n_feature);
	struct csr ie = make_csr(f, n, n * n_feature), short_one = make_csr(f, n, 1);
	struct tensor v = fixture_vector(f, d, 1), cosine = fixture_zeros(f, n_feature, 1);
	struct tensor scale = fixture_zeros(f, n, 1), few = fixture_zeros(f, n, 9);
	int32_t *ids = fixture_random_ids(f, 9, n_feature);

	if (p[4] & KIND_WHOLE) {
		round_all(x);
		round_all(y);
	}
	out->rc = op_sae_encode(f->dev, &sae, x, &a, &out->err) ||
		  op_sae_encode(f->dev, &sae, y, &b, &out->err) ||
		  op_sae_encode(f->dev, &sae, x, &short_one, &out->err) ||
		  op_sae_encode_selected(f->dev, &plain, x, dense, &out->err) ||
		  op_csr_select(f->dev, &a, ids, few, &out->err) ||
		  op_sae_scale(f->dev, sae.input, y, scale, &out->err) ||
		  op_sae_decode(f->dev, &sae, x, &a, x_hat, &out->err) ||
		  op_csr_difference(f->dev, &a, &b, &ie, &out->err) ||
		  op_row_cosine(f->dev, sae.W_dec, v, cosine, &out->err);
	emit_csr(out, &a);
	emit_csr(out, &ie);
	out->rc |= op_csr_attribute(f->dev, sae.W_dec, g, nothing(), &ie, &out->err);
	emit_csr(out, &ie);
	out->rc |= op_csr_attribute(f->dev, sae.W_dec, g, scale, &ie, &out->err);
	emit_csr(out, &ie);
	emit(out, scale);
	emit(out, few);
	emit_ids(out, short_one.indptr, n + 1);
	emit(out, dense);
	emit(out, x_hat);
	emit(out, cosine);
}

/* Encoding alone, by more features than the rest of run_sae has time for. */
static void run_encode(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1], n_feature = (size_t)p[2];
	const struct sae_weights sae = make_sae(f, n_feature, d, (enum dtype)p[3], p[4]);
	struct tensor x = fixture_activation(f, n, d, 1);
	struct csr a = make_csr(f, n, n * n_feature);

	out->rc = op_sae_encode(f->dev, &sae, x, &a, &out->err);
	emit_csr(out, &a);
}

/* p: rows, d, features, lists (1: shared), entries per list, dtype, kind, f given */
static void run_clamp(struct fixture *f, const int *p, struct outputs *out)
{
	const size_t n = (size_t)p[0], d = (size_t)p[1], n_lists = (size_t)p[3];
	const size_t n_entries = n_lists * (size_t)p[4];
	struct sae_weights few = make_sae(f, (size_t)p[2], d, (enum dtype)p[5], p[6]);
	struct tensor x = fixture_activation(f, n, d, 1);
	struct tensor now = p[7] ? fixture_activation(f, n, (size_t)p[2], 2) : nothing();
	int32_t *start = fixture_random_ids(f, n_lists + 1, 1);
	int32_t *seq = fixture_random_ids(f, n, 1);
	float *scale = fixture_vector(f, n_entries + 1, 4).data;
	float *offset = fixture_vector(f, n_entries + 1, 4).data;
	const struct clamp_lists lists = {n_lists, start,
		fixture_random_ids(f, n_entries, (size_t)p[2]), scale, offset};

	for (size_t l = 0; l <= n_lists; l++)
		start[l] = (int32_t)(l * (size_t)p[4]);
	for (size_t i = 0; i < n; i++)
		seq[i] = (int32_t)(i * n_lists / n);
	out->rc = op_clamp_features(f->dev, &few, &lists, (struct rows){n, seq, NULL}, now, x,
		&out->err);
	emit(out, x);
}

/* ---- the table ------------------------------------------------------------------------- */

enum { F32 = DTYPE_F32, BF16 = DTYPE_BF16, F16 = DTYPE_F16 };

static const struct op_row {
	const char *name;
	op_case *run;
	int p[10];
	double tolerance;
} cases[] = {
	{"axpy", run_axpy, {7, 33}, 1e-6},
	{"axpy, wide enough for threads", run_axpy, {64, 1031}, 1e-6},
	{"to_half", run_to_half, {7, 64}, 1e-9},
	{"to_half, odd", run_to_half, {3, 37}, 1e-9},
	{"scale by zero clears NaN", run_scale_clears, {3, 5}, 0},
	{"gather and scatter", run_rows, {9, 21}, 0},
	{"advance", run_advance, {300}, 0},
	{"find_nonfinite", run_find_nonfinite, {8, 19}, 0},
	{"embed, bfloat16", run_embed, {11, 37, 23, BF16}, 1e-6},
	{"embed, float16", run_embed, {11, 64, 5, F16}, 1e-6},
	{"embed, float32", run_embed, {3, 16, 4, F32}, 1e-6},
	{"embed, wide", run_embed, {5, 4356, 3, BF16}, 1e-6},
	{"rmsnorm, w", run_rmsnorm, {5, 48, 0}, 2e-6},
	{"rmsnorm, 1 + w, odd width", run_rmsnorm, {3, 37, 1}, 2e-6},
	{"rmsnorm, wide", run_rmsnorm, {40, 2304, 1}, 2e-6},
	{"rmsnorm, wider than a block", run_rmsnorm, {2, 8196, 0}, 4e-6},
	{"end_branch, w", run_end_branch, {5, 48, 0}, 2e-6},
	{"end_branch, 1 + w, odd width", run_end_branch, {3, 37, 1}, 2e-6},
	{"end_branch, wide", run_end_branch, {9, 2304, 1}, 2e-6},
	{"end_branch_backward, w", run_end_branch_backward, {5, 48, 0}, 3e-6},
	{"end_branch_backward, 1 + w, odd width", run_end_branch_backward, {3, 37, 1}, 3e-6},
	{"end_branch_backward, wide", run_end_branch_backward, {9, 2304, 1}, 3e-6},
	{"linear, one row, float32", run_linear, {1, 40, 24, F32, 0}, 2e-6},
	{"linear, one row, bfloat16, odd", run_linear, {1, 37, 29, BF16, 1}, 2e-6},
	{"linear, 3 rows, bfloat16", run_linear, {3, 128, 66, BF16, 0}, 2e-6},
	{"linear, 17 rows, bfloat16", run_linear, {17, 515, 33, BF16, 1}, 4e-6},
	{"linear, 32 rows, float16", run_linear, {32, 64, 130, F16, 0}, 2e-6},
	{"linear, 33 rows", run_linear, {33, 128, 384, BF16, 0}, 2e-6},
	{"linear, several tiles", run_linear, {300, 96, 270, BF16, 1}, 4e-6},
	{"linear, deeper than a panel", run_linear, {40, 4101, 9, BF16, 1}, 1e-5},
	{"linear, float32 panels", run_linear, {290, 70, 140, F32, 0}, 4e-6},
	{"linear, float16 panels", run_linear, {34, 70, 131, F16, 1}, 4e-6},
	{"linear, one input, float32", run_linear, {5, 1, 7, F32, 1}, 2e-6},
	{"linear, one input, bfloat16", run_linear, {5, 1, 7, BF16, 1}, 2e-6},
	{"linear, one input, float16", run_linear, {5, 1, 7, F16, 1}, 2e-6},
	{"linear, one output, float32", run_linear, {6, 33, 1, F32, 1}, 2e-6},
	{"linear, one output, bfloat16", run_linear, {6, 33, 1, BF16, 1}, 2e-6},
	{"linear, one output, float16", run_linear, {6, 33, 1, F16, 1}, 2e-6},
	{"linear, one row, float32, odd", run_linear, {1, 37, 29, F32, 1}, 2e-6},
	{"linear, one row, float16, odd", run_linear, {1, 37, 29, F16, 1}, 2e-6},
	{"linear, one of each", run_linear, {1, 1, 1, BF16, 1}, 2e-6},
	{"linear, shifted, float32", run_linear_shifted, {9, 35, 13, F32}, 2e-6},
	{"linear, shifted, bfloat16", run_linear_shifted, {9, 35, 13, BF16}, 2e-6},
	{"linear, shifted, float16", run_linear_shifted, {9, 35, 13, F16}, 2e-6},
	{"linear, shifted, even widths", run_linear_shifted, {9, 36, 14, BF16}, 2e-6},
	{"linear, shifted, wide enough for threads", run_linear_shifted, {4, 8, 301, F32}, 2e-6},
	{"linear_backward, one input", run_linear_backward, {5, 1, 7, BF16, 1}, 2e-6},
	{"linear_backward, one output", run_linear_backward, {6, 33, 1, F16, 1}, 2e-6},
	{"linear_backward, one row, odd", run_linear_backward, {1, 37, 29, F32, 0}, 2e-6},
	{"linear, no rows", run_linear, {0, 16, 8, BF16, 1}, 0},
	{"linear_backward, no rows", run_linear_backward, {0, 16, 8, BF16, 1}, 0},
	{"linear, wide enough for blocks", run_linear, {70, 600, 40, BF16, 1}, 4e-6},
	{"linear_backward, wide enough for blocks", run_linear_backward, {70, 40, 600, BF16, 1},
		4e-6},
	{"linear_backward, float16 in blocks", run_linear_backward, {5, 200, 130, F16, 0}, 4e-6},
	{"linear_backward, few rows", run_linear_backward, {3, 40, 300, BF16, 0}, 4e-6},
	{"linear_backward, adds", run_linear_backward, {35, 77, 45, F16, 1}, 4e-6},
	{"linear_backward, several tiles", run_linear_backward, {270, 530, 140, BF16, 1}, 4e-6},
	{"linear_backward, float32", run_linear_backward, {64, 100, 130, F32, 0}, 4e-6},
	{"rope, forward", run_rope, {7, 3, 16, 1}, 1e-6},
	{"rope, inverse, odd half", run_rope, {5, 2, 10, -1}, 1e-6},
	{"rope, wide heads", run_rope, {40, 4, 256, 1}, 1e-6},
	{"rope_keys", run_rope_keys, {7, 4, 2, 16}, 1e-6},
	{"rope_keys, odd half", run_rope_keys, {5, 2, 1, 10}, 1e-6},
	{"attention, plain", run_attention, {4, 4, 16, 0, 0, 3, 0, 0, 9}, 1e-5},
	{"attention, one or two tokens", run_attention, {2, 1, 8, 0, 0, 6, 0, 0, 2}, 1e-5},
	{"attention, softcap", run_attention, {4, 2, 24, 15, 0, 4, 0, 0, 20}, 1e-5},
	{"attention, prefix", run_attention, {4, 2, 32, 0, 0, 5, 7, 0, 12}, 1e-5},
	{"attention, prefix longer than a block", run_attention, {2, 1, 8, 0, 0, 2, 130, 0, 70},
		1e-5},
	{"attention, window inside the prefix", run_attention, {4, 2, 16, 20, 5, 3, 9, 0, 14},
		1e-5},
	{"attention, window over blocks", run_attention, {2, 2, 8, 0, 70, 2, 3, 0, 200}, 1e-5},
	{"attention, one query each", run_attention, {8, 2, 32, 50, 0, 6, 4, 1, 90}, 1e-5},
	{"attention, two queries, window", run_attention, {6, 3, 20, 0, 8, 5, 6, 2, 40}, 1e-5},
	{"attention, a group of 3 over tiles", run_attention, {6, 2, 48, 0, 0, 3, 5, 0, 60}, 1e-5},
	{"attention, group wider than a tile", run_attention, {80, 1, 16, 0, 0, 2, 3, 0, 6}, 1e-5},
	{"attention, window of two", run_attention, {2, 2, 16, 0, 2, 3, 4, 0, 20}, 1e-5},
	{"attention, many short sequences", run_attention, {2, 1, 64, 0, 0, 40, 2, 0, 5}, 1e-5},
	{"attention, tensor tiles and window", run_attention, {2, 1, 16, 300, 33, 2, 70, 0, 180},
		1e-5},
	{"attention, prefix of several steps", run_attention, {2, 1, 32, 300, 140, 3, 130, 0, 90},
		1e-5},
	{"attention, head of 128", run_attention, {2, 1, 128, 0, 0, 2, 9, 0, 80}, 1e-5},
	{"attention, head of 9 over tiles", run_attention, {4, 2, 9, 0, 0, 2, 0, 0, 40}, 1e-5},
	{"attention, long keys, one query each", run_attention, {4, 1, 64, 0, 0, 2, 300, 1, 300},
		1e-5},
	{"attention, 9 heads a key, one query", run_attention, {9, 1, 128, 20, 40, 3, 8, 1, 120},
		1e-5},
	{"attention, head of 320, one query", run_attention, {4, 1, 320, 0, 0, 2, 3, 1, 20}, 1e-5},
	{"attention, odd head, one query each", run_attention, {4, 2, 9, 20, 8, 3, 2, 1, 20}, 1e-5},
	{"attention, no rows", run_attention, {2, 1, 16, 0, 0, 0, 3, 0, 4}, 0},
	{"attention, wide head", run_attention, {2, 1, 256, 500, 0, 2, 5, 0, 30}, 1e-5},
	{"attention, large tiles", run_attention, {16, 1, 32, 0, 0, 2, 5, 0, 60}, 1e-5},
	{"attention, large tiles, head of 80", run_attention, {32, 1, 80, 300, 0, 2, 30, 0, 24},
		1e-5},
	{"attention, large tiles, head of 192, window", run_attention,
		{32, 1, 192, 500, 9, 2, 3, 0, 24}, 1e-5},
	{"attention, operands in parts", run_attention, {3, 3, 64, 0, 0, 2, 3, 0, 70}, 1e-5},
	{"attention, operands in bfloat16", run_attention, {4, 2, 64, 300, 0, 3, 5, 0, 40, 1},
		1e-5},
	{"attention, operands in bfloat16, odd head", run_attention,
		{4, 2, 9, 0, 0, 2, 3, 0, 20, 1}, 1e-5},
	{"attention, operands in bfloat16, one query each", run_attention,
		{8, 2, 32, 50, 0, 4, 4, 1, 90, 1}, 1e-5},
	{"attention, operands in bfloat16, keys in parts", run_attention,
		{4, 1, 64, 0, 0, 2, 300, 1, 300, 1}, 1e-5},
	{"attention, operands in bfloat16, head of 128", run_attention,
		{8, 2, 128, 0, 0, 3, 0, 1, 150, 1}, 1e-5},
	{"attention, operands in bfloat16, head of 256", run_attention,
		{4, 2, 256, 500, 0, 3, 2, 1, 60, 1}, 1e-5},
	{"gated gelu", run_gated, {5, 37, ACTIVATION_GELU_TANH, 4}, 3e-6},
	{"gated gelu, large", run_gated, {40, 512, ACTIVATION_GELU_TANH, 30}, 3e-6},
	{"gated silu", run_gated, {5, 37, ACTIVATION_SILU, 4}, 3e-6},
	{"gated silu, large", run_gated, {3, 129, ACTIVATION_SILU, 90}, 3e-6},
	{"softcap, small values", run_softcap, {5, 35, 30, 1}, 1e-6},
	{"softcap, saturating", run_softcap, {9, 1000, 30, 200}, 1e-6},
	{"softcap, none", run_softcap, {2, 9, 0, 3}, 0},
	{"readings of logits", run_readings, {6, 1031, 5}, 1e-5},
	{"readings of peaked logits", run_readings, {4, 50, 60}, 1e-5},
	{"readings of a vocabulary of one", run_readings, {2, 1, 3}, 1e-5},
	{"readings of parts of rows", run_readings, {3, 20000, 5}, 1e-5},
	{"readings of parts of rows, odd", run_readings, {2, 8195, 5}, 1e-5},
	{"argmax", run_argmax, {6, 1031, 5, 0}, 1e-6},
	{"argmax, capped", run_argmax, {5, 1032, 5, 30}, 1e-6},
	{"argmax of parts of rows", run_argmax, {5, 20000, 5, 0}, 1e-6},
	{"argmax of parts of rows, capped", run_argmax, {5, 20001, 5, 30}, 1e-6},
	{"argmax of a vocabulary of one", run_argmax, {4, 1, 3, 30}, 0},
	{"argmax, not finite", run_argmax_of_nonfinite, {1031, 0}, 1e-6},
	{"argmax, not finite, capped", run_argmax_of_nonfinite, {16400, 30}, 1e-6},
	{"argmax, not finite, few", run_argmax_of_nonfinite, {3, 0}, 1e-6},
	{"selected logits, capped", run_selected_logits, {7, 45, 2, 30, BF16}, 3e-6},
	{"selected logits, plain", run_selected_logits, {3, 512, 3, 0, F32}, 3e-6},
	{"edits", run_edits, {6, 45}, 3e-6},
	{"edits, wide", run_edits, {33, 1024}, 3e-6},
	{"edits, wider than a block keeps", run_edits, {2, 8708}, 3e-6},
	{"edits, wider than a block keeps, odd", run_edits, {3, 2051}, 3e-6},
	{"sae, one block", run_sae, {5, 32, 40, F32}, 1e-5},
	{"sae, ragged blocks, bfloat16", run_sae, {37, 45, 391, BF16}, 1e-5},
	{"sae, several tiles of rows", run_sae, {300, 24, 200, F32}, 1e-5},
	{"sae, bfloat16 in whole pieces", run_sae, {9, 136, 300, BF16}, 1e-5},
	{"sae, one row", run_sae, {1, 64, 128, BF16}, 1e-5},
	{"sae, 31 rows of bfloat16", run_sae, {31, 200, 130, BF16}, 1e-5},
	{"sae, 60 rows of bfloat16", run_sae, {60, 72, 260, BF16}, 1e-5},
	{"sae, 96 rows of bfloat16", run_sae, {96, 40, 120, BF16}, 1e-5},
	{"sae, blocks of rows, bfloat16", run_sae, {130, 24, 300, BF16}, 1e-5},
	{"sae, many features", run_sae, {3, 16, 9000, F32}, 1e-5},
	{"sae, entries in several rounds", run_encode, {1, 4, 70000, F32}, 1e-5},
	{"sae, float16", run_sae, {20, 24, 70, F16}, 1e-5},
	{"sae, whole pieces of marks, float16", run_sae, {45, 30, 256, F16}, 1e-5},
	{"sae, blocks of rows, float16", run_sae, {70, 24, 391, F16}, 1e-5},
	{"sae, blocks of rows, gated, bfloat16", run_sae, {70, 45, 391, BF16, KIND_GATED}, 1e-5},
	{"sae, no rows", run_sae, {0, 24, 70, BF16, KIND_TOP_K + KIND_SPHERE}, 1e-5},
	{"sae, sphere and top k, few rows of bfloat16", run_sae,
		{9, 64, 300, BF16, KIND_SPHERE + KIND_TOP_K}, 1e-5},
	{"sae, gated groups, few rows of bfloat16", run_sae,
		{5, 40, 203, BF16, KIND_GATED + KIND_GROUPS}, 1e-5},
	{"sae, top k of many", run_sae, {2, 8, 9000, F32, KIND_TOP_K}, 1e-5},
	{"sae, standardized, some rows at a time", run_sae, {70, 24, 600, F32, KIND_STANDARDIZED},
		1e-5},
	{"sae, gated", run_sae, {9, 32, 150, F32, KIND_GATED}, 1e-5},
	{"sae, gated, bfloat16", run_sae, {37, 45, 391, BF16, KIND_GATED}, 1e-5},
	{"sae, top k", run_sae, {37, 45, 391, F32, KIND_TOP_K}, 1e-5},
	{"sae, top k, several tiles of rows", run_sae, {300, 24, 200, BF16, KIND_TOP_K}, 1e-5},
	{"sae, top k of equal features", run_sae, {5, 6, 300, F32, KIND_TOP_K + KIND_WHOLE}, 1e-5},
	{"sae, top k of equal features in groups across words", run_sae,
		{5, 6, 300, F32, KIND_WIDE_GROUPS + KIND_WHOLE}, 1e-5},
	{"sae, top k of groups across words", run_sae, {5, 33, 320, F32, KIND_WIDE_GROUPS}, 1e-5},
	{"sae, top k of groups", run_sae, {11, 33, 250, F32, KIND_GROUPS}, 1e-5},
	{"sae, more kept than there are", run_sae, {7, 20, 40, F32, KIND_ALL_POSITIVE}, 1e-5},
	{"sae, gated top k on the sphere", run_sae,
		{9, 40, 150, F32, KIND_GATED + KIND_TOP_K + KIND_SPHERE}, 1e-5},
	{"sae, on the sphere", run_sae, {37, 45, 391, BF16, KIND_SPHERE}, 1e-5},
	{"sae, standardized", run_sae, {37, 64, 391, F32, KIND_STANDARDIZED}, 1e-5},
	{"sae, standardized top k", run_sae, {300, 45, 140, F32, KIND_STANDARDIZED + KIND_TOP_K},
		1e-5},
	{"clamp, shared list", run_clamp, {9, 37, 12, 1, 5, F32}, 1e-5},
	{"clamp, list per prompt", run_clamp, {40, 64, 30, 8, 6, BF16}, 1e-5},
	{"clamp, empty lists", run_clamp, {4, 16, 3, 2, 0, F32}, 0},
	{"clamp, gated", run_clamp, {9, 37, 12, 1, 5, F32, KIND_GATED}, 1e-5},
	{"clamp, on the sphere", run_clamp, {40, 64, 30, 8, 6, BF16, KIND_SPHERE}, 1e-5},
	{"clamp, standardized", run_clamp, {12, 50, 30, 3, 6, F32, KIND_STANDARDIZED}, 1e-5},
	{"clamp, features given", run_clamp, {9, 37, 12, 1, 5, F32, KIND_TOP_K, 1}, 1e-5},
	{"clamp, features given, on the sphere", run_clamp,
		{12, 40, 20, 4, 6, F32, KIND_TOP_K + KIND_SPHERE, 1}, 1e-5},
	{"clamp, a list in several rounds", run_clamp, {5, 24, 12, 1, 300, F32}, 1e-5},
	{"clamp, a list in several rounds, odd", run_clamp, {3, 37, 12, 1, 300, F16}, 1e-5},
	{"clamp, a wide row, one feature", run_clamp, {3, 2304, 4, 1, 1, BF16}, 1e-5},
	{"clamp, a wide row, a list of two each", run_clamp, {3, 1160, 9, 3, 2, F32}, 1e-5},
	{"clamp, a wide row, standardized", run_clamp, {2, 4160, 5, 1, 5, BF16, KIND_STANDARDIZED},
		1e-5},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* `coarse`: on activations that are exact in bfloat16. */
/* By its name: a case has the same inputs wherever it stands. */
static uint64_t seed_of(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
	return hash;
}

static void run_case(size_t i, bool coarse, struct device *dev, struct outputs *out)
{
	struct fixture f;

	fixture_init(&f, dev, seed_of(cases[i].name));
	f.coarse = coarse;
	*out = (struct outputs){0};
	cases[i].run(&f, cases[i].p, out);
	fixture_free(&f);
}

static void compare_group(size_t i, const char *name, double tolerance, const struct outputs *got,
	const struct outputs *expected, size_t from, size_t to)
{
	double scale = 0, worst = 0;
	size_t where = from;

	for (size_t j = from; j < to; j++) {
		const double difference = fabs(got->value[j] - expected->value[j]);

		scale = fmax(scale, fabs(expected->value[j]));
		if (difference > worst || isnan(difference)) {
			worst = isnan(difference) ? INFINITY : difference;
			where = j;
		}
	}
	CHECK(worst <= tolerance * scale,
		"%s on %s: output %zu is %.9g, expected %.9g: %.3g of the largest, %.1g allowed",
		cases[i].name, name, where, got->value[where], expected->value[where],
		worst / scale, tolerance);
}

/* How many products the sums of a case have that tensor cores add; 0 where there are none. */
static double tensor_depth(size_t i)
{
	const int *p = cases[i].p;

	if (cases[i].run == run_linear)
		return p[3] == F32 ? 0 : p[1];
	if (cases[i].run == run_linear_backward)
		return p[3] == BF16 ? p[2] : 0;
	if (cases[i].run == run_linear_shifted)
		return p[3] == F32 ? 0 : fmax(p[1], p[2]);
	return cases[i].run == run_sae && p[3] != F32 ? p[1] : 0;
}

/* CUDA devices that round operands of products are given operands that need no rounding, so only
 * what they make themselves is rounded.
 *
 * Attention: softmax weights and score gradients, by up to 2^-9 of each. A sum of them errs by 2^-9
 * of the sum of its terms' magnitudes, which gradients, whose terms have both signs, exceed several
 * times: four at most in these cases.
 *
 * Other products: tensor cores add 16 products at a time to what they have, all shifted to the
 * largest one's exponent and cut off behind the last of float32's places, not rounded: a sum of K
 * loses up to 2^-23 of its largest partial sum K / 16 times, always towards zero. Partial sums of
 * such random terms stay below twice the largest result of the group. */
static double tolerance_of(size_t i, bool rounds)
{
	if (!rounds)
		return cases[i].tolerance;
	if (cases[i].run == run_attention)
		return 0x1p-7;
	return cases[i].tolerance + 2 * ceil(tensor_depth(i) / 16) * 0x1p-23;
}

static void compare(size_t i, const char *name, bool rounds, const struct outputs *got,
	const struct outputs *expected)
{
	const double tolerance = tolerance_of(i, rounds);

	REQUIRE(got->rc == 0, "%s on %s: %s", cases[i].name, name, got->err.text);
	REQUIRE(got->n == expected->n, "%s on %s: expected %zu outputs, found %zu", cases[i].name,
		name, expected->n, got->n);
	for (size_t g = 0; g < got->n_groups; g++)
		compare_group(i, name, tolerance, got, expected, got->group_start[g],
			g + 1 < got->n_groups ? got->group_start[g + 1] : got->n);
}

/* `rounds`: the device rounds operands of products. */
static void compare_on(size_t i, struct device *dev, bool rounds)
{
	struct outputs got, expected;
	struct device *oracle;
	struct err err;

	REQUIRE_OK(device_open_backend(&oracle, &backend_ref_f64, 1, &err), &err);
	run_case(i, rounds, oracle, &expected);
	run_case(i, rounds, dev, &got);
	compare(i, device_description(dev), rounds, &got, &expected);
	free(got.value);
	free(expected.value);
	device_close(oracle);
}

static void compare_backend(size_t i, const struct backend *backend, bool rounds)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open_backend(&dev, backend, 2, &err), &err);
	compare_on(i, dev, rounds);
	device_close(dev);
}

/* Whether a row runs on the device: the one asked for, else those that are run by default. */
static bool runs_on(const char *name, bool by_default)
{
	return test_device() ? strcmp(test_device(), name) == 0 : by_default;
}

#if defined(TEST_CUDA) || defined(TEST_EMU)

/* Ops that wait for their end, on memory that the host sees too. */
static const struct backend *const tested[] = {&cuda_exact_checked_backend,
	&cuda_fast_checked_backend};

static void compare_everywhere(size_t i)
{
#ifdef TEST_EMU
	const size_t races = emu_races();
#endif

	if (runs_on("cuda:f32", true))
		compare_backend(i, &cuda_exact_checked_backend, false);
	if (runs_on("cuda", true))
		compare_backend(i, &cuda_fast_checked_backend, true);
#ifdef TEST_EMU
	CHECK(emu_races() == races, "%zu reports by the race detector", emu_races() - races);
#endif
}

static const char *const *device_names(void)
{
	static const char *const names[] = {"cuda:f32", "cuda", NULL};

	return names;
}

TEST(products_on_fast_cuda_devices_round_their_operand_to_the_nearest_bfloat16)
{
	for (size_t i = 0; i < N_CASES; i++) {
		struct device *oracle, *dev;
		struct outputs got, expected;
		struct err err;

		if (cases[i].run != run_linear || cases[i].p[3] != BF16)
			continue;
		REQUIRE_OK(device_open_backend(&oracle, &backend_ref_f64, 1, &err), &err);
		REQUIRE_OK(device_open_backend(&dev, &cuda_fast_checked_backend, 1, &err), &err);
		run_case(i, true, oracle, &expected); /* rounded beforehand */
		run_case(i, false, dev, &got);
		compare(i, device_description(dev), true, &got, &expected);
		free(got.value);
		free(expected.value);
		device_close(dev);
		device_close(oracle);
	}
}

static void check_rounded(struct tensor operand, struct tensor x, const char *what)
{
	for (size_t i = 0; i < tensor_count(x); i++)
		if (((const uint16_t *)operand.data)[i] !=
			f32_to_bf16(((const float *)x.data)[i])) {
			CHECK(!"an operand is its activation rounded", "%s, element %zu", what, i);
			return;
		}
}

static void check_same(struct tensor a, struct tensor b, const char *what)
{
	CHECK(memcmp(a.data, b.data, tensor_bytes(a)) == 0, "%s", what);
}

/* q, k and v to slices of one matrix. */
static void check_rope_operands(struct fixture *f, size_t n)
{
	enum { HEAD = 16, Q = 2 * HEAD, KV = HEAD, POSITIONS = 9 };
	const struct tensor to = fixture_zeros(f, n, Q + 2 * KV), rounded_to = rounded(f, to);
	struct rope_call r = {.head_dim = HEAD,
		.direction = -1,
		.cos_table = fixture_weight(f, DTYPE_F32, POSITIONS, HEAD / 2, 1),
		.sin_table = fixture_weight(f, DTYPE_F32, POSITIONS, HEAD / 2, 1),
		.pos = fixture_random_ids(f, n, POSITIONS),
		.q = tensor_whole(fixture_activation(f, n, Q, 1)),
		.k = tensor_whole(fixture_activation(f, n, KV, 1)),
		.v = tensor_whole(fixture_activation(f, n, KV, 1))};
	struct err err;

	for (int i = 0; i < 2; i++) {
		const struct tensor out = i == 0 ? to : rounded_to;

		r.q_out = tensor_slice(out, 0, Q);
		r.k_out = tensor_slice(out, Q, KV);
		r.v_out = tensor_slice(out, Q + KV, KV);
		REQUIRE_OK(op_rope_keys(f->dev, &r, &err), &err);
	}
	check_rounded(rounded_to, to, "rope_keys");
}

/* x in both types, the same values. */
struct both {
	struct tensor exact, rounded;
};

static struct both make_both(struct fixture *f, size_t n, size_t d)
{
	struct both b = {.exact = fixture_activation(f, n, d, 2)};

	b.rounded = rounded(f, b.exact);
	for (size_t i = 0; i < n * d; i++)
		fixture_set(b.exact, i, fixture_get(b.rounded, i));
	return b;
}

static void check_gated_operands(struct fixture *f, size_t n, size_t d)
{
	const struct both gate = make_both(f, n, d), up = make_both(f, n, d);
	const struct both dout = make_both(f, n, d), a = make_both(f, n, d), b = make_both(f, n, d);
	const enum activation silu = ACTIVATION_SILU;
	struct err err;

	REQUIRE_OK(op_gated(f->dev, silu, tensor_whole(gate.exact), tensor_whole(up.exact), a.exact,
			   &err),
		&err);
	REQUIRE_OK(op_gated(f->dev, silu, tensor_whole(gate.rounded), tensor_whole(up.rounded),
			   a.rounded, &err),
		&err);
	check_rounded(a.rounded, a.exact, "gated");
	REQUIRE_OK(op_gated_backward(f->dev, silu, tensor_whole(gate.exact), tensor_whole(up.exact),
			   dout.exact, tensor_whole(a.exact), tensor_whole(b.exact), &err),
		&err);
	REQUIRE_OK(op_gated_backward(f->dev, silu, tensor_whole(gate.rounded),
			   tensor_whole(up.rounded), dout.rounded, tensor_whole(a.rounded),
			   tensor_whole(b.rounded), &err),
		&err);
	check_rounded(a.rounded, a.exact, "gated_backward, gate");
	check_rounded(b.rounded, b.exact, "gated_backward, up");
}

/* A product that is rounded may have been made by another algorithm, in another order. */
static void check_about_rounded(struct tensor operand, struct tensor x, const char *what)
{
	for (size_t i = 0; i < tensor_count(x); i++) {
		const double is = fixture_get(operand, i), must = fixture_get(x, i);

		if (fabs(is - must) > 0x1p-8 * fabs(must) + 1e-5) {
			CHECK(!"a product is rounded", "%s, element %zu: %g, %g", what, i, is,
				must);
			return;
		}
	}
}

/* d columns: odd ones are read one by one. */
static void check_operands(struct fixture *f, size_t n, size_t d)
{
	const struct norm norm = {1e-6, true};
	const struct tensor x = fixture_activation(f, n, d, 3), w = fixture_vector(f, d, 1);
	const struct tensor g = fixture_activation(f, n, d, 2), rstd = fixture_zeros(f, n, 1);
	const struct tensor y = fixture_zeros(f, n, d), z = fixture_zeros(f, n, d);
	const struct tensor h = rounded(f, y), h2 = rounded(f, y);
	const struct tensor W = fixture_weight(f, DTYPE_BF16, 24, d, 1);
	const struct tensor W_t = fixture_weight(f, DTYPE_BF16, d, 24, 1);
	const struct tensor a = fixture_zeros(f, n, 24), b = fixture_zeros(f, n, 24);
	const struct tensor a_rounded = rounded(f, a);
	int32_t *reversed = fixture_random_ids(f, n, 1);
	struct branch_end end = {.norm = norm, .branch = x, .x_in = g, .x_out = z, .w_next = w};
	struct branch_end_back back = {.norm = norm,
		.g = g,
		.beta = 1,
		.keep = 1,
		.branch = x,
		.w_branch = w,
		.rstd_branch = rstd};
	struct err err;

	for (size_t i = 0; i < n; i++)
		reversed[i] = (int32_t)(n - 1 - i);
	REQUIRE_OK(op_rmsnorm(f->dev, norm, x, w, y, rstd, &err), &err);
	REQUIRE_OK(op_rmsnorm(f->dev, norm, x, w, h, rstd, &err), &err);
	check_rounded(h, y, "rmsnorm");
	REQUIRE_OK(op_linear(f->dev, y, W, nothing(), a, &err), &err);
	REQUIRE_OK(op_linear(f->dev, h, W, nothing(), b, &err), &err);
	check_same(a, b, "linear");
	REQUIRE_OK(op_linear(f->dev, h, W, nothing(), a_rounded, &err), &err);
	check_about_rounded(a_rounded, a, "linear");
	REQUIRE_OK(op_linear_backward(f->dev, y, W_t, 0, a, &err), &err);
	REQUIRE_OK(op_linear_backward(f->dev, h, W_t, 0, b, &err), &err);
	check_same(a, b, "linear_backward");
	REQUIRE_OK(op_linear_backward(f->dev, h, W_t, 0, a_rounded, &err), &err);
	check_about_rounded(a_rounded, a, "linear_backward");
	REQUIRE_OK(op_gather_rows(f->dev, y, reversed, z, &err), &err);
	REQUIRE_OK(op_gather_rows(f->dev, h, reversed, h2, &err), &err);
	check_rounded(h2, z, "gather_rows");
	REQUIRE_OK(op_rmsnorm_backward(f->dev, norm, x, w, rstd, g, 0, y, &err), &err);
	REQUIRE_OK(op_rmsnorm_backward(f->dev, norm, x, w, rstd, g, 0, h, &err), &err);
	check_rounded(h, y, "rmsnorm_backward");
	end.h = y;
	REQUIRE_OK(op_end_branch(f->dev, &end, &err), &err);
	end.h = h;
	REQUIRE_OK(op_end_branch(f->dev, &end, &err), &err);
	check_rounded(h, y, "end_branch");
	back.dbranch = y;
	REQUIRE_OK(op_end_branch_backward(f->dev, &back, &err), &err);
	back.dbranch = h;
	REQUIRE_OK(op_end_branch_backward(f->dev, &back, &err), &err);
	check_rounded(h, y, "end_branch_backward");
	check_gated_operands(f, n, d);
	check_rope_operands(f, n);
}

TEST(operands_of_fast_cuda_devices_are_their_activations_rounded)
{
	struct device *dev = fixture_device(&cuda_fast_checked_backend, 1);
	static const size_t widths[] = {48, 37, 1028};
	struct fixture f;

	for (size_t i = 0; i < 3; i++) {
		fixture_init(&f, dev, 5 + i);
		check_operands(&f, 6, widths[i]);
		fixture_free(&f);
	}
	device_close(dev);
}

#else

static const struct backend *const tested[] = {NULL}; /* the best CPU level */

/* The float32 reference, the fastest level of the CPU backend, and each that this machine has. */
static const char *const *device_names(void)
{
	static const char *names[16] = {"ref", "cpu"};
	static char levels[13][32];
	size_t n = 0;

	for (const char *const *level = device_cpu_levels(); *level; level++, n++) {
		snprintf(levels[n], sizeof levels[n], "cpu:%s", *level);
		names[2 + n] = levels[n];
	}
	return names;
}

static void compare_everywhere(size_t i)
{
	if (runs_on("ref", true))
		compare_backend(i, &backend_ref_f32, false);
	for (const char *const *name = device_names() + 1; *name; name++) {
		struct device *dev;
		struct err err;

		if (!runs_on(*name, strcmp(*name, "cpu") != 0))
			continue;
		REQUIRE_OK(device_open(&dev, *name, 2, &err), &err);
		compare_on(i, dev, false);
		device_close(dev);
	}
}

#endif

/* A case is a test of its own, so that one which takes its process down costs no other. */
static void agrees_with_the_float64_reference(const void *row)
{
	compare_everywhere((size_t)((const struct op_row *)row - cases));
}

__attribute__((constructor)) static void register_cases(void)
{
	test_register_devices(device_names());
	for (size_t i = 0; i < N_CASES; i++)
		test_register_row(agrees_with_the_float64_reference, &cases[i],
			strndup(cases[i].name, strcspn(cases[i].name, " ,")),
			"op agrees with float64: %s", cases[i].name);
}

static void check_equal(size_t i, const char *how, const struct outputs *a, const struct outputs *b)
{
	REQUIRE(a->rc == 0 && b->rc == 0 && a->n == b->n, "%s fails %s", cases[i].name, how);
	for (size_t j = 0; j < a->n; j++)
		CHECK(a->value[j] == b->value[j] || (isnan(a->value[j]) && isnan(b->value[j])),
			"%s: output %zu is %.9g, and %.9g %s", cases[i].name, j, a->value[j],
			b->value[j], how);
}

#ifdef TEST_EMU

static void run_in_order(size_t i, const struct backend *backend, enum emu_order order,
	uint64_t seed, struct outputs *out)
{
	struct device *dev = fixture_device(backend, 1);

	emu_set_order(order, seed);
	run_case(i, false, dev, out);
	emu_set_order(EMU_FORWARD, 0);
	device_close(dev);
}

TEST(results_do_not_depend_on_the_order_of_threads_and_blocks)
{
	static const char *const names[] = {"in reverse", "in random order 1", "in random order 2"};

#if defined(__SANITIZE_ADDRESS__) || defined(TEST_RACE)
	SKIP("minutes, in which these builds see the same accesses again: the plain one compares");
#endif
	for (size_t b = 0; b < sizeof tested / sizeof *tested; b++) {
		for (size_t i = 0; i < N_CASES; i++) {
			struct outputs forward, other;

			run_in_order(i, tested[b], EMU_FORWARD, 0, &forward);
			for (int k = 0; k < 3; k++) {
				run_in_order(i, tested[b], k == 0 ? EMU_REVERSE : EMU_RANDOM,
					(uint64_t)k, &other);
				check_equal(i, names[k], &forward, &other);
				free(other.value);
			}
			free(forward.value);
		}
	}
}

/* Memory of which only what is touched exists: 300000 rows of 8192, beyond 2^31 elements. */
enum { HUGE_ROWS = 300000, HUGE_COLS = 8192 };

static struct tensor huge_tensor(enum dtype dtype)
{
	struct tensor t = {NULL, dtype, HUGE_ROWS, HUGE_COLS};

	t.data = mmap(NULL, tensor_bytes(t), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t.data == MAP_FAILED) {
		test_fail(__FILE__, __LINE__, "no address space for %zu bytes", tensor_bytes(t));
		exit(1);
	}
	emu_lend(t.data, tensor_bytes(t));
	return t;
}

TEST(features_and_decoder_rows_beyond_2_to_the_31_elements_are_found)
{
	struct device *dev = fixture_device(tested[1], 1);
	struct sae_weights sae = {.W_dec = huge_tensor(DTYPE_BF16)};
	uint16_t *last = (uint16_t *)sae.W_dec.data + (size_t)(HUGE_ROWS - 1) * HUGE_COLS;
	struct tensor g, x_hat;
	struct fixture f;
	struct err err;
	struct csr csr;

	fixture_init(&f, dev, 1);
	csr = make_csr(&f, 1, 1);
	csr.indptr[1] = 1;
	csr.indices[0] = HUGE_ROWS - 1;
	fixture_set(csr.values, 0, 2);
	g = fixture_zeros(&f, 1, HUGE_COLS);
	x_hat = fixture_zeros(&f, 1, HUGE_COLS);
	sae.b_dec = fixture_vector(&f, HUGE_COLS, 0);
	for (size_t j = 0; j < HUGE_COLS; j++) {
		last[j] = f32_to_bf16((float)(j % 5));
		fixture_set(g, j, 1);
	}
	REQUIRE_OK(op_sae_decode(dev, &sae, nothing(), &csr, x_hat, &err), &err);
	REQUIRE_OK(op_csr_attribute(dev, sae.W_dec, g, nothing(), &csr, &err), &err);
	for (size_t j = 0; j < HUGE_COLS; j++)
		CHECK(fixture_get(x_hat, j) == 2.0 * (double)(j % 5), "element %zu is %g", j,
			fixture_get(x_hat, j));
	/* 8192 = 5 * 1638 + 2: 1638 times 0 + 1 + 2 + 3 + 4, then 0 + 1. */
	CHECK(fixture_get(csr.values, 0) == 2 * (1638 * 10 + 1), "found %g",
		fixture_get(csr.values, 0));
	fixture_free(&f);
	munmap(sae.W_dec.data, tensor_bytes(sae.W_dec));
	device_close(dev);
}

/* All keys are 0, so the result is the mean of the values that a query sees. */
static void attend_to_last_rows(const struct backend *backend, struct tensor k, struct tensor v,
	size_t n_rows)
{
	const struct attention a = {HUGE_COLS / 128, HUGE_COLS / 128, 128, 1, 0, 0};
	const int32_t seq[] = {0, 0, 0, 0}, start[] = {HUGE_ROWS - 4};
	const int32_t pos[] = {0, 1, 2, 3};
	struct device *dev = fixture_device(backend, 1);
	struct keys keys = {.k = k, .v = v, .n_seq = 1};
	struct tensor q, out;
	struct fixture f;
	struct err err;

	fixture_init(&f, dev, 1);
	keys.start = fixture_ids(&f, start, 1);
	keys.prefix_k = keys.prefix_v = fixture_zeros(&f, 0, HUGE_COLS);
	q = fixture_activation(&f, n_rows, HUGE_COLS, 1);
	out = fixture_zeros(&f, n_rows, HUGE_COLS);
	REQUIRE_OK(op_attention(dev, &a, q,
			   (struct rows){n_rows, fixture_ids(&f, seq, n_rows),
				   fixture_ids(&f, pos + 4 - n_rows, n_rows)},
			   &keys, out, nothing(), &err),
		&err);
	for (size_t j = 0; j < HUGE_COLS; j++)
		CHECK(fixture_get(out, (n_rows - 1) * HUGE_COLS + j) == 2.5, "element %zu is %g", j,
			fixture_get(out, (n_rows - 1) * HUGE_COLS + j));
	fixture_free(&f);
	device_close(dev);
}

TEST(keys_beyond_2_to_the_31_elements_are_found)
{
	struct tensor k = huge_tensor(DTYPE_F32), v = huge_tensor(DTYPE_F32);

	for (size_t i = 0; i < 4; i++) /* 1, 2, 3, 4 */
		for (size_t j = 0; j < HUGE_COLS; j++)
			((float *)v.data)[(HUGE_ROWS - 4 + i) * HUGE_COLS + j] = (float)(i + 1);
	attend_to_last_rows(tested[0], k, v, 1); /* decoding */
	attend_to_last_rows(tested[0], k, v, 4); /* float32 */
	attend_to_last_rows(tested[1], k, v, 4); /* tensor cores */
	munmap(k.data, tensor_bytes(k));
	munmap(v.data, tensor_bytes(v));
}

#else

TEST(results_do_not_depend_on_the_run_or_the_number_of_threads)
{
	for (size_t i = 0; i < N_CASES; i++) {
		struct outputs first, other;
		struct device *dev = fixture_device(tested[0], 1);

		run_case(i, false, dev, &first);
		device_close(dev);
		dev = fixture_device(tested[0], 3);
		run_case(i, false, dev, &other);
		device_close(dev);
		check_equal(i, "on 3 threads", &first, &other);
		free(first.value);
		free(other.value);
	}
}

#endif

/* ---- exact cases ----------------------------------------------------------------------- */

TEST(a_product_of_small_integers_is_exact)
{
	struct device *dev = fixture_device(tested[0], 2);
	struct fixture f;
	struct err err;

	fixture_init(&f, dev, 1);
	for (size_t n = 1; n <= 40; n += 13) {
		struct tensor x = fixture_zeros(&f, n, 50), y = fixture_zeros(&f, n, 7);
		struct tensor W = fixture_weight(&f, DTYPE_BF16, 7, 50, 0);

		for (size_t i = 0; i < n * 50; i++)
			fixture_set(x, i, (double)(i % 5) - 2);
		for (size_t i = 0; i < 350; i++)
			((uint16_t *)W.data)[i] = f32_to_bf16((float)(i % 9) - 4);
		REQUIRE_OK(op_linear(dev, x, W, nothing(), y, &err), &err);
		for (size_t i = 0; i < n; i++) {
			for (size_t j = 0; j < 7; j++) {
				int expected = 0;

				for (size_t k = 0; k < 50; k++)
					expected += ((int)((i * 50 + k) % 5) - 2) *
						    ((int)((j * 50 + k) % 9) - 4);
				CHECK(fixture_get(y, i * 7 + j) == expected,
					"[%zu, %zu]: expected %d, found %g", i, j, expected,
					fixture_get(y, i * 7 + j));
			}
		}
	}
	fixture_free(&f);
	device_close(dev);
}

TEST(clamping_features_by_scale_one_leaves_the_residual_bit_for_bit)
{
	struct device *dev = fixture_device(tested[0], 2);
	struct fixture f;
	struct err err;
	struct sae_weights few;
	struct tensor x;
	double before[8 * 32];
	const int32_t start[] = {0, 3}, slot[] = {2, 0, 4}, seq[8] = {0};
	const float scale[] = {1, 1, 1}, offset[] = {0, 0, 0};
	struct clamp_lists lists;

	fixture_init(&f, dev, 7);
	lists = (struct clamp_lists){1, fixture_ids(&f, start, 2), fixture_ids(&f, slot, 3),
		fixture_floats(&f, scale, 3), fixture_floats(&f, offset, 3)};
	few = make_sae(&f, 5, 32, DTYPE_F32, KIND_JUMPRELU);
	x = fixture_activation(&f, 8, 32, 3);
	for (size_t i = 0; i < 8 * 32; i++)
		before[i] = fixture_get(x, i);
	REQUIRE_OK(op_clamp_features(dev, &few, &lists,
			   (struct rows){8, fixture_ids(&f, seq, 8), NULL}, nothing(), x, &err),
		&err);
	for (size_t i = 0; i < 8 * 32; i++)
		CHECK(before[i] == fixture_get(x, i), "element %zu changed", i);
	fixture_free(&f);
	device_close(dev);
}

/* An SAE whose feature i is x_i, on rows of planted values: enough features that a library which
 * can marks them (kernels/cuda/gemm.h), most of them exactly 0. */
enum { PLANTED_ROWS = 5, PLANTED = 148, MOST_GIVEN = 8 };

static const struct planted_row {
	struct {
		int32_t id;
		float value;
	} given[MOST_GIVEN]; /* a value of 0 ends */
	int32_t kept[3][4];  /* by threshold 2, by the top 3, by the top 1 of every 8; -1 ends */
} planted_rows[PLANTED_ROWS] = {
	/* equal ones: the lowest ids; equal to its threshold is not above it */
	{{{1, 2}, {4, 2}, {6, 2}, {9, 2}, {19, 2}}, {{-1}, {1, 4, 6, -1}, {1, 9, 19, -1}}},
	/* nothing is positive */
	{{{0, -1}, {7, -3}}, {{-1}, {-1}, {-1}}},
	/* k is larger than the positives */
	{{{3, 1}, {17, 5}, {8, -9}, {140, -2}}, {{17, -1}, {3, 17, -1}, {3, 17, -1}}},
	/* equal ones at the cut, a larger one behind them */
	{{{4, 2}, {9, 2}, {11, 2}, {15, 5}}, {{15, -1}, {4, 9, 15, -1}, {4, 15, -1}}},
	/* just above the threshold */
	{{{2, 2.0000002384185791f}, {5, 3}, {13, 0.5f}, {147, 2}},
		{{2, 5, -1}, {2, 5, 147, -1}, {5, 13, 147, -1}}},
};

static void check_planted(struct device *dev, int rule)
{
	struct fixture f;
	struct err err;
	struct sae_weights sae = {.top_k = rule == 0   ? 0
					   : rule == 1 ? 3
						       : 1,
		.group_width = rule == 2 ? 8 : PLANTED};
	struct tensor x;
	struct csr out;

	fixture_init(&f, dev, 1);
	sae.W_enc_t = sae.W_dec = fixture_weight(&f, DTYPE_F32, PLANTED, PLANTED, 0);
	sae.b_enc = sae.b_dec = fixture_vector(&f, PLANTED, 0);
	sae.threshold = fixture_vector(&f, PLANTED, 0);
	x = fixture_zeros(&f, PLANTED_ROWS, PLANTED);
	out = make_csr(&f, PLANTED_ROWS, PLANTED_ROWS * PLANTED);
	for (size_t i = 0; i < PLANTED; i++) {
		fixture_set(sae.W_enc_t, i * PLANTED + i, 1);
		fixture_set(sae.threshold, i, rule == 0 ? 2 : 0);
	}
	for (size_t r = 0; r < PLANTED_ROWS; r++)
		for (size_t k = 0; k < MOST_GIVEN && planted_rows[r].given[k].value != 0; k++)
			fixture_set(x, r * PLANTED + (size_t)planted_rows[r].given[k].id,
				planted_rows[r].given[k].value);
	REQUIRE_OK(op_sae_encode(dev, &sae, x, &out, &err), &err);
	for (size_t r = 0; r < PLANTED_ROWS; r++) {
		const int32_t *kept = planted_rows[r].kept[rule];
		int32_t e = out.indptr[r];

		for (; *kept >= 0; kept++, e++) {
			REQUIRE(e < out.indptr[r + 1], "%s: rule %d, row %zu lacks feature %d",
				device_description(dev), rule, r, *kept);
			CHECK(out.indices[e] == *kept,
				"%s: rule %d, row %zu: %d is on, expected %d",
				device_description(dev), rule, r, out.indices[e], *kept);
			CHECK(fixture_get(out.values, (size_t)e) ==
					fixture_get(x, r * PLANTED + (size_t)*kept),
				"value of feature %d", *kept);
		}
		CHECK(e == out.indptr[r + 1],
			"%s: rule %d, row %zu has more features than expected",
			device_description(dev), rule, r);
	}
	fixture_free(&f);
}

static void check_planted_rules(struct device *dev)
{
	for (int rule = 0; rule < 3; rule++)
		check_planted(dev, rule);
	device_close(dev);
}

TEST(equal_features_empty_rows_and_thresholds_met_exactly_are_settled_alike_everywhere)
{
	check_planted_rules(fixture_device(&backend_ref_f32, 1));
	check_planted_rules(fixture_device(&backend_ref_f64, 1));
#if defined(TEST_CUDA) || defined(TEST_EMU)
	for (size_t b = 0; b < sizeof tested / sizeof *tested; b++)
		check_planted_rules(fixture_device(tested[b], 1));
#else
	for (const char *const *level = device_cpu_levels(); *level; level++) {
		struct device *dev;
		struct err err;
		char name[64];

		snprintf(name, sizeof name, "cpu:%s", *level);
		REQUIRE_OK(device_open(&dev, name, 2, &err), &err);
		check_planted_rules(dev);
	}
#endif
}

/* Rows of 2 and of the next bfloat16, to features that are x_i + 1/4 beyond 9/4. */
static void check_at_threshold(struct device *dev, enum dtype dtype, size_t n)
{
	enum { WIDTH = 136, CHOSEN = 131 };
	const float next = 2.015625f, zero = 0;
	const int32_t start[] = {0, 1}, slot = CHOSEN;
	struct sae_weights sae = {.group_width = WIDTH};
	struct tensor x, selected;
	struct clamp_lists lists;
	struct fixture f;
	struct csr out;
	struct err err;

	fixture_init(&f, dev, 1);
	sae.W_enc_t = sae.W_dec = fixture_weight(&f, dtype, WIDTH, WIDTH, 0);
	sae.b_enc = fixture_vector(&f, WIDTH, 0);
	sae.threshold = fixture_vector(&f, WIDTH, 0);
	for (size_t i = 0; i < WIDTH; i++) {
		if (dtype == DTYPE_F32)
			fixture_set(sae.W_enc_t, i * WIDTH + i, 1);
		else
			((uint16_t *)sae.W_enc_t.data)[i * WIDTH + i] = f32_to_bf16(1);
		fixture_set(sae.b_enc, i, 0.25);
		fixture_set(sae.threshold, i, 2.25);
	}
	x = fixture_zeros(&f, n, WIDTH);
	for (size_t i = 0; i < n * WIDTH; i++)
		fixture_set(x, i, i % WIDTH == CHOSEN && i / WIDTH % 2 ? next : 2);
	out = make_csr(&f, n, n * WIDTH);
	selected = fixture_zeros(&f, n, WIDTH);
	lists = (struct clamp_lists){1, fixture_ids(&f, start, 2), fixture_ids(&f, &slot, 1),
		fixture_floats(&f, &zero, 1), fixture_floats(&f, &zero, 1)};
	REQUIRE_OK(op_sae_encode(dev, &sae, x, &out, &err), &err);
	REQUIRE_OK(op_sae_encode_selected(dev, &sae, x, selected, &err), &err);
	REQUIRE_OK(op_clamp_features(dev, &sae, &lists,
			   (struct rows){n, fixture_random_ids(&f, n, 1), NULL}, nothing(), x,
			   &err),
		&err);
	for (size_t row = 0; row < n; row++) {
		const double value = row % 2 ? next + 0.25 : 0;

		CHECK(out.indptr[row + 1] == (int32_t)(row + 1) / 2 &&
				(!value || (out.indices[row / 2] == CHOSEN &&
						   fixture_get(out.values, row / 2) == value)),
			"%s, %s: row %zu of %zu encodes to other features", device_description(dev),
			dtype_name(dtype), row, n);
		for (size_t i = 0; i < WIDTH; i++) {
			const double must = i == CHOSEN ? value : 0;

			CHECK(fixture_get(selected, row * WIDTH + i) == must,
				"%s, %s: feature %zu of row %zu is %g when selected",
				device_description(dev), dtype_name(dtype), i, row,
				fixture_get(selected, row * WIDTH + i));
		}
		CHECK(fixture_get(x, row * WIDTH + CHOSEN) == (value ? -0.25 : 2),
			"%s, %s: the clamp leaves %g in row %zu", device_description(dev),
			dtype_name(dtype), fixture_get(x, row * WIDTH + CHOSEN), row);
	}
	fixture_free(&f);
}

static void check_ways_at_threshold(struct device *dev)
{
	for (int wide = 0; wide < 2; wide++) {
		check_at_threshold(dev, DTYPE_F32, wide ? 130 : 4);
		check_at_threshold(dev, DTYPE_BF16, wide ? 130 : 4);
	}
	device_close(dev);
}

TEST(a_feature_exactly_at_its_threshold_is_off_in_whatever_way_it_is_asked_for)
{
	check_ways_at_threshold(fixture_device(&backend_ref_f64, 1));
#if defined(TEST_CUDA) || defined(TEST_EMU)
	for (size_t b = 0; b < sizeof tested / sizeof *tested; b++)
		check_ways_at_threshold(fixture_device(tested[b], 1));
#else
	check_ways_at_threshold(fixture_device(NULL, 1));
#endif
}

#ifdef TEST_EMU
static uint64_t run_under(size_t i, enum emu_products rules, struct outputs *out)
{
	const uint64_t before = emu_product_calls_made().with_mask;
	struct device *dev = fixture_device(&cuda_fast_checked_backend, 1);

	emu_set_products(rules);
	run_case(i, true, dev, out);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(out->rc == 0, "%s: %s", cases[i].name, out->err.text);
	device_close(dev);
	return emu_product_calls_made().with_mask - before;
}

TEST(features_are_the_same_whatever_the_library_makes_of_its_mask)
{
	static const enum emu_products rules[] = {EMU_PRODUCTS_NO_MASK, EMU_PRODUCTS_MASK_REFUSED,
		EMU_PRODUCTS_MASK_OF_BYTES, EMU_PRODUCTS_MASK_OF_ROWS, EMU_PRODUCTS_MASK_UNTOUCHED};
	size_t n_masked = 0;

	for (size_t i = 0; i < N_CASES; i++) {
		struct outputs with, without;

		if (cases[i].run != run_sae || cases[i].p[2] > 400)
			continue;
		if (run_under(i, EMU_PRODUCTS_WORK, &with) > 0) {
			n_masked++;
			for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
				run_under(i, rules[r], &without);
				CHECK(with.n == without.n &&
						memcmp(with.value, without.value,
							with.n * sizeof *with.value) == 0,
					"%s: other outputs by rule %d", cases[i].name,
					(int)rules[r]);
				free(without.value);
			}
		}
		free(with.value);
	}
	CHECK(n_masked >= 9, "%zu cases get a mask", n_masked);
}
#endif

#if !defined(TEST_CUDA) && !defined(TEST_EMU) && defined(__x86_64__)
TEST(onednn_computes_at_the_level_that_the_device_is_opened_at)
{
	struct device *dev, *other;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu:x86-64-v2", 1, &err), &err);
	CHECK(strncmp(device_arithmetic(dev), "cpu:x86-64-v2, oneDNN ", 22) == 0 &&
			strstr(device_arithmetic(dev), " at cpu_isa_sse41, "),
		"%s", device_arithmetic(dev));
	/* It takes one level per process, and says which. */
	REQUIRE_OK(device_open(&other, "cpu", 1, &err), &err);
	CHECK(strstr(device_arithmetic(other), " at cpu_isa_sse41, "), "%s",
		device_arithmetic(other));
	device_close(other);
	device_close(dev);
}
#endif

TEST(ablating_a_unit_vector_leaves_nothing_along_it)
{
	struct device *dev = fixture_device(tested[0], 2);
	struct fixture f;
	struct err err;
	struct tensor u, x;
	double norm = 0;

	fixture_init(&f, dev, 3);
	u = fixture_vector(&f, 100, 1);
	x = fixture_activation(&f, 4, 100, 10);
	for (size_t j = 0; j < 100; j++)
		norm += fixture_get(u, j) * fixture_get(u, j);
	for (size_t j = 0; j < 100; j++)
		fixture_set(u, j, fixture_get(u, j) / sqrt(norm));
	REQUIRE_OK(op_ablate_direction(dev, u, x, &err), &err);
	for (size_t i = 0; i < 4; i++) {
		double along = 0;

		for (size_t j = 0; j < 100; j++)
			along += fixture_get(x, i * 100 + j) * fixture_get(u, j);
		CHECK(fabs(along) < 1e-5, "row %zu: %g along u", i, along); /* of norm 58 */
	}
	fixture_free(&f);
	device_close(dev);
}

TEST(attention_over_equal_values_returns_that_value)
{
	struct device *dev = fixture_device(tested[0], 2);
	const struct attention a = {2, 1, 8, 0.5, 0, 0};
	struct fixture f;
	struct err err;
	struct sequences s;
	struct tensor q, out;

	fixture_init(&f, dev, 5);
	s = make_sequences(&f, &a, 3, 4, 0, 80);
	for (size_t i = 0; i < tensor_count(s.keys.v); i++)
		fixture_set(s.keys.v, i, 2.5);
	for (size_t i = 0; i < tensor_count(s.keys.prefix_v); i++)
		fixture_set(s.keys.prefix_v, i, 2.5);
	q = fixture_activation(&f, s.rows.n, 16, 3);
	out = fixture_zeros(&f, s.rows.n, 16);
	REQUIRE_OK(op_attention(dev, &a, q, s.rows, &s.keys, out, nothing(), &err), &err);
	for (size_t i = 0; i < tensor_count(out); i++)
		CHECK(fabs(fixture_get(out, i) - 2.5) < 1e-5, "element %zu is %g", i,
			fixture_get(out, i));
	fixture_free(&f);
	device_close(dev);
}

TEST(a_nan_in_attention_is_never_hidden)
{
	struct device *dev = fixture_device(tested[0], 2);
	const struct attention a = {2, 1, 8, 0.5, 30, 0};
	struct fixture f;
	struct err err;
	struct sequences s;
	struct tensor q, out;

	fixture_init(&f, dev, 5);
	s = make_sequences(&f, &a, 1, 4, 0, 30);
	q = fixture_activation(&f, s.rows.n, 16, 3);
	out = fixture_zeros(&f, s.rows.n, 16);
	fixture_set(s.keys.prefix_k, 0, NAN);
	REQUIRE_OK(op_attention(dev, &a, q, s.rows, &s.keys, out, nothing(), &err), &err);
	CHECK(isnan(fixture_get(out, 0)), "found %g", fixture_get(out, 0));
	fixture_free(&f);
	device_close(dev);
}

/* ---- planted mistakes ------------------------------------------------------------------ */

#ifdef TEST_RACE

#include <sys/wait.h>
#include <unistd.h>

enum { N_TESTED = sizeof tested / sizeof *tested, MAX_BARRIERS = 128 };

enum { N_RUNS = N_CASES * N_TESTED }; /* case by device */

/* Which runs come to which barrier; all, the shortest first. */
static bool comes_by[N_RUNS][MAX_BARRIERS];
static double seconds[N_RUNS];
static size_t shortest[N_RUNS];

static void see_barriers(size_t run)
{
	const double start = clock_seconds();
	struct outputs out;

	emu_forget_met();
	run_in_order(run / N_TESTED, tested[run % N_TESTED], EMU_FORWARD, 0, &out);
	free(out.value);
	seconds[run] = clock_seconds() - start;
	for (size_t b = 0; b < emu_barriers(); b++)
		comes_by[run][b] = emu_barrier_met(b);
}

static int compare_seconds(const void *a, const void *b)
{
	const double x = seconds[*(const size_t *)a], y = seconds[*(const size_t *)b];

	return (x > y) - (x < y);
}

/* In a process of its own: exits with 0 when nothing was noticed. The harness ends it itself when
 * it finds something. */
static void run_without_barrier(size_t barrier)
{
	emu_set_blind_barrier((ptrdiff_t)barrier);
	if (!freopen("/dev/null", "w", stderr))
		_exit(1);
	for (size_t i = 0; i < N_RUNS; i++) {
		const size_t run = shortest[i];

		for (int order = 0; comes_by[run][barrier] && order < 2; order++) {
			struct outputs out;

			run_in_order(run / N_TESTED, tested[run % N_TESTED],
				order ? EMU_REVERSE : EMU_FORWARD, 0, &out);
			if (out.rc || emu_races() > 0)
				_exit(1);
			free(out.value);
		}
	}
	_exit(0);
}

TEST(no_barrier_can_be_left_out_unnoticed)
{
	for (size_t run = 0; run < N_RUNS; run++) {
		see_barriers(run);
		shortest[run] = run;
	}
	qsort(shortest, N_RUNS, sizeof *shortest, compare_seconds);
	REQUIRE(emu_barriers() > 0 && emu_barriers() <= MAX_BARRIERS, "%zu barriers",
		emu_barriers());
	REQUIRE(emu_races() == 0, "%zu races before anything was left out", emu_races());
	for (size_t b = 0; b < emu_barriers(); b++) {
		int status = 0;
		pid_t child;

		fflush(NULL);
		child = fork();
		if (child == 0)
			run_without_barrier(b);
		REQUIRE(child > 0 && waitpid(child, &status, 0) == child, "cannot start a process");
		CHECK(status != 0, "without the barrier at %s nothing is noticed",
			emu_barrier_name(b));
	}
	printf("  %zu barriers left out, one at a time\n", emu_barriers());
}

#endif
