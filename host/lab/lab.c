/* SPDX-License-Identifier: MIT
 *
 * lab.c - opening a run, and closing it. Contract: lab.h.
 */
#include "host/lab/lab.h"

#include "host/base/file.h"
#include "host/base/size.h"
#include "host/base/vec.h"
#include "experiments/judge/judged.h"
#include "host/work/weights.h"
#include "host/text/prompt_take.h"

#include <assert.h>
#include <string.h>

const char *const method_names[N_METHODS] = {
	[METHOD_COSSIM_AP] = "cossim_ap",
	[METHOD_AP] = "ap",
	[METHOD_COSSIM] = "cossim",
	[METHOD_ACTDIFF] = "actdiff",
	[METHOD_RANDOM] = "random",
};

/* ---- opening --------------------------------------------------------------------------- */

/* A folder of the config, and where to get it when it is not there. */
static int need_folder(const char *key, const char *path, const char *published, struct err *err)
{
	if (folder_exists(path))
		return 0;
	return err_set(err, ERR_INPUT, "%s: no folder \"%s\"%s%s", key, path,
		*published ? "; published at " : "", published);
}

static int need_file(const char *key, const char *path, const char *published, struct err *err)
{
	if (file_exists(path))
		return 0;
	return err_set(err, ERR_INPUT, "%s: no file \"%s\"%s%s", key, path,
		*published ? "; published at " : "", published);
}

static int need_prompts(const struct prompts_config *p, struct err *err)
{
	char key[256];

	snprintf(key, sizeof key, "prompts.%s.file", p->name);
	return need_file(key, p->file, p->published, err);
}

static bool is_judge(const struct config *c)
{
	return text_list_holds(&c->experiment, "judge");
}

/* The parts of the config that name inputs: i counts them up. */
static int need_input(const struct config *c, size_t i, struct err *err)
{
	switch (i) {
	case 0:
		return need_folder("model.path", c->model.path, c->model.published, err);
	case 1:
		return *c->sae.path ? need_folder("sae.path", c->sae.path, c->sae.published, err)
				    : 0;
	case 2:
		return is_judge(c) ? need_file("from", c->from, "", err) : 0;
	case 3:
		return is_judge(c) ? need_file("judge.template", c->judge.template,
					     c->judge.published, err)
				   : 0;
	case 4:
		return is_judge(c) && *c->judge.context_template
			       ? need_file("judge.context_template", c->judge.context_template,
					 c->judge.published, err)
			       : 0;
	default:
		return need_prompts(&c->prompts[i - 5], err);
	}
}

/* Reports everything that is missing at once, not the first thing. */
static int check_inputs(const struct config *c, struct err *err)
{
	struct text faults = {0};
	struct err one, ignored;
	size_t n = 0;

	for (size_t i = 0; i < 5 + c->n_prompts; i++) {
		if (need_input(c, i, &one) == 0)
			continue;
		if (n++ > 0)
			(void)vec_push(&faults, '\n', &ignored);
		(void)vec_append(&faults, one.text, strlen(one.text), &ignored);
	}
	if (n > 0)
		err_set(err, ERR_INPUT, "%.*s", (int)faults.n, faults.data);
	free(faults.data);
	return n > 0 ? ERR_INPUT : 0;
}

static void find_stop_tokens(struct lab *lab)
{
	const char *which = lab->config->generate.stop;
	const struct chat_template *chat = lab->chat;

	for (size_t i = 0; strcmp(which, "template") == 0 && i < chat->n_stop; i++)
		lab->stop[lab->n_stop++] = chat->stop[i];
	if (strcmp(which, "eos") == 0 && chat->eos >= 0)
		lab->stop[lab->n_stop++] = chat->eos;
}

/* A text of the config that may stay the template's own. */
static const char *own_or(const char *text)
{
	return strcmp(text, "auto") == 0 ? NULL : text;
}

