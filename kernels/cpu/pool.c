/* SPDX-License-Identifier: MIT
 *
 * pool.c - Contract: pool.h. Tests: tests/test_pool.c.
 *
 * One 64-bit ticket holds the loop's generation and the next unclaimed chunk; claiming is a
 * compare-and-swap on it. A thread reads the loop's fields before it claims, and may be late:
 *   - fields change only between close_loop, which moves the ticket to the next generation with
 *     no chunk left, and publish, which opens it;
 *   - so whoever has read a field of a newer loop than its ticket fails the swap.
 *
 * Workers spin for a short while, because loops follow each other within microseconds, and then
 * sleep on the ticket's generation.
 */
#include "kernels/cpu/pool.h"

#include "host/base/thread.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <omp.h>

enum {
	SPINS = 2000, /* tries before a worker sleeps: tens of microseconds */
	SPINS_BEFORE_YIELD = 200
};

struct worker {
	struct pool *pool;
	pthread_t thread;
	int number;
};

struct pool {
	int n_threads;
	struct worker *workers; /* [n_threads - 1] */
	int n_started;
	_Atomic uint64_t ticket;    /* generation << 32 | next chunk */
	_Atomic uint32_t published; /* generation, for sleepers */
	_Atomic uint32_t sleepers;
	_Atomic size_t n_done; /* chunks finished */
	_Atomic bool closing;
	/* The loop of the current generation. */
	_Atomic size_t n, chunk, n_chunks;
	_Atomic(pool_task *) task;
	_Atomic(void *) context;
};

static void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

/* Claims and runs chunks of the current loop until none is left. */
static void work(struct pool *p, int thread)
{
	uint64_t ticket = atomic_load(&p->ticket);

	for (;;) {
		const uint32_t i = (uint32_t)ticket;
		const size_t n = atomic_load(&p->n), chunk = atomic_load(&p->chunk);
		pool_task *task = atomic_load(&p->task);
		void *context = atomic_load(&p->context);
		size_t first, end;

		if (i >= atomic_load(&p->n_chunks))
			return;
		if (!atomic_compare_exchange_weak(&p->ticket, &ticket, ticket + 1))
			continue; /* someone else's chunk, or another loop: look again */
		first = i * chunk;
		end = first + chunk < n ? first + chunk : n;
		task(context, first, end, thread);
		atomic_fetch_add(&p->n_done, 1);
		ticket = atomic_load(&p->ticket);
	}
}

static void sleep_on(struct pool *p, uint32_t generation)
{
	atomic_fetch_add(&p->sleepers, 1);
	syscall(SYS_futex, &p->published, FUTEX_WAIT_PRIVATE, generation, NULL, NULL, 0);
	atomic_fetch_sub(&p->sleepers, 1);
}

static void *worker_main(void *argument)
{
	struct worker *w = argument;
	struct pool *p = w->pool;
	uint32_t seen = 0;

	omp_set_num_threads(1); /* oneDNN, called from here, must not start threads of its own */
	while (!atomic_load(&p->closing)) {
		int spins = 0;

		while (atomic_load(&p->published) == seen && spins++ < SPINS)
			relax();
		if (atomic_load(&p->published) == seen) {
			sleep_on(p, seen);
			continue;
		}
		seen = atomic_load(&p->published);
		work(p, w->number);
	}
	return NULL;
}

static const uint64_t NO_CHUNK = UINT32_MAX;

/* From here to publish the loop's fields may be written. */
static void close_loop(struct pool *p)
{
	const uint32_t generation = atomic_load(&p->published) + 1;

	atomic_store(&p->ticket, (uint64_t)generation << 32 | NO_CHUNK);
}

static void publish(struct pool *p)
{
	const uint32_t generation = atomic_load(&p->published) + 1;

	atomic_store(&p->ticket, (uint64_t)generation << 32);
	atomic_store(&p->published, generation);
	if (atomic_load(&p->sleepers) > 0)
		syscall(SYS_futex, &p->published, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int pool_open(struct pool **out, int n_threads, struct err *err)
{
	struct pool *p = calloc(1, sizeof *p);
	char what[64];

	*out = NULL;
	if (!p)
		return err_nomem(err, "the thread pool", sizeof *p);
	p->n_threads = n_threads;
	p->workers = calloc((size_t)n_threads, sizeof *p->workers);
	if (!p->workers) {
		err_nomem(err, "the thread pool", (size_t)n_threads * sizeof *p->workers);
		goto fail;
	}
	omp_set_num_threads(1);
	while (p->n_started < n_threads - 1) {
		struct worker *w = &p->workers[p->n_started];

		*w = (struct worker){p, 0, p->n_started + 1};
		snprintf(what, sizeof what, "thread %d of %d (threads)", p->n_started + 2,
			n_threads);
		if (thread_start(&w->thread, worker_main, w, what, err))
			goto fail;
		p->n_started++;
	}
	*out = p;
	return 0;
fail:
	pool_close(p);
	return err->code;
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	atomic_store(&p->closing, true);
	close_loop(p);
	atomic_store(&p->n_chunks, 0);
	publish(p);
	syscall(SYS_futex, &p->published, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	for (int i = 0; i < p->n_started; i++)
		pthread_join(p->workers[i].thread, NULL);
	free(p->workers);
	free(p);
}

/* Chunks that others have claimed: they run on, unless their thread was put off its core, in
 * which case this core may be what it needs. */
static void wait_done(struct pool *p, size_t n_chunks)
{
	int spins = 0;

	while (atomic_load(&p->n_done) < n_chunks) {
		if (spins++ < SPINS_BEFORE_YIELD)
			relax();
		else
			sched_yield();
	}
}

void pool_run(struct pool *p, size_t n, size_t chunk, pool_task *task, void *context)
{
	const size_t n_chunks = chunk > 0 ? (n + chunk - 1) / chunk : 0;

	if (n == 0)
		return;
	if (n_chunks <= 1 || p->n_threads == 1) {
		for (size_t first = 0; first < n; first += chunk)
			task(context, first, first + chunk < n ? first + chunk : n, 0);
		return;
	}
	close_loop(p);
	atomic_store(&p->n, n);
	atomic_store(&p->chunk, chunk);
	atomic_store(&p->n_chunks, n_chunks);
	atomic_store(&p->task, task);
	atomic_store(&p->context, context);
	atomic_store(&p->n_done, 0);
	publish(p);
	work(p, 0);
	wait_done(p, n_chunks);
}
