/* SPDX-License-Identifier: MIT
 *
 * prompt_conversation.c - Contract: prompt_conversation.h. Tests: tests/test_prompts.c.
 */
#include "host/text/prompt_conversation.h"

#include "host/base/vec.h"

#include <stdio.h>

/* ---- one message ------------------------------------------------------------------------- */

/* Where a message is, for errors: "file: record 3: message 0 of "messages"". */
struct place {
	const struct record *record;
	const char *field;
	size_t i;
};

static int fault(const struct place *at, struct err *err, const char *expected, const char *found)
{
	return err_set(err, ERR_INPUT, "%s: message %zu of \"%s\": expected %s, found %s",
		at->record->place, at->i, at->field, expected, found);
}

/* The key of a message that goes by one name or another; NULL is an error. */
static const char *key_of(const struct place *at, const json_t *message, const char *one,
	const char *other, struct err *err)
{
	const bool first = json_object_get(message, one), second = json_object_get(message, other);
	char expected[64];

	if (first != second)
		return first ? one : other;
	snprintf(expected, sizeof expected, "one of the keys \"%s\" and \"%s\"", one, other);
	fault(at, err, expected, first ? "both" : "none");
	return NULL;
}

/* The name that chat templates know a role by. */
static int role_of(const struct place *at, const json_t *value, const char **out, struct err *err)
{
	static const struct {
		const char *name, *role;
	} roles[] = {
		{"system", "system"},
		{"developer", "developer"},
		{"user", "user"},
		{"human", "user"},
		{"assistant", "assistant"},
		{"gpt", "assistant"},
		{"tool", "tool"},
	};
	const char *name = json_string_value(value);
	char found[64];

	for (size_t i = 0; name && i < sizeof roles / sizeof *roles; i++) {
		if (strcmp(roles[i].name, name) == 0) {
			*out = roles[i].role;
			return 0;
		}
	}
	snprintf(found, sizeof found, name ? "\"%.40s\"" : "%s", name ? name : json_kind(value));
	return fault(at, err,
		"as the role system, developer, user (or human), assistant (or gpt) or tool",
		found);
}

static int append_text(const struct place *at, const json_t *value, struct text *out,
	struct err *err)
{
	const char *text = json_string_value(value);
	const size_t n = json_string_length(value);

	if (!text)
		return fault(at, err, "a text", json_kind(value));
	if (memchr(text, '\0', n))
		return fault(at, err, "a text", "one that holds a zero byte");
	return vec_append(out, text, n, err);
}

static int append_part(const struct place *at, const json_t *part, struct text *out,
	struct err *err)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	char found[64];

	if (type && strcmp(type, "text") == 0)
		return append_text(at, json_object_get(part, "text"), out, err);
	snprintf(found, sizeof found, type ? "one of type \"%.32s\"" : "%s",
		type ? type : json_kind(part));
	return fault(at, err, "parts {\"type\": \"text\", \"text\": ...} as content", found);
}

/* Appends a content, zero-terminated; one of an assistant that calls tools may be null. */
static int append_content(const struct place *at, const json_t *value, struct text *out,
	struct err *err)
{
	if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++)
			TRY(append_part(at, json_array_get(value, i), out, err));
	} else {
		TRY(append_text(at, value, out, err));
	}
	return vec_push(out, '\0', err);
fail:
	return err->code;
}

/* Appends {"role", "content"} and what else the message holds. `text` is scratch. */
static int add_message(const struct place *at, const json_t *message, json_t *list,
	struct text *text, struct err *err)
{
	const char *role_key, *content_key, *role = NULL;
	const json_t *content;
	json_t *copy = NULL;
	bool nothing;
	int rc;

	if (!json_is_object(message))
		return fault(at, err, "an object", json_kind(message));
	role_key = key_of(at, message, "role", "from", err);
	content_key = role_key ? key_of(at, message, "content", "value", err) : NULL;
	if (!content_key)
		return err->code;
	content = json_object_get(message, content_key);
	text->n = 0;
	TRY(role_of(at, json_object_get(message, role_key), &role, err));
	nothing = json_is_null(content) && strcmp(role, "assistant") == 0;
	if (!nothing)
		TRY(append_content(at, content, text, err));

	copy = json_object();
	rc = json_object_set_new(copy, "role", json_string(role));
	rc |= json_object_set_new(copy, "content",
		nothing ? json_null() : json_stringn(text->data, text->n - 1));
	rc |= json_add_missing(copy, message);
	if (strcmp(role_key, "from") == 0)
		rc |= json_object_del(copy, "from");
	if (strcmp(content_key, "value") == 0)
		rc |= json_object_del(copy, "value");
	rc |= json_array_append_new(list, copy);
	return rc ? err_nomem(err, at->record->place, text->n) : 0;
fail:
	return err->code;
}

