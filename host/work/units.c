/* SPDX-License-Identifier: MIT
 *
 * units.c - Contract and invariants: units.h. Tests: tests/test_units.c, tests/test_resume.c.
 */
#include "host/work/units.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/work/manifest.h"
#include "host/work/units_folder.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Values that may wait for the disk. */
static const size_t QUEUE_BYTES = (size_t)256 << 20;

/* ---- the lock -------------------------------------------------------------------------- */

static int is_held(const char *folder, const char *owner, struct err *err)
{
	return err_set(err, ERR_OUTPUT, "%s: another run is writing here%s%s", folder,
		*owner ? ": " : "", owner);
}

/* A file of its own: nothing else may be emptied to hold the owner's name. */
static int open_lock(const char *path, int *fd, struct err *err)
{
	struct stat st;

	*fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
	if (*fd < 0 && errno != ELOOP && errno != EISDIR && errno != ENXIO)
		return err_set(err, ERR_OUTPUT, "%s: cannot create: %s", path, strerror(errno));
	if (*fd >= 0 && fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
		return 0;
	return err_set(err, ERR_CONFIG,
		"%s: expected the lock of a run, found a link, a folder, a pipe or a device; name "
		"another output, or move it away",
		path);
}

/* Whether the file that is open still has the path: whoever held the lock may have renamed the
 * folder since. */
static bool is_at(int fd, const char *path)
{
	struct stat of_fd, of_path;

	return fstat(fd, &of_fd) == 0 && lstat(path, &of_path) == 0 &&
	       of_fd.st_dev == of_path.st_dev && of_fd.st_ino == of_path.st_ino;
}

/* A record lock, which file servers pass on between machines. */
static int take_lock(struct units *u, struct err *err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[4200], owner[256], host[128] = "";
	int n;

	snprintf(path, sizeof path, "%s/lock", u->folder);
	if (open_lock(path, &u->lock, err))
		return err->code;
	if (fcntl(u->lock, F_SETLK, &lock) != 0) {
		if (errno == EACCES || errno == EAGAIN) {
			n = (int)read(u->lock, owner, sizeof owner - 1);
			owner[n > 0 ? n : 0] = '\0';
			return is_held(u->folder, owner, err);
		}
		log_warn("%s: this file system has no locks (%s); see that no two runs write here",
			path, strerror(errno));
		return 0;
	}
	if (!is_at(u->lock, path))
		return is_held(u->folder, "", err);
	gethostname(host, sizeof host - 1);
	n = snprintf(owner, sizeof owner, "process %d on %s", (int)getpid(), host);
	if (ftruncate(u->lock, 0) != 0 || write(u->lock, owner, (size_t)n) != n)
		return err_set(err, ERR_OUTPUT, "%s: cannot write: %s", path, strerror(errno));
	return 0;
}

bool units_owner(const char *folder, char *out, size_t size)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	char path[4200];
	ssize_t n = 0;
	bool held;
	int fd;

	snprintf(path, sizeof path, "%s/lock", folder);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	if (held)
		n = read(fd, out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fd);
	return held;
}

static int check_lock(const char *folder, struct err *err)
{
	char owner[256];

	return units_owner(folder, owner, sizeof owner) ? is_held(folder, owner, err) : 0;
}

static void release_lock(struct units *u)
{
	if (u->lock >= 0)
		close(u->lock);
	u->lock = -1;
}

/* ---- the manifest ---------------------------------------------------------------------- */

static int compare(const char *folder, const char *theirs, const char *ours, struct err *err)
{
	static const struct manifest_sides who = {"the units were made with", "this run has"};
	struct text differences = {0};

	err_clear(err);
	/* The engine's version is the first line; its settings may have other names. */
	manifest_compare_first(theirs, ours, who, &differences);
	if (differences.n > 0) {
		err_set(err, ERR_CONFIG,
			"%s: expected units of this engine, found those of another:%.*s\ngo on with "
			"that engine, or begin anew with --fresh, which renames the folder",
			folder, (int)size_min(differences.n, 3000), differences.data);
		free(differences.data);
		return err->code;
	}
	manifest_compare(theirs, ours, who, &differences);
	if (differences.n > 0)
		err_set(err, ERR_CONFIG,
			"%s: expected units of this config and these files, found those of another "
			"run:%.*s\nput the old settings back to go on with that run, or begin anew "
			"with --fresh, which renames the folder",
			folder, (int)size_min(differences.n, 3000), differences.data);
	free(differences.data);
	return err->code;
}

