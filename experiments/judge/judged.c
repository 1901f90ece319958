/* SPDX-License-Identifier: MIT
 *
 * judged.c - Contract: judged.h. Tests: tests/test_judge.c, tests/test_judge.py.
 */
#include "experiments/judge/judged.h"

#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/store/summary.h"

#include <stdio.h>

bool judged_by_reply(const struct judge_settings *settings)
{
	return strcmp(settings->kind, "llama_guard") == 0;
}

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; texts && i < n; i++)
		free(texts[i]);
	free(texts);
}

static void judged_close(void *context)
{
	struct judged *j = context;

	if (!j)
		return;
	judge_template_free(&j->template);
	judge_template_free(&j->contextual);
	free(j->head.data);
	free(j->tail.data);
	free_texts(j->names, j->n_sets);
	free_texts(j->reply, j->n);
	free(j->source);
	free(j);
}

/* ---- the file -------------------------------------------------------------------------- */

/* Of a summary: each row is compared with those before it. */
enum { MOST_CONDITIONS = 10000 };

/* The prompts of the judged file, and of the condition at hand its replies. */
struct source {
	struct results_reader *file;
	const char *path;
	char **text, **category, **context; /* NULL = no request has a context */
	size_t n, n_category, n_context;
	char **condition; /* of its summary */
	bool *replied;    /* [n_condition]: the first row of a condition that has replies */
	size_t n_condition;
};

static void source_close(struct source *s)
{
	free_texts(s->text, s->n);
	free_texts(s->category, s->n_category);
	free_texts(s->context, s->n_context);
	free_texts(s->condition, s->n_condition);
	free(s->replied);
	results_reader_close(s->file);
}

/* A column of the prompts, which are s->n. */
static int read_column(struct source *s, const char *path, size_t *n, char ***texts,
	struct err *err)
{
	TRY(results_read_texts(s->file, path, n, texts, err));
	if (*n != s->n)
		return err_set(err, ERR_INPUT, "%s: %s: expected %zu texts, found %zu", s->path,
			path, s->n, *n);
	return 0;
fail:
	return err->code;
}

/* Whether the rows of the summary hold this one before row i. */
static bool came_before(const struct source *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(s->condition[k], s->condition[i]) == 0)
			return true;
	return false;
}

static int find_replies(struct source *s, struct err *err)
{
	if (s->n_condition > MOST_CONDITIONS)
		return err_set(err, ERR_INPUT,
			"%s: /summary/condition: expected at most %d rows, found %zu", s->path,
			MOST_CONDITIONS, s->n_condition);
	s->replied = calloc(s->n_condition + 1, sizeof *s->replied);
	if (!s->replied)
		return err_nomem(err, "conditions", s->n_condition);
	for (size_t i = 0; i < s->n_condition; i++) {
		char path[192];
		const int n = snprintf(path, sizeof path, "/generations/%s/text", s->condition[i]);

		if (n < (int)sizeof path && !came_before(s, i))
			TRY(results_has(s->file, path, &s->replied[i], err));
	}
	return 0;
fail:
	return err->code;
}

static int source_open(struct source *s, const char *path, struct err *err)
{
	bool has;

	s->path = path;
	TRY(results_open_foreign(&s->file, path, err));
	TRY(results_read_texts(s->file, "/prompts/text", &s->n, &s->text, err));
	TRY(read_column(s, "/prompts/category", &s->n_category, &s->category, err));
	TRY(results_has(s->file, "/prompts/context", &has, err));
	if (has)
		TRY(read_column(s, "/prompts/context", &s->n_context, &s->context, err));
	TRY(results_read_texts(s->file, "/summary/condition", &s->n_condition, &s->condition, err));
	return find_replies(s, err);
fail:
	return err->code;
}

/* Whether "EXPERIMENT" or "EXPERIMENT/CONDITION" of the config means this condition. */
static bool means(const char *wanted, const char *condition)
{
	const size_t n = strlen(wanted);

	return strncmp(wanted, condition, n) == 0 && (condition[n] == '\0' || condition[n] == '/');
}

static bool is_wanted(const struct text_list *wanted, const char *condition)
{
	for (size_t i = 0; i < wanted->n; i++)
		if (means(wanted->items[i], condition))
			return true;
	return wanted->n == 0;
}

