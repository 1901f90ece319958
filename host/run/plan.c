/* SPDX-License-Identifier: MIT
 *
 * plan.c - Contract: plan.h. Sizes come from the functions that allocate (carver.h).
 */
#include "host/run/plan.h"

#include "host/base/size.h"
#include "host/run/judged.h"

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
	for (size_t i = 0; lab->judged && i < lab->prompts.n_sets; i++)
		printf("replies    %s: %zu from %s\n", lab->prompts.names[i], lab->prompts.sets[i].n,
			c->from);
}

/* Text on one line: what is not printable in C's way. */
static void print_quoted(const char *s, size_t n)
{
	putchar('"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n')
			fputs("\\n", stdout);
		else if (s[i] == '"' || s[i] == '\\')
			printf("\\%c", s[i]);
		else if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			printf("\\x%02x", (unsigned)s[i]);
		else
			putchar(s[i]);
	}
	putchar('"');
}

/* The first prompt as the model will see it, and its tokens. */
static int print_example(const struct lab *lab, struct err *err)
{
	const struct token_span span = lab_tokens(lab, 0, 0);
	struct text text = {0};

	if (lab->judged)
		TRY(judged_render(lab, 0, &text, err));
	else
		TRY(chat_template_render(lab->chat, lab_text(lab, 0), &text, err));
	printf("template   %s; the first %zu tokens are shared by all prompts\nexample    ",
		lab->judged ? lab->config->judge.template : lab->chat->name, lab->n_prefix);
	print_quoted(text.data, text.n);
	printf("\n%zu tokens ", span.n);
	for (size_t i = 0; i < span.n; i++) {
		const char *spelling = tokenizer_spelling(lab->tok, span.ids[i]);

		printf(" %d ", span.ids[i]);
		print_quoted(spelling, strlen(spelling));
	}
	putchar('\n');
	if (!lab->judged)
		printf("refusal    token %d \"%s\"\n", lab->refusal_token,
			lab->config->refusal.token);
	free(text.data);
	return 0;
fail:
	free(text.data);
	return err->code;
}

struct attribution_plan {
	size_t n_prompts, n_batches, most_tokens, bytes;
};

/* Batches and memory of integrated gradients over the attribution prompts. */
static int plan_attribution(struct lab *lab, struct attribution_plan *out, struct err *err)
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
			TRY(feature_set_add(
				&none, (struct feature){(int32_t)l, (int32_t)k, 0, 0}, err));
	*out = (struct attribution_plan){prompts.n, s.n_batches, s.most_tokens,
		attribution_bytes(lab->model, &none, text_list_holds(&c->attribution.methods, "ap"),
			(struct attribution_size){s.most_tokens, s.most_prompts})};
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

	if (lab->judged && !judged_by_reply(c))
		return 0;
	for (size_t p = 0; p < lab->prompts.n; p++)
		longest = size_max(longest, lab_tokens(lab, p, 0).n);
	return generator_bytes(lab->model, (struct generator_size){prompts, prompts * longest,
						   size_max((size_t)c->batch.tokens, longest),
						   (size_t)c->generate.max_new_tokens});
}

/* What a run allocates on the device beside weights and the readout of logits. */
struct memory_plan {
	struct attribution_plan attribution; /* zero when it is not asked for */
	size_t generation, sae, working;
};

static int plan_memory(struct lab *lab, struct memory_plan *m, struct err *err)
{
	*m = (struct memory_plan){
		.generation = plan_generation(lab), .working = device_working_bytes(lab->dev)};
	if (lab->saes)
		m->sae = 2 * sae_set_width(lab->saes) * lab->model->arch.d_model * sizeof(float);
	if (!text_list_holds(&lab->config->experiment, "attribution"))
		return 0;
	return plan_attribution(lab, &m->attribution, err);
}

int plan_check(struct lab *lab, struct err *err)
{
	struct memory_plan m;
	size_t available, needed;

	if (device_is_host(lab->dev) || !device_free_memory(lab->dev, &available))
		return 0;
	if (plan_memory(lab, &m, err))
		return err->code;
	/* Attribution and generation take turns. */
	needed = size_max(m.attribution.bytes, m.generation) + m.sae + m.working;
	if (needed <= available)
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory on %s: %.1f MiB are needed beside the weights, %.1f MiB are "
		"free; "
		"smaller batch.tokens and generate.prompts need less",
		device_description(lab->dev), (double)needed / 0x1p20, (double)available / 0x1p20);
}

static void print_memory(struct lab *lab, const struct memory_plan *m)
{
	const bool mapped = device_is_host(lab->dev);
	size_t available;

	printf("memory\n");
	print_bytes(mapped ? "weights, mapped from the checkpoint" : "weights", lab->model->bytes);
	if (m->sae > 0)
		print_bytes("one SAE, whole, as float32", m->sae);
	if (lab->saes && sae_set_top_k(lab->saes))
		print_bytes("encoders of the features in use, whole: top-k SAEs, at most",
			sae_set_count(lab->saes) * m->sae / 2);
	if (m->attribution.bytes > 0)
		print_bytes("integrated gradients", m->attribution.bytes);
	if (m->generation > 0)
		print_bytes("generation, at most", m->generation);
	print_bytes("readout of logits", readout_bytes(lab->model));
	if (m->working > 0)
		print_bytes("scratch of the ops, at most", m->working);
	if (device_free_memory(lab->dev, &available))
		print_bytes("free on the device, the weights being there", available);
}

int plan_print(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	struct memory_plan m;

	if (plan_memory(lab, &m, err))
		return err->code;
	print_inputs(lab);
	if (print_example(lab, err))
		return err->code;
	if (m.attribution.bytes > 0)
		printf("attribution  %zu prompts in %zu batches of at most %zu tokens; %lld + 1 passes "
		       "forward, %lld back\n",
			m.attribution.n_prompts, m.attribution.n_batches, m.attribution.most_tokens,
			(long long)c->attribution.steps, (long long)c->attribution.steps);
	print_memory(lab, &m);
	printf("output     %s\n", c->output);
	return plan_check(lab, err);
}
