/* SPDX-License-Identifier: MIT
 *
 * results_door.h - what of an HDF5 file is let in. Whatever results*.c read of a file that is not
 * being written they read through here; nobody else includes it.
 *
 *  1. Only hard links are followed: no soft, external or user-defined link, so that what is read
 *     is of this file, and every walk ends.
 *  2. Values are integers of 1 to 8 bytes, IEEE numbers of 2, 4 or 8, and texts of variable length
 *     in UTF-8; an attribute has one. All else is refused by its type, before it is read: arrays,
 *     enumerations, compounds, references, opaque bytes, texts of fixed length.
 *  3. A dataset lies in this file, and claims no more than its storage can hold: storage lies
 *     within the file's size as it was at opening, and deflate makes at most 1032 bytes of one.
 *     Filters are those of results.h: deflate, shuffle and Fletcher's checksum.
 *  4. The library never reads a virtual dataset: it would follow any name, and one that leads to
 *     itself until its stack ends. Those that results_join_end made are read by results_virtual.c.
 *
 * These are checks of what the library says is in the file. The library itself may crash on one
 * that is damaged on purpose: files that are not this run's own are opened by results_open_foreign.
 */
#ifndef SAENGINE_RESULTS_DOOR_H
#define SAENGINE_RESULTS_DOOR_H

#include "host/store/results_parts.h"

#include "host/base/child.h"

enum door_kind {
	DOOR_NONE,
	DOOR_DATASET,
	DOOR_GROUP,
	DOOR_LINK, /* a link on the way, or the last, is not hard */
	DOOR_OTHER /* a named type */
};

/* Opens r->file, a regular file under r->path, and notes its size. Errors: ERR_INPUT. */
int door_open_file(struct results_reader *r, struct err *err);

enum door_kind door_kind(H5O_type_t type);

/* What is under a path, "/group/name". */
enum door_kind door_find(const struct results_reader *r, const char *path);

enum { DOOR_RANK = 32 }; /* most dimensions that HDF5 has */

enum door_class { DOOR_STRANGE, DOOR_INTEGERS, DOOR_REALS, DOOR_TEXTS };

/* By what is stored: only the types of 2. are not strange. */
enum door_class door_class(hid_t type);

/* An open dataset. */
struct door_dataset {
	hid_t id, type; /* the type as it is stored */
	enum door_class class;
	H5D_layout_t layout;
	bool deflated;
	int n_dims;
	size_t dims[DOOR_RANK];
};

/* Its type may be any. To be closed also after an error. Errors: ERR_INPUT. */
int door_open(const struct results_reader *r, const char *path, struct door_dataset *d,
	struct err *err);
/* Accepts one that is closed or zeroed. */
void door_close(struct door_dataset *d);

/* Bytes of all values as `memory_type` has them. Errors: ERR_INPUT where that is no type for these
 * values, or they are more than the file can hold. */
int door_bytes(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, size_t *bytes, struct err *err);

/* All values, converted, into room for door_bytes, which must have been asked; texts are the
 * library's (H5Dvlen_reclaim). Errors: ERR_INPUT; a value that does not fit, a virtual dataset. */
int door_read(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, void *data, struct err *err);

/* Likewise of a virtual dataset of this engine's (results_virtual.c). */
int virtual_read(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, void *data, struct err *err);

/* Bytes of its storage in this file. */
unsigned long long door_storage(const struct door_dataset *d);

/* Attributes of an open object. False where there is none of that kind. *value is owned by the
 * caller. */
bool door_integer(hid_t object, const char *name, int64_t *value);
bool door_text(hid_t object, const char *name, char **value);

/* An open object under a path of hard links, H5I_INVALID_HID where there is none; to be closed by
 * H5Oclose. */
hid_t door_object(const struct results_reader *r, const char *path);

/* Calls `entry` with everything in the file, in order of names, each object once; links that are
 * not followed too. At most DOOR_OBJECTS, in groups nested at most DOOR_DEPTH deep. Errors: those
 * of `entry`, which end it; ERR_INPUT. */
enum { DOOR_OBJECTS = 1 << 16, DOOR_DEPTH = 32 };
int door_walk(const struct results_reader *r,
	int (*entry)(void *context, const char *path, enum door_kind kind, struct err *err),
	void *context, struct err *err);

#endif
