/* SPDX-License-Identifier: MIT
 *
 * bench_cuda.c - rates of the CUDA kernels at the sizes of Gemma 2 2B, against what the same card
 * does in the same process: a large bfloat16 product for arithmetic, a large copy for memory.
 * Medians of rounds; not a test.
 *
 *   build/cuda/bench_cuda [DEVICE [JSON]]       "cuda:0"; JSON: a file for the figures
 */
#include "host/base/clock.h"
#include "kernels/backend.h"
#include "tests/bench_median.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ROUNDS = 9,
	D = 2304,
	D_FF = 9216,
	HEADS = 8,
	KV_HEADS = 4,
	HEAD_DIM = 256,
	VOCABULARY = 256000
};

static struct device *dev;
static struct test_random random_numbers = {1};

/* What one call of an op does, for its rate. */
struct bench {
	const char *name;
	double flops, bytes;
	int (*run)(struct err *err);
	double seconds;
};

static void stop(const struct err *err)
{
	fprintf(stderr, "%s\n", err->text);
	exit(err->code);
}

/* ---- what the ops work on -------------------------------------------------------------- */

static void *send(const void *values, size_t bytes)
{
	struct err err;
	void *memory;

	if (device_alloc(dev, bytes, &memory, &err) ||
		(values && device_upload(dev, memory, values, bytes, &err)))
		stop(&err);
	return memory;
}

/* Random in [-scale, scale), a stretch of a million numbers repeated. */
static struct tensor make(enum dtype dtype, size_t rows, size_t cols, double scale)
{
	enum { STRETCH = 1 << 20 };
	struct tensor t = {NULL, dtype, rows, cols};
	const size_t n = tensor_count(t), size = dtype_bytes(dtype);
	char *values = malloc(tensor_bytes(t));

	if (!values) {
		perror("bench_cuda");
		exit(1);
	}
	for (size_t i = 0; i < n && i < STRETCH; i++) {
		const float value = (float)(scale * test_random_uniform(&random_numbers));
		const uint16_t half = f32_to_bf16(value);

		memcpy(values + i * size, size == 4 ? (const void *)&value : &half, size);
	}
	for (size_t i = STRETCH; i < n; i += STRETCH)
		memcpy(values + i * size, values, (n - i < STRETCH ? n - i : STRETCH) * size);
	t.data = send(values, tensor_bytes(t));
	free(values);
	return t;
}

static int32_t *make_ids(size_t n, size_t below, size_t step)
{
	int32_t *ids = malloc(n * sizeof *ids), *sent;

	if (!ids) {
		perror("bench_cuda");
		exit(1);
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)(i * step % below);
	sent = send(ids, n * sizeof *ids);
	free(ids);
	return sent;
}

static struct {
	struct tensor square_a, square_w, square_y; /* 8192 x 8192 */
	struct tensor x, x2, ff, ff2;               /* 8192 rows */
	struct tensor W_up, W_down, E, vector;
	struct tensor q, out, dq, dk, dv, lse, dout; /* 4096 rows: 16 prompts of 256 */
	struct tensor cache_k, cache_v;
	struct rows packed, steps; /* and 32 prompts at token 1024 */
	struct keys packed_keys, cache;
	struct tensor logits; /* 32 rows */
	int32_t *ids;
	struct sae_weights wide, narrow, few;
	struct csr features;
	struct clamp_lists lists;
} w;

static struct sae_weights make_sae(size_t n)
{
	struct sae_weights sae = {.W_enc_t = make(DTYPE_F32, n, D, 0.02)};

	sae.b_enc = make(DTYPE_F32, 1, n, 0.1);
	/* About one feature in a thousand: pre-activations have a deviation near 0.55 here. */
	sae.threshold = make(DTYPE_F32, 1, n, 0);
	{
		float *high = malloc(n * sizeof *high);
		struct err err;

		for (size_t i = 0; high && i < n; i++)
			high[i] = 1.7f;
		if (!high || device_upload(dev, sae.threshold.data, high, n * sizeof *high, &err))
			exit(1);
		free(high);
	}
	sae.W_dec = make(DTYPE_F32, n, D, 0.02);
	sae.b_dec = make(DTYPE_F32, 1, D, 0.1);
	return sae;
}

