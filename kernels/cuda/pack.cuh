/* SPDX-License-Identifier: MIT
 *
 * pack.cuh - reading and writing several adjacent elements at once, where addresses allow it.
 */
#ifndef SAENGINE_PACK_CUH
#define SAENGINE_PACK_CUH

#include "kernels/cuda/primitives.cuh"

/* V adjacent elements of a weight or an activation, read or written at once. */
template <typename T, int V> struct alignas(sizeof(T) * V) pack {
	T element[V];
};

/* How many elements of rows of `width` may be read at once: 4 or 1. */
static inline int pack_width(struct tensor t, size_t width)
{
	return width % 4 == 0 && (uintptr_t)t.data % (4 * dtype_bytes(t.dtype)) == 0 ? 4 : 1;
}

/* The same of slices; absent ones do not matter. */
static inline int slice_width(struct slice c)
{
	return !c.of.data || (c.first % 4 == 0 && c.n % 4 == 0) ? pack_width(c.of, c.of.cols) : 1;
}

/* How many elements may be read at once of this and of what `width` has been found for. */
static inline int narrower(int width, struct slice c)
{
	return min(width, slice_width(c));
}

static inline int narrower(int width, struct tensor t)
{
	return narrower(width, tensor_whole(t));
}

template <typename T> static inline T *slice_begin(struct slice c)
{
	return c.of.data ? (T *)c.of.data + c.first : NULL;
}

template <int V, typename T>
static __device__ __forceinline__ void load_pack(const T *from, float to[V])
{
	const struct pack<T, V> p = *(const struct pack<T, V> *)from;

#pragma unroll
	for (int i = 0; i < V; i++)
		to[i] = to_float(p.element[i]);
}

/* Rounded to nearest, ties to even, where T is a narrower type. */
static __device__ __forceinline__ void store_as(float x, float *to)
{
	*to = x;
}

static __device__ __forceinline__ void store_as(float x, struct bf16 *to)
{
	*to = to_bf16(x);
}

static __device__ __forceinline__ void store_as(float x, struct f16 *to)
{
	*to = to_f16(x);
}

/* To global memory, at once. */
template <typename T, int V>
static __device__ __forceinline__ void write_pack(T *to, const struct pack<T, V> &p)
{
	if constexpr (sizeof p == 16) {
		uint4 x;

		memcpy(&x, &p, sizeof x);
		write_16(to, x);
	} else if constexpr (sizeof p == 8) {
		uint2 x;

		memcpy(&x, &p, sizeof x);
		write_8(to, x);
	} else {
		*(struct pack<T, V> *)to = p;
	}
}

/* To global memory as well. */
template <int V, typename T>
static __device__ __forceinline__ void store_pack(T *to, const float from[V])
{
	struct pack<T, V> p;

#pragma unroll
	for (int i = 0; i < V; i++)
		store_as(from[i], &p.element[i]);
	write_pack(to, p);
}

/* Runs a statement in which T names the element type of an operand (ops.h). */
#define WITH_OPERAND(dtype_value, T, ...) \
	do { \
		if ((dtype_value) == DTYPE_BF16) { \
			typedef struct bf16 T; \
			__VA_ARGS__; \
		} else { \
			typedef float T; \
			__VA_ARGS__; \
		} \
	} while (0)

/* Runs a statement in which V is 4 or 1. */
#define WITH_PACK(width, V, ...) \
	do { \
		if ((width) == 4) { \
			constexpr int V = 4; \
			__VA_ARGS__; \
		} else { \
			constexpr int V = 1; \
			__VA_ARGS__; \
		} \
	} while (0)

#endif
