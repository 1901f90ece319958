/* SPDX-License-Identifier: MIT
 *
 * attention.cu - causal attention of packed sequences over their own keys and a shared prefix,
 * forward and backward: the ops, and what comes before the products. Contract: ops.h. Definition
 * and formulas: kernels/ref/attention.c. The ways it is computed: attention.cuh.
 *
 * A call with at most one row per sequence is decoding and splits the keys instead of the rows.
 * Others are planned: one block lists the sequences of the packed rows and cuts each into tiles, so
 * that no tile has rows of two sequences and nothing is read back to the host. Tiles are listed in
 * order of rows; places come from sums over the block, not from atomics. The plan reads 8 bytes a
 * row; it takes some microseconds per call, mostly waiting at barriers (not yet measured).
 *
 * On an invariant device (ops.h) every row is decoded, prompts' rows too, and gradients are the
 * exact way's, in which each has one owner that adds its terms in the order of keys or of rows; a
 * tile's bounds only say when. The others sum by tiles, whose bounds move with the prefix.
 */
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/csr.cuh"

enum { PLAN_BLOCK = 1024, DELTA_BLOCK = 256, MOST_HEAD = 512 };

/* ---- the plan --------------------------------------------------------------------------- */

/* Writes the tiles of this thread's sequence behind those of the threads before it, and returns
 * how many tiles the block has written so far. */
static __device__ __forceinline__ int list_tiles(struct tile tile, int n_tiles, int step, int first,
	int carried, int *partial, struct tile *tiles)
{
	int total;
	const int place = carried + block_sum_before(n_tiles, partial, &total);

	for (int t = 0; t < n_tiles; t++) {
		tile.first = first + t * step;
		tiles[place + t] = tile;
	}
	return carried + total;
}

/* Whether a row is its sequence's first of the call. */
static __device__ __forceinline__ bool begins(const struct attention_call &c, int row)
{
	return row == 0 || c.seq[row] != c.seq[row - 1];
}

/* One block; each thread has some adjacent rows. first_row: [sequences of the call]. Returns how
 * many there are. */
static __device__ __forceinline__ int find_sequences(const struct attention_call &c, int *partial,
	int *first_row)
{
	const int n = (c.n_rows + PLAN_BLOCK - 1) / PLAN_BLOCK;
	const int first = (int)threadIdx.x * n, end = min(first + n, c.n_rows);
	int found = 0, place, n_seq;

#pragma unroll 8
	for (int row = first; row < end; row++)
		found += begins(c, row);
	place = block_sum_before(found, partial, &n_seq);
	for (int row = first; row < end; row++)
		if (begins(c, row))
			first_row[place++] = row;
	__syncthreads(); /* first_row is complete */
	return n_seq;
}

/* One block. first_row: [sequences of the call] in scratch. */
static __global__ void __launch_bounds__(PLAN_BLOCK)
	plan_kernel(struct attention_call c, struct attention_plan plan, int *first_row)
{
	__shared__ int partial[WARP];
	const int n_seq = find_sequences(c, partial, first_row);
	int n_query_tiles = 0, n_key_tiles = 0;

	for (int first = 0; first < n_seq; first += PLAN_BLOCK) {
		const int s = first + (int)threadIdx.x;
		struct tile tile = {0, 0, 0, 0};
		int n_keys = 0;

		if (s < n_seq) {
			const int end = s + 1 < n_seq ? first_row[s + 1] : c.n_rows;

			tile.first_row = first_row[s];
			tile.n_rows = end - tile.first_row;
			tile.seq = c.seq[tile.first_row];
			n_keys = max(0, c.pos[end - 1] + 1 - c.n_prefix);
		}
		n_query_tiles = list_tiles(tile,
			(tile.n_rows * c.group + plan.query_tile - 1) / plan.query_tile,
			plan.query_tile, 0, n_query_tiles, partial, plan.query_tiles);
		if (plan.key_tile > 0)
			n_key_tiles = list_tiles(tile, (n_keys + plan.key_tile - 1) / plan.key_tile,
				plan.key_tile, c.n_prefix, n_key_tiles, partial, plan.key_tiles);
	}
	if (threadIdx.x == 0) {
		*plan.n_query_tiles = n_query_tiles;
		*plan.n_key_tiles = n_key_tiles;
	}
}

/* ---- D = out . dout, of the exact way ---------------------------------------------------- */

