/* SPDX-License-Identifier: MIT
 *
 * sae_site.c - Contract: sae_site.h. Sources: the configs and repositories of the publishers that
 * the formats name (sae_gemma_scope.c and its neighbours); SAELens,
 * sae_lens/loading/pretrained_sae_loaders.py, for the hooks that Gemma Scope's folders stand for.
 */
#include "host/model/sae_site.h"

#include "host/base/file.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names of hooks ---------------------------------------------------------------------- */

static const char RESID_PRE[] = "resid_pre";

/* What follows the number of the block, without ".output". Hugging Face's post_attention_layernorm
 * is not among them: it comes before the MLP in Llama and behind attention in Gemma. */
static const struct {
	const char *hook, *place;
} transformer_lens[] = {{"hook_resid_pre", RESID_PRE}, {"hook_resid_mid", "resid_mid"},
	{"hook_resid_post", "resid_post"}, {"attn.hook_z", "z"}, {"hook_attn_out", "attn_out"},
	{"ln2.hook_normalized", "mlp_in"}, {"hook_mlp_in", "mlp_in"}, {"hook_mlp_out", "mlp_out"}},
  hugging_face[] = {{"", "resid_post"}, {"input", RESID_PRE}, {"self_attn.o_proj.input", "z"},
	  {"self_attn.o_proj", "attn_out"}, {"self_attn", "attn_out"},
	  {"pre_feedforward_layernorm", "mlp_in"}, {"mlp.input", "mlp_in"}, {"mlp", "mlp_out"},
	  {"post_feedforward_layernorm", "mlp_out"}};

static const char *place_of(bool of_lens, const char *rest)
{
	const size_t n = of_lens ? sizeof transformer_lens / sizeof *transformer_lens
				 : sizeof hugging_face / sizeof *hugging_face;

	for (size_t i = 0; i < n; i++) {
		const char *hook = of_lens ? transformer_lens[i].hook : hugging_face[i].hook;

		if (strcmp(rest, hook) == 0)
			return of_lens ? transformer_lens[i].place : hugging_face[i].place;
	}
	return rest;
}

/* A number of at most six digits, and *at behind it. */
static bool take_number(const char **at, size_t *out)
{
	const size_t n = strspn(*at, "0123456789");

	if (n == 0 || n > 6)
		return false;
	*out = (size_t)strtoul(*at, NULL, 10);
	*at += n;
	return true;
}

/* What is behind "blocks." or "layers.", which begins the name or follows a point; else NULL. */
static const char *behind(const char *name, const char *word)
{
	for (const char *at = name; (at = strstr(at, word)); at++)
		if (at == name || at[-1] == '.')
			return at + strlen(word);
	return NULL;
}

struct sae_where sae_where_of_hook(const char *name)
{
	struct sae_where w = {.has_layer = true};
	const char *at = behind(name, "blocks.");
	const bool of_lens = at != NULL;
	char rest[64];
	size_t n;

	at = at ? at : behind(name, "layers.");
	if (!at || !take_number(&at, &w.block) || (*at && *at != '.')) {
		w = (struct sae_where){0};
		snprintf(w.place, sizeof w.place, "%s", name);
		return w;
	}
	snprintf(rest, sizeof rest, "%s", *at ? at + 1 : at);
	n = strlen(rest);
	if (!of_lens && strcmp(rest, "output") == 0)
		rest[0] = '\0';
	else if (!of_lens && n > 7 && strcmp(rest + n - 7, ".output") == 0)
		rest[n - 7] = '\0';
	w.layer = w.block;
	snprintf(w.place, sizeof w.place, "%s", place_of(of_lens, rest));
	if (strcmp(w.place, RESID_PRE) == 0 && w.block > 0) {
		w.layer--;
		snprintf(w.place, sizeof w.place, "%s", site_places[SITE_RESID_POST].word);
	}
	return w;
}

/* ---- names of folders -------------------------------------------------------------------- */

/* Of a repository gemma-scope-SIZE-KIND-PLACE: the one of its parts that is a place. */
static const char *place_of_gemma_scope(const char *name)
{
	static const char *const parts[][2] = {{"res", "resid_post"}, {"mlp", "mlp_out"},
		{"att", "z"}, {"transcoders", "transcoder"}};
	const char *at = strstr(name, "gemma-scope-"), *place = "";
	size_t n;

	for (; at && *at; at += n + (at[n] == '-')) {
		n = strcspn(at, "-");
		for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
			if (strlen(parts[i][0]) == n && memcmp(at, parts[i][0], n) == 0)
				place = parts[i][1];
	}
	return place;
}

static const char *place_of_gemma_scope_2(const char *name)
{
	static const char *const places[] = {"resid_post", "attn_out", "mlp_out", "transcoder",
		"crosscoder", "clt"};

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		const size_t n = strlen(places[i]);

		if (strncmp(name, places[i], n) == 0 && (!name[n] || strcmp(name + n, "_all") == 0))
			return places[i];
	}
	return "";
}

