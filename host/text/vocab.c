/* SPDX-License-Identifier: MIT
 *
 * vocab.c - Contract: vocab.h. Tests: tests/test_tokenizer.c.
 */
#include "host/text/vocab.h"

static uint64_t hash_of(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
	return h ^ h >> 32;
}

int vocab_init(struct vocab *v, size_t n, struct err *err)
{
	*v = (struct vocab){.table_size = 64};
	while (v->table_size < 2 * n)
		v->table_size *= 2;
	v->table = malloc(v->table_size * sizeof *v->table);
	if (!v->table)
		return err_nomem(err, "a vocabulary", v->table_size * sizeof *v->table);
	memset(v->table, 0xff, v->table_size * sizeof *v->table);
	return 0;
}

void vocab_free(struct vocab *v)
{
	free(v->pool.data);
	free(v->start.data);
	free(v->length.data);
	free(v->table);
	*v = (struct vocab){0};
}

static bool holds(const struct vocab *v, int32_t id, const char *s, size_t n)
{
	return v->length.data[id] == n && memcmp(v->pool.data + v->start.data[id] - 1, s, n) == 0;
}

/* Where the string is, or the free place where it would go. */
static size_t place_of(const struct vocab *v, const char *s, size_t n)
{
	size_t at = hash_of(s, n) & (v->table_size - 1);

	while (v->table[at] >= 0 && !holds(v, v->table[at], s, n))
		at = (at + 1) & (v->table_size - 1);
	return at;
}

/* Twice the room, and every string in its place there; of equal ones the first to come. */
static int grow(struct vocab *v, struct err *err)
{
	struct vocab wider = *v;

	wider.table_size = v->table_size ? 2 * v->table_size : 64;
	wider.table = malloc(wider.table_size * sizeof *wider.table);
	if (!wider.table)
		return err_nomem(err, "a vocabulary", wider.table_size * sizeof *wider.table);
	memset(wider.table, 0xff, wider.table_size * sizeof *wider.table);
	for (size_t i = 0; i < v->table_size; i++) {
		size_t n;
		const char *s = vocab_bytes(v, v->table[i], &n);

		if (s)
			wider.table[place_of(&wider, s, n)] = v->table[i];
	}
	free(v->table);
	*v = wider;
	return 0;
}

int vocab_add(struct vocab *v, const char *s, size_t n, int32_t id, struct err *err)
{
	size_t at;

	while (v->start.n <= (size_t)id) {
		TRY(vec_push(&v->start, 0, err));
		TRY(vec_push(&v->length, 0, err));
	}
	if (v->start.data[id])
		return err_set(err, ERR_INPUT, "token id %d is used twice", id);
	if (2 * ++v->n > v->table_size)
		TRY(grow(v, err));
	v->start.data[id] = v->pool.n + 1;
	v->length.data[id] = n;
	TRY(vec_append(&v->pool, s, n, err));
	TRY(vec_push(&v->pool, '\0', err));
	at = place_of(v, s, n);
	if (v->table[at] < 0)
		v->table[at] = id;
	return 0;
fail:
	return err->code;
}

int32_t vocab_find(const struct vocab *v, const char *s, size_t n)
{
	return v->table ? v->table[place_of(v, s, n)] : -1;
}

const char *vocab_bytes(const struct vocab *v, int32_t id, size_t *n)
{
	if (id < 0 || (size_t)id >= v->start.n || !v->start.data[id])
		return NULL;
	if (n)
		*n = v->length.data[id];
	return v->pool.data + v->start.data[id] - 1;
}

size_t vocab_size(const struct vocab *v)
{
	return v->start.n;
}
