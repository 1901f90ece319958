/* SPDX-License-Identifier: MIT
 *
 * clamp.cu - holding chosen SAE features at new values. Contract: ops.h.
 * Definition: kernels/ref/clamp.c.
 *
 *   x += s sum_e (scale_e f_e + offset_e - f_e) W_dec[slot_e],   s and every f_e of the old x
 *
 * One launch a layer, one block a row; a list of n features costs 4 n d FLOPs and reads 2 n d
 * weights, which rows of the same list share through L2. Lists of a layer are mostly short, one or
 * two features, so the time is that of loads which wait for each other: start, slot, W_enc. The
 * others run beside these; rows of W_dec that come first are asked for before the deltas are known.
 *
 * The encoder's input u lies in shared memory. In rounds of ENTRIES: as many warps as a short list
 * leaves for each share an entry's dot with u, whose pieces the thread of the entry joins in order
 * into its delta (or that thread reads the feature it is given); then each thread adds the deltas
 * to the columns it owns, in the order of the list. Between rounds these sums wait in shared
 * memory; x is written once, at the end, so every f is of the row as it was, however long the list,
 * and results repeat bit for bit. The list's length is read on the device: a recorded launch stays
 * right when lists change. Loads are of 16 bytes where d is a multiple of 8.
 * Share of the limit reached: not yet measured.
 */
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/sae.cuh"

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

/* What a round's entries have in shared memory. */
struct round {
	float piece[ENTRIES]; /* of dots: those of an entry are neighbours */
	float delta[ENTRIES];
	int32_t slot[ENTRIES];
};

/* __shared__ variables want functions that are no templates. */
static __device__ __forceinline__ struct round *shared_round(void)
{
	__shared__ struct round round;

	return &round;
}

/* What is read of a row at once: 16 bytes, or one element. As it came until it is used: elements of
 * 16 bits would take a register each. */
template <class T, bool WIDE> struct held {
	uint4 bits;
};

template <class T> struct held<T, false> {
	T element;
};

template <class T, bool WIDE> static constexpr __host__ __device__ int width_of(void)
{
	return WIDE ? 16 / (int)sizeof(T) : 1;
}

template <class T, bool WIDE>
static __device__ __forceinline__ held<T, WIDE> load_held(const T *from)
{
	return *(const held<T, WIDE> *)from;
}

template <class T>
static __device__ __forceinline__ void unpack(const held<T, false> &held, float to[1])
{
	to[0] = to_float(held.element);
}

static __device__ __forceinline__ void unpack(const held<float, true> &held, float to[4])
{
	to[0] = __uint_as_float(held.bits.x);
	to[1] = __uint_as_float(held.bits.y);
	to[2] = __uint_as_float(held.bits.z);
	to[3] = __uint_as_float(held.bits.w);
}

template <class T>
static __device__ __forceinline__ void unpack(const held<T, true> &held, float to[8])
{
	const unsigned pair[4] = {held.bits.x, held.bits.y, held.bits.z, held.bits.w};

#pragma unroll
	for (int i = 0; i < 8; i++) {
		T t;

		t.bits = (uint16_t)(pair[i / 2] >> i % 2 * 16);
		to[i] = to_float(t);
	}
}

/* V floats of shared or global memory: fours, or one. */
template <int V> static __device__ __forceinline__ void load_floats(const float *from, float to[V])
{
	constexpr int STEP = V < 4 ? 1 : 4;

#pragma unroll
	for (int i = 0; i < V; i += STEP)
		load_pack<STEP>(from + i, to + i);
}

template <int V> static __device__ __forceinline__ void store_floats(float *to, const float from[V])
{
	constexpr int STEP = V < 4 ? 1 : 4;

#pragma unroll
	for (int i = 0; i < V; i += STEP) {
		struct pack<float, STEP> p;

#pragma unroll
		for (int k = 0; k < STEP; k++)
			p.element[k] = from[i + k];
		*(struct pack<float, STEP> *)(to + i) = p;
	}
}

/* ---- the encoder's input --------------------------------------------------------------- */

/* Writes it, of which each thread owns columns, and returns s. */
template <bool WIDE>
static __device__ float encoder_input(enum sae_input input, const float *row, float *u, size_t d)
{
	constexpr int V = width_of<float, WIDE>();
	const size_t first = threadIdx.x * V, step = THREADS * V;
	float *partial = shared_partial();
	float here[V], mean = 0, sum = 0, s, divisor;

	for (size_t j = first; j < d; j += step) {
		load_floats<V>(row + j, here);
		store_floats<V>(u + j, here);
		for (int k = 0; k < V; k++)
			mean += here[k];
	}
	if (input == SAE_INPUT_RAW)
		return 1;
	mean = input == SAE_INPUT_STANDARDIZED ? block_sum(mean, partial) / (float)d : 0;
	for (size_t j = first; j < d; j += step) {
		load_floats<V>(u + j, here);
		for (int k = 0; k < V; k++)
			sum += (here[k] - mean) * (here[k] - mean);
	}
	sum = block_sum(sum, partial);
	if (input == SAE_INPUT_SPHERE) {
		s = sqrtf(sum / (float)d);
		divisor = s > 0 ? s : 1.0f;
	} else {
		s = sqrtf(sum / (float)(d - 1));
		divisor = s + 1e-5f;
	}
	for (size_t j = first; j < d; j += step) {
		load_floats<V>(u + j, here);
		for (int k = 0; k < V; k++)
			here[k] = (here[k] - mean) / divisor;
		store_floats<V>(u + j, here);
	}
	return s;
}

