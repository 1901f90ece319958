/* SPDX-License-Identifier: MIT
 *
 * file.c - mapped input files, their SHA-256, whole output files. Contract: file.h.
 * Tests: tests/test_base.c.
 */
#include "host/base/file.h"

#include "host/base/memory.h"
#include "host/base/vec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- the door for input ------------------------------------------------------------------ */

static const char *kind_of(mode_t mode)
{
	return S_ISREG(mode)    ? "a regular file"
	       : S_ISDIR(mode)  ? "a folder"
	       : S_ISFIFO(mode) ? "a FIFO"
	       : S_ISSOCK(mode) ? "a socket"
				: "a device";
}

static int refuse_kind(const char *path, mode_t mode, struct err *err)
{
	return err_set(err, ERR_INPUT, "%s: expected a regular file, found %s", path,
		kind_of(mode));
}

int file_check_regular(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(err, ERR_INPUT, "%s: %s", path, strerror(errno));
	return S_ISREG(st.st_mode) ? 0 : refuse_kind(path, st.st_mode, err);
}

/* Looked at before it is opened, for opening alone sets some devices going; and after, for it may
 * be another by then: a FIFO that nobody writes to would keep us waiting but for O_NONBLOCK. */
int file_open(const char *path, int *fd, size_t *size, struct err *err)
{
	struct stat st;

	if (file_check_regular(path, err))
		return err->code;
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || fstat(*fd, &st) != 0) {
		err_set(err, ERR_INPUT, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		refuse_kind(path, st.st_mode, err);
		goto fail;
	}
	fcntl(*fd, F_SETFL, 0); /* a file that is fetched from a tape is waited for */
	*size = (size_t)st.st_size;
	return 0;
fail:
	if (*fd >= 0)
		close(*fd);
	return err->code;
}

/* By kind. Each is some times what is published of its kind; what is beyond is no such file, and
 * would cost memory and minutes before anything else told. Weights are bounded by their own header.
 */
static const struct {
	const char *what;
	size_t most;
} limits[] = {
	[LIMIT_CONFIG] = {"a config", (size_t)1 << 20},     /* all settings explained: 60 KB */
	[LIMIT_TEMPLATE] = {"a template", (size_t)1 << 20}, /* published: up to 20 KB */
	[LIMIT_JSON] = {"a JSON file", (size_t)64 << 20},   /* an index of 100,000 tensors: 10 MB */
	[LIMIT_TEXT] = {"a text", (size_t)64 << 20},        /* manifests: 100 bytes a file */
	[LIMIT_TOKENIZER] = {"a tokenizer", (size_t)256 << 20}, /* published: up to 35 MB */
	[LIMIT_PROMPTS] = {"a file of prompts",
		(size_t)4 << 30}, /* a million conversations: 2 GB */
};

int file_check_size(const char *path, size_t n, enum file_limit limit, struct err *err)
{
	if (n <= limits[limit].most)
		return 0;
	return err_set(err, ERR_INPUT, "%s: expected %s of at most %zu MiB, found %zu bytes", path,
		limits[limit].what, limits[limit].most >> 20, n);
}

