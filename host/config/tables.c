/* SPDX-License-Identifier: MIT
 *
 * tables.c - the tables of a config, and the memory of its values. Contract: config_parts.h,
 * config.h.
 */
#include "host/config/config_parts.h"

#include <stdlib.h>
#include <string.h>

const struct setting *find_row(const struct setting *rows, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].key, key) == 0)
			return &rows[i];
	return NULL;
}

size_t config_tables(const struct config *c)
{
	return 1 + c->n_sections;
}

struct setting_table config_table(const struct config *c, size_t t)
{
	if (t == 0)
		return (struct setting_table){common_settings, n_common_settings, (void *)c};
	if (t > c->n_sections)
		return (struct setting_table){0};
	return (struct setting_table){c->sections[t - 1].rows, c->sections[t - 1].n_rows,
		c->own[t - 1]};
}

int config_make_tables(struct config *c, const struct section *sections, size_t n_sections,
	struct err *err)
{
	*c = (struct config){.sections = sections, .own = calloc(n_sections + 1, sizeof *c->own)};
	if (!c->own)
		return err_nomem(err, "settings", n_sections * sizeof *c->own);
	for (; c->n_sections < n_sections; c->n_sections++) {
		const size_t size = sections[c->n_sections].size;

		c->own[c->n_sections] = calloc(1, size + 1);
		if (!c->own[c->n_sections])
			return err_nomem(err, "settings", size);
	}
	return 0;
}

void config_free(struct config *c)
{
	for (size_t t = 0; t < config_tables(c); t++) {
		const struct setting_table table = config_table(c, t);

		for (size_t i = 0; i < table.n; i++)
			value_free(&table.rows[i], table.values);
	}
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++)
			value_free(&prompts_settings[j], &c->prompts[i]);
		free(c->prompts[i].name);
	}
	free(c->prompts);
	for (size_t i = 0; i < c->n_sections; i++)
		free(c->own[i]);
	free(c->own);
	*c = (struct config){0};
}
