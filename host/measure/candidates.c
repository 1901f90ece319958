/* SPDX-License-Identifier: MIT
 *
 * candidates.c - Contract: candidates.h.
 */
#include "host/measure/candidates.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/measure/ties.h"

#include <math.h>
#include <stdlib.h>

size_t candidates_count(const struct lab *lab, size_t k0)
{
	const struct sae_set *saes = lab->machine->saes;

	size_t n = 0;

	for (size_t l = 0; saes && l < sae_set_layers(saes); l++)
		if (sae_set_has(saes, l))
			n += size_min(k0, sae_set_width(saes) - sae_set_n_unused(saes, l));
	return n;
}

int candidates_check(const struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	const size_t k0 = (size_t)c->attribution.k0, k_star = (size_t)c->attribution.k_star;
	const size_t n = candidates_count(lab, k0);

	if (!lab->machine->saes || k_star <= n)
		return 0;
	return err_set(err, ERR_CONFIG,
		"attribution.k_star: expected at most %zu, the number of candidates (the %zu nearest to "
		"the direction of each layer), found %zu",
		n, k0, k_star);
}

/* The features in use of a layer, to the best `limit` of a set. */
static int offer_layer(const struct candidates *c, size_t layer, size_t limit,
	struct feature_set *best, struct err *err)
{
	const float *cosine = c->cosines + layer * c->d_sae;

	for (size_t i = 0; i < c->d_sae; i++)
		if (!isnan(cosine[i]) &&
			feature_set_offer(best, limit,
				(struct feature){(int32_t)layer, (int32_t)i, cosine[i], cosine[i]},
				err))
			return err->code;
	return 0;
}

static void tell_undecided(const struct lab *lab, const char *who, size_t n, size_t of, size_t k0)
{
	ties_tell(lab, n,
		"%s: rounding could exchange %zu of the %zu candidates with the next of their layer "
		"(the %zu nearest to the direction): their cosines differ by less than %g",
		who, n, of, k0, 2 * ties_of_cosine(lab).fixed);
}

int candidates_find(struct candidates *out, const struct lab *lab, const char *who, const float *v,
	size_t k0, struct err *err)
{
	const struct score_noise noise = ties_of_cosine(lab);
	struct feature_set best = {0};

	*out = (struct candidates){.n_layer = lab->machine->model->arch.n_layer};
	err_clear(err);
	out->d_sae = sae_set_width(lab->machine->saes);
	out->cosines = malloc(out->n_layer * out->d_sae * sizeof *out->cosines);
	if (!out->cosines) {
		err_nomem(err, "cosines", out->n_layer * out->d_sae * sizeof *out->cosines);
		goto fail;
	}
	for (size_t l = 0; l < out->n_layer; l++) {
		float *cosine = out->cosines + l * out->d_sae;

		if (!sae_set_has(lab->machine->saes, l)) {
			for (size_t i = 0; i < out->d_sae; i++)
				cosine[i] = NAN;
			continue;
		}
		TRY(sae_set_cosines(lab->machine->saes, l, v, cosine, err));
		best.n = 0;
		TRY(offer_layer(out, l, k0 + 1, &best, err));
		out->undecided += feature_set_cut(&best, k0, noise);
		TRY(vec_append(&out->set, best.data, best.n, err));
	}
	tell_undecided(lab, who, out->undecided, out->set.n, k0);
fail:
	free(best.data);
	return err->code;
}

void candidates_free(struct candidates *c)
{
	free(c->cosines);
	free(c->set.data);
	*c = (struct candidates){0};
}

int candidates_best(const struct candidates *c, const float *score, size_t k_star,
	struct feature_set *set, struct err *err)
{
	for (size_t k = 0; k < c->set.n; k++) {
		struct feature f = c->set.data[k];

		f.score = score[k];
		if (feature_set_offer(set, k_star, f, err))
			return err->code;
	}
	feature_set_without_zeros(set);
	return 0;
}