size_t file_read_start(const char *path, char *out, size_t size)
{
	struct err ignored;
	size_t all;
	ssize_t n;
	int fd;

	if (file_open(path, &fd, &all, &ignored))
		return 0;
	n = read(fd, out, size_min(all, size));
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

int file_map_open(struct file_map *map, const char *path, struct err *err)
{
	void *data;
	size_t size;
	int fd;

	*map = (struct file_map){0};
	if (file_open(path, &fd, &size, err))
		return err->code;
	if (size > 0) {
		if (memory_check(path, size, err)) {
			close(fd);
			return err->code;
		}
		data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (data == MAP_FAILED) {
			err_set(err, errno == ENOMEM ? ERR_DEVICE : ERR_INPUT,
				"%s: cannot map %zu bytes: %s", path, size, strerror(errno));
			close(fd);
			return err->code;
		}
		map->data = data;
		map->size = size;
	}
	close(fd);
	return 0;
}

void file_map_close(struct file_map *map)
{
	if (map->data)
		munmap((void *)map->data, map->size);
	*map = (struct file_map){0};
}

void file_map_forget(const struct file_map *map)
{
	if (map->data)
		madvise((void *)map->data, map->size, MADV_DONTNEED);
}

bool is_lfs_pointer(const void *bytes, size_t n)
{
	static const char begin[] = "version https://git-lfs";

	return n >= sizeof begin - 1 && memcmp(bytes, begin, sizeof begin - 1) == 0;
}

bool file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool file_exists_in(const char *folder, const char *name)
{
	char path[PATH_MAX];
	const int n = snprintf(path, sizeof path, "%s/%s", *folder ? folder : ".", name);

	return n < (int)sizeof path && file_exists(path);
}

bool folder_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_is_special(const char *path, bool links)
{
	struct stat st;

	return (links ? lstat(path, &st) : stat(path, &st)) == 0 && !S_ISREG(st.st_mode);
}

bool file_is_same(const char *a, const char *b)
{
	struct stat of_a, of_b;

	return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

char *path_join(const char *folder, const char *name)
{
	const size_t n = strlen(folder), m = strlen(name);
	char *path = malloc(n + m + 2);

	if (!path)
		return NULL;
	if (name[0] == '/' || n == 0)
		memcpy(path, name, m + 1);
	else
		sprintf(path, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
	return path;
}

bool path_has_extension(const char *path, const char *extension)
{
	const size_t n = strlen(path), m = strlen(extension);

	return n > m && strcmp(path + n - m, extension) == 0;
}

void path_beside(const char *path, const char *suffix, char *out, size_t size)
{
	const size_t n = strlen(path);

	snprintf(out, size, "%.*s%s", (int)(path_has_extension(path, ".h5") ? n - 3 : n), path,
		suffix);
}

/* ---- names in a folder ------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct folder_names *names, const char *name, struct err *err)
{
	char *copy = strdup(name);

	if (!copy)
		return err_nomem(err, name, strlen(name));
	if (vec_push(names, copy, err))
		free(copy);
	return err->code;
}

int folder_list(struct folder_names *out, const char *folder, enum err_code code, struct err *err)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry = NULL;

	*out = (struct folder_names){0};
	err_clear(err);
	if (!dir)
		return errno == ENOMEM ? err_nomem(err, folder, strlen(folder))
				       : err_set(err, code, "%s: cannot be read: %s", folder,
						 strerror(errno));
	do {
		errno = 0; /* which alone tells an error from the end */
		entry = readdir(dir);
		if (!entry && errno)
			err_set(err, code, "%s: cannot be read: %s", folder, strerror(errno));
		else if (entry && entry->d_name[0] != '.')
			add_name(out, entry->d_name, err);
	} while (entry && !err->code);
	closedir(dir);
	if (err->code)
		folder_names_free(out);
	else if (out->n > 0)
		qsort(out->data, out->n, sizeof *out->data, by_bytes);
	return err->code;
}

void folder_names_free(struct folder_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->data[i]);
	free(names->data);
	*names = (struct folder_names){0};
}

/* ---- output ---------------------------------------------------------------------------- */

int folder_make(const char *path, struct err *err)
{
	if (mkdir(path, 0777) != 0 && !(errno == EEXIST && folder_exists(path)))
		return err_set(err, ERR_OUTPUT, "%s: cannot create the folder: %s", path,
			strerror(errno));
	return 0;
}

static int check_writable(const char *folder, struct err *err)
{
	if (access(folder, W_OK) == 0)
		return 0;
	return err_set(err, ERR_OUTPUT, "%s: cannot write into the folder: %s", folder,
		strerror(errno));
}

int folder_check_for(const char *path, struct err *err)
{
	char *copy = strdup(path), *folder = copy ? dirname(copy) : NULL;

	err_clear(err);
	if (!copy)
		return err_nomem(err, path, strlen(path));
	if (!folder_exists(folder))
		folder = dirname(folder); /* what it is made in */
	check_writable(folder, err);
	free(copy);
	return err->code;
}

bool file_room(const char *path, double *bytes)
{
	char *copy = strdup(path), *folder = copy ? dirname(copy) : NULL;
	struct statvfs room;
	bool known;

	if (folder && !folder_exists(folder))
		folder = dirname(folder);
	known = folder && statvfs(folder, &room) == 0 && room.f_blocks > 0; /* 0: no disk */
	if (known)
		*bytes = (double)room.f_bavail * (double)room.f_frsize;
	free(copy);
	return known;
}

static __thread double walked; /* nftw hands nothing on */

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)path, (void)ftw;
	walked += kind == FTW_F ? (double)st->st_size : 0;
	return 0;
}

double folder_bytes(const char *path)
{
	walked = 0;
	nftw(path, add_size, 16, FTW_PHYS);
	return walked;
}

