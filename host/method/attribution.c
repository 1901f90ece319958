/* SPDX-License-Identifier: MIT
 *
 * attribution.c - Contract and formulas: attribution.h.
 * Tests: tests/test_method.c, against literal implementations in float64 of the published forward
 * hook under autograd (tests/golden/make_models.py) and of the released code's two hooks on real
 * modules (make_hooks.py).
 */
#include "host/method/attribution_parts.h"

#include "host/model/carver.h"
#include "host/model/transfer.h"
#include "host/method/direction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---------------------------------------------------------------------------- */

static void layout(void *object, struct carver *c)
{
	struct attribution *a = object;
	const size_t d = a->d_model, prompts = a->size.prompts;

	for (size_t l = 0; l < a->n_layer; l++) {
		struct layer_state *s = &a->layers[l];
		const bool last = l + 1 == a->n_layer;
		const size_t rows = last ? prompts : a->size.rows;

		s->x_patch = carve(c, rows, d);
		s->gradient = carve(c, rows, d);
		s->f_clean = carve(c, rows, s->n);
		s->f_patch = carve(c, rows, s->n);
		s->scale = carve(c, s->scaled ? rows : 0, 1);
		s->prefix_patch = carve(c, last ? 0 : a->setup.n_prefix, d);
		if (a->setup.all_features)
			s->x_clean = carve(c, rows, d);
	}
	a->u = (struct tensor){carve_ints(c, d), DTYPE_F32, 1, d};
	a->logits = carve(c, prompts, 2);
	a->dlogits = carve(c, prompts, 2);
	a->dy = carve(c, prompts, d);
	a->dots = carve(c, a->size.rows, a->widest);
	a->x_edited = carve(c, a->setup.all_features ? a->size.rows : 0, d);
	a->shift = carve(c, a->size.rows, 1);
	a->x_shifted = carve(c, a->size.rows, d);
	a->pair = carve_ints(c, 2 * prompts);
}

static struct runner_size runner_size_of(struct attribution_size size, size_t n_prefix)
{
	/* Prefix passes go through the same workspace. */
	return (struct runner_size){size.rows > n_prefix ? size.rows : n_prefix, size.prompts,
		size.prompts, true};
}

/* Which candidates lie in which layer. */
static int distribute(struct attribution *a, struct err *err)
{
	const struct feature_set *candidates = a->setup.candidates;

	for (size_t l = 0; l < a->n_layer; l++) {
		struct layer_state *s = &a->layers[l];

		s->ids = malloc(candidates->n * sizeof *s->ids + 1);
		s->column = malloc(candidates->n * sizeof *s->column + 1);
		if (!s->ids || !s->column)
			return err_nomem(err, "candidates", candidates->n * sizeof *s->column);
		for (size_t k = 0; k < candidates->n; k++) {
			if ((size_t)candidates->data[k].layer != l)
				continue;
			s->ids[s->n] = candidates->data[k].id;
			s->column[s->n++] = k;
		}
		a->widest = s->n > a->widest ? s->n : a->widest;
	}
	return 0;
}

size_t attribution_bytes(const struct model *m, const struct feature_set *candidates,
	bool all_features, struct attribution_size size)
{
	const struct attribution_setup setup = {.model = m,
		.candidates = candidates,
		.all_features = all_features};
	struct attribution a = {.setup = setup,
		.size = size,
		.n_layer = m->arch.n_layer,
		.d_model = m->arch.d_model};
	struct err err;
	size_t bytes = 0;

	a.layers = calloc(a.n_layer, sizeof *a.layers);
	if (a.layers && distribute(&a, &err) == 0)
		bytes = carve_count(m->dev, layout, &a) + runner_bytes(m, runner_size_of(size, 0));
	for (size_t l = 0; a.layers && l < a.n_layer; l++) {
		free(a.layers[l].ids);
		free(a.layers[l].column);
	}
	free(a.layers);
	return bytes;
}

