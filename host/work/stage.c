/* SPDX-License-Identifier: MIT
 *
 * stage.c - Contract: stage.h. Tests: tests/test_units.c, tests/test_resume.c.
 */
#include "host/work/stage.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/memory.h"
#include "host/base/vec.h"
#include "host/work/stop.h"
#include "host/work/units.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What was put into a unit that is not kept. */
struct part {
	char name[64];
	enum results_type type;
	size_t n;
	void *data; /* owned */
};

struct parts {
	struct part *data;
	size_t n, cap;
};

struct unit {
	struct device *dev;
	struct writer *writer; /* NULL: not kept, and the next is used */
	struct parts parts;
	struct progress *progress;
	size_t n_advanced;
};

struct unit_reader {
	struct results_reader *file; /* NULL: in memory */
	const struct parts *parts;
};

struct loop {
	struct job *job;
	struct device *dev;
	struct units *units;
	const struct stage *stage;
	size_t n;
	char folder[4096];
	bool *known;   /* [n] units whose file stands, or that wait in the writer */
	size_t n_here; /* computed by this rank */
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

/* ---- units ----------------------------------------------------------------------------- */

/* What a unit keeps for itself is in the group /unit. */
static void part_path(const char *name, char path[80])
{
	snprintf(path, 80, "/unit/%s", name);
}

static int keep_part(struct unit *u, const char *name, enum results_type type, const void *data,
	size_t n, struct err *err)
{
	const size_t bytes = n * results_value_bytes(type);
	struct part part = {.type = type, .n = n, .data = memory_alloc(bytes + 1)};

	if (!part.data)
		return err_nomem(err, name, bytes);
	snprintf(part.name, sizeof part.name, "%s", name);
	if (bytes > 0)
		memcpy(part.data, data, bytes);
	if (vec_push(&u->parts, part, err) == 0)
		return 0;
	free(part.data);
	return err->code;
}

static const struct part *find_part(const struct unit_reader *u, const char *name,
	enum results_type type)
{
	for (size_t i = 0; i < u->parts->n; i++)
		if (strcmp(u->parts->data[i].name, name) == 0 && u->parts->data[i].type == type)
			return &u->parts->data[i];
	assert(!"take asks for what compute has put");
	return NULL;
}

static void free_parts(struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		free(parts->data[i].data);
	free(parts->data);
	*parts = (struct parts){0};
}

int unit_put(struct unit *u, const char *name, enum results_type type, const void *data, size_t n,
	struct err *err)
{
	char path[80];

	if (!u->writer)
		return keep_part(u, name, type, data, n, err);
	part_path(name, path);
	return writer_put(u->writer,
		&(struct results_dataset){.path = path, .type = type, .n_dims = 1, .long_name = ""},
		data, n, true, err);
}

int unit_write(struct unit *u, const struct dataset *d, const char *const *words, const size_t *n,
	const void *data, struct err *err)
{
	struct dataset_filled rows;

	assert(u->writer);
	if (dataset_fill(&rows, d, words, n, err))
		return err->code;
	return writer_put(u->writer, &rows.d, data, n[0], false, err);
}

int unit_write_counting(struct unit *u, const struct dataset *d, const char *const *words, size_t n,
	struct err *err)
{
	struct dataset_filled rows;
	int32_t *numbers;
	int rc;

	assert(u->writer);
	if (dataset_fill(&rows, d, words, &n, err) || dataset_counting(&numbers, n, err))
		return err->code;
	/* Places count on from those of the units before, as ends do. */
	rows.d.ends_of = rows.d.path;
	rows.d.compress = true;
	rc = writer_put(u->writer, &rows.d, numbers, n, false, err);
	free(numbers);
	return rc;
}

int unit_write_tensor(struct unit *u, const struct dataset *d, const char *const *words,
	struct tensor t, struct err *err)
{
	struct dataset_filled rows;
	struct device_copy *copy;

	assert(u->writer && t.dtype == DTYPE_F32);
	if (dataset_fill(&rows, d, words, (size_t[]){t.rows, t.cols}, err) ||
		device_copy_begin(u->dev, t.data, tensor_bytes(t), &copy, err))
		return err->code;
	return writer_put_copy(u->writer, &rows.d, copy, t.rows, err);
}

void unit_advance(struct unit *u, size_t n)
{
	if (u->progress)
		progress_add(u->progress, n);
	u->n_advanced += n;
}

int unit_get(struct unit_reader *u, const char *name, enum results_type type, void *out, size_t n,
	struct err *err)
{
	char path[80];

	if (!u->file) {
		const struct part *part = find_part(u, name, type);

		assert(part->n == n);
		memcpy(out, part->data, n * results_value_bytes(type));
		return 0;
	}
	part_path(name, path);
	return results_read_exactly(u->file, path, type, out, n, err);
}

int unit_get_all(struct unit_reader *u, const char *name, enum results_type type, void **data,
	size_t *n, struct err *err)
{
	char path[80];

	if (!u->file) {
		const struct part *part = find_part(u, name, type);
		const size_t bytes = part->n * results_value_bytes(type);

		*n = part->n;
		*data = memory_alloc(bytes + 1);
		if (!*data)
			return err_nomem(err, name, bytes);
		memcpy(*data, part->data, bytes);
		return 0;
	}
	part_path(name, path);
	return results_read_all(u->file, path, type, data, n, err);
}

/* ---- computing ------------------------------------------------------------------------- */

static int compute_unit(struct loop *l, size_t b, struct err *err)
{
	struct unit unit = {.dev = l->dev, .writer = l->units->writer, .progress = &l->progress};
	char path[PATH_BYTES], place[64];

	path_of(l, b, path);
	snprintf(place, sizeof place, "%zu of %zu", b, l->n);
	TRY(writer_begin(unit.writer, path, err));
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
	progress_add(&l->progress, items(l, b) - unit.n_advanced);
	return 0;
fail:
	return err->code;
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
		if (mine)
			TRY(compute_unit(l, b, err));
	}
	return 0;
fail:
	return err->code;
}

static int wait_for_others(struct loop *l, struct err *err)
{
	char path[PATH_BYTES];

	for (size_t b = 0; b < l->n; b++) {
		path_of(l, b, path);
		while (!l->known[b]) {
			TRY(stop_check(err));
			l->known[b] = file_exists(path);
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

static int take_unit(struct loop *l, size_t b, struct err *err)
{
	struct unit_reader unit = {0};
	char path[PATH_BYTES];

	path_of(l, b, path);
	if (results_open(&unit.file, path, err) || results_join(l->job->results, unit.file, err) ||
		l->stage->take(l->stage->context, b, &unit, err))
		if (err->code == ERR_INPUT)
			err_prefix(err, "a unit of an earlier run (remove its file and run again)");
	results_reader_close(unit.file);
	return err->code;
}

/* Units that an earlier run left. */
static void find_known(struct loop *l)
{
	char path[PATH_BYTES];

	for (size_t b = 0; b < l->n; b++) {
		path_of(l, b, path);
		l->known[b] = file_exists(path);
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
		free_parts(&unit.parts);
	}
	return err->code;
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
	progress_begin(&l.progress, &job->stages, stage->title,
		stage->schedule->n * size_max(stage->items_per_prompt, 1), stage->item);
	find_known(&l);
	TRY(compute_all(&l, err));
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
