/* SPDX-License-Identifier: MIT
 *
 * arena.h - host memory that is taken piece by piece and given back at once:
 *
 *	struct arena memory = {0};
 *
 *	ids = arena_alloc(&memory, n, sizeof *ids);
 *	cosine = arena_alloc(&memory, n, sizeof *cosine);
 *	TRY(arena_check(&memory, "candidates", err));
 *	...
 *  fail:
 *	arena_free(&memory);
 *
 * Every piece is an allocation of its own, so that sanitizers see what runs over its end.
 */
#ifndef SAENGINE_ARENA_H
#define SAENGINE_ARENA_H

#include "host/base/err.h"

#include <stddef.h>

/* All zero is an empty arena. */
struct arena {
	void **pieces; /* owned, and what they point to */
	size_t n, cap;
	size_t failed; /* bytes of the first piece there was no memory for; 0 = none */
};

/* n elements of `size` bytes, all zero; never NULL for want of elements. The arena's until
 * arena_free. NULL when there is no memory, or no such size, which arena_check then reports. */
void *arena_alloc(struct arena *a, size_t n, size_t size);

/* Whether every piece so far is there. Errors: memory, naming `what`. */
int arena_check(const struct arena *a, const char *what, struct err *err);

/* Gives everything back; the arena is empty, as new. */
void arena_free(struct arena *a);

#endif
