/* SPDX-License-Identifier: MIT
 *
 * adapter.c - Contract: adapter.h. What the config means is in adapter_targets.c, the product in
 * adapter_merge.c.
 *
 * peft calls a module by its name in the model class, "base_model.model." before it; what of that
 * stands before "layers" differs between classes and is found in the file.
 */
#include "host/model/adapter.h"

#include "host/base/file.h"
#include "host/formats/json.h"
#include "host/formats/safetensors.h"
#include "host/model/adapter_targets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT "base_model.model."

enum { MAX_NAME = 256, MAX_SAVED = 64 };

struct adapter {
	json_t *config;
	struct safetensors *file;
	char *config_path, *path;
	const char *prefix; /* of the language model's modules, behind ROOT; of its head */
	const char *head_prefix;
	bool *used;            /* [n tensors] */
	bool saved[MAX_SAVED]; /* entries of modules_to_save that were met */

	/* For adapter_describe. */
	double scale_least, scale_most;
	int64_t r_least, r_most;
};

/* ---- opening ---------------------------------------------------------------------------- */

bool adapter_exists(const char *folder)
{
	return file_exists_in(folder, "adapter_config.json");
}

int adapter_base(const char *folder, char **base, struct err *err)
{
	char *path = path_join(folder, "adapter_config.json");
	const char *name = "";
	json_t *config = NULL;

	*base = NULL;
	err_clear(err);
	if (!path)
		return err_nomem(err, folder, strlen(folder));
	TRY(json_read(&config, path, err));
	TRY(json_get_text(config, path, "base_model_name_or_path", &name, err));
	if (*name && !(*base = strdup(name)))
		err_nomem(err, path, strlen(name));
fail:
	json_decref(config);
	free(path);
	return err->code;
}

/* What may stand between ROOT and "layers"; the last fits all. */
static const char *const prefixes[] = {"model.language_model.", "language_model.model.", "model.",
	""};

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void find_prefixes(struct adapter *a)
{
	a->prefix = "model.";
	a->head_prefix = "";
	for (size_t i = 0; i < safetensors_count(a->file); i++) {
		const char *name = safetensors_at(a->file, i)->name;

		if (!begins_with(name, ROOT))
			continue;
		name += strlen(ROOT);
		if (begins_with(name, "language_model.lm_head."))
			a->head_prefix = "language_model.";
		for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
			const char *inner = name + strlen(prefixes[p]);

			if (begins_with(name, prefixes[p]) &&
				(begins_with(inner, "layers.") ||
					begins_with(inner, "embed_tokens.") ||
					begins_with(inner, "norm."))) {
				a->prefix = prefixes[p];
				break;
			}
		}
	}
}

static int open_file(struct adapter *a, const char *folder, struct err *err)
{
	if (file_exists(a->path))
		return safetensors_open(&a->file, a->path, err);
	return err_set(err, ERR_INPUT,
		"%s: adapter_config.json is there; expected adapter_model.safetensors beside it, found "
		"%s",
		folder,
		file_exists_in(folder, "adapter_model.bin")
			? "only adapter_model.bin; convert to safetensors"
			: "none");
}

int adapter_open(struct adapter **out, const char *folder, struct err *err)
{
	struct adapter *a = calloc(1, sizeof *a);
	const json_t *saved;

	*out = NULL;
	if (!a)
		return err_nomem(err, folder, sizeof *a);
	a->config_path = path_join(folder, "adapter_config.json");
	a->path = path_join(folder, "adapter_model.safetensors");
	if (!a->config_path || !a->path) {
		err_nomem(err, folder, strlen(folder));
		goto fail;
	}
	TRY(json_read(&a->config, a->config_path, err));
	TRY(adapter_config_check(a->config, a->config_path, err));
	saved = json_object_get(a->config, "modules_to_save");
	if ((saved && !json_is_array(saved) && !json_is_null(saved)) ||
		json_array_size(saved) > MAX_SAVED) {
		err_set(err, ERR_INPUT, "%s: modules_to_save: expected at most %d names, found %s",
			a->config_path, MAX_SAVED, json_kind(saved));
		goto fail;
	}
	TRY(open_file(a, folder, err));
	a->used = calloc(safetensors_count(a->file) + 1, sizeof *a->used);
	if (!a->used) {
		err_nomem(err, a->path, safetensors_count(a->file));
		goto fail;
	}
	find_prefixes(a);
	*out = a;
	return 0;
fail:
	adapter_close(a);
	return err->code;
}

