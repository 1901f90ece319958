/* SPDX-License-Identifier: MIT
 *
 * induce.c - do the features suffice for refusal (paper section 4.2, figure 9)?
 *
 * Harmless prompts are continued greedily with each method's global features set to a value v at
 * all tokens, prompt and generated.
 *
 * Without SAEs: the direction added, which makes the model refuse if it stands for refusal (after
 * Arditi et al., arXiv:2406.11717).
 *
 * Scores and writes as jailbreak.c, under /generations/induce and /scores/induce.
 * Cost:    one generation per method and value.
 */
#include "experiments/experiment.h"

#include "host/measure/continuation.h"

#include <stdlib.h>

struct induce_settings {
	struct text_list methods;
	struct real_list value;
};

#define SETTINGS struct induce_settings
static const struct setting settings[] = {
	TEXTS("induce.methods", methods, "[\"cossim_ap\", \"random\"]", method_names,
		"whose global sets are used"),
	REALS("induce.value", value, "[10.0, 15.0, 20.0, 25.0, 30.0]", -BIG, BIG,
		"values v of the clamp f -> v"),
	MOVED("induce.prompts", "clamp.harmless"),
};

static void check_settings(const struct config *c, const void *values, struct faults *faults)
{
	static const char *const of_features[] = {"induce.methods", "induce.value", NULL};

	(void)values;
	config_need_features(c, faults, of_features);
}

/* The conditions that `run` goes through. */
static size_t count_conditions(const struct lab *lab, const struct findings *f,
	const struct induce_settings *s)
{
	size_t n = lab->machine->saes ? 1 : 2; /* none; the direction added */

	for (int m = 0; m < N_METHODS; m++)
		if (f->sets[m].expected && text_list_holds(&s->methods, method_names[m]))
			n += s->value.n;
	return n;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, lab->config->clamp.harmless, &prompts, err));
	TRY(continuation_plan(lab, out, &prompts, count_conditions(lab, f, values), err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct induce_settings *s = values;
	const struct condition none = condition_none(), add = condition_add(&f->direction);
	struct prompt_ids prompts = {0};
	struct continuation unedited = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, lab->config->clamp.harmless, &prompts, err));

	/* 1. The unedited model. */
	TRY(continuation_record(lab, "induce", &prompts, &none, NULL, &unedited, err));

	/* 2. Without features, the direction. */
	if (!lab->machine->saes)
		TRY(continuation_record(lab, "induce", &prompts, &add, &unedited, NULL, err));

	/* 3. Each method's features set to each value. */
	for (int m = 0; m < N_METHODS; m++) {
		if (!f->sets[m].known || !text_list_holds(&s->methods, method_names[m]))
			continue;
		for (size_t k = 0; k < s->value.n; k++) {
			const struct condition set = condition_set((enum method)m, &f->sets[m],
				s->value.items[k]);

			TRY(continuation_record(lab, "induce", &prompts, &set, &unedited, NULL,
				err));
		}
	}
fail:
	continuation_free(&unedited);
	free(prompts.data);
	return err->code;
}

static void print(const struct lab *lab, const struct findings *f)
{
	(void)f;
	summary_print(&lab->job->summary, "induce", "coherence",
		lab->machine->saes ? "harmless prompts, features set to a value"
				   : "harmless prompts");
}

const struct experiment experiment_induce = {
	.name = "induce",
	.asks = "do the features suffice for refusal?",
	SETTINGS_OF(settings, struct induce_settings),
	.check_settings = check_settings,
	.needs = NEED_DIRECTION,
	.takes = FIND_SETS,
	.prompts = PROMPTS_HARMLESS,
	.plan = plan,
	.run = run,
	.print = print,
};
