/* SPDX-License-Identifier: MIT
 *
 * needs.c - whether an experiment will find what it needs. Contract: lab.h.
 */
#include "host/lab/lab.h"

#include <string.h>

/* Whether `earlier` comes before `experiment` in the run. */
static bool comes_before(const struct lab *lab, const char *earlier, const char *experiment)
{
	const struct text_list *list = &lab->config->experiment;

	for (size_t i = 0; i < list->n && strcmp(list->items[i], experiment) != 0; i++)
		if (strcmp(list->items[i], earlier) == 0)
			return true;
	return false;
}

static int need_saes(const struct lab *lab, const char *experiment, struct err *err)
{
	return lab->saes ? 0
			 : err_set(err, ERR_CONFIG, "sae.path: %s needs SAEs, found \"\"",
				   experiment);
}

int lab_need_direction(const struct lab *lab, const char *experiment, struct err *err)
{
	if (need_saes(lab, experiment, err))
		return err->code;
	if (lab->direction.known || comes_before(lab, "direction", experiment))
		return 0;
	return err_set(err, ERR_CONFIG,
		"experiment: %s needs \"direction\" before it, or a file to take it from (from)",
		experiment);
}

int lab_need_sets(const struct lab *lab, enum method method, const char *experiment,
	struct err *err)
{
	const struct config *c = lab->config;

	if (need_saes(lab, experiment, err))
		return err->code;
	if (lab->sets[method].known ||
		(comes_before(lab, "attribution", experiment) &&
			text_list_holds(&c->attribution.methods, method_names[method])))
		return 0;
	return err_set(err, ERR_CONFIG,
		"experiment: %s needs the features of %s: \"attribution\" with that method before it, "
		"or a file that has them (from)",
		experiment, method_names[method]);
}

int lab_need_roles(const struct lab *lab, const char *experiment, struct err *err)
{
	if (need_saes(lab, experiment, err))
		return err->code;
	if (lab->roles.known || comes_before(lab, "categories", experiment))
		return 0;
	return err_set(err, ERR_CONFIG,
		"experiment: %s needs the features of refusal and of harm: \"categories\" before it, or "
		"a file that has them (from)",
		experiment);
}

int lab_have_roles(const struct lab *lab, const char *experiment, struct err *err)
{
	const struct roles *r = &lab->roles;

	if (r->refusal.n > 0 && r->harm.n > 0)
		return 0;
	return err_set(err, ERR_CONFIG,
		"attribution.k_star: %s needs features of refusal, the best of every category, and of "
		"harm, the rest; among the best %lld there are %zu and %zu; try %s",
		experiment, (long long)lab->config->attribution.k_star, r->refusal.n, r->harm.n,
		r->refusal.n == 0 ? "a larger K*" : "a smaller or a larger K*");
}
