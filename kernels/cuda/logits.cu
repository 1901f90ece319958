/* SPDX-License-Identifier: MIT
 *
 * logits.cu - what is read off next-token distributions. Contract: ops.h.
 * Definition: kernels/ref/logits.c.
 *
 *   lse(x) = max(x) + log sum exp(x - max(x));   logprob = x[token] - lse(x)
 *   KL = sum exp(p - lse p) ((p - lse p) - (q - lse q))
 *
 * One block of 1024 threads a row of the vocabulary (256 000 logits, 1 MB): the first pass over it
 * comes from memory, the others from L2; argmax reads 4 bytes an element, logprob 8, KL 24. A row
 * per block leaves most of the GPU idle when there are few rows, which costs some 10 us beside the
 * 360 us of reading a Gemma 2 unembedding (estimates; not yet measured). Sums and maxima run in a
 * fixed order, ties go to the lower index, so results repeat bit for bit.
 *
 * Chosen logits: one warp a (row, token) forward, reading that row of E alone; one block a row
 * backward, whose threads own columns and add the tokens in order.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 256, MOST_THREADS = 1024, PER_THREAD = 4, WARPS = 8 };

static __global__ void softcap_kernel(float cap, float *x, size_t n)
{
	const size_t step = (size_t)gridDim.x * blockDim.x;

	for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
		x[i] = cap * tanhf(x[i] / cap);
}

extern "C" int cuda_softcap(struct device *dev, double cap, struct tensor x, struct err *err)
{
	const size_t n = tensor_count(x);

	if (cap == 0 || n == 0)
		return 0;
	GPU_LAUNCH(softcap_kernel, blocks_for(n, THREADS * PER_THREAD), THREADS, 0,
		cuda_stream(dev), (float)cap, floats(x), n);
	return cuda_launched(dev, "op softcap", err);
}

/* ---- argmax ---------------------------------------------------------------------------- */

struct best {
	float value;
	int32_t index;
};

/* Of equals the lower index, whatever the order of comparisons. */
static __device__ __forceinline__ struct best better(struct best a, struct best b)
{
	return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

static __device__ __forceinline__ struct best warp_best(struct best mine)
{
	for (int step = WARP / 2; step > 0; step /= 2) {
		struct best other;

		other.value = __shfl_xor_sync(ALL_LANES, mine.value, step);
		other.index = __shfl_xor_sync(ALL_LANES, mine.index, step);
		mine = better(mine, other);
	}
	return mine;
}

static __global__ void argmax_kernel(const float *logits, int32_t *out, size_t n)
{
	__shared__ struct best of_warp[WARP];
	const float *row = logits + (size_t)blockIdx.x * n;
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	struct best mine = {-INFINITY, 0};
	int bad = 0;

	for (size_t j = threadIdx.x; j < n; j += blockDim.x) {
		const struct best here = {row[j], (int32_t)j};

		bad |= !isfinite(here.value);
		mine = better(mine, here);
	}
	mine = warp_best(mine);
	if (lane == 0)
		of_warp[warp] = mine;
	bad = __syncthreads_or(bad);
	if (warp > 0)
		return;
	if (lane >= (int)blockDim.x / WARP)
		mine.value = -INFINITY; /* a copy of warp 0's, with its index */
	else
		mine = of_warp[lane];
	mine = warp_best(mine);
	if (lane == 0)
		out[blockIdx.x] = bad ? -1 : mine.index;
}

extern "C" int cuda_argmax(struct device *dev, struct tensor logits, int32_t *out, struct err *err)
{
	if (logits.rows == 0)
		return 0;
	GPU_LAUNCH(argmax_kernel, (unsigned)logits.rows, threads_for(logits.cols, MOST_THREADS), 0,
		cuda_stream(dev), floats(logits), out, logits.cols);
	return cuda_launched(dev, "op argmax", err);
}

static __global__ void lead_kernel(const float *logits, const int32_t *token, float *out, size_t n)
{
	__shared__ float partial[WARP];
	const float *row = logits + (size_t)blockIdx.x * n;
	const size_t chosen = (size_t)token[blockIdx.x];
	float best = -INFINITY;

	for (size_t j = threadIdx.x; j < n; j += blockDim.x)
		if (j != chosen)
			best = fmaxf(best, row[j]);
	best = block_max(best, partial);
	if (threadIdx.x == 0)
		out[blockIdx.x] = row[chosen] - best;
}

extern "C" int cuda_lead(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	if (logits.rows == 0)
		return 0;
	GPU_LAUNCH(lead_kernel, (unsigned)logits.rows, threads_for(logits.cols, MOST_THREADS), 0,
		cuda_stream(dev), floats(logits), token, floats(out), logits.cols);
	return cuda_launched(dev, "op lead", err);
}

/* ---- log-probabilities ----------------------------------------------------------------- */

/* Every thread of the block receives log sum exp of the row. */
static __device__ float log_sum_exp(const float *row, size_t n, float *partial)
{
	float top = -INFINITY, sum = 0;

	for (size_t j = threadIdx.x; j < n; j += blockDim.x)
		top = fmaxf(top, row[j]);
	top = block_max(top, partial);
	for (size_t j = threadIdx.x; j < n; j += blockDim.x)
		sum += expf(row[j] - top);
	return top + logf(block_sum(sum, partial));
}

static __global__ void logprob_kernel(const float *logits, const int32_t *token, float *out,
	size_t n)
{
	__shared__ float partial[WARP];
	const float *row = logits + (size_t)blockIdx.x * n;
	const float lse = log_sum_exp(row, n, partial);

	if (threadIdx.x == 0)
		out[blockIdx.x] = row[token[blockIdx.x]] - lse;
}

extern "C" int cuda_token_logprob(struct device *dev, struct tensor logits, const int32_t *token,
	struct tensor out, struct err *err)
{
	if (logits.rows == 0)
		return 0;
	GPU_LAUNCH(logprob_kernel, (unsigned)logits.rows, threads_for(logits.cols, MOST_THREADS), 0,
		cuda_stream(dev), floats(logits), token, floats(out), logits.cols);
	return cuda_launched(dev, "op token_logprob", err);
}

static __global__ void kl_kernel(const float *p, const float *q, float *out, size_t n)
{
	__shared__ float partial[WARP];
	const float *a = p + (size_t)blockIdx.x * n, *b = q + (size_t)blockIdx.x * n;
	const float log_p = log_sum_exp(a, n, partial), log_q = log_sum_exp(b, n, partial);
	float sum = 0;

	for (size_t j = threadIdx.x; j < n; j += blockDim.x) {
		const float log_a = a[j] - log_p, log_b = b[j] - log_q;

		sum += expf(log_a) * (log_a - log_b);
	}
	sum = block_sum(sum, partial);
	if (threadIdx.x == 0)
		out[blockIdx.x] = sum;
}

extern "C" int cuda_kl(struct device *dev, struct tensor p, struct tensor q, struct tensor out,
	struct err *err)
{
	if (p.rows == 0)
		return 0;
	GPU_LAUNCH(kl_kernel, (unsigned)p.rows, threads_for(p.cols, MOST_THREADS), 0,
		cuda_stream(dev), floats(p), floats(q), floats(out), p.cols);
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
		out[i] = cap != 0 ? cap * tanhf(z / cap) : z;
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
