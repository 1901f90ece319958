/* SPDX-License-Identifier: MIT
 *
 * decoder_match.c - Contract: decoder_match.h.
 */
#include "experiments/sae_compare/decoder_match.h"

#include "host/base/arena.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <math.h>

/* Of one decoder row. */
struct buffers {
	size_t d;
	struct tensor one, row; /* [1, 1], [1, d] */
};

static void layout(void *object, struct carver *c)
{
	struct buffers *b = object;

	b->one = carve(c, 1, 1);
	b->row = carve(c, 1, b->d);
}

/* The decoder row of a feature as floats, whatever type the weights have: 1 times it. */
static int decoder_row(struct sae_set *saes, struct feature f, float *out, struct err *err)
{
	const float one = 1;
	struct sae_few few = {0};
	struct buffers b = {0};
	void *memory = NULL;
	struct device *dev;

	err_clear(err);
	TRY(sae_set_select(saes, (size_t)f.layer, &f.id, 1, &few, err));
	dev = few.dev;
	b.d = few.weights.W_dec.cols;
	TRY(carve_allocate(dev, layout, &b, &memory, err));
	TRY(upload_floats(dev, &one, b.one, err));
	TRY(op_linear_backward(dev, b.one, few.weights.W_dec, 0, b.row, err));
	TRY(download_floats(dev, b.row, out, err));
fail:
	if (few.dev)
		device_free(few.dev, memory);
	sae_few_free(&few);
	return err->code;
}

static int match_one(struct sae_set *from_saes, struct feature f, struct sae_set *to_saes,
	const struct feature_set *to, float *row, float *cosine, double *in_set, double *in_sae,
	struct err *err)
{
	const size_t layer = (size_t)f.layer, width = sae_set_width(to_saes);

	*in_set = 0;
	if (in_sae)
		*in_sae = 0;
	if (!sae_set_has(to_saes, layer))
		return 0;
	TRY(decoder_row(from_saes, f, row, err));
	TRY(sae_set_cosines(to_saes, layer, row, cosine, err));
	for (size_t i = 0; i < to->n; i++)
		if (to->data[i].layer == f.layer)
			*in_set = fmax(*in_set, cosine[to->data[i].id]);
	for (size_t i = 0; in_sae && i < width; i++)
		*in_sae = fmax(*in_sae, cosine[i]);
	return 0;
fail:
	return err->code;
}

int decoder_match(size_t d_model, struct sae_set *from_saes, const struct feature_set *from,
	struct sae_set *to_saes, const struct feature_set *to, double *in_set, double *in_sae,
	struct err *err)
{
	struct arena memory = {0};
	float *row = arena_alloc(&memory, d_model, sizeof *row);
	float *cosine = arena_alloc(&memory, sae_set_width(to_saes), sizeof *cosine);

	err_clear(err);
	TRY(arena_check(&memory, "cosines", err));
	for (size_t i = 0; i < from->n; i++)
		TRY(match_one(from_saes, from->data[i], to_saes, to, row, cosine, &in_set[i],
			in_sae ? &in_sae[i] : NULL, err));
fail:
	arena_free(&memory);
	return err->code;
}
