/* SPDX-License-Identifier: MIT
 *
 * walk.c - reading settings with libconfig. Contract: config.h. Tests: tests/test_errors.c.
 *
 * libconfig accepts unknown keys and gives the same answer for a missing key and one of the wrong
 * type, so the tree is walked against the table: every setting of the file must be in the table,
 * every row of the table is then looked up and its type checked. Overrides are small config texts
 * of their own, walked the same way. All faults are gathered before any is reported.
 */
#include "host/config/config_parts.h"

#include "host/base/file.h"

#include <stdlib.h>
#include <string.h>

/* ---- unknown keys ---------------------------------------------------------------------- */

/* Edit distance, for suggestions. Keys are short. */
static size_t distance(const char *a, const char *b)
{
	size_t row[128];
	const size_t n = strlen(b);

	if (n >= 127 || strlen(a) >= 127)
		return 127;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			const size_t change = diagonal + (a[i] != b[j]);
			size_t best = change;

			diagonal = row[j + 1];
			best = diagonal + 1 < best ? diagonal + 1 : best;
			row[j + 1] = row[j] + 1 < best ? row[j] + 1 : best;
		}
	}
	return row[n];
}

/* The key nearest to one that does not exist; *best is how far it is, at most. */
static const char *nearest_key(const struct setting *rows, size_t n, const char *key, size_t *best)
{
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		const size_t d = distance(key, rows[i].key);

		if (d < *best && rows[i].type != SETTING_MOVED) {
			*best = d;
			nearest = rows[i].key;
		}
	}
	return nearest;
}

/* Farther apart is no misspelling. */
static size_t near_enough(const char *key)
{
	return strlen(key) / 3 + 2;
}

/* `key` as the message gives it. */
static void unknown(struct faults *f, struct place place, const char *key, const char *nearest)
{
	if (nearest)
		fault(f, place, "unknown key %s; did you mean %s?", key, nearest);
	else
		fault(f, place, "unknown key %s (see --help-config)", key);
}

/* ---- the walk -------------------------------------------------------------------------- */

static void wrong(struct walk w, const struct setting *row, const char *key,
	const config_setting_t *s)
{
	char complaint[768];

	fault(w.faults, place_of(s, w.override), "%s: %s", key,
		value_complaint(row, w.config, s, complaint, sizeof complaint));
}

/* Takes the value of a key into the struct at `base`. */
static void take(struct walk w, const struct setting *row, const char *key,
	const config_setting_t *s, void *base)
{
	const struct place place = place_of(s, w.override);
	struct err err;

	if (row->type == SETTING_MOVED && row->default_value)
		fault(w.faults, place, "%s is now %s", key, row->default_value);
	else if (row->type == SETTING_MOVED)
		fault(w.faults, place, "%s is gone: %s", key, row->meaning);
	else if (!value_take(row, w.config, s, base))
		wrong(w, row, key, s);
	if (key_add(w.given, key, place, &err))
		fault(w.faults, place, "%s", err.text);
}

static struct prompts_config *prompts_named(struct config *c, const char *name)
{
	struct prompts_config *grown;

	for (size_t i = 0; i < c->n_prompts; i++)
		if (strcmp(c->prompts[i].name, name) == 0)
			return &c->prompts[i];
	grown = realloc(c->prompts, (c->n_prompts + 1) * sizeof *grown);
	if (!grown)
		return NULL;
	c->prompts = grown;
	c->prompts[c->n_prompts] = (struct prompts_config){.name = strdup(name)};
	return &c->prompts[c->n_prompts++];
}

/* So that every key of a set fits where keys are put together. */
enum { PROMPTS_NAME_MAX = 128 };

static void walk_prompt_set(struct walk w, const config_setting_t *group)
{
	const char *name = config_setting_name(group);
	struct prompts_config *p;

	if (!config_setting_is_group(group)) {
		fault(w.faults, place_of(group, w.override),
			"prompts.%s: expected a group, { file = "
			"\"...\"; }",
			name);
		return;
	}
	if (strlen(name) > PROMPTS_NAME_MAX) {
		fault(w.faults, place_of(group, w.override),
			"prompts: expected names of at most %d characters, found %s",
			PROMPTS_NAME_MAX, name);
		return;
	}
	p = prompts_named(w.config, name);
	for (int i = 0; p && i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row = find_row(prompts_settings, n_prompts_settings,
			config_setting_name(s));
		char key[256];

		snprintf(key, sizeof key, "prompts.%s.%s", name, config_setting_name(s));
		if (!row) {
			size_t best = near_enough(config_setting_name(s));

			unknown(w.faults, place_of(s, w.override), key,
				nearest_key(prompts_settings, n_prompts_settings,
					config_setting_name(s), &best));
		} else {
			take(w, row, key, s, p);
		}
	}
}

