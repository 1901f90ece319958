/* SPDX-License-Identifier: MIT
 *
 * inputs.c - Contract: inputs.h.
 */
#include "host/lab/inputs.h"

#include "host/base/memstream.h"
#include "host/base/sample.h"
#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/base/vec.h"
#include "host/formats/safetensors.h"
#include "host/lab/stop_tokens.h"
#include "host/model/adapter.h"
#include "host/work/ranks_agree.h"

#include <stdatomic.h>

#include "version.h"

/* ---- are they there? ------------------------------------------------------------------- */

/* What is missing, a line each. */
struct missing {
	struct text lines;
	size_t n;
};

static void miss(struct missing *missing, const char *key, const char *what)
{
	char line[4096 + 512];
	struct err ignored;
	const int n = snprintf(line, sizeof line, "%s%s: %s", missing->n++ > 0 ? "\n" : "", key,
		what);

	(void)vec_append(&missing->lines, line, size_min((size_t)n, sizeof line - 1), &ignored);
}

/* Something of the config, and where to get it when it is not there. */
static void need(struct missing *missing, bool there, const char *kind, const char *key,
	const char *path, const char *published)
{
	char what[4096 + 256];

	if (there)
		return;
	snprintf(what, sizeof what, "no %s \"%s\"%s%s", kind, path,
		*published ? "; published at " : "", published);
	miss(missing, key, what);
}

static void need_file(struct missing *missing, const char *key, const char *path,
	const char *published)
{
	struct err err;

	if (!file_exists(path))
		need(missing, false, "file", key, path, published);
	else if (file_check_regular(path, &err))
		miss(missing, key, err.text);
}

int inputs_check(const struct config *c, const struct input_list *more, struct err *err)
{
	struct missing missing = {0};

	err_clear(err);
	need(&missing, folder_exists(c->model.path), "folder", "model.path", c->model.path,
		c->model.published);
	need(&missing, !*c->model.base || folder_exists(c->model.base), "folder", "model.base",
		c->model.base, "");
	need(&missing, !*c->sae.path || folder_exists(c->sae.path), "folder", "sae.path",
		c->sae.path, c->sae.published);
	for (size_t i = 0; i < more->n; i++) {
		const struct input *in = &more->data[i];

		need_file(&missing, in->key, in->path, in->published);
	}
	for (size_t i = 0; i < c->n_prompts; i++) {
		const struct prompts_config *p = &c->prompts[i];
		char key[256];

		snprintf(key, sizeof key, "prompts.%s.file", p->name);
		need_file(&missing, key, p->file, p->published);
	}
	if (missing.n > 0)
		err_set(err, ERR_INPUT, "%.*s", (int)missing.lines.n, missing.lines.data);
	else if (file_is_same(c->from, c->output))
		err_set(err, ERR_CONFIG,
			"output: expected another file than \"from\", which it would replace, found "
			"\"%s\" for both",
			c->output);
	free(missing.lines.data);
	return err->code;
}

/* ---- what they are ----------------------------------------------------------------------- */

static int add_file(struct inputs *inputs, const char *path, const char *role, struct err *err)
{
	struct input_file file = {.path = strdup(path), .role = strdup(role)};

	err_clear(err);
	for (size_t i = 0; i < inputs->n; i++) {
		if (strcmp(inputs->data[i].path, path) == 0) { /* read for several prompt sets */
			free(file.path);
			free(file.role);
			return 0;
		}
	}
	if (!file.path || !file.role)
		err_nomem(err, path, strlen(path));
	else if (vec_push(inputs, file, err) == 0)
		return 0;
	free(file.path);
	free(file.role);
	return err->code;
}

static int add_model_file(struct inputs *inputs, const struct machine *m, const char *name,
	const char *role, struct err *err)
{
	char *path = path_join(m->folder.base, name);
	int rc;

	if (!path)
		return err_nomem(err, name, strlen(name));
	rc = add_file(inputs, path, role, err);
	free(path);
	return rc;
}

static int add_stop_tokens_file(struct inputs *inputs, const struct machine *m, struct err *err)
{
	char *path = path_join(m->folder.base, STOP_TOKENS_FILE);

	err_clear(err);
	if (!path)
		return err_nomem(err, STOP_TOKENS_FILE, strlen(m->folder.base));
	if (file_exists(path))
		add_file(inputs, path, "model", err);
	free(path);
	return err->code;
}

static int add_sae(struct inputs *inputs, const struct sae_set *saes, size_t layer, struct err *err)
{
	char config[4096];

	if (!sae_set_has(saes, layer))
		return 0;
	TRY(add_file(inputs, sae_set_path(saes, layer), "sae", err));
	if (sae_set_config_path(saes, layer, config, sizeof config))
		TRY(add_file(inputs, config, "sae", err));
	return 0;
fail:
	return err->code;
}

int inputs_list(struct inputs *inputs, const struct config *c, const struct machine *m,
	const struct input_list *more, struct err *err)
{
	const struct safetensors_folder *weights = m->model->files;
	const struct adapter *adapter = m->model->adapter;

	err_clear(err);
	TRY(add_model_file(inputs, m, "config.json", "model", err));
	for (size_t i = 0; i < tokenizer_n_files(m->tok); i++)
		TRY(add_file(inputs, tokenizer_file(m->tok, i), "tokenizer", err));
	if (text_list_holds(&c->generate.stop, "checkpoint"))
		TRY(add_stop_tokens_file(inputs, m, err));
	if (adapter) {
		TRY(add_file(inputs, adapter_config_path(adapter), "adapter", err));
		TRY(add_file(inputs, adapter_weights_path(adapter), "adapter", err));
	}
	for (size_t i = 0; i < safetensors_folder_files(weights); i++)
		TRY(add_file(inputs, safetensors_folder_path(weights, i), "weights", err));
	for (size_t l = 0; m->saes && l < sae_set_layers(m->saes); l++)
		TRY(add_sae(inputs, m->saes, l, err));
	for (size_t i = 0; i < c->n_prompts; i++)
		TRY(add_file(inputs, c->prompts[i].file, "prompts", err));
	for (size_t i = 0; i < more->n; i++)
		TRY(add_file(inputs, more->data[i].path, more->data[i].role, err));
fail:
	return err->code;
}