static void make_sequences(void)
{
	const size_t kv = (size_t)KV_HEADS * HEAD_DIM, q = (size_t)HEADS * HEAD_DIM;
	int32_t seq[4096], pos[4096], start[32];

	for (size_t i = 0; i < 4096; i++) {
		seq[i] = (int32_t)(i / 256);
		pos[i] = (int32_t)(i % 256);
	}
	for (size_t i = 0; i < 32; i++)
		start[i] = (int32_t)(256 * i);
	w.q = make(DTYPE_F32, 4096, q, 1);
	w.out = make(DTYPE_F32, 4096, q, 1);
	w.dout = make(DTYPE_F32, 4096, q, 1);
	w.dq = make(DTYPE_F32, 4096, q, 1);
	w.lse = make(DTYPE_F32, 4096, HEADS, 1);
	w.cache_k = make(DTYPE_F32, 32 * 1024, kv, 1);
	w.cache_v = make(DTYPE_F32, 32 * 1024, kv, 1);
	w.dk = make(DTYPE_F32, 4096, kv, 1);
	w.dv = make(DTYPE_F32, 4096, kv, 1);
	w.packed = (struct rows){4096, send(seq, sizeof seq), send(pos, sizeof pos)};
	w.packed_keys = (struct keys){tensor_rows(w.cache_k, 0, 0), tensor_rows(w.cache_v, 0, 0),
		tensor_rows(w.cache_k, 0, 4096), tensor_rows(w.cache_v, 0, 4096),
		send(start, sizeof start), 16};
	for (size_t i = 0; i < 32; i++) {
		seq[i] = (int32_t)i;
		pos[i] = 1023;
		start[i] = (int32_t)(1024 * i);
	}
	w.steps = (struct rows){32, send(seq, sizeof seq), send(pos, sizeof pos)};
	w.cache = (struct keys){tensor_rows(w.cache_k, 0, 0), tensor_rows(w.cache_v, 0, 0),
		w.cache_k, w.cache_v, send(start, sizeof start), 32};
}

static void make_all(void)
{
	enum { ENTRIES = 20, MOST = 8192 * 400 };
	const int32_t start[] = {0, ENTRIES};
	int32_t slot[ENTRIES];

	w.square_a = make(DTYPE_F32, 8192, 8192, 1);
	w.square_w = make(DTYPE_BF16, 8192, 8192, 1);
	w.square_y = make(DTYPE_F32, 8192, 8192, 1);
	w.x = make(DTYPE_F32, 8192, D, 1);
	w.x2 = make(DTYPE_F32, 8192, D, 1);
	w.ff = make(DTYPE_F32, 8192, D_FF, 1);
	w.ff2 = make(DTYPE_F32, 8192, D_FF, 1);
	w.W_up = make(DTYPE_BF16, D_FF, D, 0.02);
	w.W_down = make(DTYPE_BF16, D, D_FF, 0.02);
	w.E = make(DTYPE_BF16, VOCABULARY, D, 0.02);
	w.vector = make(DTYPE_F32, 1, D, 1);
	w.logits = make(DTYPE_F32, 32, VOCABULARY, 5);
	w.ids = make_ids(8192, VOCABULARY, 31);
	make_sequences();
	w.wide = make_sae(65536);
	w.narrow = make_sae(16384);
	w.few = w.narrow;
	w.few.W_enc_t.rows = w.few.W_dec.rows = w.few.b_enc.cols = w.few.threshold.cols = ENTRIES;
	w.features = (struct csr){8192, MOST, send(NULL, 8193 * sizeof(int32_t)),
		send(NULL, MOST * sizeof(int32_t)), make(DTYPE_F32, MOST, 1, 1)};
	for (int32_t i = 0; i < ENTRIES; i++)
		slot[i] = i;
	w.lists = (struct clamp_lists){1, send(start, sizeof start), send(slot, sizeof slot),
		make(DTYPE_F32, 1, ENTRIES, 1).data, make(DTYPE_F32, 1, ENTRIES, 1).data};
}

/* ---- the ops --------------------------------------------------------------------------- */

