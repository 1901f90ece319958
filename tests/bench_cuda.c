/* SPDX-License-Identifier: MIT
 *
 * bench_cuda.c - rates of the CUDA kernels at the sizes of Gemma 2 2B and Llama 3.1 8B, beside
 * what the same card does in the same rounds: a large product of bfloat16 operands for arithmetic,
 * a large copy for memory. Medians of rounds; not a test.
 *
 *   bench_cuda [--device cuda:0] [--json FILE] [--seconds LIMIT] [--only TEXT] [--once] [--small]
 *
 * One row of `benches` is one line of the output, a JSON line in FILE as soon as it is known. Each
 * row makes what it needs, and gives it back: one that does not fit the card is a line that says
 * so. SAEs fire: thresholds are the quantile of their pre-activations that lets 100 features
 * through, the L0 found is printed, and outside 30 to 300 there is an error instead of figures.
 * "mask" says whether the library marked them for us (gemm.h), where it was asked to.
 *
 * Ops get what they get in a pass: products read operands, and what they read is written so. The
 * calls of a round are one graph, as decoding's are: starting the smallest ops costs the host more
 * than they take. Each call has other weights (or, decoding, other keys) than the one
 * before, until there are more than a cache holds: in a pass over all layers they come from memory.
 * Activations do not change: there they lie where the op before has left them.
 *
 * --only: rows whose line holds TEXT. --once: a single call of each, no rates, for a profiler.
 * --small: sizes at which the harness that runs kernels on the CPU is done in seconds (tests/emu).
 */
#include "host/base/clock.h"
#include "host/base/dtype.h"
#include "kernels/cuda/gemm.h"
#include "tests/bench_median.h"
#include "tests/loads/random_saes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double FINAL_SOFTCAP = 30;

enum { ROUNDS = 9, BLOCKS = 64, WANTED_L0 = 100, LEAST_L0 = 30, MOST_L0 = 300, K_STAR = 20 };

/* ---- sizes ----------------------------------------------------------------------------- */

struct sizes {
	const char *name;
	size_t d, d_ff, n_head, n_kv_head, head_dim, n_vocab;
	double softcap;
	bool plus_one;
	enum activation activation;
};

/* How many rows a bench has, of a scale's. */
enum amount { MANY, FEW, EIGHT, ONE, N_AMOUNTS };

/* How many prompts attention reads, and how many tokens of each; or how many are behind a step. */
enum prompts { LONG, SHORT, STEP_LONG, STEP_SHORT, N_PROMPTS };

enum { N_WIDTHS = 3, MOST_TURNS = 2 };

static const struct scale {
	struct sizes models[2];
	size_t rows[N_AMOUNTS];
	size_t prompts[N_PROMPTS][2];
	size_t widths[N_WIDTHS];
	size_t square; /* side of the product that stands for the card's peak, and of the copy */
	size_t cold;   /* bytes, between whose uses no cache keeps the first */
} full = {{{"gemma2-2b", 2304, 9216, 8, 4, 256, 256000, 50, true, ACTIVATION_GELU_TANH},
		  {"llama3-8b", 4096, 14336, 32, 8, 128, 128256, 0, false, ACTIVATION_SILU}},
	{8192, 64, 8, 1}, {{8, 1024}, {200, 40}, {64, 1024}, {64, 168}}, {16384, 65536, 262144},
	8192, 256 << 20},
  small = {{{"small", 64, 128, 4, 2, 16, 512, 50, true, ACTIVATION_GELU_TANH},
		   {"small too", 64, 128, 4, 2, 32, 512, 0, false, ACTIVATION_SILU}},
	  {32, 16, 8, 1}, {{2, 24}, {4, 8}, {3, 24}, {3, 8}}, {512, 1024, 2048}, 32, 64 << 10};

static struct {
	const char *device, *json, *only;
	double seconds, start;
	bool once;
	const struct scale *scale;
} options;

/* ---- what a bench works on ------------------------------------------------------------- */

/* What is measured now: memory, operands, and what a call does. Errors while it is made stay in
 * `err`, and nothing more is made. */
static struct {
	struct device *dev;
	struct stretch numbers, features;
	void *blocks[BLOCKS]; /* device memory of the bench */
	size_t n_blocks;
	struct err *err;

	/* What each call has other rows of than the one before: `now` is a call's. */
	struct turns {
		struct tensor *now, all;
	} turns[MOST_TURNS];
	size_t n_turns, turn;

	struct tensor x, y, z, W, vector, tables[2];
	struct product product;
	struct attention heads;
	struct rows rows;
	struct keys keys;
	struct branch_end end;
	struct branch_end_back back;
	struct rope_call rope;
	struct tensor q, out, lse, dout, dq, dk, dv;
	int32_t *ids;
	struct sae_weights sae;
	struct csr features_found, difference;
	struct clamp_lists lists;
	enum activation activation;
	struct norm norm;
	double flops, bytes; /* of a call */
} w;

static const struct tensor none;

static void *allocate(size_t bytes)
{
	void *memory = NULL;

	if (w.err->code || device_alloc(w.dev, bytes, &memory, w.err))
		return NULL;
	w.blocks[w.n_blocks++] = memory;
	return memory;
}

static void free_blocks(void)
{
	while (w.n_blocks > 0)
		device_free(w.dev, w.blocks[--w.n_blocks]);
}

/* Host values to device memory, from byte `at` on. */
static void send(void *to, size_t at, const void *values, size_t bytes)
{
	if (!w.err->code)
		device_upload(w.dev, (char *)to + at, values, bytes, w.err);
}

