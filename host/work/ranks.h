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
 * The launch: rank 0 draws an id at random, the name of a folder of this launch alone,
 * NAME.ranks/ID. Each other rank says hello with a number of its own drawing, in
 * NAME.ranks/hello.N, and is answered with the id under that number. Nothing is taken from the
 * environment, since launchers give the same name to every launch (TORCHELASTIC_RUN_ID=none): what
 * an earlier one left lies in another folder, and a hello of a process that is no more is answered
 * to nobody.
 *
 * Agreement: before they work, all ranks must be there and run the same (ranks_agree.h,
 * host/lab/agree.h): the level of the CPU is settled between them, and a rank that differs would
 * mix its results with theirs. So a rank that starts late is waited for, ranks.join_seconds.
 *
 * The queue: a rank takes a unit by creating UNIT.claim, which only one can; so a slow rank holds
 * up nothing but its own unit. Rank 0 removes the claims of earlier runs before the others begin.
 * That all units of a stage are whole is seen by rank r of w for units r, r + w, ..., which it
 * computes again where they are not; then all take them.
 *
 * Death: each rank counts up in a file of its own, ID/N, every few seconds, and watches the count
 * of the next rank by its own clock, so that wrong clocks do not matter. When it stands still for
 * BEAT_LIMIT seconds, the watcher writes `stop`, which all ranks look for, and all leave with
 * ERR_STOPPED. A rank that has not joined after ranks.join_seconds is as good as dead. Variables
 * that another program left behind look like a launch whose other ranks are slow: rank 0 says at
 * once which it found, and how many ranks have joined whenever that changes.
 */
#ifndef SAENGINE_RANKS_H
#define SAENGINE_RANKS_H

#include "host/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	BEAT_EVERY = 3, /* seconds */
	BEAT_LIMIT = 25 /* with STOP_GRACE and a beat on either side below 60 */
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

/* Says hello and begins to beat, in NAME.ranks, where NAME.h5 is the result file `path`; returns
 * before the others are there. `join_seconds` is how long they are waited for. Does nothing when
 * alone, as the rest. Errors: ERR_OUTPUT. */
int ranks_open(struct ranks *ranks, const char *path, size_t join_seconds, struct err *err);

/* Rank 0 calls it when the folder of the units is ready for all; the others wait in it until that
 * is so. Errors: ERR_STOPPED. */
int ranks_gather(struct ranks *ranks, struct err *err);

/* A text to the other ranks under a topic, once per launch. Waits until this rank has joined.
 * Errors: ERR_OUTPUT, ERR_STOPPED. */
int ranks_say(const struct ranks *ranks, const char *topic, const char *text, struct err *err);

/* Waits for what `rank` says under a topic; *text is owned by the caller. Errors: ERR_STOPPED, when
 * that rank dies as well. */
int ranks_hear(const struct ranks *ranks, const char *topic, size_t rank, char **text,
	struct err *err);

/* Whether this rank may compute the unit whose file is `path`. Errors: ERR_OUTPUT. */
int ranks_claim(const struct ranks *ranks, const char *path, bool *mine, struct err *err);

/* Rank 0: waits until the others have read all they need (ranks_close), so that the folder of the
 * units can go. One that died by now is not waited for. Errors: ERR_STOPPED. */
int ranks_wait_for_all(struct ranks *ranks, struct err *err);

/* Stops beating. With `failed`, tells the others to leave; otherwise that this rank has read all it
 * needs. Rank 0 removes NAME.ranks when nobody needs it; of a launch that failed its folder there
 * stays, until one that does not. */
void ranks_close(struct ranks *ranks, bool failed);

#endif
