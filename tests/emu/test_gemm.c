/* SPDX-License-Identifier: MIT
 *
 * test_gemm.c - matrix products by cuBLASLt (kernels/cuda/gemm_cublaslt.cu), on the stand-in for
 * it: what is asked of the library, and what is done when it refuses. Operands are small integers,
 * so that every product is exact.
 */
#include "kernels/cuda/gemm.h"
#include "tests/device_fixture.h"
#include "tests/emu/control.h"

#include <math.h>
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
	if (i == 2 && q->product.rounds_c)
		return sizeof(uint16_t);
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
	union {
		float floats[MOST];
		uint16_t rounded[MOST];
	} found;
	struct err err;

	REQUIRE_OK(device_download(dev, &found, p->C, q->elements[2] * bytes_of(q, 2), &err), &err);
	for (size_t i = 0; i < p->m; i++)
		for (size_t j = 0; j < p->ldc; j++) {
			const size_t at = i * p->ldc + j;
			const float is = p->rounds_c ? bf16_to_f32(found.rounded[at])
						     : found.floats[at];
			float must = j < p->n ? expected(q, i, j) : q->values[2][q->shift + at];

			if (p->rounds_c)
				must = bf16_to_f32(f32_to_bf16(must));

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
		now.with_bias - before.with_bias, now.with_mask - before.with_mask,
		now.refused - before.refused};
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

/* ---- masks ------------------------------------------------------------------------------ */

/* A product with a mask, of n columns. Integers may be 0: so may C, exactly. */
static void make_masked(struct device *dev, struct problem *q, size_t n, enum dtype type)
{
	struct product *p = &q->product;
	struct err err;

	*q = (struct problem){
		.product = {.m = 5, .n = n, .k = 8, .type = type, .transpose_b = true}};
	make(dev, q, true);
	REQUIRE_OK(device_alloc(dev, p->m * gemm_mask_words(n) * sizeof *p->mask, (void **)&p->mask,
			   &err),
		&err);
	REQUIRE_OK(device_alloc(dev, n * sizeof *p->spare, (void **)&p->spare, &err), &err);
}

static void release_masked(struct device *dev, struct problem *q)
{
	device_free(dev, q->product.mask);
	device_free(dev, q->product.spare);
	release(dev, q);
}

/* Whether C is what it must be, without what is negative, and no positive element lacks its bit. */
static void check_mask(struct device *dev, const struct problem *q, const char *what)
{
	const struct product *p = &q->product;
	const size_t words = gemm_mask_words(p->n);
	uint32_t mask[MOST];
	float found[MOST];
	size_t positive = 0;
	struct err err;

	REQUIRE_OK(device_download(dev, found, p->C, q->elements[2] * sizeof *found, &err), &err);
	REQUIRE_OK(device_download(dev, mask, p->mask, p->m * words * sizeof *mask, &err), &err);
	for (size_t i = 0; i < p->m; i++)
		for (size_t j = 0; j < p->n; j++) {
			const float must = fmaxf(expected(q, i, j), 0);
			const bool bit = mask[i * words + j / 32] >> j % 32 & 1;

			REQUIRE(found[i * p->ldc + j] == must && (bit || must == 0),
				"%s: %zu columns: expected %g at (%zu, %zu), found %g and bit %d",
				what, p->n, must, i, j, found[i * p->ldc + j], bit);
			positive += must > 0;
		}
	CHECK(positive > 0 && positive < p->m * p->n, "%s: %zu elements are positive", what,
		positive);
}

/* Runs it under `rules`, and says whether there is a mask, which is right then. */
static bool multiply_masked(struct device *dev, struct problem *q, enum emu_products rules,
	struct emu_product_calls *calls, const char *what)
{
	const struct emu_product_calls before = emu_product_calls_made();
	struct err err = {0};
	bool masked = false;

