/* SPDX-License-Identifier: MIT
 *
 * file.h - input files as mapped bytes, their SHA-256, and output files that survive a crash.
 */
#ifndef SAENGINE_FILE_H
#define SAENGINE_FILE_H

#include "host/base/err.h"
#include "host/base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A whole file, mapped read-only. */
struct file_map {
	const unsigned char *data; /* owned by the map; NULL for an empty file */
	size_t size;
};

/* Input is read from regular files, through file_map_open, sha256_file or what asks
 * file_check_regular first (HDF5, libconfig): nothing waits for a FIFO, and a file ends where its
 * size says. Errors: ERR_INPUT, "expected a regular file, found a FIFO". */
int file_check_regular(const char *path, struct err *err);

/* For reading; *fd is the caller's to close. Errors: ERR_INPUT. */
int file_open(const char *path, int *fd, size_t *size, struct err *err);

/* Kinds of input that are read whole, each with a size that it may have at most: file.c. */
enum file_limit {
	LIMIT_CONFIG,
	LIMIT_TEMPLATE,
	LIMIT_JSON,
	LIMIT_TEXT,
	LIMIT_TOKENIZER,
	LIMIT_PROMPTS
};

/* Whether a file of n bytes may be one of that kind. Errors: ERR_INPUT with both sizes. */
int file_check_size(const char *path, size_t n, enum file_limit limit, struct err *err);

/* Up to `size` bytes from the start of a file that others write, by one read: how many; 0 where it
 * is no regular file or cannot be read. */
size_t file_read_start(const char *path, char *out, size_t size);

/* Maps `path`. The size is taken once: a file truncated afterwards by someone else is outside
 * what a reader of mappings can survive. Errors: ERR_INPUT with the system's reason. */
int file_map_open(struct file_map *map, const char *path, struct err *err);

/* Accepts a zeroed or already closed map. */
void file_map_close(struct file_map *map);

/* Lets go of the pages read so far; they come back from the file when they are needed again. For
 * large files that are read once, so that they do not stay counted as the process's memory. */
void file_map_forget(const struct file_map *map);

/* Whether the bytes are the note that git-lfs leaves in place of a file it did not fetch. */
bool is_lfs_pointer(const void *bytes, size_t n);

/* Whether anything but a folder has this name; that it is a regular file is seen when it is read,
 * so that what is none is refused and not passed over. */
bool file_exists(const char *path);
bool file_exists_in(const char *folder, const char *name); /* takes no memory */
bool folder_exists(const char *path);

/* Whether something is there under this name that is no regular file: a folder, a device, a pipe, a
 * link (of the name itself, where `links` counts them). */
bool file_is_special(const char *path, bool links);

/* Whether both are there, and the same file. */
bool file_is_same(const char *a, const char *b);

/* Joins two path parts with one '/', into a string to be freed by the caller; NULL when out of
 * memory. An absolute `name` is returned as is. */
char *path_join(const char *folder, const char *name);

/* Whether a name has this extension, and something before it: "a.h5", not ".h5". */
bool path_has_extension(const char *path, const char *extension);

/* "results/NAME.h5" and ".units" to "results/NAME.units"; other endings than .h5 stay. */
void path_beside(const char *path, const char *suffix, char *out, size_t size);

/* The names in a folder, in the order of their bytes, but those that begin with a dot. */
struct folder_names {
	char **data; /* owned, with each of them: folder_names_free */
	size_t n, cap;
};

/* All of them or none. Errors: `code` with the system's reason; ERR_DEVICE. */
int folder_list(struct folder_names *out, const char *folder, enum err_code code, struct err *err);
void folder_names_free(struct folder_names *names);

/* A folder whose parent exists; one that is there is left as it is. Errors: ERR_OUTPUT. */
int folder_make(const char *path, struct err *err);

/* Bytes free for this user where a file of that name would lie. False where nobody knows. */
bool file_room(const char *path, double *bytes);

/* Bytes of all files in a folder; 0 where there is none. */
double folder_bytes(const char *path);

/* Whether folder_make_for would succeed; nothing is made. Errors: ERR_OUTPUT. */
int folder_check_for(const char *path, struct err *err);

/* The folder of a file that is to be written there, made if its parent exists; it must allow
 * writing. Errors: ERR_OUTPUT. */
int folder_make_for(const char *path, struct err *err);

/* The file's bytes are on disk when this returns. Errors: ERR_OUTPUT. */
int file_sync(const char *path, struct err *err);

/* Renames within a file system, and the new name is on disk when this returns: whoever sees the
 * name sees the whole file. Errors: ERR_OUTPUT. */
int file_rename(const char *from, const char *to, struct err *err);

/* A new file, open for writing, in place of whatever had the name: a link is not followed, a FIFO
 * not waited for. NULL where it cannot be made, errno says why. */
FILE *file_create(const char *path);

/* Writes a text file whole: beside its name, flushed, renamed. Errors: ERR_OUTPUT. */
int file_write_text(const char *path, const char *text, struct err *err);

/* A text file of at most 64 MiB, zero-terminated, owned by the caller. Errors: ERR_INPUT; one that
 * holds a zero byte, behind which the rest would be lost. */
int file_read_text(const char *path, char **text, struct err *err);

/* Removes a folder and everything in it. Errors: ERR_OUTPUT. */
int folder_remove(const char *path, struct err *err);

/* Lower-case hexadecimal SHA-256 of a file, read once from start to end. Errors: ERR_INPUT. */
int sha256_file(const char *path, char hex[SHA256_HEX], struct err *err);

#endif
