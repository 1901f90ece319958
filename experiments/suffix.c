/* SPDX-License-Identifier: MIT
 *
 * suffix.c - what do adversarial suffixes do to the features of refusal (paper section 5.2, figure
 * 4, table 3)?
 *
 * A harmful prompt gets its suffix word by word. After k words:
 *
 *   A(k)   sum of the activations of F_R, mean over the prompt's last 5 tokens
 *   suppression(k) = 1 - A(k) / A(0)
 *   step(k)        = suppression(k) - suppression(k - 1): what word k did
 *   extra(k)       = (A(k) - A'(k)) / A(0), A' with F_H clamped as well, f <- c f: what is left
 *                    for the features of harm to contribute
 *
 * and extra(k) of random sets like F_H. A suffix is successful when the first token of the reply
 * to the whole prompt is not the refusal token and that of the reply to the bare one is; failed
 * when both are. F_R and F_H: categories.c.
 * Departs: the paper judges whole replies; here the first token decides.
 * Writes: /suffix/...: A of every feature, per prompt and clamp; suppression and step per prompt;
 *         success and the word with the largest step per suffix.
 * Cost:   per clamp, one forward pass over all prompts of all lengths.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/measure/harm_readings.h"
#include "host/measure/ties.h"

#include <math.h>

struct suffix_settings {
	char *prompts;
};

#define SETTINGS struct suffix_settings
static const struct setting settings[] = {
	PROMPTS("suffix.prompts", prompts, "\"suffixes\"", NULL,
		"prompt set with suffixes, taken word by word (take = \"words\")"),
	MOVED("suffix.scale", "clamp.scale"),
	MOVED("suffix.draws", "controls.draws"),
	MOVED("suffix.positions", "readings.positions"),
};

static const struct {
	struct dataset prompt;
	struct harm_readings_table readings;
	struct dataset suffix_of, word, suppression, step;
	struct dataset suffix, text, n_words, largest_step, refused_bare, success;
} datasets = {
	.prompt = PROMPT_SCALE("/suffix"),
	.readings = HARM_READINGS_TABLE("/suffix"),
	.suffix_of = {"/suffix/suffix_of", {"prompt"}, RESULTS_I32, "",
		"suffix that the prompt has words of, a row of `suffix`"},
	.word = {"/suffix/word", {"prompt"}, RESULTS_I32, "1",
		"words of the suffix that the prompt has, 0 for the bare one"},
	.suppression = {"/suffix/suppression", {"prompt"}, RESULTS_F64, "1",
		"1 - A / A of the bare prompt, A the sum of `activation` over features, unedited"},
	.step = {"/suffix/step", {"prompt"}, RESULTS_F64, "1",
		"suppression less that of one word before; NaN for the bare prompt"},
	.suffix = {"/suffix/suffix", {"suffix"}, RESULTS_I32, "", "suffixes of a prompt"},
	.text = {"/suffix/text", {"suffix"}, RESULTS_TEXT, "", "the whole suffix"},
	.n_words = {"/suffix/n_words", {"suffix"}, RESULTS_I32, "1", "words of the suffix"},
	.largest_step = {"/suffix/largest_step", {"suffix"}, RESULTS_I32, "1",
		"the word with the largest step, from 1"},
	.refused_bare = {"/suffix/refused_bare", {"suffix"}, RESULTS_U8, "1",
		"1 if the reply to the bare prompt begins with the refusal token"},
	.success = {"/suffix/success", {"suffix"}, RESULTS_U8, "1",
		"1 if `refused_bare` and the reply to the whole prompt begins otherwise"},
};

static const struct dataset_section section = {"`suffix`", NULL, DATASETS(datasets)};

/* One suffix: its prompts follow each other in the list, the bare one first. */
struct suffix {
	size_t first, n_words;
	bool refused_bare, success;
	size_t largest; /* word with the largest step, from 1 */
};

struct work {
	struct lab *lab;
	struct prompt_ids prompts;
	struct {
		struct suffix *data;
		size_t n, cap;
	} suffixes;
	struct harm_readings readings;
	size_t n_narrow, n_close;   /* suffixes whose success, whose largest step rounding may turn
				     * round */
	struct arena memory;        /* what follows is in it */
	double *suppression, *step; /* [prompts.n] */
};

/* ---- 1. prompts -------------------------------------------------------------------------- */

