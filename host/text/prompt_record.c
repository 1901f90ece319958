/* SPDX-License-Identifier: MIT
 *
 * prompt_record.c - Contract: prompt_record.h, prompts.h. Tests: tests/test_prompts.c.
 */
#include "host/text/prompt_record.h"

#include "host/text/prompt_choices.h"
#include "host/text/prompt_conversation.h"
#include "host/text/prompt_shape.h"

#include <assert.h>
#include <stdio.h>

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

/* What tables say in place of a value that is missing, pandas' ways among them. */
static bool is_na(const char *text, size_t n)
{
	static const char *const words[] = {"nan", "NaN", "NAN", "None", "null", "NULL", "N/A",
		"n/a", "NA", "#N/A", "#NA", "<NA>"};
	static const char blanks[] = " \t\r\n";
	bool is = false;

	while (n > 0 && strchr(blanks, text[n - 1]))
		n--;
	while (n > 0 && strchr(blanks, *text)) {
		text++;
		n--;
	}
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		is |= strlen(words[i]) == n && memcmp(words[i], text, n) == 0;
	return is;
}

/* A record and how it is read. */
struct reading {
	const struct record *record;
	const struct prompt_selection *s;
};

/* A copy of n bytes of the record's `name` as text. */
static int copy_text(const struct reading *r, const char *name, const char *text, size_t n,
	char **out, struct err *err)
{
	if (memchr(text, '\0', n))
		return err_set(err, ERR_INPUT, "%s: its %s holds a zero byte", r->record->place,
			name);
	if (n > PROMPT_BYTES_MOST)
		return err_set(err, ERR_INPUT,
			"%s: expected at most %d MiB as its %s, found %zu bytes", r->record->place,
			PROMPT_BYTES_MOST >> 20, name, n);
	if (!r->s->na_is_text && is_na(text, n))
		return err_set(err, ERR_INPUT,
			"%s: expected a text as its %s, found \"%.*s\", which stands for a missing "
			"value (na_is_text = true takes it as it is)",
			r->record->place, name, (int)n, text);
	*out = strndup(text, n);
	return *out ? 0 : err_nomem(err, r->record->place, n);
}

/* Of a field that is a text, if there is one and it is not blank. */
static int copy_field(const struct reading *r, const struct record_field *f, char **out,
	struct err *err)
{
	if (!f || (!f->text && json_is_null(f->json)))
		return 0;
	if (!f->text)
		return err_set(err, ERR_INPUT, "%s: expected a string \"%s\", found %s",
			r->record->place, f->name, json_kind(f->json));
	return is_blank(f->text, f->n) ? 0 : copy_text(r, f->name, f->text, f->n, out, err);
}

/* Also of one that is a number, true or false. */
static int copy_words(const struct reading *r, const struct record_field *f, char **out,
	struct err *err)
{
	char buffer[32];
	const char *text = f ? words(f, buffer, sizeof buffer) : NULL;

	if (!text || (!f->text && json_is_null(f->json)))
		return 0;
	return copy_text(r, f->name, text, f->text ? f->n : strlen(text), out, err);
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
	field = record_need(record, name, err);
	if (!field)
		return err->code;
	value = words(field, buffer, sizeof buffer);
	*yes = false;
	for (size_t j = 0; value && j < s->n_where; j++)
		*yes |= strncmp(s->where[j], s->where[i], n + 1) == 0 &&
			strcmp(s->where[j] + n + 1, value) == 0;
	return 0;
}

static int lets_through(const struct reading *r, bool *yes, struct err *err)
{
	*yes = true;
	for (size_t i = 0; i < r->s->n_where && *yes; i++)
		if (has_value(r->record, r->s, i, yes, err))
			return err->code;
	return 0;
}

/* ---- the prompt -------------------------------------------------------------------------- */

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

static int read_answer(struct prompt *p, const struct reading *r, const struct record_field *text,
	struct err *err)
{
	const struct record_field *field = record_find(r->record, "answer");

	if (field != text)
		TRY(copy_words(r, field, &p->answer, err));
	if (p->answer)
		shorten_answer(p->answer);
	return 0;
fail:
	return err->code;
}

static int read_choices(struct prompt *p, const struct reading *r, struct err *err)
{
	struct text text = {0};
	char answer[2] = "";

	TRY(record_read_choices(r->record, &text, &answer[0], err));
	TRY(copy_text(r, "question", text.data, text.n, &p->text, err));
	if (answer[0])
		TRY(copy_text(r, "answer", answer, 1, &p->answer, err));
	free(text.data);
	return 0;
fail:
	free(text.data);
	return err->code;
}

