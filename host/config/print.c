/* SPDX-License-Identifier: MIT
 *
 * print.c - settings as text: the file again, the lines that bear on results, the
 * reference. Contract: config.h.
 */
#include "host/config/config_parts.h"

#include <string.h>

/* The group of a dotted key: its length up to the last dot, 0 at the top. */
static size_t group_length(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? (size_t)(dot - key) : 0;
}

/* All rows of a group, whichever table they are in, stand together. */
static void print_group(const struct config *c, const char *group, size_t n, FILE *to)
{
	if (n > 0)
		fprintf(to, "%.*s = {\n", (int)n, group);
	for (size_t t = 0; t < config_tables(c); t++) {
		const struct setting_table table = config_table(c, t);

		for (size_t i = 0; i < table.n; i++) {
			const struct setting *row = &table.rows[i];

			if (row->type == SETTING_MOVED || group_length(row->key) != n ||
				strncmp(row->key, group, n) != 0)
				continue;
			fprintf(to, "%s%s = ", n > 0 ? "\t" : "", row->key + n + (n > 0));
			value_print(row, table.values, to);
			fputs(";\n", to);
		}
	}
	fputs(n > 0 ? "};\n" : "", to);
}

/* Whether an earlier row is of the same group. */
static bool came_before(const struct config *c, size_t table, size_t row)
{
	const char *key = config_table(c, table).rows[row].key;
	const size_t n = group_length(key);

	for (size_t t = 0; t <= table; t++)
		for (size_t i = 0; i < (t < table ? config_table(c, t).n : row); i++) {
			const struct setting *other = &config_table(c, t).rows[i];

			if (other->type != SETTING_MOVED && group_length(other->key) == n &&
				strncmp(other->key, key, n) == 0)
				return true;
		}
	return false;
}

void config_print(const struct config *c, FILE *to)
{
	for (size_t t = 0; t < config_tables(c); t++) {
		const struct setting_table table = config_table(c, t);

		for (size_t i = 0; i < table.n; i++)
			if (table.rows[i].type != SETTING_MOVED && !came_before(c, t, i))
				print_group(c, table.rows[i].key, group_length(table.rows[i].key),
					to);
	}
	fputs("prompts = {\n", to);
	for (size_t i = 0; i < c->n_prompts; i++) {
		fprintf(to, "\t%s = {", c->prompts[i].name);
		for (size_t j = 0; j < n_prompts_settings; j++) {
			if (prompts_settings[j].type == SETTING_MOVED)
				continue;
			fprintf(to, " %s = ", prompts_settings[j].key);
			value_print(&prompts_settings[j], &c->prompts[i], to);
			fputc(';', to);
		}
		fputs(" };\n", to);
	}
	fputs("};\n", to);
}

static bool is_incidental(const char *key)
{
	const char *last = key + group_length(key) + (group_length(key) > 0);

	for (const char *const *i = incidental_settings; *i; i++)
		if (strcmp(last, *i) == 0)
			return true;
	return false;
}

void config_print_lines(const struct config *c, FILE *to)
{
	for (size_t t = 0; t < config_tables(c); t++) {
		const struct setting_table table = config_table(c, t);

		for (size_t i = 0; i < table.n; i++) {
			if (table.rows[i].type == SETTING_MOVED || is_incidental(table.rows[i].key))
				continue;
			fprintf(to, "%s = ", table.rows[i].key);
			value_print(&table.rows[i], table.values, to);
			fputc('\n', to);
		}
	}
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++) {
			if (prompts_settings[j].type == SETTING_MOVED ||
				is_incidental(prompts_settings[j].key))
				continue;
			fprintf(to, "prompts.%s.%s = ", c->prompts[i].name,
				prompts_settings[j].key);
			value_print(&prompts_settings[j], &c->prompts[i], to);
			fputc('\n', to);
		}
	}
}

static void print_row_help(const struct setting *row, const struct config *c, const char *prefix,
	FILE *to)
{
	char what[512];

	fprintf(to, "%s%s\n    %s\n    %s", prefix, row->key, row->meaning,
		value_expected(row, c, what, sizeof what));
	if (row->default_value && setting_released_value(row))
		fprintf(to, "; default %s, with paper_compatible %s\n\n", row->default_value,
			setting_released_value(row));
	else if (row->default_value)
		fprintf(to, "; default %s\n\n", row->default_value);
	else
		fputs("; must be given\n\n", to);
}

void config_print_help(const struct section *sections, size_t n_sections, FILE *to)
{
	const struct config names = {.sections = sections, .n_sections = n_sections};

	fputs("Settings of a config file (libconfig syntax: key = value; groups in braces; "
	      "@include \"file\").\nA dotted key a.b is b inside the group a. A list holds each value "
	      "once, unless its\nplaces are paired with those of another list.\n\n",
		to);
	for (size_t i = 0; i < n_common_settings; i++)
		print_row_help(&common_settings[i], &names, "", to);
	for (size_t i = 0; i < n_sections; i++)
		for (size_t k = 0; k < sections[i].n_rows; k++)
			if (sections[i].rows[k].type != SETTING_MOVED)
				print_row_help(&sections[i].rows[k], &names, "", to);
	for (size_t i = 0; i < n_prompts_settings; i++)
		if (prompts_settings[i].type != SETTING_MOVED)
			print_row_help(&prompts_settings[i], &names, "prompts.NAME.", to);
}
