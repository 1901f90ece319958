/* SPDX-License-Identifier: MIT
 *
 * prompt_record.c - Contract: prompt_record.h, prompts.h. Tests: tests/test_prompts.c.
 */
#include "host/text/prompt_record.h"

#include "host/text/prompt_choices.h"

#include <assert.h>
#include <stdio.h>

/* Where published sets keep their prompts. Goal comes before Behavior, which is a short title
 * where both are there (JailbreakBench). */
static const char *const text_fields[] = {"instruction", "Goal", "goal", "Behavior", "behavior",
	"forbidden_prompt", "prompt", "Prompt", "Question", "question", "adversarial", "vanilla",
	"text", NULL};

static const char *const category_fields[] = {"category", "Category", "SemanticCategory",
	"data_type", NULL};

static bool is_blank(const struct record_field *f)
{
	size_t i = 0;

	while (i < f->n && f->text[i] && strchr(" \t\r\n", f->text[i]))
		i++;
	return i == f->n;
}

static const struct record_field *find_any(const struct record *record, const char *const *names)
{
	const struct record_field *found = NULL;

	for (; *names && !found; names++)
		found = record_find(record, *names);
	return found;
}

/* "a, b, c", cut to what fits. */
static const char *names_of(const struct record *record, char *buffer, size_t size)
{
	size_t n = 0;

	snprintf(buffer, size, "nothing");
	for (size_t i = 0; i < record->n_fields && n < size; i++)
		n += (size_t)snprintf(buffer + n, size - n, "%s%s", i ? ", " : "the fields ",
			record->fields[i].name);
	return buffer;
}

static int missing(const struct record *record, const char *what, struct err *err)
{
	char names[1024];

	return err_set(err, ERR_INPUT, "%s: expected %s, found %s", record->place, what,
		names_of(record, names, sizeof names));
}

/* The field `name` that the config asks for. */
static const struct record_field *need(const struct record *record, const char *name,
	struct err *err)
{
	const struct record_field *field = record_find(record, name);
	char what[300];

	if (!field) {
		snprintf(what, sizeof what, "a field \"%.256s\"", name);
		missing(record, what, err);
	}
	return field;
}

/* What a field says in words: its text, a number, true or false, "" for null. NULL for lists and
 * objects. */
static const char *words(const struct record_field *f, char *buffer, size_t size)
{
	if (f->text)
		return f->text;
	if (json_is_integer(f->json))
		snprintf(buffer, size, "%lld", (long long)json_integer_value(f->json));
	else if (json_is_real(f->json))
		snprintf(buffer, size, "%.17g", json_real_value(f->json));
	else if (json_is_boolean(f->json))
		snprintf(buffer, size, "%s", json_is_true(f->json) ? "true" : "false");
	else if (json_is_null(f->json))
		buffer[0] = '\0';
	else
		return NULL;
	return buffer;
}

/* A copy of n bytes as text. */
static int copy_text(const struct record *record, const char *name, const char *text, size_t n,
	char **out, struct err *err)
{
	if (memchr(text, '\0', n))
		return err_set(err, ERR_INPUT, "%s: its %s holds a zero byte", record->place, name);
	*out = strndup(text, n);
	return *out ? 0 : err_nomem(err, record->place, n);
}

static int copy_words(const struct record *record, const struct record_field *f, char **out,
	struct err *err)
{
	char buffer[32];
	const char *text = words(f, buffer, sizeof buffer);

	if (!text || (!f->text && json_is_null(f->json)))
		return 0;
	return copy_text(record, f->name, text, f->text ? f->n : strlen(text), out, err);
}

/* ---- which records ---------------------------------------------------------------------- */

/* Whether the record has one of the values that `where` gives for the field of its entry i. */
static int has_value(const struct record *record, const struct prompt_selection *s, size_t i,
	bool *yes, struct err *err)
{
	const size_t n = strcspn(s->where[i], "=");
	const struct record_field *field;
	char name[256], buffer[32];
	const char *value;

	assert(s->where[i][n] == '=');
	snprintf(name, sizeof name, "%.*s", (int)n, s->where[i]);
	field = need(record, name, err);
	if (!field)
		return err->code;
	value = words(field, buffer, sizeof buffer);
	*yes = false;
	for (size_t j = 0; value && j < s->n_where; j++)
		*yes |= strncmp(s->where[j], s->where[i], n + 1) == 0 &&
			strcmp(s->where[j] + n + 1, value) == 0;
	return 0;
}

