/* SPDX-License-Identifier: MIT
 *
 * tokenizer_side.c - Contract: tokenizer_side.h. Tests: tests/test_tokenizer_side.c,
 * tests/parity_tokenizers.py (against AutoTokenizer).
 */
#include "host/text/tokenizer_side.h"

#include "host/text/tokenizer_parts.h"

#include <stdio.h>

static const char CONFIG[] = "tokenizer_config.json", SPECIAL_MAP[] = "special_tokens_map.json",
		  ADDED[] = "added_tokens.json", DEFAULTS[] = "the tokenizer's class";

/* A token as a file declares it: a text alone, or with flags. */
struct declared {
	const char *content; /* borrowed from the file */
	const char *file;
	bool bare; /* a text alone: special */
	bool special, lstrip, rstrip, single_word;
	int normalized; /* -1 = not said: where it is not special */
};

struct declared_list {
	struct declared *data; /* owned */
	size_t n, cap;
};

/* Tokens with a name or an id. */
struct entry_list {
	struct entry {
		const char *name;
		long long id;
		struct declared token; /* content NULL: said to be none */
		size_t order;          /* of those with ids: how many were put before */
	} * data;                      /* owned */
	size_t n, cap;
};

struct side {
	struct tokenizer *tok;
	const struct tokenizer_side *files;
	const char
		*class; /* transformers' class; NULL = the one that takes tokenizer.json as it is */
	struct entry_list decoder; /* by id, once read_all has sorted it */
	struct entry_list named;   /* in transformers' order */
	struct declared_list extra;
	size_t n_early; /* of extra: those that are known when added_tokens.json is read */
	struct err *err;
};

/* ---- one token ------------------------------------------------------------------------- */

static int read_token(struct side *s, const json_t *value, const char *file, const char *key,
	struct declared *out)
{
	const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
	bool normalized = false;

	*out = (struct declared){.file = file, .bare = json_is_string(value), .normalized = -1};
	if (!json_is_string(content))
		return err_set(s->err, ERR_INPUT,
			"%s: %s: expected a token, a string or an object with a \"content\", found %s",
			file, key, json_kind(value));
	out->content = json_string_value(content);
	if (strlen(out->content) != json_string_length(content))
		return err_set(s->err, ERR_INPUT, "%s: %s: a string holds a zero byte", file, key);
	if (out->bare) {
		out->special = true;
		return 0;
	}
	TRY(json_get_bool(value, file, "special", &out->special, s->err));
	TRY(json_get_bool(value, file, "lstrip", &out->lstrip, s->err));
	TRY(json_get_bool(value, file, "rstrip", &out->rstrip, s->err));
	TRY(json_get_bool(value, file, "single_word", &out->single_word, s->err));
	TRY(json_get_bool(value, file, "normalized", &normalized, s->err));
	if (json_is_boolean(json_object_get(value, "normalized")))
		out->normalized = normalized;
	return 0;
fail:
	return s->err->code;
}

static bool is_normalized(const struct declared *d)
{
	return d->normalized < 0 ? !d->special : d->normalized;
}

/* ---- lists of them --------------------------------------------------------------------- */

static struct entry *find_name(const struct entry_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->data[i].name, name) == 0)
			return &list->data[i];
	return NULL;
}

/* Each name and each extra token is compared with all others; published files have up to ten names,
 * six thousand tokens by id and a thousand extra ones. */
enum { MAX_NAMED = 1024, MAX_BY_ID = 1 << 18, MAX_EXTRA = 1 << 12 };

static int check_room(const struct side *s, size_t n, size_t most, const char *what)
{
	return n < most ? 0
			: err_set(s->err, ERR_INPUT, "expected at most %zu %s, found more", most,
				  what);
}

