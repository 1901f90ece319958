/* SPDX-License-Identifier: MIT
 *
 * summary.c - Contract: summary.h.
 */
#include "host/store/summary.h"

#include "host/base/arena.h"
#include "host/base/vec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(double *value, double with)
{
	if (isnan(*value))
		*value = with;
}

int summary_add(struct summary *s, const struct summary_row *row, struct err *err)
{
	for (size_t i = 0; i < s->n; i++) {
		struct summary_row *old = &s->data[i];

		if (strcmp(old->experiment, row->experiment) != 0 ||
			strcmp(old->condition, row->condition) != 0)
			continue;
		fill(&old->refusal, row->refusal);
		fill(&old->partial, row->partial);
		fill(&old->compliance, row->compliance);
		fill(&old->p_refusal, row->p_refusal);
		fill(&old->kl, row->kl);
		fill(&old->ce, row->ce);
		fill(&old->ce_released, row->ce_released);
		return 0;
	}
	return vec_push(s, *row, err);
}

const struct summary_row *summary_find(const struct summary *s, const char *experiment,
	const char *condition, bool with_ce)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct summary_row *row = &s->data[i];

		if (strcmp(row->experiment, experiment) == 0 &&
			strcmp(row->condition, condition) == 0 && isnan(row->ce) != with_ce)
			return row;
	}
	return NULL;
}

/* ---- writing --------------------------------------------------------------------------- */

static const struct {
	struct dataset condition, refusal, partial, compliance, p_refusal, kl, ce, ce_released;
	struct dataset jailbreak, p_yes;
} datasets = {
	.condition = {"/summary/condition", {"condition"}, RESULTS_TEXT, "",
		"EXPERIMENT/CONDITION"},
	.refusal = {"/summary/refusal", {"condition"}, RESULTS_F64, "1",
		"share of replies that are refusals; NaN = not measured"},
	.partial = {"/summary/partial", {"condition"}, RESULTS_F64, "1",
		"with `refusal.measure` \"rules\": share of replies that refuse and say more; NaN = not "
		"measured"},
	.compliance = {"/summary/compliance", {"condition"}, RESULTS_F64, "1",
		"likewise: share of replies that do not refuse; what the three leave of 1 is empty"},
	.p_refusal = {"/summary/p_refusal", {"condition"}, RESULTS_F64, "1",
		"mean probability that the first token is the refusal token"},
	.kl = {"/summary/kl", {"condition"}, RESULTS_F64, "nat",
		"mean KL of the first token's distribution, unedited to this"},
	.ce = {"/summary/ce", {"condition"}, RESULTS_F64, "nat",
		"cross-entropy of unedited answers, per answer token"},
	.ce_released = {"/summary/ce_released", {"condition"}, RESULTS_F64, "nat",
		"the same sum over all positions of a padded batch, prompts included, mean over "
		"batches of `generate.prompts` prompts in the set's order: how the code released with "
		"arXiv:2505.23556 averages, so that it depends on the batching; compare it with "
		"printed figures only"},
	.jailbreak = {"/summary/jailbreak", {"condition"}, RESULTS_F64, "1",
		"of a judge's file, which has this and the next in place of those above: share of "
		"replies that do what was asked for, as the judge says"},
	.p_yes = {"/summary/p_yes", {"condition"}, RESULTS_F64, "1",
		"mean probability that the judge says so, over replies that have one"},
};

const struct dataset_section summary_section = {"Summary", NULL, DATASETS(datasets)};

/* The scale: EXPERIMENT/CONDITION of each row. */
static int write_conditions(const struct summary *s, struct results *results, struct err *err)
{
	struct arena memory = {0};
	char(*joined)[96] = arena_alloc(&memory, s->n, sizeof *joined);
	const char **names = arena_alloc(&memory, s->n, sizeof *names);

	err_clear(err);
	TRY(arena_check(&memory, "the summary", err));
	for (size_t i = 0; i < s->n; i++) {
		snprintf(joined[i], sizeof joined[i], "%s/%s", s->data[i].experiment,
			s->data[i].condition);
		names[i] = joined[i];
	}
	TRY(dataset_write(results, &datasets.condition, NULL, &s->n, names, err));
fail:
	arena_free(&memory);
	return err->code;
}

int summary_write(const struct summary *s, struct results *results, struct err *err)
{
	static const struct {
		const struct dataset *d;
		size_t offset;
		bool verdict; /* in a judge's file, or in all others */
		bool class;   /* where replies are told apart by rules alone */
	} columns[] = {
		{&datasets.refusal, offsetof(struct summary_row, refusal), false, false},
		{&datasets.partial, offsetof(struct summary_row, partial), false, true},
		{&datasets.compliance, offsetof(struct summary_row, compliance), false, true},
		{&datasets.p_refusal, offsetof(struct summary_row, p_refusal), false, false},
		{&datasets.kl, offsetof(struct summary_row, kl), false, false},
		{&datasets.ce, offsetof(struct summary_row, ce), false, false},
		{&datasets.ce_released, offsetof(struct summary_row, ce_released), false, false},
		{&datasets.jailbreak, offsetof(struct summary_row, jailbreak), true, false},
		{&datasets.p_yes, offsetof(struct summary_row, p_yes), true, false},
	};
	double *column = malloc(s->n * sizeof *column + 1);

	err_clear(err);
	if (!column)
		return err_nomem(err, "the summary", s->n * sizeof *column);
	TRY(write_conditions(s, results, err));
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		if (columns[c].verdict != s->verdicts || (columns[c].class && !s->classes))
			continue;
		for (size_t i = 0; i < s->n; i++)
			memcpy(&column[i], (char *)&s->data[i] + columns[c].offset, sizeof *column);
		TRY(dataset_write(results, columns[c].d, NULL, &s->n, column, err));
	}
fail:
	free(column);
	return err->code;
}

/* ---- printing -------------------------------------------------------------------------- */

void summary_print_number(double value, int width, int digits)
{
	if (isnan(value))
		printf("%*s", width, "-");
	else
		printf("%*.*f", width, digits, value);
}

void summary_print(const struct summary *s, const char *experiment, const char *answers,
	const char *prompts)
{
	bool any = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct summary_row *row = &s->data[i];
		const struct summary_row *ce = summary_find(s, answers, row->condition, true);

		if (strcmp(row->experiment, experiment) != 0)
			continue;
		if (!any)
			printf("\n%s (%zu %s)\n  %-28s %8s%s %10s %8s %14s\n", experiment,
				row->n_prompts, prompts, "condition", "refusal",
				s->classes ? "  partial complies" : "", "P(refusal)", "KL",
				"CE, harmless");
		any = true;
		printf("  %-28s", row->condition);
		summary_print_number(row->refusal, 9, 3);
		if (s->classes) {
			summary_print_number(row->partial, 9, 3);
			summary_print_number(row->compliance, 9, 3);
		}
		summary_print_number(row->p_refusal, 11, 3);
		summary_print_number(row->kl, 9, 3);
		summary_print_number(ce ? ce->ce : NAN, 15, 4);
		putchar('\n');
	}
}
