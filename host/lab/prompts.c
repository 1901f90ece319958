/* SPDX-License-Identifier: MIT
 *
 * prompts.c - the prompts of a run: their tokens and texts, lists of them, batches. Contract:
 * lab.h.
 */
#include "host/lab/lab.h"

#include "host/base/vec.h"

#include <assert.h>
#include <string.h>

struct token_span lab_tokens(const struct lab *lab, size_t prompt, size_t skip)
{
	const struct prompt_table *t = &lab->prompts;

	return (struct token_span){t->ids.data + t->start[prompt] + skip,
		t->start[prompt + 1] - t->start[prompt] - skip, (int32_t)prompt};
}

const int32_t *lab_prefix(const struct lab *lab)
{
	return lab->prompts.ids.data;
}

static size_t set_of(const struct lab *lab, size_t prompt)
{
	size_t set = 0;

	while (prompt >= lab->prompts.first[set + 1])
		set++;
	return set;
}

static const struct prompt *prompt_of(const struct lab *lab, size_t prompt)
{
	const size_t set = set_of(lab, prompt);

	return &lab->prompts.sets[set].items[prompt - lab->prompts.first[set]];
}

const char *lab_text(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->text;
}

const char *lab_answer(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->answer;
}

const char *lab_category(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->category;
}

const char *lab_suffix(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->suffix;
}

const char *lab_base(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->base;
}

const char *lab_context(const struct lab *lab, size_t prompt)
{
	return prompt_of(lab, prompt)->context;
}

int lab_message(const struct lab *lab, size_t prompt, struct text *out, struct err *err)
{
	return prompt_message(prompt_of(lab, prompt), out, err);
}

const char *lab_set_name(const struct lab *lab, size_t prompt)
{
	return lab->prompts.names[set_of(lab, prompt)];
}

int lab_set(const struct lab *lab, const char *name, struct prompt_ids *out, struct err *err)
{
	const struct prompt_table *t = &lab->prompts;
	size_t i = 0;

	while (i < t->n_sets && strcmp(t->names[i], name) != 0)
		i++;
	assert(i < t->n_sets);
	for (size_t p = lab->prompts.first[i]; p < lab->prompts.first[i + 1]; p++)
		if (vec_push(out, p, err))
			return err->code;
	return 0;
}

int lab_schedule(const struct lab *lab, const struct prompt_ids *prompts, size_t skip,
	size_t max_tokens, size_t max_prompts, struct schedule *out, struct err *err)
{
	size_t *lengths = malloc(prompts->n * sizeof *lengths + 1);
	int rc;

	if (!lengths)
		return err_nomem(err, "a schedule", prompts->n * sizeof *lengths);
	for (size_t i = 0; i < prompts->n; i++)
		lengths[i] = lab_tokens(lab, prompts->data[i], skip).n;
	rc = schedule_make(out, lengths, prompts->n, max_tokens, max_prompts, err);
	free(lengths);
	return rc;
}

size_t lab_batch(const struct lab *lab, const struct prompt_ids *prompts, const struct schedule *s,
	size_t b, size_t skip, struct token_span *out)
{
	const size_t first = s->cut[b], n = s->cut[b + 1] - first;

	for (size_t i = 0; i < n; i++)
		out[i] = lab_tokens(lab, prompts->data[s->order[first + i]], skip);
	return n;
}
