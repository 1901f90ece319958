/* SPDX-License-Identifier: MIT
 *
 * results_virtual.c - reading what results_join_end has left in the files of units. Contract:
 * results_door.h. Tests: tests/test_results_door.c, tests/test_units.c.
 *
 * Whose names are in a stranger's file decides which files are read, so a source must be
 *
 *   FOLDER.units/NAME.h5 or FOLDER.units/STAGE/NAME.h5
 *
 * seen from the folder of the result file, no part but the first a symbolic link; in it the dataset
 * of the same path, type and shape of a row, that is not virtual; all of it, its rows behind those
 * of the source before, and nothing left over.
 */
#include "host/store/results_door.h"

#include "host/base/file.h"
#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_in(const char *text, size_t n, const char *end)
{
	const size_t m = strlen(end);

	return n > m && memcmp(text + n - m, end, m) == 0;
}

/* Whether every part of a relative name is a name, and the first and last are as they should be.
 * HDF5 reads % as the number of a block. */
static bool is_unit_name(const char *name)
{
	const char *slash = strchr(name, '/');

	if (!slash || !ends_in(name, (size_t)(slash - name), ".units") || strchr(name, '%'))
		return false;
	for (const char *part = name; part; part = strchr(part, '/')) {
		part += part != name;
		if (*part == '.' || *part == '/' || *part == '\0')
			return false;
	}
	return ends_in(name, strlen(name), ".h5");
}

/* The path of a source, from where this process is; owned by the caller. NULL when it may not be
 * one. */
static char *source_path(const struct results_reader *r, const char *name)
{
	const char *slash = strrchr(r->path, '/');
	const int n_folder = slash ? (int)(slash - r->path) : 1;
	const size_t room = (size_t)n_folder + strlen(name) + 2;
	char *path = is_unit_name(name) ? malloc(room) : NULL;
	struct stat st;
	char *end;

	if (!path)
		return NULL;
	snprintf(path, room, "%.*s/%s", n_folder, slash ? r->path : ".", name);
	end = strchr(path + n_folder + 1, '/'); /* behind FOLDER.units */
	while ((end = strchr(end + 1, '/'))) {
		*end = '\0';
		if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
			free(path);
			return NULL;
		}
		*end = '/';
	}
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
		return path;
	free(path);
	return NULL;
}

/* Whether a selection is rows `first` and on of an extent of these dimensions; *n is how many. */
static bool is_rows(hid_t space, int n_dims, const size_t *dims, size_t first, size_t *n)
{
	hsize_t low[DOOR_RANK], high[DOOR_RANK], values = 1;

	if (H5Sget_simple_extent_ndims(space) != n_dims || H5Sget_select_npoints(space) <= 0 ||
		H5Sget_select_bounds(space, low, high) < 0 || low[0] != first || high[0] >= dims[0])
		return false;
	for (int i = 0; i < n_dims; i++) {
		if (i > 0 && (low[i] != 0 || high[i] != dims[i] - 1))
			return false;
		if (__builtin_mul_overflow(values, high[i] - low[i] + 1, &values))
			return false;
	}
	*n = (size_t)(high[0] - first + 1);
	return (hsize_t)H5Sget_select_npoints(space) == values;
}

/* One source: what of the dataset it holds, and where. */
struct source_of {
	char *path;      /* owned */
	size_t first, n; /* rows */
};

static int read_mapping(const struct results_reader *r, const char *path,
	const struct door_dataset *d, hid_t created, size_t i, struct source_of *s, struct err *err)
{
	const hid_t there = H5Pget_virtual_vspace(created, i),
		    here = H5Pget_virtual_srcspace(created, i);
	char file[RESULTS_PATH_BYTES] = "", dataset[RESULTS_PATH_BYTES] = "";
	const ssize_t n_file = H5Pget_virtual_filename(created, i, file, sizeof file);
	const ssize_t n_dataset = H5Pget_virtual_dsetname(created, i, dataset, sizeof dataset);

	err_clear(err);
	if (n_file <= 0 || n_file >= (ssize_t)sizeof file || n_dataset >= (ssize_t)sizeof dataset ||
		strcmp(dataset, path) != 0 || !(s->path = source_path(r, file)))
		err_set(err, ERR_INPUT,
			"%s: %s: expected rows of %s in units beside this file, found those of %s "
			"in \"%s\"",
			r->path, path, path, dataset, file);
	else if (!is_rows(there, d->n_dims, d->dims, s->first, &s->n) ||
		 H5Sget_select_type(here) != H5S_SEL_ALL)
		err_set(err, ERR_INPUT,
			"%s: %s: expected the rows of %s behind those before, found others",
			r->path, path, s->path);
	H5Sclose(there);
	H5Sclose(here);
	return err->code;
}

static bool has_rows(const struct door_dataset *source, const struct door_dataset *d, size_t n)
{
	bool same = source->n_dims == d->n_dims && source->layout != H5D_VIRTUAL &&
		    source->dims[0] == n && H5Tequal(source->type, d->type) > 0;

	for (int i = 1; same && i < d->n_dims; i++)
		same = source->dims[i] == d->dims[i];
	return same;
}

static int read_source(const struct results_reader *r, const char *path,
	const struct door_dataset *d, const struct source_of *s, hid_t memory_type, void *data,
	struct err *err)
{
	struct results_reader unit = {.path = s->path, .most = r->most};
	struct door_dataset source = {0};
	size_t bytes;

	unit.file = H5I_INVALID_HID;
	err_clear(err);
	TRY(door_open_file(&unit, err));
	TRY(door_open(&unit, path, &source, err));
	if (!has_rows(&source, d, s->n)) {
		err_set(err, ERR_INPUT,
			"%s: %s: expected the %zu rows that %s is said to have here", unit.path,
			path, s->n, r->path);
		goto fail;
	}
	TRY(door_bytes(&unit, path, &source, memory_type, &bytes, err));
	TRY(door_read(&unit, path, &source, memory_type, data, err));
fail:
	door_close(&source);
	if (unit.file >= 0)
		H5Fclose(unit.file);
	return err->code;
}

int virtual_read(const struct results_reader *r, const char *path, const struct door_dataset *d,
	hid_t memory_type, void *data, struct err *err)
{
	const hid_t created = H5Dget_create_plist(d->id);
	struct source_of s = {0};
	size_t n = 0, row = H5Tget_size(memory_type);

	err_clear(err);
	for (int i = 1; i < d->n_dims; i++)
		row *= d->dims[i];
	H5Pget_virtual_count(created, &n);
	for (size_t i = 0; i < n && err->code == 0; i++) {
		if (read_mapping(r, path, d, created, i, &s, err) == 0)
			read_source(r, path, d, &s, memory_type, (char *)data + s.first * row, err);
		s.first += s.n;
		free(s.path);
		s.path = NULL;
	}
	if (err->code == 0 && (d->n_dims == 0 || s.first != d->dims[0]))
		err_set(err, ERR_INPUT, "%s: %s: expected sources of all its rows, found %zu",
			r->path, path, s.first);
	H5Pclose(created);
	return err->code;
}
