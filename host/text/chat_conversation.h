/* SPDX-License-Identifier: MIT
 *
 * chat_conversation.h - the messages that a chat template is given, and its rendering of them, as
 * transformers' apply_chat_template has them.
 */
#ifndef SAENGINE_CHAT_CONVERSATION_H
#define SAENGINE_CHAT_CONVERSATION_H

#include "host/text/jinja/jinja.h"

#include <stdbool.h>

struct chat_conversation {
	json_t *messages; /* owned: a list of {"role", "content"} objects */
	bool begun;       /* the last one is the assistant's: a reply to go on with */
};

/* One turn of the user's, behind a system message where `system` is not empty. */
int chat_conversation_of(struct chat_conversation *c, const char *text, const char *system,
	struct err *err);

/* A list of messages as JSON; `system`, where it is not empty, goes before one that has no system's
 * or developer's message. Keys that are null are left out; a thought of the assistant's
 * (reasoning_content, thinking or reasoning) is there under the first two names. Errors:
 * ERR_INPUT. */
int chat_conversation_parse(struct chat_conversation *c, const char *messages, const char *system,
	struct err *err);

/* Accepts a zeroed struct. */
void chat_conversation_free(struct chat_conversation *c);

/* Appends what the template makes of it: up to where the reply begins (add_generation_prompt), or
 * to the end of the reply begun (continue_final_message). Errors: those of jinja_render; a reply
 * begun that the template does not show as it is. */
int chat_conversation_render(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, struct text *out, struct err *err);

/* Whether what was rendered of it, from `start` on, shows every message of the user's, the system's
 * and the developer's. Errors: ERR_INPUT naming the first that the template leaves out. */
int chat_conversation_check(const struct chat_conversation *c, const struct jinja *template,
	const json_t *variables, const char *date, const struct text *rendered, size_t start,
	struct err *err);

#endif
