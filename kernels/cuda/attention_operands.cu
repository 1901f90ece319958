/* SPDX-License-Identifier: MIT
 *
 * attention_operands.cu - what tensor cores multiply in attention, rounded to bfloat16 once per
 * call. Contract: attention_tensor.cuh.
 *
 * Every key is read by the tiles of all queries that see it: rounded once, it is half the bytes for
 * each, and they can copy it into shared memory in the background. A cache that is rounded already
 * is only brought in that order. Keys of sequences that have no rows, and places of a cache that
 * are not yet taken, are not touched. Reads 8 bytes (4 of bfloat16) and writes 4 per element of k
 * and v; the backward pass reads q, dout and out once, writes two of them at half their size, and
 * has D = out . dout on the way.
 *
 * When scratch has no room for all kv heads, callers take some at a time.
 *
 * Deterministic: each output has one owner; D is summed in a fixed order.
 */
#include "kernels/cuda/attention_tensor.cuh"

enum { BLOCK = 256, KEYS = TENSOR_KEYS };

/* ---- keys and values -------------------------------------------------------------------- */

/* Eight neighbours, and how they are written. */
struct eight_floats {
	float4 low, high;
};

static __device__ __forceinline__ struct eight_floats load_eight(const float *from)
{
	return {load_four(from), load_four(from + 4)};
}

static __device__ __forceinline__ void round_eight(struct eight_floats x, struct bf16 *to)
{
	write_16(to, eight_bf16(x.low, x.high));
}

static __device__ __forceinline__ uint4 load_eight(const struct bf16 *from)
{
	return *(const uint4 *)from;
}

static __device__ __forceinline__ void round_eight(uint4 x, struct bf16 *to)
{
	write_16(to, x);
}

/* n rows of head_dim elements, `stride` apart, each thread BATCH reads ahead of its writes. */
template <typename T>
static __device__ __forceinline__ void round_rows(const T *from, size_t stride, int n, int head_dim,
	struct bf16 *to)
{
	constexpr int BATCH = 4;
	const int eights = head_dim / 8, end = n * eights;

	for (int first = (int)threadIdx.x; first < end; first += BATCH * BLOCK) {
		decltype(load_eight(from)) x[BATCH];

#pragma unroll
		for (int b = 0; b < BATCH; b++) {
			const int i = first + b * BLOCK;

			if (i < end)
				x[b] = load_eight(from + (size_t)(i / eights) * stride +
						  i % eights * 8);
		}
#pragma unroll
		for (int b = 0; b < BATCH; b++) {
			const int i = first + b * BLOCK;

			if (i < end) /* rows are dense there */
				round_eight(x[b], to + (size_t)i * 8);
		}
	}
}

/* Block (KEYS rows, first those of the prefix; kv head; 0: keys, 1: values). */
template <typename T>
static __global__ void __launch_bounds__(BLOCK) keys_kernel(struct attention_call c,
	struct attention_plan plan, struct attention_operands op, int n_prefix_tiles)
{
	const bool of_values = blockIdx.z == 1;
	const int kv_head = op.first_kv_head + (int)blockIdx.y, x = (int)blockIdx.x;
	const size_t width = (size_t)c.n_kv_head * c.head_dim;
	const T *from = (const T *)(of_values ? c.prefix_v : c.prefix_k);
	struct bf16 *to = (of_values ? op.v : op.k) + blockIdx.y * op.key_rows * c.head_dim;
	int row = x * KEYS, end = c.n_prefix;

	if (x >= n_prefix_tiles) {
		struct tile tile;

		if (x - n_prefix_tiles >= *plan.n_key_tiles)
			return;
		tile = plan.key_tiles[x - n_prefix_tiles];
		row = c.start[tile.seq] + tile.first - c.n_prefix;
		end = row + last_key(c, tile) + 1 - tile.first;
		from = (const T *)(of_values ? c.v : c.k);
		to += (size_t)c.n_prefix * c.head_dim;
	}
	round_rows(from + row * width + (size_t)kv_head * c.head_dim, width, min(KEYS, end - row),
		c.head_dim, to + (size_t)row * c.head_dim);
}

void attention_round_keys(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, const struct attention_operands *op)
{
	const unsigned n_prefix_tiles = blocks_for((size_t)c->n_prefix, KEYS);
	const dim3 grid(n_prefix_tiles + plan->most_key_tiles, (unsigned)op->n_kv_heads, 2);

	if (c->keys_bf16)
		GPU_LAUNCH(keys_kernel<struct bf16>, grid, BLOCK, 0, cuda_stream(dev), *c, *plan,
			*op, (int)n_prefix_tiles);
	else
		GPU_LAUNCH(keys_kernel<float>, grid, BLOCK, 0, cuda_stream(dev), *c, *plan, *op,
			(int)n_prefix_tiles);
}

