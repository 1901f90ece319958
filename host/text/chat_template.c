/* SPDX-License-Identifier: MIT
 *
 * chat_template.c - Contract: chat_template.h. Tests: tests/test_chat_template.c.
 */
#include "host/text/chat_template.h"

#include "host/base/file.h"
#include "host/text/chat_conversation.h"
#include "host/text/chat_declared.h"
#include "host/text/jinja/jinja.h"
#include "host/text/strip.h"

#include <stdio.h>

static int copy(char **out, const char *text, struct err *err)
{
	*out = strdup(text);
	return *out ? 0 : err_nomem(err, text, strlen(text));
}

/* ---- fixed ------------------------------------------------------------------------------- */

/* The day of a template that asks for one. */
static int take_date(struct chat_template *t, const struct chat_options *o, struct err *err)
{
	if (*o->date && !jinja_is_date(o->date))
		return err_set(err, ERR_CONFIG,
			"model.date: expected a day YYYY-MM-DD, found \"%s\"", o->date);
	return copy(&t->date, *o->date ? o->date : CHAT_DATE, err);
}

static int check_date(const struct chat_template *t, const struct chat_options *o, struct err *err)
{
	if (*o->date && !(t->jinja && jinja_mentions(t->jinja, "strftime_now")))
		return err_set(err, ERR_CONFIG,
			"model.date: expected none for the template of %s, which does not ask for the "
			"day (strftime_now)",
			t->name);
	return 0;
}

static int check_marker(const struct chat_family *f, const struct tokenizer *tok, struct err *err)
{
	if (f->marker && tokenizer_id(tok, f->marker) < 0)
		return err_set(err, ERR_CONFIG,
			"model.template: expected a tokenizer with the token %s for the template "
			"%s",
			f->marker, f->name);
	return 0;
}

/* No template is declared, or none of that name. `declared`: names of those that are, NULL = no
 * list of them. */
static int refuse(const char *name, const char *declared, const char *model_type, struct err *err)
{
	struct text names = {0};

	err_clear(err);
	TRY(chat_family_names(&names, err));
	if (strcmp(name, "auto") != 0)
		err_set(err, ERR_CONFIG,
			"model.template: expected auto, a file that ends in .jinja, a template that "
			"the checkpoint declares (%s), or one of %s; found \"%s\"",
			declared ? declared : "by names, none", names.data, name);
	else if (declared)
		err_set(err, ERR_CONFIG,
			"model.template: expected the name of one of the chat templates that the "
			"checkpoint declares, of which none is the default: %s",
			declared);
	else
		err_set(err, ERR_CONFIG,
			"model.template: the checkpoint declares no chat template (no "
			"chat_template.jinja, no chat_template in tokenizer_config.json), and a %s "
			"model may be wrapped in many ways: expected one of %s, a file that ends in "
			".jinja, or model.prefix and model.suffix",
			model_type, names.data);
fail:
	free(names.data);
	return err->code;
}

static int fill_family(struct chat_template *t, const struct chat_options *o, struct err *err)
{
	const bool named = strcmp(o->name, "auto") != 0;

	t->takes_system = t->family->system_before != NULL;
	TRY(chat_family_wrap(&t->wrap, t->family, o->system, err));
	TRY(copy(&t->name, t->family->name, err));
	return copy(&t->origin,
		named ? "model.template" : "by model type: the checkpoint declares none", err);
fail:
	return err->code;
}

static int fill_custom(struct chat_template *t, const struct chat_family *f,
	const struct chat_options *o, struct err *err)
{
	const char *start = f ? f->start : "";

	if (*o->system)
		return err_set(err, ERR_CONFIG,
			"model.system: expected none beside model.prefix, which can hold it");
	TRY(copy(&t->wrap.prefix, o->prefix, err));
	TRY(copy(&t->wrap.suffix, o->suffix, err));
	TRY(copy(&t->wrap.released_prefix,
		strncmp(o->prefix, start, strlen(start)) == 0 ? start : "", err));
	TRY(copy(&t->name, "custom", err));
	return copy(&t->origin, "model.prefix, model.suffix", err);
fail:
	return err->code;
}

