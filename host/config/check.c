/* SPDX-License-Identifier: MIT
 *
 * check.c - settings against each other, once each has its value. Contract: config_parts.h.
 * Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdio.h>
#include <string.h>

static void check_where(struct walk w, const struct prompts_config *p)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.where", p->name);
	for (size_t i = 0; i < p->where.n; i++)
		if (p->where.items[i][0] == '=' || !strchr(p->where.items[i], '='))
			config_fault(w.faults, key, "expected \"FIELD=VALUE\", found \"%s\"",
				p->where.items[i]);
}

/* A field that is named and, by another setting, not read. */
static void check_field(struct walk w, const struct prompts_config *p, const char *what,
	const char *field, bool read)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.%s_field", p->name, what);
	if (field && *field && !read)
		config_fault(w.faults, key, "expected none beside %s = false, found \"%s\"", what,
			field);
}

static void need_prompts(struct walk w, const char *key, const char *name)
{
	if (name && !*name)
		config_fault(w.faults, key, "expected the name of a prompt set, found \"\"");
	else if (name && !config_prompts(w.config, name))
		config_fault(w.faults, key,
			"there is no prompt set \"%s\"; add prompts.%s = { file = \"...\"; }", name,
			name);
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

/* Asked for by their names, all that are in the run. */
static void need_saes(struct walk w)
{
	const struct config *c = w.config;
	char names[512] = "";
	size_t n = 0;

	for (size_t i = 0; i < c->n_sections; i++) {
		const size_t length = strlen(names);

		if (c->sections[i].needs_saes && config_runs(c, c->sections[i].name))
			snprintf(names + length, sizeof names - length, "%s%s", n++ ? ", " : "",
				c->sections[i].name);
	}
	if (n > 0)
		config_fault(w.faults, "sae.path", "%s need%s SAEs, found \"\"", names,
			n == 1 ? "s" : "");
}

void config_need_features(const struct config *c, struct faults *f, const char *const *keys)
{
	if (!c->sae.path || *c->sae.path || key_place(f->walk->given, "sae.path"))
		return;
	for (; *keys; keys++)
		if (key_place(f->walk->given, *keys))
			config_fault(f, *keys,
				"expected SAEs whose features it is of, found no sae.path; give it, or "
				"sae.path = \"\" to do without features");
}

/* Settings that mean nothing without another, which is empty. */
static void check_alone(struct walk w)
{
	const struct config *c = w.config;
	const bool no_saes = c->sae.path && !*c->sae.path;

	if (no_saes)
		need_saes(w);
	if (no_saes && c->sae.check)
		config_fault(w.faults, "sae.check",
			"expected SAEs to check, found sae.path = \"\"");
	if (no_saes && c->save.features)
		config_fault(w.faults, "save.features",
			"expected SAEs to save the features of, found sae.path = \"\"");
	if (c->from && !*c->from && c->from_k_star > 0)
		config_fault(w.faults, "from_k_star",
			"expected a file to take the best %lld features from, found from = \"\"",
			(long long)c->from_k_star);
}

void check_whole(struct walk w)
{
	const struct config *c = w.config;

	for (size_t i = 0; i < c->n_prompts; i++) {
		const struct prompts_config *p = &c->prompts[i];

		check_where(w, p);
		check_field(w, p, "context", p->context_field, p->context);
		check_field(w, p, "system", p->system_field, p->system);
	}
	check_prompt_sets(w, config_table(c, 0));
	for (size_t i = 0; i < c->n_sections; i++) {
		if (!config_runs(c, c->sections[i].name))
			continue;
		check_prompt_sets(w, config_table(c, 1 + i));
		if (c->sections[i].check)
			c->sections[i].check(c, c->own[i], w.faults);
	}
	check_alone(w);
}
