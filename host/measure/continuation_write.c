/* SPDX-License-Identifier: MIT
 *
 * continuation_write.c - replies and their scores into the result file. Contract: continuation.h.
 */
#include "host/measure/continuation.h"

#include "host/base/arena.h"
#include "host/lab/tables.h"
#include "host/measure/ties.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	struct dataset text, ended_by, lead, token_ids, token_end, reply_token, prompt;
	struct dataset refusal, class, p_refusal, kl, scored_prompt;
} replies = {
	.text = {"/generations/EXPERIMENT/CONDITION/text", {"prompt"}, RESULTS_TEXT, "",
		"reply, decoded without special tokens; bytes that are no UTF-8 became U+FFFD"},
	.ended_by = {"/generations/EXPERIMENT/CONDITION/ended_by", {"prompt"}, RESULTS_I32, "",
		"stop token that ended it; -1 = cut at `generate.max_new_tokens`"},
	.lead = {"/generations/EXPERIMENT/CONDITION/lead", {"prompt"}, RESULTS_F32, "logit",
		"the least by which a token of the reply, or what ended it, led the next most "
		"probable one: below 2^-13 (2^-3 where products round to bfloat16) another batch or "
		"processor may write another reply"},
	.token_ids = {"/generations/EXPERIMENT/CONDITION/token_ids", {"reply_token"}, RESULTS_I32,
		"", "ids of all replies, stop tokens left out, end to end", .compress = true},
	.token_end = {"/generations/EXPERIMENT/CONDITION/token_end", {"prompt"}, RESULTS_I32, "",
		"end of each reply in `token_ids`; it begins where the last one ends"},
	.reply_token = {"/generations/EXPERIMENT/CONDITION/reply_token", {"reply_token"},
		RESULTS_I32, "", "token of all replies"},
	.prompt = PROMPT_SCALE("/generations/EXPERIMENT/CONDITION"),
	.refusal = {"/scores/EXPERIMENT/CONDITION/refusal", {"prompt"}, RESULTS_U8, "1",
		"1 if the reply is a refusal: with `refusal.measure` \"substrings\" if one of "
		"`refusal.substrings` occurs in it, ASCII letters in either case; with \"rules\" if "
		"that is its class"},
	.class = {"/scores/EXPERIMENT/CONDITION/class", {"prompt"}, RESULTS_TEXT, "",
		"with `refusal.measure` \"rules\": `refusal`, `partial` or `compliance`, as the rules "
		"of experiments/README.md tell them; empty for a reply without a word"},
	.p_refusal = {"/scores/EXPERIMENT/CONDITION/p_refusal", {"prompt"}, RESULTS_F64, "1",
		"probability that the first token is the refusal token"},
	.kl = {"/scores/EXPERIMENT/CONDITION/kl", {"prompt"}, RESULTS_F64, "nat",
		"KL of the first token's distribution, unedited to this; NaN for `none`"},
	.scored_prompt = PROMPT_SCALE("/scores/EXPERIMENT/CONDITION"),
};

const struct dataset_section continuation_section = {"Replies and their scores",
	"Only the unedited answers of `coherence` and `sweep_kstar_answers` are generated, so `none` "
	"alone has `refusal`, `p_refusal` and `kl` there, and replies.",
	DATASETS(replies)};

/* Bytes of a token's text, at most: as long as few tokens are. */
static const double TOKEN_TEXT = 6;

int continuation_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	size_t n_conditions, struct err *err)
{
	static const struct plan_what what = {"replies", "generate.max_new_tokens"};
	const struct config *c = lab->config;
	const size_t d_model = lab->machine->model->arch.d_model,
		     most = prompts->n * (size_t)c->generate.max_new_tokens,
		     least = lab->prompts->stop.ids.n == 0 ? most
							   : 0; /* nothing ends one earlier */
	const double times = (double)n_conditions,
		     fixed = (double)prompts->n * (double)(12 + 4 * d_model);
	size_t n_batches;

	TRY(plan_generate(plan, prompts, n_conditions, err));
	TRY(plan_batches(lab, prompts, (size_t)c->batch.tokens, (size_t)c->generate.prompts,
		&n_batches, err));
	TRY(plan_write(plan, what, &continuation_section,
		LENGTHS(LENGTH("prompt", prompts->n), {"reply_token", least, most}), n_conditions,
		err));
	TRY(plan_add(plan, what, (struct plan_bytes){0, times * TOKEN_TEXT * (double)most}, err));
	return plan_units(plan, what, n_conditions * n_batches,
		(struct plan_bytes){times * (fixed + 4 * (double)least),
			times * (fixed + 4 * (double)most)},
		err);
fail:
	return err->code;
}

