/* SPDX-License-Identifier: MIT
 *
 * results.c - Contract and invariants: results.h. Reading: results_reader.c.
 * Tests: tests/test_results.c; from Python and R: tests/test_result_file.py, .R.
 *
 * HDF5 reports through its own error stack; it is silenced and the outermost description is
 * taken over into struct err at the call.
 */
#include "host/store/results_parts.h"

#include "host/base/dtype.h"
#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/vec.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include <hdf5_hl.h>

/* ---- opening and closing ---------------------------------------------------------------- */

/* New: what a killed run left goes, and nothing is written through a link. */
static hid_t create_file(const struct results *r)
{
	const hid_t access = results_file_access(), creation = H5Pcreate(H5P_FILE_CREATE);
	hid_t file;

	if (r->seal)
		H5Pset_userblock(creation, SEAL_BYTES);
	unlink(r->part);
	errno = 0;
	file = H5Fcreate(r->part, H5F_ACC_EXCL, creation, access);
	H5Pclose(creation);
	H5Pclose(access);
	return file;
}

static int create(struct results **out, const char *path, const struct seal *seal, struct err *err)
{
	struct results *r = calloc(1, sizeof *r);

	*out = NULL;
	if (!r)
		return err_nomem(err, path, sizeof *r);
	r->file = H5I_INVALID_HID;
	r->path = strdup(path);
	r->part = malloc(strlen(path) + 6);
	r->seal = seal ? malloc(sizeof *seal) : NULL;
	if (!r->path || !r->part || (seal && !r->seal)) {
		err_nomem(err, path, strlen(path));
		goto fail;
	}
	sprintf(r->part, "%s.part", path);
	if (seal)
		*r->seal = *seal;
	TRY(folder_make_for(path, err));
	TRY(memory_check(path, 0, err));
	results_library_open();
	r->file = create_file(r);
	if (r->file < 0) {
		results_hdf5_error(r, "the file", err);
		unlink(r->part);
		goto fail;
	}
	*out = r;
	return 0;
fail:
	results_close(r);
	return err->code;
}

int results_create(struct results **out, const char *path, struct err *err)
{
	return create(out, path, NULL, err);
}

int results_create_unit(struct results **out, const char *path, const struct seal *seal,
	struct err *err)
{
	return create(out, path, seal, err);
}

int results_create_nowhere(struct results **out, struct err *err)
{
	*out = calloc(1, sizeof **out);
	if (!*out)
		return err_nomem(err, "results", sizeof **out);
	(*out)->file = H5I_INVALID_HID;
	return 0;
}

static bool is_nowhere(const struct results *r)
{
	return !r->path;
}

static int close_grown(struct results *r)
{
	int failed = 0;

	for (size_t i = 0; i < r->grown.n; i++) {
		failed |= H5Dclose(r->grown.data[i].dataset) < 0;
		free(r->grown.data[i].path);
		free(r->grown.data[i].scale);
		sha256_end(r->grown.data[i].values);
	}
	free(r->grown.data);
	r->grown.data = NULL;
	r->grown.n = r->grown.cap = 0;
	return failed;
}

void results_close(struct results *r)
{
	if (!r)
		return;
	close_grown(r);
	results_free_mapped(r);
	if (r->file >= 0)
		H5Fclose(r->file);
	free(r->path);
	free(r->part);
	free(r->seal);
	free(r);
}

void results_discard(struct results *r)
{
	char *part = is_nowhere(r) ? NULL : strdup(r->part);

	results_close(r);
	if (part)
		unlink(part);
	free(part);
}

int results_finish(struct results *r, struct err *err)
{
	err_clear(err);
	if (is_nowhere(r))
		goto fail;
	if (!r->seal)
		TRY(results_sign_file(r, err));
	errno = 0;
	if (close_grown(r) || H5Fflush(r->file, H5F_SCOPE_GLOBAL) < 0 || H5Fclose(r->file) < 0) {
		r->file = H5I_INVALID_HID;
		results_hdf5_error(r, "the end of the file", err);
		goto fail;
	}
	r->file = H5I_INVALID_HID;
	if (r->seal)
		TRY(seal_write(r->part, r->seal, err));
	TRY(file_sync(r->part, err));
	TRY(file_rename(r->part, r->path, err));
fail:
	if (err->code)
		unlink(r->part); /* a full disk needs the room */
	results_close(r);
	return err->code;
}

