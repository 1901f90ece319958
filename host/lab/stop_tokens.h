/* SPDX-License-Identifier: MIT
 *
 * stop_tokens.h - the tokens that end a reply, and who says so.
 *
 * The checkpoint declares them as transformers' `generate` reads it (version 5): eos_token_id of
 * generation_config.json; where there is no such file, that of config.json or else of its
 * text_config. Nothing else counts: neither the tokenizer nor the template. Where that declares
 * none, and `generate` would write on to the limit, these do: eos_token_id of config.json, the
 * eos_token of the tokenizer's files, and the stop tokens of the template's family.
 */
#ifndef SAENGINE_STOP_TOKENS_H
#define SAENGINE_STOP_TOKENS_H

#include "host/lab/machine.h"
#include "host/text/chat_template.h"

struct stop_tokens {
	struct token_ids ids;
	char **origins; /* [ids.n] owned: "generation_config.json", ... */
	char **notes;   /* [n_notes] owned: what a user might miss among them */
	size_t n_notes;
};

/* The file that is read for "checkpoint" beside config.json, where it is there. */
#define STOP_TOKENS_FILE "generation_config.json"

/* What generate.stop asks for. Errors: ERR_CONFIG naming the key, ERR_INPUT naming the file: an id
 * that the model has no row for, a text that is not one token. */
int stop_tokens_find(struct stop_tokens *stop, const struct config *c, const struct machine *m,
	const struct chat_template *chat, struct err *err);

/* Says them, who says so, and the notes, a line each: in the plan and at the start of a run. */
void stop_tokens_log(const struct stop_tokens *stop, const struct tokenizer *tok);

/* Accepts a zeroed struct. */
void stop_tokens_free(struct stop_tokens *stop);

#endif
