/* SPDX-License-Identifier: MIT
 *
 * registry.c - Contract: registry.h.
 */
#include "experiments/registry.h"

#include "host/lab/frame.h"
#include "host/measure/activation_stats.h"
#include "host/measure/answers.h"
#include "host/measure/continuation.h"
#include "host/measure/effects.h"
#include "host/measure/refusal_check.h"
#include "host/measure/sae_check.h"

#include <stdio.h>
#include <string.h>

/* In the order of the paper, then its open questions; --help-config lists them so. */
#define EXPERIMENTS(X) \
	X(direction) \
	X(attribution) \
	X(jailbreak) \
	X(induce) \
	X(coherence) \
	X(sweep_kstar) \
	X(categories) \
	X(conditional) \
	X(suffix) \
	X(jailbreaks) \
	X(probe) \
	X(exact_patching) \
	X(low_cosine) \
	X(interactions) \
	X(prune) \
	X(feature_graph) \
	X(sae_compare) \
	X(judge)

#define DECLARE(name) extern const struct experiment experiment_##name;
#define LIST(name) &experiment_##name,

EXPERIMENTS(DECLARE)

static const struct experiment *const experiments[] = {EXPERIMENTS(LIST)};
enum { N_EXPERIMENTS = sizeof experiments / sizeof *experiments };

const struct section *registry_sections(size_t *n)
{
	static struct section sections[N_EXPERIMENTS];

	for (size_t i = 0; i < N_EXPERIMENTS; i++) {
		const struct experiment *e = experiments[i];

		sections[i] = (struct section){.name = e->name,
			.rows = e->settings,
			.n_rows = e->n_settings,
			.size = e->settings_size,
			.needs_saes = (e->needs & NEED_SAES) != 0,
			.prompts = e->prompts,
			.check = e->check_settings};
	}
	*n = N_EXPERIMENTS;
	return sections;
}

void registry_print(FILE *to)
{
	fputs("Experiments:\n\n", to);
	for (size_t i = 0; i < N_EXPERIMENTS; i++)
		fprintf(to, "  %-16s %s\n", experiments[i]->name, experiments[i]->asks);
	fputc('\n', to);
}

void registry_print_datasets(FILE *to)
{
	const struct dataset_section *const first[] = {&frame_sections[0], &frame_sections[1],
		&frame_sections[2], &refusal_check_section, &sae_check_section};
	const struct dataset_section *const shared[] = {&continuation_section, &answers_section,
		&effects_sections[0], &effects_sections[1], &activation_stats_section,
		&findings_sections[0], &findings_sections[1]};
	const struct dataset_section *const last[] = {&summary_section, &frame_sections[3],
		&job_section, &results_summary_section};

	for (size_t i = 0; i < sizeof first / sizeof *first; i++)
		dataset_section_print(first[i], to);
	for (size_t i = 0; i < N_EXPERIMENTS; i++)
		if (experiments[i]->writes)
			dataset_section_print(experiments[i]->writes, to);
	for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
		dataset_section_print(shared[i], to);
	for (size_t i = 0; i < sizeof last / sizeof *last; i++)
		dataset_section_print(last[i], to);
}

/* ---- of a run ---------------------------------------------------------------------------- */

/* Number i of the config's list, which holds names of the registry alone. */
static const struct experiment *experiment_at(const struct config *c, size_t i)
{
	size_t e = 0;

	while (strcmp(experiments[e]->name, c->experiment.items[i]) != 0)
		e++;
	return experiments[e];
}

const struct prompt_source *experiments_source(const struct config *c)
{
	for (size_t i = 0; i < c->experiment.n; i++)
		if (experiment_at(c, i)->source)
			return experiment_at(c, i)->source;
	return NULL;
}

int experiments_inputs(const struct config *c, struct input_list *out, struct err *err)
{
	for (size_t i = 0; i < c->experiment.n; i++) {
		const struct experiment *e = experiment_at(c, i);

		if (e->inputs && e->inputs(c, config_own(c, e->name), out, err))
			return err->code;
	}
	if (!*c->from || experiments_source(c)) /* a source says itself what the file is to it */
		return 0;
	return vec_push(out, ((struct input){"from", c->from, "", "findings"}), err);
}

unsigned experiments_provide(const struct config *c)
{
	unsigned all = 0;

	for (size_t i = 0; i < c->experiment.n; i++)
		all |= experiment_at(c, i)->provides;
	return all;
}

unsigned experiments_want(const struct config *c)
{
	unsigned all = 0;

	for (size_t i = 0; i < c->experiment.n; i++)
		all |= experiment_at(c, i)->needs | experiment_at(c, i)->takes;
	return all;
}

unsigned experiments_use(const struct config *c)
{
	unsigned all = 0;

	for (size_t i = 0; i < c->experiment.n; i++)
		all |= experiment_at(c, i)->uses;
	return all;
}