/* ---- datasets -------------------------------------------------------------------------- */

enum { F16_INFINITY = 0x7c00 };

/* What is kept in half precision is finite until it is made so. */
static int check_halves(const char *path, const uint16_t *half, size_t n, struct err *err)
{
	bool any = false;
	size_t i = 0;

	for (size_t k = 0; k < n; k++)
		any |= (half[k] & 0x7fff) == F16_INFINITY;
	if (!any)
		return 0;
	while ((half[i] & 0x7fff) != F16_INFINITY)
		i++;
	return err_set(err, ERR_CONFIG,
		"%s: expected values of at most 65504, the largest of float16, found infinity at element "
		"%zu: float32 holds larger ones",
		path, i);
}

/* Chunks of about a megabyte: smaller ones cost time per chunk. */
static void choose_chunk(const struct results_dataset *d, const hsize_t *dims, hsize_t *chunk)
{
	size_t row = results_value_bytes(d->type);

	for (int i = 1; i < d->n_dims; i++) {
		chunk[i] = dims[i] ? dims[i] : 1;
		row *= chunk[i];
	}
	chunk[0] = (1 << 20) / row > 0 ? (1 << 20) / row : 1;
	if (dims[0] > 0 && chunk[0] > dims[0])
		chunk[0] = dims[0];
}

static hid_t create_dataset(struct results *r, const struct results_dataset *d, bool grows)
{
	hsize_t dims[RESULTS_DIMS], most[RESULTS_DIMS], chunk[RESULTS_DIMS];
	hid_t space, type, properties, links, dataset;

	for (int i = 0; i < d->n_dims; i++)
		dims[i] = most[i] = d->dims[i];
	if (grows) {
		dims[0] = 0;
		most[0] = H5S_UNLIMITED;
	}
	space = H5Screate_simple(d->n_dims, dims, most);
	type = results_type(d->type);
	properties = H5Pcreate(H5P_DATASET_CREATE);
	if (grows || (d->compress && d->dims[0] > 0)) {
		choose_chunk(d, dims, chunk);
		H5Pset_chunk(properties, d->n_dims, chunk);
	}
	if (d->compress && (grows || d->dims[0] > 0)) {
		H5Pset_shuffle(properties);
		H5Pset_deflate(properties, 4);
	}
	links = H5Pcreate(H5P_LINK_CREATE);
	H5Pset_create_intermediate_group(links, 1);
	dataset = H5Dcreate2(r->file, d->path, type, space, links, properties, H5P_DEFAULT);
	H5Pclose(links);
	H5Pclose(properties);
	H5Tclose(type);
	H5Sclose(space);
	return dataset;
}

static bool is_scale_at(struct results *r, const char *path)
{
	hid_t dataset = H5I_INVALID_HID;
	bool is;

	if (H5Lexists(r->file, path, H5P_DEFAULT) > 0)
		dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
	is = dataset >= 0 && H5DSis_scale(dataset) > 0;
	if (dataset >= 0)
		H5Dclose(dataset);
	return is;
}

/* The path of a scale of this name, in the group of `path` or the nearest above. */
static int find_scale(struct results *r, const char *path, const char *name,
	char out[RESULTS_PATH_BYTES], struct err *err)
{
	const char *end = path + strlen(path);

	if (name[0] == '/') {
		snprintf(out, RESULTS_PATH_BYTES, "%s", name);
		return 0;
	}
	while (end > path) {
		while (*--end != '/')
			;
		snprintf(out, RESULTS_PATH_BYTES, "%.*s/%s", (int)(end - path), path, name);
		if (is_scale_at(r, out))
			return 0;
	}
	return err_set(err, ERR_INTERNAL,
		"%s: expected the scale %s in its group or one above, found none", path, name);
}

