/* SPDX-License-Identifier: MIT
 *
 * arch_keys.c - Contract: arch_keys.h. Sources: transformers' configuration_*.py and modeling_*.py
 * of the families.
 */
#include "host/model/arch_keys.h"

#include <stdio.h>
#include <string.h>

/* A key and the families that read it, each between spaces; NULL = all. */
static const struct {
	const char *key, *families;
} read_keys[] = {
	{"model_type", NULL},
	{"text_config", NULL},
	{"vocab_size", NULL},
	{"hidden_size", NULL},
	{"intermediate_size", NULL},
	{"num_hidden_layers", NULL},
	{"num_attention_heads", NULL},
	{"num_key_value_heads", NULL},
	{"head_dim", NULL},
	{"max_position_embeddings", NULL},
	{"original_max_position_embeddings", NULL},
	{"rms_norm_eps", NULL},
	{"tie_word_embeddings", NULL},
	{"rope_theta", NULL},
	{"rope_scaling", NULL},
	{"rope_parameters", NULL},
	{"partial_rotary_factor", NULL},
	{"quantization_config", NULL},
	{"compression_config", NULL},
	{"transformers_weights", NULL},
	{"use_bidirectional_attention", NULL},
	{"hidden_act", " llama mistral qwen2 qwen3 "},
	{"hidden_activation", " gemma2 gemma3_text "},
	{"attention_bias", " llama qwen3 gemma2 gemma3_text "},
	{"mlp_bias", " llama "},
	{"query_pre_attn_scalar", " gemma2 gemma3_text "},
	{"attn_logit_softcapping", " gemma2 "},
	{"final_logit_softcapping", " gemma2 gemma3_text "},
	{"sliding_window", " gemma2 gemma3_text mistral qwen2 qwen3 "},
	{"sliding_window_pattern", " gemma3_text "},
	{"layer_types", " gemma2 gemma3_text qwen2 qwen3 "},
	{"use_sliding_window", " qwen2 qwen3 "},
	{"max_window_layers", " qwen2 qwen3 "},
	{"rope_local_base_freq", " gemma3_text "},
};

/* What training, tokens, other programs or the file's own history need. */
static const char *const harmless[] = {"architectures", "attention_dropout", "initializer_range",
	"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype",
	"transformers_version", "use_cache", "cache_implementation", "pretraining_tp",
	"_name_or_path", "_attn_implementation", "_attn_implementation_autoset",
	"_sliding_window_pattern", "unsloth_version", "unsloth_fixed", "model_name",
	"tokenizer_class", "id2label", "label2id", "task_specific_params", "return_dict",
	"chunk_size_feed_forward", "output_attentions", "output_hidden_states", "problem_type"};

bool arch_key_is_read(const char *key, const char *model_type)
{
	char word[64];

	snprintf(word, sizeof word, " %s ", model_type);
	for (size_t i = 0; i < sizeof read_keys / sizeof *read_keys; i++)
		if (strcmp(read_keys[i].key, key) == 0)
			return !read_keys[i].families || strstr(read_keys[i].families, word);
	return false;
}

static bool is_harmless(const char *key)
{
	for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
		if (strcmp(harmless[i], key) == 0)
			return true;
	return false;
}

/* Values by which files say that something is not there. */
static bool is_off(const json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
	       ((json_is_array(value) || json_is_object(value)) && json_array_size(value) == 0 &&
		       json_object_size(value) == 0);
}

/* Published Gemmas name their activation twice; hidden_activation is the one that counts. */
static bool repeats_another(const json_t *config, const char *key, const json_t *value)
{
	return strcmp(key, "hidden_act") == 0 &&
	       json_equal(value, json_object_get(config, "hidden_activation"));
}

void arch_keys_unread(const json_t *config, const char *model_type, char *out, size_t size)
{
	const char *key;
	json_t *value;
	size_t n = 0;

	out[0] = '\0';
	json_object_foreach((json_t *)config, key, value)
	{
		if (is_off(value) || is_harmless(key) || arch_key_is_read(key, model_type) ||
			repeats_another(config, key, value))
			continue;
		n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", key);
		if (n >= size - 1)
			return;
	}
}
