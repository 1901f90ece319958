/* SPDX-License-Identifier: MIT
 *
 * chat_declared.c - Contract: chat_declared.h. Tests: tests/test_chat_template.c.
 */
#include "host/text/chat_declared.h"

#include "host/base/file.h"
#include "host/base/utf8.h"
#include "host/base/vec.h"
#include "host/formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CONFIG[] = "tokenizer_config.json";
static const char PROCESSOR[] = "chat_template.json";
static const char FILE_OF_DEFAULT[] = "chat_template.jinja";
static const char FOLDER_OF_OTHERS[] = "additional_chat_templates";
static const char DEFAULT[] = "default";

/* A file of the folder; *path stays NULL where there is none. */
static int find_file(char **path, const char *folder, const char *name, struct err *err)
{
	char *found = path_join(folder, name);

	if (!found)
		return err_nomem(err, name, strlen(name));
	if (file_exists(found))
		*path = found;
	else
		free(found);
	return 0;
}

static int set_label(struct chat_declared *d, const char *file, const char *name, struct err *err)
{
	const size_t n = strlen(file) + strlen(name) + 3;

	d->label = malloc(n);
	if (!d->label)
		return err_nomem(err, file, n);
	snprintf(d->label, n, *name ? "%s: %s" : "%s", file, name);
	return 0;
}

/* ---- a file of its own ------------------------------------------------------------------- */

static int read_source(struct chat_declared *d, struct err *err)
{
	size_t bad;

	if (file_read_text(d->path, &d->source, err) ||
		file_check_size(d->path, strlen(d->source), LIMIT_TEMPLATE, err))
		return err->code;
	if (!utf8_valid(d->source, strlen(d->source), &bad))
		return err_set(err, ERR_INPUT, "%s: expected UTF-8, found another byte at %zu",
			d->path, bad);
	return 0;
}

/* NAME.jinja of the folder of others, or else the default's own file; d->path stays NULL where it
 * is not there. */
static int find_jinja(struct chat_declared *d, const char *folder, const char *name,
	struct err *err)
{
	char file[512];

	snprintf(file, sizeof file, "%s/%s.jinja", FOLDER_OF_OTHERS, name);
	TRY(find_file(&d->path, folder, file, err));
	if (!d->path && strcmp(name, DEFAULT) == 0) {
		snprintf(file, sizeof file, "%s", FILE_OF_DEFAULT);
		TRY(find_file(&d->path, folder, file, err));
	}
	if (!d->path)
		return 0;
	TRY(read_source(d, err));
	return set_label(d, file, "", err);
fail:
	return err->code;
}

/* The names of those that have files of their own; d->names stays NULL where none has. */
static int list_files(struct chat_declared *d, const char *folder, struct err *err)
{
	char *others = path_join(folder, FOLDER_OF_OTHERS);
	struct folder_names files = {0};
	struct text names = {0};

	err_clear(err);
	if (!others)
		return err_nomem(err, folder, strlen(folder));
	if (file_exists_in(folder, FILE_OF_DEFAULT))
		TRY(vec_append(&names, DEFAULT, strlen(DEFAULT), err));
	if (folder_exists(others))
		TRY(folder_list(&files, others, ERR_INPUT, err));
	for (size_t i = 0; i < files.n; i++) {
		const char *name = files.data[i];

		if (!path_has_extension(name, ".jinja"))
			continue;
		TRY(vec_append(&names, ", ", names.n > 0 ? 2 : 0, err));
		TRY(vec_append(&names, name, strlen(name) - strlen(".jinja"), err));
	}
	if (names.n > 0)
		TRY(vec_push(&names, '\0', err));
	d->names = names.data;
	names.data = NULL;
fail:
	folder_names_free(&files);
	free(names.data);
	free(others);
	return err->code;
}

/* ---- in a JSON file ---------------------------------------------------------------------- */

/* The names of a list, for a message. */
static void list_names(const json_t *list, char *out, size_t size)
{
	size_t i, n = 0;
	json_t *item;

	out[0] = '\0';
	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && n < size)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", name);
	}
}

