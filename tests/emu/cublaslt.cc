/* SPDX-License-Identifier: MIT
 *
 * cublaslt.cc - a stand-in for cuBLASLt (include/cublasLt.h), and for the file that finds it
 * (kernels/cuda/cublaslt.h). Products are plain loops, launched as a kernel like the others, so
 * they keep their place in the stream and in graphs, and the harness sees what they read and write.
 * Sums are float32, in pieces whose number depends on the algorithm: the same product has other
 * last bits by each.
 *
 * As unhelpful as cuBLASLt may be: it proposes several algorithms, the fastest of which need
 * addresses and distances of rows that are multiples of 16 bytes, or workspace; which one is first
 * depends on how many rows of ours there are; it proposes nothing
 * while a graph is recorded; a call that is refused then spoils that graph, and any refused call
 * leaves an error behind. control.h says what is refused. What on a GPU faults or gives varying
 * bits ends the program (emu_fail): matrices less aligned than was promised, a bias or a mask that
 * is not aligned to 16 bytes, sums whose order varies, TF32.
 *
 * Masks of what is positive are as loose as their description: what is exactly 0 has its bit, and
 * so have all columns behind the last. A NaN has become 0, with a bit.
 */
#include "kernels/cuda/cublaslt.h"

#include "host/base/size.h"
#include "kernels/cuda/gpu.cuh"
#include "tests/emu/control.h"
#include "tests/emu/grid.h"
#include "tests/emu/stream.h"

struct cublasLtContext {
	char unused;
};

struct emu_matmul {
	cublasOperation_t transpose_a, transpose_b;
	cublasLtEpilogue_t epilogue;
	const float *bias;
	uint32_t *mask;
	int64_t mask_ld; /* bits */
};

struct emu_layout {
	cudaDataType_t type;
	uint64_t rows, cols;
	int64_t ld;
};

struct emu_preference {
	uint64_t workspace;
	uint32_t schemes, align_a, align_b, align_c, align_d;
};

