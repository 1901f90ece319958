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
 * harm. Of each byte the last write and the last reading are remembered; of several readers only
 * that they were several, and whether all of one warp.
 */
#include "tests/emu/race.h"

#include "tests/emu/fiber.h"
#include "tests/emu/grid.h"

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

struct byte {
	trace write, read;
	bool written;
};

struct region {
	const char *start;
	bool shared;
	const char *name;
	std::vector<byte> bytes;
};

static std::map<const char *, region> &regions()
{
	static std::map<const char *, region> all;

	return all;
}

/* Those that were asked for last; kernels turn to few at a time. */
static region *last_found[4];
static size_t n_reports;

static void forget_found()
{
	for (region *&r : last_found)
		r = nullptr;
}

void race_add(const void *memory, size_t bytes, bool shared, const char *name)
{
	region &r = regions()[(const char *)memory];

	r.start = (const char *)memory;
	r.shared = shared;
	r.name = name;
	if (r.bytes.size() != bytes)
		r.bytes.assign(bytes, byte());
	forget_found();
}

void race_remove(const void *memory)
{
	regions().erase((const char *)memory);
	forget_found();
}

static region *find(const char *p)
{
	static unsigned turn;

	for (region *r : last_found)
		if (r && p >= r->start && p < r->start + r->bytes.size())
			return r;
	auto after = regions().upper_bound(p);

	if (after == regions().begin())
		return nullptr;
	region *r = &(--after)->second;

	/* Up to a cache line beyond its end an access is still this region's, and a mistake. */
	return last_found[turn++ % 4] = p < r->start + r->bytes.size() + 64 ? r : nullptr;
}

void race_written(const void *memory, size_t bytes)
{
	region *r = find((const char *)memory);
	const size_t at = r ? (size_t)((const char *)memory - r->start) : 0;

	for (size_t i = 0; r && i < bytes && at + i < r->bytes.size(); i++)
		r->bytes[at + i].written = true;
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

	if (is_harness(p) || is_for_kernels(p) || !seen.insert(code).second)
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

static trace trace_of_now(const char *code, bool atomic)
{
	trace t = {};

	t.code = code;
	t.launch = now.launch;
	t.block = now.block;
	t.epoch = now.epoch;
	t.clock = current->clock;
	t.meetings = warp_meetings[current->warp];
	t.thread = (uint16_t)current->id;
	t.warp = (uint16_t)current->warp;
	t.atomic = atomic;
	return t;
}

/* Adds this reading to the readings that are remembered. */
static void remember_reading(const region *r, trace *read, const trace &mine)
{
	const trace before = *read;

	*read = mine;
	if (is_past(r, before))
		return;
	if (before.several_blocks || before.block != mine.block) {
		read->several_blocks = true;
		return;
	}
	if (before.epoch < mine.epoch)
		return;
	if (before.thread != mine.thread)
		read->thread = MANY;
	if (before.warp != mine.warp)
		read->warp = MANY;
}

static void access(const void *p, size_t bytes, bool write, bool atomic, const char *code)
{
	region *r;
	trace mine;

	/* Most accesses are to a thread's own variables. */
	if (!current || ((const char *)p >= current->stack &&
				(const char *)p < current->stack + STACK_BYTES))
		return;
	r = find((const char *)p);
	if (!r) {
		report_foreign(p, code);
		return;
	}
	mine = trace_of_now(code, atomic);
	for (size_t i = 0; i < bytes; i++) {
		const size_t at = (size_t)((const char *)p - r->start) + i;

		if (at >= r->bytes.size()) {
			report("access beyond the end", r, at, code, nullptr);
			return;
		}
		byte &b = r->bytes[at];
		const bool present = r->shared ? b.written && !is_past(r, b.write) : b.written;

		if ((!write || atomic) && !present)
			report("reading what was never written", r, at, code, nullptr);
		if (b.written && !(atomic && b.write.atomic) && !ordered(r, b.write))
			report(write ? "race, write after write" : "race, read after write", r, at,
				code, &b.write);
		if (write) {
			if (!ordered(r, b.read))
				report("race, write after read", r, at, code, &b.read);
			b.write = mine;
			b.written = true;
		} else {
			remember_reading(r, &b.read, mine);
		}
	}
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
