/* SPDX-License-Identifier: MIT
 *
 * plan.c - Contract: plan.h. Sizes come from the functions that allocate (carver.h).
 */
#include "host/run/plan.h"

#include "host/base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_bytes(const char *what, size_t bytes)
{
	printf("  %-44s %10.1f MiB\n", what, (double)bytes / 0x1p20);
}

static void print_saes(const struct lab *lab)
{
	const struct sae_set *saes = lab->saes;

	printf("SAEs       %s: %s, %zu layers of %zu features%s\n", lab->config->sae.path,
		sae_set_format(saes), sae_set_count(saes), sae_set_width(saes),
		strcmp(lab->config->sae.dtype, "bf16") == 0 ? ", rounded to bfloat16" : "");
}

static void print_inputs(const struct lab *lab)
{
	const struct arch *a = &lab->model->arch;
	const struct config *c = lab->config;

	printf("experiments");
	for (size_t i = 0; i < c->experiment.n; i++)
		printf("%s %s", i ? "," : "", c->experiment.items[i]);
	putchar('\n');
	printf("model      %s: %s, %zu layers, d_model %zu, %zu heads (%zu kv) of %zu, d_ff %zu, "
	       "vocabulary %zu, %.1f M parameters in %s\n",
		c->model.path, a->model_type, a->n_layer, a->d_model, a->n_head, a->n_kv_head,
		a->head_dim, a->d_ff, a->n_vocab, (double)model_parameters(lab->model) * 1e-6,
		dtype_name(lab->model->embedding.dtype));
	printf("device     %s\n", device_description(lab->dev));
	if (lab->saes)
		print_saes(lab);
	for (size_t i = 0; i < c->n_prompts; i++)
		printf("prompts    %s: %zu from %s\n", c->prompts[i].name, lab->prompts.sets[i].n,
			c->prompts[i].file);
}

static void print_example(const struct lab *lab)
{
	const struct token_span span = lab_tokens(lab, 0, 0);

	printf("template   %s; the first %zu tokens are shared by all prompts\n", lab->chat->name,
		lab->n_prefix);
	printf("example    %s%s%s\n", lab->chat->prefix, lab_text(lab, 0), lab->chat->suffix);
	printf("tokens    ");
	for (size_t i = 0; i < span.n; i++)
		printf(" %d", span.ids[i]);
	printf("\nrefusal    token %d \"%s\"\n", lab->refusal_token, lab->config->refusal.token);
}

/* Batches and memory of integrated gradients over the attribution prompts. */
static int plan_attribution(struct lab *lab, size_t *bytes, struct err *err)
{
	const struct config *c = lab->config;
	struct prompt_ids prompts = {0};
	struct schedule s = {0};
	struct feature_set none = {0};

	err_clear(err);
	for (size_t i = 0; i < c->attribution.prompts.n; i++)
		TRY(lab_set(lab, c->attribution.prompts.items[i], &prompts, err));
	TRY(lab_schedule(lab, &prompts, lab->n_prefix, (size_t)c->batch.tokens,
		(size_t)c->batch.tokens, &s, err));
	for (size_t l = 0; l < lab->model->arch.n_layer; l++) /* stand-ins: only layers count */
		for (int64_t k = 0; k < c->attribution.k0; k++)
			TRY(feature_set_add(&none, (struct feature){(int32_t)l, (int32_t)k, 0, 0}, err));
	*bytes = attribution_bytes(lab->model, &none,
		text_list_holds(&c->attribution.methods, "ap"),
		(struct attribution_size){s.most_tokens, s.most_prompts});
	printf("attribution  %zu prompts in %zu batches of at most %zu tokens; %lld + 1 passes "
	       "forward, %lld back\n",
		prompts.n, s.n_batches, s.most_tokens, (long long)c->attribution.steps,
		(long long)c->attribution.steps);
fail:
	free(prompts.data);
	free(none.data);
	schedule_free(&s);
	return err->code;
}

static size_t plan_generation(const struct lab *lab)
{
	const struct config *c = lab->config;
	const size_t prompts = (size_t)c->generate.prompts;
	size_t longest = 0;

	for (size_t p = 0; p < lab->prompts.n; p++)
		longest = size_max(longest, lab_tokens(lab, p, 0).n);
	return generator_bytes(lab->model,
		(struct generator_size){prompts, prompts * longest,
			size_max((size_t)c->batch.tokens, longest),
			(size_t)c->generate.max_new_tokens});
}

int plan_print(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	const struct arch *a = &lab->model->arch;
	size_t attribution = 0;

	print_inputs(lab);
	print_example(lab);
	if (text_list_holds(&c->experiment, "attribution") &&
		plan_attribution(lab, &attribution, err))
		return err->code;
	printf("memory\n");
	print_bytes("weights, mapped from the checkpoint",
		model_parameters(lab->model) * dtype_bytes(lab->model->embedding.dtype));
	if (lab->saes)
		print_bytes("one SAE, whole, as float32",
			2 * sae_set_width(lab->saes) * a->d_model * sizeof(float));
	if (lab->saes && sae_set_top_k(lab->saes))
		print_bytes("encoders of the features in use, whole: top-k SAEs, at most",
			sae_set_count(lab->saes) * sae_set_width(lab->saes) * a->d_model * sizeof(float));
	if (attribution > 0)
		print_bytes("integrated gradients", attribution);
	print_bytes("generation, at most", plan_generation(lab));
	print_bytes("readout of logits", readout_bytes(lab->model));
	printf("output     %s\n", c->output);
	return 0;
}
