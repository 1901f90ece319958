/* SPDX-License-Identifier: MIT
 *
 * sae.c - Contract: sae.h. The formats are sae_gemma_scope.c and its neighbours, one for each
 * publisher. Tests: tests/test_sae.c, tests/test_method.c.
 */
#include "host/model/sae.h"

#include "host/base/file.h"
#include "host/model/carver.h"
#include "host/model/sae_file.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SAELens before others: its folders may have any name, another format's too. lm_saes, which names
 * its weights as SAELens does, before that: its config has another name. */
static const struct sae_format *const formats[] = {&sae_lm_saes, &sae_saelens, &sae_gemma_scope,
	&sae_gemma_scope_2, &sae_llama_scope, &sae_sparsify};
enum { N_FORMATS = sizeof formats / sizeof *formats };

struct resident {
	struct sae_weights weights;
	void *memory; /* owned, device; NULL when not loaded */
	size_t bytes;
	unsigned long long used; /* clock of the last use */
};

/* What the encodings of a few features of an SAE with top_k need: grown to the largest. */
struct sae_scratch {
	struct sparse sparse;
	void *f; /* owned, device */
	size_t f_bytes;
};

struct sae_set {
	struct device *dev;
	const struct sae_format *format;
	struct sae_file *files;     /* [n_layer]; without a path: left out */
	struct resident *residents; /* [n_layer] */
	size_t n_layer, d_model, d_sae, budget, loaded_bytes;
	bool bf16;
	bool joined; /* what is read now is for all ranks, read by one */
	unsigned long long clock;
	struct sae_scratch scratch;
};

/* ---- opening --------------------------------------------------------------------------- */

/* Writes layer's folder by the pattern of the options. */
static int folder_by_pattern(const struct sae_options *options, size_t layer,
	char folder[SAE_PATH], struct err *err)
{
	const char *at = strstr(options->layer_folder, "{layer}");

	if (!at)
		return err_set(err, ERR_CONFIG,
			"sae.layer_folder: expected {layer} in place of the layer's number, found \"%s\"",
			options->layer_folder);
	snprintf(folder, SAE_PATH, "%s/%.*s%zu%s", options->path, (int)(at - options->layer_folder),
		options->layer_folder, layer, at + strlen("{layer}"));
	return 0;
}

/* By its files in the folder of any layer. */
static bool recognised_by_pattern(const struct sae_format *format,
	const struct sae_options *options, size_t n_layer)
{
	struct err ignored;

	for (size_t l = 0; l < n_layer; l++) {
		char folder[SAE_PATH];

		if (folder_by_pattern(options, l, folder, &ignored))
			return false;
		if (sae_format_holds(format, folder))
			return true;
	}
	return false;
}

static int choose_format(struct sae_set *set, const struct sae_options *options, struct err *err)
{
	const bool by_pattern = *options->layer_folder != '\0';
	char ignored[SAE_PATH];

	if (by_pattern && folder_by_pattern(options, 0, ignored, err))
		return err->code;
	for (size_t i = 0; i < N_FORMATS; i++) {
		const bool automatic = strcmp(options->format, "auto") == 0;

		if (!automatic ? strcmp(options->format, formats[i]->name) == 0
			: by_pattern ? recognised_by_pattern(formats[i], options, set->n_layer)
				     : formats[i]->recognises(options->path)) {
			set->format = formats[i];
			return 0;
		}
	}
	return err_set(err, ERR_INPUT,
		"%s: expected a folder of SAEs: layer_0/... (Gemma Scope), layer_0_width_... (Gemma "
		"Scope 2), ...-L0R-... (Llama Scope), L0R (lm_saes), folders with "
		"sae_weights.safetensors (SAELens) or layers.0 (sparsify); found none of them%s%s",
		options->path, by_pattern ? " by sae.layer_folder = " : "", options->layer_folder);
}

static int check_file(const struct sae_set *set, const struct sae_file *file, struct err *err)
{
	if (file->d_model != set->d_model)
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of width %zu, the model's d_model, found %zu", file->path,
			set->d_model, file->d_model);
	if (set->d_sae > 0 && file->d_sae != set->d_sae)
		return err_set(err, ERR_INPUT,
			"%s: expected %zu features, as in the layers before, found %zu", file->path,
			set->d_sae, file->d_sae);
	return 0;
}

