/* SPDX-License-Identifier: MIT
 *
 * prompt_take.c - Contract: prompt_take.h. Tests: tests/test_prompts.c.
 */
#include "host/text/prompt_take.h"

#include "host/base/vec.h"
#include "host/text/prompt_record.h"

#include <ctype.h>

static int copy_text(char **to, const char *from, size_t n, struct err *err)
{
	*to = malloc(n + 1);
	if (!*to)
		return err_nomem(err, "prompts", n + 1);
	memcpy(*to, from, n);
	(*to)[n] = '\0';
	return 0;
}

/* base, a space, and the first n bytes of the suffix. */
static int join(char **to, const char *base, const char *suffix, size_t n, struct err *err)
{
	const size_t length = strlen(base);

	*to = malloc(length + n + 2);
	if (!*to)
		return err_nomem(err, "prompts", length + n + 2);
	memcpy(*to, base, length + 1);
	if (n > 0) {
		(*to)[length] = ' ';
		memcpy(*to + length + 1, suffix, n);
		(*to)[length + 1 + n] = '\0';
	}
	return 0;
}

/* Appends the base of p with the first n bytes of its suffix. */
static int add(struct prompt_list *items, const struct prompt *p, size_t n, struct err *err)
{
	struct prompt out = {.record = p->record};
	const bool complete = join(&out.text, p->base, p->suffix, n, err) == 0 &&
			      copy_text(&out.base, p->base, strlen(p->base), err) == 0 &&
			      copy_text(&out.suffix, n > 0 ? p->suffix : "", n, err) == 0 &&
			      prompt_copy_shared(&out, p, err) == 0;

	if (complete && vec_push(items, out, err) == 0)
		return 0;
	prompt_free(&out);
	return err->code;
}

static int add_words(struct prompt_list *items, const struct prompt *p, struct err *err)
{
	const char *s = p->suffix;

	if (add(items, p, 0, err))
		return err->code;
	for (size_t i = 0; s[i]; i++)
		if (!isspace((unsigned char)s[i]) &&
			(!s[i + 1] || isspace((unsigned char)s[i + 1])) &&
			add(items, p, i + 1, err))
			return err->code;
	return 0;
}

int prompt_set_take(struct prompt_set *set, enum prompt_take take, struct err *err)
{
	struct prompt_set out = *set;
	struct prompt_list items = {0};

	if (take == PROMPT_TAKE_TEXT)
		return 0;
	err_clear(err);
	for (size_t i = 0; i < set->n; i++) {
		const struct prompt *p = &set->items[i];

		if (!p->base || (take == PROMPT_TAKE_WORDS && (!p->suffix || !*p->suffix))) {
			err_set(err, ERR_INPUT,
				"expected prompts with a %s, found none in record %zu; name the field of "
				"the suffixes (suffix_field), or a file of pairs",
				p->base ? "suffix" : "base", p->record);
			goto fail;
		}
		TRY(take == PROMPT_TAKE_BASE ? add(&items, p, 0, err) : add_words(&items, p, err));
	}
fail:
	out.items = items.data;
	out.n = items.n;
	prompt_set_free(set);
	*set = out;
	return err->code;
}
