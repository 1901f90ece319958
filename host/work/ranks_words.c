/* SPDX-License-Identifier: MIT
 *
 * ranks_words.c - waiting for other ranks, and words between them. Contract: ranks.h. Tests:
 * tests/test_ranks.c.
 */
#include "host/work/ranks_parts.h"

#include "host/base/file.h"
#include "host/work/stop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- waiting ---------------------------------------------------------------------------- */

static int wait_to_join(const struct meeting *m, struct err *err)
{
	for (unsigned pause = POLL_LEAST; !atomic_load(&m->joined); wait_a_little(&pause)) {
		if (stop_check(err))
			return err->code;
		if (meeting_is_late(m))
			return err_set(err, ERR_STOPPED,
				"rank 0 did not answer within %zu s (ranks.join_seconds): it never "
				"began, has given up, or writes to another output; that there is "
				"one is what %s say",
				m->join_seconds, m->found);
	}
	return 0;
}

/* One rank is waited for by another; it may have died. */
static int check_alive(const struct meeting *m, const struct watch *w, size_t rank, struct err *err)
{
	char why[320];

	if (!watch_is_dead(m, w))
		return 0;
	watch_explain(m, rank, w, why, sizeof why);
	return err_set(err, ERR_STOPPED, "stopped (%s)", why);
}

/* Launches that are no more: this one holds the lock of the units. */
static void clear_earlier(const struct meeting *m)
{
	char path[PATH];
	struct err ignored;

	while (meeting_find_other(m, path) && folder_remove(path, &ignored) == 0) {
	}
}

int ranks_gather(struct ranks *ranks, struct err *err)
{
	struct meeting *m = ranks->meeting;
	struct watch first = {0};

	if (!m)
		return 0;
	TRY(wait_to_join(m, err));
	if (m->rank == 0)
		clear_earlier(m);
	for (unsigned pause = POLL_LEAST; m->rank > 0; wait_a_little(&pause)) {
		watch_look(m, &first, 0);
		if (watch_says(&first, RANK_RUNNING))
			break;
		TRY(stop_check(err));
		TRY(check_alive(m, &first, 0, err));
	}
	meeting_set_state(m, RANK_RUNNING);
	return 0;
fail:
	return err->code;
}

/* ---- words ------------------------------------------------------------------------------ */

int ranks_say(const struct ranks *ranks, const char *topic, const char *text, struct err *err)
{
	const struct meeting *m = ranks->meeting;
	char name[64];

	if (wait_to_join(m, err))
		return err->code;
	meeting_name(topic, m->rank, name);
	if (meeting_write(m, m->folder, name, text))
		return 0;
	return err_set(err, ERR_OUTPUT, "%s/%s: cannot write: %s", m->folder, name,
		strerror(errno));
}

int ranks_hear(const struct ranks *ranks, const char *topic, size_t rank, char **text,
	struct err *err)
{
	const struct meeting *m = ranks->meeting;
	struct watch watch = {0};
	char name[64], path[PATH];

	*text = NULL;
	TRY(wait_to_join(m, err));
	meeting_name(topic, rank, name);
	snprintf(path, sizeof path, "%s/%s", m->folder, name);
	for (unsigned pause = POLL_LEAST;; wait_a_little(&pause)) {
		/* Asked first: who stops others has said its last word before. */
		const bool stopped = stop_requested();

		if (file_exists(path))
			return file_read_text(path, text, err);
		if (stopped)
			return stop_check(err);
		watch_look(m, &watch, rank);
		TRY(check_alive(m, &watch, rank, err));
	}
fail:
	return err->code;
}

int ranks_wait_for_all(struct ranks *ranks, struct err *err)
{
	struct meeting *m = ranks->meeting;

	for (size_t r = 1; m && r < m->world; r++) {
		struct watch watch = {0};

		for (watch_look(m, &watch, r);
			!watch_says(&watch, RANK_DONE) && !watch_is_dead(m, &watch);
			watch_look(m, &watch, r)) {
			if (stop_check(err))
				return err->code;
			usleep(POLL_MOST);
		}
	}
	return 0;
}
