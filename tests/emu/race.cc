/* SPDX-License-Identifier: MIT
 *
 * race.cc - finds accesses that nothing orders, reads of what was never written, accesses beyond an
 * allocation and to the host's memory. Contract: race.h, emu.h.
 *
 * Kernels are compiled with -fsanitize=thread, which puts a call before every access to memory; the
 * calls end here instead of in that sanitizer's library, which knows nothing of blocks and warps.
 * Two accesses of one launch to the same byte, one of them a write and not both atomic, must be
 * ordered by one of:
 *
 *   - being by the same thread;
 *   - a block barrier between them (the same block only);
 *   - a chain of warp operations between their lanes (each lane carries what it knows of the other
 *     lanes' clocks).
 *
 * Nothing orders different blocks. So a race is reported although this schedule did not let it do
 * harm. Of each cell of bytes the last write and the last reading are remembered; of several
 * readers only that they were several, and whether all of one warp.
 */
#include "tests/emu/race.h"

#include "tests/emu/fiber.h"
#include "tests/emu/grid.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <unistd.h>

namespace emu
{

enum { MANY = 0xffff };

/* One access to a byte. */
struct trace {
	const char *code; /* where in the program */
	uint32_t launch, block, epoch, clock, meetings;
	uint16_t thread, warp; /* MANY: several */
	bool several_blocks, atomic;
};

/* What happened to 1 << `grain` bytes, alike to all of them. */
struct cell {
	trace write, read;
	bool written;
};

struct region {
	const char *start;
	size_t size;
	bool shared;
	const char *name;
	unsigned grain; /* log2 of a cell's bytes, of which every access so far was a multiple */
	std::vector<cell> cells;
};

static std::map<const char *, region> &regions()
{
	static std::map<const char *, region> all;

	return all;
}

/* What was found last, by the address of each kilobyte. */
enum { N_FOUND = 256 };
static region *found[N_FOUND];
static size_t n_reports;

static void forget_found()
{
	for (region *&r : found)
		r = nullptr;
}

void race_add(const void *memory, size_t bytes, bool shared, const char *name)
{
	region &r = regions()[(const char *)memory];

	r.start = (const char *)memory;
	r.shared = shared;
	r.name = name;
	if (r.size != bytes) {
		r.size = bytes;
		r.grain = bytes % 4 == 0 ? 2 : 0;
		r.cells.assign(bytes >> r.grain, cell());
	}
	forget_found();
}

/* Cells fine enough for an access to n bytes from `at` on. */
static void refine(region *r, size_t at, size_t n)
{
	std::vector<cell> finer;
	unsigned grain = r->grain;

	while (((at | n) & (((size_t)1 << grain) - 1)) != 0)
		grain--;
	if (grain == r->grain)
		return;
	const size_t parts = (size_t)1 << (r->grain - grain);

	finer.reserve(r->cells.size() * parts);
	for (const cell &c : r->cells)
		finer.insert(finer.end(), parts, c);
	r->cells.swap(finer);
	r->grain = grain;
}

void race_remove(const void *memory)
{
	regions().erase((const char *)memory);
	forget_found();
}

static region *&found_for(const char *p)
{
	return found[((uintptr_t)p >> 10) % N_FOUND];
}

static bool lies_in(const char *p, const region *r)
{
	return r && p >= r->start && p < r->start + r->size;
}

static region *find(const char *p)
{
	region *&last = found_for(p);

	if (lies_in(p, last))
		return last;
	auto after = regions().upper_bound(p);

	if (after == regions().begin())
		return nullptr;
	region *r = &(--after)->second;

	/* Up to a cache line beyond its end an access is still this region's, and a mistake. */
	return p < r->start + r->size + 64 ? last = r : nullptr;
}

void race_written(const void *memory, size_t bytes)
{
	region *r = find((const char *)memory);
	const size_t at = r ? (size_t)((const char *)memory - r->start) : 0;

	if (!r || at >= r->size)
		return;
	bytes = std::min(bytes, r->size - at);
	refine(r, at, bytes);
	for (size_t i = at >> r->grain; i < (at + bytes) >> r->grain; i++)
		r->cells[i].written = true;
}

/* ---- reports --------------------------------------------------------------------------- */

static std::string source_line(const char *code)
{
	Dl_info info;
	char command[600], line[300] = "";
	FILE *pipe;

	if (!code || !dladdr(code, &info) || !info.dli_fname)
		return "?";
	/* The call's own address, not the one after it. */
	snprintf(command, sizeof command, "addr2line -s -e '%s' %#zx 2>/dev/null", info.dli_fname,
		(size_t)(code - 1 - (const char *)info.dli_fbase));
	pipe = popen(command, "r");
	if (!pipe)
		return "?";
	if (!fgets(line, sizeof line, pipe))
		snprintf(line, sizeof line, "?");
	pclose(pipe);
	line[strcspn(line, "\n (")] = '\0';
	return line;
}

static void report(const char *what, const region *r, size_t at, const char *code,
	const trace *earlier)
{
	static std::set<std::pair<const char *, const char *>> seen;

	if (!seen.insert({code, earlier ? earlier->code : nullptr}).second)
		return;
	n_reports++;
	fprintf(stderr, "emu: %s: byte %zu of %s, at %s, block %u thread %d", what, at, r->name,
		source_line(code).c_str(), now.block, current->id);
	if (earlier)
		fprintf(stderr, "; before that at %s, block %u thread %d",
			source_line(earlier->code).c_str(), earlier->block,
			earlier->thread == MANY ? -1 : earlier->thread);
	fputc('\n', stderr);
}

/* An access outside all regions. Statics of the program count as the host's. */
static void report_foreign(const void *p, const char *code)
{
	static std::set<const char *> seen;

	if (is_for_kernels(p) || !seen.insert(code).second)
		return;
	n_reports++;
	fprintf(stderr, "emu: access to the host's memory: %p, at %s, block %u thread %d\n", p,
		source_line(code).c_str(), now.block, current->id);
}

/* ---- what is ordered ------------------------------------------------------------------- */

/* Shared memory is another block's each time. */
static bool is_past(const region *r, const trace &t)
{
	return t.launch != now.launch || (r->shared && t.block != now.block);
}

static bool ordered(const region *r, const trace &t)
{
	if (is_past(r, t))
		return true;
	if (t.several_blocks || t.block != now.block)
		return false;
	if (t.epoch < now.epoch)
		return true;
	if (t.thread == current->id)
		return true;
	if (t.thread == MANY) /* readers of one warp, all of whose lanes have met since */
		return t.warp == current->warp && warp_meetings[t.warp] > t.meetings;
	return t.warp == current->warp && current->known[t.thread % 32] >= t.clock;
}

/* Field by field: a copy of what was just written in parts would wait for all of it. */
static void set_trace(trace *t, const char *code, bool atomic)
{
	t->code = code;
	t->launch = now.launch;
	t->block = now.block;
	t->epoch = now.epoch;
	t->clock = current->clock;
	t->meetings = warp_meetings[current->warp];
	t->thread = (uint16_t)current->id;
	t->warp = (uint16_t)current->warp;
	t->several_blocks = false;
	t->atomic = atomic;
}

/* Adds this reading to the readings that are remembered. */
static void remember_reading(const region *r, trace *read, const char *code, bool atomic)
{
	const bool past = is_past(r, *read);
	const bool several = read->several_blocks || read->block != now.block;
	const bool same_epoch = read->epoch >= now.epoch;
	const bool other_thread = read->thread != current->id,
		   other_warp = read->warp != current->warp;

	set_trace(read, code, atomic);
	if (past)
		return;
	if (several) {
		read->several_blocks = true;
		return;
	}
	if (same_epoch && other_thread)
		read->thread = MANY;
	if (same_epoch && other_warp)
		read->warp = MANY;
}

static void access(const void *p, size_t bytes, bool write, bool atomic, const char *code)
{
	region *r;
	size_t at, inside;

	/* Most accesses are to a thread's own variables. */
	if (!current || ((const char *)p >= current->stack &&
				(const char *)p < current->stack + STACK_BYTES))
		return;
	/* And many to its arguments, and to where it stands in the grid. */
	if (!lies_in((const char *)p, found_for((const char *)p)) && is_harness(p))
		return;
	r = find((const char *)p);
	if (!r) {
		report_foreign(p, code);
		return;
	}
	at = (size_t)((const char *)p - r->start);
	inside = at < r->size ? std::min(bytes, r->size - at) : 0;
	refine(r, at, inside);
	for (size_t i = at >> r->grain; i < (at + inside) >> r->grain; i++) {
		cell &c = r->cells[i];
		const bool present = r->shared ? c.written && !is_past(r, c.write) : c.written;

		if ((!write || atomic) && !present)
			report("reading what was never written", r, at, code, nullptr);
		if (c.written && !(atomic && c.write.atomic) && !ordered(r, c.write))
			report(write ? "race, write after write" : "race, read after write", r, at,
				code, &c.write);
		if (write) {
			if (!ordered(r, c.read))
				report("race, write after read", r, at, code, &c.read);
			set_trace(&c.write, code, atomic);
			c.written = true;
		} else {
			remember_reading(r, &c.read, code, atomic);
		}
	}
	if (inside < bytes)
		report("access beyond the end", r, at + inside, code, nullptr);
}

void touch(const void *p, size_t bytes, bool write)
{
	access(p, bytes, write, false, (const char *)__builtin_return_address(0));
}

void touch_atomically(const void *p, size_t bytes)
{
	access(p, bytes, true, true, (const char *)__builtin_return_address(0));
}

} // namespace emu

