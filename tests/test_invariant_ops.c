/* SPDX-License-Identifier: MIT
 *
 * test_invariant_ops.c - on an invariant device (device_make_invariant) a row's bits do not depend
 * on the rows it is computed with. Every level of the CPU backend that this processor has; with
 * TEST_CUDA both kinds of CUDA device, with TEST_EMU the same kernels run on the CPU by tests/emu.
 *
 * Each op runs on ROWS rows at once, and again on parts of them: single rows, as many as decoding
 * has, as many as a tile of every kind, in other places, in reverse. Widths are odd, so that a
 * row's end is no vector's, or multiples of what the fastest ways demand; one is deeper than a
 * piece of a dot product and a panel.
 */
#include "kernels/backend.h"
#include "tests/device_fixture.h"

#if defined(TEST_CUDA) || defined(TEST_EMU)
#include "kernels/cuda/cuda.h"
#endif

#include <stdio.h>
#include <string.h>

enum { ROWS = 270 };

/* Rows of parts, and how many rows come between those that are decoded: the harness is slow. */
#ifdef TEST_EMU
static const size_t sizes[] = {1, 4, 33, 256};
enum { STEP = 7 };
#else
static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 31, 32, 33, 64, 65, 256, 269};
enum { STEP = 1 };
#endif

/* ---- devices --------------------------------------------------------------------------- */

#if defined(TEST_CUDA) || defined(TEST_EMU)

static void on_every_device(void (*test)(struct device *dev, const char *name))
{
	static const struct backend *const backends[] = {&cuda_exact_checked_backend,
		&cuda_fast_checked_backend};

	for (size_t i = 0; i < 2; i++) {
		struct device *dev = fixture_device(backends[i], 1);

		device_make_invariant(dev);
		test(dev, backends[i]->name);
		device_close(dev);
	}
}

#else

static void on_every_device(void (*test)(struct device *dev, const char *name))
{
	for (const char *const *level = device_cpu_levels(); *level; level++) {
		struct device *dev;
		char name[40];
		struct err err;

		snprintf(name, sizeof name, "cpu:%s", *level);
		REQUIRE_OK(device_open(&dev, name, 2, &err), &err);
		device_make_invariant(dev);
		test(dev, name);
		device_close(dev);
	}
}

#endif

/* ---- ops on rows ----------------------------------------------------------------------- */

/* What the ops below are given beside their rows. */
struct given {
	struct device *dev;
	struct tensor W, bias, gain, v;
	struct sae_weights sae;
};

/* y [n, *] of x [n, in]; y holds what the op adds to. */
typedef int row_op(const struct given *g, struct tensor x, struct tensor y, struct err *err);

static int product(const struct given *g, struct tensor x, struct tensor y, struct err *err)
{
	return op_linear(g->dev, x, g->W, g->bias, y, err);
}

static int product_backward(const struct given *g, struct tensor x, struct tensor y,
	struct err *err)
{
	return op_linear_backward(g->dev, x, g->W, 1, y, err);
}

static int few_features(const struct given *g, struct tensor x, struct tensor y, struct err *err)
{
	return op_sae_encode_selected(g->dev, &g->sae, x, y, err);
}

/* All features, spread out. */
static int all_features(const struct given *g, struct tensor x, struct tensor y, struct err *err)
{
	const size_t room = tensor_count(y);
	struct csr f = {.n_rows = x.rows, .capacity = room};
	struct fixture memory;
	int rc;

	fixture_init(&memory, g->dev, 1);
	f.indptr = fixture_random_ids(&memory, x.rows + 1, 1);
	f.indices = fixture_random_ids(&memory, room, 1);
	f.values = fixture_zeros(&memory, room, 1);
	rc = op_sae_encode(g->dev, &g->sae, x, &f, err);
	for (size_t i = 0; i < x.rows && !rc; i++)
		for (int32_t e = f.indptr[i]; e < f.indptr[i + 1]; e++)
			((float *)y.data)[i * y.cols + (size_t)f.indices[e]] = ((float *)f.values
											.data)[e];
	fixture_free(&memory);
	return rc;
}

