/* SPDX-License-Identifier: MIT
 *
 * attention.cuh - what the ways of computing attention share: the call as kernels see it, tiles of
 * queries and of keys, and which key a query sees.
 *
 *   attention.cu                  the ops: which way a call takes, the plan of tiles
 *   attention_tensor.cu           many rows, bfloat16 on tensor cores
 *   attention_tensor_backward.cu  its gradients
 *   attention_operands.cu         the operands of both, rounded
 *   attention_exact.cu            many rows in float32, any head_dim, forward and backward
 *   attention_decode.cu           about one row per sequence, sums in float32
 *
 * A query is one row and one query head. The queries of a sequence that read the same kv head are
 * numbered row after row, heads of the group within a row, so that a tile of them is full even
 * when the sequence is short, and every key read serves the whole group.
 */
#ifndef SAENGINE_ATTENTION_CUH
#define SAENGINE_ATTENTION_CUH

#include "kernels/cuda/gpu.cuh"

/* Arrays as in ops.h; those that a call lacks are NULL. */
struct attention_call {
	int n_head, n_kv_head, group, head_dim;
	float scale, softcap;
	int window;
	const float *q;
	const int32_t *seq, *pos;
	int n_rows;
	const void *prefix_k, *prefix_v, *k, *v; /* all float32, or all bfloat16 */
	bool keys_bf16;
	int n_prefix;
	size_t key_rows; /* of the prefix and of k */
	const int32_t *start;
	void *out; /* float32 or bfloat16 */
	bool out_bf16;
	float *lse;
	/* Backward. */
	const float *dout;
	const float *delta; /* [n_rows, n_head]: D; of the exact way */
	float *dq, *dk, *dv;
};

/* Queries or keys of one sequence, for one block per kv head. */
struct tile {
	int first_row, n_rows; /* the sequence's rows */
	int seq;
	int first; /* number of the first query, or position of the first key */
};

/* In scratch, made by one block before the others start: how many tiles there are is known on the
 * device only, the grid has the most that the shapes allow. */
struct attention_plan {
	int *n_query_tiles, *n_key_tiles;
	struct tile *query_tiles, *key_tiles; /* key tiles: own keys only */
	unsigned most_query_tiles, most_key_tiles;
	int query_tile, key_tile; /* how many queries, and keys; 0: no tiles of keys */
	void *rest;               /* scratch for the way that is taken */
	size_t rest_bytes;
};

/* Where a query lies; valid is false behind the sequence's last. */
struct query {
	bool valid;
	int row, head, pos;
};

static __device__ __forceinline__ struct query query_of(const struct attention_call &c,
	struct tile tile, int kv_head, int number)
{
	struct query q = {number < tile.n_rows * c.group, 0, 0, -1};

	if (q.valid) {
		q.row = tile.first_row + number / c.group;
		q.head = kv_head * c.group + number % c.group;
		q.pos = c.pos[q.row];
	}
	return q;
}

/* The first position that a query at `pos` sees. */
static __device__ __forceinline__ int first_key(const struct attention_call &c, int pos)
{
	return c.window > 0 && pos >= c.window ? pos + 1 - c.window : 0;
}

static __device__ __forceinline__ bool sees(const struct attention_call &c, int pos, int key)
{
	return key <= pos && key >= first_key(c, pos);
}

/* Positions first to last that some queries see, and those that all of them do. */
struct range {
	int first, last;
	int all_first, all_last;
};

/* The keys seen by n queries from number `first` on: none if there are no such queries. */
static __device__ __forceinline__ struct range keys_seen(const struct attention_call &c,
	struct tile tile, int first, int n)
{
	const int end = min(first + n, tile.n_rows * c.group);
	int low, high;

	if (first >= end)
		return (struct range){0, -1, 0, -1};
	low = c.pos[tile.first_row + first / c.group];
	high = c.pos[tile.first_row + (end - 1) / c.group];
	return (struct range){first_key(c, low), high, first_key(c, high), low};
}

/* Whether some of n keys from position p on are among those that some query sees. */
static __device__ __forceinline__ bool overlap(struct range seen, int p, int n)
{
	return seen.last >= p && seen.first < p + n;
}

/* The last key of the sequence. */
static __device__ __forceinline__ int last_key(const struct attention_call &c, struct tile tile)
{
	return c.pos[tile.first_row + tile.n_rows - 1];
}

/* What the passes over scores know of a query; the last two in the backward ones. */
struct query_scalars {
	int pos; /* -1: there is no such query */
	float lse, delta;
};

static __device__ __forceinline__ struct query_scalars scalars_of(const struct attention_call &c,
	struct query q)
{
	const size_t i = (size_t)q.row * c.n_head + q.head;

	return q.valid && c.delta ? (struct query_scalars){q.pos, c.lse[i], c.delta[i]}
				  : (struct query_scalars){q.pos, 0, 0};
}

/* Position p's key (or value, with `prefix` and `own` those of values): head_dim elements. */
template <typename T>
static __device__ __forceinline__ const T *key_of(const struct attention_call &c,
	const void *prefix, const void *own, int start, int kv_head, int p)
{
	const size_t width = (size_t)c.n_kv_head * c.head_dim;
	const bool before = p < c.n_prefix;
	const size_t row = before ? p : start + p - c.n_prefix;

	return (const T *)(before ? prefix : own) + row * width + (size_t)kv_head * c.head_dim;
}

/* Scale and cap of a product q.k. */
static __device__ __forceinline__ float score_of(const struct attention_call &c, float product)
{
	const float s = product * c.scale;

	return c.softcap != 0 ? c.softcap * tanhf(s / c.softcap) : s;
}

/* The cap's derivative at a score. */
static __device__ __forceinline__ float slope_of(const struct attention_call &c, float score)
{
	const float t = c.softcap != 0 ? score / c.softcap : 0;

	return 1 - t * t;
}

/* exp(x - max), where max = -infinity means that nothing was seen yet. */
static __device__ __forceinline__ float exp_below(float x, float max)
{
	return expf(x - (max == -INFINITY ? 0 : max));
}

static __device__ __forceinline__ void store_out(const struct attention_call &c, size_t i,
	float value)
{
	if (c.out_bf16)
		((struct bf16 *)c.out)[i] = to_bf16(value);
	else
		((float *)c.out)[i] = value;
}

/* ---- the three ways; each queues its launches, on `dev`'s stream ------------------------- */

/* Tiles: queries per tile of the forward (or twice as many) and the dq pass; keys per tile. */
enum { TENSOR_TILE = 64, TENSOR_KEYS = 64, EXACT_TILE = 16 };

bool attention_fits_tensor(const struct attention_call *c);
/* Queries per tile of the forward pass. */
int attention_tensor_tile(const struct attention_call *c, size_t n_seq);
/* plan->rest_bytes: no more than `most`, if that is enough for one kv head. */
size_t attention_tensor_bytes(const struct attention_call *c, bool backward, size_t most);
int attention_tensor(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err);
int attention_tensor_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err);

int attention_exact(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err);
int attention_exact_backward(struct device *dev, const struct attention_call *c,
	const struct attention_plan *plan, struct err *err);

/* n_keys: keys that an average sequence has room for. */
struct decode_split {
	int heads;    /* query heads per block */
	int n_splits; /* parts of the keys */
};
struct decode_split attention_decode_split(const struct device *dev, const struct attention_call *c,
	size_t n_keys);
size_t attention_decode_bytes(const struct attention_call *c, struct decode_split split);
int attention_decode(struct device *dev, const struct attention_call *c, struct decode_split split,
	float *scratch, struct err *err);

#endif