static int read_conversation(struct prompt *p, const struct reading *r,
	const struct record_field *field, struct err *err)
{
	struct conversation c;

	if (p->context)
		return err_set(err, ERR_INPUT,
			"%s: expected a conversation or a context, found \"%s\" and a context "
			"beside it; context = false leaves it out",
			r->record->place, field->name);
	if (r->s->suffix_field && *r->s->suffix_field)
		return err_set(err, ERR_INPUT,
			"%s: expected a text to put suffixes behind, found the conversation \"%s\"",
			r->record->place, field->name);
	if (conversation_read(&c, r->record, field, p->system, r->s->last_reply, err))
		return err->code;
	free(p->system); /* it is the first message */
	p->system = NULL;
	p->messages = c.messages;
	(void)copy_text(r, field->name, c.text, strlen(c.text), &p->text, err);
	free(c.text);
	return err->code;
}

/* The input of a record {instruction, input}; *left_out when the selection leaves those out. */
static int read_input(const struct reading *r, char **input, bool *left_out, struct err *err)
{
	const struct record_field *field = record_find(r->record, "input");

	if (r->s->input == PROMPT_INPUT_IGNORE || copy_field(r, field, input, err))
		return err->code;
	*left_out = *input && r->s->input == PROMPT_INPUT_LEAVE_OUT;
	return 0;
}

static int append_input(struct prompt *p, const char *input, struct err *err)
{
	char *whole;

	if (asprintf(&whole, "%s\n\n%s", p->text, input) < 0)
		return err_nomem(err, "a prompt", strlen(input));
	free(p->text);
	p->text = whole;
	return 0;
}

static int read_text(struct prompt *p, const struct reading *r, const struct record_field *field,
	bool *left_out, struct err *err)
{
	char *input = NULL;

	if (strcmp(field->name, "instruction") == 0)
		TRY(read_input(r, &input, left_out, err));
	if (*left_out)
		goto fail;
	TRY(copy_field(r, field, &p->text, err));
	if (!p->text) {
		err_set(err, ERR_INPUT, "%s: its %s is empty", r->record->place, field->name);
		goto fail;
	}
	if (input)
		TRY(append_input(p, input, err));
fail:
	free(input);
	return err->code;
}

static bool is_conversation(const char *name)
{
	return strcmp(name, "messages") == 0 || strcmp(name, "conversations") == 0 ||
	       strcmp(name, "conversation") == 0;
}

/* What is asked, however the record says it; *why is N_PROMPT_LEFT_OUT unless it is left out. */
static int read_prompt(struct prompt *p, const struct reading *r, enum prompt_left_out *why,
	struct err *err)
{
	const bool named = r->s->text_field && *r->s->text_field;
	const struct record_field *field;
	struct prompt_shape shape;
	bool left_out = false;

	TRY(prompt_shape_find(r->record, r->s->text_field, &shape, err));
	field = shape.prompt;
	if (!field) {
		*why = PROMPT_LEFT_OUT_EMPTY;
		return 0;
	}
	TRY(copy_field(r, shape.base, &p->base, err));
	if (!r->record->bare && !(p->field = strdup(field->name)))
		return err_nomem(err, r->record->place, strlen(field->name));
	if (!named && strcmp(field->name, "question") == 0 && record_has_choices(r->record))
		return read_choices(p, r, err);
	TRY(read_answer(p, r, field, err));
	if (json_is_array(field->json))
		return read_conversation(p, r, field, err);
	if (is_conversation(field->name) && !json_is_null(field->json))
		return err_set(err, ERR_INPUT, "%s: expected a list of messages \"%s\", found %s",
			r->record->place, field->name,
			field->text ? "a string" : json_kind(field->json));
	TRY(read_text(p, r, field, &left_out, err));
	if (left_out)
		*why = PROMPT_LEFT_OUT_INPUT;
	return 0;
fail:
	return err->code;
}

/* ---- what stands beside it --------------------------------------------------------------- */

static int read_category(struct prompt *p, const struct reading *r, struct err *err)
{
	const struct record_field *field;

	TRY(prompt_category_find(r->record, r->s->category_field, &field, err));
	return copy_words(r, field, &p->category, err);
fail:
	return err->code;
}

static int read_context(struct prompt *p, const struct reading *r, struct err *err)
{
	const bool named = r->s->context_field && *r->s->context_field;
	const struct record_field *field;

	if (r->s->no_context)
		return 0;
	field = named ? record_need(r->record, r->s->context_field, err)
		      : record_find(r->record, "ContextString");
	return named && !field ? err->code : copy_field(r, field, &p->context, err);
}

