/* SPDX-License-Identifier: MIT
 *
 * emu.cc - the threads of a block: scheduling, barriers, warp operations. Contract: emu.h.
 * Streams and memory are in runtime.cc.
 *
 * A fiber runs until it waits and then goes on as the next that can; whoever arrives last at a
 * barrier or warp operation completes it for all. Lanes leave what they bring in their own record,
 * so the last one can compute every result. A fiber is never rebuilt: it loops over the blocks it
 * takes part in.
 */
#include "tests/emu/fiber.h"
#include "tests/emu/grid.h"
#include "tests/emu/race.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

extern "C" char __start_emu_shared[] __attribute__((weak));
extern "C" char __stop_emu_shared[] __attribute__((weak));

namespace emu
{

enum { MAX_THREADS = 1024, LANES = 32, MAX_WARPS = MAX_THREADS / LANES };

thread *current;
uint3 block_index;
dim3 block_size, grid_size;
char *dynamic_shared;
progress now;
uint32_t warp_meetings[MAX_WARPS];

static thread *threads[MAX_THREADS];
static int n_threads;            /* of the block that runs */
static int n_live, n_at_barrier; /* of them */
static int barrier_mode;
static uint32_t waiting[MAX_WARPS], live[MAX_WARPS]; /* lanes: in a warp operation; not left */
static const bound_kernel *running;
static const char *kernel_name = "";
static emu_order order = EMU_FORWARD;
static uint64_t seed, random_state;
static int64_t only_block = -1;
static ptrdiff_t blind = -1;
static emu_counts counts;

/* Bit i: thread i can run. */
static uint64_t ready[MAX_THREADS / 64];

static void set_ready(thread *t)
{
	t->state = thread::READY;
	ready[t->id / 64] |= (uint64_t)1 << t->id % 64;
}

static void set_waiting(thread *t, decltype(t->state) state)
{
	t->state = state;
	ready[t->id / 64] &= ~((uint64_t)1 << t->id % 64);
}

static uint64_t random_bits()
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static bool same_place(place a, place b)
{
	return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* ---- who is next ------------------------------------------------------------------- */

static thread *next_thread()
{
	const int n = (n_threads + 63) / 64;

	if (order == EMU_FORWARD) {
		for (int w = 0; w < n; w++)
			if (ready[w])
				return threads[64 * w + __builtin_ctzll(ready[w])];
	} else if (order == EMU_REVERSE) {
		for (int w = n - 1; w >= 0; w--)
			if (ready[w])
				return threads[64 * w + 63 - __builtin_clzll(ready[w])];
	} else {
		const int start = (int)(random_bits() % (uint64_t)n_threads);

		for (int i = 0; i <= n; i++) { /* the first word twice: its upper part, then all */
			const int w = (start / 64 + i) % n;
			const uint64_t some = i == 0 ? ready[w] & ~(uint64_t)0 << start % 64
						     : ready[w];

			if (some)
				return threads[64 * w + __builtin_ctzll(some)];
		}
	}
	return nullptr;
}

/* Goes on as the next thread that can; where none can, as run_block. */
static void give_way(thread *t)
{
	thread *next = next_thread();

	if (next == t)
		return;
	current = next;
	fiber_switch(t, next);
}

/* ---- messages -------------------------------------------------------------------------- */

static const char *what_waits(const thread *t)
{
	static const char *const names[] = {"shuffle", "vote", "__syncwarp", "mma"};

	switch (t->state) {
	case thread::AT_BARRIER:
		return "block barrier";
	case thread::AT_WARP_OP:
		return names[(int)t->op];
	case thread::LEFT:
		return "left the kernel";
	default:
		return "running";
	}
}

/* Runs of threads that wait for the same thing. */
static void print_waiting()
{
	for (int i = 0, j; i < n_threads; i = j) {
		const thread *a = threads[i];

		for (j = i + 1; j < n_threads; j++) {
			const thread *b = threads[j];

			if (a->state != b->state ||
				(a->state != thread::LEFT && a->at.line != b->at.line))
				break;
		}
		fprintf(stderr, "emu:   threads %d to %d: %s", i, j - 1, what_waits(a));
		if (a->state == thread::AT_BARRIER || a->state == thread::AT_WARP_OP)
			fprintf(stderr, " at %s:%d", a->at.file, a->at.line);
		if (a->state == thread::AT_WARP_OP)
			fprintf(stderr, ", mask %08x", a->mask);
		fputc('\n', stderr);
	}
}

/* ---- barriers that can be made blind --------------------------------------------------- */

static std::vector<std::string> &barrier_names()
{
	static std::vector<std::string> names;

	return names;
}

static std::vector<bool> barrier_met;

static size_t barrier_number(place at)
{
	const char *slash = strrchr(at.file, '/');
	const std::string name = std::string(slash ? slash + 1 : at.file) + ":" +
				 std::to_string(at.line);
	std::vector<std::string> &names = barrier_names();
	size_t i = 0;

	while (i < names.size() && names[i] != name)
		i++;
	if (i == names.size()) {
		names.push_back(name);
		barrier_met.push_back(false);
	}
	return i;
}

/* The name is looked up once per place, not once per thread that comes by. */
static bool is_blind(place at)
{
	static place last;
	static size_t number;

	if (at.file != last.file || at.line != last.line) {
		number = barrier_number(at);
		last = at;
	}
	barrier_met[number] = true;
	return (ptrdiff_t)number == blind;
}

/* ---- block barrier --------------------------------------------------------------------- */

static void check_barrier()
{
	const thread *first = nullptr;

	for (int i = 0; i < n_threads; i++) {
		const thread *t = threads[i];

		if (t->state == thread::LEFT) {
			current = nullptr;
			print_waiting();
			emu_fail("thread %d left the kernel; others wait at a block barrier", i);
		}
		if (!first)
			first = t;
		if (!same_place(t->at, first->at)) {
			current = nullptr;
			print_waiting();
			emu_fail("threads of one block wait at different barriers");
		}
	}
}

static void complete_barrier()
{
	int n = 0, result;

	check_barrier();
	for (int i = 0; i < n_threads; i++)
		n += threads[i]->predicate;
	result = barrier_mode == 1 ? n : barrier_mode == 2 ? n == n_threads : n > 0;
	for (int i = 0; i < n_threads; i++) {
		threads[i]->predicate = result;
		set_ready(threads[i]);
	}
	n_at_barrier = 0;
	now.epoch++;
	counts.barriers++;
}

int barrier(int predicate, int mode, place at)
{
	thread *t = current;

	if (is_blind(at))
		return predicate;
	t->predicate = predicate;
	t->at = at;
	set_waiting(t, thread::AT_BARRIER);
	barrier_mode = mode;
	if (++n_at_barrier == n_live)
		complete_barrier();
	give_way(t);
	return t->predicate;
}

/* ---- warp operations ------------------------------------------------------------------- */

static float bf16_half(uint32_t pair, int half)
{
	return __uint_as_float(half ? pair & 0xffff0000u : pair << 16);
}

/* The layouts are those of kernels/cuda/primitives.cuh. */
static void complete_mma(thread *const *lanes)
{
	float A[16][16], B[16][8];

	for (int l = 0; l < LANES; l++) {
		const uint32_t *a = lanes[l]->mma_a, *b = lanes[l]->mma_b;
		const int g = l / 4, c = 2 * (l % 4);

		for (int h = 0; h < 2; h++) {
			A[g][c + h] = bf16_half(a[0], h);
			A[g + 8][c + h] = bf16_half(a[1], h);
			A[g][c + 8 + h] = bf16_half(a[2], h);
			A[g + 8][c + 8 + h] = bf16_half(a[3], h);
			B[c + h][g] = bf16_half(b[0], h);
			B[c + 8 + h][g] = bf16_half(b[1], h);
		}
	}
	for (int l = 0; l < LANES; l++) {
		for (int i = 0; i < 4; i++) {
			const int row = l / 4 + i / 2 * 8, col = 2 * (l % 4) + i % 2;
			float sum = 0;

			for (int k = 0; k < 16; k++)
				sum += A[row][k] * B[k][col];
			lanes[l]->mma_c[i] += sum;
		}
	}
}

static void check_lanes(const thread *const *lanes, const thread *first, uint32_t group)
{
	for (uint32_t rest = group; rest; rest &= rest - 1) {
		const thread *t = lanes[__builtin_ctz(rest)];

		if (t->op == first->op && t->mask == first->mask && same_place(t->at, first->at))
			continue;
		current = nullptr;
		print_waiting();
		emu_fail("warp %d: lanes of mask %08x are in different warp operations", t->warp,
			first->mask);
	}
	if (group != first->mask) {
		current = nullptr;
		print_waiting();
		emu_fail("warp %d: mask %08x at %s:%d names lanes that have left", first->warp,
			first->mask, first->at.file, first->at.line);
	}
}

/* After an operation every lane of it knows what any of them knew, and that the others came. Only
 * the race detector asks. */
static void join_clocks(thread *const *lanes, uint32_t group)
{
#ifdef EMU_RACE
	uint32_t known[LANES] = {0};

	for (uint32_t rest = group; rest; rest &= rest - 1) {
		thread *t = lanes[__builtin_ctz(rest)];

		t->known[t->lane] = t->clock++;
		for (int i = 0; i < LANES; i++)
			known[i] = t->known[i] > known[i] ? t->known[i] : known[i];
	}
	for (uint32_t rest = group; rest; rest &= rest - 1)
		memcpy(lanes[__builtin_ctz(rest)]->known, known, sizeof known);
#else
	(void)lanes, (void)group;
#endif
}

static void complete_warp_operation(thread *const *lanes, uint32_t group)
{
	const thread *first = lanes[__builtin_ctz(group)];
	uint32_t votes = 0;

	if (first->op == warp_op::mma)
		complete_mma(lanes);
	for (uint32_t rest = group; rest && first->op == warp_op::vote; rest &= rest - 1) {
		int vote;

		memcpy(&vote, lanes[__builtin_ctz(rest)]->brought, sizeof vote);
		votes |= vote ? rest & -rest : 0;
	}
	for (uint32_t rest = group; rest; rest &= rest - 1) {
		thread *t = lanes[__builtin_ctz(rest)];

		memcpy(t->taken, lanes[t->source]->brought, sizeof t->taken);
		t->votes = votes;
		set_ready(t);
	}
	waiting[first->warp] &= ~group;
	join_clocks(lanes, group);
	if (group == live[first->warp])
		warp_meetings[first->warp]++;
	counts.warp_operations++;
}

static void try_warp_operation(int warp)
{
	thread *const *lanes = threads + warp * LANES;

	for (uint32_t rest = waiting[warp]; rest;) {
		const thread *first = lanes[__builtin_ctz(rest)];
		const uint32_t group = first->mask & live[warp];

		rest &= rest - 1;
		if (group & ~waiting[warp])
			continue; /* not all are here */
		check_lanes(lanes, first, group);
		complete_warp_operation(lanes, group);
		rest &= ~group;
	}
}

void warp_operation(warp_op op, unsigned mask, int source, const void *value, size_t bytes,
	place at)
{
	thread *t = current;

	if (op == warp_op::sync && is_blind(at))
		return;
	if (!(mask >> t->lane & 1))
		emu_fail("%s:%d: lane %d is not in its own mask %08x", at.file, at.line, t->lane,
			mask);
	if (!(mask >> source & 1))
		emu_fail("%s:%d: lane %d reads lane %d, which is not in mask %08x", at.file,
			at.line, t->lane, source, mask);
	t->op = op;
	t->mask = mask;
	t->source = source;
	t->at = at;
	memcpy(t->brought, value, bytes);
	set_waiting(t, thread::AT_WARP_OP);
	waiting[t->warp] |= 1u << t->lane;
	if (!(mask & live[t->warp] & ~waiting[t->warp])) /* the last to come */
		try_warp_operation(t->warp);
	give_way(t);
}

/* ---- copies in the background ---------------------------------------------------------- */

struct copy {
	void *to;
	const void *from; /* NULL: zeros */
	int group;
};

struct copies {
	std::vector<copy> on_their_way;
	int group;
};

static copies copies_of[MAX_THREADS];

/* Adversarial: until it is waited for, the destination holds garbage. */
void async_copy(void *to, const void *from, bool valid, place at)
{
	copies *c = &copies_of[current->id];

	if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0)
		emu_fail("%s:%d: the addresses of a cp.async are not 16-byte aligned", at.file,
			at.line);
	c->on_their_way.push_back({to, valid ? from : nullptr, c->group});
	memset(to, 0xff, 16);
	touch(to, 16, true);
	if (valid)
		touch(from, 16, false);
}

void async_commit()
{
	copies_of[current->id].group++;
}

void async_wait(int newest)
{
	copies *c = &copies_of[current->id];
	std::vector<copy> later;

	for (const copy &one : c->on_their_way) {
		if (one.group >= c->group - newest) {
			later.push_back(one);
			continue;
		}
		if (one.from)
			memcpy(one.to, one.from, 16);
		else
			memset(one.to, 0, 16);
		touch(one.to, 16, true);
	}
	c->on_their_way.swap(later);
}

/* ---- blocks and grids ------------------------------------------------------------------ */

static void fiber_body()
{
	thread *t = current;

	fiber_entered();
	for (;;) {
		running->call(running->kernel, running->arguments.get());
		if (!copies_of[t->id].on_their_way.empty())
			emu_fail("a thread leaves with a cp.async on its way");
		set_waiting(t, thread::LEFT);
		live[t->warp] &= ~(1u << t->lane);
		n_live--;
		if (n_at_barrier > 0 && n_at_barrier == n_live)
			complete_barrier();
		if (waiting[t->warp])
			try_warp_operation(t->warp);
		give_way(t);
	}
}

__attribute__((no_sanitize("address"))) static void poison_static_shared()
{
#ifdef __SANITIZE_ADDRESS__ /* memset would stumble over the red zones */
	for (volatile char *p = __start_emu_shared; p < __stop_emu_shared; p++)
		*p = (char)0xff;
#else
	memset(__start_emu_shared, 0xff, (size_t)(__stop_emu_shared - __start_emu_shared));
#endif
}

static void run_block(uint64_t block)
{
	now.block = (uint32_t)block;
	now.epoch = 1;
	block_index = {(unsigned)(block % grid_size.x),
		(unsigned)(block / grid_size.x % grid_size.y),
		(unsigned)(block / grid_size.x / grid_size.y)};
	n_live = n_threads;
	n_at_barrier = 0;
	memset(waiting, 0, sizeof waiting);
	memset(live, 0, sizeof live);
	memset(ready, 0, sizeof ready);
	memset(warp_meetings, 0, sizeof warp_meetings);
	for (int i = 0; i < n_threads; i++) {
		thread *t = threads[i];

		t->clock = 1;
		memset(t->known, 0, sizeof t->known);
		copies_of[i].group = 0;
		live[t->warp] |= 1u << t->lane;
		set_ready(t);
	}
	counts.blocks++;
	current = next_thread();
	fiber_switch(nullptr, current);
	if (n_live > 0) {
		print_waiting();
		emu_fail("deadlock: no thread of the block can go on");
	}
}

static void prepare_threads(dim3 block)
{
	n_threads = (int)(block.x * block.y * block.z);
	for (int i = 0; i < n_threads; i++) {
		if (!threads[i]) {
			threads[i] = new thread();
			threads[i]->id = i;
			threads[i]->lane = i % LANES;
			threads[i]->warp = i / LANES;
			fiber_create(threads[i], fiber_body);
		}
		threads[i]->index = {(unsigned)i % block.x, (unsigned)i / block.x % block.y,
			(unsigned)i / (block.x * block.y)};
	}
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
	return b ? greatest_common_divisor(b, a % b) : a;
}

static char *allocate_shared(size_t bytes)
{
	void *memory = guarded_allocate(bytes);

	if (!memory)
		emu_fail("no host memory for %zu bytes of shared memory", bytes);
	memset(memory, 0xff, bytes);
	race_add(memory, bytes, true, "dynamic shared memory");
	return (char *)memory;
}

void run_grid(const bound_kernel &k, dim3 grid, dim3 block, size_t shared_bytes)
{
	const uint64_t n = (uint64_t)grid.x * grid.y * grid.z;
	uint64_t step = 1, first = 0; /* random order: first + i step, step and n coprime */

	kernel_name = k.name;
	running = &k;
	block_size = block;
	grid_size = grid;
	prepare_threads(block);
	now.launch++;
	counts.launches++;
	random_state = (seed + now.launch) * 0x9e3779b97f4a7c15u | 1;
	if (order == EMU_RANDOM && n > 1) {
		do
			step = random_bits() % n;
		while (greatest_common_divisor(step, n) != 1);
		first = random_bits() % n;
	}
	race_add(__start_emu_shared, (size_t)(__stop_emu_shared - __start_emu_shared), true,
		"shared memory");
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t at = order == EMU_FORWARD   ? i
				    : order == EMU_REVERSE ? n - 1 - i
							   : (first + i * step) % n;

		if (only_block >= 0 && at != (uint64_t)only_block)
			continue;
		dynamic_shared = shared_bytes ? allocate_shared(shared_bytes) : nullptr;
		poison_static_shared();
		run_block(at);
		if (shared_bytes) {
			race_remove(dynamic_shared);
			guarded_free(dynamic_shared, shared_bytes);
		}
		dynamic_shared = nullptr;
	}
	kernel_name = "";
}

