/* SPDX-License-Identifier: MIT
 *
 * attention_tensor.cu - attention of many rows on tensor cores, forward and backward, for head_dims
 * that are multiples of 16 up to 256. Contract: ops.h, attention.cuh.
 *
 * q, k, v, dout, the softmax weights and the score gradients are rounded to bfloat16 as operands;
 * products, softmax and sums are float32. Per query and key seen, forward does 4 head_dim
 * operations, dq 6 and dk and dv 10 (scores are computed again in each pass), where a tile of
 * queries reads each key once: 16 to 32 operations per byte that comes from the second-level
 * cache. By argument, for 8192 rows in sequences of 500 with 8 heads of 256 (Gemma 2 2B): 17
 * GFLOP forward, of which tiles on the diagonal waste a third. mma.sync with operands converted on
 * their way through shared memory should reach a quarter to a third of the 794 TFLOP/s of large
 * products: 0.1 ms beside the 1.6 ms of the layer's other products. Share of the limit: not yet
 * measured.
 *
 * A block has four warps of 16 queries (or, for dk and dv, of 16 keys) of one sequence and kv head,
 * and walks over the keys (or queries), STEP at a time. Forward keeps a running softmax. A lane's
 * part of a 16 x 8 tile of scores is rows lane/4 and lane/4 + 8, columns 2 (lane%4) and the next,
 * which is also how the next product wants its first operand, so weights never leave registers.
 * Columns between head_dim and the size compiled for (HEAD) are zeros.
 *
 * Deterministic: each output has one owner, which adds in the order of the steps.
 */
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/primitives.cuh"

enum { TILE = TENSOR_TILE, BLOCK = TILE / 16 * WARP };

/* Rows of the operand that is walked over, and the length of a row in shared memory: eight rows of
 * an ldmatrix lie in different banks. */
template <int HEAD> struct size {
	enum { STEP = HEAD <= 128 ? 64 : 32, LD = HEAD + 8 };
};

/* ---- shared memory ---------------------------------------------------------------------- */

/* n rows of head_dim floats to bfloat16; row_at(r) is NULL for rows of zeros. */
template <int HEAD, typename Row>
static __device__ __forceinline__ void load_rows(int head_dim, int n, Row row_at, struct bf16 *to)
{
	constexpr int FOURS = HEAD / 4, LD = size<HEAD>::LD;

	for (int i = (int)threadIdx.x; i < n * FOURS; i += BLOCK) {
		const int r = i / FOURS, column = i % FOURS * 4;
		const auto row = column < head_dim ? row_at(r) : NULL;
		float4 x = make_float4(0, 0, 0, 0);

		if (row)
			x = load_four(row + column);
		*(uint2 *)(to + r * LD + column) = make_uint2(pack_bf16(x.x, x.y),
			pack_bf16(x.z, x.w));
	}
}

/* n queries from number `first` on, of an array like q. */
template <int HEAD>
static __device__ __forceinline__ void load_queries(const struct attention_call &c,
	struct tile tile, int kv_head, int first, int n, const float *from, struct bf16 *to)
{
	const auto row_at = [&](int r) -> const float * {
		const int number = first + r;
		const int row = tile.first_row + number / c.group;
		const int head = kv_head * c.group + number % c.group;

		if (number >= tile.n_rows * c.group)
			return NULL;
		return from + ((size_t)row * c.n_head + head) * c.head_dim;
	};

	load_rows<HEAD>(c.head_dim, n, row_at, to);
}

/* n keys (or values) from position p on, none beyond `last`. */
template <int HEAD>
static __device__ __forceinline__ void load_keys(const struct attention_call &c, int start,
	int kv_head, const void *prefix, const void *own, int p, int n, int last, struct bf16 *to)
{
	const auto row_at = [&](int r) -> const float * {
		return p + r <= last ? key_of<float>(c, prefix, own, start, kv_head, p + r) : NULL;
	};
	const auto rounded_at = [&](int r) -> const struct bf16 *
	{
		return p + r <= last ? key_of<struct bf16>(c, prefix, own, start, kv_head, p + r)
				     : NULL;
	};

	if (c.keys_bf16)
		load_rows<HEAD>(c.head_dim, n, rounded_at, to);
	else
		load_rows<HEAD>(c.head_dim, n, row_at, to);
}

