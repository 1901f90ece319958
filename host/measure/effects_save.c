/* SPDX-License-Identifier: MIT
 *
 * effects_save.c - effects and gradients as rows of the result file, in the order of the batches.
 * Contract: effects_parts.h.
 */
#include "host/measure/effects_parts.h"

#include "host/base/arena.h"
#include "host/base/vec.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	struct dataset token, effect, token_prompt, token_position, token_id;
	struct dataset row, entry, prompt, end, layer, feature, entry_effect;
} effects = {
	.token = {"/indirect_effect/cossim_ap/per_token/token", {"token"}, RESULTS_I32, "",
		"row of this table"},
	.effect = {"/indirect_effect/cossim_ap/per_token/effect", {"token", "candidate"},
		RESULTS_F32, "logit", "indirect effect at each token"},
	.token_prompt = {"/indirect_effect/cossim_ap/per_token/token_prompt", {"token"},
		RESULTS_I32, "", "prompt id", .compress = true},
	.token_position = {"/indirect_effect/cossim_ap/per_token/token_position", {"token"},
		RESULTS_I32, "", "position in the rendered prompt, template included",
		.compress = true},
	.token_id = {"/indirect_effect/cossim_ap/per_token/token_id", {"token"}, RESULTS_I32, "",
		"token id", .compress = true},
	.row = {"/indirect_effect/ap/per_prompt/row", {"row"}, RESULTS_I32, "",
		"row of the prompt table"},
	.entry = {"/indirect_effect/ap/per_prompt/entry", {"entry"}, RESULTS_I32, "",
		"entry of all rows"},
	.prompt = {"/indirect_effect/ap/per_prompt/prompt", {"row"}, RESULTS_I32, "",
		"prompt id of the row"},
	.end = {"/indirect_effect/ap/per_prompt/end", {"row"}, RESULTS_I32, "",
		"end of the row's entries; they begin where the last row's end",
		.ends_of = "layer"},
	.layer = {"/indirect_effect/ap/per_prompt/layer", {"entry"}, RESULTS_I32, "",
		"layer; ascending within a row", .compress = true},
	.feature = {"/indirect_effect/ap/per_prompt/feature", {"entry"}, RESULTS_I32, "",
		"feature id; once per row and layer, in no order", .compress = true},
	.entry_effect = {"/indirect_effect/ap/per_prompt/effect", {"entry"}, RESULTS_F32, "logit",
		"mean over the prompt's tokens; features with none are left out"},
};

static const struct {
	struct dataset token, gradient;
} gradients = {
	.token = {"/gradients/token", {"token"}, RESULTS_I32, "",
		"row of `/indirect_effect/cossim_ap/per_token`, which says what token it is"},
	.gradient = {"/gradients/SITE", {"token", "d_model"}, RESULTS_F32, "logit",
		"gradient of the metric with respect to `resid_post`, mean along the path; in the "
		"last layer 0 but for each prompt's last token"},
};

const struct dataset_section effects_sections[] = {
	{"Indirect effects, token by token and of all features (`attribution`)",
		"`per_token` with `attribution.save_per_token`; `ap` when that method was asked for. "
		"The mean over \"the prompt's tokens\" leaves out the template's prefix, or with "
		"`attribution.positions = \"released\"` only what the released code leaves out; "
		"`per_token` has exactly the tokens of the mean.",
		DATASETS(effects)},
	{"Gradients (`save.gradients`)",
		"Of the attribution prompts, tokens behind the template's prefix.",
		DATASETS(gradients)}};

/* Entries of all prompts, about at most: features active at a token, in one run or the other, many
 * of them at several. */
static size_t most_entries(const struct lab *lab, const struct prompt_ids *prompts, size_t skip)
{
	const double active = plan_active_features(lab),
		     all = (double)(sae_set_count(lab->machine->saes) *
				    sae_set_width(lab->machine->saes));
	double n = 0;

	for (size_t i = 0; i < prompts->n; i++)
		n += fmin(all,
			active * (double)prompts_tokens(lab->prompts, prompts->data[i], skip).n);
	return (size_t)n;
}

int effects_plan_rows(const struct lab *lab, struct plan *plan,
	const struct effects_request *request, size_t n_candidates, size_t skip, struct err *err)
{
	const struct prompt_ids *prompts = request->prompts;
	const size_t most = (size_t)lab->config->batch.tokens,
		     n_layer = sae_set_layers(lab->machine->saes),
		     n_tokens = plan_tokens(lab, prompts, skip);
	size_t n_units;

	TRY(plan_batches(lab, prompts, most, most, &n_units, err));
	if (request->save_tokens || request->save_all)
		TRY(plan_write_rows(lab, plan,
			(struct plan_what){"effects per token and of all features",
				"attribution.save_per_token"},
			&effects_sections[0],
			LENGTHS(LENGTH("token", request->save_tokens ? n_tokens : 0),
				LENGTH("candidate", n_candidates),
				LENGTH("row", request->save_all ? prompts->n : 0),
				{"entry", 0,
					request->save_all ? most_entries(lab, prompts, skip) : 0}),
			1, n_units, err));
	if (request->save_gradients)
		TRY(plan_write_rows(lab, plan, (struct plan_what){"gradients", "save.gradients"},
			&effects_sections[1],
			LENGTHS(LENGTH("token", n_tokens),
				LENGTH("d_model", lab->machine->model->arch.d_model)),
			n_layer, n_units, err));
	return 0;
fail:
	return err->code;
}