/* A later one replaces an earlier one, at its place. */
static int put_named(struct side *s, const char *name, const struct declared *token)
{
	struct entry *there = find_name(&s->named, name);

	if (!there)
		return check_room(s, s->named.n, MAX_NAMED, "tokens with names") ||
				       vec_push(&s->named, ((struct entry){name, 0, *token, 0}),
					       s->err)
			       ? s->err->code
			       : 0;
	there->token = *token;
	return 0;
}

static int put_id(struct side *s, long long id, const struct declared *token)
{
	struct entry_list *list = &s->decoder;

	return check_room(s, list->n, MAX_BY_ID, "tokens by id") ||
			       vec_push(list, ((struct entry){NULL, id, *token, list->n}), s->err)
		       ? s->err->code
		       : 0;
}

static int by_id_and_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
			      : (x->order > y->order) - (x->order < y->order);
}

/* Once all are there: ascending, of those with one id the last. */
static void sort_ids(struct entry_list *list)
{
	size_t n = 0;

	if (list->n > 0)
		qsort(list->data, list->n, sizeof *list->data, by_id_and_order);
	for (size_t i = 0; i < list->n; i++)
		if (i + 1 == list->n || list->data[i + 1].id != list->data[i].id)
			list->data[n++] = list->data[i];
	list->n = n;
}

/* ---- named tokens ---------------------------------------------------------------------- */

/* In the order in which they get ids. */
static const char *const standard[] = {"bos_token", "eos_token", "unk_token", "sep_token",
	"pad_token", "cls_token", "mask_token"};
enum { N_STANDARD = sizeof standard / sizeof *standard };

static bool is_standard(const char *key)
{
	for (size_t i = 0; i < N_STANDARD; i++)
		if (strcmp(standard[i], key) == 0)
			return true;
	return false;
}

static bool is_token_key(const char *key)
{
	const size_t n = strlen(key);

	return n > 6 && strcmp(key + n - 6, "_token") == 0;
}

static bool is_token(const json_t *value)
{
	return json_is_string(value) || json_is_string(json_object_get(value, "content"));
}

/* transformers' classes that know names which the files leave out; mask_token is one in version 5
 * alone, and not here. */