static int allocate_host(struct attribution *a, struct err *err)
{
	const size_t prompts = a->size.prompts, rows = a->size.rows;
	const size_t candidates = a->setup.candidates->n, n_effects = rows * candidates;
	struct tensor **views[] = {&a->x_tap, &a->clean_tap, &a->f_patch_tap, &a->f_clean_tap,
		&a->scale_tap, &a->gradient_now, &a->targets, &a->prefix_targets};
	bool complete = true;

	for (size_t i = 0; i < sizeof views / sizeof *views; i++)
		complete &= (*views[i] = calloc(a->n_layer, sizeof **views[i])) != NULL;
	for (size_t i = 0; i < 4; i++)
		complete &= (a->columns[i] = malloc(rows * a->widest * sizeof(float) + 1)) != NULL;
	complete &= (a->shift_host = malloc(rows * sizeof *a->shift_host + 1)) != NULL;
	complete &= (a->few = calloc(a->n_layer, sizeof *a->few)) != NULL;
	complete &= (a->prefix_mixed = calloc(a->setup.options.steps, sizeof *a->prefix_mixed)) !=
		    NULL;
	complete &= (a->token_start = malloc((prompts + 1) * sizeof *a->token_start)) != NULL;
	complete &= (a->target = malloc(prompts * sizeof *a->target)) != NULL;
	complete &= (a->target_lead = malloc(prompts * sizeof *a->target_lead)) != NULL;
	complete &= (a->pair_host = malloc(2 * prompts * sizeof *a->pair_host)) != NULL;
	complete &= (a->m_clean = malloc(prompts * sizeof *a->m_clean)) != NULL;
	complete &= (a->m_patch = malloc(prompts * sizeof *a->m_patch)) != NULL;
	complete &= (a->m_host = malloc(2 * prompts * sizeof *a->m_host)) != NULL;
	complete &= (a->effect = malloc(n_effects * sizeof *a->effect + 1)) != NULL;
	complete &= (a->noise = malloc(prompts * candidates * sizeof *a->noise + 1)) != NULL;
	complete &= (a->decoder_norm = malloc(candidates * sizeof *a->decoder_norm + 1)) != NULL;
	return complete ? 0 : err_nomem(err, "attribution", n_effects * sizeof *a->effect);
}

static int upload_direction(struct attribution *a, struct err *err)
{
	float *u = malloc(a->d_model * sizeof *u);
	int rc;

	if (!u)
		return err_nomem(err, "the direction", a->d_model * sizeof *u);
	direction_normalise(a->setup.direction, a->d_model, u);
	rc = device_upload(a->setup.model->dev, a->u.data, u, a->d_model * sizeof *u, err);
	free(u);
	return rc;
}

/* |W_dec[i]| of a layer's candidates. */
static int measure_decoder(struct attribution *a, size_t layer, struct err *err)
{
	const struct layer_state *s = &a->layers[layer];
	const struct tensor W = a->few[layer].weights.W_dec;
	char *raw = malloc(tensor_bytes(W) + 1);
	int rc;

	if (!raw)
		return err_nomem(err, "decoder rows", tensor_bytes(W));
	rc = device_download(a->setup.model->dev, raw, W.data, tensor_bytes(W), err);
	for (size_t k = 0; k < s->n && rc == 0; k++) {
		double sum = 0;

		for (size_t i = k * W.cols; i < (k + 1) * W.cols; i++) {
			const double w = W.dtype == DTYPE_BF16
						 ? (double)bf16_to_f32(((uint16_t *)raw)[i])
						 : (double)((float *)raw)[i];

			sum += w * w;
		}
		a->decoder_norm[s->column[k]] = (float)sqrt(sum);
	}
	free(raw);
	return rc;
}

/* ---- the path -------------------------------------------------------------------------- */

double attribution_position(const struct attribution *a, size_t k)
{
	const double shift = a->setup.options.rule == IG_RULE_MIDPOINT ? 0.5 : 0;

	return ((double)k + shift) / (double)a->setup.options.steps;
}

static struct edit ablation(const struct attribution *a)
{
	return (struct edit){.kind = EDIT_ABLATE,
		.place = SITE_RESID_POST,
		.layer_last = a->n_layer - 1,
		.vector = a->u};
}

static struct edit mixture(const struct attribution *a, size_t k, const struct tensor *targets)
{
	const bool single = a->setup.options.path == IG_PATH_SINGLE;

	return (struct edit){.kind = EDIT_MIX,
		.place = a->writes,
		.layer_first = single ? a->setup.options.layer : 0,
		.layer_last = single ? a->setup.options.layer : a->n_layer - 1,
		.amount = attribution_position(a, k),
		.targets = targets,
		.straight_through = a->setup.options.backward == IG_BACKWARD_STRAIGHT_THROUGH};
}

