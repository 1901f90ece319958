/* SPDX-License-Identifier: MIT
 *
 * results_join.c - rows on their way from the files of units to the result file. Contract:
 * results.h. Tests: tests/test_results.c.
 *
 * In a unit's file a dataset has the path it will have in the result file, and attributes for what
 * cannot be seen from it: type, scales, compress, is_scale, ends_of. Values are moved as they are
 * stored.
 */
#include "host/store/results_door.h"

#include "host/base/memory.h"
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
	char *text;
	const bool read = door_text(dataset, name, &text) && strlen(text) < RESULTS_PATH_BYTES;

	if (read)
		strcpy(out, text);
	free(text);
	return read;
}

static bool read_integer(hid_t dataset, const char *name, int64_t most, int64_t *out)
{
	return door_integer(dataset, name, out) && *out >= 0 && *out <= most;
}

static bool read_descriptor(struct rows *rows, const struct door_dataset *dataset)
{
	struct results_dataset *d = &rows->d;
	int64_t type = 0, compress = 0, is_scale = 0;
	char name[24];

	d->n_dims = dataset->n_dims;
	if (d->n_dims < 1 || d->n_dims > RESULTS_DIMS ||
		!read_integer(dataset->id, "type", RESULTS_U8, &type) ||
		!read_integer(dataset->id, "compress", 1, &compress) ||
		!read_integer(dataset->id, "is_scale", 1, &is_scale) ||
		!read_text(dataset->id, "long_name", rows->long_name) ||
		!read_text(dataset->id, "units", rows->units))
		return false;
	for (int i = 0; i < d->n_dims; i++) {
		d->dims[i] = dataset->dims[i];
		snprintf(name, sizeof name, "scale_%d", i);
		if (!read_text(dataset->id, name, rows->scales[i]))
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

static bool is_like_grown(hid_t grown, const struct results_dataset *d)
{
	const hid_t space = H5Dget_space(grown), stored = H5Dget_type(grown);
	const hid_t type = results_type(d->type);
	hsize_t dims[DOOR_RANK] = {0};
	bool like = H5Sget_simple_extent_dims(space, dims, NULL) == d->n_dims &&
		    H5Tequal(stored, type) > 0;

	for (int i = 1; like && i < d->n_dims; i++)
		like = dims[i] == d->dims[i];
	H5Tclose(type);
	H5Tclose(stored);
	H5Sclose(space);
	return like;
}

/* Whether rows go on from those of the units before: same type, and shape of a row. */
static bool goes_on(const struct results *r, const struct rows *rows)
{
	for (size_t i = 0; i < r->grown.n; i++) {
		const struct grown *g = &r->grown.data[i];

		if (strcmp(g->path, rows->path) == 0)
			return is_like_grown(g->dataset, &rows->d);
	}
	for (size_t i = 0; i < r->mapped.n; i++) {
		const struct results_dataset *first = &r->mapped.data[i].rows.d;

		if (strcmp(r->mapped.data[i].rows.path, rows->path) == 0)
			return first->type == rows->d.type && first->n_dims == rows->d.n_dims &&
			       memcmp(first->dims + 1, rows->d.dims + 1,
				       (size_t)(rows->d.n_dims - 1) * sizeof *first->dims) == 0;
	}
	return true;
}

/* Whether the values are stored as the descriptor says, and can be what it says. */
static bool is_as_described(const struct rows *rows, const struct door_dataset *dataset)
{
	const hid_t type = results_type(rows->d.type);
	const bool same = H5Tequal(type, dataset->type) > 0;

	H5Tclose(type);
	return same &&
	       (!rows->d.ends_of || rows->d.type == RESULTS_I32 || rows->d.type == RESULTS_I64);
}

static int read_values(struct rows *rows, struct results_reader *unit,
	const struct door_dataset *dataset, struct err *err)
{
	const hid_t type = results_type(rows->d.type);
	size_t bytes;

	err_clear(err);
	TRY(door_bytes(unit, rows->path, dataset, type, &bytes, err));
	rows->data = memory_alloc(bytes + 1);
	if (!rows->data)
		err_nomem(err, rows->path, bytes);
	else if (bytes > 0)
		door_read(unit, rows->path, dataset, type, rows->data, err);
fail:
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
};

static int take_rows(const struct join *j, struct rows *rows, const struct door_dataset *dataset,
	struct err *err)
{
	const struct results_dataset *d = &rows->d;

	err_clear(err);
	if (!read_descriptor(rows, dataset) || !is_as_described(rows, dataset))
		return malformed(j->unit, rows->path, err);
	if (!goes_on(j->results, rows))
		return err_set(err, ERR_INPUT,
			"%s: %s: expected rows like those of the units before", j->unit->path,
			rows->path);
	TRY(read_values(rows, j->unit, dataset, err)); /* for the checksum, where they stay there */
	if (j->results->map_units && !d->compress && !d->ends_of && !d->is_scale)
		return results_map_rows(j->results, rows, j->unit->path, err);
	if (j->ends)
		move_ends(j->results, rows);
	return results_append(j->results, d, rows->data, d->dims[0], err);
fail:
	return err->code;
}

static int join_dataset(void *context, const char *path, enum door_kind kind, struct err *err)
{
	struct join *j = context;
	struct rows rows = {0};
	struct door_dataset dataset;

	if (kind != DOOR_DATASET || strncmp(path, "/unit/", 6) == 0)
		return 0;
	snprintf(rows.path, sizeof rows.path, "%s", path);
	if (door_open(j->unit, rows.path, &dataset, err))
		goto fail;
	if (!read_text(dataset.id, "ends_of", rows.ends_of))
		malformed(j->unit, rows.path, err);
	else if ((rows.ends_of[0] != '\0') == j->ends)
		take_rows(j, &rows, &dataset, err);
fail:
	free(rows.data);
	door_close(&dataset);
	return err->code;
}

int results_join(struct results *r, struct results_reader *unit, struct err *err)
{
	struct join join = {r, unit, true};

	err_clear(err);
	if (!r->path)
		return 0;
	for (int pass = 0; pass < 2 && err->code == 0; pass++) {
		join.ends = pass == 0;
		door_walk(unit, join_dataset, &join, err);
	}
	return results_check_read(unit, err);
}
