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
	char what[512], found[256];

	fault(w.faults, place_of(s, w.override), "%s: expected %s, found %s", key,
		value_expected(row, w.config, what, sizeof what),
		value_found(s, found, sizeof found));
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
		} else if (!value_take(row, w.config, s, p))
			wrong(w, row, key, s);
		else
			p->given |= UINT64_C(1) << (row - prompts_settings);
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

static bool is_group_prefix(struct walk w, const char *key)
{
	const size_t n = strlen(key);

	for (size_t t = 0; t < config_tables(w.config); t++) {
		const struct setting_table table = config_table(w.config, t);

		for (size_t i = 0; i < table.n; i++)
			if (strncmp(table.rows[i].key, key, n) == 0 && table.rows[i].key[n] == '.')
				return true;
	}
	return false;
}

static void take_key(struct walk w, const config_setting_t *s, const char *key)
{
	const struct place place = place_of(s, w.override);
	size_t t;
	const struct setting *row = find_key(w, key, &t);
	const struct setting_table table = config_table(w.config, t);

	if (row->type == SETTING_MOVED) {
		fault(w.faults, place, "%s is now %s", key, row->default_value);
		return;
	}
	if (!value_take(row, w.config, s, table.values))
		wrong(w, row, key, s);
	w.given[t][row - table.rows] = true;
}

