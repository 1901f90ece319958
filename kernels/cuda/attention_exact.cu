/* SPDX-License-Identifier: MIT
 *
 * attention_exact.cu - attention of many rows in float32, forward and backward: exact devices, and
 * the head_dims that tensor cores cannot take. Contract: ops.h, attention.cuh.
 *
 * Operations as in attention_tensor.cu, by fused multiply-adds out of shared memory: written for
 * checks, at perhaps a tenth of the 60 TFLOP/s that H100's float32 units reach. Share of the limit:
 * not yet measured.
 *
 * A block has TILE queries (or, for dk and dv, TILE keys) of one sequence and kv head, and walks
 * over the keys (or queries) TILE at a time; all tiles lie in shared memory as float32. Of the
 * TILE x TILE scores each thread computes two; of the sums along head_dim it owns every 128th
 * column, for all rows of the tile. It loads the same columns of every tile, so the next load may
 * follow the sums that read the last without a barrier; scores, which read whole rows, have one on
 * each side.
 *
 * Deterministic: each output has one owner, which adds in the order of the tiles.
 */
#include "kernels/cuda/attention.cuh"

enum { TILE = EXACT_TILE, BLOCK = 128, SCORES = TILE * TILE / BLOCK, SCORE_LD = TILE + 1 };

/* Tiles [TILE][ld] one after the other; ld is odd, so that the rows of a tile lie in different
 * banks. */
static __host__ __device__ __forceinline__ int tile_ld(int head_dim)
{
	return head_dim | 1;
}

/* ---- loading ---------------------------------------------------------------------------- */

/* Queries number `first` and on, of an array like q; zeros behind the last. */
static __device__ __forceinline__ void load_queries(const struct attention_call &c,
	struct tile tile, int kv_head, int first, const float *from, float *to)
{
	const int ld = tile_ld(c.head_dim);

	for (int r = 0; r < TILE; r++) {
		const struct query q = query_of(c, tile, kv_head, first + r);
		const float *row = from + ((size_t)q.row * c.n_head + q.head) * c.head_dim;

		for (int j = (int)threadIdx.x; j < c.head_dim; j += BLOCK)
			to[r * ld + j] = q.valid ? row[j] : 0;
	}
}

static __device__ __forceinline__ void load_scalars(const struct attention_call &c,
	struct tile tile, int kv_head, int first, struct query_scalars *to)
{
	if (threadIdx.x < TILE)
		to[threadIdx.x] = scalars_of(c,
			query_of(c, tile, kv_head, first + (int)threadIdx.x));
}

/* Keys of positions p to p + TILE - 1; zeros beyond `last`. */
static __device__ __forceinline__ void load_keys(const struct attention_call &c, int start,
	int kv_head, const void *prefix, const void *own, int p, int last, float *to)
{
	const int ld = tile_ld(c.head_dim);

	for (int r = 0; r < TILE; r++) {
		const bool valid = p + r <= last;
		const int key = valid ? p + r : last;
		const float *row = key_of<float>(c, prefix, own, start, kv_head, key);
		const struct bf16 *rounded = key_of<struct bf16>(c, prefix, own, start, kv_head,
			key);

		for (int j = (int)threadIdx.x; j < c.head_dim; j += BLOCK)
			to[r * ld + j] = !valid ? 0 : c.keys_bf16 ? to_float(rounded[j]) : row[j];
	}
}

/* ---- products --------------------------------------------------------------------------- */

/* Row of score number i of this thread, and its column. */
static __device__ __forceinline__ int score_row(void)
{
	return (int)threadIdx.x / (BLOCK / TILE);
}

static __device__ __forceinline__ int score_column(int i)
{
	return (int)threadIdx.x % (BLOCK / TILE) + i * (BLOCK / TILE);
}

static __device__ __forceinline__ float dot_rows(const float *a, const float *b, int head_dim)
{
	float sum = 0;

	for (int j = 0; j < head_dim; j++)
		sum += a[j] * b[j];
	return sum;
}

/* sum[r][j] = shrink[r] sum[r][j] + sum_k weight(r, k) of[k][j]; shrink NULL: 1. Weights are
 * [r][k], or [k][r] when transposed. */
static __device__ __forceinline__ void add_weighted(float *sum, const float *shrink,
	const float *weight, bool transposed, const float *of, int head_dim)
{
	const int ld = tile_ld(head_dim);

	for (int j = (int)threadIdx.x; j < head_dim; j += BLOCK) {
		float column[TILE];

#pragma unroll
		for (int k = 0; k < TILE; k++)
			column[k] = of[k * ld + j];
		for (int r = 0; r < TILE; r++) {
			float x = sum[r * ld + j] * (shrink ? shrink[r] : 1);

#pragma unroll
			for (int k = 0; k < TILE; k++)
				x += weight[transposed ? k * SCORE_LD + r : r * SCORE_LD + k] *
				     column[k];
			sum[r * ld + j] = x;
		}
	}
}

static __device__ __forceinline__ void clear(float *sum, int head_dim)
{
	for (int i = (int)threadIdx.x; i < TILE * tile_ld(head_dim); i += BLOCK)
		sum[i] = 0;
}

