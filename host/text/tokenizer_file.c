/* SPDX-License-Identifier: MIT
 *
 * tokenizer_file.c - reads tokenizer.json into the parts of a tokenizer. Contract: tokenizer.h
 * (tokenizer_parse). What the file asks for is either done exactly or refused by name.
 * Format: github.com/huggingface/tokenizers. Tests: tests/test_tokenizer.c.
 */
#include "host/formats/json.h"
#include "host/text/byte_spelling.h"
#include "host/text/tokenizer_parts.h"

#include <stdio.h>

/* The file being read, for messages. */
struct reader {
	const char *name;
	struct tokenizer *tok;
	int64_t max_id; /* far beyond the number of tokens: an id there is a mistake */
	struct err *err;
};

static int refuse(struct reader r, const char *part, const char *what, const char *found)
{
	return err_set(r.err, ERR_INPUT, "%s: %s: %s \"%s\" is not supported", r.name, part, what,
		found ? found : "");
}

static const char *type_of(const json_t *object)
{
	const char *type = json_string_value(json_object_get(object, "type"));

	return type ? type : "";
}

/* NULL when it is no string or holds a zero byte. */
static const char *plain_text(const json_t *value)
{
	const char *s = json_string_value(value);

	return s && strlen(s) == json_string_length(value) ? s : NULL;
}

static int copy_text(struct reader r, const json_t *value, const char *part, char **out)
{
	if (!json_is_string(value))
		return err_set(r.err, ERR_INPUT, "%s: %s: expected a string, found %s", r.name,
			part, json_kind(value));
	if (!plain_text(value))
		return err_set(r.err, ERR_INPUT, "%s: %s: a string holds a zero byte", r.name,
			part);
	*out = strdup(json_string_value(value));
	return *out ? 0 : err_nomem(r.err, r.name, json_string_length(value));
}

/* A list of steps. */
static int find_steps(struct reader r, const json_t *sequence, const char *key, const json_t **out)
{
	if (json_get_list(sequence, r.name, key, out, r.err))
		return r.err->code;
	for (size_t i = 0; i < json_array_size(*out); i++)
		if (!json_is_object(json_array_get(*out, i)))
			return err_set(r.err, ERR_INPUT, "%s: %s: expected objects, found %s",
				r.name, key, json_kind(json_array_get(*out, i)));
	return 0;
}

/* A text that a step puts in or takes out: published ones have a few bytes, and each is put in
 * place of many others. */
static int copy_step_text(struct reader r, const json_t *value, const char *part, char **out)
{
	enum { MOST = 256 };

	if (json_string_length(value) > MOST)
		return err_set(r.err, ERR_INPUT, "%s: %s: expected at most %d bytes, found %zu",
			r.name, part, MOST, json_string_length(value));
	return copy_text(r, value, part, out);
}

/* ---- normalizer ------------------------------------------------------------------------ */

static int read_normalizer(struct reader r, const json_t *n)
{
	struct normalizer *step = &r.tok->normalizers[r.tok->n_normalizers];
	const json_t *pattern = json_object_get(n, "pattern");

	if (!n || json_is_null(n))
		return 0;
	if (strcmp(type_of(n), "Sequence") == 0) {
		const json_t *list;

		TRY(find_steps(r, n, "normalizers", &list));
		for (size_t i = 0; i < json_array_size(list); i++)
			TRY(read_normalizer(r, json_array_get(list, i)));
		return 0;
	}
	if (r.tok->n_normalizers == MAX_STEPS)
		return refuse(r, "normalizer", "more than 8 steps, among them", type_of(n));
	r.tok->n_normalizers++;
	if (strcmp(type_of(n), "Replace") == 0) {
		step->kind = NORMALIZER_REPLACE;
		TRY(copy_step_text(r, json_object_get(pattern, "String"), "normalizer pattern",
			&step->from));
		TRY(copy_step_text(r, json_object_get(n, "content"), "normalizer content",
			&step->to));
		if (!step->from[0])
			return refuse(r, "normalizer", "an empty pattern in", "Replace");
		return 0;
	}
	if (strcmp(type_of(n), "NFC") == 0) {
		step->kind = NORMALIZER_NFC;
		return 0;
	}
	if (strcmp(type_of(n), "Prepend") == 0) {
		step->kind = NORMALIZER_PREPEND;
		return copy_step_text(r, json_object_get(n, "prepend"), "normalizer", &step->to);
	}
	return refuse(r, "normalizer", "type", type_of(n));
fail:
	return r.err->code;
}

