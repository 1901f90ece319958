/* SPDX-License-Identifier: MIT
 *
 * tables.c - Contract: tables.h.
 */
#include "host/lab/tables.h"

#include "host/base/arena.h"

#include <stdio.h>
#include <stdlib.h>

/* *out: owned by the caller. */
static int prompt_numbers(const struct prompt_ids *prompts, int32_t **out, struct err *err)
{
	*out = malloc(prompts->n * sizeof **out + 1);
	if (!*out)
		return err_nomem(err, "prompt ids", prompts->n * sizeof **out);
	for (size_t i = 0; i < prompts->n; i++)
		(*out)[i] = (int32_t)prompts->data[i];
	return 0;
}

int prompt_scale_write(struct results *r, const struct dataset *scale, const char *const *words,
	const struct prompt_ids *prompts, struct err *err)
{
	int32_t *ids;
	int rc;

	if (prompt_numbers(prompts, &ids, err))
		return err->code;
	rc = dataset_write(r, scale, words, &prompts->n, ids, err);
	free(ids);
	return rc;
}

int feature_table_write(struct results *r, const struct feature_table *t, const char *const *words,
	const struct feature_set *set, struct err *err)
{
	struct arena memory = {0};
	int32_t *layer = arena_alloc(&memory, set->n, sizeof *layer);
	int32_t *feature = arena_alloc(&memory, set->n, sizeof *feature);
	float *cosine = arena_alloc(&memory, set->n, sizeof *cosine);

	err_clear(err);
	TRY(arena_check(&memory, "a table of features", err));
	for (size_t k = 0; k < set->n; k++) {
		layer[k] = set->data[k].layer;
		feature[k] = set->data[k].id;
		cosine[k] = set->data[k].cosine;
	}
	TRY(dataset_write_counting(r, &t->scale, words, set->n, err));
	TRY(dataset_write(r, &t->layer, words, &set->n, layer, err));
	TRY(dataset_write(r, &t->feature, words, &set->n, feature, err));
	TRY(dataset_write(r, &t->cosine, words, &set->n, cosine, err));
fail:
	arena_free(&memory);
	return err->code;
}

/* ---- the same for tables of table.h ------------------------------------------------------- */

int table_prompts(struct table t, const struct prompt_ids *prompts, struct err *err)
{
	char path[192];
	int32_t *ids;
	int rc;

	if (prompt_numbers(prompts, &ids, err))
		return err->code;
	snprintf(path, sizeof path, "%s/prompt", t.group);
	rc = results_scale(t.results, path, ids, prompts->n, "prompt id", err);
	free(ids);
	return rc;
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
