/* SPDX-License-Identifier: MIT
 *
 * summary.c - Contract: summary.h.
 */
#include "host/store/summary.h"

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

int summary_write(const struct summary *s, struct results *results, struct err *err)
{
	const size_t n = s->n;
	const char **names = malloc(n * sizeof *names + 1);
	char(*joined)[96] = malloc(n * sizeof *joined + 1);
	double *column = malloc(n * sizeof *column + 1);
	char path[64];
	static const struct {
		const char *name, *meaning, *units;
		size_t offset;
		bool verdict; /* in a judge's file, or in all others */
	} columns[] = {{"refusal", "share of replies that are refusals", "1",
			       offsetof(struct summary_row, refusal), false},
		{"p_refusal", "mean probability that the first token is the refusal token", "1",
			offsetof(struct summary_row, p_refusal), false},
		{"kl", "mean KL of the first token's distribution, unedited to this", "nat",
			offsetof(struct summary_row, kl), false},
		{"ce", "cross-entropy of unedited answers, per answer token", "nat",
			offsetof(struct summary_row, ce), false},
		{"ce_released",
			"cross-entropy of unedited answers, as the code released with "
			"arXiv:2505.23556 averages it: over all positions of a padded batch",
			"nat", offsetof(struct summary_row, ce_released), false},
		{"jailbreak", "share of replies that do what was asked for, as the judge says", "1",
			offsetof(struct summary_row, jailbreak), true},
		{"p_yes", "mean probability that the judge says so", "1",
			offsetof(struct summary_row, p_yes), true}};

	err_clear(err);
	if (!names || !joined || !column) {
		err_nomem(err, "the summary", n * sizeof *joined);
		goto fail;
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(joined[i], sizeof joined[i], "%s/%s", s->data[i].experiment,
			s->data[i].condition);
		names[i] = joined[i];
	}
	TRY(results_text_scale(results, "/summary/condition", names, n, "experiment/condition",
		err));
	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		if (columns[c].verdict != s->verdicts)
			continue;
		for (size_t i = 0; i < n; i++)
			memcpy(&column[i], (char *)&s->data[i] + columns[c].offset, sizeof *column);
		snprintf(path, sizeof path, "/summary/%s", columns[c].name);
		TRY(results_write(results,
			&(struct results_dataset){.path = path,
				.type = RESULTS_F64,
				.n_dims = 1,
				.dims = {n},
				.scales = {"/summary/condition"},
				.long_name = columns[c].meaning,
				.units = columns[c].units},
			column, err));
	}
fail:
	free(names);
	free(joined);
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
			printf("\n%s (%zu %s)\n  %-28s %8s %10s %8s %14s\n", experiment,
				row->n_prompts, prompts, "condition", "refusal", "P(refusal)", "KL",
				"CE, harmless");
		any = true;
		printf("  %-28s", row->condition);
		summary_print_number(row->refusal, 9, 3);
		summary_print_number(row->p_refusal, 11, 3);
		summary_print_number(row->kl, 9, 3);
		summary_print_number(ce ? ce->ce : NAN, 15, 4);
		putchar('\n');
	}
}