static int check_wanted(const struct source *s, const struct text_list *wanted, struct err *err)
{
	for (size_t k = 0; k < wanted->n; k++) {
		bool found = false;

		for (size_t i = 0; i < s->n_condition && !found; i++)
			found = s->replied[i] && means(wanted->items[k], s->condition[i]);
		if (!found)
			return err_set(err, ERR_CONFIG,
				"judge.generations: expected EXPERIMENT or EXPERIMENT/CONDITION of "
				"%s, "
				"found \"%s\"",
				s->path, wanted->items[k]);
	}
	return 0;
}

static int choose(struct judged *j, const struct source *s, const struct text_list *wanted,
	struct err *err)
{
	j->names = calloc(s->n_condition + 1, sizeof *j->names);
	if (!j->names)
		return err_nomem(err, "conditions", s->n_condition * sizeof *j->names);
	for (size_t i = 0; i < s->n_condition; i++) {
		const char *slash = strchr(s->condition[i], '/');
		const struct summary_row *row; /* what it must fit into */

		if (!s->replied[i] || !is_wanted(wanted, s->condition[i]))
			continue;
		if (!slash || (size_t)(slash - s->condition[i]) >= sizeof row->experiment ||
			strlen(slash + 1) >= sizeof row->condition)
			return err_set(err, ERR_INPUT,
				"%s: /summary/condition: expected EXPERIMENT/CONDITION of at most "
				"%zu and "
				"%zu bytes, found \"%s\"",
				s->path, sizeof row->experiment - 1, sizeof row->condition - 1,
				s->condition[i]);
		j->names[j->n_sets] = strdup(s->condition[i]);
		if (!j->names[j->n_sets])
			return err_nomem(err, "a condition", strlen(s->condition[i]));
		j->n_sets++;
	}
	if (j->n_sets == 0 && wanted->n == 0)
		return err_set(err, ERR_INPUT,
			"%s: expected generations to judge (jailbreak, induce, coherence, ... "
			"write them), "
			"found none",
			s->path);
	return check_wanted(s, wanted, err);
}

/* ---- pairs ----------------------------------------------------------------------------- */

static int add_pairs(struct judged *j, const struct source *s, struct prompt_set *set, char **reply,
	const int32_t *prompt, size_t n, struct err *err)
{
	char **grown = realloc(j->reply, (j->n + n + 1) * sizeof *grown);
	int32_t *source = realloc(j->source, (j->n + n + 1) * sizeof *source);

	j->reply = grown ? grown : j->reply;
	j->source = source ? source : j->source;
	set->items = calloc(n + 1, sizeof *set->items);
	if (!grown || !source || !set->items)
		return err_nomem(err, "pairs", n * sizeof *set->items);
	for (size_t i = 0; i < n; i++) {
		struct prompt *pair = &set->items[i];
		const char *category = s->category[prompt[i]];
		const char *context = s->context ? s->context[prompt[i]] : "";

		set->n = i + 1; /* so that what is there is freed */
		*pair = (struct prompt){.text = strdup(s->text[prompt[i]]),
			.category = *category ? strdup(category) : NULL,
			.context = *context ? strdup(context) : NULL,
			.record = (size_t)prompt[i]};
		j->source[j->n] = prompt[i];
		j->reply[j->n] = reply[i];
		reply[i] = NULL;
		j->n++;
		if (!pair->text || (*category && !pair->category) || (*context && !pair->context))
			return err_nomem(err, "a pair", strlen(s->text[prompt[i]]));
	}
	return 0;
}

static int read_condition(struct judged *j, const struct source *s, const char *name,
	struct prompt_set *set, struct err *err)
{
	char path[2][192];
	char **reply = NULL;
	int32_t *prompt = NULL;
	size_t n = 0, n_prompt;

	snprintf(path[0], sizeof path[0], "/generations/%s/text", name);
	snprintf(path[1], sizeof path[1], "/generations/%s/prompt", name);
	TRY(results_read_texts(s->file, path[0], &n, &reply, err));
	TRY(results_read_ints(s->file, path[1], 1, &n_prompt, &prompt, err));
	if (n_prompt != n) {
		err_set(err, ERR_INPUT, "%s: %s: expected %zu ids as %s has texts, found %zu",
			s->path, path[1], n, path[0], n_prompt);
		goto fail;
	}
	for (size_t i = 0; i < n; i++)
		if (prompt[i] < 0 || (size_t)prompt[i] >= s->n) {
			err_set(err, ERR_INPUT, "%s: %s: expected ids of %zu prompts, found %d",
				s->path, path[1], s->n, prompt[i]);
			goto fail;
		}
	TRY(add_pairs(j, s, set, reply, prompt, n, err));
fail:
	free_texts(reply, n);
	free(prompt);
	return err->code;
}

