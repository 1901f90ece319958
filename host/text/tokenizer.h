/* SPDX-License-Identifier: MIT
 *
 * tokenizer.h - Hugging Face tokenizer.json with a BPE model, exactly: added tokens,
 * normalizers, split patterns, merges, byte fallback, decoders. What a file asks for and this
 * does not do is an error at open, never a silent difference.
 */
#ifndef SAENGINE_TOKENIZER_H
#define SAENGINE_TOKENIZER_H

#include "host/base/vec.h"

#include <stdbool.h>
#include <stdint.h>

struct tokenizer;

struct token_ids {
	int32_t *data; /* owned: free it */
	size_t n, cap;
};

/* *out is owned, close it. Errors: ERR_INPUT naming file and field. */
int tokenizer_open(struct tokenizer **out, const char *path, struct err *err);

/* The same over the file's bytes; `name` is for messages. */
int tokenizer_parse(struct tokenizer **out, const char *name, const char *bytes, size_t n,
	struct err *err);

/* Accepts NULL. */
void tokenizer_close(struct tokenizer *tok);

/* One more than the largest id. */
size_t tokenizer_size(const struct tokenizer *tok);

/* The id of a token by its exact spelling in the vocabulary or among the added tokens; -1 when
 * there is none. */
int32_t tokenizer_id(const struct tokenizer *tok, const char *token);

/* The vocabulary's spelling of a token; NULL for an id without one. Borrowed. */
const char *tokenizer_spelling(const struct tokenizer *tok, int32_t id);

/* Appends the ids of n bytes of text. Special tokens written out in the text become those
 * tokens; none is added (as add_special_tokens=False). Errors: ERR_INPUT for ill-formed UTF-8. */
int tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n,
	struct token_ids *ids, struct err *err);

/* Appends the text of n ids; special tokens are left out unless `keep_special`. Byte sequences
 * that are not characters become U+FFFD, so the text is always well-formed. */
int tokenizer_decode(const struct tokenizer *tok, const int32_t *ids, size_t n, bool keep_special,
	struct text *text, struct err *err);

#endif