static int take_wrap(struct chat_template *t, struct err *err)
{
	struct text suffix = {0};

	TRY(copy(&t->prefix, t->wrap.prefix, err));
	TRY(copy(&t->released_prefix, t->wrap.released_prefix, err));
	TRY(vec_append(&suffix, t->wrap.suffix, strlen(t->wrap.suffix), err));
	TRY(vec_append(&suffix, t->prefill, strlen(t->prefill) + 1, err));
	t->suffix = suffix.data;
	return 0;
fail:
	free(suffix.data);
	return err->code;
}

/* One turn in the wrapping of a family, whose system text may be the request's own. */
static int render_fixed(const struct chat_template *t, const struct chat_request *r,
	struct text *out, struct err *err)
{
	struct chat_wrap own = {0};

	err_clear(err);
	if (r->messages) {
		err_set(err, ERR_INPUT,
			"expected a prompt of one turn for the template %s, found messages; they "
			"need a "
			"chat template that the checkpoint declares, or model.template = "
			"\"FILE.jinja\"",
			t->name);
		goto fail;
	}
	if (r->system && !t->takes_system) {
		err_set(err, ERR_INPUT,
			"expected no system text, the template %s has no place for it", t->name);
		goto fail;
	}
	if (r->system)
		TRY(chat_family_wrap(&own, t->family, r->system, err));
	TRY(chat_wrap_render(r->system ? &own : &t->wrap, r->text, out, err));
	TRY(vec_append(out, t->prefill, strlen(t->prefill), err));
fail:
	chat_wrap_free(&own);
	return err->code;
}

/* ---- declared ---------------------------------------------------------------------------- */

static int render_declared(const struct chat_template *t, const struct chat_request *r,
	struct text *out, struct err *err)
{
	const char *system = r->system ? r->system : t->system;
	struct chat_conversation c = {0};
	const size_t start = out->n;

	err_clear(err);
	if (r->system && !t->takes_system) {
		err_set(err, ERR_INPUT,
			"expected no system text, the template of %s has no place for it", t->name);
		goto fail;
	}
	if (r->messages)
		TRY(chat_conversation_parse(&c, r->messages, system, err));
	else
		TRY(chat_conversation_of(&c, r->text, system, err));
	if (c.begun && *t->prefill) {
		err_set(err, ERR_INPUT,
			"expected messages that end with the user's beside model.prefill, found "
			"the assistant's: two beginnings of the reply");
		goto fail;
	}
	TRY(chat_conversation_render(&c, t->jinja, t->variables, t->date, out, err));
	if (r->messages)
		TRY(chat_conversation_check(&c, t->jinja, t->variables, t->date, out, start, err));
	TRY(vec_append(out, t->prefill, strlen(t->prefill), err));
fail:
	chat_conversation_free(&c);
	return err->code;
}

/* Python's word for a value of JSON: a text that templates take for true. */
static bool is_pythons(const char *value)
{
	return strcmp(value, "True") == 0 || strcmp(value, "False") == 0 ||
	       strcmp(value, "None") == 0;
}

/* "NAME=VALUE" */
static int set_variable(const struct chat_template *t, json_t *given, const char *variable,
	struct err *err)
{
	const char *equals = strchr(variable, '=');
	const size_t n = equals ? (size_t)(equals - variable) : 0;
	const size_t skip = space_at_start(variable, n);
	const size_t length = n - skip - space_at_end(variable + skip, n - skip);
	json_t *value;
	char name[128];

	if (length == 0 || length >= sizeof name)
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected NAME=VALUE, found \"%s\"", variable);
	memcpy(name, variable + skip, length);
	name[length] = '\0';
	if (strcmp(name, "messages") == 0 || strcmp(name, "add_generation_prompt") == 0)
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected none that each prompt sets, found \"%s\"",
			name);
	if (json_object_get(given, name))
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected each once, found \"%s\" twice", name);
	if (!jinja_mentions(t->jinja, name))
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected variables that the template of %s "
			"reads, found \"%s\"",
			t->name, name);
	equals += 1 + space_at_start(equals + 1, strlen(equals + 1));
	if (is_pythons(equals))
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected true, false, null, or \"%s\" in quotes for "
			"the text, found %s=%s",
			equals, name, equals);
	if (json_parse_any(&value, name, equals, err) == ERR_DEVICE)
		return err->code;
	err_clear(err);
	if (!value)
		value = json_string(equals);
	if (json_object_set_new(given, name, value))
		return err_nomem(err, variable, strlen(variable));
	return 0;
}