static int open_layer(struct sae_set *set, const struct sae_options *options, size_t layer,
	struct err *err)
{
	struct sae_file *file = &set->files[layer];
	char folder[SAE_PATH] = "", path[SAE_PATH + 64];

	*file = (struct sae_file){.options = options, .claimed_l0 = NAN};
	if (*options->layer_folder ? folder_by_pattern(options, layer, folder, err)
				   : set->format->locate(options, layer, folder, err))
		return err->code;
	snprintf(path, sizeof path, "%s/%s", folder, set->format->file_name);
	if (!*folder || (options->some_layers && !file_exists(path))) {
		if (options->some_layers)
			return 0;
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of every layer, found none of layer %zu in the format %s "
			"(to go on without, sae.layers = \"found\")",
			options->path, layer, set->format->name);
	}
	file->format = set->format;
	file->path = strdup(path);
	if (!file->path)
		return err_nomem(err, path, strlen(path));
	if (set->format->open(file, err) || check_file(set, file, err))
		return err->code;
	file->options = NULL;
	set->d_sae = file->d_sae;
	return 0;
}

int sae_set_open(struct sae_set **out, struct device *dev, const struct sae_options *options,
	size_t n_layer, size_t d_model, struct err *err)
{
	struct sae_set *set = calloc(1, sizeof *set);

	*out = NULL;
	if (!set)
		return err_nomem(err, "the SAEs", sizeof *set);
	*set = (struct sae_set){.dev = dev, .n_layer = n_layer, .d_model = d_model,
		.budget = options->budget, .bf16 = options->bf16, .scratch = {.sparse = {.dev = dev}}};
	set->files = calloc(n_layer, sizeof *set->files);
	set->residents = calloc(n_layer, sizeof *set->residents);
	if (!set->files || !set->residents) {
		err_nomem(err, "the SAEs", n_layer * sizeof *set->files);
		goto fail;
	}
	TRY(choose_format(set, options, err));
	for (size_t l = 0; l < n_layer; l++)
		TRY(open_layer(set, options, l, err));
	if (set->d_sae == 0) {
		err_set(err, ERR_INPUT, "%s: expected an SAE of at least one of the model's %zu layers, "
			"found none in the format %s",
			options->path, n_layer, set->format->name);
		goto fail;
	}
	*out = set;
	return 0;
fail:
	sae_set_close(set);
	return err->code;
}

static void unload(struct sae_set *set, struct resident *r)
{
	device_free(set->dev, r->memory);
	set->loaded_bytes -= r->bytes;
	*r = (struct resident){0};
}

void sae_set_close(struct sae_set *set)
{
	if (!set)
		return;
	for (size_t l = 0; l < set->n_layer; l++) {
		if (set->residents && set->residents[l].memory)
			unload(set, &set->residents[l]);
		if (set->files && set->files[l].format)
			set->files[l].format->close(&set->files[l]);
		if (set->files)
			free(set->files[l].path);
	}
	sparse_free(&set->scratch.sparse);
	device_free(set->dev, set->scratch.f);
	free(set->files);
	free(set->residents);
	free(set);
}

size_t sae_set_layers(const struct sae_set *set)
{
	return set->n_layer;
}

size_t sae_set_width(const struct sae_set *set)
{
	return set->d_sae;
}

bool sae_set_has(const struct sae_set *set, size_t layer)
{
	return set->files[layer].path != NULL;
}

const char *sae_set_format(const struct sae_set *set)
{
	return set->format->name;
}

const char *sae_set_path(const struct sae_set *set, size_t layer)
{
	return set->files[layer].path;
}

bool sae_set_config_path(const struct sae_set *set, size_t layer, char *path, size_t n)
{
	const struct sae_file *file = &set->files[layer];
	char found[SAE_PATH];

	if (!file->path || !set->format->config_name)
		return false;
	sae_sibling(file, set->format->config_name, found);
	snprintf(path, n, "%s", found);
	return file_exists(found);
}

size_t sae_set_count(const struct sae_set *set)
{
	size_t n = 0;

	for (size_t l = 0; l < set->n_layer; l++)
		n += sae_set_has(set, l);
	return n;
}

bool sae_set_top_k(const struct sae_set *set)
{
	bool any = false;

	for (size_t l = 0; l < set->n_layer; l++)
		any |= set->files[l].top_k > 0;
	return any;
}

