/* SPDX-License-Identifier: MIT
 *
 * sae_compare.c - does the choice of SAEs matter (paper appendix A.9)?
 *
 * Two SAE sets of the same model, `a` (sae.*) and `b` (sae_compare.*): trained on the base or on
 * the chat model, of different widths or activations. For each:
 *
 *   reconstruction   FVU, L0 and CE recovered on harmless prompts and the model's own answers,
 *                    layer by layer (experiments/sae_compare/reconstruction.h)
 *   direction        cosine of the reconstructed direction with the true one, every layer
 *   features         F* by CosSim+AP on attribution.prompts, and what clamping it does
 *
 * and how far the two F* are the same: features have no common numbers, so for each feature of one
 * F* the largest cosine of its decoder row with those of the other F* in its layer, and with all
 * features of the other SAE there. Overlap is the
 * share above sae_compare.match.
 * Control: random features of a, as many per layer as its F*, matched with the F* of b.
 *
 * Writes:  /sae_compare/{a,b}/..., /sae_compare/random; replies and scores under sae_compare.
 * Cost:    per SAE set 1 + 2 n_layer passes over prompts and answers, a pass over the direction's
 *          prompts, attribution, one generation per factor of clamp.scale.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/file.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/measure/activation_stats.h"
#include "host/measure/answers.h"
#include "host/measure/candidates.h"
#include "host/measure/controls.h"
#include "experiments/sae_compare/decoder_match.h"
#include "host/measure/effects.h"
#include "experiments/sae_compare/reconstructed_direction.h"
#include "experiments/sae_compare/reconstruction.h"
#include "host/lab/tables.h"
#include "host/measure/ties.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct compare_settings {
	char *path, *published, *format, *width;
	double l0, match;
};

static const char *const formats[] = {"auto", "gemma_scope", "gemma_scope_2", "llama_scope",
	"lm_saes", "saelens", "sparsify", NULL};

#define SETTINGS struct compare_settings
static const struct setting settings[] = {
	TEXT("sae_compare.path", path, "\"\"", NULL,
		"folder of the SAEs that those of sae.path are compared with"),
	TEXT("sae_compare.published", published, "\"\"", NULL, "where they are published"),
	TEXT("sae_compare.format", format, "\"auto\"", formats, "layout of their folders"),
	TEXT("sae_compare.width", width, "\"16k\"", NULL, "as their folders spell it"),
	REAL("sae_compare.l0", l0, "100.0", 0, 1e9,
		"of several SAEs of a layer, the one with average L0 nearest to this"),
	REAL("sae_compare.match", match, "0.7", 0, 1,
		"cosine of decoder rows above which two features count as one"),
	MOVED("sae_compare.draws", "controls.draws"),
	MOVED("sae_compare.prompts", "clamp.harmless"),
	MOVED("sae_compare.harmful", "direction.harmful"),
	MOVED("sae_compare.harmless", "direction.harmless"),
};

static const struct {
	struct dataset prompt, n_tokens, n_scored, nll_clean, nll_zero;
	struct dataset draw, random_rank, random_match;
	struct dataset nll, squared_error, n_active, variance, v_cosine;
	struct feature_table best;
	struct dataset score, match_in_set, match_in_sae;
} datasets = {
	.prompt = {"/sae_compare/prompt", {"prompt"}, RESULTS_I32, "",
		"prompt ids of the harmless prompts"},
	.n_tokens = {"/sae_compare/n_tokens", {"prompt"}, RESULTS_I32, "1",
		"tokens of prompt and answer behind the prefix, the answer's last left out"},
	.n_scored = {"/sae_compare/n_scored", {"prompt"}, RESULTS_I32, "1",
		"tokens of the answer, its stop token included"},
	.nll_clean = {"/sae_compare/nll_clean", {"prompt"}, RESULTS_F64, "nat",
		"negative log-likelihood of the answer, unedited"},
	.nll_zero = {"/sae_compare/nll_zero", {"layer", "prompt"}, RESULTS_F64, "nat",
		"the same with the layer's residual stream set to 0 behind the prefix"},
	.draw = {"/sae_compare/draw", {"draw"}, RESULTS_I32, "",
		"random features of a, like its F*; draw i has the run's seed + i"},
	.random_rank = {"/sae_compare/random_rank", {"random_rank"}, RESULTS_I32, "",
		"feature of a random set"},
	.random_match = {"/sae_compare/random_match", {"draw", "random_rank"}, RESULTS_F64, "1",
		"largest cosine with the F* of b in the layer; NaN = padding"},
	.nll = {"/sae_compare/SIDE/nll", {"layer", "prompt"}, RESULTS_F64, "nat",
		"negative log-likelihood of the answer, the layer's residual stream reconstructed "
		"behind the prefix"},
	.squared_error = {"/sae_compare/SIDE/squared_error", {"layer", "prompt"}, RESULTS_F64, "1",
		"sum over tokens of the squared error of the reconstruction"},
	.n_active = {"/sae_compare/SIDE/n_active", {"layer", "prompt"}, RESULTS_F64, "1",
		"sum over tokens of active features"},
	.variance = {"/sae_compare/SIDE/variance", {"layer"}, RESULTS_F64, "1",
		"mean over all tokens of the squared distance from the mean"},
	.v_cosine = {"/sae_compare/SIDE/v_cosine", {"layer"}, RESULTS_F64, "1",
		"of the reconstructed direction and the true one"},
	.best = FEATURE_TABLE("/sae_compare/SIDE", "rank", "F* of this SAE set, best first"),
	.score = {"/sae_compare/SIDE/score", {"rank"}, RESULTS_F32, "logit",
		"mean indirect effect"},
	.match_in_set = {"/sae_compare/SIDE/match_in_set", {"rank"}, RESULTS_F64, "1",
		"largest cosine of the decoder row with those of the other F* in the layer; 0 = "
		"none there"},
	.match_in_sae = {"/sae_compare/SIDE/match_in_sae", {"rank"}, RESULTS_F64, "1",
		"the same with all features of the other SAE"},
};

static const struct dataset_section section = {"`sae_compare`",
	"SIDE is `a` (`sae.*`) or `b` (`sae_compare.*`); attributes `path`, `d_sae`. Replies to "
	"harmful prompts with F* clamped are under EXPERIMENT `sae_compare`, CONDITION "
	"`SIDE_global_xC`; the harmless answers under `sae_compare_ce`.\n"
	"CE recovered is (CE zero - CE reconstructed) / (CE zero - CE clean), CE = sum(nll) / "
	"sum(n_scored); FVU is sum(squared_error) / sum(n_tokens) / variance; L0 is sum(n_active) "
	"/ sum(n_tokens).",
	DATASETS(datasets)};

/* One of the two. */
struct side {
	const char *name;
	struct sae_set *saes;   /* borrowed */
	struct machine machine; /* the run's with these SAEs; borrowed, as the next */
	struct lab lab;         /* the run's with this machine */
	struct reconstruction reconstruction;
	struct feature_set best;       /* F* */
	struct activation_stats stats; /* which features occur */
	/* Of struct work's memory. */
	double *v_cosine;        /* [n_layer] */
	double *in_set, *in_sae; /* [best.n] cosine of the nearest in the other F*, other SAE */
};

