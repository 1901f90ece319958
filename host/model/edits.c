/* SPDX-License-Identifier: MIT
 *
 * edits.c - Contract: edits.h. Tests: tests/test_model.c.
 */
#include "host/model/edits.h"

static int clamp(struct device *dev, const struct clamp *c, struct rows rows, struct tensor x,
	struct err *err)
{
	struct tensor f;

	if (c->list_of_row)
		rows.seq = c->list_of_row;
	if (sae_few_given(c->few, x, &f, err))
		return err->code;
	return op_clamp_features(dev, &c->few->weights, &c->lists, rows, f, x, err);
}

static bool covers(const struct edit *e, struct site site)
{
	return site.place == e->place && site.layer >= e->layer_first &&
	       site.layer <= e->layer_last;
}

bool edits_touch(const struct edit *edits, size_t n_edits, struct site site)
{
	for (size_t i = 0; i < n_edits; i++)
		if (covers(&edits[i], site) &&
			(edits[i].kind != EDIT_CLAMP || edits[i].clamps[site.layer].n_entries > 0))
			return true;
	return false;
}

const struct edit *edits_mixture(const struct edit *edits, size_t n_edits, struct site site)
{
	const struct edit *found = NULL;

	for (size_t i = 0; i < n_edits; i++) {
		if (!covers(&edits[i], site))
			continue;
		if (found || edits[i].kind != EDIT_MIX)
			return NULL;
		found = &edits[i];
	}
	return found;
}

/* What a mixture multiplies the gradient by. */
static double share_kept(const struct edit *e)
{
	return e->straight_through ? 1 : 1 - e->amount;
}

bool edits_scale_gradient(const struct edit *edits, size_t n_edits, struct site site, double *by)
{
	*by = 1;
	for (size_t i = 0; i < n_edits; i++) {
		const struct edit *e = &edits[i];

		if (!covers(e, site))
			continue;
		if (e->kind == EDIT_MIX)
			*by *= share_kept(e);
		else if (e->kind != EDIT_ADD)
			return false;
	}
	return true;
}

int edits_apply(struct device *dev, const struct edit *edits, size_t n_edits, struct site site,
	struct rows rows, struct tensor x, struct err *err)
{
	for (size_t i = 0; i < n_edits; i++) {
		const struct edit *e = &edits[i];

		if (!covers(e, site))
			continue;
		switch (e->kind) {
		case EDIT_ABLATE:
			TRY(op_ablate_direction(dev, e->vector, x, err));
			break;
		case EDIT_ADD:
			TRY(op_add_vector(dev, e->amount, e->vector, x, err));
			break;
		case EDIT_CLAMP:
			if (e->clamps[site.layer].n_entries > 0)
				TRY(clamp(dev, &e->clamps[site.layer], rows, x, err));
			break;
		case EDIT_MIX:
			TRY(op_mix(dev, e->amount, e->targets[site.layer], x, err));
			break;
		}
	}
	return 0;
fail:
	return err->code;
}

bool edits_wait(const struct edit *edits, size_t n_edits)
{
	for (size_t i = 0; i < n_edits; i++) {
		const struct edit *e = &edits[i];

		for (size_t l = e->layer_first; e->kind == EDIT_CLAMP && l <= e->layer_last; l++)
			if (e->clamps[l].n_entries > 0 && e->clamps[l].few->weights.top_k > 0)
				return true;
	}
	return false;
}

int edits_backward(struct device *dev, const struct edit *edits, size_t n_edits, struct site site,
	struct tensor g, struct err *err)
{
	for (size_t i = n_edits; i-- > 0;) {
		const struct edit *e = &edits[i];

		if (!covers(e, site))
			continue;
		switch (e->kind) {
		case EDIT_ABLATE: /* a projection is its own transpose */
			TRY(op_ablate_direction(dev, e->vector, g, err));
			break;
		case EDIT_ADD:
			break;
		case EDIT_MIX:
			TRY(op_scale(dev, share_kept(e), g, err));
			break;
		case EDIT_CLAMP:
			return err_set(err, ERR_INTERNAL, "no gradient through clamped features");
		}
	}
	return 0;
fail:
	return err->code;
}
