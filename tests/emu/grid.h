/* SPDX-License-Identifier: MIT
 *
 * grid.h - between the parts of the harness: the runtime hands grids to the scheduler, the
 * scheduler hands accesses it makes itself to the race detector.
 */
#ifndef SAENGINE_EMU_GRID_H
#define SAENGINE_EMU_GRID_H

#include "tests/emu/emu.h"

namespace emu
{

/* All blocks, now. */
void run_grid(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
	const std::function<void()> &body);

/* Memory for kernels. Under ASan it is exactly as large as asked for; otherwise it lies on pages of
 * its own, so that what is close behind it can only be a mistake and the host can be kept from it.
 * NULL where there is no room. */
void *guarded_allocate(size_t bytes);
void guarded_free(void *memory, size_t bytes);
void guarded_let_host_reach(void *memory, size_t bytes, bool reach);

/* An access by the current thread that the compiler's instrumentation does not see. */
void touch(const void *p, size_t bytes, bool write);

} // namespace emu

#endif
