/* SPDX-License-Identifier: MIT
 *
 * units_folder.c - Contract: units_folder.h. Tests: tests/test_seals.c.
 */
#include "host/work/units_folder.h"

#include "host/base/file.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAGE = 1, UNIT = 2 }; /* depth below the folder */

static __thread struct err *walk_err; /* nftw hands nothing on */

static const char *name_in(const char *path, const struct FTW *ftw)
{
	return path + ftw->base;
}

static bool is_own_file(const char *name)
{
	return strcmp(name, "lock") == 0 || strcmp(name, "manifest") == 0;
}

/* ---- what may lie there ---------------------------------------------------------------- */

static int refuse(const char *path, const char *expected, const char *found, struct err *err)
{
	return err_set(err, ERR_CONFIG,
		"%s: expected %s, found %s; name another output, or move it away", path, expected,
		found);
}

static const char *kind_of(int kind, const struct stat *st)
{
	return kind == FTW_SL                     ? "a link"
	       : kind == FTW_D || kind == FTW_DNR ? "a folder"
	       : S_ISREG(st->st_mode)             ? "a file"
						  : "a pipe or a device";
}

static int check_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	const bool file = kind == FTW_F && S_ISREG(st->st_mode);
	const bool folder_may_be = ftw->level == 0 ||
				   (ftw->level == STAGE && !is_own_file(name_in(path, ftw)));

	if (kind == FTW_NS) /* gone since it was listed */
		return 0;
	if (kind == FTW_DNR)
		return err_set(walk_err, ERR_CONFIG, "%s: cannot be read", path);
	if ((ftw->level > 0 && file) || (kind == FTW_D && folder_may_be))
		return 0;
	return refuse(path,
		ftw->level == 0      ? "a folder"
		: folder_may_be      ? "a file or the folder of a stage"
		: ftw->level == UNIT ? "the file of a unit"
				     : "a file",
		kind_of(kind, st), walk_err);
}

int units_folder_check(const char *folder, struct err *err)
{
	err_clear(err);
	walk_err = err;
	if (nftw(folder, check_one, 16, FTW_PHYS) < 0 && errno != ENOENT)
		err_set(err, errno == ENOMEM ? ERR_DEVICE : ERR_OUTPUT, "%s: cannot be read: %s",
			folder, strerror(errno));
	return err->code;
}

int units_folder_check_kind(const char *folder, struct err *err)
{
	struct stat st;

	err_clear(err);
	if (lstat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
		refuse(folder, "a folder or nothing", S_ISLNK(st.st_mode) ? "a link" : "a file",
			err);
	return err->code;
}

/* ---- aside ----------------------------------------------------------------------------- */

/* "BEGINNING-N" */
static int free_name(const char *path, const char *word, char *out, size_t size, struct err *err)
{
	struct stat st;

	for (int n = 1; n < 10000; n++) {
		snprintf(out, size, "%s.%s-%d", path, word, n);
		if (lstat(out, &st) != 0)
			return 0;
	}
	return err_set(err, ERR_OUTPUT, "%s: expected a free name, found %s.%s-1 to 9999", path,
		path, word);
}

int units_folder_free_name(const char *folder, const char *word, char out[4200], struct err *err)
{
	return free_name(folder, word, out, 4200, err);
}

int units_folder_set_aside(const char *unit, char kept[4300], struct err *err)
{
	if (free_name(unit, "bad", kept, 4300, err))
		return err->code;
	if (rename(unit, kept) == 0)
		return 0;
	if (errno != ENOENT)
		return err_set(err, ERR_OUTPUT, "%s: cannot rename to %s: %s", unit, kept,
			strerror(errno));
	kept[0] = '\0';
	return 0;
}

/* ---- removal --------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind;
	if (ftw->level == 0 || (ftw->level == STAGE && is_own_file(name_in(path, ftw))))
		return 0;
	if (remove(path) == 0 || errno == ENOENT)
		return 0;
	return err_set(walk_err, ERR_OUTPUT, "%s: cannot remove: %s", path, strerror(errno));
}

int units_folder_empty(const char *folder, struct err *err)
{
	err_clear(err);
	walk_err = err;
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return err->code;
}

int units_folder_remove_empty(const char *folder, struct err *err)
{
	static const char *const names[] = {"/manifest", "/lock",
		""}; /* the lock marks it as ours */
	char path[4300];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s%s", folder, names[i]);
		if (remove(path) != 0 && errno != ENOENT)
			return err_set(err, ERR_OUTPUT, "%s: cannot remove: %s", path,
				strerror(errno));
	}
	return 0;
}
