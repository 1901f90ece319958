/* SPDX-License-Identifier: MIT
 *
 * test_unreadable.c - a unit that cannot be taken, for a read that the disk refuses or for want of
 * memory (results.h, starved.h).
 *
 * HDF5 asks for bytes by pread64 or pread, which are found here before they are found in libc: one
 * of the calls fails.
 */
#include "host/base/file.h"
#include "host/store/dataset.h"
#include "tests/starved.h"
#include "tests/test.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls, failing; /* 0: none */

static ssize_t read_or_fail(int fd, void *data, size_t n, long at)
{
	if (++calls != failing)
		return syscall(SYS_pread64, fd, data, n, at);
	errno = EIO;
	return -1;
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
	return read_or_fail(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off_t at)
{
	return read_or_fail(fd, data, n, at);
}

/* More links than HDF5 keeps in the group itself, and more bytes than in one block. */
enum { N_GROUPS = 24, N_ROWS = 3 };

/* A unit with texts for itself and rows for the result file in many groups. */
static int write_unit(const char *path, struct err *err)
{
	static const int32_t numbers[N_ROWS] = {3, 1, 2};
	static const char *const words[N_ROWS] = {"a", "b", "c"};
	struct results *unit;

	TRY(results_create(&unit, path, err));
	for (int i = 0; i < N_GROUPS; i++) {
		char rows[80], part[80];

		snprintf(rows, sizeof rows,
			"/a_group_whose_name_is_so_long_as_to_fill_blocks_%d/rows", i);
		snprintf(part, sizeof part,
			"/unit/a_part_whose_name_is_so_long_as_to_fill_blocks_%d", i);
		TRY(results_write_rows(unit,
			&(struct results_dataset){.path = rows,
				.type = RESULTS_I32,
				.n_dims = 1,
				.dims = {N_ROWS},
				.long_name = "x",
				.units = ""},
			numbers, N_ROWS, err));
		TRY(results_write(unit,
			&(struct results_dataset){.path = part,
				.type = RESULTS_TEXT,
				.n_dims = 1,
				.dims = {N_ROWS},
				.long_name = "x",
				.units = ""},
			words, err));
	}
	TRY(results_finish(unit, err));
fail:
	return err->code;
}

/* As a stage takes a unit: its rows, then what it has for itself. */
static int take(const void *path, struct err *err)
{
	struct results_reader *unit = NULL;
	struct results *to = NULL;
	char **words = NULL;
	size_t n = 0;

	TRY(results_create(&to, in_scratch("whole.h5"), err));
	calls = 0;
	TRY(results_open(&unit, path, err));
	TRY(results_join(to, unit, err));
	TRY(results_read_texts(unit, "/unit/a_part_whose_name_is_so_long_as_to_fill_blocks_0", &n,
		&words, err));
fail:
	for (size_t i = 0; i < n; i++)
		free(words[i]);
	free(words);
	results_reader_close(unit);
	failing = 0;
	results_close(to);
	return err->code;
}

TEST(a_unit_of_which_any_read_fails_is_not_taken_and_the_message_has_the_reason)
{
	struct err err = {0};
	char path[256];
	int n;

	snprintf(path, sizeof path, "%s", in_scratch("unit.h5"));
	mallopt(M_PERTURB, 0x5a); /* what nobody has filled is no pointer by chance */
	REQUIRE_OK(write_unit(path, &err), &err);
	REQUIRE_OK(take(path, &err), &err);
	n = calls;
	CHECK(n > 3 * N_GROUPS, "expected reads for each group, found %d", n);
	for (int i = 1; i <= n; i++) {
		failing = i;
		take(path, &err);
		CHECK(err.code == ERR_INPUT &&
				strstr(err.text, "cannot be read: Input/output error"),
			"read %d of %d: expected the reason, found %d: %s", i, n, err.code,
			err.text);
	}
}

TEST(a_unit_for_which_there_is_no_memory_is_not_said_to_be_malformed)
{
	struct err err;
	char path[256];

	snprintf(path, sizeof path, "%s", in_scratch("unit.h5"));
	REQUIRE_OK(write_unit(path, &err), &err);
	CHECK(starve(take, path, "a unit") > 100, "too few failed");
}