double sae_set_claimed_l0(const struct sae_set *set, size_t layer)
{
	return set->files[layer].claimed_l0;
}

/* ---- reading --------------------------------------------------------------------------- */

/* Float32 weights in one block of device memory; parts that are not wanted have no rows. */
struct float_layout {
	struct sae_weights *weights;
	size_t n_enc, n_dec, d;
	bool gated;
};

enum parts { PART_ENCODER = 1, PART_DECODER = 2, PART_BOTH = 3 };

static struct tensor carve_floats(struct carver *c, size_t rows, size_t cols)
{
	struct tensor t = {NULL, DTYPE_F32, rows, cols};

	t.data = carve_ints(c, rows * cols); /* four bytes each, like float32 */
	return t;
}

static void layout_floats(void *object, struct carver *c)
{
	struct float_layout *l = object;

	l->weights->W_enc_t = carve_floats(c, l->n_enc, l->d);
	l->weights->W_dec = carve_floats(c, l->n_dec, l->d);
	l->weights->b_enc = carve_floats(c, 1, l->n_enc);
	l->weights->threshold = carve_floats(c, 1, l->n_enc);
	if (l->gated) {
		l->weights->gain = carve_floats(c, 1, l->n_enc);
		l->weights->shift = carve_floats(c, 1, l->n_enc);
	}
	l->weights->b_dec = carve_floats(c, 1, l->d);
}

static struct float_layout layout_of(const struct sae_file *file, size_t n, enum parts parts,
	size_t d, struct sae_weights *weights)
{
	return (struct float_layout){weights, parts & PART_ENCODER ? n : 0,
		parts & PART_DECODER ? n : 0, d, file->gated && (parts & PART_ENCODER)};
}

/* The first value that is not finite, or n. */
static size_t first_nonfinite(const float *values, size_t n)
{
	size_t i = 0;

	while (i < n && isfinite(values[i]))
		i++;
	return i;
}

/* Values that are not finite are refused, and, on request, all rounded to bfloat16. */
static int finish_values(const struct sae_file *file, const struct sae_arrays *a, size_t n,
	bool bf16, struct err *err)
{
	const struct {
		const char *name;
		float *values;
		size_t n;
	} parts[] = {{"W_enc", a->W_enc_t, n * file->d_model}, {"b_enc", a->b_enc, n},
		{"threshold", a->threshold, n}, {"gain", a->gain, n}, {"shift", a->shift, n},
		{"W_dec", a->W_dec, n * file->d_model}, {"b_dec", a->b_dec, file->d_model}};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (!parts[i].values)
			continue;
		if (first_nonfinite(parts[i].values, parts[i].n) < parts[i].n)
			return err_set(err, ERR_INPUT, "%s: %s holds a value that is not finite",
				file->path, parts[i].name);
		for (size_t j = 0; j < parts[i].n && bf16; j++)
			parts[i].values[j] = bf16_to_f32(f32_to_bf16(parts[i].values[j]));
	}
	return 0;
}

static void *data_or_null(struct tensor t)
{
	return tensor_count(t) > 0 ? t.data : NULL;
}

/* Reads into `base`, which is laid out as `layout`. */
static int read_values(struct sae_set *set, struct sae_file *file, const int32_t *ids, size_t n,
	struct float_layout *layout, void *base, struct err *err)
{
	struct carver c = {DTYPE_F32, base, 0};
	const struct sae_weights *w = layout->weights;
	struct sae_arrays arrays;

	layout_floats(layout, &c);
	arrays = (struct sae_arrays){
		.W_enc_t = data_or_null(w->W_enc_t),
		.b_enc = data_or_null(w->b_enc),
		.threshold = data_or_null(w->threshold),
		.gain = data_or_null(w->gain),
		.shift = data_or_null(w->shift),
		.W_dec = data_or_null(w->W_dec),
		.b_dec = w->b_dec.data,
	};
	if (n == 0)
		return 0;
	if (file->format->read(file, ids, n, &arrays, err))
		return err->code;
	return finish_values(file, &arrays, n, set->bf16, err);
}

/* Reads into host memory of the same layout, and uploads it at once. */
static int read_and_upload(struct sae_set *set, struct sae_file *file, const int32_t *ids, size_t n,
	struct float_layout *layout, void *memory, size_t bytes, struct err *err)
{
	struct carver c = {DTYPE_F32, memory, 0};
	char *staging = malloc(bytes);

