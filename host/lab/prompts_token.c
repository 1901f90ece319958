/* SPDX-License-Identifier: MIT
 *
 * prompts_token.c - the tokens that the config names by a word: the one that a refusal begins with,
 * and the metric's. Contract: prompts.h. Tests: tests/test_refusal_token.c.
 *
 * A reply follows a prompt, so the token of its first word is the one that the tokenizer makes of
 * the word there. Many tokenizers put a space before every text, some also behind every added
 * token: alone, "I" is then the token of " I". So what the tokenizer makes must read as the word;
 * where it reads as another text, the vocabulary is asked for the token that does.
 */
#include "host/lab/prompts.h"

#include "host/base/utf8.h"

/* A rendered prompt and its tokens, the added BOS token not included. */
struct rendered {
	const struct tokenizer *tok;
	struct text text;
	struct token_ids ids;
};

static int render(struct rendered *r, const struct prompts *p, size_t prompt, struct err *err)
{
	r->text.n = r->ids.n = 0;
	if (prompts_render(p, prompt, &r->text, err))
		return err->code;
	return tokenizer_encode(r->tok, r->text.data, r->text.n, &r->ids, err);
}

static void rendered_free(struct rendered *r)
{
	free(r->text.data);
	free(r->ids.data);
}

/* The tokens of n bytes of text behind the prompt; none when they change the prompt's own. */
static int encode_behind(const struct rendered *r, const char *word, size_t n,
	struct token_ids *out, struct err *err)
{
	struct text text = {0};
	struct token_ids ids = {0};

	err_clear(err);
	out->n = 0;
	TRY(vec_append(&text, r->text.data, r->text.n, err));
	TRY(vec_append(&text, word, n, err));
	TRY(tokenizer_encode(r->tok, text.data, text.n, &ids, err));
	if (ids.n > r->ids.n && memcmp(ids.data, r->ids.data, r->ids.n * sizeof *ids.data) == 0)
		TRY(vec_append(out, ids.data + r->ids.n, ids.n - r->ids.n, err));
fail:
	free(text.data);
	free(ids.data);
	return err->code;
}

/* Appends what tokens read as behind the last ones of the prompt, these included. */
static int read_behind(const struct rendered *r, const int32_t *tokens, size_t n, struct text *out,
	struct err *err)
{
	const size_t last = r->ids.n < 8 ? r->ids.n : 8;
	struct token_ids ids = {0};

	err_clear(err);
	TRY(vec_append(&ids, r->ids.data + r->ids.n - last, last, err));
	TRY(vec_append(&ids, tokens, n, err));
	TRY(tokenizer_decode(r->tok, ids.data, ids.n, true, out, err));
fail:
	free(ids.data);
	return err->code;
}

/* Whether tokens behind the prompt read as n bytes of text. */
static int reads_as(const struct rendered *r, const struct token_ids *tokens, const char *word,
	size_t n, bool *same, struct err *err)
{
	struct text expected = {0}, found = {0};

	err_clear(err);
	TRY(read_behind(r, NULL, 0, &expected, err));
	TRY(vec_append(&expected, word, n, err));
	TRY(read_behind(r, tokens->data, tokens->n, &found, err));
	*same = found.n == expected.n && memcmp(found.data, expected.data, found.n) == 0;
fail:
	free(expected.data);
	free(found.data);
	return err->code;
}

/* The token of the vocabulary that is spelled as n bytes of text, a space as SentencePiece does it;
 * none when there is none. */
static int look_up(const struct rendered *r, const char *word, size_t n, struct token_ids *out,
	struct err *err)
{
	static const char space[] = "\xe2\x96\x81";
	struct text spelled = {0};
	int32_t id;

	err_clear(err);
	out->n = 0;
	for (size_t i = 0; i < n; i++)
		TRY(vec_append(&spelled, word[i] == ' ' ? space : word + i,
			word[i] == ' ' ? strlen(space) : 1, err));
	TRY(vec_push(&spelled, '\0', err));
	id = tokenizer_id(r->tok, spelled.data);
	if (id >= 0)
		TRY(vec_push(out, id, err));
fail:
	free(spelled.data);
	return err->code;
}

/* The tokens of n bytes of text where a reply begins with it. */
static int tokens_of(const struct rendered *r, const char *word, size_t n, struct token_ids *out,
	struct err *err)
{
	struct token_ids other = {0};
	bool same = true;

	err_clear(err);
	TRY(encode_behind(r, word, n, out, err));
	if (out->n > 0)
		TRY(reads_as(r, out, word, n, &same, err));
	if (same)
		goto fail;
	TRY(look_up(r, word, n, &other, err));
	TRY(reads_as(r, &other, word, n, &same, err));
	if (same && other.n > 0) {
		out->n = 0;
		TRY(vec_append(out, other.data, other.n, err));
	}
fail:
	free(other.data);
	return err->code;
}

/* The end of a prompt on one line. Returns buffer. */
static const char *tail_of(const struct rendered *r, char buffer[80])
{
	const size_t n = r->text.n;
	size_t from = n > 32 ? n - 32 : 0, to = 0;

	while (from < n && utf8_length(r->text.data + from, n - from) == 0)
		from++;
	for (; from < n; from++) {
		const char c = r->text.data[from];

		if (c == '\n')
			buffer[to++] = '\\';
		buffer[to++] = c == '\n' ? 'n' : c;
	}
	buffer[to] = '\0';
	return buffer;
}

