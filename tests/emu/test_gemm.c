/* SPDX-License-Identifier: MIT
 *
 * test_gemm.c - matrix products by cuBLASLt (kernels/cuda/gemm_cublaslt.cu), on the stand-in for
 * it: what is asked of the library, and what is done when it refuses. Operands are small integers,
 * so that every product is exact.
 */
#include "kernels/cuda/gemm.h"
#include "tests/device_fixture.h"
#include "tests/emu/control.h"

#include <stdlib.h>

enum { MOST = 4096 };

/* A product with the memory of its matrices, which begin `shift` elements into their blocks. */
struct problem {
	struct product product;
	void *blocks[4]; /* A, B, C, bias */
	size_t elements[4];
	float values[4][MOST]; /* what was uploaded */
	size_t shift;
};

static struct device *open_fast(void)
{
	return fixture_device(&cuda_fast_backend, 1);
}

static size_t bytes_of(const struct problem *q, int i)
{
	return i < 2 ? dtype_bytes(q->product.type) : sizeof(float);
}

static void *upload_integers(struct device *dev, struct problem *q, int i, uint64_t seed)
{
	const size_t n = q->elements[i] + q->shift, bytes = bytes_of(q, i);
	unsigned char sent[MOST * sizeof(float)];
	struct test_random random = {seed};
	struct err err;

	if (n > MOST) {
		test_fail(__FILE__, __LINE__, "%zu elements, %d fit", n, MOST);
		exit(1);
	}
	for (size_t j = 0; j < n; j++) {
		const float value = (float)(int)(8 * test_random_uniform(&random));
		const uint16_t half = q->product.type == DTYPE_BF16 ? f32_to_bf16(value)
								    : f32_to_f16(value);

		q->values[i][j] = value;
		memcpy(sent + j * bytes, bytes == 2 ? (const void *)&half : &value, bytes);
	}
	if (device_alloc(dev, n * bytes, &q->blocks[i], &err) ||
		device_upload(dev, q->blocks[i], sent, n * bytes, &err)) {
		test_fail(__FILE__, __LINE__, "%s", err.text);
		exit(1);
	}
	return (char *)q->blocks[i] + q->shift * bytes;
}

/* m, n, k, type, transpose_b, beta and distances of rows beyond their length in lda, ldb, ldc are
 * given. */
static void make(struct device *dev, struct problem *q, bool with_bias)
{
	struct product *p = &q->product;
	const size_t rows_b = p->transpose_b ? p->n : p->k;

	p->lda += p->k;
	p->ldb += p->transpose_b ? p->k : p->n;
	p->ldc += p->n;
	q->elements[0] = p->m * p->lda;
	q->elements[1] = rows_b * p->ldb;
	q->elements[2] = p->m * p->ldc;
	q->elements[3] = p->n;
	p->A = upload_integers(dev, q, 0, 1);
	p->B = upload_integers(dev, q, 1, 2);
	p->C = upload_integers(dev, q, 2, 3);
	if (with_bias)
		p->bias = upload_integers(dev, q, 3, 4);
}

static void release(struct device *dev, struct problem *q)
{
	for (int i = 0; i < 4; i++)
		if (q->blocks[i])
			device_free(dev, q->blocks[i]);
}

/* Element (i, j) of C as it must become. */
static float expected(const struct problem *q, size_t i, size_t j)
{
	const struct product *p = &q->product;
	const float *A = q->values[0] + q->shift, *B = q->values[1] + q->shift;
	float sum = p->bias ? q->values[3][q->shift + j] : 0;

	if (p->beta != 0)
		sum += q->values[2][q->shift + i * p->ldc + j];
	for (size_t l = 0; l < p->k; l++)
		sum += A[i * p->lda + l] * B[p->transpose_b ? j * p->ldb + l : l * p->ldb + j];
	return sum;
}

