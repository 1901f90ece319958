/* SPDX-License-Identifier: MIT
 *
 * levels.c - chooses among the builds of the CPU backend. Contract: levels.h and ops.h
 * (device_cpu_levels). Compiled once, without instruction-set flags.
 */
#include "kernels/cpu/levels.h"

#include <string.h>

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
} levels[] = {
#ifdef __x86_64__
	{"x86-64-v2", &cpu_v2_backend, always},
	{"x86-64-v3", &cpu_v3_backend, has_v3},
	{"x86-64-v4", &cpu_v4_backend, has_v4},
#else
	{"generic", &cpu_generic_backend, always},
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