static const char *spelling(const struct tokenizer *tok, int32_t id)
{
	const char *s = tokenizer_spelling(tok, id);

	return s ? s : "";
}

/* The token that a text becomes behind one prompt. */
static int token_behind(const struct rendered *r, const char *key, const char *text, int32_t *id,
	struct err *err)
{
	struct token_ids behind = {0};
	char tail[80];

	err_clear(err);
	TRY(tokens_of(r, text, strlen(text), &behind, err));
	if (!*text) {
		err_set(err, ERR_CONFIG, "%s: expected a text of one token, found \"\"", key);
	} else if (behind.n == 0) {
		err_set(err, ERR_CONFIG,
			"%s: expected a text that begins a token behind the prompt, \"%s\" becomes "
			"part of the last one of \"...%s\"; the id of a token is taken, too",
			key, text, tail_of(r, tail));
	} else if (behind.n > 1) {
		err_set(err, ERR_CONFIG,
			"%s: expected a text of one token, \"%s\" has %zu behind \"...%s\", the first "
			"%d \"%s\"; the id of a token is taken, too",
			key, text, behind.n, tail_of(r, tail), behind.data[0],
			spelling(r->tok, behind.data[0]));
	} else {
		*id = behind.data[0];
	}
fail:
	free(behind.data);
	return err->code;
}

/* The token that a text becomes behind every prompt. */
static int token_of_text(struct rendered *r, const struct prompts *p, const char *key,
	const char *text, int32_t *id, struct err *err)
{
	char tail[80], other[80];
	int32_t found = -1;

	*id = -1;
	for (size_t i = 0; i < p->table.n; i++) {
		if (render(r, p, i, err) || token_behind(r, key, text, &found, err))
			return err->code;
		if (i == 0)
			*id = found;
		if (found == *id)
			continue;
		tail_of(r, tail);
		if (render(r, p, 0, err))
			return err->code;
		return err_set(err, ERR_CONFIG,
			"%s: expected the same token behind all prompts, \"%s\" is %d \"%s\" behind "
			"\"...%s\" and %d \"%s\" behind \"...%s\"; the id of a token is taken, too",
			key, text, *id, spelling(r->tok, *id), tail_of(r, other), found,
			spelling(r->tok, found), tail);
	}
	return 0;
}

static int token_of_id(const struct machine *m, const char *key, int64_t id, int32_t *out,
	struct err *err)
{
	const size_t n = m->model->arch.n_vocab;

	if ((size_t)id >= n || !tokenizer_spelling(m->tok, (int32_t)id))
		return err_set(err, ERR_CONFIG,
			"%s: expected the id of a token of the vocabulary of %zu, found %lld", key,
			n, (long long)id);
	*out = (int32_t)id;
	return 0;
}

static int find_token(struct rendered *r, const struct prompts *p, const struct machine *m,
	const char *key, const struct token_choice *choice, int32_t *id, struct err *err)
{
	return choice->text ? token_of_text(r, p, key, choice->text, id, err)
			    : token_of_id(m, key, choice->id, id, err);
}

/* ---- the other spelling ---------------------------------------------------------------- */

static void add_spelling(struct prompts *p, const struct token_ids *ids)
{
	if (ids->n != 1)
		return;
	for (size_t i = 0; i < p->n_refusal_spellings; i++)
		if (p->refusal_spellings[i] == ids->data[0])
			return;
	p->refusal_spellings[p->n_refusal_spellings++] = ids->data[0];
}

/* The refusal token's word with and without a space before it, behind a prompt and where a text
 * begins, wherever that is one token. */
static int find_spellings(struct rendered *r, struct prompts *p, struct err *err)
{
	struct token_ids ids = {0};
	struct text text = {0};
	size_t skip = 0;

	err_clear(err);
	p->refusal_spellings[p->n_refusal_spellings++] = p->refusal_token;
	TRY(render(r, p, 0, err));
	TRY(vec_push(&text, ' ', err));
	TRY(tokenizer_decode(r->tok, &p->refusal_token, 1, true, &text, err));
	while (skip < text.n && text.data[skip] == ' ')
		skip++;
	if (skip == text.n)
		goto fail;
	for (size_t with_space = 0; with_space < 2; with_space++) {
		TRY(tokens_of(r, text.data + skip - with_space, text.n - skip + with_space, &ids,
			err));
		add_spelling(p, &ids);
	}
	ids.n = 0;
	TRY(tokenizer_encode(r->tok, text.data + skip, text.n - skip, &ids, err));
	add_spelling(p, &ids);
fail:
	free(ids.data);
	free(text.data);
	return err->code;
}

int prompts_find_tokens(struct prompts *p, const struct config *c, const struct machine *m,
	struct err *err)
{
	const struct token_choice *target = &c->attribution.target;
	struct rendered r = {.tok = m->tok};

	err_clear(err);
	if (p->source)
		return 0;
	TRY(find_token(&r, p, m, "refusal.token", &c->refusal.token, &p->refusal_token, err));
	TRY(find_spellings(&r, p, err));
	if (!target->text || *target->text)
		TRY(find_token(&r, p, m, "attribution.target", target, &p->target_token, err));
	if (p->target_token == p->refusal_token)
		err_set(err, ERR_CONFIG,
			"attribution.target: expected another token than refusal.token, against which it is "
			"held, found %d \"%s\" for both",
			p->target_token, spelling(m->tok, p->target_token));
fail:
	rendered_free(&r);
	return err->code;
}
