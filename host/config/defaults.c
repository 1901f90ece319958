/* SPDX-License-Identifier: MIT
 *
 * defaults.c - what neither the file nor an override gives. Contract: config_parts.h. Tests:
 * tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdlib.h>
#include <string.h>

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
	struct err *no_memory = &w.faults->memory;
	unsigned next = 0;
	int rc = vec_append(&text, begin, strlen(begin), no_memory);

	for (size_t i = 0; i < table.n && rc == 0; i++) {
		const char *value = is_left_out(w, prefix, &table.rows[i])
					    ? default_of(w, &table.rows[i])
					    : NULL;

		if (value)
			rc = (next++ > 0 && vec_push(&text, ',', no_memory)) ||
			     vec_append(&text, value, strlen(value), no_memory);
	}
	rc = rc || vec_append(&text, end, sizeof end, no_memory);
	config_init(&tree);
	if (rc == 0 && config_read_string(&tree, text.data) == CONFIG_TRUE)
		values = config_lookup(&tree, "defaults");
	else if (rc == 0)
		fault(w.faults, place, "%s", config_error_text(&tree));
	next = 0;
	for (size_t i = 0; values && i < table.n; i++) {
		const struct setting *row = &table.rows[i];

		if (!row->default_value || !is_left_out(w, prefix, row))
			continue;
		if (!value_take(w, row, config_setting_get_elem(values, next++), table.values))
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

void take_defaults(struct walk w)
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
