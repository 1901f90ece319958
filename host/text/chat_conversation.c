/* SPDX-License-Identifier: MIT
 *
 * chat_conversation.c - Contract: chat_conversation.h. Tests: tests/test_chat_template.c.
 */
#include "host/text/chat_conversation.h"

#include "host/formats/json.h"
#include "host/text/strip.h"

#include <stdint.h>
#include <stdio.h>

/* Marks the end of the reply begun in what the template renders; whether its space is still there
 * tells whether the template strips what it shows. */
static const char END[] = "SAENGINE_END_OF_THE_REPLY_BEGUN ";

#define EVERY SIZE_MAX

static int nomem(struct err *err)
{
	return err_nomem(err, "messages", 0);
}

static json_t *message_of(const char *role, const char *content)
{
	return json_pack("{s:s, s:s}", "role", role, "content", content);
}

int chat_conversation_of(struct chat_conversation *c, const char *text, const char *system,
	struct err *err)
{
	*c = (struct chat_conversation){.messages = json_array()};
	if (!c->messages ||
		(*system && json_array_append_new(c->messages, message_of("system", system))) ||
		json_array_append_new(c->messages, message_of("user", text)))
		return nomem(err);
	return 0;
}

/* The names that a thought of the assistant's goes by; templates read the first, or the second. */
static int name_thought(json_t *message, struct err *err)
{
	static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
	json_t *thought = NULL;

	for (size_t i = 0; i < sizeof names / sizeof *names && !thought; i++)
		thought = json_object_get(message, names[i]);
	if (!thought)
		return 0;
	if (json_object_set(message, names[0], thought) ||
		(!json_object_get(message, names[1]) &&
			json_object_set(message, names[1], thought)))
		return nomem(err);
	return 0;
}

static const char *role_of(const json_t *messages, size_t i)
{
	const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));

	return role ? role : "";
}

static void drop_nulls(json_t *message)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(message, next, key, value)
	{
		if (json_is_null(value))
			json_object_del(message, key);
	}
}

/* Of the role that instructs the model: what model.system stands in for. */
static bool instructs(const json_t *messages, size_t i)
{
	const char *role = role_of(messages, i);

	return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
}

int chat_conversation_parse(struct chat_conversation *c, const char *messages, const char *system,
	struct err *err)
{
	size_t i;
	json_t *message;
	bool instructed = false;

	*c = (struct chat_conversation){0};
	if (json_parse(&c->messages, "messages", messages, strlen(messages), err))
		return err->code;
	if (!json_is_array(c->messages) || json_array_size(c->messages) == 0)
		return err_set(err, ERR_INPUT, "messages: expected a list of them, found %s",
			json_kind(c->messages));
	json_array_foreach(c->messages, i, message)
	{
		if (!json_is_object(message))
			return err_set(err, ERR_INPUT,
				"messages[%zu]: expected an object, found %s", i,
				json_kind(message));
		drop_nulls(message);
		if (name_thought(message, err))
			return err->code;
		instructed |= instructs(c->messages, i);
	}
	c->begun = strcmp(role_of(c->messages, json_array_size(c->messages) - 1), "assistant") == 0;
	if (*system && !instructed &&
		json_array_insert_new(c->messages, 0, message_of("system", system)))
		return nomem(err);
	return 0;
}

void chat_conversation_free(struct chat_conversation *c)
{
	json_decref(c->messages);
	*c = (struct chat_conversation){0};
}

/* ---- rendering ------------------------------------------------------------------------- */

/* The last text of a content that is a list of parts; NULL when there is none. */
static json_t *last_text(const json_t *parts)
{
	for (size_t i = json_array_size(parts); i > 0; i--) {
		json_t *part = json_array_get(parts, i - 1);

		if (json_is_string(json_object_get(part, "text")))
			return part;
	}
	return NULL;
}

/* What holds the text of the reply begun, and under which key; NULL when there is none. */
static json_t *find_begun(const json_t *messages, const char **key)
{
	json_t *last = json_array_get(messages, json_array_size(messages) - 1),
	       *content = json_object_get(last, "content");

	*key = json_is_array(content) ? "text" : "content";
	return json_is_array(content) ? last_text(content) : last;
}

/* A copy of the messages, the end of the last marked; *begun is its text, borrowed from them. */
static int mark_end(const json_t *messages, json_t **out, const char **begun, struct err *err)
{
	const char *key;
	const json_t *holder = find_begun(messages, &key), *content = json_object_get(holder, key);
	json_t *marked;

	*begun = json_string_value(content);
	if (!*begun)
		return err_set(err, ERR_INPUT,
			"messages: expected a text as the content of the reply begun, found %s",
			content ? json_kind(content) : "none");
	*out = json_copy_deep(messages);
	marked = json_sprintf("%s%s", *begun, END);
	return json_object_set_new(find_begun(*out, &key), key, marked) ? nomem(err) : 0;
}

