/* SPDX-License-Identifier: MIT
 *
 * feature_graph.c - does refusal come about in steps, harm -> legality -> refusal (open question 2
 * of the paper)?
 *
 * Nodes are the features of F* (cossim_ap, global). Two measurements:
 *
 *   edges      one node clamped, f <- c f at all tokens: what becomes of the activation of every
 *              node of a later layer (mean over the prompt's tokens, read before the edits of its
 *              own layer) and of m = logit[j] - logit[refusal], j the argmax of the ablated run
 *   mediation  nodes in three groups by layer, early, middle, late, cut where the groups are most
 *              alike in size; one group clamped while another is retained at its unedited values.
 *              What the clamp of `early` does to m is mediated by `middle` as far as it is gone
 *              when the middle is retained.
 *
 * Control: random features, as many per layer as the middle group and occurring on the prompts,
 * retained in its place; many draws.
 *
 * Writes:  /feature_graph: activations [source, prompt, node] and metric; /feature_graph/mediation.
 * Cost:    one pass per node, 7 for the groups, 2 per draw.
 */
#include "experiments/experiment.h"

#include "host/base/arena.h"
#include "host/base/log.h"
#include "host/base/size.h"
#include "host/measure/activation_stats.h"
#include "host/measure/controls.h"
#include "host/measure/readings.h"
#include "host/measure/observe.h"
#include "host/measure/ties.h"
#include "host/lab/tables.h"
#include "host/work/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct setting settings[] = {
	MOVED("feature_graph.scale", "clamp.scale"),
	MOVED("feature_graph.draws", "controls.draws"),
	MOVED("feature_graph.prompts", "dissect.prompts"),
	GONE("feature_graph.method", "the features of cossim_ap, always"),
};

static const struct {
	struct dataset prompt;
	struct feature_table nodes;
	struct dataset group, source, unedited, activation, metric_clean, metric;
	struct dataset edit, mediated, late_activation, draw, random_metric;
} datasets = {
	.prompt = PROMPT_SCALE("/feature_graph"),
	.nodes = FEATURE_TABLE("/feature_graph", "node", "features of F*, best first"),
	.group = {"/feature_graph/group", {"node"}, RESULTS_I32, "",
		"0 early, 1 middle, 2 late, by layer"},
	.source = {"/feature_graph/source", {"source"}, RESULTS_I32, "",
		"the node that is clamped"},
	.unedited = {"/feature_graph/unedited", {"prompt", "node"}, RESULTS_F32, "1",
		"activation of the node, mean over the prompt's tokens"},
	.activation = {"/feature_graph/activation", {"source", "prompt", "node"}, RESULTS_F32, "1",
		"the same with the source clamped, before the edits of the node's own layer"},
	.metric_clean = {"/feature_graph/metric_clean", {"prompt"}, RESULTS_F64, "logit",
		"the metric, logit[j] - logit[refusal], unedited"},
	.metric = {"/feature_graph/metric", {"source", "prompt"}, RESULTS_F64, "logit",
		"the same with the source clamped"},
	.edit = {"/feature_graph/mediation/edit", {"edit"}, RESULTS_TEXT, "",
		"group clamped, groups retained at their unedited values"},
	.mediated = {"/feature_graph/mediation/metric", {"edit", "prompt"}, RESULTS_F64, "logit",
		"the metric, logit[j] - logit[refusal]"},
	.late_activation = {"/feature_graph/mediation/late_activation", {"edit", "prompt"},
		RESULTS_F64, "1",
		"activation of late nodes, mean over them and the prompt's tokens"},
	.draw = {"/feature_graph/mediation/draw", {"draw"}, RESULTS_I32, "",
		"random sets like the middle group; draw i has the run's seed + i"},
	.random_metric = {"/feature_graph/mediation/random_metric", {"draw", "prompt"}, RESULTS_F64,
		"logit", "the metric with the early nodes clamped and a random set retained"},
};

static const struct dataset_section section = {"`feature_graph`", NULL, DATASETS(datasets)};

enum { EARLY, MIDDLE, LATE, N_GROUPS };

/* What is clamped while what is retained; as bits of the groups. */
static const struct mediation {
	const char *name;
	unsigned clamped, retained;
} mediations[] = {
	{"early", 1U << EARLY, 0},
	{"early, middle retained", 1U << EARLY, 1U << MIDDLE},
	{"early, late retained", 1U << EARLY, 1U << LATE},
	{"early, middle and late retained", 1U << EARLY, 1U << MIDDLE | 1U << LATE},
	{"middle", 1U << MIDDLE, 0},
	{"middle, late retained", 1U << MIDDLE, 1U << LATE},
	{"late", 1U << LATE, 0},
};
enum { N_MEDIATIONS = sizeof mediations / sizeof *mediations };

