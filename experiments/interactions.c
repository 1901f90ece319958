/* SPDX-License-Identifier: MIT
 *
 * interactions.c - do features and tokens act on refusal by themselves or together (the paper's
 * next check 3)?
 *
 * e(S) is the change of m = logit[j] - logit[refusal], j the argmax of the prompt's ablated run,
 * when what S names is changed. If the parts acted by themselves, e would be a sum. Three ways to
 * take F* (cossim_ap, global) apart:
 *
 *   features   f <- c f at all tokens, for one feature, for every pair, for all:
 *              interaction of a pair = e(ij) - e(i) - e(j)
 *   tokens     F* held at c times its unedited values at one of the last `positions` tokens, at
 *              those before, at all; at the other tokens it is held at its unedited values
 *   layers     the direction taken out of one layer's whole residual stream, against the same
 *              done to the F0 of that layer alone: held at the values that taking it out gives them
 *
 * Control: random sets with as many features per layer as F*, of features that occur, for which
 * singles, pairs and all are measured alike.
 *
 * Writes:  /interactions, all per prompt, in logits.
 * Cost:    one pass each: K*(K* + 1)/2 + 1 for F* and each draw, positions + 2 for tokens, 3 per
 *          layer.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/measure/activation_stats.h"
#include "host/measure/candidates.h"
#include "host/measure/controls.h"
#include "host/measure/readings.h"
#include "host/measure/observe.h"
#include "host/measure/ties.h"
#include "host/lab/tables.h"
#include "host/work/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct setting settings[] = {
	MOVED("interactions.scale", "clamp.scale"),
	MOVED("interactions.draws", "controls.draws"),
	MOVED("interactions.positions", "readings.positions"),
	MOVED("interactions.prompts", "dissect.prompts"),
};

static const struct {
	struct dataset prompt, metric_clean;
	struct feature_table features;
	struct dataset single, pair_number, pair_first, pair_second, pair, all;
	struct dataset token_group, tokens;
	struct dataset vector, features_alone, vector_all, features_all;
} datasets = {
	.prompt = PROMPT_SCALE("/interactions"),
	.metric_clean = {"/interactions/metric_clean", {"prompt"}, RESULTS_F64, "logit",
		"the metric, logit[j] - logit[refusal], unedited"},
	.features = FEATURE_TABLE("/interactions/PARTS", "rank", "features of the set"),
	.single = {"/interactions/PARTS/single", {"rank", "prompt"}, RESULTS_F64, "logit",
		"change of the metric with the one feature clamped"},
	.pair_number = {"/interactions/PARTS/pair_number", {"pair_number"}, RESULTS_I32, "",
		"pair of features"},
	.pair_first = {"/interactions/PARTS/pair_first", {"pair_number"}, RESULTS_I32, "",
		"rank of a pair's first feature"},
	.pair_second = {"/interactions/PARTS/pair_second", {"pair_number"}, RESULTS_I32, "",
		"rank of its second"},
	.pair = {"/interactions/PARTS/pair", {"pair_number", "prompt"}, RESULTS_F64, "logit",
		"change of the metric with both clamped"},
	.all = {"/interactions/PARTS/all", {"prompt"}, RESULTS_F64, "logit",
		"change of the metric with all clamped"},
	.token_group = {"/interactions/token_group", {"token_group"}, RESULTS_TEXT, "",
		"`before`, the last tokens from the end (`-5` ... `-1`), `all`"},
	.tokens = {"/interactions/tokens", {"token_group", "prompt"}, RESULTS_F64, "logit",
		"change of the metric with F* held at `scale` times its unedited values at these "
		"tokens, at its unedited values elsewhere"},
	.vector = {"/interactions/vector", {"layer", "prompt"}, RESULTS_F64, "logit",
		"change of the metric with the direction ablated in this layer alone"},
	.features_alone = {"/interactions/features", {"layer", "prompt"}, RESULTS_F64, "logit",
		"the same with only the layer's F0 moved, as that ablation moves them"},
	.vector_all = {"/interactions/vector_all", {"prompt"}, RESULTS_F64, "logit",
		"change of the metric with the direction ablated in all layers"},
	.features_all = {"/interactions/features_all", {"prompt"}, RESULTS_F64, "logit",
		"the same with only the F0 of all layers moved, as that ablation moves them"},
};

static const struct dataset_section section = {"`interactions`",
	"PARTS is `best` (F*), `random0`, `random1`, ...; features are clamped to the attribute "
	"`scale` of `/interactions` times themselves.",
	DATASETS(datasets)};

/* A set and what changing its parts does: rows are K singles, K(K-1)/2 pairs (0,1), (0,2), ...,
 * and all. */
