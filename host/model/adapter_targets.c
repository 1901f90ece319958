/* SPDX-License-Identifier: MIT
 *
 * adapter_targets.c - Contract: adapter_targets.h. Source: peft's LoraConfig, and how its
 * tuners_utils.py and lora/layer.py read it.
 */
#include "host/model/adapter_targets.h"

#include "host/formats/json.h"
#include "host/model/module_pattern.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is refused -------------------------------------------------------------------- */

/* Keys that are read here, or that bear on training alone. */
static const char *const known[] = {"peft_type", "r", "lora_alpha", "use_rslora", "target_modules",
	"exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
	"modules_to_save", "bias", "init_lora_weights", "ensure_weight_tying",
	"base_model_name_or_path", "task_type", "auto_mapping", "revision", "inference_mode",
	"lora_dropout", "peft_version", "megatron_core", "megatron_config", "qalora_group_size",
	"loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config",
	"fan_in_fan_out" /* of Conv1D; peft passes it over for the linear modules here */,
	/* Adds nothing to a forward pass: it stores activations of training in less room. */
	"velora_config"};

static bool is_known(const char *key)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i], key) == 0)
			return true;
	return false;
}

static bool is_off(const json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
	       (json_is_array(value) && json_array_size(value) == 0) ||
	       (json_is_object(value) && json_object_size(value) == 0);
}

/* The ones that leave the base as it is; others (pissa, olora, corda, loftq, lora_ga, ...) take out
 * of it what the adapter begins with. */
static int check_start(const json_t *config, const char *path, struct err *err)
{
	static const char *const harmless[] = {"gaussian", "eva", "orthogonal"};
	const json_t *value = json_object_get(config, "init_lora_weights");
	const char *name = json_string_value(value);

	if (!value || json_is_boolean(value) || json_is_null(value))
		return 0;
	for (size_t i = 0; name && i < sizeof harmless / sizeof *harmless; i++)
		if (strcmp(name, harmless[i]) == 0)
			return 0;
	return err_set(err, ERR_INPUT,
		"%s: init_lora_weights: expected true, false, gaussian, eva or orthogonal, found %s: "
		"it changes the base as well; peft converts such an adapter when it is saved with "
		"path_initial_model_for_weight_conversion",
		path, name ? name : json_kind(value));
}

static bool all_are(const json_t *list, int type)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)list, i,
		item) if ((int)json_typeof(item) != type) return false;
	return true;
}

/* What may stand under a key, and how much of it. Each is gone through for every module of the
 * model, and published adapters name each module once, some 900; a pattern costs more than a name.
 */
static const struct part {
	const char *key, *expected;
	int one;     /* the type of JSON that may stand alone; -1 = none */
	int in_list; /* the type of the elements of a list; -1 = no list */
	size_t most;
} parts[] = {
	{"target_modules", "a list of names or a pattern", JSON_STRING, JSON_STRING, 4096},
	{"exclude_modules", "a list of names or a pattern", JSON_STRING, JSON_STRING, 4096},
	{"layers_to_transform", "an integer or a list of integers", JSON_INTEGER, JSON_INTEGER,
		4096},
	{"layers_pattern", "a name or a list of names", JSON_STRING, JSON_STRING, 4096},
	{"modules_to_save", "a list of names", -1, JSON_STRING, 4096},
	{"rank_pattern", "an object", JSON_OBJECT, -1, 1024},
	{"alpha_pattern", "an object", JSON_OBJECT, -1, 1024},
};

static int check_part(const json_t *config, const char *path, const struct part *p, struct err *err)
{
	const json_t *value = json_object_get(config, p->key);
	const bool list = json_is_array(value);
	const size_t n = list ? json_array_size(value) : json_object_size(value);

	if (!value || json_is_null(value))
		return 0;
	if (n > p->most)
		return err_set(err, ERR_INPUT, "%s: %s: expected at most %zu, found %zu", path,
			p->key, p->most, n);
	if (list ? p->in_list < 0 || !all_are(value, p->in_list)
		 : (int)json_typeof(value) != p->one)
		return err_set(err, ERR_INPUT, "%s: %s: expected %s, found %s", path, p->key,
			p->expected, list ? "a list of others" : json_kind(value));
	return 0;
}

