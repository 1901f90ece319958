/* SPDX-License-Identifier: MIT
 *
 * weights.c - Contract: weights.h. Tests: tests/emu/test_team.c.
 */
#include "host/work/weights.h"

#include "host/base/log.h"
#include "host/work/stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first letter of a word; a text follows, on one line. */
enum { YES = 'y', NO = 'n' };
enum { WORD = 512 };

static int say(const struct ranks *ranks, const char *topic, char answer, const char *text,
	struct err *err)
{
	char word[WORD];

	snprintf(word, sizeof word, "%c%.*s", answer, WORD - 2, text);
	word[strcspn(word, "\n")] = '\0';
	return ranks_say(ranks, topic, word, err);
}

static int hear(const struct ranks *ranks, const char *topic, size_t rank, char word[WORD],
	struct err *err)
{
	char *text;

	if (ranks_hear(ranks, topic, rank, &text, err))
		return err->code;
	snprintf(word, WORD, "%s", text);
	free(text);
	return 0;
}

/* Rank 0: hears all the others. `why` is "" when all say yes. */
static int hear_all(const struct ranks *ranks, const char *topic, char (*cards)[DEVICE_CARD],
	char why[WORD], struct err *err)
{
	for (size_t r = 1; r < ranks->world; r++) {
		char word[WORD];

		if (hear(ranks, topic, r, word, err))
			return err->code;
		if (word[0] != YES && !*why)
			snprintf(why, WORD, "rank %zu: %.400s", r, word + 1);
		if (cards)
			snprintf(cards[r], DEVICE_CARD, "%.*s", DEVICE_CARD - 1, word + 1);
	}
	return 0;
}

static void find_twins(const struct ranks *ranks, char (*cards)[DEVICE_CARD], char why[WORD])
{
	for (size_t a = 0; a < ranks->world; a++)
		for (size_t b = a + 1; b < ranks->world && !*why; b++)
			if (strcmp(cards[a], cards[b]) == 0)
				snprintf(why, WORD, "ranks %zu and %zu share one GPU, %s", a, b,
					cards[a]);
}

/* Rank 0: what all are to do, once all have shown their cards. `mine` is NULL when its own device
 * cannot be joined: then nobody else is asked. */
static int decide(struct device *dev, const struct ranks *ranks, const char *mine, char why[WORD],
	char ticket[DEVICE_TICKET], struct err *err)
{
	char(*cards)[DEVICE_CARD] = calloc(ranks->world, sizeof *cards);
	struct err fault;

	if (!cards)
		return err_nomem(err, "the cards of all ranks", ranks->world * sizeof *cards);
	if (mine) {
		snprintf(cards[0], sizeof cards[0], "%s", mine);
		TRY(hear_all(ranks, "card", cards, why, err));
		find_twins(ranks, cards, why);
		if (!*why && device_ticket(dev, ticket, &fault))
			snprintf(why, WORD, "rank 0: %.400s", fault.text);
	}
	free(cards);
	return say(ranks, "ticket", *why ? NO : YES, *why ? why : ticket, err);
fail:
	free(cards);
	return err->code;
}

/* The ticket, or why there is none. */
static int agree_to_join(struct device *dev, const struct ranks *ranks, char why[WORD],
	char ticket[DEVICE_TICKET], struct err *err)
{
	char card[DEVICE_CARD], word[WORD];
	const bool can = device_card(dev, card);

	if (ranks->rank == 0) {
		if (!can)
			snprintf(why, WORD, "rank 0: %s", card);
		return decide(dev, ranks, can ? card : NULL, why, ticket, err);
	}
	TRY(say(ranks, "card", can ? YES : NO, card, err));
	if (!can && device_is_host(dev))
		return 0; /* whatever the others do */
	TRY(hear(ranks, "ticket", 0, word, err));
	snprintf(word[0] == YES ? ticket : why, word[0] == YES ? DEVICE_TICKET : WORD, "%s",
		word + 1);
	return 0;
fail:
	return err->code;
}

/* Whether all have joined; `fault` is this rank's own, "" = none. */
static int agree_that_all_have(const struct ranks *ranks, const char *fault, char why[WORD],
	struct err *err)
{
	char word[WORD];

	if (ranks->rank == 0) {
		if (*fault)
			snprintf(why, WORD, "rank 0: %.400s", fault);
		TRY(hear_all(ranks, "joined", NULL, why, err));
		return say(ranks, "joined", *why ? NO : YES, why, err);
	}
	TRY(say(ranks, "joined", *fault ? NO : YES, fault, err));
	TRY(hear(ranks, "joined", 0, word, err));
	if (word[0] != YES)
		snprintf(why, WORD, "%s", word + 1);
	return 0;
fail:
	return err->code;
}

static int join(struct device *dev, const struct ranks *ranks, char why[WORD], struct err *err)
{
	const struct device_team team = {ranks->rank, ranks->world, stop_check};
	char ticket[DEVICE_TICKET] = "";
	struct err fault = {0};

	TRY(agree_to_join(dev, ranks, why, ticket, err));
	if (!*ticket || *why)
		return 0;
	if (device_join(dev, ticket, &team, &fault) == ERR_STOPPED) {
		*err = fault;
		goto fail;
	}
	TRY(agree_that_all_have(ranks, fault.code ? fault.text : "", why, err));
	if (*why)
		device_abandon(dev);
	return 0;
fail:
	return err->code;
}

int weights_join(struct device *dev, const struct ranks *ranks, const struct config *c,
	struct err *err)
{
	const bool insist = strcmp(c->ranks.weights, "broadcast") == 0;
	char why[WORD] = "";

	if (!ranks->meeting || strcmp(c->ranks.weights, "each") == 0 ||
		(!insist && ranks->n_local == ranks->world))
		return 0;
	if (join(dev, ranks, why, err))
		return err->code;
	if (device_is_joined(dev) && ranks->rank == 0)
		log_info("weights: read by rank 0, sent to %zu other%s by NCCL", ranks->world - 1,
			ranks->world == 2 ? "" : "s");
	if (!*why || device_is_host(dev))
		return 0;
	if (insist)
		return err_set(err, ERR_DEVICE,
			"ranks.weights = \"broadcast\": %s; with \"each\" every rank reads the "
			"weights",
			why);
	if (ranks->rank == 0)
		log_info("weights: every rank reads them (%s)", why);
	return 0;
}