struct parts {
	const struct feature_set *set;
	double *effect; /* [rows, n] */
};

struct work {
	struct lab *lab;
	const struct findings *findings;
	struct prompt_ids prompts;
	size_t n, n_layer, n_draws, n_groups;
	struct candidates candidates;  /* F0 */
	struct observation clean;      /* F* at every token, unedited */
	struct activation_stats stats; /* which features occur */
	struct arena memory;           /* what follows is in it, the draws' lists excepted */
	int32_t *target;               /* [n] token j */
	struct feature_set *draws;     /* [n_draws] */
	struct parts best, *random;    /* of F*; [n_draws] */
	double *tokens;                /* [n_groups, n] from the first group to all tokens */
	double *vector, *features;     /* [n_layer + 1, n] each layer, and all at once */
};

static const struct feature_set *best(const struct work *w)
{
	return &w->findings->sets[METHOD_COSSIM_AP].global;
}

static size_t rows_of(size_t k)
{
	return k + k * (k - 1) / 2 + 1;
}

/* Change of m under a condition. */
static int effect_of(struct work *w, const struct condition *condition, double *effect,
	struct err *err)
{
	struct observation o = {0};

	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = condition,
			.n_last = 1,
			.target = w->target},
		&o, err));
	for (size_t i = 0; i < w->n; i++)
		effect[i] = o.metric[i] - w->clean.metric[i];
fail:
	observation_free(&o);
	return err->code;
}

/* ---- 1. the unedited run ----------------------------------------------------------------- */

static int observe_unedited(struct work *w, struct err *err)
{
	const struct condition none = condition_none(),
			       ablate = condition_ablate(&w->findings->direction);
	struct observation ablated = {0};

	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.title = "interactions: direction ablated",
			.prompts = &w->prompts,
			.condition = &ablate,
			.n_last = 1},
		&ablated, err));
	memcpy(w->target, ablated.first_token, w->n * sizeof *w->target);
	ties_tell_targets(w->lab, "interactions", ablated.first_lead, w->n);
	TRY(observe(w->lab,
		&(struct observe_request){.title = "interactions: unedited",
			.prompts = &w->prompts,
			.condition = &none,
			.features = best(w),
			.n_last = OBSERVE_ALL,
			.target = w->target},
		&w->clean, err));
fail:
	observation_free(&ablated);
	return err->code;
}

/* ---- 2. features ------------------------------------------------------------------------- */

static int clamp(struct work *w, const struct feature *features, size_t n, double *effect,
	struct err *err)
{
	struct feature_set set = {0};
	struct condition condition;

	err_clear(err);
	for (size_t i = 0; i < n; i++)
		TRY(feature_set_add(&set, features[i], err));
	condition = condition_scale_set("part", &set, config_scale(w->lab->config));
	TRY(effect_of(w, &condition, effect, err));
fail:
	free(set.data);
	return err->code;
}

/* A set to be taken apart. */
struct apart {
	struct work *w;
	const struct feature_set *set;
};

/* Row `part` of struct parts. */
static int clamp_part(void *context, size_t part, double *row, struct err *err)
{
	const struct apart *a = context;
	const struct feature *f = a->set->data;
	const size_t k = a->set->n;
	size_t first = 0, pair = part - k;

	if (part < k)
		return clamp(a->w, &f[part], 1, row, err);
	if (part + 1 == rows_of(k))
		return clamp(a->w, f, k, row, err);
	for (; pair >= k - 1 - first; first++)
		pair -= k - 1 - first;
	return clamp(a->w, (const struct feature[2]){f[first], f[first + 1 + pair]}, 2, row, err);
}

static int take_apart(struct work *w, const struct feature_set *set, const char *name,
	struct parts *parts, struct err *err)
{
	struct apart a = {w, set};
	const size_t rows = rows_of(set->n);
	char title[96];

	*parts = (struct parts){set, arena_alloc(&w->memory, rows * w->n, sizeof(double))};
	if (arena_check(&w->memory, "effects", err))
		return err->code;
	snprintf(title, sizeof title, "interactions: singles, pairs, all of %s", name);
	return tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = title,
			.item = "clamp",
			.n = rows,
			.width = w->n,
			.context = &a,
			.run = clamp_part},
		parts->effect, err);
}

