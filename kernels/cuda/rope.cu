/* SPDX-License-Identifier: MIT
 *
 * rope.cu - rotary position embedding, and what queries and keys go through before attention.
 * Contract: ops.h. Definition: kernels/ref/rope.c.
 *
 * 8 bytes and 3 FLOPs an element, at memory bandwidth (share reached: not yet measured); the row of
 * the tables is read by every head of a token and stays in cache. One block a token; a thread owns
 * the two halves of V pairs, so the update in place needs no order.
 */
#include "kernels/cuda/pack.cuh"

enum { THREADS = 256 };

/* Tables, and the row of this block in them. */
struct angles {
	const float *cosines, *sines;
	const int32_t *pos;
	size_t half;
	float sign;
};

/* Rotates V pairs of a row, the first of which is number `pair` of all its heads'. */
template <int V, typename T>
static __device__ __forceinline__ void rotate(struct angles t, size_t pair, const float *from,
	T *to)
{
	const size_t j = pair % t.half, at = (pair - j) * 2 + j;
	const size_t angle = (size_t)t.pos[blockIdx.x] * t.half + j;
	float c[V], s[V], a[V], b[V];

	load_pack<V>(t.cosines + angle, c);
	load_pack<V>(t.sines + angle, s);
	load_pack<V>(from + at, a);
	load_pack<V>(from + at + t.half, b);
#pragma unroll
	for (int i = 0; i < V; i++) {
		const float u = a[i], v = b[i], sine = t.sign * s[i];

		a[i] = u * c[i] - v * sine;
		b[i] = v * c[i] + u * sine;
	}
	store_pack<V>(to + at, a);
	store_pack<V>(to + at + t.half, b);
}

template <int V>
static __global__ void __launch_bounds__(THREADS)
	rope_kernel(struct angles t, float *x, size_t cols)
{
	float *row = x + (size_t)blockIdx.x * cols;

	for (size_t pair = threadIdx.x * V; pair < cols / 2; pair += blockDim.x * V)
		rotate<V>(t, pair, row, row);
}

extern "C" int cuda_rope(struct device *dev, size_t head_dim, int direction,
	struct tensor cos_table, struct tensor sin_table, const int32_t *pos, struct tensor x,
	struct err *err)
{
	const struct angles t = {floats(cos_table), floats(sin_table), pos, head_dim / 2,
		(float)direction};

	if (tensor_count(x) == 0)
		return 0;
	WITH_PACK(pack_width(x, t.half), V,
		GPU_LAUNCH(rope_kernel<V>, (unsigned)x.rows, threads_for(x.cols / 2, THREADS), 0,
			cuda_stream(dev), t, floats(x), x.cols));
	return cuda_launched(dev, "op rope", err);
}

/* ---- queries and keys ------------------------------------------------------------------- */

/* Of the block's row: pairs of q, pairs of k, then elements of v, one after the other; rows of each
 * so many elements apart. */
struct keys_call {
	const float *q, *k, *v;
	size_t q_stride, k_stride, v_stride;
	size_t q_cols, width;
	const int32_t *cache_row; /* NULL: row i */
	bool moves_v;             /* it is not in its place already */
};

template <typename TQ, typename T> struct keys_places {
	TQ *q;
	T *k, *v;
	size_t q_stride, k_stride, v_stride;
};

template <typename TQ, typename T, int V>
static __global__ void __launch_bounds__(THREADS)
	keys_kernel(struct angles t, const struct keys_call c, const struct keys_places<TQ, T> to)
{
	const size_t row = blockIdx.x, q_pairs = c.q_cols / 2, pairs = q_pairs + c.width / 2;
	const size_t n = pairs + (c.moves_v ? c.width : 0);
	const size_t place = c.cache_row ? (size_t)c.cache_row[row] : row;
	const float *q = c.q + row * c.q_stride, *k = c.k + row * c.k_stride;
	const float *v = c.v + row * c.v_stride;
	TQ *to_q = to.q + row * to.q_stride;
	T *to_k = to.k + place * to.k_stride, *to_v = to.v + place * to.v_stride;

	for (size_t i = threadIdx.x * V; i < n; i += blockDim.x * V) {
		if (i < q_pairs) {
			rotate<V>(t, i, q, to_q);
		} else if (i < pairs) {
			rotate<V>(t, i - q_pairs, k, to_k);
		} else {
			float value[V];

			load_pack<V>(v + (i - pairs), value);
			store_pack<V>(to_v + (i - pairs), value);
		}
	}
}

template <typename TQ, typename T>
static void start_keys(struct device *dev, const struct rope_call *r, int width)
{
	const struct angles t = {floats(r->cos_table), floats(r->sin_table), r->pos,
		r->head_dim / 2, (float)r->direction};
	const struct keys_call call = {slice_begin<const float>(r->q),
		slice_begin<const float>(r->k), slice_begin<const float>(r->v), r->q.of.cols,
		r->k.of.cols, r->v.of.cols, r->q.of.data ? r->q.n : 0, r->k.n, r->cache_row,
		!slices_coincide(r->v, r->v_out)};
	const struct keys_places<TQ, T> to = {
		slice_begin<TQ>(r->q_out), slice_begin<T>(r->k_out), slice_begin<T>(r->v_out),
			r->q_out.of.cols, r->k_out.of.cols, r->v_out.of.cols
	};

	WITH_PACK(width, V,
		GPU_LAUNCH((keys_kernel<TQ, T, V>), (unsigned)r->k.of.rows, THREADS, 0,
			cuda_stream(dev), t, call, to));
}

extern "C" int cuda_rope_keys(struct device *dev, const struct rope_call *r, struct err *err)
{
	const struct slice all[] = {r->q, r->k, r->v, r->q_out, r->k_out, r->v_out,
		tensor_whole(r->cos_table), tensor_whole(r->sin_table)};
	int width = pack_width(r->cos_table, r->head_dim / 2);

	if (r->k.of.rows == 0)
		return 0;
	for (const struct slice &x : all)
		width = narrower(width, x);
	if (r->k_out.of.dtype != DTYPE_BF16)
		start_keys<float, float>(dev, r, width);
	else if (r->q_out.of.dtype != DTYPE_BF16)
		start_keys<float, struct bf16>(dev, r, width);
	else
		start_keys<struct bf16, struct bf16>(dev, r, width);
	return cuda_launched(dev, "op rope_keys", err);
}
