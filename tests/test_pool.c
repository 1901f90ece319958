/* SPDX-License-Identifier: MIT
 *
 * test_pool.c - the thread pool: every item once, whatever the number of threads and however
 * late they are.
 */
#include "kernels/cpu/pool.h"
#include "tests/test.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MOST = 5000, LOOPS = 20000 };

struct count {
	_Atomic int done[MOST];
	_Atomic int in_thread[16]; /* how many tasks run as that thread right now */
	_Atomic int faults;
};

static void count_items(void *context, size_t first, size_t end, int thread)
{
	struct count *c = context;

	if (atomic_fetch_add(&c->in_thread[thread], 1) != 0)
		atomic_fetch_add(&c->faults, 1); /* two at once with one thread's scratch */
	for (size_t i = first; i < end; i++)
		atomic_fetch_add(&c->done[i], 1);
	atomic_fetch_sub(&c->in_thread[thread], 1);
}

/* More threads than cores, so that some are always late. */
TEST(every_item_of_twenty_thousand_loops_runs_exactly_once)
{
	struct test_random random = {5};
	struct count *c = calloc(1, sizeof *c);
	struct pool *pool;
	struct err err;

	REQUIRE_OK(pool_open(&pool, 7, &err), &err);
	for (int loop = 0; loop < LOOPS; loop++) {
		const size_t n = test_random_below(&random, loop % 100 ? 40 : MOST);
		const size_t chunk = 1 + test_random_below(&random, 7);

		pool_run(pool, n, chunk, count_items, c);
		for (size_t i = 0; i < n; i++) {
			REQUIRE(c->done[i] == 1, "loop %d: item %zu of %zu ran %d times", loop, i,
				n, c->done[i]);
			c->done[i] = 0;
		}
	}
	CHECK(c->faults == 0, "%d tasks shared a thread number", c->faults);
	pool_close(pool);
	free(c);
}

TEST(loops_of_nothing_and_pools_of_one_thread_work)
{
	struct count *c = calloc(1, sizeof *c);
	struct pool *pool;
	struct err err;

	REQUIRE_OK(pool_open(&pool, 1, &err), &err);
	pool_run(pool, 0, 3, count_items, c);
	pool_run(pool, 10, 3, count_items, c);
	for (size_t i = 0; i < 10; i++)
		CHECK(c->done[i] == 1, "item %zu ran %d times", i, c->done[i]);
	CHECK(c->done[10] == 0, "an item too many");
	pool_close(pool);
	free(c);
}