static int check_parts(const json_t *config, const char *path, struct err *err)
{
	bool tied = false;

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		TRY(check_part(config, path, &parts[i], err));
	return json_get_bool(config, path, "ensure_weight_tying", &tied, err);
fail:
	return err->code;
}

int adapter_config_check(const json_t *config, const char *path, struct err *err)
{
	const char *type = "nothing", *bias = "none", *key;
	const json_t *targets = json_object_get(config, "target_modules");
	json_t *value;

	if (!json_is_object(config))
		return err_set(err, ERR_INPUT, "%s: expected an object, found %s", path,
			json_kind(config));
	TRY(json_get_text(config, path, "peft_type", &type, err));
	if (strcmp(type, "LORA") != 0)
		return err_set(err, ERR_INPUT, "%s: peft_type: expected LORA, found %s", path,
			type);
	json_object_foreach((json_t *)config, key, value)
	{
		if (!is_known(key) && !is_off(value))
			return err_set(err, ERR_INPUT,
				"%s: %s: not done here; expected null or false, found %s", path,
				key,
				json_is_string(value) ? json_string_value(value)
						      : json_kind(value));
	}
	TRY(json_get_text(config, path, "bias", &bias, err));
	if (strcmp(bias, "none") != 0 && strcmp(bias, "all") != 0 && strcmp(bias, "lora_only") != 0)
		return err_set(err, ERR_INPUT,
			"%s: bias: expected none, all or lora_only, found %s", path, bias);
	if (!targets || json_is_null(targets))
		return err_set(err, ERR_INPUT,
			"%s: target_modules: expected a list of names or a pattern, found %s", path,
			json_kind(targets));
	TRY(check_parts(config, path, err));
	return check_start(config, path, err);
fail:
	return err->code;
}

/* ---- which modules ---------------------------------------------------------------------- */

/* Whether a module's name is in a list, whole or as an end, or fits a pattern. */
static int listed(const json_t *list, const char *path, const char *key, const char *name,
	bool *found, struct err *err)
{
	size_t i;
	json_t *item;

	*found = false;
	if (json_is_string(list))
		return module_fits(json_string_value(list), name, found, err)
			       ? err_prefix(err, "%s: %s", path, key)
			       : 0;
	json_array_foreach((json_t *)list, i, item)
	{
		if (!json_is_string(item))
			return err_set(err, ERR_INPUT, "%s: %s: expected names, found %s", path,
				key, json_kind(item));
		*found = *found || module_ends_with(name, json_string_value(item));
	}
	return 0;
}

/* An adapter is not put on what is saved whole: "^(.*\.)?m(\..*)?$". */
static bool is_saved(const json_t *saved, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)saved, i, item)
	{
		const char *m = json_string_value(item), *p = name;
		const size_t n = m ? strlen(m) : 0;

		while (n > 0 && (p = strstr(p, m)) != NULL) {
			if ((p == name || p[-1] == '.') && (p[n] == '\0' || p[n] == '.'))
				return true;
			p++;
		}
	}
	return false;
}

/* layers_to_transform: a number or a list of them; of lists of names alone. */
static int in_layers(const json_t *config, const char *path, const char *name, bool *in,
	struct err *err)
{
	const json_t *layers = json_object_get(config, "layers_to_transform");
	const json_t *pattern = json_object_get(config, "layers_pattern");
	const json_t *word = json_is_array(pattern) ? json_array_get(pattern, 0) : pattern;
	const char *layer = strstr(name, "layers.");
	size_t i;
	json_t *item;

