/* SPDX-License-Identifier: MIT
 *
 * logits.cu - what is read off next-token distributions. Contract: ops.h.
 * Definition: kernels/ref/logits.c.
 *
 *   lse(x) = max(x) + log sum exp(x - max(x));   logprob = x[token] - lse(x)
 *   KL = sum exp(p - lse p) ((p - lse p) - (q - lse q))
 *
 * A row of the vocabulary (256 000 logits, 1 MB) is read in parts of PART logits, a block of 256
 * threads each, 16 bytes a load where rows are aligned; what the blocks found of a row lies in
 * scratch memory, and a second launch joins it in the order of the parts. 64 rows of 256 000 are
 * 2048 blocks. Parts depend on the vocabulary alone, so a row's readings do not depend on how many
 * rows there are. Bytes read per logit: argmax 4, logprob 4, KL 16; softcap reads and writes 4.
 * Share of the limit: not yet measured.
 *
 * argmax is given logits before the cap and caps two of a row: cap tanh(x / cap) rises with x, so
 * the largest two are the same ones after it. Only where these two become equal may logits below
 * them be equal to them as well; then the row is read again, capped, for the first of those.
 *
 * Sums and maxima run in a fixed order, ties go to the lower index, so results repeat bit for bit.
 *
 * Chosen logits: one warp a (row, token) forward, reading that row of E alone; one block a row
 * backward, whose threads own columns and add the tokens in order.
 */
#include "kernels/cuda/pack.cuh"

enum { THREADS = 256, WARPS = 8, PART = 32 * THREADS };

static __device__ __forceinline__ float capped(float cap, float x)
{
	return cap != 0 ? cap * tanhf(x / cap) : x;
}

template <int V> static __global__ void softcap_kernel(float cap, float *x, size_t n)
{
	const size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) * V;
	float z[V];

	if (i >= n)
		return;
	load_pack<V>(x + i, z);
#pragma unroll
	for (int k = 0; k < V; k++)
		z[k] = capped(cap, z[k]);
	store_pack<V>(x + i, z);
}

extern "C" int cuda_softcap(struct device *dev, double cap, struct tensor x, struct err *err)
{
	const size_t n = tensor_count(x);

	if (cap == 0 || n == 0)
		return 0;
	WITH_PACK(pack_width(x, n), V,
		GPU_LAUNCH(softcap_kernel<V>, blocks_for(n, THREADS * V), THREADS, 0,
			cuda_stream(dev), (float)cap, floats(x), n));
	return cuda_launched(dev, "op softcap", err);
}

/* ---- parts of rows --------------------------------------------------------------------- */

static __host__ __device__ __forceinline__ size_t parts_of(size_t n)
{
	return (n + PART - 1) / PART;
}

/* Which part of which row a block reads. */
struct part {
	size_t row, first;
	int n; /* logits in it */
};

static __device__ __forceinline__ struct part part_of_block(size_t n)
{
	const size_t parts = parts_of(n), first = blockIdx.x % parts * PART;
	const int rest = n - first < PART ? (int)(n - first) : PART;

	return {blockIdx.x / parts, first, rest};
}

/* A thread's share of a part: PART / THREADS logits, V neighbours at a time, ascending; beyond the
 * end of the part minus infinity. */
enum { SHARE = PART / THREADS };

template <int V> static __device__ __forceinline__ int place_of(int i)
{
	return (i / V * THREADS + (int)threadIdx.x) * V + i % V;
}

template <int V>
static __device__ __forceinline__ void load_share(const float *logits, size_t n, struct part part,
	float share[SHARE])
{
	const float *from = logits + part.row * n + part.first;

#pragma unroll
	for (int i = 0; i < SHARE; i += V) {
		if (place_of<V>(i) < part.n) {
			load_pack<V>(from + place_of<V>(i), share + i);
		} else {
#pragma unroll
			for (int k = 0; k < V; k++)
				share[i + k] = -INFINITY;
		}
	}
}

/* Runs a statement in which V is how many neighbours rows of `logits` can be read by. */
#define WITH_PACK_OF_ROWS(logits, V, ...) \
	WITH_PACK(pack_width(logits, (logits).cols), V, __VA_ARGS__)

/* ---- argmax ---------------------------------------------------------------------------- */

/* Of some logits: the largest, its index, and the next largest. Of none: none(). */
struct best {
	float value, next;
	int32_t index; /* -1: one is not finite */
};

static const int32_t NOWHERE = INT32_MAX;

static __device__ __forceinline__ struct best none(void)
{
	return {-INFINITY, -INFINITY, NOWHERE};
}

