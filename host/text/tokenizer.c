/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c - the pipeline of a tokenizer.json: added tokens, normalizer, pre-tokenizer, BPE.
 * Contract: tokenizer.h. The way back: tokenizer_decode.c. Parsing of the file: tokenizer_file.c.
 * Tests: tests/test_tokenizer.c, against the tokenizers library's ids.
 *
 *   raw text -> added tokens (not normalized) -> normalizer -> added tokens (normalized)
 *            -> pre-tokenizer (metaspace, splits) -> BPE per piece
 */
#include "host/text/tokenizer_parts.h"

#include "host/text/nfc.h"
#include "host/base/utf8.h"

#include <stdio.h>

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

		return split_text(e->tok->splits[e->next_split], text, n, encode_word, &deeper,
			err);
	}
	return bpe_encode(&e->tok->bpe, text, n, e->ids, err);
}

int replace_all(const char *from, const char *to, const char *s, size_t n, struct text *out,
	struct err *err)
{
	const size_t n_from = strlen(from), n_to = strlen(to);

	for (size_t i = 0; i < n;) {
		if (n - i >= n_from && memcmp(s + i, from, n_from) == 0) {
			TRY(vec_append(out, to, n_to, err));
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

static int normalize_step(const struct normalizer *step, const char *s, size_t n, struct text *out,
	struct err *err)
{
	switch (step->kind) {
	case NORMALIZER_REPLACE:
		return replace_all(step->from, step->to, s, n, out, err);
	case NORMALIZER_NFC:
		return nfc_append(out, s, n, err);
	case NORMALIZER_PREPEND:
		if (n > 0)
			TRY(vec_append(out, step->to, strlen(step->to), err));
		return vec_append(out, s, n, err);
	}
	return 0;
fail:
	return err->code;
}

int tokenizer_normalize(const struct tokenizer *tok, const char *s, size_t n, struct text *out,
	struct err *err)
{
	*out = (struct text){0};
	TRY(vec_append(out, s, n, err));
	for (size_t i = 0; i < tok->n_normalizers; i++) {
		struct text next = {0};
		const int rc = normalize_step(&tok->normalizers[i], out->data, out->n, &next, err);

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

/* A piece of a text; `at_start`: nothing comes before it. */
struct piece {
	const char *s;
	size_t n;
	bool at_start;
};

typedef int piece_function(const struct tokenizer *tok, struct piece piece, struct token_ids *ids,
	struct err *err);

/* Cuts the added tokens of `set` out of the text; what lies between goes to `rest`. A token may
 * lie in white space that the one before it has swallowed; then it stands for itself again, and
 * the text goes on behind it. */
static int cut_added(const struct tokenizer *tok, const struct added_set *set, struct piece text,
	piece_function *rest, struct token_ids *ids, struct err *err)
{
	struct added_match match = {0};
	size_t at = 0;

	for (;;) {
		TRY(added_set_next(set, tok->added, text.s, text.n, &match, err));
		if (match.token < 0)
			break;
		if (match.start > at)
			TRY(rest(tok,
				(struct piece){text.s + at, match.start - at,
					text.at_start && at == 0},
				ids, err));
		TRY(vec_push(ids, tok->added[match.token].id, err));
		at = match.end;
	}
	if (at < text.n)
		TRY(rest(tok, (struct piece){text.s + at, text.n - at, text.at_start && at == 0},
			ids, err));
	return 0;
fail:
	return err->code;
}

static int encode_normalized(const struct tokenizer *tok, struct piece piece, struct token_ids *ids,
	struct err *err)
{
	const struct metaspace *meta = &tok->metaspace;
	struct encoding e = {tok, ids, 0};
	struct text marked = {0};
	int rc;

	if (!meta->mark)
		return encode_word(&e, piece.s, piece.n, err);
	TRY(replace_all(" ", meta->mark, piece.s, piece.n, &marked, err));
	if ((meta->prepend == PREPEND_ALWAYS ||
		    (meta->prepend == PREPEND_FIRST && piece.at_start)) &&
		(marked.n < strlen(meta->mark) ||
			memcmp(marked.data, meta->mark, strlen(meta->mark)) != 0)) {
		struct text prepended = {0};

		rc = vec_append(&prepended, meta->mark, strlen(meta->mark), err) ||
		     vec_append(&prepended, marked.data, marked.n, err);
		free(marked.data);
		marked = prepended;
		TRY(rc);
	}
	TRY(encode_word(&e, marked.data, marked.n, err));
	free(marked.data);
	return 0;
fail:
	free(marked.data);
	return err->code;
}

static int encode_raw(const struct tokenizer *tok, struct piece piece, struct token_ids *ids,
	struct err *err)
{
	struct text normalized;
	int rc;

	if (tokenizer_normalize(tok, piece.s, piece.n, &normalized, err))
		return err->code;
	rc = cut_added(tok, &tok->added_normalized,
		(struct piece){normalized.data, normalized.n, piece.at_start}, encode_normalized,
		ids, err);
	free(normalized.data);
	return rc;
}

int tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n, struct token_ids *ids,
	struct err *err)
{
	size_t bad;

	if (!utf8_valid(text, n, &bad))
		return err_set(err, ERR_INPUT, "text is not UTF-8 at byte %zu", bad);
	return cut_added(tok, &tok->added_raw, (struct piece){text, n, true}, encode_raw, ids, err);
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

int32_t tokenizer_bos(const struct tokenizer *tok)
{
	return tok->bos;
}

static void index_bytes(struct bpe *bpe)
{
	for (int byte = 0; byte < 256; byte++) {
		char name[8];

		snprintf(name, sizeof name, "<0x%02X>", byte);
		bpe->byte_token[byte] = vocab_find(&bpe->vocab, name, 6);
	}
}

int tokenizer_index(struct tokenizer *tok, struct err *err)
{
	index_bytes(&tok->bpe);
	tok->n_added_at = tokenizer_size(tok);
	tok->added_at = malloc((tok->n_added_at + 1) * sizeof *tok->added_at);
	if (!tok->added_at)
		return err_nomem(err, "added tokens", tok->n_added_at * sizeof *tok->added_at);
	for (size_t i = 0; i < tok->n_added_at; i++)
		tok->added_at[i] = -1;
	for (size_t i = 0; i < tok->n_added; i++)
		tok->added_at[tok->added[i].id] = (int32_t)i;
	return 0;
}

void tokenizer_close(struct tokenizer *tok)
{
	if (!tok)
		return;
	for (size_t i = 0; i < tok->n_added; i++) {
		free(tok->added[i].content);
		free(tok->added[i].form.data);
	}
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
	free(tok->metaspace.mark);
	free(tok->added_at);
	free(tok->decoder.from);
	free(tok->decoder.to);
	free(tok);
}
