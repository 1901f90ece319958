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

#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/measure/readings.h"

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

enum { NONE, HARM, N_EDITS };

static const char *const edit_names[N_EDITS] = {"none", "harm"};

/* One suffix: its prompts follow each other in the list, the bare one first. */
struct suffix {
	size_t first, n_words;
	bool refused_bare, success;
	size_t largest; /* word with the largest step, from 1 */
};

struct work {
	struct lab *lab;
	const struct feature_set *refusal, *harm;
	struct prompt_ids prompts;
	struct {
		struct suffix *data;
		size_t n, cap;
	} suffixes;
	struct readings edits, random; /* of F_R; rows: N_EDITS, draws */
	double *suppression, *step;    /* [prompts.n] */
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

static bool refused(const struct work *w, size_t prompt)
{
	return w->edits.first_token[NONE * w->prompts.n + prompt] == w->lab->prompts->refusal_token;
}

static void follow(struct work *w, struct suffix *s)
{
	const double bare = readings_sum(&w->edits, NONE, s->first);

	w->suppression[s->first] = 0;
	w->step[s->first] = NAN;
	s->largest = 1;
	for (size_t k = 1; k <= s->n_words; k++) {
		const size_t i = s->first + k;

		w->suppression[i] = 1 - readings_sum(&w->edits, NONE, i) / bare;
		w->step[i] = w->suppression[i] - w->suppression[i - 1];
		if (w->step[i] > w->step[s->first + s->largest])
			s->largest = k;
	}
	s->refused_bare = refused(w, s->first);
	s->success = s->refused_bare && !refused(w, s->first + s->n_words);
}

static int follow_all(struct work *w, struct err *err)
{
	const size_t n = w->prompts.n;

	w->suppression = calloc(n + 1, sizeof *w->suppression);
	w->step = calloc(n + 1, sizeof *w->step);
	if (!w->suppression || !w->step)
		return err_nomem(err, "suppression", n * sizeof *w->suppression);
	for (size_t i = 0; i < w->suffixes.n; i++)
		follow(w, &w->suffixes.data[i]);
	return 0;
}

/* ---- 4. record ------------------------------------------------------------------------- */

static int write_prompts(struct work *w, struct table t, struct err *err)
{
	const size_t n = w->prompts.n;
	int32_t *columns = malloc(2 * n * sizeof *columns + 1);

	err_clear(err);
	if (!columns)
		return err_nomem(err, "prompts", 2 * n * sizeof *columns);
	for (size_t i = 0; i < w->suffixes.n; i++)
		for (size_t k = 0; k <= w->suffixes.data[i].n_words; k++) {
			columns[w->suffixes.data[i].first + k] = (int32_t)i;
			columns[n + w->suffixes.data[i].first + k] = (int32_t)k;
		}
	TRY(table_write(t,
		&(struct table_column){"suffix_of", RESULTS_I32, {"prompt"}, {n},
			"suffix that the prompt has words of, a row of suffix", ""},
		columns, err));
	TRY(table_write(t,
		&(struct table_column){"word", RESULTS_I32, {"prompt"}, {n},
			"how many words of the suffix the prompt has", "1"},
		columns + n, err));
	TRY(table_write(t,
		&(struct table_column){"suppression", RESULTS_F64, {"prompt"}, {n},
			"of the features of refusal, against the bare prompt", "1"},
		w->suppression, err));
	TRY(table_write(t,
		&(struct table_column){"step", RESULTS_F64, {"prompt"}, {n},
			"suppression less that of one word before; NaN for the bare prompt", "1"},
		w->step, err));
fail:
	free(columns);
	return err->code;
}

static int write_suffixes(struct work *w, struct table t, struct err *err)
{
	const size_t n = w->suffixes.n;
	const char **texts = malloc(n * sizeof *texts + 1);
	int32_t *words = malloc(2 * n * sizeof *words + 1);
	uint8_t *flags = malloc(2 * n + 1);

	err_clear(err);
	if (!texts || !words || !flags) {
		err_nomem(err, "suffixes", n * sizeof *texts);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		const struct suffix *s = &w->suffixes.data[i];

		texts[i] = prompts_suffix(w->lab->prompts, w->prompts.data[s->first + s->n_words]);
		words[i] = (int32_t)s->n_words;
		words[n + i] = (int32_t)s->largest;
		flags[i] = s->refused_bare;
		flags[n + i] = s->success;
	}
	TRY(table_scale(t, "suffix", n, "suffix of a prompt", err));
	TRY(table_write(t,
		&(struct table_column){"text", RESULTS_TEXT, {"suffix"}, {n}, "the whole suffix",
			""},
		texts, err));
	TRY(table_write(t,
		&(struct table_column){"n_words", RESULTS_I32, {"suffix"}, {n},
			"words of the suffix", "1"},
		words, err));
	TRY(table_write(t,
		&(struct table_column){"largest_step", RESULTS_I32, {"suffix"}, {n},
			"the word with the largest step, from 1", "1"},
		words + n, err));
	TRY(table_write(t,
		&(struct table_column){"refused_bare", RESULTS_U8, {"suffix"}, {n},
			"1 if the bare prompt's reply begins with the refusal token", "1"},
		flags, err));
	TRY(table_write(t,
		&(struct table_column){"success", RESULTS_U8, {"suffix"}, {n},
			"1 if refused_bare and the whole prompt's reply begins otherwise", "1"},
		flags + n, err));
fail:
	free(texts);
	free(words);
	free(flags);
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	static const char prompt[] = "/suffix/prompt", feature[] = "/suffix/refusal_feature";
	struct results *results = w->lab->job->results;
	const struct config *c = w->lab->config;
	const struct table t = {results, "/suffix"}, random = {results, "/suffix/random"};

	TRY(table_prompts(t, &w->prompts, err));
	TRY(write_prompts(w, t, err));
	TRY(write_suffixes(w, t, err));
	TRY(table_features(t, "refusal_feature", w->refusal, err));
	TRY(table_features((struct table){results, "/suffix/harm"}, "harm_feature", w->harm, err));
	TRY(table_text_scale(t, "edit", edit_names, N_EDITS,
		"what is clamped: none, or the features of harm", err));
	TRY(readings_write(&w->edits, t, "edit", prompt, feature, err));
	if (w->random.rows > 0) {
		TRY(table_scale(random, "draw", w->random.rows, "random set", err));
		TRY(readings_write(&w->random, random, "draw", prompt, feature, err));
	}
	TRY(results_attribute_real(results, "/suffix", "scale", config_scale(c), err));
	return results_attribute_integer(results, "/suffix", "positions", c->readings.positions,
		err);
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
		n[1], w->refusal->n, suppression[1] / (double)n[1], n[0],
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

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct suffix_settings *s = values;
	const struct config *c = lab->config;
	const size_t n_last = (size_t)c->readings.positions;
	struct work w = {.lab = lab, .refusal = &f->roles.refusal, .harm = &f->roles.harm};
	const struct condition none = condition_none(),
			       harm = condition_scale_set("harm", w.harm, config_scale(c));

	err_clear(err);

	/* 1. Every prompt with 0, 1, 2, ... words of its suffix. */
	TRY(prompts_of_set(lab->prompts, s->prompts, &w.prompts, err));
	TRY(find_suffixes(&w, err));

	/* 2. F_R on all of them: unedited, with F_H clamped, with random sets clamped. */
	TRY(readings_open(&w.edits, lab, &w.prompts, w.refusal, n_last, N_EDITS, err));
	TRY(readings_take(&w.edits, &none, "suffix: unedited", NONE, err));
	TRY(readings_take(&w.edits, &harm, "suffix: F_H clamped", HARM, err));
	TRY(readings_open(&w.random, lab, &w.prompts, w.refusal, n_last, (size_t)c->controls.draws,
		err));
	if (w.random.rows > 0)
		TRY(readings_take_random(&w.random, w.harm, config_scale(c), "suffix", err));

	/* 3. What each word did. */
	TRY(follow_all(&w, err));

	/* 4. Record. */
	TRY(write(&w, err));
	say(&w);
fail:
	readings_free(&w.edits);
	readings_free(&w.random);
	free(w.suppression);
	free(w.step);
	free(w.suffixes.data);
	free(w.prompts.data);
	return err->code;
}

const struct experiment experiment_suffix = {
	.name = "suffix",
	.asks = "what do adversarial suffixes do to the features of refusal?",
	SETTINGS_OF(settings, struct suffix_settings),
	.needs = NEED_ROLES,
	.check = check,
	.run = run,
};