/* ---- all of them ------------------------------------------------------------------------- */

static const char *role_at(const json_t *list, size_t i)
{
	return json_string_value(json_object_get(json_array_get(list, i), "role"));
}

static bool is_role(const json_t *list, size_t i, const char *role)
{
	return strcmp(role_at(list, i), role) == 0;
}

static int begin_with(const struct place *at, json_t *list, const char *system, struct err *err)
{
	json_t *message;

	for (size_t i = 0; i < json_array_size(list); i++)
		if (is_role(list, i, "system") || is_role(list, i, "developer"))
			return err_set(err, ERR_INPUT,
				"%s: expected one system text, found one in a field of its own and one "
				"in message %zu of \"%s\"; system = false leaves the field out",
				at->record->place, i, at->field);
	message = json_pack("{s:s, s:s}", "role", "system", "content", system);
	return !message || json_array_insert_new(list, 0, message)
		       ? err_nomem(err, at->record->place, strlen(system))
		       : 0;
}

static int check_begun(const struct place *at, const json_t *list, struct err *err)
{
	const json_t *content = json_object_get(json_array_get(list, at->i), "content");

	return json_string_length(content) > 0
		       ? 0
		       : fault(at, err, "text that begins the reply", "none");
}

/* Sees to it that the last message is the user's, or a reply that is begun. */
static int end_rightly(struct place *at, json_t *list, enum prompt_last_reply last_reply,
	struct err *err)
{
	bool replied;

	at->i = json_array_size(list) - 1;
	replied = is_role(list, at->i, "assistant");
	if (replied && last_reply == PROMPT_LAST_REPLY_BEGIN)
		return check_begun(at, list, err);
	if (replied && last_reply == PROMPT_LAST_REPLY_REFUSE)
		return fault(at, err, "the user's as the last",
			"the assistant's; last_reply = \"drop\" leaves it out, \"begin\" has "
			"replies go on from it");
	if (replied && at->i > 0) {
		(void)json_array_remove(list, at->i);
		at->i--;
	}
	return is_role(list, at->i, "user")
		       ? 0
		       : fault(at, err, "the user's as the last", role_at(list, at->i));
}

/* The content of the last user's message. */
static int find_text(struct place *at, const json_t *list, char **out, struct err *err)
{
	const json_t *content;

	for (at->i = json_array_size(list); at->i > 0; at->i--)
		if (is_role(list, at->i - 1, "user"))
			break;
	if (at->i-- == 0)
		return err_set(err, ERR_INPUT,
			"%s: expected a user's message in \"%s\", found none", at->record->place,
			at->field);
	content = json_object_get(json_array_get(list, at->i), "content");
	if (is_blank(json_string_value(content), json_string_length(content)))
		return fault(at, err, "text", "none");
	*out = strdup(json_string_value(content));
	return *out ? 0 : err_nomem(err, at->record->place, json_string_length(content));
}

int conversation_read(struct conversation *out, const struct record *record,
	const struct record_field *field, const char *system, enum prompt_last_reply last_reply,
	struct err *err)
{
	struct place at = {record, field->name, 0};
	struct text text = {0};
	json_t *list = json_array();

	*out = (struct conversation){0};
	err_clear(err);
	if (json_array_size(field->json) == 0) {
		err_set(err, ERR_INPUT, "%s: expected messages in \"%s\", found none",
			record->place, field->name);
		goto fail;
	}
	for (at.i = 0; at.i < json_array_size(field->json); at.i++)
		TRY(add_message(&at, json_array_get(field->json, at.i), list, &text, err));
	TRY(end_rightly(&at, list, last_reply, err));
	TRY(find_text(&at, list, &out->text, err));
	if (system)
		TRY(begin_with(&at, list, system, err));
	out->messages = json_dumps(list, JSON_COMPACT);
	if (!out->messages)
		err_nomem(err, record->place, json_array_size(list));
	else if (strlen(out->messages) > PROMPT_BYTES_MOST)
		err_set(err, ERR_INPUT,
			"%s: expected a conversation of at most %d MiB, found %zu bytes",
			record->place, PROMPT_BYTES_MOST >> 20, strlen(out->messages));
fail:
	if (err->code) {
		free(out->text);
		free(out->messages);
	}
	json_decref(list);
	free(text.data);
	return err->code;
}
