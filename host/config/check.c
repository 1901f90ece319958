/* SPDX-License-Identifier: MIT
 *
 * check.c - settings against each other, once each has its value. Contract: config_parts.h.
 * Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <string.h>

static void check_where(struct walk w, const struct prompts_config *p)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.where", p->name);
	for (size_t i = 0; i < p->where.n; i++)
		if (p->where.items[i][0] == '=' || !strchr(p->where.items[i], '='))
			fault(w.faults, place_of_key(w, key),
				"%s: expected \"FIELD=VALUE\", found \"%s\"", key,
				p->where.items[i]);
}

static void need_prompts(struct walk w, const char *key, const char *name)
{
	if (name && !config_prompts(w.config, name))
		fault(w.faults, place_of_key(w, key),
			"%s: there is no prompt set \"%s\"; add prompts.%s = { file = \"...\"; }",
			key, name, name);
}

/* The prompt sets that a table names and that the run reads. */
static void check_prompt_sets(struct walk w, struct setting_table table)
{
	for (size_t i = 0; i < table.n; i++) {
		const struct setting *row = &table.rows[i];
		const void *value = (const char *)table.values + row->offset;
		const struct text_list *names = value;

		if (row->unread && row->unread(table.values))
			continue;
		if (row->type == SETTING_PROMPTS)
			need_prompts(w, row->key, *(char *const *)value);
		for (size_t k = 0; row->type == SETTING_PROMPT_SETS && k < names->n; k++)
			need_prompts(w, row->key, names->items[k]);
	}
}

static bool needs_saes(const struct config *c)
{
	for (size_t i = 0; i < c->n_sections; i++)
		if (c->sections[i].needs_saes && config_runs(c, c->sections[i].name))
			return true;
	return false;
}

void check_whole(struct walk w)
{
	const struct config *c = w.config;

	for (size_t i = 0; i < c->n_prompts; i++)
		check_where(w, &c->prompts[i]);
	check_prompt_sets(w, config_table(c, 0));
	for (size_t i = 0; i < c->n_sections; i++) {
		if (!config_runs(c, c->sections[i].name))
			continue;
		check_prompt_sets(w, config_table(c, 1 + i));
		if (c->sections[i].check)
			c->sections[i].check(c, c->own[i], w.faults);
	}
	if (c->clamp.scale.items && c->clamp.scale.n == 0)
		fault(w.faults, place_of_key(w, "clamp.scale"),
			"clamp.scale: expected at least one factor, found []");
	if (c->sae.path && !*c->sae.path && needs_saes(c))
		fault(w.faults, place_of_key(w, "sae.path"), "missing key sae.path: %s",
			find_row(common_settings, n_common_settings, "sae.path")->meaning);
}
