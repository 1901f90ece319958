/* SPDX-License-Identifier: MIT
 *
 * attention_tensor_backward.cu - the gradients of attention_tensor.cu. Contract: ops.h,
 * attention.cuh; what it shares with the forward pass: attention_tensor.cuh.
 *
 * dout and the score gradients are rounded to bfloat16 as well. Per query and key seen, dq does 6
 * head_dim operations and dk and dv together 10, in which scores are computed anew three times. By
 * argument, 200 prompts of 40 tokens with 8 heads of 256 and 4 kv heads (Gemma 2 2B) read and write
 * 0.4 GB at least, and with the operands rounded between 0.7 GB: 0.17 ms at 4.1 TB/s. Share of the
 * limit: not yet measured.
 *
 * dq: a block has four warps of 16 queries and walks over the keys. dk and dv: a block has 64 keys
 * and walks over the queries that see them, four warps adding up dk and four dv, as the sums of
 * both would not fit a thread's registers at head_dim 256; where shared memory holds two steps of
 * queries, the next is copied meanwhile. Warps pass over steps of which they see nothing.
 *
 * Deterministic: each output has one owner, which adds in the order of the steps.
 */
#include "kernels/cuda/attention_tensor.cuh"

enum {
	TILE = TENSOR_TILE,
	ROWS_BLOCK = TILE / 16 * WARP,
	KEYS_BLOCK = 2 * TENSOR_KEYS / 16 * WARP
};

/* Queries per step of the dk and dv pass. */
enum { QUERIES = 32 };

/* Softmax weight that a query has at a score with the key at position `key`. */
static __device__ __forceinline__ float weight_of(struct query_facts query, int key, float score)
{
	return among(query.first, query.n, key) ? exp2_fast(score - query.lse) : 0;
}

/* Gradient of the product that made the score, but for the scale, given the product of dout and the
 * value. */
static __device__ __forceinline__ float gradient_of(struct score_units units,
	struct query_facts query, int key, float score, float dweight)
{
	const float weight = exp2_fast(score - query.lse), slope = slope_of(units, score);

	return among(query.first, query.n, key) ? weight * (dweight - query.delta) * slope : 0;
}

/* ---- dq --------------------------------------------------------------------------------- */

static __device__ __forceinline__ struct query_facts facts_of(const struct attention_call &c,
	const struct attention_operands &op, struct tile tile, int number)
{
	if (number >= tile.n_rows * c.group)
		return (struct query_facts){0, 0, 0, 0};
	return op.facts[blockIdx.y * op.n_queries + (size_t)tile.first_row * c.group + number];
}

template <int HEAD>
static __global__ void __launch_bounds__(ROWS_BLOCK, HEAD <= 128 ? 3 : 2)
	dq_kernel(struct attention_call c, struct attention_plan plan, struct attention_operands op)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int STEP = size<HEAD>::KEYS, LD = size<HEAD>::LD, THREADS = ROWS_BLOCK;
	const int kv_head = op.first_kv_head + (int)blockIdx.y, n_tiles = *plan.n_query_tiles;
	const size_t keys_at = blockIdx.y * op.key_rows * c.head_dim;
	const size_t queries_at = blockIdx.y * op.n_queries;
	const int first_of_warp = (int)threadIdx.x / WARP * 16, at = first_of_warp * LD;
	struct bf16 *const q = shared, *const dout = q + TILE * LD;
	struct bf16 *const k = dout + TILE * LD, *const v = k + STEP * LD;
	float dq[HEAD / 8][4];
	struct query_facts facts[2];
	struct tile tile;
	struct range range, seen;
	int start;

	if ((int)blockIdx.x >= n_tiles)
		return;
	tile = plan.query_tiles[n_tiles - 1 - (int)blockIdx.x]; /* those with most keys first */
	range = keys_seen(c, tile, tile.first, TILE);
	seen = keys_seen(c, tile, tile.first + first_of_warp, 16);
	start = c.start[tile.seq];
	copy_queries<HEAD, TILE, THREADS>(c, tile, tile.first,
		(struct two_copies){op.q + queries_at * c.head_dim,
			op.dout + queries_at * c.head_dim, q, dout});
#pragma unroll
	for (int r = 0; r < 2; r++)
		facts[r] = facts_of(c, op, tile, tile.first + first_of_warp + lane_row(r));
	clear_sums<HEAD>(dq);
	for (int p = range.first; p <= range.last; p += STEP) {
		float s[STEP / 8][4], dweight[STEP / 8][4];

		copy_keys<HEAD, STEP, THREADS>(c, start, p, range.last,
			(struct two_copies){op.k + keys_at, op.v + keys_at, k, v});
		cp_async_commit();
		cp_async_wait<0>();
		__syncthreads();
		if (overlap(seen, p, STEP)) {
			multiply<HEAD, STEP>(q + at, k, s);
			multiply<HEAD, STEP>(dout + at, v, dweight);
			scores_of<STEP>(op.units, s);
#pragma unroll
			for (int n = 0; n < STEP / 8; n++)
#pragma unroll
				for (int i = 0; i < 4; i++)
					s[n][i] = gradient_of(op.units, facts[i / 2],
						p + lane_column(n, i), s[n][i], dweight[n][i]);
			accumulate<HEAD, STEP>(s, k, dq);
		}
		__syncthreads(); /* keys and values have been read */
	}
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const struct query query = query_of(c, tile, kv_head,
			tile.first + first_of_warp + lane_row(r));
		const size_t number = (size_t)query.row * c.n_head + query.head;

		if (query.valid)
			store_row<HEAD>(dq, r, c.scale, c.head_dim, c.dq + number * c.head_dim);
	}
}