static void manifest_path(const char *folder, char out[4200])
{
	snprintf(out, 4200, "%s/manifest", folder);
}

/* A folder without a manifest is one that a run had just begun, or not ours: then what lies there
 * is not to be removed at the end. */
static int check_unclaimed(const char *folder, struct err *err)
{
	struct folder_names names;

	if (!folder_exists(folder))
		return 0;
	if (folder_list(&names, folder, ERR_OUTPUT, err))
		return err->code;
	for (size_t i = 0; i < names.n && !err->code; i++) {
		const char *name = names.data[i];

		if (strcmp(name, "lock") != 0 && !path_has_extension(name, ".part"))
			err_set(err, ERR_CONFIG,
				"%s: expected the units of a run, or nothing, found no manifest "
				"and \"%s\"; name another output, move that folder, or begin anew "
				"with --fresh, which renames it",
				folder, name);
	}
	folder_names_free(&names);
	return err->code;
}

static int check_folder(const char *folder, const char *inputs, struct err *err)
{
	char path[4200], *text;
	int rc;

	if (units_folder_check(folder, err))
		return err->code;
	manifest_path(folder, path);
	if (!file_exists(path))
		return check_unclaimed(folder, err);
	if (file_read_text(path, &text, err))
		return err->code;
	rc = compare(folder, text, inputs, err);
	free(text);
	return rc;
}

/* Afterwards it is `inputs` to the byte, for the run's digest is of it. */
static int settle_manifest(const char *folder, const char *inputs, struct err *err)
{
	char path[4200], *text = NULL;
	bool same;

	manifest_path(folder, path);
	if (check_folder(folder, inputs, err))
		return err->code;
	same = file_exists(path) && file_read_text(path, &text, err) == 0 &&
	       strcmp(text, inputs) == 0;
	free(text);
	return same ? 0 : file_write_text(path, inputs, err);
}

bool units_stand(const char *result_path)
{
	char folder[4096];

	path_beside(result_path, ".units", folder, sizeof folder);
	return folder_exists(folder);
}

int units_check(const char *result_path, bool fresh, const char *inputs, struct err *err)
{
	char folder[4096];

	path_beside(result_path, ".units", folder, sizeof folder);
	if (units_folder_check_kind(folder, err) || check_lock(folder, err))
		return err->code;
	return fresh ? 0 : check_folder(folder, inputs, err);
}

/* ---- the folder ------------------------------------------------------------------------ */

/* Aside, so that nothing is lost. The lock goes along. */
static int set_aside(struct units *u, struct err *err)
{
	char aside[4200];

	TRY(units_folder_free_name(u->folder, "old", aside, err));
	TRY(file_rename(u->folder, aside, err));
	log_info("the units of an earlier run are now %s", aside);
	release_lock(u);
	TRY(folder_make(u->folder, err));
	return take_lock(u, err);
fail:
	return err->code;
}

/* First under another name, then units, then what says whose they were. */
static int remove_folder(struct units *u, struct err *err)
{
	char aside[4200];

	TRY(units_folder_free_name(u->folder, "done", aside, err));
	TRY(file_rename(u->folder, aside, err));
	TRY(units_folder_empty(aside, err));
	release_lock(u); /* servers keep a file that is open under another name, in its folder */
	return units_folder_remove_empty(aside, err);
fail:
	return err->code;
}