static int take_features(struct work *w, struct err *err)
{
	char name[32];

	TRY(activation_stats_run(w->lab, &w->prompts, "interactions: features that occur", false,
		&w->stats, err));
	TRY(controls_draw(w->lab, best(w), NULL, w->stats.alive, w->n_draws, w->draws, err));
	TRY(take_apart(w, best(w), "F*", &w->best, err));
	for (size_t d = 0; d < w->n_draws; d++) {
		snprintf(name, sizeof name, "random %zu", d);
		TRY(take_apart(w, &w->draws[d], name, &w->random[d], err));
	}
	return 0;
fail:
	return err->code;
}

/* ---- 3. tokens --------------------------------------------------------------------------- */

/* Group of token t of a prompt of n: the last tokens by themselves, the last one last. */
static size_t group_of(const struct work *w, size_t t, size_t n)
{
	const size_t single = w->n_groups - 2, from_end = n - 1 - t;

	return from_end < single ? single - from_end : 0;
}

/* Scratch of a scaling of tokens. */
struct scaling {
	struct work *w;
	float *values;           /* of F* at every token */
	const float **of_prompt; /* [prompts of the lab] into values */
};

/* F* at c times its unedited values in one group (the last: in all), unedited elsewhere. */
static int scale_tokens(void *context, size_t group, double *row, struct err *err)
{
	const struct scaling *s = context;
	struct work *w = s->w;
	const struct feature_set none = {0};
	const struct recording recording = {.features = best(w),
		.prefix = w->clean.prefix,
		.of_prompt = s->of_prompt};
	struct condition condition = condition_scale_set("tokens", &none, 1);
	const float c = (float)config_scale(w->lab->config);
	const size_t k = best(w)->n;

	for (size_t i = 0; i < w->n; i++) {
		const size_t from = w->clean.start[i], n = w->clean.start[i + 1] - from;

		s->of_prompt[w->prompts.data[i]] = s->values + from * k;
		for (size_t t = 0; t < n; t++) {
			const bool within = group + 1 == w->n_groups || group == group_of(w, t, n);

			for (size_t f = 0; f < k; f++)
				s->values[(from + t) * k + f] =
					(within ? c : 1) * w->clean.activation[(from + t) * k + f];
		}
	}
	condition.retained = &recording;
	return effect_of(w, &condition, row, err);
}

static int take_tokens(struct work *w, struct err *err)
{
	struct arena memory = {0};
	struct scaling s = {.w = w};

	s.values = arena_alloc(&memory, w->clean.start[w->n] * best(w)->n, sizeof *s.values);
	s.of_prompt = arena_alloc(&memory, w->lab->prompts->table.n, sizeof *s.of_prompt);
	err_clear(err);
	TRY(arena_check(&memory, "activations", err));
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "interactions: tokens",
			.item = "clamp",
			.n = w->n_groups,
			.width = w->n,
			.context = &s,
			.run = scale_tokens},
		w->tokens, err));
fail:
	arena_free(&memory);
	return err->code;
}

/* ---- 4. layers --------------------------------------------------------------------------- */

/* The direction out of one layer (the last task: out of all): of the whole residual stream, then of
 * the F0 there alone, held at the values it left them with. row: [2, n]. */
static int steer(void *context, size_t layer, double *row, struct err *err)
{
	struct work *w = context;
	const bool all = layer == w->n_layer;
	const size_t first = all ? 0 : layer, last = all ? w->n_layer - 1 : layer;
	const struct condition ablate = condition_ablate_layers(&w->findings->direction, first,
		last);
	const struct feature_set none = {0};
	struct condition hold = condition_scale_set("layer", &none, 1);
	struct arena memory = {0};
	const float **of_prompt = arena_alloc(&memory, w->lab->prompts->table.n, sizeof *of_prompt);
	struct feature_set own = {0};
	struct observation seen = {0};
	struct recording recording;

	err_clear(err);
	TRY(arena_check(&memory, "activations", err));
	for (size_t k = 0; k < w->candidates.set.n; k++) {
		const struct feature f = w->candidates.set.data[k];

		if ((size_t)f.layer >= first && (size_t)f.layer <= last)
			TRY(feature_set_add(&own, f, err));
	}
	TRY(effect_of(w, &ablate, row, err));
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &ablate,
			.features = &own,
			.n_last = OBSERVE_ALL,
			.edited = true},
		&seen, err));
	recording = observation_recording(w->lab, &seen, &own, &w->prompts, of_prompt);
	hold.retained = &recording;
	TRY(effect_of(w, &hold, row + w->n, err));
fail:
	free(own.data);
	observation_free(&seen);
	arena_free(&memory);
	return err->code;
}