/* The row of a key among all tables; *t is the table it is in. */
static const struct setting *find_key(struct walk w, const char *key, size_t *t)
{
	for (*t = 0; *t < config_tables(w.config); ++*t) {
		const struct setting_table table = config_table(w.config, *t);
		const struct setting *row = find_row(table.rows, table.n, key);

		if (row)
			return row;
	}
	return NULL;
}

static void unknown_key(struct walk w, struct place place, const char *key)
{
	size_t best = near_enough(key);
	const char *nearest = NULL;

	for (size_t t = 0; t < config_tables(w.config); t++) {
		const struct setting_table table = config_table(w.config, t);
		const char *of_table = nearest_key(table.rows, table.n, key, &best);

		nearest = of_table ? of_table : nearest;
	}
	unknown(w.faults, place, key, nearest);
}

/* The first row of a group, NULL when there is no such group. */
static const struct setting *first_of_group(struct walk w, const char *key)
{
	const size_t n = strlen(key);

	for (size_t t = 0; t < config_tables(w.config); t++) {
		const struct setting_table table = config_table(w.config, t);

		for (size_t i = 0; i < table.n; i++)
			if (strncmp(table.rows[i].key, key, n) == 0 && table.rows[i].key[n] == '.')
				return &table.rows[i];
	}
	return NULL;
}

static void expect_group(struct walk w, const config_setting_t *s, const char *key,
	const char *inside)
{
	char found[256];

	fault(w.faults, place_of(s, w.override), "%s: expected a group, %s = { %s }, found %s", key,
		key, inside, value_found(s, found, sizeof found));
}

static void walk_prompt_sets(struct walk w, const config_setting_t *s)
{
	if (!config_setting_is_group(s)) {
		expect_group(w, s, "prompts", "NAME = { file = \"...\"; };");
		return;
	}
	for (int i = 0; i < config_setting_length(s); i++)
		walk_prompt_set(w, config_setting_get_elem(s, (unsigned)i));
}

static void walk_group(struct walk w, const config_setting_t *group, const char *prefix)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row, *inside;
		char key[256], first[256];
		size_t t;

		snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "",
			config_setting_name(s));
		row = find_key(w, key, &t);
		inside = first_of_group(w, key);
		if (row) {
			take(w, row, key, s, config_table(w.config, t).values);
		} else if (strcmp(key, "prompts") == 0) {
			walk_prompt_sets(w, s);
		} else if (inside && config_setting_is_group(s)) {
			walk_group(w, s, key);
		} else if (inside) {
			snprintf(first, sizeof first, "%s = ...;", inside->key + strlen(key) + 1);
			expect_group(w, s, key, first);
		} else {
			unknown_key(w, place_of(s, w.override), key);
		}
	}
}

/* "a.b.c=value" as a config text: a:{b:{c=value;};}; */
static void override_text(const char *override, bool quoted, char *out, size_t size)
{
	const char *equals = strchr(override, '=');
	size_t n = 0, depth = 0;

	for (const char *p = override; p < equals && n + 4 < size; p++) {
		if (*p == '.') {
			n += (size_t)snprintf(out + n, size - n, ":{");
			depth++;
		} else if (*p != ' ') {
			out[n++] = *p;
		}
	}
	n += (size_t)snprintf(out + n, size - n, quoted ? "=\"%s\";" : "=%s;", equals + 1);
	while (depth-- > 0 && n + 3 < size)
		n += (size_t)snprintf(out + n, size - n, "};");
}

static bool mixes_types(const config_t *tree)
{
	return strstr(config_error_text(tree), "mismatched element type");
}

/* libconfig's words, and what to do where they do not tell. */
static const char *parse_error(const config_t *tree, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s%s", config_error_text(tree),
		mixes_types(tree)
			? ": all numbers of a list in [ ] are written with a point, or none is"
			: "");
	return buffer;
}