#define RUN(name, call) \
	static int name(struct err *err) \
	{ \
		return call; \
	}

static const struct attention heads = {HEADS, KV_HEADS, HEAD_DIM, 0.0625, 50, 4096};
static const struct tensor none;

static struct tensor top(struct tensor t, size_t n)
{
	return tensor_rows(t, 0, n);
}

static struct csr first_rows(size_t n)
{
	struct csr f = w.features;

	f.n_rows = n;
	return f;
}

static int encode(const struct sae_weights *sae, size_t n, struct err *err)
{
	struct csr f = first_rows(n);

	return op_sae_encode(dev, sae, top(w.x, n), &f, err);
}

RUN(square, op_linear(dev, w.square_a, w.square_w, none, w.square_y, err))
RUN(copy, op_copy(dev, w.square_a, w.square_y, err))
RUN(up_8192, op_linear(dev, w.x, w.W_up, none, w.ff, err))
RUN(down_8192, op_linear(dev, w.ff, w.W_down, none, w.x2, err))
RUN(up_back, op_linear_backward(dev, w.ff, w.W_up, 0, w.x2, err))
RUN(up_32, op_linear(dev, top(w.x, 32), w.W_up, none, top(w.ff, 32), err))
RUN(up_1, op_linear(dev, top(w.x, 1), w.W_up, none, top(w.ff, 1), err))
RUN(unembed_32, op_linear(dev, top(w.x, 32), w.E, none, w.logits, err))
RUN(argmax, op_argmax(dev, w.logits, w.ids, err))
RUN(norm, op_rmsnorm(dev, (struct norm){1e-6, true}, w.x, w.vector, w.x2, none, err))
RUN(gated, op_gated(dev, ACTIVATION_GELU_TANH, w.ff, w.ff2, w.ff, err))
RUN(ablate, op_ablate_direction(dev, w.vector, w.x2, err))
RUN(attention_prefill, op_attention(dev, &heads, w.q, w.packed, &w.packed_keys, w.out, w.lse, err))
RUN(attention_back, op_attention_backward(dev, &heads, w.q, w.packed, &w.packed_keys, w.out, w.lse,
			    w.dout, w.dq, w.dk, w.dv, err))
RUN(attention_decode,
	op_attention(dev, &heads, top(w.q, 32), w.steps, &w.cache, top(w.out, 32), none, err))
RUN(encode_wide, encode(&w.wide, 8192, err))
RUN(encode_narrow, encode(&w.narrow, 8192, err))
RUN(encode_wide_32, encode(&w.wide, 32, err))
RUN(clamp_32, op_clamp_features(dev, &w.few, &w.lists, w.steps, none, top(w.x2, 32), err))

static int attribute(struct err *err)
{
	struct csr f = first_rows(8192);

	return op_csr_attribute(dev, w.wide.W_dec, w.x, none, &f, err);
}

#define PRODUCT(n, in, out, weight_bytes) \
	2.0 * (n) * (in) * (out), (double)(weight_bytes) * (in) * (out) + 4.0 * (n) * ((in) + (out))

