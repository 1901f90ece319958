/* SPDX-License-Identifier: MIT
 *
 * tokenize.c - a filter around a tokenizer, for comparing it with others
 * (tests/parity_tokenizers.py).
 *
 *   tokenize TOKENIZER-FILE-OR-FOLDER
 *
 * Read: strings, each its length in bytes (uint32) and its bytes. Written for each: the number of
 * ids (int32; -1 = refused), the ids (int32), the length (uint32) and the bytes of the text that
 * they decode to. Integers as the machine has them. That decoding token by token gives the same
 * text, and well-formed text at every step, is checked here. Exit status: 0, or the error's.
 */
#include "host/base/file.h"
#include "host/base/utf8.h"
#include "host/text/tokenizer.h"

#include <stdio.h>

/* Pushes the ids one by one. */
static int decode_streaming(const struct tokenizer *tok, const struct token_ids *ids,
	struct text *text, struct err *err)
{
	struct token_stream stream;
	bool whole = true;

	token_stream_init(&stream, tok, false);
	for (size_t i = 0; i < ids->n; i++) {
		const size_t before = text->n;

		if (token_stream_push(&stream, ids->data[i], text, err)) {
			token_stream_free(&stream);
			return err->code;
		}
		whole = whole && (text->n == before ||
					 utf8_valid(text->data + before, text->n - before, NULL));
	}
	if (token_stream_end(&stream, text, err))
		return err->code;
	return whole ? 0 : err_set(err, ERR_INTERNAL, "half a character came out");
}

static int answer(const struct tokenizer *tok, const struct text *in, struct token_ids *ids,
	struct text *out, struct text *streamed, struct err *err)
{
	const int32_t refused = -1;
	int32_t n;
	uint32_t n_text;

	ids->n = out->n = streamed->n = 0;
	if (tokenizer_encode(tok, in->data, in->n, ids, err)) {
		if (err->code != ERR_INPUT)
			return err->code;
		err_clear(err);
		return fwrite(&refused, sizeof refused, 1, stdout) == 1
			       ? 0
			       : err_set(err, ERR_OUTPUT, "cannot write");
	}
	TRY(tokenizer_decode(tok, ids->data, ids->n, false, out, err));
	TRY(decode_streaming(tok, ids, streamed, err));
	if (out->n != streamed->n || (out->n > 0 && memcmp(out->data, streamed->data, out->n) != 0))
		return err_set(err, ERR_INTERNAL, "decoding token by token gives another text");
	n = (int32_t)ids->n;
	n_text = (uint32_t)out->n;
	if (fwrite(&n, sizeof n, 1, stdout) != 1 ||
		fwrite(ids->data, sizeof *ids->data, ids->n, stdout) != ids->n ||
		fwrite(&n_text, sizeof n_text, 1, stdout) != 1 ||
		fwrite(out->data, 1, out->n, stdout) != out->n)
		return err_set(err, ERR_OUTPUT, "cannot write");
	return 0;
fail:
	return err->code;
}

static int answer_all(const struct tokenizer *tok, struct err *err)
{
	struct text in = {0}, out = {0}, streamed = {0};
	struct token_ids ids = {0};
	uint32_t n;

	err_clear(err);
	while (fread(&n, sizeof n, 1, stdin) == 1) {
		TRY(vec_reserve(&in, (size_t)n + 1, err));
		in.n = n;
		if (fread(in.data, 1, n, stdin) != n) {
			err_set(err, ERR_INPUT, "expected %u bytes, found the end", n);
			break;
		}
		TRY(answer(tok, &in, &ids, &out, &streamed, err));
	}
	if (!err->code && fflush(stdout) != 0)
		err_set(err, ERR_OUTPUT, "cannot write");
fail:
	free(in.data);
	free(out.data);
	free(streamed.data);
	free(ids.data);
	return err->code;
}

int main(int argc, char **argv)
{
	struct tokenizer *tok = NULL;
	struct err err = {0};

	if (argc != 2)
		err_set(&err, ERR_CONFIG, "usage: tokenize TOKENIZER-FILE-OR-FOLDER");
	else if ((folder_exists(argv[1]) ? tokenizer_open_folder : tokenizer_open)(&tok, argv[1],
			 &err) == 0)
		answer_all(tok, &err);
	tokenizer_close(tok);
	if (err.code)
		fprintf(stderr, "tokenize: %s\n", err.text);
	return err.code;
}
