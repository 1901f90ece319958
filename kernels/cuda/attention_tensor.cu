/* SPDX-License-Identifier: MIT
 *
 * attention_tensor.cu - attention of many rows on tensor cores, for head_dims that are multiples of
 * 16 up to 256. Contract: ops.h, attention.cuh. What it shares with the backward passes, which are
 * in attention_tensor_backward.cu: attention_tensor.cuh.
 *
 * q, k, v and the softmax weights are rounded to bfloat16 as operands; products, softmax and sums
 * are float32. 4 head_dim operations per query and key seen; a tile of queries reads each key once,
 * from the second-level cache: 64 to 128 operations a byte. By argument, for 8192 rows in sequences
 * of 1024 with 8 heads of 256 (Gemma 2 2B): 34 GFLOP, of which tiles on the diagonal add a tenth.
 * mma.sync with 16 rows a warp reads 256 bytes of shared memory per 4096 operations, at most half
 * of what large products reach. Share of the limit: not yet measured.
 *
 * A block has WARPS warps of 16 queries of one sequence and kv head, and walks over the keys, a
 * step at a time, with a running softmax; values are copied while scores are computed, the next
 * keys while values are added up. Long sequences take 8 warps, which share more per key read, short
 * ones 4, whose blocks fill each other's waits. Warps pass over steps of which they see nothing,
 * and mask only those at the edges of what they see.
 *
 * Deterministic: each output has one owner, which adds in the order of the steps.
 */
#include "kernels/cuda/attention_tensor.cuh"

/* ---- queries and results ---------------------------------------------------------------- */

/* The tile's 16 WARPS queries to shared memory, each thread half its share at a time. What lies
 * beyond the last query or head_dim is read from inside them and replaced by zeros, so that no load
 * waits for a branch. */
template <int HEAD, int WARPS>
static __device__ __forceinline__ void load_queries(const struct attention_call &c,
	struct tile tile, int kv_head, struct bf16 *to)
{
	constexpr int EIGHTS = HEAD / 8, BATCH = HEAD / 32, THREADS = WARPS * WARP;
	const int n = tile.n_rows * c.group, column = (int)threadIdx.x % EIGHTS * 8;
	const bool inside = column < c.head_dim;

	static_assert(2 * BATCH * THREADS == 16 * WARPS * EIGHTS, "two batches are a tile");
	static_assert(THREADS % EIGHTS == 0, "a thread has one column");
#pragma unroll
	for (int turn = 0; turn < 2 * BATCH; turn += BATCH) {
		float4 x[BATCH][2];

#pragma unroll
		for (int b = 0; b < BATCH; b++) {
			const int r = ((turn + b) * THREADS + (int)threadIdx.x) / EIGHTS;
			const int number = min(tile.first + r, n - 1);
			const size_t row = (size_t)(tile.first_row + number / c.group) * c.n_head +
					   kv_head * c.group + number % c.group;
			const float *from = c.q + row * c.head_dim + (inside ? column : 0);

			x[b][0] = load_four(from);
			x[b][1] = load_four(from + 4);
		}
#pragma unroll
		for (int b = 0; b < BATCH; b++) {
			const int r = ((turn + b) * THREADS + (int)threadIdx.x) / EIGHTS;

			if (!inside || tile.first + r >= n)
				x[b][0] = x[b][1] = make_float4(0, 0, 0, 0);
			store_eight(x[b][0], x[b][1], to + r * size<HEAD>::LD + column);
		}
	}
}

/* Row r of the results, times `scale`, as query `number` of out. */
template <int HEAD>
static __device__ __forceinline__ void store_result(const struct attention_call &c,
	const float sum[HEAD / 8][4], int r, float scale, size_t number)
{
	const size_t at = number * c.head_dim;

	if (c.out_bf16)
		store_row<HEAD>(sum, r, scale, c.head_dim, (struct bf16 *)c.out + at);
	else
		store_row<HEAD>(sum, r, scale, c.head_dim, (float *)c.out + at);
}

/* ---- softmax ---------------------------------------------------------------------------- */

