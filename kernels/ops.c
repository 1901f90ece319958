/* SPDX-License-Identifier: MIT
 *
 * ops.c - the door to every backend: checks shapes and types once, in the same words for all
 * backends, keeps the time per op, and calls the backend. Contract: ops.h.
 * Tests: tests/test_ops.c (results), tests/test_op_errors.c (refusals).
 */
#include "kernels/backend.h"

#include "host/base/clock.h"

/* Calls the backend's `name` with the op's own arguments, on the clock. op_bytes: MOVES(...). */
#define DISPATCH(name, op_flops, op_bytes, ...) \
	do { \
		const double start = clock_seconds(); \
		const int rc = dev->backend->name(__VA_ARGS__); \
		dev->times[OP_##name].seconds += clock_seconds() - start; \
		dev->times[OP_##name].flops += (double)(op_flops); \
		dev->times[OP_##name].bytes += (double)(op_bytes); \
		dev->times[OP_##name].calls++; \
		return rc; \
	} while (0)

/* ---- bytes ----------------------------------------------------------------------------- */

/* Bytes of tensors, of which absent ones have none. */
static size_t bytes_of(const struct tensor *tensors, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += tensors[i].data ? tensor_bytes(tensors[i]) : 0;
	return bytes;
}

/* Tensors that an op reads or writes, once; what it changes in place is named twice. */
#define MOVES(...) \
	bytes_of((const struct tensor[]){__VA_ARGS__}, \
		sizeof((const struct tensor[]){__VA_ARGS__}) / sizeof(struct tensor))

/* A matrix with as many elements as the slice. */
static struct tensor columns(struct slice s)
{
	s.of.cols = s.n;
	return s.of;
}

static struct tensor some_rows(struct tensor t, size_t n)
{
	t.rows = n;
	return t;
}

/* dx, which is added to where beta is 1. */
static struct tensor if_added(double beta, struct tensor dx)
{
	return some_rows(dx, beta == 0 ? 0 : dx.rows);
}

/* The operand x of a product with W, as the product reads it; where that rounds it first, what the
 * rounding moves beside. */
static size_t operand_bytes(const struct device *dev, struct tensor x, struct tensor W)
{
	const bool rounds = device_rounds_products(dev) && x.dtype == DTYPE_F32 &&
			    W.dtype != DTYPE_F32;
	const size_t rounded = tensor_count(x) * sizeof(uint16_t);

	return tensor_bytes(x) + (rounds ? 2 * rounded : 0);
}

/* The encoder's rows and vectors. */
static size_t encoder_bytes(const struct sae_weights *sae)
{
	return MOVES(sae->W_enc_t, sae->b_enc, sae->threshold, sae->gain, sae->shift);
}

/* ---- checks ---------------------------------------------------------------------------- */

struct check {
	const struct device *dev;
	const char *op;
	struct err *err;
};

static int wrong_shape(struct check c, const char *what, struct tensor t, size_t rows, size_t cols)
{
	return err_set(c.err, ERR_INTERNAL,
		"op %s: %s: expected shape [%zu, %zu], found [%zu, %zu]", c.op, what, rows, cols,
		t.rows, t.cols);
}

static int wrong_type(struct check c, const char *what, struct tensor t, const char *expected)
{
	return err_set(c.err, ERR_INTERNAL, "op %s: %s: expected %s, found %s", c.op, what,
		expected, dtype_name(t.dtype));
}

static int condition(struct check c, bool holds, const char *expected)
{
	if (holds)
		return 0;
	return err_set(c.err, ERR_INTERNAL, "op %s: expected %s", c.op, expected);
}

static int activation(struct check c, const char *what, struct tensor t, size_t rows, size_t cols)
{
	if (t.rows != rows || t.cols != cols)
		return wrong_shape(c, what, t, rows, cols);
	if (t.dtype != device_activation(c.dev))
		return wrong_type(c, what, t, dtype_name(device_activation(c.dev)));
	if (!t.data && tensor_count(t) > 0)
		return err_set(c.err, ERR_INTERNAL, "op %s: %s is absent", c.op, what);
	return 0;
}

static int optional_activation(struct check c, const char *what, struct tensor t, size_t rows,
	size_t cols)
{
	return t.data ? activation(c, what, t, rows, cols) : 0;
}

/* An activation, or the same as products round it: on devices that round, and on the reference that
 * they are compared with. */
static int operand(struct check c, const char *what, struct tensor t, size_t rows, size_t cols)
{
	const enum dtype own = device_activation(c.dev);

	if (t.dtype == DTYPE_BF16 && (device_rounds_products(c.dev) || own == DTYPE_F64))
		t.dtype = own;
	return activation(c, what, t, rows, cols);
}

/* A slice of an activation. */
static int slice(struct check c, const char *what, struct slice t, size_t rows, size_t cols)
{
	if (t.n != cols || t.first + t.n > t.of.cols)
		return err_set(c.err, ERR_INTERNAL,
			"op %s: %s: expected %zu columns, found %zu from %zu on of %zu", c.op, what,
			cols, t.n, t.first, t.of.cols);
	return activation(c, what, t.of, rows, t.of.cols);
}

static int operand_slice(struct check c, const char *what, struct slice t, size_t rows, size_t cols)
{
	TRY(operand(c, what, t.of, rows, t.of.cols));
	t.of.dtype = device_activation(c.dev);
	return slice(c, what, t, rows, cols);
fail:
	return c.err->code;
}

/* The operand of a product with W. */
static int operand_of(struct check c, const char *what, struct tensor t, struct tensor W,
	size_t rows, size_t cols)
{
	TRY(operand(c, what, t, rows, cols));
	return condition(c, t.dtype == device_activation(c.dev) || t.dtype == W.dtype,
		"an operand rounded to the type of W");
fail:
	return c.err->code;
}

static int weight(struct check c, const char *what, struct tensor t, size_t rows, size_t cols)
{
	if (t.rows != rows || t.cols != cols)
		return wrong_shape(c, what, t, rows, cols);
	if (t.dtype != DTYPE_F32 && t.dtype != DTYPE_BF16 && t.dtype != DTYPE_F16)
		return wrong_type(c, what, t, "float32, bfloat16 or float16");
	if (!t.data && tensor_count(t) > 0)
		return err_set(c.err, ERR_INTERNAL, "op %s: %s is absent", c.op, what);
	return 0;
}

static int vector(struct check c, const char *what, struct tensor t, size_t n)
{
	if (t.rows != 1 || t.cols != n)
		return wrong_shape(c, what, t, 1, n);
	if (t.dtype != DTYPE_F32)
		return wrong_type(c, what, t, "float32");
	if (!t.data && n > 0)
		return err_set(c.err, ERR_INTERNAL, "op %s: %s is absent", c.op, what);
	return 0;
}

static int sae_encoder(struct check c, const struct sae_weights *sae, size_t d_model)
{
	const size_t n = sae->W_enc_t.rows;

	TRY(weight(c, "W_enc_t", sae->W_enc_t, n, d_model));
	TRY(vector(c, "b_enc", sae->b_enc, n));
	TRY(vector(c, "threshold", sae->threshold, n));
	if (sae->gain.data || sae->shift.data) {
		TRY(vector(c, "gain", sae->gain, n));
		TRY(vector(c, "shift", sae->shift, n));
	}
	return 0;
fail:
	return c.err->code;
}

static int sparse(struct check c, const char *what, const struct csr *f, size_t n_rows)
{
	if (f->n_rows != n_rows)
		return err_set(c.err, ERR_INTERNAL, "op %s: %s: expected %zu rows, found %zu", c.op,
			what, n_rows, f->n_rows);
	return activation(c, what, f->values, f->capacity, 1);
}

static int attention_shapes(struct check c, const struct attention *a, struct tensor q,
	struct rows rows, const struct keys *keys)
{
	const size_t width = a->n_kv_head * a->head_dim;

	TRY(condition(c, a->n_kv_head > 0 && a->n_head % a->n_kv_head == 0,
		"the number of heads to be a multiple of the number of key-value heads"));
	TRY(activation(c, "q", q, rows.n, a->n_head * a->head_dim));
	TRY(operand(c, "prefix_k", keys->prefix_k, keys->prefix_k.rows, width));
	TRY(operand(c, "prefix_v", keys->prefix_v, keys->prefix_k.rows, width));
	TRY(operand(c, "k", keys->k, keys->k.rows, width));
	TRY(operand(c, "v", keys->v, keys->k.rows, width));
	return condition(c,
		keys->prefix_k.dtype == keys->k.dtype && keys->prefix_v.dtype == keys->k.dtype &&
			keys->v.dtype == keys->k.dtype,
		"keys and values of one type");
fail:
	return c.err->code;
}

/* ---- moving rows ----------------------------------------------------------------------- */

int op_copy(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	const struct check c = {dev, "copy", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(activation(c, "y", y, x.rows, x.cols));
	DISPATCH(copy, 0, MOVES(x, y), dev, x, y, err);
fail:
	return err->code;
}

int op_to_half(struct device *dev, struct tensor x, struct tensor y, struct err *err)
{
	const struct check c = {dev, "to_half", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(weight(c, "y", y, x.rows, x.cols));
	TRY(condition(c, y.dtype == DTYPE_F16, "y in float16"));
	DISPATCH(to_half, 0, MOVES(x, y), dev, x, y, err);
fail:
	return err->code;
}

int op_axpy(struct device *dev, double a, struct tensor x, struct tensor y, struct err *err)
{
	const struct check c = {dev, "axpy", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(activation(c, "y", y, x.rows, x.cols));
	DISPATCH(axpy, 0, MOVES(x, y, y), dev, a, x, y, err);
fail:
	return err->code;
}

int op_scale(struct device *dev, double a, struct tensor x, struct err *err)
{
	const struct check c = {dev, "scale", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	DISPATCH(scale, 0, a == 0 ? MOVES(x) : MOVES(x, x), dev, a, x, err);
fail:
	return err->code;
}

int op_gather_rows(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	const struct check c = {dev, "gather_rows", err};

	TRY(operand(c, "in", in, in.rows, in.cols));
	TRY(operand(c, "out", out, out.rows, in.cols));
	TRY(condition(c, in.dtype == out.dtype, "operands of one type"));
	DISPATCH(gather_rows, 0, MOVES(out, out), dev, in, index, out, err);
fail:
	return err->code;
}

int op_scatter_rows(struct device *dev, struct tensor in, const int32_t *index, struct tensor out,
	struct err *err)
{
	const struct check c = {dev, "scatter_rows", err};

	TRY(activation(c, "in", in, in.rows, in.cols));
	TRY(activation(c, "out", out, out.rows, in.cols));
	TRY(condition(c, out.rows >= in.rows, "an output with room for every row"));
	DISPATCH(scatter_rows, 0, MOVES(in, in), dev, in, index, out, err);
fail:
	return err->code;
}

int op_advance(struct device *dev, size_t n, const int32_t *next, int32_t *token, int32_t *pos,
	int32_t *cache_row, struct err *err)
{
	DISPATCH(advance, 0, 7 * n * sizeof *next, dev, n, next, token, pos, cache_row, err);
}

int op_fill_ids(struct device *dev, size_t n, int32_t value, int32_t *id, struct err *err)
{
	DISPATCH(fill_ids, 0, n * sizeof *id, dev, n, value, id, err);
}

int op_find_nonfinite(struct device *dev, struct tensor x, int32_t *first_bad, struct err *err)
{
	const struct check c = {dev, "find_nonfinite", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	DISPATCH(find_nonfinite, 0, MOVES(x), dev, x, first_bad, err);
fail:
	return err->code;
}

/* ---- transformer ----------------------------------------------------------------------- */

int op_embed(struct device *dev, struct tensor E, const int32_t *token, double scale,
	struct tensor x, struct err *err)
{
	const struct check c = {dev, "embed", err};

	TRY(weight(c, "E", E, E.rows, x.cols));
	TRY(activation(c, "x", x, x.rows, x.cols));
	DISPATCH(embed, 0, MOVES(some_rows(E, x.rows), x), dev, E, token, scale, x, err);
fail:
	return err->code;
}

int op_rmsnorm(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	const struct check c = {dev, "rmsnorm", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(vector(c, "w", w, x.cols));
	TRY(operand(c, "y", y, x.rows, x.cols));
	TRY(optional_activation(c, "rstd", rstd, x.rows, 1));
	DISPATCH(rmsnorm, 0, MOVES(x, w, y, rstd), dev, norm, x, w, y, rstd, err);
fail:
	return err->code;
}

int op_rmsnorm_backward(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, double beta, struct tensor dx, struct err *err)
{
	const struct check c = {dev, "rmsnorm_backward", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(vector(c, "w", w, x.cols));
	TRY(activation(c, "rstd", rstd, x.rows, 1));
	TRY(activation(c, "dy", dy, x.rows, x.cols));
	TRY(condition(c, beta == 0 || beta == 1, "beta 0 or 1"));
	TRY(beta == 0 ? operand(c, "dx", dx, x.rows, x.cols)
		      : activation(c, "dx", dx, x.rows, x.cols));
	DISPATCH(rmsnorm_backward, 0, MOVES(x, w, rstd, dy, if_added(beta, dx), dx), dev, norm, x,
		w, rstd, dy, beta, dx, err);
fail:
	return err->code;
}

int op_end_branch(struct device *dev, const struct branch_end *b, struct err *err)
{
	const struct check c = {dev, "end_branch", err};
	const size_t n = b->branch.rows, d = b->branch.cols;

	TRY(activation(c, "branch", b->branch, n, d));
	if (b->w_branch.data)
		TRY(vector(c, "w_branch", b->w_branch, d));
	TRY(optional_activation(c, "rstd_branch", b->rstd_branch, n, 1));
	TRY(activation(c, "x_in", b->x_in, n, d));
	TRY(activation(c, "x_out", b->x_out, n, d));
	TRY(optional_activation(c, "target", b->target, n, d));
	if (b->w_next.data) {
		TRY(vector(c, "w_next", b->w_next, d));
		TRY(operand(c, "h", b->h, n, d));
	}
	TRY(optional_activation(c, "rstd_next", b->rstd_next, n, 1));
	DISPATCH(end_branch, 0,
		MOVES(b->branch, b->w_branch, b->rstd_branch, b->x_in, b->x_out, b->target,
			b->w_next, b->w_next.data ? b->h : b->w_next, b->rstd_next),
		dev, b, err);
fail:
	return err->code;
}

/* g is written where it changes. */
static size_t end_branch_back_bytes(const struct branch_end_back *b)
{
	const struct tensor absent = {0};
	const bool changes = b->dh.data || b->keep != 1;

	return MOVES(if_added(b->beta, b->g), changes ? b->g : absent, b->gradient, b->gradient,
		       b->dbranch) +
	       (b->dh.data ? MOVES(b->dh, b->x_out, b->w_next, b->rstd_next) : 0) +
	       (b->dbranch.data && b->w_branch.data ? MOVES(b->branch, b->w_branch, b->rstd_branch)
						    : 0);
}

int op_end_branch_backward(struct device *dev, const struct branch_end_back *b, struct err *err)
{
	const struct check c = {dev, "end_branch_backward", err};
	const size_t n = b->g.rows, d = b->g.cols;

	TRY(activation(c, "g", b->g, n, d));
	TRY(condition(c, b->beta == 1 || (b->beta == 0 && b->dh.data), "beta 1, or 0 with a dh"));
	if (b->dh.data) {
		TRY(activation(c, "dh", b->dh, n, d));
		TRY(activation(c, "x_out", b->x_out, n, d));
		TRY(vector(c, "w_next", b->w_next, d));
		TRY(activation(c, "rstd_next", b->rstd_next, n, 1));
	}
	TRY(optional_activation(c, "gradient", b->gradient, n, d));
	if (b->dbranch.data)
		TRY(operand(c, "dbranch", b->dbranch, n, d));
	if (b->dbranch.data && b->w_branch.data) {
		TRY(activation(c, "branch", b->branch, n, d));
		TRY(vector(c, "w_branch", b->w_branch, d));
		TRY(activation(c, "rstd_branch", b->rstd_branch, n, 1));
	}
	DISPATCH(end_branch_backward, 0, end_branch_back_bytes(b), dev, b, err);
fail:
	return err->code;
}

int op_linear(struct device *dev, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *err)
{
	const struct check c = {dev, "linear", err};

	TRY(operand_of(c, "x", x, W, x.rows, x.cols));
	TRY(weight(c, "W", W, W.rows, x.cols));
	if (bias.data)
		TRY(vector(c, "bias", bias, W.rows));
	TRY(operand_of(c, "y", y, W, x.rows, W.rows));
	TRY(condition(c, y.dtype == device_activation(dev) || !bias.data,
		"no bias where y is rounded"));
	DISPATCH(linear, 2.0 * (double)x.rows * (double)W.rows * (double)W.cols,
		operand_bytes(dev, x, W) + MOVES(W, bias, y), dev, x, W, bias, y, err);
fail:
	return err->code;
}

int op_linear_backward(struct device *dev, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *err)
{
	const struct check c = {dev, "linear_backward", err};

	TRY(operand_of(c, "dy", dy, W, dy.rows, W.rows));
	TRY(weight(c, "W", W, W.rows, W.cols));
	TRY(operand_of(c, "dx", dx, W, dy.rows, W.cols));
	TRY(condition(c, beta == 0 || beta == 1, "beta 0 or 1"));
	TRY(condition(c, dx.dtype == device_activation(dev) || beta == 0,
		"beta 0 where dx is rounded"));
	DISPATCH(linear_backward, 2.0 * (double)dy.rows * (double)W.rows * (double)W.cols,
		operand_bytes(dev, dy, W) + MOVES(W, if_added(beta, dx), dx), dev, dy, W, beta, dx,
		err);
fail:
	return err->code;
}

static int heads(struct check c, size_t width, size_t head_dim)
{
	return condition(c, head_dim > 0 && head_dim % 2 == 0 && width % head_dim == 0,
		"an even head_dim that divides the width");
}

int op_rope(struct device *dev, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *err)
{
	const struct check c = {dev, "rope", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(heads(c, x.cols, head_dim));
	TRY(condition(c, direction == 1 || direction == -1, "direction 1 or -1"));
	TRY(weight(c, "cos_table", cos_table, cos_table.rows, head_dim / 2));
	TRY(weight(c, "sin_table", sin_table, cos_table.rows, head_dim / 2));
	DISPATCH(rope, 0, MOVES(x, x), dev, head_dim, direction, cos_table, sin_table, pos, x, err);
fail:
	return err->code;
}

/* v, where it is in its place already, stays. */
static size_t rope_keys_bytes(const struct rope_call *r)
{
	const size_t n = r->k.of.rows;
	const struct tensor k_out = some_rows(columns(r->k_out), n);
	const struct tensor v_out = some_rows(columns(r->v_out), n);

	return MOVES(columns(r->q), columns(r->q_out), columns(r->k), k_out) +
	       (slices_coincide(r->v, r->v_out) ? 0 : MOVES(columns(r->v), v_out));
}

int op_rope_keys(struct device *dev, const struct rope_call *r, struct err *err)
{
	const struct check c = {dev, "rope_keys", err};
	const size_t n = r->k.of.rows, width = r->k.n;

	if (r->q.of.data) {
		TRY(slice(c, "q", r->q, n, r->q.n));
		TRY(operand_slice(c, "q_out", r->q_out, n, r->q.n));
		TRY(condition(c,
			r->q_out.of.dtype == r->k_out.of.dtype ||
				r->q_out.of.dtype == device_activation(dev),
			"q_out an activation, or of the type of k_out"));
		TRY(heads(c, r->q.n, r->head_dim));
	}
	TRY(slice(c, "k", r->k, n, width));
	TRY(heads(c, width, r->head_dim));
	TRY(slice(c, "v", r->v, n, width));
	TRY(operand_slice(c, "k_out", r->k_out, r->k_out.of.rows, width));
	TRY(operand_slice(c, "v_out", r->v_out, r->k_out.of.rows, width));
	TRY(condition(c, r->k_out.of.dtype == r->v_out.of.dtype, "k_out and v_out of one type"));
	TRY(condition(c, r->k_out.of.rows >= n, "places for every row"));
	TRY(condition(c, r->direction == 1 || r->direction == -1, "direction 1 or -1"));
	TRY(weight(c, "cos_table", r->cos_table, r->cos_table.rows, r->head_dim / 2));
	TRY(weight(c, "sin_table", r->sin_table, r->cos_table.rows, r->head_dim / 2));
	DISPATCH(rope_keys, 0, rope_keys_bytes(r), dev, r, err);
fail:
	return err->code;
}

/* q, and each key and value once. */
static size_t attention_bytes(struct tensor q, const struct keys *keys)
{
	return MOVES(q, keys->prefix_k, keys->prefix_v, keys->k, keys->v);
}

int op_attention(struct device *dev, const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys, struct tensor out, struct tensor lse, struct err *err)
{
	const struct check c = {dev, "attention", err};

	TRY(attention_shapes(c, a, q, rows, keys));
	TRY(operand(c, "out", out, q.rows, q.cols));
	TRY(optional_activation(c, "lse", lse, q.rows, a->n_head));
	DISPATCH(attention, 0, attention_bytes(q, keys) + MOVES(out, lse), dev, a, q, rows, keys,
		out, lse, err);
fail:
	return err->code;
}

int op_attention_backward(struct device *dev, const struct attention *a, struct tensor q,
	struct rows rows, const struct keys *keys, struct tensor out, struct tensor lse,
	struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv, struct err *err)
{
	const struct check c = {dev, "attention_backward", err};

	TRY(attention_shapes(c, a, q, rows, keys));
	TRY(operand(c, "out", out, q.rows, q.cols));
	TRY(activation(c, "lse", lse, q.rows, a->n_head));
	TRY(activation(c, "dout", dout, q.rows, q.cols));
	TRY(activation(c, "dq", dq, q.rows, q.cols));
	TRY(activation(c, "dk", dk, keys->k.rows, keys->k.cols));
	TRY(activation(c, "dv", dv, keys->k.rows, keys->k.cols));
	DISPATCH(attention_backward, 0,
		attention_bytes(q, keys) + MOVES(out, lse, dout, dq, dk, dv), dev, a, q, rows, keys,
		out, lse, dout, dq, dk, dv, err);
fail:
	return err->code;
}

int op_gated(struct device *dev, enum activation act, struct slice gate, struct slice up,
	struct tensor out, struct err *err)
{
	const struct check c = {dev, "gated", err};

	TRY(operand_slice(c, "gate", gate, out.rows, out.cols));
	TRY(operand_slice(c, "up", up, out.rows, out.cols));
	TRY(operand(c, "out", out, out.rows, out.cols));
	TRY(condition(c, gate.of.dtype == out.dtype && up.of.dtype == out.dtype,
		"operands of one type"));
	DISPATCH(gated, 0, MOVES(columns(gate), columns(up), out), dev, act, gate, up, out, err);
fail:
	return err->code;
}

int op_gated_backward(struct device *dev, enum activation act, struct slice gate, struct slice up,
	struct tensor dout, struct slice dgate, struct slice dup, struct err *err)
{
	const struct check c = {dev, "gated_backward", err};

	TRY(operand_slice(c, "gate", gate, dout.rows, dout.cols));
	TRY(operand_slice(c, "up", up, dout.rows, dout.cols));
	TRY(operand(c, "dout", dout, dout.rows, dout.cols));
	TRY(operand_slice(c, "dgate", dgate, dout.rows, dout.cols));
	TRY(operand_slice(c, "dup", dup, dout.rows, dout.cols));
	TRY(condition(c,
		gate.of.dtype == dout.dtype && up.of.dtype == dout.dtype &&
			dgate.of.dtype == dout.dtype && dup.of.dtype == dout.dtype,
		"operands of one type"));
	DISPATCH(gated_backward, 0,
		MOVES(columns(gate), columns(up), dout, columns(dgate), columns(dup)), dev, act,
		gate, up, dout, dgate, dup, err);
fail:
	return err->code;
}

int op_softcap(struct device *dev, double cap, struct tensor x, struct err *err)
{
	const struct check c = {dev, "softcap", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	DISPATCH(softcap, 0, cap == 0 ? 0 : MOVES(x, x), dev, cap, x, err);
fail:
	return err->code;
}

/* ---- readings of logits ---------------------------------------------------------------- */

int op_argmax(struct device *dev, double cap, struct tensor logits, int32_t *out,
	struct tensor lead, struct err *err)
{
	const struct check c = {dev, "argmax", err};

	TRY(activation(c, "logits", logits, logits.rows, logits.cols));
	TRY(condition(c, logits.cols > 0, "at least one token"));
	if (lead.data)
		TRY(activation(c, "lead", lead, logits.rows, 1));
	DISPATCH(argmax, 0, MOVES(logits, lead), dev, cap, logits, out, lead, err);
fail:
	return err->code;
}

int op_token_logprob(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	const struct check c = {dev, "token_logprob", err};

	TRY(activation(c, "logits", logits, logits.rows, logits.cols));
	TRY(activation(c, "out", out, logits.rows, 1));
	DISPATCH(token_logprob, 0, MOVES(logits, out), dev, logits, token, out, err);
fail:
	return err->code;
}

int op_kl(struct device *dev, struct tensor p, struct tensor q, struct tensor out, struct err *err)
{
	const struct check c = {dev, "kl", err};

	TRY(activation(c, "p", p, p.rows, p.cols));
	TRY(activation(c, "q", q, p.rows, p.cols));
	TRY(activation(c, "out", out, p.rows, 1));
	DISPATCH(kl, 0, MOVES(p, q, out), dev, p, q, out, err);
fail:
	return err->code;
}

int op_selected_logits(struct device *dev, struct tensor y, struct tensor E, const int32_t *token,
	double softcap, struct tensor out, struct err *err)
{
	const struct check c = {dev, "selected_logits", err};

	TRY(activation(c, "y", y, y.rows, y.cols));
	TRY(weight(c, "E", E, E.rows, y.cols));
	TRY(activation(c, "out", out, y.rows, out.cols));
	DISPATCH(selected_logits, 2.0 * (double)tensor_count(out) * (double)y.cols,
		MOVES(y, some_rows(E, tensor_count(out)), out), dev, y, E, token, softcap, out,
		err);
fail:
	return err->code;
}

int op_selected_logits_backward(struct device *dev, struct tensor dout, struct tensor out,
	struct tensor E, const int32_t *token, double softcap, struct tensor dy, struct err *err)
{
	const struct check c = {dev, "selected_logits_backward", err};

	TRY(activation(c, "dout", dout, dout.rows, dout.cols));
	TRY(activation(c, "out", out, dout.rows, dout.cols));
	TRY(weight(c, "E", E, E.rows, dy.cols));
	TRY(activation(c, "dy", dy, dout.rows, dy.cols));
	DISPATCH(selected_logits_backward, 0, MOVES(dout, out, some_rows(E, tensor_count(out)), dy),
		dev, dout, out, E, token, softcap, dy, err);
fail:
	return err->code;
}

/* ---- edits ----------------------------------------------------------------------------- */

int op_ablate_direction(struct device *dev, struct tensor u, struct tensor x, struct err *err)
{
	const struct check c = {dev, "ablate_direction", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(vector(c, "u", u, x.cols));
	DISPATCH(ablate_direction, 0, MOVES(u, x, x), dev, u, x, err);
fail:
	return err->code;
}

int op_add_vector(struct device *dev, double a, struct tensor v, struct tensor x, struct err *err)
{
	const struct check c = {dev, "add_vector", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(vector(c, "v", v, x.cols));
	DISPATCH(add_vector, 0, MOVES(v, x, x), dev, a, v, x, err);
fail:
	return err->code;
}

int op_mix(struct device *dev, double a, struct tensor target, struct tensor x, struct err *err)
{
	const struct check c = {dev, "mix", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(activation(c, "target", target, x.rows, x.cols));
	DISPATCH(mix, 0, MOVES(target, x, x), dev, a, target, x, err);
fail:
	return err->code;
}

/* ---- sparse autoencoders --------------------------------------------------------------- */

int op_sae_encode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	const struct check c = {dev, "sae_encode", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(sae_encoder(c, sae, x.cols));
	TRY(condition(c, sae->top_k == 0 || sae->group_width > 0, "group_width with top_k"));
	TRY(sparse(c, "out", out, x.rows));
	DISPATCH(sae_encode, 2.0 * (double)tensor_count(sae->W_enc_t) * (double)x.rows,
		operand_bytes(dev, x, sae->W_enc_t) + encoder_bytes(sae), dev, sae, x, out, err);
fail:
	return err->code;
}

int op_sae_encode_selected(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	const struct check c = {dev, "sae_encode_selected", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(sae_encoder(c, sae, x.cols));
	TRY(condition(c, sae->top_k == 0, "an SAE without top_k, which needs every feature"));
	TRY(activation(c, "f", f, x.rows, sae->W_enc_t.rows));
	DISPATCH(sae_encode_selected, 2.0 * (double)tensor_count(sae->W_enc_t) * (double)x.rows,
		operand_bytes(dev, x, sae->W_enc_t) + encoder_bytes(sae) + MOVES(f), dev, sae, x, f,
		err);
fail:
	return err->code;
}

int op_csr_select(struct device *dev, const struct csr *f, const int32_t *id, struct tensor out,
	struct err *err)
{
	const struct check c = {dev, "csr_select", err};

	TRY(sparse(c, "f", f, out.rows));
	TRY(activation(c, "out", out, out.rows, out.cols));
	DISPATCH(csr_select, 0, MOVES(out), dev, f, id, out, err);
fail:
	return err->code;
}

int op_sae_scale(struct device *dev, enum sae_input input, struct tensor x, struct tensor scale,
	struct err *err)
{
	const struct check c = {dev, "sae_scale", err};

	TRY(activation(c, "x", x, x.rows, x.cols));
	TRY(activation(c, "scale", scale, x.rows, 1));
	DISPATCH(sae_scale, 0, MOVES(x, scale), dev, input, x, scale, err);
fail:
	return err->code;
}

int op_sae_decode(struct device *dev, const struct sae_weights *sae, struct tensor x,
	const struct csr *f, struct tensor x_hat, struct err *err)
{
	const struct check c = {dev, "sae_decode", err};

	TRY(sparse(c, "f", f, x_hat.rows));
	TRY(weight(c, "W_dec", sae->W_dec, sae->W_dec.rows, x_hat.cols));
	TRY(vector(c, "b_dec", sae->b_dec, x_hat.cols));
	TRY(activation(c, "x_hat", x_hat, x_hat.rows, x_hat.cols));
	if (sae->input != SAE_INPUT_RAW)
		TRY(activation(c, "x", x, x_hat.rows, x_hat.cols));
	DISPATCH(sae_decode, 0, MOVES(x, x_hat), dev, sae, x, f, x_hat, err);
fail:
	return err->code;
}

int op_csr_difference(struct device *dev, const struct csr *a, const struct csr *b, struct csr *out,
	struct err *err)
{
	const struct check c = {dev, "csr_difference", err};

	TRY(sparse(c, "a", a, a->n_rows));
	TRY(sparse(c, "b", b, a->n_rows));
	TRY(sparse(c, "out", out, a->n_rows));
	DISPATCH(csr_difference, 0, 0, dev, a, b, out, err);
fail:
	return err->code;
}

int op_csr_attribute(struct device *dev, struct tensor W_dec, struct tensor g, struct tensor scale,
	struct csr *f, struct err *err)
{
	const struct check c = {dev, "csr_attribute", err};

	TRY(weight(c, "W_dec", W_dec, W_dec.rows, g.cols));
	TRY(activation(c, "g", g, g.rows, g.cols));
	TRY(optional_activation(c, "scale", scale, g.rows, 1));
	TRY(sparse(c, "f", f, g.rows));
	DISPATCH(csr_attribute, 0, MOVES(g, scale), dev, W_dec, g, scale, f, err);
fail:
	return err->code;
}

int op_row_cosine(struct device *dev, struct tensor W, struct tensor v, struct tensor out,
	struct err *err)
{
	const struct check c = {dev, "row_cosine", err};

	TRY(weight(c, "W", W, W.rows, W.cols));
	TRY(vector(c, "v", v, W.cols));
	TRY(activation(c, "out", out, W.rows, 1));
	DISPATCH(row_cosine, 2.0 * (double)tensor_count(W), MOVES(W, v, out), dev, W, v, out, err);
fail:
	return err->code;
}

int op_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor f, struct tensor x,
	struct err *err)
{
	const struct check c = {dev, "clamp_features", err};

	TRY(activation(c, "x", x, rows.n, x.cols));
	TRY(sae_encoder(c, few, x.cols));
	TRY(weight(c, "W_dec", few->W_dec, few->W_enc_t.rows, x.cols));
	TRY(condition(c, lists->n_lists > 0, "at least one list"));
	TRY(optional_activation(c, "f", f, rows.n, few->W_enc_t.rows));
	DISPATCH(clamp_features, 0, encoder_bytes(few) + MOVES(few->W_dec, f, x, x), dev, few,
		lists, rows, f, x, err);
fail:
	return err->code;
}
