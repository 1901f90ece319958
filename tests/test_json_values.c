/* SPDX-License-Identifier: MIT
 *
 * test_json_values.c - every key that a reader of JSON reads, with a value of every wrong kind: it
 * is refused with the file and the key, or it is one of those that the table says are taken.
 */
#include "host/formats/json.h"
#include "host/formats/safetensors.h"
#include "host/formats/safetensors_index.h"
#include "host/model/adapter_targets.h"
#include "host/model/arch.h"
#include "host/model/sae_config.h"
#include "host/model/sae_site.h"
#include "host/text/tokenizer.h"
#include "host/text/tokenizer_side.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values, and the letters by which the table names them. */
static const struct {
	char letter;
	const char *json;
} values[] = {{'n', "null"}, {'t', "true"}, {'m', "-1"}, {'z', "0"}, {'h', "0.5"}, {'e', "1e308"},
	{'s', "\"\""}, {'x', "\"x\""}, {'a', "[]"}, {'o', "{}"}, {'b', "9223372036854775807"},
	{'l', "[null]"}, {'k', "{\"x\":null}"}};

typedef int reader(const json_t *document, struct err *err);

/* ---- readers ------------------------------------------------------------------------------- */

static int read_arch(const json_t *document, struct err *err)
{
	char *text = json_dumps(document, 0);
	struct arch arch;
	const int rc = arch_parse(&arch, "FILE", text, strlen(text), 0, err);

	free(text);
	return rc;
}

/* What all formats of SAEs ask of their config. */
static int check_site(const json_t *document, struct err *err)
{
	const struct site site = {1, SITE_RESID_POST};
	struct sae_file file = {.reads = site, .writes = site};

	return sae_site_check_config(&file, document, "FILE", err);
}

static int read_saelens(const json_t *document, struct err *err)
{
	struct saelens_config config;
	const char *hook;

	TRY(saelens_config_read(&config, document, "FILE", err));
	TRY(saelens_config_hook(&hook, document, "FILE", err));
	return check_site(document, err);
fail:
	return err->code;
}

static int read_sparsify(const json_t *document, struct err *err)
{
	struct sparsify_config config;

	TRY(sparsify_config_read(&config, document, "FILE", err));
	return check_site(document, err);
fail:
	return err->code;
}

static int read_llama_scope(const json_t *document, struct err *err)
{
	struct llama_scope_config config;

	TRY(llama_scope_config_read(&config, document, "FILE", err));
	return check_site(document, err);
fail:
	return err->code;
}

static int read_lm_saes(const json_t *document, struct err *err)
{
	struct lm_saes_config config;

	TRY(lm_saes_config_read(&config, document, "FILE", err));
	return check_site(document, err);
fail:
	return err->code;
}

static int read_adapter(const json_t *document, struct err *err)
{
	static const char module[] = "model.layers.1.self_attn.q_proj";
	bool targeted;
	int64_t r;
	double scale;

	TRY(adapter_config_check(document, "FILE", err));
	TRY(adapter_targets(document, "FILE", module, MODULE_LINEAR, &targeted, err));
	return adapter_scale(document, "FILE", module, &r, &scale, err);
fail:
	return err->code;
}

static int read_tokenizer(const json_t *document, struct err *err)
{
	char *text = json_dumps(document, 0);
	struct tokenizer *tok = NULL;
	const int rc = tokenizer_parse(&tok, "FILE", text, strlen(text), err);

	tokenizer_close(tok);
	free(text);
	return rc;
}

#define BPE "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}"

static int apply(const struct tokenizer_side *side, struct err *err)
{
	static const char file[] = "{" BPE "}";
	struct tokenizer *tok = NULL;

	err_clear(err);
	TRY(tokenizer_parse(&tok, "tokenizer.json", file, strlen(file), err));
	TRY(tokenizer_side_apply(tok, side, err));
fail:
	tokenizer_close(tok);
	return err->code;
}

