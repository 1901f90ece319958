/* SPDX-License-Identifier: MIT
 *
 * category_sets.c - Contract: category_sets.h.
 */
#include "experiments/categories/category_sets.h"

#include "host/base/vec.h"
#include "host/measure/ties.h"

#include <stdio.h>

/* Names of the categories of some prompts, each once, in order of appearance. */
struct names {
	const char **data; /* owned; the texts are not */
	size_t n, cap;
};

static size_t find_name(const struct names *names, const char *name)
{
	size_t i = 0;

	while (i < names->n && strcmp(names->data[i], name) != 0)
		i++;
	return i;
}

static int collect_names(const struct lab *lab, const struct prompt_ids *prompts, struct names *out,
	struct err *err)
{
	for (size_t i = 0; i < prompts->n; i++) {
		const char *name = prompts_category(lab->prompts, prompts->data[i]);

		if (name && find_name(out, name) == out->n && vec_push(out, name, err))
			return err->code;
	}
	return 0;
}

static int no_such_category(const char *set, const char *name, const struct names *there,
	struct err *err)
{
	char list[512] = "";

	for (size_t i = 0, n = 0; i < there->n && n < sizeof list; i++)
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "",
			there->data[i]);
	return err_set(err, ERR_CONFIG,
		"categories.names: category \"%s\" has no prompts in prompts.%s; it has %s", name,
		set, list);
}

/* Fills the categories asked for, checked. */
static int settle_names(const struct lab *lab, const char *set, const struct text_list *wanted,
	struct prompt_ids *prompts, struct names *out, struct err *err)
{
	struct names there = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, set, prompts, err));
	TRY(collect_names(lab, prompts, &there, err));
	for (size_t i = 0; i < wanted->n; i++)
		if (find_name(&there, wanted->items[i]) == there.n) {
			no_such_category(set, wanted->items[i], &there, err);
			goto fail;
		}
	for (size_t i = 0; i < there.n; i++)
		if (wanted->n == 0 || text_list_holds(wanted, there.data[i]))
			TRY(vec_push(out, there.data[i], err));
	if (out->n < 2)
		err_set(err, ERR_CONFIG,
			"categories.prompts: expected prompts of at least two categories, found %zu in "
			"prompts.%s",
			out->n, set);
fail:
	free(there.data);
	return err->code;
}

int category_sets_take(struct category_sets *c, const struct lab *lab, const char *set,
	const struct text_list *wanted, struct err *err)
{
	struct prompt_ids all = {0};
	struct names names = {0};

	*c = (struct category_sets){0};
	err_clear(err);
	TRY(settle_names(lab, set, wanted, &all, &names, err));
	c->n = names.n;
	c->name = names.data;
	names.data = NULL;
	c->category = arena_alloc(&c->memory, all.n, sizeof *c->category);
	TRY(arena_check(&c->memory, "categories", err));
	for (size_t i = 0; i < all.n; i++) {
		const char *name = prompts_category(lab->prompts, all.data[i]);
		const size_t k = name ? find_name(&(struct names){c->name, c->n, c->n}, name)
				      : c->n;

		if (k == c->n)
			continue;
		c->category[c->prompts.n] = (int32_t)k;
		TRY(vec_push(&c->prompts, all.data[i], err));
	}
fail:
	free(names.data);
	free(all.data);
	return err->code;
}

static struct effects_request request_of(const struct prompt_ids *prompts)
{
	return (struct effects_request){.prompts = prompts,
		.title = "categories: integrated gradients"};
}

int category_sets_plan(const struct lab *lab, struct plan *plan, const struct prompt_ids *prompts,
	struct err *err)
{
	const struct effects_request request = request_of(prompts);

	return effects_plan(lab, plan, &request, effects_extent(lab->config), err);
}

static bool in_all(const struct category_sets *c, const struct feature *f)
{
	for (size_t k = 0; k < c->n; k++)
		if (!feature_set_holds(&c->best[k], f->layer, f->id))
			return false;
	return true;
}

/* Says in how many categories, and in the set over all of them, rounding could exchange features.
 */
static int tell_undecided(const struct category_sets *c, const struct lab *lab, struct err *err)
{
	size_t n, in_all_prompts, categories = 0;

	for (size_t k = 0; k < c->n; k++) {
		if (effects_undecided(&c->effects, &c->candidates, c->category, (int32_t)k,
			    &c->best[k], &n, err))
			return err->code;
		categories += n > 0;
	}
	if (effects_undecided(&c->effects, &c->candidates, NULL, 0, &c->all, &in_all_prompts, err))
		return err->code;
	ties_tell(lab, categories + in_all_prompts,
		"categories: rounding alone could exchange features in the sets of %zu of %zu "
		"categories, and %zu of the %zu best over all",
		categories, c->n, in_all_prompts, c->all.n);
	return 0;
}

static int choose(struct category_sets *c, size_t k_star, struct err *err)
{
	const size_t m = c->effects.n_candidates;
	struct feature_set ranked = {0};

	err_clear(err);
	c->mean = arena_alloc(&c->memory, c->n * m, sizeof *c->mean);
	c->best = arena_alloc(&c->memory, c->n, sizeof *c->best);
	TRY(arena_check(&c->memory, "categories", err));
	for (size_t k = 0; k < c->n; k++) {
		effects_mean(&c->effects, c->category, (int32_t)k, c->mean + k * m);
		TRY(candidates_best(&c->candidates, c->mean + k * m, k_star, &c->best[k], err));
	}
	TRY(effects_best(&c->effects, &c->candidates, k_star, &c->all, err));
	TRY(effects_best(&c->effects, &c->candidates, m, &ranked, err));
	for (size_t i = 0; i < ranked.n; i++)
		if (in_all(c, &ranked.data[i]))
			TRY(feature_set_add(&c->common, ranked.data[i], err));
fail:
	free(ranked.data);
	return err->code;
}

int category_sets_find(struct category_sets *out, struct lab *lab, const float *direction,
	const char *set, const struct text_list *names, struct err *err)
{
	const struct config *c = lab->config;
	struct effects_request request;

	TRY(category_sets_take(out, lab, set, names, err));
	TRY(candidates_find(&out->candidates, lab, "categories", direction,
		(size_t)c->attribution.k0, err));
	request = request_of(&out->prompts);
	request.direction = direction;
	request.candidates = &out->candidates.set;
	TRY(effects_run(lab, &request, &out->effects, err));
	TRY(choose(out, (size_t)c->attribution.k_star, err));
	return tell_undecided(out, lab, err);
fail:
	return err->code;
}

void category_sets_free(struct category_sets *c)
{
	for (size_t k = 0; c->best && k < c->n; k++)
		free(c->best[k].data);
	free(c->name);
	free(c->prompts.data);
	free(c->all.data);
	free(c->common.data);
	candidates_free(&c->candidates);
	effects_free(&c->effects);
	arena_free(&c->memory);
	*c = (struct category_sets){0};
}

int category_sets_prompts(const struct category_sets *c, size_t category, struct prompt_ids *out,
	struct err *err)
{
	for (size_t p = 0; p < c->prompts.n; p++)
		if ((size_t)c->category[p] == category && vec_push(out, c->prompts.data[p], err))
			return err->code;
	return 0;
}