static int elementwise(const struct given *g, struct tensor x, struct tensor y, struct err *err)
{
	struct tensor none = {0};

	return op_axpy(g->dev, 0.3, x, y, err) || op_mix(g->dev, 0.7, x, y, err) ||
	       op_gated(g->dev, ACTIVATION_GELU_TANH, tensor_whole(x), tensor_whole(y), y, err) ||
	       op_softcap(g->dev, 3, y, err) || op_scale(g->dev, 1.7, y, err) ||
	       op_rmsnorm(g->dev, (struct norm){1e-6, true}, y, g->gain, y, none, err) ||
	       op_ablate_direction(g->dev, g->v, y, err);
}

/* Rows [first, first + n) of x in the order that `reverse` says, by themselves. */
static void check_part(const struct given *g, row_op *op, struct tensor x, struct tensor start,
	struct tensor whole, size_t first, size_t n, bool reverse, const char *name)
{
	const size_t in = x.cols, out = whole.cols;
	struct fixture f;
	struct tensor from, to;
	struct err err;

	fixture_init(&f, g->dev, 1);
	from = fixture_zeros(&f, n, in);
	to = fixture_zeros(&f, n, out);
	for (size_t i = 0; i < n; i++) {
		const size_t row = first + (reverse ? n - 1 - i : i);

		memcpy((float *)from.data + i * in, (float *)x.data + row * in, in * sizeof(float));
		memcpy((float *)to.data + i * out, (float *)start.data + row * out,
			out * sizeof(float));
	}
	REQUIRE_OK(op(g, from, to, &err), &err);
	for (size_t i = 0; i < n; i++) {
		const size_t row = first + (reverse ? n - 1 - i : i);

		CHECK(memcmp((float *)to.data + i * out, (float *)whole.data + row * out,
			      out * sizeof(float)) == 0,
			"%s, %zu to %zu: row %zu of %zu from %zu on has other bits", name, in, out,
			row, n, first);
	}
	fixture_free(&f);
}

static void check_rows(struct fixture *f, const struct given *g, row_op *op, size_t in, size_t out,
	const char *name)
{
	struct tensor x = fixture_activation(f, ROWS, in, 1);
	struct tensor start = fixture_activation(f, ROWS, out, 1);
	struct tensor whole = fixture_zeros(f, ROWS, out);
	struct err err;

	if (op == all_features) /* which writes what is not 0 */
		memset(start.data, 0, tensor_bytes(start));
	memcpy(whole.data, start.data, tensor_bytes(start));
	REQUIRE_OK(op(g, x, whole, &err), &err);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_part(g, op, x, start, whole, 0, sizes[i], false, name);
		check_part(g, op, x, start, whole, (ROWS - sizes[i]) / 2, sizes[i], true, name);
		check_part(g, op, x, start, whole, ROWS - sizes[i], sizes[i], false, name);
	}
}

static void check_products(struct device *dev, const char *name)
{
	static const size_t shapes[][2] = {{1, 7}, {37, 29}, {128, 130}, {1100, 13}, {4101, 9}};
	static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		for (size_t t = 0; t < 3; t++) {
			const size_t in = shapes[s][0], out = shapes[s][1];
			struct given g = {.dev = dev};
			struct fixture f;

			fixture_init(&f, dev, 1);
			g.W = fixture_weight(&f, types[t], out, in, 1);
			g.bias = fixture_vector(&f, out, 1);
			check_rows(&f, &g, product, in, out, name);
			check_rows(&f, &g, product_backward, out, in, name);
			fixture_free(&f);
		}
	}
}

TEST(a_row_of_a_product_has_the_same_bits_alone_and_among_any_others)
{
	on_every_device(check_products);
}

