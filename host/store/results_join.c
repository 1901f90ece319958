/* SPDX-License-Identifier: MIT
 *
 * results_join.c - rows on their way from the files of units to the result file. Contract:
 * results.h. Tests: tests/test_results.c.
 *
 * In a unit's file a dataset has the path it will have in the result file, and attributes for what
 * cannot be seen from it: type, scales, compress, is_scale, ends_of. Values are moved as they are
 * stored.
 */
#include "host/store/results_parts.h"

#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int results_write_rows(struct results *unit, const struct results_dataset *d, const void *data,
	size_t n, struct err *err)
{
	struct results_dataset rows = *d;
	char name[24];

	rows.dims[0] = n;
	rows.compress = rows.is_scale = false;
	for (int i = 0; i < RESULTS_DIMS; i++)
		rows.scales[i] = NULL;
	TRY(results_write(unit, &rows, data, err));
	TRY(results_attribute_integer(unit, d->path, "type", d->type, err));
	TRY(results_attribute_integer(unit, d->path, "compress", d->compress, err));
	TRY(results_attribute_integer(unit, d->path, "is_scale", d->is_scale, err));
	TRY(results_attribute_text(unit, d->path, "ends_of", d->ends_of ? d->ends_of : "", err));
	for (int i = 0; i < d->n_dims; i++) {
		snprintf(name, sizeof name, "scale_%d", i);
		TRY(results_attribute_text(unit, d->path, name, d->scales[i] ? d->scales[i] : "",
			err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- reading a unit -------------------------------------------------------------------- */

static int malformed(struct results_reader *unit, const char *path, struct err *err)
{
	return err_set(err, ERR_INPUT, "%s: %s: expected rows of a unit, found something else",
		unit->path, path);
}

static bool read_text(hid_t dataset, const char *name, char out[RESULTS_PATH_BYTES])
{
	const hid_t a = H5Aopen(dataset, name, H5P_DEFAULT);
	const hid_t type = results_type(RESULTS_TEXT);
	char *text = NULL;
	const bool read = a >= 0 && H5Aread(a, type, &text) >= 0 && text &&
			  strlen(text) < RESULTS_PATH_BYTES;

	if (read)
		strcpy(out, text);
	H5free_memory(text);
	H5Tclose(type);
	if (a >= 0)
		H5Aclose(a);
	return read;
}

static bool read_integer(hid_t dataset, const char *name, int64_t most, int64_t *out)
{
	const hid_t a = H5Aopen(dataset, name, H5P_DEFAULT);
	const bool read = a >= 0 && H5Aread(a, H5T_NATIVE_INT64, out) >= 0 && *out >= 0 &&
			  *out <= most;

	if (a >= 0)
		H5Aclose(a);
	return read;
}

static bool read_descriptor(struct rows *rows, hid_t dataset)
{
	struct results_dataset *d = &rows->d;
	hsize_t dims[H5S_MAX_RANK] = {0};
	const hid_t space = H5Dget_space(dataset);
	int64_t type = 0, compress = 0, is_scale = 0;
	char name[24];

	d->n_dims = H5Sget_simple_extent_dims(space, dims, NULL);
	H5Sclose(space);
	if (d->n_dims < 1 || d->n_dims > RESULTS_DIMS ||
		!read_integer(dataset, "type", RESULTS_U8, &type) ||
		!read_integer(dataset, "compress", 1, &compress) ||
		!read_integer(dataset, "is_scale", 1, &is_scale) ||
		!read_text(dataset, "long_name", rows->long_name) ||
		!read_text(dataset, "units", rows->units) ||
		!read_text(dataset, "ends_of", rows->ends_of))
		return false;
	for (int i = 0; i < d->n_dims; i++) {
		d->dims[i] = (size_t)dims[i];
		snprintf(name, sizeof name, "scale_%d", i);
		if (!read_text(dataset, name, rows->scales[i]))
			return false;
		d->scales[i] = rows->scales[i][0] ? rows->scales[i] : NULL;
	}
	d->path = rows->path;
	d->type = (enum results_type)type;
	d->compress = compress != 0;
	d->is_scale = is_scale != 0;
	d->long_name = rows->long_name;
	d->units = rows->units;
	d->ends_of = rows->ends_of[0] ? rows->ends_of : NULL;
	return true;
}

static int read_values(struct rows *rows, struct results_reader *unit, hid_t dataset,
	struct err *err)
{
	size_t bytes = results_value_bytes(rows->d.type);
	hid_t type;

	for (int i = 0; i < rows->d.n_dims; i++)
		if (size_mul_overflow(bytes, rows->d.dims[i], &bytes))
			return malformed(unit, rows->path, err);
	rows->data = memory_alloc(bytes + 1);
	if (!rows->data)
		return err_nomem(err, rows->path, bytes);
	type = results_type(rows->d.type);
	if (bytes > 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows->data) < 0)
		err_set(err, ERR_INPUT, "%s: %s: cannot be read", unit->path, rows->path);
	H5Tclose(type);
	return err->code;
}

/* ---- appending ------------------------------------------------------------------------- */

/* Rows that the dataset has by now; 0 when there is none yet. */
static hsize_t rows_so_far(const struct results *r, const char *path)
{
	hsize_t dims[RESULTS_DIMS] = {0};

	for (size_t i = 0; i < r->grown.n; i++) {
		if (strcmp(r->grown.data[i].path, path) == 0) {
			const hid_t space = H5Dget_space(r->grown.data[i].dataset);

			H5Sget_simple_extent_dims(space, dims, NULL);
			H5Sclose(space);
		}
	}
	return dims[0];
}

static void move_ends(const struct results *r, struct rows *rows)
{
	const hsize_t before = rows_so_far(r, rows->d.ends_of);
	int32_t *i32 = rows->data;
	int64_t *i64 = rows->data;

	for (size_t i = 0; i < rows->d.dims[0]; i++) {
		if (rows->d.type == RESULTS_I32)
			i32[i] += (int32_t)before;
		else
			i64[i] += (int64_t)before;
	}
}

/* ---- mapping --------------------------------------------------------------------------- */

/* The texts of a descriptor moved with it. */
static void settle(struct rows *rows)
{
	rows->d.path = rows->path;
	rows->d.long_name = rows->long_name;
	rows->d.units = rows->units;
	rows->d.ends_of = NULL;
	for (int i = 0; i < RESULTS_DIMS; i++)
		rows->d.scales[i] = rows->scales[i][0] ? rows->scales[i] : NULL;
}

static hid_t create_virtual(struct results *r, const struct mapped *m)
{
	const struct results_dataset *d = &m->rows.d;
	hsize_t dims[RESULTS_DIMS], start[RESULTS_DIMS] = {0}, count[RESULTS_DIMS];
	const hid_t properties = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
	const hid_t type = results_type(d->type);
	hid_t space, dataset;

	for (int i = 0; i < d->n_dims; i++)
		dims[i] = count[i] = d->dims[i];
	dims[0] = 0;
	for (size_t k = 0; k < m->n; k++)
		dims[0] += m->data[k].n;
	space = H5Screate_simple(d->n_dims, dims, NULL);
	for (size_t k = 0; k < m->n; k++) {
		hid_t source;

		if (m->data[k].n == 0)
			continue;
		count[0] = m->data[k].n;
		source = H5Screate_simple(d->n_dims, count, NULL);
		H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
		H5Pset_virtual(properties, space, m->data[k].file, d->path, source);
		H5Sclose(source);
		start[0] += count[0];
	}
	H5Sselect_all(space);
	H5Pset_create_intermediate_group(links, 1);
	dataset = H5Dcreate2(r->file, d->path, type, space, links, properties, H5P_DEFAULT);
	H5Sclose(space);
	H5Tclose(type);
	H5Pclose(links);
	H5Pclose(properties);
	return dataset;
}

static int make_virtual(struct results *r, struct mapped *m, struct err *err)
{
	hid_t dataset;

	settle(&m->rows);
	dataset = create_virtual(r, m);
	if (dataset < 0)
		return results_hdf5_error(r, m->rows.path, err);
	if (results_describe(r, &m->rows.d, dataset, 0, err) == 0)
		results_sign_dataset(r, dataset, m->rows.path, m->values, err);
	results_close_written(r, dataset, m->rows.path, err);
	return err->code;
}

int results_join_end(struct results *r, struct err *err)
{
	err_clear(err);
	for (size_t i = 0; i < r->grown.n; i++) {
		struct grown *g = &r->grown.data[i];

		if (g->scale)
			TRY(results_attach_scale(r, g->dataset, 0, g->scale, g->path, err));
		free(g->scale);
		g->scale = NULL;
		if (!g->is_signed)
			TRY(results_sign_dataset(r, g->dataset, g->path, g->values, err));
		g->is_signed = true;
	}
	for (size_t i = 0; i < r->mapped.n; i++)
		TRY(make_virtual(r, &r->mapped.data[i], err));
fail:
	results_free_mapped(r);
	return err->code;
}

/* ---- joining --------------------------------------------------------------------------- */

struct join {
	struct results *results;
	struct results_reader *unit;
	bool ends; /* this pass takes ends, the next one the rows they count */
	struct err *err;
};

static herr_t join_dataset(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
	struct join *j = context;
	struct rows rows = {0};
	hid_t dataset;

	(void)file;
	if (info->type != H5O_TYPE_DATASET || strncmp(name, "unit/", 5) == 0)
		return 0;
	if (snprintf(rows.path, sizeof rows.path, "/%s", name) >= (int)sizeof rows.path)
		return malformed(j->unit, name, j->err);
	dataset = H5Dopen2(j->unit->file, rows.path, H5P_DEFAULT);
	if (dataset < 0 || !read_descriptor(&rows, dataset)) {
		malformed(j->unit, rows.path, j->err);
	} else if (j->results->map_units && !rows.d.compress && !rows.d.ends_of &&
		   !rows.d.is_scale) {
		if (!j->ends && read_values(&rows, j->unit, dataset, j->err) == 0)
			results_map_rows(j->results, &rows, j->unit->path, j->err);
	} else if ((rows.d.ends_of != NULL) == j->ends &&
		   read_values(&rows, j->unit, dataset, j->err) == 0) {
		if (j->ends)
			move_ends(j->results, &rows);
		results_append(j->results, &rows.d, rows.data, rows.d.dims[0], j->err);
	}
	free(rows.data);
	if (dataset >= 0)
		H5Dclose(dataset);
	return j->err->code ? -1 : 0;
}

int results_join(struct results *r, struct results_reader *unit, struct err *err)
{
	struct join join = {r, unit, true, err};

	err_clear(err);
	if (!r->path)
		return 0;
	for (int pass = 0; pass < 2 && err->code == 0; pass++) {
		join.ends = pass == 0;
		if (H5Ovisit2(unit->file, H5_INDEX_NAME, H5_ITER_INC, join_dataset, &join,
			    H5O_INFO_BASIC) < 0 &&
			err->code == 0)
			err_set(err, ERR_INPUT, "%s: expected a unit that can be read", unit->path);
	}
	return err->code;
}