/* The template around each prompt: a chat's, or the judge's own. */
static int open_text(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	const struct arch *arch = &lab->model->arch;
	struct chat_options chat = {c->model.template, own_or(c->model.prefix),
		own_or(c->model.suffix), c->model.system, c->model.bos};
	char *path = NULL;

	err_clear(err);
	TRY(tokenizer_find(&path, c->model.path, err));
	TRY(tokenizer_open(&lab->tok, path, err));
	if (is_judge(c))
		TRY(judged_open(lab, &chat, err));
	TRY(chat_template_open(&lab->chat, &chat, arch->model_type,
		arch->rope[ARCH_ROPE_GLOBAL].scaling == ROPE_LLAMA3, lab->tok, err));
	find_stop_tokens(lab);
fail:
	free(path);
	return err->code;
}

static int find_refusal_token(struct lab *lab, struct err *err)
{
	const char *token = lab->config->refusal.token;
	struct token_ids ids = {0};

	TRY(tokenizer_encode(lab->tok, token, strlen(token), &ids, err));
	if (ids.n != 1) {
		err_set(err, ERR_CONFIG,
			"refusal.token: expected a text of one token, \"%s\" has %zu", token,
			ids.n);
		goto fail;
	}
	lab->refusal_token = ids.data[0];
	free(ids.data);
	return 0;
fail:
	free(ids.data);
	return err->code;
}

static enum prompt_take take_of(const struct prompts_config *p)
{
	return p->take[0] == 't'   ? PROMPT_TAKE_TEXT
	       : p->take[0] == 'b' ? PROMPT_TAKE_BASE
				   : PROMPT_TAKE_WORDS;
}

int prompt_table_create(struct prompt_table *t, size_t n_sets, struct err *err)
{
	*t = (struct prompt_table){.n_sets = n_sets,
		.sets = calloc(n_sets + 1, sizeof *t->sets),
		.names = calloc(n_sets + 1, sizeof *t->names),
		.first = calloc(n_sets + 1, sizeof *t->first)};
	return t->sets && t->names && t->first
		       ? 0
		       : err_nomem(err, "prompts", n_sets * sizeof *t->sets);
}

static int read_prompt_sets(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	struct prompt_table *t = &lab->prompts;

	if (prompt_table_create(t, c->n_prompts, err))
		return err->code;
	for (size_t i = 0; i < c->n_prompts; i++) {
		const struct prompts_config *p = &c->prompts[i];
		const struct prompt_selection selection = {.format = p->format,
			.text_field = p->text_field,
			.category_field = p->category_field,
			.context_field = p->context_field,
			.no_context = !p->context,
			.suffix_field = p->suffix_field,
			.where = (const char *const *)p->where.items,
			.n_where = p->where.n,
			.category = p->category,
			.limit = (size_t)p->limit,
			.shuffle = p->shuffle,
			.seed = (uint64_t)c->seed + i};

		if (prompt_set_read(&t->sets[i], p->file, &selection, err) ||
			prompt_set_take(&t->sets[i], take_of(p), err))
			return err_prefix(err, "prompts.%s", p->name);
		t->names[i] = p->name;
		t->first[i + 1] = t->first[i] + t->sets[i].n;
	}
	t->n = t->first[c->n_prompts];
	return 0;
}

/* How many tokens of the prefix text, encoded alone, begin every prompt. Whatever follows the
 * prefix begins a new token in all templates, so this is all of them; but the prompts decide. */
static int shared_prefix(const struct lab *lab, const char *prefix, size_t *n, struct err *err)
{
	const struct prompt_table *t = &lab->prompts;
	struct token_ids ids = {0};

	TRY(chat_template_encode_start(lab->chat, lab->tok, prefix, &ids, err));
	*n = ids.n;
	for (size_t p = 0; p < t->n; p++) {
		const int32_t *tokens = t->ids.data + t->start[p];
		const size_t length = t->start[p + 1] - t->start[p];
		size_t same = 0;

		/* At least one token stays with the prompt. */
		while (same < *n && same + 1 < length && tokens[same] == ids.data[same])
			same++;
		*n = same;
	}
	free(ids.data);
	return 0;
fail:
	free(ids.data);
	return err->code;
}