/* Effects per token, and which token each row is, in the order of the batches. */
static int save_tokens(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	const size_t n[] = {r->n_tokens, r->n_candidates};
	struct arena memory = {0};
	int32_t *prompt = arena_alloc(&memory, n[0], sizeof *prompt);
	int32_t *position = arena_alloc(&memory, n[0], sizeof *position);
	int32_t *id = arena_alloc(&memory, n[0], sizeof *id);
	size_t t = 0;

	err_clear(err);
	TRY(arena_check(&memory, "tokens", err));
	for (size_t i = 0; i < r->n_prompts; i++) {
		for (size_t k = 0; k < w->spans[i].n; k++, t++) {
			prompt[t] = w->spans[i].label;
			position[t] = (int32_t)(w->skip + k);
			id[t] = w->spans[i].ids[k];
		}
	}
	TRY(unit_write_counting(out, &effects.token, NULL, n[0], err));
	TRY(unit_write(out, &effects.effect, NULL, n, r->effect, err));
	TRY(unit_write(out, &effects.token_prompt, NULL, n, prompt, err));
	TRY(unit_write(out, &effects.token_position, NULL, n, position, err));
	TRY(unit_write(out, &effects.token_id, NULL, n, id, err));
fail:
	arena_free(&memory);
	return err->code;
}

/* The last layer has gradients of the last tokens only; rows [n_tokens, d] with zeros for the
 * others. */
static int spread_last_gradient(struct effects_work *w, const struct attribution_result *r,
	struct tensor g, float *rows, struct err *err)
{
	const size_t d = g.cols;

	if (download_floats(w->lab->machine->dev, g, rows, err))
		return err->code;
	for (size_t i = r->n_prompts; i-- > 0;) {
		const size_t start = r->token_start[i], end = r->token_start[i + 1];

		/* Downwards, so that no row is overwritten before it is moved. */
		memmove(rows + (end - 1) * d, rows + i * d, d * sizeof *rows);
		memset(rows + start * d, 0, (end - 1 - start) * d * sizeof *rows);
	}
	return 0;
}

/* The mean gradient of every layer, aligned with the effects per token. */
static int save_gradients(struct effects_work *w, const struct attribution_result *r,
	struct unit *out, struct err *err)
{
	const size_t n[] = {r->n_tokens, w->lab->machine->model->arch.d_model};
	float *rows = malloc(n[0] * n[1] * sizeof *rows + 1);

	err_clear(err);
	if (!rows)
		return err_nomem(err, "gradients", n[0] * n[1] * sizeof *rows);
	TRY(unit_write_counting(out, &gradients.token, NULL, n[0], err));
	for (size_t l = 0; l < w->out->n_layer; l++) {
		const struct tensor g = attribution_gradient(w->attribution, l);
		const struct site_name site = site_name(sae_set_writes(w->lab->machine->saes, l));

		if (g.rows == n[0]) {
			TRY(unit_write_tensor(out, &gradients.gradient, WORDS(site.text), g, err));
			continue;
		}
		TRY(spread_last_gradient(w, r, g, rows, err));
		TRY(unit_write(out, &gradients.gradient, WORDS(site.text), n, rows, err));
	}
fail:
	free(rows);
	return err->code;
}

/* Effects of all features per prompt, sparse, prompts in the order of the batches. */
static int save_entries(struct effects_work *w, const struct attribution_result *r,
	struct unit *out, struct err *err)
{
	const size_t n = r->n_prompts;
	struct entries *all = &w->joined;
	struct arena memory = {0};
	int32_t *prompt = arena_alloc(&memory, n, sizeof *prompt);
	int32_t *end = arena_alloc(&memory, n, sizeof *end);

	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	all->layer.n = all->feature.n = all->effect.n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct entries *e = &w->entries[i];

		prompt[i] = w->spans[i].label;
		TRY(vec_append(&all->layer, e->layer.data, e->layer.n, err));
		TRY(vec_append(&all->feature, e->feature.data, e->feature.n, err));
		TRY(vec_append(&all->effect, e->effect.data, e->effect.n, err));
		end[i] = (int32_t)all->layer.n;
	}
	TRY(unit_write_counting(out, &effects.row, NULL, n, err));
	TRY(unit_write_counting(out, &effects.entry, NULL, all->layer.n, err));
	TRY(unit_write(out, &effects.prompt, NULL, &n, prompt, err));
	TRY(unit_write(out, &effects.end, NULL, &n, end, err));
	TRY(unit_write(out, &effects.layer, NULL, &all->layer.n, all->layer.data, err));
	TRY(unit_write(out, &effects.feature, NULL, &all->layer.n, all->feature.data, err));
	TRY(unit_write(out, &effects.entry_effect, NULL, &all->layer.n, all->effect.data, err));
fail:
	arena_free(&memory);
	return err->code;
}

int effects_save(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	if (w->request->save_tokens)
		TRY(save_tokens(w, r, out, err));
	if (w->request->save_gradients)
		TRY(save_gradients(w, r, out, err));
	if (w->request->save_all)
		TRY(save_entries(w, r, out, err));
	return 0;
fail:
	return err->code;
}
