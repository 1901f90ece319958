/* SPDX-License-Identifier: MIT
 *
 * result_pairs.c - Contract: result_pairs.h. Tests: test_compare_results.c.
 */
#include "tests/result_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int result_files_open(struct result_files *f, struct err *err)
{
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		f->file[i] = H5Fopen(f->path[i], H5F_ACC_RDONLY, H5P_DEFAULT);
		if (f->file[i] < 0)
			return err_set(err, ERR_INPUT,
				"%s: expected a result file (HDF5) that can be read", f->path[i]);
	}
	return 0;
}

void result_files_close(struct result_files *f)
{
	for (int i = 0; i < 2; i++)
		if (f->file[i] >= 0)
			H5Fclose(f->file[i]);
}

static int read_values(const struct result_files *f, int which, const char *path, struct values *v,
	struct err *err)
{
	const hid_t dataset = H5Dopen2(f->file[which], path, H5P_DEFAULT);
	const hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
	herr_t status = -1;

	if (dataset < 0)
		return err_set(err, ERR_INPUT, "%s: expected a dataset %s, found none",
			f->path[which], path);
	v->n = (size_t)H5Sget_simple_extent_npoints(space);
	v->n_dims = H5Sget_simple_extent_dims(space, v->dims, NULL);
	v->data = malloc((v->n + 1) * sizeof *v->data);
	if (v->data)
		status = v->n == 0 ? 0
				   : H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL,
					     H5P_DEFAULT, v->data);
	H5Sclose(space);
	H5Dclose(dataset);
	return status >= 0
		       ? 0
		       : err_set(err, ERR_INPUT, "%s: %s: expected %zu numbers that can be read",
				 f->path[which], path, v->n);
}

void pair_free(struct pair *p)
{
	free(p->a.data);
	free(p->b.data);
}

int pair_read(const struct result_files *f, const char *path, struct pair *p, struct err *err)
{
	*p = (struct pair){0};
	if (read_values(f, 0, path, &p->a, err) == 0 && read_values(f, 1, path, &p->b, err) == 0)
		return 0;
	pair_free(p);
	*p = (struct pair){0};
	return err->code;
}

int pair_read_alike(const struct result_files *f, const char *path, int n_dims, struct pair *p,
	struct err *err)
{
	if (pair_read(f, path, p, err))
		return err->code;
	if (p->a.n_dims == n_dims && p->b.n_dims == n_dims &&
		memcmp(p->a.dims, p->b.dims, (size_t)n_dims * sizeof *p->a.dims) == 0)
		return 0;
	err_set(err, ERR_INPUT,
		"%s: expected %d dimensions of the same lengths in %s and %s, found %zu "
		"and %zu values",
		path, n_dims, f->path[0], f->path[1], p->a.n, p->b.n);
	pair_free(p);
	*p = (struct pair){0};
	return err->code;
}

/* Every group on the way must exist before the next is asked for. */
bool pair_exists(const struct result_files *f, const char *path)
{
	char part[512];

	for (const char *end = path; end;) {
		end = strchr(end + 1, '/');
		snprintf(part, sizeof part, "%.*s", end ? (int)(end - path) : (int)strlen(path),
			path);
		if (H5Lexists(f->file[0], part, H5P_DEFAULT) <= 0)
			return false;
	}
	return true;
}

bool pair_member(const struct result_files *f, const char *group, hsize_t i, char path[512])
{
	char name[256];

	if (!pair_exists(f, group) || H5Lget_name_by_idx(f->file[0], group, H5_INDEX_NAME,
					      H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
		return false;
	snprintf(path, 512, "%s/%s", group, name);
	return true;
}
