/* SPDX-License-Identifier: MIT
 *
 * results_door.c - Contract: results_door.h. Tests: tests/test_results_door.c,
 * tests/fuzz/fuzz_results.c.
 */
#include "host/store/results_door.h"

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Of a chunk, which is made whole before a value of it is read. The largest of ours are one row of
 * effects: all features of all layers. */
static const size_t CHUNK_BYTES = (size_t)1 << 30;

/* Of a virtual dataset, whose storage says nothing. */
static const size_t VIRTUAL_BYTES = (size_t)1 << 30;

/* What deflate makes of one byte at most. */
enum { DEFLATE_MOST = 1032 };

/* ---- the file -------------------------------------------------------------------------- */

int door_open_file(struct results_reader *r, struct err *err)
{
	struct stat st;
	hid_t access;

	results_forget_refusal();
	if (memory_check(r->path, 0, err))
		return err->code;
	if (stat(r->path, &st) != 0)
		return err_set(err, ERR_INPUT,
			"%s: expected a result file (HDF5) that can be read, found no file",
			r->path);
	if (file_check_regular(r->path, err))
		return err->code;
	r->bytes = (unsigned long long)st.st_size;
	results_library_open();
	access = results_file_access();
	r->file = H5Fopen(r->path, H5F_ACC_RDONLY, access);
	H5Pclose(access);
	if (r->file < 0)
		return err_set(err, ERR_INPUT, "%s: expected a result file (HDF5) that can be read",
			r->path);
	return 0;
}

/* ---- paths ----------------------------------------------------------------------------- */

enum door_kind door_kind(H5O_type_t type)
{
	switch (type) {
	case H5O_TYPE_DATASET:
		return DOOR_DATASET;
	case H5O_TYPE_GROUP:
		return DOOR_GROUP;
	default:
		return DOOR_OTHER;
	}
}

enum door_kind door_find(const struct results_reader *r, const char *path)
{
	char part[RESULTS_PATH_BYTES];
	H5L_info_t link;
	H5O_info_t object;

	if (strlen(path) >= sizeof part || path[0] != '/')
		return DOOR_NONE;
	/* Every link of the path before the next is asked for. */
	for (const char *end = path; end && path[1];) {
		end = strchr(end + 1, '/');
		snprintf(part, sizeof part, "%.*s", end ? (int)(end - path) : (int)sizeof part,
			path);
		if (H5Lget_info(r->file, part, &link, H5P_DEFAULT) < 0)
			return DOOR_NONE;
		if (link.type != H5L_TYPE_HARD)
			return DOOR_LINK;
	}
	return H5Oget_info_by_name2(r->file, path, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0
		       ? DOOR_OTHER
		       : door_kind(object.type);
}

hid_t door_object(const struct results_reader *r, const char *path)
{
	const enum door_kind kind = door_find(r, path);

	return kind == DOOR_DATASET || kind == DOOR_GROUP ? H5Oopen(r->file, path, H5P_DEFAULT)
							  : H5I_INVALID_HID;
}

/* ---- datasets -------------------------------------------------------------------------- */

static int check_filters(const struct results_reader *r, const char *path, hid_t created,
	struct door_dataset *d, struct err *err)
{
	const int n = H5Pget_nfilters(created);

	for (int i = 0; i < n; i++) {
		unsigned flags;
		size_t n_values = 0;
		const H5Z_filter_t filter = H5Pget_filter2(created, (unsigned)i, &flags, &n_values,
			NULL, 0, NULL, NULL);

		if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
			filter != H5Z_FILTER_FLETCHER32)
			return err_set(err, ERR_INPUT,
				"%s: %s: expected no filters but deflate, shuffle and fletcher32, "
				"found number %d",
				r->path, path, (int)filter);
		/* One deflated again would be more than DEFLATE_MOST. */
		if (filter == H5Z_FILTER_DEFLATE && d->deflated)
			return err_set(err, ERR_INPUT,
				"%s: %s: expected values deflated once, found twice", r->path,
				path);
		d->deflated |= filter == H5Z_FILTER_DEFLATE;
	}
	return 0;
}