static int take_layers(struct work *w, struct err *err)
{
	const size_t rows = w->n_layer + 1, n = w->n;
	struct arena memory = {0};
	double *table = arena_alloc(&memory, rows * 2 * n, sizeof *table);

	err_clear(err);
	TRY(arena_check(&memory, "effects", err));
	TRY(candidates_find(&w->candidates, w->lab, "interactions", w->findings->direction.v,
		(size_t)w->lab->config->attribution.k0, err));
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "interactions: layers",
			.item = "layer",
			.n = rows,
			.width = 2 * n,
			.context = w,
			.run = steer},
		table, err));
	for (size_t l = 0; l < rows; l++) {
		memcpy(w->vector + l * n, table + 2 * l * n, n * sizeof *table);
		memcpy(w->features + l * n, table + (2 * l + 1) * n, n * sizeof *table);
	}
fail:
	arena_free(&memory);
	return err->code;
}

/* ---- 5. record --------------------------------------------------------------------------- */

/* The two ranks of every pair. */
static int write_pairs(struct work *w, const char *const *words, size_t k, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t pairs = k * (k - 1) / 2;
	struct arena memory = {0};
	int32_t *first = arena_alloc(&memory, pairs, sizeof *first);
	int32_t *second = arena_alloc(&memory, pairs, sizeof *second);
	size_t at = 0;

	err_clear(err);
	TRY(arena_check(&memory, "pairs", err));
	for (size_t i = 0; i < k; i++) {
		for (size_t j = i + 1; j < k; j++, at++) {
			first[at] = (int32_t)i;
			second[at] = (int32_t)j;
		}
	}
	TRY(dataset_write_counting(r, &datasets.pair_number, words, pairs, err));
	TRY(dataset_write(r, &datasets.pair_first, words, &pairs, first, err));
	TRY(dataset_write(r, &datasets.pair_second, words, &pairs, second, err));
fail:
	arena_free(&memory);
	return err->code;
}

static int write_parts(struct work *w, const char *name, const struct parts *p, struct err *err)
{
	struct results *r = w->lab->job->results;
	const char *const *words = WORDS(name);
	const size_t n = w->n, k = p->set->n, pairs = k * (k - 1) / 2;

	TRY(feature_table_write(r, &datasets.features, words, p->set, err));
	TRY(write_pairs(w, words, k, err));
	TRY(dataset_write(r, &datasets.single, words, (size_t[]){k, n}, p->effect, err));
	TRY(dataset_write(r, &datasets.pair, words, (size_t[]){pairs, n}, p->effect + k * n, err));
	return dataset_write(r, &datasets.all, words, &n, p->effect + (k + pairs) * n, err);
fail:
	return err->code;
}

static int write_tokens(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	char texts[32][24];
	const char *names[32];

	for (size_t g = 0; g < w->n_groups; g++) {
		const size_t from_end = w->n_groups - 1 - g;

		names[g] = texts[g];
		if (g == 0)
			snprintf(texts[g], sizeof texts[g], "before");
		else if (from_end == 0)
			snprintf(texts[g], sizeof texts[g], "all");
		else
			snprintf(texts[g], sizeof texts[g], "-%zu", from_end);
	}
	if (dataset_write(r, &datasets.token_group, NULL, &w->n_groups, names, err))
		return err->code;
	return dataset_write(r, &datasets.tokens, NULL, (size_t[]){w->n_groups, w->n}, w->tokens,
		err);
}

static int write_layers(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n[] = {w->n_layer, w->n}, all = w->n_layer * w->n;

	TRY(dataset_write(r, &datasets.vector, NULL, n, w->vector, err));
	TRY(dataset_write(r, &datasets.features_alone, NULL, n, w->features, err));
	TRY(dataset_write(r, &datasets.vector_all, NULL, &w->n, w->vector + all, err));
	return dataset_write(r, &datasets.features_all, NULL, &w->n, w->features + all, err);
fail:
	return err->code;
}

static int write(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	char name[32];

	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(dataset_write(r, &datasets.metric_clean, NULL, &w->n, w->clean.metric, err));
	TRY(write_parts(w, "best", &w->best, err));
	for (size_t d = 0; d < w->n_draws; d++) {
		snprintf(name, sizeof name, "random%zu", d);
		TRY(write_parts(w, name, &w->random[d], err));
	}
	TRY(write_tokens(w, err));
	TRY(write_layers(w, err));
	return results_attribute_real(r, "/interactions", "scale", config_scale(w->lab->config),
		err);
fail:
	return err->code;
}

static double mean_of(const double *values, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += values[i] / (double)n;
	return sum;
}

/* Sum of the singles, mean over prompts. */
static double sum_of_singles(const struct work *w, const struct parts *p)
{
	return mean_of(p->effect, p->set->n * w->n) * (double)p->set->n;
}

