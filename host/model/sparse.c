/* SPDX-License-Identifier: MIT
 *
 * sparse.c - Contract: sparse.h. The ops report how many entries they would have needed; a call
 * that did not fit is repeated with room for half as many again. An SAE with top_k says before how
 * many a row can have, which its rows mostly do have, so its encoding needs no look at the device
 * in between and can be recorded.
 */
#include "host/model/sparse.h"

#include "host/base/size.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <stdlib.h>

enum { FIRST_GUESS = 256 }; /* entries per row */

void sparse_free(struct sparse *s)
{
	if (s->dev)
		device_free(s->dev, s->memory);
	*s = (struct sparse){.dev = s->dev};
}

static void layout(void *object, struct carver *c)
{
	struct sparse *s = object;

	s->csr.indptr = carve_ints(c, s->row_capacity + 1);
	s->csr.indices = carve_ints(c, s->csr.capacity);
	s->csr.values = carve(c, s->csr.capacity, 1);
}

static int reserve(struct sparse *s, size_t rows, size_t capacity, struct err *err)
{
	if (s->memory && rows <= s->row_capacity && capacity <= s->csr.capacity)
		return 0;
	rows = size_max(rows, s->row_capacity);
	capacity = size_max(capacity, s->csr.capacity);
	sparse_free(s);
	s->row_capacity = rows;
	s->csr.capacity = capacity;
	return carve_allocate(s->dev, layout, s, &s->memory, err);
}

/* Entries the last op found. */
static int count_entries(const struct sparse *s, size_t *n, struct err *err)
{
	int32_t last;

	if (device_download(s->dev, &last, s->csr.indptr + s->csr.n_rows, sizeof last, err))
		return err->code;
	*n = (size_t)last;
	return 0;
}

/* Of a row, with top_k. */
static size_t most_entries(const struct sae_weights *sae)
{
	return sae->top_k * ((sae->W_enc_t.rows + sae->group_width - 1) / sae->group_width);
}

int sparse_encode(struct sparse *s, const struct sae_weights *sae, struct tensor x, struct err *err)
{
	size_t n = 0;

	if (sae->top_k > 0) {
		TRY(reserve(s, x.rows, x.rows * most_entries(sae), err));
		s->csr.n_rows = x.rows;
		return op_sae_encode(s->dev, sae, x, &s->csr, err);
	}
	TRY(reserve(s, x.rows, x.rows * FIRST_GUESS, err));
	do {
		TRY(reserve(s, x.rows, n + n / 2, err));
		s->csr.n_rows = x.rows;
		TRY(op_sae_encode(s->dev, sae, x, &s->csr, err));
		TRY(count_entries(s, &n, err));
	} while (n > s->csr.capacity);
	return 0;
fail:
	return err->code;
}

int sparse_difference(struct sparse *out, const struct sparse *a, const struct sparse *b,
	struct err *err)
{
	size_t n_a = 0, n_b = 0;

	TRY(count_entries(a, &n_a, err));
	TRY(count_entries(b, &n_b, err));
	TRY(reserve(out, a->csr.n_rows, n_a + n_b, err)); /* the union is no larger */
	out->csr.n_rows = a->csr.n_rows;
	return op_csr_difference(out->dev, &a->csr, &b->csr, &out->csr, err);
fail:
	return err->code;
}

int sparse_download(const struct sparse *s, struct host_csr *out, struct err *err)
{
	size_t n = 0;

	TRY(count_entries(s, &n, err));
	if (s->csr.n_rows > out->row_capacity || n > out->capacity || !out->indptr) {
		host_csr_free(out);
		out->row_capacity = s->csr.n_rows;
		out->capacity = n;
		out->indptr = malloc((s->csr.n_rows + 1) * sizeof *out->indptr);
		out->indices = malloc(n * sizeof *out->indices + 1);
		out->values = malloc(n * sizeof *out->values + 1);
		if (!out->indptr || !out->indices || !out->values)
			return err_nomem(err, "sparse features", n * 2 * sizeof *out->values);
	}
	out->n_rows = s->csr.n_rows;
	TRY(device_download(s->dev, out->indptr, s->csr.indptr, (out->n_rows + 1) * sizeof(int32_t),
		err));
	TRY(device_download(s->dev, out->indices, s->csr.indices, n * sizeof(int32_t), err));
	return download_floats(s->dev, tensor_rows(s->csr.values, 0, n), out->values, err);
fail:
	return err->code;
}

void host_csr_free(struct host_csr *h)
{
	free(h->indptr);
	free(h->indices);
	free(h->values);
	*h = (struct host_csr){0};
}
