/* SPDX-License-Identifier: MIT
 *
 * sae_stream.cu - encoding a few rows in one pass over a bfloat16 encoder. Contract: sae.cuh.
 * Called by sae.cu; tests: tests/test_ops.c, "sae" cases of few rows.
 *
 *   product[t, i] = W_enc_t[i] . x[t],   mark (t, i) where feature i is active
 *
 * 2 n d_sae d_model operations on 2 d_sae d_model bytes: with 32 rows of 65536 features and
 * d_model 2304, 9.7 GFLOP in 302 MB. The time is that of reading the encoder, 90 us at 3.35 TB/s
 * (H100) or 63 at 4.8 (H200), until some 100 rows; tensor cores by mma.sync stay hidden behind it
 * (20 us). Products are written at the active features only. Share of the limit: not yet measured.
 *
 * A block has STREAM_FEATURES features, 32 to a warp as the rows of two tiles of A, so that what it
 * reads of x serves both; the rows of x, 8 to a tile, are the columns of B. Both pass through
 * shared memory, DEPTH values at a time, STAGES in flight. Rows of x beyond n and features beyond
 * the last are zeros and never marked.
 *
 * Deterministic: every product is one warp's sum in one order; every word of marks has one writer.
 */
#include "kernels/cuda/sae.cuh"

#include "kernels/cuda/primitives.cuh"

enum {
	BLOCK = STREAM_FEATURES / 32 * WARP,
	DEPTH = 64, /* values of d_model per stage */
	STAGES = 3,
	PIECES = DEPTH / 8 /* of 16 bytes, in a row of a stage */
};

/* One pass: what every function below needs. */
struct stream {
	const struct bf16 *x, *W;
	int n_rows;
	size_t n_feature, d;
};

/* Where a piece of a row lies in it: 8 rows' pieces of one number miss each other's banks. */
static __device__ __forceinline__ int place_in_row(int row, int piece)
{
	return (piece ^ row % PIECES) * 8;
}

/* Starts the copies of stage number `step` of ROWS of the n rows of `from`, `first` and up. */
template <int ROWS>
static __device__ __forceinline__ void load_rows(struct bf16 *to, const struct bf16 *from,
	size_t first, size_t n, size_t d, size_t step)
{
	const int piece = (int)threadIdx.x % PIECES;
	const size_t column = step * DEPTH + (size_t)piece * 8;

#pragma unroll
	for (int row = (int)threadIdx.x / PIECES; row < ROWS; row += BLOCK / PIECES) {
		const bool valid = column < d && first + row < n;

		cp_async_16(to + row * DEPTH + place_in_row(row, piece),
			valid ? from + (first + row) * d + column : from, valid);
	}
}

/* STREAM_FEATURES rows of W, then ROWS of x. */
template <int ROWS>
static __device__ __forceinline__ void load_stage(struct stream s, struct bf16 *stage, int step)
{
	load_rows<STREAM_FEATURES>(stage, s.W, (size_t)blockIdx.x * STREAM_FEATURES, s.n_feature,
		s.d, (size_t)step);
	load_rows<ROWS>(stage + STREAM_FEATURES * DEPTH, s.x, 0, (size_t)s.n_rows, s.d,
		(size_t)step);
}

/* Lane 4g + c brings bit g of column c's byte: the byte of this lane's column. */
static __device__ __forceinline__ uint32_t column_byte(uint32_t votes, int column)
{
	votes = votes >> column & 0x11111111u;
	votes = (votes | votes >> 3) & 0x03030303u;
	votes = (votes | votes >> 6) & 0x000f000fu;
	return (votes | votes >> 12) & 0xffu;
}

/* Marks and products of the warp's 32 features in two neighbouring rows of x per lane, from the
 * sums of the lower 16 and of the upper. */
static __device__ __forceinline__ void finish_tile(struct stream s, struct gates gates, int tile,
	const float lower[4], const float upper[4], float *products, uint32_t *marks,
	size_t n_words, int32_t *lengths)
{
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const size_t first = (size_t)blockIdx.x * STREAM_FEATURES + (size_t)warp * 32;
	const float *const sums[] = {lower, upper};

#pragma unroll
	for (int q = 0; q < 2; q++) {
		const int row = tile * 8 + lane % 4 * 2 + q;
		const float factor = row < s.n_rows ? row_factor(gates, (size_t)row) : 0;
		uint32_t bits = 0;

#pragma unroll
		for (int part = 0; part < 4; part++) {
			const size_t feature = first + (size_t)part * 8 + (size_t)(lane / 4);
			const float product = sums[part / 2][part % 2 * 2 + q];
			const bool on = row < s.n_rows && feature < s.n_feature &&
					is_active(gates, feature,
						margin_at(gates, feature, product, factor));

			bits |= column_byte(__ballot_sync(ALL_LANES, on), lane % 4) << part * 8;
			if (on)
				products[(size_t)row * s.n_feature + feature] = product;
		}
		if (lane < 4 && row < s.n_rows) {
			marks[(size_t)row * n_words + first / 32] = bits;
			if (bits != 0)
				atomicAdd(&lengths[row], __popc(bits));
		}
	}
}

