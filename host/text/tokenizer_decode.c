/* SPDX-License-Identifier: MIT
 *
 * tokenizer_decode.c - from tokens to text. Contract: tokenizer.h (tokenizer_decode, struct
 * token_stream). Tests: tests/test_tokenizer.c, against the tokenizers library's texts.
 *
 * Decoding is streaming: a whole list of ids is pushed token by token too. Two things hold text
 * back. A run of byte tokens is text only if all of it is well-formed, so it waits for its end;
 * and the bytes of a byte-level token may begin a character that the next token completes.
 */
#include "host/text/byte_spelling.h"
#include "host/text/tokenizer_parts.h"
#include "host/base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void token_stream_init(struct token_stream *stream, const struct tokenizer *tok, bool keep_special)
{
	*stream = (struct token_stream){.tok = tok, .keep_special = keep_special};
}

void token_stream_free(struct token_stream *stream)
{
	free(stream->held.data);
	*stream = (struct token_stream){0};
}

/* n bytes of text leave the stream; what is not UTF-8 in them is mended. */
static int emit(struct token_stream *st, const char *s, size_t n, struct text *out, struct err *err)
{
	if (n == 0)
		return 0;
	if (!st->started && st->tok->decoder.strip && s[0] == ' ') {
		s++;
		n--;
	}
	st->started = true;
	return utf8_append_mended(out, s, n, err);
}

/* A run of <0xHH> tokens is their bytes if these are characters, else one U+FFFD per byte. */
static int release_run(struct token_stream *st, struct text *out, struct err *err)
{
	const size_t n = st->held.n;

	st->held.n = 0;
	if (utf8_valid(st->held.data, n, NULL))
		return emit(st, st->held.data, n, out, err);
	for (size_t i = 0; i < n; i++)
		if (emit(st, REPLACEMENT, strlen(REPLACEMENT), out, err))
			return err->code;
	return 0;
}

/* All that is held but the beginning of a character. */
static int release_characters(struct token_stream *st, struct text *out, struct err *err)
{
	const size_t rest = utf8_unfinished(st->held.data, st->held.n), n = st->held.n - rest;

	if (emit(st, st->held.data, n, out, err))
		return err->code;
	memmove(st->held.data, st->held.data + n, rest);
	st->held.n = rest;
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* The byte that <0xHH> names, or -1. */
static int named_byte(const char *s, size_t n)
{
	if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex_digit(s[3]) < 0 ||
		hex_digit(s[4]) < 0)
		return -1;
	return hex_digit(s[3]) << 4 | hex_digit(s[4]);
}

/* Appends the bytes that a spelling stands for to what is held. */
static int hold_bytes(struct token_stream *st, const char *s, size_t n, struct err *err)
{
	size_t n_bytes;

	if (vec_reserve(&st->held, st->held.n + n + 1, err))
		return err->code;
	if (!byte_unspell(s, n, st->held.data + st->held.n, &n_bytes)) {
		memcpy(st->held.data + st->held.n, s, n);
		n_bytes = n;
	}
	st->held.n += n_bytes;
	return 0;
}

/* A special token that normalization changes is text: the tokenizers library looks it up by what it
 * decodes to. */
static bool is_left_out(const struct added_token *t)
{
	return t->special && t->form.n == strlen(t->content) &&
	       memcmp(t->form.data, t->content, t->form.n) == 0;
}

int token_stream_push(struct token_stream *st, int32_t id, struct text *text, struct err *err)
{
	const struct tokenizer *tok = st->tok;
	const struct decoder *d = &tok->decoder;
	const int32_t added = id >= 0 && (size_t)id < tok->added_at.n ? tok->added_at.data[id] : -1;
	const bool first = !st->after_token;
	size_t n;
	const char *s = vocab_bytes(&tok->spelling, id, &n);
	int byte;

	if (!s || (added >= 0 && is_left_out(&tok->added[added]) && !st->keep_special))
		return 0;
	if (added >= 0) {
		s = tok->added[added].form.data;
		n = tok->added[added].form.n;
	}
	st->after_token = true;
	if (d->byte_level)
		return hold_bytes(st, s, n, err) || release_characters(st, text, err) ? err->code
										      : 0;
	if (d->byte_fallback && (byte = named_byte(s, n)) >= 0)
		return vec_push(&st->held, (char)byte, err);
	if (release_run(st, text, err))
		return err->code;
	if (d->spaced && !first)
		TRY(emit(st, " ", 1, text, err));
	if (d->from)
		TRY(replace_all(d->from, d->drop_first && first ? "" : d->to, s, n, &st->held,
			err));
	else
		TRY(vec_append(&st->held, s, n, err));
	TRY(emit(st, st->held.data, st->held.n, text, err));
	st->held.n = 0;
	return 0;
fail:
	return err->code;
}

int token_stream_end(struct token_stream *st, struct text *text, struct err *err)
{
	const int rc = st->tok->decoder.byte_fallback
			       ? release_run(st, text, err)
			       : emit(st, st->held.data, st->held.n, text, err);

	token_stream_free(st);
	return rc;
}

int tokenizer_decode(const struct tokenizer *tok, const int32_t *ids, size_t n, bool keep_special,
	struct text *text, struct err *err)
{
	struct token_stream stream;

	token_stream_init(&stream, tok, keep_special);
	for (size_t i = 0; i < n; i++) {
		if (token_stream_push(&stream, ids[i], text, err)) {
			token_stream_free(&stream);
			return err->code;
		}
	}
	return token_stream_end(&stream, text, err);
}
