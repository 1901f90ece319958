/* SPDX-License-Identifier: MIT
 *
 * grid.h - between the parts of the harness: the runtime hands grids to the scheduler, the
 * scheduler hands accesses it makes itself to the race detector.
 */
#ifndef SAENGINE_EMU_GRID_H
#define SAENGINE_EMU_GRID_H

#include "tests/emu/emu.h"

#include <memory>

namespace emu
{

/* A kernel with a copy of its arguments. */
struct bound_kernel {
	const char *name;
	const void *kernel;
	std::shared_ptr<const void> arguments;
	size_t bytes;
	void (*call)(const void *kernel, const void *arguments);
};

/* All blocks, now. */
void run_grid(const bound_kernel &k, dim3 grid, dim3 block, size_t shared_bytes);

/* Memory for kernels. Under ASan it is exactly as large as asked for; otherwise it lies on pages of
 * its own, so that what is close behind it can only be a mistake. The host can be kept from it
 * either way. NULL where there is no room. */
void *guarded_allocate(size_t bytes);
void guarded_free(void *memory, size_t bytes);
void guarded_let_host_reach(void *memory, size_t bytes, bool reach);

/* Whether it is a variable of the harness that kernels read: the built-in ones, arguments. */
bool is_harness(const void *p);

/* Whether the address lies in memory that kernels may use; that of cudaMallocHost is not. */
bool is_for_kernels(const void *p);

/* An access by the current thread that the compiler's instrumentation does not see. */
void touch(const void *p, size_t bytes, bool write);

} // namespace emu

#endif
