/* SPDX-License-Identifier: MIT
 *
 * grid.h - between the parts of the harness: the runtime hands grids to the scheduler, the
 * scheduler hands accesses it makes itself to the race detector.
 */
#ifndef SAENGINE_EMU_GRID_H
#define SAENGINE_EMU_GRID_H

#include "tests/emu/emu.h"

namespace emu {

/* All blocks, now. */
void run_grid(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
	const std::function<void()> &body);

/* An access by the current thread that the compiler's instrumentation does not see. */
void touch(const void *p, size_t bytes, bool write);

} // namespace emu

#endif