static hsize_t length_of(hid_t dataset, int dimension)
{
	const hid_t space = H5Dget_space(dataset);
	hsize_t dims[H5S_MAX_RANK] = {0};

	H5Sget_simple_extent_dims(space, dims, NULL);
	H5Sclose(space);
	return dims[dimension];
}

int results_attach_scale(struct results *r, hid_t dataset, int dimension, const char *scale,
	const char *path, struct err *err)
{
	char found[RESULTS_PATH_BYTES];
	hid_t s;
	int rc = 0;

	if (find_scale(r, path, scale, found, err))
		return err->code;
	s = H5Dopen2(r->file, found, H5P_DEFAULT);
	if (s >= 0 && length_of(s, 0) != length_of(dataset, dimension))
		rc = err_set(err, ERR_INTERNAL,
			"%s: dimension %d: expected %zu, as %s has, found %zu", path, dimension,
			(size_t)length_of(s, 0), found, (size_t)length_of(dataset, dimension));
	else if (s < 0 || H5DSattach_scale(dataset, s, (unsigned)dimension) < 0)
		rc = results_hdf5_error(r, path, err);
	if (s >= 0 && H5Dclose(s) < 0 && rc == 0)
		rc = results_hdf5_error(r, path, err);
	return rc;
}

/* A scale of the root counts, and is every group's. As netCDF has it, it is a dimension and no
 * variable: a variable would be a coordinate that readers of the tree hand down to all groups,
 * where it stands against rows that are others (prompt) and hides columns of its name (layer). */
static int make_scale(hid_t dataset, const struct results_dataset *d)
{
	const char *name = strrchr(d->path, '/') + 1;
	char dimension[96];

	snprintf(dimension, sizeof dimension,
		"This is a netCDF dimension but not a netCDF variable.%10zu", d->dims[0]);
	return H5DSset_scale(dataset, name == d->path + 1 ? dimension : name) < 0;
}

int results_describe(struct results *r, const struct results_dataset *d, hid_t dataset, int first,
	struct err *err)
{
	if (results_put_text(r, dataset, "long_name", d->long_name, d->path, err) ||
		results_put_text(r, dataset, "units", d->units ? d->units : "", d->path, err))
		return err->code;
	if (d->is_scale)
		return make_scale(dataset, d) ? results_hdf5_error(r, d->path, err) : 0;
	for (int i = first; i < d->n_dims; i++)
		if (d->scales[i] && results_attach_scale(r, dataset, i, d->scales[i], d->path, err))
			return err->code;
	return 0;
}

/* Rows as they are stored: half precision already made. */
static int write_stored(struct results *r, const struct results_dataset *d, hid_t dataset,
	hid_t memory, hid_t file_space, const void *data, struct err *err)
{
	const hid_t type = results_type(d->type);
	const herr_t status = H5Dwrite(dataset, type, memory, file_space, H5P_DEFAULT, data);

	H5Tclose(type);
	return status < 0 ? results_hdf5_error(r, d->path, err) : 0;
}

static int sign_values(struct results *r, const struct results_dataset *d, hid_t dataset,
	const void *data, struct err *err)
{
	struct sha256 *values = sha256_begin();

	if (!values)
		return err_nomem(err, d->path, sizeof values);
	results_add_values(values, d->type, data, results_count(d, d->dims[0]));
	results_sign_dataset(r, dataset, d->path, values, err);
	sha256_end(values);
	return err->code;
}

int results_write(struct results *r, const struct results_dataset *d, const void *data,
	struct err *err)
{
	hid_t dataset;

	err_clear(err);
	if (is_nowhere(r))
		return 0;
	if (memory_check(d->path, 0, err))
		return err->code;
	errno = 0;
	dataset = create_dataset(r, d, false);
	if (dataset < 0)
		return results_hdf5_error(r, d->path, err);
	if (d->type == RESULTS_F16)
		TRY(check_halves(d->path, data, results_count(d, d->dims[0]), err));
	if (results_count(d, d->dims[0]) > 0)
		TRY(write_stored(r, d, dataset, H5S_ALL, H5S_ALL, data, err));
	TRY(results_describe(r, d, dataset, 0, err));
	if (!r->seal)
		sign_values(r, d, dataset, data, err);
fail:
	return results_close_written(r, dataset, d->path, err);
}