static void *sent(const void *values, size_t bytes)
{
	void *memory = allocate(bytes);

	send(memory, 0, values, bytes);
	return memory;
}

/* Numbers of a stretch times `scale`. */
static struct tensor make(const struct stretch *numbers, enum dtype dtype, size_t rows, size_t cols,
	double scale)
{
	struct tensor t = {NULL, dtype, rows, cols};
	const size_t size = dtype_bytes(dtype), bytes = tensor_bytes(t);
	char *values = malloc(STRETCH * size);

	t.data = allocate(bytes);
	if (!values)
		err_nomem(w.err, "random numbers", STRETCH * size);
	for (size_t i = 0; values && i < STRETCH; i++) {
		const float value = (float)scale * numbers->values[i];
		const uint16_t half = f32_to_bf16(value);

		memcpy(values + i * size, size == 4 ? (const void *)&value : &half, size);
	}
	for (size_t at = 0; at < bytes; at += STRETCH * size)
		send(t.data, at, values, bytes - at < STRETCH * size ? bytes - at : STRETCH * size);
	free(values);
	return t;
}

/* An activation. */
static struct tensor activations(size_t rows, size_t cols)
{
	return make(&w.numbers, DTYPE_F32, rows, cols, 1);
}

/* What products read. */
static struct tensor operand(size_t rows, size_t cols)
{
	return make(&w.numbers, device_operand(w.dev, DTYPE_BF16), rows, cols, 1);
}

/* A weight matrix whose products with activations have deviation 1. */
static struct tensor weights(enum dtype dtype, size_t rows, size_t cols)
{
	return make(&w.features, dtype, rows, cols, 1 / sqrt((double)cols));
}

/* How many matrices of `bytes` it takes that none stays in a cache from one use to the next. */
static size_t copies_of(size_t bytes)
{
	return 1 + options.scale->cold / bytes;
}

static void take_turns(struct tensor *now, struct tensor all, size_t rows)
{
	w.turns[w.n_turns++] = (struct turns){now, all};
	*now = tensor_rows(all, 0, rows);
}

static void next_turn(void)
{
	w.turn++;
	for (size_t i = 0; i < w.n_turns; i++) {
		const struct turns *t = &w.turns[i];
		const size_t rows = t->now->rows;

		*t->now = tensor_rows(t->all, w.turn % (t->all.rows / rows) * rows, rows);
	}
}

/* weights(), others in each call. */
static void weights_in_turn(struct tensor *now, enum dtype dtype, size_t rows, size_t cols)
{
	const size_t copies = copies_of(rows * cols * dtype_bytes(dtype));

	take_turns(now, weights(dtype, copies * rows, cols), rows);
}

static struct tensor constant(size_t n, float value)
{
	float *values = malloc(n * sizeof *values);
	struct tensor t = {NULL, DTYPE_F32, 1, n};

	if (!values) {
		err_nomem(w.err, "a vector", n * sizeof *values);
		return t;
	}
	for (size_t i = 0; i < n; i++)
		values[i] = value;
	t.data = sent(values, n * sizeof *values);
	free(values);
	return t;
}

/* first, first + step, ... modulo `period` (0: without end). */
static int32_t *numbers(size_t n, size_t first, size_t step, size_t period)
{
	int32_t *ids = malloc(n * sizeof *ids), *on_device;

	if (!ids) {
		err_nomem(w.err, "numbers", n * sizeof *ids);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)(period ? (first + i * step) % period : first + i * step);
	on_device = sent(ids, n * sizeof *ids);
	free(ids);
	return on_device;
}

/* Each number `repeat` times: 0, 0, ..., 1, 1, ... */
static int32_t *repeated(size_t n, size_t repeat)
{
	int32_t *ids = malloc(n * sizeof *ids), *on_device;

	if (!ids) {
		err_nomem(w.err, "numbers", n * sizeof *ids);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)(i / repeat);
	on_device = sent(ids, n * sizeof *ids);
	free(ids);
	return on_device;
}

/* ---- benches --------------------------------------------------------------------------- */

/* What a row of the table is measured with. */
struct task {
	const struct sizes *m;
	size_t n; /* rows */
	size_t prompts, tokens;
	size_t d_sae;
	enum dtype dtype; /* of SAEs */
};

#define RUN(name, call) \
	static int name(struct err *err) \
	{ \
		return call; \
	}

/* -- products -- */

RUN(run_linear, op_linear(w.dev, w.x, w.W, none, w.y, err))
RUN(run_linear_backward, op_linear_backward(w.dev, w.y, w.W, 0, w.x, err))

static void count_product(size_t n, size_t in, size_t out)
{
	w.flops = 2.0 * (double)n * (double)in * (double)out;
	w.bytes = 2.0 * (double)in * (double)out + (double)tensor_bytes(w.x) +
		  (double)tensor_bytes(w.y);
}

static void make_linear(size_t n, size_t in, size_t out)
{
	w.x = operand(n, in);
	w.y = activations(n, out);
	weights_in_turn(&w.W, DTYPE_BF16, out, in);
	count_product(n, in, out);
}

static void make_linear_backward(size_t n, size_t in, size_t out)
{
	w.x = activations(n, in);
	w.y = operand(n, out);
	weights_in_turn(&w.W, DTYPE_BF16, out, in);
	count_product(n, in, out);
}

static void make_qkv(const struct task *t)
{
	make_linear(t->n, t->m->d, (t->m->n_head + 2 * t->m->n_kv_head) * t->m->head_dim);
}

