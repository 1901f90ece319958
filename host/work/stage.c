/* SPDX-License-Identifier: MIT
 *
 * stage.c - Contract: stage.h. Tests: tests/test_units.c, tests/test_resume.c.
 */
#include "host/work/stage_parts.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/work/stop.h"
#include "host/work/units.h"
#include "host/work/units_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct loop {
	struct job *job;
	struct device *dev;
	struct units *units;
	const struct stage *stage;
	size_t n;
	char folder[4096];
	struct seal seal; /* of its units, but for the number */
	bool *known;      /* [n] units whose file stands, or that wait in the writer */
	size_t n_here;    /* computed by this rank */
	struct progress progress;
};

enum { PATH_BYTES = 4200, POLL = 50000 /* microseconds */ };

static void path_of(const struct loop *l, size_t b, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/%06zu.h5", l->folder, b);
}

static size_t items(const struct loop *l, size_t b)
{
	const struct schedule *s = l->stage->schedule;

	return (s->cut[b + 1] - s->cut[b]) * size_max(l->stage->items_per_prompt, 1);
}

/* ---- computing ------------------------------------------------------------------------- */

static struct seal seal_of(const struct loop *l, size_t b)
{
	struct seal seal = l->seal;

	seal.unit = b;
	return seal;
}

/* `progress`: NULL when it has counted this unit before. */
static int compute_unit(struct loop *l, size_t b, struct progress *progress, struct err *err)
{
	const struct seal seal = seal_of(l, b);
	struct unit unit = {.dev = l->dev, .writer = l->units->writer, .progress = progress};
	char path[PATH_BYTES], place[64];

	path_of(l, b, path);
	snprintf(place, sizeof place, "%zu of %zu", b, l->n);
	TRY(writer_begin(unit.writer, path, &seal, err));
	TRY(writer_note(unit.writer, "unit", place, err));
	TRY(writer_note(unit.writer, "stage", l->stage->title, err));
	TRY(writer_note(unit.writer, "device", device_description(l->dev), err));
	TRY(device_copies_fence(l->dev, err)); /* of the unit before */
	if (l->stage->compute(l->stage->context, b, &unit, err)) {
		writer_abandon(unit.writer);
		goto fail;
	}
	TRY(writer_commit(unit.writer, err));
	l->known[b] = true;
	l->n_here++;
	if (progress)
		progress_add(progress, items(l, b) - unit.n_advanced);
	return 0;
fail:
	return err->code;
}

/* Whether a file with the seal of this unit stands. */
static bool stands(const struct loop *l, size_t b, struct err *why)
{
	const struct seal seal = seal_of(l, b);
	char path[PATH_BYTES];

	path_of(l, b, path);
	return seal_check_lines(path, &seal, why) == 0;
}

/* A file that has the name of a unit and is not to be believed, for the reason in *why. */
static int set_aside(const char *path, const struct err *why, struct err *err)
{
	char kept[PATH_BYTES + 100];

	if (units_folder_set_aside(path, kept, err))
		return err->code;
	log_warn("%s; it is computed again%s%s", why->text, *kept ? " and kept as " : "", kept);
	return 0;
}

/* The file of another's, or of nobody's, has the name of a unit that is to be computed. */
static int make_way(const struct loop *l, size_t b, struct err *err)
{
	char path[PATH_BYTES];
	struct stat st;
	struct err why;

	path_of(l, b, path);
	return lstat(path, &st) != 0 || stands(l, b, &why) ? 0 : set_aside(path, &why, err);
}

/* Units that nobody has begun, in order; what others have is left to them. */
static int compute_units(struct loop *l, struct err *err)
{
	char path[PATH_BYTES];
	bool mine;

	for (size_t b = 0; b < l->n; b++) {
		if (l->known[b])
			continue;
		TRY(stop_check(err));
		path_of(l, b, path);
		TRY(ranks_claim(l->units->ranks, path, &mine, err));
		if (!mine)
			continue;
		TRY(make_way(l, b, err));
		TRY(compute_unit(l, b, &l->progress, err));
	}
	return 0;
fail:
	return err->code;
}

static int wait_for_others(struct loop *l, struct err *err)
{
	struct err not_yet;

	for (size_t b = 0; b < l->n; b++) {
		while (!l->known[b]) {
			TRY(stop_check(err));
			l->known[b] = stands(l, b, &not_yet);
			if (l->known[b])
				progress_add(&l->progress, items(l, b));
			else
				usleep(POLL);
		}
	}
	return 0;
fail:
	return err->code;
}

static int compute_all(struct loop *l, struct err *err)
{
	struct err ignored;
	int rc = compute_units(l, err);

	/* HDF5 is the writer's until its queue is empty. */
	if (writer_drain(l->units->writer, rc ? &ignored : err))
		rc = err->code;
	return rc ? rc : wait_for_others(l, err);
}

/* ---- taking ---------------------------------------------------------------------------- */

/* That its bytes are those that were written, by whichever run or rank; where they are not it is
 * computed again, once. */
