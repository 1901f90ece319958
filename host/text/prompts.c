/* SPDX-License-Identifier: MIT
 *
 * prompts.c - Contract: prompts.h. Tests: tests/test_text.c.
 */
#include "host/text/prompts.h"

#include "host/base/random.h"
#include "host/formats/json.h"
#include "host/text/utf8.h"

#include <stdlib.h>
#include <string.h>

static int read_record(struct prompt *p, const char *path, const json_t *record, size_t index,
	struct err *err)
{
	const json_t *instruction = json_object_get(record, "instruction");
	const json_t *category = json_object_get(record, "category");
	const char *text = json_string_value(instruction);

	p->record = index;
	if (!text)
		return err_set(err, ERR_INPUT,
			"%s: record %zu: expected a string \"instruction\", found %s", path, index,
			json_kind(instruction));
	if (strlen(text) != json_string_length(instruction))
		return err_set(err, ERR_INPUT, "%s: record %zu: its instruction holds a zero byte",
			path, index);
	if (text[strspn(text, " \t\r\n")] == '\0')
		return err_set(err, ERR_INPUT, "%s: record %zu: its instruction is empty", path,
			index);
	p->text = strdup(text);
	if (json_is_string(category))
		p->category = strdup(json_string_value(category));
	if (!p->text || (json_is_string(category) && !p->category))
		return err_nomem(err, path, strlen(text));
	return 0;
}

static void prompt_free(struct prompt *p)
{
	free(p->text);
	free(p->category);
}

/* Keeps the records of one category, in order. */
static void keep_category(struct prompt_set *set, const char *category)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct prompt p = set->items[i];

		if (p.category && strcmp(p.category, category) == 0)
			set->items[kept++] = p;
		else
			prompt_free(&p);
	}
	set->n = kept;
}

static void shuffle(struct prompt_set *set, uint64_t seed)
{
	for (size_t i = set->n; i > 1; i--) {
		const size_t j = random_below(&seed, i);
		const struct prompt swap = set->items[i - 1];

		set->items[i - 1] = set->items[j];
		set->items[j] = swap;
	}
}

static void select_prompts(struct prompt_set *set, const struct prompt_selection *selection)
{
	if (selection->category)
		keep_category(set, selection->category);
	if (selection->shuffle)
		shuffle(set, selection->seed);
	while (selection->limit && set->n > selection->limit)
		prompt_free(&set->items[--set->n]);
}

static int read_array(struct prompt_set *set, const char *path, const json_t *array,
	struct err *err)
{
	if (!json_is_array(array))
		return err_set(err, ERR_INPUT,
			"%s: expected an array of {\"instruction\": ...}, found %s", path,
			json_kind(array));
	set->items = calloc(json_array_size(array) + 1, sizeof *set->items);
	if (!set->items)
		return err_nomem(err, path, json_array_size(array) * sizeof *set->items);
	for (size_t i = 0; i < json_array_size(array); i++)
		if (read_record(&set->items[set->n++], path, json_array_get(array, i), i, err))
			return err->code;
	return 0;
}

int prompt_set_read(struct prompt_set *set, const char *path,
	const struct prompt_selection *selection, struct err *err)
{
	struct file_map map = {0};
	json_t *array = NULL;

	*set = (struct prompt_set){0};
	TRY(file_map_open(&map, path, err));
	sha256_bytes(map.data, map.size, set->sha256);
	TRY(json_parse(&array, path, map.data ? (const char *)map.data : "", map.size, err));
	TRY(read_array(set, path, array, err));
	select_prompts(set, selection);
	if (set->n == 0) {
		err_set(err, ERR_INPUT, "%s: no prompt%s%s", path,
			selection->category ? " of category " : "",
			selection->category ? selection->category : "");
		goto fail;
	}
	json_decref(array);
	file_map_close(&map);
	return 0;
fail:
	json_decref(array);
	file_map_close(&map);
	prompt_set_free(set);
	return err->code;
}

void prompt_set_free(struct prompt_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		prompt_free(&set->items[i]);
	free(set->items);
	*set = (struct prompt_set){0};
}
