/* SPDX-License-Identifier: MIT
 *
 * continuation.c - generating and scoring under a condition. Contract: continuation.h. Writing:
 * continuation_write.c; cross-entropy: continuation_ce.c.
 */
#include "host/measure/continuation.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "host/work/stage.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>

struct work {
	struct lab *lab;
	const struct prompt_ids *prompts;
	struct continuation *out;
	struct condition_state condition;
	size_t skip, max_new;
	struct schedule schedule;
	struct generator *generator;
	struct kv_cache prefix;
	struct token_span *spans; /* [most_prompts], as the next five */
	size_t *ids;              /* prompt ids of the batch */
	int32_t *index;           /* places in the list; lengths on their way */
	size_t *lengths;
	int32_t *ended_by;
	float *lead;
	int32_t *tokens;       /* [most_prompts, max_new] */
	int32_t *joined;       /* the same end to end */
	float *first_y;        /* batch_y in host memory */
	int32_t **replies;     /* [n], in list order, until they are joined */
	size_t *reply_length;  /* [n] */
	struct tensor batch_y; /* [most_prompts, d] */
	int32_t *index_on_device;
	void *memory; /* device: batch_y, index */
};

/* ---- memory ---------------------------------------------------------------------------- */

static void layout_work(void *object, struct carver *c)
{
	struct work *w = object;

	w->batch_y = carve(c, w->schedule.most_prompts, w->lab->machine->model->arch.d_model);
	w->index_on_device = carve_ints(c, w->schedule.most_prompts);
}

static void layout_out(void *object, struct carver *c)
{
	struct work *w = object;

	w->out->first_y = carve(c, w->prompts->n, w->lab->machine->model->arch.d_model);
}

static int allocate_out(struct work *w, struct err *err)
{
	struct continuation *c = w->out;
	const size_t n = w->prompts->n;

	*c = (struct continuation){.n = n, .dev = w->lab->machine->dev};
	c->start = calloc(n + 1, sizeof *c->start);
	c->ended_by = calloc(n + 1, sizeof *c->ended_by);
	c->lead = calloc(n + 1, sizeof *c->lead);
	c->text = calloc(n + 1, sizeof *c->text);
	c->p_refusal = calloc(n + 1, sizeof *c->p_refusal);
	c->kl = calloc(n + 1, sizeof *c->kl);
	c->refused = calloc(n + 1, sizeof *c->refused);
	if (strcmp(w->lab->config->refusal.measure, "rules") == 0) {
		c->class = calloc(n + 1, sizeof *c->class);
		if (!c->class)
			return err_nomem(err, "replies", n * sizeof *c->class);
	}
	if (!c->start || !c->ended_by || !c->lead || !c->text || !c->p_refusal || !c->kl ||
		!c->refused)
		return err_nomem(err, "replies", n * sizeof *c->text);
	return carve_allocate(w->lab->machine->dev, layout_out, w, &c->memory, err);
}

static int allocate_work(struct work *w, struct err *err)
{
	const size_t most = w->schedule.most_prompts;

	w->spans = calloc(most + 1, sizeof *w->spans);
	w->ids = calloc(most + 1, sizeof *w->ids);
	w->index = calloc(most + 1, sizeof *w->index);
	w->lengths = calloc(most + 1, sizeof *w->lengths);
	w->ended_by = calloc(most + 1, sizeof *w->ended_by);
	w->lead = calloc(most + 1, sizeof *w->lead);
	w->tokens = malloc((most * w->max_new + 1) * sizeof *w->tokens);
	w->joined = malloc((most * w->max_new + 1) * sizeof *w->joined);
	w->replies = calloc(w->prompts->n + 1, sizeof *w->replies);
	w->reply_length = calloc(w->prompts->n + 1, sizeof *w->reply_length);
	if (!w->spans || !w->ids || !w->index || !w->lengths || !w->ended_by || !w->lead ||
		!w->tokens || !w->joined || !w->replies || !w->reply_length)
		return err_nomem(err, "replies", most * w->max_new * sizeof *w->tokens);
	if (carve_allocate(w->lab->machine->dev, layout_work, w, &w->memory, err))
		return err->code;
	w->first_y = malloc(tensor_count(w->batch_y) * sizeof *w->first_y + 1);
	return w->first_y ? 0 : err_nomem(err, "replies", tensor_bytes(w->batch_y));
}