/* ---- pre-tokenizer --------------------------------------------------------------------- */

static int add_split(struct reader r, const char *pattern, bool regex, enum split_behavior behavior,
	bool invert)
{
	if (r.tok->n_splits == MAX_STEPS)
		return refuse(r, "pre_tokenizer", "more than 8 steps, among them", pattern);
	if (split_compile(&r.tok->splits[r.tok->n_splits], pattern, regex, behavior, invert, r.err))
		return err_prefix(r.err, "%s: pre_tokenizer", r.name);
	r.tok->n_splits++;
	return 0;
}

static int read_split(struct reader r, const json_t *p)
{
	static const struct {
		const char *name;
		enum split_behavior behavior;
	} behaviors[] = {{"Isolated", SPLIT_ISOLATED}, {"Contiguous", SPLIT_CONTIGUOUS},
		{"Removed", SPLIT_REMOVED}, {"MergedWithPrevious", SPLIT_MERGED_WITH_PREVIOUS},
		{"MergedWithNext", SPLIT_MERGED_WITH_NEXT}};
	const json_t *pattern = json_object_get(p, "pattern");
	const char *regex = plain_text(json_object_get(pattern, "Regex"));
	const char *literal = plain_text(json_object_get(pattern, "String"));
	const char *behavior = json_string_value(json_object_get(p, "behavior"));
	bool invert = false;

	if (json_get_bool(p, r.name, "invert", &invert, r.err))
		return r.err->code;
	if (!regex && (!literal || !literal[0]))
		return refuse(r, "pre_tokenizer", "a pattern other than Regex or String in",
			"Split");
	for (size_t i = 0; behavior && i < sizeof behaviors / sizeof *behaviors; i++)
		if (strcmp(behaviors[i].name, behavior) == 0)
			return add_split(r, regex ? regex : literal, regex != NULL,
				behaviors[i].behavior, invert);
	return refuse(r, "pre_tokenizer", "behavior", behavior);
}

static int read_prepend(struct reader r, const json_t *p, enum prepend *out)
{
	static const char *const names[] = {"never", "first", "always"};
	const char *scheme = NULL;
	bool prefix = true; /* older files say only whether */

	TRY(json_get_bool(p, r.name, "add_prefix_space", &prefix, r.err));
	TRY(json_get_text(p, r.name, "prepend_scheme", &scheme, r.err));
	*out = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
	for (int i = 0; scheme && i < 3; i++) {
		if (strcmp(scheme, names[i]) == 0) {
			*out = (enum prepend)i;
			return 0;
		}
	}
	return scheme ? refuse(r, "Metaspace", "prepend_scheme", scheme) : 0;
fail:
	return r.err->code;
}

static int read_metaspace(struct reader r, const json_t *p)
{
	bool split = true;

	if (r.tok->metaspace.mark || r.tok->n_splits > 0)
		return refuse(r, "pre_tokenizer", "a step before", "Metaspace");
	TRY(copy_step_text(r, json_object_get(p, "replacement"), "Metaspace replacement",
		&r.tok->metaspace.mark));
	TRY(read_prepend(r, p, &r.tok->metaspace.prepend));
	TRY(json_get_bool(p, r.name, "split", &split, r.err));
	return split ? add_split(r, r.tok->metaspace.mark, false, SPLIT_MERGED_WITH_NEXT, false)
		     : 0;
fail:
	return r.err->code;
}

