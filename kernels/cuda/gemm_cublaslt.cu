/* SPDX-License-Identifier: MIT
 *
 * gemm_cublaslt.cu - matrix products by cuBLASLt. Contract: gemm.h. Stand-in for tests without a
 * GPU: tests/emu/gemm.cc.
 *
 * cuBLASLt counts in columns; a row-major matrix is its transpose there, so the row-major product
 * C = A op(B) is asked for as C^T = op(B)^T A^T: B comes first, m and n change places, and a bias
 * along the rows of C is the bias along the columns that the epilogue knows.
 *
 * The choice of an algorithm costs some ten microseconds, so it is kept by shape in a table with
 * one place per hash value: batches of varying sizes overwrite each other's places instead of
 * growing it. Split sums are allowed only where the parts are kept in float32 in the workspace
 * and added in order. The compute type is plain float32: TF32 would have to be asked for.
 */
#include "kernels/cuda/gemm.h"

#include <stdlib.h>

#include <cublasLt.h>

enum { N_CHOICES = 1024, WORKSPACE = 32 << 20 }; /* the workspace NVIDIA advises for Hopper */

/* All that the choice depends on; compared as bytes, so it is zeroed before it is filled. */
struct choice_key {
	uint64_t m, n, k, lda, ldb, ldc;
	uint32_t type, transpose_b, has_bias, adds;
	uint32_t align_a, align_b, align_c, align_bias;
};

struct choice {
	bool taken;
	struct choice_key key;
	cublasLtMatmulAlgo_t algorithm;
};

struct gemm {
	cublasLtHandle_t handle;
	void *workspace;
	struct choice choices[N_CHOICES];
};

int gemm_open(struct gemm **out, struct device *dev, struct err *err)
{
	struct gemm *gemm = (struct gemm *)calloc(1, sizeof *gemm);
	cublasStatus_t status;

	(void)dev;
	*out = NULL;
	if (!gemm)
		return err_nomem(err, "the table of matrix products", sizeof *gemm);
	status = cublasLtCreate(&gemm->handle);
	if (status != CUBLAS_STATUS_SUCCESS) {
		free(gemm);
		return err_set(
			err, ERR_DEVICE, "cublasLtCreate: %s", cublasLtGetStatusString(status));
	}
	if (cuda_check(cudaMalloc(&gemm->workspace, WORKSPACE), "device",
		    "cudaMalloc of cuBLASLt's workspace", err)) {
		gemm->workspace = NULL;
		gemm_close(gemm);
		return err->code;
	}
	*out = gemm;
	return 0;
}

void gemm_close(struct gemm *gemm)
{
	if (!gemm)
		return;
	cudaFree(gemm->workspace);
	cublasLtDestroy(gemm->handle);
	free(gemm);
}

/* The largest power of two, up to 256, that divides the address. */
static uint32_t alignment(const void *p)
{
	const uintptr_t bit = (uintptr_t)p & -(uintptr_t)p;

	return bit == 0 || bit > 256 ? 256 : (uint32_t)bit;
}

static struct choice_key key_of(const struct product *p)
{
	struct choice_key key;

	memset(&key, 0, sizeof key);
	key.m = p->m;
	key.n = p->n;
	key.k = p->k;
	key.lda = p->lda;
	key.ldb = p->ldb;
	key.ldc = p->ldc;
	key.type = (uint32_t)p->type;
	key.transpose_b = p->transpose_b;
	key.has_bias = p->bias != NULL;
	key.adds = p->beta != 0;
	key.align_a = alignment(p->A);
	key.align_b = alignment(p->B);
	key.align_c = alignment(p->C);
	key.align_bias = alignment(p->bias);
	return key;
}

static struct choice *place_of(struct gemm *gemm, const struct choice_key *key)
{
	const unsigned char *byte = (const unsigned char *)key;
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < sizeof *key; i++)
		hash = (hash ^ byte[i]) * 1099511628211u;
	return &gemm->choices[(hash ^ hash >> 32) % N_CHOICES];
}

/* The library's descriptors of one product, freed together. */
struct descriptors {
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t first, second, result; /* B, A and C, as the library sees them */
	cublasLtMatmulPreference_t preference;
};

static void descriptors_free(struct descriptors *d)
{
	if (d->product)
		cublasLtMatmulDescDestroy(d->product);
	if (d->first)
		cublasLtMatrixLayoutDestroy(d->first);
	if (d->second)
		cublasLtMatrixLayoutDestroy(d->second);
	if (d->result)
		cublasLtMatrixLayoutDestroy(d->result);
	if (d->preference)
		cublasLtMatmulPreferenceDestroy(d->preference);
}

