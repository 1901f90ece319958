/* SPDX-License-Identifier: MIT
 *
 * result_differences.c - Contract: result_differences.h.
 */
#include "tests/result_differences.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct comparison {
	hid_t a, b;
	void (*differs)(const char *what);
	int n_compared;
};

__attribute__((format(printf, 2, 3))) static void report(const struct comparison *c,
	const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	c->differs(text);
}

/* All values of a dataset as they are stored: *n elements of *size bytes, or texts. */
struct values {
	hid_t type, space;
	char *data;
	size_t n, size;
	bool is_text;
};

static bool read_values(hid_t group, const char *name, struct values *v)
{
	const hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT);
	bool ok = dataset >= 0;

	memset(v, 0, sizeof *v);
	if (!ok)
		return false;
	v->type = H5Dget_type(dataset);
	v->space = H5Dget_space(dataset);
	v->n = (size_t)H5Sget_simple_extent_npoints(v->space);
	v->size = H5Tget_size(v->type);
	v->is_text = H5Tis_variable_str(v->type) > 0;
	v->data = calloc(v->n + 1, v->size);
	ok = v->n == 0 || H5Dread(dataset, v->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v->data) >= 0;
	H5Dclose(dataset);
	return ok;
}

static void free_values(struct values *v)
{
	if (!v->data)
		return;
	if (v->is_text && v->n > 0)
		H5Dvlen_reclaim(v->type, v->space, H5P_DEFAULT, v->data);
	H5Tclose(v->type);
	H5Sclose(v->space);
	free(v->data);
}

/* Whatever it may still grow to. */
static bool same_shape(hid_t a, hid_t b)
{
	hsize_t dims[2][H5S_MAX_RANK] = {{0}};

	return H5Sget_simple_extent_dims(a, dims[0], NULL) ==
		       H5Sget_simple_extent_dims(b, dims[1], NULL) &&
	       memcmp(dims[0], dims[1], sizeof dims[0]) == 0;
}

/* First element that differs, or n. */
static size_t first_difference(const struct values *a, const struct values *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const char *x = a->data + i * a->size, *y = b->data + i * b->size;
		char *text_x, *text_y;

		if (!a->is_text) {
			if (memcmp(x, y, a->size) != 0)
				return i;
			continue;
		}
		memcpy(&text_x, x, sizeof text_x);
		memcpy(&text_y, y, sizeof text_y);
		if (strcmp(text_x, text_y) != 0)
			return i;
	}
	return a->n;
}

/* The checksum that a dataset carries, "" where it has none: of an earlier engine. */
static void read_checksum(hid_t group, const char *name, char out[65])
{
	const hid_t type = H5Tcopy(H5T_C_S1);
	char *text = NULL;
	hid_t a;

	H5Tset_size(type, H5T_VARIABLE);
	H5Tset_cset(type, H5T_CSET_UTF8);
	a = H5Aopen_by_name(group, name, "sha256", H5P_DEFAULT, H5P_DEFAULT);
	out[0] = '\0';
	if (a >= 0 && H5Aread(a, type, &text) >= 0 && text)
		snprintf(out, 65, "%s", text);
	H5free_memory(text);
	H5Tclose(type);
	if (a >= 0)
		H5Aclose(a);
}

static void compare_checksums(const char *name, const struct comparison *c)
{
	char a[65], b[65];

	read_checksum(c->a, name, a);
	read_checksum(c->b, name, b);
	if (*a && *b && strcmp(a, b) != 0)
		report(c, "%s has the same values and other checksums: %s and %s", name, a, b);
}

static void compare(const char *name, const struct comparison *c)
{
	struct values a, b;
	bool read_a = read_values(c->a, name, &a), read_b = read_values(c->b, name, &b);

	if (!read_a || !read_b)
		report(c, "%s is in one file only", name);
	else if (H5Tequal(a.type, b.type) <= 0 || !same_shape(a.space, b.space))
		report(c, "%s differs in type or shape", name);
	else if (first_difference(&a, &b) < a.n)
		report(c, "%s differs at element %zu of %zu", name, first_difference(&a, &b), a.n);
	else
		compare_checksums(name, c);
	free_values(&a);
	free_values(&b);
}

static bool is_compared(const char *name, const H5O_info_t *info)
{
	return info->type == H5O_TYPE_DATASET && strncmp(name, "provenance/", 11) != 0;
}

static herr_t visit_dataset(hid_t group, const char *name, const H5O_info_t *info, void *data)
{
	struct comparison *c = data;

	(void)group;
	if (!is_compared(name, info))
		return 0;
	compare(name, c);
	c->n_compared++;
	return 0;
}

static herr_t visit_missing(hid_t group, const char *name, const H5O_info_t *info, void *data)
{
	const struct comparison *c = data;

	(void)group;
	/* Where a group on the way is missing as well, the answer is an error. */
	if (is_compared(name, info) && H5Lexists(c->a, name, H5P_DEFAULT) <= 0)
		report(c, "%s is in the second file only", name);
	return 0;
}

int result_differences(hid_t a, hid_t b, void (*differs)(const char *what))
{
	struct comparison c = {.a = a, .b = b, .differs = differs};

	H5Ovisit2(a, H5_INDEX_NAME, H5_ITER_INC, visit_dataset, &c, H5O_INFO_BASIC);
	H5Ovisit2(b, H5_INDEX_NAME, H5_ITER_INC, visit_missing, &c, H5O_INFO_BASIC);
	return c.n_compared;
}