/* TILES: of 8 rows of x, an even number. */
template <int TILES>
static __global__ void __launch_bounds__(BLOCK) stream_kernel(struct stream s, struct gates gates,
	float *products, uint32_t *marks, size_t n_words, int32_t *lengths)
{
	GPU_DYNAMIC_SHARED(struct bf16, shared);
	constexpr int ROWS = TILES * 8, STAGE = (STREAM_FEATURES + ROWS) * DEPTH;
	const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
	const int n_steps = (int)((s.d + DEPTH - 1) / DEPTH);
	/* The rows at which this lane points ldmatrix: of W as A, of x as two tiles of B. */
	const int row_a = (warp * 32 + lane % 16) * DEPTH;
	const int row_b = (STREAM_FEATURES + lane % 8 + lane / 16 * 8) * DEPTH;
	float lower[TILES][4] = {}, upper[TILES][4] = {};

	for (int step = 0; step < STAGES - 1; step++) {
		if (step < n_steps)
			load_stage<ROWS>(s, shared + step * STAGE, step);
		cp_async_commit();
	}
	for (int step = 0; step < n_steps; step++) {
		const struct bf16 *stage = shared + step % STAGES * STAGE;
		const int next = step + STAGES - 1;

		cp_async_wait<STAGES - 2>();
		__syncthreads(); /* the stage is complete, and the one before it free again */
		if (next < n_steps)
			load_stage<ROWS>(s, shared + next % STAGES * STAGE, next);
		cp_async_commit();
#pragma unroll
		for (int piece = 0; piece < PIECES; piece += 2) {
			const struct bf16 *at_a = stage + row_a +
						  place_in_row(lane, piece + lane / 16);
			const struct bf16 *at_b = stage + row_b +
						  place_in_row(lane, piece + lane / 8 % 2);
			uint32_t a[2][4];

			ldmatrix_x4(a[0], at_a);
			ldmatrix_x4(a[1], at_a + 16 * DEPTH);
#pragma unroll
			for (int t = 0; t < TILES; t += 2) {
				uint32_t b[4];

				ldmatrix_x4(b, at_b + t * 8 * DEPTH);
				mma_bf16(lower[t], a[0], b);
				mma_bf16(lower[t + 1], a[0], b + 2);
				mma_bf16(upper[t], a[1], b);
				mma_bf16(upper[t + 1], a[1], b + 2);
			}
		}
	}
#pragma unroll
	for (int t = 0; t < TILES; t++)
		finish_tile(s, gates, t, lower[t], upper[t], products, marks, n_words, lengths);
}

bool sae_can_stream(const struct device *dev, size_t n, struct tensor W_enc_t)
{
	/* On an invariant device all rows take the library's way. */
	return !cuda_exact(dev) && !dev->invariant && W_enc_t.dtype == DTYPE_BF16 &&
	       n <= STREAM_ROWS && W_enc_t.cols % 8 == 0 && (uintptr_t)W_enc_t.data % 16 == 0;
}

template <int TILES>
static int start(struct device *dev, struct stream s, struct gates gates, float *products,
	uint32_t *marks, int32_t *lengths, struct err *err)
{
	constexpr size_t bytes = STAGES * (STREAM_FEATURES + TILES * 8) * DEPTH *
				 sizeof(struct bf16);

	static_assert(bytes <= LEAST_SHARED, "some cards have no room for so many rows");
	TRY(cuda_check(GPU_ALLOW_SHARED(stream_kernel<TILES>, bytes), "op sae_encode",
		"cudaFuncSetAttribute", err));
	GPU_LAUNCH(stream_kernel<TILES>, blocks_for(s.n_feature, STREAM_FEATURES), BLOCK, bytes,
		cuda_stream(dev), s, gates, products, marks, mark_words(s.n_feature), lengths);
	return 0;
fail:
	return err->code;
}

int sae_stream(struct device *dev, const void *x16, size_t n, struct tensor W_enc_t,
	struct gates gates, float *products, uint32_t *marks, int32_t *lengths, struct err *err)
{
	const struct stream s = {(const struct bf16 *)x16, (const struct bf16 *)W_enc_t.data,
		(int)n, W_enc_t.rows, W_enc_t.cols};

	if (n <= 16)
		return start<2>(dev, s, gates, products, marks, lengths, err);
	if (n <= 32)
		return start<4>(dev, s, gates, products, marks, lengths, err);
	if (n <= 64)
		return start<8>(dev, s, gates, products, marks, lengths, err);
	return start<STREAM_ROWS / 8>(dev, s, gates, products, marks, lengths, err);
}
