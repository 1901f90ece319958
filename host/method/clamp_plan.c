/* SPDX-License-Identifier: MIT
 *
 * clamp_plan.c - from sets of features to what op_clamp_features reads. Contract: features.h.
 * Tests: tests/test_method.c.
 *
 * Per layer, the union of all sets is selected once; a set is then a list of slots in it. For a
 * batch of prompts with sets of their own, the lists of just these prompts are uploaded.
 */
#include "host/method/features.h"

#include "host/base/vec.h"

struct layer_plan {
	struct {
		int32_t *data; /* ids of the union, ascending */
		size_t n, cap;
	} ids;
	struct sae_few few;
	int32_t *start, *slot;       /* device [n_lists + 1], [n_entries] */
	float *scale, *offset;       /* device [n_entries] */
	void *memory;                /* owned, device: the four above */
	size_t lists, entries;       /* room in them */
};

struct clamp_plan {
	struct device *dev;
	const struct feature_set *sets;
	size_t n_sets, n_layer;
	struct clamp_value value;
	struct layer_plan *layers; /* [n_layer] */
	struct clamp *clamps;      /* [n_layer] */
};

static int by_id(const void *a, const void *b)
{
	const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

static int collect_union(struct clamp_plan *plan, struct err *err)
{
	for (size_t s = 0; s < plan->n_sets; s++) {
		for (size_t i = 0; i < plan->sets[s].n; i++) {
			const struct feature f = plan->sets[s].data[i];

			if (f.layer < 0 || (size_t)f.layer >= plan->n_layer)
				return err_set(err, ERR_INPUT,
					"feature %d of layer %d: expected a layer below %zu", f.id,
					f.layer, plan->n_layer);
			TRY(vec_push(&plan->layers[f.layer].ids, f.id, err));
		}
	}
	for (size_t l = 0; l < plan->n_layer; l++) {
		struct layer_plan *layer = &plan->layers[l];
		size_t n = 0;

		if (layer->ids.n > 0)
			qsort(layer->ids.data, layer->ids.n, sizeof(int32_t), by_id);
		for (size_t i = 0; i < layer->ids.n; i++)
			if (n == 0 || layer->ids.data[n - 1] != layer->ids.data[i])
				layer->ids.data[n++] = layer->ids.data[i];
		layer->ids.n = n;
	}
	return 0;
fail:
	return err->code;
}

int clamp_plan_create(struct clamp_plan **out, struct device *dev, struct sae_set *saes,
	const struct feature_set *sets, size_t n_sets, struct clamp_value value, struct err *err)
{
	struct clamp_plan *plan = calloc(1, sizeof *plan);

	*out = NULL;
	if (!plan)
		return err_nomem(err, "a clamp", sizeof *plan);
	*plan = (struct clamp_plan){.dev = dev, .sets = sets, .n_sets = n_sets,
		.n_layer = sae_set_layers(saes), .value = value};
	plan->layers = calloc(plan->n_layer, sizeof *plan->layers);
	plan->clamps = calloc(plan->n_layer, sizeof *plan->clamps);
	if (!plan->layers || !plan->clamps) {
		err_nomem(err, "a clamp", plan->n_layer * sizeof *plan->layers);
		goto fail;
	}
	TRY(collect_union(plan, err));
	for (size_t l = 0; l < plan->n_layer; l++)
		if (plan->layers[l].ids.n > 0)
			TRY(sae_set_select(saes, l, plan->layers[l].ids.data, plan->layers[l].ids.n,
				&plan->layers[l].few, err));
	*out = plan;
	return 0;
fail:
	clamp_plan_free(plan);
	return err->code;
}

void clamp_plan_free(struct clamp_plan *plan)
{
	if (!plan)
		return;
	for (size_t l = 0; plan->layers && l < plan->n_layer; l++) {
		free(plan->layers[l].ids.data);
		sae_few_free(&plan->layers[l].few);
		device_free(plan->dev, plan->layers[l].memory);
	}
	free(plan->layers);
	free(plan->clamps);
	free(plan);
}

/* Entries of one layer in the set of list i of a batch. */
static const struct feature_set *set_of(const struct clamp_plan *plan, const size_t *prompts,
	size_t i)
{
	return &plan->sets[plan->n_sets == 1 ? 0 : prompts[i]];
}

struct slot_lists {
	int32_t *data; /* n + 1 starts, then the slots of all lists */
	size_t n, cap;
};

/* The lists of one layer for the first n prompts of a batch. */
static int gather_lists(const struct clamp_plan *plan, size_t l, const size_t *prompts, size_t n,
	struct slot_lists *out, struct err *err)
{
	const struct layer_plan *layer = &plan->layers[l];

	out->n = 0;
	for (size_t i = 0; i <= n; i++)
		TRY(vec_push(out, 0, err));
	for (size_t i = 0; i < n; i++) {
		const struct feature_set *set = set_of(plan, prompts, i);

		for (size_t k = 0; k < set->n; k++) {
			const int32_t *slot;

			if ((size_t)set->data[k].layer != l)
				continue;
			slot = bsearch(&set->data[k].id, layer->ids.data, layer->ids.n,
				sizeof(int32_t), by_id);
			TRY(vec_push(out, (int32_t)(slot - layer->ids.data), err));
		}
		out->data[i + 1] = (int32_t)(out->n - n - 1);
	}
	return 0;
fail:
	return err->code;
}

static int reserve_lists(struct clamp_plan *plan, struct layer_plan *layer, size_t n_lists,
	size_t n_entries, struct err *err)
{
	int32_t *at;

	if (n_lists <= layer->lists && n_entries <= layer->entries && layer->memory)
		return 0;
	device_free(plan->dev, layer->memory);
	layer->memory = NULL;
	layer->lists = n_lists;
	layer->entries = n_entries;
	if (device_alloc(plan->dev, (n_lists + 1 + 3 * n_entries) * sizeof(int32_t),
		    &layer->memory, err))
		return err->code;
	at = layer->memory;
	layer->start = at;
	layer->slot = at + n_lists + 1;
	layer->scale = (float *)(layer->slot + n_entries);
	layer->offset = layer->scale + n_entries;
	return 0;
}

static int upload_lists(struct clamp_plan *plan, size_t l, const struct slot_lists *lists,
	size_t n_lists, struct err *err)
{
	struct layer_plan *layer = &plan->layers[l];
	const size_t n = lists->n - n_lists - 1;
	float *values = malloc(2 * n * sizeof *values + 1);

	if (!values)
		return err_nomem(err, "a clamp", 2 * n * sizeof *values);
	for (size_t i = 0; i < n; i++) {
		values[i] = plan->value.scale;
		values[n + i] = plan->value.offset;
	}
	TRY(reserve_lists(plan, layer, n_lists, n, err));
	TRY(device_upload(plan->dev, layer->start, lists->data, (n_lists + 1) * sizeof(int32_t),
		err));
	TRY(device_upload(plan->dev, layer->slot, lists->data + n_lists + 1, n * sizeof(int32_t),
		err));
	TRY(device_upload(plan->dev, layer->scale, values, n * sizeof *values, err));
	TRY(device_upload(plan->dev, layer->offset, values + n, n * sizeof *values, err));
	plan->clamps[l] = (struct clamp){.few = &layer->few,
		.lists = {n_lists, layer->start, layer->slot, layer->scale, layer->offset},
		.n_entries = n};
	free(values);
	return 0;
fail:
	free(values);
	return err->code;
}

int clamp_plan_batch(struct clamp_plan *plan, const size_t *prompts, size_t n,
	const struct clamp **clamps, struct err *err)
{
	const size_t n_lists = plan->n_sets == 1 ? 1 : n;
	struct slot_lists lists = {0};

	for (size_t l = 0; l < plan->n_layer; l++) {
		if (plan->layers[l].ids.n == 0)
			continue;
		TRY(gather_lists(plan, l, prompts, n_lists, &lists, err));
		TRY(upload_lists(plan, l, &lists, n_lists, err));
	}
	free(lists.data);
	*clamps = plan->clamps;
	return 0;
fail:
	free(lists.data);
	return err->code;
}