/* Of [{"name": ..., "template": ...}, ...]; *source stays NULL where the name is not among them. */
static int take_named(struct chat_declared *d, const json_t *list, const char *name,
	const json_t **source, struct err *err)
{
	char names[512];
	size_t i;
	json_t *item;

	*source = NULL;
	if (json_array_size(list) == 0)
		return err_set(err, ERR_INPUT,
			"%s: chat_template: expected a text or a list of named ones, found an empty "
			"list",
			d->path);
	json_array_foreach(list, i, item)
	{
		const char *own = json_string_value(json_object_get(item, "name"));
		const json_t *text = json_object_get(item, "template");

		if (!own || !json_is_string(text))
			return err_set(err, ERR_INPUT,
				"%s: chat_template[%zu]: expected {\"name\", \"template\"}, two "
				"texts, found %s",
				d->path, i, json_kind(item));
		if (strcmp(own, name) == 0)
			*source = text;
	}
	if (*source || d->names)
		return 0;
	list_names(list, names, sizeof names);
	d->names = strdup(names);
	return d->names ? 0 : err_nomem(err, d->path, sizeof names);
}

static int copy_source(struct chat_declared *d, const json_t *source, struct err *err)
{
	const size_t n = json_string_length(source);

	if (file_check_size(d->path, n, LIMIT_TEMPLATE, err))
		return err->code;
	if (memchr(json_string_value(source), '\0', n))
		return err_set(err, ERR_INPUT,
			"%s: chat_template: expected a text, found one that holds a zero byte",
			d->path);
	d->source = strdup(json_string_value(source));
	return d->source ? 0 : err_nomem(err, d->path, n);
}

/* Whether the JSON file at d->path declares one; d->path is freed where it does not. */
static int find_in_json(struct chat_declared *d, const char *file, const char *name,
	struct err *err)
{
	const bool named = name && strcmp(name, DEFAULT) != 0;
	const json_t *declared, *source = NULL;
	json_t *root = NULL;

	err_clear(err);
	TRY(json_read(&root, d->path, err));
	declared = json_object_get(root, "chat_template");
	if (json_is_array(declared)) {
		TRY(take_named(d, declared, name ? name : DEFAULT, &source, err));
		if (source)
			TRY(set_label(d, file, name ? name : DEFAULT, err));
	} else if (json_is_string(declared) && !named) {
		source = declared;
		TRY(set_label(d, file, "", err));
	} else if (declared && !json_is_null(declared) && !json_is_string(declared)) {
		err_set(err, ERR_INPUT,
			"%s: chat_template: expected a text or a list of named ones, found %s",
			d->path, json_kind(declared));
		goto fail;
	}
	if (source)
		TRY(copy_source(d, source, err));
	if (!source) {
		free(d->path);
		d->path = NULL;
	}
fail:
	json_decref(root);
	return err->code;
}

/* ---- the whole --------------------------------------------------------------------------- */

int chat_declared_find(struct chat_declared *out, const char *folder, const char *name,
	struct err *err)
{
	static const char *const in_json[] = {CONFIG, PROCESSOR};
	struct chat_declared other = {0};

	*out = (struct chat_declared){0};
	err_clear(err);
	TRY(find_jinja(out, folder, name ? name : DEFAULT, err));
	if (!out->path)
		TRY(list_files(out, folder, err));
	if (out->names) /* before whatever stands in JSON, which no more counts */
		return 0;
	for (size_t i = 0; i < sizeof in_json / sizeof *in_json; i++) {
		struct chat_declared *d = out->path ? &other : out;

		if (other.path)
			continue;
		TRY(find_file(&d->path, folder, in_json[i], err));
		if (d->path)
			TRY(find_in_json(d, in_json[i], name, err));
	}
	/* Two that say the same are no choice. */
	if (other.source && strcmp(other.source, out->source) != 0) {
		out->other = other.label;
		other.label = NULL;
	}
fail:
	chat_declared_free(&other);
	if (err->code)
		chat_declared_free(out);
	return err->code;
}

int chat_declared_read(struct chat_declared *out, const char *path, struct err *err)
{
	*out = (struct chat_declared){.path = strdup(path)};
	if (!out->path)
		return err_nomem(err, path, strlen(path));
	TRY(read_source(out, err));
	TRY(set_label(out, path, "", err));
	return 0;
fail:
	chat_declared_free(out);
	return err->code;
}

void chat_declared_free(struct chat_declared *d)
{
	free(d->source);
	free(d->path);
	free(d->label);
	free(d->other);
	free(d->names);
	*d = (struct chat_declared){0};
}