static int verify_unit(struct loop *l, size_t b, struct err *err)
{
	const struct seal seal = seal_of(l, b);
	char path[PATH_BYTES];
	struct err why, ignored;
	bool first;
	int rc;

	path_of(l, b, path);
	if (seal_check(path, &seal, &why) == 0)
		return 0;
	if (why.code == ERR_DEVICE) {
		*err = why;
		return err->code;
	}
	/* A rank that has not looked yet finds no file now, and must not take that for its own. */
	TRY(ranks_claim(l->units->ranks, path, &first, err));
	TRY(set_aside(path, &why, err));
	rc = compute_unit(l, b, NULL, err);
	if (writer_drain(l->units->writer, rc ? &ignored : err) || rc)
		return err->code;
	if (seal_check(path, &seal, err))
		return err_prefix(err, "a unit that was computed again");
	return 0;
fail:
	return err->code;
}

static void share_path(const struct loop *l, size_t rank, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/verified.%zu", l->folder, rank);
}

/* Of several ranks each verifies a part of the units, and all wait until all are verified: read
 * once, not by every rank, and computed again by one alone. A claim tells that a part is done. */
static int verify_shares(struct loop *l, struct err *err)
{
	const struct ranks *ranks = l->units->ranks;
	char path[PATH_BYTES], claim[PATH_BYTES + 10];
	bool mine;

	for (size_t b = ranks->rank; b < l->n; b += ranks->world) {
		TRY(stop_check(err));
		TRY(verify_unit(l, b, err));
	}
	share_path(l, ranks->rank, path);
	TRY(ranks_claim(ranks, path, &mine, err));
	for (size_t r = 0; r < ranks->world; r++) {
		share_path(l, r, path);
		snprintf(claim, sizeof claim, "%s.claim", path);
		while (!file_exists(claim)) {
			TRY(stop_check(err));
			usleep(POLL);
		}
	}
	return 0;
fail:
	return err->code;
}

static int take_unit(struct loop *l, size_t b, struct err *err)
{
	struct unit_reader unit = {0};
	char path[PATH_BYTES];

	path_of(l, b, path);
	if (l->units->ranks->world == 1) /* here, so that it is read from the disk once */
		TRY(verify_unit(l, b, err));
	if (results_open(&unit.file, path, err) || results_join(l->job->results, unit.file, err) ||
		l->stage->take(l->stage->context, b, &unit, err))
		if (err->code == ERR_INPUT)
			err_prefix(err, "a unit whose seal is whole");
	results_reader_close(unit.file);
fail:
	return err->code;
}

/* Units that an earlier run left. */
static void find_known(struct loop *l)
{
	struct err none;

	for (size_t b = 0; b < l->n; b++) {
		l->known[b] = stands(l, b, &none);
		if (l->known[b])
			progress_skip(&l->progress, items(l, b));
	}
}

/* One unit after the other, through memory. */
static int run_unkept(const struct stage *stage, struct err *err)
{
	err_clear(err);
	for (size_t b = 0; b < stage->schedule->n_batches && err->code == 0; b++) {
		struct unit unit = {0};
		struct unit_reader reader = {.parts = &unit.parts};

		if (stage->compute(stage->context, b, &unit, err) == 0)
			stage->take(stage->context, b, &reader, err);
		unit_free_parts(&unit.parts);
	}
	return err->code;
}

static struct seal seal_of_stage(const struct loop *l)
{
	struct seal seal = {.n = l->n};

	memcpy(seal.run, l->units->run, sizeof seal.run);
	snprintf(seal.stage, sizeof seal.stage, "%s", strrchr(l->folder, '/') + 1);
	return seal;
}

static int run_kept(struct job *job, struct device *dev, const struct stage *stage, struct err *err)
{
	struct loop l = {.job = job,
		.dev = dev,
		.units = job->units,
		.stage = stage,
		.n = stage->schedule->n_batches};

	err_clear(err);
	l.known = calloc(l.n + 1, sizeof *l.known);
	if (!l.known)
		return err_nomem(err, stage->title, l.n);
	TRY(units_stage(l.units, stage->title, l.folder, sizeof l.folder, err));
	l.seal = seal_of_stage(&l);
	progress_begin(&l.progress, &job->stages, stage->title,
		stage->schedule->n * size_max(stage->items_per_prompt, 1), stage->item);
	find_known(&l);
	TRY(compute_all(&l, err));
	if (job->ranks->world > 1)
		TRY(verify_shares(&l, err));
	for (size_t b = 0; b < l.n; b++)
		TRY(take_unit(&l, b, err));
	TRY(results_join_end(job->results, err));
	progress_end(&l.progress);
	if (job->ranks->world > 1)
		log_info("%s: %zu of %zu units computed here", stage->title, l.n_here, l.n);
fail:
	free(l.known);
	return err->code;
}

int stage_run(struct job *job, struct device *dev, const struct stage *stage, struct err *err)
{
	if (!stage->title)
		return run_unkept(stage, err);
	/* A run takes more as it goes: HDF5 keeps memory for every dataset that grows. */
	if (memory_check_machine(stage->title, 0, err))
		return err->code;
	return run_kept(job, dev, stage, err);
}
