/* SPDX-License-Identifier: MIT
 *
 * cpu.h - the CPU backend's own declarations. Its sources are compiled once per instruction-set
 * level (levels.h); CPU(name) gives each build's functions their own names.
 *
 * Threads: OpenMP, over blocks whose bounds depend on the shapes alone. Every output element is
 * computed by one thread in one order, so results do not depend on the number of threads.
 */
#ifndef SAENGINE_CPU_H
#define SAENGINE_CPU_H

#include "kernels/backend.h"

#define CPU_PASTE_(level, name) cpu_##level##_##name
#define CPU_PASTE(level, name) CPU_PASTE_(level, name)
#define CPU(name) CPU_PASTE(SAENGINE_LEVEL, name)

#define CPU_DECLARE(name) __typeof__(op_##name) CPU(name);
OP_NAMES(CPU_DECLARE)
#undef CPU_DECLARE

/* What each thread may write: dev->state. */
struct cpu_state {
	float *scratch; /* [n_threads][CPU_SCRATCH] */
};

/* Floats of scratch per thread: one panel of weights in float32 (linear.c), and beyond it one
 * tile of products that is read off at once (sae.c). The blocks of attention.c fit as well. */
enum {
	CPU_PANEL_ROWS = 128,
	CPU_PANEL_COLS = 4096,
	CPU_TILE_ROWS = 256,
	CPU_PANEL = CPU_PANEL_ROWS * CPU_PANEL_COLS,
	CPU_SCRATCH = CPU_PANEL + CPU_TILE_ROWS * CPU_PANEL_ROWS
};

/* The calling thread's scratch. */
float *CPU(scratch)(struct device *dev);

/* Below this many scalar operations a parallel region costs more than it saves. */
enum { CPU_WORTH_THREADS = 1 << 15 };

/* Elements [first, first + n) of a weight as float32, converted into `to` unless they already
 * are. */
const float *CPU(weight_floats)(struct tensor W, size_t first, size_t n, float *to);

/* C [m, n] = beta C + A [m, k] B, with B [n, k] transposed or [k, n] as it is; rows `lda`,
 * `ldb`, `ldc` floats apart. One thread. */
int CPU(sgemm)(bool transpose_b, size_t m, size_t n, size_t k, const float *A, size_t lda,
	const float *B, size_t ldb, float beta, float *C, size_t ldc, struct err *err);

/* C [m, n] = rows [i, i + m) of x times rows [j, j + n) of W, transposed; n at most
 * CPU_PANEL_ROWS. One thread; uses the first CPU_PANEL floats of its scratch. */
int CPU(tile_product)(struct device *dev, struct tensor x, size_t i, size_t m, struct tensor W,
	size_t j, size_t n, float *C, size_t ldc, struct err *err);

static inline const float *row_of(struct tensor t, size_t i)
{
	return (const float *)t.data + i * t.cols;
}

static inline float *row_out(struct tensor t, size_t i)
{
	return (float *)t.data + i * t.cols;
}

#endif