/* Numbers are Rust's: with those of Unicode 17, which split patterns do not know. */
static int read_digits(struct reader r, const json_t *p)
{
	bool individual = false;

	if (json_get_bool(p, r.name, "individual_digits", &individual, r.err))
		return r.err->code;
	return add_split(r, "[\\p{N}\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]", true,
		individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
}

/* The step that spells bytes is the last. */
static int read_byte_level(struct reader r, const json_t *p)
{
	bool own_split = true, prefix = false;

	TRY(json_get_bool(p, r.name, "use_regex", &own_split, r.err));
	TRY(json_get_bool(p, r.name, "add_prefix_space", &prefix, r.err));
	r.tok->spaced_split = prefix ? (int)r.tok->n_splits : -1;
	if (own_split)
		TRY(add_split(r, TOKENIZER_GPT2_PATTERN, true, SPLIT_ISOLATED, false));
	r.tok->bpe.byte_level = true;
	return 0;
fail:
	return r.err->code;
}

static int read_pre_tokenizer(struct reader r, const json_t *p)
{
	if (!p || json_is_null(p))
		return 0;
	if (strcmp(type_of(p), "Sequence") == 0) {
		const json_t *list;

		TRY(find_steps(r, p, "pretokenizers", &list));
		for (size_t i = 0; i < json_array_size(list); i++)
			TRY(read_pre_tokenizer(r, json_array_get(list, i)));
		return 0;
	}
	if (r.tok->bpe.byte_level)
		return refuse(r, "pre_tokenizer", "a step after ByteLevel:", type_of(p));
	if (strcmp(type_of(p), "Split") == 0)
		return read_split(r, p);
	if (strcmp(type_of(p), "Metaspace") == 0)
		return read_metaspace(r, p);
	if (strcmp(type_of(p), "Digits") == 0)
		return read_digits(r, p);
	if (strcmp(type_of(p), "ByteLevel") == 0)
		return read_byte_level(r, p);
	return refuse(r, "pre_tokenizer", "type", type_of(p));
fail:
	return r.err->code;
}

/* ---- vocabulary and merges ------------------------------------------------------------- */

static int bad_token(struct reader r, const char *token, const char *problem)
{
	return err_set(r.err, ERR_INPUT, "%s: token \"%s\": %s", r.name, token, problem);
}

static int add_spelling(struct reader r, const char *token, size_t n, int32_t id)
{
	if (vocab_add(&r.tok->spelling, token, n, id, r.err))
		return err_prefix(r.err, "%s: token \"%s\"", r.name, token);
	return 0;
}

static int read_vocab(struct reader r, const json_t *vocab, const json_t *added)
{
	const size_t n = json_object_size(vocab) + json_array_size(added);
	const char *token;
	json_t *value;
	struct text bytes = {0};

	TRY(vocab_init(&r.tok->bpe.vocab, n, r.err));
	TRY(vocab_init(&r.tok->spelling, n, r.err));
	json_object_foreach((json_t *)vocab, token, value)
	{
		const size_t length = strlen(token);
		const json_int_t id = json_integer_value(value);
		const char *s = token;
		size_t n_bytes = length;

		if (!json_is_integer(value) || id < 0 || id > r.max_id) {
			err_set(r.err, ERR_INPUT, "%s: token \"%s\": expected an id from 0 to %lld",
				r.name, token, (long long)r.max_id);
			goto fail;
		}
		TRY(add_spelling(r, token, length, (int32_t)id));
		if (r.tok->bpe.byte_level) {
			TRY(vec_reserve(&bytes, length + 1, r.err));
			if (!byte_unspell(token, length, bytes.data, &n_bytes))
				continue; /* no text can become this token */
			s = bytes.data;
		}
		TRY(vocab_add(&r.tok->bpe.vocab, s, n_bytes, (int32_t)id, r.err));
	}
	free(bytes.data);
	return 0;
fail:
	free(bytes.data);
	return r.err->code;
}

/* One merge is "left right" in older files, ["left", "right"] in newer ones. */
static bool merge_parts(const json_t *merge, const char **left, size_t *n_left, const char **right,
	size_t *n_right)
{
	if (json_is_string(merge)) {
		const char *s = json_string_value(merge), *space = strchr(s, ' ');

		if (!space)
			return false;
		*left = s;
		*n_left = (size_t)(space - s);
		*right = space + 1;
		*n_right = json_string_length(merge) - *n_left - 1;
		return true;
	}
	if (json_array_size(merge) != 2 || !json_is_string(json_array_get(merge, 0)) ||
		!json_is_string(json_array_get(merge, 1)))
		return false;
	*left = json_string_value(json_array_get(merge, 0));
	*n_left = json_string_length(json_array_get(merge, 0));
	*right = json_string_value(json_array_get(merge, 1));
	*n_right = json_string_length(json_array_get(merge, 1));
	return true;
}

static int read_merge(struct reader r, const json_t *merge, size_t rank, struct text *both)
{
	const char *left, *right;
	size_t n_left, n_right;
	struct merge m = {.rank = (uint32_t)rank};

	if (!merge_parts(merge, &left, &n_left, &right, &n_right))
		return err_set(r.err, ERR_INPUT,
			"%s: merge %zu: expected \"left right\" or [\"left\", \"right\"]", r.name,
			rank);
	both->n = 0;
	TRY(vec_append(both, left, n_left, r.err));
	TRY(vec_append(both, right, n_right, r.err));
	m.left = vocab_find(&r.tok->spelling, left, n_left);
	m.right = vocab_find(&r.tok->spelling, right, n_right);
	m.merged = vocab_find(&r.tok->spelling, both->data, both->n);
	if (m.left < 0 || m.right < 0 || m.merged < 0)
		return err_set(r.err, ERR_INPUT, "%s: merge %zu: \"%.*s\" is not in the vocabulary",
			r.name, rank,
			(int)(m.left < 0      ? n_left
				: m.right < 0 ? n_right
					      : both->n),
			m.left < 0    ? left
			: m.right < 0 ? right
				      : both->data);
	bpe_add_merge(&r.tok->bpe, m);
	return 0;
fail:
	return r.err->code;
}

static int read_merges(struct reader r, const json_t *merges)
{
	struct text both = {0};

	if (!json_is_array(merges))
		return err_set(r.err, ERR_INPUT, "%s: model.merges: expected an array, found %s",
			r.name, json_kind(merges));
	TRY(bpe_init_merges(&r.tok->bpe, json_array_size(merges), r.err));
	for (size_t i = 0; i < json_array_size(merges); i++)
		TRY(read_merge(r, json_array_get(merges, i), i, &both));
	free(both.data);
	return 0;
fail:
	free(both.data);
	return r.err->code;
}

static int read_model(struct reader r, const json_t *model, const json_t *added)
{
	struct bpe *bpe = &r.tok->bpe;
	const char *unk = NULL, *affix = "";
	double dropout = 0;
	const json_t *type = json_object_get(model, "type");

	if (type && strcmp(type_of(model), "BPE") != 0)
		return refuse(r, "model", "type", type_of(model));
	TRY(json_get_bool(model, r.name, "ignore_merges", &bpe->ignore_merges, r.err));
	TRY(json_get_bool(model, r.name, "byte_fallback", &bpe->byte_fallback, r.err));
	TRY(json_get_bool(model, r.name, "fuse_unk", &bpe->fuse_unk, r.err));
	TRY(json_get_text(model, r.name, "unk_token", &unk, r.err));
	TRY(json_get_text(model, r.name, "continuing_subword_prefix", &affix, r.err));
	if (*affix)
		return refuse(r, "model", "continuing_subword_prefix", affix);
	TRY(json_get_text(model, r.name, "end_of_word_suffix", &affix, r.err));
	if (*affix)
		return refuse(r, "model", "end_of_word_suffix", affix);
	TRY(json_get_double(model, r.name, "dropout", &dropout, r.err));
	if (dropout != 0)
		return refuse(r, "model", "another than 0 as", "dropout");
	if (!json_is_object(json_object_get(model, "vocab")))
		return err_set(r.err, ERR_INPUT, "%s: model.vocab: expected an object, found %s",
			r.name, json_kind(json_object_get(model, "vocab")));
	TRY(read_vocab(r, json_object_get(model, "vocab"), added));
	r.tok->n_model = json_object_size(json_object_get(model, "vocab"));
	bpe->unk = unk ? vocab_find(&r.tok->spelling, unk, strlen(unk)) : -1;
	if (bpe->byte_level && bpe->byte_fallback)
		return refuse(r, "model", "byte_fallback with a pre-tokenizer", "ByteLevel");
	return read_merges(r, json_object_get(model, "merges"));
fail:
	return r.err->code;
}

/* ---- added tokens ---------------------------------------------------------------------- */

/* A token's id is the one that the vocabulary has for it, else the next one: what the file says is
 * only compared with that. */
static int add_token(struct reader r, const struct added_token *t, int32_t id, int32_t *next)
{
	const char *there = vocab_bytes(&r.tok->spelling, id, NULL);
	const int32_t known = tokenizer_id(r.tok, t->content);

	if (there && strcmp(there, t->content) != 0)
		return bad_token(r, t->content,
			"its id belongs to another token of the vocabulary");
	if (known >= 0 && known != id)
		return bad_token(r, t->content, "the vocabulary has it under another id");
	if (known < 0 && id != *next)
		return err_set(r.err, ERR_INPUT,
			"%s: token \"%s\": expected the id %d, the next free one, which the "
			"tokenizers library gives it, found %d",
			r.name, t->content, *next, id);
	return tokenizer_add(r.tok, t, next, r.err) ? err_prefix(r.err, "%s", r.name) : 0;
}

static int read_added_token(struct reader r, const json_t *entry, size_t index, int32_t *next)
{
	struct added_token t = {0};
	const json_t *content = json_object_get(entry, "content");
	int64_t id = -1;
	int rc;

	TRY(json_get_int(entry, r.name, "id", &id, r.err));
	if (json_string_length(content) == 0 || id < 0 || id > r.max_id)
		return err_set(r.err, ERR_INPUT,
			"%s: added token %zu: expected a content and an id from 0 to %lld", r.name,
			index, (long long)r.max_id);
	TRY(json_get_bool(entry, r.name, "special", &t.special, r.err));
	TRY(json_get_bool(entry, r.name, "normalized", &t.normalized, r.err));
	TRY(json_get_bool(entry, r.name, "lstrip", &t.lstrip, r.err));
	TRY(json_get_bool(entry, r.name, "rstrip", &t.rstrip, r.err));
	TRY(json_get_bool(entry, r.name, "single_word", &t.single_word, r.err));
	TRY(copy_text(r, content, "added token", &t.content));
	rc = add_token(r, &t, (int32_t)id, next);
	free(t.content);
	return rc;
fail:
	return r.err->code;
}

static int read_added(struct reader r, const json_t *added)
{
	int32_t next = tokenizer_next_id(r.tok);

	if (added && !json_is_array(added) && !json_is_null(added))
		return err_set(r.err, ERR_INPUT, "%s: added_tokens: expected an array, found %s",
			r.name, json_kind(added));
	for (size_t i = 0; i < json_array_size(added); i++)
		if (read_added_token(r, json_array_get(added, i), i, &next))
			return r.err->code;
	return 0;
}

/* ---- decoder --------------------------------------------------------------------------- */

static int read_decoder_replace(struct reader r, const json_t *d)
{
	struct decoder *out = &r.tok->decoder;

	TRY(copy_step_text(r, json_object_get(json_object_get(d, "pattern"), "String"),
		"decoder pattern", &out->from));
	TRY(copy_step_text(r, json_object_get(d, "content"), "decoder content", &out->to));
	return out->from[0] ? 0 : refuse(r, "decoder", "an empty pattern in", "Replace");
fail:
	return r.err->code;
}

static int read_decoder_metaspace(struct reader r, const json_t *d)
{
	struct decoder *out = &r.tok->decoder;
	enum prepend prepend;

	TRY(copy_step_text(r, json_object_get(d, "replacement"), "decoder replacement",
		&out->from));
	out->to = strdup(" ");
	if (!out->to)
		return err_nomem(r.err, r.name, 2);
	TRY(read_prepend(r, d, &prepend));
	out->drop_first = prepend != PREPEND_NEVER;
	return out->from[0] ? 0 : refuse(r, "decoder", "an empty replacement in", "Metaspace");
fail:
	return r.err->code;
}

static int read_decoder_strip(struct reader r, const json_t *d)
{
	const char *content = json_string_value(json_object_get(d, "content"));

	if (!content || strcmp(content, " ") != 0 ||
		json_integer_value(json_object_get(d, "start")) != 1 ||
		!json_is_integer(json_object_get(d, "stop")) ||
		json_integer_value(json_object_get(d, "stop")) != 0)
		return refuse(r, "decoder", "other than one leading space in", "Strip");
	r.tok->decoder.strip = true;
	return 0;
}

/* Steps in the order that struct decoder has; any other is refused. */
static int read_decoder_step(struct reader r, const json_t *d)
{
	struct decoder *out = &r.tok->decoder;
	const char *type = type_of(d);
	const bool first = !out->from && !out->byte_level && !out->byte_fallback && !out->fuse;

	if (strcmp(type, "Fuse") == 0) {
		out->fuse = true;
		return 0;
	}
	if (strcmp(type, "Strip") == 0 && out->fuse && !out->strip)
		return read_decoder_strip(r, d);
	if (strcmp(type, "ByteFallback") == 0 && !out->byte_level && !out->byte_fallback &&
		!out->fuse) {
		out->byte_fallback = true;
		return 0;
	}
	if (first && strcmp(type, "ByteLevel") == 0) {
		out->byte_level = true;
		return 0;
	}
	if (first && strcmp(type, "Replace") == 0)
		return read_decoder_replace(r, d);
	if (first && strcmp(type, "Metaspace") == 0)
		return read_decoder_metaspace(r, d);
	return refuse(r, "decoder", "type or place of", type);
}

static int read_decoder(struct reader r, const json_t *d)
{
	const json_t *list;

	if (!d || json_is_null(d)) {
		r.tok->decoder.spaced = true;
		return 0;
	}
	if (strcmp(type_of(d), "Sequence") != 0)
		return read_decoder_step(r, d);
	TRY(find_steps(r, d, "decoders", &list));
	for (size_t i = 0; i < json_array_size(list); i++)
		TRY(read_decoder_step(r, json_array_get(list, i)));
	return 0;
fail:
	return r.err->code;
}

/* ---- post-processor -------------------------------------------------------------------- */

/* Only which token it puts first matters: the rest of what it does is about pairs and ends. */
static int read_post_processor(struct reader r, const json_t *p)
{
	const json_t *list, *first, *id;
	const char *token;

	if (!p || json_is_null(p) || strcmp(type_of(p), "ByteLevel") == 0)
		return 0;
	if (strcmp(type_of(p), "Sequence") == 0) {
		TRY(find_steps(r, p, "processors", &list));
		for (size_t i = 0; i < json_array_size(list); i++)
			TRY(read_post_processor(r, json_array_get(list, i)));
		return 0;
	}
	if (strcmp(type_of(p), "TemplateProcessing") != 0)
		return refuse(r, "post_processor", "type", type_of(p));
	TRY(find_steps(r, p, "single", &list));
	first = json_object_get(json_array_get(list, 0), "SpecialToken");
	token = json_string_value(json_object_get(first, "id"));
	if (!first)
		return 0;
	id = json_array_get(json_object_get(json_object_get(json_object_get(p, "special_tokens"),
						    token ? token : ""),
				    "ids"),
		0);
	if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		json_integer_value(id) > r.max_id ||
		!tokenizer_spelling(r.tok, (int32_t)json_integer_value(id)))
		return refuse(r, "post_processor", "without an id, token", token);
	r.tok->bos = (int32_t)json_integer_value(id);
	return 0;
fail:
	return r.err->code;
}