static int open_generator(struct work *w, struct err *err)
{
	const struct config *c = w->lab->config;
	struct generator_size size = {.prompts = w->schedule.most_prompts,
		.prompt_tokens = w->schedule.most_tokens,
		.max_new = w->max_new};

	size.pass_rows = size_max(size_min((size_t)c->batch.tokens, w->schedule.most_tokens),
		w->lab->prompts->n_prefix);
	for (size_t i = 0; i < w->prompts->n; i++)
		size.pass_rows = size_max(size.pass_rows,
			prompts_tokens(w->lab->prompts, w->prompts->data[i], w->skip).n);
	return generator_create(&w->generator, w->lab->machine->model, &w->lab->machine->readout,
		size, err);
}

static int work_open(struct work *w, const struct condition *condition, struct err *err)
{
	const struct config *c = w->lab->config;

	TRY(allocate_out(w, err));
	TRY(plan_holds_generation(w->lab, w->prompts, err));
	TRY(condition_open(&w->condition, w->lab, condition, err));
	w->skip = condition_is_local(&w->condition) ? 0 : w->lab->prompts->n_prefix;
	/* Features are retained in one pass over a batch's prompts. */
	TRY(prompts_schedule(w->lab->prompts, w->prompts, w->skip,
		condition->retained ? (size_t)c->batch.tokens : SIZE_MAX,
		(size_t)c->generate.prompts, &w->schedule, err));
	TRY(allocate_work(w, err));
	return open_generator(w, err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	for (size_t i = 0; w->replies && i < w->prompts->n; i++)
		free(w->replies[i]);
	kv_cache_free(&w->prefix);
	generator_free(w->generator);
	condition_close(&w->condition);
	schedule_free(&w->schedule);
	device_free(w->lab->machine->dev, w->memory);
	free(w->spans);
	free(w->ids);
	free(w->index);
	free(w->lengths);
	free(w->ended_by);
	free(w->lead);
	free(w->tokens);
	free(w->joined);
	free(w->first_y);
	free(w->replies);
	free(w->reply_length);
}

void continuation_free(struct continuation *c)
{
	for (size_t i = 0; c->text && i < c->n; i++)
		free(c->text[i]);
	if (c->dev)
		device_free(c->dev, c->memory);
	free(c->tokens.data);
	free(c->start);
	free(c->ended_by);
	free(c->lead);
	free(c->text);
	free(c->p_refusal);
	free(c->kl);
	free(c->refused);
	free(c->class);
	*c = (struct continuation){0};
}

/* ---- the loop -------------------------------------------------------------------------- */

/* A unit holds, for its prompts: "length", "ended_by", "lead" [n]; "tokens", end to end; "first_y"
 * [n, d_model]. */
static int put_replies(struct work *w, struct tensor y, struct unit *out, struct err *err)
{
	const size_t n = y.rows;
	size_t n_tokens = 0;

	for (size_t i = 0; i < n; i++) {
		w->index[i] = (int32_t)w->lengths[i];
		memcpy(w->joined + n_tokens, w->tokens + i * w->max_new,
			w->lengths[i] * sizeof *w->joined);
		n_tokens += w->lengths[i];
	}
	TRY(download_floats(w->lab->machine->dev, y, w->first_y, err));
	TRY(unit_put(out, "length", RESULTS_I32, w->index, n, err));
	TRY(unit_put(out, "ended_by", RESULTS_I32, w->ended_by, n, err));
	TRY(unit_put(out, "lead", RESULTS_F32, w->lead, n, err));
	TRY(unit_put(out, "tokens", RESULTS_I32, w->joined, n_tokens, err));
	return unit_put(out, "first_y", RESULTS_F32, w->first_y, tensor_count(y), err);
fail:
	return err->code;
}

static int compute(void *context, size_t b, struct unit *out, struct err *err)
{
	struct work *w = context;
	struct lab *lab = w->lab;
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	const size_t n = prompts_batch(lab->prompts, w->prompts, &w->schedule, b, w->skip,
		w->spans);
	struct generation g = {.prompts = w->spans,
		.n_prompts = n,
		.stop = lab->prompts->stop.ids.data,
		.n_stop = lab->prompts->stop.ids.n,
		.tokens = w->tokens,
		.lengths = w->lengths,
		.ended_by = w->ended_by,
		.lead = w->lead,
		.first_y = tensor_rows(w->batch_y, 0, n)};

	for (size_t i = 0; i < n; i++)
		w->ids[i] = w->prompts->data[index[i]];
	if (w->skip > 0 && w->prefix.n_rows == 0) { /* the same for all batches */
		TRY(condition_prefix_edits(&w->condition, &g.edits, &g.n_edits, err));
		TRY(generator_prefix(w->generator, prompts_prefix(lab->prompts), w->skip, g.edits,
			g.n_edits, &w->prefix, err));
	}
	TRY(condition_edits(&w->condition, w->ids, n, &g.prompt_edits, &g.n_prompt_edits, err));
	TRY(condition_reply_edits(&w->condition, &g.edits, &g.n_edits, err));
	g.prefix = w->skip > 0 ? &w->prefix : NULL;
	TRY(generate(w->generator, &g, err));
	return put_replies(w, g.first_y, out, err);
fail:
	return err->code;
}

/* The reply of the prompt at `place` in the list. */
static int keep_reply(struct work *w, size_t place, const int32_t *tokens, size_t length,
	struct err *err)
{
	w->replies[place] = malloc(length * sizeof **w->replies + 1);
	if (!w->replies[place])
		return err_nomem(err, "a reply", length * sizeof **w->replies);
	if (length > 0)
		memcpy(w->replies[place], tokens, length * sizeof **w->replies);
	w->reply_length[place] = length;
	return 0;
}

static int keep_replies(struct work *w, const size_t *index, size_t n, const int32_t *tokens,
	size_t n_tokens, struct err *err)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		const size_t length = w->lengths[i];

		if (length > n_tokens - at)
			break;
		if (keep_reply(w, index[i], tokens + at, length, err))
			return err->code;
		w->out->ended_by[index[i]] = w->ended_by[i];
		w->out->lead[index[i]] = w->lead[i];
		at += length;
		if (i + 1 == n && at == n_tokens)
			return 0;
	}
	return err_set(err, ERR_INPUT, "expected replies of together %zu tokens, found others",
		n_tokens);
}

