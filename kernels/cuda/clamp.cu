/* SPDX-License-Identifier: MIT
 *
 * clamp.cu - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += s sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   s and every f_e of the old x
 *
 * One launch a layer, one block a row; a list of n features costs 4 n d FLOPs and reads 2 n d
 * weights, which rows of the same list share through L2. In rounds of ENTRIES: each warp takes
 * entries of the list, whose dots with x give their deltas; then each thread adds the deltas to the
 * columns it owns, in the order of the list, in shared memory. x itself is written once, at the
 * end, so every f is read from the row as it was, however long the list, and results repeat bit for
 * bit. The list's length is read on the device: a recorded launch stays right when lists change.
 * Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/sae.cuh"

enum { THREADS = 512, WARPS = THREADS / WARP, ENTRIES = 256 };

/* __shared__ variables want a function that is no template. */
static __device__ __forceinline__ float *shared_deltas(void)
{
	__shared__ float deltas[ENTRIES];

	return deltas;
}

static __device__ __forceinline__ float *shared_partial_sums(void)
{
	__shared__ float partial[WARP];

	return partial;
}

/* (x - mean) . w, by a warp. */
template <class E>
static __device__ __forceinline__ float centered_dot(
	const float *x, float mean, const E *w, size_t d)
{
	float sum = 0;

	if (mean == 0)
		return warp_dot(x, w, d);
	for (size_t j = threadIdx.x % WARP; j < d; j += WARP)
		sum += (x[j] - mean) * to_float(w[j]);
	return warp_sum(sum);
}

/* f: the features of every row, [rows, n_few], or NULL. */
template <class E, class D>
static __global__ void clamp_kernel(const E *W_enc_t, const D *W_dec, struct gates gates,
	enum sae_input kind, struct clamp_lists lists, const int32_t *seq, const float *f,
	size_t n_few, float *x, size_t d)
{
	GPU_DYNAMIC_SHARED(float, change); /* [d]: what is added to the row */
	float *delta = shared_deltas();
	const size_t list = lists.n_lists == 1 ? 0 : (size_t)seq[blockIdx.x];
	const int32_t start = lists.start[list], end = lists.start[list + 1];
	float *row = x + (size_t)blockIdx.x * d;
	const struct row_input in = row_input_of(kind, row, d, shared_partial_sums());

	for (size_t j = threadIdx.x; j < d; j += THREADS)
		change[j] = 0;
	for (int32_t first = start; first < end; first += ENTRIES) {
		const int32_t n = min(end - first, ENTRIES);

		for (int32_t e = (int32_t)threadIdx.x / WARP; e < n; e += WARPS) {
			const size_t slot = (size_t)lists.slot[first + e];
			const float now = f ? f[blockIdx.x * n_few + slot]
					    : gate(gates, slot,
						      in.inverse * centered_dot(row, in.mean,
									   W_enc_t + slot * d, d));

			if (threadIdx.x % WARP == 0)
				delta[e] = in.s * (lists.scale[first + e] * now +
							  lists.offset[first + e] - now);
		}
		__syncthreads();
		for (size_t j = threadIdx.x; j < d; j += THREADS) {
			float sum = change[j];

			for (int32_t e = 0; e < n; e++)
				sum += delta[e] *
				       to_float(W_dec[(size_t)lists.slot[first + e] * d + j]);
			change[j] = sum;
		}
		__syncthreads();
	}
	for (size_t j = threadIdx.x; j < d; j += THREADS)
		row[j] += change[j];
}

extern "C" int cuda_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor f, struct tensor x,
	struct err *err)
{
	const size_t shared_bytes = x.cols * sizeof(float);

	if (tensor_count(x) == 0)
		return 0;
	if (shared_bytes > cuda_state_of(dev)->most_shared - (ENTRIES + WARP) * sizeof(float))
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %zu, found %zu",
			cuda_state_of(dev)->most_shared / sizeof(float) - ENTRIES - WARP, x.cols);
	GPU_WITH_TYPE(few->W_enc_t.dtype, E, GPU_WITH_TYPE(few->W_dec.dtype, D, {
		if (cuda_check(GPU_ALLOW_SHARED((clamp_kernel<E, D>), shared_bytes),
			    "op clamp_features", "shared memory", err))
			return err->code;
		GPU_LAUNCH((clamp_kernel<E, D>), (unsigned)rows.n, THREADS, shared_bytes,
			cuda_stream(dev), (const E *)few->W_enc_t.data, (const D *)few->W_dec.data,
			gates_of(few, NULL), few->input, *lists, rows.seq, floats(f),
			few->W_enc_t.rows, floats(x), x.cols);
	}));
	return cuda_launched(dev, "op clamp_features", err);
}