/* What transformers hands to a template: the tokenizer's special tokens by name, no tools, no
 * documents; and what the config sets. */
static int set_variables(struct chat_template *t, const struct chat_options *o,
	const struct tokenizer *tok, struct err *err)
{
	json_t *given = json_object();

	err_clear(err);
	t->variables = json_pack("{s:n, s:n}", "tools", "documents");
	for (size_t i = 0; t->variables && i < tokenizer_n_special(tok); i++) {
		const char *name = tokenizer_special_name(tok, i);

		if (json_object_set_new(t->variables, name,
			    json_string(tokenizer_special(tok, name))))
			err_nomem(err, name, strlen(name));
	}
	for (size_t i = 0; err->code == 0 && i < o->n_variables; i++)
		set_variable(t, given, o->variables[i], err);
	if (err->code == 0 && json_object_update(t->variables, given))
		err_nomem(err, "template variables", 0);
	json_decref(given);
	return err->code;
}

/* What stands around the message: what the renderings of two have in common. */
static int find_wrap(struct chat_template *t, struct err *err)
{
	static const char *const probes[2] = {"a plum? 1", "The pear. 2"};
	struct text text[2] = {{0}};
	size_t prefix = 0, suffix = 0, least;

	err_clear(err);
	for (int i = 0; i < 2; i++)
		TRY(render_declared(t, &(struct chat_request){.text = probes[i]}, &text[i], err));
	least = size_min(text[0].n, text[1].n);
	while (prefix < least && text[0].data[prefix] == text[1].data[prefix])
		prefix++;
	while (suffix < least - prefix &&
		text[0].data[text[0].n - 1 - suffix] == text[1].data[text[1].n - 1 - suffix])
		suffix++;
	if (prefix == least) {
		err_set(err, ERR_INPUT,
			"%s: expected a chat template that shows the user's message, found one "
			"that renders \"%.*s\" for any",
			t->path, (int)size_min(text[0].n, 60), text[0].n > 0 ? text[0].data : "");
		goto fail;
	}
	t->prefix = strndup(text[0].data, prefix);
	t->suffix = strndup(text[0].data + text[0].n - suffix, suffix);
	if (!t->prefix || !t->suffix)
		err_nomem(err, t->name, text[0].n);
fail:
	free(text[0].data);
	free(text[1].data);
	return err->code;
}

/* Of no text the bytes are NULL. */
static bool same_text(const struct text *a, const struct text *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->data, b->data, a->n) == 0);
}

/* Whether a system text shows: a template may raise an error at one, or look past it. */
static int find_system(struct chat_template *t, const char *wanted, struct err *err)
{
	const struct chat_request request = {.text = "x"}, with = {.text = "x", .system = "A fig."};
	struct text text[2] = {{0}};
	struct err raised = {0};

	t->takes_system = true; /* so that it is tried */
	TRY(copy(&t->system, "", err));
	TRY(render_declared(t, &request, &text[0], err));
	t->takes_system = render_declared(t, &with, &text[1], &raised) == 0 &&
			  !same_text(&text[0], &text[1]);
	free(text[0].data);
	free(text[1].data);
	if (raised.code == ERR_DEVICE)
		return err_set(err, raised.code, "%s", raised.text);
	if (*wanted && raised.code)
		return err_set(err, ERR_CONFIG, "model.system: %s", raised.text);
	if (*wanted && !t->takes_system)
		return err_set(err, ERR_CONFIG,
			"model.system: expected none, the template of %s has no place for it",
			t->name);
	free(t->system);
	return copy(&t->system, wanted, err);
fail:
	free(text[0].data);
	return err->code;
}

/* The family that wraps a turn in the same way, NULL = none; what the released code does with
 * its prompts then holds for this template too. */
static int find_twin(struct chat_template *t, const struct chat_family *f,
	const struct chat_options *o, const struct tokenizer *tok, struct err *err)
{
	struct chat_wrap wrap = {0};
	struct err no_place = {0};
	int32_t bos;

	err_clear(err);
	if (f && chat_family_wrap(&wrap, f, o->system, &no_place) == ERR_DEVICE) {
		*err = no_place;
		goto fail;
	}
	if (f && no_place.code == 0 && strcmp(wrap.prefix, t->prefix) == 0 &&
		strncmp(wrap.suffix, t->suffix, strlen(wrap.suffix)) == 0 &&
		strcmp(t->suffix + strlen(wrap.suffix), t->prefill) == 0) {
		t->family = f;
		TRY(copy(&t->released_prefix, wrap.released_prefix, err));
	} else {
		bos = tokenizer_bos(tok);
		const char *spelling = bos >= 0 ? tokenizer_spelling(tok, bos) : "";

		TRY(copy(&t->released_prefix,
			strncmp(t->prefix, spelling, strlen(spelling)) == 0 ? spelling : "", err));
	}
fail:
	chat_wrap_free(&wrap);
	return err->code;
}

