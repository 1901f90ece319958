/* SPDX-License-Identifier: MIT
 *
 * thread.h - threads that take no signals, and loops over a few of them.
 */
#ifndef SAENGINE_THREAD_H
#define SAENGINE_THREAD_H

#include "host/base/err.h"

#include <pthread.h>
#include <stddef.h>

/* Starts `main`(argument), with all signals blocked: they go to whoever waits for them. `what` is
 * for messages. Errors: ERR_DEVICE; also where the
 * limit of address space has no room for its stack (memory.h). */
int thread_start(pthread_t *thread, void *(*main)(void *), void *argument, const char *what,
	struct err *err);

/* Item i on thread number `thread` (0 = the caller), which may be the number of its scratch. */
typedef void thread_task(void *context, size_t i, int thread);

/* Runs `task` for i in [0, n) on n_threads threads, the caller among them, each taking the next
 * item when it has done one, and returns when all are done. Fewer threads where no more can be
 * started: nothing may depend on their number. For long items: the threads are started for this
 * call. */
void threads_run(size_t n, int n_threads, thread_task *task, void *context);

#endif
