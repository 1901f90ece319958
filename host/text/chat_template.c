/* SPDX-License-Identifier: MIT
 *
 * chat_template.c - Contract: chat_template.h. The strings are those of the published
 * tokenizer_config.json files. Tests: tests/test_chat_template.c.
 */
#include "host/text/chat_template.h"

#include "host/base/utf8.h"

/* How a family renders one turn:
 *   start  system_before TEXT system_after  user  MESSAGE  suffix
 * or, where the system text is part of the user's turn (system_inside),
 *   start  user  system_before TEXT system_after  MESSAGE  suffix */
struct family {
	const char *name;
	const char *start; /* the BOS token, or nothing */
	const char *user, *suffix;
	const char *system_before, *system_after; /* NULL: it has no place for a system text */
	const char *system_default; /* NULL: without a system text there is no system block */
	bool system_inside, trim_system;
	bool trim;               /* strip white space around the message */
	bool released_bos_twice; /* in the released code: spelled, and put before by the tokenizer
				  */
	const char *marker;      /* a token that its vocabulary has; NULL = any will do */
	const char *stop[CHAT_MAX_STOP + 1]; /* NULL-terminated; those that the vocabulary has */
	const char *eos;                     /* its eos_token; NULL: the first of these */
};

#define LLAMA3_HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define LLAMA3(SYSTEM, DEFAULT) \
	.start = "<|begin_of_text|>", .user = LLAMA3_HEADER("user"), \
	.suffix = "<|eot_id|>" LLAMA3_HEADER("assistant"), \
	.system_before = LLAMA3_HEADER("system") SYSTEM, .system_after = "<|eot_id|>", \
	.system_default = DEFAULT, .trim_system = true, .trim = true, .released_bos_twice = true, \
	.marker = "<|start_header_id|>", .stop = {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"}, \
	.eos = "<|eot_id|>"
/* The date is the one that the published template falls back to, so that runs repeat. */
#define LLAMA31_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

#define GEMMA \
	.start = "<bos>", .user = "<start_of_turn>user\n", \
	.suffix = "<end_of_turn>\n<start_of_turn>model\n", .trim = true, \
	.marker = "<start_of_turn>", .stop = {"<end_of_turn>", "<eos>"}, .eos = "<eos>"

#define QWEN(DEFAULT, REPLY) \
	.start = "", .user = "<|im_start|>user\n", \
	.suffix = "<|im_end|>\n<|im_start|>assistant\n" REPLY, \
	.system_before = "<|im_start|>system\n", .system_after = "<|im_end|>\n", \
	.system_default = DEFAULT, .marker = "<|im_start|>", \
	.stop = {"<|im_end|>", "<|endoftext|>"}, .eos = "<|im_end|>"

static const struct family families[] = {
	{.name = "gemma2", GEMMA},
	{.name = "gemma3",
		GEMMA,
		.system_before = "",
		.system_after = "\n\n",
		.system_inside = true},
	{.name = "llama3", LLAMA3("", NULL)},
	{.name = "llama3.1", LLAMA3(LLAMA31_DATES, "")},
	{.name = "llama3.2", LLAMA3(LLAMA31_DATES, "")},
	{.name = "llama2",
		.start = "<s>",
		.user = "[INST] ",
		.suffix = " [/INST]",
		.system_before = "<<SYS>>\n",
		.system_after = "\n<</SYS>>\n\n",
		.system_inside = true,
		.trim = true,
		.marker = "<s>",
		.stop = {"</s>"},
		.eos = "</s>"},
	{.name = "mistral",
		.start = "<s>",
		.user = "[INST] ",
		.suffix = " [/INST]",
		.marker = "<s>",
		.stop = {"</s>"},
		.eos = "</s>"},
	{.name = "qwen2", QWEN("You are a helpful assistant.", "")},
	{.name = "qwen2.5",
		QWEN("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "")},
	/* Thinking is off: the reply begins behind an empty thought. */
	{.name = "qwen3", QWEN(NULL, "<think>\n\n</think>\n\n")},
	{.name = "plain",
		.start = "",
		.user = "",
		.suffix = "",
		.stop = {"<eos>", "<|end_of_text|>", "</s>", "<|endoftext|>"}},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* ---- choosing -------------------------------------------------------------------------- */

static const struct family *find(const char *name)
{
	for (int i = 0; i < N_FAMILIES; i++)
		if (strcmp(families[i].name, name) == 0)
			return &families[i];
	return NULL;
}

static bool has(const struct tokenizer *tok, const char *token)
{
	return tokenizer_id(tok, token) >= 0;
}

/* By model type, and by what tells apart the vocabularies of one type; NULL when none fits. */
static const char *family_of(const char *model_type, bool llama3_rope, const struct tokenizer *tok)
{
	if (strncmp(model_type, "gemma2", 6) == 0 && has(tok, "<start_of_turn>"))
		return "gemma2";
	if (strncmp(model_type, "gemma3", 6) == 0 && has(tok, "<start_of_turn>"))
		return "gemma3";
	if (strcmp(model_type, "llama") == 0 && has(tok, "<|start_header_id|>"))
		return llama3_rope ? "llama3.1" : "llama3";
	if (strcmp(model_type, "llama") == 0 && has(tok, "<s>"))
		return "llama2";
	/* Where [INST] is a token, the spaces around it are others (Mistral v0.3 and later). */
	if (strcmp(model_type, "mistral") == 0 && has(tok, "<s>") && !has(tok, "[INST]"))
		return "mistral";
	if (strcmp(model_type, "qwen2") == 0 && has(tok, "<|im_start|>"))
		return has(tok, "<tool_call>") ? "qwen2.5" : "qwen2";
	if (strcmp(model_type, "qwen3") == 0 && has(tok, "<|im_start|>"))
		return "qwen3";
	return NULL;
}

static int choose(const struct family **out, const struct chat_options *o, const char *model_type,
	bool llama3_rope, const struct tokenizer *tok, struct err *err)
{
	const bool by_model = strcmp(o->name, "auto") == 0;
	const char *name = by_model ? family_of(model_type, llama3_rope, tok) : o->name;
	struct text names = {0};

	if (by_model && !name && o->prefix)
		name = "plain"; /* prefix and suffix are given: only what ends a reply is open */
	*out = name ? find(name) : NULL;
	if (*out && (*out)->marker && !has(tok, (*out)->marker))
		return err_set(err, ERR_CONFIG,
			"model.template: expected a tokenizer with the token %s for the template "
			"%s",
			(*out)->marker, name);
	if (*out)
		return 0;
	for (int i = 0; i < N_FAMILIES; i++) {
		TRY(vec_append(&names, families[i].name, strlen(families[i].name), err));
		TRY(vec_append(&names, ", ", i + 1 < N_FAMILIES ? 2 : 0, err));
	}
	err_set(err, ERR_CONFIG,
		"model.template: expected one of %.*s, or a model for which auto finds one, or "
		"model.prefix and model.suffix; found \"%s\" for a %s model",
		(int)names.n, names.data, o->name, model_type);
fail:
	free(names.data);
	return err->code;
}

/* ---- filling --------------------------------------------------------------------------- */

/* What Python's strip() takes away. */
static bool is_stripped(uint32_t code)
{
	return utf8_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

/* Bytes of white space at the start of n bytes, or at their end. */
static size_t space_at_start(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		const size_t length = utf8_length(s + i, n - i);

		if (length == 0 || !is_stripped(utf8_decode(s + i, length)))
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

/* Joins the texts, up to NULL, into *out, which the caller frees. */
static int join(char **out, const char *const *texts, struct err *err)
{
	struct text all = {0};

	for (; *texts; texts++)
		TRY(vec_append(&all, *texts, strlen(*texts), err));
	TRY(vec_push(&all, '\0', err));
	*out = all.data;
	return 0;
fail:
	free(all.data);
	return err->code;
}

/* The system block of a family, empty when there is none; the caller frees it. */
static int system_block(char **out, const struct family *f, const char *system, struct err *err)
{
	const char *text = *system ? system : f->system_default;
	char *trimmed;
	size_t n, skip;
	int rc;

	if (*system && !f->system_before)
		return err_set(err, ERR_CONFIG,
			"model.system: expected none, the template %s has no place for it",
			f->name);
	if (!text)
		return join(out, (const char *const[]){"", NULL}, err);
	n = strlen(text);
	skip = f->trim_system ? space_at_start(text, n) : 0;
	n -= skip;
	n -= f->trim_system ? space_at_end(text + skip, n) : 0;
	trimmed = strndup(text + skip, n);
	if (!trimmed)
		return err_nomem(err, "a system text", n);
	rc = join(out, (const char *const[]){f->system_before, trimmed, f->system_after, NULL},
		err);
	free(trimmed);
	return rc;
}

static int fill_family(struct chat_template *t, const struct family *f, const char *system,
	struct err *err)
{
	char *block = NULL;

	err_clear(err);
	TRY(system_block(&block, f, system, err));
	TRY(join(&t->name, (const char *const[]){f->name, NULL}, err));
	TRY(join(&t->suffix, (const char *const[]){f->suffix, NULL}, err));
	TRY(join(&t->released_prefix,
		(const char *const[]){f->start, f->system_inside ? "" : block, NULL}, err));
	TRY(join(&t->prefix,
		(const char *const[]){t->released_prefix, f->user, f->system_inside ? block : "",
			NULL},
		err));
	/* What is stripped is the user's whole turn, its system text included. */
	t->trim_start = f->trim && !(f->system_inside && f->system_before[0] && *block);
	t->trim_end = f->trim;
fail:
	free(block);
	return err->code;
}

static int fill_custom(struct chat_template *t, const struct family *f,
	const struct chat_options *o, struct err *err)
{
	if (*o->system)
		return err_set(err, ERR_CONFIG,
			"model.system: expected none beside model.prefix, which can hold it");
	TRY(join(&t->name, (const char *const[]){"custom", NULL}, err));
	TRY(join(&t->prefix, (const char *const[]){o->prefix, NULL}, err));
	TRY(join(&t->suffix, (const char *const[]){o->suffix, NULL}, err));
	return join(&t->released_prefix,
		(const char *const[]){strncmp(o->prefix, f->start, strlen(f->start)) == 0 ? f->start
											  : "",
			NULL},
		err);
fail:
	return err->code;
}

static void find_ends(struct chat_template *t, const struct family *f, const struct tokenizer *tok)
{
	for (const char *const *stop = f->stop; *stop; stop++)
		if (has(tok, *stop))
			t->stop[t->n_stop++] = tokenizer_id(tok, *stop);
	t->eos = f->eos ? tokenizer_id(tok, f->eos) : t->n_stop > 0 ? t->stop[0] : -1;
}

/* Decides which BOS token is added. */
static int settle_bos(struct chat_template *t, const struct family *f, const char *how,
	const struct tokenizer *tok, struct err *err)
{
	const bool released = strcmp(how, "released") == 0;
	const bool twice = strcmp(how, "double") == 0 || (released && f->released_bos_twice);
	const int32_t wanted = tokenizer_bos(tok);
	const int32_t bos = wanted >= 0 ? wanted : *f->start ? tokenizer_id(tok, f->start) : -1;
	struct token_ids ids = {0};
	size_t n = 0; /* spelled in the prefix */

	t->bos = -1;
	TRY(tokenizer_encode(tok, t->prefix, strlen(t->prefix), &ids, err));
	for (size_t i = 0; i < ids.n; i++)
		n += ids.data[i] == bos;
	free(ids.data);
	if (n > 1 && !twice)
		return err_set(err, ERR_CONFIG,
			"model.prefix: expected one %s token, found %zu; model.bos = \"double\" "
			"allows two",
			tokenizer_spelling(tok, bos), n);
	if (n == 0 && !twice && strcmp(how, "none") != 0 && tokenizer_bos_doubt(tok))
		return err_set(err, ERR_CONFIG,
			"model.bos: expected \"none\", or a template that spells its BOS token, for %s",
			tokenizer_bos_doubt(tok));
	if (n == 0 && twice)
		return err_set(err, ERR_CONFIG,
			"model.bos: expected a template with a BOS token to double, found none in "
			"%s",
			t->name);
	if ((twice && n == 1) || ((strcmp(how, "auto") == 0 || released) && n == 0))
		t->bos = twice ? bos : wanted;
	return 0;
fail:
	free(ids.data);
	return err_prefix(err, "model.prefix");
}

int chat_template_open(struct chat_template **out, const struct chat_options *options,
	const char *model_type, bool llama3_rope, const struct tokenizer *tok, struct err *err)
{
	const struct family *family;
	struct chat_template *t;

	*out = NULL;
	if (!options->prefix != !options->suffix)
		return err_set(err, ERR_CONFIG,
			"model.prefix, model.suffix: expected both or none, found only model.%s",
			options->prefix ? "prefix" : "suffix");
	if (choose(&family, options, model_type, llama3_rope, tok, err))
		return err->code;
	t = calloc(1, sizeof *t);
	if (!t)
		return err_nomem(err, "a chat template", sizeof *t);
	if (options->prefix)
		TRY(fill_custom(t, family, options, err));
	else
		TRY(fill_family(t, family, options->system, err));
	TRY(settle_bos(t, family, options->bos, tok, err));
	find_ends(t, family, tok);
	*out = t;
	return 0;
fail:
	chat_template_close(t);
	return err->code;
}

void chat_template_close(struct chat_template *t)
{
	if (!t)
		return;
	free(t->name);
	free(t->prefix);
	free(t->suffix);
	free(t->released_prefix);
	free(t);
}

/* ---- rendering ------------------------------------------------------------------------- */

int chat_template_render(const struct chat_template *t, const char *message, struct text *text,
	struct err *err)
{
	size_t n = strlen(message), skip = t->trim_start ? space_at_start(message, n) : 0;

	message += skip;
	n -= skip;
	n -= t->trim_end ? space_at_end(message, n) : 0;
	TRY(vec_append(text, t->prefix, strlen(t->prefix), err));
	TRY(vec_append(text, message, n, err));
	return vec_append(text, t->suffix, strlen(t->suffix), err);
fail:
	return err->code;
}

static int encode(const struct chat_template *t, const struct tokenizer *tok, const char *s,
	size_t n, struct token_ids *ids, struct err *err)
{
	if (t->bos >= 0 && vec_push(ids, t->bos, err))
		return err->code;
	return tokenizer_encode(tok, s, n, ids, err);
}

int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const char *message, struct token_ids *ids, struct err *err)
{
	struct text text = {0};
	int rc = chat_template_render(t, message, &text, err);

	if (rc == 0)
		rc = encode(t, tok, text.data, text.n, ids, err);
	free(text.data);
	return rc;
}

int chat_template_encode_start(const struct chat_template *t, const struct tokenizer *tok,
	const char *start, struct token_ids *ids, struct err *err)
{
	return encode(t, tok, start, strlen(start), ids, err);
}
