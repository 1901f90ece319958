/* SPDX-License-Identifier: MIT
 *
 * half_cublaslt.c - a library by the name of cuBLASLt that lacks most of it (test_cublaslt.c).
 */
#include <cublasLt.h>

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
	(void)out;
	return CUBLAS_STATUS_INTERNAL_ERROR;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	(void)handle;
	return CUBLAS_STATUS_INTERNAL_ERROR;
}
