/* SPDX-License-Identifier: MIT
 *
 * weights.h - how weights reach the GPUs of several ranks. Each rank may read the files, or rank 0
 * reads them and the devices pass them on (device_team in ops.h): then a file system that all
 * machines share is read once, not once per rank. The others map the files all the same, for
 * headers and small vectors; what is not touched is not read.
 *
 * The ranks agree by words (ranks_say) in three steps, so that all do the same or all say why not:
 *
 *   card    every rank: whether its device can be joined, and which it is
 *   ticket  rank 0, when it has heard all: to join by it, or why each reads for itself
 *   joined  every rank: whether it is; and rank 0 again, when it has heard all: whether all are
 *
 * With ranks.weights = "auto" a reason is a line in the log, with "broadcast" the end of the run.
 */
#ifndef SAENGINE_RUN_WEIGHTS_H
#define SAENGINE_RUN_WEIGHTS_H

#include "host/config/config.h"
#include "host/work/ranks.h"
#include "kernels/ops.h"

/* Joins the devices where the config says so and it can be done. Does nothing alone, and on a CPU,
 * which uses the files where they are mapped. Errors: ERR_DEVICE where "broadcast" cannot be;
 * ERR_OUTPUT, ERR_STOPPED. */
int weights_join(struct device *dev, const struct ranks *ranks, const struct config *c,
	struct err *err);

#endif
