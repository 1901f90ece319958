/* SPDX-License-Identifier: MIT
 *
 * findings_write.c - feature sets into the result file. Contract: findings.h.
 * Tests: tests/test_run.c.
 */
#include "host/lab/findings.h"

#include "host/base/arena.h"
#include "host/base/size.h"
#include "host/lab/tables.h"

#include <math.h>

struct global_set {
	struct dataset layer, feature, score, cosine, rank;
};

/* The descriptors of a group's set: `what` its rows are, `scored` what they were chosen by. */
#define GLOBAL_SET(group, what, scored, units) \
	{ \
		.layer = {group "/layer", {"rank"}, RESULTS_I32, "", what}, \
		.feature = {group "/feature", {"rank"}, RESULTS_I32, "", "feature id"}, \
		.score = {group "/score", {"rank"}, RESULTS_F32, units, scored}, \
		.cosine = {group "/cosine", {"rank"}, RESULTS_F32, "1", \
			"of decoder row and direction"}, \
		.rank = {group "/rank", {"rank"}, RESULTS_I32, "", "0 is the best"}, \
	}

static const struct {
	struct global_set global;
	struct {
		struct dataset layer, feature, score, rank, prompt;
	} local;
} sets = {
	.global = GLOBAL_SET("/feature_sets/METHOD/global",
		"layer; `resid_post` of `blocks.LAYER` in TransformerLens",
		"what it was chosen by: mean indirect effect (`cossim_ap`, `ap`; logit), cosine, "
		"difference of mean largest activations (`actdiff`), 0 (`random`)",
		"logit or 1"),
	.local = {.layer = {"/feature_sets/METHOD/local/layer", {"prompt", "rank"}, RESULTS_I32, "",
			  "each prompt's own set; -1 = padding", .compress = true},
		.feature = {"/feature_sets/METHOD/local/feature", {"prompt", "rank"}, RESULTS_I32,
			"", "feature id; -1 = padding", .compress = true},
		.score = {"/feature_sets/METHOD/local/score", {"prompt", "rank"}, RESULTS_F32,
			"logit", "mean indirect effect in this prompt; NaN = padding",
			.compress = true},
		.rank = {"/feature_sets/METHOD/local/rank", {"rank"}, RESULTS_I32, "",
			"0 is the best"},
		.prompt = PROMPT_SCALE("/feature_sets/METHOD/local")},
};

static const struct {
	struct global_set refusal, harm;
} roles = {
	.refusal = GLOBAL_SET("/feature_sets/refusal/global",
		"layer of a feature of F_R, those that are among the best of every category",
		"mean indirect effect over all categories' prompts", "logit"),
	.harm = GLOBAL_SET("/feature_sets/harm/global",
		"layer of a feature of F_H, the rest of the best over all prompts",
		"mean indirect effect over all categories' prompts", "logit"),
};

const struct dataset_section findings_sections[] = {
	{"Feature sets (`attribution`)",
		"Highest score first; equal scores by lower layer, then lower id. A feature whose effect is "
		"0 is in no set, which then has fewer than K*; a prompt's own set has none where the "
		"model says the refusal token with the direction ablated as well "
		"(`attribution.empty_local`). `random` is in the "
		"order of its draw: by layer, as many as `cossim_ap` has there, none of them in that "
		"set, fewer when too few features occur. Local sets exist for `cossim_ap` and `ap`.",
		DATASETS(sets)},
	{"Features by role (`categories`)", "Groups of empty sets are not there.",
		DATASETS(roles)}};

int findings_plan(struct plan *plan, size_t n_methods, size_t n_prompts, size_t k_star,
	struct err *err)
{
	static const struct plan_what what = {"feature sets", "attribution.k_star"};

	return plan_write(plan, what, &findings_sections[0],
		LENGTHS({"rank", 0, k_star}, LENGTH("prompt", n_prompts)), n_methods, err);
}

int findings_plan_roles(struct plan *plan, size_t k_star, struct err *err)
{
	static const struct plan_what what = {"features by role", "attribution.k_star"};

	return plan_write(plan, what, &findings_sections[1], LENGTHS({"rank", 0, k_star}), 1, err);
}