/* ---- products --------------------------------------------------------------------------- */

/* s [16, STEP] = a [16, HEAD] b [STEP, HEAD]^T; a begins at the warp's rows. */
template <int HEAD, int STEP>
static __device__ __forceinline__ void multiply(const struct bf16 *a, const struct bf16 *b,
	float s[STEP / 8][4])
{
	constexpr int LD = size<HEAD>::LD;
	const int lane = (int)threadIdx.x % WARP;

	a += lane % 16 * LD + lane / 16 * 8;
	b += (lane % 8 + lane / 16 * 8) * LD + lane / 8 % 2 * 8;
#pragma unroll
	for (int n = 0; n < STEP / 8; n++)
		s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
	for (int k = 0; k < HEAD; k += 16) {
		uint32_t x[4];

		ldmatrix_x4(x, a + k);
#pragma unroll
		for (int n = 0; n < STEP / 8; n += 2) {
			uint32_t y[4];

			ldmatrix_x4(y, b + n * 8 * LD + k);
			mma_bf16(s[n], x, y);
			mma_bf16(s[n + 1], x, y + 2);
		}
	}
}

/* sum [16, HEAD] += w [16, STEP] b [STEP, HEAD]; w as multiply left its result. */
template <int HEAD, int STEP>
static __device__ __forceinline__ void accumulate(const float w[STEP / 8][4], const struct bf16 *b,
	float sum[HEAD / 8][4])
{
	constexpr int LD = size<HEAD>::LD;
	const int lane = (int)threadIdx.x % WARP;

	b += (lane % 8 + lane / 8 % 2 * 8) * LD + lane / 16 * 8;
#pragma unroll
	for (int k = 0; k < STEP / 16; k++) {
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

/* Row r (0 or 1) of a lane: lane/4 + 8 r of its warp's 16. */
static __device__ __forceinline__ int lane_row(int r)
{
	return (int)threadIdx.x / WARP * 16 + (int)threadIdx.x % WARP / 4 + r * 8;
}

/* Column of element i (0 to 3) of a lane in 8-wide tile n. */
static __device__ __forceinline__ int lane_column(int n, int i)
{
	return n * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
}

/* Row r of sums to head_dim floats, times `scale`. */
template <int HEAD>
static __device__ __forceinline__ void store_row(const float sum[HEAD / 8][4], int r, float scale,
	int head_dim, float *to)
{
#pragma unroll
	for (int n = 0; n < HEAD / 8; n++) {
		const int column = lane_column(n, 0);

		if (column < head_dim)
			*(float2 *)(to + column) = make_float2(sum[n][2 * r] * scale,
				sum[n][2 * r + 1] * scale);
	}
}

/* Row r of the results, times `scale`, as query `number` of out. */
template <int HEAD>
static __device__ __forceinline__ void store_out_row(const struct attention_call &c,
	const float sum[HEAD / 8][4], int r, float scale, size_t number)
{
	struct bf16 *const to = (struct bf16 *)c.out + number * c.head_dim;

	if (!c.out_bf16) {
		store_row<HEAD>(sum, r, scale, c.head_dim, (float *)c.out + number * c.head_dim);
		return;
	}
#pragma unroll
	for (int n = 0; n < HEAD / 8; n++) {
		const int column = lane_column(n, 0);

		if (column < c.head_dim)
			*(uint32_t *)(to + column) = pack_bf16(sum[n][2 * r] * scale,
				sum[n][2 * r + 1] * scale);
	}
}

/* ---- forward ---------------------------------------------------------------------------- */

/* Running softmax of a lane's two rows; `sum` is this lane's part of it. */
struct running {
	float max[2], sum[2];
};

/* Scores of keys from position p on become weights; what was summed so far shrinks. */
template <int HEAD, int STEP>
static __device__ __forceinline__ void weigh(const struct attention_call &c,
	const struct query query[2], int p, float s[STEP / 8][4], struct running *run,
	float out[HEAD / 8][4])
{
#pragma unroll
	for (int r = 0; r < 2; r++) {
		float max = -INFINITY, shrink, base;

#pragma unroll
		for (int n = 0; n < STEP / 8; n++) {
#pragma unroll
			for (int i = 2 * r; i < 2 * r + 2; i++) {
				const bool seen = sees(c, query[r].pos, p + lane_column(n, i));

				s[n][i] = seen ? score_of(c, s[n][i]) : -INFINITY;
				max = fmaxf(max, s[n][i]);
			}
		}
		max = fmaxf(run->max[r], quad_max(max));
		base = max == -INFINITY ? 0 : max;
		shrink = __expf(run->max[r] - base);
		run->max[r] = max;
		run->sum[r] *= shrink;
#pragma unroll
		for (int n = 0; n < STEP / 8; n++) {
#pragma unroll
			for (int i = 2 * r; i < 2 * r + 2; i++) {
				s[n][i] = __expf(s[n][i] - base);
				run->sum[r] += s[n][i];
			}
		}
#pragma unroll
		for (int n = 0; n < HEAD / 8; n++) {
			out[n][2 * r] *= shrink;
			out[n][2 * r + 1] *= shrink;
		}
	}
}

template <int HEAD>
static __global__ void __launch_bounds__(BLOCK)
	forward_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int STEP = size<HEAD>::STEP, LD = size<HEAD>::LD;
	const int kv_head = (int)blockIdx.y;
	struct bf16 *const q = shared, *const k = q + TILE * LD, *const v = k + STEP * LD;
	const struct bf16 *const q_of_warp = q + (int)threadIdx.x / WARP * 16 * LD;
	struct running run = {{-INFINITY, -INFINITY}, {0, 0}};
	float out[HEAD / 8][4] = {};
	struct query query[2];
	struct tile tile;
	struct range range;
	int start;

	if (blockIdx.x >= (unsigned)*plan.n_query_tiles)
		return;
	tile = plan.query_tiles[blockIdx.x];
	range = keys_seen(c, tile, tile.first, TILE);
	start = c.start[tile.seq];
	query[0] = query_of(c, tile, kv_head, tile.first + lane_row(0));
	query[1] = query_of(c, tile, kv_head, tile.first + lane_row(1));
	load_queries<HEAD>(c, tile, kv_head, tile.first, TILE, c.q, q);
	for (int p = range.first; p <= range.last; p += STEP) {
		float s[STEP / 8][4];

		__syncthreads(); /* keys and values have been read */
		load_keys<HEAD>(c, start, kv_head, c.prefix_k, c.k, p, STEP, range.last, k);
		load_keys<HEAD>(c, start, kv_head, c.prefix_v, c.v, p, STEP, range.last, v);
		__syncthreads();
		multiply<HEAD, STEP>(q_of_warp, k, s);
		weigh<HEAD, STEP>(c, query, p, s, &run, out);
		accumulate<HEAD, STEP>(s, v, out);
	}
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const float sum = quad_sum(run.sum[r]);
		const size_t number = (size_t)query[r].row * c.n_head + query[r].head;

		if (!query[r].valid)
			continue;
		store_out_row<HEAD>(c, out, r, 1 / sum, number);
		if (c.lse && threadIdx.x % 4 == 0)
			c.lse[number] = run.max[r] + logf(sum);
	}
}