	*in = true;
	if (!layers || json_is_null(layers) || (json_is_array(layers) && is_off(layers)))
		return 0;
	if (json_array_size(pattern) > 1 || (json_is_string(word) && *json_string_value(word) &&
						    strcmp(json_string_value(word), "layers") != 0))
		return err_set(err, ERR_INPUT, "%s: layers_pattern: expected layers, found another",
			path);
	*in = false;
	if (!layer)
		return 0;
	if (json_is_integer(layers)) {
		*in = strtoll(layer + 7, NULL, 10) == json_integer_value(layers);
		return 0;
	}
	json_array_foreach((json_t *)layers, i, item)
	{
		if (!json_is_integer(item))
			return err_set(err, ERR_INPUT,
				"%s: layers_to_transform: expected integers, found %s", path,
				json_kind(item));
		*in = *in || strtoll(layer + 7, NULL, 10) == json_integer_value(item);
	}
	if (!json_is_array(layers))
		return err_set(err, ERR_INPUT,
			"%s: layers_to_transform: expected integers, found %s", path,
			json_kind(layers));
	return 0;
}

int adapter_targets(const json_t *config, const char *path, const char *name, enum module_kind kind,
	bool *targeted, struct err *err)
{
	const json_t *targets = json_object_get(config, "target_modules");
	bool excluded, in;

	*targeted = false;
	TRY(listed(json_object_get(config, "exclude_modules"), path, "exclude_modules", name,
		&excluded, err));
	if (excluded || is_saved(json_object_get(config, "modules_to_save"), name))
		return 0;
	if (json_is_string(targets) && strcmp(json_string_value(targets), "all-linear") == 0) {
		*targeted = kind == MODULE_LINEAR;
		return 0;
	}
	TRY(listed(targets, path, "target_modules", name, targeted, err));
	if (!*targeted || json_is_string(targets))
		return 0;
	TRY(in_layers(config, path, name, &in, err));
	*targeted = in;
	return 0;
fail:
	return err->code;
}

bool adapter_saves(const char *entry, const char *name)
{
	const size_t n = strlen(entry);

	for (const char *end = name + strlen(name); n > 0 && end > name; end--)
		if ((*end == '\0' || *end == '.') && (size_t)(end - name) >= n &&
			strncmp(end - n, entry, n) == 0)
			return true;
	return false;
}

/* ---- by how much ------------------------------------------------------------------------ */

/* The number of the first pattern that a module's name fits. */
static int patterned(const json_t *config, const char *path, const char *key, const char *name,
	double *out, struct err *err)
{
	json_t *patterns = json_object_get(config, key), *value;
	const char *pattern;
	bool fits;

	json_object_foreach(patterns, pattern, value)
	{
		if (!json_is_number(value))
			return err_set(err, ERR_INPUT, "%s: %s: %s: expected a number, found %s",
				path, key, pattern, json_kind(value));
		if (module_end_fits(pattern, name, &fits, err))
			return err_prefix(err, "%s: %s", path, key);
		if (fits) {
			*out = json_number_value(value);
			return 0;
		}
	}
	return 0;
}

int adapter_scale(const json_t *config, const char *path, const char *name, int64_t *r,
	double *scale, struct err *err)
{
	double rank = 8, alpha = 8;
	bool by_root = false;

	TRY(json_get_double(config, path, "r", &rank, err));
	TRY(json_get_double(config, path, "lora_alpha", &alpha, err));
	TRY(json_get_bool(config, path, "use_rslora", &by_root, err));
	TRY(patterned(config, path, "rank_pattern", name, &rank, err));
	TRY(patterned(config, path, "alpha_pattern", name, &alpha, err));
	if (!(rank >= 1) || rank > 1 << 20 || rank != floor(rank) || !(alpha > 0) ||
		alpha > FLT_MAX)
		return err_set(err, ERR_INPUT,
			"%s: expected r to be a positive integer and lora_alpha a positive number, found "
			"%g and %g for %s",
			path, rank, alpha, name);
	*r = (int64_t)rank;
	*scale = alpha / (by_root ? sqrt(rank) : rank);
	return 0;
fail:
	return err->code;
}