/* ---- forward ---------------------------------------------------------------------------- */

/* One row per thread: new maximum, and the scores become weights. */
static __device__ __forceinline__ void weigh(float *score, float *max, float *sum, float *shrink)
{
	float top = *max;

	for (int k = 0; k < TILE; k++)
		top = fmaxf(top, score[k]);
	*shrink = exp_below(*max, top);
	*sum *= *shrink;
	*max = top;
	for (int k = 0; k < TILE; k++) {
		score[k] = exp_below(score[k], top);
		*sum += score[k];
	}
}

static __global__ void __launch_bounds__(BLOCK)
	forward_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(float, shared);
	__shared__ float score[TILE * SCORE_LD], max[TILE], sum[TILE], shrink[TILE];
	__shared__ struct query_scalars scalars[TILE];
	const int d = c.head_dim, ld = tile_ld(d), kv_head = (int)blockIdx.y;
	float *const q = shared, *const kv = q + TILE * ld, *const out = kv + TILE * ld;
	const int r = score_row();
	struct tile tile;
	struct range range;
	int start;

	if (blockIdx.x >= (unsigned)*plan.n_query_tiles)
		return;
	tile = plan.query_tiles[blockIdx.x];
	range = keys_seen(c, tile, tile.first, TILE);
	start = c.start[tile.seq];
	load_queries(c, tile, kv_head, tile.first, c.q, q);
	load_scalars(c, tile, kv_head, tile.first, scalars);
	clear(out, d);
	if (threadIdx.x < TILE) {
		max[threadIdx.x] = -INFINITY;
		sum[threadIdx.x] = 0;
	}
	for (int p = range.first; p <= range.last; p += TILE) {
		load_keys(c, start, kv_head, c.prefix_k, c.k, p, range.last, kv);
		__syncthreads();
#pragma unroll
		for (int i = 0; i < SCORES; i++) {
			const int k = score_column(i);
			const float s = score_of(c, dot_rows(q + r * ld, kv + k * ld, d));

			score[r * SCORE_LD + k] = sees(c, scalars[r].pos, p + k) ? s : -INFINITY;
		}
		__syncthreads();
		if (threadIdx.x < TILE)
			weigh(score + threadIdx.x * SCORE_LD, max + threadIdx.x, sum + threadIdx.x,
				shrink + threadIdx.x);
		load_keys(c, start, kv_head, c.prefix_v, c.v, p, range.last, kv);
		__syncthreads();
		add_weighted(out, shrink, score, false, kv, d);
	}
	for (int i = 0; i < TILE; i++) {
		const struct query query = query_of(c, tile, kv_head, tile.first + i);
		const size_t number = (size_t)query.row * c.n_head + query.head;

		if (!query.valid)
			continue;
		for (int j = (int)threadIdx.x; j < d; j += BLOCK)
			store_out(c, number * d + j, out[i * ld + j] / sum[i]);
		if (threadIdx.x == 0 && c.lse)
			c.lse[number] = max[i] + logf(sum[i]);
	}
}

/* ---- backward --------------------------------------------------------------------------- */

/* Softmax weights and score gradients of a tile of queries and a tile of keys from position p, both
 * [query][key]. */
static __device__ __forceinline__ void score_gradients(const struct attention_call &c,
	const struct query_scalars *scalars, int p, const float *q, const float *dout,
	const float *k, const float *v, float *weight, float *gradient)
{
	const int d = c.head_dim, ld = tile_ld(d), r = score_row();

#pragma unroll
	for (int i = 0; i < SCORES; i++) {
		const int key = score_column(i), at = r * SCORE_LD + key;
		const float s = score_of(c, dot_rows(q + r * ld, k + key * ld, d));
		const float dp = dot_rows(dout + r * ld, v + key * ld, d);
		const bool seen = sees(c, scalars[r].pos, p + key);

		weight[at] = seen ? expf(s - scalars[r].lse) : 0;
		gradient[at] = seen ? weight[at] * (dp - scalars[r].delta) * slope_of(c, s) *
					       c.scale
				    : 0;
	}
}