int experiments_plan(const struct lab *lab, const struct findings *f, struct plan *out,
	struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < c->experiment.n; i++) {
		const struct experiment *e = experiment_at(c, i);

		out->experiment = e->name;
		if (e->plan && e->plan(lab, f, config_own(c, e->name), out, err))
			return err->code;
	}
	return 0;
}

/* ---- needs ------------------------------------------------------------------------------- */

/* Whether number i of the run will find a kind of findings that an earlier one leaves. */
static bool comes_before(const struct config *c, size_t i, unsigned finding)
{
	for (size_t k = 0; k < i; k++)
		if (experiment_at(c, k)->provides & finding)
			return true;
	return false;
}

/* Nothing is found behind the experiment that uses it: it would go on without, or with that of
 * another run. */
static int check_order(const struct config *c, size_t i, struct err *err)
{
	static const struct {
		unsigned finding;
		const char *name;
	} findings[] = {{FIND_DIRECTION, "direction"}, {FIND_SETS, "feature sets"},
		{FIND_ROLES, "features of refusal and of harm"}};
	const struct experiment *e = experiment_at(c, i);

	for (size_t f = 0; f < sizeof findings / sizeof *findings; f++) {
		if (!((e->needs | e->takes) & findings[f].finding) ||
			comes_before(c, i, findings[f].finding))
			continue;
		for (size_t k = i + 1; k < c->experiment.n; k++)
			if (experiment_at(c, k)->provides & findings[f].finding)
				return err_set(err, ERR_CONFIG,
					"experiment: expected \"%s\" before \"%s\", which uses "
					"its %s, found it behind",
					experiment_at(c, k)->name, e->name, findings[f].name);
	}
	return 0;
}

/* Whether the roles that were found have features. */
static int check_roles(const struct config *c, const char *experiment, const struct roles *r,
	struct err *err)
{
	if (r->refusal.n > 0 && r->harm.n > 0)
		return 0;
	return err_set(err, ERR_CONFIG,
		"attribution.k_star: %s needs features of refusal, the best of every category, and of "
		"harm, the rest; among the best %lld there are %zu and %zu; try %s",
		experiment, (long long)c->attribution.k_star, r->refusal.n, r->harm.n,
		r->refusal.n == 0 ? "a larger K*" : "a smaller or a larger K*");
}

static int check_needs(const struct lab *lab, const struct findings *f, size_t i, struct err *err)
{
	const struct config *c = lab->config;
	const struct experiment *e = experiment_at(c, i);
	const char *method = method_names[METHOD_COSSIM_AP];

	if (e->needs & FIND_DIRECTION && !f->direction.known && !comes_before(c, i, FIND_DIRECTION))
		return err_set(err, ERR_CONFIG,
			"experiment: %s needs \"direction\" before it, or a file to take it from (from)",
			e->name);
	if (e->needs & FIND_SETS && !f->sets[METHOD_COSSIM_AP].known &&
		!(comes_before(c, i, FIND_SETS) &&
			text_list_holds(&c->attribution.methods, method)))
		return err_set(err, ERR_CONFIG,
			"experiment: %s needs the features of %s: \"attribution\" with that method "
			"before it, or a file that has them (from)",
			e->name, method);
	if (e->needs & FIND_ROLES && !f->roles.known && !comes_before(c, i, FIND_ROLES))
		return err_set(err, ERR_CONFIG,
			"experiment: %s needs the features of refusal and of harm: \"categories\" before "
			"it, or a file that has them (from)",
			e->name);
	if (e->needs & FIND_ROLES && f->roles.known)
		return check_roles(c, e->name, &f->roles, err);
	return 0;
}

int experiments_check(const struct lab *lab, const struct findings *f, struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < c->experiment.n; i++) {
		const struct experiment *e = experiment_at(c, i);

		if (check_order(c, i, err) || check_needs(lab, f, i, err) ||
			(e->check && e->check(lab, f, config_own(c, e->name), err)))
			return err->code;
	}
	return 0;
}

/* ---- running ----------------------------------------------------------------------------- */

int experiments_run(struct lab *lab, struct findings *f, struct err *err)
{
	const struct config *c = lab->config;

	for (size_t i = 0; i < c->experiment.n; i++) {
		const struct experiment *e = experiment_at(c, i);

		if (e->needs & FIND_ROLES)
			TRY(check_roles(c, e->name, &f->roles, err));
		TRY(e->run(lab, f, config_own(c, e->name), err));
	}
	return 0;
fail:
	return err->code;
}

void experiments_print(const struct lab *lab, const struct findings *f)
{
	for (size_t i = 0; i < lab->config->experiment.n; i++)
		if (experiment_at(lab->config, i)->print)
			experiment_at(lab->config, i)->print(lab, f);
}