static enum tap_kind endpoint_tap(const struct attribution *a)
{
	return a->setup.options.endpoint == IG_ENDPOINT_ABLATED ? TAP_ACTIVATION
								: TAP_ACTIVATION_UNEDITED;
}

/* Keys and values of the prefix in the patched run and at every point of the path. */
static int run_prefixes(struct attribution *a, struct err *err)
{
	const struct attribution_setup *s = &a->setup;
	const struct edit ablate = ablation(a);
	const struct tap tap = {.kind = endpoint_tap(a),
		.place = a->writes,
		.out = a->prefix_targets};

	for (size_t l = 0; l < a->n_layer; l++)
		a->prefix_targets[l] = a->layers[l].prefix_patch;
	a->prefix_targets[a->n_layer - 1].data = NULL;
	TRY(runner_prefix(&a->runner, s->prefix, s->n_prefix, &ablate, 1, &tap, 1,
		&a->prefix_patched, err));
	a->prefix_targets[a->n_layer - 1] = a->layers[a->n_layer - 1].prefix_patch;
	TRY(runner_prefix(&a->runner, s->prefix, s->n_prefix, NULL, 0, NULL, 0, &a->prefix_clean,
		err));
	for (size_t k = 0; k < s->options.steps; k++) {
		const struct edit mix = mixture(a, k, a->prefix_targets);

		TRY(runner_prefix(&a->runner, s->prefix, s->n_prefix, &mix,
			s->options.path == IG_PATH_JOINT ? 1 : 0, NULL, 0, &a->prefix_mixed[k],
			err));
	}
	return 0;
fail:
	return err->code;
}

int attribution_create(struct attribution **out, const struct attribution_setup *setup,
	struct attribution_size size, struct err *err)
{
	const struct model *m = setup->model;
	struct attribution *a = calloc(1, sizeof *a);

	*out = NULL;
	if (!a)
		return err_nomem(err, "attribution", sizeof *a);
	*a = (struct attribution){.setup = *setup,
		.size = size,
		.n_layer = m->arch.n_layer,
		.d_model = m->arch.d_model,
		.reads = sae_set_reads(setup->saes, 0).place,
		.writes = sae_set_writes(setup->saes, 0).place,
		.sparse_clean = {.dev = m->dev},
		.sparse_patch = {.dev = m->dev},
		.sparse_effect = {.dev = m->dev}};
	a->layers = calloc(a->n_layer, sizeof *a->layers);
	if (!a->layers) {
		err_nomem(err, "attribution", a->n_layer * sizeof *a->layers);
		goto fail;
	}
	TRY(distribute(a, err));
	TRY(allocate_host(a, err));
	for (size_t l = 0; l < a->n_layer; l++) {
		struct layer_state *s = &a->layers[l];

		TRY(sae_set_select(setup->saes, l, s->ids, s->n, &a->few[l], err));
		s->scaled = a->few[l].weights.input != SAE_INPUT_RAW;
		if (s->n > 0)
			TRY(measure_decoder(a, l, err));
	}
	TRY(carve_allocate(m->dev, layout, a, &a->memory, err));
	TRY(runner_init(&a->runner, m, setup->readout, runner_size_of(size, setup->n_prefix), err));
	TRY(upload_direction(a, err));
	TRY(run_prefixes(a, err));
	*out = a;
	return 0;
fail:
	attribution_free(a);
	return err->code;
}

void attribution_free(struct attribution *a)
{
	if (!a)
		return;
	for (size_t l = 0; a->layers && l < a->n_layer; l++) {
		if (a->few)
			sae_few_free(&a->few[l]);
		free(a->layers[l].ids);
		free(a->layers[l].column);
	}
	for (size_t k = 0; a->prefix_mixed && k < a->setup.options.steps; k++)
		kv_cache_free(&a->prefix_mixed[k]);
	kv_cache_free(&a->prefix_patched);
	kv_cache_free(&a->prefix_clean);
	runner_free(&a->runner);
	sparse_free(&a->sparse_clean);
	sparse_free(&a->sparse_patch);
	sparse_free(&a->sparse_effect);
	device_free(a->setup.model->dev, a->memory);
	for (size_t i = 0; i < 4; i++)
		free(a->columns[i]);
	free(a->x_tap);
	free(a->clean_tap);
	free(a->f_patch_tap);
	free(a->f_clean_tap);
	free(a->scale_tap);
	free(a->gradient_now);
	free(a->targets);
	free(a->prefix_targets);
	free(a->shift_host);
	free(a->few);
	free(a->prefix_mixed);
	free(a->layers);
	free(a->token_start);
	free(a->target);
	free(a->target_lead);
	free(a->pair_host);
	free(a->m_clean);
	free(a->m_patch);
	free(a->m_host);
	free(a->effect);
	free(a->noise);
	free(a->decoder_norm);
	free(a);
}