static void make_o(const struct task *t)
{
	make_linear(t->n, t->m->n_head * t->m->head_dim, t->m->d);
}

static void make_gate_up(const struct task *t)
{
	make_linear(t->n, t->m->d, 2 * t->m->d_ff);
}

static void make_down(const struct task *t)
{
	make_linear(t->n, t->m->d_ff, t->m->d);
}

static void make_gate_up_backward(const struct task *t)
{
	make_linear_backward(t->n, t->m->d, 2 * t->m->d_ff);
}

static void make_down_backward(const struct task *t)
{
	make_linear_backward(t->n, t->m->d_ff, t->m->d);
}

/* Of float32 rows, which the product rounds. */
static void make_unembedding(const struct task *t)
{
	make_linear(t->n, t->m->d, t->m->n_vocab);
	w.x = activations(t->n, t->m->d);
}

/* -- rows -- */

RUN(run_norm, op_rmsnorm(w.dev, w.norm, w.x, w.vector, w.y, none, err))
RUN(run_end, op_end_branch(w.dev, &w.end, err))
RUN(run_end_backward, op_end_branch_backward(w.dev, &w.back, err))
RUN(run_gated, op_gated(w.dev, w.activation, tensor_slice(w.x, 0, w.z.cols),
		       tensor_slice(w.x, w.z.cols, w.z.cols), w.z, err))
RUN(run_gated_backward,
	op_gated_backward(w.dev, w.activation, tensor_slice(w.x, 0, w.z.cols),
		tensor_slice(w.x, w.z.cols, w.z.cols), w.z, tensor_slice(w.y, 0, w.z.cols),
		tensor_slice(w.y, w.z.cols, w.z.cols), err))
RUN(run_rope, op_rope_keys(w.dev, &w.rope, err))
RUN(run_ablate, op_ablate_direction(w.dev, w.vector, w.x, err))
RUN(run_argmax, op_argmax(w.dev, FINAL_SOFTCAP, w.x, w.ids, w.y, err))
RUN(run_softcap, op_softcap(w.dev, FINAL_SOFTCAP, w.x, err))
RUN(run_logprob, op_token_logprob(w.dev, w.x, w.ids, w.y, err))
RUN(run_kl, op_kl(w.dev, w.x, w.z, w.y, err))

static void make_norm(const struct task *t)
{
	w.x = activations(t->n, t->m->d);
	w.y = operand(t->n, t->m->d);
	w.vector = constant(t->m->d, t->m->plus_one ? 0 : 1);
	w.norm = (struct norm){1e-6, t->m->plus_one};
	w.bytes = (double)tensor_bytes(w.x) + (double)tensor_bytes(w.y);
}

/* With a norm of the branch in models that have it. */
static void make_end(const struct task *t)
{
	make_norm(t);
	w.ids = numbers(1, INT32_MAX, 1, 0);
	w.end = (struct branch_end){.norm = w.norm,
		.branch = activations(t->n, t->m->d),
		.w_branch = t->m->plus_one ? w.vector : none,
		.x_in = w.x,
		.x_out = activations(t->n, t->m->d),
		.w_next = w.vector,
		.h = w.y,
		.first_bad = w.ids};
	w.bytes = 12.0 * (double)tensor_count(w.x) + (double)tensor_bytes(w.y);
}

/* Back to it, with a gradient that is kept. */
static void make_end_backward(const struct task *t)
{
	make_norm(t);
	w.back = (struct branch_end_back){.norm = w.norm,
		.g = activations(t->n, t->m->d),
		.beta = 1,
		.dh = activations(t->n, t->m->d),
		.x_out = w.x,
		.w_next = w.vector,
		.rstd_next = activations(t->n, 1),
		.gradient = activations(t->n, t->m->d),
		.weight = 0.1,
		.keep = 0.5,
		.dbranch = w.y,
		.branch = activations(t->n, t->m->d),
		.w_branch = t->m->plus_one ? w.vector : none,
		.rstd_branch = activations(t->n, 1)};
	w.bytes = (t->m->plus_one ? 28.0 : 24.0) * (double)tensor_count(w.x) +
		  (double)tensor_bytes(w.y);
}

static void make_gated(const struct task *t)
{
	w.x = operand(t->n, 2 * t->m->d_ff);
	w.z = operand(t->n, t->m->d_ff);
	w.activation = t->m->activation;
	w.bytes = (double)tensor_bytes(w.x) + (double)tensor_bytes(w.z);
}

static void make_gated_backward(const struct task *t)
{
	make_gated(t);
	w.y = operand(t->n, 2 * t->m->d_ff);
	w.bytes = (double)tensor_bytes(w.x) + (double)tensor_bytes(w.z) + (double)tensor_bytes(w.y);
}

/* From the product of q, k and v to q and the cache. */
static void make_rope(const struct task *t)
{
	enum { POSITIONS = 1024 };
	const size_t hd = t->m->head_dim, q = t->m->n_head * hd, kv = t->m->n_kv_head * hd;

	w.x = activations(t->n, q + 2 * kv);
	w.tables[0] = tensor_view(constant(POSITIONS * hd / 2, 0.6f), POSITIONS, hd / 2);
	w.tables[1] = tensor_view(constant(POSITIONS * hd / 2, 0.8f), POSITIONS, hd / 2);
	w.ids = numbers(t->n, 0, 1, POSITIONS);
	w.rope = (struct rope_call){.head_dim = hd,
		.direction = 1,
		.cos_table = w.tables[0],
		.sin_table = w.tables[1],
		.pos = w.ids,
		.q = tensor_slice(w.x, 0, q),
		.k = tensor_slice(w.x, q, kv),
		.v = tensor_slice(w.x, q + kv, kv),
		.q_out = tensor_whole(activations(t->n, q)),
		.k_out = tensor_whole(operand(t->n, kv)),
		.v_out = tensor_whole(operand(t->n, kv))};
	w.bytes = (double)tensor_bytes(w.x) + (double)tensor_bytes(w.rope.q_out.of) +
		  2.0 * (double)tensor_bytes(w.rope.k_out.of);
}

