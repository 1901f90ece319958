/* SPDX-License-Identifier: MIT
 *
 * gemm_cublaslt.cu - matrix products by cuBLASLt. Contract: gemm.h. Tests: tests/emu/test_gemm.c
 * and tests/test_ops.c, without a GPU against a stand-in for the library (tests/emu/cublaslt.cc).
 *
 * cuBLASLt counts in columns; a row-major matrix is its transpose there, so the row-major product
 * C = A op(B) is asked for as C^T = op(B)^T A^T: B comes first, m and n change places, and a bias
 * along the rows of C is the bias along the columns that the epilogue knows.
 *
 * The library proposes algorithms for a product, the fastest first. The first that runs is kept,
 * because the question costs some ten microseconds, and because it may not be asked while a graph
 * is recorded (CUDA 13.3 refuses). Not every proposal runs: epilogues with a bias are refused for
 * some types and distances of rows, and fault where the bias is not aligned to 16 bytes. So a bias
 * that no algorithm adds, or that lies at such an address, is added by a kernel of our own.
 *
 * Same bits every time: split sums are allowed only where the parts are kept in float32 in the
 * workspace and added in order; the proposals depend on the product's description, the library and
 * the card alone; whether one runs, on the same; and one that is kept stays. So two processes
 * choose alike on equal cards.
 *
 * A row's bits whatever m is, on invariant devices (ops.h): one algorithm, proposed for
 * TYPICAL_ROWS, serves any number of rows. Without split sums and without workspace, in which other
 * algorithms share a sum among blocks, each element is one block's sum over k in the order of that
 * algorithm; which rows lie beside it in a tile does not enter. The first proposal is taken or
 * none: whether it runs may not depend on the rows either. No bias is left to the library, nor a
 * mask.
 *
 * A mask of what is positive is the library's extra output of an epilogue, made for its own
 * backward pass. The order of its bits is not documented, only the distance of its rows; and where
 * the result is 0 or NaN, a bit may be set or not. So it is verified, not believed: before the
 * first product of a shape, one runs whose bias is huge, of either sign by columns, so that what is
 * positive is known whatever the operands are; then the product itself. If a bit of the first is
 * not as it must be, or a positive element of the second lacks its own, or no algorithm runs, the
 * choice is that there is no mask. (So it is where operands are not finite, of which runs end.)
 * That costs one more product and a reading of C once a shape.
 *
 * The compute type is plain float32, which means float32 arithmetic for float32 operands: TF32
 * would have to be asked for. The pedantic type would say it again at the price of algorithms, and
 * would not be stronger than NVIDIA_TF32_OVERRIDE, with which the environment overrules all
 * programs: a device is not opened under it.
 */
#include "kernels/cuda/gemm.h"

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/gpu.cuh"

#include <stdio.h>
#include <stdlib.h>

enum {
	N_ASKED = 8,         /* algorithms */
	TYPICAL_ROWS = 256,  /* for which one is proposed that serves any number */
	N_SETS = 256,        /* of the table of choices */
	SET = 8,             /* choices that share a hash value */
	MOST_ALIGNMENT = 64, /* that the library may count on: what device_alloc promises */
	BIAS_ALIGNMENT = 16, /* that its epilogues count on */
	BLOCK = 256
};

/* Little where the harness runs it, which fills fresh memory. */
#ifdef SAENGINE_EMU
enum { WORKSPACE = 4 << 10 };
#else
enum { WORKSPACE = 32 << 20 }; /* what NVIDIA advises for Hopper */
#endif

/* What becomes of C. */
enum result { REPLACED, ROUNDED, ADDED_TO, MASKED };

/* All that the choice depends on; compared as bytes, of which none is padding. */
struct choice_key {
	uint64_t m, n, k, lda, ldb, ldc;
	uint32_t type, transpose_b, result;
	uint32_t any_m; /* the algorithm serves any number of rows; m: TYPICAL_ROWS */
	uint32_t align_a, align_b, align_c, align_bias; /* align_bias 0: the library adds none */
};

