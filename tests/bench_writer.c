/* SPDX-License-Identifier: MIT
 *
 * bench_writer.c - units of activations through the writer against write(2) of the same bytes: both
 * to a new file each, flushed to the disk and renamed. Medians of interleaved rounds, and the CPU
 * time of each beside them, for a machine that others use; not a test.
 *
 *   build/cpu/bench_writer FOLDER [UNITS]
 *
 * A unit is a batch of 512 tokens of Gemma-2-2b: resid_post of 26 layers, 123 MB in float32.
 * Prints one line of JSON (tools/bench_store.py).
 */
#include "host/base/dtype.h"
#include "host/base/clock.h"
#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/work/writer.h"
#include "tests/bench_median.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROUNDS = 5, TOKENS = 512, D_MODEL = 2304, LAYERS = 26, VALUES = TOKENS * D_MODEL };

static const struct seal SEAL = {.run = "a", .stage = "00-activations", .n = 1};
static const char *folder;
static int n_units = 4;

static void path_of(int unit, char path[4200])
{
	snprintf(path, 4200, "%s/%d.h5", folder, unit);
}

/* Wall and CPU seconds, of all threads. */
struct seconds {
	double wall, cpu;
};

static struct seconds now(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (struct seconds){clock_seconds(),
		(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)};
}

/* ---- the two ways ---------------------------------------------------------------------- */

static int write_plainly(const void *values, enum results_type type, struct err *err)
{
	for (int unit = 0; unit < n_units; unit++) {
		char path[4200], part[4300];
		int fd;

		path_of(unit, path);
		snprintf(part, sizeof part, "%s.part", path);
		fd = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0666);
		for (int layer = 0; layer < LAYERS; layer++) {
			const char *data = (const char *)values;
			size_t left = VALUES * results_value_bytes(type);

			while (fd >= 0 && left > 0) {
				const ssize_t n = write(fd, data, left);

				if (n <= 0)
					return err_set(err, ERR_OUTPUT, "%s: cannot be written",
						part);
				data += n;
				left -= (size_t)n;
			}
		}
		if (fd < 0 || close(fd))
			return err_set(err, ERR_OUTPUT, "%s: cannot be written", part);
		TRY(file_sync(part, err));
		TRY(file_rename(part, path, err));
	}
	return 0;
fail:
	return err->code;
}

static int write_units(const void *values, enum results_type type, struct err *err)
{
	struct writer *w;

	if (writer_open(&w, (size_t)256 << 20, err))
		return err->code;
	for (int unit = 0; unit < n_units; unit++) {
		char path[4200];

		path_of(unit, path);
		TRY(writer_begin(w, path, &SEAL, err));
		for (int layer = 0; layer < LAYERS; layer++) {
			char name[64];
			const struct results_dataset d = {.path = name,
				.type = type,
				.n_dims = 2,
				.dims = {0, D_MODEL},
				.long_name = "resid_post",
				.units = "1"};

			snprintf(name, sizeof name, "/activations/blocks.%d.hook_resid_post",
				layer);
			TRY(writer_put(w, &d, values, TOKENS, false, err));
		}
		TRY(writer_commit(w, err));
	}
	writer_drain(w, err);
fail:
	writer_close(w);
	return err->code;
}

/* ---- measuring ------------------------------------------------------------------------- */

typedef int write_function(const void *values, enum results_type type, struct err *err);

static int measure(write_function *function, const void *values, enum results_type type,
	double *wall, double *cpu, struct err *err)
{
	const struct seconds began = now();
	struct seconds ended;
	char path[4200];

	err_clear(err);
	if (function(values, type, err))
		return err->code;
	ended = now();
	*wall = ended.wall - began.wall;
	*cpu = ended.cpu - began.cpu;
	for (int unit = 0; unit < n_units; unit++) {
		path_of(unit, path);
		unlink(path);
	}
	return 0;
}

static int compare(const void *values, enum results_type type, const char *name, struct err *err)
{
	double wall[2][ROUNDS], cpu[2][ROUNDS];
	const double gb = 1e-9 * (double)n_units * LAYERS * VALUES *
			  (double)results_value_bytes(type);

	for (int round = 0; round < ROUNDS; round++) {
		TRY(measure(write_plainly, values, type, &wall[0][round], &cpu[0][round], err));
		TRY(measure(write_units, values, type, &wall[1][round], &cpu[1][round], err));
	}
	printf("\"%s\": {\"plain_s\": %.3f, \"writer_s\": %.3f, \"plain_cpu_s\": %.3f, "
	       "\"writer_cpu_s\": %.3f, \"gb\": %.3f}",
		name, median(wall[0], ROUNDS), median(wall[1], ROUNDS), median(cpu[0], ROUNDS),
		median(cpu[1], ROUNDS), gb);
	return 0;
fail:
	return err->code;
}

int main(int argc, char **argv)
{
	float *values = malloc(VALUES * sizeof *values);
	uint16_t *halves = malloc(VALUES * sizeof *halves);
	struct err err = {0};

	memory_keep_freed();
	if (argc < 2 || !values || !halves) {
		fprintf(stderr, "usage: bench_writer FOLDER [UNITS]\n");
		return 2;
	}
	folder = argv[1];
	if (argc > 2)
		n_units = atoi(argv[2]);
	for (int i = 0; i < VALUES; i++) {
		values[i] = (float)(i % 1009) * 0.01f;
		halves[i] = f32_to_f16(values[i]);
	}
	putchar('{');
	if (compare(values, RESULTS_F32, "float32", &err) == 0) {
		printf(", ");
		compare(halves, RESULTS_F16, "float16", &err);
	}
	puts("}");
	free(values);
	free(halves);
	if (err.code)
		fprintf(stderr, "%s\n", err.text);
	return err.code;
}
