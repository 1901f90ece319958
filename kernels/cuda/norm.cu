/* SPDX-License-Identifier: MIT
 *
 * norm.cu - RMSNorm, forward and backward. Contract: ops.h. Definition and formulas:
 * kernels/ref/norm.c.
 *
 * One block a row: a sum over the row (of x^2; backward of x g dy), then every element once more,
 * the second time from cache. 8 bytes an element forward, 16 backward, 3 and 8 FLOPs: memory
 * bandwidth is the limit (share reached: not yet measured). A thread owns the same columns in both
 * halves, so y may be x and dx may be dy. The sum runs in a fixed order (block_sum), so results
 * repeat bit for bit.
 */
#include "kernels/cuda/gpu.cuh"

enum { MOST_THREADS = 512 };

static __global__ void rmsnorm_kernel(float eps, float one, const float *x, const float *w,
	float *y, float *rstd, size_t d)
{
	__shared__ float partial[WARP];
	const float *from = x + (size_t)blockIdx.x * d;
	float *to = y + (size_t)blockIdx.x * d;
	float sum = 0, r;

	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		sum += from[j] * from[j];
	r = 1 / sqrtf(block_sum(sum, partial) / (float)d + eps);
	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		to[j] = from[j] * r * (one + w[j]);
	if (rstd && threadIdx.x == 0)
		rstd[blockIdx.x] = r;
}

extern "C" int cuda_rmsnorm(struct device *dev, struct norm norm, struct tensor x, struct tensor w,
	struct tensor y, struct tensor rstd, struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_LAUNCH(rmsnorm_kernel, (unsigned)x.rows, threads_for(x.cols, MOST_THREADS), 0,
		cuda_stream(dev), (float)norm.eps, norm.plus_one ? 1.0f : 0.0f, floats(x),
		floats(w), floats(y), floats(rstd), x.cols);
	return cuda_launched(dev, "op rmsnorm", err);
}

static __global__ void rmsnorm_backward_kernel(float one, const float *x, const float *w,
	const float *rstd, const float *dy, float *dx, size_t d)
{
	__shared__ float partial[WARP];
	const size_t first = (size_t)blockIdx.x * d;
	const float r = rstd[blockIdx.x];
	float sum = 0, pull;

	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		sum += x[first + j] * dy[first + j] * (one + w[j]);
	pull = block_sum(sum, partial) * r * r * r / (float)d;
	for (size_t j = threadIdx.x; j < d; j += blockDim.x)
		dx[first + j] = r * (one + w[j]) * dy[first + j] - x[first + j] * pull;
}

extern "C" int cuda_rmsnorm_backward(struct device *dev, struct norm norm, struct tensor x,
	struct tensor w, struct tensor rstd, struct tensor dy, struct tensor dx, struct err *err)
{
	if (tensor_count(x) == 0)
		return 0;
	GPU_LAUNCH(rmsnorm_backward_kernel, (unsigned)x.rows, threads_for(x.cols, MOST_THREADS), 0,
		cuda_stream(dev), norm.plus_one ? 1.0f : 0.0f, floats(x), floats(w), floats(rstd),
		floats(dy), floats(dx), x.cols);
	return cuda_launched(dev, "op rmsnorm_backward", err);
}