static void make_ablate(const struct task *t)
{
	w.x = activations(t->n, t->m->d);
	w.vector = constant(t->m->d, 1 / sqrtf((float)t->m->d));
	w.bytes = 8.0 * (double)tensor_count(w.x);
}

static void make_argmax(const struct task *t)
{
	w.x = activations(t->n, t->m->n_vocab);
	w.ids = numbers(t->n, 0, 1, 0);
	w.y = activations(t->n, 1);
	w.bytes = 4.0 * (double)tensor_count(w.x);
}

static void make_softcap(const struct task *t)
{
	make_argmax(t);
	w.bytes *= 2;
}

static void make_kl(const struct task *t)
{
	make_argmax(t);
	w.z = activations(t->n, t->m->n_vocab);
	w.bytes *= 2;
}

/* -- attention -- */

RUN(run_attention, op_attention(w.dev, &w.heads, w.q, w.rows, &w.keys, w.out, w.lse, err))
RUN(run_attention_backward, op_attention_backward(w.dev, &w.heads, w.q, w.rows, &w.keys, w.out,
				    w.lse, w.dout, w.dq, w.dk, w.dv, err))

/* n rows; keys of `prompts` sequences of `tokens`. */
static void make_heads(const struct task *t, size_t n)
{
	const struct sizes *m = t->m;
	const size_t q = m->n_head * m->head_dim, kv = m->n_kv_head * m->head_dim;
	const size_t n_keys = t->prompts * t->tokens;
	const size_t size = dtype_bytes(device_operand(w.dev, DTYPE_BF16));
	const size_t copies = copies_of(2 * n_keys * kv * size);

	w.heads = (struct attention){m->n_head, m->n_kv_head, m->head_dim,
		1 / sqrt((double)m->head_dim), m->softcap, 4096};
	w.q = activations(n, q);
	w.out = operand(n, q);
	w.keys = (struct keys){.start = numbers(t->prompts, 0, t->tokens, 0), .n_seq = t->prompts};
	take_turns(&w.keys.k, operand(copies * n_keys, kv), n_keys);
	take_turns(&w.keys.v, operand(copies * n_keys, kv), n_keys);
	w.keys.prefix_k = tensor_rows(w.keys.k, 0, 0);
	w.keys.prefix_v = tensor_rows(w.keys.v, 0, 0);
}

static void make_prefill(const struct task *t)
{
	const size_t n = t->prompts * t->tokens, kv = t->m->n_kv_head * t->m->head_dim;
	const double pairs = (double)n * (double)(t->tokens + 1) / 2;

	make_heads(t, n);
	w.lse = make(&w.numbers, DTYPE_F32, n, t->m->n_head, 1);
	w.rows = (struct rows){n, repeated(n, t->tokens), numbers(n, 0, 1, t->tokens)};
	w.flops = 4.0 * pairs * (double)w.q.cols;
	w.bytes = (double)tensor_bytes(w.q) + (double)tensor_bytes(w.out) +
		  2.0 * (double)n * (double)kv * (double)dtype_bytes(w.keys.k.dtype);
}

static void make_prefill_backward(const struct task *t)
{
	const size_t n = t->prompts * t->tokens, kv = t->m->n_kv_head * t->m->head_dim;

	make_prefill(t);
	w.dout = activations(n, w.q.cols);
	w.dq = activations(n, w.q.cols);
	w.dk = activations(n, kv);
	w.dv = activations(n, kv);
	if (!w.err->code)
		run_attention(w.err); /* what it left in out and lse is read */
	w.flops *= 2.5;
	w.bytes += 2.0 * (double)tensor_bytes(w.q) + 8.0 * (double)n * (double)kv;
}

static void make_step(const struct task *t)
{
	make_heads(t, t->prompts);
	w.rows = (struct rows){t->prompts, numbers(t->prompts, 0, 1, 0),
		numbers(t->prompts, t->tokens - 1, 0, 0)};
	w.flops = 4.0 * (double)t->prompts * (double)t->tokens * (double)w.q.cols;
	w.bytes = 2.0 * (double)tensor_bytes(w.keys.k);
}

/* -- SAEs -- */

RUN(run_encode, op_sae_encode(w.dev, &w.sae, w.x, &w.features_found, err))
RUN(run_decode, op_sae_decode(w.dev, &w.sae, none, &w.features_found, w.y, err))
RUN(run_difference,
	op_csr_difference(w.dev, &w.features_found, &w.features_found, &w.difference, err))
RUN(run_attribute, op_csr_attribute(w.dev, w.sae.W_dec, w.y, none, &w.features_found, err))
RUN(run_encoder_product, gemm_multiply(w.dev, &w.product, err))
RUN(run_cosine, op_row_cosine(w.dev, w.sae.W_dec, w.vector, w.y, err))
RUN(run_clamp, op_clamp_features(w.dev, &w.sae, &w.lists, w.rows, none, w.x, err))

