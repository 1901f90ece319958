/* SPDX-License-Identifier: MIT
 *
 * effects_all.c - effects of every feature of the SAEs, for the AP baseline: sums over prompts and
 * the best of each prompt. Contract: effects_parts.h.
 */
#include "host/measure/effects_parts.h"

#include "host/base/vec.h"
#include "host/measure/ties.h"

#include <stdlib.h>
#include <string.h>

/* One more than wanted, to see what the last was chosen by. */
static size_t most_offered(const struct effects_work *w)
{
	return w->request->k_star > 0 ? w->request->k_star + 1 : 0;
}

/* Sums the entries of one prompt's rows by feature, takes their mean over its tokens into the
 * unit's sums, and clears the prompt's again. */
static int sum_prompt(struct effects_work *w, size_t layer, size_t first_row, size_t end_row,
	size_t n_tokens, size_t i_prompt, struct err *err)
{
	const struct effects *e = w->out;
	struct entries *entries = &w->entries[i_prompt];
	const size_t from = (size_t)w->csr.indptr[first_row], to = (size_t)w->csr.indptr[end_row];

	for (size_t i = from; i < to; i++)
		w->one_prompt[w->csr.indices[i]] += w->csr.values[i];
	for (size_t i = from; i < to; i++) {
		const int32_t id = w->csr.indices[i];
		const double mean = w->one_prompt[id] / (double)n_tokens;

		w->one_prompt[id] = 0;
		if (mean == 0)
			continue; /* nothing, or taken at an earlier row */
		w->sums.sum[layer * e->d_sae + (size_t)id] += exact_term(mean /
									 (double)e->n_prompts);
		TRY(feature_set_offer(&w->best[i_prompt], most_offered(w),
			(struct feature){(int32_t)layer, id, 0, (float)mean}, err));
		TRY(vec_push(&entries->layer, (int32_t)layer, err));
		TRY(vec_push(&entries->feature, id, err));
		TRY(vec_push(&entries->effect, (float)mean, err));
	}
	return 0;
fail:
	return err->code;
}

static int put_best(struct effects_work *w, size_t n, struct unit *out, struct err *err)
{
	const size_t k_star = w->request->k_star;
	int32_t *ids = malloc((2 * k_star + 1) * n * sizeof *ids + 1);
	int32_t *undecided = ids + 2 * n * k_star;
	float *score = calloc(n * k_star + 1, sizeof *score);

	err_clear(err);
	if (!ids || !score) {
		err_nomem(err, "effects", n * k_star * sizeof *ids);
		goto fail;
	}
	memset(ids, 0xff, 2 * n * k_star * sizeof *ids);
	for (size_t i = 0; i < n; i++) {
		undecided[i] = (int32_t)feature_set_cut(&w->best[i], k_star,
			ties_of_effect(w->lab));
		for (size_t k = 0; k < w->best[i].n; k++) {
			ids[i * k_star + k] = w->best[i].data[k].layer;
			ids[(n + i) * k_star + k] = w->best[i].data[k].id;
			score[i * k_star + k] = w->best[i].data[k].score;
		}
	}
	TRY(unit_put(out, "best_layer", RESULTS_I32, ids, n * k_star, err));
	TRY(unit_put(out, "best_feature", RESULTS_I32, ids + n * k_star, n * k_star, err));
	TRY(unit_put(out, "best_score", RESULTS_F32, score, n * k_star, err));
	TRY(unit_put(out, "best_undecided", RESULTS_I32, undecided, n, err));
fail:
	free(ids);
	free(score);
	return err->code;
}

static int take_best(struct effects_work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	const size_t k_star = w->request->k_star;
	int32_t *ids = malloc((2 * k_star + 1) * n * sizeof *ids + 1);
	int32_t *undecided = ids + 2 * n * k_star;
	float *score = malloc(n * k_star * sizeof *score + 1);

	err_clear(err);
	if (!ids || !score) {
		err_nomem(err, "effects", n * k_star * sizeof *ids);
		goto fail;
	}
	TRY(unit_get(in, "best_layer", RESULTS_I32, ids, n * k_star, err));
	TRY(unit_get(in, "best_feature", RESULTS_I32, ids + n * k_star, n * k_star, err));
	TRY(unit_get(in, "best_score", RESULTS_F32, score, n * k_star, err));
	TRY(unit_get(in, "best_undecided", RESULTS_I32, undecided, n, err));
	for (size_t i = 0; i < n; i++) {
		w->out->n_all_undecided += undecided[i] > 0;
		for (size_t k = i * k_star; k < (i + 1) * k_star && ids[k] >= 0; k++) {
			const struct feature f = {ids[k], ids[n * k_star + k], 0, score[k]};

			if ((size_t)f.layer >= w->out->n_layer || f.id < 0 ||
				(size_t)f.id >= w->out->d_sae) {
				err_set(err, ERR_INPUT,
					"expected features of the SAEs, found layer %d, "
					"feature %d",
					f.layer, f.id);
				goto fail;
			}
			TRY(feature_set_add(&w->out->all_local[index[i]], f, err));
		}
	}
fail:
	free(ids);
	free(score);
	return err->code;
}

int effects_put_all(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	for (size_t i = 0; i < r->n_prompts; i++) {
		w->entries[i].layer.n = w->entries[i].feature.n = w->entries[i].effect.n = 0;
		w->best[i].n = 0;
	}
	for (size_t l = 0; l < w->out->n_layer; l++) {
		const bool last = l + 1 == w->out->n_layer;

		TRY(attribution_all(w->attribution, l, &w->csr, err));
		for (size_t i = 0; i < r->n_prompts; i++)
			TRY(sum_prompt(w, l, last ? i : r->token_start[i],
				last ? i + 1 : r->token_start[i + 1],
				r->token_start[i + 1] - r->token_start[i], i, err));
	}
	TRY(feature_sums_put(&w->sums, out, err));
	return put_best(w, r->n_prompts, out, err);
fail:
	return err->code;
}

int effects_take_all(struct effects_work *w, const size_t *index, size_t n, struct unit_reader *in,
	struct err *err)
{
	if (feature_sums_take(&w->sums, in, err))
		return err->code;
	return take_best(w, index, n, in, err);
}
