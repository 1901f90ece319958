/* SPDX-License-Identifier: MIT
 *
 * finite.c - Contract: finite.h. Tests: tests/test_finite.c.
 *
 * A value is infinite or NaN where all bits of its exponent are set, in each of the four types. The
 * loops of the first section are such that compilers make vectors of them; only in a chunk where
 * one of them has found something are values looked at one by one.
 */
#include "host/formats/finite.h"

#include "host/base/size.h"
#include "host/base/thread.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Elements: a megabyte or two, which disks read at their speed and caches hold. Another thread is
 * worth its start for some chunks only. */
enum { CHUNK = 1 << 19, CHUNKS_OF_THREAD = 16 };

/* ---- chunks ---------------------------------------------------------------------------- */

static bool any_16(const unsigned char *data, size_t n, uint16_t exponent)
{
	uint16_t any = 0, x;

	for (size_t i = 0; i < n; i++) {
		memcpy(&x, data + 2 * i, sizeof x);
		any |= (uint16_t)((x & exponent) == exponent);
	}
	return any;
}

static bool any_32(const unsigned char *data, size_t n)
{
	const uint32_t exponent = 0x7f800000u;
	uint32_t any = 0, x;

	for (size_t i = 0; i < n; i++) {
		memcpy(&x, data + 4 * i, sizeof x);
		any |= (x & exponent) == exponent;
	}
	return any;
}

static bool any_64(const unsigned char *data, size_t n)
{
	const uint64_t lowest = (uint64_t)1 << 52, exponent = (uint64_t)0x7ff << 52;
	uint64_t any = 0, x;

	/* Adding one to an exponent of all ones carries into the sign's bit. */
	for (size_t i = 0; i < n; i++) {
		memcpy(&x, data + 8 * i, sizeof x);
		any |= (x & exponent) + lowest;
	}
	return any >> 63;
}

static bool any_not_finite(enum dtype dtype, const unsigned char *data, size_t n)
{
	switch (dtype) {
	case DTYPE_F32:
		return any_32(data, n);
	case DTYPE_F64:
		return any_64(data, n);
	case DTYPE_BF16:
		return any_16(data, n, 0x7f80);
	case DTYPE_F16:
		return any_16(data, n, 0x7c00);
	case DTYPE_I32:
	case DTYPE_I64:
		break;
	}
	return false;
}

/* ---- one by one ------------------------------------------------------------------------ */

/* Of elements first to first + n - 1: how many are not finite; *at becomes the lowest such index.
 */
static size_t count_in(const struct file_tensor *t, size_t first, size_t n, size_t *at)
{
	size_t count = 0;

	for (size_t i = first + n; i-- > first;) {
		if (!isfinite(file_tensor_value(t, i))) {
			count++;
			*at = i;
		}
	}
	return count;
}

/* "[17, 203]" of the element at `i` of the file's order, "[17]" of a vector, "" of one number. */
static void write_index(const struct file_tensor *t, size_t i, char *out, size_t size)
{
	if (t->n_dims == 0)
		out[0] = '\0';
	else if (t->n_dims != 2)
		snprintf(out, size, "[%zu]", i);
	else if (t->column_major)
		snprintf(out, size, "[%zu, %zu]", i % t->shape[0], i / t->shape[0]);
	else
		snprintf(out, size, "[%zu, %zu]", i / t->shape[1], i % t->shape[1]);
}

struct search {
	const struct file_tensor *tensor;
	size_t n; /* elements */
	_Atomic size_t count, first;
};

static void search_chunk(void *context, size_t chunk, int thread)
{
	struct search *s = context;
	const struct file_tensor *t = s->tensor;
	const size_t i = chunk * CHUNK, m = size_min(CHUNK, s->n - i);
	size_t at = SIZE_MAX, first = s->first;

	(void)thread;
	if (!any_not_finite(t->dtype, t->data + i * dtype_bytes(t->dtype), m))
		return;
	s->count += count_in(t, i, m, &at);
	while (at < first && !atomic_compare_exchange_weak(&s->first, &first, at)) {
	}
}

int finite_check(const struct file_tensor *t, const char *file, int n_threads, struct err *err)
{
	struct search s = {t, t->bytes / dtype_bytes(t->dtype), 0, SIZE_MAX};
	const size_t n_chunks = (s.n + CHUNK - 1) / CHUNK;
	char index[64];
	double value;

	threads_run(n_chunks, (int)size_min((size_t)n_threads, n_chunks / CHUNKS_OF_THREAD + 1),
		search_chunk, &s);
	if (s.count == 0)
		return 0;
	value = file_tensor_value(t, s.first);
	write_index(t, s.first, index, sizeof index);
	return err_set(err, ERR_INPUT,
		"%s: %s%s: expected finite values, found %s (%zu of %zu %s not finite)", file,
		t->name, index,
		isnan(value) ? "nan"
		: value > 0  ? "inf"
			     : "-inf",
		s.count, s.n, s.count == 1 ? "is" : "are");
}