static const struct {
	const char *class, *bos, *eos, *unk, *pad;
} classes[] = {
	{"LlamaTokenizer", "<s>", "</s>", "<unk>", NULL},
	{"GemmaTokenizer", "<bos>", "<eos>", "<unk>", "<pad>"},
	{"Qwen2Tokenizer", NULL, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"},
	{"GPT2Tokenizer", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL},
};
enum { N_CLASSES = sizeof classes / sizeof *classes };

static const char *class_default(const struct side *s, const char *key)
{
	for (size_t i = 0; s->class && i < N_CLASSES; i++) {
		if (strcmp(classes[i].class, s->class) != 0)
			continue;
		return strcmp(key, "bos_token") == 0   ? classes[i].bos
		       : strcmp(key, "eos_token") == 0 ? classes[i].eos
		       : strcmp(key, "unk_token") == 0 ? classes[i].unk
		       : strcmp(key, "pad_token") == 0 ? classes[i].pad
						       : NULL;
	}
	return NULL;
}

/* Of special_tokens_map.json if it is read and has the key, else of tokenizer_config.json. */
static const json_t *standard_value(const struct side *s, const json_t *map, const char *key,
	const char **file)
{
	const json_t *value = json_object_get(map, key);

	*file = value ? SPECIAL_MAP : CONFIG;
	return value ? value : json_object_get(s->files->config, key);
}

static int read_standard(struct side *s, const json_t *map, const char *key)
{
	const char *file, *known;
	const json_t *value = standard_value(s, map, key, &file);
	struct declared token;

	if (json_is_null(value))
		return 0;
	if (value) {
		TRY(read_token(s, value, file, key, &token));
		token.special = token.special || file == SPECIAL_MAP;
		return put_named(s, key, &token);
	}
	known = class_default(s, key);
	if (!known && strcmp(key, "pad_token") == 0)
		known = s->tok->pad_token;
	token = (struct declared){.content = known,
		.file = DEFAULTS,
		.bare = true,
		.special = true,
		.normalized = -1};
	return known ? put_named(s, key, &token) : 0;
fail:
	return s->err->code;
}

/* The model's own names: keys that end in _token, other than the standard ones. With `bare`, only
 * those whose value is a text alone. */
static int read_own_names(struct side *s, const json_t *object, const char *file, bool bare,
	bool flagged)
{
	const char *key;
	json_t *value;
	struct declared token;

	json_object_foreach((json_t *)object, key, value)
	{
		const bool wanted = json_is_string(value) ? bare : flagged && is_token(value);

		if (is_standard(key) || !is_token_key(key) || !wanted)
			continue;
		if (read_token(s, value, file, key, &token) || put_named(s, key, &token))
			return s->err->code;
	}
	return 0;
}

/* extra_special_tokens as an object: names and tokens. */
static int read_names(struct side *s, const json_t *object, const char *file)
{
	const char *key;
	json_t *value;
	struct declared token;

	json_object_foreach((json_t *)object, key, value)
	{
		if (read_token(s, value, file, key, &token) || put_named(s, key, &token))
			return s->err->code;
	}
	return 0;
}

/* The standard names first, then the model's own: those with flags, then the others. */
static int read_named(struct side *s, const json_t *map)
{
	const json_t *extra = json_object_get(s->files->config, "extra_special_tokens");
	const json_t *map_extra = json_object_get(map, "extra_special_tokens");

	for (size_t i = 0; i < N_STANDARD; i++)
		TRY(read_standard(s, map, standard[i]));
	TRY(read_own_names(s, s->files->config, CONFIG, false, true));
	TRY(read_own_names(s, map, SPECIAL_MAP, true, true));
	TRY(read_own_names(s, s->files->config, CONFIG, true, false));
	TRY(read_names(s, extra, CONFIG));
	return read_names(s, map_extra, SPECIAL_MAP);
fail:
	return s->err->code;
}

/* ---- extra tokens ---------------------------------------------------------------------- */

static bool is_empty(const json_t *value)
{
	return !value || json_is_null(value) ||
	       (json_is_array(value) && json_array_size(value) == 0) ||
	       (json_is_object(value) && json_object_size(value) == 0);
}

static int read_list(struct side *s, const json_t *list, const char *file, const char *key)
{
	struct declared token;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(s->err, ERR_INPUT, "%s: %s: expected a list of tokens, found %s",
			file, key, json_kind(list));
	for (size_t i = 0; i < json_array_size(list); i++) {
		TRY(read_token(s, json_array_get(list, i), file, key, &token));
		token.special = token.special || file == SPECIAL_MAP;
		TRY(check_room(s, s->extra.n, MAX_EXTRA, "extra special tokens"));
		TRY(vec_push(&s->extra, token, s->err));
	}
	return 0;
fail:
	return s->err->code;
}

/* additional_special_tokens is the older name of the list: read where nothing stands under the
 * newer one, an object of named tokens not counted. */
static int read_extra(struct side *s, const json_t *map)
{
	static const char newer[] = "extra_special_tokens", older[] = "additional_special_tokens";
	const json_t *extra = json_object_get(s->files->config, newer), *list = extra;
	const json_t *more;
	const json_t *map_extra = json_object_get(map, newer);
	const char *key = newer, *file = CONFIG;

	TRY(json_get_list(s->files->config, CONFIG, older, &more, s->err));
	if (map_extra && !json_is_null(map_extra) && !json_is_array(map_extra) &&
		!json_is_object(map_extra))
		return err_set(s->err, ERR_INPUT,
			"%s: %s: expected a list or an object of tokens, found %s", SPECIAL_MAP,
			newer, json_kind(map_extra));
	if (more && is_empty(extra)) {
		list = more;
		key = older;
		more = NULL;
	}
	if (json_is_object(list) || json_is_object(map_extra))
		list = NULL;
	TRY(read_list(s, list, file, key));
	if (json_is_array(map_extra))
		TRY(read_list(s, map_extra, SPECIAL_MAP, newer));
	s->n_early = s->extra.n;
	if (list || json_is_array(map_extra))
		return 0;
	list = json_object_get(map, older);
	file = list ? SPECIAL_MAP : CONFIG;
	return read_list(s, list ? list : more, file, older);
fail:
	return s->err->code;
}

/* ---- tokens by id ---------------------------------------------------------------------- */

static int bad_id(struct side *s, const char *file, const char *found)
{
	return err_set(s->err, ERR_INPUT, "%s: expected ids from 0 to %d, found %s", file,
		INT32_MAX, found);
}

static int read_decoder(struct side *s, const json_t *decoder)
{
	const char *key;
	json_t *value;
	struct declared token;

	if (!json_is_object(decoder))
		return err_set(s->err, ERR_INPUT,
			"%s: added_tokens_decoder: expected an object, found %s", CONFIG,
			json_kind(decoder));
	json_object_foreach((json_t *)decoder, key, value)
	{
		char *end;
		const long long id = strtoll(key, &end, 10);

		if (end == key || *end || id < 0 || id > INT32_MAX)
			return bad_id(s, "tokenizer_config.json: added_tokens_decoder", key);
		TRY(read_token(s, value, CONFIG, "added_tokens_decoder", &token));
		TRY(put_id(s, id, &token));
	}
	return 0;
fail:
	return s->err->code;
}

/* Whether transformers knows the text of the token by then: those with flags in
 * tokenizer_config.json are made tokens later. */
static bool is_text(const struct declared *d, const char *content)
{
	return strcmp(d->content, content) == 0 &&
	       (d->file == SPECIAL_MAP || (d->file == CONFIG && d->bare));
}

static bool is_named(const struct side *s, const char *content)
{
	for (size_t i = 0; i < s->named.n; i++)
		if (is_standard(s->named.data[i].name) && is_text(&s->named.data[i].token, content))
			return true;
	for (size_t i = 0; i < s->n_early; i++)
		if (is_text(&s->extra.data[i], content))
			return true;
	return false;
}

/* added_tokens.json: special are those that the other files name. */
static int read_added(struct side *s, const json_t *added)
{
	const char *key;
	json_t *value;

	if (added && !json_is_object(added))
		return err_set(s->err, ERR_INPUT, "%s: expected an object, found %s", ADDED,
			json_kind(added));
	json_object_foreach((json_t *)added, key, value)
	{
		const bool special = is_named(s, key);
		const struct declared token = {.content = key,
			.file = ADDED,
			.special = special,
			.normalized = !special};
		const json_int_t id = json_integer_value(value);

		if (!json_is_integer(value) || id < 0 || id > INT32_MAX)
			return bad_id(s, ADDED, json_kind(value));
		if (put_id(s, id, &token))
			return s->err->code;
	}
	return 0;
}

/* The tokens of tokenizer.json go before those of added_tokens.json. */
static int read_own(struct side *s)
{
	for (size_t i = 0; i < s->tok->n_added; i++) {
		const struct added_token *t = &s->tok->added[i];
		const struct declared token = {.content = t->content,
			.file = "tokenizer.json",
			.special = t->special,
			.lstrip = t->lstrip,
			.rstrip = t->rstrip,
			.single_word = t->single_word,
			.normalized = t->normalized};

		if (put_id(s, t->id, &token))
			return s->err->code;
	}
	return 0;
}

/* ---- adding ---------------------------------------------------------------------------- */

static int add(struct side *s, const struct declared *d, int32_t *next)
{
	const struct added_token token = {.content = (char *)d->content,
		.special = d->special,
		.lstrip = d->lstrip,
		.rstrip = d->rstrip,
		.single_word = d->single_word,
		.normalized = is_normalized(d)};

	if (!d->content[0])
		return 0;
	return tokenizer_add(s->tok, &token, next, s->err) ? err_prefix(s->err, "%s", d->file) : 0;
}

static bool is_any_name(const struct side *s, const char *content)
{
	for (size_t i = 0; i < s->named.n; i++)
		if (strcmp(s->named.data[i].token.content, content) == 0)
			return true;
	return false;
}

static int add_decoder(struct side *s, int32_t *next)
{
	for (size_t i = 0; i < s->decoder.n; i++) {
		const struct entry *e = &s->decoder.data[i];
		struct declared token = e->token;

		token.special = token.special || is_any_name(s, token.content);
		TRY(add(s, &token, next));
		if (token.content[0] && tokenizer_id(s->tok, token.content) != e->id)
			return err_set(s->err, ERR_INPUT,
				"%s: token \"%s\": declared with id %lld, where it gets %d: that of "
				"tokenizer.json, else the next free one",
				token.file, token.content, e->id,
				tokenizer_id(s->tok, token.content));
	}
	return 0;
fail:
	return s->err->code;
}

/* Tokens that are added already, by tokenizer.json or the decoder, stay as they are. */
static bool is_added(const struct side *s, size_t n_before, const struct declared *d)
{
	const int32_t id = tokenizer_id(s->tok, d->content);
	const int32_t at = id >= 0 && (size_t)id < s->tok->added_at.n ? s->tok->added_at.data[id]
								      : -1;

	return at >= 0 && (size_t)at < n_before;
}

static bool same(const struct declared *a, const struct declared *b)
{
	return strcmp(a->content, b->content) == 0 && a->bare == b->bare &&
	       a->special == b->special && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
	       a->single_word == b->single_word && is_normalized(a) == is_normalized(b);
}

/* Of the named and extra tokens those that are not added yet, each way to write one once: of
 * several ways the last decides. */
static int add_special(struct side *s, size_t n_before, int32_t *next)
{
	const size_t n = s->named.n + s->extra.n;
	const struct declared **all = malloc((n + 1) * sizeof *all);

	err_clear(s->err);
	if (!all)
		return err_nomem(s->err, CONFIG, n * sizeof *all);
	for (size_t i = 0; i < n; i++) {
		struct declared token;
		bool again = false;

		all[i] = i < s->named.n ? &s->named.data[i].token : &s->extra.data[i - s->named.n];
		for (size_t k = 0; k < i && !again; k++)
			again = same(all[k], all[i]);
		if (again || is_added(s, n_before, all[i]))
			continue;
		token = *all[i];
		token.special = token.special || is_any_name(s, token.content);
		TRY(add(s, &token, next));
	}
fail:
	free(all);
	return s->err->code;
}

static int add_all(struct side *s)
{
	int32_t next = tokenizer_next_id(s->tok);

	return add_decoder(s, &next) || add_special(s, s->tok->n_added, &next) ? s->err->code : 0;
}

static int keep_names(struct side *s)
{
	for (size_t i = 0; i < s->named.n; i++) {
		const struct entry *e = &s->named.data[i];
		struct named_token kept = {strdup(e->name), strdup(e->token.content)};

		if (!kept.name || !kept.text || vec_push(&s->tok->named, kept, s->err)) {
			free(kept.name);
			free(kept.text);
			return err_nomem(s->err, CONFIG, strlen(e->token.content));
		}
	}
	return 0;
}

/* ---- the class ------------------------------------------------------------------------- */

/* The class that transformers has for a model type; NULL = none of its own. */
static const char *registered_class(const char *model_type)
{
	static const struct {
		const char *model_type, *class;
	} registered[] = {{"gemma2", "GemmaTokenizer"}, {"gemma3", "GemmaTokenizer"},
		{"gemma3_text", "GemmaTokenizer"}, {"qwen2", "Qwen2Tokenizer"},
		{"qwen3", "Qwen2Tokenizer"}};

	for (size_t i = 0; i < sizeof registered / sizeof *registered; i++)
		if (strcmp(registered[i].model_type, model_type) == 0)
			return registered[i].class;
	return NULL;
}

/* Whether `declared`, with or without "Fast" behind it, is the class. */
static bool is_class(const char *declared, const char *class)
{
	const size_t n = strlen(class);

	return strncmp(declared, class, n) == 0 &&
	       (!declared[n] || strcmp(declared + n, "Fast") == 0);
}

static const char *declared_class(const struct side *s)
{
	const json_t *class = json_object_get(s->files->config, "tokenizer_class");

	if (!json_is_string(class))
		class = json_object_get(s->files->model, "tokenizer_class");
	return json_string_value(class);
}

/* As AutoTokenizer chooses: what the files declare, but the model type's own where nothing is
 * declared and for qwen2, whose checkpoints declare wrongly; tokenizer.json as it is for a
 * LlamaTokenizer over bytes, for Mistral, and for every class without names of its own. */
static const char *choose_class(const struct side *s)
{
	const char *type = json_string_value(json_object_get(s->files->model, "model_type"));
	const char *own = registered_class(type ? type : ""), *declared = declared_class(s);
	const bool bytes = s->tok->bpe.byte_level || s->tok->decoder.byte_level;

	if (!declared || (type && strcmp(type, "qwen2") == 0))
		return own;
	if ((type && strcmp(type, "mistral") == 0) ||
		(bytes && is_class(declared, "LlamaTokenizer")))
		return NULL;
	for (size_t i = 0; i < N_CLASSES; i++)
		if (is_class(declared, classes[i].class))
			return classes[i].class;
	return NULL;
}

/* Whether the pipeline that the class builds in transformers 5 is that of tokenizer.json. */
static bool has_pipeline_of(const struct tokenizer *tok, const char *class)
{
	static const char qwen2[] =
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
		"?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
	const struct normalizer *first = tok->n_normalizers == 1 ? &tok->normalizers[0] : NULL;
	const char *split = tok->n_splits == 1 ? split_pattern(tok->splits[0]) : "";
	const bool bytes = tok->bpe.byte_level && tok->spaced_split < 0;

	if (strcmp(class, "Qwen2Tokenizer") == 0)
		return bytes && first && first->kind == NORMALIZER_NFC && strcmp(split, qwen2) == 0;
	if (strcmp(class, "GPT2Tokenizer") == 0)
		return bytes && tok->n_normalizers == 0 &&
		       strcmp(split, TOKENIZER_GPT2_PATTERN) == 0;
	if (strcmp(class, "GemmaTokenizer") == 0) /* behind that no space is left to split at */
		return first && first->kind == NORMALIZER_REPLACE &&
		       strcmp(first->from, " ") == 0 && !tok->metaspace.mark &&
		       (tok->n_splits == 0 || strcmp(split, " ") == 0);
	return tok->n_normalizers == 0 && tok->metaspace.mark && tok->n_splits == 0;
}

static int compare_pipeline(struct side *s)
{
	char note[256], *kept;

	if (!s->class || has_pipeline_of(s->tok, s->class))
		return 0;
	snprintf(note, sizeof note,
		"transformers 5 builds the pipeline of its %s, which may cut texts otherwise than that "
		"of tokenizer.json; this one is followed, as by version 4",
		s->class);
	kept = strdup(note);
	if (kept && vec_push(&s->tok->notes, kept, s->err) == 0)
		return 0;
	free(kept);
	return err_nomem(s->err, CONFIG, sizeof note);
}

/* ---- BOS ------------------------------------------------------------------------------- */

static const char *token_or_none(const struct side *s, int32_t id)
{
	return id < 0 ? "none" : tokenizer_spelling(s->tok, id);
}

/* transformers 5 adds what the post-processor of tokenizer.json says, and does not read
 * add_bos_token where there is one; version 4 obeys add_bos_token, which is true by default for
 * Llama's and Gemma's classes. */
static int compare_bos(struct side *s)
{
	const json_t *says = json_object_get(s->files->config, "add_bos_token");
	const char *class = declared_class(s), *bos = tokenizer_special(s->tok, "bos_token");
	const bool assumed = class && (is_class(class, "LlamaTokenizer") ||
					      is_class(class, "GemmaTokenizer"));
	const bool adds = json_is_boolean(says) ? json_is_true(says) : assumed;
	const int32_t wanted = adds && bos ? tokenizer_id(s->tok, bos) : -1;
	char doubt[1024];

	if ((!json_is_boolean(says) && !assumed) || wanted == s->tok->bos)
		return 0;
	snprintf(doubt, sizeof doubt,
		"the post-processor of tokenizer.json puts %.200s before a text, tokenizer_config.json "
		"(add_bos_token %s%s, bos_token %.200s) %.200s",
		token_or_none(s, s->tok->bos), adds ? "true" : "false",
		json_is_boolean(says) ? "" : ", its class's default", bos ? bos : "none",
		token_or_none(s, wanted));
	s->tok->bos_doubt = strdup(doubt);
	return s->tok->bos_doubt ? 0 : err_nomem(s->err, CONFIG, sizeof doubt);
}

/* ---- the whole ------------------------------------------------------------------------- */

/* What changes how texts become tokens, and is not done; and what is read later, of another type.
 */
static int refuse_others(struct side *s)
{
	static const char *const keys[] = {"split_special_tokens", "fix_mistral_regex"};

	const char *class = NULL;
	bool unused = false;

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		bool is = false;

		TRY(json_get_bool(s->files->config, CONFIG, keys[i], &is, s->err));
		if (is)
			return err_set(s->err, ERR_INPUT, "%s: %s: expected false, found true",
				CONFIG, keys[i]);
	}
	TRY(json_get_bool(s->files->config, CONFIG, "add_bos_token", &unused, s->err));
	TRY(json_get_text(s->files->config, CONFIG, "tokenizer_class", &class, s->err));
	TRY(json_get_text(s->files->model, "config.json", "tokenizer_class", &class, s->err));
	return json_get_text(s->files->model, "config.json", "model_type", &class, s->err);
fail:
	return s->err->code;
}