/* One warp per row and head. */
template <class T>
static __global__ void __launch_bounds__(DELTA_BLOCK)
	delta_kernel(const T *out, const float *dout, size_t n, size_t head_dim, float *delta)
{
	const size_t i = ((size_t)blockIdx.x * DELTA_BLOCK + threadIdx.x) / WARP;
	float sum = 0;

	if (i >= n)
		return;
	for (size_t j = threadIdx.x % WARP; j < head_dim; j += WARP)
		sum += to_float(out[i * head_dim + j]) * dout[i * head_dim + j];
	sum = warp_sum(sum);
	if (threadIdx.x % WARP == 0)
		delta[i] = sum;
}

static void find_delta(struct device *dev, const struct attention_call *c, float *delta)
{
	const size_t n = (size_t)c->n_rows * (size_t)c->n_head, d = (size_t)c->head_dim;
	const unsigned grid = blocks_for(n * WARP, DELTA_BLOCK);

	if (c->out_bf16)
		GPU_LAUNCH(delta_kernel<struct bf16>, grid, DELTA_BLOCK, 0, cuda_stream(dev),
			(const struct bf16 *)c->out, c->dout, n, d, delta);
	else
		GPU_LAUNCH(delta_kernel<float>, grid, DELTA_BLOCK, 0, cuda_stream(dev),
			(const float *)c->out, c->dout, n, d, delta);
}

/* ---- the ops ---------------------------------------------------------------------------- */

static struct attention_call call_of(const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys)
{
	struct attention_call c = {};

	c.n_head = (int)a->n_head;
	c.n_kv_head = (int)a->n_kv_head;
	c.group = (int)(a->n_head / a->n_kv_head);
	c.head_dim = (int)a->head_dim;
	c.scale = (float)a->scale;
	c.softcap = (float)a->softcap;
	c.window = a->window < INT32_MAX ? (int)a->window : 0;
	c.q = floats(q);
	c.seq = rows.seq;
	c.pos = rows.pos;
	c.n_rows = (int)rows.n;
	c.prefix_k = keys->prefix_k.data;
	c.prefix_v = keys->prefix_v.data;
	c.k = keys->k.data;
	c.v = keys->v.data;
	c.keys_bf16 = keys->k.dtype == DTYPE_BF16;
	c.n_prefix = (int)keys->prefix_k.rows;
	c.key_rows = keys->prefix_k.rows + keys->k.rows;
	c.start = keys->start;
	return c;
}

static void set_out(struct attention_call *c, struct tensor out, struct tensor lse)
{
	c->out = out.data;
	c->out_bf16 = out.dtype == DTYPE_BF16;
	c->lse = floats(lse);
}

