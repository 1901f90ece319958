/* SPDX-License-Identifier: MIT
 *
 * test_unreadable.c - a unit that cannot be taken and a folder that cannot be listed, for a read
 * that the disk refuses or for want of memory (results.h, units.h, starved.h).
 *
 * HDF5 asks for bytes by pread64 or pread, and we for names by readdir, which are found here before
 * they are found in libc: one of the calls fails.
 */
#include "host/base/file.h"
#include "host/store/dataset.h"
#include "host/work/units.h"
#include "tests/starved.h"
#include "tests/test.h"

#include <dirent.h>
#include <dlfcn.h>
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

struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR *);

	*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	if (++calls != failing)
		return real(dir);
	errno = EIO;
	return NULL;
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

/* ---- folders ------------------------------------------------------------------------------- */

static int list(const void *folder, struct err *err)
{
	struct folder_names names;

	if (folder_list(&names, folder, ERR_INPUT, err) == 0)
		CHECK(names.n == 4 && strcmp(names.data[0], "10") == 0 &&
				strcmp(names.data[1], "9") == 0 &&
				strcmp(names.data[2], "B") == 0 && strcmp(names.data[3], "a") == 0,
			"expected 10, 9, B, a, found %zu names", names.n);
	else
		CHECK(names.n == 0 && !names.data, "names are left behind");
	folder_names_free(&names);
	return err->code;
}

static FILE *nowhere;

static int show(const void *folder, struct err *err)
{
	return units_inspect(folder, nowhere, err);
}

static int verify(const void *folder, struct err *err)
{
	return units_verify(folder, nowhere, err);
}

/* With each of its calls failing in turn. */
static void expect_the_reason(starved *call, const char *folder, int n_least)
{
	struct err err = {0};
	int n;

	calls = failing = 0;
	REQUIRE_OK(call(folder, &err), &err);
	n = calls;
	CHECK(n >= n_least, "expected %d reads or more, found %d", n_least, n);
	for (int i = 1; i <= n; i++) {
		calls = 0;
		failing = i;
		CHECK(call(folder, &err) == ERR_INPUT &&
				strstr(err.text, "cannot be read: Input/output error"),
			"read %d of %d: expected the reason, found %d: %s", i, n, err.code,
			err.text);
	}
	failing = 0;
}

static void write_in(const char *folder, const char *name, struct err *err)
{
	char path[300];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	REQUIRE_OK(file_write_text(path, "", err), err);
}

TEST(a_folder_is_listed_by_name_and_whole_or_not_at_all)
{
	struct err err = {0};
	char folder[256];

	snprintf(folder, sizeof folder, "%s", in_scratch("some"));
	REQUIRE_OK(folder_make(folder, &err), &err);
	for (const char **name = (const char *[]){"a", "9", ".hidden", "B", "10", NULL}; *name;
		name++)
		write_in(folder, *name, &err);
	expect_the_reason(list, folder, 5);
	CHECK(starve(list, folder, "a listing") >= 4, "too few failed");
	CHECK(list(in_scratch("none"), &err) == ERR_INPUT && strstr(err.text, "No such file"),
		"found %d: %s", err.code, err.text);
}

TEST(units_are_neither_counted_nor_verified_where_a_folder_cannot_be_listed)
{
	struct err err = {0};
	char folder[256], stage[300];

	snprintf(folder, sizeof folder, "%s", in_scratch("result.units"));
	snprintf(stage, sizeof stage, "%s/00-direction", folder);
	REQUIRE_OK(folder_make(folder, &err), &err);
	REQUIRE_OK(folder_make(stage, &err), &err);
	write_in(folder, "manifest", &err);
	write_in(stage, "notes", &err);
	nowhere = fopen("/dev/null", "w");
	REQUIRE(nowhere, "/dev/null cannot be opened");
	expect_the_reason(show, folder, 6);
	expect_the_reason(verify, folder, 6);
	fclose(nowhere);
}