namespace
{

/* From the fastest on. What an algorithm is goes into its data[0], its rank in the list into
 * data[1]. */
enum kind { NO_KIND, THIN, WIDE, SPLIT, PLAIN }; /* NO_KIND: what nobody has proposed */

const uint64_t pieces[] = {0, 3, 2, 4, 1}; /* of a sum, by kind */

const uint64_t FEW_ROWS = 16; /* of ours, which are columns here */
const uint32_t WIDE_ALIGNMENT = 16;
const size_t SPLIT_WORKSPACE = 1024;

enum emu_products rules;
struct emu_product_calls made;

bool adds_bias(cublasLtMatmulDesc_t product)
{
	return product->epilogue == CUBLASLT_EPILOGUE_BIAS ||
	       product->epilogue == CUBLASLT_EPILOGUE_RELU_AUX_BIAS;
}

bool writes_mask(cublasLtMatmulDesc_t product)
{
	return product->epilogue == CUBLASLT_EPILOGUE_RELU_AUX_BIAS;
}

/* Whether no algorithm is found. */
bool lacks(cublasLtMatmulDesc_t product)
{
	switch (rules) {
	case EMU_PRODUCTS_NONE:
		return true;
	case EMU_PRODUCTS_NO_BIAS:
		return adds_bias(product);
	case EMU_PRODUCTS_NO_MASK:
		return writes_mask(product);
	default:
		return false;
	}
}

bool refuses(uint64_t rank, cublasLtMatmulDesc_t product)
{
	switch (rules) {
	case EMU_PRODUCTS_FIRST_REFUSED:
		return rank == 0;
	case EMU_PRODUCTS_BIAS_REFUSED:
		return adds_bias(product);
	case EMU_PRODUCTS_MASK_REFUSED:
		return writes_mask(product);
	case EMU_PRODUCTS_ALL_REFUSED:
		return true;
	default:
		return false;
	}
}

/* One that leaves its traces. */
cublasStatus_t refuse(cudaStream_t stream, cublasStatus_t status)
{
	made.refused++;
	emu::leave_error(cudaErrorInvalidConfiguration);
	emu::spoil_recording(stream);
	return status;
}

size_t bytes_of(cudaDataType_t type)
{
	return type == CUDA_R_32F ? 4 : 2;
}

/* Whether D = op(A) op(B) makes sense, and the library has it. */
cublasStatus_t check(cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
	cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
{
	const bool ta = product->transpose_a == CUBLAS_OP_T;
	const bool tb = product->transpose_b == CUBLAS_OP_T;

	for (cublasLtMatrixLayout_t m : {a, b, c, d})
		if (m->rows == 0 || m->cols == 0 || m->ld < (int64_t)m->rows)
			return CUBLAS_STATUS_INVALID_VALUE;
	if ((ta ? a->cols : a->rows) != d->rows || (tb ? b->rows : b->cols) != d->cols ||
		(ta ? a->rows : a->cols) != (tb ? b->cols : b->rows) || c->rows != d->rows ||
		c->cols != d->cols)
		return CUBLAS_STATUS_INVALID_VALUE;
	if (a->type != b->type || c->type != d->type)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	/* The library has more, of which none is asked for. */
	if (d->type != CUDA_R_32F && (d->type != CUDA_R_16BF || a->type != CUDA_R_16BF ||
					     product->epilogue != CUBLASLT_EPILOGUE_DEFAULT))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	if (adds_bias(product) && !product->bias)
		return CUBLAS_STATUS_INVALID_VALUE;
	if (writes_mask(product) && (!product->mask || product->mask_ld % 128 != 0 ||
					    product->mask_ld < (int64_t)d->rows))
		return CUBLAS_STATUS_INVALID_VALUE;
	return CUBLAS_STATUS_SUCCESS;
}

/* Whether every column, as the library sees a matrix, may be read in pieces of 16 bytes. */
bool is_wide(cublasLtMatrixLayout_t m, uint32_t promised)
{
	return promised >= WIDE_ALIGNMENT &&
	       (size_t)m->ld * bytes_of(m->type) % WIDE_ALIGNMENT == 0;
}

void must_be_aligned(const char *what, const void *p, size_t bytes)
{
	if ((uintptr_t)p % bytes != 0)
		emu_fail("cublasLtMatmul: %s at %p, its algorithm reads %zu bytes at a time", what,
			p, bytes);
}

/* Element (i, j) of op(M) lies i `row` + j `column` elements on. */
struct matrix {
	const void *data;
	uint64_t row, column;
};

struct product {
	uint64_t m, n, k;
	struct matrix A, B;
	float alpha, beta;
	const float *C;
	uint64_t ldc;
	float *D;
	uint64_t ldd;
	bool rounds_d; /* it is bfloat16, and C as well, which is then not read */
	const float *bias;
	uint32_t *mask;      /* or NULL, */
	uint64_t mask_words; /* of a column of D */
	enum emu_products rules;
	uint64_t pieces;
};

struct matrix operand(const void *data, cublasLtMatrixLayout_t layout, cublasOperation_t op)
{
	const uint64_t ld = (uint64_t)layout->ld;

	return op == CUBLAS_OP_T ? matrix{data, ld, 1} : matrix{data, 1, ld};
}

template <typename T>
EMU_UNSEEN float dot(const T *a, uint64_t step_a, const T *b, uint64_t step_b, uint64_t n,
	uint64_t n_pieces)
{
	float sum = 0;

	for (uint64_t i = 0; i < n_pieces; i++) {
		float piece = 0;

		for (uint64_t l = i * n / n_pieces; l < (i + 1) * n / n_pieces; l++)
			piece += to_float(a[l * step_a]) * to_float(b[l * step_b]);
		sum += piece;
	}
	return sum;
}

template <typename T> void touch_all(const T *p, uint64_t step, uint64_t n)
{
	for (uint64_t l = 0; l < n; l++)
		emu::touch(p + l * step, sizeof *p, false);
}

/* Where bit i of column j has its place among the bits of the mask, and which column's they are. */
uint64_t mask_bit(const struct product &p, uint64_t i)
{
	return p.rules == EMU_PRODUCTS_MASK_OF_BYTES ? i ^ 7 : i;
}

uint64_t mask_column(const struct product &p, uint64_t j)
{
	return p.rules == EMU_PRODUCTS_MASK_OF_ROWS && (j ^ 1) < p.n ? j ^ 1 : j;
}

/* A block per column of D, a word of the mask to a thread, once D is there. */
__global__ void mask_kernel(const struct product p)
{
	const uint64_t j = blockIdx.x;

	for (uint64_t word = threadIdx.x; word < p.mask_words; word += blockDim.x) {
		uint32_t bits = 0;

		for (uint64_t b = 0; b < 32; b++) {
			const uint64_t i = mask_bit(p, word * 32 + b);
			float *d = &p.D[j * p.ldd + i];

			if (i >= p.m || !(*d < 0))
				bits |= 1u << b;
			if (i < p.m && !(*d > 0))
				*d = 0;
		}
		p.mask[mask_column(p, j) * p.mask_words + word] = bits;
	}
}

/* A block per column of D, its rows among the threads. The race detector is shown one reading of
 * each element of A and B, not one for each product: the first block's of A, the first threads' of
 * B. */
template <typename T> __global__ void product_kernel(const struct product p)
{
	const uint64_t j = blockIdx.x;
	const T *B = (const T *)p.B.data + j * p.B.column;

	if (threadIdx.x == 0)
		touch_all(B, p.B.row, p.k);
	for (uint64_t i = threadIdx.x; i < p.m; i += blockDim.x) {
		const T *A = (const T *)p.A.data + i * p.A.row;
		float sum;

		if (j == 0)
			touch_all(A, p.A.column, p.k);
		sum = p.alpha * dot(A, p.A.column, B, p.B.row, p.k, p.pieces);
		if (p.beta != 0)
			sum += p.beta * p.C[j * p.ldc + i];
		if (p.bias)
			sum += p.bias[i];
		if (p.rounds_d)
			((struct bf16 *)p.D)[j * p.ldd + i] = to_bf16(sum);
		else
			p.D[j * p.ldd + i] = sum;
	}
}

template <typename T> void launch(const struct product *p, cudaStream_t stream)
{
	GPU_LAUNCH(product_kernel<T>, (unsigned)p->n, WARP, 0, stream, *p);
	if (p->mask)
		GPU_LAUNCH(mask_kernel, (unsigned)p->n, WARP, 0, stream, *p);
}

template <typename T> cublasStatus_t destroy(T *object)
{
	delete object;
	return CUBLAS_STATUS_SUCCESS;
}

/* Reads an attribute of the size that it must have. */
template <typename T> cublasStatus_t set(T *to, const void *value, size_t bytes)
{
	if (bytes != sizeof *to)
		return CUBLAS_STATUS_INVALID_VALUE;
	memcpy(to, value, bytes);
	return CUBLAS_STATUS_SUCCESS;
}

} // namespace

void emu_set_products(enum emu_products products)
{
	rules = products;
}

struct emu_product_calls emu_product_calls_made(void)
{
	return made;
}

int cublaslt_open(struct cublaslt *out, int, struct err *)
{
#define STAND_IN(name) out->name = cublasLt##name;
	CUBLASLT_FUNCTIONS(STAND_IN)
#undef STAND_IN
	return 0;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
	*out = new cublasLtContext();
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	return destroy(handle);
}

size_t cublasLtGetVersion(void)
{
	return 120405;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
	switch (status) {
	case CUBLAS_STATUS_INVALID_VALUE:
		return "CUBLAS_STATUS_INVALID_VALUE";
	case CUBLAS_STATUS_EXECUTION_FAILED:
		return "CUBLAS_STATUS_EXECUTION_FAILED";
	case CUBLAS_STATUS_NOT_SUPPORTED:
		return "CUBLAS_STATUS_NOT_SUPPORTED";
	default:
		return "a status";
	}
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "not done";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
	cudaDataType_t scale)
{
	if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
		emu_fail("a product that computes in type %d, scaled in type %d", compute, scale);
	*out = new emu_matmul{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, nullptr,
		0};
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product)
{
	return destroy(product);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
	cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
	switch (attribute) {
	case CUBLASLT_MATMUL_DESC_TRANSA:
		return set(&product->transpose_a, value, bytes);
	case CUBLASLT_MATMUL_DESC_TRANSB:
		return set(&product->transpose_b, value, bytes);
	case CUBLASLT_MATMUL_DESC_EPILOGUE:
		return set(&product->epilogue, value, bytes);
	case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
		return set(&product->bias, value, bytes);
	case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
		return set(&product->mask, value, bytes);
	case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
		return set(&product->mask_ld, value, bytes);
	}
	return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type,
	uint64_t rows, uint64_t cols, int64_t ld)
{
	*out = new emu_layout{type, rows, cols, ld};
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
	return destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
	*out = new emu_preference{0, CUBLASLT_REDUCTION_SCHEME_MASK, 256, 256, 256, 256};
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
	return destroy(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
	cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes)
{
	switch (attribute) {
	case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
		return set(&preference->workspace, value, bytes);
	case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
		return set(&preference->schemes, value, bytes);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
		return set(&preference->align_a, value, bytes);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
		return set(&preference->align_b, value, bytes);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
		return set(&preference->align_c, value, bytes);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
		return set(&preference->align_d, value, bytes);
	}
	return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product,
	cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
	cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int n_asked,
	cublasLtMatmulHeuristicResult_t *found, int *n_found)
{
	const cublasStatus_t status = check(product, a, b, c, d);
	const auto propose = [=](enum kind kind) {
		cublasLtMatmulHeuristicResult_t *next = &found[*n_found];

		if (*n_found == n_asked)
			return;
		*next = {};
		next->algo.data[0] = kind;
		next->algo.data[1] = (uint64_t)*n_found;
		next->workspaceSize = kind == SPLIT ? SPLIT_WORKSPACE : 0;
		next->state = CUBLAS_STATUS_SUCCESS;
		++*n_found;
	};

	made.asked++;
	*n_found = 0;
	if (n_asked <= 0)
		return CUBLAS_STATUS_INVALID_VALUE;
	if (status != CUBLAS_STATUS_SUCCESS)
		return status;
	if (emu::is_recording())
		return CUBLAS_STATUS_INTERNAL_ERROR;
	if (preference->schemes & ~CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)
		emu_fail("cuBLASLt may add parts in an order that varies: schemes %#x",
			preference->schemes);
	if (lacks(product))
		return CUBLAS_STATUS_SUCCESS;
	if (d->cols < FEW_ROWS)
		propose(THIN);
	if (is_wide(a, preference->align_a) && is_wide(b, preference->align_b) &&
		is_wide(c, preference->align_c) && is_wide(d, preference->align_d))
		propose(WIDE);
	if (preference->workspace >= SPLIT_WORKSPACE && preference->schemes != 0)
		propose(SPLIT);
	propose(PLAIN);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void *alpha,
	const void *A, cublasLtMatrixLayout_t a, const void *B, cublasLtMatrixLayout_t b,
	const void *beta, const void *C, cublasLtMatrixLayout_t c, void *D,
	cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algorithm, void *workspace,
	size_t workspace_bytes, cudaStream_t stream)
{
	const bool with_bias = adds_bias(product), with_mask = writes_mask(product);
	const uint64_t kind = algorithm->data[0];
	const size_t wide = kind == WIDE ? WIDE_ALIGNMENT : 1;
	const cudaError_t before = cudaPeekAtLastError();
	const struct product p = {d->rows, d->cols,
		product->transpose_a == CUBLAS_OP_T ? a->rows : a->cols,
		operand(A, a, product->transpose_a), operand(B, b, product->transpose_b),
		*(const float *)alpha, *(const float *)beta, (const float *)C, (uint64_t)c->ld,
		(float *)D, (uint64_t)d->ld, d->type != CUDA_R_32F,
		with_bias ? product->bias : nullptr,
		with_mask && rules != EMU_PRODUCTS_MASK_UNTOUCHED ? product->mask : nullptr,
		(uint64_t)product->mask_ld / 32, rules,
		kind < sizeof pieces / sizeof *pieces ? pieces[kind] : 0};
	const cublasStatus_t status = check(product, a, b, c, d);

	if (status != CUBLAS_STATUS_SUCCESS)
		return refuse(stream, status);
	if (kind < THIN || kind > PLAIN)
		return refuse(stream, CUBLAS_STATUS_INVALID_VALUE);
	if (refuses(algorithm->data[1], product))
		return refuse(stream, CUBLAS_STATUS_NOT_SUPPORTED);
	if (kind == SPLIT && (workspace_bytes < SPLIT_WORKSPACE ||
				     !emu::is_device_memory(workspace, SPLIT_WORKSPACE)))
		emu_fail("cublasLtMatmul: a workspace of %zu bytes at %p", workspace_bytes,
			workspace);
	must_be_aligned("A", A, size_max(wide, bytes_of(a->type)));
	must_be_aligned("B", B, size_max(wide, bytes_of(b->type)));
	must_be_aligned("C", C, size_max(wide, bytes_of(c->type)));
	must_be_aligned("D", D, size_max(wide, bytes_of(d->type)));
	if (with_bias)
		must_be_aligned("the bias", product->bias, 16);
	if (with_mask)
		must_be_aligned("the mask", product->mask, 16);
	made.with_bias += with_bias;
	made.with_mask += with_mask;
	if (a->type == CUDA_R_32F)
		launch<float>(&p, stream);
	else if (a->type == CUDA_R_16BF)
		launch<struct bf16>(&p, stream);
	else
		launch<struct f16>(&p, stream);
	if (before == cudaSuccess && cudaPeekAtLastError() != cudaSuccess)
		return CUBLAS_STATUS_EXECUTION_FAILED;
	made.run++;
	return CUBLAS_STATUS_SUCCESS;
}