static int check_chunk(const struct results_reader *r, const char *path, hid_t created,
	const struct door_dataset *d, struct err *err)
{
	hsize_t chunk[DOOR_RANK];
	const int rank = H5Pget_chunk(created, DOOR_RANK, chunk);
	size_t bytes = H5Tget_size(d->type);

	for (int i = 0; i < rank; i++)
		if (size_mul_overflow(bytes, (size_t)chunk[i], &bytes))
			bytes = SIZE_MAX;
	if (rank < 0 || bytes > CHUNK_BYTES)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected chunks of at most %zu bytes, found one of %zu", r->path,
			path, CHUNK_BYTES, bytes);
	return 0;
}

/* The extent of one without end is asked of its sources. */
static int check_virtual(const struct results_reader *r, const char *path, hid_t created,
	struct err *err)
{
	size_t n = 0;

	err_clear(err);
	if (H5Pget_virtual_count(created, &n) < 0)
		err_set(err, ERR_INPUT, "%s: %s: its sources cannot be read", r->path, path);
	for (size_t i = 0; i < n && err->code == 0; i++) {
		const hid_t space = H5Pget_virtual_vspace(created, i);

		if (space < 0 || H5Sget_select_npoints(space) < 0)
			err_set(err, ERR_INPUT,
				"%s: %s: expected sources of a fixed extent, found one without end",
				r->path, path);
		if (space >= 0)
			H5Sclose(space);
	}
	return err->code;
}

/* How it is stored, from its header alone. */
static int check_layout(const struct results_reader *r, const char *path, struct door_dataset *d,
	struct err *err)
{
	const hid_t created = H5Dget_create_plist(d->id);

	err_clear(err);
	d->layout = H5Pget_layout(created);
	if (created < 0 || d->layout < 0)
		err_set(err, ERR_INPUT, "%s: %s: its layout cannot be read", r->path, path);
	else if (H5Pget_external_count(created) != 0)
		err_set(err, ERR_INPUT,
			"%s: %s: expected a dataset of this file, found one stored in another",
			r->path, path);
	else if (check_filters(r, path, created, d, err) == 0 && d->layout == H5D_CHUNKED)
		check_chunk(r, path, created, d, err);
	else if (err->code == 0 && d->layout == H5D_VIRTUAL)
		check_virtual(r, path, created, err);
	if (created >= 0)
		H5Pclose(created);
	return err->code;
}

static int read_extent(const struct results_reader *r, const char *path, struct door_dataset *d,
	struct err *err)
{
	const hid_t space = H5Dget_space(d->id);
	hsize_t dims[DOOR_RANK] = {0};
	const H5S_class_t class = H5Sget_simple_extent_type(space);

	d->n_dims = class == H5S_SIMPLE || class == H5S_SCALAR
			    ? H5Sget_simple_extent_dims(space, dims, NULL)
			    : -1;
	if (space >= 0)
		H5Sclose(space);
	for (int i = 0; i < d->n_dims; i++)
		d->dims[i] = (size_t)dims[i];
	if (d->n_dims < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected values, found no extent", r->path,
			path);
	return 0;
}

