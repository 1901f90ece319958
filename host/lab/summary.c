/* SPDX-License-Identifier: MIT
 *
 * summary.c - a row per condition: gathered while experiments run, printed at the end.
 * Contract: lab.h. Written by: frame.c.
 */
#include "host/lab/lab.h"

#include "host/base/vec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void fill(double *value, double with)
{
	if (isnan(*value))
		*value = with;
}

int lab_summarise(struct lab *lab, const struct summary_row *row, struct err *err)
{
	for (size_t i = 0; i < lab->summary.n; i++) {
		struct summary_row *old = &lab->summary.data[i];

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
	return vec_push(&lab->summary, *row, err);
}

static void print_number(double value, int width, int digits)
{
	if (isnan(value))
		printf("%*s", width, "-");
	else
		printf("%*.*f", width, digits, value);
}

/* The row of another experiment for the same condition, for the columns it measured. */
static const struct summary_row *row_of(const struct lab *lab, const char *experiment,
	const char *condition, bool with_ce)
{
	for (size_t i = 0; i < lab->summary.n; i++) {
		const struct summary_row *row = &lab->summary.data[i];

		if (strcmp(row->experiment, experiment) == 0 &&
			strcmp(row->condition, condition) == 0 && isnan(row->ce) != with_ce)
			return row;
	}
	return NULL;
}

/* `answers`: the experiment that measured CE under the same conditions. */
static void print_table(const struct lab *lab, const char *experiment, const char *answers,
	const char *prompts)
{
	bool any = false;

	for (size_t i = 0; i < lab->summary.n; i++) {
		const struct summary_row *row = &lab->summary.data[i];
		const struct summary_row *ce = row_of(lab, answers, row->condition, true);

		if (strcmp(row->experiment, experiment) != 0)
			continue;
		if (!any)
			printf("\n%s (%zu %s)\n  %-28s %8s %10s %8s %14s\n", experiment,
				row->n_prompts, prompts, "condition", "refusal", "P(refusal)", "KL",
				"CE, harmless");
		any = true;
		printf("  %-28s", row->condition);
		print_number(row->refusal, 9, 3);
		print_number(row->p_refusal, 11, 3);
		print_number(row->kl, 9, 3);
		print_number(ce ? ce->ce : NAN, 15, 4);
		putchar('\n');
	}
}

static void print_verdicts(const struct lab *lab)
{
	printf("\n%s on %s\n  %-40s %8s %10s %8s\n", lab->config->model.path, lab->config->from,
		"condition", "replies", "jailbreak", "P(yes)");
	for (size_t i = 0; i < lab->summary.n; i++) {
		const struct summary_row *row = &lab->summary.data[i];

		printf("  %s/%-*s", row->experiment, 39 - (int)strlen(row->experiment),
			row->condition);
		printf(" %8zu", row->n_prompts);
		print_number(row->jailbreak, 11, 3);
		print_number(row->p_yes, 9, 3);
		putchar('\n');
	}
	fflush(stdout);
}

static void print_features(const struct lab *lab)
{
	const struct feature_set *set = &lab->sets[METHOD_COSSIM_AP].global;

	if (!lab->sets[METHOD_COSSIM_AP].known)
		return;
	printf("\nfeatures of cossim_ap, global (mean indirect effect in logits)\n  %4s %6s %8s %8s "
	       "%9s\n",
		"rank", "layer", "feature", "cosine", "effect");
	for (size_t k = 0; k < set->n; k++)
		printf("  %4zu %6d %8d %8.3f %9.4f\n", k + 1, set->data[k].layer, set->data[k].id,
			(double)set->data[k].cosine, (double)set->data[k].score);
}

void lab_print_summary(const struct lab *lab)
{
	if (lab->judged) {
		print_verdicts(lab);
		return;
	}
	print_features(lab);
	print_table(lab, "jailbreak", "coherence", "harmful prompts, features times c");
	print_table(lab, "induce", "coherence", "harmless prompts, features set to a value");
	print_table(lab, "sweep_kstar", "sweep_kstar_answers",
		"harmful prompts, K* features times c");
	if (!row_of(lab, "jailbreak", "none", false)) {
		for (size_t i = 0; i < lab->summary.n; i++)
			if (strcmp(lab->summary.data[i].experiment, "coherence") == 0 &&
				!isnan(lab->summary.data[i].ce))
				printf("  coherence %-28s CE %.4f (as released: %.4f)\n",
					lab->summary.data[i].condition, lab->summary.data[i].ce,
					lab->summary.data[i].ce_released);
	}
	fflush(stdout);
}