static int check_head(const struct attention *a, struct err *err)
{
	if (a->head_dim > MOST_HEAD)
		return err_set(err, ERR_DEVICE,
			"op attention: expected head_dim of at most %d, found %zu", MOST_HEAD,
			a->head_dim);
	return 0;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t aligned(size_t bytes)
{
	return (bytes + 255) / 256 * 256;
}

/* Which of the two ways that cut tiles. */
static bool takes_tensor(const struct device *dev, const struct attention_call *c)
{
	return !cuda_exact(dev) && !dev->invariant && attention_fits_tensor(c);
}

/* What the way needs beside the tiles, which take `taken` bytes: D, or the operands in bfloat16, of
 * fewer kv heads at a time where a block of scratch does not hold all. */
static size_t rest_bytes(const struct device *dev, const struct attention_call *c, bool tensor,
	bool backward, size_t taken)
{
	const size_t most = cuda_state_of(dev)->block_bytes;

	if (tensor)
		return attention_tensor_bytes(c, backward, most > taken ? most - taken : 0);
	return backward ? (size_t)c->n_rows * (size_t)c->n_head * sizeof(float) : 0;
}

/* Cuts tiles of the sizes in `plan`, and takes scratch for them and for what follows. */
static int plan_tiles(struct device *dev, const struct attention_call *c, const struct keys *keys,
	bool tensor, bool backward, struct attention_plan *plan, struct err *err)
{
	const size_t n_queries = (size_t)c->n_rows * (size_t)c->group;
	const size_t n_seq = smaller((size_t)c->n_rows, keys->n_seq);
	const size_t tiles_at = aligned(2 * sizeof(int) + n_seq * sizeof(int));
	size_t keys_at, rest_at;
	void *memory;
	char *scratch;

	/* A sequence's last tile may be all but empty, the others are full. */
	plan->most_query_tiles = (unsigned)(n_queries / (size_t)plan->query_tile + n_seq);
	plan->most_key_tiles = plan->key_tile > 0
				       ? (unsigned)(keys->k.rows / (size_t)plan->key_tile + n_seq)
				       : 0;
	keys_at = tiles_at + aligned(plan->most_query_tiles * sizeof(struct tile));
	rest_at = keys_at + aligned(plan->most_key_tiles * sizeof(struct tile));
	plan->rest_bytes = rest_bytes(dev, c, tensor, backward, rest_at);
	TRY(cuda_scratch(dev, rest_at + plan->rest_bytes, &memory, err));
	scratch = (char *)memory;
	plan->n_query_tiles = (int *)scratch;
	plan->n_key_tiles = plan->n_query_tiles + 1;
	plan->query_tiles = (struct tile *)(scratch + tiles_at);
	plan->key_tiles = (struct tile *)(scratch + keys_at);
	plan->rest = scratch + rest_at;
	GPU_LAUNCH(plan_kernel, 1, PLAN_BLOCK, 0, cuda_stream(dev), *c, *plan,
		plan->n_query_tiles + 2);
	return 0;
fail:
	return err->code;
}

static int decode(struct device *dev, const struct attention_call *c, const struct keys *keys,
	struct err *err)
{
	const size_t n_keys = keys->prefix_k.rows + keys->k.rows / keys->n_seq;
	const struct decode_split split = attention_decode_split(dev, c, n_keys);
	void *scratch;

	TRY(cuda_scratch(dev, attention_decode_bytes(c, split), &scratch, err));
	TRY(attention_decode(dev, c, split, (float *)scratch, err));
	return 0;
fail:
	return err->code;
}

int cuda_attention(struct device *dev, const struct attention *a, struct tensor q, struct rows rows,
	const struct keys *keys, struct tensor out, struct tensor lse, struct err *err)
{
	struct attention_call c = call_of(a, q, rows, keys);
	struct attention_plan plan = {};

	if (tensor_count(q) == 0)
		return 0;
	TRY(check_head(a, err));
	set_out(&c, out, lse);
	if (rows.n <= keys->n_seq || dev->invariant) {
		TRY(decode(dev, &c, keys, err));
	} else if (takes_tensor(dev, &c)) {
		plan.query_tile = attention_tensor_tile(&c, keys->n_seq);
		plan.key_tile = TENSOR_KEYS;
		TRY(plan_tiles(dev, &c, keys, true, false, &plan, err));
		TRY(attention_tensor(dev, &c, &plan, err));
	} else {
		plan.query_tile = EXACT_TILE;
		TRY(plan_tiles(dev, &c, keys, false, false, &plan, err));
		TRY(attention_exact(dev, &c, &plan, err));
	}
	return cuda_launched(dev, "op attention", err);
fail:
	return err->code;
}

int cuda_attention_backward(struct device *dev, const struct attention *a, struct tensor q,
	struct rows rows, const struct keys *keys, struct tensor out, struct tensor lse,
	struct tensor dout, struct tensor dq, struct tensor dk, struct tensor dv, struct err *err)
{
	struct attention_call c = call_of(a, q, rows, keys);
	struct attention_plan plan = {};

	TRY(check_head(a, err));
	TRY(cuda_check(cudaMemsetAsync(dk.data, 0, tensor_bytes(dk), cuda_stream(dev)),
		"op attention_backward", "cudaMemsetAsync of dk", err));
	TRY(cuda_check(cudaMemsetAsync(dv.data, 0, tensor_bytes(dv), cuda_stream(dev)),
		"op attention_backward", "cudaMemsetAsync of dv", err));
	if (tensor_count(q) == 0)
		return cuda_launched(dev, "op attention_backward", err);
	set_out(&c, out, lse);
	c.dout = floats(dout);
	c.dq = floats(dq);
	c.dk = floats(dk);
	c.dv = floats(dv);
	if (takes_tensor(dev, &c)) {
		plan.query_tile = TENSOR_TILE;
		plan.key_tile = TENSOR_KEYS;
		TRY(plan_tiles(dev, &c, keys, true, true, &plan, err));
		TRY(attention_tensor_backward(dev, &c, &plan, err));
	} else {
		plan.query_tile = plan.key_tile = EXACT_TILE;
		TRY(plan_tiles(dev, &c, keys, false, true, &plan, err));
		c.delta = (const float *)plan.rest;
		find_delta(dev, &c, (float *)plan.rest);
		TRY(attention_exact_backward(dev, &c, &plan, err));
	}
	return cuda_launched(dev, "op attention_backward", err);
fail:
	return err->code;
}