/* ---- dk and dv -------------------------------------------------------------------------- */

/* What is known of query r of the step, behind its row of dout, where rows keep out of each other's
 * banks: beside the matrices LEAST_SHARED has no room. */
template <int HEAD>
static __device__ __forceinline__ struct query_facts *behind_row(struct bf16 *dout, int r)
{
	static_assert((size<HEAD>::LD - HEAD) * sizeof(struct bf16) == sizeof(struct query_facts),
		"the space between rows has another size");
	return (struct query_facts *)(dout + r * size<HEAD>::LD + HEAD);
}

/* QUERIES queries from number `first` on: q, behind it dout. */
template <int HEAD>
static __device__ __forceinline__ void copy_step(const struct attention_call &c,
	const struct attention_operands &op, struct tile tile, int first, struct bf16 *q)
{
	const size_t queries_at = blockIdx.y * op.n_queries;
	struct bf16 *const dout = q + QUERIES * size<HEAD>::LD;

	copy_queries<HEAD, QUERIES, KEYS_BLOCK>(c, tile, first,
		(struct two_copies){op.q + queries_at * c.head_dim,
			op.dout + queries_at * c.head_dim, q, dout});
	if (threadIdx.x < QUERIES) {
		const int number = first + (int)threadIdx.x;
		const bool valid = number < tile.n_rows * c.group;
		const size_t at = queries_at + (size_t)tile.first_row * c.group;

		cp_async_16(behind_row<HEAD>(dout, (int)threadIdx.x),
			op.facts + at + (valid ? number : 0), valid);
	}
}

/* sum += what this step's queries give dk (or dv) of the warp's 16 keys, from position p on. k
 * begins at the warp's rows; values lie behind the block's keys, dout behind q. */
template <int HEAD>
static __device__ __forceinline__ void add_step(const struct attention_operands &op, bool of_values,
	int p, const struct bf16 *k, struct bf16 *q, float sum[HEAD / 8][4])
{
	const struct bf16 *const v = k + TENSOR_KEYS * size<HEAD>::LD;
	struct bf16 *const dout = q + QUERIES * size<HEAD>::LD;
	float s[QUERIES / 8][4], dweight[QUERIES / 8][4];

	multiply<HEAD, QUERIES>(k, q, s);
	scores_of<QUERIES>(op.units, s);
	if (of_values) {
#pragma unroll
		for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				s[n][i] = weight_of(*behind_row<HEAD>(dout, lane_column(n, i)),
					p + lane_row(i / 2), s[n][i]);
		accumulate<HEAD, QUERIES>(s, dout, sum);
		return;
	}
	multiply<HEAD, QUERIES>(v, dout, dweight);
#pragma unroll
	for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] = gradient_of(op.units, *behind_row<HEAD>(dout, lane_column(n, i)),
				p + lane_row(i / 2), s[n][i], dweight[n][i]);
	accumulate<HEAD, QUERIES>(s, q, sum);
}

/* Warps w and w + 4 share a scheduler. More queries see the first keys than the last, so values are
 * dealt out in the opposite order. */
static __device__ __forceinline__ int first_key_of_warp(bool of_values)
{
	const int warp = (int)threadIdx.x / WARP;

	return 16 * (of_values ? KEYS_BLOCK / WARP - 1 - warp : warp);
}

/* The warp's sums to dk (or dv), of the keys that there are. */
template <int HEAD>
static __device__ __forceinline__ void store_keys(const struct attention_call &c, struct tile tile,
	int kv_head, int first_of_warp, float scale, const float sum[HEAD / 8][4], float *to)
{
	const int start = c.start[tile.seq], last = last_key(c, tile);

#pragma unroll
	for (int r = 0; r < 2; r++) {
		const int key = tile.first + first_of_warp + lane_row(r);
		const size_t row = (size_t)(start + key - c.n_prefix);

		if (key <= last)
			store_row<HEAD>(sum, r, scale, c.head_dim,
				to + (row * c.n_kv_head + kv_head) * c.head_dim);
	}
}

/* room: how many steps of queries shared memory has room for beside the one in use, 0 or 1; up to
 * head_dim 128 there always is. */