static int read_system(struct prompt *p, const struct reading *r, struct err *err)
{
	const struct record_field *field;

	if (r->s->no_system)
		return 0;
	TRY(prompt_system_find(r->record, r->s->system_field, &field, err));
	return copy_field(r, field, &p->system, err);
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
	TRY(copy_or_null(&to->field, from->field, err));
	TRY(copy_or_null(&to->category, from->category, err));
	TRY(copy_or_null(&to->answer, from->answer, err));
	TRY(copy_or_null(&to->system, from->system, err));
	return copy_or_null(&to->context, from->context, err);
fail:
	return err->code;
}

/* `plain` with one of its suffixes. */
static int add_suffixed(struct prompt_list *out, const struct reading *r,
	const struct prompt *plain, const char *suffix, size_t n, struct err *err)
{
	struct prompt p = {.record = plain->record};

	if (is_blank(suffix, n))
		return err_set(err, ERR_INPUT, "%s: one of its suffixes is empty",
			r->record->place);
	TRY(copy_text(r, "suffix", suffix, n, &p.suffix, err));
	TRY(copy_or_null(&p.base, plain->text, err));
	TRY(prompt_copy_shared(&p, plain, err));
	if (asprintf(&p.text, "%s %s", p.base, p.suffix) < 0) {
		p.text = NULL;
		err_nomem(err, r->record->place, n);
		goto fail;
	}
	TRY(vec_push(out, p, err));
	return 0;
fail:
	prompt_free(&p);
	return err->code;
}

static int add_each_suffix(struct prompt_list *out, const struct reading *r,
	const struct prompt *plain, const struct record_field *field, struct python_list *list,
	struct err *err)
{
	const char *place = r->record->place;

	if (field->text) {
		TRY(python_list_parse(list, place, field->text, field->n, err));
		for (size_t i = 0; i < list->start.n; i++) {
			const char *suffix = list->text.data + list->start.data[i];

			TRY(add_suffixed(out, r, plain, suffix, strlen(suffix), err));
		}
		return 0;
	}
	if (!json_is_array(field->json))
		return err_set(err, ERR_INPUT, "%s: expected a list of texts \"%s\", found %s",
			place, field->name, json_kind(field->json));
	for (size_t i = 0; i < json_array_size(field->json); i++) {
		const json_t *suffix = json_array_get(field->json, i);

		if (!json_is_string(suffix))
			return err_set(err, ERR_INPUT,
				"%s: element %zu of \"%s\": expected a string, found %s", place, i,
				field->name, json_kind(suffix));
		TRY(add_suffixed(out, r, plain, json_string_value(suffix),
			json_string_length(suffix), err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Puts the prompt, or it with each of its suffixes, into the list, which has it then; *why as in
 * read_prompt. */
static int put(struct prompt_list *out, const struct reading *r, struct prompt *p,
	struct python_list *suffixes, enum prompt_left_out *why, struct err *err)
{
	const size_t n = out->n;
	const struct record_field *field;

	if (!r->s->suffix_field || !*r->s->suffix_field) {
		TRY(vec_push(out, *p, err));
		*p = (struct prompt){0};
		return 0;
	}
	field = record_need(r->record, r->s->suffix_field, err);
	if (!field)
		return err->code;
	TRY(add_each_suffix(out, r, p, field, suffixes, err));
	if (out->n == n)
		*why = PROMPT_LEFT_OUT_SUFFIX;
	return 0;
fail:
	return err->code;
}

int record_read(struct prompt_list *out, struct prompt_counts *counts, const struct record *record,
	const struct prompt_selection *s, struct python_list *suffixes, struct err *err)
{
	const struct reading r = {record, s};
	struct prompt p = {.record = record->index};
	enum prompt_left_out why = N_PROMPT_LEFT_OUT;
	bool wanted;

	err_clear(err);
	TRY(lets_through(&r, &wanted, err));
	if (!wanted)
		why = PROMPT_LEFT_OUT_WHERE;
	if (wanted) {
		TRY(read_category(&p, &r, err));
		TRY(read_context(&p, &r, err));
		TRY(read_system(&p, &r, err));
		TRY(read_prompt(&p, &r, &why, err));
	}
	if (why == N_PROMPT_LEFT_OUT)
		TRY(put(out, &r, &p, suffixes, &why, err));
	if (why < N_PROMPT_LEFT_OUT)
		counts->left_out[why]++;
fail:
	prompt_free(&p);
	return err->code;
}

void prompt_free(struct prompt *p)
{
	free(p->text);
	free(p->field);
	free(p->category);
	free(p->answer);
	free(p->base);
	free(p->suffix);
	free(p->context);
	free(p->system);
	free(p->messages);
}