static struct csr make_csr(size_t n_rows)
{
	const size_t capacity = n_rows * 4 * WANTED_L0;

	return (struct csr){n_rows, capacity, numbers(n_rows + 1, 0, 0, 0),
		numbers(capacity, 0, 0, 0),
		{allocate(capacity * sizeof(float)), DTYPE_F32, capacity, 1}};
}

static void make_encoder(const struct task *t, size_t n_features)
{
	const double deviation = 1;
	const double threshold = random_saes_threshold(&deviation, 1, t->d_sae, WANTED_L0);

	w.sae = (struct sae_weights){.b_enc = constant(n_features, 0),
		.threshold = constant(n_features, (float)threshold)};
	weights_in_turn(&w.sae.W_enc_t, t->dtype, n_features, t->m->d);
}

static void make_encode(const struct task *t)
{
	const double n = (double)t->n, d = (double)t->m->d, d_sae = (double)t->d_sae;

	make_encoder(t, t->d_sae);
	w.x = activations(t->n, t->m->d);
	w.features_found = make_csr(t->n);
	w.flops = 2 * n * d * d_sae;
	w.bytes = (double)dtype_bytes(t->dtype) * d * d_sae + 4 * n * d;
}

/* The least that encoding does: the library's product of operands as it wants them, at once. */
static void make_encoder_product(const struct task *t)
{
	const double n = (double)t->n, d = (double)t->m->d, d_sae = (double)t->d_sae;

	w.product = (struct product){.m = t->n,
		.n = t->d_sae,
		.k = t->m->d,
		.type = DTYPE_BF16,
		.A = make(&w.numbers, DTYPE_BF16, t->n, t->m->d, 1).data,
		.lda = t->m->d,
		.B = weights(DTYPE_BF16, t->d_sae, t->m->d).data,
		.ldb = t->m->d,
		.transpose_b = true,
		.C = allocate(t->n * t->d_sae * sizeof(float)),
		.ldc = t->d_sae};
	w.flops = 2 * n * d * d_sae;
	w.bytes = 2 * (n + d_sae) * d + 4 * n * d_sae;
}

static double entries_bytes(const struct task *t)
{
	return (double)t->n * WANTED_L0 * (double)(t->m->d * dtype_bytes(t->dtype));
}

/* Features of x, and a decoder: the bytes are its rows, once for each entry. */
static void make_entries(const struct task *t)
{
	make_encode(t);
	w.sae.W_dec = weights(t->dtype, t->d_sae, t->m->d);
	w.sae.b_dec = constant(t->m->d, 0);
	w.y = activations(t->n, t->m->d);
	if (!w.err->code)
		run_encode(w.err);
	w.flops = 2.0 * (double)t->n * WANTED_L0 * (double)t->m->d;
	w.bytes = entries_bytes(t) + 4.0 * (double)tensor_count(w.x);
}

static void make_difference(const struct task *t)
{
	make_encode(t);
	w.difference = make_csr(t->n);
	if (!w.err->code)
		run_encode(w.err);
	w.flops = 0;
	w.bytes = (double)t->n * WANTED_L0 * 3 * 8;
}

static void make_cosine(const struct task *t)
{
	w.sae.W_dec = weights(t->dtype, t->d_sae, t->m->d);
	w.vector = constant(t->m->d, 1);
	w.y = activations(t->d_sae, 1);
	w.flops = 4.0 * (double)t->d_sae * (double)t->m->d;
	w.bytes = (double)tensor_bytes(w.sae.W_dec);
}

static void make_clamp(const struct task *t, size_t n_lists, size_t n_entries)
{
	const size_t n = n_lists * n_entries;

	make_encoder(t, n);
	weights_in_turn(&w.sae.W_dec, t->dtype, n, t->m->d);
	w.x = activations(t->n, t->m->d);
	w.rows = (struct rows){t->n, numbers(t->n, 0, 1, 0), numbers(t->n, 0, 0, 0)};
	w.lists = (struct clamp_lists){n_lists, numbers(n_lists + 1, 0, n_entries, 0),
		numbers(n, 0, 1, 0), constant(n, 0).data, constant(n, 1).data};
	w.flops = 4.0 * (double)t->n * (double)n_entries * (double)t->m->d;
	w.bytes = 2.0 * (double)tensor_bytes(w.sae.W_dec) + 8.0 * (double)tensor_count(w.x);
}

static void make_clamp_one(const struct task *t)
{
	make_clamp(t, 1, K_STAR);
}

static void make_clamp_each(const struct task *t)
{
	make_clamp(t, t->n, K_STAR);
}

/* F* is spread over the layers: one or two features in each. */
static void make_clamp_two(const struct task *t)
{
	make_clamp(t, 1, 2);
}

static void make_clamp_two_each(const struct task *t)
{
	make_clamp(t, t->n, 2);
}

/* -- the table -- */

enum kind {
	OF_ROWS,     /* rows */
	OF_PROMPTS,  /* prompts */
	OF_FEATURES, /* rows, and SAEs in float32 and in bfloat16 */
	OF_16        /* the same, in bfloat16 only */
};

