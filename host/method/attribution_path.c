/* SPDX-License-Identifier: MIT
 *
 * attribution_path.c - the true effect of a feature along the path of integrated gradients.
 * Contract: attribution_path_effect in attribution.h. Tests: tests/test_method.c.
 *
 * At point a the hook leaves x' = (1-a) x + a x_patch. Completing the change of feature i adds
 * (1-a) (f_patch,i - f_clean,i) W_dec[i], undoing it takes a times that away. Both go into the
 * target of the mixture, divided by a.
 */
#include "host/method/attribution_parts.h"

#include "host/model/transfer.h"

/* Where a candidate lies: its layer, and its column there. */
static size_t column_of(const struct attribution *a, size_t candidate)
{
	const struct layer_state *s = &a->layers[a->setup.candidates->data[candidate].layer];
	size_t k = 0;

	while (s->column[k] != candidate)
		k++;
	return k;
}

/* shift = s (f_patch - f_clean) of the candidate, on the device; s of the clean run, 1 unless the
 * SAE norms its input. */
static int load_shift(struct attribution *a, size_t layer, size_t k, struct err *err)
{
	const struct layer_state *s = &a->layers[layer];
	const size_t rows = a->f_clean_tap[layer].rows;
	float *clean = a->columns[0], *patch = a->columns[1], *scale = a->columns[2];

	TRY(download_floats(a->setup.model->dev, a->f_clean_tap[layer], clean, err));
	TRY(download_floats(a->setup.model->dev, a->f_patch_tap[layer], patch, err));
	if (s->scaled)
		TRY(download_floats(a->setup.model->dev, a->scale_tap[layer], scale, err));
	for (size_t r = 0; r < rows; r++)
		a->shift_host[r] = (s->scaled ? scale[r] : 1) *
				   (patch[r * s->n + k] - clean[r * s->n + k]);
	return upload_floats(a->setup.model->dev, a->shift_host, tensor_rows(a->shift, 0, rows),
		err);
fail:
	return err->code;
}

/* m at point `at`, the candidate's feature moved by `amount` times the shift. */
static int run_moved(struct attribution *a, const struct token_span *prompts, size_t n,
	size_t point, size_t layer, struct tensor decoder_row, double amount, double *m,
	struct err *err)
{
	struct device *dev = a->setup.model->dev;
	const double at = attribution_position(a, point);
	const struct edit mix = {.kind = EDIT_MIX,
		.place = a->writes,
		.layer_last = a->n_layer - 1,
		.amount = at,
		.targets = a->targets};
	const struct intervention how = {a->setup.n_prefix > 0 ? &a->prefix_mixed[point] : NULL,
		&mix, 1, NULL, 0};
	const struct tensor end = a->targets[layer], moved = tensor_rows(a->x_shifted, 0, end.rows);
	int rc;

	/* shift [rows, 1] times the decoder row seen as [d_model, 1]. */
	TRY(op_linear(dev, tensor_rows(a->shift, 0, end.rows),
		tensor_view(decoder_row, decoder_row.cols, 1), (struct tensor){0}, moved, err));
	TRY(op_scale(dev, amount / at, moved, err));
	TRY(op_axpy(dev, 1, end, moved, err));
	a->targets[layer] = moved;
	rc = runner_run(&a->runner, prompts, n, BATCH_OUT_LAST, &how, err);
	a->targets[layer] = end;
	return rc ? rc : attribution_metric(a, n, m, err);
fail:
	return err->code;
}

int attribution_path_effect(struct attribution *a, const struct token_span *prompts, size_t n,
	size_t candidate, double *effect, struct err *err)
{
	const size_t layer = (size_t)a->setup.candidates->data[candidate].layer;
	const size_t k = column_of(a, candidate), steps = a->setup.options.steps;
	const struct tensor decoder_row = tensor_rows(a->few[layer].weights.W_dec, k, 1);

	if (attribution_position(a, 0) <= 0 || a->setup.options.path != IG_PATH_JOINT)
		return err_set(err, ERR_INTERNAL,
			"effects along a path need its midpoints and all layers on it");
	TRY(load_shift(a, layer, k, err));
	for (size_t i = 0; i < n; i++)
		effect[i] = 0;
	for (size_t point = 0; point < steps; point++) {
		const double at = attribution_position(a, point);

		TRY(run_moved(a, prompts, n, point, layer, decoder_row, 1 - at, a->m_host, err));
		for (size_t i = 0; i < n; i++)
			effect[i] += a->m_host[i] / (double)steps;
		TRY(run_moved(a, prompts, n, point, layer, decoder_row, -at, a->m_host, err));
		for (size_t i = 0; i < n; i++)
			effect[i] -= a->m_host[i] / (double)steps;
	}
	return 0;
fail:
	return err->code;
}
