/* SPDX-License-Identifier: MIT
 *
 * child.h - a process beside this one for what may crash, hang or grow: a library that is given a
 * stranger's bytes. It answers one question after the other; its death is an error here.
 *
 * It is a copy of this process (fork) with one thread, so the function that answers must need no
 * lock that another thread may hold, and no device. It lives until child_stop or until the thread
 * that started it ends. What it says on standard error is not seen. It is no sandbox: whoever takes
 * over the library has this process's rights.
 */
#ifndef SAENGINE_CHILD_H
#define SAENGINE_CHILD_H

#include "host/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { CHILD_NUMBERS = 4 };

struct child_reply {
	uint64_t number[CHILD_NUMBERS];
	void *data; /* owned by whoever has the reply */
	size_t n;   /* bytes */
};

struct child_limits {
	size_t memory;    /* bytes, beyond what this process has mapped */
	size_t reply;     /* bytes of the longest */
	unsigned seconds; /* of processor time, for each answer */
};

/* Answers a question of the size agreed upon; *reply is zeroed. */
typedef int (*child_answer)(void *context, const void *question, struct child_reply *reply,
	struct err *err);

struct child;

/* `what` begins the message of its death: "FILE: the library could not read it". The context is
 * the child's as it is now. *out is owned. Errors: ERR_DEVICE when the system has no process. */
int child_start(struct child **out, const char *what, child_answer answer, void *context,
	size_t question_bytes, const struct child_limits *limits, struct err *err);

/* Errors: those of the answer; ERR_INPUT when it dies, then and whenever it is asked again. The
 * reply is what a damaged process may have made up: numbers and data are to be checked. */
int child_ask(struct child *c, const void *question, struct child_reply *reply, struct err *err);

/* Accepts NULL. */
void child_stop(struct child *c);

#endif