/* ---- one run --------------------------------------------------------------------------- */

/* Cuts the layers' tensors to the rows of this call. */
static void view_layers(struct attribution *a, size_t n_tokens, size_t n_prompts)
{
	for (size_t l = 0; l < a->n_layer; l++) {
		const struct layer_state *s = &a->layers[l];
		const size_t rows = l + 1 == a->n_layer ? n_prompts : n_tokens;

		a->x_tap[l] = a->targets[l] = tensor_rows(s->x_patch, 0, rows);
		a->gradient_now[l] = tensor_rows(s->gradient, 0, rows);
		a->f_patch_tap[l] = tensor_rows(s->f_patch, 0, rows);
		a->f_clean_tap[l] = tensor_rows(s->f_clean, 0, rows);
		if (s->n == 0)
			a->f_patch_tap[l].data = a->f_clean_tap[l].data = NULL;
		a->scale_tap[l] = s->scaled ? tensor_rows(s->scale, 0, rows) : (struct tensor){0};
		if (a->setup.all_features)
			a->clean_tap[l] = tensor_rows(s->x_clean, 0, rows);
	}
}

static const struct kv_cache *prefix_or_none(const struct attribution *a,
	const struct kv_cache *prefix)
{
	return a->setup.n_prefix > 0 ? prefix : NULL;
}

int attribution_metric(struct attribution *a, size_t n, double *m, struct err *err)
{
	const struct tensor logits = tensor_rows(a->logits, 0, n);

	TRY(readout_selected(a->setup.readout, &a->runner.batch, workspace_out(a->runner.ws),
		a->pair, logits, a->m_host, err));
	for (size_t i = 0; i < n; i++)
		m[i] = a->m_host[2 * i] - a->m_host[2 * i + 1];
	return 0;
fail:
	return err->code;
}

/* Step 1: the patched run. Keeps the end of the path and f_patch, and settles j. */
static int run_patched(struct attribution *a, const struct token_span *prompts, size_t n,
	struct err *err)
{
	const struct edit ablate = ablation(a);
	const struct tap taps[] = {{.kind = endpoint_tap(a), .place = a->writes, .out = a->x_tap},
		{.kind = TAP_FEATURES, .place = a->reads, .out = a->f_patch_tap, .few = a->few}};
	const struct intervention how = {prefix_or_none(a, &a->prefix_patched), &ablate, 1, taps,
		2};

	TRY(runner_run(&a->runner, prompts, n, BATCH_OUT_LAST, &how, err));
	TRY(readout_argmax(a->setup.readout, &a->runner.batch, workspace_out(a->runner.ws),
		a->target, a->target_lead, err));
	for (size_t i = 0; i < n; i++) {
		if (a->setup.options.target_token >= 0) {
			a->target[i] = a->setup.options.target_token;
			a->target_lead[i] = INFINITY;
		}
		a->pair_host[2 * i] = a->target[i];
		a->pair_host[2 * i + 1] = a->setup.options.refusal_token;
	}
	TRY(device_upload(a->setup.model->dev, a->pair, a->pair_host, 2 * n * sizeof(int32_t),
		err));
	return attribution_metric(a, n, a->m_patch, err);
fail:
	return err->code;
}

/* Step 2: the clean run. Keeps f_clean, s where there is one, and the residual stream if all
 * features are wanted. */
static int run_clean(struct attribution *a, const struct token_span *prompts, size_t n,
	struct err *err)
{
	const struct tap taps[] =
		{{.kind = TAP_FEATURES, .place = a->reads, .out = a->f_clean_tap, .few = a->few},
			{.kind = TAP_SCALE, .place = a->reads, .out = a->scale_tap, .few = a->few},
			{.kind = TAP_ACTIVATION, .place = a->reads, .out = a->clean_tap}};
	const struct intervention how = {prefix_or_none(a, &a->prefix_clean), NULL, 0, taps,
		a->setup.all_features ? 3 : 2};

