/* SPDX-License-Identifier: MIT
 *
 * coherence.c - what clamping costs the model on harmless prompts (paper tables 5 to 7).
 *
 * The unedited model answers harmless prompts greedily; its answers are then scored, teacher
 * forced, under each condition of jailbreak.c with global sets:
 *
 *   CE = sum over answer tokens of -log p(token) / number of answer tokens
 *
 * the stop token included when the answer ended with one. Questions with right answers (GSM8K,
 * ARC) are answered under the same conditions, as chat prompts, without examples; the score is the
 * share of right ones (host/text/right_answer.h).
 *
 * Departs: how the paper prompts GSM8K and ARC and reads the replies is not published; shares can
 *          be compared between conditions, less so with its tables.
 * Writes:  /generations/coherence/none, /scores/coherence/CONDITION/{nll,n_tokens};
 *          /generations/questions/CONDITION, /scores/questions/CONDITION, with {right}.
 * Cost:    one generation, then one forward pass over prompts and answers per condition; one
 *          generation of the questions per condition.
 */
#include "experiments/experiments.h"

#include "host/base/log.h"
#include "host/measure/answers.h"
#include "host/store/table.h"
#include "host/text/right_answer.h"

#include <stdio.h>
#include <stdlib.h>

struct work {
	struct lab *lab;
	struct answers answers;
	struct prompt_ids questions;
	struct continuation unedited; /* replies to them */
};

static int write_right(struct work *w, const struct condition *condition,
	const struct continuation *replies, struct err *err)
{
	char group[128];
	const struct table t = {w->lab->results, group};
	uint8_t *right = calloc(replies->n + 1, sizeof *right);
	size_t n_right = 0;
	int rc;

	if (!right)
		return err_nomem(err, "scores", replies->n);
	for (size_t i = 0; i < replies->n; i++) {
		right[i] = is_right_answer(replies->text[i],
			lab_answer(w->lab, w->questions.data[i]));
		n_right += right[i];
	}
	snprintf(group, sizeof group, "/scores/questions/%s", condition->name);
	rc = table_write(t,
		&(struct table_column){"right", RESULTS_U8, {"prompt"}, {replies->n},
			"1 if the reply gives the right answer", "1"},
		right, err);
	free(right);
	log_info("  right answers: %zu of %zu", n_right, replies->n);
	return rc;
}

/* Answers to the questions under a condition. */
static int ask(struct work *w, const struct condition *condition, struct err *err)
{
	const bool edited = condition->kind != CONDITION_NONE;
	struct continuation replies = {0}, *out = edited ? &replies : &w->unedited;
	char title[96];

	err_clear(err);
	if (w->questions.n == 0)
		return 0;
	snprintf(title, sizeof title, "questions: %s", condition->name);
	TRY(continuation_run(w->lab, &w->questions, condition, title, edited ? &w->unedited : NULL,
		out, err));
	TRY(continuation_write(w->lab, "questions", condition, &w->questions, out, err));
	TRY(write_right(w, condition, out, err));
fail:
	continuation_free(&replies);
	return err->code;
}

static int score(struct work *w, const struct condition *condition, struct err *err)
{
	if (answers_score(&w->answers, w->lab, condition, err))
		return err->code;
	return ask(w, condition, err);
}

/* Every question has a right answer. */
int check_coherence(const struct lab *lab, struct err *err)
{
	const struct text_list *names = &lab->config->coherence.questions;
	struct prompt_ids questions = {0};

	err_clear(err);
	for (size_t i = 0; i < names->n; i++)
		TRY(lab_set(lab, names->items[i], &questions, err));
	for (size_t i = 0; i < questions.n; i++) {
		if (lab_answer(lab, questions.data[i]))
			continue;
		err_set(err, ERR_CONFIG,
			"coherence.questions: expected questions with answers (an \"answer\", or "
			"choices and an answerKey), found none in prompts.%s for \"%.40s\"",
			lab_set_name(lab, questions.data[i]), lab_text(lab, questions.data[i]));
		goto fail;
	}
fail:
	free(questions.data);
	return err->code;
}

int experiment_coherence(struct lab *lab, struct err *err)
{
	const struct config *cfg = lab->config;
	const struct condition none = condition_none(), ablate = condition_ablate();
	struct work w = {.lab = lab};

	err_clear(err);
	/* 1. The unedited model's own answers to harmless prompts. */
	TRY(answers_run(&w.answers, lab, "coherence", cfg->coherence.prompts, err));
	for (size_t i = 0; i < cfg->coherence.questions.n; i++)
		TRY(lab_set(lab, cfg->coherence.questions.items[i], &w.questions, err));

	/* 2. Their cross-entropy under each condition, and questions answered under it. */
	TRY(score(&w, &none, err));
	if (lab->direction.known)
		TRY(score(&w, &ablate, err));
	for (int m = 0; m < N_METHODS; m++) {
		if (!lab->sets[m].known ||
			!text_list_holds(&cfg->coherence.methods, method_names[m]))
			continue;
		for (size_t k = 0; k < cfg->jailbreak.scale.n; k++) {
			const struct condition clamp = condition_scale((enum method)m, false,
				cfg->jailbreak.scale.items[k]);

			TRY(score(&w, &clamp, err));
		}
	}
fail:
	continuation_free(&w.unedited);
	free(w.questions.data);
	answers_free(&w.answers);
	return err->code;
}