typedef int hash(const struct input_file *file, char hex[SHA256_HEX], struct err *err);

struct hashing {
	const struct inputs *inputs;
	hash *of;
	char (*out)[SHA256_HEX];
	_Atomic bool failed;
	struct err err; /* of whoever set `failed` */
};

static void hash_file(void *context, size_t i, int thread)
{
	struct hashing *h = context;
	struct err own;

	(void)thread;
	if (h->of(&h->inputs->data[i], h->out[i], &own) && !atomic_exchange(&h->failed, true))
		h->err = own;
}

/* Hashing is slower than a good disk, so several files at a time. `out` [n]. */
static int hash_files(const struct inputs *inputs, const struct machine *m, hash *of,
	char (*out)[SHA256_HEX], struct err *err)
{
	struct hashing h = {.inputs = inputs, .of = of, .out = out};

	threads_run(inputs->n, device_threads(m->dev), hash_file, &h);
	if (h.failed)
		*err = h.err;
	return h.failed ? err->code : 0;
}

static int hash_whole(const struct input_file *file, char hex[SHA256_HEX], struct err *err)
{
	return sha256_file(file->path, hex, err);
}

int inputs_hash(struct inputs *inputs, const struct machine *m, struct err *err)
{
	char(*hashes)[SHA256_HEX] = calloc(inputs->n + 1, sizeof *hashes);

	err_clear(err);
	if (!hashes)
		return err_nomem(err, "hashes", inputs->n * sizeof *hashes);
	if (hash_files(inputs, m, hash_whole, hashes, err) == 0)
		for (size_t i = 0; i < inputs->n; i++)
			memcpy(inputs->data[i].sha256, hashes[i], sizeof hashes[i]);
	free(hashes);
	return err->code;
}

void inputs_free(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->n; i++) {
		free(inputs->data[i].path);
		free(inputs->data[i].role);
	}
	free(inputs->data);
	*inputs = (struct inputs){0};
}

/* ---- do all ranks have the same? --------------------------------------------------------- */

/* Texts are whole, for a few bytes of a tokenizer or of a prompt make another run. */
static int hash_for_ranks(const struct input_file *file, char hex[SHA256_HEX], struct err *err)
{
	static const char *const large[] = {"weights", "sae", "adapter", "findings", "judged"};

	for (size_t i = 0; i < sizeof large / sizeof *large; i++)
		if (strcmp(file->role, large[i]) == 0)
			return sample_file(file->path, hex, err);
	return sha256_file(file->path, hex, err);
}

static char *digests_text(const struct inputs *inputs, char (*hashes)[SHA256_HEX])
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return NULL;
	for (size_t i = 0; i < inputs->n; i++)
		fprintf(to, "%s %s = digest %.16s\n", inputs->data[i].role, inputs->data[i].path,
			hashes[i]);
	return memstream_text(to, &text);
}

int inputs_agree(const struct inputs *inputs, const struct machine *m, const struct ranks *ranks,
	struct err *err)
{
	char(*hashes)[SHA256_HEX], *text = NULL;
	struct err fault = {0};

	err_clear(err);
	if (!ranks->meeting)
		return 0;
	hashes = calloc(inputs->n + 1, sizeof *hashes);
	if (!hashes)
		err_nomem(&fault, "hashes", inputs->n * sizeof *hashes);
	else if (hash_files(inputs, m, hash_for_ranks, hashes, &fault) == 0) {
		text = digests_text(inputs, hashes);
		if (!text)
			err_nomem(&fault, "hashes", inputs->n * sizeof *hashes);
	}
	ranks_agree(ranks, "inputs", "input files", text, ERR_INPUT, &fault, err);
	free(hashes);
	free(text);
	return err->code;
}

/* ---- as text ------------------------------------------------------------------------------ */

/* Of the CPU and of a GPU that rounds products, compute_dtype is the same; sae.dtype = auto is not.
 */
static void print_precision(const struct machine *m, FILE *to)
{
	fprintf(to, "compute_dtype = %s\n", dtype_name(device_activation(m->dev)));
	if (m->saes)
		fprintf(to, "sae_dtype = %s\n", sae_dtype_names[sae_set_dtype(m->saes)]);
}

char *inputs_text(const struct inputs *inputs, const struct config *config, const struct machine *m)
{
	char *text = NULL;
	size_t n = 0;
	FILE *memory = open_memstream(&text, &n);

	if (!memory)
		return NULL;
	fprintf(memory, "engine = %s (%s)\narithmetic = %s\n", SAENGINE_VERSION, SAENGINE_COMMIT,
		device_arithmetic(m->dev));
	print_precision(m, memory);
	config_print_lines(config, memory);
	for (size_t i = 0; i < inputs->n; i++)
		fprintf(memory, "sha256 of %s = %s\n", inputs->data[i].path,
			inputs->data[i].sha256);
	return memstream_text(memory, &text);
}
