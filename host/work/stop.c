/* SPDX-License-Identifier: MIT
 *
 * stop.c - Contract: stop.h. Tests: tests/test_resume.c.
 */
#include "host/work/stop.h"

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

/* Only what is allowed in a handler: write, alarm, _exit. */
static void leave(int number)
{
	static const char text[] =
		"stopped in the middle of a unit, which is lost; the same command "
		"goes on after the last whole one\n";

	(void)number;
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

static void on_signal(int number)
{
	if (number == SIGINT && stop_requested())
		leave(number);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (signals[i].number == number)
			stop_request(signals[i].name);
}

void stop_on_signals(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_flags = SA_RESTART;
	action.sa_handler = on_signal;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i].number, &action, NULL);
	action.sa_handler = leave;
	sigaction(SIGALRM, &action, NULL);
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
