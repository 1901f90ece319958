/* SPDX-License-Identifier: MIT
 *
 * ranks_watch.c - the files of a launch, and the beats of other ranks. Contract: ranks_parts.h.
 */
#include "host/work/ranks_parts.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/size.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool meeting_read(const char *folder, const char *name, char *out, size_t size)
{
	char path[PATH];
	size_t n;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	n = file_read_start(path, out, size - 1);
	out[n] = '\0';
	return n > 0;
}

bool meeting_write(const struct meeting *m, const char *folder, const char *name, const char *what)
{
	char path[PATH], part[PATH + NUMBER + 8];
	FILE *file;
	bool written;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	snprintf(part, sizeof part, "%s.%s.part", path, m->number);
	file = file_create(part);
	if (!file)
		return false;
	written = fputs(what, file) >= 0;
	return fclose(file) == 0 && written && rename(part, path) == 0;
}

void meeting_name(const char *what, size_t rank, char out[64])
{
	snprintf(out, 64, "%s.%zu", what, rank);
}

bool meeting_is_late(const struct meeting *m)
{
	return clock_seconds() - m->began > (double)m->join_seconds;
}

void watch_look(const struct meeting *m, struct watch *w, size_t rank)
{
	char name[24], now[sizeof w->last];

	snprintf(name, sizeof name, "%zu", rank);
	if (!meeting_read(m->folder, name, now, sizeof now) || strcmp(now, w->last) == 0)
		return;
	memcpy(w->last, now, sizeof now);
	w->since = clock_seconds();
	w->seen = true;
}

bool watch_says(const struct watch *w, const char *state)
{
	const char *space = strchr(w->last, ' ');

	return space && strcmp(space + 1, state) == 0;
}

bool watch_is_dead(const struct meeting *m, const struct watch *w)
{
	if (!w->seen)
		return meeting_is_late(m);
	return !watch_says(w, RANK_DONE) && clock_seconds() - w->since > BEAT_LIMIT;
}

void watch_explain(const struct meeting *m, size_t rank, const struct watch *w, char *out,
	size_t size)
{
	if (w->seen)
		snprintf(out, size, "another rank died");
	else
		snprintf(out, size,
			"another rank did not join within %zu s (ranks.join_seconds): number %zu "
			"of the %zu that %s announce; to run alone, unset these variables",
			m->join_seconds, rank, m->world, m->found);
}

void wait_a_little(unsigned *microseconds)
{
	usleep(*microseconds);
	*microseconds = (unsigned)size_min(2 * (size_t)*microseconds, POLL_MOST);
}
