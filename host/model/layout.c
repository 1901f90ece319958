/* SPDX-License-Identifier: MIT
 *
 * layout.c - Contract: layout.h.
 */
#include "host/model/layout.h"

#include "host/formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t layer_bindings(const struct arch *a, struct binding out[MAX_BINDINGS])
{
	const size_t d = a->d_model, q = a->n_head * a->head_dim, kv = a->n_kv_head * a->head_dim;
	size_t n = 0;

#define BIND(name, field, part, rows, cols) \
	out[n++] = (struct binding){name, offsetof(struct layer_weights, field), part, rows, cols}
	BIND("input_layernorm.weight", attention_norm, VECTOR, 1, d);
	BIND("self_attn.q_proj.weight", q, MATRIX, q, d);
	BIND("self_attn.k_proj.weight", k, MATRIX, kv, d);
	BIND("self_attn.v_proj.weight", v, MATRIX, kv, d);
	BIND("self_attn.o_proj.weight", o, MATRIX, d, q);
	BIND("mlp.gate_proj.weight", gate, MATRIX, a->d_ff, d);
	BIND("mlp.up_proj.weight", up, MATRIX, a->d_ff, d);
	BIND("mlp.down_proj.weight", down, MATRIX, d, a->d_ff);
	if (a->post_norms) {
		BIND("post_attention_layernorm.weight", post_attention_norm, VECTOR, 1, d);
		BIND("pre_feedforward_layernorm.weight", mlp_norm, VECTOR, 1, d);
		BIND("post_feedforward_layernorm.weight", post_mlp_norm, VECTOR, 1, d);
	} else {
		BIND("post_attention_layernorm.weight", mlp_norm, VECTOR, 1, d);
	}
	if (a->qk_norm) {
		BIND("self_attn.q_norm.weight", q_norm, VECTOR, 1, a->head_dim);
		BIND("self_attn.k_norm.weight", k_norm, VECTOR, 1, a->head_dim);
	}
	if (a->qkv_bias) {
		BIND("self_attn.q_proj.bias", q_bias, VECTOR, 1, q);
		BIND("self_attn.k_proj.bias", k_bias, VECTOR, 1, kv);
		BIND("self_attn.v_proj.bias", v_bias, VECTOR, 1, kv);
	}
	if (a->o_bias)
		BIND("self_attn.o_proj.bias", o_bias, VECTOR, 1, d);
#undef BIND
	return n;
}

static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model.",
	""};

const char *layout_prefix(const struct arch *a, const struct tensor_source *source)
{
	char name[128];

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
		if (source->find(source->context, name, a->n_vocab, a->d_model))
			return prefixes[i];
	}
	return prefixes[0]; /* for the message that the tensor is missing */
}

const char *layout_head(const struct arch *a, const struct tensor_source *source)
{
	static const char inner[] = "language_model.lm_head.weight";

	return source->find(source->context, inner, a->n_vocab, a->d_model) ? inner
									    : "lm_head.weight";
}

/* ---- what is not the model's ------------------------------------------------------------ */

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* Whether the model has a tensor of that name; *layer is its layer's number, SIZE_MAX outside. */
static bool is_of_model(const struct arch *arch, const char *prefix, const char *name,
	size_t *layer)
{
	struct binding bindings[MAX_BINDINGS];
	const size_t n = layer_bindings(arch, bindings);
	const char *inner = name + strlen(prefix);
	char *end;

	*layer = SIZE_MAX;
	if (strcmp(name, "lm_head.weight") == 0 ||
		strcmp(name, "language_model.lm_head.weight") == 0)
		return true;
	if (!begins_with(name, prefix))
		return false;
	if (strcmp(inner, "embed_tokens.weight") == 0 || strcmp(inner, "norm.weight") == 0)
		return true;
	if (!begins_with(inner, "layers.") || inner[7] < '0' || inner[7] > '9')
		return false;
	*layer = strtoull(inner + 7, &end, 10);
	for (size_t i = 0; i < n && *end == '.'; i++)
		if (strcmp(bindings[i].name, end + 1) == 0)
			return *layer < arch->n_layer;
	return false;
}

/* Files have shapes of their own. */
static const struct file_tensor *find_in_files(void *files, const char *name, size_t rows,
	size_t cols)
{
	(void)rows;
	(void)cols;
	return safetensors_folder_find(files, name);
}

struct tensor_source layout_files(const struct safetensors_folder *files)
{
	return (struct tensor_source){find_in_files, (void *)files};
}

int layout_unused(const struct arch *arch, const struct safetensors_folder *files, char *out,
	size_t size, struct err *err)
{
	const struct tensor_source source = layout_files(files);
	const char *prefix = layout_prefix(arch, &source);
	const struct file_tensor *t;
	char names[160] = "";
	size_t n = 0, length = 0, layer;

	out[0] = '\0';
	for (size_t i = 0; (t = safetensors_folder_at(files, i)) != NULL; i++) {
		if (is_of_model(arch, prefix, t->name, &layer))
			continue;
		if (layer != SIZE_MAX && layer >= arch->n_layer)
			return err_set(err, ERR_INPUT,
				"tensor \"%s\": layer %zu of a model that has %zu by config.json "
				"(num_hidden_layers); expected one number of layers",
				t->name, layer, arch->n_layer);
		if (++n <= 3)
			length += (size_t)snprintf(names + length, sizeof names - length, "%s%.48s",
				n > 1 ? ", " : "", t->name);
	}
	if (n > 0)
		snprintf(out, size, "%zu: %s%s", n, names, n > 3 ? ", ..." : "");
	return 0;
}