/* Whether C is the product, and what lies between its rows is what it was. */
static void check_result(struct device *dev, const struct problem *q, const char *what)
{
	const struct product *p = &q->product;
	float found[MOST];
	struct err err;

	REQUIRE_OK(device_download(dev, found, p->C, q->elements[2] * sizeof *found, &err), &err);
	for (size_t i = 0; i < p->m; i++)
		for (size_t j = 0; j < p->ldc; j++) {
			const float is = found[i * p->ldc + j];
			const float must = j < p->n ? expected(q, i, j)
						    : q->values[2][q->shift + i * p->ldc + j];

			REQUIRE(is == must,
				"%s: [%zu, %zu, %zu]%s in %s%s: expected %g at (%zu, %zu), found "
				"%g",
				what, p->m, p->n, p->k, p->transpose_b ? " transposed" : "",
				dtype_name(p->type), p->bias ? " with a bias" : "", must, i, j, is);
		}
}

static struct emu_product_calls calls_since(struct emu_product_calls before)
{
	const struct emu_product_calls now = emu_product_calls_made();

	return (struct emu_product_calls){now.asked - before.asked, now.run - before.run,
		now.with_bias - before.with_bias, now.refused - before.refused};
}

/* Runs it under `rules` on memory as uploaded, checks C, and says what was asked of the library. */
static struct emu_product_calls multiply(struct device *dev, struct problem *q,
	enum emu_products rules, const char *what)
{
	const struct emu_product_calls before = emu_product_calls_made();
	struct emu_product_calls calls = {0};
	struct err err = {0};

	emu_set_products(rules);
	CHECK(gemm_multiply(dev, &q->product, &err) == 0, "%s: %s", what, err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(cudaPeekAtLastError() == cudaSuccess, "%s: an error is left behind", what);
	calls = calls_since(before);
	check_result(dev, q, what);
	return calls;
}

/* A product of which any algorithm is capable. */
static void make_plain(struct device *dev, struct problem *q, bool with_bias)
{
	*q = (struct problem){
		.product = {.m = 5, .n = 16, .k = 24, .type = DTYPE_BF16, .transpose_b = true}};
	make(dev, q, with_bias);
}

static void try_layout(struct device *dev, const size_t size[3], const size_t apart[3],
	enum dtype type, size_t shift, unsigned bits)
{
	struct problem *q = calloc(1, sizeof *q);

	q->product = (struct product){.m = size[0],
		.n = size[1],
		.k = size[2],
		.lda = apart[0],
		.ldb = apart[1],
		.ldc = apart[2],
		.type = type,
		.transpose_b = bits & 1,
		.beta = (float)(bits >> 1 & 1)};
	q->shift = shift;
	make(dev, q, bits & 4);
	multiply(dev, q, EMU_PRODUCTS_WORK, "at first");
	release(dev, q);
	free(q);
}

TEST(products_of_every_size_distance_of_rows_and_alignment_are_exact)
{
	static const size_t sizes[][3] = {{1, 1, 1}, {1, 8, 16}, {7, 1, 16}, {8, 16, 1}, {1, 7, 1},
		{3, 5, 7}, {8, 16, 32}, {3, 300, 2}};
	static const size_t apart[][3] = {{0, 0, 0}, {1, 3, 1}, {8, 8, 8}, {0, 1, 0}};
	static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
	static const size_t shifts[] = {0, 1, 8};
	struct device *dev = open_fast();

	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t a = 0; a < sizeof apart / sizeof *apart; a++)
			for (size_t t = 0; t < 3; t++)
				for (size_t i = 0; i < 3; i++)
					for (unsigned bits = 0; bits < 8; bits++)
						try_layout(dev, sizes[s], apart[a], types[t],
							shifts[i], bits);
	device_close(dev);
}

TEST(a_refused_algorithm_is_followed_by_the_next_and_neither_is_asked_for_again)
{
	struct device *dev = open_fast();
	struct emu_product_calls calls;
	struct problem q;

	make_plain(dev, &q, false);
	calls = multiply(dev, &q, EMU_PRODUCTS_FIRST_REFUSED, "at first");
	CHECK(calls.asked == 1 && calls.refused == 1 && calls.run == 1,
		"asked %d times, %d refused, %d run", (int)calls.asked, (int)calls.refused,
		(int)calls.run);
	calls = multiply(dev, &q, EMU_PRODUCTS_FIRST_REFUSED, "again");
	CHECK(calls.asked == 0 && calls.refused == 0 && calls.run == 1,
		"again: asked %d times, %d refused, %d run", (int)calls.asked, (int)calls.refused,
		(int)calls.run);
	release(dev, &q);
	device_close(dev);
}

