/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c - the pipeline of a tokenizer.json: added tokens, normalizer, pre-tokenizer, BPE,
 * and back. Contract: tokenizer.h. Parsing of the file: tokenizer_file.c.
 * Tests: tests/test_tokenizer.c, against the tokenizers library's ids.
 *
 *   raw text -> added tokens (not normalized) -> normalizer -> added tokens (normalized)
 *            -> pre-tokenizer -> BPE per piece
 */
#include "host/text/tokenizer_parts.h"

#include "host/base/file.h"
#include "host/text/utf8.h"

/* ---- encoding -------------------------------------------------------------------------- */

/* What a piece on its way down the pipeline carries. */
struct encoding {
	const struct tokenizer *tok;
	struct token_ids *ids;
	size_t next_split; /* index of the next split step */
};

static int encode_word(void *context, const char *text, size_t n, struct err *err)
{
	struct encoding *e = context;

	if (e->next_split < e->tok->n_splits) {
		struct encoding deeper = {e->tok, e->ids, e->next_split + 1};

		return split_text(e->tok->splits[e->next_split], text, n, encode_word, &deeper, err);
	}
	return bpe_encode(&e->tok->bpe, text, n, e->ids, err);
}

/* Replaces `from` by `to` in n bytes. */
static int replace_all(const struct normalizer *step, const char *s, size_t n, struct text *out,
	struct err *err)
{
	const size_t n_from = strlen(step->from), n_to = strlen(step->to);

	for (size_t i = 0; i < n;) {
		if (n - i >= n_from && memcmp(s + i, step->from, n_from) == 0) {
			TRY(vec_append(out, step->to, n_to, err));
			i += n_from;
		} else {
			TRY(vec_push(out, s[i], err));
			i++;
		}
	}
	return 0;
fail:
	return err->code;
}

/* Leaves the normalized text in *out, which the caller frees. */
static int normalize(const struct tokenizer *tok, const char *s, size_t n, struct text *out,
	struct err *err)
{
	*out = (struct text){0};
	TRY(vec_append(out, s, n, err));
	for (size_t i = 0; i < tok->n_normalizers; i++) {
		const struct normalizer *step = &tok->normalizers[i];
		struct text next = {0};
		int rc;

		if (step->kind == NORMALIZER_PREPEND)
			rc = out->n > 0 && (vec_append(&next, step->to, strlen(step->to), err) ||
						   vec_append(&next, out->data, out->n, err));
		else
			rc = replace_all(step, out->data, out->n, &next, err);
		free(out->data);
		*out = next;
		if (rc)
			goto fail;
	}
	return 0;
fail:
	free(out->data);
	*out = (struct text){0};
	return err->code;
}

typedef int piece_function(const struct tokenizer *tok, const char *s, size_t n,
	struct token_ids *ids, struct err *err);

/* Cuts the added tokens of `set` out of the text; what lies between goes to `rest`. */
static int cut_added(const struct tokenizer *tok, const struct added_set *set, const char *s,
	size_t n, piece_function *rest, struct token_ids *ids, struct err *err)
{
	struct added_match match;
	size_t at = 0;

	while (added_set_next(set, tok->added, s, n, at, &match)) {
		if (match.start > at)
			TRY(rest(tok, s + at, match.start - at, ids, err));
		TRY(vec_push(ids, tok->added[match.token].id, err));
		at = match.end;
	}
	if (at < n)
		TRY(rest(tok, s + at, n - at, ids, err));
	return 0;
fail:
	return err->code;
}

static int encode_normalized(const struct tokenizer *tok, const char *s, size_t n,
	struct token_ids *ids, struct err *err)
{
	struct encoding e = {tok, ids, 0};

	return encode_word(&e, s, n, err);
}

static int encode_raw(const struct tokenizer *tok, const char *s, size_t n, struct token_ids *ids,
	struct err *err)
{
	struct text normalized;
	int rc;

	if (normalize(tok, s, n, &normalized, err))
		return err->code;
	rc = cut_added(tok, &tok->added_normalized, normalized.data, normalized.n,
		encode_normalized, ids, err);
	free(normalized.data);
	return rc;
}

int tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n,
	struct token_ids *ids, struct err *err)
{
	size_t bad;

	if (!utf8_valid(text, n, &bad))
		return err_set(err, ERR_INPUT, "text is not UTF-8 at byte %zu", bad);
	return cut_added(tok, &tok->added_raw, text, n, encode_raw, ids, err);
}