/* Of equals the lower index, whatever the order of comparisons; so -1 stays. */
static __device__ __forceinline__ struct best better(struct best a, struct best b)
{
	const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
	struct best r = second ? b : a;

	r.next = fmaxf(fmaxf(a.next, b.next), second ? a.value : b.value);
	return r;
}

static __device__ __forceinline__ struct best warp_best(struct best mine)
{
	for (int step = WARP / 2; step > 0; step /= 2) {
		struct best other;

		other.value = __shfl_xor_sync(ALL_LANES, mine.value, step);
		other.next = __shfl_xor_sync(ALL_LANES, mine.next, step);
		other.index = __shfl_xor_sync(ALL_LANES, mine.index, step);
		mine = better(mine, other);
	}
	return mine;
}

/* Every thread of the block receives the best of all; free for reuse after the next barrier (the
 * function begins with one). */
static __device__ struct best block_best(struct best mine)
{
	__shared__ struct best of_warp[WARPS];

	mine = warp_best(mine);
	__syncthreads();
	if (threadIdx.x % WARP == 0)
		of_warp[threadIdx.x / WARP] = mine;
	__syncthreads();
	mine = of_warp[0];
#pragma unroll
	for (int w = 1; w < WARPS; w++)
		mine = better(mine, of_warp[w]);
	return mine;
}

template <int V>
static __global__ void __launch_bounds__(THREADS)
	argmax_part_kernel(const float *logits, struct best *found, size_t n)
{
	const struct part part = part_of_block(n);
	struct best mine = none();
	float share[SHARE], zero = 0;
	int at = 0;

	load_share<V>(logits, n, part, share);
#pragma unroll
	for (int i = 0; i < SHARE; i++) {
		if (place_of<V>(i / V * V) < part.n)
			zero = fmaf(share[i], 0, zero); /* NaN if it is not finite */
		at = share[i] > mine.value ? i : at;
		mine.next = fmaxf(mine.next, fminf(mine.value, share[i]));
		mine.value = fmaxf(mine.value, share[i]);
	}
	if (mine.value > -INFINITY)
		mine.index = (int32_t)part.first + place_of<V>(at);
	if (!(zero == 0))
		mine = {INFINITY, -INFINITY, -1};
	mine = block_best(mine);
	if (threadIdx.x == 0)
		found[blockIdx.x] = mine;
}

/* The first logit of the row that reaches `least` when capped, to every thread of the block. */
static __device__ int32_t first_capped(const float *row, size_t n, float cap, float least)
{
	size_t j = threadIdx.x;

	while (j < n && !(capped(cap, row[j]) >= least))
		j += THREADS;
	return block_best({0, 0, j < n ? (int32_t)j : NOWHERE}).index;
}

static __global__ void __launch_bounds__(THREADS) argmax_join_kernel(const struct best *found,
	const float *logits, float cap, int32_t *out, float *lead, size_t n)
{
	const size_t parts = parts_of(n);
	struct best best = none();
	float top, next;

	for (size_t p = threadIdx.x; p < parts; p += THREADS)
		best = better(best, found[blockIdx.x * parts + p]);
	best = block_best(best);
	top = capped(cap, best.value);
	next = n > 1 ? capped(cap, best.next) : best.next;
	if (cap != 0 && next >= top && best.index >= 0)
		best.index = first_capped(logits + blockIdx.x * n, n, cap, next);
	if (threadIdx.x > 0)
		return;
	out[blockIdx.x] = best.index;
	if (lead)
		lead[blockIdx.x] = fabsf(top - next);
}

extern "C" int cuda_argmax(struct device *dev, double cap, struct tensor logits, int32_t *out,
	struct tensor lead, struct err *err)
{
	const size_t n = logits.cols, blocks = logits.rows * parts_of(n);
	void *found = NULL;

	if (logits.rows == 0)
		return 0;
	if (cuda_scratch(dev, blocks * sizeof(struct best), &found, err))
		return err->code;
	WITH_PACK_OF_ROWS(logits, V,
		GPU_LAUNCH(argmax_part_kernel<V>, (unsigned)blocks, THREADS, 0, cuda_stream(dev),
			floats(logits), (struct best *)found, n));
	GPU_LAUNCH(argmax_join_kernel, (unsigned)logits.rows, THREADS, 0, cuda_stream(dev),
		(const struct best *)found, floats(logits), (float)cap, out, floats(lead), n);
	return cuda_launched(dev, "op argmax", err);
}

/* ---- log-probabilities ----------------------------------------------------------------- */