/* L, a number or X, letters, and then `end`; a folder of lm_saes is that alone. */
static bool take_llama_scope(const char *at, char end, struct sae_where *w)
{
	static const char *const letters[][2] = {{"R", "resid_post"}, {"A", "attn_out"},
		{"M", "mlp_out"}, {"TC", "transcoder"}};

	if (*at++ != 'L')
		return false;
	w->has_layer = *at != 'X';
	if (!w->has_layer)
		at++;
	else if (!take_number(&at, &w->block))
		return false;
	for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
		const size_t n = strlen(letters[i][0]);

		if (strncmp(at, letters[i][0], n) == 0 && at[n] == end) {
			snprintf(w->place, sizeof w->place, "%s", letters[i][1]);
			w->layer = w->block;
			return true;
		}
	}
	return false;
}

static bool is_hook(const char *name)
{
	return strncmp(name, "blocks.", 7) == 0 || strncmp(name, "layers.", 7) == 0 ||
	       strncmp(name, "model.layers.", 13) == 0;
}

struct sae_where sae_where_of_folder(const char *name)
{
	struct sae_where w = {0};
	const char *at = name;

	if (is_hook(name)) { /* dictionary_learning's folders add __trainer_0 */
		char hook[256];

		snprintf(hook, sizeof hook, "%s", name);
		if (strstr(hook, "__"))
			*strstr(hook, "__") = '\0';
		return sae_where_of_hook(hook);
	}
	if (take_llama_scope(name, '\0', &w))
		return w;
	while ((at = strstr(at, "-L")))
		if (take_llama_scope(++at, '-', &w))
			return w;
	w = (struct sae_where){0};
	if (strncmp(name, "layer_", 6) == 0) {
		at = name + 6;
		w.has_layer = take_number(&at, &w.block) && (!*at || *at == '_');
		w.layer = w.block;
	}
	snprintf(w.place, sizeof w.place, "%s", place_of_gemma_scope_2(name));
	if (!*w.place)
		snprintf(w.place, sizeof w.place, "%s", place_of_gemma_scope(name));
	return w;
}

bool sae_where_is(const struct sae_where *where, struct site site)
{
	return where->has_layer && where->layer == site.layer &&
	       strcmp(where->place, site_places[site.place].word) == 0;
}

/* ---- what a config says ------------------------------------------------------------------ */

/* Of a hook, "mlp_out of layer 3". Returns buffer. */
static const char *in_words(const struct sae_where *w, char *buffer, size_t size)
{
	if (*w->place && w->has_layer)
		snprintf(buffer, size, "%s of layer %zu", w->place, w->layer);
	else if (*w->place)
		snprintf(buffer, size, "%s", w->place);
	else
		snprintf(buffer, size, "layer %zu", w->layer);
	return buffer;
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int check_hook(struct sae_file *file, struct site site, const char *path, const char *key,
	const char *hook, struct err *err)
{
	const struct sae_where w = sae_where_of_hook(hook);
	char found[128];

	if (!sae_where_is(&w, site))
		return err_set(err, ERR_INPUT,
			"%s: %s: expected a hook of %s of layer %zu, where the engine reads and "
			"clamps, found \"%s\"%s%s",
			path, key, site_places[site.place].word, site.layer, hook,
			w.has_layer ? ", which is " : "",
			w.has_layer ? in_words(&w, found, sizeof found) : "");
	if (!*file->said.by) {
		snprintf(file->said.by, sizeof file->said.by, "%s of %s is \"%s\"", key,
			name_of(path), hook);
		file->said.block = w.block;
	}
	return 0;
}

/* What an object says. SAELens has its keys at the top before version 6, then in `metadata`. */
static int check_object(struct sae_file *file, const json_t *object, const char *path,
	struct err *err)
{
	static const struct {
		const char *key;
		bool written;
	} hooks[] = {{"hook_point", false}, {"hook_name", false}, {"hook_point_in", false},
		{"hf_hook_point_in", false}, {"hookpoint", false}, {"hook_name_out", true},
		{"hook_point_out", true}, {"hf_hook_point_out", true}};
	static const char *const layers[] = {"hook_point_layer", "hook_layer"};
	static const char *const heads[] = {"hook_point_head_index", "hook_head_index"};
	const char *model = "";

	for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
		const char *hook = "";

		TRY(json_get_text(object, path, hooks[i].key, &hook, err));
		if (*hook)
			TRY(check_hook(file, hooks[i].written ? file->writes : file->reads, path,
				hooks[i].key, hook, err));
	}
	for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
		const size_t expected = *file->said.by ? file->said.block : file->reads.layer;
		int64_t layer = (int64_t)expected;

		TRY(json_get_int(object, path, layers[i], &layer, err));
		if (layer != (int64_t)expected)
			return err_set(err, ERR_INPUT, "%s: %s: expected %zu%s%s, found %lld", path,
				layers[i], expected, *file->said.by ? ", as " : "", file->said.by,
				(long long)layer);
	}
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		int64_t head = -1;

		TRY(json_get_int(object, path, heads[i], &head, err));
		if (head >= 0)
			return err_set(err, ERR_INPUT,
				"%s: %s: expected none, an SAE of the whole width, found head %lld",
				path, heads[i], (long long)head);
	}
	TRY(json_get_text(object, path, "model_name", &model, err));
	if (*model)
		snprintf(file->said.model, sizeof file->said.model, "%s", model);
	return 0;
