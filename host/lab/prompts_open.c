/* SPDX-License-Identifier: MIT
 *
 * prompts_open.c - reading the prompts of a run, and putting them into the template. Contract:
 * prompts.h.
 */
#include "host/lab/prompts.h"

#include "host/base/log.h"
#include "host/text/prompt_take.h"

#include <stdlib.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------- */

static enum prompt_take take_of(const struct prompts_config *p)
{
	return p->take[0] == 't'   ? PROMPT_TAKE_TEXT
	       : p->take[0] == 'b' ? PROMPT_TAKE_BASE
				   : PROMPT_TAKE_WORDS;
}

static enum prompt_input input_of(const struct prompts_config *p)
{
	return p->input[0] == 'l'   ? PROMPT_INPUT_LEAVE_OUT
	       : p->input[0] == 'a' ? PROMPT_INPUT_APPEND
				    : PROMPT_INPUT_IGNORE;
}

static enum prompt_last_reply last_reply_of(const struct prompts_config *p)
{
	return p->last_reply[0] == 'd'   ? PROMPT_LAST_REPLY_DROP
	       : p->last_reply[0] == 'b' ? PROMPT_LAST_REPLY_BEGIN
					 : PROMPT_LAST_REPLY_REFUSE;
}

static int read_sets(struct prompt_table *t, const struct config *c, struct err *err)
{
	if (prompt_table_create(t, c->n_prompts, err))
		return err->code;
	for (size_t i = 0; i < c->n_prompts; i++) {
		const struct prompts_config *p = &c->prompts[i];
		const struct prompt_selection selection = {.format = p->format,
			.text_field = p->text_field,
			.category_field = p->category_field,
			.context_field = p->context_field,
			.system_field = p->system_field,
			.no_context = !p->context,
			.no_system = !p->system,
			.input = input_of(p),
			.last_reply = last_reply_of(p),
			.na_is_text = p->na_is_text,
			.suffix_field = p->suffix_field,
			.where = (const char *const *)p->where.items,
			.n_where = p->where.n,
			.limit = (size_t)p->limit,
			.shuffle = p->shuffle,
			.seed = (uint64_t)c->seed + i};
		size_t n;

		if (prompt_set_read(&t->sets[i], p->file, &selection, err))
			return err_prefix(err, "prompts.%s", p->name);
		n = t->sets[i].n;
		if (prompt_set_take(&t->sets[i], take_of(p), err))
			return err_prefix(err, "prompts.%s", p->name);
		if (n < selection.limit)
			log_warn("prompts.%s.limit: %zu asked for, %s has %zu such prompts",
				p->name, selection.limit, p->file, n);
		t->names[i] = p->name;
		t->first[i + 1] = t->first[i] + t->sets[i].n;
	}
	t->n = t->first[c->n_prompts];
	return 0;
}

/* ---- the template ---------------------------------------------------------------------- */

/* A text of the config that may stay the template's own. */
static const char *own_or(const char *text)
{
	return strcmp(text, "auto") == 0 ? NULL : text;
}

/* Around each prompt: a chat's, or what the source says. */
static int open_template(struct prompts *p, const struct config *c, const struct machine *m,
	struct err *err)
{
	const struct arch *arch = &m->model->arch;
	struct chat_options chat = {.folder = m->tokenizer_folder,
		.name = c->model.template,
		.prefix = own_or(c->model.prefix),
		.suffix = own_or(c->model.suffix),
		.system = c->model.system,
		.prefill = c->model.prefill,
		.date = c->model.date,
		.variables = (const char *const *)c->model.template_variables.items,
		.n_variables = c->model.template_variables.n,
		.bos = c->model.bos};

	if (p->source)
		TRY(p->source->open(&p->context, c, &chat, err));
	TRY(chat_template_open(&p->chat, &chat, arch->model_type,
		arch->rope[ARCH_ROPE_GLOBAL].scaling == ROPE_LLAMA3, m->tok, err));
	return stop_tokens_find(&p->stop, c, m, p->chat, err);
fail:
	return err->code;
}

/* ---- tokens ---------------------------------------------------------------------------- */

/* How many tokens of the prefix text, encoded alone, begin every prompt; *whole: of all. Whatever
 * follows the prefix begins a new token in all templates, so this is all of them; but the prompts
 * decide. */
static int shared_prefix(const struct prompts *p, const struct machine *m, const char *prefix,
	size_t *whole, size_t *n, struct err *err)
{
	const struct prompt_table *t = &p->table;
	struct token_ids ids = {0};

	TRY(chat_template_encode_start(p->chat, m->tok, prefix, &ids, err));
	*whole = *n = ids.n;
	for (size_t i = 0; i < t->n; i++) {
		const int32_t *tokens = t->ids.data + t->start[i];
		const size_t length = t->start[i + 1] - t->start[i];
		size_t same = 0;

		/* At least one token stays with the prompt. */
		while (same < *n && same + 1 < length && tokens[same] == ids.data[same])
			same++;
		*n = same;
	}
	free(ids.data);
	return 0;
fail:
	free(ids.data);
	return err->code;
}