	if (!staging)
		return err_nomem(err, file->path, bytes);
	TRY(read_values(set, file, ids, n, layout, staging, err));
	TRY(set->joined ? device_upload_weights(set->dev, memory, staging, bytes, err)
			: device_upload(set->dev, memory, staging, bytes, err));
	layout_floats(layout, &c);
	free(staging);
	return 0;
fail:
	free(staging);
	return err->code;
}

/* Reads parts of features (ids NULL: all) into fresh device memory. */
static int read_to_device(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	enum parts parts, struct sae_weights *weights, void **memory, size_t *bytes,
	struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct float_layout layout = layout_of(file, n, parts, set->d_model, weights);

	*memory = NULL;
	*weights = (struct sae_weights){.input = file->input, .top_k = file->top_k,
		.group_width = file->group_width};
	*bytes = carve_count(set->dev, layout_floats, &layout);
	TRY(carve_allocate(set->dev, layout_floats, &layout, memory, err));
	if (device_is_host(set->dev))
		TRY(read_values(set, file, ids, n, &layout, *memory, err));
	else if (!set->joined || device_gives_weights(set->dev))
		TRY(read_and_upload(set, file, ids, n, &layout, *memory, *bytes, err));
	else
		TRY(device_upload_weights(set->dev, *memory, NULL, *bytes, err));
	return 0;
fail:
	device_free(set->dev, *memory);
	*memory = NULL;
	return err->code;
}

/* Unloads the least recently used layers until `bytes` more fit the budget, or none is left. */
static void make_room(struct sae_set *set, size_t bytes)
{
	while (set->loaded_bytes > 0 && set->loaded_bytes + bytes > set->budget) {
		struct resident *oldest = NULL;

		for (size_t l = 0; l < set->n_layer; l++) {
			struct resident *r = &set->residents[l];

			if (r->memory && (!oldest || r->used < oldest->used))
				oldest = r;
		}
		unload(set, oldest);
	}
}

int sae_set_load(struct sae_set *set, size_t layer, struct sae_weights *out, struct err *err)
{
	struct resident *r = &set->residents[layer];
	const struct sae_file *file = &set->files[layer];
	struct float_layout layout = layout_of(file, file->d_sae, PART_BOTH, set->d_model,
		&r->weights);

	if (!r->memory) {
		make_room(set, carve_count(set->dev, layout_floats, &layout));
		if (read_to_device(set, layer, NULL, file->d_sae, PART_BOTH, &r->weights,
			    &r->memory, &r->bytes, err))
			return err->code;
		set->loaded_bytes += r->bytes;
	}
	r->used = ++set->clock;
	*out = r->weights;
	return 0;
}

/* How many layers with an SAE, from the first, fit the budget; all are of one shape. */
static size_t n_that_fit(const struct sae_set *set)
{
	size_t sum = 0, n = 0;

	for (size_t l = 0; l < set->n_layer; l++) {
		struct sae_weights none;
		const struct sae_file *file = &set->files[l];
		struct float_layout layout = layout_of(file, file->d_sae, PART_BOTH, set->d_model,
			&none);

		sum += sae_set_has(set, l) ? carve_count(set->dev, layout_floats, &layout) : 0;
		if (sum > set->budget)
			break;
		n = l + 1;
	}
	return n;
}

/* Rank 0's number at every rank. */
static int agree_on(struct device *dev, uint64_t *n, struct err *err)
{
	void *memory;

	if (device_alloc(dev, sizeof *n, &memory, err))
		return err->code;
	TRY(device_upload_weights(dev, memory, n, sizeof *n, err));
	TRY(device_download(dev, n, memory, sizeof *n, err));
	device_free(dev, memory);
	return 0;
fail:
	device_free(dev, memory);
	return err->code;
}

int sae_set_load_joined(struct sae_set *set, struct err *err)
{
	struct sae_weights ignored;
	uint64_t n = n_that_fit(set);

	if (!device_is_joined(set->dev))
		return 0;
	TRY(agree_on(set->dev, &n, err));
	set->joined = true;
	for (size_t l = 0; l < n; l++)
		if (sae_set_has(set, l))
			TRY(sae_set_load(set, l, &ignored, err));
	set->joined = false;
	return 0;
fail:
	set->joined = false;
	return err->code;
}