template <int HEAD>
static __global__ void __launch_bounds__(KEYS_BLOCK, HEAD <= 128 ? 2 : 1)
	dkv_kernel(struct attention_call c, struct attention_plan plan,
		struct attention_operands op, int room)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int LD = size<HEAD>::LD, STAGE = 2 * QUERIES * LD, KEYS = TENSOR_KEYS;
	const size_t keys_at = blockIdx.y * op.key_rows * c.head_dim;
	const bool of_values = threadIdx.x >= KEYS_BLOCK / 2;
	const int first_of_warp = first_key_of_warp(of_values), ahead = HEAD <= 128 ? 1 : room;
	const int kv_head = op.first_kv_head + (int)blockIdx.y;
	struct bf16 *const k = shared, *const v = k + KEYS * LD, *const stages = v + KEYS * LD;
	float sum[HEAD / 8][4];
	struct tile tile;
	int p, first = 0;

	if ((int)blockIdx.x >= *plan.n_key_tiles)
		return;
	tile = plan.key_tiles[blockIdx.x];
	copy_keys<HEAD, KEYS, KEYS_BLOCK>(c, c.start[tile.seq], tile.first, last_key(c, tile),
		(struct two_copies){op.k + keys_at, op.v + keys_at, k, v});
	while (first < tile.n_rows * c.group &&
		!overlap(keys_seen(c, tile, first, QUERIES), tile.first, KEYS))
		first += QUERIES;
	if (ahead)
		copy_step<HEAD>(c, op, tile, first, stages + (first / QUERIES & 1) * STAGE);
	cp_async_commit();
	p = tile.first + first_of_warp;
	clear_sums<HEAD>(sum);
	/* Queries lie in order of their positions: those that see any of the keys are neighbours.
	 */
	for (;; first += QUERIES) {
		const struct range seen = keys_seen(c, tile, first, QUERIES);
		const bool some = overlap(seen, p, 16);

		if (!overlap(seen, tile.first, KEYS)) /* the same for all threads */
			break;
		copy_step<HEAD>(c, op, tile, first + ahead * QUERIES,
			stages + ((first / QUERIES + 1) & ahead) * STAGE);
		cp_async_commit();
		if (ahead)
			cp_async_wait<1>();
		else
			cp_async_wait<0>();
		__syncthreads();
		if (some)
			add_step<HEAD>(op, of_values, p, k + first_of_warp * LD,
				stages + (first / QUERIES & ahead) * STAGE, sum);
		__syncthreads(); /* queries have been read */
	}
	cp_async_wait<0>();
	if (of_values)
		store_keys<HEAD>(c, plan.key_tiles[blockIdx.x], kv_head, first_of_warp, 1, sum,
			c.dv);
	else
		store_keys<HEAD>(c, plan.key_tiles[blockIdx.x], kv_head, first_of_warp, c.scale,
			sum, c.dk);
}

/* ---- launches --------------------------------------------------------------------------- */

template <int HEAD>
static int start(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, const struct attention_operands *op, struct err *err)
{
	constexpr size_t row = size<HEAD>::LD * sizeof(struct bf16);
	constexpr size_t dq_bytes = 2 * (TILE + size<HEAD>::KEYS) * row;
	constexpr size_t keys_bytes = 2 * TENSOR_KEYS * row, stage_bytes = 2 * QUERIES * row;
	const size_t most = cuda_state_of(dev)->most_shared;
	const int room = keys_bytes + 2 * stage_bytes <= most;
	const size_t dkv_bytes = keys_bytes + (size_t)(1 + room) * stage_bytes;
	const dim3 query_grid(plan->most_query_tiles, (unsigned)op->n_kv_heads);
	const dim3 key_grid(plan->most_key_tiles, (unsigned)op->n_kv_heads);

	static_assert(dq_bytes <= LEAST_SHARED &&
			      keys_bytes + (HEAD <= 128 ? 2 : 1) * stage_bytes <= LEAST_SHARED,
		"some cards have no room for such tiles");
	TRY(cuda_check(GPU_ALLOW_SHARED(dq_kernel<HEAD>, dq_bytes), "attention_backward",
		"cudaFuncSetAttribute", err));
	TRY(cuda_check(GPU_ALLOW_SHARED(dkv_kernel<HEAD>, dkv_bytes), "attention_backward",
		"cudaFuncSetAttribute", err));
	GPU_LAUNCH(dq_kernel<HEAD>, query_grid, ROWS_BLOCK, dq_bytes, cuda_stream(dev), *c, *plan,
		*op);
	GPU_LAUNCH(dkv_kernel<HEAD>, key_grid, KEYS_BLOCK, dkv_bytes, cuda_stream(dev), *c, *plan,
		*op, room);
	return 0;
fail:
	return err->code;
}

int attention_tensor_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	struct attention_operands op = attention_operands_of(c, true, plan);

	for (; op.first_kv_head < c->n_kv_head; op.first_kv_head += op.n_kv_heads) {
		op.n_kv_heads = min(op.n_kv_heads, c->n_kv_head - op.first_kv_head);
		attention_round_keys(dev, c, plan, &op);
		attention_round_queries(dev, c, &op);
		WITH_HEAD(c->head_dim, HEAD, TRY(start<HEAD>(dev, c, plan, &op, err)));
	}
	return 0;
fail:
	return err->code;
}
