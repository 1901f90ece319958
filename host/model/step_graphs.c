/* SPDX-License-Identifier: MIT
 *
 * step_graphs.c - Contract: step_graphs.h. Tests: tests/emu/test_steps.c.
 */
#include "host/model/step_graphs.h"

#include "host/base/size.h"

#include <stdlib.h>

enum { CHEAP_ROWS = 16 };

size_t step_graphs_rows(size_t n, size_t most)
{
	size_t unit = 1, rows = 1;

	while (rows < n && rows < CHEAP_ROWS)
		rows *= 2;
	if (rows < n) {
		while (6 * unit < n)
			unit *= 2;
		rows = size_max(4 * unit, (n + unit - 1) / unit * unit);
	}
	return size_min(rows, most);
}

static void drop(struct step_graphs *graphs, size_t i)
{
	device_graph_free(graphs->dev, graphs->kept[i].graph);
	free(graphs->kept[i].key.data);
	graphs->kept[i] = graphs->kept[--graphs->n];
}

struct device_graph *step_graphs_find(struct step_graphs *graphs, const struct launch_key *key)
{
	for (size_t i = graphs->n; i-- > 0;)
		if (!device_graph_holds(graphs->dev, graphs->kept[i].graph))
			drop(graphs, i);
	for (size_t i = 0; i < graphs->n; i++) {
		struct step_graph *g = &graphs->kept[i];

		if (launch_key_equal(&g->key, key)) {
			g->used = ++graphs->clock;
			return g->graph;
		}
	}
	return NULL;
}

int step_graphs_keep(struct step_graphs *graphs, const struct launch_key *key,
	struct device_graph *graph, struct err *err)
{
	struct step_graph new = {.graph = graph, .used = ++graphs->clock};
	size_t oldest = 0;

	if (launch_key_copy(&new.key, key, err)) {
		device_graph_free(graphs->dev, graph);
		free(new.key.data);
		return err->code;
	}
	for (size_t i = 0; i < graphs->n; i++)
		if (graphs->kept[i].used < graphs->kept[oldest].used)
			oldest = i;
	if (graphs->n == MOST_STEP_GRAPHS)
		drop(graphs, oldest);
	graphs->kept[graphs->n++] = new;
	return 0;
}

void step_graphs_free(struct step_graphs *graphs)
{
	while (graphs->n > 0)
		drop(graphs, graphs->n - 1);
}
