/* SPDX-License-Identifier: MIT
 *
 * ranks.c - Contract: ranks.h. Tests: tests/test_ranks.c.
 *
 * Files in NAME.ranks, beside the result file NAME.h5:
 *   N        "SESSION COUNT STATE" of rank N; STATE is starting, running or done
 *   TOPIC.N  "SESSION TEXT": what rank N says to the others
 *   stop     "SESSION REASON": all leave
 * SESSION is the launcher's name for this launch, so that files of an earlier launch are told
 * apart. Where the launcher gives none, a file counts once it has changed under our eyes.
 */
#include "host/work/ranks.h"

#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/thread.h"
#include "host/work/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>

static const char *const STARTING = "starting", *const RUNNING = "running", *const DONE = "done";

struct meeting {
	size_t rank, world;
	char folder[4096], session[256];
	bool named;        /* the session */
	const char *found; /* of struct ranks */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool leaving;
	_Atomic(const char *) state;
};

/* ---- who is who ------------------------------------------------------------------------ */

static bool number_in(const char *name, size_t *out)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return false;
	*out = strtoul(text, &end, 10);
	return *end == '\0';
}

/* How many ranks this machine has, by a number or, as Slurm spells it, the numbers of all machines:
 * "4(x2),3" is 4 on each of two and 3 on the third. SLURM_NODEID says which is this one. */
static bool number_here(const char *name, size_t *out)
{
	const char *text = getenv(name);
	size_t node = 0;

	if (number_in(name, out))
		return true;
	if (!text || !number_in("SLURM_NODEID", &node))
		return false;
	while (*text) {
		char *end;
		size_t n = strtoul(text, &end, 10), times = 1;

		if (end == text)
			return false;
		if (strncmp(end, "(x", 2) == 0)
			times = strtoul(end + 2, &end, 10);
		if (node < times) {
			*out = n;
			return true;
		}
		node -= times;
		text = end + strspn(end, "),");
	}
	return false;
}

int ranks_from_environment(struct ranks *ranks, struct err *err)
{
	static const struct {
		const char *inside, *rank, *world, *local, *n_local;
	} launchers[] = {
		{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
			"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
		{"WORLD_SIZE", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
		{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
			"SLURM_STEP_TASKS_PER_NODE"},
		{"PMI_SIZE", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
	};

	*ranks = (struct ranks){.world = 1, .n_local = 1};
	for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
		if (!getenv(launchers[i].inside))
			continue;
		if (!number_in(launchers[i].rank, &ranks->rank) ||
			!number_in(launchers[i].world, &ranks->world) ||
			ranks->rank >= ranks->world)
			return err_set(err, ERR_CONFIG,
				"launcher: expected %s below %s, found \"%s\" and \"%s\"",
				launchers[i].rank, launchers[i].world,
				getenv(launchers[i].rank) ? getenv(launchers[i].rank) : "",
				getenv(launchers[i].world));
		snprintf(ranks->found, sizeof ranks->found, "%s=%zu, %s=%zu", launchers[i].rank,
			ranks->rank, launchers[i].world, ranks->world);
		if (!number_in(launchers[i].local, &ranks->local))
			ranks->local = ranks->rank;
		if (!number_here(launchers[i].n_local, &ranks->n_local) || ranks->n_local == 0)
			ranks->n_local = ranks->world;
		return 0;
	}
	return 0;
}

void ranks_device(const struct ranks *ranks, const char *device, char *out, size_t size)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");

	/* A launcher that shows each rank one GPU of its own numbers it 0. */
	if (strcmp(device, "cuda") != 0 || ranks->world == 1 ||
		(visible && *visible && !strchr(visible, ',')))
		snprintf(out, size, "%s", device);
	else
		snprintf(out, size, "cuda:%zu", ranks->local);
}

int ranks_threads(const struct ranks *ranks, int threads)
{
	const int mine = omp_get_num_procs(), machine = (int)sysconf(_SC_NPROCESSORS_ONLN);

	if (threads > 0 || ranks->n_local == 1 || mine < machine)
		return threads;
	return machine / (int)ranks->n_local > 0 ? machine / (int)ranks->n_local : 1;
}

/* A requeued job is another launch. */
static void name_session(struct meeting *m)
{
	static const char *const names[] = {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid",
		"TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"};
	size_t n = (size_t)snprintf(m->session, sizeof m->session, "launch");

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *value = getenv(names[i]);

		if (value && *value && n < sizeof m->session)
			n += (size_t)snprintf(m->session + n, sizeof m->session - n, "-%s", value);
	}
	m->named = strchr(m->session, '-') != NULL;
	for (char *p = m->session; *p; p++)
		if (*p == ' ' || *p == '\n')
			*p = '_';
}

/* ---- files of the meeting -------------------------------------------------------------- */

static void path_of(const struct meeting *m, const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", m->folder, name);
}

