/* SPDX-License-Identifier: MIT
 *
 * jailbreak.c - does suppressing the features make the model comply (paper section 4.2, figure 2)?
 *
 * Harmful prompts are continued greedily under: no edit; the direction ablated (AS); and for each
 * method, scope (one set for all, each prompt's own) and factor c, the clamp f <- c f of its
 * features at all tokens, prompt and generated, the SAE's error term kept.
 *
 * Scores:  refusal (share of replies with a refusal substring), probability of the refusal token,
 *          KL of the first token's distribution against the unedited model. The jailbreak score of
 *          the paper needs a judge; see the judge experiment.
 * Writes:  /generations/jailbreak/CONDITION, /scores/jailbreak/CONDITION.
 * Cost:    one generation per condition; a clamp adds K* (2 d_model) multiply-adds per token.
 */
#include "experiments/experiments.h"

#include "host/measure/continuation.h"

#include <stdio.h>
#include <stdlib.h>

static int run_condition(struct lab *lab, const struct prompt_ids *prompts,
	const struct condition *condition, const struct continuation *unedited, struct err *err)
{
	struct continuation c = {0};
	char title[96];

	err_clear(err);
	snprintf(title, sizeof title, "jailbreak: %s", condition->name);
	TRY(continuation_run(lab, prompts, condition, title, unedited, &c, err));
	TRY(continuation_write(lab, "jailbreak", condition, prompts, &c, err));
fail:
	continuation_free(&c);
	return err->code;
}

int check_jailbreak(const struct lab *lab, struct err *err)
{
	return lab_need_direction(lab, "jailbreak", err);
}

int experiment_jailbreak(struct lab *lab, struct err *err)
{
	const struct config *cfg = lab->config;
	const struct condition none = condition_none(), ablate = condition_ablate();
	struct prompt_ids prompts = {0};
	struct continuation unedited = {0};

	err_clear(err);
	for (size_t i = 0; i < cfg->jailbreak.prompts.n; i++)
		TRY(lab_set(lab, cfg->jailbreak.prompts.items[i], &prompts, err));

	/* 1. The unedited model, which the others are compared with. */
	TRY(continuation_run(lab, &prompts, &none, "jailbreak: none", NULL, &unedited, err));
	TRY(continuation_write(lab, "jailbreak", &none, &prompts, &unedited, err));

	/* 2. AS: the direction ablated at every layer and position. */
	TRY(run_condition(lab, &prompts, &ablate, &unedited, err));

	/* 3. Each method's features multiplied by c. */
	for (int m = 0; m < N_METHODS; m++) {
		for (size_t s = 0; s < cfg->jailbreak.scopes.n && lab->sets[m].known; s++) {
			const bool local = cfg->jailbreak.scopes.items[s][0] == 'l';

			for (size_t k = 0; k < cfg->jailbreak.scale.n; k++) {
				const struct condition clamp = condition_scale((enum method)m,
					local, cfg->jailbreak.scale.items[k]);

				if (!local || lab->sets[m].local)
					TRY(run_condition(lab, &prompts, &clamp, &unedited, err));
			}
		}
	}
fail:
	continuation_free(&unedited);
	free(prompts.data);
	return err->code;
}
