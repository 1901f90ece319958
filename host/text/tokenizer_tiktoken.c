/* SPDX-License-Identifier: MIT
 *
 * tokenizer_tiktoken.c - Llama 3's own tokenizer.model: lines of base64 and rank. Contract:
 * tokenizer.h (tokenizer_parse_tiktoken). Sources: meta-llama/llama-models, tokenizer.py;
 * openai/tiktoken, load.py. Tests: tests/test_tokenizer.c.
 *
 * Such a file has no list of merges. Two neighbours may merge whenever their bytes together are a
 * token, and the lowest such token merges first: each way to cut a token in two tokens is a merge
 * whose rank is the token's.
 */
#include "host/text/byte_spelling.h"
#include "host/text/tokenizer_parts.h"

#include <stdio.h>

#include <openssl/evp.h>

static const char PATTERN[] =
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
	" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

enum { N_SPECIAL = 256, MAX_TOKENS = 1 << 20, MAX_TOKEN_BYTES = 1024 };

/* The named special tokens of Llama 3.1, by their place behind the vocabulary; the others are
 * reserved, numbered in order. */
static const struct {
	int place;
	const char *name;
} named[] = {{0, "<|begin_of_text|>"}, {1, "<|end_of_text|>"}, {4, "<|finetune_right_pad_id|>"},
	{6, "<|start_header_id|>"}, {7, "<|end_header_id|>"}, {8, "<|eom_id|>"}, {9, "<|eot_id|>"},
	{10, "<|python_tag|>"}};
enum { N_NAMED = sizeof named / sizeof *named };

struct reader {
	const char *name;
	struct tokenizer *tok;
	size_t line; /* from 1 */
	struct err *err;
};

static int bad_line(const struct reader *r, const char *expected)
{
	return err_set(r->err, ERR_INPUT, "%s:%zu: expected %s", r->name, r->line, expected);
}

/* One line: base64, a space, the rank in decimal. */
static int read_line(struct reader *r, const char *line, size_t n)
{
	const char *space = memchr(line, ' ', n);
	const size_t n_base64 = space ? (size_t)(space - line) : 0;
	unsigned char bytes[MAX_TOKEN_BYTES];
	struct text spelling = {0};
	size_t rank = 0, n_bytes;

	if (n_base64 == 0 || n_base64 % 4 != 0 || n_base64 / 4 * 3 > sizeof bytes ||
		EVP_DecodeBlock(bytes, (const unsigned char *)line, (int)n_base64) < 0)
		return bad_line(r, "a token's bytes in base64, and its rank");
	/* EVP_DecodeBlock counts padding as bytes. */
	n_bytes = n_base64 / 4 * 3 - (line[n_base64 - 1] == '=') - (line[n_base64 - 2] == '=');
	for (size_t i = n_base64 + 1; i < n; i++) {
		if (line[i] < '0' || line[i] > '9' || rank >= MAX_TOKENS)
			return bad_line(r, "a rank below 1048576 after the token");
		rank = 10 * rank + (size_t)(line[i] - '0');
	}
	if (n_base64 + 1 >= n || rank >= MAX_TOKENS)
		return bad_line(r, "a rank below 1048576 after the token");
	TRY(byte_spell(&spelling, (const char *)bytes, n_bytes, r->err));
	if (vocab_add(&r->tok->spelling, spelling.data, spelling.n, (int32_t)rank, r->err) ||
		vocab_add(&r->tok->bpe.vocab, (const char *)bytes, n_bytes, (int32_t)rank,
			r->err)) {
		err_prefix(r->err, "%s:%zu", r->name, r->line);
		goto fail;
	}
	free(spelling.data);
	return 0;
fail:
	free(spelling.data);
	return r->err->code;
}

static size_t count_lines(const char *bytes, size_t n)
{
	size_t lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += bytes[i] == '\n';
	return lines;
}

