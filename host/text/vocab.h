/* SPDX-License-Identifier: MIT
 *
 * vocab.h - byte strings and their ids, both ways.
 */
#ifndef SAENGINE_VOCAB_H
#define SAENGINE_VOCAB_H

#include "host/base/vec.h"

#include <stdint.h>

struct vocab {
	struct text pool; /* all strings, each followed by a zero byte */
	struct {
		size_t *data; /* by id: offset of its string in the pool, plus 1; 0 = no such id */
		size_t n, cap;
	} start;
	struct {
		size_t *data;
		size_t n, cap;
	} length;
	int32_t *table; /* open addressing, ids; -1 = free; a power of two in size */
	size_t table_size, n;
};

/* Sizes the hash table for `n` strings; more make it grow. A zeroed struct is empty; vocab_free
 * accepts it. */
int vocab_init(struct vocab *v, size_t n, struct err *err);
void vocab_free(struct vocab *v);

/* Adds a string under an id not used before; of equal strings the first keeps the lookup.
 * Errors: ERR_INPUT for a second use of an id, memory. */
int vocab_add(struct vocab *v, const char *s, size_t n, int32_t id, struct err *err);

/* The id of n bytes, or -1. */
int32_t vocab_find(const struct vocab *v, const char *s, size_t n);

/* The bytes of an id (zero-terminated besides), or NULL. */
const char *vocab_bytes(const struct vocab *v, int32_t id, size_t *n);

/* One more than the largest id. */
size_t vocab_size(const struct vocab *v);

#endif