static int is_wanted(const struct record *record, const struct prompt_selection *s, bool *yes,
	struct err *err)
{
	const struct record_field *input = record_find(record, "input");
	const bool alpaca = !(s->text_field && *s->text_field) && input && input->text &&
			    record_find(record, "instruction");

	*yes = !alpaca || is_blank(input);
	for (size_t i = 0; i < s->n_where && *yes; i++)
		if (has_value(record, s, i, yes, err))
			return err->code;
	return 0;
}

/* ---- what they hold ---------------------------------------------------------------------- */

static int find_text(const struct record *record, const struct prompt_selection *s,
	const struct record_field **out, struct err *err)
{
	const bool named = s->text_field && *s->text_field;
	const struct record_field *field = named ? need(record, s->text_field, err)
						 : find_any(record, text_fields);
	const struct record_field *vanilla;

	if (!field && named)
		return err->code;
	if (!field)
		return missing(record,
			"a prompt in a field of a known name (instruction, Goal, Behavior, "
			"forbidden_prompt, prompt, question, text; else set text_field)",
			err);
	vanilla = record_find(record, "vanilla");
	if (!named && vanilla && strcmp(field->name, "adversarial") == 0 && field->text &&
		is_blank(field))
		field = vanilla;
	if (!field->text)
		return err_set(err, ERR_INPUT, "%s: expected a string \"%s\", found %s",
			record->place, field->name, json_kind(field->json));
	if (is_blank(field))
		return err_set(err, ERR_INPUT, "%s: its %s is empty", record->place, field->name);
	*out = field;
	return 0;
}

/* GSM8K ends its worked answers with "#### 1,234". */
static void shorten_answer(char *answer)
{
	char *from = strstr(answer, "####"), *to = answer;

	if (!from)
		return;
	for (from += 4; *from; from++)
		if (!strchr(", \t\r\n", *from))
			*to++ = *from;
	*to = '\0';
}

static int read_category(struct prompt *p, const struct record *record,
	const struct prompt_selection *s, struct err *err)
{
	const bool named = s->category_field && *s->category_field;
	const struct record_field *field = named ? need(record, s->category_field, err)
						 : find_any(record, category_fields);

	if (!field)
		return named ? err->code : 0;
	return copy_words(record, field, &p->category, err);
}

static int read_context(struct prompt *p, const struct record *record,
	const struct prompt_selection *s, struct err *err)
{
	const bool named = s->context_field && *s->context_field;
	const struct record_field *field;

	if (s->no_context)
		return 0;
	field = named ? need(record, s->context_field, err) : record_find(record, "ContextString");
	if (!field)
		return named ? err->code : 0;
	if (!field->text && !json_is_null(field->json))
		return err_set(err, ERR_INPUT, "%s: expected a string \"%s\", found %s",
			record->place, field->name, json_kind(field->json));
	if (!field->text || is_blank(field))
		return 0;
	return copy_text(record, field->name, field->text, field->n, &p->context, err);
}

static int read_choices(struct prompt *p, const struct record *record, struct err *err)
{
	struct text text = {0};
	char answer[2] = "";

	TRY(record_read_choices(record, &text, &answer[0], err));
	TRY(copy_text(record, "question", text.data, text.n, &p->text, err));
	if (answer[0])
		TRY(copy_text(record, "answer", answer, 1, &p->answer, err));
	free(text.data);
	return 0;
fail:
	free(text.data);
	return err->code;
}

static int read_plain(struct prompt *p, const struct record *record,
	const struct prompt_selection *s, struct err *err)
{
	const struct record_field *text = NULL, *answer = record_find(record, "answer");
	const struct record_field *vanilla = record_find(record, "vanilla");

	TRY(find_text(record, s, &text, err));
	TRY(copy_text(record, text->name, text->text, text->n, &p->text, err));
	if (strcmp(text->name, "adversarial") == 0 && vanilla && vanilla->text &&
		!is_blank(vanilla))
		TRY(copy_text(record, "vanilla", vanilla->text, vanilla->n, &p->base, err));
	if (answer && answer != text) {
		TRY(copy_words(record, answer, &p->answer, err));
		if (p->answer)
			shorten_answer(p->answer);
	}
	return 0;
fail:
	return err->code;
}

