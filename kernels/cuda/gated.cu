/* SPDX-License-Identifier: MIT
 *
 * gated.cu - GeGLU (tanh form) and SwiGLU. Contract: ops.h. Definition: kernels/ref/gated.c.
 *
 * Both gates are z sigmoid(t): t = 2 sqrt(2/pi) (z + 0.044715 z^3) for gelu, because
 * (1 + tanh(u))/2 = sigmoid(2u); t = z for silu. So with S = sigmoid(t),
 *   act = z S,   act' = S + z S (1 - S) t'.
 *
 * Bytes an element, of bfloat16: 4 + 2 forward, 6 + 4 backward; one exponential: memory
 * bandwidth is the limit (share reached: not yet measured). Block (row, part of its columns); a
 * thread has a pack of neighbours and reads all inputs of it before it writes, so outputs may be
 * inputs; elements are independent.
 */
#include "kernels/cuda/pack.cuh"

enum { THREADS = 256 };

/* S, and t' in *slope. */
static __device__ __forceinline__ float sigmoid_of(bool gelu, float z, float *slope)
{
	const float twice_root = 1.5957691216f, cubic = 0.044715f; /* 2 sqrt(2/pi) */
	const float t = gelu ? twice_root * z * (1 + cubic * z * z) : z;

	*slope = gelu ? twice_root * (1 + 3 * cubic * z * z) : 1.0f;
	return 1 / (1 + expf(-t));
}

/* Rows of gate, up and their gradients lie so far apart. */
struct strides {
	size_t gate, up, dgate, dup;
};

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS)
	gated_kernel(bool gelu, const T *gate, const T *up, T *out, struct strides apart, size_t n)
{
	const size_t row = blockIdx.x, at = ((size_t)blockIdx.y * THREADS + threadIdx.x) * V;
	float z[V], u[V], slope;

	if (at >= n)
		return;
	load_pack<V>(gate + row * apart.gate + at, z);
	load_pack<V>(up + row * apart.up + at, u);
#pragma unroll
	for (int i = 0; i < V; i++)
		u[i] = z[i] * sigmoid_of(gelu, z[i], &slope) * u[i];
	store_pack<V>(out + row * n + at, u);
}

extern "C" int cuda_gated(struct device *dev, enum activation activation, struct slice gate,
	struct slice up, struct tensor out, struct err *err)
{
	const int width = narrower(narrower(narrower(4, out), gate), up);
	const struct strides apart = {gate.of.cols, up.of.cols, 0, 0};

	if (tensor_count(out) == 0)
		return 0;
	WITH_OPERAND(out.dtype, T,
		WITH_PACK(width, V,
			GPU_LAUNCH((gated_kernel<T, V>),
				dim3((unsigned)out.rows, blocks_for(out.cols, THREADS * V)),
				THREADS, 0, cuda_stream(dev), activation == ACTIVATION_GELU_TANH,
				slice_begin<T>(gate), slice_begin<T>(up), (T *)out.data, apart,
				out.cols)));
	return cuda_launched(dev, "op gated", err);
}

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS) gated_backward_kernel(bool gelu, const T *gate,
	const T *up, const T *dout, T *dgate, T *dup, struct strides apart, size_t n)
{
	const size_t row = blockIdx.x, at = ((size_t)blockIdx.y * THREADS + threadIdx.x) * V;
	float z[V], u[V], d[V];

	if (at >= n)
		return;
	load_pack<V>(gate + row * apart.gate + at, z);
	load_pack<V>(up + row * apart.up + at, u);
	load_pack<V>(dout + row * n + at, d);
#pragma unroll
	for (int i = 0; i < V; i++) {
		float slope;
		const float S = sigmoid_of(gelu, z[i], &slope);

		u[i] = d[i] * u[i] * (S + z[i] * S * (1 - S) * slope);
		d[i] = d[i] * z[i] * S;
	}
	store_pack<V>(dgate + row * apart.dgate + at, u);
	store_pack<V>(dup + row * apart.dup + at, d);
}

extern "C" int cuda_gated_backward(struct device *dev, enum activation activation,
	struct slice gate, struct slice up, struct tensor dout, struct slice dgate,
	struct slice dup, struct err *err)
{
	const struct slice all[] = {tensor_whole(dout), gate, up, dgate, dup};
	const struct strides apart = {gate.of.cols, up.of.cols, dgate.of.cols, dup.of.cols};
	int width = 4;

	if (tensor_count(dout) == 0)
		return 0;
	for (const struct slice &x : all)
		width = narrower(width, x);
	WITH_OPERAND(dgate.of.dtype, T,
		WITH_PACK(width, V,
			GPU_LAUNCH((gated_backward_kernel<T, V>),
				dim3((unsigned)dout.rows, blocks_for(dout.cols, THREADS * V)),
				THREADS, 0, cuda_stream(dev), activation == ACTIVATION_GELU_TANH,
				slice_begin<T>(gate), slice_begin<T>(up), (const T *)dout.data,
				slice_begin<T>(dgate), slice_begin<T>(dup), apart, dout.cols)));
	return cuda_launched(dev, "op gated_backward", err);
}