static int read_pairs(struct judged *j, struct prompt_table *t, struct err *err)
{
	struct source s = {0};

	err_clear(err);
	TRY(source_open(&s, j->config->from, err));
	TRY(choose(j, &s, &j->settings->generations, err));
	TRY(prompt_table_create(t, j->n_sets, err));
	for (size_t i = 0; i < j->n_sets; i++) {
		t->names[i] = j->names[i];
		TRY(read_condition(j, &s, j->names[i], &t->sets[i], err));
		t->first[i + 1] = j->n;
	}
	t->n = j->n;
fail:
	source_close(&s);
	return err->code;
}

/* ---- tokens ---------------------------------------------------------------------------- */

/* The first max_tokens of a reply, as text; all of it, untouched, when it has no more. */
static int shorten(const struct judged *j, const char *reply, struct text *out, struct err *err)
{
	const size_t most = (size_t)j->settings->max_tokens;
	struct token_ids ids = {0};

	err_clear(err);
	out->n = 0;
	if (most > 0)
		TRY(tokenizer_encode(j->machine->tok, reply, strlen(reply), &ids, err));
	if (ids.n > most)
		TRY(tokenizer_decode(j->machine->tok, ids.data, most, false, out, err));
	else
		TRY(vec_append(out, reply, strlen(reply), err));
	TRY(vec_push(out, '\0', err));
fail:
	free(ids.data);
	return err->code;
}

/* The template that a pair is put into. */
static const struct judge_template *template_of(const struct judged *j, const struct prompts *p,
	size_t pair)
{
	return prompts_context(p, pair) && j->contextual.text.n > 0 ? &j->contextual : &j->template;
}

/* What the judge reads of a pair, before it is cut to the context. */
static int judged_render(const void *context, const struct prompts *p, size_t pair,
	struct text *text, struct err *err)
{
	const struct judged *j = context;
	struct text reply = {0};

	err_clear(err);
	TRY(shorten(j, j->reply[pair], &reply, err));
	TRY(judge_template_render(template_of(j, p, pair), prompts_text(p, pair),
		prompts_context(p, pair), reply.data, text, err));
fail:
	free(reply.data);
	return err->code;
}

/* Appends a pair's tokens, of which at most `limit` fit: BOS and the last. */
static int append(struct judged *j, const struct token_ids *ids, size_t limit,
	struct token_ids *out, struct err *err)
{
	const bool bos = ids->data[0] == tokenizer_bos(j->machine->tok);
	const size_t keep = limit - bos;

	if (ids->n <= limit)
		return vec_append(out, ids->data, ids->n, err);
	j->n_cut++;
	TRY(vec_append(out, ids->data, (size_t)bos, err));
	return vec_append(out, ids->data + ids->n - keep, keep, err);
fail:
	return err->code;
}

static int encode_pair(struct judged *j, struct prompts *p, size_t pair, size_t limit,
	struct err *err)
{
	struct text text = {0};
	struct token_ids ids = {0};

	err_clear(err);
	TRY(judged_render(j, p, pair, &text, err));
	if (p->chat->bos >= 0)
		TRY(vec_push(&ids, p->chat->bos, err));
	TRY(tokenizer_encode(j->machine->tok, text.data, text.n, &ids, err));
	TRY(append(j, &ids, limit, &p->table.ids, err));
	p->table.start[pair + 1] = p->table.ids.n;
fail:
	free(text.data);
	free(ids.data);
	return err->code;
}

/* Whether every template has what it has a place for. A context that is not shown to the judge may
 * be meant, so it is only counted. */
static int check_contexts(struct judged *j, const struct prompts *p, struct err *err)
{
	for (size_t i = 0; i < j->n; i++) {
		const bool taken = judge_template_takes_context(template_of(j, p, i));

		if (taken && !prompts_context(p, i))
			return err_set(err, ERR_INPUT,
				"judge.template: %s has a place for a {context}: expected a "
				"context of every request, found none of prompt %d of %s; name a "
				"template without {context}, and this one as "
				"judge.context_template",
				j->settings->template, j->source[i], j->config->from);
		j->n_hidden += !taken && prompts_context(p, i);
	}
	if (j->n_hidden > 0)
		log_warn("%zu of %zu pairs have a context that the judge does not see: "
			 "judge.template has no {context} in it (judge.context_template)",
			j->n_hidden, j->n);
	return 0;
}

