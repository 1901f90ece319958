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
#include "experiments/experiment.h"

#include "host/base/log.h"
#include "host/measure/answers.h"
#include "host/text/right_answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct coherence_settings {
	struct text_list methods, questions;
};

#define SETTINGS struct coherence_settings
static const struct setting settings[] = {
	TEXTS("coherence.methods", methods,
		"[\"cossim_ap\", \"ap\", \"cossim\", \"actdiff\", \"random\"]", method_names,
		"whose global sets are used"),
	PROMPT_SETS("coherence.questions", questions, "[]", NULL,
		"prompt sets with right answers (GSM8K, ARC) that are answered under each condition"),
	MOVED("coherence.prompts", "clamp.harmless"),
};

static const struct {
	struct dataset right;
} datasets = {
	.right = {"/scores/questions/CONDITION/right", {"prompt"}, RESULTS_U8, "1",
		"1 if the reply gives the right answer, as host/text/right_answer.h reads it"},
};

static const struct dataset_section section = {"`coherence`",
	"Replies to the questions, and their scores, are under EXPERIMENT `questions`.",
	DATASETS(datasets)};

struct work {
	struct lab *lab;
	struct answers answers;
	struct prompt_ids questions;
	struct continuation unedited; /* replies to them */
};

static int write_right(struct work *w, const struct condition *condition,
	const struct continuation *replies, struct err *err)
{
	uint8_t *right = calloc(replies->n + 1, sizeof *right);
	size_t n_right = 0;
	int rc;

	if (!right)
		return err_nomem(err, "scores", replies->n);
	for (size_t i = 0; i < replies->n; i++) {
		right[i] = is_right_answer(replies->text[i],
			prompts_answer(w->lab->prompts, w->questions.data[i]));
		n_right += right[i];
	}
	rc = dataset_write(w->lab->job->results, &datasets.right, WORDS(condition->name),
		&replies->n, right, err);
	free(right);
	log_info("  right answers: %zu of %zu", n_right, replies->n);
	return rc;
}

/* Answers to the questions under a condition. */
static int ask(struct work *w, const struct condition *condition, struct err *err)
{
	const bool edited = condition->kind != CONDITION_NONE;
	struct continuation replies = {0}, *out = edited ? &replies : &w->unedited;

	err_clear(err);
	if (w->questions.n == 0)
		return 0;
	TRY(continuation_record(w->lab, "questions", &w->questions, condition,
		edited ? &w->unedited : NULL, out, err));
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
static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct coherence_settings *s = values;
	struct prompt_ids questions = {0};

	(void)f;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &s->questions, &questions, err));
	for (size_t i = 0; i < questions.n; i++) {
		if (prompts_answer(lab->prompts, questions.data[i]))
			continue;
		err_set(err, ERR_CONFIG,
			"coherence.questions: expected questions with answers (an \"answer\", or "
			"choices and an answerKey), found none in prompts.%s for \"%.40s\"",
			prompts_set_name(lab->prompts, questions.data[i]),
			prompts_text(lab->prompts, questions.data[i]));
		goto fail;
	}
fail:
	free(questions.data);
	return err->code;
}

/* The conditions that `run` goes through. */
static size_t count_conditions(const struct lab *lab, const struct findings *f,
	const struct coherence_settings *s)
{
	size_t n = f->direction.expected ? 2 : 1; /* none, ablated */

	for (int m = 0; m < N_METHODS; m++)
		if (f->sets[m].expected && text_list_holds(&s->methods, method_names[m]))
			n += lab->config->clamp.scale.n;
	return n;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct coherence_settings *s = values;
	const size_t n = count_conditions(lab, f, s);
	struct prompt_ids questions = {0};

	err_clear(err);
	TRY(answers_plan(lab, out, lab->config->clamp.harmless, n, err));
	TRY(prompts_of_sets(lab->prompts, &s->questions, &questions, err));
	if (questions.n > 0) {
		TRY(continuation_plan(lab, out, &questions, n, err));
		TRY(plan_write(out, (struct plan_what){"right answers", NULL}, &section,
			LENGTHS(LENGTH("prompt", questions.n)), n, err));
	}
fail:
	free(questions.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct coherence_settings *s = values;
	const struct real_list *scale = &lab->config->clamp.scale;
	const struct condition none = condition_none();
	struct work w = {.lab = lab};

	err_clear(err);
	/* 1. The unedited model's own answers to harmless prompts. */
	TRY(answers_run(&w.answers, lab, "coherence", lab->config->clamp.harmless, err));
	TRY(prompts_of_sets(lab->prompts, &s->questions, &w.questions, err));

	/* 2. Their cross-entropy under each condition, and questions answered under it. */
	TRY(score(&w, &none, err));
	if (f->direction.known) {
		const struct condition ablate = condition_ablate(&f->direction);

		TRY(score(&w, &ablate, err));
	}
	for (int m = 0; m < N_METHODS; m++) {
		if (!f->sets[m].known || !text_list_holds(&s->methods, method_names[m]))
			continue;
		for (size_t k = 0; k < scale->n; k++) {
			const struct condition clamp = condition_scale((enum method)m, &f->sets[m],
				false, scale->items[k]);

			TRY(score(&w, &clamp, err));
		}
	}
fail:
	continuation_free(&w.unedited);
	free(w.questions.data);
	answers_free(&w.answers);
	return err->code;
}

/* Where jailbreak ran as well, its table has these figures. */
static void print(const struct lab *lab, const struct findings *f)
{
	const struct summary *s = &lab->job->summary;

	(void)f;
	if (summary_find(s, "jailbreak", "none", false))
		return;
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->data[i].experiment, "coherence") == 0 && !isnan(s->data[i].ce))
			printf("  coherence %-28s CE %.4f (as released: %.4f)\n",
				s->data[i].condition, s->data[i].ce, s->data[i].ce_released);
}

const struct experiment experiment_coherence = {
	.name = "coherence",
	.asks = "what does clamping cost the model on harmless prompts?",
	SETTINGS_OF(settings, struct coherence_settings),
	.writes = &section,
	.takes = FIND_DIRECTION | FIND_SETS,
	.prompts = PROMPTS_HARMLESS,
	.check = check,
	.plan = plan,
	.run = run,
	.print = print,
};
