/* SPDX-License-Identifier: MIT
 *
 * value.c - the value of one setting: from libconfig into its place, and back to text.
 * Contract: config_parts.h.
 */
#include "host/config/config_parts.h"

#include "host/base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_list(const config_setting_t *s)
{
	return config_setting_is_array(s) || config_setting_is_list(s);
}

static bool one_of(const struct setting *row, const struct config *c, const char *text)
{
	for (size_t i = 0; value_choice(row, c, i); i++)
		if (strcmp(value_choice(row, c, i), text) == 0)
			return true;
	return !value_choice(row, c, 0);
}

/* NULL where there is no memory, which is noted. */
static char *copy_text(struct walk w, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		fault_memory(w.faults, text, strlen(text) + 1);
	return copy;
}

/* Room for n and one more, all zero. */
static void *list_of(struct walk w, const struct setting *row, size_t n, size_t size)
{
	void *items = calloc(n + 1, size);

	if (!items)
		fault_memory(w.faults, row->key, (n + 1) * size);
	return items;
}

static void replace_text(struct walk w, char **value, const char *text)
{
	free(*value);
	*value = copy_text(w, text);
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

static bool same_value(const config_setting_t *a, const config_setting_t *b)
{
	const char *text_a = config_setting_get_string(a), *text_b = config_setting_get_string(b);

	if (text_a && text_b)
		return strcmp(text_a, text_b) == 0;
	return is_number(a) && is_number(b) && number_of(a) == number_of(b);
}

/* The first value that comes again in a list that may hold it once; NULL = none. */
static const config_setting_t *repeated(const struct setting *row, const config_setting_t *s)
{
	for (size_t i = 0; is_list(s) && !row->paired && i < elements(s); i++)
		for (size_t k = 0; k < i; k++)
			if (same_value(element(s, i), element(s, k)))
				return element(s, i);
	return NULL;
}

static bool is_digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* The first text among texts and ids that could be an id as well; NULL = none. */
static const config_setting_t *number_in_quotes(const struct setting *row,
	const config_setting_t *s)
{
	for (size_t i = 0; row->type == SETTING_TOKENS && i < elements(s); i++) {
		const char *text = config_setting_get_string(element(s, i));

		if (text && is_digits(text))
			return element(s, i);
	}
	return NULL;
}

static bool list_fits(const struct setting *row, const config_setting_t *s)
{
	return (elements(s) > 0 || may_be_empty(row)) && !repeated(row, s) &&
	       !number_in_quotes(row, s);
}

/* The first text that is not UTF-8, and the offset of its first wrong byte; NULL = none. */
static const char *not_utf8(const config_setting_t *s, size_t *bad)
{
	for (size_t i = 0; i < elements(s); i++) {
		const char *text = config_setting_get_string(element(s, i));

		if (text && !utf8_valid(text, strlen(text), bad))
			return text;
	}
	return NULL;
}

const char *value_complaint(const struct setting *row, const struct config *c,
	const config_setting_t *s, char *buffer, size_t size)
{
	const config_setting_t *twice = repeated(row, s), *number = number_in_quotes(row, s);
	char expected[512], found[256];
	size_t bad;
	const char *text = not_utf8(s, &bad);

	if (text)
		snprintf(buffer, size, "expected UTF-8, found byte 0x%02x at offset %zu",
			(unsigned char)text[bad], bad);
	else if (number)
		snprintf(buffer, size,
			"expected an id without quotes, or a text that is not a number, found %s",
			value_found(number, found, sizeof found));
	else if (twice)
		snprintf(buffer, size, "expected each once, found %s twice",
			value_found(twice, found, sizeof found));
	else
		snprintf(buffer, size, "expected %s, found %s",
			value_expected(row, c, expected, sizeof expected),
			value_found(s, found, sizeof found));
	return buffer;
}

/* A text, or the digits of an id where one may stand in its place; NULL = neither. */
static const char *text_of(const struct setting *row, const config_setting_t *s, char *digits,
	size_t size)
{
	const int type = config_setting_type(s);

	if (row->type != SETTING_TOKENS || (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) ||
		config_setting_get_int64(s) < 0)
		return config_setting_get_string(s);
	snprintf(digits, size, "%lld", config_setting_get_int64(s));
	return digits;
}

static bool take_texts(struct walk w, const struct setting *row, const config_setting_t *s,
	struct text_list *list)
{
	const size_t n = elements(s);
	char digits[32];

	if (!list_fits(row, s))
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *text = text_of(row, element(s, i), digits, sizeof digits);

		if (!text || !one_of(row, w.config, text))
			return false;
	}
	clear_texts(list);
	list->items = list_of(w, row, n, sizeof *list->items);
	for (size_t i = 0; i < n && list->items; i++)
		list->items[list->n++] = copy_text(w,
			text_of(row, element(s, i), digits, sizeof digits));
	return true;
}