TEST(a_bias_that_no_algorithm_adds_is_added_by_the_kernel_then_and_later)
{
	static const enum emu_products rules[] = {EMU_PRODUCTS_NO_BIAS, EMU_PRODUCTS_BIAS_REFUSED};

	for (size_t i = 0; i < 2; i++) {
		struct device *dev = open_fast();
		struct emu_product_calls calls;
		struct problem q;

		make_plain(dev, &q, true);
		calls = multiply(dev, &q, rules[i], "at first");
		CHECK(calls.asked == 2 && calls.run == 1 && calls.with_bias == 0,
			"asked %d times, %d run, %d with the bias", (int)calls.asked,
			(int)calls.run, (int)calls.with_bias);
		calls = multiply(dev, &q, EMU_PRODUCTS_WORK, "again");
		CHECK(calls.asked == 0 && calls.run == 1 && calls.with_bias == 0,
			"again: asked %d times, %d run, %d with the bias", (int)calls.asked,
			(int)calls.run, (int)calls.with_bias);
		release(dev, &q);
		device_close(dev);
	}
}

TEST(a_bias_that_is_not_aligned_to_16_bytes_never_reaches_the_library)
{
	struct device *dev = open_fast();

	for (size_t shift = 0; shift < 9; shift++) {
		struct emu_product_calls calls;
		struct problem q = {.product = {.m = 5, .n = 12, .k = 24, .type = DTYPE_F16},
			.shift = shift};

		make(dev, &q, true);
		calls = multiply(dev, &q, EMU_PRODUCTS_WORK, "shifted");
		CHECK(calls.run == 1 && calls.with_bias == (shift % 4 == 0),
			"%zu elements on: %d products with the bias", shift, (int)calls.with_bias);
		release(dev, &q);
	}
	device_close(dev);
}

