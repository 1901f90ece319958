/* SPDX-License-Identifier: MIT
 *
 * edits.c - Contract: edits.h. Tests: tests/test_model.c, tests/emu/test_steps.c.
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

static int clamp_key(const struct clamp *c, struct launch_key *key, struct err *err)
{
	const void *const lists[] = {c->lists.start, c->lists.slot, c->lists.scale, c->lists.offset,
		c->list_of_row};

	TRY(launch_key_add(key, c->n_entries > 0, err));
	if (c->n_entries == 0)
		return 0;
	TRY(launch_key_add(key, c->lists.n_lists == 1, err));
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		TRY(launch_key_add_address(key, lists[i], err));
	return sae_few_key(c->few, key, err);
fail:
	return err->code;
}

static int edit_key(const struct edit *e, size_t n_layer, struct launch_key *key, struct err *err)
{
	TRY(launch_key_add(key, e->kind, err));
	TRY(launch_key_add(key, e->place, err));
	TRY(launch_key_add(key, e->layer_first, err));
	TRY(launch_key_add(key, e->layer_last, err));
	TRY(launch_key_add_tensor(key, e->vector, err));
	TRY(launch_key_add_number(key, e->amount, err));
	for (size_t l = e->layer_first; l <= e->layer_last && l < n_layer; l++) {
		if (e->kind == EDIT_CLAMP)
			TRY(clamp_key(&e->clamps[l], key, err));
		if (e->kind == EDIT_MIX)
			TRY(launch_key_add_tensor(key, e->targets[l], err));
	}
	return 0;
fail:
	return err->code;
}

int edits_key(const struct edit *edits, size_t n_edits, size_t n_layer, struct launch_key *key,
	struct err *err)
{
	TRY(launch_key_add(key, n_edits, err));
	for (size_t i = 0; i < n_edits; i++)
		TRY(edit_key(&edits[i], n_layer, key, err));
	return 0;
fail:
	return err->code;
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
			if (share_kept(e) != 1)
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
