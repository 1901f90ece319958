/* SPDX-License-Identifier: MIT
 *
 * clamp.cu - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   every f_e read from the old x
 *
 * One launch a layer, one block a row; a list of n features costs 4 n d FLOPs and reads 2 n d
 * weights, which rows of the same list share through L2. In rounds of ENTRIES: each warp takes
 * entries of the list, whose dots with x give their deltas; then each thread adds the deltas to the
 * columns it owns, in the order of the list, in shared memory. x itself is written once, at the
 * end, so every f is read from the row as it was, however long the list, and results repeat bit for
 * bit. The list's length is read on the device: a recorded launch stays right when lists change.
 * Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 512, WARPS = THREADS / WARP, ENTRIES = 256 };

/* __shared__ variables want a function that is no template. */
static __device__ __forceinline__ float *shared_deltas(void)
{
	__shared__ float deltas[ENTRIES];

	return deltas;
}

template <class E, class D>
static __global__ void clamp_kernel(const E *W_enc_t, const D *W_dec, const float *b_enc,
	const float *threshold, struct clamp_lists lists, const int32_t *seq, float *x, size_t d)
{
	GPU_DYNAMIC_SHARED(float, change); /* [d]: what is added to the row */
	float *delta = shared_deltas();
	const size_t list = lists.n_lists == 1 ? 0 : (size_t)seq[blockIdx.x];
	const int32_t start = lists.start[list], end = lists.start[list + 1];
	float *row = x + (size_t)blockIdx.x * d;

	for (size_t j = threadIdx.x; j < d; j += THREADS)
		change[j] = 0;
	for (int32_t first = start; first < end; first += ENTRIES) {
		const int32_t n = min(end - first, ENTRIES);

		for (int32_t e = (int32_t)threadIdx.x / WARP; e < n; e += WARPS) {
			const size_t slot = (size_t)lists.slot[first + e];
			const float pre = warp_dot(row, W_enc_t + slot * d, d) + b_enc[slot];
			const float f = pre > threshold[slot] ? pre : 0.0f;

			if (threadIdx.x % WARP == 0)
				delta[e] = lists.scale[first + e] * f + lists.offset[first + e] - f;
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
	const struct clamp_lists *lists, struct rows rows, struct tensor x, struct err *err)
{
	const size_t shared_bytes = x.cols * sizeof(float);

	if (tensor_count(x) == 0)
		return 0;
	if (shared_bytes > cuda_state_of(dev)->most_shared - ENTRIES * sizeof(float))
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %zu, found %zu",
			cuda_state_of(dev)->most_shared / sizeof(float) - ENTRIES, x.cols);
	GPU_WITH_TYPE(few->W_enc_t.dtype, E, GPU_WITH_TYPE(few->W_dec.dtype, D, {
		if (cuda_check(GPU_ALLOW_SHARED((clamp_kernel<E, D>), shared_bytes),
			    "op clamp_features", "shared memory", err))
			return err->code;
		GPU_LAUNCH((clamp_kernel<E, D>), (unsigned)rows.n, THREADS, shared_bytes,
			cuda_stream(dev), (const E *)few->W_enc_t.data, (const D *)few->W_dec.data,
			floats(few->b_enc), floats(few->threshold), *lists, rows.seq, floats(x),
			x.cols);
	}));
	return cuda_launched(dev, "op clamp_features", err);
}