fail:
	return err->code;
}

int sae_site_check_config(struct sae_file *file, const json_t *cfg, const char *path,
	struct err *err)
{
	const json_t *metadata;

	if (json_get_object(cfg, path, "metadata", &metadata, err) ||
		check_object(file, cfg, path, err))
		return err->code;
	return metadata ? check_object(file, metadata, path, err) : 0;
}

/* ---- what folders say -------------------------------------------------------------------- */

/* What a folder is expected to be of: that, and who says so. */
static int refuse_folder(const struct sae_file *file, const char *folder, const char *name,
	const struct sae_where *w, struct err *err)
{
	char found[128];

	return err_set(err, ERR_INPUT,
		"%s: expected a folder of %s of layer %zu%s%s%s, found \"%s\", which is of %s",
		folder, site_places[file->reads.place].word, file->reads.layer,
		*file->said.by ? " (" : "", file->said.by, *file->said.by ? ")" : "", name,
		in_words(w, found, sizeof found));
}

/* Folders from the innermost outwards. That of a layer is one below `shared`, the length of the
 * part of the path that all layers have. */
static int check_folders(struct sae_file *file, char *path, size_t shared, struct err *err)
{
	const size_t asked = *file->said.by ? file->said.block : file->reads.layer;
	bool place_known = false, layer_known = false;
	char folder[PATH_MAX];

	snprintf(folder, sizeof folder, "%s", path);
	for (char *slash; (slash = strrchr(path, '/')) && !(place_known && layer_known);
		*slash = '\0') {
		const struct sae_where w = sae_where_of_folder(slash + 1);
		const bool own = (size_t)(slash - path) >= shared;

		if (*w.place && !place_known) {
			const char *word = site_places[file->reads.place].word;

			place_known = true;
			if (strcmp(w.place, word) != 0)
				return refuse_folder(file, folder, slash + 1, &w, err);
			if (!*file->said.by)
				snprintf(file->said.by, sizeof file->said.by,
					"the folder's name is \"%s\"", slash + 1);
		}
		if (w.has_layer && own && !layer_known) {
			layer_known = true;
			if (*w.place ? w.layer != file->reads.layer : w.block != asked)
				return refuse_folder(file, folder, slash + 1, &w, err);
		}
	}
	return 0;
}

/* Links are followed: under the name that a user gave may lie a repository with its own. */
static int check_names(struct sae_file *file, struct err *err)
{
	char *root, *folder;
	char below[SAE_PATH];
	bool no_memory;
	size_t shared;
	int rc = 0;

	snprintf(below, sizeof below, "%.*s",
		(int)(strlen(file->path) - strlen(file->format->file_name) - 1), file->path);
	root = realpath(file->options->path, NULL);
	no_memory = !root && errno == ENOMEM;
	folder = realpath(below, NULL);
	no_memory = no_memory || (!folder && errno == ENOMEM);
	shared = root ? strlen(root) : 0;
	if (no_memory) {
		free(root);
		free(folder);
		return err_nomem(err, below, strlen(below));
	}
	if (!folder)
		shared = 0;
	else if (!root || strncmp(folder, root, shared) != 0)
		shared = 0;
	if (folder)
		rc = check_folders(file, folder, shared, err);
	free(root);
	free(folder);
	return rc;
}

int sae_site_check(struct sae_file *file, struct err *err)
{
	char path[SAE_PATH] = "";
	json_t *cfg = NULL;
	int rc = 0;

	if (file->format->config_name)
		sae_config_path(file, path);
	if (*path && file_exists(path)) {
		if (json_read(&cfg, path, err))
			return err->code;
		rc = sae_site_check_config(file, cfg, path, err);
		json_decref(cfg);
	}
	return rc ? rc : check_names(file, err);
}

/* ---- what lies there instead ------------------------------------------------------------- */

struct others {
	const char *wanted;
	char name[256];
	struct sae_where where;
};

static int offer_other(void *context, const char *name, struct err *err)
{
	struct others *o = context;
	const struct sae_where w = sae_where_of_folder(name);

	(void)err;
	if (!*w.place || strcmp(w.place, o->wanted) == 0)
		return 0;
	snprintf(o->name, sizeof o->name, "%s", name);
	o->where = w;
	return 1;
}

const char *sae_site_others(const struct sae_options *options, char *buffer, size_t size)
{
	struct others o = {.wanted = site_places[options->place].word};
	struct err ignored;
	char words[128];

	buffer[0] = '\0';
	if (sae_folders(options->path, offer_other, &o, &ignored) == 1)
		snprintf(buffer, size, ", but \"%s\", which is of %s", o.name,
			in_words(&o.where, words, sizeof words));
	return buffer;
}