/* NaN for an empty or unmeasured column. */
static double mean_of(const double *values, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += values[i];
	return n > 0 ? sum / (double)n : NAN;
}

/* NaN where there are no classes. */
static double share_of(const struct continuation *c, enum reply_class class)
{
	size_t n = 0;

	for (size_t i = 0; c->class && i < c->n; i++)
		n += c->class[i] == class;
	return c->class && c->n > 0 ? (double)n / (double)c->n : NAN;
}

static int summarise(struct lab *lab, const char *experiment, const struct condition *condition,
	const struct continuation *c, struct err *err)
{
	struct summary_row row = {.n_prompts = c->n,
		.partial = share_of(c, REPLY_PARTIAL),
		.compliance = share_of(c, REPLY_COMPLIANCE),
		.p_refusal = mean_of(c->p_refusal, c->n),
		.kl = mean_of(c->kl, c->n),
		.ce = NAN,
		.ce_released = NAN};

	snprintf(row.experiment, sizeof row.experiment, "%s", experiment);
	snprintf(row.condition, sizeof row.condition, "%s", condition->name);
	for (size_t i = 0; i < c->n; i++)
		row.refusal += (double)c->refused[i] / (double)c->n;
	lab->job->summary.classes = c->class != NULL;
	return summary_add(&lab->job->summary, &row, err);
}

/* Says how many replies hang on it. */
static void tell_undecided(const struct lab *lab, const char *experiment,
	const struct condition *condition, const struct continuation *c)
{
	const size_t n = ties_count_leads(lab, c->lead, c->n);

	ties_tell(lab, n,
		"%s: %s: in %zu of %zu replies a token led by less than %g logits, which rounding may "
		"turn round",
		experiment, condition->name, n, c->n, readout_noise(&lab->machine->readout));
}

/* Token ids end to end; token_end[i] is where reply i ends. */
static int write_tokens(struct results *r, const char *const *words, const struct continuation *c,
	struct err *err)
{
	struct arena memory = {0};
	int32_t *end = arena_alloc(&memory, c->n, sizeof *end);

	err_clear(err);
	TRY(arena_check(&memory, "replies", err));
	for (size_t i = 0; i < c->n; i++)
		end[i] = (int32_t)c->start[i + 1];
	TRY(dataset_write_counting(r, &replies.reply_token, words, c->tokens.n, err));
	TRY(dataset_write(r, &replies.token_ids, words, &c->tokens.n, c->tokens.data, err));
	TRY(dataset_write(r, &replies.token_end, words, &c->n, end, err));
fail:
	arena_free(&memory);
	return err->code;
}

static int write_classes(struct results *r, const char *const *words, const struct continuation *c,
	struct err *err)
{
	const char **names = malloc(c->n * sizeof *names + 1);

	if (!names)
		return err_nomem(err, "replies", c->n * sizeof *names);
	for (size_t i = 0; i < c->n; i++)
		names[i] = reply_class_names[c->class[i]];
	err_clear(err);
	dataset_write(r, &replies.class, words, &c->n, names, err);
	free(names);
	return err->code;
}

int continuation_write(struct lab *lab, const char *experiment, const struct condition *condition,
	const struct prompt_ids *prompts, const struct continuation *c, struct err *err)
{
	const char *const *words = WORDS(experiment, condition->name);
	struct results *r = lab->job->results;

	TRY(prompt_scale_write(r, &replies.prompt, words, prompts, err));
	TRY(dataset_write(r, &replies.text, words, &c->n, c->text, err));
	TRY(dataset_write(r, &replies.ended_by, words, &c->n, c->ended_by, err));
	TRY(dataset_write(r, &replies.lead, words, &c->n, c->lead, err));
	tell_undecided(lab, experiment, condition, c);
	TRY(write_tokens(r, words, c, err));
	TRY(prompt_scale_write(r, &replies.scored_prompt, words, prompts, err));
	TRY(dataset_write(r, &replies.refusal, words, &c->n, c->refused, err));
	if (c->class)
		TRY(write_classes(r, words, c, err));
	TRY(dataset_write(r, &replies.p_refusal, words, &c->n, c->p_refusal, err));
	TRY(dataset_write(r, &replies.kl, words, &c->n, c->kl, err));
	return summarise(lab, experiment, condition, c, err);
fail:
	return err->code;
}
