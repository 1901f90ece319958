/* SPDX-License-Identifier: MIT
 *
 * retain_plan.c - lists of op_clamp_features, one per row. Contract: retain_plan.h.
 * Tests: tests/test_method.c.
 */
#include "host/method/retain_plan.h"

#include "host/base/size.h"
#include "host/base/vec.h"

#include <assert.h>

/* The entries of one layer: first the clamped features, then the retained ones. */
struct layer_plan {
	struct {
		int32_t *data;
		size_t n, cap;
	} ids;
	struct {
		size_t *data; /* places of the retained ones in their set */
		size_t n, cap;
	} column;
	size_t n_clamped;
	struct sae_few few;
	int32_t *start, *slot; /* device [rows + 1], [rows * ids.n] */
	float *scale, *offset; /* device [rows * ids.n] */
	void *memory;          /* owned, device: the four above */
	size_t rows;           /* room in them */
};

struct retain_plan {
	struct device *dev;
	size_t n_layer, n_retained;
	struct clamp_value value;
	struct layer_plan *layers; /* [n_layer] */
	struct clamp *clamps;      /* [n_layer] */
	int32_t *row_list;         /* device: 0, 1, 2, ... */
	size_t rows;               /* room in it */
};

static int check_layer(const struct retain_plan *plan, struct feature f, struct err *err)
{
	if (f.layer >= 0 && (size_t)f.layer < plan->n_layer)
		return 0;
	return err_set(err, ERR_INPUT, "feature %d of layer %d: expected a layer below %zu", f.id,
		f.layer, plan->n_layer);
}

static int collect(struct retain_plan *plan, const struct feature_set *clamped,
	const struct feature_set *retained, struct err *err)
{
	for (size_t i = 0; i < clamped->n; i++) {
		const struct feature f = clamped->data[i];

		TRY(check_layer(plan, f, err));
		TRY(vec_push(&plan->layers[f.layer].ids, f.id, err));
		plan->layers[f.layer].n_clamped++;
	}
	for (size_t i = 0; i < retained->n; i++) {
		const struct feature f = retained->data[i];

		TRY(check_layer(plan, f, err));
		assert(!feature_set_holds(clamped, f.layer, f.id));
		TRY(vec_push(&plan->layers[f.layer].ids, f.id, err));
		TRY(vec_push(&plan->layers[f.layer].column, i, err));
	}
	return 0;
fail:
	return err->code;
}

int retain_plan_create(struct retain_plan **out, struct device *dev, struct sae_set *saes,
	const struct feature_set *clamped, struct clamp_value value,
	const struct feature_set *retained, struct err *err)
{
	struct retain_plan *plan = calloc(1, sizeof *plan);

	*out = NULL;
	if (!plan)
		return err_nomem(err, "retained features", sizeof *plan);
	*plan = (struct retain_plan){.dev = dev,
		.n_layer = sae_set_layers(saes),
		.n_retained = retained->n,
		.value = value};
	plan->layers = calloc(plan->n_layer, sizeof *plan->layers);
	plan->clamps = calloc(plan->n_layer, sizeof *plan->clamps);
	if (!plan->layers || !plan->clamps) {
		err_nomem(err, "retained features", plan->n_layer * sizeof *plan->layers);
		goto fail;
	}
	TRY(collect(plan, clamped, retained, err));
	for (size_t l = 0; l < plan->n_layer; l++)
		if (plan->layers[l].ids.n > 0)
			TRY(sae_set_select(saes, l, plan->layers[l].ids.data, plan->layers[l].ids.n,
				&plan->layers[l].few, err));
	*out = plan;
	return 0;
fail:
	retain_plan_free(plan);
	return err->code;
}

void retain_plan_free(struct retain_plan *plan)
{
	if (!plan)
		return;
	for (size_t l = 0; plan->layers && l < plan->n_layer; l++) {
		free(plan->layers[l].ids.data);
		free(plan->layers[l].column.data);
		sae_few_free(&plan->layers[l].few);
		device_free(plan->dev, plan->layers[l].memory);
	}
	device_free(plan->dev, plan->row_list);
	free(plan->layers);
	free(plan->clamps);
	free(plan);
}

/* ---- lists of a pass -------------------------------------------------------------------- */