/* The open dataset of that path, made on the first call. */
static int grown_dataset(struct results *r, const struct results_dataset *d, struct grown **out,
	struct err *err)
{
	const size_t n_before = r->grown.n;
	struct grown g;

	for (size_t i = 0; i < n_before; i++) {
		if (strcmp(r->grown.data[i].path, d->path) == 0) {
			*out = &r->grown.data[i];
			return 0;
		}
	}
	if (memory_check(d->path, 0, err))
		return err->code;
	g = (struct grown){.path = strdup(d->path),
		.dataset = create_dataset(r, d, true),
		.values = sha256_begin()};
	if (g.dataset < 0)
		results_hdf5_error(r, d->path, err);
	else if (!g.path || !g.values)
		err_nomem(err, d->path, strlen(d->path));
	else
		vec_push(&r->grown, g, err);
	if (r->grown.n == n_before) {
		if (g.dataset >= 0)
			H5Dclose(g.dataset);
		free(g.path);
		sha256_end(g.values);
		return err->code;
	}
	TRY(results_describe(r, d, g.dataset, 1, err));
	if (d->scales[0] && !(r->grown.data[r->grown.n - 1].scale = strdup(d->scales[0]))) {
		err_nomem(err, d->path, strlen(d->scales[0]));
		goto fail;
	}
	*out = &r->grown.data[r->grown.n - 1];
	return 0;
fail:
	return err->code;
}

int results_append(struct results *r, const struct results_dataset *d, const void *data, size_t n,
	struct err *err)
{
	hsize_t dims[RESULTS_DIMS], start[RESULTS_DIMS] = {0}, rows[RESULTS_DIMS];
	struct grown *g = NULL;
	hid_t space, memory;
	int rc;

	errno = 0;
	if (grown_dataset(r, d, &g, err))
		return err->code;
	space = H5Dget_space(g->dataset);
	H5Sget_simple_extent_dims(space, dims, NULL);
	H5Sclose(space);
	for (int i = 0; i < d->n_dims; i++)
		rows[i] = i ? dims[i] : n;
	start[0] = dims[0];
	dims[0] += n;
	if (n == 0)
		return 0;
	if (H5Dset_extent(g->dataset, dims) < 0)
		return results_hdf5_error(r, d->path, err);
	space = H5Dget_space(g->dataset);
	memory = H5Screate_simple(d->n_dims, rows, NULL);
	H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, rows, NULL);
	rc = write_stored(r, d, g->dataset, memory, space, data, err);
	results_add_values(g->values, d->type, data, results_count(d, n));
	g->is_signed = false;
	H5Sclose(memory);
	H5Sclose(space);
	return rc;
}

/* ---- attributes ------------------------------------------------------------------------ */

static int attribute_of(struct results *r, const char *object, const char *name, hid_t type,
	const void *value, struct err *err)
{
	hid_t o;
	int rc;

	if (is_nowhere(r)) {
		H5Tclose(type);
		return 0;
	}
	errno = 0;
	o = H5Oopen(r->file, object, H5P_DEFAULT);
	if (o < 0) {
		H5Tclose(type);
		return results_hdf5_error(r, object, err);
	}
	rc = results_put_attribute(r, o, name, type, value, object, err);
	if (H5Oclose(o) < 0 && rc == 0)
		rc = results_hdf5_error(r, object, err);
	return rc;
}

int results_attribute_text(struct results *r, const char *object, const char *name,
	const char *value, struct err *err)
{
	return attribute_of(r, object, name, results_type(RESULTS_TEXT), &value, err);
}

int results_attribute_integer(struct results *r, const char *object, const char *name,
	int64_t value, struct err *err)
{
	return attribute_of(r, object, name, H5Tcopy(H5T_STD_I64LE), &value, err);
}

int results_attribute_real(struct results *r, const char *object, const char *name, double value,
	struct err *err)
{
	return attribute_of(r, object, name, H5Tcopy(H5T_IEEE_F64LE), &value, err);
}
