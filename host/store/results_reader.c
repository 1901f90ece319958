/* SPDX-License-Identifier: MIT
 *
 * results_reader.c - reading what an earlier run wrote. Contract: results.h.
 * Tests: tests/test_results.c.
 *
 * The file is not trusted: links that lead to other files are not followed, a value that does not
 * fit the type asked for is an error where HDF5 would clip it, and a dataset may not claim more
 * bytes than its storage can inflate to.
 */
#include "host/store/results_parts.h"

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/size.h"
#include "host/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int results_open(struct results_reader **out, const char *path, struct err *err)
{
	struct results_reader *r = calloc(1, sizeof *r);
	hid_t access;

	*out = NULL;
	if (file_exists(path) && file_check_regular(path, err)) {
		free(r);
		return err->code;
	}
	if (!r || !(r->path = strdup(path))) {
		free(r);
		return err_nomem(err, path, sizeof *r);
	}
	if (memory_check(path, 0, err)) {
		free(r->path);
		free(r);
		return err->code;
	}
	results_library_open();
	access = results_file_access();
	r->file = H5Fopen(path, H5F_ACC_RDONLY, access);
	H5Pclose(access);
	if (r->file < 0) {
		err_set(err, ERR_INPUT, "%s: expected a result file (HDF5) that can be read%s",
			path, file_exists(path) ? "" : ", found no file");
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

/* Whether every link of the path stays in its file. */
static bool is_local(const struct results_reader *r, const char *path)
{
	char part[512];
	H5L_info_t info;

	for (const char *end = path; end;) {
		end = strchr(end + 1, '/');
		snprintf(part, sizeof part, "%.*s", end ? (int)(end - path) : (int)sizeof part,
			path);
		if (H5Lget_info(r->file, part, &info, H5P_DEFAULT) < 0 ||
			info.type == H5L_TYPE_EXTERNAL)
			return false;
	}
	return true;
}

static bool has_class(hid_t dataset, H5T_class_t expected, H5T_class_t other)
{
	const hid_t type = H5Dget_type(dataset);
	const H5T_class_t class = H5Tget_class(type);

	H5Tclose(type);
	return class == expected || class == other;
}

static int open_dataset(struct results_reader *r, const char *path, hid_t *dataset, struct err *err)
{
	if (!results_has(r, path))
		return err_set(err, ERR_INPUT, "%s: expected a dataset %s, found none", r->path,
			path);
	if (!is_local(r, path))
		return err_set(err, ERR_INPUT,
			"%s: %s: expected a dataset of this file, found a link to another", r->path,
			path);
	*dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
	if (*dataset < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected a dataset", r->path, path);
	return 0;
}

/* Datasets in pieces of another file (virtual, external) have no storage here to compare with. */
int results_check_storage(const struct results_reader *r, const char *path, hid_t dataset,
	size_t bytes, struct err *err)
{
	const hid_t created = H5Dget_create_plist(dataset);
	const H5D_layout_t layout = H5Pget_layout(created);
	const int n_external = H5Pget_external_count(created);

	H5Pclose(created);
	if (n_external > 0)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected a dataset of this file, found one stored in another",
			r->path, path);
	/* Deflate makes at most 1032 bytes of one. */
	if ((layout == H5D_CHUNKED || layout == H5D_CONTIGUOUS) &&
		bytes / 1032 > H5Dget_storage_size(dataset))
		return err_set(err, ERR_INPUT,
			"%s: %s: said to hold %zu bytes, which its %llu bytes of "
			"storage cannot",
			r->path, path, bytes, (unsigned long long)H5Dget_storage_size(dataset));
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

static int read_into(const struct results_reader *r, const char *path, hid_t dataset,
	hid_t memory_type, void *data, struct err *err)
{
	const hid_t transfer = H5Pcreate(H5P_DATASET_XFER);
	herr_t status;

	H5Pset_type_conv_cb(transfer, refuse_misfits, NULL);
	status = H5Dread(dataset, memory_type, H5S_ALL, H5S_ALL, transfer, data);
	H5Pclose(transfer);
	if (status < 0)
		return err_set(err, ERR_INPUT,
			"%s: %s: expected values that can be read and fit %zu bytes each", r->path,
			path, H5Tget_size(memory_type));
	return 0;
}

static int read_values(struct results_reader *r, const char *path, int n_dims, size_t *dims,
	hid_t memory_type, size_t element, void **data, struct err *err)
{
	static const char *const kinds[] =
		{[H5T_INTEGER] = "integers", [H5T_FLOAT] = "numbers", [H5T_STRING] = "texts"};
	const H5T_class_t class = H5Tget_class(memory_type);
	hsize_t found[H5S_MAX_RANK] = {0};
	size_t bytes = element;
	hid_t dataset = H5I_INVALID_HID, space;
	int rank;

	*data = NULL;
	if (open_dataset(r, path, &dataset, err))
		return err->code;
	space = H5Dget_space(dataset);
	rank = H5Sget_simple_extent_dims(space, found, NULL);
	H5Sclose(space);
	if (!has_class(dataset, class, class == H5T_FLOAT ? H5T_INTEGER : class)) {
		err_set(err, ERR_INPUT, "%s: %s: expected %s, found another type", r->path, path,
			kinds[class]);
		goto fail;
	}
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
	TRY(results_check_storage(r, path, dataset, bytes, err));
	*data = memory_alloc(bytes + 1);
	if (!*data) {
		err_nomem(err, path, bytes);
		goto fail;
	}
	if (bytes > 0)
		TRY(read_into(r, path, dataset, memory_type, *data, err));
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

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; texts && i < n; i++)
		free(texts[i]);
	free(texts);
}

/* HDF5's own are given back to it. NULL on error. */
static char **copy_texts(const struct results_reader *r, const char *path, const char *const *texts,
	size_t n, struct err *err)
{
	char **copies = calloc(n + 1, sizeof *copies);
	size_t bad;

	for (size_t i = 0; copies && i < n; i++) {
		const char *text = texts[i] ? texts[i] : "";

		if (!utf8_valid(text, strlen(text), &bad)) {
			err_set(err, ERR_INPUT,
				"%s: %s: text %zu: expected UTF-8, found byte 0x%02x at "
				"offset %zu",
				r->path, path, i, (unsigned char)text[bad], bad);
			free_texts(copies, n);
			return NULL;
		}
		copies[i] = strdup(text);
		if (!copies[i]) {
			free_texts(copies, n);
			copies = NULL;
		}
	}
	if (!copies)
		err_nomem(err, path, n * sizeof *copies);
	return copies;
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
		*n = 0;
		return err->code;
	}
	*data = copy_texts(r, path, (const char *const *)texts, *n, err);
	dataset = H5Dopen2(r->file, path, H5P_DEFAULT);
	space = H5Dget_space(dataset);
	if (*n > 0)
		H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
	H5Sclose(space);
	H5Dclose(dataset);
	H5Tclose(type);
	free(texts);
	*n = *data ? *n : 0;
	return *data ? 0 : err->code;
}

int results_read_all(struct results_reader *r, const char *path, enum results_type type,
	void **data, size_t *n, struct err *err)
{
	const hid_t memory = results_type(type);
	const int rc = read_values(r, path, 1, n, memory, results_value_bytes(type), data, err);

	H5Tclose(memory);
	return rc;
}

int results_read_exactly(struct results_reader *r, const char *path, enum results_type type,
	void *out, size_t n, struct err *err)
{
	void *data;
	size_t found;

	if (results_read_all(r, path, type, &data, &found, err))
		return err->code;
	if (found == n)
		memcpy(out, data, n * results_value_bytes(type));
	else
		err_set(err, ERR_INPUT, "%s: %s: expected %zu values, found %zu", r->path, path, n,
			found);
	free(data);
	return found == n ? 0 : err->code;
}

int results_read_attribute_integer(struct results_reader *r, const char *object, const char *name,
	int64_t *value, struct err *err)
{
	const hid_t a = H5Aopen_by_name(r->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
	const hid_t space = a < 0 ? -1 : H5Aget_space(a), type = a < 0 ? -1 : H5Aget_type(a);
	const bool one = a >= 0 && H5Sget_simple_extent_npoints(space) == 1 &&
			 H5Tget_class(type) == H5T_INTEGER;
	const herr_t status = one ? H5Aread(a, H5T_NATIVE_INT64, value) : -1;

	if (a >= 0) {
		H5Tclose(type);
		H5Sclose(space);
		H5Aclose(a);
	}
	if (status < 0)
		return err_set(err, ERR_INPUT, "%s: %s: expected an integer attribute \"%s\"",
			r->path, object, name);
	return 0;
}

int results_read_attribute_text(struct results_reader *r, const char *object, const char *name,
	char **value, struct err *err)
{
	const hid_t a = H5Aopen_by_name(r->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
	const hid_t type = results_type(RESULTS_TEXT);
	char *text = NULL;

	*value = a >= 0 && H5Aread(a, type, &text) >= 0 && text ? strdup(text) : NULL;
	H5free_memory(text);
	H5Tclose(type);
	if (a >= 0)
		H5Aclose(a);
	return *value ? 0
		      : err_set(err, ERR_INPUT, "%s: %s: expected a text attribute \"%s\"", r->path,
				object, name);
}