static int take(void *context, size_t b, struct unit_reader *in, struct err *err)
{
	struct work *w = context;
	struct lab *lab = w->lab;
	const size_t *index = w->schedule.order + w->schedule.cut[b];
	const size_t n = w->schedule.cut[b + 1] - w->schedule.cut[b];
	const struct tensor y = tensor_rows(w->batch_y, 0, n);
	void *tokens = NULL;
	size_t n_tokens;

	err_clear(err);
	TRY(unit_get(in, "length", RESULTS_I32, w->index, n, err));
	TRY(unit_get(in, "ended_by", RESULTS_I32, w->ended_by, n, err));
	TRY(unit_get(in, "lead", RESULTS_F32, w->lead, n, err));
	TRY(unit_get(in, "first_y", RESULTS_F32, w->first_y, tensor_count(y), err));
	TRY(unit_get_all(in, "tokens", RESULTS_I32, &tokens, &n_tokens, err));
	for (size_t i = 0; i < n; i++)
		w->lengths[i] = w->index[i] < 0 ? SIZE_MAX : (size_t)w->index[i];
	TRY(keep_replies(w, index, n, tokens, n_tokens, err));
	for (size_t i = 0; i < n; i++)
		w->index[i] = (int32_t)index[i];
	TRY(upload_floats(lab->machine->dev, w->first_y, y, err));
	TRY(device_upload(lab->machine->dev, w->index_on_device, w->index, n * sizeof *w->index,
		err));
	TRY(op_scatter_rows(lab->machine->dev, y, w->index_on_device, w->out->first_y, err));
fail:
	free(tokens);
	return err->code;
}