struct work {
	struct lab *lab;
	const struct direction *direction;
	const struct feature_set *nodes;
	struct prompt_ids prompts;
	size_t n, k, n_draws;
	struct observation clean;      /* nodes at every token */
	struct activation_stats stats; /* which features occur */
	struct arena memory;           /* what follows is in it, the draws' lists excepted */
	int32_t *group;                /* [k] of each node */
	int32_t *target;               /* [n] token j */
	float *unedited;               /* [n, k] mean activation */
	float *activation;             /* [k, n, k] by clamped node */
	double *metric;                /* [k, n] */
	double *mediated, *late;       /* [N_MEDIATIONS, n] m, and mean activation of late nodes */
	double *random;                /* [n_draws, n] m, early clamped, random retained */
	struct feature_set *draws;     /* [n_draws] */
};

/* ---- 1. nodes and groups ----------------------------------------------------------------- */

/* How many nodes lie in layers [from, to). */
static size_t count(const struct feature_set *nodes, size_t from, size_t to)
{
	size_t n = 0;

	for (size_t i = 0; i < nodes->n; i++)
		n += (size_t)nodes->data[i].layer >= from && (size_t)nodes->data[i].layer < to;
	return n;
}

/* The two cuts between layers that leave the largest group smallest. */
static int find_cuts(const struct feature_set *nodes, size_t n_layer, size_t *first, size_t *second,
	struct err *err)
{
	size_t best = SIZE_MAX;

	for (size_t a = 1; a < n_layer; a++) {
		for (size_t b = a + 1; b < n_layer; b++) {
			const size_t sizes[N_GROUPS] = {count(nodes, 0, a), count(nodes, a, b),
				count(nodes, b, n_layer)};
			const size_t most = size_max(sizes[0], size_max(sizes[1], sizes[2]));

			if (sizes[0] == 0 || sizes[1] == 0 || sizes[2] == 0 || most >= best)
				continue;
			best = most;
			*first = a;
			*second = b;
		}
	}
	if (best == SIZE_MAX)
		return err_set(err, ERR_CONFIG,
			"feature_graph: expected features in at least three layers, the %zu of cossim_ap "
			"lie in fewer; try a larger attribution.k_star",
			nodes->n);
	return 0;
}

static int cut_groups(struct work *w, struct err *err)
{
	size_t first, second;

	if (find_cuts(w->nodes, w->lab->machine->model->arch.n_layer, &first, &second, err))
		return err->code;
	for (size_t i = 0; i < w->k; i++) {
		const size_t layer = (size_t)w->nodes->data[i].layer;

		w->group[i] = layer < first ? EARLY : layer < second ? MIDDLE : LATE;
	}
	return 0;
}

/* Nodes of some groups (within true) or of all others. */
static int collect(const struct work *w, unsigned groups, bool within, struct feature_set *set,
	struct err *err)
{
	for (size_t i = 0; i < w->k; i++)
		if ((groups >> w->group[i] & 1) == within &&
			feature_set_add(set, w->nodes->data[i], err))
			return err->code;
	return 0;
}

/* ---- 2. the unedited run ----------------------------------------------------------------- */

static int observe_unedited(struct work *w, struct err *err)
{
	const struct condition none = condition_none(), ablate = condition_ablate(w->direction);
	struct observation ablated = {0};

	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.title = "feature_graph: direction ablated",
			.prompts = &w->prompts,
			.condition = &ablate,
			.n_last = 1},
		&ablated, err));
	memcpy(w->target, ablated.first_token, w->n * sizeof *w->target);
	ties_tell_targets(w->lab, "feature_graph", ablated.first_lead, w->n);
	TRY(observe(w->lab,
		&(struct observe_request){.title = "feature_graph: unedited",
			.prompts = &w->prompts,
			.condition = &none,
			.features = w->nodes,
			.n_last = OBSERVE_ALL,
			.target = w->target},
		&w->clean, err));
	for (size_t p = 0; p < w->n; p++)
		for (size_t i = 0; i < w->k; i++)
			w->unedited[p * w->k + i] = (float)observation_mean(&w->clean, p, i);
fail:
	observation_free(&ablated);
	return err->code;
}

/* ---- 3. edges ---------------------------------------------------------------------------- */

