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

#endif