size_t emu_races(void)
{
	return emu::n_reports;
}

/* ---- what the compiler calls ------------------------------------------------------------ */

#define CODE ((const char *)__builtin_return_address(0))

#define HOOKS(bytes) \
	void __tsan_read##bytes(void *p) \
	{ \
		emu::access(p, bytes, false, false, CODE); \
	} \
	void __tsan_write##bytes(void *p) \
	{ \
		emu::access(p, bytes, true, false, CODE); \
	} \
	void __tsan_unaligned_read##bytes(void *p) \
	{ \
		emu::access(p, bytes, false, false, CODE); \
	} \
	void __tsan_unaligned_write##bytes(void *p) \
	{ \
		emu::access(p, bytes, true, false, CODE); \
	} \
	void __tsan_volatile_read##bytes(void *p) \
	{ \
		emu::access(p, bytes, false, false, CODE); \
	} \
	void __tsan_volatile_write##bytes(void *p) \
	{ \
		emu::access(p, bytes, true, false, CODE); \
	}

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_init(void)
{
}
void __tsan_func_entry(void *)
{
}
void __tsan_func_exit(void)
{
}
void __tsan_vptr_update(void **, void *)
{
}
void __tsan_vptr_read(void **)
{
}
void __tsan_read_range(void *p, size_t n)
{
	emu::access(p, n, false, false, CODE);
}
void __tsan_write_range(void *p, size_t n)
{
	emu::access(p, n, true, false, CODE);
}
}