static int join_replies(struct work *w, struct err *err)
{
	struct continuation *c = w->out;

	for (size_t i = 0; i < c->n; i++) {
		struct text text = {0};

		TRY(vec_append(&c->tokens, w->replies[i], w->reply_length[i], err));
		c->start[i + 1] = c->tokens.n;
		if (tokenizer_decode(w->lab->machine->tok, w->replies[i], w->reply_length[i], false,
			    &text, err) ||
			vec_push(&text, '\0', err)) {
			free(text.data);
			return err->code;
		}
		c->text[i] = text.data;
	}
	return 0;
fail:
	return err->code;
}

/* Whether reply i is a refusal. */
static void classify(struct work *w, size_t i)
{
	struct continuation *c = w->out;
	const struct text_list *substrings = &w->lab->config->refusal.substrings;

	if (c->class) {
		c->class[i] = reply_class(c->text[i]);
		c->refused[i] = c->class[i] == REPLY_REFUSAL;
	} else {
		c->refused[i] = is_refusal(c->text[i], (const char *const *)substrings->items,
			substrings->n, strcmp(w->lab->config->refusal.apostrophes, "any") == 0);
	}
}

static int score(struct work *w, const struct continuation *unedited, struct err *err)
{
	struct continuation *c = w->out;
	int32_t *token = malloc(c->n * sizeof *token + 1);
	int rc;

	if (!token)
		return err_nomem(err, "scores", c->n * sizeof *token);
	for (size_t i = 0; i < c->n; i++) {
		token[i] = w->lab->prompts->refusal_token;
		c->kl[i] = NAN;
		classify(w, i);
	}
	rc = readout_logprob(&w->lab->machine->readout, NULL, c->first_y, token, c->p_refusal, err);
	free(token);
	for (size_t i = 0; i < c->n; i++)
		c->p_refusal[i] = exp(c->p_refusal[i]);
	if (rc == 0 && unedited)
		rc = readout_kl(&w->lab->machine->readout, NULL, unedited->first_y, c->first_y,
			c->kl, err);
	return rc;
}

int continuation_run(struct lab *lab, const struct prompt_ids *prompts,
	const struct condition *condition, const char *title, const struct continuation *unedited,
	struct continuation *out, struct err *err)
{
	struct work w = {.lab = lab,
		.prompts = prompts,
		.out = out,
		.max_new = (size_t)lab->config->generate.max_new_tokens};

	err_clear(err);
	TRY(work_open(&w, condition, err));
	TRY(stage_run(lab->job, lab->machine->dev,
		&(struct stage){.title = title,
			.schedule = &w.schedule,
			.item = "prompt",
			.context = &w,
			.compute = compute,
			.take = take},
		err));
	TRY(join_replies(&w, err));
	TRY(score(&w, unedited, err));
fail:
	work_close(&w);
	return err->code;
}

int continuation_record(struct lab *lab, const char *experiment, const struct prompt_ids *prompts,
	const struct condition *condition, const struct continuation *unedited,
	struct continuation *out, struct err *err)
{
	struct continuation own = {0}, *replies = out ? out : &own;
	char title[128];

	err_clear(err);
	snprintf(title, sizeof title, "%s: %s", experiment, condition->name);
	TRY(continuation_run(lab, prompts, condition, title, unedited, replies, err));
	TRY(continuation_write(lab, experiment, condition, prompts, replies, err));
fail:
	continuation_free(&own);
	return err->code;
}