int door_open(const struct results_reader *r, const char *path, struct door_dataset *d,
	struct err *err)
{
	*d = (struct door_dataset){.id = H5I_INVALID_HID, .type = H5I_INVALID_HID};
	switch (door_find(r, path)) {
	case DOOR_NONE:
		return err_set(err, ERR_INPUT, "%s: expected a dataset %s, found none", r->path,
			path);
	case DOOR_LINK:
		return err_set(err, ERR_INPUT, "%s: %s: expected a dataset, found a link", r->path,
			path);
	case DOOR_GROUP:
		return err_set(err, ERR_INPUT, "%s: %s: expected a dataset, found a group", r->path,
			path);
	case DOOR_DATASET:
		d->id = H5Dopen2(r->file, path, H5P_DEFAULT);
		d->type = H5Dget_type(d->id);
		break;
	case DOOR_OTHER:
		break;
	}
	if (d->id < 0 || d->type < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected a dataset", r->path, path);
	d->class = door_class(d->type);
	if (check_layout(r, path, d, err))
		return err->code;
	return read_extent(r, path, d, err);
}

void door_close(struct door_dataset *d)
{
	if (d->type > 0)
		H5Tclose(d->type);
	if (d->id > 0)
		H5Dclose(d->id);
	d->id = d->type = H5I_INVALID_HID;
}

/* ---- values ---------------------------------------------------------------------------- */

unsigned long long door_storage(const struct door_dataset *d)
{
	return d->layout == H5D_VIRTUAL ? 0 : H5Dget_storage_size(d->id);
}

/* Of the library's memory types, the class of values that they take. */
static bool takes(hid_t memory_type, enum door_class class)
{
	switch (H5Tget_class(memory_type)) {
	case H5T_INTEGER:
		return class == DOOR_INTEGERS;
	case H5T_FLOAT:
		return class == DOOR_INTEGERS || class == DOOR_REALS;
	default:
		return class == DOOR_TEXTS;
	}
}

/* Whether `bytes` of values, as they are stored, can come out of what is there. */
static int check_storage(const struct results_reader *r, const char *path,
	const struct door_dataset *d, size_t bytes, struct err *err)
{
	const unsigned long long storage = door_storage(d);
	const haddr_t at = d->layout == H5D_CONTIGUOUS ? H5Dget_offset(d->id) : 0;
	const size_t most = d->deflated ? DEFLATE_MOST : 1;

	if (bytes == 0 || d->layout == H5D_VIRTUAL)
		return 0;
	if (storage < bytes / most + (bytes % most > 0))
		return err_set(err, ERR_INPUT,
			"%s: %s: said to hold %zu bytes, which its %llu bytes of storage cannot",
			r->path, path, bytes, storage);
	if (at == HADDR_UNDEF || storage > r->bytes || at > r->bytes - storage)
		return err_set(err, ERR_INPUT,
			"%s: %s: said to be stored in %llu bytes that are not in this file",
			r->path, path, storage);
	return 0;
}

int door_bytes(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, size_t *bytes, struct err *err)
{
	static const char *const kinds[] =
		{[H5T_INTEGER] = "integers", [H5T_FLOAT] = "numbers", [H5T_STRING] = "texts"};
	const size_t most = d->layout == H5D_VIRTUAL ? size_min(r->most, VIRTUAL_BYTES) : r->most;
	size_t stored = H5Tget_size(d->type);

	*bytes = H5Tget_size(memory_type);
	if (!takes(memory_type, d->class))
		return err_set(err, ERR_INPUT, "%s: %s: expected %s, found another type", r->path,
			path, kinds[H5Tget_class(memory_type)]);
	for (int i = 0; i < d->n_dims; i++)
		if (size_mul_overflow(*bytes, d->dims[i], bytes) ||
			size_mul_overflow(stored, d->dims[i], &stored))
			return err_set(err, ERR_INPUT, "%s: %s: its size overflows", r->path, path);
	if (check_storage(r, path, d, stored, err))
		return err->code;
	if (*bytes > most)
		return err_set(err, ERR_INPUT, "%s: %s: expected at most %zu bytes, found %zu",
			r->path, path, most, *bytes);
	return 0;
}

/* HDF5 asks what to do with a value that does not fit: nothing, but stop. */
static H5T_conv_ret_t refuse_misfits(H5T_conv_except_t kind, hid_t from, hid_t to, void *value,
	void *result, void *context)
{
	(void)from, (void)to, (void)value, (void)result, (void)context;
	return kind == H5T_CONV_EXCEPT_RANGE_HI || kind == H5T_CONV_EXCEPT_RANGE_LOW ||
			       kind == H5T_CONV_EXCEPT_TRUNCATE
		       ? H5T_CONV_ABORT
		       : H5T_CONV_UNHANDLED;
}

int door_read(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, void *data, struct err *err)
{
	hid_t transfer;
	herr_t status;

	if (d->layout == H5D_VIRTUAL)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected values, found those of other files", r->path, path);
	transfer = H5Pcreate(H5P_DATASET_XFER);
	H5Pset_type_conv_cb(transfer, refuse_misfits, NULL);
	status = H5Dread(d->id, memory_type, H5S_ALL, H5S_ALL, transfer, data);
	H5Pclose(transfer);
	if (status < 0)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected values that can be read and fit %zu bytes each", r->path,
			path, H5Tget_size(memory_type));
	return 0;
}
