/* SPDX-License-Identifier: MIT
 *
 * batch.c - Contract: batch.h. Tests: tests/test_model.c.
 */
#include "host/model/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The lists that exist on both sides, in the order they lie in memory. */
enum { ROW_LISTS = 7 };

int batch_init(struct batch *b, struct device *dev, size_t max_rows, size_t max_seqs,
	struct err *err)
{
	const size_t n_shared = ROW_LISTS * max_rows + max_seqs;
	const size_t bytes = (n_shared + max_seqs) * sizeof(int32_t);
	int32_t *host, *device;

	*b = (struct batch){.dev = dev, .max_rows = max_rows, .max_seqs = max_seqs};
	b->host_memory = host = malloc(bytes);
	if (!host)
		return err_nomem(err, "a batch", bytes);
	if (device_alloc(dev, n_shared * sizeof(int32_t), &b->device_memory, err))
		return err->code;
	device = b->device_memory;
#define LIST(name, n) (b->name = host, host += (n), b->on_device.name = device, device += (n))
	LIST(token, max_rows);
	LIST(seq, max_rows);
	LIST(pos, max_rows);
	LIST(cache_row, max_rows);
	LIST(out_row, max_rows);
	LIST(out_seq, max_rows);
	LIST(out_pos, max_rows);
	LIST(cache_start, max_seqs);
#undef LIST
	b->label = host;
	return 0;
}

void batch_free(struct batch *b)
{
	free(b->host_memory);
	if (b->dev)
		device_free(b->dev, b->device_memory);
	*b = (struct batch){0};
}

void batch_clear(struct batch *b, size_t n_prefix)
{
	b->n_rows = b->n_out = b->n_idle = b->n_seqs = b->n_cache_rows = 0;
	b->n_prefix = n_prefix;
	b->packed = true;
}

static void add_rows(struct batch *b, size_t seq, const int32_t *tokens, size_t n, size_t first_pos,
	size_t n_out)
{
	assert(b->n_rows + n <= b->max_rows && first_pos >= b->n_prefix);
	for (size_t i = 0; i < n; i++) {
		const size_t row = b->n_rows++, pos = first_pos + i;
		const size_t cache_row = (size_t)b->cache_start[seq] + pos - b->n_prefix;

		b->token[row] = tokens[i];
		b->seq[row] = (int32_t)seq;
		b->pos[row] = (int32_t)pos;
		b->cache_row[row] = (int32_t)cache_row;
		b->packed &= cache_row == row;
		if (b->n_cache_rows <= cache_row)
			b->n_cache_rows = cache_row + 1;
		if (n - i <= n_out) {
			b->out_row[b->n_out] = (int32_t)row;
			b->out_seq[b->n_out] = (int32_t)seq;
			b->out_pos[b->n_out++] = (int32_t)pos;
		}
	}
}

/* Sequences below n that have no rows in this pass. */
static void count_sequences(struct batch *b, size_t n)
{
	while (b->n_seqs < n)
		b->cache_start[b->n_seqs++] = 0;
}

void batch_add(struct batch *b, size_t seq, const int32_t *tokens, size_t n, size_t first_pos,
	size_t cache_start, size_t n_out, int32_t label)
{
	assert(seq < b->max_seqs && seq >= b->n_seqs && b->n_idle == 0);
	count_sequences(b, seq + 1);
	b->cache_start[seq] = (int32_t)cache_start;
	b->label[seq] = label;
	add_rows(b, seq, tokens, n, first_pos, n_out);
}

void batch_add_idle(struct batch *b, size_t seq, int32_t token, size_t pos, size_t cache_start,
	int32_t label)
{
	assert(seq < b->max_seqs);
	count_sequences(b, seq + 1);
	b->cache_start[seq] = (int32_t)cache_start;
	b->label[seq] = label;
	add_rows(b, seq, &token, 1, pos, BATCH_OUT_LAST);
	b->n_idle++;
}

void batch_extend(struct batch *b, const int32_t *tokens, size_t n, size_t n_out)
{
	const size_t last = b->n_rows - 1;

	add_rows(b, (size_t)b->seq[last], tokens, n, (size_t)b->pos[last] + 1, n_out);
}

size_t batch_pack(struct batch *b, const int32_t *tokens, size_t n, size_t n_out, int32_t label)
{
	const size_t seq = b->n_seqs;

	batch_add(b, seq, tokens, n, b->n_prefix, b->n_rows, n_out, label);
	return seq;
}

void batch_keep_open(struct batch *b, size_t n_cache_rows)
{
	assert(b->n_rows == b->n_out);
	count_sequences(b, b->max_seqs);
	b->packed = false; /* the first rows may be now, but will not stay so */
	b->n_cache_rows = n_cache_rows;
}

void batch_advance(struct batch *b, const int32_t *next)
{
	for (size_t i = 0; i < b->n_rows; i++) {
		if (next[i] >= 0)
			b->token[i] = next[i];
		b->pos[i]++;
		b->cache_row[i]++;
		b->out_pos[i]++;
	}
}

int batch_upload(struct batch *b, struct err *err)
{
	const struct {
		int32_t *to;
		const int32_t *from;
		size_t n;
	} lists[] = {
		{b->on_device.token, b->token, b->n_rows},
		{b->on_device.seq, b->seq, b->n_rows},
		{b->on_device.pos, b->pos, b->n_rows},
		{b->on_device.cache_row, b->cache_row, b->n_rows},
		{b->on_device.out_row, b->out_row, b->n_out},
		{b->on_device.out_seq, b->out_seq, b->n_out},
		{b->on_device.out_pos, b->out_pos, b->n_out},
		{b->on_device.cache_start, b->cache_start, b->n_seqs},
	};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (device_upload(b->dev, lists[i].to, lists[i].from, lists[i].n * sizeof(int32_t),
			    err))
			return err->code;
	return 0;
}

struct rows batch_rows(const struct batch *b)
{
	return (struct rows){b->n_rows, b->on_device.seq, b->on_device.pos};
}

struct rows batch_out_rows(const struct batch *b)
{
	return (struct rows){b->n_out, b->on_device.out_seq, b->on_device.out_pos};
}

int batch_not_finite(const char *what, int32_t label, int32_t position, struct err *err)
{
	if (label < 0)
		return err_set(err, ERR_DEVICE,
			"%s is not finite at position %d of what all prompts begin with", what,
			position);
	return err_set(err, ERR_DEVICE, "%s is not finite for prompt %d at position %d", what,
		label, position);
}