	TRY(runner_run(&a->runner, prompts, n, BATCH_OUT_LAST, &how, err));
	return attribution_metric(a, n, a->m_clean, err);
fail:
	return err->code;
}

/* gradient += (1/N) dm/dx' of the pass just run. */
static int add_gradient(struct attribution *a, size_t n, struct err *err)
{
	const struct model *model = a->setup.model;
	const struct tensor logits = tensor_rows(a->logits, 0, n);
	const struct tensor dlogits = tensor_rows(a->dlogits, 0, n);
	const struct tensor dy = tensor_rows(a->dy, 0, n);
	const struct gradient gradient = {.place = a->writes,
		.out = a->gradient_now,
		.weight = 1.0 / (double)a->setup.options.steps};

	TRY(op_selected_logits(model->dev, workspace_out(a->runner.ws), model->unembedding, a->pair,
		model->arch.final_softcap, logits, err));
	TRY(op_selected_logits_backward(model->dev, dlogits, logits, model->unembedding, a->pair,
		model->arch.final_softcap, dy, err));
	return backward(a->runner.ws, &a->runner.pass, dy, &gradient, err);
fail:
	return err->code;
}

/* dm/dlogits: +1 for j, -1 for r. Where they are the same token, nothing: its row twice, once less
 * than the other time, leaves what rounding makes of it. */
static int upload_seed(struct attribution *a, size_t n, struct err *err)
{
	float *seed = malloc(2 * n * sizeof *seed);
	int rc;

	if (!seed)
		return err_nomem(err, "attribution", 2 * n * sizeof *seed);
	for (size_t i = 0; i < n; i++) {
		const bool differ = a->target[i] != a->setup.options.refusal_token;

		seed[2 * i] = differ ? 1 : 0;
		seed[2 * i + 1] = differ ? -1 : 0;
	}
	rc = upload_floats(a->setup.model->dev, seed, tensor_rows(a->dlogits, 0, n), err);
	free(seed);
	return rc;
}

/* One point of the path, forward and back. With the left rule the first point is the clean run
 * itself, which has just been passed. */
static int run_point(struct attribution *a, const struct token_span *prompts, size_t n, size_t k,
	struct err *err)
{
	const struct edit mix = mixture(a, k, a->targets); /* lives until after the way back */
	const struct intervention how = {prefix_or_none(a, &a->prefix_mixed[k]), &mix, 1, NULL, 0};

	if (attribution_position(a, k) > 0 &&
		runner_run(&a->runner, prompts, n, BATCH_OUT_LAST, &how, err))
		return err->code;
	return add_gradient(a, n, err);
}

/* Step 3: the path. */
static int run_path(struct attribution *a, const struct token_span *prompts, size_t n,
	struct err *err)
{
	TRY(upload_seed(a, n, err));
	for (size_t l = 0; l < a->n_layer; l++)
		TRY(op_scale(a->setup.model->dev, 0, a->gradient_now[l], err));
	TRY(run_clean(a, prompts, n, err));
	for (size_t k = 0; k < a->setup.options.steps; k++)
		TRY(run_point(a, prompts, n, k, err));
	return 0;
fail:
	return err->code;
}

/* ROUNDING of attribution.h, for a length by sqrt(d). */
static float rounding_of(const struct attribution *a)
{
	return (device_rounds_products(a->setup.model->dev) ? 0x1p-9f : 0x1p-21f) *
	       sqrtf((float)a->d_model);
}

/* The rows of a prompt in a layer, and the token of the first. */
struct prompt_rows {
	size_t first, end, token;
};

static struct prompt_rows rows_of(const struct attribution *a, size_t layer, size_t p)
{
	if (layer + 1 == a->n_layer)
		return (struct prompt_rows){p, p + 1, a->token_start[p + 1] - 1};
	return (struct prompt_rows){a->token_start[p], a->token_start[p + 1], a->token_start[p]};
}

/* Step 4: IE of the candidates of one layer, and what rounding can make of it. */
static int collect_effects(struct attribution *a, size_t layer, size_t n_tokens, size_t n_prompts,
	struct err *err)
{
	struct device *dev = a->setup.model->dev;
	const struct layer_state *s = &a->layers[layer];
	const size_t rows = layer + 1 == a->n_layer ? n_prompts : n_tokens,
		     all = a->setup.candidates->n;
	const struct tensor dots = tensor_rows(tensor_view(a->dots, a->size.rows, s->n), 0, rows);
	const struct tensor lengths = tensor_rows(a->shift, 0, rows);
	float *clean = a->columns[0], *patch = a->columns[1], *dot = a->columns[2];
	float *scale = a->columns[3], *length = a->shift_host;