static void walk_group(struct walk w, const config_setting_t *group, const char *prefix)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		char key[256];
		size_t t;

		snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "",
			config_setting_name(s));
		if (find_key(w, key, &t)) {
			take_key(w, s, key);
		} else if (strcmp(key, "prompts") == 0 && config_setting_is_group(s)) {
			for (int j = 0; j < config_setting_length(s); j++)
				walk_prompt_set(w, config_setting_get_elem(s, (unsigned)j));
		} else if (config_setting_is_group(s) && is_group_prefix(w, key)) {
			walk_group(w, s, key);
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

static void apply_override(struct walk w, const char *override)
{
	char text[4096], label[512];
	config_t tree;
	bool parsed = false;

	snprintf(label, sizeof label, "--set %s", override);
	w.override = label;
	if (!strchr(override, '=') || strlen(override) > sizeof text / 2) {
		fault(w.faults, (struct place){label, 0}, "expected key=value");
		return;
	}
	config_init(&tree);
	for (int quoted = 0; quoted <= 1 && !parsed; quoted++) {
		override_text(override, quoted, text, sizeof text);
		parsed = config_read_string(&tree, text) == CONFIG_TRUE;
	}
	if (parsed)
		walk_group(w, config_root_setting(&tree), "");
	else
		fault(w.faults, (struct place){label, 0}, "expected key=value");
	config_destroy(&tree);
}

/* ---- what the file leaves out ------------------------------------------------------------ */

static const char *default_of(struct walk w, const struct setting *row)
{
	const char *released = w.config->paper_compatible ? setting_released_value(row) : NULL;

	return released ? released : row->default_value;
}

/* Defaults come through the same door as the file: as a text, a list of the values of the rows that
 * were not given and have one. (A group would have libconfig compare each name with all others.) */
static void apply_defaults(struct walk w, const struct setting *rows, size_t n, const bool *given,
	void *base)
{
	static const char begin[] = "defaults=(", end[] = ");";
	struct text text = {0};
	const config_setting_t *values = NULL;
	config_t tree;
	struct err err;
	unsigned next = 0;
	int rc = vec_append(&text, begin, strlen(begin), &err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const char *value = given[i] || rows[i].type == SETTING_MOVED
					    ? NULL
					    : default_of(w, &rows[i]);

		if (value)
			rc = (next++ > 0 && vec_push(&text, ',', &err)) ||
			     vec_append(&text, value, strlen(value), &err);
	}
	rc = rc || vec_append(&text, end, sizeof end, &err);
	config_init(&tree);
	if (rc == 0 && config_read_string(&tree, text.data) == CONFIG_TRUE)
		values = config_lookup(&tree, "defaults");
	else
		fault(w.faults, (struct place){"defaults", 0}, "%s",
			rc ? err.text : config_error_text(&tree));
	next = 0;
	for (size_t i = 0; values && i < n; i++) {
		if (given[i] || !rows[i].default_value || rows[i].type == SETTING_MOVED)
			continue;
		if (!value_take(&rows[i], w.config, config_setting_get_elem(values, next++), base))
			fault(w.faults, (struct place){"defaults", 0}, "%s: %s", rows[i].key,
				default_of(w, &rows[i]));
	}
	config_destroy(&tree);
	free(text.data);
}

static void complete_prompt_set(struct walk w, struct prompts_config *p)
{
	bool given[64];

	for (size_t i = 0; i < n_prompts_settings; i++) {
		const struct setting *row = &prompts_settings[i];
		char key[256];

		given[i] = p->given >> i & 1;
		if (given[i] || row->default_value)
			continue;
		snprintf(key, sizeof key, "prompts.%s.%s", p->name, row->key);
		fault(w.faults, place_of_key(w, key), "missing key %s: %s", key, row->meaning);
	}
	apply_defaults(w, prompts_settings, n_prompts_settings, given, p);
}

static void complete(struct walk w)
{
	for (size_t t = 0; t < config_tables(w.config); t++) {
		const struct setting_table table = config_table(w.config, t);

		for (size_t i = 0; i < table.n; i++) {
			const struct setting *row = &table.rows[i];

			if (!w.given[t][i] && !row->default_value)
				fault(w.faults, place_of_key(w, row->key), "missing key %s: %s",
					row->key, row->meaning);
		}
		apply_defaults(w, table.rows, table.n, w.given[t], table.values);
	}
	for (size_t i = 0; i < w.config->n_prompts; i++)
		complete_prompt_set(w, &w.config->prompts[i]);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void free_given(bool **given, size_t n)
{
	for (size_t t = 0; given && t < n; t++)
		free(given[t]);
	free(given);
}

static bool **make_given(const struct config *c)
{
	const size_t n = config_tables(c);
	bool **given = calloc(n, sizeof *given);

	for (size_t t = 0; given && t < n; t++) {
		given[t] = calloc(config_table(c, t).n + 1, sizeof **given);
		if (!given[t]) {
			free_given(given, n);
			return NULL;
		}
	}
	return given;
}

/* Of the file, or of the text where there is one. */
static int read_tree(config_t *tree, const char *path, const char *text, struct err *err)
{
	if (!text && !file_exists(path))
		return err_set(err, ERR_INPUT, "%s: no such config file", path);
	if ((text ? config_read_string(tree, text) : config_read_file(tree, path)) == CONFIG_TRUE)
		return 0;
	return err_set(err, ERR_CONFIG, "%s:%d: %s",
		config_error_file(tree) ? config_error_file(tree) : path, config_error_line(tree),
		config_error_text(tree));
}

static int walk_all(struct walk w, const char *const *overrides, size_t n_overrides,
	struct err *err)
{
	walk_group(w, config_root_setting(w.tree), "");
	for (size_t i = 0; i < n_overrides; i++)
		apply_override(w, overrides[i]);
	complete(w);
	check_whole(w);
	if (w.faults->n == 0)
		return 0;
	return err_set(err, ERR_CONFIG, "%.*s", (int)w.faults->lines.n, w.faults->lines.data);
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
	bool **given = NULL;
	config_t tree;

	err_clear(err);
	config_init(&tree);
	TRY(config_make_tables(c, in.sections, in.n_sections, err));
	given = make_given(c);
	if (!given) {
		err_nomem(err, in.path, n_common_settings);
		goto fail;
	}
	const struct walk w = {c, &faults, NULL, given, &tree, in.path};

	faults.walk = &w;
	TRY(read_tree(&tree, in.path, in.text, err));
	TRY(walk_all(w, in.overrides, in.n_overrides, err));
fail:
	config_destroy(&tree);
	free(faults.lines.data);
	free_given(given, config_tables(c));
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
