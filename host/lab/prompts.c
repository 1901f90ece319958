/* SPDX-License-Identifier: MIT
 *
 * prompts.c - Contract: prompts.h. Opening: prompts_open.c.
 */
#include "host/lab/prompts.h"

#include "host/base/vec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct token_span prompts_tokens(const struct prompts *p, size_t prompt, size_t skip)
{
	const struct prompt_table *t = &p->table;

	return (struct token_span){t->ids.data + t->start[prompt] + skip,
		t->start[prompt + 1] - t->start[prompt] - skip, (int32_t)prompt};
}

const int32_t *prompts_prefix(const struct prompts *p)
{
	return p->table.ids.data;
}

int prompts_inputs(const struct prompts *p, struct input_list *more, struct err *err)
{
	return p->chat->path ? vec_push(more,
				       ((struct input){"model.template", p->chat->path, "",
					       "chat_template"}),
				       err)
			     : 0;
}

/* ---- texts ----------------------------------------------------------------------------- */

static size_t set_of(const struct prompts *p, size_t prompt)
{
	size_t set = 0;

	while (prompt >= p->table.first[set + 1])
		set++;
	return set;
}

static const struct prompt *prompt_of(const struct prompts *p, size_t prompt)
{
	const size_t set = set_of(p, prompt);

	return &p->table.sets[set].items[prompt - p->table.first[set]];
}

const char *prompts_text(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->text;
}

const char *prompts_answer(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->answer;
}

const char *prompts_category(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->category;
}

const char *prompts_context(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->context;
}

const char *prompts_system(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->system;
}

const char *prompts_messages(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->messages;
}

const char *prompts_suffix(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->suffix;
}

const char *prompts_base(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->base;
}

const char *prompts_field(const struct prompts *p, size_t prompt)
{
	return prompt_of(p, prompt)->field;
}

const char *prompts_set_name(const struct prompts *p, size_t prompt)
{
	return p->table.names[set_of(p, prompt)];
}

int prompts_describe(const struct prompts *p, const struct config *c, size_t set, struct text *out,
	struct err *err)
{
	const struct prompt_table *t = &p->table;
	char *begin;
	int n = asprintf(&begin, "%s: %zu from %s%s", t->names[set], t->sets[set].n,
		p->source ? c->from : c->prompts[set].file, p->source ? "" : ": ");

	if (n < 0)
		return err_nomem(err, "prompts", 0);
	err_clear(err);
	TRY(vec_append(out, begin, (size_t)n, err));
	if (p->source)
		TRY(vec_push(out, '\0', err));
	else
		TRY(prompt_set_describe(&t->sets[set], out, err));
fail:
	free(begin);
	return err->code;
}

int prompts_render(const struct prompts *p, size_t prompt, struct text *out, struct err *err)
{
	const struct prompt *asked = prompt_of(p, prompt);
	struct text message = {0};

	if (p->source)
		return p->source->render(p->context, p, prompt, out, err);
	err_clear(err);
	TRY(prompt_message(asked, &message, err));
	TRY(chat_template_render(p->chat,
		&(struct chat_request){message.data, asked->system, asked->messages}, out, err));
fail:
	free(message.data);
	return err->code;
}

/* ---- lists ----------------------------------------------------------------------------- */

int prompts_of_set(const struct prompts *p, const char *name, struct prompt_ids *out,
	struct err *err)
{
	const struct prompt_table *t = &p->table;
	size_t i = 0;

	while (i < t->n_sets && strcmp(t->names[i], name) != 0)
		i++;
	assert(i < t->n_sets);
	for (size_t id = t->first[i]; id < t->first[i + 1]; id++)
		if (vec_push(out, id, err))
			return err->code;
	return 0;
}

int prompts_of_sets(const struct prompts *p, const struct text_list *names, struct prompt_ids *out,
	struct err *err)
{
	for (size_t i = 0; i < names->n; i++)
		if (prompts_of_set(p, names->items[i], out, err))
			return err->code;
	return 0;
}

int prompts_spread(const struct prompts *p, size_t most, struct prompt_ids *out, struct err *err)
{
	const size_t n = p->table.n < most ? p->table.n : most;

	for (size_t i = 0; i < n; i++)
		if (vec_push(out, i * p->table.n / n, err))
			return err->code;
	return 0;
}

int prompts_schedule(const struct prompts *p, const struct prompt_ids *ids, size_t skip,
	size_t max_tokens, size_t max_prompts, struct schedule *out, struct err *err)
{
	size_t *lengths = malloc(ids->n * sizeof *lengths + 1);
	int rc;

	if (!lengths)
		return err_nomem(err, "a schedule", ids->n * sizeof *lengths);
	for (size_t i = 0; i < ids->n; i++)
		lengths[i] = prompts_tokens(p, ids->data[i], skip).n;
	rc = schedule_make(out, lengths, ids->n, max_tokens, max_prompts, err);
	free(lengths);
	return rc;
}

size_t prompts_batch(const struct prompts *p, const struct prompt_ids *ids,
	const struct schedule *s, size_t b, size_t skip, struct token_span *out)
{
	const size_t first = s->cut[b], n = s->cut[b + 1] - first;

	for (size_t i = 0; i < n; i++)
		out[i] = prompts_tokens(p, ids->data[s->order[first + i]], skip);
	return n;
}
