/* SPDX-License-Identifier: MIT
 *
 * results_reader.c - reading what an earlier run wrote. Contract: results.h.
 * Tests: tests/test_results.c.
 */
#include "host/run/results.h"

#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

struct results_reader {
	char *path; /* owned */
	hid_t file;
};

int results_open(struct results_reader **out, const char *path, struct err *err)
{
	struct results_reader *r = calloc(1, sizeof *r);

	*out = NULL;
	if (!r || !(r->path = strdup(path))) {
		free(r);
		return err_nomem(err, path, sizeof *r);
	}
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	r->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
	if (r->file < 0) {
		err_set(err, ERR_INPUT, "%s: expected a result file (HDF5) that can be read", path);
		results_reader_close(r);
		return err->code;
	}
	*out = r;
	return 0;
}

void results_reader_close(struct results_reader *r)
{
	if (!r)
		return;
	if (r->file >= 0)
		H5Fclose(r->file);
	free(r->path);
	free(r);
}

bool results_has(struct results_reader *r, const char *path)
{
	char part[512];

	/* Every group on the way must exist before the next is asked for. */
	for (const char *slash = path; (slash = strchr(slash + 1, '/'));) {
		snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		if (H5Lexists(r->file, part, H5P_DEFAULT) <= 0)
			return false;
	}
	return H5Lexists(r->file, path, H5P_DEFAULT) > 0;
}

static int read_values(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	hid_t memory_type, size_t element, void **data, struct err *err)
{
	hsize_t found[H5S_MAX_RANK] = {0};
	size_t bytes = element;
	hid_t dataset, space;
	int rank;

	*data = NULL;
	if (!results_has(r, path))
		return err_set(err, ERR_INPUT, "%s: expected a dataset %s, found none", r->path, path);
	dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
	if (dataset < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected a dataset", r->path, path);
	space = H5Dget_space(dataset);
	rank = H5Sget_simple_extent_dims(space, found, NULL);
	H5Sclose(space);
	if (rank != n_dims) {
		err_set(err, ERR_INPUT, "%s: %s: expected %d dimensions, found %d", r->path, path,
			n_dims, rank);
		goto fail;
	}
	for (int i = 0; i < rank; i++) {
		dims[i] = (size_t)found[i];
		if (size_mul_overflow(bytes, dims[i], &bytes)) {
			err_set(err, ERR_INPUT, "%s: %s: its size overflows", r->path, path);
			goto fail;
		}
	}
	*data = malloc(bytes + 1);
	if (!*data) {
		err_nomem(err, path, bytes);
		goto fail;
	}
	if (bytes > 0 &&
		H5Dread(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data) < 0) {
		err_set(err, ERR_INPUT, "%s: %s: expected numbers that can be read", r->path, path);
		goto fail;
	}
	H5Dclose(dataset);
	return 0;
fail:
	free(*data);
	*data = NULL;
	H5Dclose(dataset);
	return err->code;
}

int results_read_floats(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	float **data, struct err *err)
{
	return read_values(r, path, n_dims, dims, H5T_NATIVE_FLOAT, sizeof(float), (void **)data,
		err);
}

int results_read_ints(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	int32_t **data, struct err *err)
{
	return read_values(r, path, n_dims, dims, H5T_NATIVE_INT32, sizeof(int32_t), (void **)data,
		err);
}

int results_read_texts(struct results_reader *r, const char *path, size_t *n, char ***data,
	struct err *err)
{
	const hid_t type = H5Tcopy(H5T_C_S1);
	char **texts = NULL;
	hid_t dataset, space;

	*data = NULL;
	*n = 0;
	H5Tset_size(type, H5T_VARIABLE);
	H5Tset_cset(type, H5T_CSET_UTF8);
	if (read_values(r, path, 1, n, type, sizeof *texts, (void **)&texts, err)) {
		H5Tclose(type);
		return err->code;
	}
	*data = calloc(*n + 1, sizeof **data);
	for (size_t i = 0; *data && i < *n; i++) /* copies: HDF5's own are given back below */
		(*data)[i] = strdup(texts[i] ? texts[i] : "");
	dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
	space = H5Dget_space(dataset);
	if (*n > 0)
		H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
	H5Sclose(space);
	H5Dclose(dataset);
	H5Tclose(type);
	free(texts);
	return *data ? 0 : err_nomem(err, path, *n * sizeof **data);
}

int results_read_attribute_integer(struct results_reader *r, const char *object,
	const char *name, int64_t *value, struct err *err)
{
	const hid_t a = H5Aopen_by_name(r->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
	const herr_t status = a < 0 ? -1 : H5Aread(a, H5T_NATIVE_INT64, value);

	if (a >= 0)
		H5Aclose(a);
	if (status < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected an integer attribute \"%s\"",
			r->path, object, name);
	return 0;
}
