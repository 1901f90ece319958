/* SPDX-License-Identifier: MIT
 *
 * prompts.c - Contract: prompts.h. Tests: tests/test_prompts.c. Formats: prompt_formats.c; what a
 * record means: prompt_record.c.
 */
#include "host/text/prompts.h"

#include "host/base/random.h"
#include "host/text/prompt_formats.h"
#include "host/base/utf8.h"

static void select_prompts(struct prompt_set *set, const struct prompt_selection *selection)
{
	uint64_t seed = selection->seed;

	if (selection->shuffle)
		random_shuffle(&seed, set->items, set->n, sizeof *set->items);
	while (selection->limit && set->n > selection->limit)
		prompt_free(&set->items[--set->n]);
}

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

int prompt_set_parse(struct prompt_set *set, const char *name, const void *bytes, size_t n,
	const struct prompt_selection *selection, struct err *err)
{
	struct prompt_list list = {0};
	int rc;

	*set = (struct prompt_set){0};
	sha256_bytes(bytes, n, set->sha256);
	rc = check_bytes(name, bytes, n, err);
	if (!rc)
		rc = prompt_format_read(&list, name, bytes, n, selection, err);
	set->items = list.data;
	set->n = list.n;
	if (!rc)
		select_prompts(set, selection);
	if (!rc && set->n == 0)
		rc = err_set(err, ERR_INPUT, "%s: no prompt%s", name,
			selection->n_where ? " that `where` lets through" : "");
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
