/* SPDX-License-Identifier: MIT
 *
 * table.c - Contract: table.h.
 */
#include "host/store/table.h"

#include "host/store/dataset.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATH = 192 };

/* A name of the group's own, or a path from the root as it is. */
static const char *path_of(struct table t, const char *name, char *path)
{
	if (name[0] == '/')
		return name;
	snprintf(path, PATH, "%s/%s", t.group, name);
	return path;
}

int table_scale(struct table t, const char *name, size_t n, const char *long_name, struct err *err)
{
	char path[PATH];
	int32_t *numbers;
	int rc;

	if (dataset_counting(&numbers, n, err))
		return err->code;
	rc = results_scale(t.results, path_of(t, name, path), numbers, n, long_name, err);
	free(numbers);
	return rc;
}

int table_text_scale(struct table t, const char *name, const char *const *values, size_t n,
	const char *long_name, struct err *err)
{
	char path[PATH];

	return results_text_scale(t.results, path_of(t, name, path), values, n, long_name, err);
}

int table_write(struct table t, const struct table_column *c, const void *data, struct err *err)
{
	char path[PATH], scale[RESULTS_DIMS][PATH];
	struct results_dataset d = {.path = path_of(t, c->name, path),
		.type = c->type,
		.long_name = c->long_name,
		.units = c->units};

	for (; c->dims[d.n_dims]; d.n_dims++) {
		d.dims[d.n_dims] = c->n[d.n_dims];
		d.scales[d.n_dims] = path_of(t, c->dims[d.n_dims], scale[d.n_dims]);
	}
	return results_write(t.results, &d, data, err);
}
