/* SPDX-License-Identifier: MIT
 *
 * induce.c - do the features suffice for refusal (paper section 4.2, figure 9)?
 *
 * Harmless prompts are continued greedily with each method's global features set to a value v at
 * all tokens, prompt and generated.
 *
 * Scores and writes as jailbreak.c, under /generations/induce and /scores/induce.
 * Cost:    one generation per method and value.
 */
#include "experiments/experiments.h"

#include "host/measure/continuation.h"

#include <stdio.h>
#include <stdlib.h>

static int run_condition(struct lab *lab, const struct prompt_ids *prompts,
	const struct condition *condition, const struct continuation *unedited,
	struct continuation *out, struct err *err)
{
	char title[96];

	snprintf(title, sizeof title, "induce: %s", condition->name);
	if (continuation_run(lab, prompts, condition, title, unedited, out, err))
		return err->code;
	return continuation_write(lab, "induce", condition, prompts, out, err);
}

int experiment_induce(struct lab *lab, struct err *err)
{
	const struct config *cfg = lab->config;
	const struct condition none = condition_none();
	struct prompt_ids prompts = {0};
	struct continuation unedited = {0}, edited = {0};

	err_clear(err);
	TRY(lab_set(lab, cfg->induce.prompts, &prompts, err));

	/* 1. The unedited model. */
	TRY(run_condition(lab, &prompts, &none, NULL, &unedited, err));

	/* 2. Each method's features set to each value. */
	for (int m = 0; m < N_METHODS; m++) {
		if (!lab->sets[m].known || !text_list_holds(&cfg->induce.methods, method_names[m]))
			continue;
		for (size_t k = 0; k < cfg->induce.value.n; k++) {
			const struct condition set = condition_set((enum method)m,
				cfg->induce.value.items[k]);

			TRY(run_condition(lab, &prompts, &set, &unedited, &edited, err));
			continuation_free(&edited);
		}
	}
fail:
	continuation_free(&edited);
	continuation_free(&unedited);
	free(prompts.data);
	return err->code;
}