/* What killed runs left of that; nothing that has no lock is ours, or that one is held of. */
static void remove_leftovers(const struct units *u)
{
	for (int n = 1; n < 10000; n++) {
		char aside[4200], lock[4300], owner[256];
		struct err ignored;

		snprintf(aside, sizeof aside, "%s.done-%d", u->folder, n);
		snprintf(lock, sizeof lock, "%s/lock", aside);
		if (!folder_exists(aside))
			return;
		if (file_exists(lock) && !units_owner(aside, owner, sizeof owner) &&
			units_folder_check(aside, &ignored) == 0 &&
			units_folder_empty(aside, &ignored) == 0)
			(void)units_folder_remove_empty(aside, &ignored);
	}
}

static int clear_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)ftw;
	if (kind == FTW_F &&
		(path_has_extension(path, ".claim") || path_has_extension(path, ".part")))
		unlink(path);
	return 0;
}

static int open_folder(struct units *u, bool fresh, const char *inputs, struct err *err)
{
	u->resumed = folder_exists(u->folder);
	TRY(units_folder_check_kind(u->folder, err));
	TRY(folder_make(u->folder, err));
	TRY(take_lock(u, err));
	if (fresh && u->resumed) {
		TRY(set_aside(u, err));
		u->resumed = false;
	}
	TRY(settle_manifest(u->folder, inputs, err));
	sha256_bytes(inputs, strlen(inputs), u->run);
	remove_leftovers(u);
	nftw(u->folder, clear_one, 16, FTW_PHYS);
	return 0;
fail:
	return err->code;
}

/* Of the manifest that rank 0 has settled. */
static int read_digest(struct units *u, struct err *err)
{
	char path[4200], *text;

	manifest_path(u->folder, path);
	if (file_read_text(path, &text, err))
		return err->code;
	sha256_bytes(text, strlen(text), u->run);
	free(text);
	return 0;
}

int units_open(struct units **out, const char *result_path, struct ranks *ranks, bool fresh,
	const char *inputs, struct err *err)
{
	struct units *u = calloc(1, sizeof *u);

	*out = NULL;
	if (!u)
		return err_nomem(err, "units", sizeof *u);
	u->ranks = ranks;
	u->lock = -1;
	path_beside(result_path, ".units", u->folder, sizeof u->folder);
	if (ranks->rank == 0) {
		TRY(folder_make_for(result_path, err));
		TRY(open_folder(u, fresh, inputs, err));
	}
	TRY(ranks_gather(ranks, err));
	if (ranks->rank > 0)
		TRY(read_digest(u, err));
	TRY(writer_open(&u->writer, QUEUE_BYTES, err));
	*out = u;
	return 0;
fail:
	units_close(u);
	return err->code;
}

void units_close(struct units *u)
{
	if (!u)
		return;
	writer_close(u->writer);
	release_lock(u);
	free(u);
}

int units_finish(struct units *u, bool keep, struct err *err)
{
	err_clear(err);
	writer_close(u->writer);
	u->writer = NULL;
	if (u->ranks->rank == 0 && ranks_wait_for_all(u->ranks, err) == 0 && !keep)
		remove_folder(u, err);
	units_close(u);
	return err->code;
}

/* Or at one that was set aside. */
static int stop_at_unit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	return kind == FTW_F && ftw->level > 1 && strstr(path + ftw->base, ".h5") &&
	       !path_has_extension(path, ".part") && !path_has_extension(path, ".claim");
}

bool units_leave(struct units *u)
{
	bool stands = true;
	struct err ignored;

	writer_close(u->writer); /* what was committed is written */
	u->writer = NULL;
	if (u->ranks->rank == 0)
		stands = nftw(u->folder, stop_at_unit, 16, FTW_PHYS) != 0;
	if (!stands)
		(void)remove_folder(u, &ignored);
	units_close(u);
	return stands;
}

int units_stage(struct units *u, const char *title, char *out, size_t size, struct err *err)
{
	int n = snprintf(out, size, "%s/%02zu-", u->folder, u->n_stages++);

	/* Letters, digits, points and signs stay; runs of others become one dash. */
	for (; *title && n + 2 < (int)size; title++) {
		if (isalnum((unsigned char)*title) || strchr("._-", *title))
			out[n++] = *title;
		else if (out[n - 1] != '-')
			out[n++] = '-';
	}
	out[n] = '\0';
	return units_folder_check_kind(out, err) ? err->code : folder_make(out, err);
}
