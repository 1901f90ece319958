/* SPDX-License-Identifier: MIT
 *
 * plan.c - what was declared, and whether it is possible. Contract: plan.h. Sizes come from the
 * functions that allocate (carver.h). Tests: tests/test_errors.c.
 */
#include "host/lab/plan_parts.h"

#include "host/base/size.h"
#include "host/base/vec.h"
#include "host/method/attribution.h"

#include <stdint.h>
#include <stdlib.h>

/* ---- declaring ------------------------------------------------------------------------- */

static int copy_prompts(struct prompt_ids *out, const struct prompt_ids *prompts, struct err *err)
{
	*out = (struct prompt_ids){0};
	return vec_append(out, prompts->data, prompts->n, err);
}

int plan_attribute(struct plan *plan, const struct plan_attribution *what, struct err *err)
{
	struct plan_attribution own = *what;

	own.experiment = plan->experiment;
	if (copy_prompts(&own.prompts, &what->prompts, err) ||
		vec_push(&plan->attributions, own, err))
		free(own.prompts.data);
	return err->code;
}

int plan_generate(struct plan *plan, const struct prompt_ids *prompts, size_t times,
	struct err *err)
{
	struct plan_generation own = {.experiment = plan->experiment, .times = times};

	if (copy_prompts(&own.prompts, prompts, err) || vec_push(&plan->generations, own, err))
		free(own.prompts.data);
	return err->code;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < plan->attributions.n; i++)
		free(plan->attributions.data[i].prompts.data);
	for (size_t i = 0; i < plan->generations.n; i++)
		free(plan->generations.data[i].prompts.data);
	free(plan->attributions.data);
	free(plan->rooms.data);
	free(plan->generations.data);
	*plan = (struct plan){0};
}

/* ---- while it runs ------------------------------------------------------------------------ */

static bool holds(const struct prompt_ids *list, size_t prompt)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->data[i] == prompt)
			return true;
	return false;
}

static int undeclared(const struct lab *lab, size_t prompt, const char *what, struct err *err)
{
	return err_set(err, ERR_INTERNAL,
		"prompt %zu of %s is %s, which no experiment has declared (struct experiment.plan)",
		prompt, prompts_set_name(lab->prompts, prompt), what);
}

int plan_holds_attribution(const struct lab *lab, const struct prompt_ids *prompts, struct err *err)
{
	const struct plan *plan = lab->plan;

	for (size_t i = 0; i < prompts->n; i++) {
		bool found = false;

		for (size_t k = 0; k < plan->attributions.n && !found; k++)
			found = holds(&plan->attributions.data[k].prompts, prompts->data[i]);
		if (!found)
			return undeclared(lab, prompts->data[i], "attributed", err);
	}
	return 0;
}

int plan_holds_generation(const struct lab *lab, const struct prompt_ids *prompts, struct err *err)
{
	const struct plan *plan = lab->plan;

	for (size_t i = 0; i < prompts->n; i++) {
		bool found = false;

		for (size_t k = 0; k < plan->generations.n && !found; k++)
			found = holds(&plan->generations.data[k].prompts, prompts->data[i]);
		if (!found)
			return undeclared(lab, prompts->data[i], "continued", err);
	}
	return 0;
}

/* ---- the context ----------------------------------------------------------------------- */

/* The longest prompt of a list, which is not empty. */
static size_t longest_of(const struct lab *lab, const struct prompt_ids *prompts)
{
	size_t longest = prompts->data[0];

	for (size_t i = 1; i < prompts->n; i++)
		if (prompts_tokens(lab->prompts, prompts->data[i], 0).n >
			prompts_tokens(lab->prompts, longest, 0).n)
			longest = prompts->data[i];
	return longest;
}

/* The longest of all that is continued: what fits it fits the others. */
static int check_context(const struct lab *lab, struct err *err)
{
	const struct plan *plan = lab->plan;
	const size_t n_ctx = lab->machine->model->n_ctx,
		     max_new = (size_t)lab->config->generate.max_new_tokens;
	const char *set, *experiment = NULL;
	size_t prompt = 0, length = 0;

	for (size_t i = 0; i < plan->generations.n; i++) {
		const struct plan_generation *g = &plan->generations.data[i];
		const size_t longest = g->prompts.n > 0 ? longest_of(lab, &g->prompts) : 0,
			     n = g->prompts.n > 0 ? prompts_tokens(lab->prompts, longest, 0).n : 0;

		if (n <= length)
			continue;
		prompt = longest;
		length = n;
		experiment = g->experiment;
	}
	if (!experiment || length + max_new <= n_ctx)
		return 0;
	set = prompts_set_name(lab->prompts, prompt);
	if (length >= n_ctx)
		return err_set(err, ERR_CONFIG,
			"prompts.%s: expected prompts of less than %zu tokens (model.n_ctx), for %s "
			"continues them, found one of %zu",
			set, n_ctx, experiment, length);
	return err_set(err, ERR_CONFIG,
		"generate.max_new_tokens: expected at most %zu, which with the longest prompt of "
		"prompts.%s (%zu tokens; %s continues it) fills model.n_ctx (%zu), found %zu",
		n_ctx - length, set, length, experiment, n_ctx, max_new);
}

/* ---- memory ---------------------------------------------------------------------------- */

int plan_attribution_extent(const struct lab *lab, const struct plan_attribution *a,
	struct attribution_extent *out, struct err *err)
{
	const struct config *c = lab->config;
	struct schedule s = {0};
	struct feature_set none = {0};