static int encode_prompt(struct lab *lab, size_t prompt, struct err *err)
{
	struct text message = {0};

	err_clear(err);
	TRY(lab_message(lab, prompt, &message, err));
	TRY(chat_template_encode(lab->chat, lab->tok, message.data, &lab->prompts.ids, err));
fail:
	free(message.data);
	return err->code;
}

static int encode_prompts(struct lab *lab, struct err *err)
{
	struct prompt_table *t = &lab->prompts;

	t->start = calloc(t->n + 1, sizeof *t->start);
	if (!t->start)
		return err_nomem(err, "prompts", t->n * sizeof *t->start);
	for (size_t p = 0; p < t->n; p++) {
		if (encode_prompt(lab, p, err))
			return err_prefix(err, "prompts.%s", lab_set_name(lab, p));
		t->start[p + 1] = t->ids.n;
		if (t->start[p + 1] - t->start[p] > lab->model->n_ctx)
			return err_set(err, ERR_INPUT,
				"prompts.%s: expected prompts of at most %zu tokens (model.n_ctx), found "
				"one of %zu: \"%.40s...\"",
				lab_set_name(lab, p), lab->model->n_ctx,
				t->start[p + 1] - t->start[p], lab_text(lab, p));
	}
	return 0;
}

static int open_prompts(struct lab *lab, struct err *err)
{
	if (lab->judged) {
		TRY(judged_encode(lab, err));
	} else {
		TRY(find_refusal_token(lab, err));
		TRY(read_prompt_sets(lab, err));
		TRY(encode_prompts(lab, err));
	}
	if (shared_prefix(lab, lab->chat->prefix, &lab->n_prefix, err))
		return err->code;
	return shared_prefix(lab, lab->chat->released_prefix, &lab->n_released_prefix, err);
fail:
	return err->code;
}

struct memory_left lab_memory(const struct lab *lab)
{
	struct memory_left left = memory_left();

	if (lab->config->memory_gb > 0)
		return (struct memory_left){(size_t)(lab->config->memory_gb * 0x1p30),
			"allowed by memory_gb"};
	if (device_free_memory(lab->dev, &left.bytes))
		left.limit = "free on the device and in use by this run";
	left.bytes += size_min(device_allocated(lab->dev), SIZE_MAX - left.bytes);
	return left;
}

size_t lab_memory_in_use(const struct lab *lab)
{
	return device_allocated(lab->dev) + (device_is_host(lab->dev) ? lab->model->bytes : 0);
}

/* Half of what is left. */
static size_t sae_budget(const struct lab *lab)
{
	const size_t left = lab_memory(lab).bytes, used = lab_memory_in_use(lab);

	return (left - size_min(left, used)) / 2;
}

enum sae_dtype lab_sae_dtype(const struct lab *lab)
{
	const char *name = lab->config->sae.dtype;

	for (int i = 0; i < N_SAE_DTYPES; i++)
		if (strcmp(name, sae_dtype_names[i]) == 0)
			return (enum sae_dtype)i;
	return device_rounds_products(lab->dev) ? SAE_BF16 : SAE_FLOAT32; /* auto */
}

struct sae_options lab_sae_options(const struct lab *lab)
{
	const struct config *c = lab->config;

	return (struct sae_options){.path = c->sae.path,
		.format = c->sae.format,
		.layer_folder = c->sae.layer_folder,
		.width = c->sae.width,
		.l0 = c->sae.l0,
		.fold = c->sae.fold,
		.dtype = lab_sae_dtype(lab),
		.some_layers = strcmp(c->sae.layers, "found") == 0,
		.budget = c->sae.budget_gb > 0 ? (size_t)(c->sae.budget_gb * 0x1p30)
					       : sae_budget(lab)};
}