/* ---- backward --------------------------------------------------------------------------- */

/* Softmax weight of a product q.k that query q has with the key at position `key`. */
static __device__ __forceinline__ float weight_of(const struct attention_call &c,
	struct query_scalars q, int key, float product)
{
	return sees(c, q.pos, key) ? __expf(score_of(c, product) - q.lse) : 0;
}

/* Gradient of that product, given the product of dout and the value. */
static __device__ __forceinline__ float gradient_of(const struct attention_call &c,
	struct query_scalars q, int key, float product, float dweight)
{
	float score;

	if (!sees(c, q.pos, key))
		return 0;
	score = score_of(c, product);
	return __expf(score - q.lse) * (dweight - q.delta) * slope_of(c, score) * c.scale;
}

template <int HEAD>
static __global__ void __launch_bounds__(BLOCK)
	dq_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int STEP = size<HEAD>::STEP, LD = size<HEAD>::LD;
	const int kv_head = (int)blockIdx.y, at = (int)threadIdx.x / WARP * 16 * LD;
	struct bf16 *const q = shared, *const dout = q + TILE * LD;
	struct bf16 *const k = dout + TILE * LD, *const v = k + STEP * LD;
	float dq[HEAD / 8][4] = {};
	struct query query[2];
	struct query_scalars scalars[2];
	struct tile tile;
	struct range range;
	int start;

	if (blockIdx.x >= (unsigned)*plan.n_query_tiles)
		return;
	tile = plan.query_tiles[blockIdx.x];
	range = keys_seen(c, tile, tile.first, TILE);
	start = c.start[tile.seq];