struct choice {
	struct choice_key key; /* m = 0: none yet */
	bool epilogue;         /* the algorithm adds the bias, and writes the mask */
	cublasLtMatmulAlgo_t algorithm;
};

struct gemm {
	struct cublaslt lt;
	cublasLtHandle_t handle;
	void *workspace; /* WORKSPACE bytes, and an int behind them: whether a mask was wrong */
	struct gemm_masks masks;
	struct choice choices[N_SETS][SET]; /* in each, the last used comes first */
};

/* ---- opening --------------------------------------------------------------------------- */

static int failed(const struct cublaslt *lt, cublasStatus_t status, const char *what,
	struct err *err)
{
	return err_set(err, ERR_DEVICE, "%s: %s (%s)", what, lt->GetStatusString(status),
		lt->GetStatusName(status));
}

static int open_library(struct gemm *gemm, int ordinal, struct err *err)
{
	const char *tf32 = getenv("NVIDIA_TF32_OVERRIDE");
	cublasStatus_t status;

	if (tf32 && strcmp(tf32, "0") != 0)
		return err_set(err, ERR_DEVICE,
			"device \"cuda:%d\": expected NVIDIA_TF32_OVERRIDE to be unset or 0, found "
			"\"%s\": cuBLASLt would round float32 to TF32",
			ordinal, tf32);
	TRY(cublaslt_open(&gemm->lt, ordinal, err));
	status = gemm->lt.Create(&gemm->handle);
	if (status != CUBLAS_STATUS_SUCCESS) {
		gemm->handle = NULL;
		return failed(&gemm->lt, status, "cublasLtCreate", err);
	}
	return cuda_check(cudaMalloc(&gemm->workspace, WORKSPACE + sizeof(int)), "device",
		"cudaMalloc of cuBLASLt's workspace", err);
fail:
	return err->code;
}

int gemm_open(struct gemm **out, struct device *dev, struct err *err)
{
	struct gemm *gemm = (struct gemm *)calloc(1, sizeof *gemm);

	*out = NULL;
	if (!gemm)
		return err_nomem(err, "the table of matrix products", sizeof *gemm);
	if (open_library(gemm, cuda_state_of(dev)->ordinal, err)) {
		gemm_close(gemm);
		return err->code;
	}
	*out = gemm;
	return 0;
}

size_t gemm_version(const struct gemm *gemm)
{
	return gemm->lt.GetVersion();
}

void gemm_close(struct gemm *gemm)
{
	if (!gemm)
		return;
	cudaFree(gemm->workspace);
	if (gemm->handle)
		gemm->lt.Destroy(gemm->handle);
	free(gemm);
}

/* ---- what was chosen before ------------------------------------------------------------ */

/* The largest power of two that divides the address of every row. The library knows the distance of
 * rows too, but is not told more about their addresses than holds. */
static uint32_t alignment(const void *p, size_t row_bytes)
{
	const uintptr_t bits = (uintptr_t)p | row_bytes | MOST_ALIGNMENT;

	return (uint32_t)(bits & -bits);
}

static enum dtype type_of_c(const struct product *p)
{
	return p->rounds_c ? DTYPE_BF16 : DTYPE_F32;
}

static struct choice_key key_of(const struct product *p, bool any_m)
{
	const size_t bytes = dtype_bytes(p->type);
	struct choice_key key = {};

	key.m = any_m ? (size_t)TYPICAL_ROWS : p->m;
	key.n = p->n;
	key.k = p->k;
	key.lda = p->lda;
	key.ldb = p->ldb;
	key.ldc = p->ldc;
	key.type = (uint32_t)p->type;
	key.transpose_b = p->transpose_b;
	key.result = p->mask ? MASKED : p->beta != 0 ? ADDED_TO : p->rounds_c ? ROUNDED : REPLACED;
	key.any_m = any_m;
	key.align_a = alignment(p->A, p->lda * bytes);
	key.align_b = alignment(p->B, p->ldb * bytes);
	key.align_c = alignment(p->C, p->ldc * dtype_bytes(type_of_c(p)));
	if (p->bias && !any_m && (uintptr_t)p->bias % BIAS_ALIGNMENT == 0)
		key.align_bias = alignment(p->bias, 0);
	return key;
}

