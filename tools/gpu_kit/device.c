/* SPDX-License-Identifier: MIT
 *
 * device.c - what the kit needs to know before it starts: what CUDA device 0 is, as one JSON line,
 * and whether the engine can open it. If not, why, in one line, and the exit status of the engine
 * for it (4).
 *
 *   device              the device
 *   device --library    the name of the cuBLASLt that this build looks for
 */
#include "kernels/cuda/cublaslt.h"
#include "kernels/ops.h"

#include <stdio.h>
#include <string.h>

#include <cuda_runtime.h>

static void describe(void)
{
	struct cudaDeviceProp p;
	size_t available = 0, total = 0;
	int driver = 0, runtime = 0, n = 0, mode = cudaComputeModeDefault;

	if (cudaGetDeviceProperties(&p, 0) != cudaSuccess ||
		cudaMemGetInfo(&available, &total) != cudaSuccess)
		return; /* opening it says more */
	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	cudaGetDeviceCount(&n);
	cudaDeviceGetAttribute(&mode, cudaDevAttrComputeMode, 0);
	printf("{\"card\": \"%s\", \"compute_capability\": \"%d.%d\", \"multiprocessors\": %d, "
	       "\"memory_gib\": %.2f, \"free_gib\": %.2f, \"l2_mib\": %.1f, \"driver_cuda\": "
	       "\"%d.%d\", \"runtime_cuda\": \"%d.%d\", \"devices\": %d, \"exclusive\": %s}\n",
		p.name, p.major, p.minor, p.multiProcessorCount, (double)total / 0x1p30,
		(double)available / 0x1p30, p.l2CacheSize / 0x1p20, driver / 1000,
		driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, n,
		mode == cudaComputeModeDefault ? "false" : "true");
}

int main(int argc, char **argv)
{
	struct device *dev;
	struct err err;

	if (argc == 2 && strcmp(argv[1], "--library") == 0) {
		puts(CUBLASLT_LIBRARY);
		return 0;
	}
	describe();
	if (device_open(&dev, "cuda:0", 1, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return err.code;
	}
	device_close(dev);
	return 0;
}
