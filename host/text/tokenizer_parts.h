/* SPDX-License-Identifier: MIT
 *
 * tokenizer_parts.h - what a tokenizer is made of; shared by tokenizer.c and tokenizer_decode.c,
 * which run it, and tokenizer_file.c and tokenizer_tiktoken.c, which read it from files.
 */
#ifndef SAENGINE_TOKENIZER_PARTS_H
#define SAENGINE_TOKENIZER_PARTS_H

#include "host/text/added_tokens.h"
#include "host/text/bpe.h"
#include "host/text/split.h"
#include "host/text/tokenizer.h"

enum normalizer_kind { NORMALIZER_REPLACE, NORMALIZER_PREPEND, NORMALIZER_NFC };

struct normalizer {
	enum normalizer_kind kind;
	char *from, *to; /* owned; PREPEND uses only `to`, NFC none */
};

/* Spaces become `mark`, and one is put before a text that does not begin with it. */
enum prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct metaspace {
	char *mark;           /* owned; NULL: the tokenizer has none */
	enum prepend prepend; /* FIRST: only at the very start of a text */
};

/* How tokens become text: each step in this order, if the file asks for it. */
struct decoder {
	bool spaced;        /* no decoder in the file: a space between tokens */
	bool byte_level;    /* a spelling stands for bytes (byte_spelling.h) */
	char *from, *to;    /* owned; `from` is replaced by `to`; NULL: nothing is */
	bool drop_first;    /* in the first token `from` is dropped instead */
	bool byte_fallback; /* a run of <0xHH> tokens is the bytes they name */
	bool fuse;          /* the steps behind see one text, not tokens */
	bool strip;         /* drop one space at the very start */
};

enum { MAX_STEPS = 8 };

/* How a ByteLevel pre-tokenizer splits. */
#define TOKENIZER_GPT2_PATTERN \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* A token that the files name: "eos_token" and the like. */
struct named_token {
	char *name, *text; /* owned */
};

struct texts {
	char **data; /* owned, as each */
	size_t n, cap;
};

struct tokenizer {
	struct bpe bpe;
	size_t n_model;        /* tokens of the model itself, added ones apart */
	struct vocab spelling; /* every token as the file spells it, added tokens included */
	struct added_token *added;
	size_t n_added, added_cap;
	struct {
		int32_t *data; /* by id: the index in `added`; -1 = an ordinary token */
		size_t n, cap;
	} added_at;
	struct added_set added_raw, added_normalized;
	struct normalizer normalizers[MAX_STEPS];
	size_t n_normalizers;
	struct metaspace metaspace; /* before the splits */
	struct split *splits[MAX_STEPS];
	size_t n_splits;
	int spaced_split; /* before this one of them, or behind the last, a space is put before what
			   * begins with none; -1 = nowhere */
	struct decoder decoder;
	int32_t bos;     /* put before a text when special tokens are asked for; -1 = none */
	char *pad_token; /* owned; of the file's padding; NULL = it says nothing */
	/* Of the files beside it: tokenizer_side.h. */
	struct {
		struct named_token *data; /* owned */
		size_t n, cap;
	} named;
	struct texts files, notes;
	char *bos_doubt; /* owned; NULL = none */
};

/* Leaves the normalized text in *out, which the caller frees. */
int tokenizer_normalize(const struct tokenizer *tok, const char *s, size_t n, struct text *out,
	struct err *err);

/* Appends s to out with `from` replaced by `to`; `from` is not empty. */
int replace_all(const char *from, const char *to, const char *s, size_t n, struct text *out,
	struct err *err);

/* The id that the next token gets that is in no vocabulary, as the tokenizers library counts:
 * behind the model's tokens and the added ones. */
int32_t tokenizer_next_id(const struct tokenizer *tok);

/* Adds a token, whose content is not empty and borrowed, its id and form not read. One that is
 * there keeps its id and gets the flags; once special it stays so. *next is tokenizer_next_id, and
 * goes on. Errors: ERR_INPUT, beginning with the token. */
int tokenizer_add(struct tokenizer *tok, const struct added_token *token, int32_t *next,
	struct err *err);

/* What is looked up while running: the <0xHH> tokens and the added tokens in texts. After tokens
 * were added. */
int tokenizer_index(struct tokenizer *tok, struct err *err);

#endif
