/* SPDX-License-Identifier: MIT
 *
 * test_rows.c - what a run leaves to its device, on the stand-in for CUDA and on the CPU: rows that
 * go from there to a unit's file while later units are computed (unit_write_tensor), and the type
 * of SAEs.
 */
#include "host/lab/lab.h"
#include "host/work/stage.h"
#include "tests/test.h"

#include <stdlib.h>

enum { UNITS = 6, ROWS = 500, COLS = 4, BALLAST = 1 << 20 };

struct job {
	struct lab lab;
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
	struct job *job = context;

	for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
		job->host[i] = value_of(b, i);
	TRY(device_upload(job->lab.dev, job->x.data, job->host, tensor_bytes(job->x), err));
	TRY(unit_write_counting(out, &saved.row, NULL, ROWS, err));
	TRY(unit_write_counting(out, &saved.place, NULL, BALLAST, err));
	TRY(unit_write(out, &saved.ballast, NULL, (size_t[]){BALLAST}, job->ballast, err));
	TRY(unit_write_tensor(out, &saved.x, NULL, job->x, err));
	return device_wait(job->lab.dev, err); /* ops, not copies */
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	(void)context, (void)b, (void)in, (void)err;
	return 0;
}

static int job_run(struct job *job, const char *device, const char *output, struct err *err)
{
	static const size_t lengths[UNITS] = {5, 5, 5, 5, 5, 5};
	struct lab *lab = &job->lab;
	struct results *results;

	*job = (struct job){.ranks = {.world = 1, .n_local = 1},
		.x = {NULL, DTYPE_F32, ROWS, COLS}};
	lab->ranks = &job->ranks;
	job->host = malloc(sizeof(float) * ROWS * COLS);
	job->ballast = calloc(BALLAST, sizeof *job->ballast);
	if (!job->host || !job->ballast)
		return err_nomem(err, "the test", sizeof(float) * BALLAST);
	TRY(device_open(&lab->dev, device, 1, err));
	TRY(device_alloc(lab->dev, tensor_bytes(job->x), &job->x.data, err));
	TRY(schedule_make(&job->schedule, lengths, UNITS, 100, 1, err));
	TRY(units_open(&lab->units, output, &job->ranks, false, "of a test\n", err));
	TRY(results_create(&lab->results, output, err));
	TRY(dataset_write_counting(lab->results, &saved.column, NULL, COLS, err));
	TRY(stage_run(lab,
		&(struct stage){.title = "rows",
			.schedule = &job->schedule,
			.item = "prompt",
			.context = job,
			.compute = compute,
			.take = take},
		err));
	results = lab->results;
	lab->results = NULL;
	return results_finish(results, err);
fail:
	return err->code;
}

static void job_close(struct job *job)
{
	units_close(job->lab.units);
	results_close(job->lab.results);
	schedule_free(&job->schedule);
	if (job->lab.dev)
		device_free(job->lab.dev, job->x.data);
	device_close(job->lab.dev);
	free(job->lab.stages.data);
	free(job->host);
	free(job->ballast);
}

static void check_rows(const char *device)
{
	struct results_reader *r;
	struct job job;
	struct err err;
	float *x = NULL;
	size_t dims[2], wrong = 0;
	char output[32];
	int rc;

	snprintf(output, sizeof output, "%.4s.h5", device);
	rc = job_run(&job, device, in_scratch(output), &err);
	job_close(&job);
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
		struct lab lab = {.config = &c};
		struct err err;

		REQUIRE_OK(device_open(&lab.dev, cases[i].device, 1, &err), &err);
		CHECK(lab_sae_dtype(&lab) == cases[i].expected, "%s on %s is %s", cases[i].setting,
			cases[i].device, sae_dtype_names[lab_sae_dtype(&lab)]);
		device_close(lab.dev);
	}
}