/* ---- suffixes ---------------------------------------------------------------------------- */

static int copy_or_null(char **to, const char *from, struct err *err)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to ? 0 : err_nomem(err, "a prompt", strlen(from));
}

int prompt_copy_shared(struct prompt *to, const struct prompt *from, struct err *err)
{
	TRY(copy_or_null(&to->category, from->category, err));
	TRY(copy_or_null(&to->answer, from->answer, err));
	TRY(copy_or_null(&to->system, from->system, err));
	return copy_or_null(&to->context, from->context, err);
fail:
	return err->code;
}

/* `plain` with one of its suffixes. */
static int add_suffixed(struct prompt_list *out, const struct record *record,
	const struct prompt *plain, const char *suffix, size_t n, struct err *err)
{
	struct prompt p = {.record = plain->record};

	if (is_blank(&(struct record_field){.text = suffix, .n = n}))
		return err_set(err, ERR_INPUT, "%s: one of its suffixes is empty", record->place);
	TRY(copy_text(record, "suffix", suffix, n, &p.suffix, err));
	TRY(copy_or_null(&p.base, plain->text, err));
	TRY(prompt_copy_shared(&p, plain, err));
	if (asprintf(&p.text, "%s %s", p.base, p.suffix) < 0) {
		p.text = NULL;
		err_nomem(err, record->place, n);
		goto fail;
	}
	TRY(vec_push(out, p, err));
	return 0;
fail:
	prompt_free(&p);
	return err->code;
}

static int add_each_suffix(struct prompt_list *out, const struct record *record,
	const struct prompt *plain, const struct record_field *field, struct python_list *list,
	struct err *err)
{
	if (field->text) {
		TRY(python_list_parse(list, record->place, field->text, field->n, err));
		for (size_t i = 0; i < list->start.n; i++) {
			const char *suffix = list->text.data + list->start.data[i];

			TRY(add_suffixed(out, record, plain, suffix, strlen(suffix), err));
		}
		return 0;
	}
	if (!json_is_array(field->json))
		return err_set(err, ERR_INPUT, "%s: expected a list of texts \"%s\", found %s",
			record->place, field->name, json_kind(field->json));
	for (size_t i = 0; i < json_array_size(field->json); i++) {
		const json_t *suffix = json_array_get(field->json, i);

		if (!json_is_string(suffix))
			return err_set(err, ERR_INPUT,
				"%s: element %zu of \"%s\": expected a string, "
				"found %s",
				record->place, i, field->name, json_kind(suffix));
		TRY(add_suffixed(out, record, plain, json_string_value(suffix),
			json_string_length(suffix), err));
	}
	return 0;
fail:
	return err->code;
}

int record_read(struct prompt_list *out, const struct record *record,
	const struct prompt_selection *s, struct python_list *suffixes, struct err *err)
{
	struct prompt p = {.record = record->index};
	const struct record_field *field = NULL;
	bool wanted;

	TRY(is_wanted(record, s, &wanted, err));
	if (!wanted)
		return 0;
	if (!(s->text_field && *s->text_field) && record_has_choices(record))
		TRY(read_choices(&p, record, err));
	else
		TRY(read_plain(&p, record, s, err));
	TRY(read_category(&p, record, s, err));
	TRY(read_context(&p, record, s, err));
	if (!s->suffix_field || !*s->suffix_field) {
		TRY(vec_push(out, p, err));
		return 0;
	}
	if (!(field = need(record, s->suffix_field, err)))
		goto fail;
	TRY(add_each_suffix(out, record, &p, field, suffixes, err));
	prompt_free(&p);
	return 0;
fail:
	prompt_free(&p);
	return err->code;
}

void prompt_free(struct prompt *p)
{
	free(p->text);
	free(p->category);
	free(p->answer);
	free(p->base);
	free(p->suffix);
	free(p->context);
	free(p->system);
	free(p->messages);
}
