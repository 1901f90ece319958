/* SPDX-License-Identifier: MIT
 *
 * attention_decode.cu - attention of about one row per sequence: decoding, and the last block of a
 * pass that wants only last rows. Keys and values of either type, all else float32. Contract:
 * ops.h, attention.cuh.
 *
 * A row reads keys_seen * n_kv_head * head_dim * 8 bytes (4 of bfloat16) and does 4 n_head *
 * head_dim operations per key: with g heads per kv head g/2 operations a byte (g), so the time is
 * that of reading keys and values once. By argument, 64 rows of 168 keys of bfloat16 and 4 kv heads
 * of 256: 44 MB, 13 us at 3.35 TB/s (H100), 9 at 4.8 (H200), of which half seems within reach while
 * blocks read so little each. Share of the limit: not yet measured.
 *
 * Block (row, kv head and part of its group, part of the keys); the parts are as many as the shapes
 * of the call ask for, their bounds follow from the row's position on the device, so a recorded
 * launch stays right while sequences grow. Warps take a few keys in turn, read at once; lanes lie
 * along head_dim, each with neighbours, and hold the queries and the sums of up to 8 heads, which
 * share every key read. Each warp keeps a running softmax; the warps of a block are joined in
 * order, then the parts of a row, in a second launch.
 *
 * Deterministic: bounds follow from shapes and positions, sums are joined in a fixed order. A row's
 * result depends on its own position and keys alone where the keys are one part, which they are on
 * invariant devices (ops.h): those read prompts this way too.
 */
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/pack.cuh"

enum { BLOCK = 256, N_WARPS = BLOCK / WARP, MOST_SPLITS = 32 };

/* A partial result of one row and head: the maximum, the sum, then head_dim values not yet divided
 * by the sum. */
static __host__ __device__ __forceinline__ int partial_floats(int head_dim)
{
	return head_dim + 2;
}

/* Joins n partial results, `stride` floats apart, into their common maximum and sum. All threads
 * compute the same. */
static __device__ __forceinline__ void join(const float *partial, int n, size_t stride, float *max,
	float *sum)
{
	*max = -INFINITY;
	*sum = 0;
	for (int i = 0; i < n; i++)
		*max = fmaxf(*max, partial[(size_t)i * stride]);
	for (int i = 0; i < n; i++)
		*sum += exp_below(partial[(size_t)i * stride], *max) *
			partial[(size_t)i * stride + 1];
}

static __device__ __forceinline__ float joined_value(const float *partial, int n, size_t stride,
	float max, int j)
{
	float sum = 0;

	for (int i = 0; i < n; i++)
		sum += exp_below(partial[(size_t)i * stride], max) *
		       partial[(size_t)i * stride + 2 + j];
	return sum;
}

/* Keys that a warp reads at once: what the registers hold, of two blocks a multiprocessor. */
template <typename T> static constexpr __host__ __device__ int keys_at_once(int elements)
{
	return elements * sizeof(T) <= 4 ? 8 : elements * sizeof(T) <= 32 ? 4 : 2;
}

/* What one warp has seen: running softmax of HEADS heads, lane l holding elements l ELEMENTS and
 * on. */
template <int HEADS, int ELEMENTS> struct running {
	float max[HEADS], sum[HEADS], value[HEADS][ELEMENTS];
};

/* A lane's elements of a row of head_dim, zeros behind its end; WHOLE: there are 32 ELEMENTS,
 * aligned as one. */
template <bool WHOLE, int ELEMENTS, typename T>
static __device__ __forceinline__ pack<T, ELEMENTS> lane_elements(const T *row, int head_dim)
{
	const int first = (int)threadIdx.x % WARP * ELEMENTS;
	struct pack<T, ELEMENTS> p;

	if constexpr (WHOLE) {
		p = *(const struct pack<T, ELEMENTS> *)(row + first);
	} else {
#pragma unroll
		for (int j = 0; j < ELEMENTS; j++)
			p.element[j] = first + j < head_dim ? row[first + j] : T{};
	}
	return p;
}

