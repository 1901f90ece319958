/* SPDX-License-Identifier: MIT
 *
 * retain_plan.c - lists of op_clamp_features, one per row. Contract: retain_plan.h.
 * Tests: tests/test_method.c.
 */
#include "host/method/retain_plan.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/method/clamp_layers.h"

#include <assert.h>

/* A layer's ids are first the clamped features, then the retained ones. */
struct retained_of_layer {
	struct {
		size_t *data; /* places of the retained ones in their set */
		size_t n, cap;
	} column;
	size_t n_clamped;
};

struct retain_plan {
	size_t n_retained;
	struct clamp_value value;
	struct clamp_layers layers;
	struct retained_of_layer *retained; /* [layers.n] */
	int32_t *row_list;                  /* device: 0, 1, 2, ... */
	size_t rows;                        /* room in it */
};

static int collect(struct retain_plan *plan, const struct feature_set *clamped,
	const struct feature_set *retained, struct err *err)
{
	for (size_t i = 0; i < clamped->n; i++) {
		TRY(clamp_layers_add(&plan->layers, clamped->data[i], err));
		plan->retained[clamped->data[i].layer].n_clamped++;
	}
	for (size_t i = 0; i < retained->n; i++) {
		const struct feature f = retained->data[i];

		assert(!feature_set_holds(clamped, f.layer, f.id));
		TRY(clamp_layers_add(&plan->layers, f, err));
		TRY(vec_push(&plan->retained[f.layer].column, i, err));
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
	*plan = (struct retain_plan){.n_retained = retained->n, .value = value};
	TRY(clamp_layers_init(&plan->layers, dev, sae_set_layers(saes), err));
	plan->retained = calloc(plan->layers.n, sizeof *plan->retained);
	if (!plan->retained) {
		err_nomem(err, "retained features", plan->layers.n * sizeof *plan->retained);
		goto fail;
	}
	TRY(collect(plan, clamped, retained, err));
	TRY(clamp_layers_select(&plan->layers, saes, err));
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
	for (size_t l = 0; plan->retained && l < plan->layers.n; l++)
		free(plan->retained[l].column.data);
	free(plan->retained);
	device_free(plan->layers.dev, plan->row_list);
	clamp_layers_free(&plan->layers);
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
	device_free(plan->layers.dev, plan->row_list);
	plan->row_list = NULL;
	plan->rows = 0;
	rc = device_alloc(plan->layers.dev, n * sizeof *numbers, &memory, err);
	if (rc == 0) {
		plan->row_list = memory;
		plan->rows = n;
		rc = device_upload(plan->layers.dev, memory, numbers, n * sizeof *numbers, err);
	}
	free(numbers);
	return rc;
}

/* How many rows of a prompt a layer carries: in the last, the out rows. */
static size_t rows_in(const struct retain_plan *plan, size_t l, size_t n, size_t n_out)
{
	return l + 1 == plan->layers.n ? size_min(n, n_out) : n;
}

/* The same entries for every row; only the retained values differ. */
static void fill_row(const struct retain_plan *plan, size_t l, const float *recorded, int32_t *slot,
	float *scale, float *offset)
{
	const struct retained_of_layer *of = &plan->retained[l];

	for (size_t k = 0; k < plan->layers.layer[l].ids.n; k++) {
		const bool retained = k >= of->n_clamped;

		slot[k] = (int32_t)k;
		scale[k] = retained ? 0 : plan->value.scale;
		offset[k] = retained ? recorded[of->column.data[k - of->n_clamped]]
				     : plan->value.offset;
	}
}

static int upload_layer(struct retain_plan *plan, size_t l, const struct retained_rows *prompts,
	size_t n, size_t n_out, struct err *err)
{
	const size_t m = plan->layers.layer[l].ids.n;
	size_t rows = 0, row = 0;
	int32_t *start, *slot;
	float *scale, *offset;
	int rc;

	for (size_t i = 0; i < n; i++)
		rows += rows_in(plan, l, prompts[i].n, n_out);
	plan->layers.clamps[l] = (struct clamp){0};
	if (m == 0 || rows == 0)
		return 0;
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
			fill_row(plan, l, prompts[i].value + t * plan->n_retained, slot + row * m,
				scale + row * m, offset + row * m);
	rc = clamp_layers_upload(&plan->layers, l, start, rows, rows * m, plan->row_list, err);
	free(start);
	return rc;
}

int retain_plan_batch(struct retain_plan *plan, const struct retained_rows *prompts, size_t n,
	size_t n_out, const struct clamp **clamps, struct err *err)
{
	size_t rows = 0;

	for (size_t i = 0; i < n; i++)
		rows += prompts[i].n;
	TRY(reserve_rows(plan, rows, err));
	for (size_t l = 0; l < plan->layers.n; l++)
		TRY(upload_layer(plan, l, prompts, n, n_out, err));
	*clamps = plan->layers.clamps;
	return 0;
fail:
	return err->code;
}
