/* SPDX-License-Identifier: MIT
 *
 * edits.cu - edits of the residual stream that need no SAE. Contract: ops.h.
 * Definition: kernels/ref/edits.c.
 *
 * 8 bytes an element (mix: 12), at memory bandwidth (share reached: not yet measured). One block a
 * row where a vector is added, its own projection or a given one: a thread has PACKS loads of 4
 * elements on their way and keeps them until they are written, so rows of up to 8192 elements are
 * read once. The projection's sum runs in a fixed order (block_sum); a thread owns its columns
 * throughout, so updates in place need no order.
 */
#include "kernels/cuda/pack.cuh"

enum { THREADS = 256, MOST_THREADS = 512, PACKS = 4 };

/* c v on top of x, V neighbours. */
template <int V>
static __device__ __forceinline__ void add_pack(float *x, const float had[V], float c,
	const float *v)
{
	float sum[V];

	load_pack<V>(v, sum);
#pragma unroll
	for (int i = 0; i < V; i++)
		sum[i] = had[i] + c * sum[i];
	store_pack<V>(x, sum);
}

template <int V> static __device__ __forceinline__ float dot_pack(const float x[V], const float *v)
{
	float with[V], sum = 0;

	load_pack<V>(v, with);
#pragma unroll
	for (int i = 0; i < V; i++)
		sum += x[i] * with[i];
	return sum;
}

/* x += c v for every row of x; PROJECTION: c = - x . v. */
template <int V, bool PROJECTION>
static __global__ void __launch_bounds__(MOST_THREADS)
	add_kernel(float c, const float *v, float *x, size_t d)
{
	float *row = x + (size_t)blockIdx.x * d;
	const size_t first = (size_t)threadIdx.x * V, step = (size_t)blockDim.x * V;
	const size_t rest = first + PACKS * step; /* what is not kept */
	float kept[PACKS][V], again[V], sum = 0;

#pragma unroll
	for (int k = 0; k < PACKS; k++)
		if (first + k * step < d)
			load_pack<V>(row + first + k * step, kept[k]);
	if (PROJECTION) {
#pragma unroll
		for (int k = 0; k < PACKS; k++)
			if (first + k * step < d)
				sum += dot_pack<V>(kept[k], v + first + k * step);
		for (size_t j = rest; j < d; j += step) {
			load_pack<V>(row + j, again);
			sum += dot_pack<V>(again, v + j);
		}
		c = -block_sum(sum, shared_partial());
	}
#pragma unroll
	for (int k = 0; k < PACKS; k++)
		if (first + k * step < d)
			add_pack<V>(row + first + k * step, kept[k], c, v + first + k * step);
	for (size_t j = rest; j < d; j += step) {
		load_pack<V>(row + j, again);
		add_pack<V>(row + j, again, c, v + j);
	}
}

template <bool PROJECTION>
static void add(const struct device *dev, float c, struct tensor v, struct tensor x)
{
	const int width = min(pack_width(v, x.cols), pack_width(x, x.cols));

	if (tensor_count(x) > 0)
		WITH_PACK(width, V,
			GPU_LAUNCH((add_kernel<V, PROJECTION>), (unsigned)x.rows,
				threads_for(x.cols / V, MOST_THREADS), 0, cuda_stream(dev), c,
				floats(v), floats(x), x.cols));
}

extern "C" int cuda_ablate_direction(struct device *dev, struct tensor u, struct tensor x,
	struct err *err)
{
	add<true>(dev, 0, u, x);
	return cuda_launched(dev, "op ablate_direction", err);
}

extern "C" int cuda_add_vector(struct device *dev, double a, struct tensor v, struct tensor x,
	struct err *err)
{
	add<false>(dev, (float)a, v, x);
	return cuda_launched(dev, "op add_vector", err);
}

/* n packs of V elements, PACKS to a thread. */
template <int V>
static __global__ void __launch_bounds__(THREADS)
	mix_kernel(float a, const float *target, float *x, size_t n)
{
	const size_t first = (size_t)blockIdx.x * THREADS * PACKS + threadIdx.x;
	float had[PACKS][V], want[PACKS][V];

#pragma unroll
	for (int k = 0; k < PACKS; k++) {
		const size_t i = first + (size_t)k * THREADS;

		if (i >= n)
			break;
		load_pack<V>(x + i * V, had[k]);
		load_pack<V>(target + i * V, want[k]);
	}
#pragma unroll
	for (int k = 0; k < PACKS; k++) {
		const size_t i = first + (size_t)k * THREADS;

		if (i >= n)
			break;
#pragma unroll
		for (int j = 0; j < V; j++)
			had[k][j] = (1 - a) * had[k][j] + a * want[k][j];
		store_pack<V>(x + i * V, had[k]);
	}
}

extern "C" int cuda_mix(struct device *dev, double a, struct tensor target, struct tensor x,
	struct err *err)
{
	const size_t n = tensor_count(x);
	const int width = min(pack_width(target, n), pack_width(x, n));

	if (n > 0)
		WITH_PACK(width, V,
			GPU_LAUNCH(mix_kernel<V>, blocks_for(n / V, THREADS * PACKS), THREADS, 0,
				cuda_stream(dev), (float)a, floats(target), floats(x), n / V));
	return cuda_launched(dev, "op mix", err);
}
