/* SPDX-License-Identifier: MIT
 *
 * clamp_plan.c - from sets of features to what op_clamp_features reads. Contract: features.h.
 * Tests: tests/test_method.c.
 *
 * Per layer, the union of all sets is selected once; a set is then a list of slots in it. For a
 * batch of prompts with sets of their own, the lists of just these prompts are uploaded, to where
 * those of the batch before were: there is room for as many prompts with the largest set each.
 */
#include "host/method/clamp_layers.h"

#include "host/base/size.h"
#include "host/base/vec.h"

struct clamp_plan {
	const struct feature_set *sets;
	size_t n_sets;
	struct clamp_value value;
	struct clamp_layers layers; /* ids ascending, each once */
	size_t *largest;            /* [layers.n]: the most features that a set has there; owned */
};

static int by_id(const void *a, const void *b)
{
	const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

/* How many features of a layer are in a set. */
static size_t count_features(const struct feature_set *set, size_t l)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		n += (size_t)set->data[i].layer == l;
	return n;
}

static int collect_union(struct clamp_plan *plan, struct err *err)
{
	for (size_t s = 0; s < plan->n_sets; s++) {
		for (size_t i = 0; i < plan->sets[s].n; i++)
			TRY(clamp_layers_add(&plan->layers, plan->sets[s].data[i], err));
		for (size_t l = 0; l < plan->layers.n; l++)
			plan->largest[l] = size_max(plan->largest[l],
				count_features(&plan->sets[s], l));
	}
	for (size_t l = 0; l < plan->layers.n; l++) {
		struct clamp_layer *layer = &plan->layers.layer[l];
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
	*plan = (struct clamp_plan){.sets = sets, .n_sets = n_sets, .value = value};
	TRY(clamp_layers_init(&plan->layers, dev, sae_set_layers(saes), err));
	plan->largest = calloc(plan->layers.n, sizeof *plan->largest);
	if (!plan->largest) {
		err_nomem(err, "a clamp", plan->layers.n * sizeof *plan->largest);
		goto fail;
	}
	TRY(collect_union(plan, err));
	TRY(clamp_layers_select(&plan->layers, saes, err));
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
	clamp_layers_free(&plan->layers);
	free(plan->largest);
	free(plan);
}

/* The set of sequence i of a batch. */
static const struct feature_set *set_of(const struct clamp_plan *plan, const size_t *prompts,
	size_t i)
{
	return &plan->sets[plan->n_sets == 1 ? 0 : prompts[i]];
}

struct words {
	int32_t *data;
	size_t n, cap;
};

static int push_values(struct words *out, size_t n, float value, struct err *err)
{
	int32_t word;

	memcpy(&word, &value, sizeof word);
	for (size_t i = 0; i < n; i++)
		if (vec_push(out, word, err))
			return err->code;
	return 0;
}

/* The lists of one layer for the n sets of a batch, as clamp_layers_upload wants them. */
static int gather_lists(const struct clamp_plan *plan, size_t l, const size_t *prompts, size_t n,
	struct words *out, size_t *n_entries, struct err *err)
{
	const struct clamp_layer *layer = &plan->layers.layer[l];

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
	*n_entries = out->n - n - 1;
	TRY(push_values(out, *n_entries, plan->value.scale, err));
	return push_values(out, *n_entries, plan->value.offset, err);
fail:
	return err->code;
}

int clamp_plan_batch(struct clamp_plan *plan, const size_t *prompts, size_t n,
	const struct clamp **clamps, struct err *err)
{
	const size_t n_lists = plan->n_sets == 1 ? 1 : n;
	struct words lists = {0};
	size_t n_entries = 0;

	for (size_t l = 0; l < plan->layers.n; l++) {
		if (plan->layers.layer[l].ids.n == 0)
			continue;
		TRY(clamp_layers_reserve(&plan->layers, l,
			(struct clamp_room){n_lists, n_lists * plan->largest[l]}, err));
		TRY(gather_lists(plan, l, prompts, n_lists, &lists, &n_entries, err));
		TRY(clamp_layers_upload(&plan->layers, l, lists.data, n_lists, n_entries, NULL,
			err));
	}
	free(lists.data);
	*clamps = plan->layers.clamps;
	return 0;
fail:
	free(lists.data);
	return err->code;
}
