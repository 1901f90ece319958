/* SPDX-License-Identifier: MIT
 *
 * sae.c - encoding by a sparse autoencoder, all features or a few. Contract: ops.h. Definition:
 * kernels/ref/sae.c. What the encoder reads: sae_input.c; the way back: sae_decode.c.
 *
 * Full encoding never holds a [tokens, d_sae] matrix: a tile of CPU_TILE_ROWS tokens by
 * CPU_PANEL_ROWS features is multiplied into the thread's scratch and its survivors are moved to
 * the tile's list at once. With top_k each row of the lists is then cut by selection (quickselect
 * for the k-th largest, then one pass in feature order). The lists are joined in feature order,
 * so the result does not depend on which thread did which tile.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

#include <stdlib.h>

/* The survivors of one block of features; row i of the tile has entries start[i] to
 * start[i + 1] - 1. */
struct survivors {
	int32_t *index; /* [cap], owned, as the next */
	float *value;
	size_t n, cap;
	size_t start[CPU_TILE_ROWS + 1];
};

static int make_room(struct survivors *list, size_t n, struct err *err)
{
	int32_t *index;
	float *value;

	if (n <= list->cap)
		return 0;
	n += n / 2;
	index = realloc(list->index, n * sizeof *index);
	list->index = index ? index : list->index;
	value = realloc(list->value, n * sizeof *value);
	list->value = value ? value : list->value;
	if (!index || !value)
		return err_nomem(err, "sparse encoding", n * sizeof *index);
	list->cap = n;
	return 0;
}

static float gated(const struct sae_weights *sae, size_t i, float pre)
{
	const float act = ((const float *)sae->gain.data)[i] * pre +
			  ((const float *)sae->shift.data)[i];

	return act > 0 ? act : 0;
}

/* Moves what is on among VW features from `feature` on, of pre-activations h, to the list. Every
 * one is written; only those that are on stay. */
static void keep_vector(const struct sae_weights *sae, struct survivors *list, size_t feature, vf h,
	vi on)
{
	float value[VW];
	int32_t stays[VW];
	size_t n = list->n;

	v_store(value, h);
	memcpy(stays, &on, sizeof stays);
	for (size_t k = 0; k < VW && sae->gain.data; k++) {
		value[k] = stays[k] ? gated(sae, feature + k, value[k]) : 0;
		stays[k] = value[k] > 0;
	}
	for (size_t k = 0; k < VW; k++) {
		list->index[n] = (int32_t)(feature + k);
		list->value[n] = value[k];
		n += stays[k] != 0;
	}
	list->n = n;
}

static int keep_survivors(const struct sae_weights *sae, const float *pre, size_t m, size_t first,
	size_t n, struct survivors *list, struct err *err)
{
	const float *b_enc = (const float *)sae->b_enc.data + first;
	const float *threshold = (const float *)sae->threshold.data + first;

	for (size_t i = 0; i < m; i++) {
		const float *row = pre + i * n;

		list->start[i] = list->n;
		if (make_room(list, list->n + n + VW, err))
			return err->code;
		for (size_t j = 0; j < n; j += VW) {
			const size_t here = n - j;
			const vf h = v_load_n(row + j, here) + v_load_n(b_enc + j, here);
			const vi on = h > v_load_n(threshold + j, here); /* never beyond n: 0 > 0 */
			int32_t any = 0;

			for (int k = 0; k < VW; k++)
				any |= on[k];
			if (any)
				keep_vector(sae, list, first + j, h, on);
		}
	}
	list->start[m] = list->n;
	return 0;
}

/* Entries of one row, features ascending. */
struct entries {
	int32_t *index;
	float *value;
};

struct encode {
	struct device *dev;
	const struct sae_weights *sae;
	struct tensor x;
	size_t row, n_rows;      /* the tile of rows */
	struct survivors *lists; /* [n_blocks] */
	size_t n_blocks;
	/* With top_k, what is left of row i of the tile: n_kept[i] entries from i * most_kept. */
	struct entries kept;
	size_t n_kept[CPU_TILE_ROWS], most_kept;
	struct cpu_failure failure;
};

static int encode_block(const struct encode *c, size_t block, int thread, struct err *err)
{
	const size_t first = block * CPU_PANEL_ROWS, n_all = c->sae->W_enc_t.rows;
	const size_t n = n_all - first < CPU_PANEL_ROWS ? n_all - first : CPU_PANEL_ROWS;
	struct survivors *list = &c->lists[block];
	float *panel = cpu_scratch(c->dev, thread), *pre = panel + CPU_PANEL;

	list->n = 0;
	TRY(CPU(tile_product)(c->dev, panel, c->x, c->row, c->n_rows, c->sae->W_enc_t, first, n,
		pre, n, err));
	TRY(keep_survivors(c->sae, pre, c->n_rows, first, n, list, err));
	return 0;
fail:
	return err->code;
}

