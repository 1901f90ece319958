/* SPDX-License-Identifier: MIT
 *
 * arithmetic.c - Contract: arithmetic.h. Tests: tests/test_ops.c. Compiled once, without
 * instruction-set flags.
 */
#include "kernels/cpu/arithmetic.h"

#include <stdio.h>
#include <string.h>

#include <dnnl.h>
#include <dnnl_debug.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

/* The widest instructions of a level. */
static const struct {
	const char *level;
	dnnl_cpu_isa_t isa;
} limits[] = {
	{"x86-64-v2", dnnl_cpu_isa_sse41},
	{"x86-64-v3", dnnl_cpu_isa_avx2},
	{"x86-64-v4", dnnl_cpu_isa_avx512_core},
};

/* The C library has its own functions of a machine with FMA, and chooses them whatever the level.
 */
static const char *c_library(char *out, size_t size)
{
	const char *fma = "";

#ifdef __x86_64__
	fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? " with FMA"
									      : " without FMA";
#endif
#ifdef __GLIBC__
	snprintf(out, size, "glibc %s%s", gnu_get_libc_version(), fma);
#else
	snprintf(out, size, "another C library%s", fma);
#endif
	return out;
}

void cpu_hold_to_level(const char *level, char arithmetic[DEVICE_ARITHMETIC])
{
	const dnnl_version_t *version = dnnl_version();
	char library[64];

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		if (strcmp(limits[i].level, level) == 0)
			(void)dnnl_set_max_cpu_isa(limits[i].isa);
	snprintf(arithmetic, DEVICE_ARITHMETIC, "cpu:%s, oneDNN %d.%d.%d at %s, %s", level,
		version->major, version->minor, version->patch,
		dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa()), c_library(library, sizeof library));
}