struct work {
	struct lab *lab;
	const struct compare_settings *settings;
	const float *direction;
	size_t n_layer;
	struct prompt_ids harmful;    /* attributed and continued */
	struct answers answers;       /* to harmless prompts */
	struct continuation unedited; /* of `harmful` */
	struct sae_set *other;        /* b, owned */
	struct side sides[2];
	size_t n_draws;
	struct arena memory;
	double *random; /* [n_draws, best.n of a], in `memory` */
};

/* ---- opening ----------------------------------------------------------------------------- */

static int open_other(const struct lab *lab, const struct compare_settings *s, struct sae_set **out,
	struct err *err)
{
	const struct machine *m = lab->machine;
	struct sae_options options = machine_sae_options(m, lab->config);

	options.path = s->path;
	options.format = s->format;
	options.width = s->width;
	options.l0 = s->l0;
	options.budget /= 2; /* beside that of the lab's */
	if (sae_set_open(out, m->dev, &options, m->model->arch.n_layer, m->model->arch.d_model,
		    err))
		return err_prefix(err, "sae_compare.path");
	return 0;
}

/* A side is a machine of its own: the run's with other SAEs. */
static void side_open(struct side *s, const char *name, const struct lab *lab, struct sae_set *saes)
{
	*s = (struct side){.name = name, .saes = saes, .machine = *lab->machine, .lab = *lab};
	s->machine.saes = saes;
	s->lab.machine = &s->machine;
}

static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct compare_settings *s = values;
	struct sae_set *other = NULL;
	struct side b;

	err_clear(err);
	(void)f;
	if (candidates_check(lab, err))
		return err->code;
	if (!*s->path)
		return err_set(err, ERR_CONFIG,
			"sae_compare.path: expected the folder of the SAEs that those of sae.path are "
			"compared with, found \"\"");
	if (!folder_exists(s->path))
		return err_set(err, ERR_INPUT, "sae_compare.path: no folder \"%s\"%s%s", s->path,
			*s->published ? "; published at " : "", s->published);
	if (open_other(lab, s, &other, err))
		return err->code;
	side_open(&b, "b", lab, other);
	if (candidates_check(&b.lab, err))
		err_prefix(err, "sae_compare.path");
	sae_set_close(other);
	return err->code;
}