/* Nothing is padded here; but the token is the pad_token of files that name none. */
static int read_padding(struct reader r, const json_t *padding)
{
	const json_t *token = json_object_get(padding, "pad_token");

	if (padding && !json_is_null(padding) && !json_is_object(padding))
		return err_set(r.err, ERR_INPUT, "%s: padding: expected an object, found %s",
			r.name, json_kind(padding));
	return token ? copy_text(r, token, "padding.pad_token", &r.tok->pad_token) : 0;
}

int tokenizer_parse(struct tokenizer **out, const char *name, const char *bytes, size_t n,
	struct err *err)
{
	struct tokenizer *tok = calloc(1, sizeof *tok);
	struct reader r = {name, tok, 0, err};
	json_t *file = NULL;
	const json_t *added, *model;

	*out = NULL;
	if (!tok)
		return err_nomem(err, name, sizeof *tok);
	tok->spaced_split = -1;
	TRY(json_parse(&file, name, bytes, n, err));
	model = json_object_get(file, "model");
	if (!json_is_object(model)) {
		err_set(err, ERR_INPUT, "%s: expected a tokenizer with a \"model\", found %s", name,
			json_kind(model));
		goto fail;
	}
	added = json_object_get(file, "added_tokens");
	r.max_id = 65536 + 4 * (int64_t)(json_object_size(json_object_get(model, "vocab")) +
					 json_array_size(added));
	TRY(read_normalizer(r, json_object_get(file, "normalizer")));
	TRY(read_pre_tokenizer(r, json_object_get(file, "pre_tokenizer")));
	TRY(read_model(r, model, added));
	TRY(read_added(r, added));
	TRY(read_decoder(r, json_object_get(file, "decoder")));
	TRY(read_padding(r, json_object_get(file, "padding")));
	tok->bos = -1;
	TRY(read_post_processor(r, json_object_get(file, "post_processor")));
	TRY(tokenizer_index(tok, err));
	json_decref(file);
	*out = tok;
	return 0;
fail:
	json_decref(file);
	tokenizer_close(tok);
	return err->code;
}
