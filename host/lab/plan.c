/* SPDX-License-Identifier: MIT
 *
 * plan.c - Contract: plan.h. Sizes come from the functions that allocate (carver.h).
 */
#include "host/lab/plan.h"

#include "host/base/size.h"
#include "experiments/judge/judged.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double mib(size_t bytes)
{
	return (double)bytes / 0x1p20;
}

static void print_bytes(const char *what, size_t bytes)
{
	printf("  %-44s %10.1f MiB\n", what, mib(bytes));
}

static void print_saes(const struct lab *lab)
{
	static const char *const kept_as[N_SAE_DTYPES] = {[SAE_FLOAT32] = "float32",
		[SAE_BF16] = "bf16: matrices in bfloat16, biases and thresholds float32",
		[SAE_RELEASED] =
			"released: matrices in bfloat16, biases and thresholds rounded to it"};
	const struct sae_set *saes = lab->saes;
	const bool automatic = strcmp(lab->config->sae.dtype, "auto") == 0;

	printf("SAEs       %s: %s, %zu layers of %zu features\n", lab->config->sae.path,
		sae_set_format(saes), sae_set_count(saes), sae_set_width(saes));
	printf("           as %s (sae.dtype = \"%s\"%s)\n", kept_as[sae_set_dtype(saes)],
		lab->config->sae.dtype,
		!automatic ? ""
		: device_rounds_products(lab->dev)
			? ", and this device rounds the inputs of products"
			: ", and this device does not round the inputs of products");
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
		printf("replies    %s: %zu from %s\n", lab->prompts.names[i],
			lab->prompts.sets[i].n, c->from);
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
	struct text text = {0}, message = {0};

	err_clear(err);
	if (lab->judged) {
		TRY(judged_render(lab, 0, &text, err));
	} else {
		TRY(lab_message(lab, 0, &message, err));
		TRY(chat_template_render(lab->chat, message.data, &text, err));
	}
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
fail:
	free(text.data);
	free(message.data);
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
			TRY(feature_set_add(&none, (struct feature){(int32_t)l, (int32_t)k, 0, 0},
				err));
	*out = (struct attribution_plan){prompts.n, s.n_batches, s.most_tokens,
		attribution_bytes(lab->model, &none, text_list_holds(&c->attribution.methods, "ap"),
			(struct attribution_size){s.most_tokens, s.most_prompts})};
fail:
	free(prompts.data);
	free(none.data);
	schedule_free(&s);
	return err->code;
}

/* Tokens of the longest prompt. */
static size_t longest_prompt(const struct lab *lab)
{
	size_t longest = 0;

	for (size_t p = 0; p < lab->prompts.n; p++)
		longest = size_max(longest, lab_tokens(lab, p, 0).n);
	return longest;
}

static size_t plan_generation(const struct lab *lab)
{
	const struct config *c = lab->config;
	const size_t prompts = size_min((size_t)c->generate.prompts, lab->prompts.n);
	const size_t longest = longest_prompt(lab), most = prompts * longest;

	if (lab->judged && !judged_by_reply(c))
		return 0;
	return generator_bytes(lab->model,
		(struct generator_size){prompts, most,
			size_max(size_min((size_t)c->batch.tokens, most), longest),
			(size_t)c->generate.max_new_tokens});
}

/* A pass over a batch, and resid_post of every layer beside it. */
static size_t plan_scoring(const struct lab *lab)
{
	const struct arch *a = &lab->model->arch;
	const size_t rows = size_max(size_min((size_t)lab->config->batch.tokens,
					     lab->prompts.ids.n),
		longest_prompt(lab));

	return runner_bytes(lab->model,
		       (struct runner_size){.rows = rows, .prompts = lab->prompts.n, .out = rows}) +
	       a->n_layer * rows * a->d_model * sizeof(float);
}

/* What a run allocates beside the weights. */
struct memory_plan {
	struct attribution_plan attribution; /* zero when it is not asked for */
	size_t generation;                   /* 0 when nothing is generated */
	size_t scoring, readout;
	size_t sae, encoders; /* a whole one; of all layers */
	size_t working;       /* of the ops themselves */
};

static bool generates(const struct config *c)
{
	for (size_t i = 0; i < c->experiment.n; i++)
		if (strcmp(c->experiment.items[i], "direction") != 0 &&
			strcmp(c->experiment.items[i], "attribution") != 0)
			return true;
	return false;
}

static int plan_memory(struct lab *lab, struct memory_plan *m, struct err *err)
{
	*m = (struct memory_plan){.scoring = plan_scoring(lab),
		.readout = readout_bytes(lab->model),
		.working = device_working_bytes(lab->dev)};
	if (generates(lab->config))
		m->generation = plan_generation(lab);
	for (size_t l = 0; lab->saes && l < sae_set_layers(lab->saes); l++) {
		m->sae = size_max(m->sae, sae_set_bytes(lab->saes, l));
		m->encoders += sae_set_encoder_bytes(lab->saes, l);
	}
	if (!text_list_holds(&lab->config->experiment, "attribution"))
		return 0;
	return plan_attribution(lab, &m->attribution, err);
}

/* With what is there already: rotary tables, the readout. Experiments take turns. */
static size_t needed_bytes(const struct lab *lab, const struct memory_plan *m)
{
	return lab_memory_in_use(lab) + m->sae + m->working +
	       size_max(m->scoring, size_max(m->attribution.bytes, m->generation));
}

static int check_memory(const struct lab *lab, const struct memory_plan *m, struct err *err)
{
	const struct memory_left left = lab_memory(lab);
	const size_t needed = needed_bytes(lab, m);

	if (needed <= left.bytes)
		return 0;
	return err_set(err, ERR_DEVICE,
		"too little memory on %s: %.1f MiB are needed (weights %.1f, a whole SAE %.1f, and in turn "
		"scoring %.1f, integrated gradients %.1f, generation %.1f), %.1f MiB are %s; smaller "
		"batch.tokens, generate.prompts and generate.max_new_tokens need less",
		device_description(lab->dev), mib(needed), mib(lab->model->bytes), mib(m->sae),
		mib(m->scoring), mib(m->attribution.bytes), mib(m->generation), mib(left.bytes),
		left.limit);
}

int plan_check(struct lab *lab, struct err *err)
{
	struct memory_plan m;

	if (plan_memory(lab, &m, err))
		return err->code;
	return check_memory(lab, &m, err);
}

static void print_memory(const struct lab *lab, const struct memory_plan *m)
{
	printf("memory\n");
	print_bytes(device_is_host(lab->dev) ? "weights, mapped from the checkpoint" : "weights",
		lab->model->bytes);
	if (m->sae > 0)
		print_bytes("one SAE, whole", m->sae);
	if (lab->saes && sae_set_top_k(lab->saes))
		print_bytes("encoders of the features in use, whole: top-k SAEs, at most",
			m->encoders);
	print_bytes("scoring a batch, at most", m->scoring);
	if (m->attribution.bytes > 0)
		print_bytes("integrated gradients", m->attribution.bytes);
	if (m->generation > 0)
		print_bytes("generation, at most", m->generation);
	print_bytes("readout of logits", m->readout);
	if (m->working > 0)
		print_bytes("scratch of the ops, at most", m->working);
	print_bytes("needed at a time, at most", needed_bytes(lab, m));
	print_bytes(lab_memory(lab).limit, lab_memory(lab).bytes);
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
	return check_memory(lab, &m, err);
}