	emu_set_products(rules);
	CHECK(gemm_multiply_masked(dev, &q->product, &masked, &err) == 0, "%s: %s", what, err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(cudaPeekAtLastError() == cudaSuccess, "%s: an error is left behind", what);
	*calls = calls_since(before);
	if (masked)
		check_mask(dev, q, what);
	return masked;
}

TEST(a_mask_has_the_bits_of_what_is_positive_and_is_compared_with_it_once)
{
	static const size_t columns[] = {128, 129, 160, 255, 256, 300};
	static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
	struct device *dev = open_fast();

	for (size_t i = 0; i < 6; i++)
		for (size_t t = 0; t < 3; t++) {
			struct emu_product_calls calls;
			struct problem q;

			make_masked(dev, &q, columns[i], types[t]);
			CHECK(multiply_masked(dev, &q, EMU_PRODUCTS_WORK, &calls, "at first"),
				"no mask");
			CHECK(calls.asked == 1 && calls.run == 2 && calls.with_mask == 2,
				"asked %d times, %d run, %d of them with a mask", (int)calls.asked,
				(int)calls.run, (int)calls.with_mask);
			CHECK(multiply_masked(dev, &q, EMU_PRODUCTS_WORK, &calls, "again"),
				"no mask");
			CHECK(calls.asked == 0 && calls.run == 1 && calls.with_mask == 1,
				"again: asked %d times, %d run, %d of them with a mask",
				(int)calls.asked, (int)calls.run, (int)calls.with_mask);
			release_masked(dev, &q);
		}
	device_close(dev);
}

TEST(a_mask_that_is_wrong_or_refused_is_not_asked_for_again)
{
	static const enum emu_products rules[] = {EMU_PRODUCTS_NO_MASK, EMU_PRODUCTS_MASK_REFUSED,
		EMU_PRODUCTS_MASK_OF_BYTES, EMU_PRODUCTS_MASK_OF_ROWS, EMU_PRODUCTS_MASK_UNTOUCHED};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct device *dev = open_fast();
		struct emu_product_calls calls;
		struct problem q;

		make_masked(dev, &q, 200, DTYPE_BF16);
		CHECK(!multiply_masked(dev, &q, rules[i], &calls, "at first"), "rule %d: a mask",
			(int)rules[i]);
		CHECK(!multiply_masked(dev, &q, EMU_PRODUCTS_WORK, &calls, "again"),
			"rule %d: a mask, later", (int)rules[i]);
		CHECK(calls.asked == 0 && calls.run == 0 && calls.refused == 0,
			"rule %d: asked %d times, %d run, %d refused", (int)rules[i],
			(int)calls.asked, (int)calls.run, (int)calls.refused);
		release_masked(dev, &q);
		device_close(dev);
	}
}

/* Else two processes might choose differently on equal cards. Where operands are not finite,
 * nothing can be seen, and nothing is believed. */
TEST(whether_there_is_a_mask_does_not_depend_on_the_first_operands)
{
	static const float values[] = {0, -1e20f, NAN, INFINITY};

	for (size_t i = 0; i < 4; i++)
		for (int right = 0; right < 2; right++) {
			const bool must = right && isfinite(values[i]);
			struct device *dev = open_fast();
			float A[MOST], bias[MOST] = {0};
			struct problem q;
			struct err err;
			bool masked;

			make_masked(dev, &q, 150, DTYPE_F32);
			for (size_t j = 0; j < q.elements[0]; j++)
				A[j] = values[i];
			REQUIRE_OK(device_upload(dev, q.blocks[0], A, q.elements[0] * sizeof *A,
					   &err),
				&err);
			REQUIRE_OK(device_upload(dev, q.blocks[3], bias, 150 * sizeof *bias, &err),
				&err);
			emu_set_products(right ? EMU_PRODUCTS_WORK : EMU_PRODUCTS_MASK_OF_BYTES);
			REQUIRE_OK(gemm_multiply_masked(dev, &q.product, &masked, &err), &err);
			emu_set_products(EMU_PRODUCTS_WORK);
			CHECK(masked == must, "products of %g: %s mask", values[i],
				masked ? "a" : "no");
			release_masked(dev, &q);
			device_close(dev);
		}
}

