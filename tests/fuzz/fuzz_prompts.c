/* SPDX-License-Identifier: MIT
 *
 * fuzz_prompts.c - a prompt file of every format. The first byte chooses the format and the
 * settings of the set, the rest is the file. Whatever is accepted is fit for a tokenizer:
 * well-formed UTF-8, not empty, and made of its base and suffix where it has them; a conversation
 * is a list of roles and contents that its text is of. Every record gave prompts or is counted.
 */
#include "host/text/prompts.h"
#include "host/base/utf8.h"
#include "host/formats/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static const char *const names[] = {"p.json", "p.jsonl", "p.csv", "p.tsv", "p.txt"};
static const char *const where[] = {"kind=x", "kind=y=1", "label=1"};

static const struct prompt_selection settings[] = {
	{0},
	{.shuffle = true, .seed = 3, .limit = 2},
	{.text_field = "ask", .category_field = "kind"},
	{.suffix_field = "response"},
	{.where = where, .n_where = 1},
	{.where = where, .n_where = 3},
	{.last_reply = PROMPT_LAST_REPLY_DROP, .input = PROMPT_INPUT_APPEND, .na_is_text = true},
	{.last_reply = PROMPT_LAST_REPLY_BEGIN, .input = PROMPT_INPUT_IGNORE, .no_context = true},
};

static void check_conversation(const struct prompt *p, const struct prompt_selection *selection)
{
	struct err err = {0};
	const char *last = NULL, *asked = NULL;
	json_t *list;

	MUST(json_parse(&list, "messages", p->messages, strlen(p->messages), &err) == 0);
	MUST(json_array_size(list) > 0 && !p->system && !p->context && !p->suffix);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *message = json_array_get(list, i);
		const char *content = json_string_value(json_object_get(message, "content"));

		last = json_string_value(json_object_get(message, "role"));
		MUST(last && (content || strcmp(last, "assistant") == 0));
		if (strcmp(last, "user") == 0)
			asked = content;
	}
	MUST(asked && strcmp(asked, p->text) == 0);
	MUST(strcmp(last, "user") == 0 ||
		(strcmp(last, "assistant") == 0 &&
			selection->last_reply == PROMPT_LAST_REPLY_BEGIN));
	json_decref(list);
}

static void check_prompt(const struct prompt *p, const struct prompt_selection *selection)
{
	const char *const texts[] = {p->text, p->category, p->answer, p->base, p->suffix, p->system,
		p->context, p->messages, p->field};

	MUST(p->text && p->text[strspn(p->text, " \t\r\n")] != '\0');
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		MUST(!texts[i] || utf8_valid(texts[i], strlen(texts[i]), NULL));
	MUST((p->suffix != NULL) == (selection->suffix_field != NULL));
	if (p->suffix) {
		const size_t n = strlen(p->base);

		MUST(strncmp(p->text, p->base, n) == 0 && p->text[n] == ' ');
		MUST(strcmp(p->text + n + 1, p->suffix) == 0);
	}
	if (p->messages)
		check_conversation(p, selection);
}

static void check_counts(const struct prompt_set *set, const struct prompt_selection *selection)
{
	size_t n = set->n;

	for (int i = 0; i < N_PROMPT_LEFT_OUT; i++)
		n += set->counts.left_out[i];
	MUST(selection->suffix_field ? n >= set->counts.n_records : n == set->counts.n_records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum {
		N_NAMES = sizeof names / sizeof *names,
		N_SETTINGS = sizeof settings / sizeof *settings
	};
	const struct prompt_selection *selection;
	struct prompt_set set;
	struct err err = {0};
	int rc;

	if (size == 0)
		return 0;
	selection = &settings[data[0] / N_NAMES % N_SETTINGS];
	rc = prompt_set_parse(&set, names[data[0] % N_NAMES], data + 1, size - 1, selection, &err);
	MUST_EXPLAIN(rc, err);
	MUST((rc == 0) == (set.n > 0));
	MUST(!selection->limit || set.n <= selection->limit);
	for (size_t i = 0; i < set.n; i++)
		check_prompt(&set.items[i], selection);
	if (rc == 0)
		check_counts(&set, selection);
	prompt_set_free(&set);
	return 0;
}
