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

static int split_word(const struct encoding *e, const char *text, size_t n, struct err *err);

static int encode_word(void *context, const char *text, size_t n, struct err *err)
{
	const struct encoding *e = context;
	struct text spaced = {0};

	if ((int)e->next_split != e->tok->spaced_split || (n > 0 && text[0] == ' '))
		return split_word(e, text, n, err);
	err_clear(err);
	TRY(vec_push(&spaced, ' ', err));
	TRY(vec_append(&spaced, text, n, err));
	TRY(split_word(e, spaced.data, spaced.n, err));
fail:
	free(spaced.data);
	return err->code;
}

/* The rest of the way for a piece that has come to e->next_split. */
static int split_word(const struct encoding *e, const char *text, size_t n, struct err *err)
{
	if (e->next_split < e->tok->n_splits) {
		struct encoding deeper = {e->tok, e->ids, e->next_split + 1};

		return split_text(e->tok->splits[e->next_split], text, n, encode_word, &deeper,
			err);
	}
	return bpe_encode(&e->tok->bpe, text, n, e->ids, err);
}

/* A text may grow so much on its way to the tokens: what published files do makes at most three
 * bytes of one. Steps that each double it would otherwise fill the memory. */
static size_t most_of(size_t n)
{
	return 16 * n + 1024;
}

static int grows_too_much(size_t n, struct err *err)
{
	return err_set(err, ERR_INPUT,
		"expected a tokenizer that makes at most %zu bytes of a text of %zu, found one that "
		"makes more",
		most_of(n), n);
}

int replace_all(const char *from, const char *to, const char *s, size_t n, struct text *out,
	struct err *err)
{
	const size_t n_from = strlen(from), n_to = strlen(to), before = out->n;

	for (size_t i = 0; i < n;) {
		if (n - i >= n_from && memcmp(s + i, from, n_from) == 0) {
			TRY(vec_append(out, to, n_to, err));
			i += n_from;
		} else {
			TRY(vec_push(out, s[i], err));
			i++;
		}
		if (out->n > before + most_of(n))
			return grows_too_much(n, err);
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
		int rc = normalize_step(&tok->normalizers[i], out->data, out->n, &next, err);

		free(out->data);
		*out = next;
		if (rc == 0 && out->n > most_of(n))
			rc = grows_too_much(n, err);
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
		/* One that another has swallowed, and that swallows what is before it, is gone. */
		if (match.end > match.start)
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

/* ---- queries --------------------------------------------------------------------------- */

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

const char *tokenizer_bos_doubt(const struct tokenizer *tok)
{
	return tok->bos_doubt;
}

const char *tokenizer_special(const struct tokenizer *tok, const char *name)
{
	for (size_t i = 0; i < tok->named.n; i++)
		if (strcmp(tok->named.data[i].name, name) == 0)
			return tok->named.data[i].text;
	return NULL;
}

size_t tokenizer_n_special(const struct tokenizer *tok)
{
	return tok->named.n;
}

const char *tokenizer_special_name(const struct tokenizer *tok, size_t i)
{
	return tok->named.data[i].name;
}

size_t tokenizer_n_files(const struct tokenizer *tok)
{
	return tok->files.n;
}

const char *tokenizer_file(const struct tokenizer *tok, size_t i)
{
	return tok->files.data[i];
}

size_t tokenizer_n_notes(const struct tokenizer *tok)
{
	return tok->notes.n;
}

const char *tokenizer_note(const struct tokenizer *tok, size_t i)
{
	return tok->notes.data[i];
}

/* ---- added tokens ---------------------------------------------------------------------- */

int32_t tokenizer_next_id(const struct tokenizer *tok)
{
	int32_t next = (int32_t)tok->n_model;

	for (size_t i = 0; i < tok->n_added; i++)
		if (tok->added[i].id >= next)
			next = tok->added[i].id + 1;
	return next;
}

static int fill_form(const struct tokenizer *tok, struct added_token *t, struct err *err)
{
	const size_t n = strlen(t->content);

	if (t->normalized) {
		free(t->form.data);
		return tokenizer_normalize(tok, t->content, n, &t->form, err);
	}
	return t->form.n > 0 ? 0 : vec_append(&t->form, t->content, n, err);
}

/* A place for one more; its content is there, and its id. */
static int append_added(struct tokenizer *tok, const char *content, int32_t id, struct err *err)
{
	struct added_token *t;

	TRY(vec_grow((void **)&tok->added, &tok->added_cap, tok->n_added + 1, sizeof *tok->added,
		err));
	while (tok->added_at.n <= (size_t)id)
		TRY(vec_push(&tok->added_at, -1, err));
	t = &tok->added[tok->n_added];
	*t = (struct added_token){.content = strdup(content), .id = id};
	if (!t->content)
		return err_nomem(err, "added tokens", strlen(content));
	tok->added_at.data[id] = (int32_t)tok->n_added++;
	return 0;
fail:
	return err->code;
}

int tokenizer_add(struct tokenizer *tok, const struct added_token *token, int32_t *next,
	struct err *err)
{
	const size_t n = strlen(token->content);
	int32_t id = vocab_find(&tok->spelling, token->content, n);
	struct added_token *t;

	err_clear(err);
	if (id < 0) {
		id = *next;
		if (vocab_bytes(&tok->spelling, id, NULL))
			return err_set(err, ERR_INPUT,
				"token \"%s\": its id %d belongs to another token of the vocabulary",
				token->content, id);
		TRY(vocab_add(&tok->spelling, token->content, n, id, err));
		++*next;
	}
	if ((size_t)id >= tok->added_at.n || tok->added_at.data[id] < 0)
		TRY(append_added(tok, token->content, id, err));
	t = &tok->added[tok->added_at.data[id]];
	t->special = t->special || token->special;
	t->normalized = token->normalized;
	t->lstrip = token->lstrip;
	t->rstrip = token->rstrip;
	t->single_word = token->single_word;
	TRY(fill_form(tok, t, err));
	if (t->form.n == 0)
		return err_set(err, ERR_INPUT,
			"token \"%s\": nothing of it is left after normalization", token->content);
fail:
	return err->code;
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
	added_set_free(&tok->added_raw);
	added_set_free(&tok->added_normalized);
	for (size_t i = 0; i < tok->n_added; i++)
		if (added_set_add(tok->added[i].normalized ? &tok->added_normalized
							   : &tok->added_raw,
			    tok->added, (int32_t)i, err))
			return err->code;
	return 0;
}

/* ---- lifetime -------------------------------------------------------------------------- */

static void free_texts(struct texts *texts)
{
	for (size_t i = 0; i < texts->n; i++)
		free(texts->data[i]);
	free(texts->data);
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
	free(tok->added_at.data);
	free(tok->decoder.from);
	free(tok->decoder.to);
	for (size_t i = 0; i < tok->named.n; i++) {
		free(tok->named.data[i].name);
		free(tok->named.data[i].text);
	}
	free(tok->named.data);
	free_texts(&tok->files);
	free_texts(&tok->notes);
	free(tok->bos_doubt);
	free(tok->pad_token);
	free(tok);
}
