/* SPDX-License-Identifier: MIT
 *
 * continuation_write.c - replies and their scores into the result file. Contract: continuation.h.
 */
#include "host/measure/continuation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NaN for an empty or unmeasured column. */
static double mean_of(const double *values, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += values[i];
	return n > 0 ? sum / (double)n : NAN;
}

static int summarise(struct lab *lab, const char *experiment, const struct condition *condition,
	const struct continuation *c, struct err *err)
{
	struct summary_row row = {.n_prompts = c->n,
		.p_refusal = mean_of(c->p_refusal, c->n),
		.kl = mean_of(c->kl, c->n),
		.ce = NAN,
		.ce_released = NAN};

	snprintf(row.experiment, sizeof row.experiment, "%s", experiment);
	snprintf(row.condition, sizeof row.condition, "%s", condition->name);
	for (size_t i = 0; i < c->n; i++)
		row.refusal += (double)c->refused[i] / (double)c->n;
	return summary_add(&lab->job->summary, &row, err);
}

/* A column over the prompts of a group; its scale is written first. */
struct column {
	const char *group, *name;
	enum results_type type;
	const void *data;
	const char *long_name, *units;
};

static int write_prompt_scale(struct lab *lab, const char *group, const struct prompt_ids *prompts,
	struct err *err)
{
	char path[192];
	int32_t *ids = malloc(prompts->n * sizeof *ids + 1);
	int rc;

	if (!ids)
		return err_nomem(err, group, prompts->n * sizeof *ids);
	for (size_t i = 0; i < prompts->n; i++)
		ids[i] = (int32_t)prompts->data[i];
	snprintf(path, sizeof path, "%s/prompt", group);
	rc = results_scale(lab->job->results, path, ids, prompts->n, "prompt id", err);
	free(ids);
	return rc;
}

static int write_column(struct lab *lab, const struct column *c, size_t n, struct err *err)
{
	char path[192], scale[192];

	snprintf(path, sizeof path, "%s/%s", c->group, c->name);
	snprintf(scale, sizeof scale, "%s/prompt", c->group);
	return results_write(lab->job->results,
		&(struct results_dataset){.path = path,
			.type = c->type,
			.n_dims = 1,
			.dims = {n},
			.scales = {scale},
			.long_name = c->long_name,
			.units = c->units},
		c->data, err);
}

/* Token ids end to end; token_end[i] is where reply i ends. */
static int write_tokens(struct lab *lab, const char *group, const struct continuation *c,
	struct err *err)
{
	char path[192], scale[192];
	int32_t *column = malloc((c->tokens.n + c->n) * sizeof *column + 1);
	int rc;

	if (!column)
		return err_nomem(err, group, c->tokens.n * sizeof *column);
	for (size_t i = 0; i < c->tokens.n; i++)
		column[i] = (int32_t)i;
	snprintf(scale, sizeof scale, "%s/reply_token", group);
	rc = results_scale(lab->job->results, scale, column, c->tokens.n, "token of all replies",
		err);
	snprintf(path, sizeof path, "%s/token_ids", group);
	if (rc == 0)
		rc = results_write(lab->job->results,
			&(struct results_dataset){.path = path,
				.type = RESULTS_I32,
				.n_dims = 1,
				.dims = {c->tokens.n},
				.scales = {scale},
				.long_name = "token ids of all replies, end to end",
				.compress = true},
			c->tokens.data ? c->tokens.data : column, err);
	for (size_t i = 0; i < c->n; i++)
		column[i] = (int32_t)c->start[i + 1];
	if (rc == 0)
		rc = write_column(lab,
			&(struct column){group, "token_end", RESULTS_I32, column,
				"end of the reply in token_ids; it begins where the last one ends",
				""},
			c->n, err);
	free(column);
	return rc;
}

int continuation_write(struct lab *lab, const char *experiment, const struct condition *condition,
	const struct prompt_ids *prompts, const struct continuation *c, struct err *err)
{
	char generations[160], scores[160];
	const struct column columns[] = {{generations, "text", RESULTS_TEXT, c->text, "reply", ""},
		{generations, "ended_by", RESULTS_I32, c->ended_by,
			"stop token that ended the reply; -1 = cut at max_new_tokens", ""},
		{scores, "refusal", RESULTS_U8, c->refused,
			"1 if a refusal substring occurs in the reply", "1"},
		{scores, "p_refusal", RESULTS_F64, c->p_refusal,
			"probability that the first token is the refusal token", "1"},
		{scores, "kl", RESULTS_F64, c->kl,
			"KL of the first token's distribution, unedited to this", "nat"}};

	snprintf(generations, sizeof generations, "/generations/%s/%s", experiment,
		condition->name);
	snprintf(scores, sizeof scores, "/scores/%s/%s", experiment, condition->name);
	TRY(write_prompt_scale(lab, generations, prompts, err));
	TRY(write_prompt_scale(lab, scores, prompts, err));
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		TRY(write_column(lab, &columns[i], c->n, err));
	TRY(write_tokens(lab, generations, c, err));
	return summarise(lab, experiment, condition, c, err);
fail:
	return err->code;
}
