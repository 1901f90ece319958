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
 * Without SAEs: the direction alone, ablated and added (after Arditi et al., arXiv:2406.11717); the
 *          experiment induce adds it on harmless prompts.
 * Writes:  /generations/jailbreak/CONDITION, /scores/jailbreak/CONDITION.
 * Cost:    one generation per condition; a clamp adds K* (2 d_model) multiply-adds per token.
 */
#include "experiments/experiment.h"

#include "host/measure/continuation.h"

#include <stdlib.h>
#include <string.h>

struct jailbreak_settings {
	struct text_list scopes;
};

static const char *const scopes[] = {"global", "local", NULL};

#define SETTINGS struct jailbreak_settings
static const struct setting settings[] = {
	TEXTS("jailbreak.scopes", scopes, "[\"global\", \"local\"]", scopes,
		"one set for all prompts, or each prompt's own"),
	MOVED("jailbreak.scale", "clamp.scale"),
	MOVED("jailbreak.prompts", "clamp.prompts"),
};

/* Prompts continued under their own features are attributed in the same run, if any are. */
static void check_settings(const struct config *c, const void *values, struct faults *faults)
{
	static const char *const of_features[] = {"jailbreak.scopes", "clamp.scale", NULL};
	const struct jailbreak_settings *s = values;

	config_need_features(c, faults, of_features);
	if (!config_runs(c, "attribution") || !text_list_holds(&s->scopes, "local") ||
		c->attribution.prompts.n == 0)
		return;
	for (size_t i = 0; i < c->clamp.prompts.n; i++)
		if (!text_list_holds(&c->attribution.prompts, c->clamp.prompts.items[i]))
			config_fault(faults, "clamp.prompts",
				"\"%s\" has no local features; add it to "
				"attribution.prompts, or leave \"local\" out of jailbreak.scopes",
				c->clamp.prompts.items[i]);
}

/* Every prompt to be continued under its own features must have been attributed; that it has none
 * is a finding, too. */
static int check_local(const struct lab *lab, const struct findings *f, enum method method,
	struct err *err)
{
	struct prompt_ids prompts = {0};
	size_t n_without = 0;

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &prompts, err));
	for (size_t i = 0; i < prompts.n; i++)
		n_without += !f->sets[method].attributed[prompts.data[i]];
	if (n_without > 0)
		err_set(err, ERR_CONFIG,
			"from: %s has no local %s features for %zu of the %zu prompts of "
			"clamp.prompts; set jailbreak.scopes = [\"global\"], or attribute these "
			"prompts first",
			lab->config->from, method_names[method], n_without, prompts.n);
fail:
	free(prompts.data);
	return err->code;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct jailbreak_settings *s = values;
	bool sets = false, clamped = text_list_holds(&s->scopes, "global");

	for (int m = 0; m < N_METHODS; m++) {
		sets |= f->sets[m].expected;
		clamped |= f->sets[m].expected_local;
	}
	if (sets && !clamped)
		return err_set(err, ERR_CONFIG,
			"jailbreak.scopes: expected \"global\" among them, or a method that finds "
			"features of each prompt, cossim_ap or ap (attribution.methods), found neither");
	for (int m = 0; m < N_METHODS && text_list_holds(&s->scopes, "local"); m++)
		if (f->sets[m].local && check_local(lab, f, (enum method)m, err))
			return err->code;
	return 0;
}

/* The conditions that `run` goes through. */
static size_t count_conditions(const struct lab *lab, const struct findings *f,
	const struct jailbreak_settings *s)
{
	size_t n = lab->machine->saes ? 2 : 3; /* none, ablated; added */

	for (int m = 0; m < N_METHODS; m++)
		for (size_t k = 0; k < s->scopes.n && f->sets[m].expected; k++)
			if (strcmp(s->scopes.items[k], "local") != 0 || f->sets[m].expected_local)
				n += lab->config->clamp.scale.n;
	return n;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &prompts, err));
	TRY(continuation_plan(lab, out, &prompts, count_conditions(lab, f, values), err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct jailbreak_settings *s = values;
	const struct real_list *scale = &lab->config->clamp.scale;
	const struct condition none = condition_none(), ablate = condition_ablate(&f->direction),
			       add = condition_add(&f->direction);
	struct prompt_ids prompts = {0};
	struct continuation unedited = {0};

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &lab->config->clamp.prompts, &prompts, err));

	/* 1. The unedited model, which the others are compared with. */
	TRY(continuation_record(lab, "jailbreak", &prompts, &none, NULL, &unedited, err));

	/* 2. AS: the direction ablated at every layer and position. */
	TRY(continuation_record(lab, "jailbreak", &prompts, &ablate, &unedited, NULL, err));
	if (!lab->machine->saes)
		TRY(continuation_record(lab, "jailbreak", &prompts, &add, &unedited, NULL, err));

	/* 3. Each method's features multiplied by c. */
	for (int m = 0; m < N_METHODS; m++) {
		for (size_t k = 0; k < s->scopes.n && f->sets[m].known; k++) {
			const bool local = strcmp(s->scopes.items[k], "local") == 0;

			for (size_t i = 0; i < scale->n && (!local || f->sets[m].local); i++) {
				const struct condition clamp = condition_scale((enum method)m,
					&f->sets[m], local, scale->items[i]);

				TRY(continuation_record(lab, "jailbreak", &prompts, &clamp,
					&unedited, NULL, err));
			}
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
	summary_print(&lab->job->summary, "jailbreak", "coherence",
		lab->machine->saes ? "harmful prompts, features times c" : "harmful prompts");
}

const struct experiment experiment_jailbreak = {
	.name = "jailbreak",
	.asks = "does suppressing the features make the model comply?",
	SETTINGS_OF(settings, struct jailbreak_settings),
	.check_settings = check_settings,
	.needs = NEED_DIRECTION,
	.takes = FIND_SETS,
	.prompts = PROMPTS_CLAMPED,
	.check = check,
	.plan = plan,
	.run = run,
	.print = print,
};
