/* SPDX-License-Identifier: MIT
 *
 * arena.c - Contract: arena.h. Tests: tests/test_base.c.
 */
#include "host/base/arena.h"

#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/vec.h"

#include <stdlib.h>

static void *failed(struct arena *a, size_t bytes)
{
	if (a->failed == 0)
		a->failed = bytes;
	return NULL;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
	struct err full;
	size_t bytes;
	void *piece;

	if (size_mul_overflow(n, size, &bytes))
		return failed(a, SIZE_MAX);
	bytes = size_max(bytes, 1);
	if (vec_grow((void **)&a->pieces, &a->cap, a->n + 1, sizeof *a->pieces, &full))
		return failed(a, bytes);
	piece = calloc(bytes, 1);
	if (!piece || !memory_taken(bytes)) {
		free(piece);
		return failed(a, bytes);
	}
	a->pieces[a->n++] = piece;
	return piece;
}

int arena_check(const struct arena *a, const char *what, struct err *err)
{
	return a->failed ? err_nomem(err, what, a->failed) : 0;
}

void arena_free(struct arena *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->pieces[i]);
	free(a->pieces);
	*a = (struct arena){0};
}
