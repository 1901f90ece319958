/* SPDX-License-Identifier: MIT
 *
 * cpu.h - the CPU backend's own declarations. Its sources are compiled once per instruction-set
 * level (levels.h); CPU(name) gives each build's functions their own names.
 *
 * Threads: chunks of rows or tiles whose bounds depend on the shapes alone (pool.h). Every output
 * element is computed by one thread in one order, so results do not depend on their number.
 */
#ifndef SAENGINE_CPU_H
#define SAENGINE_CPU_H

#include "host/base/memory.h"
#include "kernels/backend.h"
#include "kernels/cpu/pool.h"

#include <stdatomic.h>

#define CPU_PASTE_(level, name) cpu_##level##_##name
#define CPU_PASTE(level, name) CPU_PASTE_(level, name)
#define CPU(name) CPU_PASTE(SAENGINE_LEVEL, name)

#define CPU_DECLARE(name) __typeof__(op_##name) CPU(name);
OP_NAMES(CPU_DECLARE)
#undef CPU_DECLARE

/* dev->state. */
struct cpu_state {
	struct pool *pool;
	float *scratch; /* [n_threads][CPU_SCRATCH]: what each thread may write */
};

/* Floats of scratch per thread: one panel of weights in float32 (linear.c), and beyond it one
 * tile of products that is read off at once (sae.c). The blocks of attention.c fit as well. */
enum {
	CPU_PANEL_ROWS = 128,
	CPU_PANEL_COLS = 4096,
	CPU_TILE_ROWS = 256,
	CPU_BACK_COLS = 512,
	CPU_PANEL = CPU_PANEL_ROWS * CPU_PANEL_COLS,
	CPU_SCRATCH = CPU_PANEL + CPU_TILE_ROWS * CPU_PANEL_ROWS
};

static inline float *cpu_scratch(struct device *dev, int thread)
{
	return ((struct cpu_state *)dev->state)->scratch + (size_t)thread * CPU_SCRATCH;
}

/* Runs `task` over n items of about `cost` scalar operations each, in chunks worth handing to
 * another thread (some ten microseconds); little work stays with the caller. */
static inline void cpu_run(struct device *dev, size_t n, size_t cost, pool_task *task,
	void *context)
{
	enum { CHUNK = 1 << 15 };
	const size_t items = CHUNK / (cost + 1) + 1;

	pool_run(((struct cpu_state *)dev->state)->pool, n, items, task, context);
}

/* Before products of oneDNN's, which crash where they find no memory. Each thread takes less than a
 * megabyte. */
static inline int cpu_check_memory(const struct device *dev, struct err *err)
{
	return memory_check("matrix products", (size_t)dev->n_threads << 20, err);
}

/* Elements [first, first + n) of a weight as float32, converted into `to` unless they already
 * are. */
const float *CPU(weight_floats)(struct tensor W, size_t first, size_t n, float *to);

/* Dot products  y[i][j] = x[i] . w[j],  with `add` y[i][j] + x[i] . w[j]; dots.c. Their bits depend
 * on x[i], w[j] and y[i][j] alone. Of a bfloat16 weight, as it is in memory or by dots_weights, the
 * rows of x must have gone through dots_split. */
enum { CPU_DOTS_W = 4, CPU_DOTS_PIECE = 1024 }; /* rows of w at a time; columns of one sum */

struct cpu_dots {
	size_t n;       /* length of the rows */
	const float *x; /* n_x rows, stride_x floats apart */
	size_t n_x, stride_x;
	const void *w[CPU_DOTS_W]; /* bfloat16 or float; all are there, n_w are used */
	size_t n_w;
	bool bf16;
	float *y;
	size_t stride_y;
	bool add;
};

void CPU(dots)(const struct cpu_dots *d);
void CPU(dots_split)(const float *x, size_t n, float *to);

/* Elements [first, first + n) of a weight for dots, as float: in `to`, or where they are. */
const float *CPU(dots_weights)(struct tensor W, size_t first, size_t n, float *to);

/* C [m, n] = rows [i, i + m) of x times rows [j, j + n) of W, transposed; n at most
 * CPU_PANEL_ROWS. One thread; `panel` is CPU_PANEL floats of its scratch. */
int CPU(tile_product)(struct device *dev, float *panel, struct tensor x, size_t i, size_t m,
	struct tensor W, size_t j, size_t n, float *C, size_t ldc, struct err *err);

/* Rows [i, i + m), columns [k, k + n) of dx = beta dx + dy W; n at most CPU_BACK_COLS. */
int CPU(tile_product_backward)(struct device *dev, float *panel, struct tensor dy, size_t i,
	size_t m, struct tensor W, size_t k, size_t n, double beta, struct tensor dx,
	struct err *err);

/* What an SAE's input does to a row: u = (x - mean) / divisor, undone by s and m (ops.h). */
struct cpu_sae_input {
	float mean, divisor, s, m;
};

struct cpu_sae_input CPU(sae_input_of)(enum sae_input kind, const float *x, size_t d);

/* *u = what the encoder reads: x itself, or rows in fresh *memory, to be freed. */
int CPU(sae_input)(struct device *dev, enum sae_input kind, struct tensor x, struct tensor *u,
	float **memory, struct err *err);

/* u of a row. */
static inline void cpu_sae_input_apply(struct cpu_sae_input in, const float *x, float *u, size_t d)
{
	for (size_t j = 0; j < d; j++)
		u[j] = (x[j] - in.mean) / in.divisor;
}

/* The first error of the tiles of a loop, whichever thread met it. */
struct cpu_failure {
	_Atomic int taken;
	struct err err;
};

static inline void cpu_fail(struct cpu_failure *f, const struct err *err)
{
	int free_place = 0;

	if (atomic_compare_exchange_strong(&f->taken, &free_place, 1))
		f->err = *err;
}

static inline const float *row_of(struct tensor t, size_t i)
{
	return (const float *)t.data + i * t.cols;
}

static inline float *slice_of(struct slice c, size_t i)
{
	return (float *)c.of.data + i * c.of.cols + c.first;
}

static inline float *row_out(struct tensor t, size_t i)
{
	return (float *)t.data + i * t.cols;
}

#endif