static void encode_blocks(void *context, size_t first, size_t end, int thread)
{
	struct encode *c = context;
	struct err err;

	for (size_t block = first; block < end; block++)
		if (encode_block(c, block, thread, &err))
			cpu_fail(&c->failure, &err);
}

/* Entries of row i of all blocks, appended to `to`. Returns how many. */
static size_t gather_row(const struct encode *c, size_t i, struct entries to)
{
	size_t n = 0;

	for (size_t b = 0; b < c->n_blocks; b++) {
		const struct survivors *list = &c->lists[b];
		const size_t from = list->start[i], count = list->start[i + 1] - from;

		if (count == 0)
			continue;
		memcpy(to.index + n, list->index + from, count * sizeof *to.index);
		memcpy(to.value + n, list->value + from, count * sizeof *to.value);
		n += count;
	}
	return n;
}

static size_t count_row(const struct encode *c, size_t i)
{
	size_t n = 0;

	if (c->sae->top_k > 0)
		return c->n_kept[i];
	for (size_t b = 0; b < c->n_blocks; b++)
		n += c->lists[b].start[i + 1] - c->lists[b].start[i];
	return n;
}

/* The k-th largest of n values (0 < k <= n), which are left in another order. */
static float kth_largest(float *v, size_t n, size_t k)
{
	size_t low = 0, high = n - 1;

	while (low < high) { /* the k-th largest lies in [low, high] */
		const float pivot = v[low + (high - low) / 2];
		size_t i = low, j = high;

		for (;;) {
			float swap;

			while (v[i] > pivot)
				i++;
			while (v[j] < pivot)
				j--;
			if (i >= j)
				break;
			swap = v[i];
			v[i++] = v[j];
			v[j--] = swap;
		}
		if (k - 1 <= j)
			high = j;
		else
			low = j + 1;
	}
	return v[low];
}

/* Appends the k largest of n entries of one group to `to`, in their order. */
static size_t keep_largest(struct entries from, size_t n, size_t k, float *scratch,
	struct entries to)
{
	size_t n_kept = 0, n_equal = k; /* of those equal to the k-th, how many are among the k */
	float cut;

	if (n <= k) {
		memcpy(to.index, from.index, n * sizeof *to.index);
		memcpy(to.value, from.value, n * sizeof *to.value);
		return n;
	}
	memcpy(scratch, from.value, n * sizeof *scratch);
	cut = kth_largest(scratch, n, k);
	for (size_t e = 0; e < n; e++)
		n_equal -= from.value[e] > cut;
	for (size_t e = 0; e < n; e++) {
		if (from.value[e] < cut || (from.value[e] == cut && n_equal == 0))
			continue;
		n_equal -= from.value[e] == cut;
		to.index[n_kept] = from.index[e];
		to.value[n_kept++] = from.value[e];
	}
	return n_kept;
}

static void cut_row(struct encode *c, size_t i, struct entries all, float *scratch)
{
	const size_t width = c->sae->group_width, n = gather_row(c, i, all);
	struct entries to = {c->kept.index + i * c->most_kept, c->kept.value + i * c->most_kept};
	size_t kept = 0;

	for (size_t from = 0, end; from < n; from = end) {
		const size_t group = (size_t)all.index[from] / width;

		for (end = from; end < n && (size_t)all.index[end] / width == group; end++)
			;
		kept += keep_largest((struct entries){all.index + from, all.value + from},
			end - from, c->sae->top_k, scratch,
			(struct entries){to.index + kept, to.value + kept});
	}
	c->n_kept[i] = kept;
}

static void cut_rows(void *context, size_t first, size_t end, int thread)
{
	struct encode *c = context;
	const size_t n = c->sae->W_enc_t.rows;
	float *memory = malloc(3 * n * sizeof *memory + 1);
	struct err err;

	(void)thread;
	if (!memory) {
		err_nomem(&err, "one row of features", 3 * n * sizeof *memory);
		cpu_fail(&c->failure, &err);
		return;
	}
	for (size_t i = first; i < end; i++)
		cut_row(c, i, (struct entries){(int32_t *)(memory + 2 * n), memory}, memory + n);
	free(memory);
}