static const char *score_units(enum method method)
{
	return method == METHOD_COSSIM_AP || method == METHOD_AP ? "logit" : "1";
}

/* Columns of sets padded to `rank` features each. */
struct columns {
	size_t rank;
	struct arena memory; /* what follows is in it */
	int32_t *layer, *feature;
	float *cosine, *score;
};

static int make_columns(struct columns *c, size_t n_sets, size_t rank, struct err *err)
{
	const size_t n = n_sets * rank;

	*c = (struct columns){.rank = rank};
	c->layer = arena_alloc(&c->memory, n, sizeof *c->layer);
	c->feature = arena_alloc(&c->memory, n, sizeof *c->feature);
	c->cosine = arena_alloc(&c->memory, n, sizeof *c->cosine);
	c->score = arena_alloc(&c->memory, n, sizeof *c->score);
	if (arena_check(&c->memory, "feature sets", err))
		return err->code;
	for (size_t i = 0; i < n; i++) {
		c->layer[i] = c->feature[i] = -1;
		c->cosine[i] = c->score[i] = NAN;
	}
	return 0;
}

static void fill_columns(struct columns *c, size_t row, const struct feature_set *set)
{
	for (size_t k = 0; k < set->n && k < c->rank; k++) {
		const size_t i = row * c->rank + k;

		c->layer[i] = set->data[k].layer;
		c->feature[i] = set->data[k].id;
		c->cosine[i] = set->data[k].cosine;
		c->score[i] = set->data[k].score;
	}
}

static int write_global(struct results *r, const struct global_set *out, const char *const *words,
	const char *units, const struct feature_set *set, struct err *err)
{
	struct dataset score = out->score;
	struct columns c;

	err_clear(err);
	score.units = units;
	TRY(make_columns(&c, 1, set->n, err));
	fill_columns(&c, 0, set);
	TRY(dataset_write_counting(r, &out->rank, words, set->n, err));
	TRY(dataset_write(r, &out->layer, words, &set->n, c.layer, err));
	TRY(dataset_write(r, &out->feature, words, &set->n, c.feature, err));
	TRY(dataset_write(r, &score, words, &set->n, c.score, err));
	TRY(dataset_write(r, &out->cosine, words, &set->n, c.cosine, err));
fail:
	arena_free(&c.memory);
	return err->code;
}

/* Every prompt's set, as wide as the largest. */
static int write_local(struct results *r, const char *const *words, const struct method_sets *of,
	const struct prompt_ids *prompts, struct err *err)
{
	size_t n[] = {prompts->n, of->global.n};
	struct columns c;

	err_clear(err);
	for (size_t i = 0; i < prompts->n; i++)
		n[1] = size_max(n[1], of->local[prompts->data[i]].n);
	TRY(make_columns(&c, n[0], n[1], err));
	for (size_t i = 0; i < prompts->n; i++)
		fill_columns(&c, i, &of->local[prompts->data[i]]);
	TRY(prompt_scale_write(r, &sets.local.prompt, words, prompts, err));
	TRY(dataset_write_counting(r, &sets.local.rank, words, n[1], err));
	TRY(dataset_write(r, &sets.local.layer, words, n, c.layer, err));
	TRY(dataset_write(r, &sets.local.feature, words, n, c.feature, err));
	TRY(dataset_write(r, &sets.local.score, words, n, c.score, err));
fail:
	arena_free(&c.memory);
	return err->code;
}

int findings_write_sets(const struct findings *f, enum method method,
	const struct prompt_ids *prompts, struct results *results, struct err *err)
{
	const struct method_sets *of = &f->sets[method];
	const char *const *words = WORDS(method_names[method]);

	if (write_global(results, &sets.global, words, score_units(method), &of->global, err))
		return err->code;
	return of->local ? write_local(results, words, of, prompts, err) : 0;
}

static int write_role(struct results *r, const struct global_set *out,
	const struct feature_set *set, struct err *err)
{
	return set->n > 0 ? write_global(r, out, NULL, out->score.units, set, err) : 0;
}

int findings_write_roles(const struct findings *f, struct results *results, struct err *err)
{
	if (write_role(results, &roles.refusal, &f->roles.refusal, err))
		return err->code;
	return write_role(results, &roles.harm, &f->roles.harm, err);
}
