/* SPDX-License-Identifier: MIT
 *
 * load.c - a config from a file or a text, whole. Contract: config.h. Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include "host/base/file.h"

#include <stdlib.h>
#include <string.h>

struct files {
	const char **data; /* owned; the names are the tree's */
	size_t n, cap;
};

/* Of the file, or of the text where there is one. */
static int read_tree(config_t *tree, const char *path, const char *text, struct err *err)
{
	char error[256];

	if (!text && !file_exists(path))
		return err_set(err, ERR_INPUT, "%s: no such config file", path);
	if ((text ? config_read_string(tree, text) : config_read_file(tree, path)) == CONFIG_TRUE)
		return 0;
	return err_set(err, ERR_CONFIG, "%s:%d: %s",
		config_error_file(tree) ? config_error_file(tree) : path, config_error_line(tree),
		parse_error(tree, error, sizeof error));
}

/* Appends the files that the settings of a tree are from, each once. */
static int list_files(const config_setting_t *s, struct files *out, struct err *err)
{
	const char *file = config_setting_source_file(s);
	size_t i = 0;

	while (file && i < out->n && strcmp(out->data[i], file) != 0)
		i++;
	if (file && i == out->n && vec_push(out, file, err))
		return err->code;
	for (int k = 0; config_setting_is_aggregate(s) && k < config_setting_length(s); k++)
		if (list_files(config_setting_get_elem(s, (unsigned)k), out, err))
			return err->code;
	return 0;
}

/* Numbers that libconfig wraps, in the text where there is one, and in all files. */
static int check_numbers(struct walk w, const char *text, struct err *err)
{
	struct files files = {0};
	char *of_file = NULL;

	err_clear(err);
	if (text)
		check_literals(w.faults, (struct place){w.path, 1, false}, text);
	TRY(list_files(config_root_setting(w.tree), &files, err));
	for (size_t i = 0; i < files.n; i++) {
		free(of_file);
		of_file = NULL;
		TRY(file_read_text(files.data[i], &of_file, err));
		check_literals(w.faults, (struct place){files.data[i], 1, false}, of_file);
	}
fail:
	free(of_file);
	free(files.data);
	return err->code;
}

static int refuse_faults(const struct faults *f, struct err *err)
{
	if (f->n == 0)
		return 0;
	return err_set(err, ERR_CONFIG, "%.*s", (int)f->lines.n, f->lines.data);
}

static int walk_all(struct walk w, const char *const *overrides, size_t n_overrides,
	struct err *err)
{
	walk_group(w, config_root_setting(w.tree), "");
	for (size_t i = 0; i < n_overrides; i++)
		apply_override(w, overrides[i]);
	take_defaults(w);
	check_whole(w);
	return refuse_faults(w.faults, err);
}

/* Of a file, or of the text where there is one. */
struct input {
	const struct section *sections;
	size_t n_sections;
	const char *path, *text;
	const char *const *overrides;
	size_t n_overrides;
};

static int load(struct config *c, struct input in, struct err *err)
{
	struct faults faults = {0};
	struct keys given = {0};
	config_t tree;
	const struct walk w = {c, &faults, NULL, &given, &tree, in.path};

	err_clear(err);
	faults.walk = &w;
	config_init(&tree);
	TRY(config_make_tables(c, in.sections, in.n_sections, err));
	TRY(read_tree(&tree, in.path, in.text, err));
	TRY(check_numbers(w, in.text, err));
	TRY(refuse_faults(&faults, err));
	TRY(walk_all(w, in.overrides, in.n_overrides, err));
fail:
	config_destroy(&tree);
	free(faults.lines.data);
	keys_free(&given);
	if (err->code)
		config_free(c);
	return err->code;
}

int config_load(struct config *c, const struct section *sections, size_t n_sections,
	const char *path, const char *const *overrides, size_t n_overrides, struct err *err)
{
	return load(c, (struct input){sections, n_sections, path, NULL, overrides, n_overrides},
		err);
}

int config_parse(struct config *c, const struct section *sections, size_t n_sections,
	const char *name, const char *text, const char *const *overrides, size_t n_overrides,
	struct err *err)
{
	return load(c, (struct input){sections, n_sections, name, text, overrides, n_overrides},
		err);
}
