/* SPDX-License-Identifier: MIT
 *
 * answers.c - Contract: answers.h.
 */
#include "host/measure/answers.h"

#include "host/base/arena.h"
#include "host/lab/tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	struct dataset nll, n_tokens, prompt;
} scores = {
	.nll = {"/scores/EXPERIMENT/CONDITION/nll", {"prompt"}, RESULTS_F64, "nat",
		"negative log-likelihood of the unedited model's own answer under this condition, "
		"sum over its tokens"},
	.n_tokens = {"/scores/EXPERIMENT/CONDITION/n_tokens", {"prompt"}, RESULTS_I32, "1",
		"tokens of the model's own answer, its stop token included"},
	.prompt = PROMPT_SCALE("/scores/EXPERIMENT/CONDITION"),
};

const struct dataset_section answers_section = {"Cross-entropy of the unedited model's own answers",
	"Cross-entropy per token is `sum(nll) / sum(n_tokens)`.", DATASETS(scores)};

int answers_plan(const struct lab *lab, struct plan *plan, const char *set, size_t n_conditions,
	struct err *err)
{
	static const struct plan_what what = {"cross-entropy of answers", NULL};
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, set, &prompts, err));
	TRY(continuation_plan(lab, plan, &prompts, 1, err));
	TRY(plan_write(plan, what, &answers_section, LENGTHS(LENGTH("prompt", prompts.n)),
		n_conditions, err));
	TRY(plan_stages(lab, plan, what, &prompts, 12, 0, n_conditions, err));
fail:
	free(prompts.data);
	return err->code;
}

int answers_run(struct answers *a, struct lab *lab, const char *experiment, const char *set,
	struct err *err)
{
	const struct condition none = condition_none();
	char title[96];

	*a = (struct answers){.experiment = experiment};
	snprintf(title, sizeof title, "%s: answers", experiment);
	TRY(prompts_of_set(lab->prompts, set, &a->prompts, err));
	TRY(continuation_run(lab, &a->prompts, &none, title, NULL, &a->replies, err));
	return continuation_write(lab, experiment, &none, &a->prompts, &a->replies, err);
fail:
	return err->code;
}

void answers_free(struct answers *a)
{
	continuation_free(&a->replies);
	free(a->prompts.data);
	*a = (struct answers){0};
}

static int write_ce(const struct answers *a, struct lab *lab, const struct condition *condition,
	const double *nll, const int32_t *count, struct err *err)
{
	const char *const *words = WORDS(a->experiment, condition->name);
	struct results *r = lab->job->results;

	if (condition->kind != CONDITION_NONE) /* written with the answers themselves */
		TRY(prompt_scale_write(r, &scores.prompt, words, &a->prompts, err));
	TRY(dataset_write(r, &scores.nll, words, &a->prompts.n, nll, err));
	return dataset_write(r, &scores.n_tokens, words, &a->prompts.n, count, err);
fail:
	return err->code;
}

/* The released code's figure: per batch, the sum over answer tokens divided by every position of
 * the batch as it is padded, prompts included; then the mean over batches. It depends on how
 * prompts are batched: here, as there, in the set's order, generate.prompts at a time. */
static double released_ce(const struct answers *a, const struct lab *lab, const double *nll,
	const int32_t *count)
{
	const size_t n = a->prompts.n, most = (size_t)lab->config->generate.prompts;
	double sum = 0;
	size_t n_batches = 0;

	for (size_t first = 0; first < n; first += most) {
		const size_t end = first + most < n ? first + most : n;
		size_t longest = 0;
		double batch = 0;

		for (size_t i = first; i < end; i++) {
			const size_t length = prompts_tokens(lab->prompts, a->prompts.data[i], 0)
						      .n +
					      (size_t)count[i];

			longest = length > longest ? length : longest;
			batch += nll[i];
		}
		sum += batch / (double)((end - first) * longest);
		n_batches++;
	}
	return sum / (double)n_batches;
}

/* CE goes to the summary beside the condition's refusal score. */
static int summarise(const struct answers *a, struct lab *lab, const struct condition *condition,
	const double *nll, const int32_t *count, struct err *err)
{
	struct summary_row row = {.n_prompts = a->prompts.n,
		.refusal = NAN,
		.p_refusal = NAN,
		.partial = NAN,
		.compliance = NAN,
		.kl = NAN};
	double sum = 0, tokens = 0;

	for (size_t i = 0; i < a->prompts.n; i++) {
		sum += nll[i];
		tokens += count[i];
	}
	row.ce = sum / tokens;
	row.ce_released = released_ce(a, lab, nll, count);
	snprintf(row.experiment, sizeof row.experiment, "%s", a->experiment);
	snprintf(row.condition, sizeof row.condition, "%s", condition->name);
	return summary_add(&lab->job->summary, &row, err);
}

int answers_score(const struct answers *a, struct lab *lab, const struct condition *condition,
	struct err *err)
{
	struct arena memory = {0};
	double *nll = arena_alloc(&memory, a->prompts.n, sizeof *nll);
	int32_t *count = arena_alloc(&memory, a->prompts.n, sizeof *count);
	char title[96];

	err_clear(err);
	TRY(arena_check(&memory, "cross-entropy", err));
	snprintf(title, sizeof title, "%s: %s", a->experiment, condition->name);
	TRY(continuation_ce(lab, &a->prompts, &a->replies, condition, title, nll, count, err));
	TRY(write_ce(a, lab, condition, nll, count, err));
	TRY(summarise(a, lab, condition, nll, count, err));
fail:
	arena_free(&memory);
	return err->code;
}
