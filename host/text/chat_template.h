/* SPDX-License-Identifier: MIT
 *
 * chat_template.h - how a family of chat models wraps one user message. Fixed renderings, not a
 * template language: the rendered text of one turn is a prefix, the message, a suffix.
 */
#ifndef SAENGINE_CHAT_TEMPLATE_H
#define SAENGINE_CHAT_TEMPLATE_H

#include "host/text/tokenizer.h"

struct chat_template {
	const char *name;
	const char *prefix, *suffix; /* with the BOS token spelled out */
	/* The part of the prefix that the paper's released code leaves out of its means. */
	const char *released_prefix;
	bool trim;              /* strip white space around the message */
	const char *stop[4];    /* tokens that end a reply, NULL-terminated */
	const char *eos;        /* the one of them that ends any text */
};

/* NULL when there is none of that name. */
const struct chat_template *chat_template_find(const char *name);

/* All of them, the last one with a NULL name. */
const struct chat_template *chat_template_list(void);

/* The template of a model by its config's model_type and its vocabulary; `llama3_rope` tells
 * Llama 3.1 and later from 3.0. NULL when none fits. */
const struct chat_template *chat_template_for(const char *model_type, bool llama3_rope,
	const struct tokenizer *tok);

/* Appends the ids of the rendered message. Errors: ERR_INPUT. */
int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const char *message, struct token_ids *ids, struct err *err);

#endif
