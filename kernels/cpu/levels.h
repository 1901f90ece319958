/* SPDX-License-Identifier: MIT
 *
 * levels.h - the CPU backend is compiled once per instruction-set level from the same sources
 * (CMake sets SAENGINE_LEVEL); at run time the fastest level this processor has is chosen.
 */
#ifndef SAENGINE_CPU_LEVELS_H
#define SAENGINE_CPU_LEVELS_H

#include "kernels/backend.h"

const struct backend *cpu_backend_best(void);

/* NULL when `level` is unknown (*known false) or this processor cannot run it (*known true). */
const struct backend *cpu_backend_level(const char *level, bool *known);

#endif
