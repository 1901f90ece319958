/* SPDX-License-Identifier: MIT
 *
 * prompts.c - Contract: prompts.h. Tests: tests/test_prompts.c. Formats: prompt_formats.c; what a
 * record means: prompt_record.c.
 */
#include "host/text/prompts.h"

#include "host/base/random.h"
#include "host/text/prompt_formats.h"
#include "host/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

const char *const prompt_left_out_names[N_PROMPT_LEFT_OUT] = {
	[PROMPT_LEFT_OUT_WHERE] = "by where",
	[PROMPT_LEFT_OUT_INPUT] = "with an input",
	[PROMPT_LEFT_OUT_EMPTY] = "with an empty prompt",
	[PROMPT_LEFT_OUT_SUFFIX] = "with no suffix",
	[PROMPT_LEFT_OUT_LIMIT] = "beyond the limit",
};

/* ---- what was taken ---------------------------------------------------------------------- */

static int say(struct text *out, struct err *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int say(struct text *out, struct err *err, const char *format, ...)
{
	char words[512];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof words, format, args);
	va_end(args);
	return vec_append(out, words, strlen(words), err);
}

/* "of 520 records left out: 12 with an input, 408 beyond the limit". */
static int say_left_out(const struct prompt_counts *counts, struct text *out, struct err *err)
{
	const char *before = "left out: ";

	TRY(say(out, err, "of %zu record%s ", counts->n_records,
		counts->n_records == 1 ? "" : "s"));
	for (int i = 0; i < N_PROMPT_LEFT_OUT; i++) {
		if (counts->left_out[i] == 0)
			continue;
		TRY(say(out, err, "%s%zu %s", before, counts->left_out[i],
			prompt_left_out_names[i]));
		before = ", ";
	}
	return *before == 'l' ? say(out, err, "none left out") : 0;
fail:
	return err->code;
}

/* `field "goal", `, or each with how many texts it gave; nothing where texts stand alone. */
static int say_fields(const struct prompt_set *set, struct text *out, struct err *err)
{
	enum { MOST = 16 }; /* fields of known names; one that is named is alone */
	const char *names[MOST];
	size_t count[MOST], n = 0;

	for (size_t i = 0; i < set->n; i++) {
		const char *name = set->items[i].field;
		size_t k = 0;

		while (name && k < n && strcmp(names[k], name) != 0)
			k++;
		if (!name || k == MOST)
			continue;
		if (k == n) {
			names[n] = name;
			count[n++] = 0;
		}
		count[k]++;
	}
	if (n == 1)
		return say(out, err, "field \"%s\", ", names[0]);
	for (size_t k = 0; k < n; k++)
		TRY(say(out, err, "%zu of field \"%s\", ", count[k], names[k]));
	return 0;
fail:
	return err->code;
}

int prompt_set_describe(const struct prompt_set *set, struct text *out, struct err *err)
{
	size_t contexts = 0, systems = 0, conversations = 0;

	for (size_t i = 0; i < set->n; i++) {
		contexts += set->items[i].context != NULL;
		systems += set->items[i].system != NULL;
		conversations += set->items[i].messages != NULL;
	}
	TRY(say_fields(set, out, err));
	if (contexts)
		TRY(say(out, err, "%zu with a context, ", contexts));
	if (systems)
		TRY(say(out, err, "%zu with a system text, ", systems));
	if (conversations)
		TRY(say(out, err, "%zu conversation%s, ", conversations,
			conversations == 1 ? "" : "s"));
	TRY(say_left_out(&set->counts, out, err));
	return vec_push(out, '\0', err);
fail:
	return err->code;
}

/* A set without a prompt: what became of the records. */
static int none_left(const struct prompt_set *set, const char *name, struct err *err)
{
	struct text why = {0};

	if (prompt_set_describe(set, &why, err) == 0)
		err_set(err, ERR_INPUT, "%s: expected a prompt, found none; %s", name, why.data);
	free(why.data);
	return err->code;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Files that are not what their name says. */
static int check_bytes(const char *name, const char *bytes, size_t n, struct err *err)
{
	static const struct {
		const char *begin, *what;
	} others[] = {
		{"PAR1", "a Parquet file; convert it to JSON lines"},
		{"\x28\xb5\x2f\xfd", "a file compressed with zstd; unpack it"},
		{"\x1f\x8b", "a file compressed with gzip; unpack it"},
	};
	size_t bad, line = 1;

	if (is_lfs_pointer(bytes, n))
		return err_set(err, ERR_INPUT,
			"%s: this is a git-lfs pointer, not the prompts; fetch them with `git lfs "
			"pull` "
			"or `huggingface-cli download`",
			name);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (n >= strlen(others[i].begin) &&
			memcmp(bytes, others[i].begin, strlen(others[i].begin)) == 0)
			return err_set(err, ERR_INPUT, "%s: expected text, found %s", name,
				others[i].what);
	if (utf8_valid(bytes, n, &bad))
		return 0;
	for (size_t i = 0; i < bad; i++)
		line += bytes[i] == '\n';
	return err_set(err, ERR_INPUT, "%s:%zu: expected UTF-8, found byte 0x%02x at offset %zu",
		name, line, (unsigned char)bytes[bad], bad);
}

static void select_prompts(struct prompt_set *set, const struct prompt_selection *selection)
{
	uint64_t seed = selection->seed;

	if (selection->shuffle)
		random_shuffle(&seed, set->items, set->n, sizeof *set->items);
	while (selection->limit && set->n > selection->limit) {
		prompt_free(&set->items[--set->n]);
		set->counts.left_out[PROMPT_LEFT_OUT_LIMIT]++;
	}
}

int prompt_set_parse(struct prompt_set *set, const char *name, const void *bytes, size_t n,
	const struct prompt_selection *selection, struct err *err)
{
	struct prompt_list list = {0};
	int rc;

	*set = (struct prompt_set){0};
	sha256_bytes(bytes, n, set->sha256);
	rc = check_bytes(name, bytes, n, err);
	if (!rc)
		rc = prompt_format_read(&list, &set->counts, name, bytes, n, selection, err);
	set->items = list.data;
	set->n = list.n;
	if (!rc)
		select_prompts(set, selection);
	if (!rc && set->n == 0)
		rc = none_left(set, name, err);
	if (rc)
		prompt_set_free(set);
	return rc;
}

int prompt_set_read(struct prompt_set *set, const char *path,
	const struct prompt_selection *selection, struct err *err)
{
	struct file_map map;
	int rc;

	*set = (struct prompt_set){0};
	if (file_map_open(&map, path, err))
		return err->code;
	rc = file_check_size(path, map.size, LIMIT_PROMPTS, err);
	if (rc == 0)
		rc = prompt_set_parse(set, path, map.data ? (const char *)map.data : "", map.size,
			selection, err);
	file_map_close(&map);
	return rc;
}

int prompt_message(const struct prompt *p, struct text *out, struct err *err)
{
	static const char rule[] = "\n\n---\n\n";

	if (p->context) {
		TRY(vec_append(out, p->context, strlen(p->context), err));
		TRY(vec_append(out, rule, sizeof rule - 1, err));
	}
	return vec_append(out, p->text, strlen(p->text) + 1, err);
fail:
	return err->code;
}

void prompt_set_free(struct prompt_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		prompt_free(&set->items[i]);
	free(set->items);
	*set = (struct prompt_set){0};
}
