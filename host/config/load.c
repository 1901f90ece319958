/* SPDX-License-Identifier: MIT
 *
 * load.c - a config from a file or a text, whole. Contract: config.h. Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include "host/base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of the file, or of the text where there is one. */
static int read_tree(config_t *tree, const char *path, const char *text, struct err *err)
{
	char error[256];

	if ((text ? config_read_string(tree, text) : config_read_file(tree, path)) == CONFIG_TRUE)
		return 0;
	if (config_error_type(tree) == CONFIG_ERR_FILE_IO)
		return err_set(err, ERR_INPUT, "%s: cannot be read: %s",
			config_error_file(tree) ? config_error_file(tree) : path, strerror(errno));
	return err_set(err, ERR_CONFIG, "%s:%d: %s",
		config_error_file(tree) ? config_error_file(tree) : path, config_error_line(tree),
		parse_error(tree, error, sizeof error));
}

static int refuse_faults(const struct faults *f, struct err *err)
{
	if (f->memory.code) {
		*err = f->memory;
		return err->code;
	}
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
	if (w.faults->memory.code == 0)
		take_defaults(w);
	if (w.faults->memory.code == 0)
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
	if (!in.text && !file_exists(in.path)) {
		err_set(err, ERR_INPUT, "%s: no such config file", in.path);
		goto fail;
	}
	TRY(source_check(&faults, (struct place){in.path, 1, false}, in.text, err));
	TRY(read_tree(&tree, in.path, in.text, err));
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
