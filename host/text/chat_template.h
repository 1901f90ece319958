/* SPDX-License-Identifier: MIT
 *
 * chat_template.h - how a prompt becomes the text that a model reads. The checkpoint's own template
 * is run (jinja.h), as transformers' apply_chat_template runs it; checkpoints that declare none
 * have the fixed wrapping of a family (chat_family.h), or the config's prefix and suffix.
 */
#ifndef SAENGINE_CHAT_TEMPLATE_H
#define SAENGINE_CHAT_TEMPLATE_H

#include "host/text/chat_family.h"

#include <jansson.h>

/* The day that published Llama templates fall back to. */
#define CHAT_DATE "2024-07-26"

/* What the config says of the template; borrowed for the call. */
struct chat_options {
	const char *folder; /* of the checkpoint; NULL = it declares nothing */
	/* "auto": the declared one, else a family by model type and vocabulary. Or a family, a file
	 * that ends in .jinja, a name among several that the checkpoint declares. */
	const char *name;
	const char *prefix, *suffix;  /* NULL: the template's; both or none */
	const char *system;           /* "": the template's own, if it has one */
	const char *prefill;          /* begins the reply, "" = nothing */
	const char *date;             /* of strftime_now, "YYYY-MM-DD"; "" = CHAT_DATE */
	const char *const *variables; /* [n_variables] "NAME=VALUE" for a declared template: VALUE
				       * is JSON, or else a text */
	size_t n_variables;
	const char *bos; /* "auto", "none", "one", "double" or "released": see
			  * chat_template_open */
};

/* What the model is asked. */
struct chat_request {
	const char *text;     /* the user's message */
	const char *system;   /* its own system text; NULL = that of the options */
	const char *messages; /* JSON, a list of {"role", "content"} objects, in place of the text;
			       * one that ends with the assistant's is a reply begun, to go on with.
			       * NULL = one turn, `text` */
};

struct chat_template {
	char *name;   /* owned, as the other text: the family, "custom", or the declaring file */
	char *origin; /* where it comes from, for people */
	char *path;   /* of the file it was read from; NULL = from none */
	/* What stands around the message of one turn, with the BOS token spelled out where it
	 * belongs to the template, and the reply begun. */
	char *prefix, *suffix;
	/* The part of the prefix that the paper's released code leaves out of its means: of a
	 * template that renders as a family does, the family's, else the BOS token. */
	char *released_prefix;
	int32_t bos;                 /* put before the rendered text; -1 = none is */
	int32_t stop[CHAT_MAX_STOP]; /* tokens that end a reply */
	size_t n_stop;
	int32_t eos; /* the tokenizer's eos_token: the one that the released code stops at; -1 =
			none */

	struct jinja *jinja; /* owned; NULL = fixed */
	json_t *variables;   /* owned: what a declared template reads of every prompt */
	bool takes_system;   /* a system text changes what is rendered */
	const struct chat_family *family; /* NULL = none, or custom */
	struct chat_wrap wrap;            /* of a family or custom; owned */
	char *system, *prefill, *date;    /* of the options */
};

/* *out is owned, close it. `model_type` and the rotary scaling of Llama 3.1 and later choose a
 * family; a Llama-type model, which may be anybody's, gets none by itself.
 *
 * BOS (options->bos): auto is what a declared template spells, no more and no less, and one token
 * for a family or custom text if the tokenizer wants one, its own spelling counted. "none" adds
 * none, "one" adds one where none is spelled, "double" adds one to the template's own, "released"
 * does so for Llama 3 and is "auto" for the others: the released code's Llama prompts are so, where
 * template and tokenizer each put one. A prefix of the config that spells two is an error unless
 * two are asked for.
 * Errors: ERR_CONFIG, naming the key; ERR_INPUT of the file that declares the template. */
int chat_template_open(struct chat_template **out, const struct chat_options *options,
	const char *model_type, bool llama3_rope, const struct tokenizer *tok, struct err *err);

/* Accepts NULL. */
void chat_template_close(struct chat_template *t);

/* Appends the rendered request as text, the added BOS token not included. Errors: ERR_INPUT: what a
 * declared template raises; a conversation or a system text for a template that has no place for
 * it. */
int chat_template_render(const struct chat_template *t, const struct chat_request *request,
	struct text *text, struct err *err);

/* Appends the ids of the rendered request. Errors: ERR_INPUT. */
int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const struct chat_request *request, struct token_ids *ids, struct err *err);

/* Appends the ids of a text that begins the rendered request: prefix or released_prefix. */
int chat_template_encode_start(const struct chat_template *t, const struct tokenizer *tok,
	const char *start, struct token_ids *ids, struct err *err);

#endif
