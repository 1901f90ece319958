/* SPDX-License-Identifier: MIT
 *
 * chat_family.c - Contract: chat_family.h. The strings are those of the published
 * tokenizer_config.json files. Tests: tests/test_chat_template.c.
 */
#include "host/text/chat_family.h"

#include "host/text/strip.h"

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

static const struct chat_family families[] = {
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

const struct chat_family *chat_family_named(const char *name)
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

static const char *name_of(const char *model_type, bool llama3_rope, const struct tokenizer *tok)
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

const struct chat_family *chat_family_of(const char *model_type, bool llama3_rope,
	const struct tokenizer *tok)
{
	const char *name = name_of(model_type, llama3_rope, tok);

	return name ? chat_family_named(name) : NULL;
}

int chat_family_names(struct text *out, struct err *err)
{
	for (int i = 0; i < N_FAMILIES; i++) {
		TRY(vec_append(out, families[i].name, strlen(families[i].name), err));
		TRY(vec_append(out, ", ", i + 1 < N_FAMILIES ? 2 : 0, err));
	}
	return vec_push(out, '\0', err);
fail:
	return err->code;
}

size_t chat_family_stop(const struct chat_family *f, const struct tokenizer *tok,
	int32_t stop[CHAT_MAX_STOP])
{
	size_t n = 0;

	for (const char *const *token = f->stop; *token; token++)
		if (has(tok, *token))
			stop[n++] = tokenizer_id(tok, *token);
	return n;
}

int32_t chat_family_eos(const struct chat_family *f, const struct tokenizer *tok)
{
	int32_t stop[CHAT_MAX_STOP];

	if (f->eos)
		return tokenizer_id(tok, f->eos);
	return chat_family_stop(f, tok, stop) > 0 ? stop[0] : -1;
}

/* ---- wrapping -------------------------------------------------------------------------- */

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
static int system_block(char **out, const struct chat_family *f, const char *system,
	struct err *err)
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

int chat_family_wrap(struct chat_wrap *w, const struct chat_family *f, const char *system,
	struct err *err)
{
	char *block = NULL;

	*w = (struct chat_wrap){0};
	err_clear(err);
	TRY(system_block(&block, f, system, err));
	TRY(join(&w->suffix, (const char *const[]){f->suffix, NULL}, err));
	TRY(join(&w->released_prefix,
		(const char *const[]){f->start, f->system_inside ? "" : block, NULL}, err));
	TRY(join(&w->prefix,
		(const char *const[]){w->released_prefix, f->user, f->system_inside ? block : "",
			NULL},
		err));
	/* What is stripped is the user's whole turn, its system text included. */
	w->trim_start = f->trim && !(f->system_inside && f->system_before[0] && *block);
	w->trim_end = f->trim;
fail:
	free(block);
	if (err->code)
		chat_wrap_free(w);
	return err->code;
}

void chat_wrap_free(struct chat_wrap *w)
{
	free(w->prefix);
	free(w->suffix);
	free(w->released_prefix);
	*w = (struct chat_wrap){0};
}

int chat_wrap_render(const struct chat_wrap *w, const char *message, struct text *out,
	struct err *err)
{
	size_t n = strlen(message), skip = w->trim_start ? space_at_start(message, n) : 0;

	message += skip;
	n -= skip;
	n -= w->trim_end ? space_at_end(message, n) : 0;
	TRY(vec_append(out, w->prefix, strlen(w->prefix), err));
	TRY(vec_append(out, message, n, err));
	return vec_append(out, w->suffix, strlen(w->suffix), err);
fail:
	return err->code;
}
