/* SPDX-License-Identifier: MIT
 *
 * sae_input.cu - what an SAE's input does to a row. Contract: sae.cuh; definitions: enum sae_input
 * in ops.h. Definition: kernels/ref/sae.c.
 *
 * One block per row, which it reads twice where a mean is wanted, the second time from the
 * first-level cache; 4 bytes a value. Share of the limit: not yet measured. Deterministic: sums of
 * a block in a fixed order.
 */
#include "kernels/cuda/sae.cuh"

enum { BLOCK = 256 };

/* One row's, which all threads of the block take part in. partial: as for block_sum. */
static __device__ __forceinline__ struct row_input row_input_of(enum sae_input kind, const float *x,
	size_t d, float *partial)
{
	float sum = 0, mean = 0, sd;

	if (kind == SAE_INPUT_RAW)
		return (struct row_input){0, 1, 1, 0};
	if (kind == SAE_INPUT_STANDARDIZED) {
		for (size_t j = threadIdx.x; j < d; j += BLOCK)
			sum += x[j];
		mean = block_sum(sum, partial) / (float)d;
		sum = 0;
	}
	for (size_t j = threadIdx.x; j < d; j += BLOCK)
		sum += (x[j] - mean) * (x[j] - mean);
	sum = block_sum(sum, partial);
	if (kind == SAE_INPUT_SPHERE) {
		const float s = sqrtf(sum) / sqrtf((float)d);

		return (struct row_input){0, s > 0 ? 1 / s : 1, s, 0};
	}
	sd = sqrtf(sum / (float)(d - 1));
	return (struct row_input){mean, 1 / (sd + 1e-5f), sd, mean};
}

static __global__ void __launch_bounds__(BLOCK)
	input_kernel(enum sae_input kind, const float *x, size_t d, struct row_input *to)
{
	__shared__ float partial[WARP];
	const struct row_input in = row_input_of(kind, x + (size_t)blockIdx.x * d, d, partial);

	if (threadIdx.x == 0)
		to[blockIdx.x] = in;
}

void sae_rows_input(const struct device *dev, enum sae_input kind, struct tensor x,
	struct row_input *to)
{
	GPU_LAUNCH(input_kernel, (unsigned)x.rows, BLOCK, 0, cuda_stream(dev), kind, floats(x),
		x.cols, to);
}

static __global__ void __launch_bounds__(BLOCK)
	scale_kernel(enum sae_input kind, const float *x, size_t d, float *scale)
{
	__shared__ float partial[WARP];
	const struct row_input in = row_input_of(kind, x + (size_t)blockIdx.x * d, d, partial);

	if (threadIdx.x == 0)
		scale[blockIdx.x] = in.s;
}

int cuda_sae_scale(struct device *dev, enum sae_input kind, struct tensor x, struct tensor scale,
	struct err *err)
{
	if (x.rows > 0)
		GPU_LAUNCH(scale_kernel, (unsigned)x.rows, BLOCK, 0, cuda_stream(dev), kind,
			floats(x), x.cols, floats(scale));
	return cuda_launched(dev, "op sae_scale", err);
}

static __global__ void __launch_bounds__(BLOCK) center_kernel(const float *x, size_t count,
	size_t d, const struct row_input *input, float *to)
{
	const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;

	if (i < count)
		to[i] = x[i] - input[i / d].mean;
}

void sae_center(const struct device *dev, struct tensor x, const struct row_input *input, float *to)
{
	GPU_LAUNCH(center_kernel, blocks_for(tensor_count(x), BLOCK), BLOCK, 0, cuda_stream(dev),
		floats(x), tensor_count(x), x.cols, input, to);
}