/* row: [n] metric, then [n, k] mean activations. */
static int clamp_node(void *context, size_t node, double *row, struct err *err)
{
	struct work *w = context;
	struct feature one_node = w->nodes->data[node];
	const struct feature_set one = {&one_node, 1, 1};
	const struct condition clamp = condition_scale_set("node", &one,
		config_scale(w->lab->config));
	struct observation o = {0};

	err_clear(err);
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &clamp,
			.features = w->nodes,
			.n_last = OBSERVE_ALL,
			.target = w->target},
		&o, err));
	for (size_t p = 0; p < w->n; p++) {
		row[p] = o.metric[p];
		for (size_t i = 0; i < w->k; i++)
			row[w->n + p * w->k + i] = observation_mean(&o, p, i);
	}
fail:
	observation_free(&o);
	return err->code;
}

static int clamp_nodes(struct work *w, struct err *err)
{
	const size_t activations = w->n * w->k, width = w->n + activations;
	struct arena memory = {0};
	double *table = arena_alloc(&memory, w->k * width, sizeof *table);

	err_clear(err);
	TRY(arena_check(&memory, "edges", err));
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "feature_graph: edges",
			.item = "node",
			.n = w->k,
			.width = width,
			.context = w,
			.run = clamp_node},
		table, err));
	for (size_t node = 0; node < w->k; node++) {
		const double *row = table + node * width;

		memcpy(w->metric + node * w->n, row, w->n * sizeof *row);
		for (size_t i = 0; i < activations; i++)
			w->activation[node * activations + i] = (float)row[w->n + i];
	}
fail:
	arena_free(&memory);
	return err->code;
}

/* ---- 4. mediation ------------------------------------------------------------------------ */

/* m of every prompt with a set clamped and what `retained` says held; mean activation of the late
 * nodes if `late` is not NULL. */
static int clamp_group(struct work *w, const struct feature_set *clamped,
	const struct recording *retained, double *metric, double *late, struct err *err)
{
	struct condition clamp = condition_scale_set("group", clamped,
		config_scale(w->lab->config));
	struct feature_set last = {0};
	struct observation o = {0};

	err_clear(err);
	clamp.retained = retained;
	TRY(collect(w, 1U << LATE, true, &last, err));
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &clamp,
			.features = &last,
			.n_last = OBSERVE_ALL,
			.target = w->target},
		&o, err));
	for (size_t p = 0; p < w->n; p++) {
		metric[p] = o.metric[p];
		for (size_t i = 0; late && i < last.n; i++)
			late[p] += observation_mean(&o, p, i) / (double)last.n;
	}
fail:
	free(last.data);
	observation_free(&o);
	return err->code;
}

/* Scratch of a clamp with others retained. */
struct mediating {
	struct work *w;
	const float **of_prompt; /* [prompts of the lab] */
};

static int run_mediation(const struct mediating *g, size_t which, double *metric, double *late,
	struct err *err)
{
	struct work *w = g->w;
	const struct mediation *m = &mediations[which];
	struct feature_set clamped = {0}, others = {0};
	struct recording recording = observation_recording(w->lab, &w->clean, w->nodes, &w->prompts,
		g->of_prompt);

	err_clear(err);
	TRY(collect(w, m->clamped, true, &clamped, err));
	TRY(collect(w, m->retained, false, &others, err));
	recording.except = &others;
	TRY(clamp_group(w, &clamped, m->retained ? &recording : NULL, metric, late, err));
fail:
	free(clamped.data);
	free(others.data);
	return err->code;
}

/* Random features retained where the middle nodes would be. */
static int run_draw(const struct mediating *g, size_t draw, double *metric, struct err *err)
{
	struct work *w = g->w;
	const struct condition none = condition_none();
	struct feature_set clamped = {0};
	struct observation seen = {0};
	struct recording recording;

	err_clear(err);
	TRY(collect(w, 1U << EARLY, true, &clamped, err));
	TRY(observe(w->lab,
		&(struct observe_request){.prompts = &w->prompts,
			.condition = &none,
			.features = &w->draws[draw],
			.n_last = OBSERVE_ALL},
		&seen, err));
	recording = observation_recording(w->lab, &seen, &w->draws[draw], &w->prompts,
		g->of_prompt);
	TRY(clamp_group(w, &clamped, &recording, metric, NULL, err));
fail:
	free(clamped.data);
	observation_free(&seen);
	return err->code;
}

/* The groups, then the draws. row: [2, n] metric, activation of late nodes. */
static int run_group(void *context, size_t task, double *row, struct err *err)
{
	const struct mediating *g = context;

	return task < N_MEDIATIONS ? run_mediation(g, task, row, row + g->w->n, err)
				   : run_draw(g, task - N_MEDIATIONS, row, err);
}