static int find_suffixes(struct work *w, struct err *err)
{
	for (size_t i = 0; i < w->prompts.n; i++) {
		const char *suffix = prompts_suffix(w->lab->prompts, w->prompts.data[i]);

		if (!*suffix) {
			if (vec_push(&w->suffixes, ((struct suffix){.first = i}), err))
				return err->code;
		} else {
			w->suffixes.data[w->suffixes.n - 1].n_words++;
		}
	}
	return 0;
}

/* ---- 3. word by word --------------------------------------------------------------------- */

/* Whether rounding may turn round that a prompt is refused, or not. */
static bool is_narrow(const struct work *w, size_t prompt)
{
	const float *lead = w->readings.edits.refusal_lead + HARM_UNEDITED * w->prompts.n;

	return ties_is_narrow(w->lab, lead[prompt]);
}

static bool refused(const struct work *w, size_t prompt)
{
	return w->readings.edits.first_token[HARM_UNEDITED * w->prompts.n + prompt] ==
	       w->lab->prompts->refusal_token;
}

/* Whether another word's step is as large but for what rounding moves. Suppression is a share of
 * the activation without the suffix, as the steps are, whose differences are off by four times as
 * much. */
static bool has_equal_step(const struct work *w, const struct suffix *s)
{
	const double largest = w->step[s->first + s->largest];
	size_t n = 0;

	for (size_t k = 1; k <= s->n_words; k++)
		n += w->step[s->first + k] > largest - 4 * ties_of_effect(w->lab).share;
	return n > 1;
}

static void follow(struct work *w, struct suffix *s)
{
	const double bare = readings_sum(&w->readings.edits, HARM_UNEDITED, s->first);

	w->suppression[s->first] = 0;
	w->step[s->first] = NAN;
	s->largest = 1;
	for (size_t k = 1; k <= s->n_words; k++) {
		const size_t i = s->first + k;

		w->suppression[i] = 1 - readings_sum(&w->readings.edits, HARM_UNEDITED, i) / bare;
		w->step[i] = w->suppression[i] - w->suppression[i - 1];
		if (w->step[i] > w->step[s->first + s->largest])
			s->largest = k;
	}
	w->n_narrow += is_narrow(w, s->first) || is_narrow(w, s->first + s->n_words);
	w->n_close += has_equal_step(w, s);
	s->refused_bare = refused(w, s->first);
	s->success = s->refused_bare && !refused(w, s->first + s->n_words);
}

static int follow_all(struct work *w, struct err *err)
{
	const size_t n = w->prompts.n;

	w->suppression = arena_alloc(&w->memory, n, sizeof *w->suppression);
	w->step = arena_alloc(&w->memory, n, sizeof *w->step);
	if (arena_check(&w->memory, "suppression", err))
		return err->code;
	for (size_t i = 0; i < w->suffixes.n; i++)
		follow(w, &w->suffixes.data[i]);
	ties_tell(w->lab, w->n_narrow,
		"suffix: of %zu of %zu suffixes rounding may turn round whether a reply begins with the "
		"refusal token, by which they succeed or fail",
		w->n_narrow, w->suffixes.n);
	ties_tell(w->lab, w->n_close,
		"suffix: of %zu of %zu suffixes rounding may turn round which word's step is largest",
		w->n_close, w->suffixes.n);
	return 0;
}

/* ---- 4. record ------------------------------------------------------------------------- */

static int write_prompts(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->prompts.n;
	int32_t *suffix_of = arena_alloc(&w->memory, n, sizeof *suffix_of);
	int32_t *word = arena_alloc(&w->memory, n, sizeof *word);

	TRY(arena_check(&w->memory, "prompts", err));
	for (size_t i = 0; i < w->suffixes.n; i++)
		for (size_t k = 0; k <= w->suffixes.data[i].n_words; k++) {
			suffix_of[w->suffixes.data[i].first + k] = (int32_t)i;
			word[w->suffixes.data[i].first + k] = (int32_t)k;
		}
	TRY(dataset_write(r, &datasets.suffix_of, NULL, &n, suffix_of, err));
	TRY(dataset_write(r, &datasets.word, NULL, &n, word, err));
	TRY(dataset_write(r, &datasets.suppression, NULL, &n, w->suppression, err));
	return dataset_write(r, &datasets.step, NULL, &n, w->step, err);
fail:
	return err->code;
}

