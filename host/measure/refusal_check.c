/* SPDX-License-Identifier: MIT
 *
 * refusal_check.c - Contract: refusal_check.h. Tests: tests/test_refusal_token.c.
 */
#include "host/measure/refusal_check.h"

#include "host/base/log.h"
#include "host/measure/scoring.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPTS = 16 };

/* Rarer than this, a spelling says nothing: the prompts may all be harmless. */
static const double RARE = 0.01;

static const struct {
	struct dataset token, spelling, probability;
} datasets = {
	.token = {"/refusal_check/token", {"token"}, RESULTS_I32, "",
		"ids of the tokens that spell the refusal token's word, with a space before it or "
		"without; the refusal token first"},
	.spelling = {"/refusal_check/spelling", {"token"}, RESULTS_TEXT, "",
		"as the vocabulary spells it"},
	.probability = {"/refusal_check/probability", {"token"}, RESULTS_F64, "1",
		"probability that the first token is this one, mean over up to 16 of the config's "
		"prompts, unedited"},
};

const struct dataset_section refusal_check_section = {"Spellings of the refusal token",
	"There when the vocabulary has several.", DATASETS(datasets)};

static const char *spelling(const struct lab *lab, size_t i)
{
	const char *s = tokenizer_spelling(lab->machine->tok, lab->prompts->refusal_spellings[i]);

	return s ? s : "";
}

/* Probabilities by spelling and place in the list of prompts, so that their sums have one order. */
struct work {
	struct scoring scoring;
	double p[REFUSAL_SPELLINGS][MOST_PROMPTS];
};

static int read_batch(struct work *w, size_t b, struct err *err)
{
	struct lab *lab = w->scoring.lab;
	const size_t n = scoring_batch(&w->scoring, b);
	int32_t token[MOST_PROMPTS];
	double logprob[MOST_PROMPTS];

	TRY(scoring_run(&w->scoring, n, NULL, 0, NULL, 0, err));
	for (size_t k = 0; k < lab->prompts->n_refusal_spellings; k++) {
		for (size_t i = 0; i < n; i++)
			token[i] = lab->prompts->refusal_spellings[k];
		TRY(readout_logprob(&lab->machine->readout, &w->scoring.runner.batch,
			workspace_out(w->scoring.runner.ws), token, logprob, err));
		for (size_t i = 0; i < n; i++)
			w->p[k][w->scoring.index[i]] = exp(logprob[i]);
	}
	return 0;
fail:
	return err->code;
}

/* One of them on a line, at the end of `line`. */
static void say(const struct lab *lab, const struct refusal_check *check, size_t k, char *line,
	size_t size)
{
	const size_t n = strlen(line);

	snprintf(line + n, size - n, "%s%d \"%s\" %.3g", k > 0 ? ", " : "",
		lab->prompts->refusal_spellings[k], spelling(lab, k), check->probability[k]);
}

static int judge(const struct lab *lab, const struct refusal_check *check, struct err *err)
{
	const struct prompts *p = lab->prompts;
	const char *text = lab->config->refusal.token.text;
	char line[512] = "";
	size_t best = 0;

	for (size_t k = 0; k < p->n_refusal_spellings; k++) {
		say(lab, check, k, line, sizeof line);
		best = check->probability[k] > check->probability[best] ? k : best;
	}
	log_info("refusal token: a reply begins with %s (probability, mean over %zu prompts)", line,
		check->n_prompts);
	if (best == 0 || check->probability[best] < RARE)
		return 0;
	if (text)
		return err_set(err, ERR_CONFIG,
			"refusal.token: \"%s\" is token %d behind the prompts, but more replies begin "
			"with %d: %s (probability, mean over %zu prompts); give the id of the one that is "
			"meant: refusal.token = %d",
			text, p->refusal_token, p->refusal_spellings[best], line, check->n_prompts,
			p->refusal_spellings[best]);
	log_warn("refusal.token: %d is given, but more replies begin with %d \"%s\"",
		p->refusal_token, p->refusal_spellings[best], spelling(lab, best));
	return 0;
}

int refusal_check_run(struct lab *lab, struct refusal_check *out, struct err *err)
{
	const size_t n = lab->prompts->n_refusal_spellings;
	struct prompt_ids prompts = {0};
	struct work w = {0};

	*out = (struct refusal_check){0};
	if (n < 2)
		return 0;
	err_clear(err);
	TRY(prompts_spread(lab->prompts, MOST_PROMPTS, &prompts, err));
	TRY(scoring_open(&w.scoring, lab, &prompts, (struct scoring_size){.out = 1}, err));
	TRY(scoring_prefix(&w.scoring, NULL, 0, err));
	for (size_t b = 0; b < w.scoring.schedule.n_batches; b++)
		TRY(read_batch(&w, b, err));
	out->n_prompts = prompts.n;
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < prompts.n; i++)
			out->probability[k] += w.p[k][i] / (double)prompts.n;
	TRY(judge(lab, out, err));
fail:
	scoring_close(&w.scoring);
	free(prompts.data);
	return err->code;
}

int refusal_check_write(const struct lab *lab, const struct refusal_check *check, struct err *err)
{
	const size_t n = lab->prompts->n_refusal_spellings;
	const char *spellings[REFUSAL_SPELLINGS];
	struct results *r = lab->job->results;

	if (check->n_prompts == 0)
		return 0;
	for (size_t k = 0; k < n; k++)
		spellings[k] = spelling(lab, k);
	TRY(dataset_write(r, &datasets.token, NULL, &n, lab->prompts->refusal_spellings, err));
	TRY(dataset_write(r, &datasets.spelling, NULL, &n, spellings, err));
	return dataset_write(r, &datasets.probability, NULL, &n, check->probability, err);
fail:
	return err->code;
}