static int draw_controls(struct work *w, struct err *err)
{
	struct feature_set middle = {0};

	err_clear(err);
	TRY(collect(w, 1U << MIDDLE, true, &middle, err));
	TRY(activation_stats_run(w->lab, &w->prompts, "feature_graph: features that occur", false,
		&w->stats, err));
	TRY(controls_draw(w->lab, &middle, w->nodes, w->stats.alive, w->n_draws, w->draws, err));
fail:
	free(middle.data);
	return err->code;
}

static int run_mediations(struct work *w, struct err *err)
{
	const size_t n = w->n, tasks = N_MEDIATIONS + w->n_draws;
	struct arena memory = {0};
	double *table = arena_alloc(&memory, tasks * 2 * n, sizeof *table);
	struct mediating g = {.w = w};

	g.of_prompt = arena_alloc(&memory, w->lab->prompts->table.n, sizeof *g.of_prompt);
	err_clear(err);
	TRY(arena_check(&memory, "mediation", err));
	TRY(draw_controls(w, err));
	TRY(tasks_run(w->lab->job, w->lab->machine->dev,
		&(struct tasks){.title = "feature_graph: mediation",
			.item = "clamp",
			.n = tasks,
			.width = 2 * n,
			.context = &g,
			.run = run_group},
		table, err));
	for (size_t i = 0; i < N_MEDIATIONS; i++) {
		memcpy(w->mediated + i * n, table + 2 * i * n, n * sizeof *table);
		memcpy(w->late + i * n, table + (2 * i + 1) * n, n * sizeof *table);
	}
	for (size_t d = 0; d < w->n_draws; d++)
		memcpy(w->random + d * n, table + 2 * (N_MEDIATIONS + d) * n, n * sizeof *table);
fail:
	arena_free(&memory);
	return err->code;
}

/* ---- 5. record --------------------------------------------------------------------------- */

static int write_edges(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t n = w->n, k = w->k;

	TRY(prompt_scale_write(r, &datasets.prompt, NULL, &w->prompts, err));
	TRY(feature_table_write(r, &datasets.nodes, NULL, w->nodes, err));
	TRY(dataset_write_counting(r, &datasets.source, NULL, k, err));
	TRY(dataset_write(r, &datasets.group, NULL, &k, w->group, err));
	TRY(dataset_write(r, &datasets.unedited, NULL, (size_t[]){n, k}, w->unedited, err));
	TRY(dataset_write(r, &datasets.activation, NULL, (size_t[]){k, n, k}, w->activation, err));
	TRY(dataset_write(r, &datasets.metric_clean, NULL, &n, w->clean.metric, err));
	return dataset_write(r, &datasets.metric, NULL, (size_t[]){k, n}, w->metric, err);
fail:
	return err->code;
}

static int write_mediation(struct work *w, struct err *err)
{
	struct results *r = w->lab->job->results;
	const size_t by_edit[] = {N_MEDIATIONS, w->n}, by_draw[] = {w->n_draws, w->n};
	const char *names[N_MEDIATIONS];

	for (size_t i = 0; i < N_MEDIATIONS; i++)
		names[i] = mediations[i].name;
	TRY(dataset_write(r, &datasets.edit, NULL, by_edit, names, err));
	TRY(dataset_write_counting(r, &datasets.draw, NULL, w->n_draws, err));
	TRY(dataset_write(r, &datasets.mediated, NULL, by_edit, w->mediated, err));
	TRY(dataset_write(r, &datasets.late_activation, NULL, by_edit, w->late, err));
	return dataset_write(r, &datasets.random_metric, NULL, by_draw, w->random, err);
fail:
	return err->code;
}

/* Mean change of m against the unedited run. */
static double mean_change(const struct work *w, const double *metric, size_t rows)
{
	double sum = 0;

	for (size_t i = 0; i < rows * w->n; i++)
		sum += (metric[i] - w->clean.metric[i % w->n]) / (double)(rows * w->n);
	return sum;
}

static void report(const struct work *w)
{
	log_info(
		"feature_graph: early nodes clamped %.2f logit; with the middle retained %.2f, the "
		"late %.2f, both %.2f; with random features retained %.2f",
		mean_change(w, w->mediated, 1), mean_change(w, w->mediated + w->n, 1),
		mean_change(w, w->mediated + 2 * w->n, 1),
		mean_change(w, w->mediated + 3 * w->n, 1), mean_change(w, w->random, w->n_draws));
}