static int read_lines(struct reader *r, const char *bytes, size_t n)
{
	const size_t n_lines = count_lines(bytes, n);

	if (n_lines > MAX_TOKENS)
		return bad_line(r, "a tokenizer.json, or a tiktoken file of at most 1048576 lines");
	TRY(vocab_init(&r->tok->bpe.vocab, n_lines, r->err));
	TRY(vocab_init(&r->tok->spelling, n_lines + N_SPECIAL, r->err));
	for (size_t at = 0; at < n; r->line++) {
		const char *end = memchr(bytes + at, '\n', n - at);
		const size_t length = end ? (size_t)(end - bytes) - at : n - at;

		if (length > 0)
			TRY(read_line(r, bytes + at, length));
		at += length + 1;
	}
	return 0;
fail:
	return r->err->code;
}

/* Calls for every way to cut a token in two tokens; returns how many there are. With `add`, they
 * become merges. */
static size_t cut_token(struct tokenizer *tok, int32_t id, bool add)
{
	const struct vocab *vocab = &tok->bpe.vocab;
	size_t n, cuts = 0;
	const char *s = vocab_bytes(vocab, id, &n);

	for (size_t i = 1; s && i < n; i++) {
		const int32_t left = vocab_find(vocab, s, i);
		const int32_t right = left < 0 ? -1 : vocab_find(vocab, s + i, n - i);

		if (right < 0)
			continue;
		cuts++;
		if (add)
			bpe_add_merge(&tok->bpe, (struct merge){left, right, id, (uint32_t)id});
	}
	return cuts;
}

static int make_merges(struct reader *r)
{
	const int32_t n = (int32_t)vocab_size(&r->tok->bpe.vocab);
	size_t cuts = 0;

	for (int32_t id = 0; id < n; id++)
		cuts += cut_token(r->tok, id, false);
	if (bpe_init_merges(&r->tok->bpe, cuts, r->err))
		return r->err->code;
	for (int32_t id = 0; id < n; id++)
		cut_token(r->tok, id, true);
	return 0;
}

static int add_specials(struct reader *r)
{
	int32_t next = tokenizer_next_id(r->tok);
	int n_reserved = 0;

	for (int place = 0; place < N_SPECIAL; place++) {
		char name[48] = "";

		for (size_t i = 0; i < N_NAMED; i++)
			if (named[i].place == place)
				snprintf(name, sizeof name, "%s", named[i].name);
		if (!name[0])
			snprintf(name, sizeof name, "<|reserved_special_token_%d|>", n_reserved++);
		if (tokenizer_add(r->tok, &(struct added_token){.content = name, .special = true},
			    &next, r->err))
			return err_prefix(r->err, "%s", r->name);
	}
	return 0;
}

int tokenizer_parse_tiktoken(struct tokenizer **out, const char *name, const char *bytes, size_t n,
	struct err *err)
{
	struct tokenizer *tok = calloc(1, sizeof *tok);
	struct reader r = {name, tok, 1, err};

	*out = NULL;
	if (!tok)
		return err_nomem(err, name, sizeof *tok);
	if (n > 1 && bytes[0] == '\n' && (unsigned char)bytes[1] < 0x20) {
		err_set(err, ERR_INPUT,
			"%s: expected a tokenizer.json or Llama 3's tiktoken file, found what "
			"looks like a "
			"SentencePiece model: the checkpoint's tokenizer.json is needed",
			name);
		goto fail;
	}
	tok->bpe.byte_level = tok->bpe.ignore_merges = true;
	tok->bpe.unk = tok->spaced_split = -1;
	TRY(read_lines(&r, bytes, n));
	if (vocab_size(&tok->bpe.vocab) == 0) {
		err_set(err, ERR_INPUT, "%s: expected a tokenizer, found an empty file", name);
		goto fail;
	}
	TRY(make_merges(&r));
	tok->n_model = vocab_size(&tok->bpe.vocab);
	TRY(add_specials(&r));
	TRY(split_compile(&tok->splits[0], PATTERN, true, SPLIT_ISOLATED, false, err));
	tok->n_splits = 1;
	tok->decoder.byte_level = true;
	tok->bos = tok->added[0].id;
	TRY(tokenizer_index(tok, err));
	*out = tok;
	return 0;
fail:
	tokenizer_close(tok);
	return err->code;
}
