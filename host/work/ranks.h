/* SPDX-License-Identifier: MIT
 *
 * ranks.h - several processes at one run. Each runs the whole program; where a stage has units to
 * compute they share them out, and each then reads what all of them computed. All they exchange
 * lies in the folder of the units, so that
 *
 *   - no message-passing library is needed: mpirun, srun or any launcher that numbers its
 *     processes will do, and no collective of NCCL for what is computed: sums over prompts are
 *     partial sums in the files of units, added in the order of the units by every rank alike.
 *     What NCCL is for is what all ranks read alike, the weights: weights.h;
 *   - one rank, eight, or a run that was killed and goes on add the same numbers in the same
 *     order: their result files are equal bit for bit;
 *   - a rank that dies takes nothing with it but the unit it was at.
 *
 * Who is who comes from the launcher: OMPI_COMM_WORLD_*, RANK and WORLD_SIZE, Slurm's variables
 * inside a step (only there: a batch script has SLURM_PROCID too), PMI_*; else the process is
 * alone.
 *
 * The queue: a rank takes a unit by creating UNIT.claim, which only one can; so a slow rank holds
 * up nothing but its own unit. Rank 0 removes the claims of earlier runs before the others begin.
 *
 * Death: each rank counts up in a file of its own, NAME.ranks/N, every few seconds, and watches the
 * count of the next rank by its own clock, so that wrong clocks do not matter. When it stands still
 * for BEAT_LIMIT seconds, the watcher writes `stop`, which all ranks look for, and all leave with
 * ERR_STOPPED. A rank that has not joined after BEAT_FIRST seconds is as good as dead. Variables
 * that another program left behind look like a launch whose other ranks are slow: rank 0 says at
 * once which it found, and how many ranks have joined whenever that changes.
 */
#ifndef SAENGINE_RANKS_H
#define SAENGINE_RANKS_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	BEAT_EVERY = 3,  /* seconds */
	BEAT_LIMIT = 25, /* with STOP_GRACE and a beat on either side below 60 */
	BEAT_FIRST = 120 /* for the first sign of a rank: starting may be slow */
};

struct ranks {
	size_t rank, world;      /* 0 <= rank < world */
	size_t local, n_local;   /* among the ranks of this machine */
	char found[128];         /* of several: the variables that say so, "RANK=0, WORLD_SIZE=4" */
	struct meeting *meeting; /* owned; NULL when alone */
};

/* Errors: ERR_CONFIG when the launcher's variables contradict each other. */
int ranks_from_environment(struct ranks *ranks, struct err *err);

/* "cuda" for a rank of several means its own GPU: writes "cuda:LOCAL"; any other name as it is. */
void ranks_device(const struct ranks *ranks, const char *device, char *out, size_t size);

/* Threads for "all cores" (0) when several ranks share a machine that binds none of them. */
int ranks_threads(const struct ranks *ranks, int threads);

/* Begins to beat in NAME.ranks, where NAME.h5 is the result file `path`. Does nothing when alone,
 * as the rest. Errors: ERR_OUTPUT. */
int ranks_open(struct ranks *ranks, const char *path, struct err *err);

/* Rank 0 calls it when the folder of the units is ready for all; the others wait in it until that
 * is so. Errors: ERR_STOPPED. */
int ranks_gather(struct ranks *ranks, struct err *err);

/* A word to the other ranks under a topic, once per launch: text on one line, at most RANKS_WORD
 * bytes with its zero. Errors: ERR_OUTPUT. */
enum { RANKS_WORD = 512 };
int ranks_say(const struct ranks *ranks, const char *topic, const char *text, struct err *err);

/* Waits for what `rank` says under a topic. Only where ranks_launch_named. Errors: ERR_STOPPED,
 * when that rank dies as well. */
int ranks_hear(const struct ranks *ranks, const char *topic, size_t rank, char text[RANKS_WORD],
	struct err *err);

/* Whether the launcher tells this launch from others: without that, words of an earlier one cannot
 * be told from this one's. */
bool ranks_launch_named(const struct ranks *ranks);

/* Whether this rank may compute the unit whose file is `path`. Errors: ERR_OUTPUT. */
int ranks_claim(const struct ranks *ranks, const char *path, bool *mine, struct err *err);

/* Rank 0: waits until the others have read all they need (ranks_close), so that the folder of the
 * units can go. One that died by now is not waited for. Errors: ERR_STOPPED. */
int ranks_wait_for_all(struct ranks *ranks, struct err *err);

/* Stops beating. With `failed`, tells the others to leave; otherwise that this rank has read all it
 * needs. Rank 0 removes NAME.ranks when nobody needs it. */
void ranks_close(struct ranks *ranks, bool failed);

#endif
