/* SPDX-License-Identifier: MIT
 *
 * random.h - repeatable random numbers: the sequence depends on the seed alone, on every machine.
 */
#ifndef SAENGINE_RANDOM_H
#define SAENGINE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Splitmix64; any seed will do. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to n - 1. The bias is below n / 2^64. */
static inline size_t random_below(uint64_t *state, size_t n)
{
	return (size_t)(random_next(state) % n);
}

/* Puts n items of `size` bytes into a random order (Fisher and Yates, from the last item down): the
 * same order whatever the items are. */
static inline void random_shuffle(uint64_t *state, void *items, size_t n, size_t size)
{
	unsigned char *const bytes = (unsigned char *)items;

	for (size_t i = n; i > 1; i--) {
		unsigned char *const a = bytes + (i - 1) * size;
		unsigned char *const b = bytes + random_below(state, i) * size;

		for (size_t k = 0; k < size; k++) {
			const unsigned char kept = a[k];

			a[k] = b[k];
			b[k] = kept;
		}
	}
}

#endif