static int write_suffixes(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->suffixes.n;
	const char **text = arena_alloc(&w->memory, n, sizeof *text);
	int32_t *n_words = arena_alloc(&w->memory, n, sizeof *n_words);
	int32_t *largest = arena_alloc(&w->memory, n, sizeof *largest);
	uint8_t *refused_bare = arena_alloc(&w->memory, n, sizeof *refused_bare);
	uint8_t *success = arena_alloc(&w->memory, n, sizeof *success);

	TRY(arena_check(&w->memory, "suffixes", err));
	for (size_t i = 0; i < n; i++) {
		const struct suffix *s = &w->suffixes.data[i];

		text[i] = prompts_suffix(w->lab->prompts, w->prompts.data[s->first + s->n_words]);
		n_words[i] = (int32_t)s->n_words;
		largest[i] = (int32_t)s->largest;
		refused_bare[i] = s->refused_bare;
		success[i] = s->success;
	}
	TRY(dataset_write_counting(r, &datasets.suffix, NULL, n, err));
	TRY(dataset_write(r, &datasets.text, NULL, &n, text, err));
	TRY(dataset_write(r, &datasets.n_words, NULL, &n, n_words, err));
	TRY(dataset_write(r, &datasets.largest_step, NULL, &n, largest, err));
	TRY(dataset_write(r, &datasets.refused_bare, NULL, &n, refused_bare, err));
	return dataset_write(r, &datasets.success, NULL, &n, success, err);
fail:
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	TRY(prompt_scale_write(w->lab->job->results, &datasets.prompt, NULL, &w->prompts, err));
	TRY(write_prompts(w, err));
	TRY(write_suffixes(w, err));
	TRY(results_attribute_integer(w->lab->job->results, "/suffix", "undecided",
		(int64_t)w->n_narrow, err));
	return harm_readings_write(&w->readings, &datasets.readings, "/suffix", err);
fail:
	return err->code;
}

static void say(const struct work *w)
{
	double suppression[2] = {0};
	size_t n[2] = {0};

	for (size_t i = 0; i < w->suffixes.n; i++) {
		const struct suffix *s = &w->suffixes.data[i];

		if (!s->refused_bare)
			continue;
		suppression[s->success] += w->suppression[s->first + s->n_words];
		n[s->success]++;
	}
	log_info(
		"suffix: %zu successful suffixes suppress %zu features of refusal by %.2f, %zu failed "
		"ones by %.2f",
		n[1], w->readings.edits.features->n, suppression[1] / (double)n[1], n[0],
		suppression[0] / (double)n[0]);
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct suffix_settings *s = values;
	const struct prompts_config *set = config_prompts(lab->config, s->prompts);

	(void)f;
	if (set->take[0] == 'w')
		return 0;
	return err_set(err, ERR_CONFIG,
		"prompts.%s.take: suffix needs prompts that grow word by word, \"words\", found \"%s\"",
		set->name, set->take);
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct suffix_settings *s = values;
	struct work w = {.lab = (struct lab *)lab};

	(void)f;
	err_clear(err);
	TRY(prompts_of_set(lab->prompts, s->prompts, &w.prompts, err));
	TRY(find_suffixes(&w, err));
	TRY(harm_readings_plan(lab, out, &w.prompts, &section,
		LENGTHS(LENGTH("suffix", w.suffixes.n)), err));
fail:
	free(w.suffixes.data);
	free(w.prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct suffix_settings *s = values;
	struct work w = {.lab = lab};

	err_clear(err);

	/* 1. Every prompt with 0, 1, 2, ... words of its suffix. */
	TRY(prompts_of_set(lab->prompts, s->prompts, &w.prompts, err));
	TRY(find_suffixes(&w, err));

	/* 2. F_R on all of them: unedited, with F_H clamped, with random sets clamped. */
	TRY(harm_readings_take(&w.readings, lab, &w.prompts, &f->roles.refusal, &f->roles.harm,
		"suffix", err));

	/* 3. What each word did. */
	TRY(follow_all(&w, err));

	/* 4. Record. */
	TRY(write(&w, err));
	say(&w);
fail:
	harm_readings_free(&w.readings);
	arena_free(&w.memory);
	free(w.suffixes.data);
	free(w.prompts.data);
	return err->code;
}

const struct experiment experiment_suffix = {
	.name = "suffix",
	.asks = "what do adversarial suffixes do to the features of refusal?",
	SETTINGS_OF(settings, struct suffix_settings),
	.writes = &section,
	.needs = NEED_ROLES,
	.check = check,
	.plan = plan,
	.run = run,
};
