/* SPDX-License-Identifier: MIT
 *
 * config.c - questions about a config. Contract: config.h. What it is made of: tables.c. Reading
 * one: load.c.
 */
#include "host/config/config.h"

#include <string.h>

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

const void *config_own(const struct config *c, const char *experiment)
{
	for (size_t i = 0; i < c->n_sections; i++)
		if (strcmp(c->sections[i].name, experiment) == 0)
			return c->own[i];
	return NULL;
}

bool config_runs(const struct config *c, const char *experiment)
{
	return text_list_holds(&c->experiment, experiment);
}

double config_scale(const struct config *c)
{
	return c->clamp.scale.items[0];
}
