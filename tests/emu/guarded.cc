/* SPDX-License-Identifier: MIT
 *
 * guarded.cc - memory for kernels. Contract: grid.h.
 */
#include "tests/emu/grid.h"

#include <cstdlib>

#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace emu
{

#ifdef __SANITIZE_ADDRESS__

void *guarded_allocate(size_t bytes)
{
	void *memory;

	return posix_memalign(&memory, 256, bytes ? bytes : 1) == 0 ? memory : nullptr;
}

void guarded_free(void *memory, size_t bytes)
{
	guarded_let_host_reach(memory, bytes, true);
	free(memory);
}

void guarded_let_host_reach(void *memory, size_t bytes, bool reach)
{
	if (reach)
		__asan_unpoison_memory_region(memory, bytes);
	else
		__asan_poison_memory_region(memory, bytes);
}

#else

static size_t pages_of(size_t bytes)
{
	return bytes / 4096 * 4096 + 2 * 4096;
}

void *guarded_allocate(size_t bytes)
{
	void *memory = mmap(nullptr, pages_of(bytes), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? nullptr : memory;
}

void guarded_free(void *memory, size_t bytes)
{
	munmap(memory, pages_of(bytes));
}

void guarded_let_host_reach(void *memory, size_t bytes, bool reach)
{
	mprotect(memory, pages_of(bytes), reach ? PROT_READ | PROT_WRITE : PROT_NONE);
}

#endif

} // namespace emu
