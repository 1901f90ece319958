/* SPDX-License-Identifier: MIT
 *
 * chat_family.h - chat models known by name: how each wraps one user message. They serve
 * checkpoints that declare no template of their own, and say of one that renders the same what the
 * paper's released code does with it.
 */
#ifndef SAENGINE_CHAT_FAMILY_H
#define SAENGINE_CHAT_FAMILY_H

#include "host/text/tokenizer.h"

#include <stdbool.h>

enum { CHAT_MAX_STOP = 4 };

/* How a family renders one turn:
 *   start  system_before TEXT system_after  user  MESSAGE  suffix
 * or, where the system text is part of the user's turn (system_inside),
 *   start  user  system_before TEXT system_after  MESSAGE  suffix */
struct chat_family {
	const char *name;
	const char *start; /* the BOS token, or nothing */
	const char *user, *suffix;
	const char *system_before, *system_after; /* NULL: it has no place for a system text */
	const char *system_default; /* NULL: without a system text there is no system block */
	bool system_inside, trim_system;
	bool trim;               /* strip white space around the message */
	bool released_bos_twice; /* in the released code: spelled, and put before by the tokenizer
				  */
	const char *marker;      /* a token that its vocabulary has; NULL = any will do */
	const char *stop[CHAT_MAX_STOP + 1]; /* NULL-terminated; those that the vocabulary has */
	const char *eos;                     /* its eos_token; NULL: the first of these */
};

/* The family of a name; NULL when there is none. */
const struct chat_family *chat_family_named(const char *name);

/* By model type, and by what tells apart the vocabularies of one type: the rotary scaling of Llama
 * 3.1 and later, and tokens. NULL when none fits. */
const struct chat_family *chat_family_of(const char *model_type, bool llama3_rope,
	const struct tokenizer *tok);

/* All names, for a message: "gemma2, gemma3, ...". Owned by the caller. */
int chat_family_names(struct text *out, struct err *err);

/* What stands around a message. */
struct chat_wrap {
	char *prefix, *suffix; /* owned, as the next */
	char *released_prefix; /* the part of the prefix that the released code leaves out of its
				* means */
	bool trim_start, trim_end; /* strip white space around the message */
};

/* *w is owned: chat_wrap_free. `system`: "" = the family's own, if it has one. Errors: ERR_CONFIG
 * for a system text where the family has no place for it. */
int chat_family_wrap(struct chat_wrap *w, const struct chat_family *f, const char *system,
	struct err *err);

/* Accepts a zeroed struct. */
void chat_wrap_free(struct chat_wrap *w);

/* Appends the message in its wrapping. */
int chat_wrap_render(const struct chat_wrap *w, const char *message, struct text *out,
	struct err *err);

/* The tokens that end a reply, of those that the vocabulary has: their number. */
size_t chat_family_stop(const struct chat_family *f, const struct tokenizer *tok,
	int32_t stop[CHAT_MAX_STOP]);
/* Its eos_token; -1 when the vocabulary has none. */
int32_t chat_family_eos(const struct chat_family *f, const struct tokenizer *tok);

#endif
