/* SPDX-License-Identifier: MIT
 *
 * starved.c - Contract: starved.h.
 */
#include "tests/starved.h"

#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libconfig loses the buffer of a string that is not closed, HDF5 memory where a read fails. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\nleak:libhdf5\n";
}

/* ---- memory that runs out ---------------------------------------------------------------- */

static struct {
	bool counting;
	size_t n;      /* allocations so far */
	size_t at;     /* the one that fails; 0: none */
	long n_blocks; /* that are not freed */
} memory;

static bool is_lacking(void)
{
	const bool lacking = memory.counting && ++memory.n == memory.at;

	if (lacking)
		errno = ENOMEM;
	return lacking;
}

static void *given(void *block)
{
	memory.n_blocks += memory.counting && block;
	return block;
}

/* What `name` is without this file. */
#define INSTEAD_OF(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

INSTEAD_OF(void *, malloc, size_t n)
{
	return is_lacking() ? NULL : given(__real_malloc(n));
}

INSTEAD_OF(void *, calloc, size_t n, size_t size)
{
	return is_lacking() ? NULL : given(__real_calloc(n, size));
}

INSTEAD_OF(void *, realloc, void *block, size_t n)
{
	if (is_lacking())
		return NULL;
	return block ? __real_realloc(block, n) : given(__real_realloc(block, n));
}

INSTEAD_OF(char *, strdup, const char *s)
{
	return is_lacking() ? NULL : given(__real_strdup(s));
}

INSTEAD_OF(char *, strndup, const char *s, size_t n)
{
	return is_lacking() ? NULL : given(__real_strndup(s, n));
}

INSTEAD_OF(int, posix_memalign, void **block, size_t alignment, size_t n)
{
	int rc;

	if (is_lacking())
		return ENOMEM;
	rc = __real_posix_memalign(block, alignment, n);
	given(rc == 0 ? *block : NULL);
	return rc;
}

INSTEAD_OF(FILE *, open_memstream, char **text, size_t *n)
{
	return is_lacking() ? NULL : given(__real_open_memstream(text, n));
}

INSTEAD_OF(void, free, void *block)
{
	memory.n_blocks -= memory.counting && block;
	__real_free(block);
}

/* The code of doing it once, where allocation `at` fails; memory.n of them were asked for. */
static int starve_at(starved *call, const void *context, size_t at, struct err *err)
{
	int rc;

	*err = (struct err){0};
	memory.n = 0;
	memory.n_blocks = 0;
	memory.at = at;
	memory.counting = true;
	rc = call(context, err);
	memory.counting = false;
	return rc;
}

/* What is refused may be so before or after memory lacks. What libraries gave is freed as well, so
 * that blocks may be fewer than none. */
size_t starve(starved *call, const void *context, const char *name)
{
	struct err err;
	const int expected = starve_at(call, context, 0, &err);
	const size_t n = memory.n, tried = n < STARVED ? n : STARVED;

	CHECK(memory.n_blocks <= 0, "%s: %ld blocks are not freed", name, memory.n_blocks);
	for (size_t i = 0; i < tried; i++) {
		const size_t at = 1 + (tried > 1 ? i * (n - 1) / (tried - 1) : 0);
		const int rc = starve_at(call, context, at, &err);

		CHECK(rc == ERR_DEVICE || (expected && rc == expected),
			"%s: allocation %zu of %zu: code %d: %s", name, at, n, rc, err.text);
		CHECK(rc != ERR_DEVICE || strstr(err.text, "out of memory"),
			"%s: allocation %zu of %zu: %s", name, at, n, err.text);
		CHECK(memory.n_blocks <= 0, "%s: allocation %zu of %zu: %ld blocks are not freed",
			name, at, n, memory.n_blocks);
	}
	return tried;
}
