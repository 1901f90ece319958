/* SPDX-License-Identifier: MIT
 *
 * chat_template.c - Contract: chat_template.h. The strings are those of the published
 * tokenizer_config.json files. Tests: tests/test_tokenizer.c.
 */
#include "host/text/chat_template.h"

#include "host/text/utf8.h"

#define LLAMA_SYSTEM \
	"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" \
	"Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
#define LLAMA_USER "<|start_header_id|>user<|end_header_id|>\n\n"
#define LLAMA_SUFFIX "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"

static const struct chat_template templates[] = {
	{.name = "gemma2",
		.prefix = "<bos><start_of_turn>user\n",
		.suffix = "<end_of_turn>\n<start_of_turn>model\n",
		.released_prefix = "<bos>",
		.trim = true,
		.stop = {"<end_of_turn>", "<eos>"},
		.eos = "<eos>"},
	{.name = "llama3.1",
		.prefix = LLAMA_SYSTEM LLAMA_USER,
		.suffix = LLAMA_SUFFIX,
		.released_prefix = LLAMA_SYSTEM,
		.trim = true,
		.stop = {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"},
		.eos = "<|end_of_text|>"},
	{.name = "llama3",
		.prefix = "<|begin_of_text|>" LLAMA_USER,
		.suffix = LLAMA_SUFFIX,
		.released_prefix = "<|begin_of_text|>",
		.trim = true,
		.stop = {"<|eot_id|>", "<|end_of_text|>"},
		.eos = "<|end_of_text|>"},
	{.name = NULL},
};

const struct chat_template *chat_template_find(const char *name)
{
	for (const struct chat_template *t = templates; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t;
	return NULL;
}

const struct chat_template *chat_template_list(void)
{
	return templates;
}

const struct chat_template *chat_template_for(const char *model_type, bool llama3_rope,
	const struct tokenizer *tok)
{
	if (strncmp(model_type, "gemma2", 6) == 0 && tokenizer_id(tok, "<start_of_turn>") >= 0)
		return chat_template_find("gemma2");
	if (strcmp(model_type, "llama") == 0 && tokenizer_id(tok, "<|start_header_id|>") >= 0)
		return chat_template_find(llama3_rope ? "llama3.1" : "llama3");
	return NULL;
}

/* Bytes of white space at the start of n bytes, or at their end. */
static size_t space_at_start(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		const size_t length = utf8_length(s + i, n - i);

		if (length == 0 || !utf8_is_space(utf8_decode(s + i, length)))
			break;
		i += length;
	}
	return i;
}

static size_t space_at_end(const char *s, size_t n)
{
	size_t end = n;

	while (end > 0) {
		size_t start = end - 1;

		while (start > 0 && ((unsigned char)s[start] & 0xc0) == 0x80)
			start--;
		if (space_at_start(s + start, end - start) != end - start)
			break;
		end = start;
	}
	return n - end;
}

int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const char *message, struct token_ids *ids, struct err *err)
{
	size_t n = strlen(message), skip = t->trim ? space_at_start(message, n) : 0;
	struct text text = {0};

	message += skip;
	n -= skip;
	n -= t->trim ? space_at_end(message, n) : 0;
	TRY(vec_append(&text, t->prefix, strlen(t->prefix), err));
	TRY(vec_append(&text, message, n, err));
	TRY(vec_append(&text, t->suffix, strlen(t->suffix), err));
	TRY(tokenizer_encode(tok, text.data, text.n, ids, err));
	free(text.data);
	return 0;
fail:
	free(text.data);
	return err->code;
}
