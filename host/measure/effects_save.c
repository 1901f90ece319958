/* SPDX-License-Identifier: MIT
 *
 * effects_save.c - effects and gradients as rows of the result file, in the order of the batches.
 * Contract: effects_parts.h.
 */
#include "host/measure/effects_parts.h"

#include "host/base/vec.h"
#include "host/model/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Effects per token, and which token each row is, in the order of the batches. */
static int save_tokens(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	char path[4][128];
	const char *const names[] = {"effect", "token_prompt", "token_position", "token_id"};
	int32_t *columns = malloc(3 * r->n_tokens * sizeof *columns + 1);
	size_t t = 0;

	if (!columns)
		return err_nomem(err, "tokens", 3 * r->n_tokens * sizeof *columns);
	for (int i = 0; i < 4; i++)
		snprintf(path[i], sizeof path[i], "%s/per_token/%s", w->request->save, names[i]);
	for (size_t i = 0; i < r->n_prompts; i++) {
		for (size_t k = 0; k < w->spans[i].n; k++, t++) {
			columns[t] = w->spans[i].label;
			columns[r->n_tokens + t] = (int32_t)(w->skip + k);
			columns[2 * r->n_tokens + t] = w->spans[i].ids[k];
		}
	}
	TRY(unit_rows(out,
		&(struct results_dataset){.path = path[0],
			.type = RESULTS_F32,
			.n_dims = 2,
			.dims = {0, r->n_candidates},
			.scales = {NULL, "/candidate"},
			.long_name = "indirect effect of each candidate at each token",
			.units = "logit"},
		r->effect, r->n_tokens, err));
	for (int i = 1; i < 4; i++)
		TRY(unit_rows(out,
			&(struct results_dataset){.path = path[i],
				.type = RESULTS_I32,
				.n_dims = 1,
				.long_name = i == 1   ? "prompt id of the token"
					     : i == 2 ? "position of the token in its prompt"
						      : "token id",
				.compress = true},
			columns + (size_t)(i - 1) * r->n_tokens, r->n_tokens, err));
	free(columns);
	return 0;
fail:
	free(columns);
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
	const size_t d = w->lab->machine->model->arch.d_model;
	float *rows = malloc(r->n_tokens * d * sizeof *rows + 1);
	char path[96];

	if (!rows)
		return err_nomem(err, "gradients", r->n_tokens * d * sizeof *rows);
	for (size_t l = 0; l < w->out->n_layer; l++) {
		const struct tensor g = attribution_gradient(w->attribution, l);
		const struct results_dataset dataset = {.path = path,
			.type = RESULTS_F32,
			.n_dims = 2,
			.dims = {0, d},
			.scales = {NULL, "/d_model"},
			.long_name = "mean gradient of the metric along the path",
			.units = "logit"};

		snprintf(path, sizeof path, "/gradients/%s",
			site_name(sae_set_writes(w->lab->machine->saes, l)).text);
		if (g.rows == r->n_tokens) {
			TRY(unit_rows_of_tensor(out, &dataset, g, err));
			continue;
		}
		TRY(spread_last_gradient(w, r, g, rows, err));
		TRY(unit_rows(out, &dataset, rows, r->n_tokens, err));
	}
	free(rows);
	return 0;
fail:
	free(rows);
	return err->code;
}

/* Effects of all features per prompt, sparse, prompts in the order of the batches. */
static int save_entries(struct effects_work *w, const struct attribution_result *r,
	struct unit *out, struct err *err)
{
	const struct results_dataset datasets[] = {{.path = "/indirect_effect/ap/per_prompt/prompt",
							   .type = RESULTS_I32,
							   .n_dims = 1,
							   .long_name = "prompt id of each row"},
		{.path = "/indirect_effect/ap/per_prompt/end",
			.type = RESULTS_I32,
			.n_dims = 1,
			.long_name =
				"end of the row's entries; they begin where the last row's end",
			.ends_of = "/indirect_effect/ap/per_prompt/layer"},
		{.path = "/indirect_effect/ap/per_prompt/layer",
			.type = RESULTS_I32,
			.n_dims = 1,
			.long_name = "layer of the entry",
			.compress = true},
		{.path = "/indirect_effect/ap/per_prompt/feature",
			.type = RESULTS_I32,
			.n_dims = 1,
			.long_name = "feature of the entry",
			.compress = true},
		{.path = "/indirect_effect/ap/per_prompt/effect",
			.type = RESULTS_F32,
			.n_dims = 1,
			.long_name = "mean indirect effect over the prompt's tokens",
			.units = "logit"}};

