/* SPDX-License-Identifier: MIT
 *
 * ranks_parts.h - what the files of a launch share: its folder, and what is seen of other ranks.
 *
 * Files in NAME.ranks, beside the result file NAME.h5:
 *   hello.N     NUMBER: rank N's own, drawn at random
 *   welcome.N   "NUMBER ID": rank 0's answer to it
 *   ID/N        "COUNT STATE" of rank N; STATE is starting, running or done
 *   ID/TOPIC.N  what rank N says to the others
 *   ID/stop     all leave
 * What is in ID is of this launch, as is a welcome with one's own number; all else may be of an
 * earlier one.
 */
#ifndef SAENGINE_RANKS_PARTS_H
#define SAENGINE_RANKS_PARTS_H

#include "host/work/ranks.h"

#include <pthread.h>
#include <stdatomic.h>

#define RANK_STARTING "starting"
#define RANK_RUNNING "running"
#define RANK_DONE "done"

enum {
	NUMBER = 33, /* 128 bits in hexadecimal, and the zero */
	FOLDER = 4096,
	PATH = FOLDER + 256,
	POLL_LEAST = 4000, /* microseconds: how often files are looked for, at first */
	POLL_MOST = 50000
};

struct meeting {
	size_t rank, world, join_seconds;
	double began;
	char top[FOLDER];                 /* NAME.ranks */
	char number[NUMBER];              /* this rank's; rank 0's is the id */
	char folder[FOLDER + 2 * NUMBER]; /* of the launch, once joined */
	const char *found;                /* of struct ranks */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool leaving;
	_Atomic bool joined, all_joined; /* this rank; on rank 0: the others too */
	_Atomic(const char *) state;
};

/* What has been seen of a rank. */
struct watch {
	char last[64];
	double since; /* the last change */
	bool seen;
};

/* Rank 0: of another rank. */
struct guest {
	char answered[NUMBER];
	struct watch watch;
};

/* ---- ranks_watch.c: files, and the beats of others --------------------------------------- */

/* What a file says; false when it is absent. */
bool meeting_read(const char *folder, const char *name, char *out, size_t size);

/* Seen whole or not at all. */
bool meeting_write(const struct meeting *m, const char *folder, const char *name, const char *what);

/* "hello.3". */
void meeting_name(const char *what, size_t rank, char out[64]);

/* More than ranks.join_seconds have passed. */
bool meeting_is_late(const struct meeting *m);

void watch_look(const struct meeting *m, struct watch *w, size_t rank);
bool watch_says(const struct watch *w, const char *state);
bool watch_is_dead(const struct meeting *m, const struct watch *w);
void watch_explain(const struct meeting *m, size_t rank, const struct watch *w, char *out,
	size_t size);

/* Twice as long each time: what is about to come is seen soon, and what is not costs little. */
void wait_a_little(unsigned *microseconds);

/* ---- ranks_join.c: hello and welcome ------------------------------------------------------ */

int meeting_draw(char out[NUMBER], struct err *err);

/* The launch has this id. */
void meeting_join(struct meeting *m, const char *id);

/* Another rank: says hello where it is to say it again, and joins when rank 0 has answered. */
void meeting_greet(struct meeting *m, bool again);

/* Rank 0: answers whoever says hello, and says how many have joined when that has changed. */
void meeting_receive(struct meeting *m, struct guest *guests, size_t *n_joined);

/* The folder of another launch, if there is one. Where that cannot be known: true, with an empty
 * path. */
bool meeting_find_other(const struct meeting *m, char path[PATH]);

/* ---- ranks_meeting.c: beating -------------------------------------------------------------- */

void meeting_set_state(struct meeting *m, const char *state);

#endif