static __global__ void __launch_bounds__(BLOCK)
	dq_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(float, shared);
	__shared__ float weight[TILE * SCORE_LD], gradient[TILE * SCORE_LD];
	__shared__ struct query_scalars scalars[TILE];
	const int d = c.head_dim, ld = tile_ld(d), kv_head = (int)blockIdx.y;
	float *const q = shared, *const dout = q + TILE * ld, *const k = dout + TILE * ld;
	float *const v = k + TILE * ld, *const dq = v + TILE * ld;
	struct tile tile;
	struct range range;
	int start;

	if (blockIdx.x >= (unsigned)*plan.n_query_tiles)
		return;
	tile = plan.query_tiles[blockIdx.x];
	range = keys_seen(c, tile, tile.first, TILE);
	start = c.start[tile.seq];
	load_queries(c, tile, kv_head, tile.first, c.q, q);
	load_queries(c, tile, kv_head, tile.first, c.dout, dout);
	load_scalars(c, tile, kv_head, tile.first, scalars);
	clear(dq, d);
	for (int p = range.first; p <= range.last; p += TILE) {
		load_keys(c, start, kv_head, c.prefix_k, c.k, p, range.last, k);
		load_keys(c, start, kv_head, c.prefix_v, c.v, p, range.last, v);
		__syncthreads();
		score_gradients(c, scalars, p, q, dout, k, v, weight, gradient);
		__syncthreads();
		add_weighted(dq, NULL, gradient, false, k, d);
	}
	for (int i = 0; i < TILE; i++) {
		const struct query query = query_of(c, tile, kv_head, tile.first + i);
		const size_t number = (size_t)query.row * c.n_head + query.head;

		if (query.valid)
			for (int j = (int)threadIdx.x; j < d; j += BLOCK)
				c.dq[number * d + j] = dq[i * ld + j];
	}
}

/* blockIdx.z 0: dk, 1: dv; the two share no sums, and their tiles would not fit together. */
static __global__ void __launch_bounds__(BLOCK)
	dkv_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(float, shared);
	__shared__ float weight[TILE * SCORE_LD], gradient[TILE * SCORE_LD];
	__shared__ struct query_scalars scalars[TILE];
	const int d = c.head_dim, ld = tile_ld(d), kv_head = (int)blockIdx.y;
	const bool of_values = blockIdx.z == 1;
	float *const q = shared, *const dout = q + TILE * ld, *const k = dout + TILE * ld;
	float *const v = k + TILE * ld, *const sum = v + TILE * ld;
	float *const to = of_values ? c.dv : c.dk;
	struct tile tile;
	int start, last, p;

	if (blockIdx.x >= (unsigned)*plan.n_key_tiles)
		return;
	tile = plan.key_tiles[blockIdx.x];
	p = tile.first;
	start = c.start[tile.seq];
	last = last_key(c, tile);
	load_keys(c, start, kv_head, c.prefix_k, c.k, p, last, k);
	load_keys(c, start, kv_head, c.prefix_v, c.v, p, last, v);
	clear(sum, d);
	for (int first = 0; first < tile.n_rows * c.group; first += TILE) {
		if (!overlap(keys_seen(c, tile, first, TILE), p, TILE)) /* for all threads */
			continue;
		load_queries(c, tile, kv_head, first, c.q, q);
		load_queries(c, tile, kv_head, first, c.dout, dout);
		load_scalars(c, tile, kv_head, first, scalars);
		__syncthreads();
		score_gradients(c, scalars, p, q, dout, k, v, weight, gradient);
		__syncthreads();
		if (of_values)
			add_weighted(sum, NULL, weight, true, dout, d);
		else
			add_weighted(sum, NULL, gradient, true, q, d);
	}
	__syncthreads(); /* without queries, `sum` is still as others cleared it */
	for (int i = 0; i < TILE && p + i <= last; i++) {
		const size_t row = (size_t)(start + p + i - c.n_prefix);

		for (int j = (int)threadIdx.x; j < d; j += BLOCK)
			to[(row * c.n_kv_head + kv_head) * d + j] = sum[i * ld + j];
	}
}

/* ---- launches --------------------------------------------------------------------------- */

static int allow(struct device *dev, cudaError_t status, size_t bytes, const char *op,
	struct err *err)
{
	if (status != cudaSuccess)
		return err_set(err, ERR_DEVICE,
			"%s: %zu bytes of shared memory per block, of which this device has %zu: "
			"%s",
			op, bytes, cuda_state_of(dev)->most_shared, cudaGetErrorString(status));
	return 0;
}

static size_t tiles_bytes(const struct attention_call *c, int n_tiles)
{
	return (size_t)(n_tiles * TILE * tile_ld(c->head_dim)) * sizeof(float);
}

int attention_exact(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	const size_t bytes = tiles_bytes(c, 3);

	TRY(allow(dev, GPU_ALLOW_SHARED(forward_kernel, bytes), bytes, "attention", err));
	GPU_LAUNCH(forward_kernel, dim3(plan->most_query_tiles, (unsigned)c->n_kv_head), BLOCK,
		bytes, cuda_stream(dev), *c, *plan);
	return 0;
fail:
	return err->code;
}

int attention_exact_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	const size_t bytes = tiles_bytes(c, 5);

	TRY(allow(dev, GPU_ALLOW_SHARED(dq_kernel, bytes), bytes, "attention_backward", err));
	TRY(allow(dev, GPU_ALLOW_SHARED(dkv_kernel, bytes), bytes, "attention_backward", err));
	GPU_LAUNCH(dq_kernel, dim3(plan->most_query_tiles, (unsigned)c->n_kv_head), BLOCK, bytes,
		cuda_stream(dev), *c, *plan);
	GPU_LAUNCH(dkv_kernel, dim3(plan->most_key_tiles, (unsigned)c->n_kv_head, 2), BLOCK, bytes,
		cuda_stream(dev), *c, *plan);
	return 0;
fail:
	return err->code;
}
