/* SPDX-License-Identifier: MIT
 *
 * value.c - the value of one setting: from libconfig into its place, and back to text.
 * Contract: config_parts.h.
 */
#include "host/config/config_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_list(const config_setting_t *s)
{
	return config_setting_is_array(s) || config_setting_is_list(s);
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
		snprintf(buffer, size, "%g", config_setting_get_float(s));
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

/* One of n names of experiments or, without `sections`, of a row's choices: NULL behind the last.
 */
static const char *choice(const struct setting *row, const struct config *c, size_t i)
{
	if (row->type != SETTING_EXPERIMENTS)
		return row->choices[i];
	return i < c->n_sections ? c->sections[i].name : NULL;
}

static bool has_choices(const struct setting *row)
{
	return row->choices || row->type == SETTING_EXPERIMENTS;
}

const char *value_expected(const struct setting *row, const struct config *c, char *buffer,
	size_t size)
{
	static const char *const kinds[] = {[SETTING_TEXT] = "a text",
		[SETTING_INTEGER] = "an integer",
		[SETTING_REAL] = "a number",
		[SETTING_BOOL] = "true or false",
		[SETTING_TEXTS] = "a list of texts",
		[SETTING_REALS] = "a list of numbers",
		[SETTING_PROMPTS] = "a text",
		[SETTING_PROMPT_SETS] = "a list of texts",
		[SETTING_EXPERIMENTS] = "a list of",
		[SETTING_MOVED] = ""};
	int n = snprintf(buffer, size, "%s", kinds[row->type]);

	if (has_choices(row)) {
		n = snprintf(buffer, size, row->type == SETTING_TEXT ? "one of" : "a list of");
		for (size_t i = 0; choice(row, c, i); i++)
			n += snprintf(buffer + n, size - (size_t)n, "%s %s", i > 0 ? "," : "",
				choice(row, c, i));
	} else if (row->type == SETTING_INTEGER) {
		snprintf(buffer + n, size - (size_t)n, " from %.0f to %.0f", row->min, row->max);
	} else if (row->type == SETTING_REAL) {
		snprintf(buffer + n, size - (size_t)n, " from %g to %g", row->min, row->max);
	}
	return buffer;
}

static bool one_of(const struct setting *row, const struct config *c, const char *text)
{
	if (!has_choices(row))
		return true;
	for (size_t i = 0; choice(row, c, i); i++)
		if (strcmp(choice(row, c, i), text) == 0)
			return true;
	return false;
}

static void replace_text(char **value, const char *text)
{
	free(*value);
	*value = strdup(text);
}

static void clear_texts(struct text_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){0};
}

static bool is_number(const config_setting_t *s)
{
	return config_setting_is_number(s) == CONFIG_TRUE;
}

static double number_of(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_FLOAT ? config_setting_get_float(s)
							   : (double)config_setting_get_int64(s);
}

/* Element i of a list, or the setting itself when it is a single value. */
static const config_setting_t *element(const config_setting_t *s, size_t i)
{
	return is_list(s) ? config_setting_get_elem(s, (unsigned)i) : s;
}

static size_t elements(const config_setting_t *s)
{
	return is_list(s) ? (size_t)config_setting_length(s) : 1;
}

static bool take_texts(const struct setting *row, const struct config *c, const config_setting_t *s,
	struct text_list *list)
{
	const size_t n = elements(s);

	for (size_t i = 0; i < n; i++) {
		const char *text = config_setting_get_string(element(s, i));

		if (config_setting_type(element(s, i)) != CONFIG_TYPE_STRING ||
			!one_of(row, c, text))
			return false;
	}
	clear_texts(list);
	list->items = calloc(n + 1, sizeof *list->items);
	for (size_t i = 0; i < n && list->items; i++)
		list->items[list->n++] = strdup(config_setting_get_string(element(s, i)));
	return true;
}

static bool take_reals(const struct setting *row, const config_setting_t *s, struct real_list *list)
{
	const size_t n = elements(s);

	for (size_t i = 0; i < n; i++)
		if (!is_number(element(s, i)) || !isfinite(number_of(element(s, i))) ||
			number_of(element(s, i)) < row->min || number_of(element(s, i)) > row->max)
			return false;
	free(list->items);
	list->items = calloc(n + 1, sizeof *list->items);
	list->n = list->items ? n : 0;
	for (size_t i = 0; i < list->n; i++)
		list->items[i] = number_of(element(s, i));
	return true;
}

bool value_take(const struct setting *row, const struct config *c, const config_setting_t *s,
	void *base)
{
	void *value = (char *)base + row->offset;
	const int type = config_setting_type(s);

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_PROMPTS:
		if (type != CONFIG_TYPE_STRING || !one_of(row, c, config_setting_get_string(s)))
			return false;
		replace_text(value, config_setting_get_string(s));
		return true;
	case SETTING_INTEGER:
		if ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) ||
			number_of(s) < row->min || number_of(s) > row->max)
			return false;
		*(int64_t *)value = config_setting_get_int64(s);
		return true;
	case SETTING_REAL:
		if (!is_number(s) || !(number_of(s) >= row->min && number_of(s) <= row->max))
			return false;
		*(double *)value = number_of(s);
		return true;
	case SETTING_BOOL:
		if (type != CONFIG_TYPE_BOOL)
			return false;
		*(bool *)value = config_setting_get_bool(s);
		return true;
	case SETTING_TEXTS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		return take_texts(row, c, s, value);
	case SETTING_REALS:
		return take_reals(row, s, value);
	case SETTING_MOVED:
		break;
	}
	return false;
}

static void print_text(const char *text, FILE *to)
{
	fputc('"', to);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

/* A float that libconfig reads back as a float. */
static void print_real(double value, FILE *to)
{
	char text[40];

	snprintf(text, sizeof text, "%.17g", value);
	fprintf(to, "%s%s", text, strpbrk(text, ".eni") ? "" : ".0");
}

void value_print(const struct setting *row, const void *base, FILE *to)
{
	const void *value = (const char *)base + row->offset;
	const struct text_list *texts = value;
	const struct real_list *reals = value;

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_PROMPTS:
		print_text(*(char *const *)value, to);
		break;
	case SETTING_INTEGER:
		fprintf(to, "%lld", (long long)*(const int64_t *)value);
		break;
	case SETTING_REAL:
		print_real(*(const double *)value, to);
		break;
	case SETTING_BOOL:
		fputs(*(const bool *)value ? "true" : "false", to);
		break;
	case SETTING_TEXTS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		fputc('[', to);
		for (size_t i = 0; i < texts->n; i++) {
			fputs(i ? ", " : "", to);
			print_text(texts->items[i], to);
		}
		fputc(']', to);
		break;
	case SETTING_REALS:
		fputc('[', to);
		for (size_t i = 0; i < reals->n; i++) {
			fputs(i ? ", " : "", to);
			print_real(reals->items[i], to);
		}
		fputc(']', to);
		break;
	case SETTING_MOVED:
		break;
	}
}

void value_free(const struct setting *row, void *base)
{
	void *value = (char *)base + row->offset;

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_PROMPTS:
		free(*(char **)value);
		break;
	case SETTING_TEXTS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		clear_texts(value);
		break;
	case SETTING_REALS:
		free(((struct real_list *)value)->items);
		break;
	case SETTING_INTEGER:
	case SETTING_REAL:
	case SETTING_BOOL:
	case SETTING_MOVED:
		break;
	}
}