/* ---- decoding -------------------------------------------------------------------------- */

/* A run of <0xHH> tokens is their bytes if these are characters, else one U+FFFD per byte. */
static int decode_byte_run(const struct tokenizer *tok, const int32_t *ids, size_t n,
	struct text *out, struct err *err)
{
	struct text bytes = {0};

	for (size_t i = 0; i < n; i++)
		TRY(vec_push(&bytes, (char)tok->byte_of[ids[i]], err));
	if (utf8_valid(bytes.data, n, NULL))
		TRY(vec_append(out, bytes.data, n, err));
	else
		for (size_t i = 0; i < n; i++)
			TRY(vec_append(out, "\xef\xbf\xbd", 3, err));
	free(bytes.data);
	return 0;
fail:
	free(bytes.data);
	return err->code;
}

static bool is_byte_token(const struct tokenizer *tok, int32_t id)
{
	return tok->bpe.byte_fallback && (size_t)id < tok->n_byte_of && tok->byte_of[id] >= 0;
}

/* The bytes that a token stands for, appended. */
static int decode_token(const struct tokenizer *tok, int32_t id, struct text *out,
	struct err *err)
{
	size_t n;
	const char *s = vocab_bytes(&tok->bpe.vocab, id, &n);

	if (s && !tok->bpe.byte_level && tok->decode_from) {
		const struct normalizer back = {NORMALIZER_REPLACE, tok->decode_from, tok->decode_to};

		return replace_all(&back, s, n, out, err);
	}
	if (!s)
		s = vocab_bytes(&tok->spelling, id, &n);
	return s ? vec_append(out, s, n, err) : 0;
}

static const struct added_token *added_of(const struct tokenizer *tok, int32_t id)
{
	for (size_t i = 0; i < tok->n_added; i++)
		if (tok->added[i].id == id)
			return &tok->added[i];
	return NULL;
}

int tokenizer_decode(const struct tokenizer *tok, const int32_t *ids, size_t n, bool keep_special,
	struct text *text, struct err *err)
{
	struct text raw = {0};

	for (size_t i = 0; i < n; i++) {
		const struct added_token *added = added_of(tok, ids[i]);
		size_t run = 0;

		while (i + run < n && is_byte_token(tok, ids[i + run]))
			run++;
		if (run > 0) {
			TRY(decode_byte_run(tok, ids + i, run, &raw, err));
			i += run - 1;
		} else if (added) {
			if (!added->special || keep_special)
				TRY(vec_append(&raw, added->content, added->n, err));
		} else {
			TRY(decode_token(tok, ids[i], &raw, err));
		}
	}
	TRY(utf8_append_mended(text,
		raw.n > 0 && tok->decode_strip && raw.data[0] == ' ' ? raw.data + 1 : raw.data,
		raw.n > 0 && tok->decode_strip && raw.data[0] == ' ' ? raw.n - 1 : raw.n, err));
	free(raw.data);
	return 0;
fail:
	free(raw.data);
	return err->code;
}

/* ---- queries and lifetime -------------------------------------------------------------- */

size_t tokenizer_size(const struct tokenizer *tok)
{
	return vocab_size(&tok->spelling);
}

int32_t tokenizer_id(const struct tokenizer *tok, const char *token)
{
	return vocab_find(&tok->spelling, token, strlen(token));
}

const char *tokenizer_spelling(const struct tokenizer *tok, int32_t id)
{
	return vocab_bytes(&tok->spelling, id, NULL);
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
	struct file_map map;
	int rc;

	*out = NULL;
	if (file_map_open(&map, path, err))
		return err->code;
	rc = tokenizer_parse(out, path, map.data ? (const char *)map.data : "", map.size, err);
	file_map_close(&map);
	return rc;
}

void tokenizer_close(struct tokenizer *tok)
{
	if (!tok)
		return;
	for (size_t i = 0; i < tok->n_added; i++)
		free(tok->added[i].content);
	free(tok->added);
	added_set_free(&tok->added_raw);
	added_set_free(&tok->added_normalized);
	for (size_t i = 0; i < tok->n_normalizers; i++) {
		free(tok->normalizers[i].from);
		free(tok->normalizers[i].to);
	}
	for (size_t i = 0; i < tok->n_splits; i++)
		split_free(tok->splits[i]);
	bpe_free(&tok->bpe);
	vocab_free(&tok->spelling);
	free(tok->byte_of);
	free(tok->decode_from);
	free(tok->decode_to);
	free(tok);
}
