/* SPDX-License-Identifier: MIT
 *
 * stop.c - Contract: stop.h. Tests: tests/test_resume.c.
 *
 * A thread waits for the signals, and all others keep them blocked. A handler would run on the
 * stack of whichever thread it finds, and oneDNN's products keep their stack pointer in heap memory
 * that has no room for one.
 */
#include "host/work/stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic(const char *) asked_by; /* NULL until then */

static const struct {
	int number;
	const char *name;
} signals[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGUSR1, "SIGUSR1"},
	{SIGUSR2, "SIGUSR2"}};

static _Noreturn void leave(void)
{
	static const char text[] =
		"stopped in the middle of a unit, which is lost; the same command "
		"goes on after the last whole one\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) < 0) {
		/* Nobody is listening. */
	}
	_exit(ERR_STOPPED);
}

void stop_request(const char *reason)
{
	const char *nobody = NULL;

	if (atomic_compare_exchange_strong(&asked_by, &nobody, reason))
		alarm(STOP_GRACE);
}

static sigset_t awaited(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaddset(&set, signals[i].number);
	return set;
}

static void *watch(void *unused)
{
	const sigset_t set = awaited();
	int number;

	(void)unused;
	while (sigwait(&set, &number) == 0) {
		if (number == SIGALRM || (number == SIGINT && stop_requested()))
			leave();
		for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
			if (signals[i].number == number)
				stop_request(signals[i].name);
	}
	return NULL;
}

int stop_on_signals(struct err *err)
{
	const sigset_t set = awaited();
	pthread_t watcher;
	int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);

	if (rc == 0)
		rc = pthread_create(&watcher, NULL, watch, NULL);
	if (rc == 0)
		rc = pthread_detach(watcher);
	return rc == 0 ? 0
		       : err_set(err, ERR_INTERNAL,
				 "cannot start the thread that waits for signals: %s",
				 strerror(rc));
}

bool stop_requested(void)
{
	return atomic_load(&asked_by) != NULL;
}

int stop_check(struct err *err)
{
	const char *reason = atomic_load(&asked_by);

	return reason ? err_set(err, ERR_STOPPED, "stopped (%s)", reason) : 0;
}