/* ---- 2. one side ------------------------------------------------------------------------- */

/* F* on the harmful prompts, by effect among those nearest to the direction. */
static int find_best(struct work *w, struct side *s, struct err *err)
{
	const struct config *c = w->lab->config;
	struct candidates candidates = {0};
	struct effects effects = {0};
	size_t undecided;
	char title[64];

	err_clear(err);
	snprintf(title, sizeof title, "sae_compare: attribution, %s", s->name);
	TRY(candidates_find(&candidates, &s->lab, title, w->direction, (size_t)c->attribution.k0,
		err));
	TRY(effects_run(&s->lab,
		&(struct effects_request){.prompts = &w->harmful,
			.direction = w->direction,
			.candidates = &candidates.set,
			.title = title},
		&effects, err));
	TRY(effects_best(&effects, &candidates, (size_t)c->attribution.k_star, &s->best, err));
	TRY(effects_undecided(&effects, &candidates, NULL, 0, &s->best, &undecided, err));
	ties_tell(&s->lab, undecided,
		"%s: rounding alone could exchange %zu of the %zu features of F*", title, undecided,
		s->best.n);
fail:
	effects_free(&effects);
	candidates_free(&candidates);
	return err->code;
}

static int clamp_best(struct work *w, struct side *s, double c, struct err *err)
{
	struct condition clamp;
	char name[16];

	snprintf(name, sizeof name, "%s_global", s->name);
	clamp = condition_scale_set(name, &s->best, c);
	return continuation_record(&s->lab, "sae_compare", &w->harmful, &clamp, &w->unedited, NULL,
		err);
}

/* Everything that needs one SAE set alone. */
static int describe(struct work *w, struct side *s, struct err *err)
{
	const struct real_list *scale = &w->lab->config->clamp.scale;
	char title[64];

	snprintf(title, sizeof title, "sae_compare: reconstruction, %s", s->name);
	TRY(reconstruction_run(&s->lab, &w->answers.prompts, &w->answers.replies, title,
		&s->reconstruction, err));
	s->v_cosine = arena_alloc(&w->memory, w->n_layer, sizeof *s->v_cosine);
	TRY(arena_check(&w->memory, "cosines", err));
	snprintf(title, sizeof title, "sae_compare: direction, %s", s->name);
	TRY(reconstructed_direction(&s->lab, title, w->lab->config->direction.harmful,
		w->lab->config->direction.harmless, s->v_cosine, err));
	TRY(find_best(w, s, err));
	snprintf(title, sizeof title, "sae_compare: features that occur, %s", s->name);
	TRY(activation_stats_run(&s->lab, &w->harmful, title, false, &s->stats, err));
	for (size_t k = 0; k < scale->n; k++)
		TRY(clamp_best(w, s, scale->items[k], err));
	return 0;
fail:
	return err->code;
}

/* ---- 3. overlap -------------------------------------------------------------------------- */

static int match_side(struct work *w, struct side *s, const struct side *other, struct err *err)
{
	s->in_set = arena_alloc(&w->memory, s->best.n, sizeof *s->in_set);
	s->in_sae = arena_alloc(&w->memory, s->best.n, sizeof *s->in_sae);
	if (arena_check(&w->memory, "overlap", err))
		return err->code;
	return decoder_match(w->lab->machine->model->arch.d_model, s->saes, &s->best, other->saes,
		&other->best, s->in_set, s->in_sae, err);
}

static int match_random(struct work *w, struct err *err)
{
	const size_t n = w->n_draws;
	struct side *a = &w->sides[0], *b = &w->sides[1];
	struct feature_set *draws = arena_alloc(&w->memory, n, sizeof *draws);

	w->random = arena_alloc(&w->memory, n * a->best.n, sizeof *w->random);
	err_clear(err);
	TRY(arena_check(&w->memory, "random features", err));
	for (size_t i = 0; i < n * a->best.n; i++)
		w->random[i] = NAN;
	TRY(controls_draw(w->lab, &a->best, NULL, a->stats.alive, n, draws, err));
	for (size_t d = 0; d < n; d++)
		TRY(decoder_match(w->lab->machine->model->arch.d_model, a->saes, &draws[d], b->saes,
			&b->best, w->random + d * a->best.n, NULL, err));
fail:
	for (size_t d = 0; draws && d < n; d++)
		free(draws[d].data);
	return err->code;
}