static int work_open(struct work *w, struct err *err)
{
	size_t n, k;

	TRY(prompts_of_sets(w->lab->prompts, &w->lab->config->dissect.prompts, &w->prompts, err));
	n = w->n = w->prompts.n;
	k = w->k = w->nodes->n;
	w->group = arena_alloc(&w->memory, k, sizeof *w->group);
	w->target = arena_alloc(&w->memory, n, sizeof *w->target);
	w->unedited = arena_alloc(&w->memory, n * k, sizeof *w->unedited);
	w->activation = arena_alloc(&w->memory, k * n * k, sizeof *w->activation);
	w->metric = arena_alloc(&w->memory, k * n, sizeof *w->metric);
	w->mediated = arena_alloc(&w->memory, N_MEDIATIONS * n, sizeof *w->mediated);
	w->late = arena_alloc(&w->memory, N_MEDIATIONS * n, sizeof *w->late);
	w->random = arena_alloc(&w->memory, w->n_draws * n, sizeof *w->random);
	w->draws = arena_alloc(&w->memory, w->n_draws, sizeof *w->draws);
	TRY(arena_check(&w->memory, "edges", err));
	return cut_groups(w, err);
fail:
	return err->code;
}

static void work_close(struct work *w)
{
	for (size_t d = 0; w->draws && d < w->n_draws; d++)
		free(w->draws[d].data);
	observation_free(&w->clean);
	activation_stats_free(&w->stats);
	free(w->prompts.data);
	arena_free(&w->memory);
}

/* Those of an earlier file are known by now. */
static int check(const struct lab *lab, const struct findings *f, const void *values,
	struct err *err)
{
	const struct method_sets *sets = &f->sets[METHOD_COSSIM_AP];
	const size_t n_layer = lab->machine->model->arch.n_layer,
		     most = size_min(sae_set_count(lab->machine->saes),
			     (size_t)lab->config->attribution.k_star);
	size_t first, second;

	(void)values;
	if (sets->known)
		return find_cuts(&sets->global, n_layer, &first, &second, err);
	if (most < N_GROUPS)
		return err_set(err, ERR_CONFIG,
			"feature_graph: expected features in at least three layers, found "
			"attribution.k_star = %lld and SAEs of %zu layers",
			(long long)lab->config->attribution.k_star,
			sae_set_count(lab->machine->saes));
	return 0;
}

static int plan(const struct lab *lab, const struct findings *f, const void *values,
	struct plan *out, struct err *err)
{
	static const struct plan_what what = {"edges and mediation", NULL};
	const struct config *c = lab->config;
	const struct method_sets *sets = &f->sets[METHOD_COSSIM_AP];
	const size_t k = sets->known ? sets->global.n : (size_t)c->attribution.k_star,
		     draws = (size_t)c->controls.draws;
	struct prompt_ids prompts = {0};

	(void)values;
	err_clear(err);
	TRY(prompts_of_sets(lab->prompts, &c->dissect.prompts, &prompts, err));
	TRY(plan_write(out, what, &section,
		LENGTHS(LENGTH("prompt", prompts.n), {"node", 0, k}, {"source", 0, k},
			LENGTH("edit", N_MEDIATIONS), LENGTH("draw", draws)),
		1, err));
	TRY(activation_stats_plan(lab, out, &prompts, false, err));
	TRY(plan_tasks(out, what, k, prompts.n * (1 + k), err));
	TRY(plan_tasks(out, what, N_MEDIATIONS + draws, 2 * prompts.n, err));
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
		.direction = &f->direction,
		.nodes = &f->sets[METHOD_COSSIM_AP].global,
		.n_draws = (size_t)c->controls.draws};

	(void)values;
	err_clear(err);
	/* 1. Nodes, and their groups by layer. */
	TRY(work_open(&w, err));

	/* 2. Their unedited activations, and the token j of the ablated run. */
	TRY(observe_unedited(&w, err));

	/* 3. Every node clamped: what becomes of the others. */
	TRY(clamp_nodes(&w, err));

	/* 4. Groups clamped while others are retained. */
	TRY(run_mediations(&w, err));

	/* 5. Record. */
	TRY(write_edges(&w, err));
	TRY(write_mediation(&w, err));
	TRY(results_attribute_real(lab->job->results, "/feature_graph", "scale", config_scale(c),
		err));
	report(&w);
fail:
	work_close(&w);
	return err->code;
}

const struct experiment experiment_feature_graph = {
	.name = "feature_graph",
	.asks = "does refusal come about in steps, harm, legality, refusal?",
	MOVED_ONLY(settings),
	.writes = &section,
	.needs = NEED_SETS | NEED_DIRECTION,
	.prompts = PROMPTS_DISSECTED,
	.check = check,
	.plan = plan,
	.run = run,
};