/* ---- queries ---------------------------------------------------------------------------- */

/* One warp per row and head. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
	queries_kernel(struct attention_call c, struct attention_operands op, const T *out)
{
	const int n_heads = op.n_kv_heads * c.group;
	const int i = (int)(blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP);
	const int row = i / n_heads, h = i % n_heads;
	const size_t query = (size_t)row * c.n_head + op.first_kv_head * c.group + h;
	const size_t number = h / c.group * op.n_queries + (size_t)row * c.group + h % c.group;
	const size_t from = query * c.head_dim, to = number * c.head_dim;
	float sum = 0;

	if (row >= c.n_rows)
		return;
	for (int j = (int)threadIdx.x % WARP * 4; j < c.head_dim; j += 4 * WARP) {
		const float4 q = load_four(c.q + from + j), g = load_four(c.dout + from + j);
		const float4 o = load_four(out + from + j);

		*(uint2 *)(op.q + to + j) = make_uint2(pack_bf16(q.x, q.y), pack_bf16(q.z, q.w));
		*(uint2 *)(op.dout + to + j) = make_uint2(pack_bf16(g.x, g.y), pack_bf16(g.z, g.w));
		sum += o.x * g.x + o.y * g.y + o.z * g.z + o.w * g.w;
	}
	sum = warp_sum(sum);
	if (threadIdx.x % WARP == 0) {
		const int pos = c.pos[row], first = first_key(c, pos);

		op.facts[number] = (struct query_facts){first, pos + 1 - first,
			c.lse[query] * PER_LOG2, sum};
	}
}

void attention_round_queries(struct device *dev, const struct attention_call *c,
	const struct attention_operands *op)
{
	const size_t n = (size_t)c->n_rows * (size_t)op->n_kv_heads * (size_t)c->group;
	const unsigned grid = blocks_for(n * WARP, BLOCK);

	if (c->out_bf16)
		GPU_LAUNCH(queries_kernel<struct bf16>, grid, BLOCK, 0, cuda_stream(dev), *c, *op,
			(const struct bf16 *)c->out);
	else
		GPU_LAUNCH(queries_kernel<float>, grid, BLOCK, 0, cuda_stream(dev), *c, *op,
			(const float *)c->out);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static struct score_units units_of(const struct attention_call *c)
{
	const float cap = c->softcap * PER_LOG2;
	struct score_units u = {c->scale * PER_LOG2, 0, 0};

	if (cap != 0)
		u = (struct score_units){2 * PER_LOG2 * c->scale / c->softcap, cap, 1 / cap};
	return u;
}

/* As many kv heads' operands as `most` bytes hold, at least one; and how much that is. */
static struct attention_operands operands_within(const struct attention_call *c, bool backward,
	size_t most, size_t *bytes)
{
	struct attention_operands op = {};
	size_t per_head, n;

	op.units = units_of(c);
	op.key_rows = c->key_rows;
	op.n_queries = backward ? (size_t)c->n_rows * (size_t)c->group : 0;
	per_head = 2 * (op.key_rows + op.n_queries) * (size_t)c->head_dim * sizeof(struct bf16) +
		   op.n_queries * sizeof(struct query_facts);
	n = most / per_head;
	op.n_kv_heads = n < 1 ? 1 : n < (size_t)c->n_kv_head ? (int)n : c->n_kv_head;
	*bytes = per_head * (size_t)op.n_kv_heads;
	return op;
}

size_t attention_tensor_bytes(const struct attention_call *c, bool backward, size_t most)
{
	size_t bytes;

	operands_within(c, backward, most, &bytes);
	return bytes;
}

/* Rows are multiples of 32 bytes, so that everything is aligned. */
struct attention_operands attention_operands_of(const struct attention_call *c, bool backward,
	const struct attention_plan *plan)
{
	size_t bytes;
	struct attention_operands op = operands_within(c, backward, plan->rest_bytes, &bytes);
	const size_t n = (size_t)op.n_kv_heads * (size_t)c->head_dim;

	op.k = (struct bf16 *)plan->rest;
	op.v = op.k + n * op.key_rows;
	op.q = op.v + n * op.key_rows;
	op.dout = op.q + n * op.n_queries;
	op.facts = (struct query_facts *)(op.dout + n * op.n_queries);
	return op;
}
