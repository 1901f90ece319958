/* SPDX-License-Identifier: MIT
 *
 * levels.c - chooses among the builds of the CPU backend. Contract: levels.h and ops.h
 * (device_cpu_levels). Compiled once, without instruction-set flags.
 */
#include "kernels/cpu/levels.h"

#include <stdio.h>
#include <string.h>

#include <dnnl.h>
#include <dnnl_debug.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#ifdef __x86_64__
#include <cpuid.h>

extern const struct backend cpu_v2_backend, cpu_v3_backend, cpu_v4_backend;
#else
extern const struct backend cpu_generic_backend;
#endif

static bool always(void)
{
	return true;
}

#ifdef __x86_64__
/* Clang 14 has no name for it to ask by. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_v3(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("bmi2") && has_f16c();
}

static bool has_v4(void)
{
	return has_v3() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct level {
	const char *name;
	const struct backend *backend;
	bool (*runs_here)(void);
	dnnl_cpu_isa_t products; /* the widest instructions of oneDNN's */
} levels[] = {
#ifdef __x86_64__
	{"x86-64-v2", &cpu_v2_backend, always, dnnl_cpu_isa_sse41},
	{"x86-64-v3", &cpu_v3_backend, has_v3, dnnl_cpu_isa_avx2},
	{"x86-64-v4", &cpu_v4_backend, has_v4, dnnl_cpu_isa_avx512_core},
#else
	{"generic", &cpu_generic_backend, always, dnnl_cpu_isa_all},
#endif
};
enum { N_LEVELS = sizeof levels / sizeof *levels };

const struct backend *cpu_backend_best(void)
{
	for (int i = N_LEVELS - 1; i > 0; i--)
		if (levels[i].runs_here())
			return levels[i].backend;
	return levels[0].backend;
}

const struct backend *cpu_backend_level(const char *level, bool *known)
{
	*known = false;
	for (int i = 0; i < N_LEVELS; i++) {
		if (strcmp(levels[i].name, level) == 0) {
			*known = true;
			return levels[i].runs_here() ? levels[i].backend : NULL;
		}
	}
	return NULL;
}

const char *const *device_cpu_levels(void)
{
	static const char *names[N_LEVELS + 1];
	int n = 0;

	for (int i = 0; i < N_LEVELS; i++)
		if (levels[i].runs_here())
			names[n++] = levels[i].name;
	names[n] = NULL;
	return names;
}

/* The C library has its own functions of a machine with FMA, and chooses them whatever the level.
 */
static const char *c_library(char *out, size_t size)
{
	const char *fma = "";

#ifdef __x86_64__
	fma = has_v3() ? " with FMA" : " without FMA";
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

	for (int i = 0; i < N_LEVELS; i++)
		if (strcmp(levels[i].name, level) == 0)
			(void)dnnl_set_max_cpu_isa(levels[i].products);
	snprintf(arithmetic, DEVICE_ARITHMETIC, "cpu:%s, oneDNN %d.%d.%d at %s, %s", level,
		version->major, version->minor, version->patch,
		dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa()), c_library(library, sizeof library));
}
