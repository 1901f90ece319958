/* SPDX-License-Identifier: MIT
 *
 * check.c - settings against each other. Contract: parts.h.
 * Tests: tests/test_errors.c.
 */
#include "host/config/parts.h"

#include <string.h>

static void check_where(struct walk w, const struct prompts_config *p)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.where", p->name);
	for (size_t i = 0; i < p->where.n; i++)
		if (p->where.items[i][0] == '=' || !strchr(p->where.items[i], '='))
			fault(w.faults, place_of_key(w, key),
				"%s: expected \"FIELD=VALUE\", found \"%s\"", key,
				p->where.items[i]);
}

static void need_prompts(struct walk w, const char *key, const char *name)
{
	if (name && !config_prompts(w.config, name))
		fault(w.faults, place_of_key(w, key),
			"%s: there is no prompt set \"%s\"; add prompts.%s = { file = \"...\"; }",
			key, name, name);
}

static void need_prompt_lists(struct walk w, const char *key, const struct text_list *names)
{
	for (size_t i = 0; i < names->n; i++)
		need_prompts(w, key, names->items[i]);
}

/* Prompts continued under their own features are attributed in the same run, if any are. */
static void need_local_sets(struct walk w)
{
	const struct config *c = w.config;

	if (!text_list_holds(&c->experiment, "attribution") ||
		!text_list_holds(&c->jailbreak.scopes, "local"))
		return;
	for (size_t i = 0; i < c->jailbreak.prompts.n; i++)
		if (!text_list_holds(&c->attribution.prompts, c->jailbreak.prompts.items[i]))
			fault(w.faults, place_of_key(w, "jailbreak.prompts"),
				"jailbreak.prompts: \"%s\" has no local features; add it to "
				"attribution.prompts, or leave \"local\" out of jailbreak.scopes",
				c->jailbreak.prompts.items[i]);
}

/* Settings whose group is the experiment that reads the prompt sets they name. */
static const char *const names_of_prompts[] = {"exact_patching.prompts", "low_cosine.prompts",
	"low_cosine.harmless", "interactions.prompts", "prune.prompts", "feature_graph.prompts",
	"sae_compare.prompts", "sae_compare.harmful", "sae_compare.harmless", "sweep_kstar.prompts",
	"sweep_kstar.harmless", "categories.prompts", "conditional.prompts", "suffix.prompts",
	"jailbreaks.adversarial", "jailbreaks.plain", "probe.train_harmful", "probe.train_benign",
	"probe.test_harmful", "probe.test_benign", "coherence.questions"};

static void need_prompts_of(struct walk w, const char *key)
{
	const struct setting *row = find_row(config_settings, n_config_settings, key);
	const void *value = (const char *)w.config + row->offset;
	char experiment[64];

	snprintf(experiment, sizeof experiment, "%.*s", (int)strcspn(key, "."), key);
	if (!text_list_holds(&w.config->experiment, experiment))
		return;
	if (row->type == SETTING_TEXTS)
		need_prompt_lists(w, key, value);
	else
		need_prompts(w, key, *(char *const *)value);
}

/* The prompt sets that the experiments of this run read. */
static void check_prompt_sets(struct walk w)
{
	const struct config *c = w.config;

	for (size_t i = 0; i < c->n_prompts; i++) {
		check_where(w, &w.config->prompts[i]);
	}
	if (text_list_holds(&c->experiment, "direction")) {
		need_prompts(w, "direction.harmful", c->direction.harmful);
		need_prompts(w, "direction.harmless", c->direction.harmless);
		if (c->direction.layer < 0) {
			need_prompts(w, "direction.harmful_val", c->direction.harmful_val);
			need_prompts(w, "direction.harmless_val", c->direction.harmless_val);
		}
	}
	if (text_list_holds(&c->experiment, "attribution")) {
		need_prompt_lists(w, "attribution.prompts", &c->attribution.prompts);
		if (text_list_holds(&c->attribution.methods, "actdiff"))
			need_prompts(w, "attribution.harmless", c->attribution.harmless);
	}
	if (text_list_holds(&c->experiment, "jailbreak")) {
		need_prompt_lists(w, "jailbreak.prompts", &c->jailbreak.prompts);
		need_local_sets(w);
	}
	if (text_list_holds(&c->experiment, "induce"))
		need_prompts(w, "induce.prompts", c->induce.prompts);
	if (text_list_holds(&c->experiment, "coherence"))
		need_prompts(w, "coherence.prompts", c->coherence.prompts);
	if (text_list_holds(&c->experiment, "sweep_kstar") ||
		text_list_holds(&c->experiment, "sae_compare"))
		need_prompt_lists(w, "attribution.prompts", &c->attribution.prompts);
	for (size_t i = 0; i < sizeof names_of_prompts / sizeof *names_of_prompts; i++)
		need_prompts_of(w, names_of_prompts[i]);
}

/* Experiments that need nothing of SAEs. */
static bool runs_without_saes(const char *experiment)
{
	return strcmp(experiment, "direction") == 0 || strcmp(experiment, "jailbreak") == 0 ||
	       strcmp(experiment, "coherence") == 0 || strcmp(experiment, "judge") == 0;
}

static bool needs_saes(const struct config *c)
{
	for (size_t i = 0; i < c->experiment.n; i++)
		if (!runs_without_saes(c->experiment.items[i]))
			return true;
	return false;
}

static bool is_sha256(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static void check_sha256(struct walk w, const char *key, const char *value)
{
	if (value && *value && !is_sha256(value))
		fault(w.faults, place_of_key(w, key),
			"%s: expected 64 hexadecimal digits, found \"%s\"", key, value);
}

/* The judge is a run of its own: another model, and prompts that come from a result file. Texts
 * that were given but are none are NULL here. */
static void check_judge(struct walk w)
{
	const struct config *c = w.config;

	if (!text_list_holds(&c->experiment, "judge"))
		return;
	if (c->experiment.n > 1)
		fault(w.faults, place_of_key(w, "experiment"),
			"experiment: expected judge alone, for its model is not the one that is "
			"judged");
	if (c->from && !*c->from)
		fault(w.faults, place_of_key(w, "from"),
			"missing key from: the result file whose generations to judge");
	if (c->judge.template && !*c->judge.template)
		fault(w.faults, place_of_key(w, "judge.template"), "missing key judge.template: %s",
			find_row(config_settings, n_config_settings, "judge.template")->meaning);
	check_sha256(w, "judge.sha256", c->judge.sha256);
	check_sha256(w, "judge.context_sha256", c->judge.context_sha256);
	if (c->n_prompts > 0)
		fault(w.faults, place_of_key(w, "prompts"),
			"prompts: expected none, for judge takes its prompts from the file of "
			"\"from\"");
}

void check_whole(struct walk w)
{
	check_prompt_sets(w);
	check_judge(w);
	if (w.config->sae.path && !*w.config->sae.path && needs_saes(w.config))
		fault(w.faults, place_of_key(w, "sae.path"), "missing key sae.path: %s",
			find_row(config_settings, n_config_settings, "sae.path")->meaning);
}