static int read_side(const json_t *document, struct err *err)
{
	return apply(&(struct tokenizer_side){.config = document}, err);
}

static int read_special_map(const json_t *document, struct err *err)
{
	return apply(&(struct tokenizer_side){.special_map = document}, err);
}

static int read_added(const json_t *document, struct err *err)
{
	return apply(&(struct tokenizer_side){.added = document}, err);
}

static int read_model(const json_t *document, struct err *err)
{
	return apply(&(struct tokenizer_side){.model = document}, err);
}

static int read_index(const json_t *document, struct err *err)
{
	struct safetensors_index index;
	const int rc = safetensors_index_read(&index, json_deep_copy(document), "FILE", err);

	if (rc == 0)
		safetensors_index_free(&index);
	return rc;
}

/* With four bytes of data behind it. */
static int read_safetensors(const json_t *document, struct err *err)
{
	char *text = json_dumps(document, 0);
	const uint64_t n = strlen(text);
	char *file = calloc(1, n + 12);
	struct safetensors *st = NULL;
	int rc;

	memcpy(file, &n, 8);
	memcpy(file + 8, text, n);
	rc = safetensors_parse(&st, "FILE", file, n + 12, err);
	safetensors_close(st);
	free(file);
	free(text);
	return rc;
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* What is put in place of the value under `path`, of keys and of places in lists between points.
 * Refused are all values but those of `takes`; the message holds `says`, NULL: the last part of the
 * path. Everything is taken of keys that bear on nothing here. */
struct key {
	const char *path, *takes, *says;
};

#define SIZES \
	"\"hidden_size\":8,\"intermediate_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":2," \
	"\"num_key_value_heads\":2,\"head_dim\":4,\"vocab_size\":5,\"max_position_embeddings\":64"

static const struct key llama_keys[] = {
	{"model_type", "", NULL},
	{"vocab_size", "", NULL},
	{"hidden_size", "", NULL},
	{"intermediate_size", "", NULL},
	{"num_hidden_layers", "", NULL},
	{"num_attention_heads", "", NULL},
	{"num_key_value_heads", "n", NULL},
	{"head_dim", "n", NULL},
	{"max_position_embeddings", "n", NULL},
	{"original_max_position_embeddings", "nhb", NULL},
	{"rms_norm_eps", "nhb", NULL},
	{"tie_word_embeddings", "nt", NULL},
	{"rope_theta", "nhb", NULL},
	{"rope_scaling", "nok", NULL},
	{"rope_parameters", "nok", NULL},
	{"partial_rotary_factor", "n", NULL},
	{"quantization_config", "n", NULL},
	{"compression_config", "n", NULL},
	{"transformers_weights", "n", NULL},
	{"use_bidirectional_attention", "n", NULL},
	{"hidden_act", "n", NULL},
	{"attention_bias", "nt", NULL},
	{"mlp_bias", "n", NULL},
};

static const struct key rope_keys[] = {
	{"rope_scaling.rope_type", "", NULL},
	{"rope_scaling.type", "n", NULL},
	{"rope_scaling.factor", "hb", NULL},
	{"rope_scaling.low_freq_factor", "h", NULL},
	{"rope_scaling.high_freq_factor", "b", NULL},
	{"rope_scaling.original_max_position_embeddings", "nhb", NULL},
	{"rope_scaling.rope_theta", "nhb", NULL},
	{"rope_scaling.partial_rotary_factor", "n", NULL},
	{"rope_scaling.full_attention", "", NULL},
};

static const struct key gemma2_keys[] = {
	{"hidden_activation", "n", NULL},
	{"query_pre_attn_scalar", "nhb", NULL},
	{"attn_logit_softcapping", "nhb", NULL},
	{"final_logit_softcapping", "nhb", NULL},
	{"sliding_window", "n", NULL},
	{"layer_types", "n", NULL},
};

static const struct key gemma3_keys[] = {
	{"sliding_window_pattern", "n", NULL},
	{"rope_local_base_freq", "nhb", NULL},
	{"rope_parameters", "no", NULL},
	{"rope_scaling", "nok", NULL},
	{"layer_types", "n", NULL},
	{"sliding_window", "n", NULL},
};

static const struct key gemma3mm_keys[] = {
	{"text_config", "", "FILE"},
	{"tie_word_embeddings", "nt", NULL},
	{"quantization_config", "n", NULL},
	{"transformers_weights", "n", NULL},
	{"text_config.tie_word_embeddings", "nt", NULL},
};

static const struct key qwen2_keys[] = {
	{"use_sliding_window", "nt", NULL},
	{"max_window_layers", "nzb", NULL},
	{"sliding_window", "n", NULL},
	{"layer_types", "n", NULL},
};

static const struct key mistral_keys[] = {
	{"sliding_window", "n", NULL},
};

static const struct key saelens_keys[] = {
	{"architecture", "n", NULL},
	{"activation_fn", "n", NULL},
	{"activation_fn_str", "n", "activation_fn"},
	{"activation_fn_kwargs", "nok", NULL},
	{"k", "", NULL},
	{"reshape_activations", "n", NULL},
	{"normalize_activations", "nt", NULL},
	{"apply_b_dec_to_input", "nt", NULL},
	{"rescale_acts_by_decoder_norm", "nt", NULL},
	{"finetuning_scaling_factor", "nt", NULL},
	{"hook_name", "ns", NULL},
	{"hook_point", "ns", NULL},
	{"hook_name_out", "ns", NULL},
	{"hook_point_layer", "n", NULL},
	{"hook_layer", "n", NULL},
	{"hook_head_index", "nm", NULL},
	{"hook_point_head_index", "nm", NULL},
	{"metadata", "nok", NULL},
	{"model_name", "nsx", NULL},
};

static const struct key sparsify_keys[] = {
	{"activation", "n", NULL},
	{"transcode", "n", NULL},
	{"skip_connection", "n", NULL},
	{"signed", "n", NULL},
	{"k", "n", NULL},
	{"hookpoint", "ns", NULL},
};

static const struct key llama_scope_keys[] = {
	{"act_fn", "n", NULL},
	{"norm_activation", "n", NULL},
	{"sparsity_include_decoder_norm", "nt", NULL},
	{"use_decoder_bias", "nt", NULL},
	{"apply_decoder_bias_to_pre_encoder", "n", NULL},
	{"use_glu_encoder", "n", NULL},
	{"jump_relu_threshold", "hb", NULL},
	{"dataset_average_activation_norm", "", NULL},
	{"dataset_average_activation_norm.in", "hb", NULL},
	{"dataset_average_activation_norm.out", "hb", NULL},
	{"hook_point_in", "ns", NULL},
	{"hook_point_out", "ns", NULL},
};

static const struct key lm_saes_keys[] = {
	{"sae_type", "n", NULL},
	{"act_fn", "n", NULL},
	{"use_glu_encoder", "n", NULL},
	{"hook_point_in", "", NULL},
	{"hook_point_out", "ns", NULL},
	{"norm_activation", "n", NULL},
	{"sparsity_include_decoder_norm", "nt", NULL},
	{"apply_decoder_bias_to_pre_encoder", "nt", NULL},
};

static const struct key adapter_keys[] = {
	{"peft_type", "", NULL},
	{"r", "n", NULL},
	{"lora_alpha", "nhb", NULL},
	{"use_rslora", "nt", NULL},
	{"target_modules", "sxa", NULL},
	{"exclude_modules", "nsxa", NULL},
	{"layers_to_transform", "nmzab", NULL},
	{"layers_pattern", "nsxa", NULL},
	{"rank_pattern", "no", NULL},
	{"alpha_pattern", "no", NULL},
	{"modules_to_save", "na", NULL},
	{"bias", "n", NULL},
	{"init_lora_weights", "nt", NULL},
	{"ensure_weight_tying", "nt", NULL},
	{"base_model_name_or_path", "ntmzhesxaoblk", NULL},
	{"fan_in_fan_out", "ntmzhesxaoblk", NULL},
	{"use_dora", "nao", NULL},
};

static const struct key adapter_str_keys[] = {
	{"layers_pattern", "nsxa", NULL},
	{"layers_to_transform", "nmzab", NULL},
	{"target_modules", "sxa", NULL},
};

static const struct key tokenizer_keys[] = {
	{"model", "", NULL},
	{"model.type", "", NULL},
	{"model.vocab", "o", "FILE"},
	{"model.vocab.a", "z", NULL},
	{"model.merges", "a", "merge"},
	{"model.ignore_merges", "nt", NULL},
	{"model.byte_fallback", "nt", NULL},
	{"model.fuse_unk", "nt", NULL},
	{"model.unk_token", "nsx", NULL},
	{"model.continuing_subword_prefix", "ns", NULL},
	{"model.end_of_word_suffix", "ns", NULL},
	{"model.dropout", "nz", NULL},
	{"added_tokens", "na", "added"},
	{"normalizer", "n", NULL},
	{"pre_tokenizer", "n", NULL},
	{"decoder", "n", NULL},
	{"post_processor", "n", NULL},
	{"padding", "nok", NULL},
	{"truncation", "ntmzhesxaoblk", NULL},
	{"version", "ntmzhesxaoblk", NULL},
};

static const struct key tok_added_keys[] = {
	{"added_tokens.0", "", NULL},
	{"added_tokens.0.id", "", NULL},
	{"added_tokens.0.content", "x", NULL},
	{"added_tokens.0.special", "nt", NULL},
	{"added_tokens.0.normalized", "nt", NULL},
	{"added_tokens.0.lstrip", "nt", NULL},
	{"added_tokens.0.rstrip", "nt", NULL},
	{"added_tokens.0.single_word", "nt", NULL},
};

static const struct key tok_replace_keys[] = {
	{"normalizer.type", "", NULL},
	{"normalizer.pattern", "", NULL},
	{"normalizer.pattern.String", "x", "normalizer"},
	{"normalizer.content", "sx", NULL},
};

static const struct key tok_seq_keys[] = {
	{"normalizer.normalizers", "na", NULL},
	{"pre_tokenizer.pretokenizers", "na", NULL},
	{"decoder.decoders", "na", NULL},
	{"post_processor.processors", "na", NULL},
	{"padding.pad_token", "sx", NULL},
};

static const struct key tok_split_keys[] = {
	{"pre_tokenizer.pattern", "", NULL},
	{"pre_tokenizer.pattern.Regex", "sx", NULL},
	{"pre_tokenizer.behavior", "", NULL},
	{"pre_tokenizer.invert", "nt", NULL},
};

static const struct key tok_bytelevel_keys[] = {
	{"pre_tokenizer.use_regex", "nt", NULL},
	{"pre_tokenizer.add_prefix_space", "nt", NULL},
	{"pre_tokenizer.trim_offsets", "ntmzhesxaoblk", NULL},
};

static const struct key tok_metaspace_keys[] = {
	{"pre_tokenizer.replacement", "sx", NULL},
	{"pre_tokenizer.prepend_scheme", "n", NULL},
	{"pre_tokenizer.add_prefix_space", "nt", NULL},
	{"pre_tokenizer.split", "nt", NULL},
};

static const struct key tok_digits_keys[] = {
	{"pre_tokenizer.individual_digits", "nt", NULL},
};

static const struct key tok_template_keys[] = {
	{"post_processor.single", "na", NULL},
	{"post_processor.single.0", "ok", "single"},
	{"post_processor.single.0.SpecialToken", "", "post_processor"},
	{"post_processor.single.0.SpecialToken.id", "", NULL},
	{"post_processor.special_tokens", "", "post_processor"},
	{"post_processor.special_tokens.a", "", NULL},
	{"post_processor.special_tokens.a.ids", "", "post_processor"},
	{"post_processor.special_tokens.a.ids.0", "z", "post_processor"},
};

static const struct key tok_strip_keys[] = {
	{"decoder.decoders.1.content", "", "Strip"},
	{"decoder.decoders.1.start", "", "Strip"},
	{"decoder.decoders.1.stop", "z", "Strip"},
};

static const struct key side_keys[] = {
	{"bos_token", "nsx", NULL},
	{"eos_token", "nsx", NULL},
	{"pad_token", "nsx", NULL},
	{"my_token", "ntmzhesxaoblk", NULL},
	{"additional_special_tokens", "na", NULL},
	{"extra_special_tokens", "nao", ".json"},
	{"added_tokens_decoder", "o", NULL},
	{"add_bos_token", "nt", NULL},
	{"tokenizer_class", "nsx", NULL},
	{"split_special_tokens", "n", NULL},
	{"fix_mistral_regex", "n", NULL},
	{"chat_template", "ntmzhesxaoblk", NULL},
};

static const struct key side_token_keys[] = {
	{"bos_token.content", "sx", NULL},
	{"bos_token.special", "nt", NULL},
	{"bos_token.lstrip", "nt", NULL},
	{"bos_token.rstrip", "nt", NULL},
	{"bos_token.single_word", "nt", NULL},
	{"bos_token.normalized", "nt", NULL},
	{"added_tokens_decoder.2", "sx", "added_tokens_decoder"},
	{"added_tokens_decoder.2.content", "sx", NULL},
	{"added_tokens_decoder.-1", "", NULL},
	{"added_tokens_decoder.x", "", NULL},
};

static const struct key map_keys[] = {
	{"bos_token", "nsx", NULL},
	{"additional_special_tokens", "na", NULL},
	{"extra_special_tokens", "nao", ".json"},
};

static const struct key added_keys[] = {
	{"c", "", NULL},
};

static const struct key model_keys[] = {
	{"model_type", "nsx", NULL},
	{"tokenizer_class", "nsx", NULL},
};

static const struct key index_keys[] = {
	{"weight_map", "o", "FILE"},
	{"weight_map.a", "x", NULL},
	{"metadata", "ntmzhesxaoblk", NULL},
};

static const struct key safetensors_keys[] = {
	{"a", "", NULL},
	{"a.dtype", "", NULL},
	{"a.shape", "a", "shape"},
	{"a.shape.0", "", "tensor \"a\""},
	{"a.data_offsets", "", NULL},
	{"a.data_offsets.0", "z", "tensor \"a\""},
	{"a.data_offsets.1", "", "tensor \"a\""},
	{"__metadata__", "o", NULL},
};

static const struct document {
	const char *name;
	reader *read;
	const char *text; /* is taken as it is */
	const struct key *keys;
	size_t n_keys;
} documents[] = {
	{"llama", read_arch, "{\"model_type\":\"llama\"," SIZES "}", llama_keys,
		sizeof llama_keys / sizeof *llama_keys},
	{"rope", read_arch,
		"{\"model_type\":\"llama\"," SIZES ","
		"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2.0,"
		"\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
		"\"original_max_position_embeddings\":32}}",
		rope_keys, sizeof rope_keys / sizeof *rope_keys},
	{"gemma2", read_arch, "{\"model_type\":\"gemma2\"," SIZES "}", gemma2_keys,
		sizeof gemma2_keys / sizeof *gemma2_keys},
	{"gemma3", read_arch, "{\"model_type\":\"gemma3_text\"," SIZES "}", gemma3_keys,
		sizeof gemma3_keys / sizeof *gemma3_keys},
	{"gemma3mm", read_arch, "{\"model_type\":\"gemma3\",\"text_config\":{" SIZES "}}",
		gemma3mm_keys, sizeof gemma3mm_keys / sizeof *gemma3mm_keys},
	{"qwen2", read_arch, "{\"model_type\":\"qwen2\"," SIZES ",\"use_sliding_window\":true}",
		qwen2_keys, sizeof qwen2_keys / sizeof *qwen2_keys},
	{"mistral", read_arch, "{\"model_type\":\"mistral\"," SIZES "}", mistral_keys,
		sizeof mistral_keys / sizeof *mistral_keys},
	{"saelens", read_saelens,
		"{\"architecture\":\"topk\",\"activation_fn\":\"topk\",\"k\":3,"
		"\"hook_name\":\"blocks.1.hook_resid_post\"}",
		saelens_keys, sizeof saelens_keys / sizeof *saelens_keys},
	{"sparsify", read_sparsify, "{\"k\":3}", sparsify_keys,
		sizeof sparsify_keys / sizeof *sparsify_keys},
	{"llama_scope", read_llama_scope,
		"{\"jump_relu_threshold\":1.0,\"dataset_average_activation_norm\":{\"in\":1.0,"
		"\"out\":1.0}}",
		llama_scope_keys, sizeof llama_scope_keys / sizeof *llama_scope_keys},
	{"lm_saes", read_lm_saes, "{\"hook_point_in\":\"blocks.1.hook_resid_post\"}", lm_saes_keys,
		sizeof lm_saes_keys / sizeof *lm_saes_keys},
	{"adapter", read_adapter, "{\"peft_type\":\"LORA\",\"target_modules\":[\"q_proj\"]}",
		adapter_keys, sizeof adapter_keys / sizeof *adapter_keys},
	{"adapter str", read_adapter,
		"{\"peft_type\":\"LORA\",\"target_modules\":\".*q_proj\","
		"\"layers_to_transform\":[1]}",
		adapter_str_keys, sizeof adapter_str_keys / sizeof *adapter_str_keys},
	{"tokenizer", read_tokenizer, "{" BPE "}", tokenizer_keys,
		sizeof tokenizer_keys / sizeof *tokenizer_keys},
	{"tok added", read_tokenizer, "{" BPE ",\"added_tokens\":[{\"id\":2,\"content\":\"c\"}]}",
		tok_added_keys, sizeof tok_added_keys / sizeof *tok_added_keys},
	{"tok replace", read_tokenizer,
		"{" BPE ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
		"\"content\":\"b\"}}",
		tok_replace_keys, sizeof tok_replace_keys / sizeof *tok_replace_keys},
	{"tok seq", read_tokenizer,
		"{" BPE ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]},"
		"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[]},"
		"\"decoder\":{\"type\":\"Sequence\",\"decoders\":[]},"
		"\"post_processor\":{\"type\":\"Sequence\",\"processors\":[]},"
		"\"padding\":{\"pad_token\":\"a\"}}",
		tok_seq_keys, sizeof tok_seq_keys / sizeof *tok_seq_keys},
	{"tok split", read_tokenizer,
		"{" BPE ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
		"\"behavior\":\"Isolated\",\"invert\":false}}",
		tok_split_keys, sizeof tok_split_keys / sizeof *tok_split_keys},
	{"tok bytelevel", read_tokenizer, "{" BPE ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
		tok_bytelevel_keys, sizeof tok_bytelevel_keys / sizeof *tok_bytelevel_keys},
	{"tok metaspace", read_tokenizer,
		"{" BPE ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"}}",
		tok_metaspace_keys, sizeof tok_metaspace_keys / sizeof *tok_metaspace_keys},
	{"tok digits", read_tokenizer, "{" BPE ",\"pre_tokenizer\":{\"type\":\"Digits\"}}",
		tok_digits_keys, sizeof tok_digits_keys / sizeof *tok_digits_keys},
	{"tok template", read_tokenizer,
		"{" BPE ",\"post_processor\":{\"type\":\"TemplateProcessing\","
		"\"single\":[{\"SpecialToken\":{\"id\":\"a\"}}],"
		"\"special_tokens\":{\"a\":{\"ids\":[0]}}}}",
		tok_template_keys, sizeof tok_template_keys / sizeof *tok_template_keys},
	{"tok strip", read_tokenizer,
		"{" BPE ",\"decoder\":{\"type\":\"Sequence\","
		"\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \","
		"\"start\":1,\"stop\":0}]}}",
		tok_strip_keys, sizeof tok_strip_keys / sizeof *tok_strip_keys},
	{"side", read_side, "{}", side_keys, sizeof side_keys / sizeof *side_keys},
	{"side token", read_side,
		"{\"bos_token\":{\"content\":\"a\"},"
		"\"added_tokens_decoder\":{\"2\":{\"content\":\"c\"}}}",
		side_token_keys, sizeof side_token_keys / sizeof *side_token_keys},
	{"map", read_special_map, "{}", map_keys, sizeof map_keys / sizeof *map_keys},
	{"added", read_added, "{}", added_keys, sizeof added_keys / sizeof *added_keys},
	{"model", read_model, "{}", model_keys, sizeof model_keys / sizeof *model_keys},
	{"index", read_index, "{\"weight_map\":{\"a\":\"b\"}}", index_keys,
		sizeof index_keys / sizeof *index_keys},
	{"safetensors", read_safetensors,
		"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
		safetensors_keys, sizeof safetensors_keys / sizeof *safetensors_keys},
};