TEST(a_product_that_nothing_runs_is_refused_by_sizes_type_and_status)
{
	struct device *dev = open_fast();
	struct problem q;
	struct err err;

	make_plain(dev, &q, true);
	emu_set_products(EMU_PRODUCTS_ALL_REFUSED);
	CHECK(gemm_multiply(dev, &q.product, &err) == ERR_DEVICE, "no error");
	CHECK(strcmp(err.text,
		      "cuBLASLt: [5, 16] = [5, 24] times transposed [16, 24] + bias in bfloat16, "
		      "rows 16, 24 and 24 elements apart: 8 algorithms tried: not supported "
		      "(CUBLAS_STATUS_NOT_SUPPORTED)") == 0,
		"%s", err.text);
	emu_set_products(EMU_PRODUCTS_NONE);
	q.product.transpose_b = false;
	q.product.n = q.product.k = q.product.ldb = 16;
	q.product.beta = 1;
	q.product.bias = NULL;
	CHECK(gemm_multiply(dev, &q.product, &err) == ERR_DEVICE, "no error");
	CHECK(strcmp(err.text, "cuBLASLt: [5, 16] = itself + [5, 16] times [16, 16] in bfloat16, "
			       "rows 16, 24 "
			       "and 16 elements apart: 0 algorithms tried: not supported "
			       "(CUBLAS_STATUS_NOT_SUPPORTED)") == 0,
		"%s", err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(cudaGetLastError() == cudaSuccess, "an error is left behind");
	release(dev, &q);
	device_close(dev);
}

TEST(a_product_neither_allocates_nor_waits)
{
	struct device *dev = open_fast();
	struct emu_calls before, after;
	struct problem q;
	struct err err;

	make_plain(dev, &q, true);
	before = emu_calls_made();
	emu_set_products(EMU_PRODUCTS_NO_BIAS);
	CHECK(gemm_multiply(dev, &q.product, &err) == 0, "%s", err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	after = emu_calls_made();
	CHECK(memcmp(&before, &after, sizeof before) == 0, "it does");
	release(dev, &q);
	device_close(dev);
}

/* A conversion before the product may have been refused: cuda_launched must still see it. */
TEST(an_error_from_before_the_product_outlives_refused_algorithms)
{
	struct device *dev = open_fast();
	struct problem q;
	struct err err;

	make_plain(dev, &q, false);
	CHECK(cudaSetDevice(-1) == cudaErrorInvalidDevice, "no error");
	emu_set_products(EMU_PRODUCTS_FIRST_REFUSED);
	CHECK(gemm_multiply(dev, &q.product, &err) == 0, "%s", err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(cuda_launched(dev, "op linear", &err) == ERR_DEVICE, "it is forgotten");
	check_result(dev, &q, "after it");
	release(dev, &q);
	device_close(dev);
}

TEST(what_has_run_is_recorded_without_a_question_and_what_has_not_is_refused)
{
	struct device *dev = open_fast();
	struct emu_product_calls before, calls;
	struct device_graph *graph = NULL;
	struct problem q;
	struct err err;

	make_plain(dev, &q, true);
	multiply(dev, &q, EMU_PRODUCTS_NO_BIAS, "directly");
	REQUIRE_OK(op_scale(dev, 0, (struct tensor){q.product.C, DTYPE_F32, 5, 16}, &err), &err);
	before = emu_product_calls_made();
	REQUIRE_OK(device_graph_begin(dev, &err), &err);
	REQUIRE_OK(gemm_multiply(dev, &q.product, &err), &err);
	q.product.m = 4;
	CHECK(gemm_multiply(dev, &q.product, &err) == ERR_INTERNAL, "no error");
	CHECK(strcmp(err.text, "a product of [4, 24] by [24, 16] in bfloat16 while recording, that "
			       "has not run before") == 0,
		"%s", err.text);
	q.product.m = 5;
	REQUIRE_OK(device_graph_end(dev, &graph, &err), &err);
	calls = calls_since(before);
	CHECK(calls.asked == 0 && calls.refused == 0, "the library was asked");
	REQUIRE_OK(device_graph_replay(dev, graph, &err), &err);
	check_result(dev, &q, "replayed");
	device_graph_free(dev, graph);
	release(dev, &q);
	device_close(dev);
}

/* More shapes than a step has, fewer than the table has places. */
TEST(choices_for_hundreds_of_shapes_are_kept)
{
	enum { SHAPES = 300 };
	struct device *dev = open_fast();
	struct emu_product_calls before;
	struct problem q;
	struct err err;

	make_plain(dev, &q, false);
	for (int round = 0; round < 2; round++) {
		before = emu_product_calls_made();
		for (size_t i = 0; i < SHAPES; i++) {
			q.product.m = 1 + i % 5;
			q.product.n = 1 + i / 5 % 12;
			q.product.k = 1 + i / 60;
			REQUIRE_OK(gemm_multiply(dev, &q.product, &err), &err);
		}
		CHECK(calls_since(before).asked == (round ? 0 : SHAPES), "asked %d times",
			(int)calls_since(before).asked);
	}
	release(dev, &q);
	device_close(dev);
}

TEST(a_device_is_not_opened_where_the_environment_asks_for_tf32)
{
	struct device *dev;
	struct err err;

	setenv("NVIDIA_TF32_OVERRIDE", "1", 1);
	CHECK(device_open_backend(&dev, &cuda_fast_backend, 1, &err) == ERR_DEVICE, "no error");
	CHECK(strcmp(err.text,
		      "device \"cuda:0\": expected NVIDIA_TF32_OVERRIDE to be unset or 0, found "
		      "\"1\": cuBLASLt would round float32 to TF32") == 0,
		"%s", err.text);
	setenv("NVIDIA_TF32_OVERRIDE", "0", 1);
	REQUIRE_OK(device_open_backend(&dev, &cuda_fast_backend, 1, &err), &err);
	device_close(dev);
	unsetenv("NVIDIA_TF32_OVERRIDE");
}