static void check_features(struct device *dev, const char *name)
{
	const size_t in = 1104, n = 140; /* more than a piece */

	for (size_t top_k = 0; top_k <= 5; top_k += 5) {
		struct given g = {.dev = dev};
		struct fixture f;

		fixture_init(&f, dev, 2);
		g.sae = (struct sae_weights){.W_enc_t = fixture_weight(&f, DTYPE_BF16, n, in, 1),
			.b_enc = fixture_vector(&f, n, 1),
			.threshold = fixture_zeros(&f, 1, n),
			.input = SAE_INPUT_STANDARDIZED,
			.top_k = top_k,
			.group_width = n};
		check_rows(&f, &g, all_features, in, n, name);
		if (top_k == 0)
			check_rows(&f, &g, few_features, in, n, name);
		fixture_free(&f);
	}
}

TEST(features_of_a_token_have_the_same_bits_alone_and_among_any_others)
{
	on_every_device(check_features);
}

static void check_elementwise(struct device *dev, const char *name)
{
	for (size_t width = 1; width <= 131; width += 13) {
		struct given g = {.dev = dev};
		struct fixture f;

		fixture_init(&f, dev, 3);
		g.gain = fixture_vector(&f, width, 1);
		g.v = fixture_vector(&f, width, 0.2);
		check_rows(&f, &g, elementwise, width, width, name);
		fixture_free(&f);
	}
}

TEST(what_is_done_to_each_row_has_the_same_bits_alone_and_among_any_others)
{
	on_every_device(check_elementwise);
}

/* ---- attention ------------------------------------------------------------------------- */

enum { LENGTH = 150, N_HEAD = 4, N_KV_HEAD = 2 };

/* A sequence, and its results when it is run whole and alone. */
struct sequence {
	struct fixture f;
	struct attention a;
	struct tensor q, k, v, dout;
	struct tensor out, lse, dq, dk, dv;
};

/* Some rows of it: [first, first + n), with the keys before `n_prefix` as a prefix and `before`
 * rows of another sequence packed before it and after it. */
struct part {
	size_t first, n, n_prefix, before;
};

static void sequence_init(struct sequence *s, struct device *dev, size_t window, double softcap,
	size_t head_dim)
{
	const size_t q = N_HEAD * head_dim, kv = N_KV_HEAD * head_dim;

	fixture_init(&s->f, dev, 4);
	s->a = (struct attention){N_HEAD, N_KV_HEAD, head_dim, 0.4, softcap, window};
	s->q = fixture_activation(&s->f, LENGTH, q, 1);
	s->k = fixture_activation(&s->f, LENGTH, kv, 1);
	s->v = fixture_activation(&s->f, LENGTH, kv, 1);
	s->dout = fixture_activation(&s->f, LENGTH, q, 1);
	s->out = fixture_zeros(&s->f, LENGTH, q);
	s->lse = fixture_zeros(&s->f, LENGTH, N_HEAD);
	s->dq = fixture_zeros(&s->f, LENGTH, q);
	s->dk = fixture_zeros(&s->f, LENGTH, kv);
	s->dv = fixture_zeros(&s->f, LENGTH, kv);
}

/* The rows of t from `first` on, between `before` zeros. */
static struct tensor between(struct fixture *f, struct tensor t, size_t first, size_t n,
	size_t before)
{
	struct tensor to = fixture_zeros(f, n + 2 * before, t.cols);

	memcpy((float *)to.data + before * t.cols, (float *)t.data + first * t.cols,
		n * t.cols * sizeof(float));
	return to;
}

static void check_same(struct tensor whole, size_t first, size_t n, struct tensor part,
	size_t before, const struct part *p, const char *what)
{
	const float *a = (float *)whole.data + first * whole.cols;
	const float *b = (float *)part.data + before * part.cols;

	CHECK(memcmp(a, b, n * whole.cols * sizeof *a) == 0,
		"%s of rows %zu to %zu, %zu of them prefix, %zu of others before, has other bits",
		what, p->first, p->first + p->n, p->n_prefix, p->before);
}