/* ---- each key with each value -------------------------------------------------------------- */

static void put(json_t *in, const char *path, json_t *value)
{
	const size_t n = strcspn(path, ".");
	char part[64];
	json_t *inner;

	snprintf(part, sizeof part, "%.*s", (int)n, path);
	inner = json_is_array(in) ? json_array_get(in, strtoul(part, NULL, 10))
				  : json_object_get(in, part);
	if (path[n])
		put(inner, path + n + 1, value);
	else if (json_is_array(in))
		json_array_set(in, strtoul(part, NULL, 10), value);
	else
		json_object_set(in, part, value);
}

static const char *last_part(const char *path)
{
	const char *point = strrchr(path, '.');

	return point ? point + 1 : path;
}

static void try_value(const struct document *d, const struct key *key, size_t v)
{
	json_t *document = json_loads(d->text, 0, NULL);
	json_t *value = json_loads(values[v].json, JSON_DECODE_ANY, NULL);
	const char *says = key->says ? key->says : last_part(key->path);
	const bool taken = strchr(key->takes, values[v].letter) != NULL;
	struct err err = {0};
	int rc;

	put(document, key->path, value);
	rc = d->read(document, &err);
	CHECK(taken == (rc == 0), "%s: %s = %s: %s", d->name, key->path, values[v].json,
		rc ? err.text : "was taken");
	CHECK(rc == 0 || rc == ERR_INPUT, "%s: %s = %s: %d", d->name, key->path, values[v].json,
		rc);
	CHECK(rc == 0 || ((strstr(err.text, "FILE") || strstr(err.text, ".json")) &&
				 strstr(err.text, says)),
		"%s: %s = %s is refused without file or \"%s\": %s", d->name, key->path,
		values[v].json, says, err.text);
	json_decref(value);
	json_decref(document);
}

TEST(a_value_of_a_wrong_kind_is_refused_by_file_and_key)
{
	for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
		const struct document *d = &documents[i];
		json_t *document = json_loads(d->text, 0, NULL);
		struct err err = {0};

		REQUIRE(document, "%s is no JSON", d->name);
		CHECK(d->read(document, &err) == 0, "%s: %s", d->name, err.text);
		json_decref(document);
		for (size_t k = 0; k < d->n_keys; k++)
			for (size_t v = 0; v < sizeof values / sizeof *values; v++)
				try_value(d, &d->keys[k], v);
	}
}
