/* SPDX-License-Identifier: MIT
 *
 * judge_template.c - Contract: judge_template.h. Tests: tests/test_judge.c.
 */
#include "host/text/judge_template.h"

#include "host/base/utf8.h"

#include <assert.h>
#include <strings.h>

enum place { BEHAVIOR, GENERATION, CONTEXT, N_PLACES };

static const char *const places[N_PLACES] = {"{behavior}", "{generation}", "{context}"};

/* The first place at or behind `from`, and where it is; N_PLACES and the end when there is none. */
static enum place next_place(const struct text *text, size_t from, size_t *at)
{
	for (*at = from; *at < text->n; ++*at)
		for (int p = 0; p < N_PLACES; p++) {
			const size_t length = strlen(places[p]);

			if (length <= text->n - *at &&
				memcmp(text->data + *at, places[p], length) == 0)
				return (enum place)p;
		}
	return N_PLACES;
}

static bool holds(const void *bytes, size_t n, const char *what)
{
	return n > 0 && memmem(bytes, n, what, strlen(what)) != NULL;
}

static int check(const char *name, const void *bytes, size_t n, struct err *err)
{
	size_t bad;

	if (!utf8_valid(bytes, n, &bad))
		return err_set(err, ERR_INPUT,
			"%s: expected a judge's template in UTF-8, found byte 0x%02x at offset %zu",
			name, ((const unsigned char *)bytes)[bad], bad);
	for (int p = 0; p <= GENERATION; p++)
		if (!holds(bytes, n, places[p]))
			return err_set(err, ERR_INPUT,
				"%s: expected a judge's template with %s and %s in it, found none "
				"%s",
				name, places[BEHAVIOR], places[GENERATION], places[p]);
	return 0;
}

int judge_template_parse(struct judge_template *t, const char *name, const void *bytes, size_t n,
	const char *sha256, struct err *err)
{
	*t = (struct judge_template){0};
	if (n == 0)
		return err_set(err, ERR_INPUT,
			"%s: expected a judge's template, found an empty file", name);
	sha256_bytes(bytes, n, t->sha256);
	if (*sha256 && strcasecmp(sha256, t->sha256) != 0)
		return err_set(err, ERR_INPUT,
			"%s: expected the template with SHA-256 %s, found one with %s", name,
			sha256, t->sha256);
	if (check(name, bytes, n, err))
		return err->code;
	return vec_append(&t->text, (const char *)bytes, n, err);
}

int judge_template_read(struct judge_template *t, const char *path, const char *sha256,
	struct err *err)
{
	struct file_map map;
	int rc;

	*t = (struct judge_template){0};
	if (file_map_open(&map, path, err))
		return err->code;
	rc = file_check_size(path, map.size, LIMIT_TEMPLATE, err);
	if (rc == 0)
		rc = judge_template_parse(t, path, map.data, map.size, sha256, err);
	file_map_close(&map);
	return rc;
}

void judge_template_free(struct judge_template *t)
{
	free(t->text.data);
	*t = (struct judge_template){0};
}

size_t judge_template_head(const struct judge_template *t)
{
	size_t at;

	next_place(&t->text, 0, &at);
	return at;
}

size_t judge_template_tail(const struct judge_template *t)
{
	size_t end = 0, at;
	enum place p;

	while ((p = next_place(&t->text, end, &at)) != N_PLACES)
		end = at + strlen(places[p]);
	return t->text.n - end;
}

bool judge_template_takes_context(const struct judge_template *t)
{
	return holds(t->text.data, t->text.n, places[CONTEXT]);
}

int judge_template_render(const struct judge_template *t, const char *behavior, const char *context,
	const char *generation, struct text *out, struct err *err)
{
	const char *const fill[N_PLACES] =
		{[BEHAVIOR] = behavior, [GENERATION] = generation, [CONTEXT] = context};
	size_t from = 0, at;

	assert(context || !judge_template_takes_context(t));
	for (;;) {
		const enum place p = next_place(&t->text, from, &at);

		TRY(vec_append(out, t->text.data + from, at - from, err));
		if (p == N_PLACES)
			return 0;
		TRY(vec_append(out, fill[p], strlen(fill[p]), err));
		from = at + strlen(places[p]);
	}
fail:
	return err->code;
}
