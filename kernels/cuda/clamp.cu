/* SPDX-License-Identifier: MIT
 *
 * clamp.cu - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += s sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   s and every f_e of the old x
 *
 * One launch a layer, one block a row; a list of n features costs 4 n d FLOPs and reads 2 n d
 * weights, which rows of the same list share through L2. The encoder's input u lies in shared
 * memory. In rounds of ENTRIES: each warp takes entries of the list, whose dots with u give their
 * deltas (or reads the features it is given); then each thread adds the deltas to the columns it
 * owns, in the order of the list, in shared memory. x itself is written once, at the end, so every
 * f is of the row as it was, however long the list, and results repeat bit for bit. The list's
 * length is read on the device: a recorded launch stays right when lists change.
 * Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/gpu.cuh"

enum { THREADS = 512, WARPS = THREADS / WARP, ENTRIES = 256 };

/* Everything but the two matrices. */
struct clamp_call {
	const float *b_enc, *threshold, *gain, *shift; /* the last two NULL unless gated */
	enum sae_input input;
	struct clamp_lists lists;
	const int32_t *seq;
	const float *f; /* [rows, n_few] or NULL */
	size_t n_few;
	float *x;
	size_t d;
};

/* __shared__ variables want functions that are no templates. */
static __device__ __forceinline__ float *shared_deltas(void)
{
	__shared__ float deltas[ENTRIES];

	return deltas;
}

static __device__ __forceinline__ float *shared_partial(void)
{
	__shared__ float partial[WARP];

	return partial;
}

/* Writes the encoder's input, of which each thread owns columns, and returns s. */
static __device__ float encoder_input(enum sae_input input, const float *row, float *u, size_t d)
{
	float *partial = shared_partial();
	float mean = 0, sum = 0, s = 1, divisor = 1;

	if (input == SAE_INPUT_STANDARDIZED) {
		for (size_t j = threadIdx.x; j < d; j += THREADS)
			mean += row[j];
		mean = block_sum(mean, partial) / (float)d;
	}
	if (input != SAE_INPUT_RAW) {
		for (size_t j = threadIdx.x; j < d; j += THREADS)
			sum += (row[j] - mean) * (row[j] - mean);
		sum = block_sum(sum, partial);
	}
	if (input == SAE_INPUT_SPHERE) {
		s = sqrtf(sum / (float)d);
		divisor = s > 0 ? s : 1.0f;
	} else if (input == SAE_INPUT_STANDARDIZED) {
		s = sqrtf(sum / (float)(d - 1));
		divisor = s + 1e-5f;
	}
	for (size_t j = threadIdx.x; j < d; j += THREADS)
		u[j] = (row[j] - mean) / divisor;
	return s;
}

static __device__ __forceinline__ float feature_of(const struct clamp_call *c, size_t slot,
	float dot)
{
	const float pre = dot + c->b_enc[slot];

	if (!(pre > c->threshold[slot]))
		return 0;
	return c->gain ? fmaxf(c->gain[slot] * pre + c->shift[slot], 0.0f) : pre;
}

template <class E, class D>
static __global__ void clamp_kernel(const E *W_enc_t, const D *W_dec, const struct clamp_call c)
{
	GPU_DYNAMIC_SHARED(float, change); /* [d]: what is added to the row, over s; then u [d] */
	float *u = change + c.d, *delta = shared_deltas();
	const struct clamp_lists *lists = &c.lists;
	const size_t list = lists->n_lists == 1 ? 0 : (size_t)c.seq[blockIdx.x];
	const int32_t start = lists->start[list], end = lists->start[list + 1];
	float *row = c.x + (size_t)blockIdx.x * c.d;
	const float s = encoder_input(c.input, row, u, c.d);

	for (size_t j = threadIdx.x; j < c.d; j += THREADS)
		change[j] = 0;
	__syncthreads();
	for (int32_t first = start; first < end; first += ENTRIES) {
		const int32_t n = min(end - first, ENTRIES);

		for (int32_t e = (int32_t)threadIdx.x / WARP; e < n; e += WARPS) {
			const size_t slot = (size_t)lists->slot[first + e];
			const float f = c.f ? c.f[(size_t)blockIdx.x * c.n_few + slot]
					    : feature_of(&c, slot,
						      warp_dot(u, W_enc_t + slot * c.d, c.d));

			if (threadIdx.x % WARP == 0)
				delta[e] = lists->scale[first + e] * f + lists->offset[first + e] -
					   f;
		}
		__syncthreads();
		for (size_t j = threadIdx.x; j < c.d; j += THREADS) {
			float sum = change[j];

			for (int32_t e = 0; e < n; e++)
				sum += delta[e] *
				       to_float(W_dec[(size_t)lists->slot[first + e] * c.d + j]);
			change[j] = sum;
		}
		__syncthreads();
	}
	for (size_t j = threadIdx.x; j < c.d; j += THREADS)
		row[j] += s * change[j];
}

extern "C" int cuda_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor f, struct tensor x,
	struct err *err)
{
	const size_t shared_bytes = 2 * x.cols * sizeof(float);
	const size_t fixed_bytes = (ENTRIES + WARP) * sizeof(float);
	const struct clamp_call call = {floats(few->b_enc), floats(few->threshold),
		floats(few->gain), floats(few->shift), few->input, *lists, rows.seq, floats(f),
		few->W_enc_t.rows, floats(x), x.cols};

	if (tensor_count(x) == 0)
		return 0;
	if (shared_bytes + fixed_bytes > cuda_state_of(dev)->most_shared)
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %zu, found %zu",
			(cuda_state_of(dev)->most_shared - fixed_bytes) / (2 * sizeof(float)),
			x.cols);
	GPU_WITH_TYPE(few->W_enc_t.dtype, E, GPU_WITH_TYPE(few->W_dec.dtype, D, {
		if (cuda_check(GPU_ALLOW_SHARED((clamp_kernel<E, D>), shared_bytes),
			    "op clamp_features", "shared memory", err))
			return err->code;
		GPU_LAUNCH((clamp_kernel<E, D>), (unsigned)rows.n, THREADS, shared_bytes,
			cuda_stream(dev), (const E *)few->W_enc_t.data, (const D *)few->W_dec.data,
			call);
	}));
	return cuda_launched(dev, "op clamp_features", err);
}