/* Room for 0 .. n - 1 on the device, and the numbers themselves. */
static int reserve_rows(struct retain_plan *plan, size_t n, struct err *err)
{
	int32_t *numbers;
	void *memory;
	int rc;

	if (n <= plan->rows)
		return 0;
	numbers = malloc(n * sizeof *numbers);
	if (!numbers)
		return err_nomem(err, "retained features", n * sizeof *numbers);
	for (size_t i = 0; i < n; i++)
		numbers[i] = (int32_t)i;
	device_free(plan->dev, plan->row_list);
	plan->row_list = NULL;
	plan->rows = 0;
	rc = device_alloc(plan->dev, n * sizeof *numbers, &memory, err);
	if (rc == 0) {
		plan->row_list = memory;
		plan->rows = n;
		rc = device_upload(plan->dev, memory, numbers, n * sizeof *numbers, err);
	}
	free(numbers);
	return rc;
}

static int reserve_lists(
	struct retain_plan *plan, struct layer_plan *layer, size_t rows, struct err *err)
{
	const size_t entries = rows * layer->ids.n;
	int32_t *at;

	if (rows <= layer->rows)
		return 0;
	device_free(plan->dev, layer->memory);
	layer->memory = NULL;
	layer->rows = 0;
	if (device_alloc(
		    plan->dev, (rows + 1 + 3 * entries) * sizeof(int32_t), &layer->memory, err))
		return err->code;
	at = layer->memory;
	layer->rows = rows;
	layer->start = at;
	layer->slot = at + rows + 1;
	layer->scale = (float *)(layer->slot + entries);
	layer->offset = layer->scale + entries;
	return 0;
}

/* How many rows of a prompt a layer carries: in the last, the out rows. */
static size_t rows_in(const struct retain_plan *plan, size_t l, size_t n, size_t n_out)
{
	return l + 1 == plan->n_layer ? size_min(n, n_out) : n;
}

/* The same entries for every row; only the retained values differ. */
static void fill_row(const struct retain_plan *plan, const struct layer_plan *layer,
	const float *recorded, int32_t *slot, float *scale, float *offset)
{
	for (size_t k = 0; k < layer->ids.n; k++) {
		const bool retained = k >= layer->n_clamped;

		slot[k] = (int32_t)k;
		scale[k] = retained ? 0 : plan->value.scale;
		offset[k] = retained ? recorded[layer->column.data[k - layer->n_clamped]]
				     : plan->value.offset;
	}
}

static int upload_layer(struct retain_plan *plan, size_t l, const struct retained_rows *prompts,
	size_t n, size_t n_out, struct err *err)
{
	struct layer_plan *layer = &plan->layers[l];
	const size_t m = layer->ids.n;
	size_t rows = 0, row = 0;
	int32_t *start = NULL, *slot;
	float *scale, *offset;

	for (size_t i = 0; i < n; i++)
		rows += rows_in(plan, l, prompts[i].n, n_out);
	plan->clamps[l] = (struct clamp){0};
	if (m == 0 || rows == 0)
		return 0;
	TRY(reserve_lists(plan, layer, rows, err));
	start = malloc((rows + 1 + 3 * rows * m) * sizeof *start);
	if (!start)
		return err_nomem(err, "retained features", (rows + 3 * rows * m) * sizeof *start);
	slot = start + rows + 1;
	scale = (float *)(slot + rows * m);
	offset = scale + rows * m;
	for (size_t i = 0; i <= rows; i++)
		start[i] = (int32_t)(i * m);
	for (size_t i = 0; i < n; i++)
		for (size_t t = prompts[i].n - rows_in(plan, l, prompts[i].n, n_out);
			t < prompts[i].n; t++, row++)
			fill_row(plan, layer, prompts[i].value + t * plan->n_retained,
				slot + row * m, scale + row * m, offset + row * m);
	TRY(device_upload(plan->dev, layer->start, start, (rows + 1) * sizeof *start, err));
	TRY(device_upload(plan->dev, layer->slot, slot, rows * m * sizeof *slot, err));
	TRY(device_upload(plan->dev, layer->scale, scale, rows * m * sizeof *scale, err));
	TRY(device_upload(plan->dev, layer->offset, offset, rows * m * sizeof *offset, err));
	plan->clamps[l] = (struct clamp){.few = &layer->few,
		.lists = {rows, layer->start, layer->slot, layer->scale, layer->offset},
		.n_entries = rows * m,
		.list_of_row = plan->row_list};
	free(start);
	return 0;
fail:
	free(start);
	return err->code;
}

int retain_plan_batch(struct retain_plan *plan, const struct retained_rows *prompts, size_t n,
	size_t n_out, const struct clamp **clamps, struct err *err)
{
	size_t rows = 0;

	for (size_t i = 0; i < n; i++)
		rows += prompts[i].n;
	TRY(reserve_rows(plan, rows, err));
	for (size_t l = 0; l < plan->n_layer; l++)
		TRY(upload_layer(plan, l, prompts, n, n_out, err));
	*clamps = plan->clamps;
	return 0;
fail:
	return err->code;
}
