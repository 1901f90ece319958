/* SPDX-License-Identifier: MIT
 *
 * attention_tensor.cuh - what the passes on tensor cores share: operands in bfloat16, their way
 * into shared memory, products of tiles, scores.
 *
 * A warp has 16 rows of a product. A lane's part of a 16 x 8 tile of it is rows lane/4 and
 * lane/4 + 8, columns 2 (lane%4) and the next, which is also how the next product wants its first
 * operand, so weights never leave registers. Columns between head_dim and the size compiled for
 * (HEAD) are zeros. Scores are in units of log 2, in which exp is one instruction.
 */
#ifndef SAENGINE_ATTENTION_TENSOR_CUH
#define SAENGINE_ATTENTION_TENSOR_CUH

#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/primitives.cuh"

/* ---- operands --------------------------------------------------------------------------- */

static constexpr float PER_LOG2 = 1.44269504f;

/* How a product q.k becomes a score in units of log 2. */
struct score_units {
	float factor;       /* of the product: a score, or with a cap twice what tanh is taken of */
	float cap, per_cap; /* and its inverse; 0: none */
};

/* What the backward passes know of a query: it sees `n` keys from position `first` on. One copy of
 * 16 bytes; all zero where there is no query. */
struct alignas(16) query_facts {
	int first, n;
	float lse; /* in units of log 2 */
	float delta;
};

/* q, k, v and dout rounded to bfloat16, in scratch, of n_kv_heads kv heads from first_kv_head on.
 * Sequences' own keys lie behind the prefix in the rows that they have in the call. */
struct attention_operands {
	int first_kv_head, n_kv_heads;
	struct score_units units;
	size_t key_rows, n_queries; /* of a kv head */
	struct bf16 *k, *v;         /* [n_kv_heads, key_rows, head_dim] */
	struct bf16 *q, *dout;      /* backward: [n_kv_heads, n_rows * group, head_dim] */
	struct query_facts *facts;  /* backward: [n_kv_heads, n_rows * group] */
};

/* Of as many kv heads, from the first on, as the plan's rest has room for. */
struct attention_operands attention_operands_of(const struct attention_call *c, bool backward,
	const struct attention_plan *plan);

/* Fill them. */
void attention_round_keys(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, const struct attention_operands *op);
void attention_round_queries(struct device *dev, const struct attention_call *c,
	const struct attention_operands *op);

/* Runs a statement in which HEAD is the size compiled for that holds head_dim. */
#define WITH_HEAD(head_dim, HEAD, ...) \
	do { \
		if ((head_dim) <= 32) { \
			constexpr int HEAD = 32; \
			__VA_ARGS__; \
		} else if ((head_dim) <= 64) { \
			constexpr int HEAD = 64; \
			__VA_ARGS__; \
		} else if ((head_dim) <= 128) { \
			constexpr int HEAD = 128; \
			__VA_ARGS__; \
		} else { \
			constexpr int HEAD = 256; \
			__VA_ARGS__; \
		} \
	} while (0)

/* ---- shared memory ---------------------------------------------------------------------- */

/* KEYS: rows of a step over keys. LD: length of a row in shared memory; the eight rows of an
 * ldmatrix lie in different banks. */
template <int HEAD> struct size {
	enum { KEYS = HEAD <= 64 ? 64 : 32, LD = HEAD + 8 };
};

static __device__ __forceinline__ uint4 eight_bf16(float4 a, float4 b)
{
	return make_uint4(pack_bf16(a.x, a.y), pack_bf16(a.z, a.w), pack_bf16(b.x, b.y),
		pack_bf16(b.z, b.w));
}

static __device__ __forceinline__ void store_eight(float4 a, float4 b, struct bf16 *to)
{
	const uint4 eight = eight_bf16(a, b);

	*(uint4 *)to = eight;
}

/* Where elements of a kv head's operand go, and of two operands of one shape. */
struct one_copy {
	const struct bf16 *from;
	struct bf16 *to;

	__device__ __forceinline__ void operator()(size_t from_at, int to_at, bool valid) const
	{
		cp_async_16(to + to_at, from + from_at, valid);
	}
};

struct two_copies {
	const struct bf16 *from, *other_from;
	struct bf16 *to, *other_to;

	__device__ __forceinline__ void operator()(size_t from_at, int to_at, bool valid) const
	{
		cp_async_16(to + to_at, from + from_at, valid);
		cp_async_16(other_to + to_at, other_from + from_at, valid);
	}
};

/* N rows of head_dim elements on their way to shared memory; row_at(r) is -1 for rows of zeros. */
template <int HEAD, int N, int THREADS, typename Row, typename Copy>
static __device__ __forceinline__ void copy_rows(int head_dim, Row row_at, Copy copy)
{
	constexpr int EIGHTS = HEAD / 8, LD = size<HEAD>::LD;

#pragma unroll
	for (int first = 0; first < N * EIGHTS; first += THREADS) {
		const int at = first + (int)threadIdx.x, r = at / EIGHTS;
		const int column = at % EIGHTS * 8, row = row_at(r);
		const bool valid = row >= 0 && column < head_dim;

		if (N * EIGHTS % THREADS != 0 && at >= N * EIGHTS)
			break;
		copy(valid ? (size_t)row * head_dim + column : 0, r * LD + column, valid);
	}
}