void adapter_close(struct adapter *a)
{
	if (!a)
		return;
	json_decref(a->config);
	safetensors_close(a->file);
	free(a->config_path);
	free(a->path);
	free(a->used);
	free(a);
}

/* ---- the change of a tensor -------------------------------------------------------------- */

/* A tensor of the module, marked as used; NULL when it is not there. */
static const struct file_tensor *take(struct adapter *a, const char *module, const char *end)
{
	char name[2 * MAX_NAME];
	const struct file_tensor *t;

	snprintf(name, sizeof name, ROOT "%s.%s", module, end);
	t = safetensors_find(a->file, name);
	if (t)
		a->used[t - safetensors_at(a->file, 0)] = true;
	return t;
}

static bool is_declared(struct adapter *a, const char *module, const char *part)
{
	const char *bias = json_string_value(json_object_get(a->config, "bias"));
	bool declared = strcmp(part, "bias") == 0 && bias && strcmp(bias, "none") != 0;
	size_t i;
	json_t *entry;

	json_array_foreach(json_object_get(a->config, "modules_to_save"), i, entry)
	{
		if (json_is_string(entry) && adapter_saves(json_string_value(entry), module))
			declared = a->saved[i] = true;
	}
	return declared;
}

static int check_factor(const struct adapter *a, const struct file_tensor *t, size_t rows,
	size_t cols, struct err *err)
{
	if (t->n_dims != 2 || t->shape[0] != rows || t->shape[1] != cols)
		return err_set(err, ERR_INPUT,
			"%s: tensor \"%s\": expected shape [%zu, %zu], found %d dimensions, [%zu, %zu]",
			a->path, t->name, rows, cols, t->n_dims, t->n_dims > 0 ? t->shape[0] : 0,
			t->n_dims > 1 ? t->shape[1] : 0);
	if (!t->known || (t->dtype != DTYPE_F32 && t->dtype != DTYPE_BF16 && t->dtype != DTYPE_F16))
		return err_set(err, ERR_INPUT,
			"%s: tensor \"%s\": expected type F32, BF16 or F16, found %s", a->path,
			t->name, t->type);
	return 0;
}

/* The factors of a module's product, if config and file agree that it has them. */
static int find_factors(struct adapter *a, const char *module, enum module_kind kind, size_t rows,
	size_t cols, struct adapter_change *out, struct err *err)
{
	const bool embedding = kind == MODULE_EMBEDDING;
	bool targeted;
	int64_t r;

	out->a = take(a, module, embedding ? "lora_embedding_A" : "lora_A.weight");
	out->b = take(a, module, embedding ? "lora_embedding_B" : "lora_B.weight");
	if (!out->a != !out->b)
		return err_set(err, ERR_INPUT, "%s: %s: expected both lora_A and lora_B, found one",
			a->path, module);
	TRY(adapter_targets(a->config, a->config_path, module, kind, &targeted, err));
	if (targeted && kind == MODULE_NORM)
		return err_set(err, ERR_INPUT,
			"%s: target_modules: expected linear modules or embeddings, found %s",
			a->config_path, module);
	if (targeted != (out->a != NULL))
		return err_set(err, ERR_INPUT,
			"%s: target_modules: %s is %s, but its lora_A and lora_B are %s %s",
			a->config_path, module, targeted ? "meant" : "not meant",
			targeted ? "not in" : "in", a->path);
	if (!targeted)
		return 0;
	TRY(adapter_scale(a->config, a->config_path, module, &r, &out->scale, err));
	TRY(check_factor(a, out->a, (size_t)r, embedding ? rows : cols, err));
	TRY(check_factor(a, out->b, embedding ? cols : rows, (size_t)r, err));
	a->scale_least = a->scale_most == 0 ? out->scale : fmin(a->scale_least, out->scale);
	a->scale_most = a->scale_most == 0 ? out->scale : fmax(a->scale_most, out->scale);
	a->r_least = a->r_most == 0 || r < a->r_least ? r : a->r_least;
	a->r_most = r > a->r_most ? r : a->r_most;
	return 0;
fail:
	return err->code;
}