/* Runs a part, forward and back, and compares it with the whole; `whole` fills it. */
static void run_part(struct sequence *s, struct device *dev, const struct part *p, bool whole)
{
	const size_t n = p->n + 2 * p->before, n_keys = LENGTH - p->n_prefix;
	struct fixture f;
	struct tensor q, k, v, dout, out, lse, dq, dk, dv;
	const int32_t start[] = {0, (int32_t)p->before, (int32_t)(p->before + n_keys)};
	struct keys keys = {.prefix_k = tensor_rows(s->k, 0, p->n_prefix),
		.prefix_v = tensor_rows(s->v, 0, p->n_prefix),
		.n_seq = 3};
	int32_t *seq, *pos;
	struct err err;

	fixture_init(&f, dev, 5);
	keys.start = fixture_ids(&f, start, 3);
	seq = fixture_random_ids(&f, n, 1);
	pos = fixture_random_ids(&f, n, 1);
	q = between(&f, s->q, p->first, p->n, p->before);
	dout = between(&f, s->dout, p->first, p->n, p->before);
	keys.k = k = between(&f, s->k, p->n_prefix, n_keys, p->before);
	keys.v = v = between(&f, s->v, p->n_prefix, n_keys, p->before);
	out = fixture_zeros(&f, n, q.cols);
	lse = fixture_zeros(&f, n, N_HEAD);
	dq = fixture_zeros(&f, n, q.cols);
	dk = fixture_zeros(&f, k.rows, k.cols);
	dv = fixture_zeros(&f, v.rows, v.cols);
	for (size_t i = 0; i < n; i++) {
		const bool ours = i >= p->before && i < p->before + p->n;

		seq[i] = i < p->before ? 0 : ours ? 1 : 2;
		pos[i] = (int32_t)(i < p->before ? p->n_prefix + i
				   : ours        ? p->first + i - p->before
						 : p->n_prefix + i - p->before - p->n);
	}
	REQUIRE_OK(op_attention(dev, &s->a, q, (struct rows){n, seq, pos}, &keys, out, lse, &err),
		&err);
	REQUIRE_OK(op_attention_backward(dev, &s->a, q, (struct rows){n, seq, pos}, &keys, out, lse,
			   dout, dq, dk, dv, &err),
		&err);
	if (whole) {
		memcpy(s->out.data, out.data, tensor_bytes(out));
		memcpy(s->lse.data, lse.data, tensor_bytes(lse));
		memcpy(s->dq.data, dq.data, tensor_bytes(dq));
		memcpy(s->dk.data, dk.data, tensor_bytes(dk));
		memcpy(s->dv.data, dv.data, tensor_bytes(dv));
	}
	check_same(s->out, p->first, p->n, out, p->before, p, "out");
	check_same(s->lse, p->first, p->n, lse, p->before, p, "lse");
	check_same(s->dq, p->first, p->n, dq, p->before, p, "dq");
	if (p->first == p->n_prefix && p->first + p->n == LENGTH) {
		check_same(s->dk, p->n_prefix, n_keys, dk, p->before, p, "dk");
		check_same(s->dv, p->n_prefix, n_keys, dv, p->before, p, "dv");
	}
	fixture_free(&f);
}

static void check_sequence(struct sequence *s, struct device *dev)
{
	static const struct part parts[] = {{0, LENGTH, 0, 9}, {41, LENGTH - 41, 41, 0},
		{41, LENGTH - 41, 41, 2}, {60, 3, 20, 0}, {60, 5, 20, 1}, {147, 3, 0, 0},
		{149, 1, 130, 0}};

	run_part(s, dev, &(struct part){0, LENGTH, 0, 0}, true);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		run_part(s, dev, &parts[i], false);
	for (size_t row = 0; row < LENGTH; row += STEP) /* as while a reply is written */
		run_part(s, dev, &(struct part){row, 1, row / 2, row % 3}, false);
	fixture_free(&s->f);
}

static void check_attention(struct device *dev, const char *name)
{
	struct sequence s;

	(void)name;
	sequence_init(&s, dev, 0, 5, 36);
	check_sequence(&s, dev);
	sequence_init(&s, dev, 70, 0, 48);
	check_sequence(&s, dev);
}

TEST(attention_of_a_row_has_the_same_bits_read_with_its_prompt_behind_a_prefix_and_while_decoding)
{
	on_every_device(check_attention);
}