/* What a file says after this launch's session; false when it is absent or another's. */
static bool file_says(const struct meeting *m, const char *name, char *out, size_t size)
{
	char path[4200], text[sizeof m->session + RANKS_WORD] = "";
	const size_t n = strlen(m->session);

	path_of(m, name, path, sizeof path);
	text[file_read_start(path, text, sizeof text - 1)] = '\0';
	if (strncmp(text, m->session, n) != 0 || text[n] != ' ')
		return false;
	snprintf(out, size, "%s", text + n + 1);
	return true;
}

/* Seen whole or not at all; a beat that cannot be written is missed by the watcher. */
static bool file_say(const struct meeting *m, const char *name, const char *what)
{
	char path[4200], part[4300];
	FILE *file;
	bool written;

	path_of(m, name, path, sizeof path);
	snprintf(part, sizeof part, "%s.%zu.part", path, m->rank);
	file = file_create(part);
	if (!file)
		return false;
	written = fprintf(file, "%s %s", m->session, what) > 0;
	return fclose(file) == 0 && written && rename(part, path) == 0;
}

static void rank_name(size_t rank, char out[24])
{
	snprintf(out, 24, "%zu", rank);
}

/* ---- beating --------------------------------------------------------------------------- */

/* What has been seen of a rank. */
struct watch {
	char last[256];
	double since; /* the last change */
	int n_changes;
};

static bool in_state(const struct watch *w, const char *state)
{
	const char *space = strchr(w->last, ' ');

	return space && strcmp(space + 1, state) == 0;
}

static void look(const struct meeting *m, struct watch *w, size_t rank)
{
	char name[24], now[256];

	rank_name(rank, name);
	if (!file_says(m, name, now, sizeof now) || strcmp(now, w->last) == 0)
		return;
	snprintf(w->last, sizeof w->last, "%s", now);
	w->since = clock_seconds();
	w->n_changes++;
}

static bool is_dead(const struct watch *w)
{
	return !in_state(w, DONE) &&
	       clock_seconds() - w->since > (w->n_changes > 0 ? BEAT_LIMIT : BEAT_FIRST);
}

static void beat(const struct meeting *m, unsigned long count)
{
	char name[24], text[64];

	rank_name(m->rank, name);
	snprintf(text, sizeof text, "%lu %s", count, atomic_load(&m->state));
	file_say(m, name, text);
}

/* Asks to stop for want of the next rank. The text stays for as long as the process. */
static void stop_without(const struct meeting *m, const struct watch *next)
{
	static char reason[256];

	if (next->n_changes > 0)
		snprintf(reason, sizeof reason, "another rank died");
	else
		snprintf(reason, sizeof reason,
			"another rank never joined: number %zu of the %zu that %s announce; to run alone, "
			"unset these variables",
			(m->rank + 1) % m->world, m->world, m->found);
	file_say(m, "stop", "a rank died");
	stop_request(reason);
}

/* Passes on that one rank stops, and sees to it that a dead one is noticed. */
static void look_around(const struct meeting *m, struct watch *next)
{
	char reason[256];

	if (atomic_load(&m->state) == STARTING && !m->named)
		return; /* what lies there may be of an earlier launch */
	if (stop_requested())
		file_say(m, "stop", "a rank was stopped");
	else if (file_says(m, "stop", reason, sizeof reason))
		stop_request("another rank stopped");
	look(m, next, (m->rank + 1) % m->world);
	if (is_dead(next) && !stop_requested())
		stop_without(m, next);
}

/* Rank 0: which others have given a sign of life, [world], and how many ranks are here. */
struct joined {
	struct watch *others; /* NULL: no longer looked for */
	size_t n;
};

/* Says how many ranks have joined when that has changed, until all have. */
static void count_joined(const struct meeting *m, struct joined *joined)
{
	size_t n = 1;

	if (!joined->others)
		return;
	for (size_t r = 1; r < m->world; r++) {
		look(m, &joined->others[r], r);
		/* Without a name for the launch the first sight may be of an earlier one. */
		n += joined->others[r].n_changes > (m->named ? 0 : 1);
	}
	if (n != joined->n)
		log_info("ranks: %zu of %zu have joined", n, m->world);
	joined->n = n;
	if (n < m->world)
		return;
	free(joined->others);
	joined->others = NULL;
}