static struct bench benches[] = {
	{"product, 8192 x 8192 x 8192, bfloat16", PRODUCT(8192, 8192, 8192, 2), square, 0},
	{"copy, 256 MiB", 0, 2.0 * 8192 * 8192 * 4, copy, 0},
	{"up projection, 8192 rows", PRODUCT(8192, D, D_FF, 2), up_8192, 0},
	{"down projection, 8192 rows", PRODUCT(8192, D_FF, D, 2), down_8192, 0},
	{"up projection backward, 8192 rows", PRODUCT(8192, D_FF, D, 2), up_back, 0},
	{"up projection, 32 rows", PRODUCT(32, D, D_FF, 2), up_32, 0},
	{"up projection, 1 row", PRODUCT(1, D, D_FF, 2), up_1, 0},
	{"unembedding, 32 rows", PRODUCT(32, D, VOCABULARY, 2), unembed_32, 0},
	{"argmax, 32 rows", 0, 4.0 * 32 * VOCABULARY, argmax, 0},
	{"rmsnorm, 8192 rows", 0, 8.0 * 8192 * D, norm, 0},
	{"gated gelu, 8192 rows", 0, 12.0 * 8192 * D_FF, gated, 0},
	{"ablate direction, 8192 rows", 0, 8.0 * 8192 * D, ablate, 0},
	{"attention, 16 prompts of 256", 4.0 * 16 * 256 * 128.5 * HEADS *HEAD_DIM,
		4.0 * 4096 * HEAD_DIM *(2 * HEADS + 2 * KV_HEADS), attention_prefill, 0},
	{"attention backward, 16 prompts of 256", 10.0 * 16 * 256 * 128.5 * HEADS *HEAD_DIM,
		4.0 * 4096 * HEAD_DIM *(4 * HEADS + 4 * KV_HEADS), attention_back, 0},
	{"attention of a step, 32 prompts at 1024", 4.0 * 32 * 1024 * HEADS *HEAD_DIM,
		8.0 * 32 * 1024 * KV_HEADS *HEAD_DIM, attention_decode, 0},
	{"sae_encode, 8192 rows, 65536 features", PRODUCT(8192, D, 65536, 4), encode_wide, 0},
	{"csr_attribute on its entries", 0, 0, attribute, 0},
	{"sae_encode, 8192 rows, 16384 features", PRODUCT(8192, D, 16384, 4), encode_narrow, 0},
	{"sae_encode, 32 rows, 65536 features", PRODUCT(32, D, 65536, 4), encode_wide_32, 0},
	{"clamp 20 features, 32 rows", 4.0 * 32 * 20 * D, 8.0 * 20 * D, clamp_32, 0},
};
enum { N_BENCHES = sizeof benches / sizeof *benches };

/* A round is as many calls as fill some milliseconds, waited for once. */
static void run_bench(struct bench *b)
{
	double seconds[ROUNDS];
	int calls = 1;
	struct err err;

	for (int round = -2; round < ROUNDS; round++) { /* two to warm up */
		const double start = clock_seconds();

		for (int i = 0; i < calls; i++)
			if (b->run(&err))
				stop(&err);
		if (device_wait(dev, &err))
			stop(&err);
		if (round == -1)
			calls = 1 + (int)fmin(200, 0.005 / (clock_seconds() - start));
		else if (round >= 0)
			seconds[round] = (clock_seconds() - start) / calls;
	}
	b->seconds = median(seconds, ROUNDS);
}

static void write_json(FILE *file)
{
	fprintf(file, "{\"device\": \"%s\", \"kernels\": [\n", device_description(dev));
	for (size_t i = 0; i < N_BENCHES; i++)
		fprintf(file,
			"  {\"name\": \"%s\", \"seconds\": %.9g, \"flops\": %.9g, \"bytes\": "
			"%.9g}%s\n",
			benches[i].name, benches[i].seconds, benches[i].flops, benches[i].bytes,
			i + 1 < N_BENCHES ? "," : "");
	fprintf(file, "]}\n");
}

int main(int argc, char **argv)
{
	double peak_flops, peak_bytes;
	struct err err;

	if (device_open(&dev, argc > 1 ? argv[1] : "cuda:0", 0, &err))
		stop(&err);
	make_all();
	printf("%s\n%-42s %12s %10s %10s %9s\n", device_description(dev), "op", "us", "TFLOP/s",
		"GB/s", "of limit");
	for (size_t i = 0; i < N_BENCHES; i++)
		run_bench(&benches[i]);
	peak_flops = benches[0].flops / benches[0].seconds;
	peak_bytes = benches[1].bytes / benches[1].seconds;
	for (size_t i = 0; i < N_BENCHES; i++) {
		const struct bench *b = &benches[i];

		printf("%-42s %12.1f %10.1f %10.0f %9.2f\n", b->name, 1e6 * b->seconds,
			b->flops / b->seconds * 1e-12, b->bytes / b->seconds * 1e-9,
			fmax(b->flops / peak_flops, b->bytes / peak_bytes) / b->seconds);
	}
	if (argc > 2) {
		FILE *file = fopen(argv[2], "w");

		if (!file) {
			perror(argv[2]);
			return 5;
		}
		write_json(file);
		fclose(file);
	}
	return 0; /* the driver takes the memory back */
}
