/* SPDX-License-Identifier: MIT
 *
 * tokenizer.h - BPE tokenizers, exactly: Hugging Face tokenizer.json (added tokens, normalizers,
 * split patterns, merges, byte fallback, decoders) and Llama 3's tiktoken file. What a file asks
 * for and this does not do is an error at open, never a silent difference.
 */
#ifndef SAENGINE_TOKENIZER_H
#define SAENGINE_TOKENIZER_H

#include "host/base/vec.h"
#include "host/text/token_ids.h"

#include <stdbool.h>
#include <stdint.h>

struct tokenizer;

/* A tokenizer.json, or Llama 3's tokenizer.model. *out is owned, close it. Errors: ERR_INPUT
 * naming file and field. */
int tokenizer_open(struct tokenizer **out, const char *path, struct err *err);

/* The tokenizer of a checkpoint's folder: tokenizer.json, else tokenizer.model, else
 * original/tokenizer.model; over it the tokens that tokenizer_config.json, special_tokens_map.json
 * and added_tokens.json declare, as transformers' AutoTokenizer takes them together (version 5;
 * tokenizer_side.h). Errors: those of tokenizer_open for each file; what these files say against
 * each other. */
int tokenizer_open_folder(struct tokenizer **out, const char *folder, struct err *err);

/* Whether a folder holds one. */
bool tokenizer_is_in(const char *folder);

/* The files that were read for it, of a folder. Borrowed. */
size_t tokenizer_n_files(const struct tokenizer *tok);
const char *tokenizer_file(const struct tokenizer *tok, size_t i);

/* What a user should know of how the files were taken together, a line each. Borrowed. */
size_t tokenizer_n_notes(const struct tokenizer *tok);
const char *tokenizer_note(const struct tokenizer *tok, size_t i);

/* A tokenizer.json from its bytes; `name` is for messages. */
int tokenizer_parse(struct tokenizer **out, const char *name, const char *bytes, size_t n,
	struct err *err);

/* A tiktoken file from its bytes: lines of a token's bytes in base64 and its rank, which is its
 * id. Such a file says nothing of its split pattern or special tokens: they are those of Llama
 * 3.1. */
int tokenizer_parse_tiktoken(struct tokenizer **out, const char *name, const char *bytes, size_t n,
	struct err *err);

/* Accepts NULL. */
void tokenizer_close(struct tokenizer *tok);

/* One more than the largest id. */
size_t tokenizer_size(const struct tokenizer *tok);

/* The id of a token by its exact spelling in the vocabulary or among the added tokens; -1 when
 * there is none. */
int32_t tokenizer_id(const struct tokenizer *tok, const char *token);

/* The spelling of a token in the vocabulary or among the added tokens; NULL for an id without
 * one. Borrowed. */
const char *tokenizer_spelling(const struct tokenizer *tok, int32_t id);

/* The token that the file wants before every text (its post-processor); -1 when there is none.
 * tokenizer_encode does not add it. */
int32_t tokenizer_bos(const struct tokenizer *tok);

/* Where tokenizer.json and tokenizer_config.json differ on that token, both sides in words; NULL
 * where they do not. Then a text without it cannot be encoded as "the tokenizer does". Borrowed. */
const char *tokenizer_bos_doubt(const struct tokenizer *tok);

/* The special tokens that the files of a folder name, as transformers passes them to a chat
 * template: "bos_token", "eos_token", "unk_token", "pad_token", ... and the model's own. The text
 * of one by name, NULL when there is none; the names by index. Borrowed. */
const char *tokenizer_special(const struct tokenizer *tok, const char *name);
size_t tokenizer_n_special(const struct tokenizer *tok);
const char *tokenizer_special_name(const struct tokenizer *tok, size_t i);

/* Appends the ids of n bytes of text. Special tokens written out in the text become those
 * tokens; none is added (as add_special_tokens=False). Errors: ERR_INPUT for ill-formed UTF-8. */
int tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n, struct token_ids *ids,
	struct err *err);

/* Appends the text of n ids; special tokens are left out unless `keep_special`. Byte sequences
 * that are not characters become U+FFFD, so the text is always well-formed. */
int tokenizer_decode(const struct tokenizer *tok, const int32_t *ids, size_t n, bool keep_special,
	struct text *text, struct err *err);

/* Decoding token by token, never half a character: what is pushed comes out as soon as no later
 * token can change it. All that comes out, end to end, is what tokenizer_decode gives. */
struct token_stream {
	const struct tokenizer *tok; /* borrowed until the end */
	bool keep_special;
	bool after_token; /* a token has been decoded */
	bool started;     /* text has come out */
	struct text held; /* bytes that later tokens may complete; owned */
};

/* Nothing to free before the first push. */
void token_stream_init(struct token_stream *stream, const struct tokenizer *tok, bool keep_special);

/* Appends to `text` what one more token makes certain. On error: token_stream_free. */
int token_stream_push(struct token_stream *stream, int32_t id, struct text *text, struct err *err);

/* Appends what is still held, mended, and frees the stream. */
int token_stream_end(struct token_stream *stream, struct text *text, struct err *err);

/* Gives up a stream. */
void token_stream_free(struct token_stream *stream);

#endif