static int encode_prompt(struct prompts *p, const struct prompt *prompt, const struct machine *m,
	struct err *err)
{
	struct text message = {0};

	err_clear(err);
	TRY(prompt_message(prompt, &message, err));
	TRY(chat_template_encode(p->chat, m->tok,
		&(struct chat_request){message.data, prompt->system, prompt->messages},
		&p->table.ids, err));
fail:
	free(message.data);
	return err->code;
}

static int encode_set(struct prompts *p, size_t set, const struct machine *m, struct err *err)
{
	struct prompt_table *t = &p->table;

	for (size_t i = 0; i < t->sets[set].n; i++) {
		const struct prompt *prompt = &t->sets[set].items[i];
		size_t *start = t->start + t->first[set] + i;

		if (encode_prompt(p, prompt, m, err))
			return err_prefix(err, "prompts.%s: record %zu", t->names[set],
				prompt->record);
		start[1] = t->ids.n;
		if (start[1] - start[0] > m->model->n_ctx)
			return err_set(err, ERR_INPUT,
				"prompts.%s: record %zu: expected prompts of at most %zu tokens "
				"(model.n_ctx), found one of %zu: \"%.40s...\"",
				t->names[set], prompt->record, m->model->n_ctx, start[1] - start[0],
				prompt->text);
	}
	return 0;
}

static int encode_sets(struct prompts *p, const struct machine *m, struct err *err)
{
	struct prompt_table *t = &p->table;

	t->start = calloc(t->n + 1, sizeof *t->start);
	if (!t->start)
		return err_nomem(err, "prompts", t->n * sizeof *t->start);
	for (size_t set = 0; set < t->n_sets; set++)
		if (encode_set(p, set, m, err))
			return err->code;
	return 0;
}

/* A tokenizer may have more tokens than the model has rows (gemma3's image token): none of those
 * may be in a prompt. */
static int check_ids(const struct prompts *p, const struct machine *m, struct err *err)
{
	const size_t n_vocab = m->model->arch.n_vocab;

	for (size_t i = 0; i < p->table.n; i++) {
		const struct token_span span = prompts_tokens(p, i, 0);

		for (size_t k = 0; k < span.n; k++)
			if ((size_t)span.ids[k] >= n_vocab)
				return err_set(err, ERR_INPUT,
					"prompts.%s: expected tokens below %zu, the rows of the model's "
					"embedding, found %d \"%s\" of the tokenizer in \"%.40s...\"",
					prompts_set_name(p, i), n_vocab, span.ids[k],
					tokenizer_spelling(m->tok, span.ids[k]),
					prompts_text(p, i));
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------- */

int prompts_open(struct prompts *p, const struct config *c, const struct machine *m,
	const struct prompt_source *source, struct err *err)
{
	size_t n;

	*p = (struct prompts){.source = source, .refusal_token = -1, .target_token = -1};
	TRY(open_template(p, c, m, err));
	if (source) {
		TRY(source->read(p->context, m, p, err));
	} else {
		TRY(read_sets(&p->table, c, err));
		TRY(encode_sets(p, m, err));
	}
	TRY(check_ids(p, m, err));
	TRY(shared_prefix(p, m, p->chat->prefix, &p->n_template_prefix, &p->n_prefix, err));
	return shared_prefix(p, m, p->chat->released_prefix, &n, &p->n_released_prefix, err);
fail:
	return err->code;
}

int prompt_table_create(struct prompt_table *t, size_t n_sets, struct err *err)
{
	*t = (struct prompt_table){.n_sets = n_sets,
		.sets = calloc(n_sets + 1, sizeof *t->sets),
		.names = calloc(n_sets + 1, sizeof *t->names),
		.first = calloc(n_sets + 1, sizeof *t->first)};
	return t->sets && t->names && t->first
		       ? 0
		       : err_nomem(err, "prompts", n_sets * sizeof *t->sets);
}

void prompts_close(struct prompts *p)
{
	struct prompt_table *t = &p->table;

	for (size_t i = 0; t->sets && i < t->n_sets; i++)
		prompt_set_free(&t->sets[i]);
	free(t->sets);
	free(t->names);
	free(t->first);
	free(t->ids.data);
	free(t->start);
	if (p->source)
		p->source->close(p->context);
	chat_template_close(p->chat);
	stop_tokens_free(&p->stop);
	*p = (struct prompts){0};
}