static void append_row(const struct encode *c, size_t i, struct csr *out, size_t *n)
{
	const size_t count = count_row(c, i);
	const struct entries to = {out->indices + *n, (float *)out->values.data + *n};

	if (*n + count <= out->capacity && count > 0) {
		if (c->sae->top_k > 0) {
			memcpy(to.index, c->kept.index + i * c->most_kept,
				count * sizeof *to.index);
			memcpy(to.value, c->kept.value + i * c->most_kept,
				count * sizeof *to.value);
		} else {
			gather_row(c, i, to);
		}
	}
	*n += count;
}

static int encode_tile(struct encode *c, struct csr *out, size_t *n, struct err *err)
{
	cpu_run(c->dev, c->n_blocks, c->n_rows * CPU_PANEL_ROWS * c->x.cols / VW, encode_blocks, c);
	if (c->sae->top_k > 0 && !c->failure.taken)
		cpu_run(c->dev, c->n_rows, 8 * c->sae->W_enc_t.rows, cut_rows, c);
	if (c->failure.taken) {
		*err = c->failure.err;
		return err->code;
	}
	for (size_t r = 0; r < c->n_rows; r++) {
		append_row(c, r, out, n);
		out->indptr[c->row + r + 1] = (int32_t)*n;
	}
	if (*n > INT32_MAX)
		return err_set(err, ERR_DEVICE,
			"op sae_encode: expected at most %d active features in a batch, found more; "
			"use a smaller batch",
			INT32_MAX);
	return 0;
}

static int allocate_lists(struct encode *c, struct err *err)
{
	const size_t n_features = c->sae->W_enc_t.rows,
		     rows = c->x.rows < CPU_TILE_ROWS ? c->x.rows : CPU_TILE_ROWS;

	c->n_blocks = (n_features + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS;
	c->lists = calloc(c->n_blocks + 1, sizeof *c->lists);
	if (!c->lists)
		return err_nomem(err, "sparse encoding", c->n_blocks * sizeof *c->lists);
	if (c->sae->top_k == 0)
		return 0;
	c->most_kept = n_features;
	if (c->sae->top_k < n_features / (n_features / c->sae->group_width + 1))
		c->most_kept = c->sae->top_k * (n_features / c->sae->group_width + 1);
	c->kept.index = memory_alloc(rows * c->most_kept * sizeof *c->kept.index + 1);
	c->kept.value = memory_alloc(rows * c->most_kept * sizeof *c->kept.value + 1);
	if (!c->kept.index || !c->kept.value)
		return err_nomem(err, "sparse encoding", rows * c->most_kept * 8);
	return 0;
}

int CPU(sae_encode)(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct csr *out, struct err *err)
{
	struct encode c = {.dev = dev, .sae = sae};
	float *memory;
	size_t n = 0;
	int rc;

	out->indptr[0] = 0;
	rc = CPU(sae_input)(dev, sae->input, x, &c.x, &memory, err) || allocate_lists(&c, err);
	for (; !rc && c.row < x.rows; c.row += CPU_TILE_ROWS) {
		c.n_rows = x.rows - c.row < CPU_TILE_ROWS ? x.rows - c.row : CPU_TILE_ROWS;
		rc = cpu_check_memory(dev, err) || encode_tile(&c, out, &n, err);
	}
	for (size_t b = 0; c.lists && b < c.n_blocks; b++) {
		free(c.lists[b].index);
		free(c.lists[b].value);
	}
	free(c.lists);
	free(c.kept.index);
	free(c.kept.value);
	free(memory);
	return rc ? err->code : 0;
}

int CPU(sae_encode_selected)(struct device *dev, const struct sae_weights *sae, struct tensor x,
	struct tensor f, struct err *err)
{
	const float *threshold = sae->threshold.data;
	struct tensor u;
	float *memory;

	TRY(CPU(sae_input)(dev, sae->input, x, &u, &memory, err));
	TRY(CPU(linear)(dev, u, sae->W_enc_t, sae->b_enc, f, err));
	for (size_t i = 0; i < f.rows; i++) {
		float *row = row_out(f, i);

		if (sae->gain.data)
			for (size_t j = 0; j < f.cols; j++)
				row[j] = row[j] > threshold[j] ? gated(sae, j, row[j]) : 0;
		else
			for (size_t j = 0; j < f.cols; j++)
				row[j] = row[j] > threshold[j] ? row[j] : 0;
	}
	free(memory);
	return 0;
fail:
	free(memory);
	return err->code;
}