static const struct bench {
	const char *name;
	void (*make)(const struct task *);
	int (*run)(struct err *);
	enum kind kind;
	enum amount rows;
	enum prompts prompts;
	int width; /* of the SAE */
} benches[] = {
	{"qkv product", make_qkv, run_linear, OF_ROWS, MANY, 0, 0},
	{"o product", make_o, run_linear, OF_ROWS, MANY, 0, 0},
	{"gate and up product", make_gate_up, run_linear, OF_ROWS, MANY, 0, 0},
	{"down product", make_down, run_linear, OF_ROWS, MANY, 0, 0},
	{"gate and up backward", make_gate_up_backward, run_linear_backward, OF_ROWS, MANY, 0, 0},
	{"down backward", make_down_backward, run_linear_backward, OF_ROWS, MANY, 0, 0},
	{"qkv product", make_qkv, run_linear, OF_ROWS, FEW, 0, 0},
	{"o product", make_o, run_linear, OF_ROWS, FEW, 0, 0},
	{"gate and up product", make_gate_up, run_linear, OF_ROWS, FEW, 0, 0},
	{"down product", make_down, run_linear, OF_ROWS, FEW, 0, 0},
	{"qkv product", make_qkv, run_linear, OF_ROWS, ONE, 0, 0},
	{"gate and up product", make_gate_up, run_linear, OF_ROWS, ONE, 0, 0},
	{"down product", make_down, run_linear, OF_ROWS, ONE, 0, 0},
	{"unembedding", make_unembedding, run_linear, OF_ROWS, FEW, 0, 0},
	{"argmax", make_argmax, run_argmax, OF_ROWS, FEW, 0, 0},
	{"softcap", make_softcap, run_softcap, OF_ROWS, FEW, 0, 0},
	{"token_logprob", make_argmax, run_logprob, OF_ROWS, FEW, 0, 0},
	{"kl", make_kl, run_kl, OF_ROWS, FEW, 0, 0},
	{"attention", make_prefill, run_attention, OF_PROMPTS, 0, LONG, 0},
	{"attention", make_prefill, run_attention, OF_PROMPTS, 0, SHORT, 0},
	{"attention backward", make_prefill_backward, run_attention_backward, OF_PROMPTS, 0, SHORT,
		0},
	{"attention of a step", make_step, run_attention, OF_PROMPTS, 0, STEP_LONG, 0},
	{"attention of a step", make_step, run_attention, OF_PROMPTS, 0, STEP_SHORT, 0},
	{"rmsnorm", make_norm, run_norm, OF_ROWS, MANY, 0, 0},
	{"end of a branch", make_end, run_end, OF_ROWS, MANY, 0, 0},
	{"end of a branch", make_end, run_end, OF_ROWS, FEW, 0, 0},
	{"end of a branch, backward", make_end_backward, run_end_backward, OF_ROWS, MANY, 0, 0},
	{"gated", make_gated, run_gated, OF_ROWS, MANY, 0, 0},
	{"gated", make_gated, run_gated, OF_ROWS, FEW, 0, 0},
	{"gated backward", make_gated_backward, run_gated_backward, OF_ROWS, MANY, 0, 0},
	{"rope and cache", make_rope, run_rope, OF_ROWS, MANY, 0, 0},
	{"rope and cache", make_rope, run_rope, OF_ROWS, FEW, 0, 0},
	{"ablate direction", make_ablate, run_ablate, OF_ROWS, MANY, 0, 0},
	{"encoder product", make_encoder_product, run_encoder_product, OF_16, MANY, 0, 0},
	{"sae_encode", make_encode, run_encode, OF_FEATURES, MANY, 0, 0},
	{"encoder product", make_encoder_product, run_encoder_product, OF_16, MANY, 0, 1},
	{"sae_encode", make_encode, run_encode, OF_FEATURES, MANY, 0, 1},
	{"encoder product", make_encoder_product, run_encoder_product, OF_16, MANY, 0, 2},
	{"sae_encode", make_encode, run_encode, OF_FEATURES, MANY, 0, 2},
	{"sae_encode", make_encode, run_encode, OF_FEATURES, FEW, 0, 1},
	{"sae_encode", make_encode, run_encode, OF_16, EIGHT, 0, 1},
	{"sae_encode", make_encode, run_encode, OF_16, EIGHT, 0, 2},
	{"sae_decode", make_entries, run_decode, OF_FEATURES, MANY, 0, 1},
	{"csr_difference", make_difference, run_difference, OF_16, MANY, 0, 1},
	{"csr_attribute", make_entries, run_attribute, OF_FEATURES, MANY, 0, 1},
	{"row_cosine", make_cosine, run_cosine, OF_FEATURES, ONE, 0, 1},
	{"clamp 20 features", make_clamp_one, run_clamp, OF_FEATURES, FEW, 0, 1},
	{"clamp 20 of each row", make_clamp_each, run_clamp, OF_FEATURES, FEW, 0, 1},
	{"clamp 20 features", make_clamp_one, run_clamp, OF_16, MANY, 0, 1},
	{"clamp 2 features", make_clamp_two, run_clamp, OF_16, FEW, 0, 1},
	{"clamp 2 of each row", make_clamp_two_each, run_clamp, OF_16, FEW, 0, 1},
};
enum { N_BENCHES = sizeof benches / sizeof *benches };

/* ---- measuring ------------------------------------------------------------------------- */

/* What the card does at best: operands as the library wants them, 256 MiB from place to place. */
static struct {
	struct product product;
	struct tensor from, to;
} peak;

static int run_product(struct err *err)
{
	return gemm_multiply(w.dev, &peak.product, err);
}

static int run_copy(struct err *err)
{
	return op_copy(w.dev, peak.from, peak.to, err);
}