#pragma unroll
	for (int r = 0; r < 2; r++) {
		query[r] = query_of(c, tile, kv_head, tile.first + lane_row(r));
		scalars[r] = scalars_of(c, query[r]);
	}
	load_queries<HEAD>(c, tile, kv_head, tile.first, TILE, c.q, q);
	load_queries<HEAD>(c, tile, kv_head, tile.first, TILE, c.dout, dout);
	for (int p = range.first; p <= range.last; p += STEP) {
		float s[STEP / 8][4], dweight[STEP / 8][4];

		__syncthreads(); /* keys and values have been read */
		load_keys<HEAD>(c, start, kv_head, c.prefix_k, c.k, p, STEP, range.last, k);
		load_keys<HEAD>(c, start, kv_head, c.prefix_v, c.v, p, STEP, range.last, v);
		__syncthreads();
		multiply<HEAD, STEP>(q + at, k, s);
		multiply<HEAD, STEP>(dout + at, v, dweight);
#pragma unroll
		for (int n = 0; n < STEP / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				s[n][i] = gradient_of(c, scalars[i / 2], p + lane_column(n, i),
					s[n][i], dweight[n][i]);
		accumulate<HEAD, STEP>(s, k, dq);
	}
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const size_t number = (size_t)query[r].row * c.n_head + query[r].head;

		if (query[r].valid)
			store_row<HEAD>(dq, r, 1, c.head_dim, c.dq + number * c.head_dim);
	}
}

/* What is known of query r of the step, behind its row of dout, where rows keep out of each other's
 * banks: beside the matrices LEAST_SHARED has no room. */
template <int HEAD>
static __device__ __forceinline__ struct query_scalars *behind_row(struct bf16 *dout, int r)
{
	static_assert((size<HEAD>::LD - HEAD) * sizeof(struct bf16) >= sizeof(struct query_scalars),
		"the space between rows is too small");
	return (struct query_scalars *)(dout + r * size<HEAD>::LD + HEAD);
}

