/* SPDX-License-Identifier: MIT
 *
 * ranks_agree.c - Contract: ranks_agree.h. Tests: tests/test_ranks.c.
 */
#include "host/work/ranks_agree.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/work/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that a rank says of its differences. */
enum { MOST = 3000 };

/* A word "CODE KIND text": the error that the ranks are to end with, code 0 = none. */
enum { DIFFERENCE = 'd', FAULT = 'f' };

static int say_verdict(const struct ranks *ranks, const char *topic, int code, char kind,
	const char *text, struct err *err)
{
	char word[sizeof err->text + 16];

	snprintf(word, sizeof word, "%d %c %.*s", code, kind, (int)sizeof err->text - 1, text);
	return ranks_say(ranks, topic, word, err);
}

static int read_verdict(const char *word, char *kind, const char **text)
{
	const char *space = strchr(word, ' ');

	*kind = space && space[1] ? space[1] : FAULT;
	*text = space && space[1] && space[2] ? space + 3 : "";
	return (int)strtol(word, NULL, 10);
}

/* ---- rank 0 ------------------------------------------------------------------------------ */

struct words {
	char **data; /* [world], each owned */
	size_t n;
};

static void words_free(struct words *w)
{
	for (size_t i = 0; w->data && i < w->n; i++)
		free(w->data[i]);
	free(w->data);
}

static int hear_all(const struct ranks *ranks, const char *topic, struct words *w, struct err *err)
{
	w->n = ranks->world;
	w->data = calloc(w->n, sizeof *w->data);
	if (!w->data)
		return err_nomem(err, "the words of all ranks", w->n * sizeof *w->data);
	for (size_t r = 1; r < w->n; r++)
		TRY(ranks_hear(ranks, topic, r, &w->data[r], err));
	return 0;
fail:
	return err->code;
}

/* "rank 1", "ranks 1, 4-7": those whose word is that of rank `first`. */
static void name_ranks(const struct words *w, size_t first, char *out, size_t size)
{
	size_t n = 0, at = 0;

	for (size_t r = first; r < w->n; r++)
		n += strcmp(w->data[r], w->data[first]) == 0;
	at += (size_t)snprintf(out, size, "%s", n == 1 ? "rank" : "ranks");
	for (size_t r = first, last; r < w->n && at < size; r = last + 1) {
		last = r;
		if (strcmp(w->data[r], w->data[first]) != 0)
			continue;
		while (last + 1 < w->n && strcmp(w->data[last + 1], w->data[first]) == 0)
			last++;
		at += (size_t)snprintf(out + at, size - at, "%s%zu", r == first ? " " : ", ", r);
		if (last > r && at < size)
			at += (size_t)snprintf(out + at, size - at, "-%zu", last);
	}
}

static bool said_before(const struct words *w, size_t rank)
{
	for (size_t r = 1; r < rank; r++)
		if (strcmp(w->data[r], w->data[rank]) == 0)
			return true;
	return false;
}

/* A rank's fault is told alone, differences all together, each with the ranks that have it. */
static void gather(const struct words *w, const char *what, int code, struct err *verdict)
{
	size_t n = 0;

	verdict->code = 0;
	for (size_t r = 1; r < w->n; r++) {
		const char *text;
		char kind, who[256];
		const int found = read_verdict(w->data[r], &kind, &text);

		if (found == 0 || said_before(w, r))
			continue;
		name_ranks(w, r, who, sizeof who);
		if (kind == FAULT) {
			err_set(verdict, found, "%s: %s", who, text);
			return;
		}
		if (!verdict->code)
			err_set(verdict, code, "%s: expected the same on all ranks", what);
		n = strlen(verdict->text);
		snprintf(verdict->text + n, sizeof verdict->text - n, "\non %s:%s", who, text);
	}
}

static int settle(const struct ranks *ranks, const char *what, const char *mine, const char *end,
	int code, const struct err *fault, struct err *verdict, struct err *err)
{
	struct words w = {0};

	TRY(hear_all(ranks, mine, &w, err));
	if (fault && fault->code)
		err_set(verdict, fault->code, "rank 0: %s", fault->text);
	else
		gather(&w, what, code, verdict);
	TRY(say_verdict(ranks, end, verdict->code, DIFFERENCE, verdict->code ? verdict->text : "",
		err));
	err_clear(err);
fail:
	words_free(&w);
	return err->code;
}

/* ---- the others -------------------------------------------------------------------------- */

static int compare(const struct ranks *ranks, const char *topic, const char *mine, const char *text,
	int code, const struct err *fault, struct err *err)
{
	static const struct manifest_sides who = {"rank 0 has", "here"};
	struct text differences = {0};
	char *theirs = NULL, word[MOST + 1] = "";

	TRY(ranks_hear(ranks, topic, 0, &theirs, err));
	if (fault && fault->code) {
		TRY(say_verdict(ranks, mine, fault->code, FAULT, fault->text, err));
	} else {
		if (*theirs) /* empty: rank 0 has a fault of its own */
			manifest_compare(theirs, text, who, &differences);
		snprintf(word, sizeof word, "%.*s", (int)differences.n,
			differences.n ? differences.data : "");
		TRY(say_verdict(ranks, mine, differences.n ? code : 0, DIFFERENCE, word, err));
	}
fail:
	free(differences.data);
	free(theirs);
	return err->code;
}

static int hear_end(const struct ranks *ranks, const char *end, struct err *verdict,
	struct err *err)
{
	const char *text;
	char *word, kind;

	if (ranks_hear(ranks, end, 0, &word, err))
		return err->code;
	verdict->code = read_verdict(word, &kind, &text);
	snprintf(verdict->text, sizeof verdict->text, "%s", text);
	free(word);
	return 0;
}

int ranks_agree(const struct ranks *ranks, const char *topic, const char *what, const char *text,
	int code, const struct err *fault, struct err *err)
{
	struct err verdict = {0};
	char mine[48], end[48];

	err_clear(err);
	if (!ranks->meeting) {
		if (fault && fault->code)
			*err = *fault;
		return err->code;
	}
	snprintf(mine, sizeof mine, "%s-mine", topic);
	snprintf(end, sizeof end, "%s-end", topic);
	if (ranks->rank == 0) {
		TRY(ranks_say(ranks, topic, fault && fault->code ? "" : text, err));
		TRY(settle(ranks, what, mine, end, code, fault, &verdict, err));
	} else {
		TRY(compare(ranks, topic, mine, text, code, fault, err));
		TRY(hear_end(ranks, end, &verdict, err));
	}
	if (verdict.code)
		*err = verdict;
fail:
	return err->code;
}

int ranks_agree_least(const struct ranks *ranks, const char *topic, size_t mine, size_t *least,
	struct err *err)
{
	struct words w = {0};
	char end[48], number[24], *word = NULL;

	*least = mine;
	err_clear(err);
	if (!ranks->meeting)
		return 0;
	snprintf(end, sizeof end, "%s-end", topic);
	snprintf(number, sizeof number, "%zu", mine);
	if (ranks->rank == 0) {
		TRY(hear_all(ranks, topic, &w, err));
		for (size_t r = 1; r < w.n; r++)
			*least = size_min(*least, strtoul(w.data[r], NULL, 10));
		snprintf(number, sizeof number, "%zu", *least);
		TRY(ranks_say(ranks, end, number, err));
	} else {
		TRY(ranks_say(ranks, topic, number, err));
		TRY(ranks_hear(ranks, end, 0, &word, err));
		*least = strtoul(word, NULL, 10);
	}
	err_clear(err);
fail:
	words_free(&w);
	free(word);
	return err->code;
}
