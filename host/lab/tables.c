/* SPDX-License-Identifier: MIT
 *
 * tables.c - Contract: tables.h.
 */
#include "host/lab/tables.h"

#include "host/base/arena.h"

#include <stdlib.h>

int prompt_scale_write(struct results *r, const struct dataset *scale, const char *const *words,
	const struct prompt_ids *prompts, struct err *err)
{
	int32_t *ids = malloc(prompts->n * sizeof *ids + 1);
	int rc;

	if (!ids)
		return err_nomem(err, "prompt ids", prompts->n * sizeof *ids);
	for (size_t i = 0; i < prompts->n; i++)
		ids[i] = (int32_t)prompts->data[i];
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
