/* SPDX-License-Identifier: MIT
 *
 * batch_choice.h - the sizes of batches where the config leaves them open: batch.tokens = 0,
 * generate.prompts = 0. What is chosen is written into the config, where all others read it.
 *
 * On the CPU they are 2048 and 32. A GPU gains by larger ones: 8192 and 256 there, each halved,
 * down to those of the CPU, until the plan fits:
 *
 *   in use + scratch of the ops + SAEs that stay + the batch  <=  memory_gb, or 7/8 of the card
 *
 * Batches are units, and a run that goes on must find its units again. So the choice follows from
 * what is the same at every launch, the config, what it names and all of the card's memory, never
 * from what is free; ranks take the least of theirs; how many ranks there are does not matter, for
 * their file is the same whatever their number. Whether there is room is asked afterwards, of
 * chosen sizes as of given ones (plan_check).
 */
#ifndef SAENGINE_BATCH_CHOICE_H
#define SAENGINE_BATCH_CHOICE_H

#include "host/lab/plan.h"

/* Of one setting. */
struct batch_size {
	int64_t *value; /* in the config */
	bool chosen;    /* not given */
	bool of_ranks;  /* less than this rank's own choice */
	size_t needed;  /* bytes in all with twice the choice; 0 = it is the most */
};

struct batch_choice {
	struct batch_size tokens, prompts;
	struct memory_left memory; /* on a GPU: what the plan is to fit */
};

/* Writes what the device takes at most; the config must live as long. Only m->dev need be there. */
void batch_choice_begin(struct batch_choice *b, struct config *config, const struct machine *m);

/* With the plan that was declared for it: settles the choice between all ranks. Where it became
 * smaller, *smaller, the plan must be declared again. lab->config is that of batch_choice_begin.
 * Errors: those of planning and of ranks_agree_least. */
int batch_choice_settle(struct batch_choice *b, const struct lab *lab, bool *smaller,
	struct err *err);

/* Both sizes and why, to standard output. */
void batch_choice_print(const struct batch_choice *b, const struct lab *lab);

#endif