/* Takes keys_at_once keys from p on, those below `end`. */
template <typename T, bool WHOLE, int HEADS, int ELEMENTS>
static __device__ __forceinline__ void take_keys(const struct attention_call &c, int start,
	int kv_head, int p, int end, const float q[HEADS][ELEMENTS],
	struct running<HEADS, ELEMENTS> *run)
{
	constexpr int KEYS = keys_at_once<T>(ELEMENTS);
	struct pack<T, ELEMENTS> k[KEYS], v[KEYS];

#pragma unroll
	for (int i = 0; i < KEYS; i++) {
		/* Beyond the end the last key is read again and not counted. */
		const int key = min(p + i, end - 1);

		k[i] = lane_elements<WHOLE, ELEMENTS>(key_of<T>(c, c.prefix_k, c.k, start, kv_head,
							      key),
			c.head_dim);
		v[i] = lane_elements<WHOLE, ELEMENTS>(key_of<T>(c, c.prefix_v, c.v, start, kv_head,
							      key),
			c.head_dim);
	}
#pragma unroll
	for (int h = 0; h < HEADS; h++) {
		float s[KEYS], max = run->max[h], shrink;

#pragma unroll
		for (int i = 0; i < KEYS; i++) {
			float product = 0;

#pragma unroll
			for (int j = 0; j < ELEMENTS; j++)
				product += q[h][j] * to_float(k[i].element[j]);
			product = warp_sum(product);
			s[i] = p + i < end ? score_of(c, product) : -INFINITY;
			max = fmaxf(max, s[i]);
		}
		shrink = exp_below(run->max[h], max);
		run->max[h] = max;
		run->sum[h] *= shrink;
#pragma unroll
		for (int j = 0; j < ELEMENTS; j++)
			run->value[h][j] *= shrink;
#pragma unroll
		for (int i = 0; i < KEYS; i++) {
			const float weight = exp_below(s[i], max);

			run->sum[h] += weight;
#pragma unroll
			for (int j = 0; j < ELEMENTS; j++)
				run->value[h][j] += weight * to_float(v[i].element[j]);
		}
	}
}

/* Shared: [N_WARPS][HEADS][partial_floats]. Without a `scratch` the only part is the result. */
template <typename T, bool WHOLE, int HEADS, int ELEMENTS>
static __global__ void __launch_bounds__(BLOCK)
	decode_kernel(struct attention_call c, int head_parts, int n_splits, float *scratch)
{
	GPU_DYNAMIC_SHARED(float, shared);
	constexpr int KEYS = keys_at_once<T>(ELEMENTS);
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int row = (int)blockIdx.x, kv_head = (int)blockIdx.y / head_parts;
	const int head_in_group = (int)blockIdx.y % head_parts * HEADS;
	const int first_head = kv_head * c.group + head_in_group;
	const int n_heads = min(HEADS, c.group - head_in_group);
	const int d = c.head_dim, size = partial_floats(d);
	const int pos = c.pos[row], start = c.start[c.seq[row]], first = first_key(c, pos);
	const int per_split = (pos + 1 - first + n_splits - 1) / n_splits;
	const int begin = first + (int)blockIdx.z * per_split;
	const int end = min(begin + per_split, pos + 1);
	float q[HEADS][ELEMENTS];
	struct running<HEADS, ELEMENTS> run;

#pragma unroll
	for (int h = 0; h < HEADS; h++) {
		const int head = first_head + min(h, n_heads - 1);

		run.max[h] = -INFINITY;
		run.sum[h] = 0;
#pragma unroll
		for (int j = 0; j < ELEMENTS; j++) {
			const int i = lane * ELEMENTS + j;

			q[h][j] = i < d ? c.q[((size_t)row * c.n_head + head) * d + i] : 0;
			run.value[h][j] = 0;
		}
	}
	for (int p = begin + warp * KEYS; p < end; p += N_WARPS * KEYS)
		take_keys<T, WHOLE, HEADS, ELEMENTS>(c, start, kv_head, p, end, q, &run);
#pragma unroll
	for (int h = 0; h < HEADS; h++) {
		float *mine = shared + (warp * HEADS + h) * size;

		if (lane == 0) {
			mine[0] = run.max[h];
			mine[1] = run.sum[h];
		}
#pragma unroll
		for (int j = 0; j < ELEMENTS; j++)
			if (lane * ELEMENTS + j < d)
				mine[2 + lane * ELEMENTS + j] = run.value[h][j];
	}
	__syncthreads();
	for (int h = 0; h < n_heads; h++) {
		const size_t query = (size_t)row * c.n_head + first_head + h;
		const float *parts = shared + h * size;
		const size_t stride = (size_t)HEADS * size;
		float max, sum;

		join(parts, N_WARPS, stride, &max, &sum);
		if (scratch) {
			float *to = scratch + (query * n_splits + blockIdx.z) * size;

			for (int j = (int)threadIdx.x; j < d; j += BLOCK)
				to[2 + j] = joined_value(parts, N_WARPS, stride, max, j);
			if (threadIdx.x == 0) {
				to[0] = max;
				to[1] = sum;
			}
			continue;
		}
		for (int j = (int)threadIdx.x; j < d; j += BLOCK)
			store_out(c, query * d + j,
				joined_value(parts, N_WARPS, stride, max, j) / sum);
		if (threadIdx.x == 0 && c.lse)
			c.lse[query] = max + logf(sum);
	}
}

