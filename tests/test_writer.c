/* SPDX-License-Identifier: MIT
 *
 * test_writer.c - the thread that writes units: the invariants at the top of host/work/writer.h,
 * one by one.
 */
#include "host/base/file.h"
#include "host/work/writer.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1000, UNITS = 20 };

static const char *path_of(int unit)
{
	static char paths[2][256];
	static int next;
	char *path = paths[next++ % 2];

	snprintf(path, sizeof paths[0], "%s/%d.h5", test_scratch_folder(), unit);
	return path;
}

static const struct results_dataset VALUES = {.path = "/unit/values",
	.type = RESULTS_I32,
	.n_dims = 1,
	.long_name = ""};

static const struct seal SEAL = {.run = "a", .stage = "00-test", .n = UNITS};

/* Units of ten puts each, from one buffer that is written over after every put. */
static int write_units(struct writer *w, struct err *err)
{
	int32_t values[N];

	for (int unit = 0; unit < UNITS; unit++) {
		TRY(writer_begin(w, path_of(unit), &SEAL, err));
		for (int put = 0; put < 10; put++) {
			struct results_dataset d = VALUES;
			char path[64];

			for (int i = 0; i < N; i++)
				values[i] = unit * 1000000 + put * 10000 + i;
			snprintf(path, sizeof path, "/unit/%d", put);
			d.path = path;
			TRY(writer_put(w, &d, values, N, true, err));
		}
		TRY(writer_commit(w, err));
	}
	return writer_drain(w, err);
fail:
	return err->code;
}

static void check_units(void)
{
	int32_t values[N];
	struct err err;

	for (int unit = 0; unit < UNITS; unit++) {
		struct results_reader *r;

		REQUIRE_OK(results_open(&r, path_of(unit), &err), &err);
		for (int put = 0; put < 10; put++) {
			char path[64];

			snprintf(path, sizeof path, "/unit/%d", put);
			REQUIRE_OK(results_read_exactly(r, path, RESULTS_I32, values, N, &err),
				&err);
			for (int i = 0; i < N; i++)
				REQUIRE(values[i] == unit * 1000000 + put * 10000 + i,
					"unit %d, put %d, value %d is %d", unit, put, i, values[i]);
		}
		results_reader_close(r);
		remove(path_of(unit));
	}
}

/* 1, 2 */
TEST(whatever_the_bound_nothing_is_dropped_and_buffers_are_free_at_once)
{
	static const size_t bounds[] = {1, 10000, 1 << 30};

	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		struct writer *w;
		struct err err;

		REQUIRE_OK(writer_open(&w, bounds[i], &err), &err);
		REQUIRE_OK(write_units(w, &err), &err);
		writer_close(w);
		check_units();
	}
}

/* 3 */
TEST(the_first_error_is_kept_and_returned_by_every_later_call)
{
	const int32_t value = 1;
	struct writer *w;
	struct err err;

	REQUIRE_OK(writer_open(&w, 1000, &err), &err);
	REQUIRE_OK(writer_begin(w, "/proc/nowhere/1.h5", &SEAL, &err), &err);
	CHECK(writer_drain(w, &err) == ERR_OUTPUT && strstr(err.text, "/proc/nowhere"), "%d: %s",
		err.code, err.text);
	err = (struct err){0};
	CHECK(writer_put(w, &VALUES, &value, 1, true, &err) == ERR_OUTPUT &&
			strstr(err.text, "/proc/nowhere"),
		"%d: %s", err.code, err.text);
	CHECK(writer_begin(w, path_of(1), &SEAL, &err) == ERR_OUTPUT, "it went on");
	writer_close(w);
	CHECK(!file_exists(path_of(1)), "something was written after an error");
}

/* 4 */
TEST(a_file_has_its_name_after_the_commit_and_is_gone_when_abandoned)
{
	const int32_t value = 1;
	struct writer *w;
	struct err err;

	REQUIRE_OK(writer_open(&w, 1000, &err), &err);
	REQUIRE_OK(writer_begin(w, path_of(1), &SEAL, &err), &err);
	REQUIRE_OK(writer_put(w, &VALUES, &value, 1, true, &err), &err);
	REQUIRE_OK(writer_drain(w, &err), &err);
	CHECK(!file_exists(path_of(1)), "it has its name before the commit");
	REQUIRE_OK(writer_commit(w, &err), &err);
	REQUIRE_OK(writer_drain(w, &err), &err);
	CHECK(file_exists(path_of(1)), "it has no name after the commit");
	REQUIRE_OK(writer_begin(w, path_of(2), &SEAL, &err), &err);
	REQUIRE_OK(writer_put(w, &VALUES, &value, 1, true, &err), &err);
	writer_abandon(w);
	REQUIRE_OK(writer_begin(w, path_of(3), &SEAL, &err), &err);
	writer_close(w); /* not committed */
	for (int unit = 2; unit <= 3; unit++) {
		char part[300];

		snprintf(part, sizeof part, "%s.part", path_of(unit));
		CHECK(!file_exists(path_of(unit)) && !file_exists(part), "unit %d was left", unit);
	}
}