static int open_saes(struct lab *lab, struct err *err)
{
	const struct config *c = lab->config;
	const struct sae_options options = lab_sae_options(lab);

	if (!*c->sae.path)
		return 0;
	return sae_set_open(&lab->saes, lab->dev, &options, lab->model->arch.n_layer,
		lab->model->arch.d_model, err);
}

int lab_open(struct lab *lab, const struct config *c, struct ranks *ranks, struct err *err)
{
	const struct model_options model = {.n_ctx = (size_t)c->model.n_ctx,
		.rope_original_context = c->model.rope_original_context};
	char device[256];

	*lab = (struct lab){.config = c, .ranks = ranks};
	TRY(check_inputs(c, err));
	ranks_device(ranks, c->device, device, sizeof device);
	TRY(device_open(&lab->dev, device, ranks_threads(ranks, (int)c->threads), err));
	TRY(weights_join(lab->dev, ranks, c, err));
	TRY(model_open(&lab->model, lab->dev, c->model.path, &model, err));
	TRY(open_text(lab, err));
	TRY(open_saes(lab, err));
	TRY(open_prompts(lab, err));
	if (c->direction.layer >= (int64_t)lab->model->arch.n_layer) {
		err_set(err, ERR_CONFIG, "direction.layer: expected a layer below %zu, found %lld",
			lab->model->arch.n_layer, (long long)c->direction.layer);
		goto fail;
	}
	return readout_init(&lab->readout, lab->model, err);
fail:
	return err->code;
}

int lab_finish_loading(struct lab *lab, bool whole_saes, struct err *err)
{
	if (whole_saes && lab->saes && sae_set_load_joined(lab->saes, err))
		return err->code;
	return device_leave(lab->dev, err);
}

int lab_begin_results(struct lab *lab, bool fresh, struct err *err)
{
	const char *output = lab->config->output;
	char *inputs = NULL;

	err_clear(err);
	if (lab->ranks->rank == 0)
		TRY(inputs_collect(&lab->inputs, lab, err));
	inputs = inputs_text(&lab->inputs, lab);
	if (!inputs)
		return err_nomem(err, "the manifest", 4096);
	TRY(units_open(&lab->units, output, lab->ranks, fresh, inputs, err));
	TRY(lab->ranks->rank == 0 ? results_create(&lab->results, output, err)
				  : results_create_nowhere(&lab->results, err));
	if (strcmp(lab->config->store.merge, "virtual") == 0)
		results_map_units(lab->results);
fail:
	free(inputs);
	return err->code;
}

static void free_sets(struct method_sets *sets, size_t n_prompts)
{
	free(sets->global.data);
	for (size_t p = 0; sets->local && p < n_prompts; p++)
		free(sets->local[p].data);
	free(sets->local);
}

void lab_close(struct lab *lab)
{
	struct prompt_table *t = &lab->prompts;

	units_close(lab->units);
	results_close(lab->results);
	inputs_free(&lab->inputs);
	for (int m = 0; m < N_METHODS; m++)
		free_sets(&lab->sets[m], t->n);
	free(lab->roles.refusal.data);
	free(lab->roles.harm.data);
	free(lab->direction.v);
	free(lab->summary.data);
	free(lab->stages.data);
	for (size_t i = 0; t->sets && i < t->n_sets; i++)
		prompt_set_free(&t->sets[i]);
	judged_free(lab->judged);
	free(t->sets);
	free(t->names);
	free(t->first);
	free(t->ids.data);
	free(t->start);
	sae_set_close(lab->saes);
	chat_template_close(lab->chat);
	tokenizer_close(lab->tok);
	readout_free(&lab->readout);
	model_close(lab->model);
	device_close(lab->dev);
	*lab = (struct lab){0};
}