TEST(few_columns_and_memory_at_odd_places_never_get_a_mask)
{
	struct device *dev = open_fast();
	struct emu_product_calls calls;

	for (int part = 0; part < 4; part++) {
		struct problem q;
		struct product *p = &q.product;

		make_masked(dev, &q, 140, DTYPE_BF16);
		p->n = part == 0 ? 127 : 136;
		p->bias += part == 1 ? 4 : 0;
		p->mask += part == 2 ? 4 : 0;
		p->spare += part == 3 ? 4 : 0;
		CHECK(!multiply_masked(dev, &q, EMU_PRODUCTS_WORK, &calls, "odd"), "part %d", part);
		CHECK(calls.asked == 0 && calls.run == 0, "part %d: the library was asked", part);
		p->mask -= part == 2 ? 4 : 0;
		p->spare -= part == 3 ? 4 : 0;
		release_masked(dev, &q);
	}
	device_close(dev);
}

TEST(masks_are_recorded_as_they_have_been_chosen)
{
	for (int right = 0; right < 2; right++) {
		struct device *dev = open_fast();
		struct device_graph *graph = NULL;
		struct emu_product_calls calls;
		struct problem q;
		struct err err;
		bool masked;

		make_masked(dev, &q, 200, DTYPE_BF16);
		multiply_masked(dev, &q, right ? EMU_PRODUCTS_WORK : EMU_PRODUCTS_MASK_REFUSED,
			&calls, "directly");
		REQUIRE_OK(op_scale(dev, 0, (struct tensor){q.product.C, DTYPE_F32, 5, 200}, &err),
			&err);
		REQUIRE_OK(device_graph_begin(dev, &err), &err);
		REQUIRE_OK(gemm_multiply_masked(dev, &q.product, &masked, &err), &err);
		CHECK(masked == right, "recorded with%s a mask", masked ? "" : "out");
		q.product.m = 4;
		CHECK(gemm_multiply_masked(dev, &q.product, &masked, &err) == ERR_INTERNAL,
			"no error");
		q.product.m = 5;
		REQUIRE_OK(device_graph_end(dev, &graph, &err), &err);
		REQUIRE_OK(device_graph_replay(dev, graph, &err), &err);
		if (right)
			check_mask(dev, &q, "replayed");
		device_graph_free(dev, graph);
		release_masked(dev, &q);
		device_close(dev);
	}
}

/* ---- refusals --------------------------------------------------------------------------- */

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

/* Nor is what it leaves behind taken for an error of the kernels that check the mask. */
TEST(an_algorithm_that_is_refused_costs_no_mask)
{
	struct device *dev = open_fast();
	struct problem q;
	struct err err = {0};
	bool masked = false;

	make_masked(dev, &q, 200, DTYPE_BF16);
	emu_set_products(EMU_PRODUCTS_FIRST_REFUSED);
	CHECK(gemm_multiply_masked(dev, &q.product, &masked, &err) == 0, "%s", err.text);
	emu_set_products(EMU_PRODUCTS_WORK);
	CHECK(masked, "there is none");
	CHECK(cudaPeekAtLastError() == cudaSuccess, "an error is left behind");
	check_mask(dev, &q, "of the second algorithm");
	release_masked(dev, &q);
	device_close(dev);
}

/* Sums beyond 256 need more bits than there are; a C of either type is one more choice. */
TEST(sums_are_rounded_once_where_c_is_bfloat16)
{
	struct device *dev = open_fast();
	float most = 0;

	for (int rounds = 0; rounds < 3; rounds++) {
		struct problem q = {.product = {.m = 5,
					    .n = 24,
					    .k = 128,
					    .type = DTYPE_BF16,
					    .transpose_b = true,
					    .ldc = 8,
					    .rounds_c = rounds != 1},
			.shift = rounds == 2 ? 1 : 0};

		make(dev, &q, false);
		multiply(dev, &q, EMU_PRODUCTS_WORK, "rounded");
		for (size_t i = 0; i < q.product.m * q.product.n; i++)
			most = fmaxf(most, expected(&q, i / q.product.n, i % q.product.n));
		release(dev, &q);
	}
	CHECK(most > 256, "the largest sum is %g: nothing was rounded", most);
	device_close(dev);
}