/* Whether n bytes of text end with the reply begun, but for the space that it begins with. */
static bool ends_with(const char *text, size_t n, const char *begun)
{
	const size_t length = strlen(begun), skip = space_at_start(begun, length);

	return n >= length - skip &&
	       memcmp(text + n - (length - skip), begun + skip, length - skip) == 0;
}

/* Cuts the text, from `start` on, where the reply begun ends. */
static int cut_at_end(struct text *text, size_t start, const char *begun, struct err *err)
{
	const size_t word = strlen(END) - 1; /* without the space */
	size_t at = text->n >= start + word ? text->n - word : 0;

	while (at > start && memcmp(text->data + at, END, word) != 0)
		at--;
	if (at < start || text->n < start + word || memcmp(text->data + at, END, word) != 0 ||
		!ends_with(text->data + start, at - start, begun))
		return err_set(err, ERR_INPUT,
			"expected a chat template that shows the assistant's last message, to go on "
			"with it, found one that leaves it out or changes it");
	if (at + word >= text->n || text->data[at + word] != ' ')
		at -= space_at_end(text->data + start, at - start);
	text->n = at;
	return 0;
}

int chat_conversation_render(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, struct text *out, struct err *err)
{
	const size_t start = out->n;
	const char *begun = NULL;
	json_t *messages = NULL, *all = json_copy_whole(variables);

	err_clear(err);
	if (c->begun)
		TRY(mark_end(c->messages, &messages, &begun, err));
	else
		messages = json_incref(c->messages);
	if (!all || json_object_set(all, "messages", messages) ||
		json_object_set_new(all, "add_generation_prompt", json_boolean(!c->begun))) {
		nomem(err);
		goto fail;
	}
	TRY(jinja_render(template, all, date, out, err));
	if (c->begun)
		TRY(cut_at_end(out, start, begun, err));
fail:
	json_decref(messages);
	json_decref(all);
	return err->code;
}

/* ---- whether all shows ------------------------------------------------------------------- */

/* Whom the model answers: what they say must reach it. Of the assistant's messages templates leave
 * out thoughts, or the text beside a call. */
static bool must_show(const json_t *messages, size_t i)
{
	return (instructs(messages, i) || strcmp(role_of(messages, i), "user") == 0) &&
	       json_is_string(json_object_get(json_array_get(messages, i), "content"));
}

static void word_of(size_t i, char word[64])
{
	snprintf(word, 64, "SAENGINE%zuMESSAGE", i);
}

static int mark(json_t *messages, size_t i, struct err *err)
{
	json_t *message = json_array_get(messages, i);
	const char *content = json_string_value(json_object_get(message, "content"));
	char word[64];

	word_of(i, word);
	return json_object_set_new(message, "content", json_sprintf("%s%s", content, word))
		       ? nomem(err)
		       : 0;
}

/* Renders the messages with those marked that must show: all, or the one of number `only`. */
static int render_marked(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, size_t only, struct text *out, struct err *err)
{
	struct chat_conversation marked = {.messages = json_copy_deep(c->messages),
		.begun = c->begun};

	err_clear(err);
	if (!marked.messages) {
		nomem(err);
		goto fail;
	}
	for (size_t i = 0; i < json_array_size(marked.messages); i++)
		if (must_show(marked.messages, i) && (only == EVERY || only == i))
			TRY(mark(marked.messages, i, err));
	TRY(chat_conversation_render(&marked, template, variables, date, out, err));
fail:
	chat_conversation_free(&marked);
	return err->code;
}

/* Whether a message changes what is rendered, for templates that change what it says. A template
 * that raises an error at it has read it. Errors: memory. */
static bool has_effect(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, size_t i, const struct text *rendered,
	size_t start, struct err *err)
{
	const size_t n = rendered->n - start;
	struct text other = {0};
	struct err raised = {0};
	const bool same = render_marked(c, template, variables, date, i, &other, &raised) == 0 &&
			  other.n == n &&
			  (n == 0 || memcmp(other.data, rendered->data + start, n) == 0);

	free(other.data);
	if (raised.code == ERR_DEVICE)
		*err = raised;
	return !same;
}

int chat_conversation_check(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, const struct text *rendered, size_t start,
	struct err *err)
{
	struct text marked = {0};
	struct err raised = {0};
	char word[64];

	err_clear(err);
	if (render_marked(c, template, variables, date, EVERY, &marked, &raised) == ERR_DEVICE)
		*err = raised;
	for (size_t i = 0; i < json_array_size(c->messages) && err->code == 0; i++) {
		word_of(i, word);
		if (!must_show(c->messages, i) ||
			(marked.n > 0 && memmem(marked.data, marked.n, word, strlen(word))) ||
			has_effect(c, template, variables, date, i, rendered, start, err))
			continue;
		err_set(err, ERR_INPUT,
			"messages[%zu]: expected a chat template that shows the %s's message, found one "
			"that leaves it out",
			i, role_of(c->messages, i));
		break;
	}
	free(marked.data);
	return err->code;
}