	err_clear(err);
	TRY(prompts_schedule(lab->prompts, &a->prompts, lab->prompts->n_prefix,
		(size_t)c->batch.tokens, (size_t)c->batch.tokens, &s, err));
	for (size_t l = 0; l < lab->machine->model->arch.n_layer;
		l++) /* stand-ins: only layers count */
		for (size_t k = 0; k < a->k0; k++)
			TRY(feature_set_add(&none, (struct feature){(int32_t)l, (int32_t)k, 0, 0},
				err));
	*out = (struct attribution_extent){s.n_batches, s.most_tokens,
		attribution_bytes(lab->machine->model, &none, a->all_features,
			(struct attribution_size){s.most_tokens, s.most_prompts})};
fail:
	free(none.data);
	schedule_free(&s);
	return err->code;
}

/* Tokens of the longest prompt. */
static size_t longest_prompt(const struct lab *lab)
{
	size_t longest = 0;

	for (size_t p = 0; p < lab->prompts->table.n; p++)
		longest = size_max(longest, prompts_tokens(lab->prompts, p, 0).n);
	return longest;
}

/* Prompts whole, as under edits that differ by prompt; and what is kept of each prompt's first
 * token, of these replies and of the unedited ones that they are compared with. */
static int generation_bytes(const struct lab *lab, const struct plan_generation *g, size_t *bytes,
	struct err *err)
{
	const struct config *c = lab->config;
	const struct machine *m = lab->machine;
	const size_t longest =
		g->prompts.n > 0 ? prompts_tokens(lab->prompts, longest_of(lab, &g->prompts), 0).n
				 : 0;
	struct schedule s = {0};

	if (prompts_schedule(lab->prompts, &g->prompts, 0, SIZE_MAX, (size_t)c->generate.prompts,
		    &s, err))
		return err->code;
	*bytes = generator_bytes(m->model,
			 (struct generator_size){s.most_prompts, s.most_tokens,
				 size_max(size_min((size_t)c->batch.tokens, s.most_tokens),
					 longest),
				 (size_t)c->generate.max_new_tokens}) +
		 (2 * g->prompts.n + s.most_prompts) * m->model->arch.d_model *
			 dtype_bytes(device_activation(m->dev));
	schedule_free(&s);
	return 0;
}

/* A pass over a batch, and resid_post of every layer beside it. */
static size_t plan_scoring(const struct lab *lab)
{
	const struct arch *a = &lab->machine->model->arch;
	const size_t rows = size_max(size_min((size_t)lab->config->batch.tokens,
					     lab->prompts->table.ids.n),
		longest_prompt(lab));

	return runner_bytes(lab->machine->model, (struct runner_size){.rows = rows,
							 .prompts = lab->prompts->table.n,
							 .out = rows}) +
	       a->n_layer * rows * a->d_model * sizeof(float);
}

/* With what is there already: rotary tables, the readout. Experiments take turns. */
static size_t needed_bytes(const struct lab *lab, const struct memory_plan *m)
{
	return machine_memory_in_use(lab->machine) + m->sae + m->working +
	       (device_is_host(lab->machine->dev) ? m->host : 0) +
	       size_max(m->scoring, size_max(m->attribution, m->generation));
}

int plan_memory(const struct lab *lab, struct memory_plan *m, struct err *err)
{
	const struct machine *machine = lab->machine;
	const struct plan *plan = lab->plan;

	*m = (struct memory_plan){.scoring = plan_scoring(lab),
		.readout = readout_bytes(machine->model),
		.working = device_working_bytes(machine->dev),
		.host = plan->host_bytes};
	for (size_t i = 0; i < plan->generations.n; i++) {
		size_t bytes = 0;

		if (generation_bytes(lab, &plan->generations.data[i], &bytes, err))
			return err->code;
		m->generation = size_max(m->generation, bytes);
	}
	for (size_t l = 0; machine->saes && l < sae_set_layers(machine->saes); l++) {
		m->sae = size_max(m->sae, sae_set_bytes(machine->saes, l));
		m->encoders += sae_set_encoder_bytes(machine->saes, l);
	}
	m->sae += plan->sae_bytes;
	for (size_t i = 0; i < plan->attributions.n; i++) {
		struct attribution_extent extent;

		if (plan_attribution_extent(lab, &plan->attributions.data[i], &extent, err))
			return err->code;
		m->attribution = size_max(m->attribution, extent.bytes);
	}
	m->needed = needed_bytes(lab, m);
	return 0;
}

static int check_memory(const struct lab *lab, struct err *err)
{
	const struct memory_left left = machine_memory(lab->machine, lab->config);
	struct memory_plan m;

	if (plan_memory(lab, &m, err))
		return err->code;
	if (m.needed > left.bytes)
		return err_set(err, ERR_DEVICE,
			"too little memory on %s: %.1f MiB are needed (weights %.1f, a whole SAE %.1f, and in turn "
			"scoring %.1f, integrated gradients %.1f, generation %.1f), %.1f MiB are %s; smaller "
			"batch.tokens, generate.prompts and generate.max_new_tokens need less",
			device_description(lab->machine->dev), plan_mib((double)m.needed),
			plan_mib((double)lab->machine->model->bytes), plan_mib((double)m.sae),
			plan_mib((double)m.scoring), plan_mib((double)m.attribution),
			plan_mib((double)m.generation), plan_mib((double)left.bytes), left.limit);
	if (!device_is_host(lab->machine->dev) && m.host > memory_left().bytes)
		return err_set(err, ERR_DEVICE,
			"too little host memory: %.1f MiB are needed for what an experiment keeps there, "
			"%.1f MiB are %s",
			plan_mib((double)m.host), plan_mib((double)memory_left().bytes),
			memory_left().limit);
	return 0;
}

int plan_check(const struct lab *lab, bool fresh, struct err *err)
{
	if (check_context(lab, err))
		return err->code;
	if (check_memory(lab, err))
		return err->code;
	return plan_check_room(lab, fresh, err);
}