/* ---- deltas ---------------------------------------------------------------------------- */

/* How many pieces the dots of a round of n entries come in: of the powers of two the largest that
 * gives no warp more than one, or 1. */
static __device__ __forceinline__ int pieces_of(int n)
{
	int pieces = 1;

	while (2 * pieces * n <= WARPS)
		pieces *= 2;
	return pieces;
}

/* Piece `piece` of `pieces` of u . w, of a whole warp; every lane receives it. Several loads of a
 * lane are on their way at once. */
template <class E, bool WIDE>
static __device__ __forceinline__ float dot_piece(const float *u, const E *w, int d, int piece,
	int pieces)
{
	constexpr int V = width_of<E, WIDE>(), AHEAD = 4;
	const int step = pieces * WARP * V;
	float sum = 0;

	for (int j = (piece * WARP + (int)threadIdx.x % WARP) * V; j < d; j += AHEAD * step) {
		held<E, WIDE> here[AHEAD];

#pragma unroll
		for (int i = 0; i < AHEAD; i++)
			if (j + i * step < d)
				here[i] = load_held<E, WIDE>(w + j + i * step);
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			float x[V], y[V];

			if (j + i * step >= d)
				break;
			load_floats<V>(u + j + i * step, x);
			unpack(here[i], y);
#pragma unroll
			for (int k = 0; k < V; k++)
				sum += x[k] * y[k];
		}
	}
	return warp_sum(sum);
}

/* What the thread of an entry knows of it before its dot. */
struct entry {
	int32_t slot;
	float scale, offset, bias, threshold, gain, shift; /* bias: joined */
	float f;                                           /* if it is given */
};

static __device__ __forceinline__ struct entry load_entry(const struct clamp_call &c, int32_t e)
{
	const int32_t slot = c.lists.slot[e];
	struct entry r = {slot, c.lists.scale[e], c.lists.offset[e], 0, 0, 0, 0, 0};

	if (c.f) {
		r.f = c.f[blockIdx.x * c.n_few + (size_t)slot];
		return r;
	}
	r.threshold = c.threshold[slot];
	r.bias = joined_bias(c.b_enc[slot], r.threshold);
	if (c.gain) {
		r.gain = c.gain[slot];
		r.shift = c.shift[slot];
	}
	return r;
}

static __device__ __forceinline__ float feature_of(const struct clamp_call &c,
	const struct entry &entry, float dot)
{
	const float margin = margin_of(dot, 1, entry.bias);

	if (c.f)
		return entry.f;
	return margin > 0 ? behind_gate(margin, entry.threshold, c.gain != NULL, entry.gain,
				    entry.shift)
			  : 0;
}

/* Fills delta and slot of entries [first, first + n) of the lists. Two barriers, of which the last
 * comes at the end. */
template <class E, bool WIDE>
static __device__ void find_deltas(const E *W_enc_t, const struct clamp_call &c, const float *u,
	int32_t first, int n, struct round *round)
{
	const int pieces = c.f ? 0 : pieces_of(n), me = (int)threadIdx.x, warp = me / WARP;
	struct entry mine = {0, 0, 0, 0, 0, 0, 0, 0};
	float dot = 0, f;

	if (me < n)
		mine = load_entry(c, first + me);
	for (int i = warp; i < n * pieces; i += WARPS) {
		const size_t slot = (size_t)c.lists.slot[first + i / pieces];
		const float piece = dot_piece<E, WIDE>(u, W_enc_t + slot * c.d, (int)c.d,
			i % pieces, pieces);

		if (me % WARP == 0)
			round->piece[i] = piece;
	}
	__syncthreads();
	if (me < n) {
		for (int i = me * pieces; i < (me + 1) * pieces; i++)
			dot += round->piece[i];
		f = feature_of(c, mine, dot);
		round->delta[me] = mine.scale * f + mine.offset - f;
		round->slot[me] = mine.slot;
	}
	__syncthreads();
}

/* ---- the sum --------------------------------------------------------------------------- */

/* A thread's columns of so many rows of W_dec are on their way at once. */
enum { ROWS = 4 };

/* From column j on, of the first n rows that `slot` names, at most ROWS. */
template <class D, bool WIDE>
static __device__ __forceinline__ void load_rows(const D *W_dec, const int32_t *slot, int n,
	size_t d, size_t j, held<D, WIDE> rows[ROWS])
{
#pragma unroll
	for (int e = 0; e < ROWS; e++)
		if (e < n && j < d)
			rows[e] = load_held<D, WIDE>(W_dec + (size_t)slot[e] * d + j);
}

