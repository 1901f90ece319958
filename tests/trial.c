/* SPDX-License-Identifier: MIT
 *
 * trial.c - Contract: trial.h.
 */
#include "tests/trial.h"

#include "host/base/file.h"
#include "tests/test.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *const TRIAL_INPUTS = "engine = 1\nattribution.k0 = 10\nsha256 of model = abc\n";

static const struct {
	struct dataset column, row, place, x, end, entry;
} saved = {.column = {"/column", {"column"}, RESULTS_I32, "", "of x"},
	.row = {"/row", {"row"}, RESULTS_I32, "", "of all units"},
	.place = {"/saved/place", {"place"}, RESULTS_I32, "", "of entries"},
	.x = {"/saved/NAME", {"row", "column"}, RESULTS_F16, "1", "rows"},
	.end = {"/saved/end", {"row"}, RESULTS_I32, "", "ends", .ends_of = "entry",
		.compress = true},
	.entry = {"/saved/entry", {"place"}, RESULTS_I32, "", "entries", .compress = true}};

int trial_open_with(struct trial *trial, const char *name, const char *inputs, bool fresh,
	struct err *err)
{
	static const size_t lengths[10] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5};

	*trial = (struct trial){.ranks = {.world = 1, .n_local = 1},
		.fail_at = SIZE_MAX,
		.die_at = SIZE_MAX};
	trial->job.ranks = &trial->ranks;
	TRY(device_open(&trial->dev, "cpu", 1, err));
	TRY(schedule_make(&trial->schedule, lengths, 10, 100, 2, err));
	TRY(units_open(&trial->job.units, in_scratch(name), &trial->ranks, fresh, inputs, err));
	TRY(results_create(&trial->job.results, in_scratch(name), err));
	return dataset_write_counting(trial->job.results, &saved.column, NULL, 3, err);
fail:
	return err->code;
}

int trial_open(struct trial *trial, const char *name, struct err *err)
{
	return trial_open_with(trial, name, TRIAL_INPUTS, false, err);
}

void trial_close(struct trial *trial)
{
	units_close(trial->job.units);
	results_close(trial->job.results);
	schedule_free(&trial->schedule);
	device_close(trial->dev);
	free(trial->job.stages.data);
}

/* Until the writer's thread has the file of the unit open, those before it being whole. */
static void wait_for_part(const struct trial *trial, size_t b)
{
	char path[4300];

	snprintf(path, sizeof path, "%s/00-roots-of-small-numbers/%06zu.h5.part",
		trial->job.units->folder, b);
	for (int i = 0; i < 10000 && !file_exists(path); i++)
		usleep(1000);
}

/* In unit b: 2 b + 1 rows "x" of half precision, their entries, and ends into them. */
static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct trial *trial = context;
	const size_t n = 2 * b + 1;
	uint16_t x[16][3];
	int32_t entries[16], ends[16];
	const double root = sqrt((double)b + 2 + trial->seed);

	trial->n_computed++;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < 3; j++)
			x[i][j] = f32_to_f16((float)(100 * b + 10 * i + j) / 8 +
					     (float)trial->seed);
		entries[i] = (int32_t)(b * 1000 + i);
		ends[i] = (int32_t)i + 1;
	}
	TRY(unit_put(out, "root", RESULTS_F64, &root, 1, err));
	if (b == trial->die_at) {
		wait_for_part(trial, b);
		kill(getpid(), SIGKILL);
	}
	if (b == trial->fail_at)
		return err_set(err, ERR_DEVICE, "unit %zu failed", b);
	TRY(unit_write(out, &saved.x, WORDS("x"), (size_t[]){n, 3}, x, err));
	TRY(unit_write(out, &saved.end, NULL, &n, ends, err));
	TRY(unit_write(out, &saved.entry, NULL, &n, entries, err));
	TRY(unit_write_counting(out, &saved.row, NULL, n, err));
	return unit_write_counting(out, &saved.place, NULL, n, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct trial *trial = context;
	double root;

	(void)b;
	if (unit_get(in, "root", RESULTS_F64, &root, 1, err))
		return err->code;
	trial->sum += root;
	return 0;
}

int trial_run(struct trial *trial, struct err *err)
{
	return stage_run(&trial->job, trial->dev,
		&(struct stage){.title = "roots: of small numbers",
			.schedule = &trial->schedule,
			.item = "prompt",
			.context = trial,
			.compute = compute,
			.take = take},
		err);
}

int trial_end(struct trial *trial, bool keep, double *sum, int *n_computed, struct err *err)
{
	struct results *results = trial->job.results;

	if (trial_run(trial, err) == 0) {
		trial->job.results = NULL;
		if (results_finish(results, err) == 0) {
			units_finish(trial->job.units, keep, err);
			trial->job.units = NULL;
		}
	}
	*sum = trial->sum;
	*n_computed = trial->n_computed;
	trial_close(trial);
	return err->code;
}

int trial_whole(const char *name, double *sum, int *n_computed, struct err *err)
{
	struct trial trial;

	if (trial_open(&trial, name, err) == 0)
		return trial_end(&trial, false, sum, n_computed, err);
	trial_close(&trial);
	return err->code;
}

const char *trial_unit(const char *name, int unit, const char *ending)
{
	char path[128];

	snprintf(path, sizeof path, "%s.units/00-roots-of-small-numbers/%06d.h5%s", name, unit,
		ending);
	return in_scratch(path);
}
