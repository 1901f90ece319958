/* SPDX-License-Identifier: MIT
 *
 * stop.c - Contract: stop.h. Tests: tests/test_resume.c.
 *
 * A thread waits for the signals, and all others keep them blocked. A handler would run on the
 * stack of whichever thread it finds, and oneDNN's products keep their stack pointer in heap memory
 * that has no room for one.
 */
#include "host/work/stop.h"

#include "host/base/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static _Atomic(const char *) asked_by; /* NULL until then */

static const struct {
	int number;
	const char *name;
} signals[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"},
	{SIGHUP, "SIGHUP"}, {SIGXCPU, "SIGXCPU"}};

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

/* Those that whoever started the process had it ignore, as nohup does with SIGHUP and a shell with
 * SIGINT of what it puts into the background, stay ignored: waited for they would arrive. */
static bool is_ignored(int number)
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static sigset_t awaited; /* set before the thread starts */

static void choose_awaited(void)
{
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGALRM);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (!is_ignored(signals[i].number))
			sigaddset(&awaited, signals[i].number);
}

static void *watch(void *unused)
{
	int number;

	(void)unused;
	while (sigwait(&awaited, &number) == 0) {
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
	pthread_t watcher;

	/* What these would kill for is an error of the write, which says more. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	choose_awaited();
	pthread_sigmask(SIG_BLOCK, &awaited, NULL);
	if (thread_start(&watcher, watch, NULL, "the thread that waits for signals", err))
		return err->code;
	pthread_detach(watcher);
	return 0;
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
