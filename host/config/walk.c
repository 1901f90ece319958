/* SPDX-License-Identifier: MIT
 *
 * walk.c - the settings that a file or a --set gives. Contract: config_parts.h. Tests:
 * tests/test_errors.c.
 *
 * libconfig accepts unknown keys and gives the same answer for a missing key and one of the wrong
 * type, so the tree is walked against the table: every setting of the file must be in the table,
 * every row of the table is then looked up and its type checked. Overrides are small config texts
 * of their own, walked the same way. All faults are gathered before any is reported.
 */
#include "host/config/config_parts.h"

#include <stdlib.h>
#include <string.h>

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

	if (row->type == SETTING_MOVED && row->default_value)
		fault(w.faults, place, "%s is now %s", key, row->default_value);
	else if (row->type == SETTING_MOVED)
		fault(w.faults, place, "%s is gone: %s", key, row->meaning);
	else if (!value_take(w, row, s, base))
		wrong(w, row, key, s);
	(void)key_add(w.given, key, place, &w.faults->memory);
}

/* NULL when there is no memory for one more, which is noted. */
static struct prompts_config *prompts_named(struct walk w, const char *name)
{
	struct config *c = w.config;
	struct prompts_config *grown;
	char *copy;

	for (size_t i = 0; i < c->n_prompts; i++)
		if (strcmp(c->prompts[i].name, name) == 0)
			return &c->prompts[i];
	grown = realloc(c->prompts, (c->n_prompts + 1) * sizeof *grown);
	c->prompts = grown ? grown : c->prompts;
	copy = strdup(name);
	if (!grown || !copy) {
		free(copy);
		fault_memory(w.faults, name, sizeof *grown);
		return NULL;
	}
	c->prompts[c->n_prompts] = (struct prompts_config){.name = copy};
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
	p = prompts_named(w, name);
	for (int i = 0; p && i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const struct setting *row = find_row(prompts_settings, n_prompts_settings,
			config_setting_name(s));
		char key[256];

		snprintf(key, sizeof key, "prompts.%s.%s", name, config_setting_name(s));
		if (!row) {
			unknown_prompts_key(w, place_of(s, w.override), name,
				config_setting_name(s));
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

void walk_group(struct walk w, const config_setting_t *group, const char *prefix)
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

/* Whether a tree has the one key of a --set and nothing beside it. */
static bool is_one_key(const config_t *tree, const char *override)
{
	const config_setting_t *s = config_root_setting(tree);
	const char *equals = strchr(override, '=');

	for (const char *p = override; s && p < equals; p++) {
		if (p != override && *p != '.')
			continue;
		if (!config_setting_is_group(s) || config_setting_length(s) != 1)
			return false;
		s = config_setting_get_elem(s, 0);
	}
	return true;
}

/* Text may go without quotes: what cannot be read as it stands is tried as text. */
void apply_override(struct walk w, const char *override)
{
	const struct place place = {override, 0, true};
	const size_t n_faults = w.faults->n;
	char text[4096], error[256];
	struct err err;
	config_t tree;
	bool parsed;

	w.override = override;
	if (!strchr(override, '=') || strstr(override, "@include") ||
		strlen(override) > sizeof text / 2) {
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
	if (parsed && !is_one_key(&tree, override))
		fault(w.faults, place, "expected one key=value, found more");
	else if (parsed && source_check(w.faults, place, text, &err))
		fault(w.faults, place, "%s", err.text);
	else if (!parsed && !mixes_types(&tree))
		fault(w.faults, place, "expected key=value");
	else if (!parsed)
		fault(w.faults, place, "%s", parse_error(&tree, error, sizeof error));
	if (w.faults->n == n_faults)
		walk_group(w, config_root_setting(&tree), "");
	config_destroy(&tree);
}
