/* SPDX-License-Identifier: MIT
 *
 * stop_tokens.c - Contract: stop_tokens.h. Source of the precedence: transformers,
 * generation/utils.py (adjust_generation_fn) and generation/configuration_utils.py
 * (from_model_config). Tests: tests/test_stop_tokens.c.
 */
#include "host/lab/stop_tokens.h"

#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/vec.h"
#include "host/formats/json.h"

#include <stdio.h>

static const char GENERATION[] = STOP_TOKENS_FILE, MODEL[] = "config.json";

struct finding {
	struct stop_tokens *out;
	const struct machine *m;
	const struct chat_template *chat;
	const char *folder;
	json_t *generation, *model; /* owned; NULL = no such file */
	size_t n_put;               /* tokens said so far, each as often as it was */
	struct err *err;
};

/* ---- putting --------------------------------------------------------------------------- */

static int push_text(char ***texts, size_t n, const char *text, struct err *err)
{
	char **grown = realloc(*texts, (n + 1) * sizeof *grown), *copy = strdup(text);

	if (grown)
		*texts = grown;
	if (grown && copy) {
		grown[n] = copy;
		return 0;
	}
	free(copy);
	return err_nomem(err, "stop tokens", strlen(text));
}

static bool holds(const struct stop_tokens *stop, long long id)
{
	for (size_t i = 0; i < stop->ids.n; i++)
		if (stop->ids.data[i] == id)
			return true;
	return false;
}

/* Each once; the first who says it is its origin. */
static int put(struct finding *f, int code, long long id, const char *origin)
{
	const size_t n_vocab = f->m->model->arch.n_vocab;

	if (id < 0 || (size_t)id >= n_vocab)
		return err_set(f->err, code,
			"%s: expected stop tokens from 0 to %zu, the rows of the model's embedding, found "
			"%lld; generate.stop = [\"TOKEN\", ...] gives others",
			origin, n_vocab - 1, id);
	f->n_put++;
	if (holds(f->out, id))
		return 0;
	TRY(push_text(&f->out->origins, f->out->ids.n, origin, f->err));
	if (vec_push(&f->out->ids, (int32_t)id, f->err)) {
		free(f->out->origins[f->out->ids.n]);
		return f->err->code;
	}
	return 0;
fail:
	return f->err->code;
}

/* ---- what the checkpoint declares ------------------------------------------------------- */

/* An id or a list of them; null is none. */
static int put_ids(struct finding *f, const json_t *value, const char *origin)
{
	if (!value || json_is_null(value))
		return 0;
	if (json_is_integer(value))
		return put(f, ERR_INPUT, json_integer_value(value), origin);
	if (!json_is_array(value))
		return err_set(f->err, ERR_INPUT,
			"%s: eos_token_id: expected an id or a list of them, found %s", origin,
			json_kind(value));
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *id = json_array_get(value, i);

		if (!json_is_integer(id))
			return err_set(f->err, ERR_INPUT,
				"%s: eos_token_id: expected ids, found %s", origin, json_kind(id));
		if (put(f, ERR_INPUT, json_integer_value(id), origin))
			return f->err->code;
	}
	return 0;
}

/* Of config.json: its own, or that of the text model inside. */
static int put_of_model(struct finding *f)
{
	static const char *const inner[] = {"decoder", "generator", "text_config"};
	const json_t *own = json_object_get(f->model, "eos_token_id");

	if (own && !json_is_null(own))
		return put_ids(f, own, MODEL);
	for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
		const json_t *config = json_object_get(f->model, inner[i]);
		char origin[64];

		if (!json_is_object(config) || json_object_size(config) == 0)
			continue;
		snprintf(origin, sizeof origin, "%s, %s", MODEL, inner[i]);
		return put_ids(f, json_object_get(config, "eos_token_id"), origin);
	}
	return 0;
}

/* The eos_token of the tokenizer; of a folder that names none, the family's. */
static int put_eos_token(struct finding *f)
{
	const char *eos = tokenizer_special(f->m->tok, "eos_token");

	if (eos)
		return put(f, ERR_INPUT, tokenizer_id(f->m->tok, eos), "the tokenizer's eos_token");
	return f->chat->eos >= 0 ? put(f, ERR_INPUT, f->chat->eos, "the template's eos_token") : 0;
}

static int put_of_template(struct finding *f)
{
	char origin[128];

	snprintf(origin, sizeof origin, "the template %.100s", f->chat->name);
	for (size_t i = 0; i < f->chat->n_stop; i++)
		if (put(f, ERR_INPUT, f->chat->stop[i], origin))
			return f->err->code;
	return 0;
}

static int note(struct finding *f, const char *text)
{
	if (push_text(&f->out->notes, f->out->n_notes, text, f->err))
		return f->err->code;
	f->out->n_notes++;
	return 0;
}

/* A token that `generate` does not stop at, though whoever reads the tokenizer or the template
 * would expect it to. */
static int note_missing(struct finding *f, int32_t id, const char *what)
{
	const char *token = tokenizer_spelling(f->m->tok, id);
	char text[1024];

	if (!token || holds(f->out, id))
		return 0;
	snprintf(text, sizeof text,
		"%s \"%.200s\" (%d) is not among them, and does not end a reply, as in transformers' "
		"generate; generate.stop = [\"checkpoint\", \"%.200s\"] adds it",
		what, token, id, token);
	return note(f, text);
}

/* What stands behind the user's turn ends a turn, if it is one of the tokens known for that. */
static int end_of_turn(struct finding *f, int32_t *id)
{
	static const char *const known[] = {"<|eot_id|>", "<end_of_turn>", "<|im_end|>"};

	*id = -1;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strncmp(f->chat->suffix, known[i], strlen(known[i])) == 0)
			*id = tokenizer_id(f->m->tok, known[i]);
	return *id >= 0;
}

