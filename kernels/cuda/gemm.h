/* SPDX-License-Identifier: MIT
 *
 * gemm.h - the library of matrix products, cuBLASLt, behind one function (gemm_cublaslt.cu).
 *
 *   C [m, n] = beta C + A [m, k] op(B) + bias,    op(B) [k, n] = B, or the transpose of B [n, k]
 *
 * Row-major; rows lda, ldb and ldc elements apart. A and B have one type, C and the sums are
 * float32, never TF32; of bfloat16 operands, with beta 0 and without a bias, the sums may be
 * rounded to a C of bfloat16. The same shapes give the same bits every time: no algorithm is used
 * whose order of summation varies. On invariant devices (ops.h) a row of C has the same bits
 * whatever the other rows are, and however many.
 */
#ifndef SAENGINE_GEMM_H
#define SAENGINE_GEMM_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct product {
	size_t m, n, k;  /* none of them 0 */
	enum dtype type; /* of A and B: float32, bfloat16 or float16 */
	const void *A;
	size_t lda;
	const void *B;
	size_t ldb;
	bool transpose_b;
	void *C;
	size_t ldc;
	bool rounds_c;     /* C is bfloat16 */
	float beta;        /* 0 or 1; with 0, C is not read */
	const float *bias; /* [n] or NULL */
	uint32_t *mask;    /* for gemm_multiply_masked, else NULL: [m, gemm_mask_words(n)] */
	float *spare;      /* with a mask: memory for the first time, [n] */
};

/* *out is owned, close it. Errors: ERR_DEVICE, among others where the library is not installed. */
int gemm_open(struct gemm **out, struct device *dev, struct err *err);

/* Of the library, as it numbers itself. */
size_t gemm_version(const struct gemm *gemm);

/* Accepts NULL. */
void gemm_close(struct gemm *gemm);

/* Queues the product on the device's stream. Matrices may begin at any element, at speeds that
 * vary. While a graph is recorded, only what has run before, with equal shapes and alignments, can
 * be: anything else is ERR_INTERNAL. Errors: ERR_DEVICE with the shape and the library's text. */
int gemm_multiply(struct device *dev, const struct product *p, struct err *err);

enum { GEMM_MASK_BITS = 128 }; /* rows of a mask are so long, or a multiple of it */

static inline size_t gemm_mask_words(size_t n)
{
	return (n + GEMM_MASK_BITS - 1) / GEMM_MASK_BITS * (GEMM_MASK_BITS / 32);
}

/* As gemm_multiply, with beta 0 and a bias, but
 *
 *   C = max(A op(B) + bias, 0),    bit j % 32 of word j / 32 of row i of the mask is set where
 *                                  C[i, j] > 0
 *
 * in one pass, if the library can: else *masked becomes false, and nothing is promised of C and the
 * mask. Which it is depends on the shape, the library and the card, where the first operands of a
 * shape are finite; where they are not, there is none. Other bits may be set too, of what is 0 and
 * behind the last column; a NaN may have become 0. No mask has fewer than GEMM_MASK_BITS columns, a
 * bias, mask or spare that does not begin at a multiple of 64 bytes, or an invariant device. The
 * first time with a shape there is one more product, whose mask is compared with what it must be,
 * and a wait.
 */
int gemm_multiply_masked(struct device *dev, const struct product *p, bool *masked,
	struct err *err);

/* For reports: how often a mask was asked for, and how often it was written. */
struct gemm_masks {
	uint64_t asked, written;
};
struct gemm_masks gemm_masks(const struct gemm *gemm);

#ifdef __cplusplus
}
#endif

#endif