/* Memory of its own, until the end. */
static int make_peak(struct err *err)
{
	const size_t n = options.scale->square;

	err_clear(err);
	w.err = err;
	peak.from = activations(n, n);
	peak.to = activations(n, n);
	peak.product = (struct product){.m = n,
		.n = n,
		.k = n,
		.type = DTYPE_BF16,
		.A = make(&w.numbers, DTYPE_BF16, n, n, 1).data,
		.lda = n,
		.B = weights(DTYPE_BF16, n, n).data,
		.ldb = n,
		.transpose_b = true,
		.C = allocate(n * n * sizeof(float)),
		.ldc = n};
	w.n_blocks = 0;
	return err->code;
}

/* Calls waited for once. */
static int time_calls(int (*run)(struct err *), int calls, double *seconds, struct err *err)
{
	const double start = clock_seconds();

	for (int i = 0; i < calls; i++)
		TRY(run(err));
	TRY(device_wait(w.dev, err));
	*seconds = (clock_seconds() - start) / calls;
	return 0;
fail:
	return err->code;
}

/* Calls as one graph. */
static int record_calls(int (*run)(struct err *), int calls, struct device_graph **out,
	struct err *err)
{
	struct err end_err;
	int rc = 0;

	*out = NULL;
	TRY(device_graph_begin(w.dev, err));
	for (int i = 0; i < calls && !rc; i++) {
		next_turn();
		rc = run(err);
	}
	if (device_graph_end(w.dev, out, &end_err) && !rc)
		*err = end_err;
	return rc || !*out ? err->code : 0;
fail:
	return err->code;
}

/* Seconds of each of its calls. */
static int time_graph(struct device_graph *graph, int calls, double *seconds, struct err *err)
{
	const double start = clock_seconds();

	TRY(device_graph_replay(w.dev, graph, err));
	TRY(device_wait(w.dev, err));
	*seconds = (clock_seconds() - start) / calls;
	return 0;
fail:
	return err->code;
}

struct times {
	double op, product, copy; /* seconds, medians */
};

/* Op, product and copy in turn. A round is as many calls as fill some milliseconds. */
static int measure(int (*run)(struct err *), struct times *out, struct err *err)
{
	double op[ROUNDS], product[ROUNDS], copy[ROUNDS], first;
	struct device_graph *graph = NULL;
	int calls;

	TRY(time_calls(run, 1, &first, err)); /* algorithms are chosen, scratch memory grows */
	TRY(time_calls(run_product, 1, &first, err));
	TRY(time_calls(run, 1, &first, err));
	calls = 1 + (int)fmin(200, 0.004 / first);
	TRY(record_calls(run, calls, &graph, err));
	TRY(time_graph(graph, calls, &first, err)); /* the graph is sent to the device */
	for (int round = 0; round < ROUNDS; round++) {
		TRY(time_graph(graph, calls, &op[round], err));
		TRY(time_calls(run_product, 2, &product[round], err));
		TRY(time_calls(run_copy, 8, &copy[round], err));
	}
	*out = (struct times){median(op, ROUNDS), median(product, ROUNDS), median(copy, ROUNDS)};
fail:
	device_graph_free(w.dev, graph);
	return err->code;
}

/* Mean number of features; 0 where the bench finds none. */
static int find_l0(double *l0, struct err *err)
{
	const struct csr *f = &w.features_found;
	int32_t entries;

	*l0 = 0;
	if (f->n_rows == 0)
		return 0;
	if (device_download(w.dev, &entries, f->indptr + f->n_rows, sizeof entries, err))
		return err->code;
	*l0 = (double)entries / (double)f->n_rows;
	if (*l0 >= LEAST_L0 && *l0 <= MOST_L0)
		return 0;
	return err_set(err, ERR_INTERNAL, "expected an L0 from %d to %d, found %.1f: no figures",
		LEAST_L0, MOST_L0, *l0);
}

/* ---- lines ----------------------------------------------------------------------------- */

static FILE *json;

/* What the library did about masks since `before`: NULL where it was not asked. */
static const char *mask_since(struct gemm_masks before)
{
	const struct gemm_masks now = gemm_masks(cuda_state_of(w.dev)->gemm);

	if (now.asked == before.asked)
		return NULL;
	return now.written - before.written == now.asked - before.asked ? "yes" : "no";
}

static void say_times(const char *label, const struct times *t, double l0, const char *mask)
{
	const double n = (double)options.scale->square;
	const double product = 2 * n * n * n / t->product, copy = 8 * n * n / t->copy;
	const double share = fmax(w.flops / product, w.bytes / copy) / t->op;
	char features[16] = "";

	if (l0 > 0)
		snprintf(features, sizeof features, "%8.1f", l0);
	printf("%-64s %10.1f %8.1f %8.0f %8.2f %8.1f %8.0f%s%6s\n", label, 1e6 * t->op,
		w.flops / t->op * 1e-12, w.bytes / t->op * 1e-9, share, product * 1e-12,
		copy * 1e-9, features, mask ? mask : "");
	fflush(stdout);
	if (!json)
		return;
	fprintf(json,
		"{\"name\": \"%s\", \"seconds\": %.9g, \"flops\": %.9g, \"bytes\": %.9g, "
		"\"share\": %.4g, \"product_flops_per_second\": %.9g, "
		"\"copy_bytes_per_second\": %.9g",
		label, t->op, w.flops, w.bytes, share, product, copy);
	if (l0 > 0)
		fprintf(json, ", \"l0\": %.4g", l0);
	if (mask)
		fprintf(json, ", \"mask\": \"%s\"", mask);
	fputs("}\n", json);
	fflush(json);
}

