/* SPDX-License-Identifier: MIT
 *
 * wrong_clock.c - a library to preload: the clock on the wall is CLOCK_JUMP seconds fast, half a
 * second later as much slow, and so on. The monotonic clock is left alone, as it is by whoever sets
 * the other.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t error_now(void)
{
	const char *jump = getenv("CLOCK_JUMP");
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (t.tv_nsec < 500000000 ? 1 : -1) * (jump ? atol(jump) : 0);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	const int status = (int)syscall(SYS_clock_gettime, clock, t);

	if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		t->tv_sec += error_now();
	return status;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*out = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}
