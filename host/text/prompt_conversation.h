/* SPDX-License-Identifier: MIT
 *
 * prompt_conversation.h - a conversation as prompt files have it, made the one list that chat
 * templates take. Internal to host/text; users include prompts.h.
 *
 * Read are {"role", "content"} and ShareGPT's {"from": "human" | "gpt" | "system" | "tool",
 * "value"}. A content that is a list of {"type": "text", "text"} parts becomes their texts end to
 * end. Other keys of a message stay as they are.
 */
#ifndef SAENGINE_PROMPT_CONVERSATION_H
#define SAENGINE_PROMPT_CONVERSATION_H

#include "host/text/prompt.h"
#include "host/text/record.h"

struct conversation {
	char *messages; /* owned: JSON, [{"role", "content", ...}, ...] */
	char *text;     /* owned: the last user's content, not blank */
};

/* Reads a field that is a JSON array. `system`: a text for a first system message, NULL = none.
 * Errors: ERR_INPUT with place, field and message: an unknown role, a content that is no text, no
 * user's message or an empty one, `system` beside a system message, a last message that is not the
 * user's where `last_reply` does not say what an assistant's is for. */
int conversation_read(struct conversation *out, const struct record *record,
	const struct record_field *field, const char *system, enum prompt_last_reply last_reply,
	struct err *err);

#endif