static void *meeting_main(void *argument)
{
	struct meeting *m = argument;
	struct watch next = {.since = clock_seconds()};
	struct joined joined = {.others = m->rank == 0 ? calloc(m->world, sizeof next) : NULL};

	pthread_mutex_lock(&m->lock);
	for (unsigned long count = 0; !m->leaving; count++) {
		struct timespec until;

		pthread_mutex_unlock(&m->lock);
		beat(m, count);
		look_around(m, &next);
		count_joined(m, &joined);
		pthread_mutex_lock(&m->lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += BEAT_EVERY;
		if (!m->leaving)
			pthread_cond_timedwait(&m->wake, &m->lock, &until);
	}
	pthread_mutex_unlock(&m->lock);
	free(joined.others);
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

int ranks_open(struct ranks *ranks, const char *path, struct err *err)
{
	struct meeting *m;
	char stop[4200];

	if (ranks->world == 1)
		return 0;
	m = calloc(1, sizeof *m);
	if (!m)
		return err_nomem(err, "the ranks", sizeof *m);
	m->rank = ranks->rank;
	m->world = ranks->world;
	m->found = ranks->found;
	atomic_store(&m->state, STARTING);
	path_beside(path, ".ranks", m->folder, sizeof m->folder);
	name_session(m);
	TRY(folder_make_for(path, err));
	TRY(folder_make(m->folder, err));
	path_of(m, "stop", stop, sizeof stop);
	if (m->rank == 0)
		unlink(stop);
	if (m->rank == 0)
		log_info("ranks: this is the first of %zu, as %s say", m->world, m->found);
	TRY(start_beating(m, err));
	ranks->meeting = m;
	return 0;
fail:
	free(m);
	return err->code;
}

static void set_state(struct meeting *m, const char *state)
{
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->state, state);
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
}

int ranks_gather(struct ranks *ranks, struct err *err)
{
	struct meeting *m = ranks->meeting;
	struct watch first = {.since = clock_seconds()};

	while (m && m->rank > 0) {
		look(m, &first, 0);
		if (in_state(&first, RUNNING) && (m->named || first.n_changes > 1))
			break;
		if (stop_check(err))
			return err->code;
		if (is_dead(&first))
			return err_set(err, ERR_STOPPED,
				"rank %zu: rank 0 died or never began; that there is one is what %s "
				"say",
				m->rank, m->found);
		usleep(50000);
	}
	if (m)
		set_state(m, RUNNING);
	return 0;
}

/* ---- words ----------------------------------------------------------------------------- */

static void topic_name(const char *topic, size_t rank, char out[64])
{
	snprintf(out, 64, "%s.%zu", topic, rank);
}

int ranks_say(const struct ranks *ranks, const char *topic, const char *text, struct err *err)
{
	const struct meeting *m = ranks->meeting;
	char name[64];

	topic_name(topic, m->rank, name);
	if (file_say(m, name, text))
		return 0;
	return err_set(err, ERR_OUTPUT, "%s/%s: cannot write: %s", m->folder, name,
		strerror(errno));
}

int ranks_hear(const struct ranks *ranks, const char *topic, size_t rank, char text[RANKS_WORD],
	struct err *err)
{
	const struct meeting *m = ranks->meeting;
	struct watch watch = {.since = clock_seconds()};
	char name[64];

	topic_name(topic, rank, name);
	while (!file_says(m, name, text, RANKS_WORD)) {
		look(m, &watch, rank);
		if (stop_check(err))
			return err->code;
		if (is_dead(&watch))
			return err_set(err, ERR_STOPPED, "rank %zu: rank %zu died or never began",
				m->rank, rank);
		usleep(50000);
	}
	return 0;
}

bool ranks_launch_named(const struct ranks *ranks)
{
	return ranks->meeting->named;
}

/* ---- the queue ------------------------------------------------------------------------- */

int ranks_claim(const struct ranks *ranks, const char *path, bool *mine, struct err *err)
{
	char claim[4200];
	int fd;

	*mine = true;
	if (ranks->world == 1)
		return 0;
	snprintf(claim, sizeof claim, "%s.claim", path);
	fd = open(claim, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	*mine = fd >= 0;
	if (fd >= 0) {
		(void)dprintf(fd, "rank %zu\n", ranks->rank); /* for people */
		close(fd);
	} else if (errno != EEXIST) {
		return err_set(err, ERR_OUTPUT, "%s: cannot claim the unit: %s", claim,
			strerror(errno));
	}
	return 0;
}

/* ---- the end --------------------------------------------------------------------------- */

int ranks_wait_for_all(struct ranks *ranks, struct err *err)
{
	struct meeting *m = ranks->meeting;

	for (size_t r = 1; m && r < m->world; r++) {
		struct watch watch = {.since = clock_seconds()};

		for (look(m, &watch, r); !in_state(&watch, DONE) && !is_dead(&watch);
			look(m, &watch, r)) {
			if (stop_check(err))
				return err->code;
			usleep(50000);
		}
	}
	return 0;
}

void ranks_close(struct ranks *ranks, bool failed)
{
	struct meeting *m = ranks->meeting;
	struct err ignored;

	if (!m)
		return;
	if (!failed)
		set_state(m, DONE);
	pthread_mutex_lock(&m->lock);
	m->leaving = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	if (failed)
		file_say(m, "stop", "a rank failed");
	else if (m->rank > 0)
		beat(m, 0);
	else
		(void)folder_remove(m->folder, &ignored);
	pthread_cond_destroy(&m->wake);
	pthread_mutex_destroy(&m->lock);
	free(m);
	ranks->meeting = NULL;
}
