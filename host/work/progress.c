/* SPDX-License-Identifier: MIT
 *
 * progress.c - Contract: progress.h.
 */
#include "host/work/progress.h"

#include "host/base/clock.h"
#include "host/base/vec.h"

#include <stdio.h>
#include <unistd.h>

/* Seconds between lines: rewritten often, appended seldom. */
static const double EVERY_TERMINAL = 0.2, EVERY_PLAIN = 5;

void progress_begin(struct progress *p, struct stage_log *log, const char *stage, size_t total,
	const char *unit)
{
	const double now = clock_seconds();

	*p = (struct progress){log, stage, unit, 0, total, 0, now, now, isatty(STDOUT_FILENO)};
}

static void format_time(double seconds, char *out, size_t size)
{
	if (seconds < 90)
		snprintf(out, size, "%.1f s", seconds);
	else if (seconds < 5400)
		snprintf(out, size, "%.1f min", seconds / 60);
	else
		snprintf(out, size, "%.1f h", seconds / 3600);
}

static double rate_of(const struct progress *p, double elapsed)
{
	return elapsed > 0 ? (double)(p->done - p->before) / elapsed : 0;
}

void progress_add(struct progress *p, size_t n)
{
	const double now = clock_seconds(), elapsed = now - p->started;
	char left[32];

	p->done += n;
	if (now - p->printed < (p->terminal ? EVERY_TERMINAL : EVERY_PLAIN) ||
		p->done >= p->total || p->log->silent)
		return;
	p->printed = now;
	format_time((double)(p->total - p->done) / (rate_of(p, elapsed) + 1e-9), left, sizeof left);
	printf("%s%-34s %5zu/%zu %ss  %.1f/s  %s left%s", p->terminal ? "\r" : "", p->stage,
		p->done, p->total, p->unit, rate_of(p, elapsed), left, p->terminal ? "   " : "\n");
	fflush(stdout);
}

void progress_skip(struct progress *p, size_t n)
{
	p->done += n;
	p->before += n;
}

void progress_end(struct progress *p)
{
	const double elapsed = clock_seconds() - p->started;
	struct stage_time stage = {.n = p->done, .seconds = elapsed};
	struct err ignored; /* a log without its last line is no reason to stop */
	char took[32];

	snprintf(stage.name, sizeof stage.name, "%s", p->stage);
	snprintf(stage.unit, sizeof stage.unit, "%s", p->unit);
	(void)vec_push(p->log, stage, &ignored);
	if (p->log->silent)
		return;
	format_time(elapsed, took, sizeof took);
	printf("%s%-34s %5zu %ss  %.1f/s  in %s", p->terminal ? "\r" : "", p->stage, p->done,
		p->unit, rate_of(p, elapsed), took);
	if (p->before > 0)
		printf(" (%zu were done before)", p->before);
	printf("%s\n", p->terminal ? "          " : "");
	fflush(stdout);
}