/* Whether a text begins with the judge's BOS token spelled out. */
static bool spells_bos(const struct judged *j, const struct text *text)
{
	const int32_t bos = tokenizer_bos(j->machine->tok);
	const char *spelling = bos >= 0 ? tokenizer_spelling(j->machine->tok, bos) : "";
	const size_t n = strlen(spelling);

	return n > 0 && text->n >= n && memcmp(text->data, spelling, n) == 0;
}

/* The chat template tells whether BOS is put in front, by the first one. */
static int check_starts(const struct judged *j, struct err *err)
{
	if (j->contextual.text.n == 0 ||
		spells_bos(j, &j->contextual.text) == spells_bos(j, &j->template.text))
		return 0;
	return err_set(err, ERR_INPUT,
		"judge.context_template: %s: expected a BOS token spelled out in both templates or "
		"in none, found it in one",
		j->settings->context_template);
}

/* Tokens of a prompt beside which the verdict still fits. */
static int settle_limit(const struct judged *j, size_t *limit, struct err *err)
{
	const size_t reply = judged_by_reply(j->settings)
				     ? (size_t)j->config->generate.max_new_tokens
				     : 0;

	if (reply + 2 > j->machine->model->n_ctx)
		return err_set(err, ERR_CONFIG,
			"generate.max_new_tokens: expected less than model.n_ctx (%zu), found %zu",
			j->machine->model->n_ctx, reply);
	*limit = j->machine->model->n_ctx - reply;
	return 0;
}

static int judged_read(void *context, const struct machine *m, struct prompts *p, struct err *err)
{
	struct judged *j = context;
	struct prompt_table *t = &p->table;
	size_t limit = 0;

	j->machine = m;
	TRY(check_starts(j, err));
	TRY(read_pairs(j, t, err));
	TRY(check_contexts(j, p, err));
	t->start = calloc(j->n + 1, sizeof *t->start);
	if (!t->start)
		return err_nomem(err, "pairs", j->n * sizeof *t->start);
	TRY(settle_limit(j, &limit, err));
	for (size_t i = 0; i < j->n; i++)
		TRY(encode_pair(j, p, i, limit, err));
	if (j->n_cut > 0)
		log_warn(
			"%zu of %zu pairs are longer than %zu tokens (model.n_ctx): cut at their left "
			"end",
			j->n_cut, j->n, limit);
	return 0;
fail:
	return err->code;
}

/* ---- templates ------------------------------------------------------------------------- */

static int read_templates(struct judged *j, struct err *err)
{
	const struct judge_settings *s = j->settings;

	if (judge_template_read(&j->template, s->template, s->sha256, err))
		return err_prefix(err, "judge.template");
	if (!*s->context_template)
		return 0;
	if (judge_template_read(&j->contextual, s->context_template, s->context_sha256, err))
		return err_prefix(err, "judge.context_template");
	if (judge_template_takes_context(&j->contextual))
		return 0;
	return err_set(err, ERR_INPUT,
		"judge.context_template: %s: expected {context} in it, found none",
		s->context_template);
}

static int judged_open(void **context, const struct config *c, struct chat_options *chat,
	struct err *err)
{
	struct judged *j = calloc(1, sizeof *j);
	const struct text *text;
	size_t head, tail;

	*context = j;
	if (!j)
		return err_nomem(err, "the judge", sizeof *j);
	j->config = c;
	j->settings = config_own(c, "judge");
	if (*chat->prefill || *chat->system || chat->prefix || chat->suffix) {
		err_set(err, ERR_CONFIG,
			"model.%s: expected none for a judge, whose template is all that it reads",
			*chat->prefill  ? "prefill"
			: *chat->system ? "system"
			: chat->prefix  ? "prefix"
					: "suffix");
		goto fail;
	}
	TRY(read_templates(j, err));
	text = &j->template.text;
	head = judge_template_head(&j->template);
	tail = judge_template_tail(&j->template);
	TRY(vec_append(&j->head, text->data, head, err));
	TRY(vec_push(&j->head, '\0', err));
	TRY(vec_append(&j->tail, text->data + text->n - tail, tail, err));
	TRY(vec_push(&j->tail, '\0', err));
	chat->prefix = j->head.data;
	chat->suffix = j->tail.data;
	return 0;
fail:
	return err->code;
}

static const char *template_name(const void *context)
{
	const struct judged *j = context;

	return j->settings->template;
}

const struct prompt_source judged_source = {
	.what = "replies",
	.open = judged_open,
	.read = judged_read,
	.render = judged_render,
	.template_name = template_name,
	.close = judged_close,
};
