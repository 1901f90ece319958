/* SPDX-License-Identifier: MIT
 *
 * test_main_cuda.c - main() of the test programs that need a CUDA device. Where there is none, or
 * no driver that could tell, all of their tests are skipped; any other failure of CUDA's is for the
 * tests to find.
 */
#include "tests/test.h"

#include <stdio.h>

#include <cuda_runtime.h>

int main(int argc, char **argv)
{
	int n = 0;
	const cudaError_t status = cudaGetDeviceCount(&n);
	char lacks[256];

	snprintf(lacks, sizeof lacks, "no CUDA device (%s)", cudaGetErrorString(status));
	return test_run_all(argc, argv,
		status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ||
				(status == cudaSuccess && n == 0)
			? lacks
			: NULL);
}
