/* SPDX-License-Identifier: MIT
 *
 * words.c - settings and values in words, for messages and --help-config. Contract: config_parts.h.
 * Tests: tests/test_errors.c.
 */
#include "host/config/config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In as few digits as give the value again: as it was written, most likely. */
static void put_real(double value, char *buffer, size_t size)
{
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(buffer, size, "%.*g", digits, value);
		if (strtod(buffer, NULL) == value)
			return;
	}
}

const char *value_found(const config_setting_t *s, char *buffer, size_t size)
{
	size_t n = 0;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(buffer, size, "%lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		put_real(config_setting_get_float(s), buffer, size);
		break;
	case CONFIG_TYPE_STRING:
		snprintf(buffer, size, "\"%s\"", config_setting_get_string(s));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(buffer, size, "%s", config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(buffer, size, "a group");
		break;
	default:
		snprintf(buffer, size, "[");
		for (int i = 0; i < config_setting_length(s) && (n = strlen(buffer)) + 2 < size;
			i++) {
			snprintf(buffer + n, size - n, "%s", i ? ", " : "");
			n = strlen(buffer);
			value_found(config_setting_get_elem(s, (unsigned)i), buffer + n, size - n);
		}
		n = strlen(buffer);
		snprintf(buffer + n, size - n, "]");
	}
	return buffer;
}

const char *value_choice(const struct setting *row, const struct config *c, size_t i)
{
	if (row->type == SETTING_EXPERIMENTS)
		return i < c->n_sections ? c->sections[i].name : NULL;
	return row->choices ? row->choices[i] : NULL;
}

bool may_be_empty(const struct setting *row)
{
	return row->default_value && strcmp(row->default_value, "[]") == 0;
}

/* What one value is, or, in the plural, those of a list. */
static const char *kind(enum setting_type type)
{
	static const char *const kinds[] = {[SETTING_TEXT] = "a text",
		[SETTING_INTEGER] = "an integer",
		[SETTING_REAL] = "a number",
		[SETTING_BOOL] = "true or false",
		[SETTING_TOKEN] = "a text of one token or the id of a token",
		[SETTING_TEXTS] = "texts",
		[SETTING_TOKENS] = "texts and ids",
		[SETTING_INTEGERS] = "whole numbers",
		[SETTING_REALS] = "numbers",
		[SETTING_PROMPTS] = "the name of a prompt set",
		[SETTING_PROMPT_SETS] = "names of prompt sets",
		[SETTING_EXPERIMENTS] = "experiments",
		[SETTING_MOVED] = ""};

	return kinds[type];
}

static bool is_list(enum setting_type type)
{
	return type == SETTING_TEXTS || type == SETTING_TOKENS || type == SETTING_INTEGERS ||
	       type == SETTING_REALS || type == SETTING_PROMPT_SETS || type == SETTING_EXPERIMENTS;
}

static bool is_bounded(const struct setting *row)
{
	return row->min < row->max && (row->min > -BIG || row->max < BIG);
}

const char *value_expected(const struct setting *row, const struct config *c, char *buffer,
	size_t size)
{
	const bool whole = row->type == SETTING_INTEGER || row->type == SETTING_INTEGERS;
	size_t n = 0;

	buffer[0] = '\0';
	if (is_list(row->type))
		snprintf(buffer, size, may_be_empty(row) ? "a list of " : "a list of one or more ");
	n = strlen(buffer);
	if (!value_choice(row, c, 0))
		snprintf(buffer + n, size - n, "%s", kind(row->type));
	else
		snprintf(buffer + n, size - n, is_list(row->type) ? "of" : "one of");
	for (size_t i = 0; value_choice(row, c, i); i++) {
		n = strlen(buffer);
		snprintf(buffer + n, size - n, "%s %s", i > 0 ? "," : "", value_choice(row, c, i));
	}
	n = strlen(buffer);
	if (is_bounded(row) && whole)
		snprintf(buffer + n, size - n, " from %.0f to %.0f", row->min, row->max);
	else if (is_bounded(row))
		snprintf(buffer + n, size - n, " from %g to %g", row->min, row->max);
	return buffer;
}