static cudaDataType_t library_type(enum dtype type)
{
	return type == DTYPE_BF16 ? CUDA_R_16BF : type == DTYPE_F16 ? CUDA_R_16F : CUDA_R_32F;
}

/* `status` becomes the first failure among calls made in order. */
#define STEP(call) \
	do { \
		if (status == CUBLAS_STATUS_SUCCESS) \
			status = (call); \
	} while (0)

static cublasStatus_t describe(const struct product *p, struct descriptors *d)
{
	const cudaDataType_t type = library_type(p->type);
	const cublasOperation_t transpose = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
	const cublasLtEpilogue_t epilogue = p->bias ? CUBLASLT_EPILOGUE_BIAS
						    : CUBLASLT_EPILOGUE_DEFAULT;
	cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

	STEP(cublasLtMatmulDescCreate(&d->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
	STEP(cublasLtMatmulDescSetAttribute(
		d->product, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose));
	STEP(cublasLtMatmulDescSetAttribute(
		d->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
	if (p->bias)
		STEP(cublasLtMatmulDescSetAttribute(
			d->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
	STEP(cublasLtMatrixLayoutCreate(&d->first, type, p->transpose_b ? p->k : p->n,
		p->transpose_b ? p->n : p->k, (int64_t)p->ldb));
	STEP(cublasLtMatrixLayoutCreate(&d->second, type, p->k, p->m, (int64_t)p->lda));
	STEP(cublasLtMatrixLayoutCreate(&d->result, CUDA_R_32F, p->n, p->m, (int64_t)p->ldc));
	return status;
}

static cublasStatus_t choose(struct gemm *gemm, const struct choice_key *key, struct descriptors *d,
	cublasLtMatmulAlgo_t *algorithm)
{
	const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE |
				 CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
	const size_t workspace = WORKSPACE;
	cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
	cublasLtMatmulHeuristicResult_t found;
	int n_found = 0;

	STEP(cublasLtMatmulPreferenceCreate(&d->preference));
#define PREFER(attribute, value) \
	STEP(cublasLtMatmulPreferenceSetAttribute( \
		d->preference, CUBLASLT_MATMUL_PREF_##attribute, &(value), sizeof(value)))
	PREFER(MAX_WORKSPACE_BYTES, workspace);
	PREFER(REDUCTION_SCHEME_MASK, schemes);
	PREFER(MIN_ALIGNMENT_A_BYTES, key->align_b);
	PREFER(MIN_ALIGNMENT_B_BYTES, key->align_a);
	PREFER(MIN_ALIGNMENT_C_BYTES, key->align_c);
	PREFER(MIN_ALIGNMENT_D_BYTES, key->align_c);
#undef PREFER
	STEP(cublasLtMatmulAlgoGetHeuristic(gemm->handle, d->product, d->first, d->second,
		d->result, d->result, d->preference, 1, &found, &n_found));
	if (status == CUBLAS_STATUS_SUCCESS && n_found == 0)
		status = CUBLAS_STATUS_NOT_SUPPORTED;
	STEP(found.state);
	if (status == CUBLAS_STATUS_SUCCESS)
		*algorithm = found.algo;
	return status;
}

int gemm_multiply(struct device *dev, const struct product *p, struct err *err)
{
	struct gemm *gemm = cuda_state_of(dev)->gemm;
	const struct choice_key key = key_of(p);
	struct choice *choice = place_of(gemm, &key);
	struct descriptors d = {};
	const float alpha = 1;
	cublasStatus_t status = describe(p, &d);

	if (status == CUBLAS_STATUS_SUCCESS &&
		!(choice->taken && memcmp(&choice->key, &key, sizeof key) == 0)) {
		choice->taken = false;
		status = choose(gemm, &key, &d, &choice->algorithm);
		choice->key = key;
		choice->taken = status == CUBLAS_STATUS_SUCCESS;
	}
	STEP(cublasLtMatmul(gemm->handle, d.product, &alpha, p->B, d.first, p->A, d.second,
		&p->beta, p->C, d.result, p->C, d.result, &choice->algorithm, gemm->workspace,
		WORKSPACE, cuda_stream(dev)));
	descriptors_free(&d);
	if (status != CUBLAS_STATUS_SUCCESS)
		return err_set(err, ERR_DEVICE,
			"cuBLASLt: product of [%zu, %zu] by [%zu, %zu] in %s: %s", p->m, p->k, p->k,
			p->n, dtype_name(p->type), cublasLtGetStatusString(status));
	return 0;
}
