/* SPDX-License-Identifier: MIT
 *
 * cublaslt.h - the functions of cuBLASLt that gemm_cublaslt.cu calls, looked up when a device is
 * opened. The library is not linked: half a gigabyte that many machines lack, and without which the
 * program must start and compute on the CPU.
 */
#ifndef SAENGINE_CUBLASLT_H
#define SAENGINE_CUBLASLT_H

#include "host/base/err.h"

#include <cublasLt.h>

/* Its file. The major version is that of the headers: another one may have other enums behind the
 * same names. */
#define CUBLASLT_LIBRARY "libcublasLt.so." CUBLASLT_TEXT_OF(CUBLAS_VER_MAJOR)
#define CUBLASLT_TEXT_OF(macro) CUBLASLT_TEXT(macro)
#define CUBLASLT_TEXT(x) #x

/* Their names, without cublasLt. */
#define CUBLASLT_FUNCTIONS(X) \
	X(Create) \
	X(Destroy) \
	X(GetStatusName) \
	X(GetStatusString) \
	X(GetVersion) \
	X(MatmulDescCreate) \
	X(MatmulDescDestroy) \
	X(MatmulDescSetAttribute) \
	X(MatrixLayoutCreate) \
	X(MatrixLayoutDestroy) \
	X(MatmulPreferenceCreate) \
	X(MatmulPreferenceDestroy) \
	X(MatmulPreferenceSetAttribute) \
	X(MatmulAlgoGetHeuristic) \
	X(Matmul)

struct cublaslt {
#define CUBLASLT_MEMBER(name) __typeof__(cublasLt##name) *name;
	CUBLASLT_FUNCTIONS(CUBLASLT_MEMBER)
#undef CUBLASLT_MEMBER
};

#ifdef __cplusplus
extern "C" {
#endif

/* For device "cuda:`ordinal`". There is no closing: the driver keeps what the library has loaded,
 * and the library is the process's until its end. Errors: ERR_DEVICE, where the library is missing
 * or lacks a function. */
int cublaslt_open(struct cublaslt *out, int ordinal, struct err *err);

#ifdef __cplusplus
}
#endif

#endif
