/* SPDX-License-Identifier: MIT
 *
 * gated.cu - GeGLU (tanh form) and SwiGLU. Contract: ops.h. Definition: kernels/ref/gated.c.
 *
 * Both gates are z sigmoid(t): t = 2 sqrt(2/pi) (z + 0.044715 z^3) for gelu, because
 * (1 + tanh(u))/2 = sigmoid(2u); t = z for silu. So with S = sigmoid(t),
 *   act = z S,   act' = S + z S (1 - S) t'.
 *
 * Bytes an element, with bfloat16 operands: 8 + 2 forward, 12 + 4 backward; one exponential: memory
 * bandwidth is the limit (share reached: not yet measured). A thread has a pack of neighbours and
 * reads all inputs of it before it writes, so outputs may be inputs; elements are independent.
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

/* n elements; V at a time, of all arrays or of none. */
static int width_of(size_t n, struct tensor a, struct tensor b, struct tensor c, struct tensor d)
{
	return min(min(pack_width(a, n), pack_width(b, n)),
		min(pack_width(c, n), pack_width(d, n)));
}

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS)
	gated_kernel(bool gelu, const float *gate, const float *up, T *out, size_t n)
{
	const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * V;
	float z[V], u[V], slope;

	if (at >= n)
		return;
	load_pack<V>(gate + at, z);
	load_pack<V>(up + at, u);
#pragma unroll
	for (int i = 0; i < V; i++)
		u[i] = z[i] * sigmoid_of(gelu, z[i], &slope) * u[i];
	store_pack<V>(out + at, u);
}

extern "C" int cuda_gated(struct device *dev, enum activation activation, struct tensor gate,
	struct tensor up, struct tensor out, struct err *err)
{
	const size_t n = tensor_count(gate);
	const int width = width_of(n, gate, up, out, out);

	if (n == 0)
		return 0;
	WITH_OPERAND(out.dtype, T,
		WITH_PACK(width, V,
			GPU_LAUNCH((gated_kernel<T, V>), blocks_for(n, THREADS * V), THREADS, 0,
				cuda_stream(dev), activation == ACTIVATION_GELU_TANH, floats(gate),
				floats(up), (T *)out.data, n)));
	return cuda_launched(dev, "op gated", err);
}

template <typename T, int V>
static __global__ void __launch_bounds__(THREADS) gated_backward_kernel(bool gelu,
	const float *gate, const float *up, const float *dout, T *dgate, T *dup, size_t n)
{
	const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * V;
	float z[V], u[V], d[V];

	if (at >= n)
		return;
	load_pack<V>(gate + at, z);
	load_pack<V>(up + at, u);
	load_pack<V>(dout + at, d);
#pragma unroll
	for (int i = 0; i < V; i++) {
		float slope;
		const float S = sigmoid_of(gelu, z[i], &slope);

		u[i] = d[i] * u[i] * (S + z[i] * S * (1 - S) * slope);
		d[i] = d[i] * z[i] * S;
	}
	store_pack<V>(dgate + at, u);
	store_pack<V>(dup + at, d);
}

extern "C" int cuda_gated_backward(struct device *dev, enum activation activation,
	struct tensor gate, struct tensor up, struct tensor dout, struct tensor dgate,
	struct tensor dup, struct err *err)
{
	const size_t n = tensor_count(gate);
	const int width = min(width_of(n, gate, up, dout, dgate), pack_width(dup, n));

	if (n == 0)
		return 0;
	WITH_OPERAND(dgate.dtype, T,
		WITH_PACK(width, V,
			GPU_LAUNCH((gated_backward_kernel<T, V>), blocks_for(n, THREADS * V),
				THREADS, 0, cuda_stream(dev), activation == ACTIVATION_GELU_TANH,
				floats(gate), floats(up), floats(dout), (T *)dgate.data,
				(T *)dup.data, n)));
	return cuda_launched(dev, "op gated_backward", err);
}