int folder_make_for(const char *path, struct err *err)
{
	char *copy = strdup(path), *folder = copy ? dirname(copy) : NULL;
	int rc;

	if (!copy)
		return err_nomem(err, path, strlen(path));
	rc = folder_make(folder, err) ? err->code : check_writable(folder, err);
	free(copy);
	return rc;
}

/* Opened for reading: fsync flushes what any descriptor wrote. */
static int sync_path(const char *path, int flags, struct err *err)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	int rc = 0;

	if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) /* EINVAL: nothing to flush there */
		rc = err_set(err, ERR_OUTPUT, "%s: cannot flush: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

int file_sync(const char *path, struct err *err)
{
	return sync_path(path, 0, err);
}

int file_rename(const char *from, const char *to, struct err *err)
{
	const char *slash = strrchr(to, '/');
	char *folder = slash ? strndup(to, (size_t)(slash - to) + 1) : strdup(".");
	int rc;

	if (!folder)
		return err_nomem(err, to, strlen(to));
	rc = rename(from, to) == 0 ? sync_path(folder, O_DIRECTORY, err)
				   : err_set(err, ERR_OUTPUT, "%s: cannot rename to %s: %s", from,
					     to, strerror(errno));
	free(folder);
	return rc;
}

FILE *file_create(const char *path)
{
	FILE *file;
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	file = fd < 0 ? NULL : fdopen(fd, "wb");
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

int file_write_text(const char *path, const char *text, struct err *err)
{
	char part[4096];
	const size_t n = strlen(text);
	FILE *file;
	bool written;

	snprintf(part, sizeof part, "%s.part", path);
	file = file_create(part);
	written = file && fwrite(text, 1, n, file) == n;
	if (file && fclose(file) != 0)
		written = false;
	err_clear(err);
	if (!written)
		err_set(err, ERR_OUTPUT, "%s: cannot write: %s", part, strerror(errno));
	else if (file_sync(part, err) == 0)
		file_rename(part, path, err);
	if (err->code)
		unlink(part);
	return err->code;
}

int file_read_text(const char *path, char **text, struct err *err)
{
	struct file_map map;

	*text = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	err_clear(err);
	if (file_check_size(path, map.size, LIMIT_TEXT, err))
		;
	else if (map.data && memchr(map.data, '\0', map.size))
		err_set(err, ERR_INPUT, "%s: expected a text, found a zero byte at offset %zu",
			path,
			(size_t)((const unsigned char *)memchr(map.data, '\0', map.size) -
				 (const unsigned char *)map.data));
	else if (!(*text = memory_alloc(map.size + 1)))
		err_nomem(err, path, map.size);
	else {
		memcpy(*text, map.data ? map.data : (const unsigned char *)"", map.size);
		(*text)[map.size] = '\0';
	}
	file_map_close(&map);
	return *text ? 0 : err->code;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

int folder_remove(const char *path, struct err *err)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		return err_set(err, ERR_OUTPUT, "%s: cannot remove: %s", path, strerror(errno));
	return 0;
}

/* ---- hashes ---------------------------------------------------------------------------- */

/* Read, not mapped: the pages of a 30 GB folder should not count as ours. No more than the size
 * that it had. */
static int hash_descriptor(int fd, size_t size, struct sha256 *hash, void *chunk, size_t n_chunk)
{
	while (size > 0) {
		const ssize_t n = read(fd, chunk, size_min(n_chunk, size));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		sha256_add(hash, chunk, (size_t)n);
		size -= (size_t)n;
	}
	return 0;
}

int sha256_file(const char *path, char hex[SHA256_HEX], struct err *err)
{
	enum { CHUNK = 1 << 18 }; /* stays in cache between the copy and the hash */
	unsigned char *chunk = NULL;
	struct sha256 *hash = NULL;
	size_t size;
	int fd, error;

	if (file_open(path, &fd, &size, err))
		return err->code;
	err_clear(err);
	chunk = malloc(CHUNK);
	hash = sha256_begin();
	if (!chunk || !hash) {
		err_nomem(err, "hashing a file", CHUNK);
		goto fail;
	}
	error = hash_descriptor(fd, size, hash, chunk, CHUNK);
	if (error)
		err_set(err, ERR_INPUT, "%s: cannot read: %s", path, strerror(error));
	else
		sha256_hex(hash, hex);
fail:
	close(fd);
	sha256_end(hash);
	free(chunk);
	return err->code;
}
