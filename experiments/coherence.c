/* SPDX-License-Identifier: MIT
 *
 * coherence.c - what clamping costs the model on harmless prompts (paper table 5).
 *
 * The unedited model answers harmless prompts greedily; its answers are then scored, teacher
 * forced, under each condition of jailbreak.c with global sets:
 *
 *   CE = sum over answer tokens of -log p(token) / number of answer tokens
 *
 * the stop token included when the answer ended with one.
 *
 * Writes:  /generations/coherence/none, /scores/coherence/CONDITION/{nll,n_tokens}.
 * Cost:    one generation, then one forward pass over prompts and answers per condition.
 */
#include "experiments/experiments.h"

#include "host/run/continuation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct work {
	struct lab *lab;
	struct prompt_ids prompts;
	struct continuation answers;
	double *nll;    /* [n_prompts] */
	int32_t *count; /* [n_prompts] */
};

static int write_ce(struct work *w, const struct condition *condition, struct err *err)
{
	struct results *results = w->lab->results;
	const size_t n = w->prompts.n;
	char scale[128], nll[128], count[128];
	int32_t *ids = malloc(n * sizeof *ids + 1);

	err_clear(err);
	if (!ids) {
		err_nomem(err, "cross-entropy", n * sizeof *ids);
		goto fail;
	}
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)w->prompts.data[i];
	snprintf(scale, sizeof scale, "/scores/coherence/%s/prompt", condition->name);
	snprintf(nll, sizeof nll, "/scores/coherence/%s/nll", condition->name);
	snprintf(count, sizeof count, "/scores/coherence/%s/n_tokens", condition->name);
	if (condition->kind != CONDITION_NONE) /* written with the answers themselves */
		TRY(results_scale(results, scale, ids, n, "prompt id", err));
	TRY(results_write(results,
		&(struct results_dataset){.path = nll, .type = RESULTS_F64, .n_dims = 1, .dims = {n},
			.scales = {scale},
			.long_name = "negative log-likelihood of the unedited answer", .units = "nat"},
		w->nll, err));
	TRY(results_write(results,
		&(struct results_dataset){.path = count, .type = RESULTS_I32, .n_dims = 1,
			.dims = {n}, .scales = {scale}, .long_name = "tokens of the answer",
			.units = "1"},
		w->count, err));
fail:
	free(ids);
	return err->code;
}

/* CE goes to the summary beside the condition's refusal score. */
static int summarise(struct work *w, const struct condition *condition, struct err *err)
{
	struct summary_row row = {.n_prompts = w->prompts.n, .refusal = NAN, .p_refusal = NAN,
		.kl = NAN};
	double sum = 0, tokens = 0;

	for (size_t i = 0; i < w->prompts.n; i++) {
		sum += w->nll[i];
		tokens += w->count[i];
	}
	row.ce = sum / tokens;
	snprintf(row.experiment, sizeof row.experiment, "coherence");
	snprintf(row.condition, sizeof row.condition, "%s", condition->name);
	return lab_summarise(w->lab, &row, err);
}

static int score_condition(struct work *w, const struct condition *condition, struct err *err)
{
	char title[96];

	snprintf(title, sizeof title, "coherence: %s", condition->name);
	TRY(continuation_ce(w->lab, &w->prompts, &w->answers, condition, title, w->nll, w->count,
		err));
	TRY(write_ce(w, condition, err));
	return summarise(w, condition, err);
fail:
	return err->code;
}

int experiment_coherence(struct lab *lab, struct err *err)
{
	const struct config *cfg = lab->config;
	const struct condition none = condition_none(), ablate = condition_ablate();
	struct work w = {.lab = lab};

	err_clear(err);
	TRY(lab_set(lab, cfg->coherence.prompts, &w.prompts, err));
	w.nll = calloc(w.prompts.n + 1, sizeof *w.nll);
	w.count = calloc(w.prompts.n + 1, sizeof *w.count);
	if (!w.nll || !w.count) {
		err_nomem(err, "cross-entropy", w.prompts.n * sizeof *w.nll);
		goto fail;
	}

	/* 1. The unedited model's own answers. */
	TRY(continuation_run(lab, &w.prompts, &none, "coherence: answers", NULL, &w.answers, err));
	TRY(continuation_write(lab, "coherence", &none, &w.prompts, &w.answers, err));

	/* 2. Their cross-entropy under each condition. */
	TRY(score_condition(&w, &none, err));
	if (lab->direction.known)
		TRY(score_condition(&w, &ablate, err));
	for (int m = 0; m < N_METHODS; m++) {
		if (!lab->sets[m].known ||
			!text_list_holds(&cfg->coherence.methods, method_names[m]))
			continue;
		for (size_t k = 0; k < cfg->jailbreak.scale.n; k++) {
			const struct condition clamp = condition_scale((enum method)m, false,
				cfg->jailbreak.scale.items[k]);

			TRY(score_condition(&w, &clamp, err));
		}
	}
fail:
	continuation_free(&w.answers);
	free(w.prompts.data);
	free(w.nll);
	free(w.count);
	return err->code;
}