static bool lies_in(const void *p, const void *start, size_t bytes)
{
	return (const char *)p >= (const char *)start &&
	       (const char *)p < (const char *)start + bytes;
}

bool is_harness(const void *p)
{
	return lies_in(p, current, sizeof *current) || lies_in(p, &current, sizeof current) ||
	       lies_in(p, &block_index, sizeof block_index) ||
	       lies_in(p, &block_size, sizeof block_size) ||
	       lies_in(p, &grid_size, sizeof grid_size) ||
	       lies_in(p, &dynamic_shared, sizeof dynamic_shared) ||
	       lies_in(p, running->arguments.get(), running->bytes);
}

#ifndef EMU_RACE
void touch(const void *, size_t, bool)
{
}
void touch_atomically(const void *, size_t)
{
}
#endif

} // namespace emu

/* ---- control.h ------------------------------------------------------------------------- */

void emu_set_order(enum emu_order which, uint64_t with_seed)
{
	emu::order = which;
	emu::seed = with_seed;
}

void emu_set_only_block(int64_t block)
{
	emu::only_block = block;
}

size_t emu_barriers(void)
{
	return emu::barrier_names().size();
}

const char *emu_barrier_name(size_t i)
{
	return emu::barrier_names()[i].c_str();
}

int emu_barrier_met(size_t i)
{
	return emu::barrier_met[i];
}

void emu_forget_met(void)
{
	emu::barrier_met.assign(emu::barrier_met.size(), false);
}

void emu_set_blind_barrier(ptrdiff_t i)
{
	emu::blind = i;
}

struct emu_counts emu_count(void)
{
	return emu::counts;
}

#ifndef EMU_RACE
size_t emu_races(void)
{
	return 0;
}
#endif

void emu_fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "emu: kernel %s, block (%u, %u, %u)", emu::kernel_name, emu::block_index.x,
		emu::block_index.y, emu::block_index.z);
	if (emu::current)
		fprintf(stderr, ", thread (%u, %u, %u)", emu::current->index.x,
			emu::current->index.y, emu::current->index.z);
	fputs(": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	fflush(NULL);
	_exit(EMU_FAILED);
}
