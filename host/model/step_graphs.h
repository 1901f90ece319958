/* SPDX-License-Identifier: MIT
 *
 * step_graphs.h - recorded steps of generation, kept for when the same step comes again: in a later
 * batch of prompts, or when the replies have thinned to as many once more.
 */
#ifndef SAENGINE_STEP_GRAPHS_H
#define SAENGINE_STEP_GRAPHS_H

#include "host/model/launch_key.h"
#include "kernels/ops.h"

/* The most that are kept: every number of rows that steps of 512 replies come in, and half as many
 * again for edits that change from batch to batch. What one takes is the driver's, by its launches:
 * some hundreds to a thousand, of some kilobytes at the most. */
enum { MOST_STEP_GRAPHS = 32 };

/* A zeroed one with `dev` set is empty. */
struct step_graphs {
	struct device *dev;
	struct step_graph {
		struct launch_key key;
		struct device_graph *graph; /* owned */
		uint64_t used;              /* clock of the last use */
	} kept[MOST_STEP_GRAPHS];
	size_t n;
	uint64_t clock;
};

/* How many rows a step of n replies is recorded with, n or more, at most `most`:
 *
 *   1, 2, 4, 8, 16, then 4, 5 and 6 times a power of two: 20, 24, 32, 40, 48, 64, ...
 *
 * Few numbers, because each is to be recorded, and choices of products to be made for it. Up to 16
 * rows a step costs the same, the reading of the weights, so half of the rows may be idle; above, a
 * quarter may, as their share of what a row costs is small while replies are some tens. */
size_t step_graphs_rows(size_t n, size_t most);

/* The graph kept with an equal key, borrowed until the next call, or NULL. Those that do not hold
 * any more (device_graph_holds) are freed. */
struct device_graph *step_graphs_find(struct step_graphs *graphs, const struct launch_key *key);

/* Takes a graph, also when it fails; the one that was not used for longest goes for it. There is
 * none yet with this key. Errors: memory. */
int step_graphs_keep(struct step_graphs *graphs, const struct launch_key *key,
	struct device_graph *graph, struct err *err);

/* Accepts a zeroed struct. */
void step_graphs_free(struct step_graphs *graphs);

#endif