/* Of some logits: the largest, and sum exp(x - max). */
struct exponentials {
	float max, sum;
};

/* What the warps of a block found. */
struct of_warps {
	float max[WARPS], sum[WARPS];
};

static __device__ __forceinline__ struct of_warps *shared_of_warps(void)
{
	__shared__ struct of_warps of_warps;

	return &of_warps;
}

template <int V>
static __global__ void __launch_bounds__(THREADS)
	exponentials_kernel(const float *logits, struct exponentials *found, size_t n)
{
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	struct of_warps *of_warps = shared_of_warps();
	float share[SHARE], max = -INFINITY, sum = 0;

	load_share<V>(logits, n, part_of_block(n), share);
#pragma unroll
	for (int i = 0; i < SHARE; i++)
		max = fmaxf(max, share[i]);
	max = warp_max(max);
	if (lane == 0)
		of_warps->max[warp] = max;
	__syncthreads();
	for (int w = 0; w < WARPS; w++)
		max = fmaxf(max, of_warps->max[w]);
	max = max > -INFINITY ? max : 0; /* nothing but minus infinities: a sum of 0 */
#pragma unroll
	for (int i = 0; i < SHARE; i++)
		sum += expf(share[i] - max);
	sum = warp_sum(sum);
	if (lane == 0)
		of_warps->sum[warp] = sum;
	__syncthreads();
	if (threadIdx.x > 0)
		return;
	sum = 0;
	for (int w = 0; w < WARPS; w++)
		sum += of_warps->sum[w];
	found[blockIdx.x] = {max, sum};
}

static void find_exponentials(struct device *dev, struct tensor logits, struct exponentials *found)
{
	WITH_PACK_OF_ROWS(logits, V,
		GPU_LAUNCH(exponentials_kernel<V>, (unsigned)(logits.rows * parts_of(logits.cols)),
			THREADS, 0, cuda_stream(dev), floats(logits), found, logits.cols));
}

/* log sum exp of a row of n, from its parts; a whole warp, every lane receives it. */
static __device__ float log_sum_exp(const struct exponentials *found, size_t row, size_t n)
{
	const struct exponentials *first = found + row * parts_of(n);
	const size_t lane = threadIdx.x % WARP;
	float max = -INFINITY, sum = 0;

	for (size_t p = lane; p < parts_of(n); p += WARP)
		max = fmaxf(max, first[p].max);
	max = warp_max(max);
	for (size_t p = lane; p < parts_of(n); p += WARP)
		sum += first[p].sum * expf(first[p].max - max);
	return max + logf(warp_sum(sum));
}

static __global__ void logprob_kernel(const struct exponentials *found, const float *logits,
	const int32_t *token, float *out, size_t n_rows, size_t n)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
	float lse;

	if (row >= n_rows)
		return; /* whole warps; no barrier follows */
	lse = log_sum_exp(found, row, n);
	if (threadIdx.x % WARP == 0)
		out[row] = logits[row * n + (size_t)token[row]] - lse;
}

extern "C" int cuda_token_logprob(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	const size_t blocks = logits.rows * parts_of(logits.cols);
	void *found = NULL;

	if (logits.rows == 0)
		return 0;
	if (cuda_scratch(dev, blocks * sizeof(struct exponentials), &found, err))
		return err->code;
	find_exponentials(dev, logits, (struct exponentials *)found);
	GPU_LAUNCH(logprob_kernel, blocks_for(logits.rows, WARPS), WARPS * WARP, 0,
		cuda_stream(dev), (const struct exponentials *)found, floats(logits), token,
		floats(out), logits.rows, logits.cols);
	return cuda_launched(dev, "op token_logprob", err);
}

/* ---- divergences ----------------------------------------------------------------------- */

struct sides {
	const float *p, *q;
	const struct exponentials *of_p, *of_q;
};

/* A part's share of the row's divergence. */
template <int V>
static __global__ void __launch_bounds__(THREADS)
	kl_part_kernel(const struct sides s, float *found, size_t n)
{
	const struct part part = part_of_block(n);
	const float log_p = log_sum_exp(s.of_p, part.row, n);
	const float log_q = log_sum_exp(s.of_q, part.row, n);
	const float *p = s.p + part.row * n + part.first, *q = s.q + part.row * n + part.first;
	float sum = 0;

#pragma unroll 4
	for (int j = (int)threadIdx.x * V; j < part.n; j += THREADS * V) {
		float a[V], b[V];

		load_pack<V>(p + j, a);
		load_pack<V>(q + j, b);
#pragma unroll
		for (int k = 0; k < V; k++)
			sum += expf(a[k] - log_p) * ((a[k] - log_p) - (b[k] - log_q));
	}
	sum = block_sum(sum, shared_partial());
	if (threadIdx.x == 0)
		found[blockIdx.x] = sum;
}

