/* SPDX-License-Identifier: MIT
 *
 * candidates.c - Contract: candidates.h.
 */
#include "host/measure/candidates.h"

#include "host/base/size.h"
#include "host/base/vec.h"

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

int candidates_find(struct candidates *out, const struct lab *lab, const float *v, size_t k0,
	struct err *err)
{
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

		best.n = 0;
		if (!sae_set_has(lab->machine->saes, l)) {
			for (size_t i = 0; i < out->d_sae; i++)
				cosine[i] = NAN;
			continue;
		}
		TRY(sae_set_cosines(lab->machine->saes, l, v, cosine, err));
		for (size_t i = 0; i < out->d_sae; i++)
			if (!isnan(cosine[i])) /* in use */
				TRY(feature_set_offer(&best, k0,
					(struct feature){(int32_t)l, (int32_t)i, cosine[i],
						cosine[i]},
					err));
		TRY(vec_append(&out->set, best.data, best.n, err));
	}
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