int adapter_find(struct adapter *a, const char *name, enum module_kind kind, size_t rows,
	size_t cols, struct adapter_change *out, struct err *err)
{
	const char *part = strrchr(name, '.') + 1;
	const struct file_tensor *wrapped;
	char module[MAX_NAME], end[32];

	*out = (struct adapter_change){0};
	snprintf(module, sizeof module, "%s%.*s", kind == MODULE_HEAD ? a->head_prefix : a->prefix,
		(int)(part - 1 - name), name);
	snprintf(end, sizeof end, "base_layer.%.10s", part);
	out->whole = take(a, module, part);
	wrapped = take(a, module, end);
	if (out->whole && wrapped)
		return err_set(err, ERR_INPUT, "%s: %s: expected \"%s\" or \"%s\", found both",
			a->path, module, part, end);
	out->whole = out->whole ? out->whole : wrapped;
	out->declared = is_declared(a, module, part);
	if (strcmp(part, "weight") == 0)
		return find_factors(a, module, kind, rows, cols, out, err);
	return 0;
}

/* ---- what is left ------------------------------------------------------------------------ */

/* Of a multimodal model's other parts. */
static bool is_of_vision(const char *name)
{
	return strstr(name, "vision_tower.") || strstr(name, "vision_model.") ||
	       strstr(name, "multi_modal_projector.");
}

int adapter_check_used(const struct adapter *a, struct err *err)
{
	size_t i;
	json_t *entry;

	for (i = 0; i < safetensors_count(a->file); i++) {
		const char *name = safetensors_at(a->file, i)->name;

		if (!a->used[i] && !is_of_vision(name))
			return err_set(err, ERR_INPUT,
				"%s: tensor \"%s\": expected one of a module of the model, lora_A, "
				"lora_B, weight or bias",
				a->path, name);
	}
	json_array_foreach(json_object_get(a->config, "modules_to_save"), i, entry)
	{
		if (!a->saved[i])
			return err_set(err, ERR_INPUT, "%s: modules_to_save: the model has no %s",
				a->config_path,
				json_is_string(entry) ? json_string_value(entry)
						      : json_kind(entry));
	}
	return 0;
}

void adapter_describe(const struct adapter *a, char *out, size_t size)
{
	char r[64], scale[64];
	size_t changed = 0, whole = 0;

	for (size_t i = 0; i < safetensors_count(a->file); i++) {
		const char *name = safetensors_at(a->file, i)->name;
		const bool second = strstr(name, ".lora_B.") || strstr(name, ".lora_embedding_B");

		changed += a->used[i] && second;
		whole += a->used[i] && !strstr(name, ".lora_");
	}
	snprintf(r, sizeof r, a->r_least == a->r_most ? "%lld" : "%lld to %lld",
		(long long)a->r_least, (long long)a->r_most);
	snprintf(scale, sizeof scale, a->scale_least == a->scale_most ? "%g" : "%g to %g",
		a->scale_least, a->scale_most);
	snprintf(out, size, "LoRA of r %s, scale %s%s: %zu matrices changed, %zu tensors replaced",
		r, scale,
		json_is_true(json_object_get(a->config, "use_rslora")) ? " (alpha / sqrt(r))"
								       : " (alpha / r)",
		changed, whole);
}

const char *adapter_config_path(const struct adapter *a)
{
	return a->config_path;
}

const char *adapter_weights_path(const struct adapter *a)
{
	return a->path;
}

bool adapter_ties(const struct adapter *a)
{
	return json_is_true(json_object_get(a->config, "ensure_weight_tying"));
}
