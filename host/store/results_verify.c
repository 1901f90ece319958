/* SPDX-License-Identifier: MIT
 *
 * results_verify.c - a result file held against its checksums. Contract: results.h. Tests:
 * tests/test_results.c.
 *
 * Every dataset is read once, some rows at a time. What cannot be read differs.
 */
#include "host/store/results_parts.h"

#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verifying {
	struct results_reader *r;
	size_t n_checked, n_without, n_differ;
	unsigned long long bytes;
	struct err *err; /* names what differs */
};

__attribute__((format(printf, 3, 4))) static void differs(struct verifying *v, const char *path,
	const char *format, ...)
{
	const size_t n = v->n_differ++ > 0 ? strlen(v->err->text) : 0;
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	if (n == 0)
		err_set(v->err, ERR_INPUT, "%s: %s: %s", v->r->path, path, what);
	else if (n + 1 < sizeof v->err->text)
		snprintf(v->err->text + n, sizeof v->err->text - n, "\n%s: %s: %s", v->r->path,
			path, what);
}

/* ---- values ---------------------------------------------------------------------------- */

/* A dataset that is read by rows. */
struct walk {
	hid_t dataset, type, space;
	int rank;
	hsize_t dims[H5S_MAX_RANK];
	size_t row, size; /* values of a row, bytes of a value */
	bool texts;
};

/* False where its size overflows. */
static bool measure(struct walk *w, size_t *bytes)
{
	w->texts = H5Tis_variable_str(w->type) > 0;
	w->size = H5Tget_size(w->type);
	w->row = 1;
	for (int i = 1; i < w->rank; i++)
		if (size_mul_overflow(w->row, (size_t)w->dims[i], &w->row))
			return false;
	return !size_mul_overflow(w->row, w->size, bytes) &&
	       !size_mul_overflow(*bytes, (size_t)w->dims[0], bytes);
}

/* n rows from `first` on. */
static bool add_rows(const struct walk *w, hsize_t first, hsize_t n, void *buffer,
	struct sha256 *to)
{
	hsize_t start[H5S_MAX_RANK] = {first}, count[H5S_MAX_RANK];
	hid_t memory;
	bool read;

	memcpy(count, w->dims, sizeof count);
	count[0] = n;
	memory = H5Screate_simple(w->rank, count, NULL);
	H5Sselect_hyperslab(w->space, H5S_SELECT_SET, start, NULL, count, NULL);
	read = H5Dread(w->dataset, w->type, memory, w->space, H5P_DEFAULT, buffer) >= 0;
	if (read && w->texts) {
		results_add_values(to, RESULTS_TEXT, buffer, (size_t)n * w->row);
		H5Dvlen_reclaim(w->type, memory, H5P_DEFAULT, buffer);
	} else if (read) {
		sha256_add(to, buffer, (size_t)n * w->row * w->size);
	}
	H5Sclose(memory);
	return read;
}

/* In pieces of some megabytes. */
static bool add_all(const struct walk *w, struct sha256 *to)
{
	const size_t row_bytes = size_max(w->row * w->size, 1);
	const hsize_t rows = size_max(((size_t)4 << 20) / row_bytes, 1);
	void *buffer = calloc(rows, row_bytes);
	bool read = buffer != NULL;

	for (hsize_t i = 0; read && w->row > 0 && i < w->dims[0]; i += rows)
		read = add_rows(w, i, w->dims[0] - i < rows ? w->dims[0] - i : rows, buffer, to);
	free(buffer);
	return read;
}

static void hold(struct verifying *v, const char *path, struct walk *w, const char *expected)
{
	struct sha256 *values = sha256_begin();
	char found[SHA256_HEX];
	struct err why;
	size_t bytes;

	if (w->rank < 1 || !measure(w, &bytes))
		differs(v, path, "expected rows of values, found another shape");
	else if (results_check_storage(v->r, path, w->dataset, bytes, &why))
		differs(v, path, "cannot be read: its storage is too small or elsewhere");
	else if (!values || !add_all(w, values))
		differs(v, path, "cannot be read");
	else {
		sha256_hex(values, found);
		if (strcmp(found, expected) != 0)
			differs(v, path, "expected values of SHA-256 %.12s..., found %.12s...",
				expected, found);
		v->bytes += bytes;
	}
	sha256_end(values);
}

static herr_t verify_dataset(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
	struct verifying *v = context;
	char path[RESULTS_PATH_BYTES], expected[SHA256_HEX];
	struct walk w = {0};

	if (info->type != H5O_TYPE_DATASET)
		return 0;
	snprintf(path, sizeof path, "/%s", name);
	w.dataset = H5Dopen2(file, name, H5P_DEFAULT);
	if (w.dataset < 0) {
		differs(v, path, "cannot be opened");
		return 0;
	}
	if (results_read_checksum(w.dataset, expected)) {
		w.type = H5Dget_type(w.dataset);
		w.space = H5Dget_space(w.dataset);
		w.rank = H5Sget_simple_extent_dims(w.space, w.dims, NULL);
		hold(v, path, &w, expected);
		v->n_checked++;
		H5Sclose(w.space);
		H5Tclose(w.type);
	} else {
		v->n_without++;
	}
	H5Dclose(w.dataset);
	return 0;
}

/* ---- the file -------------------------------------------------------------------------- */

static void verify_structure(struct verifying *v)
{
	const hid_t root = H5Gopen2(v->r->file, "/", H5P_DEFAULT);
	char expected[SHA256_HEX], found[SHA256_HEX];

	if (root < 0 || !results_read_checksum(root, expected))
		differs(v, "/", "expected a checksum of the file, found none%s",
			v->n_without > 0 ? ", nor of all of its datasets" : "");
	else if (!results_hash_structure(v->r->file, found))
		differs(v, "/", "its groups and attributes cannot be read");
	else if (strcmp(found, expected) != 0)
		differs(v, "/",
			"its names, shapes or attributes are not those that were written (SHA-256 "
			"%.12s..., expected %.12s...)",
			found, expected);
	if (root >= 0)
		H5Gclose(root);
}

int results_verify(const char *path, FILE *to, struct err *err)
{
	struct verifying v = {.err = err};

	err_clear(err);
	if (seal_is_there(path)) {
		if (seal_check(path, NULL, err) == 0)
			fprintf(to, "%s: a unit, all bytes as they were sealed\n", path);
		return err->code;
	}
	if (results_open(&v.r, path, err))
		return err->code;
	if (H5Ovisit2(v.r->file, H5_INDEX_NAME, H5_ITER_INC, verify_dataset, &v, H5O_INFO_BASIC) <
		0)
		differs(&v, "/", "its groups cannot be read");
	if (v.n_checked == 0 && v.n_without > 0 && v.n_differ == 0)
		err_set(err, ERR_INPUT,
			"%s: expected checksums (attributes sha256), found none: it is of an earlier "
			"engine, or has not been written to its end",
			path);
	else
		verify_structure(&v);
	fprintf(to, "%s: %zu datasets held against their checksums, %.1f MB of values: %s\n", path,
		v.n_checked, (double)v.bytes * 1e-6,
		err->code == 0 ? "all as they were written" : "NOT as they were written");
	results_reader_close(v.r);
	return err->code;
}
