/* SPDX-License-Identifier: MIT
 *
 * test_rows.c - what a run leaves to its device, on the stand-in for CUDA and on the CPU: rows that
 * go from there to a unit's file while later units are computed (unit_write_tensor), and the type
 * of SAEs.
 */
#include "host/lab/machine.h"
#include "host/work/job.h"
#include "host/work/stage.h"
#include "tests/test.h"

#include <stdlib.h>

enum { UNITS = 6, ROWS = 500, COLS = 4, BALLAST = 1 << 20 };

struct trial {
	struct job job;
	struct device *dev;
	struct ranks ranks;
	struct schedule schedule;
	struct tensor x; /* [ROWS, COLS] on the device, of the unit being computed */
	float *host, *ballast;
};

static const struct {
	struct dataset column, row, place, ballast, x;
} saved = {.column = {"/column", {"column"}, RESULTS_I32, "", "of x"},
	.row = {"/saved/row", {"row"}, RESULTS_I32, "", "of x"},
	.place = {"/saved/place", {"place"}, RESULTS_I32, "", "in the ballast"},
	.ballast = {"/saved/ballast", {"place"}, RESULTS_F32, "1", "ballast"},
	.x = {"/saved/x", {"row", "column"}, RESULTS_F32, "1", "rows"}};

static float value_of(size_t unit, size_t i)
{
	return (float)(10000 * unit + i);
}

/* The ballast keeps the writer from looking at the rows before the next unit has begun. */
static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct trial *trial = context;

	for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
		trial->host[i] = value_of(b, i);
	TRY(device_upload(trial->dev, trial->x.data, trial->host, tensor_bytes(trial->x), err));
	TRY(unit_write_counting(out, &saved.row, NULL, ROWS, err));
	TRY(unit_write_counting(out, &saved.place, NULL, BALLAST, err));
	TRY(unit_write(out, &saved.ballast, NULL, (size_t[]){BALLAST}, trial->ballast, err));
	TRY(unit_write_tensor(out, &saved.x, NULL, trial->x, err));
	return device_wait(trial->dev, err); /* ops, not copies */
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	(void)context, (void)b, (void)in, (void)err;
	return 0;
}

static int trial_run(struct trial *trial, const char *device, const char *output, struct err *err)
{
	static const size_t lengths[UNITS] = {5, 5, 5, 5, 5, 5};
	struct job *job = &trial->job;
	struct results *results;

	*trial = (struct trial){.ranks = {.world = 1, .n_local = 1},
		.x = {NULL, DTYPE_F32, ROWS, COLS}};
	job->ranks = &trial->ranks;
	trial->host = malloc(sizeof(float) * ROWS * COLS);
	trial->ballast = calloc(BALLAST, sizeof *trial->ballast);
	if (!trial->host || !trial->ballast)
		return err_nomem(err, "the test", sizeof(float) * BALLAST);
	TRY(device_open(&trial->dev, device, 1, err));
	TRY(device_alloc(trial->dev, tensor_bytes(trial->x), &trial->x.data, err));
	TRY(schedule_make(&trial->schedule, lengths, UNITS, 100, 1, err));
	TRY(units_open(&job->units, output, &trial->ranks, false, "of a test\n", err));
	TRY(results_create(&job->results, output, err));
	TRY(dataset_write_counting(job->results, &saved.column, NULL, COLS, err));
	TRY(stage_run(job, trial->dev,
		&(struct stage){.title = "rows",
			.schedule = &trial->schedule,
			.item = "prompt",
			.context = trial,
			.compute = compute,
			.take = take},
		err));
	results = job->results;
	job->results = NULL;
	return results_finish(results, err);
fail:
	return err->code;
}

static void trial_close(struct trial *trial)
{
	units_close(trial->job.units);
	results_close(trial->job.results);
	schedule_free(&trial->schedule);
	if (trial->dev)
		device_free(trial->dev, trial->x.data);
	device_close(trial->dev);
	free(trial->job.stages.data);
	free(trial->host);
	free(trial->ballast);
}

static void check_rows(const char *device)
{
	struct results_reader *r;
	struct trial trial;
	struct err err;
	float *x = NULL;
	size_t dims[2], wrong = 0;
	char output[32];
	int rc;

	snprintf(output, sizeof output, "%.4s.h5", device);
	rc = trial_run(&trial, device, in_scratch(output), &err);
	trial_close(&trial);
	REQUIRE(rc == 0, "%s: %s", device, err.text);
	REQUIRE_OK(results_open(&r, in_scratch(output), &err), &err);
	REQUIRE_OK(results_read_floats(r, "/saved/x", 2, dims, &x, &err), &err);
	CHECK(dims[0] == (size_t)UNITS * ROWS && dims[1] == COLS, "%zu x %zu", dims[0], dims[1]);
	for (size_t b = 0; b < UNITS; b++)
		for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
			wrong += x[b * ROWS * COLS + i] != value_of(b, i);
	CHECK(wrong == 0, "%s: %zu values are those of another unit", device, wrong);
	results_reader_close(r);
	free(x);
}

TEST(rows_of_a_tensor_are_those_of_its_unit_though_the_next_one_writes_over_it)
{
	check_rows("cuda:0");
	check_rows("cpu");
}

TEST(auto_keeps_saes_in_bfloat16_where_the_device_rounds_products_and_nowhere_else)
{
	static const struct {
		const char *device, *setting;
		enum sae_dtype expected;
	} cases[] = {
		{"cuda:0", "auto", SAE_BF16},
		{"cuda:0:f32", "auto", SAE_FLOAT32},
		{"cpu", "auto", SAE_FLOAT32},
		{"cuda:0", "float32", SAE_FLOAT32},
		{"cuda:0", "released", SAE_RELEASED},
		{"cuda:0:f32", "bf16", SAE_BF16},
		{"cpu", "bf16", SAE_BF16},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct config c = {.sae.dtype = (char *)cases[i].setting};
		struct machine m = {0};
		struct err err;

		REQUIRE_OK(device_open(&m.dev, cases[i].device, 1, &err), &err);
		CHECK(machine_sae_dtype(&m, &c) == cases[i].expected, "%s on %s is %s",
			cases[i].setting, cases[i].device,
			sae_dtype_names[machine_sae_dtype(&m, &c)]);
		device_close(m.dev);
	}
}