static int read_all(struct side *s)
{
	const json_t *decoder = json_object_get(s->files->config, "added_tokens_decoder");
	const json_t *map = decoder ? NULL : s->files->special_map;

	TRY(read_named(s, map));
	TRY(read_extra(s, map));
	if (decoder) {
		TRY(read_decoder(s, decoder));
	} else {
		TRY(read_added(s, s->files->added));
		TRY(read_own(s));
	}
	sort_ids(&s->decoder);
	return 0;
fail:
	return s->err->code;
}

static int expect_object(struct side *s, const json_t *file, const char *name)
{
	return !file || json_is_object(file)
		       ? 0
		       : err_set(s->err, ERR_INPUT, "%s: expected an object, found %s", name,
				 json_kind(file));
}

int tokenizer_side_apply(struct tokenizer *tok, const struct tokenizer_side *files, struct err *err)
{
	struct side s = {.tok = tok, .files = files, .err = err};

	err_clear(err);
	TRY(expect_object(&s, files->config, CONFIG));
	TRY(expect_object(&s, files->special_map, SPECIAL_MAP));
	TRY(refuse_others(&s));
	s.class = choose_class(&s);
	TRY(read_all(&s));
	TRY(add_all(&s));
	TRY(keep_names(&s));
	TRY(tokenizer_index(tok, err));
	TRY(compare_bos(&s));
	TRY(compare_pipeline(&s));
fail:
	free(s.decoder.data);
	free(s.named.data);
	free(s.extra.data);
	return err->code;
}
