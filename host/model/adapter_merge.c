/* SPDX-License-Identifier: MIT
 *
 * adapter_merge.c - W + s B A, row by row, each element's r products added up in the order of r.
 * Contract: adapter.h.
 */
#include "host/model/adapter.h"

#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/thread.h"

#include <stdlib.h>
#include <string.h>

/* A factor as [rows, cols], or its transpose as that. */
static void read_factor(const struct file_tensor *t, bool transposed, size_t rows, size_t cols,
	float *out)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < cols; j++)
			out[i * cols + j] = (float)file_tensor_value(t,
				transposed ? j * rows + i : i * cols + j);
}

/* left [r], right [r, cols]. */
static void merge_row(const struct file_tensor *w, size_t first, const float *left,
	const float *right, size_t r, size_t cols, float scale, float *out)
{
	memset(out, 0, cols * sizeof *out);
	for (size_t k = 0; k < r; k++)
		for (size_t j = 0; j < cols; j++)
			out[j] += left[k] * right[k * cols + j];
	for (size_t j = 0; j < cols; j++)
		out[j] = (float)file_tensor_value(w, first + j) + scale * out[j];
}

enum { MERGE_ROWS = 64 }; /* at a time */

struct merge {
	const struct file_tensor *w;
	const float *left, *right; /* [rows, r], [r, cols] */
	size_t rows, cols, r;
	float scale;
	float *out;
};

static void merge_rows(void *context, size_t block, int thread)
{
	const struct merge *m = context;
	const size_t end = size_min((block + 1) * MERGE_ROWS, m->rows);

	(void)thread;
	for (size_t i = block * MERGE_ROWS; i < end; i++)
		merge_row(m->w, i * m->cols, m->left + i * m->r, m->right, m->r, m->cols, m->scale,
			m->out + i * m->cols);
}

int adapter_merge(const struct file_tensor *w, const struct adapter_change *change,
	enum module_kind kind, int n_threads, float *out, struct err *err)
{
	const bool embedding = kind == MODULE_EMBEDDING;
	const size_t rows = w->shape[0], cols = w->shape[1];
	const size_t r = embedding ? change->a->shape[0] : change->b->shape[1];
	float *left = memory_alloc((rows + cols) * r * sizeof *left), *right = left + rows * r;

	if (!left)
		return err_nomem(err, w->name, (rows + cols) * r * sizeof *left);
	read_factor(embedding ? change->a : change->b, embedding, rows, r, left);
	read_factor(embedding ? change->b : change->a, embedding, r, cols, right);
	threads_run((rows + MERGE_ROWS - 1) / MERGE_ROWS, n_threads, merge_rows,
		&(struct merge){w, left, right, rows, cols, r, (float)change->scale, out});
	free(left);
	return 0;
}