/* blockIdx.z 0: dk, 1: dv; the sums of both would not fit a thread's registers at head_dim 256. */
template <int HEAD>
static __global__ void __launch_bounds__(BLOCK)
	dkv_kernel(struct attention_call c, struct attention_plan plan)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int STEP = size<HEAD>::STEP, LD = size<HEAD>::LD;
	const int kv_head = (int)blockIdx.y, at = (int)threadIdx.x / WARP * 16 * LD;
	const bool of_values = blockIdx.z == 1;
	struct bf16 *const k = shared, *const v = k + TILE * LD;
	struct bf16 *const q = v + TILE * LD, *const dout = q + STEP * LD;
	float *const to = of_values ? c.dv : c.dk;
	float sum[HEAD / 8][4] = {};
	struct tile tile;
	int start, last, p;

	if (blockIdx.x >= (unsigned)*plan.n_key_tiles)
		return;
	tile = plan.key_tiles[blockIdx.x];
	p = tile.first;
	start = c.start[tile.seq];
	last = c.pos[tile.first_row + tile.n_rows - 1];
	load_keys<HEAD>(c, start, kv_head, c.prefix_k, c.k, p, TILE, last, k);
	load_keys<HEAD>(c, start, kv_head, c.prefix_v, c.v, p, TILE, last, v);
	for (int first = 0; first < tile.n_rows * c.group; first += STEP) {
		float s[STEP / 8][4], dweight[STEP / 8][4];

		if (!meet(c, tile, first, STEP, p, TILE)) /* the same for all threads */
			continue;
		__syncthreads(); /* queries have been read */
		load_queries<HEAD>(c, tile, kv_head, first, STEP, c.q, q);
		load_queries<HEAD>(c, tile, kv_head, first, STEP, c.dout, dout);
		if (threadIdx.x < STEP)
			*behind_row<HEAD>(dout, (int)threadIdx.x) = scalars_of(c,
				query_of(c, tile, kv_head, first + (int)threadIdx.x));
		__syncthreads();
		multiply<HEAD, STEP>(k + at, q, s);
		if (of_values) {
#pragma unroll
			for (int n = 0; n < STEP / 8; n++)
#pragma unroll
				for (int i = 0; i < 4; i++)
					s[n][i] = weight_of(c,
						*behind_row<HEAD>(dout, lane_column(n, i)),
						p + lane_row(i / 2), s[n][i]);
			accumulate<HEAD, STEP>(s, dout, sum);
			continue;
		}
		multiply<HEAD, STEP>(v + at, dout, dweight);
#pragma unroll
		for (int n = 0; n < STEP / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				s[n][i] = gradient_of(c, *behind_row<HEAD>(dout, lane_column(n, i)),
					p + lane_row(i / 2), s[n][i], dweight[n][i]);
		accumulate<HEAD, STEP>(s, q, sum);
	}
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const int key = p + lane_row(r);

		if (key <= last)
			store_row<HEAD>(sum, r, 1, c.head_dim,
				to + ((size_t)(start + key - c.n_prefix) * c.n_kv_head + kv_head) *
						c.head_dim);
	}
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

template <int HEAD>
static int start_forward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	const size_t bytes = (TILE + 2 * size<HEAD>::STEP) * size<HEAD>::LD * sizeof(struct bf16);
	const dim3 grid(plan->most_query_tiles, (unsigned)c->n_kv_head);

	TRY(cuda_check(GPU_ALLOW_SHARED(forward_kernel<HEAD>, bytes), "attention",
		"cudaFuncSetAttribute", err));
	GPU_LAUNCH(forward_kernel<HEAD>, grid, BLOCK, bytes, cuda_stream(dev), *c, *plan);
	return 0;
fail:
	return err->code;
}

template <int HEAD>
static int start_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	constexpr size_t bytes = 2 * (TILE + size<HEAD>::STEP) * size<HEAD>::LD *
				 sizeof(struct bf16);
	const dim3 query_grid(plan->most_query_tiles, (unsigned)c->n_kv_head);
	const dim3 key_grid(plan->most_key_tiles, (unsigned)c->n_kv_head, 2);

	static_assert(bytes <= LEAST_SHARED, "some cards have no room for such tiles");
	TRY(cuda_check(GPU_ALLOW_SHARED(dq_kernel<HEAD>, bytes), "attention_backward",
		"cudaFuncSetAttribute", err));
	TRY(cuda_check(GPU_ALLOW_SHARED(dkv_kernel<HEAD>, bytes), "attention_backward",
		"cudaFuncSetAttribute", err));
	GPU_LAUNCH(dq_kernel<HEAD>, query_grid, BLOCK, bytes, cuda_stream(dev), *c, *plan);
	GPU_LAUNCH(dkv_kernel<HEAD>, key_grid, BLOCK, bytes, cuda_stream(dev), *c, *plan);
	return 0;
fail:
	return err->code;
}

int attention_tensor(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	WITH_HEAD(c->head_dim, HEAD, return start_forward<HEAD>(dev, c, plan, err));
}

int attention_tensor_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err)
{
	WITH_HEAD(c->head_dim, HEAD, return start_backward<HEAD>(dev, c, plan, err));
}