/* Text may go without quotes: what cannot be read as it stands is tried as text. */
static void apply_override(struct walk w, const char *override)
{
	const struct place place = {override, 0, true};
	const size_t n_faults = w.faults->n;
	char text[4096], error[256];
	config_t tree;
	bool parsed;

	w.override = override;
	if (!strchr(override, '=') || strlen(override) > sizeof text / 2) {
		fault(w.faults, place, "expected key=value");
		return;
	}
	config_init(&tree);
	override_text(override, false, text, sizeof text);
	parsed = config_read_string(&tree, text) == CONFIG_TRUE;
	if (!parsed && !mixes_types(&tree)) {
		override_text(override, true, text, sizeof text);
		parsed = config_read_string(&tree, text) == CONFIG_TRUE;
	}
	if (parsed)
		check_literals(w.faults, place, text);
	else if (mixes_types(&tree))
		fault(w.faults, place, "%s", parse_error(&tree, error, sizeof error));
	else
		fault(w.faults, place, "expected key=value");
	if (w.faults->n == n_faults)
		walk_group(w, config_root_setting(&tree), "");
	config_destroy(&tree);
}

/* ---- what the file leaves out ------------------------------------------------------------ */

static const char *default_of(struct walk w, const struct setting *row)
{
	const char *released = w.config->paper_compatible ? setting_released_value(row) : NULL;

	return released ? released : row->default_value;
}

/* Whether the value of a row is to come from its default. `prefix` stands before the row's key. */
static bool is_left_out(struct walk w, const char *prefix, const struct setting *row)
{
	char key[256];

	snprintf(key, sizeof key, "%s%s", prefix, row->key);
	return row->type != SETTING_MOVED && !key_place(w.given, key);
}

/* Defaults come through the same door as the file: as a text, a list of the values of the rows that
 * were not given and have one. (A group would have libconfig compare each name with all others.) */
static void apply_defaults(struct walk w, const char *prefix, struct setting_table table)
{
	static const char begin[] = "defaults=(", end[] = ");";
	const struct place place = {"defaults", 0, false};
	struct text text = {0};
	const config_setting_t *values = NULL;
	config_t tree;
	struct err err;
	unsigned next = 0;
	int rc = vec_append(&text, begin, strlen(begin), &err);

	for (size_t i = 0; i < table.n && rc == 0; i++) {
		const char *value = is_left_out(w, prefix, &table.rows[i])
					    ? default_of(w, &table.rows[i])
					    : NULL;

		if (value)
			rc = (next++ > 0 && vec_push(&text, ',', &err)) ||
			     vec_append(&text, value, strlen(value), &err);
	}
	rc = rc || vec_append(&text, end, sizeof end, &err);
	config_init(&tree);
	if (rc == 0 && config_read_string(&tree, text.data) == CONFIG_TRUE)
		values = config_lookup(&tree, "defaults");
	else
		fault(w.faults, place, "%s", rc ? err.text : config_error_text(&tree));
	next = 0;
	for (size_t i = 0; values && i < table.n; i++) {
		const struct setting *row = &table.rows[i];

		if (!row->default_value || !is_left_out(w, prefix, row))
			continue;
		if (!value_take(row, w.config, config_setting_get_elem(values, next++),
			    table.values))
			fault(w.faults, place, "%s: %s", row->key, default_of(w, row));
	}
	config_destroy(&tree);
	free(text.data);
}

static void complete_table(struct walk w, const char *prefix, struct setting_table table)
{
	char key[256];

	for (size_t i = 0; i < table.n; i++) {
		const struct setting *row = &table.rows[i];

		if (row->default_value || !is_left_out(w, prefix, row))
			continue;
		snprintf(key, sizeof key, "%s%s", prefix, row->key);
		fault(w.faults, group_place(w, key), "missing key %s: %s", key, row->meaning);
	}
	apply_defaults(w, prefix, table);
}

static void complete(struct walk w)
{
	for (size_t t = 0; t < config_tables(w.config); t++)
		complete_table(w, "", config_table(w.config, t));
	for (size_t i = 0; i < w.config->n_prompts; i++) {
		struct prompts_config *p = &w.config->prompts[i];
		char prefix[256];

		snprintf(prefix, sizeof prefix, "prompts.%s.", p->name);
		complete_table(w, prefix,
			(struct setting_table){prompts_settings, n_prompts_settings, p});
	}
}

/* ---- the whole --------------------------------------------------------------------------- */

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
	complete(w);
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
