/* SPDX-License-Identifier: MIT
 *
 * table.c - Contract: table.h.
 */
#include "host/store/table.h"

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

static int write_scale(struct table t, const char *name, int32_t *values, size_t n,
	const char *long_name, struct err *err)
{
	char path[PATH];
	int rc;

	if (!values)
		return err_nomem(err, t.group, n * sizeof *values);
	rc = results_scale(t.results, path_of(t, name, path), values, n, long_name, err);
	free(values);
	return rc;
}

int table_prompts(struct table t, const struct prompt_ids *prompts, struct err *err)
{
	int32_t *ids = malloc(prompts->n * sizeof *ids + 1);

	for (size_t i = 0; ids && i < prompts->n; i++)
		ids[i] = (int32_t)prompts->data[i];
	return write_scale(t, "prompt", ids, prompts->n, "prompt id", err);
}

int table_scale(struct table t, const char *name, size_t n, const char *long_name, struct err *err)
{
	int32_t *numbers = malloc(n * sizeof *numbers + 1);

	for (size_t i = 0; numbers && i < n; i++)
		numbers[i] = (int32_t)i;
	return write_scale(t, name, numbers, n, long_name, err);
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

int table_features(struct table t, const char *dim, const struct feature_set *set, struct err *err)
{
	const size_t n = set->n;
	int32_t *ids = malloc(2 * n * sizeof *ids + 1);
	float *cosine = malloc(n * sizeof *cosine + 1);

	err_clear(err);
	if (!ids || !cosine) {
		err_nomem(err, t.group, 2 * n * sizeof *ids);
		goto fail;
	}
	for (size_t k = 0; k < n; k++) {
		ids[k] = set->data[k].layer;
		ids[n + k] = set->data[k].id;
		cosine[k] = set->data[k].cosine;
	}
	TRY(table_scale(t, dim, n, "feature of this table", err));
	TRY(table_write(t,
		&(struct table_column){"layer", RESULTS_I32, {dim}, {n},
			"layer of the feature (TransformerLens blocks.<layer>.hook_resid_post)",
			""},
		ids, err));
	TRY(table_write(t,
		&(struct table_column){"feature", RESULTS_I32, {dim}, {n},
			"index of the feature in its SAE", ""},
		ids + n, err));
	TRY(table_write(t,
		&(struct table_column){"cosine", RESULTS_F32, {dim}, {n},
			"cosine of the decoder row and the direction", "1"},
		cosine, err));
fail:
	free(ids);
	free(cosine);
	return err->code;
}
