/* SPDX-License-Identifier: MIT
 *
 * plan_print.c - what --dry-run prints of the work: batches, replies, memory. Contract: plan.h.
 * Tests: tests/test_run.c.
 */
#include "host/lab/plan_parts.h"

#include "host/base/file.h"

#include <stdio.h>
#include <string.h>

static void print_bytes(const char *what, size_t bytes)
{
	printf("  %-44s %10.1f MiB\n", what, plan_mib((double)bytes));
}

/* A pass forward for each point and one for what is ablated along each path; one back a point. */
static void print_attribution(const struct plan_attribution *a,
	const struct attribution_extent *extent)
{
	printf("effects    %s: %zu prompts in %zu batches of at most %zu tokens; %zu + %zu passes "
	       "forward, %zu back\n",
		a->experiment, a->prompts.n, extent->n_batches, extent->most_tokens, a->points,
		a->paths, a->points);
}

static void print_generation(const struct plan_generation *g)
{
	printf("replies    %s: %zu prompts, under %zu condition%s\n", g->experiment, g->prompts.n,
		g->times, g->times == 1 ? "" : "s");
}

static void print_memory(const struct lab *lab, const struct memory_plan *m)
{
	printf("memory\n");
	print_bytes(device_is_host(lab->machine->dev) ? "weights, mapped from the checkpoint"
						      : "weights",
		lab->machine->model->bytes - lab->machine->model->merged_bytes);
	if (lab->machine->model->merged_bytes > 0)
		print_bytes("weights that the adapter changes, float32",
			lab->machine->model->merged_bytes);
	if (m->sae > 0)
		print_bytes("one SAE, whole", m->sae);
	if (lab->machine->saes && sae_set_top_k(lab->machine->saes))
		print_bytes("encoders of the features in use, whole: top-k SAEs, at most",
			m->encoders);
	print_bytes("scoring a batch, at most", m->scoring);
	if (m->attribution > 0)
		print_bytes("integrated gradients", m->attribution);
	if (m->generation > 0)
		print_bytes("generation, at most", m->generation);
	if (m->host > 0)
		print_bytes("kept in host memory by an experiment, at most", m->host);
	print_bytes("readout of logits", m->readout);
	if (m->working > 0)
		print_bytes("scratch of the ops, at most", m->working);
	print_bytes("needed at a time, at most", m->needed);
	print_bytes(machine_memory(lab->machine, lab->config).limit,
		machine_memory(lab->machine, lab->config).bytes);
}

static void print_room(const char *what, struct plan_bytes bytes)
{
	printf("  %-44s %10.1f to %.1f MiB\n", what, plan_mib(bytes.least), plan_mib(bytes.most));
}

static void print_rooms(const struct lab *lab)
{
	const struct room_plan rooms = plan_rooms(lab->plan);
	double room;

	printf("disk, an estimate\n");
	print_room("result file", rooms.result);
	print_room("its summary", (struct plan_bytes){0, rooms.summary});
	print_room("units beside it, until it is complete", rooms.units);
	for (size_t i = 0; i < lab->plan->rooms.n; i++) {
		const struct plan_room *r = &lab->plan->rooms.data[i];
		char line[128];

		if (r->result.most + r->units.most < rooms.all.most / 10)
			continue;
		snprintf(line, sizeof line, "  of these: %s, %s%s%s%s", r->experiment, r->what,
			r->setting ? " (" : "", r->setting ? r->setting : "",
			r->setting ? ")" : "");
		print_room(line, (struct plan_bytes){r->result.least + r->units.least,
					 r->result.most + r->units.most});
	}
	if (file_room(lab->config->output, &room))
		print_bytes("free there", (size_t)room);
}

int plan_print(const struct lab *lab, struct err *err)
{
	const struct plan *plan = lab->plan;
	struct memory_plan m;

	TRY(plan_memory(lab, &m, err));
	for (size_t i = 0; i < plan->attributions.n; i++) {
		struct attribution_extent extent;

		TRY(plan_attribution_extent(lab, &plan->attributions.data[i], &extent, err));
		print_attribution(&plan->attributions.data[i], &extent);
	}
	for (size_t i = 0; i < plan->generations.n; i++)
		print_generation(&plan->generations.data[i]);
	print_memory(lab, &m);
	print_rooms(lab);
	printf("output     %s\n", lab->config->output);
	return 0;
fail:
	return err->code;
}
