/* SPDX-License-Identifier: MIT
 *
 * schedule.c - Contract: schedule.h. Tests: tests/test_run.c.
 */
#include "host/work/schedule.h"

#include <stdlib.h>

struct entry {
	size_t length, index;
};

/* Longest first: the largest batch comes at once, and a lack of memory shows at once. */
static int by_length(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->length != y->length)
		return x->length > y->length ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

int schedule_make(struct schedule *s, const size_t *lengths, size_t n, size_t max_tokens,
	size_t max_prompts, struct err *err)
{
	struct entry *entries = malloc(n * sizeof *entries + 1);
	size_t tokens = 0, prompts = 0;

	*s = (struct schedule){.n = n};
	s->order = malloc(n * sizeof *s->order + 1);
	s->cut = malloc((n + 1) * sizeof *s->cut);
	if (!entries || !s->order || !s->cut) {
		free(entries);
		schedule_free(s);
		return err_nomem(err, "a schedule", n * sizeof *entries);
	}
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct entry){lengths[i], i};
	qsort(entries, n, sizeof *entries, by_length);
	s->cut[0] = 0;
	for (size_t i = 0; i < n; i++) {
		const size_t length = entries[i].length;

		if (prompts > 0 && (prompts == max_prompts || tokens + length > max_tokens)) {
			s->cut[++s->n_batches] = i;
			tokens = prompts = 0;
		}
		s->order[i] = entries[i].index;
		tokens += length;
		prompts++;
		s->most_tokens = tokens > s->most_tokens ? tokens : s->most_tokens;
		s->most_prompts = prompts > s->most_prompts ? prompts : s->most_prompts;
	}
	if (n > 0)
		s->cut[++s->n_batches] = n;
	free(entries);
	return 0;
}

void schedule_free(struct schedule *s)
{
	free(s->order);
	free(s->cut);
	*s = (struct schedule){0};
}