/* One block per row and head. */
static __global__ void __launch_bounds__(BLOCK)
	join_kernel(struct attention_call c, int n_splits, const float *scratch)
{
	const size_t query = blockIdx.x, size = (size_t)partial_floats(c.head_dim);
	const float *parts = scratch + query * n_splits * size;
	float max, sum;

	join(parts, n_splits, size, &max, &sum);
	for (int j = (int)threadIdx.x; j < c.head_dim; j += BLOCK)
		store_out(c, query * c.head_dim + j,
			joined_value(parts, n_splits, size, max, j) / sum);
	if (threadIdx.x == 0 && c.lse)
		c.lse[query] = max + logf(sum);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static int elements_per_lane(int head_dim)
{
	return head_dim <= 2 * WARP ? 2 : head_dim <= 4 * WARP ? 4 : head_dim <= 8 * WARP ? 8 : 16;
}

static int head_parts(const struct attention_call *c, struct decode_split split)
{
	return (c->group + split.heads - 1) / split.heads;
}

/* Heads: as many of a group as the registers hold, 32 sums a thread. Parts: enough that every
 * multiprocessor has two blocks, but none shorter than 64 keys on average, and, as a second launch
 * joins them, than 256 where there is a block for every multiprocessor without. */
struct decode_split attention_decode_split(const struct device *dev, const struct attention_call *c,
	size_t n_keys)
{
	const int most_heads = min(8, 32 / elements_per_lane(c->head_dim));
	struct decode_split split = {1, 1};
	size_t blocks, wanted, n_sm, shortest;

	while (split.heads < c->group && split.heads < most_heads)
		split.heads *= 2;
	if (dev->invariant)
		return split;
	blocks = (size_t)c->n_rows * (size_t)c->n_kv_head * (size_t)head_parts(c, split);
	n_sm = (size_t)cuda_state_of(dev)->n_sm;
	wanted = (2 * n_sm + blocks - 1) / blocks;
	shortest = blocks < n_sm ? 64 : 256;
	if (wanted > n_keys / shortest)
		wanted = n_keys / shortest;
	split.n_splits = wanted < 1 ? 1 : wanted > MOST_SPLITS ? MOST_SPLITS : (int)wanted;
	return split;
}

size_t attention_decode_bytes(const struct attention_call *c, struct decode_split split)
{
	if (split.n_splits == 1)
		return 0;
	return (size_t)c->n_rows * (size_t)c->n_head * (size_t)split.n_splits *
	       (size_t)partial_floats(c->head_dim) * sizeof(float);
}

template <typename T, bool WHOLE, int HEADS, int ELEMENTS>
static void start(struct device *dev, const struct attention_call *c, struct decode_split split,
	float *scratch)
{
	const int parts = head_parts(c, split);
	const dim3 grid((unsigned)c->n_rows, (unsigned)(c->n_kv_head * parts),
		(unsigned)split.n_splits);
	const size_t bytes = (size_t)(N_WARPS * HEADS * partial_floats(c->head_dim)) *
			     sizeof(float);

	GPU_LAUNCH((decode_kernel<T, WHOLE, HEADS, ELEMENTS>), grid, BLOCK, bytes, cuda_stream(dev),
		*c, parts, split.n_splits, scratch);
}

/* No more heads than attention_decode_split allows with so many elements are compiled. */
template <typename T, bool WHOLE, int ELEMENTS>
static void start_heads(struct device *dev, const struct attention_call *c,
	struct decode_split split, float *scratch)
{
	if (split.heads == 1)
		start<T, WHOLE, 1, ELEMENTS>(dev, c, split, scratch);
	else if (split.heads == 2)
		start<T, WHOLE, 2, ELEMENTS>(dev, c, split, scratch);
	else if (split.heads == 4)
		start<T, WHOLE, 4, ELEMENTS <= 8 ? ELEMENTS : 8>(dev, c, split, scratch);
	else
		start<T, WHOLE, 8, ELEMENTS <= 4 ? ELEMENTS : 4>(dev, c, split, scratch);
}

template <typename T, int ELEMENTS>
static void start_width(struct device *dev, const struct attention_call *c,
	struct decode_split split, float *scratch)
{
	const uintptr_t addresses = (uintptr_t)c->prefix_k | (uintptr_t)c->prefix_v |
				    (uintptr_t)c->k | (uintptr_t)c->v;

	if (c->head_dim == ELEMENTS * WARP && addresses % (ELEMENTS * sizeof(T)) == 0)
		start_heads<T, true, ELEMENTS>(dev, c, split, scratch);
	else
		start_heads<T, false, ELEMENTS>(dev, c, split, scratch);
}

template <typename T>
static void start_type(struct device *dev, const struct attention_call *c,
	struct decode_split split, float *scratch)
{
	switch (elements_per_lane(c->head_dim)) {
	case 2:
		start_width<T, 2>(dev, c, split, scratch);
		break;
	case 4:
		start_width<T, 4>(dev, c, split, scratch);
		break;
	case 8:
		start_width<T, 8>(dev, c, split, scratch);
		break;
	default:
		start_width<T, 16>(dev, c, split, scratch);
		break;
	}
}

int attention_decode(struct device *dev, const struct attention_call *c, struct decode_split split,
	float *scratch, struct err *err)
{
	float *parts = split.n_splits > 1 ? scratch : NULL;

	(void)err;
	if (c->keys_bf16)
		start_type<struct bf16>(dev, c, split, parts);
	else
		start_type<float>(dev, c, split, parts);
	if (parts)
		GPU_LAUNCH(join_kernel, (unsigned)(c->n_rows * c->n_head), BLOCK, 0,
			cuda_stream(dev), *c, split.n_splits, parts);
	return 0;
}
