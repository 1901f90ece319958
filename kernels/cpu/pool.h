/* SPDX-License-Identifier: MIT
 *
 * pool.h - the CPU device's threads.
 *
 * A loop is cut into chunks that threads claim one by one, the calling thread among them. The
 * call waits for chunks that were claimed, never for threads: a thread that another program keeps
 * off its core claims nothing and delays nothing. (A fork-join barrier would wait for it at every
 * one of the thousands of loops of a pass; on a shared machine that is a factor, not a per cent.)
 */
#ifndef SAENGINE_POOL_H
#define SAENGINE_POOL_H

#include "host/base/err.h"

#include <stddef.h>

struct pool;

/* n_threads counts the calling thread. *out is owned, close it. Errors: ERR_DEVICE. */
int pool_open(struct pool **out, int n_threads, struct err *err);

/* Accepts NULL. */
void pool_close(struct pool *pool);

/* Items [first, end) on thread number `thread` (0 = the caller), which owns that thread's scratch
 * for the time of the call. */
typedef void pool_task(void *context, size_t first, size_t end, int thread);

/* Runs `task` over items [0, n) in chunks of `chunk` and returns when all are done. Chunk bounds
 * do not depend on the number of threads. One chunk is run by the caller, without ado. Not to be
 * called from within a task. */
void pool_run(struct pool *pool, size_t n, size_t chunk, pool_task *task, void *context);

#endif