/* Instead of figures: "not_run" or "failed", and why. */
static void say_why(const char *label, const char *what, const char *why)
{
	printf("%-64s %s: %s\n", label, what, why);
	fflush(stdout);
	if (!json)
		return;
	fprintf(json, "{\"name\": \"%s\", \"%s\": \"", label, what);
	for (; *why; why++)
		fputc(*why == '"' || *why == '\\' || *why < ' ' ? ' ' : *why, json);
	fputs("\"}\n", json);
	fflush(json);
}

/* ---- the loop -------------------------------------------------------------------------- */

static int run_bench(const struct bench *b, const struct task *t, const char *label,
	struct err *err)
{
	struct gemm_masks before;
	struct times times;
	double l0;

	err_clear(err);
	w.err = err;
	w.features_found = (struct csr){0};
	w.lse = none;
	w.n_turns = 0;
	w.flops = w.bytes = 0;
	b->make(t);
	if (err->code)
		return err->code;
	before = gemm_masks(cuda_state_of(w.dev)->gemm);
	if (options.once)
		TRY(time_calls(b->run, 1, &times.op, err));
	else
		TRY(measure(b->run, &times, err));
	TRY(find_l0(&l0, err));
	if (!options.once)
		say_times(label, &times, l0, mask_since(before));
	return 0;
fail:
	return err->code;
}

static bool out_of_time(void)
{
	return options.seconds > 0 && clock_seconds() - options.start > options.seconds;
}

static int run_task(const struct bench *b, const struct task *t)
{
	char label[96], of[64];
	struct err err;
	int rc;

	if (b->kind == OF_PROMPTS)
		snprintf(of, sizeof of, "%zu prompts of %zu", t->prompts, t->tokens);
	else if (b->kind == OF_ROWS)
		snprintf(of, sizeof of, "%zu rows", t->n);
	else
		snprintf(of, sizeof of, "%zu rows, %zu features, %s", t->n, t->d_sae,
			dtype_name(t->dtype));
	snprintf(label, sizeof label, "%s, %s, %s", b->name, t->m->name, of);
	if (options.only && !strstr(label, options.only))
		return 0;
	if (out_of_time()) {
		say_why(label, "not_run", "the time is up");
		return 0;
	}
	rc = run_bench(b, t, label, &err);
	free_blocks();
	if (rc)
		say_why(label, "failed", err.text);
	return rc;
}

/* Both types of an SAE, where a bench has one. */
static int run_model(const struct bench *b, const struct sizes *m)
{
	const struct scale *s = options.scale;
	struct task t = {m, s->rows[b->rows], s->prompts[b->prompts][0], s->prompts[b->prompts][1],
		s->widths[b->width], DTYPE_BF16};
	int status = 0;

	if (b->kind == OF_FEATURES) {
		t.dtype = DTYPE_F32;
		status = run_task(b, &t);
		t.dtype = DTYPE_BF16;
	}
	return run_task(b, &t) || status;
}

static int run_all(void)
{
	int status = 0;

	if (!options.once)
		printf("%s\n%-64s %10s %8s %8s %8s %8s %8s %7s%6s\n", device_description(w.dev),
			"op", "us", "TFLOP/s", "GB/s", "of limit", "(product", "copy)", "L0",
			"mask");
	for (size_t m = 0; m < sizeof options.scale->models / sizeof *options.scale->models; m++)
		for (size_t i = 0; i < N_BENCHES; i++)
			status |= run_model(&benches[i], &options.scale->models[m]);
	return status;
}

static int read_options(int argc, char **argv, struct err *err)
{
	options.device = "cuda:0";
	options.scale = &full;
	options.start = clock_seconds();
	for (int i = 1; i < argc; i++) {
		const char *const option = argv[i], *value = argv[i + 1];

		if (strcmp(option, "--once") == 0) {
			options.once = true;
			continue;
		}
		if (strcmp(option, "--small") == 0) {
			options.scale = &small;
			continue;
		}
		if (value && strcmp(option, "--device") == 0)
			options.device = value;
		else if (value && strcmp(option, "--json") == 0)
			options.json = value;
		else if (value && strcmp(option, "--only") == 0)
			options.only = value;
		else if (value && strcmp(option, "--seconds") == 0 && strtod(value, NULL) > 0)
			options.seconds = strtod(value, NULL);
		else
			return err_set(err, ERR_CONFIG,
				"usage: bench_cuda [--device cuda:0] [--json FILE] "
				"[--seconds LIMIT] [--only TEXT] [--once] [--small]");
		i++;
	}
	return 0;
}

static int open_all(int argc, char **argv, struct err *err)
{
	TRY(read_options(argc, argv, err));
	if (options.json && !(json = fopen(options.json, "w")))
		return err_set(err, ERR_OUTPUT, "--json: cannot write %s", options.json);
	TRY(device_open(&w.dev, options.device, 0, err));
	if (device_is_host(w.dev))
		return err_set(err, ERR_CONFIG, "--device: expected cuda:N, found %s",
			options.device);
	TRY(stretch_init(&w.numbers, 5, err));
	TRY(stretch_init(&w.features, 6, err));
	return make_peak(err);
fail:
	return err->code;
}

int main(int argc, char **argv)
{
	struct err err;

	if (open_all(argc, argv, &err)) {
		fprintf(stderr, "bench_cuda: %s\n", err.text);
		return err.code;
	}
	return run_all() ? 1 : 0; /* the driver takes the memory back */
}