static __global__ void kl_join_kernel(const float *found, float *out, size_t n_rows, size_t parts)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
	float sum = 0;

	if (row >= n_rows)
		return; /* whole warps; no barrier follows */
	for (size_t p = threadIdx.x % WARP; p < parts; p += WARP)
		sum += found[row * parts + p];
	sum = warp_sum(sum);
	if (threadIdx.x % WARP == 0)
		out[row] = sum;
}

extern "C" int cuda_kl(struct device *dev, struct tensor p, struct tensor q, struct tensor out,
	struct err *err)
{
	const size_t parts = parts_of(p.cols), blocks = p.rows * parts;
	const int width = min(pack_width(p, p.cols), pack_width(q, q.cols));
	struct exponentials *of_p, *of_q;
	struct sides sides;
	void *scratch = NULL;
	float *found;

	if (p.rows == 0)
		return 0;
	if (cuda_scratch(dev, blocks * (2 * sizeof *of_p + sizeof *found), &scratch, err))
		return err->code;
	of_p = (struct exponentials *)scratch;
	of_q = of_p + blocks;
	found = (float *)(of_q + blocks);
	find_exponentials(dev, p, of_p);
	find_exponentials(dev, q, of_q);
	sides = {floats(p), floats(q), of_p, of_q};
	WITH_PACK(width, V,
		GPU_LAUNCH(kl_part_kernel<V>, (unsigned)blocks, THREADS, 0, cuda_stream(dev), sides,
			found, p.cols));
	GPU_LAUNCH(kl_join_kernel, blocks_for(p.rows, WARPS), WARPS * WARP, 0, cuda_stream(dev),
		(const float *)found, floats(out), p.rows, parts);
	return cuda_launched(dev, "op kl", err);
}

/* ---- logits of chosen tokens ----------------------------------------------------------- */

template <class T>
static __global__ void selected_kernel(const float *y, const T *E, const int32_t *token, float cap,
	float *out, size_t n, size_t m, size_t d)
{
	const size_t i = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP; /* row m + token */
	float z;

	if (i >= n)
		return; /* whole warps; no barrier follows */
	z = warp_dot(y + i / m * d, E + (size_t)token[i] * d, d);
	if (threadIdx.x % WARP == 0)
		out[i] = capped(cap, z);
}

extern "C" int cuda_selected_logits(struct device *dev, struct tensor y, struct tensor E,
	const int32_t *token, double softcap, struct tensor out, struct err *err)
{
	const size_t n = tensor_count(out);

	if (n == 0)
		return 0;
	GPU_WITH_TYPE(E.dtype, T,
		GPU_LAUNCH(selected_kernel<T>, blocks_for(n, WARPS), WARPS * WARP, 0,
			cuda_stream(dev), floats(y), (const T *)E.data, token, (float)softcap,
			floats(out), n, out.cols, y.cols));
	return cuda_launched(dev, "op selected_logits", err);
}

template <class T>
static __global__ void selected_backward_kernel(const float *dout, const float *out, const T *E,
	const int32_t *token, float cap, float *dy, size_t m, size_t d)
{
	const size_t row = blockIdx.x;

	for (size_t k = threadIdx.x; k < d; k += blockDim.x) {
		float sum = 0;

		for (size_t j = row * m; j < (row + 1) * m; j++) {
			/* cap tanh(z/cap) has slope 1 - tanh^2 = 1 - (out/cap)^2 */
			const float t = cap != 0 ? out[j] / cap : 0.0f;

			sum += dout[j] * (1 - t * t) * to_float(E[(size_t)token[j] * d + k]);
		}
		dy[row * d + k] = sum;
	}
}

extern "C" int cuda_selected_logits_backward(struct device *dev, struct tensor dout,
	struct tensor out, struct tensor E, const int32_t *token, double softcap, struct tensor dy,
	struct err *err)
{
	if (tensor_count(dy) == 0)
		return 0;
	GPU_WITH_TYPE(E.dtype, T,
		GPU_LAUNCH(selected_backward_kernel<T>, (unsigned)dy.rows,
			threads_for(dy.cols, 256), 0, cuda_stream(dev), floats(dout), floats(out),
			(const T *)E.data, token, (float)softcap, floats(dy), dout.cols, dy.cols));
	return cuda_launched(dev, "op selected_logits_backward", err);
}