	int32_t *prompts = malloc(2 * r->n_prompts * sizeof *prompts + 1);
	int32_t *end = prompts + r->n_prompts;

	if (!prompts)
		return err_nomem(err, "effects", r->n_prompts * sizeof *prompts);
	w->joined.layer.n = w->joined.feature.n = w->joined.effect.n = 0;
	for (size_t i = 0; i < r->n_prompts; i++) {
		const struct entries *e = &w->entries[i];

		prompts[i] = w->spans[i].label;
		TRY(vec_append(&w->joined.layer, e->layer.data, e->layer.n, err));
		TRY(vec_append(&w->joined.feature, e->feature.data, e->feature.n, err));
		TRY(vec_append(&w->joined.effect, e->effect.data, e->effect.n, err));
		end[i] = (int32_t)w->joined.layer.n;
	}
	const struct {
		const void *data;
		size_t n;
	} columns[] = {{prompts, r->n_prompts}, {end, r->n_prompts},
		{w->joined.layer.data, w->joined.layer.n},
		{w->joined.feature.data, w->joined.feature.n},
		{w->joined.effect.data, w->joined.effect.n}};
	for (size_t i = 0; i < 5; i++)
		TRY(unit_rows(out, &datasets[i], columns[i].data, columns[i].n, err));
	free(prompts);
	return 0;
fail:
	free(prompts);
	return err->code;
}

int effects_save(struct effects_work *w, const struct attribution_result *r, struct unit *out,
	struct err *err)
{
	if (w->request->save)
		TRY(save_tokens(w, r, out, err));
	if (w->request->save_gradients)
		TRY(save_gradients(w, r, out, err));
	if (w->request->save_all)
		TRY(save_entries(w, r, out, err));
	return 0;
fail:
	return err->code;
}

int effects_save_scales(struct effects_work *w, struct err *err)
{
	static const char *const tokens[] = {"effect", "token_prompt", "token_position",
		"token_id"};
	static const char *const rows[] = {"prompt", "end"};
	static const char *const entries[] = {"layer", "feature", "effect"};
	struct results *results = w->lab->job->results;
	char path[128], scale[128];

	snprintf(scale, sizeof scale, "%s/per_token/token",
		w->request->save ? w->request->save : "");
	for (size_t i = 0; i < 4 && w->request->save; i++) {
		snprintf(path, sizeof path, "%s/per_token/%s", w->request->save, tokens[i]);
		TRY(results_grown_scale(results, path, scale, "row of the token table", err));
	}
	for (size_t l = 0; l < w->out->n_layer && w->request->save_gradients; l++) {
		snprintf(path, sizeof path, "/gradients/%s",
			site_name(sae_set_writes(w->lab->machine->saes, l)).text);
		TRY(results_grown_scale(results, path, "/gradients/token",
			"row of the token table of the indirect effects", err));
	}
	for (size_t i = 0; i < 2 && w->request->save_all; i++) {
		snprintf(path, sizeof path, "/indirect_effect/ap/per_prompt/%s", rows[i]);
		TRY(results_grown_scale(results, path, "/indirect_effect/ap/per_prompt/row",
			"row of the prompt table", err));
	}
	for (size_t i = 0; i < 3 && w->request->save_all; i++) {
		snprintf(path, sizeof path, "/indirect_effect/ap/per_prompt/%s", entries[i]);
		TRY(results_grown_scale(results, path, "/indirect_effect/ap/per_prompt/entry",
			"row of the entry table", err));
	}
	return 0;
fail:
	return err->code;
}
