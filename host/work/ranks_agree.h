/* SPDX-License-Identifier: MIT
 *
 * ranks_agree.h - something that all ranks must have alike, settled between them before they go on.
 * Every rank calls the same of these in the same order and waits for all the others; alone, and
 * where no launch was opened (ranks_open), they do nothing.
 *
 *   TOPIC         rank 0: its text
 *   TOPIC-mine    every other rank, when it has read that: how its own differs
 *   TOPIC-end     rank 0, when it has heard all: whether they go on, or the error that all end with
 */
#ifndef SAENGINE_RANKS_AGREE_H
#define SAENGINE_RANKS_AGREE_H

#include "host/work/ranks.h"

/* `text` is lines "key = value"; rank 0's are the measure. Where they differ every rank fails with
 * `code` and one and the same message: each key, both values and the ranks that have the other.
 * `what` is what the lines are, for the message: "settings".
 * `fault` is an error that this rank has had on the way, NULL or with code 0 = none: then all fail
 * with it, whoever else is well, and `text` is not read. Errors: these; ERR_OUTPUT, ERR_STOPPED. */
int ranks_agree(const struct ranks *ranks, const char *topic, const char *what, const char *text,
	int code, const struct err *fault, struct err *err);

/* The least of what all ranks say; alone, `mine`. Errors: ERR_OUTPUT, ERR_STOPPED. */
int ranks_agree_least(const struct ranks *ranks, const char *topic, size_t mine, size_t *least,
	struct err *err);

#endif
