/* SPDX-License-Identifier: MIT
 *
 * prompt_shape.c - Contract: prompt_shape.h. Tests: tests/test_prompts.c.
 */
#include "host/text/prompt_shape.h"

#include <stdio.h>
#include <string.h>

enum { KNOWN_MAX = 16 };

/* Where published sets keep what is asked, whole conversations included. */
static const char *const prompt_fields[KNOWN_MAX + 1] = {"instruction", "Goal", "goal", "Behavior",
	"behavior", "forbidden_prompt", "prompt", "Prompt", "Question", "question", "adversarial",
	"vanilla", "text", "messages", "conversations", "conversation"};

static const char *const category_fields[KNOWN_MAX + 1] = {"category", "Category",
	"SemanticCategory", "data_type"};

static const char *const system_fields[KNOWN_MAX + 1] = {"system", "system_prompt"};

/* Published sets that have several of prompt_fields, and what they mean by them. */
static const struct published {
	const char *prompt;
	const char *others[3]; /* of prompt_fields, those that may stand beside it */
	const char *marks[3];  /* fields by which the set is known, all of them */
	const char *base;      /* the one of `others` that the prompt was made from */
	enum { IS_AN_ERROR, GIVES_THE_BASE, GIVES_NO_PROMPT } empty; /* an empty prompt */
} published[] = {
	/* JailbreakBench's behaviors: Behavior is a title of two words. */
	{"Goal", {"Behavior"}, {"Target"}, NULL, IS_AN_ERROR},
	/* Its artifacts: the goal, and what an attack made of it; null where it made nothing. */
	{"prompt", {"goal", "behavior"}, {"goal", "response", "jailbroken"}, "goal",
		GIVES_NO_PROMPT},
	/* WildJailbreak: plain requests stand beside an empty adversarial one. */
	{"adversarial", {"vanilla"}, {NULL}, "vanilla", GIVES_THE_BASE},
	/* Alpaca on Hugging Face: text is all of a record, put into a template. */
	{"instruction", {"text"}, {"input", "output"}, NULL, IS_AN_ERROR},
};

struct found {
	const struct record_field *fields[KNOWN_MAX];
	size_t n;
};

static void find_known(const struct record *record, const char *const *names, struct found *out)
{
	*out = (struct found){.n = 0};
	for (; *names; names++) {
		const struct record_field *field = record_find(record, *names);

		if (field)
			out->fields[out->n++] = field;
	}
}

static const struct record_field *among(const struct found *found, const char *name)
{
	for (size_t i = 0; i < found->n; i++)
		if (strcmp(found->fields[i]->name, name) == 0)
			return found->fields[i];
	return NULL;
}

static int ambiguous(const struct record *record, const struct found *found, const char *what,
	const char *setting, struct err *err)
{
	char names[512];
	size_t n = 0;

	for (size_t i = 0; i < found->n && n < sizeof names; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s\"%s\"",
			i == 0              ? ""
			: i + 1 == found->n ? " and "
					    : ", ",
			found->fields[i]->name);
	return err_set(err, ERR_INPUT,
		"%s: expected one field that can be the %s, found %s; %s says which is meant",
		record->place, what, names, setting);
}

/* ---- the prompt ------------------------------------------------------------------------- */

/* A flag or a number asks nothing: WildGuardMix has a flag "adversarial" beside its prompt. */
static void drop_flags(struct found *found)
{
	size_t n = 0;

	for (size_t i = 0; i < found->n; i++) {
		const json_t *json = found->fields[i]->json;

		if (!json_is_boolean(json) && !json_is_number(json))
			found->fields[n++] = found->fields[i];
	}
	/* Where all are, the first is said not to be a text. */
	if (n > 0)
		found->n = n;
}

static bool is_one_of(const char *const names[3], const char *name)
{
	bool is = false;

	for (int i = 0; i < 3 && names[i]; i++)
		is |= strcmp(names[i], name) == 0;
	return is;
}

static bool is_published(const struct record *record, const struct found *found,
	const struct published *p)
{
	bool is = among(found, p->prompt) && found->n > 1;

	for (size_t i = 0; i < found->n; i++)
		is &= strcmp(found->fields[i]->name, p->prompt) == 0 ||
		      is_one_of(p->others, found->fields[i]->name);
	for (int i = 0; i < 3 && p->marks[i]; i++)
		is &= record_find(record, p->marks[i]) != NULL;
	return is;
}

static const struct published *find_published(const struct record *record,
	const struct found *found)
{
	for (size_t i = 0; i < sizeof published / sizeof *published; i++)
		if (is_published(record, found, &published[i]))
			return &published[i];
	return NULL;
}

static bool is_empty(const struct record_field *f)
{
	return f->text ? is_blank(f->text, f->n) : json_is_null(f->json);
}

/* What the published set p makes of the record. */
static void apply(const struct published *p, const struct found *found, bool named,
	struct prompt_shape *out)
{
	out->base = p->base ? among(found, p->base) : NULL;
	if (out->base && is_empty(out->base))
		out->base = NULL;
	if (!is_empty(out->prompt))
		return;
	if (p->empty == GIVES_NO_PROMPT) {
		out->prompt = NULL;
	} else if (p->empty == GIVES_THE_BASE && !named && out->base) {
		out->prompt = out->base;
		out->base = NULL;
	}
}

int prompt_shape_find(const struct record *record, const char *text_field, struct prompt_shape *out,
	struct err *err)
{
	const bool named = text_field && *text_field;
	const struct published *p;
	struct found found;

	*out = (struct prompt_shape){0};
	find_known(record, prompt_fields, &found);
	drop_flags(&found);
	p = find_published(record, &found);
	if (named) {
		out->prompt = record_need(record, text_field, err);
		if (!out->prompt)
			return err->code;
	} else if (found.n == 0) {
		return record_lacks(record,
			"a prompt in a field of a known name (instruction, Goal, Behavior, "
			"forbidden_prompt, prompt, question, text, messages; else set text_field)",
			err);
	} else if (found.n == 1) {
		out->prompt = found.fields[0];
	} else if (p) {
		out->prompt = among(&found, p->prompt);
	} else {
		return ambiguous(record, &found, "prompt", "text_field", err);
	}
	if (p && strcmp(out->prompt->name, p->prompt) == 0)
		apply(p, &found, named, out);
	return 0;
}

/* ---- what stands beside it --------------------------------------------------------------- */

static int find_one(const struct record *record, const char *name, const char *const *known,
	const char *what, const char *setting, const struct record_field **out, struct err *err)
{
	struct found found;

	*out = NULL;
	if (name && *name) {
		*out = record_need(record, name, err);
		return *out ? 0 : err->code;
	}
	find_known(record, known, &found);
	if (found.n > 1)
		return ambiguous(record, &found, what, setting, err);
	*out = found.n ? found.fields[0] : NULL;
	return 0;
}

int prompt_category_find(const struct record *record, const char *category_field,
	const struct record_field **out, struct err *err)
{
	return find_one(record, category_field, category_fields, "category", "category_field", out,
		err);
}

int prompt_system_find(const struct record *record, const char *system_field,
	const struct record_field **out, struct err *err)
{
	return find_one(record, system_field, system_fields, "system text", "system_field", out,
		err);
}