static int note_what_is_missing(struct finding *f)
{
	const char *eos = tokenizer_special(f->m->tok, "eos_token");
	const int32_t token = eos ? tokenizer_id(f->m->tok, eos) : -1;
	int32_t turn;

	if (eos && note_missing(f, token, "the tokenizer's eos_token"))
		return f->err->code;
	if (end_of_turn(f, &turn) && turn != token)
		return note_missing(f, turn, "the template's end-of-turn token");
	return 0;
}

static int note_none(struct finding *f)
{
	return note(f,
		f->generation
			? "generation_config.json declares no eos_token_id: transformers' generate "
			  "would not stop; generate.stop = \"none\" does not either"
			: "the checkpoint declares no eos_token_id: transformers' generate would not "
			  "stop; generate.stop = \"none\" does not either");
}

static int put_of_checkpoint(struct finding *f)
{
	const size_t n_before = f->n_put;
	static const char stop_strings[] = "stop_strings";
	const json_t *strings = json_object_get(f->generation, stop_strings);

	if (strings && !json_is_null(strings))
		return err_set(f->err, ERR_INPUT,
			"%s: %s: texts that end a reply are not supported; generate.stop = [\"TOKEN\", "
			"...] gives tokens",
			GENERATION, stop_strings);
	TRY(f->generation ? put_ids(f, json_object_get(f->generation, "eos_token_id"), GENERATION)
			  : put_of_model(f));
	if (f->n_put > n_before)
		return 0;
	TRY(put_of_model(f));
	TRY(put_eos_token(f));
	TRY(put_of_template(f));
	return note_none(f);
fail:
	return f->err->code;
}

/* ---- generate.stop ---------------------------------------------------------------------- */

static bool is_id(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

/* A text that is one token, or an id. */
static int put_given(struct finding *f, const char *text)
{
	struct token_ids ids = {0};
	int rc;

	if (is_id(text))
		return put(f, ERR_CONFIG, strtoll(text, NULL, 10), "generate.stop");
	if (tokenizer_encode(f->m->tok, text, strlen(text), &ids, f->err))
		rc = err_prefix(f->err, "generate.stop");
	else if (ids.n != 1)
		rc = err_set(f->err, ERR_CONFIG,
			"generate.stop: expected checkpoint, template, eos, none, ids, or texts of one "
			"token; \"%s\" has %zu",
			text, ids.n);
	else
		rc = put(f, ERR_CONFIG, ids.data[0], "generate.stop");
	free(ids.data);
	return rc;
}

static int put_item(struct finding *f, const struct text_list *items, const char *item)
{
	if (strcmp(item, "checkpoint") == 0)
		return put_of_checkpoint(f);
	if (strcmp(item, "template") == 0)
		return put_of_template(f);
	if (strcmp(item, "eos") == 0)
		return put_eos_token(f);
	if (strcmp(item, "none") != 0)
		return put_given(f, item);
	if (items->n == 1)
		return 0;
	return err_set(f->err, ERR_CONFIG,
		"generate.stop: expected nothing beside \"none\", found %zu values", items->n);
}

static int read_file(struct finding *f, const char *name, json_t **out)
{
	char *path = path_join(f->folder, name);

	err_clear(f->err);
	if (!path)
		return err_nomem(f->err, name, strlen(f->folder));
	if (file_exists(path))
		json_read(out, path, f->err);
	free(path);
	return f->err->code;
}

int stop_tokens_find(struct stop_tokens *stop, const struct config *c, const struct machine *m,
	const struct chat_template *chat, struct err *err)
{
	const struct text_list *items = &c->generate.stop;
	struct finding f = {.out = stop,
		.m = m,
		.chat = chat,
		.folder = m->folder.base,
		.err = err};

	*stop = (struct stop_tokens){0};
	err_clear(err);
	if (text_list_holds(items, "checkpoint")) {
		TRY(read_file(&f, GENERATION, &f.generation));
		TRY(read_file(&f, MODEL, &f.model));
	}
	for (size_t i = 0; i < items->n; i++)
		TRY(put_item(&f, items, items->items[i]));
	if (text_list_holds(items, "checkpoint"))
		TRY(note_what_is_missing(&f));
fail:
	json_decref(f.generation);
	json_decref(f.model);
	return err->code;
}

/* As C writes it. */
static const char *quoted(const char *s, char *buffer, size_t size)
{
	size_t n = 0;

	for (; *s && n + 5 < size; s++) {
		const unsigned char c = (unsigned char)*s;

		if (c == '\n')
			n += (size_t)snprintf(buffer + n, size - n, "\\n");
		else if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(buffer + n, size - n, "\\x%02x", c);
		else
			buffer[n++] = *s;
	}
	buffer[n] = '\0';
	return buffer;
}

void stop_tokens_log(const struct stop_tokens *stop, const struct tokenizer *tok)
{
	if (stop->ids.n == 0)
		log_info("stop       none: every reply is generate.max_new_tokens long");
	for (size_t i = 0; i < stop->ids.n; i++) {
		const char *spelling = tokenizer_spelling(tok, stop->ids.data[i]);
		char buffer[256];

		log_info("stop       token %d \"%s\", from %s", stop->ids.data[i],
			quoted(spelling ? spelling : "", buffer, sizeof buffer), stop->origins[i]);
	}
	for (size_t i = 0; i < stop->n_notes; i++)
		log_info("           %s", stop->notes[i]);
}

static void free_list(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void stop_tokens_free(struct stop_tokens *stop)
{
	free_list(stop->origins, stop->ids.n);
	free_list(stop->notes, stop->n_notes);
	free(stop->ids.data);
	*stop = (struct stop_tokens){0};
}
