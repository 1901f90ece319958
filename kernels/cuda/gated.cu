/* SPDX-License-Identifier: MIT
 *
 * gated.cu - GeGLU (tanh form) and SwiGLU. Contract: ops.h. Definition: kernels/ref/gated.c.
 *
 * Both gates are z sigmoid(t): t = 2 sqrt(2/pi) (z + 0.044715 z^3) for gelu, because
 * (1 + tanh(u))/2 = sigmoid(2u); t = z for silu. So with S = sigmoid(t),
 *   act = z S,   act' = S + z S (1 - S) t'.
 *
 * 12 bytes an element forward, 20 backward, one exponential: memory bandwidth is the limit (share
 * reached: not yet measured). A thread reads all inputs of an element before it writes, so outputs
 * may be inputs; elements are independent.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256, PER_THREAD = 4 };

/* S, and t' in *slope. */
static __device__ __forceinline__ float sigmoid_of(bool gelu, float z, float *slope)
{
	const float twice_root = 1.5957691216f, cubic = 0.044715f; /* 2 sqrt(2/pi) */
	const float t = gelu ? twice_root * z * (1 + cubic * z * z) : z;

	*slope = gelu ? twice_root * (1 + 3 * cubic * z * z) : 1.0f;
	return 1 / (1 + expf(-t));
}

static __global__ void gated_kernel(bool gelu, const float *gate, const float *up, float *out,
	size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
		const float z = gate[i], u = up[i];
		float slope;

		out[i] = z * sigmoid_of(gelu, z, &slope) * u;
	}
}

extern "C" int cuda_gated(struct device *dev, enum activation activation, struct tensor gate,
	struct tensor up, struct tensor out, struct err *err)
{
	const size_t n = tensor_count(gate);

	if (n == 0)
		return 0;
	GPU_LAUNCH(gated_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0, cuda_stream(dev),
		activation == ACTIVATION_GELU_TANH, floats(gate), floats(up), floats(out), n);
	return cuda_launched(dev, "op gated", err);
}

static __global__ void gated_backward_kernel(bool gelu, const float *gate, const float *up,
	const float *dout, float *dgate, float *dup, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
		const float z = gate[i], u = up[i], d = dout[i];
		float slope;
		const float S = sigmoid_of(gelu, z, &slope);

		dgate[i] = d * u * (S + z * S * (1 - S) * slope);
		dup[i] = d * z * S;
	}
}

extern "C" int cuda_gated_backward(struct device *dev, enum activation activation,
	struct tensor gate, struct tensor up, struct tensor dout, struct tensor dgate,
	struct tensor dup, struct err *err)
{
	const size_t n = tensor_count(gate);

	if (n == 0)
		return 0;
	GPU_LAUNCH(gated_backward_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0,
		cuda_stream(dev), activation == ACTIVATION_GELU_TANH, floats(gate), floats(up),
		floats(dout), floats(dgate), floats(dup), n);
	return cuda_launched(dev, "op gated_backward", err);
}