/* Sum and maximum over the four lanes that share rows. */
static __device__ __forceinline__ float quad_sum(float x)
{
	x += __shfl_xor_sync(ALL_LANES, x, 1);
	return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

static __device__ __forceinline__ float quad_max(float x)
{
	x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
	return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

/* Running softmax of a lane's two rows, in units of log 2; `sum` is this lane's part of it. */
struct running {
	float max[2], sum[2];
};

/* A lane's two queries: which they are, and the keys they see. */
struct lane_queries {
	bool valid[2];
	int number[2]; /* row and head */
	int first[2], n[2];
};

static __device__ __forceinline__ struct lane_queries
lane_queries_of(const struct attention_call &c, struct tile tile, int kv_head, int first)
{
	struct lane_queries lane;

#pragma unroll
	for (int r = 0; r < 2; r++) {
		const struct query q = query_of(c, tile, kv_head, first + lane_row(r));

		lane.valid[r] = q.valid;
		lane.number[r] = q.row * c.n_head + q.head;
		lane.first[r] = first_key(c, q.pos);
		lane.n[r] = q.pos + 1 - lane.first[r];
	}
	return lane;
}

/* Products with keys from position p on become scores; those of keys not seen, -infinity. */
template <int STEP>
static __device__ __forceinline__ void score(struct score_units units,
	const struct lane_queries &lane, int p, bool all_seen, float s[STEP / 8][4])
{
	scores_of<STEP>(units, s);
	if (all_seen)
		return;
#pragma unroll
	for (int n = 0; n < STEP / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			if (!among(lane.first[i / 2], lane.n[i / 2], p + lane_column(n, i)))
				s[n][i] = -INFINITY;
}

/* Scores become weights; what was summed so far shrinks, if any row's maximum has grown. */
template <int HEAD, int STEP>
static __device__ __forceinline__ void weigh(float s[STEP / 8][4], struct running *run,
	float out[HEAD / 8][4])
{
	float shrink[2];

#pragma unroll
	for (int r = 0; r < 2; r++) {
		float max = -INFINITY, base;

#pragma unroll
		for (int n = 0; n < STEP / 8; n++)
			max = fmaxf(max, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
		max = fmaxf(run->max[r], quad_max(max));
		base = max == -INFINITY ? 0 : max;
		shrink[r] = exp2_fast(run->max[r] - base);
		run->max[r] = max;
		run->sum[r] *= shrink[r];
#pragma unroll
		for (int n = 0; n < STEP / 8; n++) {
#pragma unroll
			for (int i = 2 * r; i < 2 * r + 2; i++) {
				s[n][i] = exp2_fast(s[n][i] - base);
				run->sum[r] += s[n][i];
			}
		}
	}
	if (!__any_sync(ALL_LANES, shrink[0] != 1 || shrink[1] != 1))
		return;
#pragma unroll
	for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			out[n][i] *= shrink[i / 2];
}

/* ---- the pass --------------------------------------------------------------------------- */

template <int HEAD>
static __device__ __forceinline__ void finish(const struct attention_call &c,
	const struct lane_queries &lane, const struct running &run, const float out[HEAD / 8][4])
{
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const float sum = quad_sum(run.sum[r]);

		if (!lane.valid[r])
			continue;
		store_result<HEAD>(c, out, r, 1 / sum, (size_t)lane.number[r]);
		if (c.lse && threadIdx.x % 4 == 0)
			c.lse[lane.number[r]] = run.max[r] / PER_LOG2 + logf(sum);
	}
}

/* Two warps a scheduler where sums fill the registers, four where they do not. */
template <int HEAD, int WARPS>
static __global__ void __launch_bounds__(WARPS *WARP, (HEAD <= 128 ? 16 : 8) / WARPS)
	forward_kernel(struct attention_call c, struct attention_plan plan,
		struct attention_operands op)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int STEP = size<HEAD>::KEYS, LD = size<HEAD>::LD, THREADS = WARPS * WARP;
	const int kv_head = op.first_kv_head + (int)blockIdx.y, n_tiles = *plan.n_query_tiles;
	const size_t keys_at = blockIdx.y * op.key_rows * c.head_dim;
	const int first_of_warp = (int)threadIdx.x / WARP * 16;
	struct bf16 *const q = shared, *const k = q + WARPS * 16 * LD, *const v = k + STEP * LD;
	const struct one_copy to_k = {op.k + keys_at, k}, to_v = {op.v + keys_at, v};
	struct running run = {{-INFINITY, -INFINITY}, {0, 0}};
	float out[HEAD / 8][4], s[STEP / 8][4];
	struct lane_queries lane;
	struct tile tile;
	struct range range, seen;
	int start;

	if ((int)blockIdx.x >= n_tiles)
		return;
	tile = plan.query_tiles[n_tiles - 1 - (int)blockIdx.x]; /* those with most keys first */
	range = keys_seen(c, tile, tile.first, WARPS * 16);
	seen = keys_seen(c, tile, tile.first + first_of_warp, 16);
	start = c.start[tile.seq];
	copy_keys<HEAD, STEP, THREADS>(c, start, range.first, range.last, to_k);
	cp_async_commit();
	load_queries<HEAD, WARPS>(c, tile, kv_head, q);
	lane = lane_queries_of(c, tile, kv_head, tile.first + first_of_warp);
	clear_sums<HEAD>(out);
	for (int p = range.first; p <= range.last; p += STEP) {
		const bool some = overlap(seen, p, STEP);
		const bool all = seen.all_first <= p && seen.all_last >= p + STEP - 1;

		cp_async_wait<0>();
		__syncthreads(); /* keys and queries are there, values have been read */
		copy_keys<HEAD, STEP, THREADS>(c, start, p, range.last, to_v);
		cp_async_commit();
		if (some)
			multiply<HEAD, STEP>(q + first_of_warp * LD, k, s);
		cp_async_wait<0>();
		__syncthreads(); /* values are there, keys have been read */
		if (p + STEP <= range.last)
			copy_keys<HEAD, STEP, THREADS>(c, start, p + STEP, range.last, to_k);
		cp_async_commit();
		if (!some)
			continue;
		score<STEP>(op.units, lane, p, all, s);
		weigh<HEAD, STEP>(s, &run, out);
		accumulate<HEAD, STEP>(s, v, out);
	}
	finish<HEAD>(c, lane, run, out);
}

/* ---- launches --------------------------------------------------------------------------- */

static bool in_sixteens(const void *p)
{
	return (uintptr_t)p % 16 == 0;
}

bool attention_fits_tensor(const struct attention_call *c)
{
	return c->head_dim % 16 == 0 && c->head_dim <= 256 && in_sixteens(c->q) &&
	       in_sixteens(c->prefix_k) && in_sixteens(c->prefix_v) && in_sixteens(c->k) &&
	       in_sixteens(c->v) && in_sixteens(c->out) && in_sixteens(c->dout) &&
	       in_sixteens(c->dq) && in_sixteens(c->dk) && in_sixteens(c->dv);
}

/* A sequence of four small tiles fills two large ones. */
int attention_tensor_tile(const struct attention_call *c, size_t n_seq)
{
	const size_t n_queries = (size_t)c->n_rows * (size_t)c->group;

	return n_queries >= n_seq * 4 * TENSOR_TILE ? 2 * TENSOR_TILE : TENSOR_TILE;
}

template <int HEAD, int WARPS>
static int start(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, const struct attention_operands *op, struct err *err)
{
	constexpr size_t bytes = (WARPS * 16 + 2 * size<HEAD>::KEYS) * size<HEAD>::LD *
				 sizeof(struct bf16);
	const dim3 grid(plan->most_query_tiles, (unsigned)op->n_kv_heads);

	static_assert(bytes <= LEAST_SHARED, "some cards have no room for such tiles");
	TRY(cuda_check(GPU_ALLOW_SHARED((forward_kernel<HEAD, WARPS>), bytes), "attention",
		"cudaFuncSetAttribute", err));
	GPU_LAUNCH((forward_kernel<HEAD, WARPS>), grid, WARPS * WARP, bytes, cuda_stream(dev), *c,
		*plan, *op);
	return 0;
fail:
	return err->code;
}

int attention_tensor(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	struct attention_operands op = attention_operands_of(c, false, plan);

	for (; op.first_kv_head < c->n_kv_head; op.first_kv_head += op.n_kv_heads) {
		op.n_kv_heads = min(op.n_kv_heads, c->n_kv_head - op.first_kv_head);
		attention_round_keys(dev, c, plan, &op);
		if (plan->query_tile > TENSOR_TILE)
			WITH_HEAD(c->head_dim, HEAD, TRY((start<HEAD, 8>(dev, c, plan, &op, err))));
		else
			WITH_HEAD(c->head_dim, HEAD, TRY((start<HEAD, 4>(dev, c, plan, &op, err))));
	}
	return 0;
fail:
	return err->code;
}
