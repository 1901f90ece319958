/* SPDX-License-Identifier: MIT
 *
 * judge_template.h - the prompt of a model that judges replies: a text with places to fill.
 *
 *	{behavior}    what was asked for
 *	{generation}  what was replied
 *	{context}     what it was about; a template may do without
 *
 * All are filled in one pass over the template: a reply that holds "{behavior}" keeps it.
 * Templates are data and decide the verdicts, so they are taken byte for byte, the newline at the
 * end of a file included, and known by their SHA-256.
 */
#ifndef SAENGINE_JUDGE_TEMPLATE_H
#define SAENGINE_JUDGE_TEMPLATE_H

#include "host/base/file.h"
#include "host/base/vec.h"

#include <stdbool.h>

struct judge_template {
	struct text text; /* owned */
	char sha256[SHA256_HEX];
};

/* `sha256`: what its hash must be, in hexadecimal digits of either case; "" = any.
 * Errors: ERR_INPUT: no such file, another hash, an empty file, bytes that are not UTF-8, or a
 * place that is missing. */
int judge_template_read(struct judge_template *t, const char *path, const char *sha256,
	struct err *err);

/* The same over bytes in memory; `name` is for messages. */
int judge_template_parse(struct judge_template *t, const char *name, const void *bytes, size_t n,
	const char *sha256, struct err *err);

/* Accepts a zeroed template. */
void judge_template_free(struct judge_template *t);

/* Bytes before the first place: what every prompt begins with. */
size_t judge_template_head(const struct judge_template *t);

/* Bytes behind the last place. */
size_t judge_template_tail(const struct judge_template *t);

/* Whether it has a place for a context. */
bool judge_template_takes_context(const struct judge_template *t);

/* Appends the template with its places filled; not zero-terminated. `context` NULL: none, for a
 * template that takes none. */
int judge_template_render(const struct judge_template *t, const char *behavior, const char *context,
	const char *generation, struct text *out, struct err *err);

#endif