static double share_above(const struct work *w, const double *cosine, size_t n)
{
	double above = 0;

	for (size_t i = 0; i < n; i++)
		above += cosine[i] > w->settings->match;
	return n > 0 ? above / (double)n : NAN;
}

/* ---- 4. record --------------------------------------------------------------------------- */

static int write_reconstruction(struct work *w, const struct side *s, struct err *err)
{
	struct results *to = w->lab->job->results;
	const struct reconstruction *r = &s->reconstruction;
	const char *const *words = WORDS(s->name);
	const size_t n[] = {w->n_layer, r->n_prompts};

	TRY(dataset_write(to, &datasets.nll, words, n, r->nll_sae, err));
	TRY(dataset_write(to, &datasets.squared_error, words, n, r->squared_error, err));
	TRY(dataset_write(to, &datasets.n_active, words, n, r->n_active, err));
	TRY(dataset_write(to, &datasets.variance, words, n, r->variance, err));
	return dataset_write(to, &datasets.v_cosine, words, n, s->v_cosine, err);
fail:
	return err->code;
}

static int write_best(struct work *w, const struct side *s, struct err *err)
{
	struct results *r = w->lab->job->results;
	const char *const *words = WORDS(s->name);
	const size_t n = s->best.n;
	float *score = arena_alloc(&w->memory, n, sizeof *score);

	TRY(arena_check(&w->memory, s->name, err));
	for (size_t i = 0; i < n; i++)
		score[i] = s->best.data[i].score;
	TRY(feature_table_write(r, &datasets.best, words, &s->best, err));
	TRY(dataset_write(r, &datasets.score, words, &n, score, err));
	TRY(dataset_write(r, &datasets.match_in_set, words, &n, s->in_set, err));
	return dataset_write(r, &datasets.match_in_sae, words, &n, s->in_sae, err);
fail:
	return err->code;
}

static int write_side(struct work *w, const struct side *s, struct err *err)
{
	struct results *r = w->lab->job->results;
	char group[32];

	snprintf(group, sizeof group, "/sae_compare/%s", s->name);
	TRY(write_reconstruction(w, s, err));
	TRY(write_best(w, s, err));
	TRY(results_attribute_text(r, group, "path", sae_set_path(s->saes, 0), err));
	return results_attribute_integer(r, group, "d_sae", (int64_t)sae_set_width(s->saes), err);
fail:
	return err->code;
}

static int write_shared(struct work *w, struct err *err)
{
	struct results *to = w->lab->job->results;
	const struct reconstruction *r = &w->sides[0].reconstruction;
	const size_t n = r->n_prompts, by_layer[] = {w->n_layer, n},
		     by_draw[] = {w->n_draws, w->sides[0].best.n};

	TRY(prompt_scale_write(to, &datasets.prompt, NULL, &w->answers.prompts, err));
	TRY(dataset_write_counting(to, &datasets.draw, NULL, by_draw[0], err));
	TRY(dataset_write_counting(to, &datasets.random_rank, NULL, by_draw[1], err));
	TRY(dataset_write(to, &datasets.n_tokens, NULL, &n, r->n_tokens, err));
	TRY(dataset_write(to, &datasets.n_scored, NULL, &n, r->n_scored, err));
	TRY(dataset_write(to, &datasets.nll_clean, NULL, &n, r->nll_clean, err));
	TRY(dataset_write(to, &datasets.nll_zero, NULL, by_layer, r->nll_zero, err));
	TRY(dataset_write(to, &datasets.random_match, NULL, by_draw, w->random, err));
	return results_attribute_real(to, "/sae_compare", "match", w->settings->match, err);
fail:
	return err->code;
}

static void report(const struct work *w)
{
	const struct side *a = &w->sides[0];

	log_info(
		"sae_compare: %.2f of the F* of a are in that of b (cosine above %g), %.2f anywhere in "
		"b; of random features of a %.2f",
		share_above(w, a->in_set, a->best.n), w->settings->match,
		share_above(w, a->in_sae, a->best.n),
		share_above(w, w->random, w->n_draws * a->best.n));
}

static void side_free(struct side *s)
{
	reconstruction_free(&s->reconstruction);
	activation_stats_free(&s->stats);
	free(s->best.data);
}