template <class D, bool WIDE>
static __device__ __forceinline__ void add_rows(float *sum, const float *delta, int n,
	const held<D, WIDE> rows[ROWS])
{
	constexpr int V = width_of<D, WIDE>();

#pragma unroll
	for (int e = 0; e < ROWS; e++) {
		float here[V];

		if (e >= n)
			break;
		unpack(rows[e], here);
#pragma unroll
		for (int k = 0; k < V; k++)
			sum[k] += delta[e] * here[k];
	}
}

static __device__ __forceinline__ void load_slots(const struct clamp_call &c, int32_t first, int n,
	int32_t slot[ROWS])
{
#pragma unroll
	for (int e = 0; e < ROWS; e++)
		slot[e] = e < n ? c.lists.slot[first + e] : 0;
}

/* change: what is added to the row, over s; from round to round in shared memory. */
template <class E, class D, bool WIDE>
static __global__ void __launch_bounds__(THREADS, 2)
	clamp_kernel(const E *W_enc_t, const D *W_dec, const struct clamp_call c)
{
	GPU_DYNAMIC_SHARED(float, change); /* [d], then u [d] */
	constexpr int V = width_of<D, WIDE>();
	const size_t mine = threadIdx.x * V; /* my first column */
	float *u = change + c.d, *row = c.x + blockIdx.x * c.d, s;
	struct round *round = shared_round();
	const size_t list = c.lists.n_lists == 1 ? 0 : (size_t)c.seq[blockIdx.x];
	const int32_t start = c.lists.start[list], end = c.lists.start[list + 1];
	held<D, WIDE> rows[ROWS];
	int32_t slot[ROWS];

	if (start == end)
		return;
	load_slots(c, start, end - start, slot); /* on their way while the row is read */
	s = encoder_input<WIDE>(c.input, row, u, c.d);
	__syncthreads();
	for (int32_t first = start; first < end; first += ENTRIES) {
		const int n = min(end - first, (int32_t)ENTRIES);

		if (first > start)
			load_slots(c, first, n, slot);
		load_rows<D, WIDE>(W_dec, slot, n, c.d, mine,
			rows); /* while the deltas are found */
		find_deltas<E, WIDE>(W_enc_t, c, u, first, n, round);
		for (size_t j = mine; j < c.d; j += THREADS * V) {
			float sum[V] = {}, x[V];

			if (first > start)
				load_floats<V>(change + j, sum);
			for (int e = 0; e < n; e += ROWS) {
				if (e > 0 || j > mine)
					load_rows<D, WIDE>(W_dec, round->slot + e, n - e, c.d, j,
						rows);
				add_rows<D, WIDE>(sum, round->delta + e, n - e, rows);
			}
			if (first + n < end) {
				store_floats<V>(change + j, sum);
				continue;
			}
			load_floats<V>(row + j, x);
			for (int k = 0; k < V; k++)
				x[k] += s * sum[k];
			store_floats<V>(row + j, x);
		}
	}
}

static bool is_wide(const struct sae_weights *few, struct tensor x)
{
	return x.cols % 8 == 0 && (uintptr_t)x.data % 16 == 0 &&
	       (uintptr_t)few->W_enc_t.data % 16 == 0 && (uintptr_t)few->W_dec.data % 16 == 0;
}

template <class E, class D, bool WIDE>
static int start(struct device *dev, const struct sae_weights *few, size_t n,
	const struct clamp_call &call, size_t shared_bytes, struct err *err)
{
	if (cuda_check(GPU_ALLOW_SHARED((clamp_kernel<E, D, WIDE>), shared_bytes),
		    "op clamp_features", "shared memory", err))
		return err->code;
	GPU_LAUNCH((clamp_kernel<E, D, WIDE>), (unsigned)n, THREADS, shared_bytes, cuda_stream(dev),
		(const E *)few->W_enc_t.data, (const D *)few->W_dec.data, call);
	return cuda_launched(dev, "op clamp_features", err);
}

extern "C" int cuda_clamp_features(struct device *dev, const struct sae_weights *few,
	const struct clamp_lists *lists, struct rows rows, struct tensor f, struct tensor x,
	struct err *err)
{
	const size_t bytes = 2 * x.cols * sizeof(float);
	const size_t fixed_bytes = sizeof(struct round) + WARP * sizeof(float);
	const struct clamp_call call = {floats(few->b_enc), floats(few->threshold),
		floats(few->gain), floats(few->shift), few->input, *lists, rows.seq, floats(f),
		few->W_enc_t.rows, floats(x), x.cols};

	if (tensor_count(x) == 0)
		return 0;
	if (bytes + fixed_bytes > cuda_state_of(dev)->most_shared)
		return err_set(err, ERR_DEVICE,
			"op clamp_features: expected d_model of at most %zu, found %zu",
			(cuda_state_of(dev)->most_shared - fixed_bytes) / (2 * sizeof(float)),
			x.cols);
	GPU_WITH_TYPE(few->W_enc_t.dtype, E,
		GPU_WITH_TYPE(few->W_dec.dtype, D,
			return is_wide(few, x)
				       ? start<E, D, true>(dev, few, rows.n, call, bytes, err)
				       : start<E, D, false>(dev, few, rows.n, call, bytes, err)));
}
