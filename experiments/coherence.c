/* SPDX-License-Identifier: MIT
 *
 * coherence.c - what clamping costs the model on harmless prompts (paper table 5).
 *
 * The unedited model answers harmless prompts greedily; its answers are then scored, teacher
 * forced, under each condition of jailbreak.c with global sets:
 *
 *   CE = sum over answer tokens of -log p(token) / number of answer tokens
 *
 * the stop token included when the answer ended with one.
 *
 * Writes:  /generations/coherence/none, /scores/coherence/CONDITION/{nll,n_tokens}.
 * Cost:    one generation, then one forward pass over prompts and answers per condition.
 */
#include "experiments/experiments.h"

#include "host/run/answers.h"

int experiment_coherence(struct lab *lab, struct err *err)
{
	const struct config *cfg = lab->config;
	const struct condition none = condition_none(), ablate = condition_ablate();
	struct answers answers = {0};

	err_clear(err);
	/* 1. The unedited model's own answers. */
	TRY(answers_run(&answers, lab, "coherence", cfg->coherence.prompts, err));

	/* 2. Their cross-entropy under each condition. */
	TRY(answers_score(&answers, lab, &none, err));
	if (lab->direction.known)
		TRY(answers_score(&answers, lab, &ablate, err));
	for (int m = 0; m < N_METHODS; m++) {
		if (!lab->sets[m].known ||
			!text_list_holds(&cfg->coherence.methods, method_names[m]))
			continue;
		for (size_t k = 0; k < cfg->jailbreak.scale.n; k++) {
			const struct condition clamp = condition_scale((enum method)m, false,
				cfg->jailbreak.scale.items[k]);

			TRY(answers_score(&answers, lab, &clamp, err));
		}
	}
fail:
	answers_free(&answers);
	return err->code;
}