static int fill_declared(struct chat_template *t, struct chat_declared *d,
	const struct chat_family *f, const struct chat_options *o, const struct tokenizer *tok,
	struct err *err)
{
	char origin[1024];

	snprintf(origin, sizeof origin, "%s%s%s%s",
		strcmp(o->name, "auto") != 0 ? "model.template" : "declared by the checkpoint",
		d->other ? "; not that of " : "", d->other ? d->other : "",
		d->other ? ", which differs" : "");
	TRY(copy(&t->name, d->label, err));
	TRY(copy(&t->path, d->path, err));
	TRY(copy(&t->origin, origin, err));
	TRY(jinja_parse(&t->jinja, d->path, d->source, strlen(d->source), err));
	TRY(set_variables(t, o, tok, err));
	TRY(find_system(t, o->system, err));
	TRY(find_wrap(t, err));
	return find_twin(t, f, o, tok, err);
fail:
	return err->code;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* The template of options->name, if it is one that some file declares. */
static int find_declared(struct chat_declared *d, const struct chat_options *o, struct err *err)
{
	const bool automatic = strcmp(o->name, "auto") == 0;

	*d = (struct chat_declared){0};
	if (o->prefix || chat_family_named(o->name))
		return 0;
	if (path_has_extension(o->name, ".jinja"))
		return chat_declared_read(d, o->name, err);
	if (!o->folder)
		return 0;
	return chat_declared_find(d, o->folder, automatic ? NULL : o->name, err);
}

/* The family to be used where no template is declared; NULL = none. */
static const struct chat_family *choose_family(const struct chat_options *o, const char *model_type,
	const struct chat_family *by_model)
{
	if (strcmp(o->name, "auto") != 0)
		return chat_family_named(o->name);
	if (o->prefix && !by_model)
		return chat_family_named("plain");
	return o->prefix || strcmp(model_type, "llama") != 0 ? by_model : NULL;
}

static int fill_fixed(struct chat_template *t, const struct chat_family *f,
	const struct chat_options *o, const char *declared, const char *model_type,
	const struct tokenizer *tok, struct err *err)
{
	if (o->prefix && !f)
		return err_set(err, ERR_CONFIG,
			"model.template: expected auto or a fixed family beside model.prefix, which takes "
			"the place of a template, found \"%s\"",
			o->name);
	if (!o->prefix && (!f || (declared && strcmp(o->name, f->name) != 0)))
		return refuse(o->name, declared, model_type, err);
	if (o->n_variables > 0)
		return err_set(err, ERR_CONFIG,
			"model.template_variables: expected none for %s, which is not a template "
			"that reads variables",
			o->prefix ? "model.prefix and model.suffix" : f->name);
	TRY(check_marker(f, tok, err));
	t->family = o->prefix ? NULL : f;
	if (o->prefix)
		TRY(fill_custom(t, f, o, err));
	else
		TRY(fill_family(t, o, err));
	return take_wrap(t, err);
fail:
	return err->code;
}

static void find_ends(struct chat_template *t, const struct chat_family *f,
	const struct tokenizer *tok)
{
	if (!f)
		f = chat_family_named("plain");
	t->n_stop = chat_family_stop(f, tok, t->stop);
	t->eos = chat_family_eos(f, tok);
}

/* How many tokens of the prefix are `bos`. */
static int count_bos(const struct chat_template *t, const struct tokenizer *tok, int32_t bos,
	size_t *n, struct err *err)
{
	struct token_ids ids = {0};

	*n = 0;
	if (tokenizer_encode(tok, t->prefix, strlen(t->prefix), &ids, err)) {
		free(ids.data);
		return err_prefix(err, "%s", t->jinja ? t->name : "model.prefix");
	}
	for (size_t i = 0; i < ids.n; i++)
		*n += ids.data[i] == bos;
	free(ids.data);
	return 0;
}

/* Decides which BOS token is added. `f`: the family of whose wrapping this is, if any. */
static int settle_bos(struct chat_template *t, const struct chat_family *f, const char *how,
	const struct tokenizer *tok, struct err *err)
{
	const bool released = strcmp(how, "released") == 0, automatic = strcmp(how, "auto") == 0;
	const bool twice = strcmp(how, "double") == 0 || (released && f && f->released_bos_twice);
	const int32_t wanted = tokenizer_bos(tok);
	const int32_t bos = wanted >= 0      ? wanted
			    : f && *f->start ? tokenizer_id(tok, f->start)
					     : -1;
	bool added; /* where none is spelled */
	size_t n;   /* spelled in the prefix */

	if (count_bos(t, tok, bos, &n, err))
		return err->code;
	if (n > 1 && !twice && !t->jinja)
		return err_set(err, ERR_CONFIG,
			"model.prefix: expected one %s token, found %zu; model.bos = \"double\" "
			"allows two",
			tokenizer_spelling(tok, bos), n);
	if (n == 0 && twice)
		return err_set(err, ERR_CONFIG,
			"model.bos: expected a template with a BOS token to double, found none in "
			"%s",
			t->name);
	added = n == 0 && (strcmp(how, "one") == 0 || ((automatic || released) && !t->jinja));
	if (added && tokenizer_bos_doubt(tok))
		return err_set(err, ERR_CONFIG,
			"model.bos: expected \"none\", or a template that spells its BOS token, for %s",
			tokenizer_bos_doubt(tok));
	t->bos = twice && n == 1 ? bos : added ? wanted : -1;
	return 0;
}

int chat_template_open(struct chat_template **out, const struct chat_options *o,
	const char *model_type, bool llama3_rope, const struct tokenizer *tok, struct err *err)
{
	const struct chat_family *by_model = chat_family_of(model_type, llama3_rope, tok);
	const struct chat_family *family = choose_family(o, model_type, by_model);
	struct chat_declared declared;
	struct chat_template *t;

	*out = NULL;
	err_clear(err);
	if (!o->prefix != !o->suffix)
		return err_set(err, ERR_CONFIG,
			"model.prefix, model.suffix: expected both or none, found only model.%s",
			o->prefix ? "prefix" : "suffix");
	t = calloc(1, sizeof *t);
	if (!t)
		return err_nomem(err, "a chat template", sizeof *t);
	TRY(find_declared(&declared, o, err));
	TRY(copy(&t->prefill, o->prefill, err));
	TRY(take_date(t, o, err));
	if (declared.source) {
		TRY(fill_declared(t, &declared, by_model, o, tok, err));
		family = t->family ? t->family : by_model;
	} else {
		TRY(fill_fixed(t, family, o, declared.names, model_type, tok, err));
	}
	TRY(check_date(t, o, err));
	TRY(settle_bos(t, t->jinja ? t->family : family, o->bos, tok, err));
	find_ends(t, family, tok);
	*out = t;
fail:
	chat_declared_free(&declared);
	if (err->code)
		chat_template_close(t);
	return err->code;
}

void chat_template_close(struct chat_template *t)
{
	if (!t)
		return;
	jinja_free(t->jinja);
	json_decref(t->variables);
	chat_wrap_free(&t->wrap);
	free(t->name);
	free(t->origin);
	free(t->path);
	free(t->prefix);
	free(t->suffix);
	free(t->released_prefix);
	free(t->system);
	free(t->prefill);
	free(t->date);
	free(t);
}

/* ---- rendering ------------------------------------------------------------------------- */

int chat_template_render(const struct chat_template *t, const struct chat_request *request,
	struct text *text, struct err *err)
{
	return t->jinja ? render_declared(t, request, text, err)
			: render_fixed(t, request, text, err);
}

static int encode(const struct chat_template *t, const struct tokenizer *tok, const char *s,
	size_t n, struct token_ids *ids, struct err *err)
{
	if (t->bos >= 0 && vec_push(ids, t->bos, err))
		return err->code;
	return tokenizer_encode(tok, s, n, ids, err);
}

int chat_template_encode(const struct chat_template *t, const struct tokenizer *tok,
	const struct chat_request *request, struct token_ids *ids, struct err *err)
{
	struct text text = {0};
	int rc = chat_template_render(t, request, &text, err);

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