/* N keys (or values, or both) from position p on, none beyond `last`. */
template <int HEAD, int N, int THREADS, typename Copy>
static __device__ __forceinline__ void copy_keys(const struct attention_call &c, int start, int p,
	int last, Copy copy)
{
	const auto row_at = [&](int r) {
		const int key = p + r;

		return key > last ? -1 : key < c.n_prefix ? key : start + key;
	};

	copy_rows<HEAD, N, THREADS>(c.head_dim, row_at, copy);
}

/* q and dout of N queries from the sequence's number `first` on. */
template <int HEAD, int N, int THREADS, typename Copy>
static __device__ __forceinline__ void copy_queries(const struct attention_call &c,
	struct tile tile, int first, Copy copy)
{
	const auto row_at = [&](int r) {
		const int number = first + r;

		return number < tile.n_rows * c.group ? tile.first_row * c.group + number : -1;
	};

	copy_rows<HEAD, N, THREADS>(c.head_dim, row_at, copy);
}

/* ---- products --------------------------------------------------------------------------- */

/* s [16, N] = a [16, HEAD] b [N, HEAD]^T; a begins at the warp's rows. */
template <int HEAD, int N>
static __device__ __forceinline__ void multiply(const struct bf16 *a, const struct bf16 *b,
	float s[N / 8][4])
{
	constexpr int LD = size<HEAD>::LD;
	const int lane = (int)threadIdx.x % WARP;

	a += lane % 16 * LD + lane / 16 * 8;
	b += (lane % 8 + lane / 16 * 8) * LD + lane / 8 % 2 * 8;
#pragma unroll
	for (int n = 0; n < N / 8; n++)
		s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
	for (int k = 0; k < HEAD; k += 16) {
		uint32_t x[4];

		ldmatrix_x4(x, a + k);
#pragma unroll
		for (int n = 0; n < N / 8; n += 2) {
			uint32_t y[4];

			ldmatrix_x4(y, b + n * 8 * LD + k);
			mma_bf16(s[n], x, y);
			mma_bf16(s[n + 1], x, y + 2);
		}
	}
}

/* sum [16, HEAD] += w [16, N] b [N, HEAD]; w as multiply left its result. */
template <int HEAD, int N>
static __device__ __forceinline__ void accumulate(const float w[N / 8][4], const struct bf16 *b,
	float sum[HEAD / 8][4])
{
	constexpr int LD = size<HEAD>::LD;
	const int lane = (int)threadIdx.x % WARP;

	b += (lane % 8 + lane / 8 % 2 * 8) * LD + lane / 16 * 8;
#pragma unroll
	for (int k = 0; k < N / 16; k++) {
		const uint32_t x[4] = {pack_bf16(w[2 * k][0], w[2 * k][1]),
			pack_bf16(w[2 * k][2], w[2 * k][3]),
			pack_bf16(w[2 * k + 1][0], w[2 * k + 1][1]),
			pack_bf16(w[2 * k + 1][2], w[2 * k + 1][3])};

#pragma unroll
		for (int n = 0; n < HEAD / 8; n += 2) {
			uint32_t y[4];

			ldmatrix_x4_trans(y, b + k * 16 * LD + n * 8);
			mma_bf16(sum[n], x, y);
			mma_bf16(sum[n + 1], x, y + 2);
		}
	}
}

/* Row r (0 or 1) of a lane among its warp's 16. */
static __device__ __forceinline__ int lane_row(int r)
{
	return (int)threadIdx.x % WARP / 4 + r * 8;
}

/* Column of element i (0 to 3) of a lane in 8-wide tile n. */
static __device__ __forceinline__ int lane_column(int n, int i)
{
	return n * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
}

template <int HEAD> static __device__ __forceinline__ void clear_sums(float sum[HEAD / 8][4])
{
#pragma unroll
	for (int n = 0; n < HEAD / 8; n++)
		sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0;
}

static __device__ __forceinline__ void store_two(float x, float y, float *to)
{
	*(float2 *)to = make_float2(x, y);
}

static __device__ __forceinline__ void store_two(float x, float y, struct bf16 *to)
{
	*(uint32_t *)to = pack_bf16(x, y);
}

/* Row r of sums, times `scale`, to head_dim elements. */
template <int HEAD, class T>
static __device__ __forceinline__ void store_row(const float sum[HEAD / 8][4], int r, float scale,
	int head_dim, T *to)
{
	to += lane_column(0, 0);
#pragma unroll
	for (int n = 0; n < HEAD / 8; n++)
		if (n * 8 < head_dim)
			store_two(sum[n][2 * r] * scale, sum[n][2 * r + 1] * scale, to + n * 8);
}

/* ---- scores ----------------------------------------------------------------------------- */

/* Products become scores. tanh x = 1 - 2 / (1 + exp 2x), off by some 10^-7 at most. */
template <int N>
static __device__ __forceinline__ void scores_of(struct score_units u, float s[N / 8][4])
{
#pragma unroll
	for (int n = 0; n < N / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] *= u.factor;
	if (u.cap == 0)
		return;
#pragma unroll
	for (int n = 0; n < N / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] = u.cap * (1 - 2 * reciprocal_fast(1 + exp2_fast(s[n][i])));
}

/* The cap's derivative at a score. */
static __device__ __forceinline__ float slope_of(struct score_units u, float score)
{
	const float t = score * u.per_cap;

	return 1 - t * t;
}

/* The keys of one query, counted from `first`, as one comparison. */
static __device__ __forceinline__ bool among(int first, int n, int key)
{
	return (unsigned)(key - first) < (unsigned)n;
}

#endif
