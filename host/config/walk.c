/* SPDX-License-Identifier: MIT
 *
 * walk.c - reading settings with libconfig. Contract: config.h. Tests: tests/test_errors.c.
 *
 * libconfig accepts unknown keys and gives the same answer for a missing key and one of the wrong
 * type, so the tree is walked against the table: every setting of the file must be in the table,
 * every row of the table is then looked up and its type checked. Overrides are small config texts
 * of their own, walked the same way. All faults are gathered before any is reported.
 */
#include "host/config/parts.h"

#include "host/base/file.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults ---------------------------------------------------------------------------- */

void fault(struct faults *f, struct place place, const char *format, ...)
{
	char line[1024];
	struct err ignored;
	va_list args;
	int n;

	n = place.line ? snprintf(line, sizeof line / 2, "%s:%u: ", place.file, place.line)
		       : snprintf(line, sizeof line / 2, "%s: ", place.file);
	n = n < (int)sizeof line / 2 ? n : (int)sizeof line / 2 - 1;
	va_start(args, format);
	vsnprintf(line + n, sizeof line - (size_t)n, format, args);
	va_end(args);
	if (f->n++ > 0)
		(void)vec_push(&f->lines, '\n', &ignored);
	(void)vec_append(&f->lines, line, strlen(line), &ignored);
}

struct place place_of(const config_setting_t *s, const char *override)
{
	const char *file = config_setting_source_file(s);

	if (override)
		return (struct place){override, 0};
	return (struct place){file ? file : "?", (unsigned)config_setting_source_line(s)};
}

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

const struct setting *find_row(const struct setting *rows, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].key, key) == 0)
			return &rows[i];
	return NULL;
}

/* `full` is the key as the message gives it, `key` as the rows spell theirs. */
static void unknown(struct faults *f, struct place place, const char *full, const char *key,
	const struct setting *rows, size_t n)
{
	const char *nearest = NULL;
	size_t best = strlen(key) / 3 + 2; /* farther apart is no misspelling */

	for (size_t i = 0; i < n; i++) {
		const size_t d = distance(key, rows[i].key);

		if (d < best) {
			best = d;
			nearest = rows[i].key;
		}
	}
	if (nearest)
		fault(f, place, "unknown key %s; did you mean %s?", full, nearest);
	else
		fault(f, place, "unknown key %s (see --help-config)", full);
}

/* ---- the walk -------------------------------------------------------------------------- */

struct place place_of_key(struct walk w, const char *key)
{
	char group[256];

	snprintf(group, sizeof group, "%s", key);
	for (;;) {
		const config_setting_t *s = config_lookup(w.tree, group);
		char *dot = strrchr(group, '.');

		if (s)
			return place_of(s, NULL);
		if (!dot)
			return (struct place){w.path, 0};
		*dot = '\0';
	}
}

static void wrong(struct walk w, const struct setting *row, const char *key,
	const config_setting_t *s)
{
	char what[512], found[256];

	fault(w.faults, place_of(s, w.override), "%s: expected %s, found %s", key,
		value_expected(row, what, sizeof what), value_found(s, found, sizeof found));
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
		if (!row)
			unknown(w.faults, place_of(s, w.override), key, config_setting_name(s),
				prompts_settings, n_prompts_settings);
		else if (!value_take(row, s, p))
			wrong(w, row, key, s);
		else
			p->given |= UINT64_C(1) << (row - prompts_settings);
	}
}

static bool is_group_prefix(const char *key)
{
	const size_t n = strlen(key);

	for (size_t i = 0; i < n_config_settings; i++)
		if (strncmp(config_settings[i].key, key, n) == 0 &&
			config_settings[i].key[n] == '.')
			return true;
	return false;
}

static void walk_group(struct walk w, const config_setting_t *group, const char *prefix)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row;
		char key[256];

		snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "",
			config_setting_name(s));
		row = find_row(config_settings, n_config_settings, key);
		if (row) {
			if (!value_take(row, s, w.config))
				wrong(w, row, key, s);
			w.given[row - config_settings] = true;
		} else if (strcmp(key, "prompts") == 0 && config_setting_is_group(s)) {
			for (int j = 0; j < config_setting_length(s); j++)
				walk_prompt_set(w, config_setting_get_elem(s, (unsigned)j));
		} else if (config_setting_is_group(s) && is_group_prefix(key)) {
			walk_group(w, s, key);
		} else {
			unknown(w.faults, place_of(s, w.override), key, key, config_settings,
				n_config_settings);
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
		const char *value = given[i] ? NULL : default_of(w, &rows[i]);

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
		if (given[i] || !rows[i].default_value)
			continue;
		if (!value_take(&rows[i], config_setting_get_elem(values, next++), base))
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
	for (size_t i = 0; i < n_config_settings; i++) {
		const struct setting *row = &config_settings[i];

		if (!w.given[i] && !row->default_value)
			fault(w.faults, place_of_key(w, row->key), "missing key %s: %s", row->key,
				row->meaning);
	}
	apply_defaults(w, config_settings, n_config_settings, w.given, w.config);
	for (size_t i = 0; i < w.config->n_prompts; i++)
		complete_prompt_set(w, &w.config->prompts[i]);
}

/* ---- the whole --------------------------------------------------------------------------- */

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

static int load(struct config *c, const char *path, const char *file_text,
	const char *const *overrides, size_t n_overrides, struct err *err)
{
	struct faults faults = {0};
	bool *given = calloc(n_config_settings, sizeof *given);
	config_t tree;
	const struct walk w = {c, &faults, NULL, given, &tree, path};
	int rc = 0;

	*c = (struct config){0};
	config_init(&tree);
	if (!given) {
		rc = err_nomem(err, path, n_config_settings);
	} else if ((rc = read_tree(&tree, path, file_text, err)) == 0) {
		walk_group(w, config_root_setting(&tree), "");
		for (size_t i = 0; i < n_overrides; i++)
			apply_override(w, overrides[i]);
		complete(w);
		check_whole(w);
		if (faults.n > 0)
			rc = err_set(err, ERR_CONFIG, "%.*s", (int)faults.lines.n,
				faults.lines.data);
	}
	config_destroy(&tree);
	free(faults.lines.data);
	free(given);
	if (rc)
		config_free(c);
	return rc;
}

int config_load(struct config *c, const char *path, const char *const *overrides,
	size_t n_overrides, struct err *err)
{
	return load(c, path, NULL, overrides, n_overrides, err);
}

int config_parse(struct config *c, const char *name, const char *text, const char *const *overrides,
	size_t n_overrides, struct err *err)
{
	return load(c, name, text, overrides, n_overrides, err);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < n_config_settings; i++)
		value_free(&config_settings[i], c);
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++)
			value_free(&prompts_settings[j], &c->prompts[i]);
		free(c->prompts[i].name);
	}
	free(c->prompts);
	*c = (struct config){0};
}

const struct prompts_config *config_prompts(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_prompts; i++)
		if (strcmp(c->prompts[i].name, name) == 0)
			return &c->prompts[i];
	return NULL;
}

bool text_list_holds(const struct text_list *list, const char *item)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}
