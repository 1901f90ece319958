/* SPDX-License-Identifier: MIT
 *
 * plan_room.c - what a run writes, and whether the disk has room for it. Contract: plan.h.
 * Tests: tests/test_checks.c holds the estimates against the files of runs.
 *
 * Units stand beside the growing result file until it is complete: a run needs room for both.
 */
#include "host/lab/plan_parts.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/base/vec.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A unit is an HDF5 file of a few datasets: what it has beside their values. */
static const struct plan_bytes UNIT = {2048, 6656};
static const double UNIT_DATASET = 1536; /* of more of them */

/* ---- declaring ------------------------------------------------------------------------- */

static int add(struct plan *plan, struct plan_what what, struct plan_room room, struct err *err)
{
	room.experiment = plan->experiment;
	room.what = what.what;
	room.setting = what.setting;
	return vec_push(&plan->rooms, room, err);
}

/* Datasets of at most RESULTS_SUMMARY_BYTES are in the summary as well. */
static void add_dataset(struct plan_room *room, const struct dataset_bytes *b, double times)
{
	room->result.least += times * b->least;
	room->result.most += times * b->most;
	room->summary += b->values <= RESULTS_SUMMARY_BYTES ? times * b->most : 0;
}

int plan_write(struct plan *plan, struct plan_what what, const struct dataset_section *s,
	const struct dataset_length *lengths, size_t times, struct err *err)
{
	struct plan_room room = {0};

	for (size_t i = 0; i < s->n; i++) {
		struct dataset_bytes b;

		if (dataset_bytes(&s->datasets[i], lengths, false, &b, err))
			return err->code;
		add_dataset(&room, &b, dataset_is_repeated(&s->datasets[i]) ? (double)times : 1);
	}
	return add(plan, what, room, err);
}

int plan_write_rows(const struct lab *lab, struct plan *plan, struct plan_what what,
	const struct dataset_section *s, const struct dataset_length *lengths, size_t times,
	size_t n_units, struct err *err)
{
	const bool stay = strcmp(lab->config->store.merge, "virtual") == 0;
	struct plan_room room = {0};

	for (size_t i = 0; i < s->n; i++) {
		const struct dataset *d = &s->datasets[i];
		const double n = dataset_is_repeated(d) ? (double)times : 1;
		struct dataset_bytes b;

		if (dataset_bytes(d, lengths, true, &b, err))
			return err->code;
		room.units.least += n * b.least_values;
		room.units.most += n * (b.values + (double)n_units * UNIT_DATASET);
		if (stay && !d->compress) /* in the units alone */
			b.least = 0;
		add_dataset(&room, &b, n);
	}
	return add(plan, what, room, err);
}

int plan_add(struct plan *plan, struct plan_what what, struct plan_bytes bytes, struct err *err)
{
	return add(plan, what, (struct plan_room){.result = bytes, .summary = bytes.most}, err);
}

int plan_units(struct plan *plan, struct plan_what what, size_t n_units, struct plan_bytes values,
	struct err *err)
{
	const double n = (double)n_units;

	return add(plan, what,
		(struct plan_room){
			.units = {values.least + n * UNIT.least, values.most + n * UNIT.most}},
		err);
}

int plan_stages(const struct lab *lab, struct plan *plan, struct plan_what what,
	const struct prompt_ids *prompts, double of_prompt, double of_unit, size_t times,
	struct err *err)
{
	const size_t most = (size_t)lab->config->batch.tokens;
	double bytes;
	size_t n = 0;

	if (plan_batches(lab, prompts, most, most, &n, err))
		return err->code;
	bytes = (double)times * ((double)prompts->n * of_prompt + (double)n * of_unit);
	return plan_units(plan, what, times * n, (struct plan_bytes){0, bytes}, err);
}

int plan_tasks(struct plan *plan, struct plan_what what, size_t n, size_t width, struct err *err)
{
	const double bytes = (double)n * (double)width * sizeof(double);

	return plan_units(plan, what, n, (struct plan_bytes){0, bytes}, err);
}

int plan_batches(const struct lab *lab, const struct prompt_ids *prompts, size_t max_tokens,
	size_t max_prompts, size_t *n, struct err *err)
{
	struct schedule s = {0};

	if (prompts_schedule(lab->prompts, prompts, lab->prompts->n_prefix, max_tokens, max_prompts,
		    &s, err))
		return err->code;
	*n = s.n_batches;
	schedule_free(&s);
	return 0;
}

size_t plan_tokens(const struct lab *lab, const struct prompt_ids *prompts, size_t skip)
{
	size_t n = 0;

	for (size_t i = 0; i < prompts->n; i++)
		n += prompts_tokens(lab->prompts, prompts->data[i], skip).n;
	return n;
}

/* What the SAEs claim, or the config asks for; twice that, for a claim is a mean over other
 * texts. */
double plan_active_features(const struct lab *lab)
{
	const struct sae_set *saes = lab->machine->saes;
	double n = 0;

	for (size_t l = 0; saes && l < sae_set_layers(saes); l++) {
		const double claimed = sae_set_claimed_l0(saes, l),
			     l0 = isnan(claimed) ? lab->config->sae.l0 : claimed;

		if (sae_set_has(saes, l))
			n += fmin(2 * l0, (double)sae_set_width(saes));
	}
	return n;
}

/* ---- all of it --------------------------------------------------------------------------- */

struct room_plan plan_rooms(const struct plan *plan)
{
	struct room_plan all = {0};
	double most = 0;

	for (size_t i = 0; i < plan->rooms.n; i++) {
		const struct plan_room *r = &plan->rooms.data[i];

		all.result.least += r->result.least;
		all.result.most += r->result.most;
		all.units.least += r->units.least;
		all.units.most += r->units.most;
		all.summary += r->summary;
		if (r->result.most + r->units.most > most) {
			most = r->result.most + r->units.most;
			all.largest = r;
		}
	}
	all.all = (struct plan_bytes){all.result.least + all.units.least,
		all.result.most + all.units.most + all.summary};
	return all;
}

int plan_check_room(const struct lab *lab, bool fresh, struct err *err)
{
	const char *output = lab->config->output;
	const struct room_plan rooms = plan_rooms(lab->plan);
	const struct plan_room *r = rooms.largest;
	double room, stand = 0;
	char part[256] = "", units[4200];

	if (!file_room(output, &room) || !r)
		return 0;
	path_beside(output, ".units", units, sizeof units);
	if (!fresh)
		stand = folder_bytes(units);
	snprintf(part, sizeof part, "%s of %s, %.1f to %.1f MiB%s%s", r->what, r->experiment,
		plan_mib(r->result.least + r->units.least),
		plan_mib(r->result.most + r->units.most), r->setting ? "; see " : "",
		r->setting ? r->setting : "");
	if (rooms.all.least - stand > room)
		return err_set(err, ERR_OUTPUT,
			"output: too little room for %s: at least %.1f MiB are needed for the result file "
			"and the units beside it (an estimate), %.1f MiB are free; the largest part is %s",
			output, plan_mib(rooms.all.least - stand), plan_mib(room), part);
	if (rooms.all.most - stand > room)
		log_warn(
			"output: %s may need up to %.1f MiB with its units (an estimate), %.1f MiB "
			"are free; the largest part is %s",
			output, plan_mib(rooms.all.most - stand), plan_mib(room), part);
	return 0;
}