/* What is written of both, and the units of reconstruction and of the directions. */
static int plan_sides(const struct lab *lab, struct plan *out, struct err *err)
{
	static const struct plan_what what = {"reconstructions", NULL};
	const struct config *c = lab->config;
	const size_t n_layer = lab->machine->model->arch.n_layer,
		     k_star = (size_t)c->attribution.k_star;
	const double sums = 16 * (double)(n_layer * (lab->machine->model->arch.d_model + 1));
	struct prompt_ids prompts = {0};

	err_clear(err);
	TRY(prompts_of_set(lab->prompts, c->clamp.harmless, &prompts, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("prompt", prompts.n), LENGTH("layer", n_layer),
			LENGTH("draw", (size_t)c->controls.draws), {"random_rank", 0, k_star},
			{"rank", 0, k_star}),
		2, err));
	TRY(plan_stages(lab, out, what, &prompts, 8 * (double)(1 + 4 * n_layer), 2 * sums, 4, err));
	prompts.n = 0;
	TRY(prompts_of_set(lab->prompts, c->direction.harmful, &prompts, err));
	TRY(prompts_of_set(lab->prompts, c->direction.harmless, &prompts, err));
	TRY(plan_stages(lab, out, what, &prompts, 0, 2 * sums, 4, err));
fail:
	free(prompts.data);
	return err->code;
}

/* Bytes of the largest whole SAE of the other set. */
static int largest_other(const struct lab *lab, const struct compare_settings *s, size_t *bytes,
	struct err *err)
{
	struct sae_set *other = NULL;

	if (open_other(lab, s, &other, err))
		return err->code;
	for (size_t l = 0; l < sae_set_layers(other); l++)
		*bytes = size_max(*bytes, sae_set_bytes(other, l));
	sae_set_close(other);
	return 0;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	const struct config *c = lab->config;
	struct effects_extent extent = effects_extent(c);
	struct prompt_ids harmful = {0};

	(void)f;
	extent.paths *= 2; /* both sides */
	extent.points *= 2;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->attribution.prompts, &harmful, err));
	TRY(largest_other(lab, values, &out->sae_bytes, err));
	TRY(answers_plan(lab, out, c->clamp.harmless, 0, err));
	TRY(continuation_plan(lab, out, &harmful, 1 + 2 * c->clamp.scale.n, err));
	extent.n_stages = 2;
	TRY(effects_plan(lab, out, &(struct effects_request){.prompts = &harmful}, extent, err));
	TRY(activation_stats_plan(lab, out, &harmful, false, err));
	TRY(activation_stats_plan(lab, out, &harmful, false, err));
	TRY(plan_sides(lab, out, err));
fail:
	free(harmful.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct compare_settings *s = values;
	const struct config *c = lab->config;
	const struct condition none = condition_none();
	struct work w = {.lab = lab,
		.settings = s,
		.direction = f->direction.v,
		.n_layer = lab->machine->model->arch.n_layer,
		.n_draws = (size_t)c->controls.draws};

	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->attribution.prompts, &w.harmful, err));
	TRY(open_other(lab, s, &w.other, err));
	side_open(&w.sides[0], "a", lab, lab->machine->saes);
	side_open(&w.sides[1], "b", lab, w.other);

	/* 1. The unedited model's answers to harmless and harmful prompts. */
	TRY(answers_run(&w.answers, lab, "sae_compare_ce", c->clamp.harmless, err));
	TRY(continuation_record(lab, "sae_compare", &w.harmful, &none, NULL, &w.unedited, err));

	/* 2. Each SAE set: reconstruction, direction, F* and what clamping it does. */
	TRY(describe(&w, &w.sides[0], err));
	TRY(describe(&w, &w.sides[1], err));

	/* 3. How far the two F* are the same. */
	TRY(match_side(&w, &w.sides[0], &w.sides[1], err));
	TRY(match_side(&w, &w.sides[1], &w.sides[0], err));
	TRY(match_random(&w, err));

	/* 4. Record. */
	TRY(write_shared(&w, err));
	TRY(write_side(&w, &w.sides[0], err));
	TRY(write_side(&w, &w.sides[1], err));
	report(&w);
fail:
	side_free(&w.sides[0]);
	side_free(&w.sides[1]);
	sae_set_close(w.other);
	continuation_free(&w.unedited);
	answers_free(&w.answers);
	free(w.harmful.data);
	arena_free(&w.memory);
	return err->code;
}

const struct experiment experiment_sae_compare = {
	.name = "sae_compare",
	.asks = "does the choice of SAEs matter?",
	SETTINGS_OF(settings, struct compare_settings),
	.writes = &section,
	.needs = NEED_SAES | NEED_DIRECTION,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_ATTRIBUTED | PROMPTS_HARMLESS | PROMPTS_CONTRASTED,
	.check = check,
	.plan = plan,
	.run = run,
};
