/* SPDX-License-Identifier: MIT
 *
 * ranks_meeting.c - a launch from its beginning to its end, and the thread that beats. Contract:
 * ranks.h, ranks_parts.h. Tests: tests/test_ranks.c.
 */
#include "host/work/ranks_parts.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/work/stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds that a rank which fails waits for those that it is to tell. */
enum { FAREWELL = 5 };

/* ---- beating ---------------------------------------------------------------------------- */

static void beat(const struct meeting *m, unsigned long count)
{
	char name[24], text[64];

	snprintf(name, sizeof name, "%zu", m->rank);
	snprintf(text, sizeof text, "%lu %s", count, atomic_load(&m->state));
	meeting_write(m, m->folder, name, text);
}

/* Passes on that one rank stops, and sees to it that a dead one is noticed. */
static void look_around(const struct meeting *m, struct watch *next)
{
	static char reason[320]; /* stays for as long as the process */
	const size_t rank = (m->rank + 1) % m->world;
	char ignored[8];

	if (stop_requested())
		meeting_write(m, m->folder, "stop", "a rank was stopped");
	else if (meeting_read(m->folder, "stop", ignored, sizeof ignored))
		stop_request("another rank stopped");
	watch_look(m, next, rank);
	if (watch_is_dead(m, next) && !stop_requested()) {
		watch_explain(m, rank, next, reason, sizeof reason);
		meeting_write(m, m->folder, "stop", "a rank died");
		stop_request(reason);
	}
}

/* What the thread has in hand. */
struct beating {
	struct watch next;
	struct guest *guests; /* [world] on rank 0; NULL once all have joined */
	size_t n_joined;
	unsigned long count;
	double due;       /* the next beat, or hello */
	const char *said; /* the state of the last beat */
	unsigned poll;    /* microseconds */
};

static void beat_once(struct meeting *m, struct beating *b)
{
	const double now = clock_seconds();
	const bool due = now >= b->due;

	if (due)
		b->due = now + BEAT_EVERY;
	if (!atomic_load(&m->joined))
		meeting_greet(m, due);
	if (atomic_load(&m->joined) && (due || b->said != atomic_load(&m->state))) {
		b->said = atomic_load(&m->state);
		beat(m, b->count++);
		look_around(m, &b->next);
	}
	if (b->guests)
		meeting_receive(m, b->guests, &b->n_joined);
	if (b->guests && atomic_load(&m->all_joined)) {
		free(b->guests);
		b->guests = NULL;
	}
}

/* Until all are there files are looked at often, less so by a rank 0 that looks at many. */
static double pause_of(const struct meeting *m, struct beating *b)
{
	const bool joining = b->guests || !atomic_load(&m->joined);

	b->poll = (unsigned)size_min(2 * (size_t)b->poll, POLL_MOST);
	return joining ? b->poll * 1e-6 + (b->guests ? (double)m->world * 1e-3 : 0) : BEAT_EVERY;
}

static void *meeting_main(void *argument)
{
	struct meeting *m = argument;
	struct beating b = {.guests = m->rank == 0 ? calloc(m->world, sizeof *b.guests) : NULL,
		.poll = POLL_LEAST / 2};

	pthread_mutex_lock(&m->lock);
	while (!m->leaving) {
		struct timespec until;
		double seconds;

		pthread_mutex_unlock(&m->lock);
		beat_once(m, &b);
		seconds = pause_of(m, &b);
		pthread_mutex_lock(&m->lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		seconds += (double)until.tv_nsec * 1e-9;
		until.tv_sec += (time_t)seconds;
		until.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9);
		if (!m->leaving)
			pthread_cond_timedwait(&m->wake, &m->lock, &until);
	}
	pthread_mutex_unlock(&m->lock);
	free(b.guests);
	return NULL;
}

static int start_beating(struct meeting *m, struct err *err)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return thread_start(&m->thread, meeting_main, m, "the thread that looks for other ranks",
		err);
}

int ranks_open(struct ranks *ranks, const char *path, size_t join_seconds, struct err *err)
{
	struct meeting *m;

	if (ranks->world == 1)
		return 0;
	m = calloc(1, sizeof *m);
	if (!m)
		return err_nomem(err, "the ranks", sizeof *m);
	m->rank = ranks->rank;
	m->world = ranks->world;
	m->join_seconds = join_seconds;
	m->found = ranks->found;
	m->began = clock_seconds();
	atomic_store(&m->state, RANK_STARTING);
	path_beside(path, ".ranks", m->top, sizeof m->top);
	TRY(meeting_draw(m->number, err));
	TRY(folder_make_for(path, err));
	TRY(folder_make(m->top, err));
	if (m->rank == 0) {
		meeting_join(m, m->number);
		TRY(folder_make(m->folder, err));
		log_info("ranks: this is the first of %zu, as %s say", m->world, m->found);
	}
	TRY(start_beating(m, err));
	ranks->meeting = m;
	return 0;
fail:
	free(m);
	return err->code;
}

/* ---- the end ---------------------------------------------------------------------------- */

void meeting_set_state(struct meeting *m, const char *state)
{
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->state, state);
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
}

/* So that those who join late do not wait for what will not come. */
static void wait_to_tell(const struct meeting *m)
{
	const double end = clock_seconds() + FAREWELL;
	unsigned pause = POLL_LEAST;

	while (!atomic_load(m->rank == 0 ? &m->all_joined : &m->joined) && !meeting_is_late(m) &&
		clock_seconds() < end)
		wait_a_little(&pause);
}

void ranks_close(struct ranks *ranks, bool failed)
{
	struct meeting *m = ranks->meeting;
	struct err ignored;
	char path[PATH];

	if (!m)
		return;
	if (failed)
		wait_to_tell(m);
	else
		meeting_set_state(m, RANK_DONE);
	pthread_mutex_lock(&m->lock);
	m->leaving = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	if (failed && atomic_load(&m->joined))
		meeting_write(m, m->folder, "stop", "a rank failed");
	else if (!failed && m->rank > 0)
		beat(m, 0);
	else if (!failed) /* the next launch may have begun */
		(void)folder_remove(meeting_find_other(m, path) ? m->folder : m->top, &ignored);
	pthread_cond_destroy(&m->wake);
	pthread_mutex_destroy(&m->lock);
	free(m);
	ranks->meeting = NULL;
}
