/* SPDX-License-Identifier: MIT
 *
 * chat_template.h - how a family of chat models wraps one user message. Fixed renderings, not a
 * template language: the rendered text of one turn is a prefix, the message, a suffix.
 */
#ifndef SAENGINE_CHAT_TEMPLATE_H
#define SAENGINE_CHAT_TEMPLATE_H

#include "host/text/tokenizer.h"

enum { CHAT_MAX_STOP = 4 };

/* What the config says of the template; borrowed for the call. */
struct chat_options {
	const char *name;            /* of a family, or "auto": by model type and vocabulary */
	const char *prefix, *suffix; /* NULL: the family's; both or none */
	const char *system;          /* "": the family's own, if it has one */
	const char *bos;             /* "auto", "none", "double" or "released": see
				      * chat_template_open */
};

struct chat_template {
	char *name;            /* owned, as the other text */
	char *prefix, *suffix; /* with the BOS token spelled out where it belongs to the template */
	/* The part of the prefix that the paper's released code leaves out of its means. */
	char *released_prefix;
	bool trim_start, trim_end;   /* strip white space around the message */
	int32_t bos;                 /* put before the rendered text; -1 = none is */
	int32_t stop[CHAT_MAX_STOP]; /* tokens that end a reply */
	size_t n_stop;
	int32_t eos; /* the tokenizer's eos_token: the one that the released code stops at; -1 =
			none */
};

/* The template of a model: that of options->name, or chosen by the model_type of its config and
 * its vocabulary; `llama3_rope` tells Llama 3.1 and later from 3.0. *out is owned, close it.
 *
 * One BOS token begins every prompt if the tokenizer wants one: the template's own, or else (bos
 * "auto") it is added. "none" adds none. "double" adds one to the template's own;
 * "released" does so for Llama 3 and is "auto" for the others: the released code's Llama prompts
 * are so, where template and tokenizer each put one. A prefix that spells two is an error unless
 * two are asked for.
 * Errors: ERR_CONFIG, naming the key. */
int chat_template_open(struct chat_template **out, const struct chat_options *options,
	const char *model_type, bool llama3_rope, const struct tokenizer *tok, struct err *err);

/* Accepts NULL. */
void chat_template_close(struct chat_template *t);

/* Appends the rendered message as text, the added BOS token not included. */
int chat_template_render(const struct chat_template *t, const char *message, struct text *text,
	struct err *err);

/* Appends the ids of the rendered message. Errors: ERR_INPUT. */
int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const char *message, struct token_ids *ids, struct err *err);

/* Appends the ids of a text that begins the rendered message: prefix or released_prefix. */
int chat_template_encode_start(const struct chat_template *t, const struct tokenizer *tok,
	const char *start, struct token_ids *ids, struct err *err);

#endif