/* ---- cosines and few features ----------------------------------------------------------- */

struct cosine_buffers {
	size_t n, d;
	struct tensor cosine, v;
};

static void layout_cosines(void *object, struct carver *c)
{
	struct cosine_buffers *b = object;

	b->cosine = carve(c, b->n, 1);
	b->v = carve_floats(c, 1, b->d);
}

int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err)
{
	struct cosine_buffers b = {.n = set->files[layer].d_sae, .d = set->d_model};
	struct sae_weights decoder = set->residents[layer].weights;
	void *memory = NULL, *buffers = NULL;
	size_t bytes;

	if (!set->residents[layer].memory) {
		make_room(set, b.n * b.d * sizeof(float));
		TRY(read_to_device(set, layer, NULL, b.n, PART_DECODER, &decoder, &memory, &bytes, err));
	}
	TRY(carve_allocate(set->dev, layout_cosines, &b, &buffers, err));
	TRY(device_upload(set->dev, b.v.data, v, b.d * sizeof *v, err));
	TRY(op_row_cosine(set->dev, decoder.W_dec, b.v, b.cosine, err));
	TRY(download_floats(set->dev, b.cosine, cosine, err));
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return 0;
fail:
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return err->code;
}

/* The whole encoder of a layer, beside the few, where only all features tell which are on. */
static int add_encoder(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *few, struct err *err)
{
	const size_t d_sae = set->files[layer].d_sae;
	size_t bytes;
	void *on_device;

	TRY(read_to_device(set, layer, NULL, d_sae, PART_ENCODER, &few->encoder,
		&few->encoder_memory, &bytes, err));
	TRY(device_alloc(set->dev, n * sizeof *ids, &on_device, err));
	few->ids = on_device;
	return device_upload(set->dev, few->ids, ids, n * sizeof *ids, err);
fail:
	return err->code;
}

int sae_set_select(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *out, struct err *err)
{
	const struct sae_file *file = &set->files[layer];
	size_t bytes;

	*out = (struct sae_few){.dev = set->dev, .scratch = &set->scratch};
	for (size_t k = 0; k < n; k++)
		if (!file->path)
			return err_set(err, ERR_INPUT,
				"feature %d of layer %zu: expected a layer with an SAE, found none", ids[k],
				layer);
		else if (ids[k] < 0 || (size_t)ids[k] >= file->d_sae)
			return err_set(err, ERR_INPUT,
				"%s: expected feature ids below %zu, its width, found %d", file->path,
				file->d_sae, ids[k]);
	TRY(read_to_device(set, layer, ids, n, PART_BOTH, &out->weights, &out->memory, &bytes, err));
	if (file->top_k > 0 && n > 0)
		TRY(add_encoder(set, layer, ids, n, out, err));
	return 0;
fail:
	sae_few_free(out);
	return err->code;
}

int sae_few_encode(const struct sae_few *few, struct tensor x, struct tensor f, struct err *err)
{
	struct sparse *all = &few->scratch->sparse;

	if (few->weights.top_k == 0)
		return op_sae_encode_selected(few->dev, &few->weights, x, f, err);
	TRY(sparse_encode(all, &few->encoder, x, err));
	return op_csr_select(few->dev, &all->csr, few->ids, f, err);
fail:
	return err->code;
}

int sae_few_given(const struct sae_few *few, struct tensor x, struct tensor *f, struct err *err)
{
	struct sae_scratch *s = few->scratch;

	*f = (struct tensor){0};
	if (few->weights.top_k == 0)
		return 0;
	f->dtype = device_activation(few->dev);
	f->rows = x.rows;
	f->cols = few->weights.W_enc_t.rows;
	if (tensor_bytes(*f) > s->f_bytes) {
		device_free(few->dev, s->f);
		s->f = NULL;
		s->f_bytes = 0;
		TRY(device_alloc(few->dev, tensor_bytes(*f), &s->f, err));
		s->f_bytes = tensor_bytes(*f);
	}
	f->data = s->f;
	return sae_few_encode(few, x, *f, err);
fail:
	return err->code;
}

void sae_few_free(struct sae_few *few)
{
	if (few->dev) {
		device_free(few->dev, few->memory);
		device_free(few->dev, few->encoder_memory);
		device_free(few->dev, few->ids);
	}
	*few = (struct sae_few){0};
}
