/* SPDX-License-Identifier: MIT
 *
 * prompt_choices.c - Contract: prompt_choices.h.
 * Tests: tests/test_prompts.c.
 *
 * Some ARC questions label their choices 1 to 4: all are relettered A, B, ... by position, and the
 * answer with them.
 */
#include "host/text/prompt_choices.h"

enum { CHOICES_MAX = 26 };

struct choices {
	const json_t *stem, *list;          /* as first published: list of {text, label} */
	const json_t *texts, *labels, *key; /* or two lists */
};

static bool find_choices(const struct record *record, struct choices *out)
{
	const struct record_field *question = record_find(record, "question");
	const struct record_field *choices = record_find(record, "choices");
	const struct record_field *key = record_find(record, "answerKey");

	*out = (struct choices){.key = key ? key->json : NULL};
	if (question && json_is_object(question->json)) {
		out->stem = json_object_get(question->json, "stem");
		out->list = json_object_get(question->json, "choices");
		return out->stem && out->list;
	}
	if (!question || !choices || !json_is_object(choices->json))
		return false;
	out->stem = question->json;
	out->texts = json_object_get(choices->json, "text");
	out->labels = json_object_get(choices->json, "label");
	return out->texts && out->labels;
}

bool record_has_choices(const struct record *record)
{
	struct choices choices;

	return find_choices(record, &choices);
}

static int expect_string(const struct record *record, const char *what, size_t i,
	const json_t *value, struct err *err)
{
	if (json_is_string(value))
		return 0;
	return err_set(err, ERR_INPUT, "%s: choice %zu: expected a string as %s, found %s",
		record->place, i, what, json_kind(value));
}

static int append_string(struct text *out, const json_t *value, struct err *err)
{
	return vec_append(out, json_string_value(value), json_string_length(value), err);
}

int record_read_choices(const struct record *record, struct text *out, char *answer,
	struct err *err)
{
	struct choices c;
	size_t n;

	*answer = '\0';
	find_choices(record, &c);
	n = json_array_size(c.list ? c.list : c.texts);
	if (!json_is_string(c.stem) || n == 0 || n > CHOICES_MAX ||
		(c.texts && json_array_size(c.labels) != n))
		return err_set(err, ERR_INPUT,
			"%s: expected a question with 1 to %d choices and as many labels, found %s "
			"with "
			"%zu",
			record->place, CHOICES_MAX, json_kind(c.stem), n);
	TRY(append_string(out, c.stem, err));
	for (size_t i = 0; i < n; i++) {
		const json_t *entry = json_array_get(c.list, i);
		const json_t *text = entry ? json_object_get(entry, "text")
					   : json_array_get(c.texts, i);
		const json_t *label = entry ? json_object_get(entry, "label")
					    : json_array_get(c.labels, i);
		const char begin[] = {'\n', (char)('A' + i), '.', ' '};

		TRY(expect_string(record, "text", i, text, err));
		TRY(expect_string(record, "label", i, label, err));
		TRY(vec_append(out, begin, sizeof begin, err));
		TRY(append_string(out, text, err));
		if (c.key && json_equal(c.key, label))
			*answer = (char)('A' + i);
	}
	if (c.key && !*answer)
		return err_set(err, ERR_INPUT,
			"%s: expected an answerKey among the labels of its choices, found \"%s\"",
			record->place,
			json_is_string(c.key) ? json_string_value(c.key) : json_kind(c.key));
	return 0;
fail:
	return err->code;
}
