/* SPDX-License-Identifier: MIT
 *
 * continuation_ce.c - cross-entropy of given replies under a condition. Contract:
 * continuation.h. One forward pass over prompt and reply together; only the rows that predict a
 * reply's tokens are unembedded.
 */
#include "host/measure/continuation.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/method/runner.h"
#include "host/work/stage.h"

#include <stdlib.h>

struct work {
	struct lab *lab;
	const struct prompt_ids *prompts;
	struct condition_state condition;
	size_t skip;
	struct token_ids replies; /* with stop tokens, end to end */
	size_t *start;            /* [n + 1] */
	size_t *length;           /* [n] tokens of prompt and reply */
	struct schedule schedule;
	struct runner runner;
	struct kv_cache prefix;
	struct token_span *spans, *reply_spans; /* [most_prompts] */
	size_t *ids;                            /* [most_prompts] */
	int32_t *targets;                       /* of a batch */
	double *logprob;
	double *batch_nll;    /* [most_prompts] */
	int32_t *batch_count; /* [most_prompts] */
	double *nll;          /* of all */
	int32_t *count;
};

/* Replies as they are predicted: the stop token belongs to them. */
static int collect_replies(struct work *w, const struct continuation *c, struct err *err)
{
	w->start = calloc(c->n + 1, sizeof *w->start);
	w->length = calloc(c->n + 1, sizeof *w->length);
	if (!w->start || !w->length)
		return err_nomem(err, "replies", c->n * sizeof *w->start);
	for (size_t i = 0; i < c->n; i++) {
		TRY(vec_append(&w->replies, c->tokens.data + c->start[i],
			c->start[i + 1] - c->start[i], err));
		if (c->ended_by[i] >= 0)
			TRY(vec_push(&w->replies, c->ended_by[i], err));
		w->start[i + 1] = w->replies.n;
		w->length[i] = prompts_tokens(w->lab->prompts, w->prompts->data[i], w->skip).n +
			       w->start[i + 1] - w->start[i];
	}
	return 0;
fail:
	return err->code;
}

static int work_open(struct work *w, const struct continuation *replies,
	const struct condition *condition, struct err *err)
{
	const size_t most = (size_t)w->lab->config->batch.tokens;

	TRY(condition_open(&w->condition, w->lab, condition, err));
	w->skip = condition_is_local(&w->condition) ? 0 : w->lab->prompts->n_prefix;
	TRY(collect_replies(w, replies, err));
	TRY(schedule_make(&w->schedule, w->length, w->prompts->n, most, most, err));
	w->spans = calloc(w->schedule.most_prompts + 1, sizeof *w->spans);
	w->reply_spans = calloc(w->schedule.most_prompts + 1, sizeof *w->reply_spans);
	w->ids = calloc(w->schedule.most_prompts + 1, sizeof *w->ids);
	w->targets = malloc(w->schedule.most_tokens * sizeof *w->targets + 1);
	w->logprob = malloc(w->schedule.most_tokens * sizeof *w->logprob + 1);
	w->batch_nll = calloc(w->schedule.most_prompts + 1, sizeof *w->batch_nll);
	w->batch_count = calloc(w->schedule.most_prompts + 1, sizeof *w->batch_count);
	if (!w->spans || !w->reply_spans || !w->ids || !w->targets || !w->logprob ||
		!w->batch_nll || !w->batch_count)
		return err_nomem(err, "cross-entropy",
			w->schedule.most_tokens * sizeof *w->logprob);
	return runner_init(&w->runner, w->lab->machine->model, &w->lab->machine->readout,
		(struct runner_size){size_max(w->schedule.most_tokens, w->lab->prompts->n_prefix),
			w->schedule.most_prompts, w->schedule.most_tokens, false},
		err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	kv_cache_free(&w->prefix);
	runner_free(&w->runner);
	condition_close(&w->condition);
	schedule_free(&w->schedule);
	free(w->replies.data);
	free(w->start);
	free(w->length);
	free(w->spans);
	free(w->reply_spans);
	free(w->ids);
	free(w->targets);
	free(w->logprob);
	free(w->batch_nll);
	free(w->batch_count);
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	struct lab *lab = w->lab;
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	struct intervention how = {0};
	const size_t n = prompts_batch(lab->prompts, w->prompts, &w->schedule, b, w->skip,
		w->spans);
	size_t n_targets = 0, t = 0;

	for (size_t i = 0; i < n; i++) {
		const size_t from = w->start[index[i]], length = w->start[index[i] + 1] - from;

		w->reply_spans[i] = (struct token_span){w->replies.data + from, length, 0};
		w->ids[i] = w->prompts->data[index[i]];
		memcpy(w->targets + n_targets, w->replies.data + from, length * sizeof *w->targets);
		n_targets += length;
	}
	TRY(condition_edits(&w->condition, w->ids, n, &how.edits, &how.n_edits, err));
	if (w->skip > 0 && w->prefix.n_rows == 0)
		TRY(runner_prefix(&w->runner, prompts_prefix(lab->prompts), w->skip, how.edits,
			how.n_edits, NULL, 0, &w->prefix, err));
	how.prefix = w->skip > 0 ? &w->prefix : NULL;
	TRY(runner_run_replies(&w->runner, w->spans, w->reply_spans, n, &how, err));
	TRY(readout_logprob(&lab->machine->readout, &w->runner.batch, workspace_out(w->runner.ws),
		w->targets, w->logprob, err));
	for (size_t i = 0; i < n; i++) {
		w->batch_nll[i] = 0;
		w->batch_count[i] = (int32_t)w->reply_spans[i].n;
		for (size_t k = 0; k < w->reply_spans[i].n; k++)
			w->batch_nll[i] -= w->logprob[t++];
	}
	TRY(unit_put(out, "nll", RESULTS_F64, w->batch_nll, n, err));
	return unit_put(out, "count", RESULTS_I32, w->batch_count, n, err);
fail:
	return err->code;
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	const size_t first = w->schedule.cut[b], n = w->schedule.cut[b + 1] - first;

	TRY(unit_get(in, "nll", RESULTS_F64, w->batch_nll, n, err));
	TRY(unit_get(in, "count", RESULTS_I32, w->batch_count, n, err));
	for (size_t i = 0; i < n; i++) {
		w->nll[w->schedule.order[first + i]] = w->batch_nll[i];
		w->count[w->schedule.order[first + i]] = w->batch_count[i];
	}
	return 0;
fail:
	return err->code;
}

int continuation_ce(struct lab *lab, const struct prompt_ids *prompts,
	const struct continuation *replies, const struct condition *condition, const char *title,
	double *nll, int32_t *count, struct err *err)
{
	struct work w = {.lab = lab, .prompts = prompts, .nll = nll, .count = count};

	err_clear(err);
	TRY(work_open(&w, replies, condition, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = title,
			.schedule = &w.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
fail:
	work_close(&w);
	return err->code;
}
