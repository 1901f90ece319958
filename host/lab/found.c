/* SPDX-License-Identifier: MIT
 *
 * found.c - Contract: found.h. Tests: tests/test_run.c.
 */
#include "host/lab/found.h"

#include "host/base/utf8.h"
#include "host/lab/weights_notes.h"
#include "host/text/jinja/jinja.h"

#include <stdio.h>
#include <string.h>

/* Of a layer: its site, the file below sae.path, and who says that it is of that site. */
static void print_sae(const struct lab *lab, size_t layer)
{
	const struct sae_set *saes = lab->machine->saes;
	const char *file = sae_set_path(saes, layer), *by = sae_set_says_site(saes, layer);
	const char *model = sae_set_says_model(saes, layer);

	printf("           %s  %s: %s%s%s%s\n", site_name(sae_set_reads(saes, layer)).text,
		file + strlen(lab->config->sae.path) + 1,
		*by ? by : "nothing beside it says of which place", *model ? "; trained on \"" : "",
		model, *model ? "\"" : "");
}

/* The first few by number. */
static void print_unused(const struct sae_set *saes, size_t layer)
{
	const size_t n = sae_set_n_unused(saes, layer);
	size_t named = 0;

	if (n == 0)
		return;
	printf("           of layer %zu out of use, as not finite (sae.allow_nonfinite_unused): %zu of "
	       "%zu features:",
		layer, n, sae_set_width(saes));
	for (size_t i = 0; i < sae_set_width(saes) && named < 8; i++)
		if (sae_set_is_unused(saes, layer, i))
			printf("%s %zu", named++ ? "," : "", i);
	puts(named < n ? ", ..." : "");
}

static void print_saes(const struct lab *lab)
{
	static const char *const kept_as[N_SAE_DTYPES] = {[SAE_FLOAT32] = "float32",
		[SAE_BF16] = "bf16: matrices in bfloat16, biases and thresholds float32",
		[SAE_RELEASED] =
			"released: matrices in bfloat16, biases and thresholds rounded to it"};
	const struct sae_set *saes = lab->machine->saes;
	const bool automatic = strcmp(lab->config->sae.dtype, "auto") == 0;

	printf("SAEs       %s: %s, %zu layers of %zu features\n", lab->config->sae.path,
		sae_set_format(saes), sae_set_count(saes), sae_set_width(saes));
	printf("           as %s (sae.dtype = \"%s\"%s)\n", kept_as[sae_set_dtype(saes)],
		lab->config->sae.dtype,
		!automatic ? ""
		: device_rounds_products(lab->machine->dev)
			? ", and this device rounds the inputs of products"
			: ", and this device does not round the inputs of products");
	for (size_t l = 0; l < sae_set_layers(saes); l++)
		if (sae_set_has(saes, l))
			print_sae(lab, l);
	for (size_t l = 0; l < sae_set_layers(saes); l++)
		print_unused(saes, l);
	printf("           their SHA-256 is taken when the run begins (/provenance/sha256)\n");
}

static void print_weights(const struct lab *lab)
{
	struct weights_note notes[WEIGHTS_NOTES];
	const size_t n = weights_notes(lab->machine, notes);

	for (size_t i = 0; i < n; i++)
		printf("%-10s %s\n", notes[i].label, notes[i].text);
}

static void print_machine(const struct lab *lab)
{
	const struct arch *a = &lab->machine->model->arch;
	const struct config *c = lab->config;

	printf("experiments");
	for (size_t i = 0; i < c->experiment.n; i++)
		printf("%s %s", i ? "," : "", c->experiment.items[i]);
	putchar('\n');
	printf("model      %s: %s, %zu layers, d_model %zu, %zu heads (%zu kv) of %zu, d_ff %zu, "
	       "vocabulary %zu, %.1f M parameters in %s\n",
		c->model.path, a->model_type, a->n_layer, a->d_model, a->n_head, a->n_kv_head,
		a->head_dim, a->d_ff, a->n_vocab,
		(double)model_parameters(lab->machine->model) * 1e-6,
		dtype_name(lab->machine->model->embedding.dtype));
	print_weights(lab);
	printf("device     %s\n", device_description(lab->machine->dev));
	if (lab->job->ranks->world > 1)
		printf("ranks      %zu, as %s say\n", lab->job->ranks->world,
			lab->job->ranks->found);
	if (lab->machine->saes)
		print_saes(lab);
	else
		printf("SAEs       none (sae.path is empty): no features are found or clamped\n");
}

