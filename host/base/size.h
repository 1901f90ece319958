/* SPDX-License-Identifier: MIT
 *
 * size.h - arithmetic on sizes that come from a file. Each returns true when the exact result
 * does not fit, in the manner of the compiler builtins; the caller then rejects the file.
 */
#ifndef SAENGINE_SIZE_H
#define SAENGINE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool size_mul_overflow(size_t a, size_t b, size_t *out)
{
	return __builtin_mul_overflow(a, b, out);
}

static inline bool size_add_overflow(size_t a, size_t b, size_t *out)
{
	return __builtin_add_overflow(a, b, out);
}

static inline size_t size_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Little-endian reads from bytes of any alignment. */
static inline uint16_t read_u16(const unsigned char *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t read_u32(const unsigned char *p)
{
	return (uint32_t)read_u16(p) | (uint32_t)read_u16(p + 2) << 16;
}

static inline uint64_t read_u64(const unsigned char *p)
{
	return (uint64_t)read_u32(p) | (uint64_t)read_u32(p + 4) << 32;
}

#endif