static bool take_reals(struct walk w, const struct setting *row, const config_setting_t *s,
	struct real_list *list)
{
	const size_t n = elements(s);

	if (!list_fits(row, s))
		return false;
	for (size_t i = 0; i < n; i++) {
		const double value = is_number(element(s, i)) ? number_of(element(s, i)) : NAN;

		if (!(value >= row->min && value <= row->max) ||
			(row->type == SETTING_INTEGERS && value != floor(value)))
			return false;
	}
	free(list->items);
	list->items = list_of(w, row, n, sizeof *list->items);
	list->n = list->items ? n : 0;
	for (size_t i = 0; i < list->n; i++)
		list->items[i] = number_of(element(s, i));
	return true;
}

static bool take_token(struct walk w, const config_setting_t *s, struct token_choice *token)
{
	const char *text = config_setting_get_string(s);
	const int type = config_setting_type(s);
	const int64_t id = config_setting_get_int64(s);

	if (!text && ((type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) || id < 0 ||
			     id > INT32_MAX))
		return false;
	free(token->text);
	*token = (struct token_choice){text ? copy_text(w, text) : NULL, text ? -1 : id};
	return true;
}

bool value_take(struct walk w, const struct setting *row, const config_setting_t *s, void *base)
{
	void *value = (char *)base + row->offset;
	const int type = config_setting_type(s);
	size_t bad;

	if (not_utf8(s, &bad))
		return false;

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_PROMPTS:
		if (type != CONFIG_TYPE_STRING ||
			!one_of(row, w.config, config_setting_get_string(s)))
			return false;
		replace_text(w, value, config_setting_get_string(s));
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
	case SETTING_TOKEN:
		return take_token(w, s, value);
	case SETTING_TEXTS:
	case SETTING_TOKENS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		return take_texts(w, row, s, value);
	case SETTING_REALS:
	case SETTING_INTEGERS:
		return take_reals(w, row, s, value);
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

/* With an L where libconfig would else wrap it (literals.c). */
static void print_integer(int64_t value, FILE *to)
{
	fprintf(to, "%lld%s", (long long)value, value > INT32_MAX || value < INT32_MIN ? "L" : "");
}

/* A float that libconfig reads back as a float. */
static void print_real(double value, FILE *to)
{
	char text[40];

	snprintf(text, sizeof text, "%.17g", value);
	fprintf(to, "%s%s", text, strpbrk(text, ".eni") ? "" : ".0");
}

/* Ids among texts as numbers, for which the list must stand in ( ). */
static void print_texts(const struct setting *row, const struct text_list *texts, FILE *to)
{
	bool has_ids = false;

	for (size_t i = 0; i < texts->n; i++)
		has_ids |= row->type == SETTING_TOKENS && is_digits(texts->items[i]);
	fputc(has_ids ? '(' : '[', to);
	for (size_t i = 0; i < texts->n; i++) {
		fputs(i ? ", " : "", to);
		if (has_ids && is_digits(texts->items[i]))
			fputs(texts->items[i], to);
		else
			print_text(texts->items[i], to);
	}
	fputc(has_ids ? ')' : ']', to);
}

void value_print(const struct setting *row, const void *base, FILE *to)
{
	const void *value = (const char *)base + row->offset;
	const struct text_list *texts = value;
	const struct real_list *reals = value;
	const struct token_choice *token = value;

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_PROMPTS:
		print_text(*(char *const *)value, to);
		break;
	case SETTING_INTEGER:
		print_integer(*(const int64_t *)value, to);
		break;
	case SETTING_REAL:
		print_real(*(const double *)value, to);
		break;
	case SETTING_BOOL:
		fputs(*(const bool *)value ? "true" : "false", to);
		break;
	case SETTING_TOKEN:
		if (token->text)
			print_text(token->text, to);
		else
			print_integer(token->id, to);
		break;
	case SETTING_TOKENS:
	case SETTING_TEXTS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		print_texts(row, texts, to);
		break;
	case SETTING_REALS:
	case SETTING_INTEGERS:
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
	case SETTING_TOKENS:
	case SETTING_PROMPT_SETS:
	case SETTING_EXPERIMENTS:
		clear_texts(value);
		break;
	case SETTING_REALS:
	case SETTING_INTEGERS:
		free(((struct real_list *)value)->items);
		break;
	case SETTING_TOKEN:
		free(((struct token_choice *)value)->text);
		break;
	case SETTING_INTEGER:
	case SETTING_REAL:
	case SETTING_BOOL:
	case SETTING_MOVED:
		break;
	}
}