static int print_prompt_sets(const struct lab *lab, struct err *err)
{
	const struct prompt_source *source = lab->prompts->source;
	struct text line = {0};

	err_clear(err);
	for (size_t i = 0; i < lab->prompts->table.n_sets; i++) {
		line.n = 0;
		TRY(prompts_describe(lab->prompts, lab->config, i, &line, err));
		printf("%-10s %s\n", source ? source->what : "prompts", line.data);
	}
fail:
	free(line.data);
	return err->code;
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

static void print_token(const struct lab *lab, int32_t id)
{
	const char *spelling = tokenizer_spelling(lab->machine->tok, id);

	printf("%d ", id);
	print_quoted(spelling ? spelling : "", spelling ? strlen(spelling) : 0);
}

/* Which token it is, and why; `rendered` is a prompt. */
static void print_refusal_token(const struct lab *lab, const struct text *rendered)
{
	const struct prompts *p = lab->prompts;
	const struct token_choice *choice = &lab->config->refusal.token;
	size_t tail = rendered->n > 24 ? rendered->n - 24 : 0;

	if (p->refusal_token < 0)
		return;
	while (utf8_length(rendered->data + tail, rendered->n - tail) == 0 && tail < rendered->n)
		tail++;
	printf("refusal    token ");
	print_token(lab, p->refusal_token);
	if (choice->text) {
		fputs(": what ", stdout);
		print_quoted(choice->text, strlen(choice->text));
		fputs(" is behind ", stdout);
		print_quoted(rendered->data + tail, rendered->n - tail);
		putchar('\n');
	} else {
		puts(", as given");
	}
	for (size_t i = 1; i < p->n_refusal_spellings; i++) {
		printf("           ");
		print_token(lab, p->refusal_spellings[i]);
		puts(" spells the same word; a run measures how likely each is before its experiments");
	}
}

/* What a user should know of the tokenizer's files. */
static void print_tokenizer(const struct lab *lab)
{
	const struct tokenizer *tok = lab->machine->tok;
	const size_t n_vocab = lab->machine->model->arch.n_vocab;
	size_t beyond = 0;

	for (size_t id = n_vocab; id < tokenizer_size(tok); id++)
		beyond += tokenizer_spelling(tok, (int32_t)id) != NULL;
	if (beyond > 0)
		printf("tokenizer  %zu of its tokens, from %zu on, have no row in the model's "
		       "embedding and may not be in a prompt\n",
			beyond, n_vocab);
	for (size_t i = 0; i < tokenizer_n_notes(tok); i++)
		printf("tokenizer  %s\n", tokenizer_note(tok, i));
}

static void print_template(const struct lab *lab)
{
	const struct prompts *p = lab->prompts;
	const struct chat_template *chat = p->chat;
	const int32_t bos = tokenizer_bos(lab->machine->tok);

	if (p->source)
		printf("template   %s", p->source->template_name(p->context));
	else
		printf("template   %s (%s)", chat->name, chat->origin);
	if (p->n_prefix == 0)
		puts("; no first token is shared by all prompts");
	else if (p->n_prefix == 1)
		puts("; the first token is shared by all prompts");
	else
		printf("; the first %zu tokens are shared by all prompts\n", p->n_prefix);
	if (p->n_prefix < p->n_template_prefix)
		printf("           the template's own prefix has %zu; as prompts begin otherwise (system "
		       "texts of their own), means over positions take in all behind the shared ones, "
		       "in every prompt\n",
			p->n_template_prefix);
	if (chat->bos >= 0)
		printf("           %s is put before it (model.bos = \"%s\")\n",
			tokenizer_spelling(lab->machine->tok, chat->bos), lab->config->model.bos);
	else if (bos >= 0 && p->table.ids.data[0] != bos)
		printf("           no %s before it, as it spells none (model.bos = \"%s\")\n",
			tokenizer_spelling(lab->machine->tok, bos), lab->config->model.bos);
	if (chat->jinja && jinja_mentions(chat->jinja, "strftime_now"))
		printf("           today is %s (model.date)\n", chat->date);
}

/* The first prompt as the model will see it, and its tokens. */
static int print_example(const struct lab *lab, struct err *err)
{
	const struct prompts *p = lab->prompts;
	const struct token_span span = prompts_tokens(p, 0, 0);
	struct text text = {0};

	err_clear(err);
	TRY(prompts_render(p, 0, &text, err));
	print_template(lab);
	printf("example    ");
	print_quoted(text.data, text.n);
	printf("\n%zu tokens ", span.n);
	for (size_t i = 0; i < span.n; i++) {
		putchar(' ');
		print_token(lab, span.ids[i]);
	}
	putchar('\n');
fail:
	free(text.data);
	return err->code;
}

int found_print(const struct lab *lab, struct err *err)
{
	print_machine(lab);
	if (print_prompt_sets(lab, err))
		return err->code;
	print_tokenizer(lab);
	stop_tokens_log(&lab->prompts->stop, lab->machine->tok);
	return print_example(lab, err);
}

int found_print_tokens(const struct lab *lab, struct err *err)
{
	struct text text = {0};

	err_clear(err);
	TRY(prompts_render(lab->prompts, 0, &text, err));
	print_refusal_token(lab, &text);
	fflush(stdout);
fail:
	free(text.data);
	return err->code;
}