static struct choice *set_of(struct gemm *gemm, const struct choice_key *key)
{
	uint64_t words[sizeof *key / sizeof(uint64_t)], hash = 0;

	memcpy(words, key, sizeof words);
	for (uint64_t word : words) {
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return gemm->choices[hash % N_SETS];
}

/* Puts a choice before the first n of its set. */
static void put_first(struct choice *set, size_t n, struct choice choice)
{
	memmove(set + 1, set, n * sizeof *set);
	set[0] = choice;
}

/* Moves the choice for the key to the front of its set. False: there is none. */
static bool find_choice(struct choice *set, const struct choice_key *key)
{
	for (size_t i = 0; i < SET; i++)
		if (memcmp(&set[i].key, key, sizeof *key) == 0) {
			put_first(set, i, set[i]);
			return true;
		}
	return false;
}

/* ---- a product in the library's words --------------------------------------------------- */

/* The library's descriptors of one product, freed together. */
struct descriptors {
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t first, second, result; /* B, A and C, as the library sees them */
};

static void descriptors_free(const struct cublaslt *lt, struct descriptors *d)
{
	if (d->product)
		lt->MatmulDescDestroy(d->product);
	if (d->first)
		lt->MatrixLayoutDestroy(d->first);
	if (d->second)
		lt->MatrixLayoutDestroy(d->second);
	if (d->result)
		lt->MatrixLayoutDestroy(d->result);
}

static size_t workspace_of(const struct choice_key *key)
{
	return key->any_m ? 0 : (size_t)WORKSPACE;
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

/* With m rows of A and C. */
static cublasStatus_t describe(const struct cublaslt *lt, const struct product *p, size_t m,
	bool with_bias, struct descriptors *d)
{
	const cudaDataType_t type = library_type(p->type);
	const cublasOperation_t transpose = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
	const cublasLtEpilogue_t epilogue = !with_bias ? CUBLASLT_EPILOGUE_DEFAULT
					    : p->mask  ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS
						       : CUBLASLT_EPILOGUE_BIAS;
	const int64_t mask_bits = (int64_t)gemm_mask_words(p->n) * 32;
	cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

	STEP(lt->MatmulDescCreate(&d->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
	STEP(lt->MatmulDescSetAttribute(d->product, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
		sizeof transpose));
	STEP(lt->MatmulDescSetAttribute(d->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
		sizeof epilogue));
	if (with_bias)
		STEP(lt->MatmulDescSetAttribute(d->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
			&p->bias, sizeof p->bias));
	if (with_bias && p->mask) {
		STEP(lt->MatmulDescSetAttribute(d->product,
			CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &p->mask, sizeof p->mask));
		STEP(lt->MatmulDescSetAttribute(d->product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
			&mask_bits, sizeof mask_bits));
	}
	STEP(lt->MatrixLayoutCreate(&d->first, type, p->transpose_b ? p->k : p->n,
		p->transpose_b ? p->n : p->k, (int64_t)p->ldb));
	STEP(lt->MatrixLayoutCreate(&d->second, type, p->k, m, (int64_t)p->lda));
	STEP(lt->MatrixLayoutCreate(&d->result, library_type(type_of_c(p)), p->n, m,
		(int64_t)p->ldc));
	return status;
}

/* What an algorithm may use. */
static cublasStatus_t set_preference(const struct cublaslt *lt, const struct choice_key *key,
	cublasLtMatmulPreference_t preference)
{
	const uint32_t schemes = key->any_m ? CUBLASLT_REDUCTION_SCHEME_NONE
					    : CUBLASLT_REDUCTION_SCHEME_NONE |
						      CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
	const size_t workspace = workspace_of(key);
	cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

#define PREFER(attribute, value) \
	STEP(lt->MatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_##attribute, \
		&(value), sizeof(value)))
	PREFER(MAX_WORKSPACE_BYTES, workspace);
	PREFER(REDUCTION_SCHEME_MASK, schemes);
	PREFER(MIN_ALIGNMENT_A_BYTES, key->align_b);
	PREFER(MIN_ALIGNMENT_B_BYTES, key->align_a);
	PREFER(MIN_ALIGNMENT_C_BYTES, key->align_c);
	PREFER(MIN_ALIGNMENT_D_BYTES, key->align_c);
#undef PREFER
	return status;
}

/* Algorithms for the key's shape, of which there is at least one if this succeeds. */
static cublasStatus_t propose(struct gemm *gemm, const struct product *p,
	const struct choice *choice, cublasLtMatmulHeuristicResult_t found[N_ASKED], int *n_found)
{
	const struct cublaslt *lt = &gemm->lt;
	const struct choice_key *key = &choice->key;
	cublasLtMatmulPreference_t preference = NULL;
	struct descriptors d = {};
	cublasStatus_t status = describe(lt, p, key->m, choice->epilogue, &d);

	STEP(lt->MatmulPreferenceCreate(&preference));
	STEP(set_preference(lt, key, preference));
	STEP(lt->MatmulAlgoGetHeuristic(gemm->handle, d.product, d.first, d.second, d.result,
		d.result, preference, key->any_m ? 1 : N_ASKED, found, n_found));
	if (status == CUBLAS_STATUS_SUCCESS && *n_found == 0)
		status = CUBLAS_STATUS_NOT_SUPPORTED;
	if (preference)
		lt->MatmulPreferenceDestroy(preference);
	descriptors_free(lt, &d);
	return status;
}

static cublasStatus_t multiply_by(struct gemm *gemm, const struct product *p,
	const struct descriptors *d, const struct choice *choice, cudaStream_t stream)
{
	const float alpha = 1;

	return gemm->lt.Matmul(gemm->handle, d->product, &alpha, p->B, d->first, p->A, d->second,
		&p->beta, p->C, d->result, p->C, d->result, &choice->algorithm, gemm->workspace,
		workspace_of(&choice->key), stream);
}

/* ---- the bias, where the library does not add it ------------------------------------------ */

/* One thread per element. */
static __global__ void __launch_bounds__(BLOCK)
	add_bias_kernel(float *C, size_t ldc, const float *bias, size_t n)
{
	const size_t j = (size_t)blockIdx.y * BLOCK + threadIdx.x;

	if (j < n)
		C[blockIdx.x * ldc + j] += bias[j];
}

static void add_bias(const struct product *p, cudaStream_t stream)
{
	GPU_LAUNCH(add_bias_kernel, dim3((unsigned)p->m, blocks_for(p->n, BLOCK)), BLOCK, 0, stream,
		(float *)p->C, p->ldc, p->bias, p->n);
}

/* ---- products --------------------------------------------------------------------------- */

/* Tries what the library proposes until one runs. */
static cublasStatus_t try_proposals(struct gemm *gemm, const struct product *p, cudaStream_t stream,
	struct choice *choice, int *n_tried)
{
	cublasLtMatmulHeuristicResult_t found[N_ASKED];
	struct descriptors d = {};
	int n_found = 0;
	cublasStatus_t status = describe(&gemm->lt, p, p->m, choice->epilogue, &d);

	STEP(propose(gemm, p, choice, found, &n_found));
	for (int i = 0; i < n_found; i++) {
		status = found[i].state;
		choice->algorithm = found[i].algo;
		STEP(multiply_by(gemm, p, &d, choice, stream));
		++*n_tried;
		if (status == CUBLAS_STATUS_SUCCESS)
			break;
	}
	descriptors_free(&gemm->lt, &d);
	return status;
}

/* Runs the product by the first algorithm that does, and says which. What is refused has not
 * touched C. */
static cublasStatus_t choose(struct gemm *gemm, const struct product *p, cudaStream_t stream,
	struct choice *choice, int *n_tried)
{
	cublasStatus_t status;

	choice->epilogue = choice->key.align_bias > 0;
	status = try_proposals(gemm, p, stream, choice, n_tried);
	if (status != CUBLAS_STATUS_SUCCESS && choice->epilogue) {
		choice->epilogue = false;
		status = try_proposals(gemm, p, stream, choice, n_tried);
	}
	return status;
}

static cublasStatus_t multiply_as_before(struct gemm *gemm, const struct product *p,
	cudaStream_t stream, const struct choice *choice)
{
	struct descriptors d = {};
	cublasStatus_t status = describe(&gemm->lt, p, p->m, choice->epilogue, &d);

	STEP(multiply_by(gemm, p, &d, choice, stream));
	descriptors_free(&gemm->lt, &d);
	return status;
}

static int refused(const struct cublaslt *lt, const struct product *p, cublasStatus_t status,
	int n_tried, struct err *err)
{
	char what[300];

	snprintf(what, sizeof what,
		"cuBLASLt: [%zu, %zu] = %s[%zu, %zu] times %s[%zu, %zu]%s in %s, rows %zu, %zu and "
		"%zu elements apart%s: %d algorithms tried",
		p->m, p->n, p->beta != 0 ? "itself + " : "", p->m, p->k,
		p->transpose_b ? "transposed " : "", p->transpose_b ? p->n : p->k,
		p->transpose_b ? p->k : p->n, p->bias ? " + bias" : "", dtype_name(p->type), p->ldc,
		p->lda, p->ldb, p->rounds_c ? ", rounded" : "", n_tried);
	return failed(lt, status, what, err);
}

static int not_run_before(const struct product *p, struct err *err)
{
	return err_set(err, ERR_INTERNAL,
		"a product of [%zu, %zu] by [%zu, %zu] in %s while recording, that has not run "
		"before",
		p->m, p->k, p->k, p->n, dtype_name(p->type));
}

int gemm_multiply(struct device *dev, const struct product *p, struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);
	struct gemm *gemm = state->gemm;
	const struct choice_key key = key_of(p, dev->invariant);
	struct choice *set = set_of(gemm, &key);
	const bool clean = cudaPeekAtLastError() == cudaSuccess;
	cublasStatus_t status;
	int n_tried = 0;

	if (find_choice(set, &key)) {
		n_tried = 1;
		status = multiply_as_before(gemm, p, state->stream, &set[0]);
	} else if (state->recording) {
		return not_run_before(p, err);
	} else {
		struct choice choice = {};

		choice.key = key;
		status = choose(gemm, p, state->stream, &choice, &n_tried);
		if (status == CUBLAS_STATUS_SUCCESS)
			put_first(set, SET - 1, choice);
	}
	if (clean)
		cudaGetLastError(); /* of what was refused: reported here, or mended */
	if (status != CUBLAS_STATUS_SUCCESS)
		return refused(&gemm->lt, p, status, n_tried, err);
	if (p->bias && !set[0].epilogue)
		add_bias(p, state->stream);
	return 0;
}

/* ---- masks ------------------------------------------------------------------------------ */

/* Huge, of either sign: no order of the bits but the right one leaves all signs in their places. */
static __global__ void __launch_bounds__(BLOCK) huge_bias_kernel(float *bias, size_t n)
{
	const size_t j = (size_t)blockIdx.x * BLOCK + threadIdx.x;
	uint32_t hash = (uint32_t)j * 0x9e3779b9u;

	hash = (hash ^ hash >> 15) * 0x85ebca6bu;
	hash ^= hash >> 13;
	if (j < n)
		bias[j] = hash & 1 ? 0x1p100f : -0x1p100f;
}

/* Whether the mask has the bits of what is positive, and none of what is negative. One thread per
 * element. */
static __global__ void __launch_bounds__(BLOCK) check_mask_kernel(const float *values,
	size_t row_step, const uint32_t *mask, size_t n_words, size_t n, int *wrong)
{
	const size_t j = (size_t)blockIdx.y * BLOCK + threadIdx.x;
	bool bit;

	if (j >= n)
		return;
	bit = mask[blockIdx.x * n_words + j / 32] >> j % 32 & 1;
	if (bit ? values[blockIdx.x * row_step + j] < 0 : values[blockIdx.x * row_step + j] > 0)
		atomicOr(wrong, 1);
}

static int *wrong_mask(const struct gemm *gemm)
{
	return (int *)((char *)gemm->workspace + WORKSPACE);
}

/* Against values whose rows are so far apart; 0: all rows have the same. */
static void check_mask(const struct gemm *gemm, const struct product *p, const float *values,
	size_t row_step, cudaStream_t stream)
{
	GPU_LAUNCH(check_mask_kernel, dim3((unsigned)p->m, blocks_for(p->n, BLOCK)), BLOCK, 0,
		stream, values, row_step, p->mask, gemm_mask_words(p->n), p->n, wrong_mask(gemm));
}

/* The first product of a shape: whether the library writes masks that are right becomes
 * choice->epilogue, and if so this one is written. */
static int choose_masked(struct device *dev, const struct product *p, struct choice *choice,
	struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);
	struct gemm *gemm = state->gemm;
	struct product trial = *p;
	cublasStatus_t status;
	int n_tried = 0, wrong;

	trial.bias = p->spare;
	TRY(cuda_check(cudaMemsetAsync(p->mask, 0, p->m * gemm_mask_words(p->n) * sizeof *p->mask,
			       state->stream),
		"a mask", "cudaMemsetAsync", err));
	TRY(cuda_check(cudaMemsetAsync(wrong_mask(gemm), 0, sizeof(int), state->stream), "a mask",
		"cudaMemsetAsync", err));
	GPU_LAUNCH(huge_bias_kernel, blocks_for(p->n, BLOCK), BLOCK, 0, state->stream, p->spare,
		p->n);
	TRY(cuda_launched(dev, "a mask", err));
	choice->epilogue = true;
	status = try_proposals(gemm, &trial, state->stream, choice, &n_tried);
	cudaGetLastError(); /* of what was refused: mended, here and below */
	if (status == CUBLAS_STATUS_SUCCESS)
		check_mask(gemm, p, p->spare, 0, state->stream);
	STEP(multiply_as_before(gemm, p, state->stream, choice));
	if (status != CUBLAS_STATUS_SUCCESS) {
		cudaGetLastError();
		choice->epilogue = false;
		return 0;
	}
	check_mask(gemm, p, (const float *)p->C, p->ldc, state->stream);
	TRY(cuda_launched(dev, "a mask", err));
	TRY(cuda_download(dev, &wrong, wrong_mask(gemm), sizeof wrong, err));
	choice->epilogue = !wrong;
	return 0;
fail:
	return err->code;
}

/* Fewer columns would not tell orders of bits apart. */
static bool can_have_a_mask(const struct device *dev, const struct product *p)
{
	const uintptr_t bits = (uintptr_t)p->bias | (uintptr_t)p->spare | (uintptr_t)p->mask;

	return !dev->invariant && p->n >= GEMM_MASK_BITS && bits % MOST_ALIGNMENT == 0;
}

int gemm_multiply_masked(struct device *dev, const struct product *p, bool *masked, struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);
	struct gemm *gemm = state->gemm;
	const struct choice_key key = key_of(p, false);
	struct choice *set = set_of(gemm, &key);

	*masked = false;
	if (!can_have_a_mask(dev, p))
		return 0;
	if (!find_choice(set, &key)) {
		struct choice choice = {};

		if (state->recording)
			return not_run_before(p, err);
		choice.key = key;
		TRY(choose_masked(dev, p, &choice, err));
		put_first(set, SET - 1, choice);
	} else if (set[0].epilogue) {
		const bool clean = cudaPeekAtLastError() == cudaSuccess;
		const cublasStatus_t status = multiply_as_before(gemm, p, state->stream, &set[0]);

		if (clean)
			cudaGetLastError();
		if (status != CUBLAS_STATUS_SUCCESS)
			return refused(&gemm->lt, p, status, 1, err);
	}
	*masked = set[0].epilogue;
	gemm->masks.asked++;
	gemm->masks.written += *masked;
	return 0;
fail:
	return err->code;
}

struct gemm_masks gemm_masks(const struct gemm *gemm)
{
	return gemm->masks;
}
