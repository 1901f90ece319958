/* SPDX-License-Identifier: MIT
 *
 * results_checksum.c - the attributes sha256 of a result file: of each dataset's values, and the
 * root's, of all that is no value. Contract: results.h, results_parts.h. Tests:
 * tests/test_results.c; in another language: tests/test_result_file.py.
 *
 * The root's is of a text of the file's structure, object after object by path, each field ended by
 * a zero byte:
 *
 *   PATH                         "." is the root
 *   TYPE SIZE [N, ...]           of a dataset: HDF5's class, bytes of a value, shape
 *   NAME, VALUE                  attributes by name; numbers as they are stored
 */
#include "host/store/results_door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "sha256";

/* ---- values ---------------------------------------------------------------------------- */

static void add_text(struct sha256 *to, const char *text)
{
	sha256_add(to, text ? text : "", (text ? strlen(text) : 0) + 1);
}

void results_add_values(struct sha256 *to, enum results_type type, const void *values, size_t n)
{
	if (type != RESULTS_TEXT)
		sha256_add(to, values, n * results_value_bytes(type));
	else
		for (size_t i = 0; i < n; i++)
			add_text(to, ((const char *const *)values)[i]);
}

int results_sign_dataset(struct results *r, hid_t dataset, const char *path, struct sha256 *values,
	struct err *err)
{
	char hex[SHA256_HEX];

	sha256_hex(values, hex);
	return results_put_text(r, dataset, NAME, hex, path, err);
}

bool results_read_checksum(hid_t object, char hex[SHA256_HEX])
{
	char *text;
	const bool read = door_text(object, NAME, &text) && strlen(text) == SHA256_HEX - 1;

	if (read)
		memcpy(hex, text, SHA256_HEX);
	free(text);
	return read;
}

/* ---- structure ------------------------------------------------------------------------- */

bool results_is_of_scales(const char *attribute)
{
	static const char *const names[] = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(attribute, names[i]) == 0)
			return true;
	return false;
}

static bool add_attribute_value(struct sha256 *to, hid_t attribute)
{
	const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
	const size_t n = (size_t)H5Sget_simple_extent_npoints(space), size = H5Tget_size(type);
	const bool texts = H5Tis_variable_str(type) > 0;
	void *data = calloc(n + 1, size);
	const bool read = data && H5Aread(attribute, type, data) >= 0;

	for (size_t i = 0; read && texts && i < n; i++)
		add_text(to, ((char **)data)[i]);
	if (read && !texts)
		sha256_add(to, data, n * size);
	if (read && texts)
		H5Dvlen_reclaim(type, space, H5P_DEFAULT, data);
	free(data);
	H5Sclose(space);
	H5Tclose(type);
	return read;
}

static herr_t add_attribute(hid_t object, const char *name, const H5A_info_t *info, void *to)
{
	const hid_t a = H5Aopen(object, name, H5P_DEFAULT);
	bool added = a >= 0;

	(void)info;
	if (added && !results_is_of_scales(name)) {
		add_text(to, name);
		added = add_attribute_value(to, a);
	}
	if (a >= 0)
		H5Aclose(a);
	return added ? 0 : -1;
}

/* The root's own is of what stands before it. */
static herr_t add_root_attribute(hid_t object, const char *name, const H5A_info_t *info, void *to)
{
	return strcmp(name, NAME) == 0 ? 0 : add_attribute(object, name, info, to);
}

static void add_shape(struct sha256 *to, hid_t dataset)
{
	const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
	hsize_t dims[H5S_MAX_RANK] = {0};
	const int rank = H5Sget_simple_extent_dims(space, dims, NULL);
	char text[32 * H5S_MAX_RANK + 64];
	int n = snprintf(text, sizeof text, "%d %zu [", (int)H5Tget_class(type), H5Tget_size(type));

	for (int i = 0; i < rank; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "%s%llu", i ? ", " : "",
			(unsigned long long)dims[i]);
	snprintf(text + n, sizeof text - (size_t)n, "]");
	add_text(to, text);
	H5Sclose(space);
	H5Tclose(type);
}

static herr_t add_object(hid_t file, const char *path, const H5O_info_t *info, void *to)
{
	const bool root = strcmp(path, ".") == 0;
	const hid_t object = H5Oopen(file, path, H5P_DEFAULT);
	herr_t status;

	if (object < 0)
		return -1;
	add_text(to, path);
	if (info->type == H5O_TYPE_DATASET)
		add_shape(to, object);
	status = H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL,
		root ? add_root_attribute : add_attribute, to);
	H5Oclose(object);
	return status < 0 ? -1 : 0;
}

bool results_hash_structure(hid_t file, char hex[SHA256_HEX])
{
	struct sha256 *all = sha256_begin();
	const bool read = all && H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, add_object, all,
					 H5O_INFO_BASIC) >= 0;

	if (read)
		sha256_hex(all, hex);
	sha256_end(all);
	return read;
}

int results_sign_file(struct results *r, struct err *err)
{
	const hid_t root = H5Gopen2(r->file, "/", H5P_DEFAULT);
	char hex[SHA256_HEX];

	err_clear(err);
	if (root < 0 || !results_hash_structure(r->file, hex))
		results_hdf5_error(r, "the checksum of the file", err);
	else
		results_put_text(r, root, NAME, hex, "/", err);
	if (root >= 0)
		H5Gclose(root);
	return err->code;
}
