/* SPDX-License-Identifier: MIT
 *
 * thread.c - Contract: thread.h. Tests: tests/test_base.c.
 */
#include "host/base/thread.h"

#include "host/base/memory.h"
#include "host/base/size.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* What a thread takes of the address space, written to or not. */
static size_t stack_bytes(void)
{
	pthread_attr_t standard;
	size_t bytes = 0;

	if (pthread_attr_init(&standard) == 0) {
		pthread_attr_getstacksize(&standard, &bytes);
		pthread_attr_destroy(&standard);
	}
	return bytes;
}

int thread_start(pthread_t *thread, void *(*main)(void *), void *argument, const char *what,
	struct err *err)
{
	sigset_t all, before;
	int status;

	if (memory_check(what, stack_bytes(), err))
		return err->code;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	status = pthread_create(thread, NULL, main, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (status != 0)
		return err_set(err, ERR_DEVICE, "cannot start %s: %s", what, strerror(status));
	return 0;
}

struct loop {
	size_t n;
	thread_task *task;
	void *context;
	_Atomic size_t next;
};

struct helper {
	struct loop *loop;
	pthread_t thread;
	int number;
};

static void work(struct loop *l, int thread)
{
	for (size_t i; (i = atomic_fetch_add(&l->next, 1)) < l->n;)
		l->task(l->context, i, thread);
}

static void *helper_main(void *argument)
{
	const struct helper *h = argument;

	work(h->loop, h->number);
	return NULL;
}

void threads_run(size_t n, int n_threads, thread_task *task, void *context)
{
	const size_t n_helpers = size_min(n, (size_t)n_threads) - (n > 0);
	struct helper *helpers = n_helpers > 0 ? calloc(n_helpers, sizeof *helpers) : NULL;
	struct loop l = {.n = n, .task = task, .context = context};
	struct err ignored;
	size_t n_started = 0;

	for (; helpers && n_started < n_helpers; n_started++) {
		struct helper *h = &helpers[n_started];

		*h = (struct helper){.loop = &l, .number = (int)n_started + 1};
		if (thread_start(&h->thread, helper_main, h, "a thread", &ignored))
			break;
	}
	work(&l, 0);
	for (size_t i = 0; i < n_started; i++)
		pthread_join(helpers[i].thread, NULL);
	free(helpers);
}