static void report(const struct work *w)
{
	const size_t k = best(w)->n, last = w->n_layer * w->n, groups = w->n_groups - 1;

	log_info(
		"interactions: F* together %.2f logit, the sum of its features %.2f; over tokens "
		"%.2f, the sum of its tokens %.2f; the direction ablated %.2f, F0 moved alike %.2f",
		mean_of(w->best.effect + (rows_of(k) - 1) * w->n, w->n),
		sum_of_singles(w, &w->best), mean_of(w->tokens + groups * w->n, w->n),
		mean_of(w->tokens, groups * w->n) * (double)groups, mean_of(w->vector + last, w->n),
		mean_of(w->features + last, w->n));
}

static int work_open(struct work *w, struct err *err)
{
	const size_t rows = w->n_layer + 1;

	TRY(prompts_of_sets(w->lab->prompts, &w->lab->config->dissect.prompts, &w->prompts, err));
	w->n = w->prompts.n;
	w->target = arena_alloc(&w->memory, w->n, sizeof *w->target);
	w->draws = arena_alloc(&w->memory, w->n_draws, sizeof *w->draws);
	w->random = arena_alloc(&w->memory, w->n_draws, sizeof *w->random);
	w->tokens = arena_alloc(&w->memory, w->n_groups * w->n, sizeof *w->tokens);
	w->vector = arena_alloc(&w->memory, rows * w->n, sizeof *w->vector);
	w->features = arena_alloc(&w->memory, rows * w->n, sizeof *w->features);
	return arena_check(&w->memory, "effects", err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	for (size_t d = 0; w->draws && d < w->n_draws; d++)
		free(w->draws[d].data);
	observation_free(&w->clean);
	activation_stats_free(&w->stats);
	candidates_free(&w->candidates);
	free(w->prompts.data);
	arena_free(&w->memory);
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	static const struct plan_what what = {"effects of parts", "attribution.k_star"};
	const struct config *c = lab->config;
	const struct method_sets *sets = &f->sets[METHOD_COSSIM_AP];
	const size_t k = sets->known ? sets->global.n : (size_t)c->attribution.k_star,
		     n_layer = lab->machine->model->arch.n_layer,
		     n_groups = (size_t)c->readings.positions + 2,
		     draws = (size_t)c->controls.draws;
	struct prompt_ids prompts = {0};

	(void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->dissect.prompts, &prompts, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("prompt", prompts.n), {"rank", 0, k},
			{"pair_number", 0, k * (k - 1) / 2}, LENGTH("token_group", n_groups),
			LENGTH("layer", n_layer)),
		1 + draws, err));
	TRY(activation_stats_plan(lab, out, &prompts, false, err));
	TRY(plan_tasks(out, what, (1 + draws) * rows_of(k) + n_groups, prompts.n, err));
	TRY(plan_tasks(out, what, n_layer + 1, 2 * prompts.n, err));
	TRY(plan_stages(lab, out, what, &prompts, 28, 0, 1, err));
	TRY(readings_plan(lab, out, &prompts, k, plan_tokens(lab, &prompts, 0) / prompts.n + 1, 1,
		err));
fail:
	free(prompts.data);
	return err->code;
}

static int run(struct lab *lab, struct findings *f, const void *values, struct err *err)
{
	const struct config *c = lab->config;
	struct work w = {.lab = lab,
		.findings = f,
		.n_layer = lab->machine->model->arch.n_layer,
		.n_draws = (size_t)c->controls.draws,
		.n_groups = (size_t)c->readings.positions + 2};

	(void)values;
	err_clear(err);
	TRY(work_open(&w, err));

	/* 1. The unedited run, and the token j of the ablated one. */
	TRY(observe_unedited(&w, err));

	/* 2. F* feature by feature, in pairs, whole; random sets likewise. */
	TRY(take_features(&w, err));

	/* 3. F* token by token. */
	TRY(take_tokens(&w, err));

	/* 4. Whole residual streams against F0, layer by layer. */
	TRY(take_layers(&w, err));

	/* 5. Record. */
	TRY(write(&w, err));
	report(&w);
fail:
	work_close(&w);
	return err->code;
}

const struct experiment experiment_interactions = {
	.name = "interactions",
	.asks = "do features and tokens act on refusal by themselves or together?",
	MOVED_ONLY(settings),
	.writes = &section,
	.needs = NEED_SETS | NEED_DIRECTION,
	.uses = USE_WHOLE_SAES,
	.prompts = PROMPTS_DISSECTED,
	.plan = plan,
	.run = run,
};