	if (s->n == 0)
		return 0;
	TRY(op_linear(dev, a->gradient_now[layer], a->few[layer].weights.W_dec, (struct tensor){0},
		dots, err));
	/* s of this input is the row's length by sqrt(d). */
	TRY(op_sae_scale(dev, SAE_INPUT_SPHERE, a->gradient_now[layer], lengths, err));
	TRY(download_floats(dev, a->f_clean_tap[layer], clean, err));
	TRY(download_floats(dev, a->f_patch_tap[layer], patch, err));
	TRY(download_floats(dev, dots, dot, err));
	TRY(download_floats(dev, lengths, length, err));
	if (s->scaled)
		TRY(download_floats(dev, a->scale_tap[layer], scale, err));
	for (size_t p = 0; p < n_prompts; p++) {
		const struct prompt_rows of = rows_of(a, layer, p);
		const float rounding = rounding_of(a) /
				       (float)(a->token_start[p + 1] - a->token_start[p]);

		for (size_t r = of.first; r < of.end; r++) {
			float *effect = a->effect + (of.token + r - of.first) * all;
			const float by = s->scaled ? scale[r] : 1;

			for (size_t k = 0; k < s->n; k++) {
				const size_t i = r * s->n + k, column = s->column[k];

				effect[column] = (patch[i] - clean[i]) * by * dot[i];
				a->noise[p * all + column] += rounding *
							      (fabsf(patch[i]) + fabsf(clean[i])) *
							      by * a->decoder_norm[column] *
							      length[r];
			}
		}
	}
	return 0;
fail:
	return err->code;
}

int attribution_run(struct attribution *a, const struct token_span *prompts, size_t n,
	struct attribution_result *result, struct err *err)
{
	a->token_start[0] = 0;
	for (size_t i = 0; i < n; i++)
		a->token_start[i + 1] = a->token_start[i] + prompts[i].n;
	view_layers(a, a->token_start[n], n);
	TRY(run_patched(a, prompts, n, err));
	TRY(run_path(a, prompts, n, err));
	memset(a->effect, 0, a->token_start[n] * a->setup.candidates->n * sizeof *a->effect);
	memset(a->noise, 0, n * a->setup.candidates->n * sizeof *a->noise);
	for (size_t l = 0; l < a->n_layer; l++)
		TRY(collect_effects(a, l, a->token_start[n], n, err));
	*result = (struct attribution_result){.n_prompts = n,
		.n_tokens = a->token_start[n],
		.n_candidates = a->setup.candidates->n,
		.token_start = a->token_start,
		.target = a->target,
		.target_lead = a->target_lead,
		.m_clean = a->m_clean,
		.m_patch = a->m_patch,
		.effect = a->effect,
		.noise = a->noise};
	return 0;
fail:
	return err->code;
}

/* ---- all features ---------------------------------------------------------------------- */

int attribution_all(struct attribution *a, size_t layer, struct host_csr *out, struct err *err)
{
	struct device *dev = a->setup.model->dev;
	struct tensor patched = a->x_tap[layer];
	struct sae_weights sae;

	TRY(sae_set_load(a->setup.saes, layer, &sae, err));
	if (a->setup.options.endpoint == IG_ENDPOINT_RELEASED) { /* f_patch is of the ablated x */
		const struct tensor ablated = tensor_rows(a->x_edited, 0, patched.rows);

		TRY(op_copy(dev, patched, ablated, err));
		TRY(op_ablate_direction(dev, a->u, ablated, err));
		patched = ablated;
	}
	TRY(sparse_encode(&a->sparse_clean, &sae, a->clean_tap[layer], err));
	TRY(sparse_encode(&a->sparse_patch, &sae, patched, err));
	TRY(sparse_difference(&a->sparse_effect, &a->sparse_clean, &a->sparse_patch, err));
	TRY(op_csr_attribute(dev, sae.W_dec, a->gradient_now[layer], a->scale_tap[layer],
		&a->sparse_effect.csr, err));
	return sparse_download(&a->sparse_effect, out, err);
fail:
	return err->code;
}

struct tensor attribution_gradient(const struct attribution *a, size_t layer)
{
	return a->gradient_now[layer];
}
