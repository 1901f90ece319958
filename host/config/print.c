/* SPDX-License-Identifier: MIT
 *
 * print.c - settings as text: the file again, the lines that bear on results, the
 * reference. Contract: config.h.
 */
#include "host/config/parts.h"

#include <string.h>

/* The group of a dotted key: its length up to the last dot, 0 at the top. */
static size_t group_length(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? (size_t)(dot - key) : 0;
}

void config_print(const struct config *c, FILE *to)
{
	const char *open = "";
	size_t n_open = 0;

	for (size_t i = 0; i < n_config_settings; i++) {
		const char *key = config_settings[i].key;
		const size_t n = group_length(key);

		if (n != n_open || strncmp(key, open, n) != 0) {
			fputs(n_open ? "};\n" : "", to);
			if (n)
				fprintf(to, "%.*s = {\n", (int)n, key);
			open = key;
			n_open = n;
		}
		fprintf(to, "%s%s = ", n ? "\t" : "", key + n + (n > 0));
		value_print(&config_settings[i], c, to);
		fputs(";\n", to);
	}
	fputs(n_open ? "};\n" : "", to);
	fputs("prompts = {\n", to);
	for (size_t i = 0; i < c->n_prompts; i++) {
		fprintf(to, "\t%s = {", c->prompts[i].name);
		for (size_t j = 0; j < n_prompts_settings; j++) {
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
	for (size_t i = 0; i < n_config_settings; i++) {
		if (is_incidental(config_settings[i].key))
			continue;
		fprintf(to, "%s = ", config_settings[i].key);
		value_print(&config_settings[i], c, to);
		fputc('\n', to);
	}
	for (size_t i = 0; i < c->n_prompts; i++) {
		for (size_t j = 0; j < n_prompts_settings; j++) {
			if (is_incidental(prompts_settings[j].key))
				continue;
			fprintf(to, "prompts.%s.%s = ", c->prompts[i].name,
				prompts_settings[j].key);
			value_print(&prompts_settings[j], &c->prompts[i], to);
			fputc('\n', to);
		}
	}
}

static void print_row_help(const struct setting *row, const char *prefix, FILE *to)
{
	char what[512];

	fprintf(to, "%s%s\n    %s\n    %s", prefix, row->key, row->meaning,
		value_expected(row, what, sizeof what));
	if (row->default_value && setting_released_value(row))
		fprintf(to, "; default %s, with paper_compatible %s\n\n", row->default_value,
			setting_released_value(row));
	else if (row->default_value)
		fprintf(to, "; default %s\n\n", row->default_value);
	else
		fputs("; must be given\n\n", to);
}

void config_print_help(FILE *to)
{
	fputs("Settings of a config file (libconfig syntax: key = value; groups in braces; "
	      "@include \"file\").\nA dotted key a.b is b inside the group a.\n\n",
		to);
	for (size_t i = 0; i < n_config_settings; i++)
		print_row_help(&config_settings[i], "", to);
	for (size_t i = 0; i < n_prompts_settings; i++)
		print_row_help(&prompts_settings[i], "prompts.NAME.", to);
}
